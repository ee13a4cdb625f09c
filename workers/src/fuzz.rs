//! What holds of whatever an agent prints or says, as functions from bytes: for the fuzz targets in `fuzz/`, and with their corpora for the
//! tests. Owns the promises; never part of a build.

#![expect(clippy::panic, reason = "a broken promise has to be seen")]

use serde_json::Value;

use crate::acp::{self, Assignment, Conversation, Step};
use crate::agents::{Adapter, End, Outcome};

/// Whether the bytes were read. Panics where a promise about what was read is broken.
pub type Promise = fn(&[u8]) -> bool;

/// Every promise, by the name of its fuzz target.
pub const TARGETS: &[(&str, Promise)] = &[("acp_conversation", acp_conversation), ("agent_output", agent_output)];

/// Looks at `bytes` as the fuzz target of this name does.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let named = TARGETS.iter().find(|(name, _)| *name == target);
    named.map(|(_, promise)| promise(bytes)).unwrap_or_else(|| panic!("there is no target `{target}`"))
}

/// Whatever an agent says, line by line, what it is answered is one message a line and never a permission for good, what is told of it is
/// bounded and read again as what it came to, and it is done only where it says so.
fn acp_conversation(bytes: &[u8]) -> bool {
    let assignment = Assignment {
        command: Vec::new(),
        task: "a task\n".to_owned(),
        workspace: "/workspace".to_owned(),
        mode: bytes.starts_with(b"mode\n").then(|| "code".to_owned()),
        servers: vec![("a".to_owned(), "http://a".to_owned())],
        silence_seconds: 1,
    };
    let mut told = Vec::new();
    let (mut conversation, hello) = Conversation::begin(&assignment, &mut told);
    let mut says = vec![hello];
    let mut end = End::Stopped("it ended".to_owned());
    for line in bytes.split(|byte| *byte == b'\n') {
        match conversation.hear(line) {
            Step::Nothing | Step::Stray => {}
            Step::Say(answer) => {
                let option = serde_json::from_str::<Value>(&answer).ok();
                let option = option.as_ref().and_then(|answer| answer.pointer("/result/outcome/optionId"));
                assert!(option.is_none_or(|option| is_for_once(line, option)), "{answer}");
                says.push(answer);
            }
            Step::End(so) => {
                end = so;
                break;
            }
        }
    }
    conversation.end(&end);
    for line in &says {
        assert!(line.find('\n') == Some(line.len() - 1) && serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    assert!(told.len() <= 2 * bytes.len() + (1 << 20), "{}", told.len());
    let report = acp::read(&told);
    assert_eq!(report.unread, 0);
    let outcome = report.outcome(Some(i32::from(end != End::Well)));
    let is_done = matches!(outcome, Outcome::Finished | Outcome::Idle);
    assert_eq!(is_done, end == End::Well, "{outcome:?}");
    is_done && says.len() >= 3
}

/// Whether a request for permission offers this option for once.
fn is_for_once(line: &[u8], option: &Value) -> bool {
    let asked: Value = serde_json::from_slice(line).unwrap_or_default();
    let options = asked.pointer("/params/options").and_then(Value::as_array).into_iter().flatten();
    let kinds = options.filter(|offered| offered.get("optionId") == Some(option)).map(|offered| offered.get("kind"));
    kinds.flatten().any(|kind| kind == "allow_once" || kind == "reject_once")
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
