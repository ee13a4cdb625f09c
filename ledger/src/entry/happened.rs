//! `happened`: something happened to a run.

use selvedge_authority::Record;
use selvedge_domain::{ApprovalId, Event, LeaseId, Time, WaitKind};
use serde::{Deserialize, Serialize};

use super::parts::check::VerifiedV1;
use super::parts::effect::{EffectV1, OutcomeV1};
use super::parts::lease::LeaseEventV1;
use super::parts::observed::SeenV1;
use super::parts::task::TaskV1;
use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    event: EventV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum EventV1 {
    Admitted {
        task: Box<TaskV1>,
    },
    LeaseAnnounced {
        lease: String,
    },
    LeaseChanged {
        lease: String,
        change: LeaseEventV1,
    },
    AttemptBegan {
        attempt: u32,
    },
    AttemptLost {
        attempt: u32,
    },
    Worked {
        effect: EffectV1,
        follow_ups: Vec<String>,
        #[serde(default, skip_serializing_if = "SeenV1::is_empty")]
        seen: SeenV1,
    },
    Verified {
        verified: VerifiedV1,
    },
    Delivered {
        outcome: OutcomeV1,
    },
    Waited {
        wait: WaitKindV1,
        since: u64,
        until: u64,
    },
    Parked {},
    Resumed {},
    Ended {
        outcome: OutcomeV1,
    },
    Revoked {},
    Settled {},
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum WaitKindV1 {
    Approval { approval: String, order: String },
}

impl V1 {
    pub(super) fn store(event: &Event) -> Self {
        let event = match event {
            Event::Admitted(task) => EventV1::Admitted { task: Box::new(TaskV1::store(task)) },
            Event::LeaseAnnounced(lease) => EventV1::LeaseAnnounced { lease: lease.to_string() },
            Event::LeaseChanged(lease, change) => {
                EventV1::LeaseChanged { lease: lease.to_string(), change: LeaseEventV1::store(*change) }
            }
            Event::AttemptBegan { attempt } => EventV1::AttemptBegan { attempt: *attempt },
            Event::AttemptLost { attempt } => EventV1::AttemptLost { attempt: *attempt },
            Event::Worked { effect, follow_ups, seen } => {
                let seen = SeenV1::store(seen);
                EventV1::Worked { effect: EffectV1::store(effect), follow_ups: follow_ups.clone(), seen }
            }
            Event::Verified(verified) => EventV1::Verified { verified: VerifiedV1::store(verified) },
            Event::Delivered(outcome) => EventV1::Delivered { outcome: OutcomeV1::store(outcome) },
            Event::Waited { kind: WaitKind::Approval { approval, order }, since, until } => EventV1::Waited {
                wait: WaitKindV1::Approval { approval: approval.to_string(), order: order.clone() },
                since: since.as_millis(),
                until: until.as_millis(),
            },
            Event::Parked => EventV1::Parked {},
            Event::Resumed => EventV1::Resumed {},
            Event::Ended(outcome) => EventV1::Ended { outcome: OutcomeV1::store(outcome) },
            Event::Revoked => EventV1::Revoked {},
            Event::Settled => EventV1::Settled {},
        };
        Self { event }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::Happened(match self.event {
            EventV1::Admitted { task } => Event::Admitted(Box::new(task.restore()?)),
            EventV1::LeaseAnnounced { lease } => Event::LeaseAnnounced(LeaseId::parse(&lease)?),
            EventV1::LeaseChanged { lease, change } => Event::LeaseChanged(LeaseId::parse(&lease)?, change.restore()),
            EventV1::AttemptBegan { attempt } => Event::AttemptBegan { attempt },
            EventV1::AttemptLost { attempt } => Event::AttemptLost { attempt },
            EventV1::Worked { effect, follow_ups, seen } => {
                Event::Worked { effect: effect.restore()?, follow_ups, seen: seen.restore() }
            }
            EventV1::Verified { verified } => Event::Verified(verified.restore()?),
            EventV1::Delivered { outcome } => Event::Delivered(outcome.restore()),
            EventV1::Waited { wait: WaitKindV1::Approval { approval, order }, since, until } => Event::Waited {
                kind: WaitKind::Approval { approval: ApprovalId::parse(&approval)?, order },
                since: Time::from_millis(since),
                until: Time::from_millis(until),
            },
            EventV1::Parked {} => Event::Parked,
            EventV1::Resumed {} => Event::Resumed,
            EventV1::Ended { outcome } => Event::Ended(outcome.restore()),
            EventV1::Revoked {} => Event::Revoked,
            EventV1::Settled {} => Event::Settled,
        }))
    }
}

impl Kind for V1 {
    const NAME: &'static str = "happened";
    const VERSION: u32 = 4;

    fn version(&self) -> u32 {
        match &self.event {
            EventV1::Admitted { task } => task.version(),
            EventV1::Worked { seen, .. } => seen.version(),
            _ => 1,
        }
    }

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1..=4 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
