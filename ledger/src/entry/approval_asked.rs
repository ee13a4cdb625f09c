//! `approval_asked`: a person is asked for their yes.

use selvedge_authority::Record;
use selvedge_domain::{ApprovalId, Description, Time};
use serde::{Deserialize, Serialize};

use super::parts::order::DescriptionV1;
use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    approval: String,
    order: DescriptionV1,
    until: u64,
}

impl V1 {
    pub(super) fn store(approval: &ApprovalId, order: &Description, until: Time) -> Self {
        Self { approval: approval.to_string(), order: DescriptionV1::store(order), until: until.as_millis() }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::ApprovalAsked {
            approval: ApprovalId::parse(&self.approval)?,
            order: self.order.restore()?,
            until: Time::from_millis(self.until),
        })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "approval_asked";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
