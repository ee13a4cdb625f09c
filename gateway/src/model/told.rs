//! What an agent's own hooks tell of a tool call: that it begins, that it is over. Untrusted and bounded; it explains what is on record, and
//! nothing is decided by it (`docs/decisions/0017-observed.md`). Owns the reading, and which of the calls that were passed is meant. No I/O.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::answer::Call;
use super::json;
use super::wanted::Told;

/// Where hooks tell it, at the model door.
pub const PATH: &str = "/selvedge/told";

/// Longest body: hooks send what a call was made with and what came of it.
pub(crate) const TOLD_BYTES_MAX: u64 = 8 << 20;

/// How often one attempt is listened to: a few thousand calls, each of which begins and is over.
const TOLD_MAX: u64 = 8_192;

/// Calls that are remembered by their ids.
const CALLS_MAX: usize = 4_096;

/// Longest name, and longest id.
const WORD_CHARS_MAX: usize = 128;

/// Where agents say with which exit status a command ended.
const EXITS: [&str; 3] = ["/tool_response/exit_code", "/tool_response/exitCode", "/tool_response/metadata/exit_code"];

/// The calls that an agent was given, by their ids, and how often it told of any.
#[derive(Debug, Default)]
pub(crate) struct Given {
    calls: BTreeMap<String, (u64, u64)>,
    heard: u64,
}

impl Given {
    /// A call goes to the agent as this one of this answer's. The last one of an id is the one that is meant.
    pub(crate) fn note(&mut self, call: &Call, place: (u64, u64)) {
        if call.id.len() > WORD_CHARS_MAX {
            return;
        }
        if self.calls.len() < CALLS_MAX || self.calls.contains_key(&call.id) {
            self.calls.insert(call.id.clone(), place);
        }
    }

    /// A call was denied, so that the agent never has it.
    pub(crate) fn forget(&mut self, call: &Call) {
        self.calls.remove(&call.id);
    }

    /// Reads what a hook tells; none where it is nothing of a call, or where enough was told.
    pub(crate) fn read(&mut self, body: &[u8]) -> Option<Told> {
        let (id, told) = read(body)?;
        self.heard = self.heard.saturating_add(1);
        (self.heard <= TOLD_MAX).then(|| Told { call: self.calls.get(&id).copied(), ..told })
    }
}

/// The id that it names, and what it tells.
fn read(body: &[u8]) -> Option<(String, Told)> {
    let members = json::object(body).ok()?;
    let (is_over, has_failed) = match text(&members, "hook_event_name")? {
        "PreToolUse" | "BeforeTool" => (false, false),
        "PostToolUse" | "AfterTool" => (true, false),
        "PostToolUseFailure" => (true, true),
        _ => return None,
    };
    let id = text(&members, "tool_use_id").unwrap_or_default().to_owned();
    let tool = plain(text(&members, "tool_name")?);
    let (shown, members) = (plain(&id), Value::Object(members));
    let exit = EXITS.iter().find_map(|place| members.pointer(place)?.as_i64());
    Some((id, Told { id: shown, tool, call: None, is_over, has_failed, exit }))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

fn plain(word: &str) -> String {
    word.chars().filter(char::is_ascii_graphic).take(WORD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(body: &Value) -> Option<Told> {
        let mut given = Given::default();
        let call = Call { id: "toolu_1".into(), name: "Bash".into(), arguments: "{}".into(), is_json: true };
        given.note(&call, (7, 1));
        given.read(body.to_string().as_bytes())
    }

    #[test]
    fn a_hook_s_word_is_linked_with_the_call_it_names_and_with_no_other() {
        let body = |event: &str, id: &str| {
            json!({
                "hook_event_name": event, "tool_name": "Bash", "tool_use_id": id, "cwd": "/workspace",
                "tool_input": { "command": "ls" }, "tool_response": { "exit_code": 3 },
            })
        };
        let begun = told(&body("PreToolUse", "toolu_1")).unwrap();
        assert_eq!((begun.call, begun.is_over, begun.tool.as_str()), (Some((7, 1)), false, "Bash"));
        let over = told(&body("PostToolUse", "toolu_1")).unwrap();
        assert_eq!((over.call, over.is_over, over.has_failed, over.exit), (Some((7, 1)), true, false, Some(3)));
        assert!(told(&body("PostToolUseFailure", "toolu_1")).unwrap().has_failed);
        assert_eq!(told(&body("PreToolUse", "toolu_2")).unwrap().call, None);
        let mut given = Given::default();
        for id in ["toolu_1".to_owned(), "x".repeat(WORD_CHARS_MAX + 1)] {
            let call = Call { id, name: "Bash".into(), arguments: "{}".into(), is_json: true };
            given.note(&call, (7, 1));
            assert!(given.calls.len() <= 1, "an id may be as long as an answer, and is not kept then");
            given.forget(&call);
        }
        let denied = given.read(body("PostToolUse", "toolu_1").to_string().as_bytes()).unwrap();
        assert_eq!(denied.call, None, "the agent never had it");
        assert_eq!(told(&body("SessionStart", "toolu_1")), None);
        assert_eq!(told(&json!({ "hook_event_name": "PreToolUse" })), None);
    }

    #[test]
    fn what_is_told_is_plain_short_and_not_heard_for_ever() {
        let name = "é\u{1b}[31m".repeat(999);
        let body = json!({ "hook_event_name": "PreToolUse", "tool_name": name, "tool_use_id": name });
        let said = told(&body).unwrap();
        assert!(
            said.tool.len() <= WORD_CHARS_MAX && said.tool.is_ascii() && said.id.len() <= WORD_CHARS_MAX,
            "{said:?}"
        );
        let mut given = Given::default();
        let heard = (0..TOLD_MAX + 9).filter(|_| given.read(body.to_string().as_bytes()).is_some()).count();
        assert_eq!(heard as u64, TOLD_MAX);
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_read_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let told = Given::default().read(&bytes);
            prop_assert!(told.is_none_or(|told| told.tool.len() <= WORD_CHARS_MAX));
        }
    }
}
