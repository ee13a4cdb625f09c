//! `held`: a turn waits for people inside an attempt, or goes on.

use selvedge_authority::{Hold, Lapse, Record};
use selvedge_domain::{ApprovalId, Time};
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    hold: HoldV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum HoldV1 {
    Began { approvals: Vec<String>, until: u64 },
    TimedOut { approval: String },
    Lapsed { approval: String, because: String },
    Ended {},
}

impl V1 {
    pub(super) fn store(hold: &Hold) -> Self {
        let hold = match hold {
            Hold::Began { approvals, until } => HoldV1::Began {
                approvals: approvals.iter().map(ToString::to_string).collect(),
                until: until.as_millis(),
            },
            Hold::Lapsed { approval, lapse: Lapse::TimedOut } => HoldV1::TimedOut { approval: approval.to_string() },
            Hold::Lapsed { approval, lapse: Lapse::Ended { because } } => {
                HoldV1::Lapsed { approval: approval.to_string(), because: because.clone() }
            }
            Hold::Ended => HoldV1::Ended {},
        };
        Self { hold }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::Held(match self.hold {
            HoldV1::Began { approvals, until } => Hold::Began {
                approvals: approvals.iter().map(|approval| ApprovalId::parse(approval)).collect::<Result<_, _>>()?,
                until: Time::from_millis(until),
            },
            HoldV1::TimedOut { approval } => {
                Hold::Lapsed { approval: ApprovalId::parse(&approval)?, lapse: Lapse::TimedOut }
            }
            HoldV1::Lapsed { approval, because } => {
                Hold::Lapsed { approval: ApprovalId::parse(&approval)?, lapse: Lapse::Ended { because } }
            }
            HoldV1::Ended {} => Hold::Ended,
        }))
    }
}

impl Kind for V1 {
    const NAME: &'static str = "held";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
