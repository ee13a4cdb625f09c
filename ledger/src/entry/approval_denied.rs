//! `approval_denied`: a person said no.

use selvedge_authority::Record;
use selvedge_domain::ApprovalId;
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    approval: String,
}

impl V1 {
    pub(super) fn store(approval: &ApprovalId) -> Self {
        Self { approval: approval.to_string() }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::ApprovalDenied { approval: ApprovalId::parse(&self.approval)? })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "approval_denied";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
