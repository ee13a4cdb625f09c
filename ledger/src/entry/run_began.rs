//! `run_began`: a run began to serve a trigger.

use selvedge_authority::Record;
use selvedge_domain::TriggerId;
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    trigger: String,
}

impl V1 {
    pub(super) fn store(trigger: &TriggerId) -> Self {
        Self { trigger: trigger.to_string() }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::RunBegan { trigger: TriggerId::parse(&self.trigger)? })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "run_began";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
