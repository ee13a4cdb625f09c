//! Remembers: the append-only log, the queue, projections and proofs.
//!
//! Owns the one durable truth: entries that are never rewritten, the tables that replay makes from them, and the means
//! to prove to others that none is missing. Knows no policy, no forge, no sandbox, no clock; whoever appends says when.
//!
//! | you want | look at |
//! |---|---|
//! | to record | [`Ledger`] as a `Journal`, [`Ledger::claimed`] |
//! | to hand out work | [`Ledger::queue`] |
//! | to prove | [`Ledger::verify`], [`verify_file`], [`Ledger::export`], [`Ledger::checkpoint`] |
//! | to look | [`Ledger::runs`], [`Ledger::load_run`], [`Ledger::entries`], [`Ledger::wait_after`] |

mod ahead;
mod anchor;
mod approvals;
mod batch;
mod behaviours;
mod checkpoint;
mod claims;
pub mod danger;
mod entry;
mod error;
mod export;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod header;
mod journal;
mod key;
mod ledger;
mod merkle;
mod moment;
mod open;
mod pool;
mod project;
mod proposals;
mod queue;
mod rebuild;
mod reserve;
mod rows;
mod schema;
mod scope;
mod sealed;
mod shared;
mod store;
mod tiles;
mod verify;
mod views;
mod writer;

pub use approvals::{ApprovalRequest, ApprovalState, Reply};
pub use checkpoint::{BadCheckpoint, Checkpoint};
pub use claims::Queue;
pub use entry::DecodeError;
pub use error::{AnchorProblem, OpenError, ReadError, Refusal, WriteError};
pub use export::{ExportError, ExportScope};
pub use journal::ClaimedJournal;
pub use key::{Entropy, LogId, OsEntropy, PublicKey};
pub use ledger::{Ledger, LogHead};
pub use open::OpenOptions;
pub use queue::{Claim, Enqueued};
pub use rows::Recorded;
pub use sealed::Sealed;
pub use verify::{LogReport, VerifyError, root_of, verify_file};
pub use views::{Entries, Finding, LiveLease, Proposal, ProposalState, RunSummary, Triggered, WaitingFor};
