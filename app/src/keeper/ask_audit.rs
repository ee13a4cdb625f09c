//! Requests about the log as a whole. The same code answers them with and without a keeper.

use std::io::Write;

use selvedge_ledger::{BadCheckpoint, Checkpoint, ExportScope, Ledger};
use serde_json::{Value, json};

use super::hall::Listener;
use super::message::{PIECE_BYTES_MAX, Reply};
use crate::errors::{CliError, Kind};

/// Longest character in UTF-8.
const CHARACTER_BYTES_MAX: usize = 4;

/// Verifies every entry, every chain, the checkpoints, the anchor, and a checkpoint somebody else kept.
pub(crate) fn verify(ledger: &Ledger, against: Option<&str>) -> Result<Value, CliError> {
    let bad = |error: &dyn std::error::Error| {
        CliError::caused(Kind::Ledger, error)
            .hint("keep a copy of the state directory as it is, and tell whoever answers for this factory")
    };
    let kept = match against.map(|note| Checkpoint::parse(note, &ledger.public_key())) {
        // Another kind of file is a slip of the hand, and says nothing about the log.
        Some(Err(error @ BadCheckpoint::Form)) => return Err(not_a_checkpoint(&error)),
        kept => kept.transpose().map_err(|error| bad(&error))?,
    };
    let report = ledger.verify(kept.as_ref()).map_err(|error| bad(&error))?;
    let checkpoint = ledger.checkpoint().map_err(|error| bad(&error))?;
    let head: String = report.root.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({ "entries": report.entries, "signed": report.signed, "head": head, "checkpoint": checkpoint.note() }))
}

fn not_a_checkpoint(error: &BadCheckpoint) -> CliError {
    CliError::new(Kind::Usage, format!("what was named holds no checkpoint: {error}"))
        .hint("name a file with the `checkpoint` that `selvedge audit verify --json` printed, and nothing else")
        .hint("an export is checked with its own tools, and the anchor by every command")
}

/// Writes the whole log to `to` as JSON lines that an independent program can check.
pub(crate) fn export(ledger: &Ledger, to: &mut dyn Write) -> Result<(), CliError> {
    ledger.export(&ExportScope::All, to).map(drop).map_err(|error| {
        CliError::caused(Kind::Ledger, &error)
            .hint("what was written is not the whole log; `selvedge audit verify` names the first bad entry")
    })
}

/// Sends what is written to it as replies, each short enough for a line, for as long as somebody listens.
pub(super) struct Pieces<'a> {
    listener: &'a dyn Listener,
    each: &'a mut dyn FnMut(&Reply),
    /// The beginning of a character whose end has not been written yet.
    begun: Vec<u8>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(listener: &'a dyn Listener, each: &'a mut dyn FnMut(&Reply)) -> Self {
        Self { listener, each, begun: Vec::new() }
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.listener.is_there() {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let piece = bytes.get(..PIECE_BYTES_MAX - CHARACTER_BYTES_MAX).unwrap_or(bytes);
        self.begun.extend_from_slice(piece);
        // Whoever exports writes text, so what is no character yet is the beginning of one.
        let whole = self.begun.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
        let rest = self.begun.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.begun, rest)).map_err(std::io::Error::other)?;
        (self.each)(&Reply::Text { text });
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::hall::Always;

    #[test]
    fn what_is_exported_arrives_whole_whatever_it_is_cut_at() {
        let text = "a\u{e9}\u{1f600}".repeat(PIECE_BYTES_MAX / 4);
        let mut said = String::new();
        let mut longest = 0;
        let mut each = |reply: &Reply| {
            let Reply::Text { text } = reply else { panic!("{reply:?}") };
            longest = longest.max(text.len());
            said.push_str(text);
        };
        let mut pieces = Pieces::new(&Always, &mut each);
        for bytes in text.as_bytes().chunks(PIECE_BYTES_MAX + 1) {
            pieces.write_all(bytes).unwrap();
        }
        assert!(said == text && longest <= PIECE_BYTES_MAX, "{longest}");
    }
}
