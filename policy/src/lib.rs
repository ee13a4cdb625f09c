//! Answers whether an order may be carried out, with Cedar.
//!
//! Owns the schema of facts, the default policies, loading and checking what operators write, and the decision itself,
//! behind [`selvedge_authority::Judge`]. Never knows who carries an order out, where answers are recorded, or what an
//! agent said: only facts of a [`selvedge_authority::Question`].
//!
//! Three promises hold whatever the policies say. An order is allowed only if some policy permits it, none forbids it
//! and none failed to evaluate. A policy that does not fit the schema never loads, and with nothing loaded nothing is
//! allowed. The index that makes a thousand policies fast decides exactly as Cedar would over all of them.

mod check;
mod defaults;
mod deny_all;
mod explain;
mod facts;
mod files;
mod index;
mod judge;
mod load;
mod policy;
mod problem;
mod shadow;
mod source;
mod vocabulary;

pub use check::{Check, Missing};
pub use defaults::{SCHEMA, SCHEMA_FILE, default_sources};
pub use deny_all::DenyAll;
pub use explain::{ApprovalEffect, Explanation};
pub use judge::Policies;
pub use load::LoadError;
pub use policy::{Effect, Mode, PolicyText};
pub use problem::{Place, Problem};
pub use shadow::Shadow;
pub use vocabulary::BadSchema;

#[cfg(test)]
mod tests;
