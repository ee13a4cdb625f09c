//! What holds of whatever an agent prints, as functions from bytes: for the fuzz targets in `fuzz/`, and with their corpora for the
//! tests. Owns the promises; never part of a build.

#![expect(clippy::panic, reason = "a broken promise has to be seen")]

use crate::agents::{Adapter, Outcome};

/// Whether the bytes were read. Panics where a promise about what was read is broken.
pub type Promise = fn(&[u8]) -> bool;

/// Every promise, by the name of its fuzz target.
pub const TARGETS: &[(&str, Promise)] = &[("agent_output", agent_output)];

/// Looks at `bytes` as the fuzz target of this name does.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let named = TARGETS.iter().find(|(name, _)| *name == target);
    named.map(|(_, promise)| promise(bytes)).unwrap_or_else(|| panic!("there is no target `{target}`"))
}

/// What an agent printed (its name on the first line) is read within bounds, and is success only where its program ended well.
fn agent_output(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(name), Some(output)) = (parts.next(), parts.next()) else { return false };
    let Some(adapter) = std::str::from_utf8(name).ok().and_then(Adapter::named) else { return false };
    let report = adapter.read(output);
    assert!(report.text.len() <= 64 << 10 && report.errors.len() <= 16 && report.tools.len() <= 1_000);
    assert!(report.tool_uses >= report.tools.len() as u64);
    for status in [None, Some(1)] {
        let outcome = report.outcome(status);
        assert!(!matches!(outcome, Outcome::Finished | Outcome::Idle), "{outcome:?} with {status:?}");
        assert!(!outcome.to_string().contains('\n'), "{outcome}");
    }
    report.outcome(Some(0)) == Outcome::Finished
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
