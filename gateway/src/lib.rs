//! The doors: every mediated way out of a sandbox.
//!
//! Each run has one door process. It holds the run's certificate authority and leases, accepts on listeners that lie inside
//! the sandbox, and asks its keeper about every request over one inherited socket pair. [`Door`] is the keeper's side,
//! [`main`] the door's. This crate never knows policies, the ledger or who started a run; it knows how to read a request
//! in one way only and to forward nothing else.

pub mod access;
pub mod courier;
pub mod danger;
pub mod dial;
pub mod dns;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod git;
mod graphql;
pub mod http;
mod identity;
pub mod model;

mod confine;
mod keeper;
mod link;
mod loan;
mod process;
mod protocol;
mod roots;
mod scope;
pub mod tokens;
pub mod tools;
mod wire;

pub use dial::proxy::{ProxyLogin, UpstreamProxy};
pub use git::wanted::{GitAnswer, GitCall, GitHost, GitService, GitWanted};
pub use graphql::GraphqlService;
pub use identity::wanted::{Bundles, Claims, Given, Wanted};
pub use keeper::{DOOR_NAME, Door, DoorGone, Judge, Ready, RunAs, ServeError, StartError};
pub use loan::{
    FieldName, Loan, LoanChange, NotASecret, NotSigned, Placeholder, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Scheme,
    SecretSieve, SecretText, SecretWatch, SignedFor, User, Way,
};
pub use process::main;
pub use protocol::{
    Ask, Asking, Done, Fence, HEADS_BYTES_MAX, Hello, Layer, Lease, Limits, ListenerKind, Outcome, Refused, Source,
    Verdict,
};
pub use roots::{RootsError, system_roots_pem};
pub use tokens::TokenCall;
pub use wire::descriptors::PassError;
pub use wire::frame::FrameError;
