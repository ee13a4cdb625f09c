//! Requests about the log as a whole. The same code answers them with and without a keeper.

use selvedge_ledger::{Checkpoint, ExportScope, Ledger};
use serde_json::{Value, json};

use crate::errors::{CliError, Kind};

/// Verifies every entry, every chain, the checkpoints, the anchor, and a checkpoint somebody else kept.
pub(crate) fn verify(ledger: &Ledger, against: Option<&str>) -> Result<Value, CliError> {
    let bad = |error: &dyn std::error::Error| {
        CliError::caused(Kind::Ledger, error)
            .hint("keep a copy of the state directory as it is, and tell whoever answers for this factory")
    };
    let against =
        against.map(|note| Checkpoint::parse(note, &ledger.public_key())).transpose().map_err(|error| bad(&error))?;
    let report = ledger.verify(against.as_ref()).map_err(|error| bad(&error))?;
    let checkpoint = ledger.checkpoint().map_err(|error| bad(&error))?;
    let head: String = report.root.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({ "entries": report.entries, "signed": report.signed, "head": head, "checkpoint": checkpoint.note() }))
}

/// The whole log as JSON lines that an independent program can check.
pub(crate) fn export(ledger: &Ledger) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    ledger.export(&ExportScope::All, &mut bytes).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
    String::from_utf8(bytes).map_err(|error| CliError::caused(Kind::Internal, &error))
}
