//! `rules_changed`: the keeper took up policies or a configuration that changed while it ran.

use selvedge_authority::Record;
use selvedge_domain::Digest;
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    configuration: String,
    policies: Option<String>,
}

impl V1 {
    pub(super) fn store(configuration: &Digest, policies: Option<&Digest>) -> Self {
        Self { configuration: configuration.to_string(), policies: policies.map(ToString::to_string) }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::RulesChanged {
            configuration: Digest::parse(&self.configuration)?,
            policies: self.policies.map(|digest| Digest::parse(&digest)).transpose()?,
        })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "rules_changed";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
