//! Where work comes from and goes to.
//!
//! Owns the repositories the factory keeps: reading a tree, writing a commit, branches, merges, and what about a change
//! deserves a second look. Knows no policy, no ledger and no sandbox; decides nothing. Content goes in and out of git as
//! bytes: there is never a work tree, and git never runs in a directory an agent wrote (attacks A-28, S-28).

mod fold;
pub mod git;
mod holds_secrets;
pub mod local;
pub mod secret;
pub mod sensitive;

pub use holds_secrets::holds_secrets;
