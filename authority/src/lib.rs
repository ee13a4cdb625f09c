//! Authority: how an order becomes a permit.
//!
//! Owns the one funnel ([`Funnel::perform`]) through which every act that adds authority or touches the world must pass:
//! recall, decide, record, act, record. Owns grants by containment and the class of each order. Knows neither the policy
//! language behind [`Judge`] nor the store behind [`Journal`].

mod class;
mod containment;
mod funnel;
mod journal;
mod permit;
mod question;
mod record;
mod verdict;

pub use class::{Class, class_of, risk_of};
pub use containment::{Granted, Outside, TO_START};
pub use funnel::{ActError, Funnel, Stop};
pub use journal::{Approval, Clock, Journal, JournalError};
pub use permit::Permit;
pub use question::{Context, Judge, Question, Subject};
pub use record::{Entry, HaltScope, Hold, KeyChange, Lapse, Observation, Record, Relinquished};
pub use verdict::{Code, Denial, PolicyName, Verdict};
