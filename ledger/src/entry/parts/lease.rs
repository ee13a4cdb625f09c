//! Stored forms of what happens to leases.

use selvedge_domain::{LeaseEvent, Revocation, Time};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::entry) enum LeaseEventV1 {
    Minted { revocation: RevocationV1, expires: u64 },
    RevokeFailed {},
    Died {},
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::entry) enum RevocationV1 {
    Immediate {},
    LeaseRevoke {},
    ExpiryOnly { at: u64 },
}

impl LeaseEventV1 {
    pub(in crate::entry) fn store(event: LeaseEvent) -> Self {
        match event {
            LeaseEvent::Minted { revocation, expires } => {
                Self::Minted { revocation: RevocationV1::store(revocation), expires: expires.as_millis() }
            }
            LeaseEvent::RevokeFailed => Self::RevokeFailed {},
            LeaseEvent::Died => Self::Died {},
        }
    }

    pub(in crate::entry) fn restore(self) -> LeaseEvent {
        match self {
            Self::Minted { revocation, expires } => {
                LeaseEvent::Minted { revocation: revocation.restore(), expires: Time::from_millis(expires) }
            }
            Self::RevokeFailed {} => LeaseEvent::RevokeFailed,
            Self::Died {} => LeaseEvent::Died,
        }
    }
}

impl RevocationV1 {
    pub(in crate::entry) fn store(revocation: Revocation) -> Self {
        match revocation {
            Revocation::Immediate => Self::Immediate {},
            Revocation::LeaseRevoke => Self::LeaseRevoke {},
            Revocation::ExpiryOnly(at) => Self::ExpiryOnly { at: at.as_millis() },
        }
    }

    pub(in crate::entry) fn restore(self) -> Revocation {
        match self {
            Self::Immediate {} => Revocation::Immediate,
            Self::LeaseRevoke {} => Revocation::LeaseRevoke,
            Self::ExpiryOnly { at } => Revocation::ExpiryOnly(Time::from_millis(at)),
        }
    }
}
