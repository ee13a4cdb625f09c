//! Who does the work: the remediation worker, and reading what checks say about work.
//!
//! Owns: advisory databases, lock files, the remediation program, test reporters. Everything here reads bytes that
//! someone else wrote, so every parser is total and bounded. Never knows: runs, policies, credentials, forges.

pub mod advisories;
pub mod checks;
pub mod lockfile;
mod moment;
mod package;
mod releases;
pub mod remediate;

pub use package::{BadPackage, Package, PackageName};
pub use remediate::main;
