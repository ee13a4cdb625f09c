//! `not_done`: an order was allowed and could not be carried out.

use selvedge_authority::Record;
use selvedge_domain::{Digest, Verb};
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    order: String,
    verb: String,
    because: String,
}

impl V1 {
    pub(super) fn store(order: &Digest, verb: Verb, because: &str) -> Self {
        Self { order: order.to_string(), verb: verb.as_str().to_owned(), because: because.to_owned() }
    }

    fn restore(self) -> Result<Record, Malformed> {
        let verb = word("a verb", &self.verb, Verb::parse)?;
        Ok(Record::NotDone { order: Digest::parse(&self.order)?, verb, because: self.because })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "not_done";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
