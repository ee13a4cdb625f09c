//! `keeper_started`: a keeper took the state directory over.

use selvedge_authority::Record;
use selvedge_domain::Digest;
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    version: String,
    configuration: String,
    policies: Option<String>,
}

impl V1 {
    pub(super) fn store(version: &str, configuration: &Digest, policies: Option<&Digest>) -> Self {
        Self {
            version: version.to_owned(),
            configuration: configuration.to_string(),
            policies: policies.map(ToString::to_string),
        }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::KeeperStarted {
            version: self.version,
            configuration: Digest::parse(&self.configuration)?,
            policies: self.policies.map(|digest| Digest::parse(&digest)).transpose()?,
        })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "keeper_started";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
