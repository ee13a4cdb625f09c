//! `triggered`: a trigger arrived and was queued.

use selvedge_authority::Record;
use selvedge_domain::Trigger;
use serde::{Deserialize, Serialize};

use super::parts::task::TriggerV1;
use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    trigger: TriggerV1,
}

impl V1 {
    pub(super) fn store(trigger: &Trigger) -> Self {
        Self { trigger: TriggerV1::store(trigger) }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::Triggered(Box::new(self.trigger.restore()?)))
    }
}

impl Kind for V1 {
    const NAME: &'static str = "triggered";
    const VERSION: u32 = 4;

    fn version(&self) -> u32 {
        self.trigger.version()
    }

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1..=4 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
