//! The law of a lease: announced before it is minted, dead before its run may end (requirements C4, C8; invariant 7).

use crate::Time;

/// How a credential dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revocation {
    /// The verifier refuses it at once.
    Immediate,
    /// A lease service is asked to revoke it.
    LeaseRevoke,
    /// Nothing can revoke it; it dies at this moment.
    ExpiryOnly(Time),
}

/// Where a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseState {
    /// The intent to mint is recorded; whether a credential exists is not known.
    Announced,
    /// A credential exists.
    Live {
        /// How it can die.
        revocation: Revocation,
        /// When it dies by itself.
        expires: Time,
    },
    /// A credential exists that we could not revoke yet.
    Stuck {
        /// When it dies by itself.
        expires: Time,
    },
    /// It was revoked or expired, and that was probed.
    Dead,
}

/// What can happen to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The mint answered.
    Minted {
        /// How the credential can die.
        revocation: Revocation,
        /// When it dies by itself.
        expires: Time,
    },
    /// Revoking failed.
    RevokeFailed,
    /// It was revoked, or was never minted, or expired; and a probe says so.
    Died,
}

/// A step the law of a lease does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease that is {state:?} cannot see {event:?}")]
pub struct IllegalLease {
    state: LeaseState,
    event: LeaseEvent,
}

impl LeaseState {
    /// The law.
    pub fn next(self, event: LeaseEvent) -> Result<Self, IllegalLease> {
        match (self, event) {
            (Self::Announced, LeaseEvent::Minted { revocation, expires }) => Ok(Self::Live { revocation, expires }),
            (Self::Announced, LeaseEvent::RevokeFailed) => Ok(self),
            (Self::Live { expires, .. } | Self::Stuck { expires }, LeaseEvent::RevokeFailed) => {
                Ok(Self::Stuck { expires })
            }
            (Self::Announced | Self::Live { .. } | Self::Stuck { .. } | Self::Dead, LeaseEvent::Died) => Ok(Self::Dead),
            (Self::Live { .. } | Self::Stuck { .. } | Self::Dead, LeaseEvent::Minted { .. })
            | (Self::Dead, LeaseEvent::RevokeFailed) => Err(IllegalLease { state: self, event }),
        }
    }

    /// Whether a credential may still work somewhere.
    pub fn may_live(self) -> bool {
        self != Self::Dead
    }
}
