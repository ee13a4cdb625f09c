//! Who does the work: the remediation worker, coding agents behind adapters, and reading what checks say about work.
//!
//! Owns: advisory databases, lock files, the remediation program, adapters of agents, the client that speaks to agents, test reporters.
//! Everything here reads bytes that someone else wrote, so every parser is total and bounded. Never knows: runs, policies, credentials,
//! forges.

pub mod acp;
pub mod advisories;
pub mod agents;
pub mod checks;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod lockfile;
mod moment;
mod package;
mod releases;
pub mod remediate;

pub use package::{BadPackage, Package, PackageName};
