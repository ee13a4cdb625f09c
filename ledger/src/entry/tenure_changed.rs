//! `tenure_changed`: a person vouched for what stands when no run does, or said that whoever answered for it has left.

use selvedge_authority::Record;
use selvedge_domain::{Owner, TenureChange, Vouchee};
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    of: String,
    owner: String,
    change: ChangeV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum ChangeV1 {
    Certified {},
    Offboarded {},
}

impl V1 {
    pub(super) fn store(of: &Vouchee, owner: &Owner, change: TenureChange) -> Self {
        let change = match change {
            TenureChange::Certified => ChangeV1::Certified {},
            TenureChange::Offboarded => ChangeV1::Offboarded {},
        };
        Self { of: of.to_string(), owner: owner.to_string(), change }
    }

    fn restore(self) -> Result<Record, Malformed> {
        let change = match self.change {
            ChangeV1::Certified {} => TenureChange::Certified,
            ChangeV1::Offboarded {} => TenureChange::Offboarded,
        };
        let of = word("what can be vouched for", &self.of, Vouchee::parse)?;
        Ok(Record::TenureChanged { of, owner: word("an owner", &self.owner, Owner::parse)?, change })
    }
}

impl Kind for V1 {
    const NAME: &'static str = "tenure_changed";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
