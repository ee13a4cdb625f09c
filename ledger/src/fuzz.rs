//! What holds of whatever is read of a log, as functions from bytes: for the fuzz targets in `fuzz/`, and with their corpora
//! for the tests. Owns the promises; never part of a build.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a broken promise has to be seen")]

use crate::checkpoint::Checkpoint;
use crate::entry::{decode, encode};
use crate::key::LogKey;
use crate::moment;
use crate::scope::{parse_scope, scope_text};

/// Whether the bytes were read. Panics where a promise about what was read is broken.
pub type Promise = fn(&[u8]) -> bool;

/// Every promise, by the name of its fuzz target.
pub const TARGETS: &[(&str, Promise)] =
    &[("checkpoint", checkpoint), ("entry", entry), ("moment_text", moment_text), ("scope", scope)];

/// Looks at `bytes` as the fuzz target of this name does.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let named = TARGETS.iter().find(|(name, _)| *name == target);
    named.map(|(_, promise)| promise(bytes)).unwrap_or_else(|| panic!("there is no target `{target}`"))
}

/// Longest body that is looked at, so that a record is compared in a moment.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A stored entry (its kind, its version and its body, each but the last on a line) is the same record once it is stored again.
fn entry(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.splitn(3, '\n');
    let (Some(kind), Some(version), Some(body)) = (lines.next(), lines.next(), lines.next()) else { return false };
    let Ok(version) = version.parse() else { return false };
    if body.len() > BODY_BYTES_MAX {
        return false;
    }
    let Ok(record) = decode(kind, version, body) else { return false };
    let stored = encode(&record).unwrap();
    assert_eq!(stored.kind, kind);
    assert!(stored.version >= version);
    assert_eq!(decode(stored.kind, stored.version, &stored.body), Ok(record));
    true
}

/// A checkpoint that the log's key signed is the head it says, and a note of another log is none.
fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(note) = std::str::from_utf8(bytes) else { return false };
    let [own, other] = [7, 8].map(|byte| LogKey::from_seed(&[byte; 32]).unwrap());
    let Ok(read) = Checkpoint::parse(note, &own.public()) else { return false };
    assert!(Checkpoint::parse(note, &other.public()).is_err(), "it is another log's as well");
    assert_eq!(read.note(), note);
    let (text, _) = note.split_once("\n\n").unwrap();
    let again = Checkpoint::sign(&own, read.size(), *read.root());
    assert!(again.note().starts_with(&format!("{text}\n\n")), "it is signed for another head");
    true
}

/// A moment prints as it was read.
fn moment_text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let read = moment::parse(text);
    assert!(read.is_none_or(|time| time.to_string() == text));
    read.is_some()
}

/// The scope of a halt is the same once it is a key again.
fn scope(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let read = parse_scope(text);
    assert!(read.as_ref().is_none_or(|scope| scope_text(scope) == text));
    read.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file is called says what becomes of it: `read-…` is read and `refused-…` is not. The others were found by a
    /// fuzzer and only have to keep the promises.
    #[test]
    fn every_corpus_is_read_and_refused_as_its_names_say() {
        let mut wrong = Vec::new();
        for (target, promise) in TARGETS {
            let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
            let (mut read, mut refused) = (0, 0);
            for file in std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
                let path = file.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let is_read = promise(&std::fs::read(&path).unwrap());
                let (is_said_read, is_said_refused) = (name.starts_with("read-"), name.starts_with("refused-"));
                if (is_said_read && !is_read) || (is_said_refused && is_read) {
                    wrong.push(format!("{target}/{name}"));
                }
                read += usize::from(is_said_read);
                refused += usize::from(is_said_refused);
            }
            assert!(
                read > 0 && refused > 0,
                "the corpus of `{target}` needs something to read and something to refuse"
            );
        }
        assert!(wrong.is_empty(), "not as their names say: {wrong:#?}");
    }
}
