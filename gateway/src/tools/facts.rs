//! What the arguments of a brokered call say, for whoever decides: each of them as text, and the command, paths and addresses among them.
//! Owns that what cannot be told in bounded plain text is not passed over in silence. No I/O.

use selvedge_domain::Digest;
use selvedge_domain::orders::CUT;
use serde_json::{Map, Value};

use super::wanted::TakenOn;
use crate::model::facts::shown;

/// Most arguments, those within others counted one by one.
pub const VALUES_MAX: usize = 256;

/// Longest text of one that is told; what is longer is cut, and put before nobody for a yes.
const VALUE_CHARS_MAX: usize = 4_096;

/// What is left of those where all of them together are longer than is told.
const VALUE_CHARS_LEFT: usize = 256;

/// Most bytes that are told of the arguments of an agent's own tool, beside its command and its paths.
const OWN_BYTES_MAX: usize = 12 * 1024;

/// Longest command that is told.
const COMMAND_CHARS_MAX: usize = 4_096;

/// Longest path or address that is told.
const WORD_CHARS_MAX: usize = 1_024;

/// Most bytes of all that is told of one call: twice that, were each of them escaped, fits a message to the keeper.
const TOLD_BYTES_MAX: usize = 20 * 1024;

/// What is told of a call's arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The command it would run; "" where there is none.
    pub command: String,
    /// Paths.
    pub paths: Vec<String>,
    /// Addresses.
    pub addresses: Vec<String>,
    /// Every argument as `name=value`; `a.0.b=value` within others.
    pub values: Vec<String>,
    /// Whether a path or address is longer than is told.
    is_too_long: bool,
}

/// A call whose arguments cannot be told. It is denied without being asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it says more than can be judged: give fewer or shorter arguments, in several calls")]
pub struct Untold;

/// The facts of a call's arguments.
pub fn facts(tool: &TakenOn, arguments: &Map<String, Value>) -> Result<Facts, Untold> {
    let mut facts = Facts::default();
    for (name, value) in arguments {
        facts.read(tool, name, name, value);
        if facts.values.len() > VALUES_MAX {
            return Err(Untold);
        }
    }
    // What is no text and no list of texts, a server may take for a command all the same.
    let named = tool.command.iter().filter_map(|name| arguments.get(name));
    if named.clone().any(|value| !is_texts(value)) || facts.is_too_long {
        return Err(Untold);
    }
    let command: Vec<&str> = tool.command.iter().filter_map(|name| arguments.get(name)).flat_map(texts).collect();
    facts.command = shown(&command.join(" "), COMMAND_CHARS_MAX);
    let besides = bytes_of(&facts.paths) + bytes_of(&facts.addresses) + facts.command.len();
    shorten(&mut facts.values, TOLD_BYTES_MAX.saturating_sub(besides));
    if besides + bytes_of(&facts.values) > TOLD_BYTES_MAX { Err(Untold) } else { Ok(facts) }
}

/// The arguments of an agent's own tool as `name=value`. What there is no room for is cut: such a call is put before nobody.
pub(crate) fn values<'a>(arguments: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Vec<String> {
    let described = Digest::of_parts([]);
    let tool = TakenOn { described, command: None, paths: Vec::new(), addresses: Vec::new() };
    let mut facts = Facts::default();
    for (name, value) in arguments {
        facts.read(&tool, name, name, value);
    }
    let mut values = facts.values;
    let all = values.len();
    shorten(&mut values, OWN_BYTES_MAX);
    values.truncate(VALUES_MAX);
    while bytes_of(&values) > OWN_BYTES_MAX {
        values.pop();
    }
    if values.len() < all {
        values.push(CUT.to_owned());
    }
    values
}

/// Cuts long values where all of them are longer than that.
fn shorten(values: &mut [String], bytes_max: usize) {
    if bytes_of(values) > bytes_max {
        for value in values {
            *value = shown(value, VALUE_CHARS_LEFT);
        }
    }
}

fn bytes_of(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

impl Facts {
    /// Takes one argument in, and what is within it. `of` is the argument that the operator may have named.
    fn read(&mut self, tool: &TakenOn, of: &str, name: &str, value: &Value) {
        if self.values.len() > VALUES_MAX {
            return;
        }
        match value {
            Value::Array(values) if !values.is_empty() => {
                for (place, value) in values.iter().enumerate() {
                    self.read(tool, of, &format!("{name}.{place}"), value);
                }
            }
            Value::Object(members) if !members.is_empty() => {
                for (member, value) in members {
                    self.read(tool, of, &format!("{name}.{member}"), value);
                }
            }
            Value::String(text) => {
                self.values.push(shown(&format!("{name}={text}"), VALUE_CHARS_MAX));
                let is_long = text.chars().nth(WORD_CHARS_MAX).is_some();
                let is_named = |names: &[String]| names.iter().any(|known| known == of);
                if is_named(&tool.addresses) || looks_like_address(text) {
                    self.is_too_long |= is_long;
                    self.addresses.push(shown(text, WORD_CHARS_MAX));
                }
                if is_named(&tool.paths) || looks_like_path(text) {
                    self.is_too_long |= is_long;
                    self.paths.push(shown(text, WORD_CHARS_MAX));
                }
            }
            other => self.values.push(shown(&format!("{name}={other}"), VALUE_CHARS_MAX)),
        }
    }
}

pub(crate) fn is_texts(value: &Value) -> bool {
    value.is_string() || value.as_array().is_some_and(|values| values.iter().all(Value::is_string))
}

/// A text, or each text of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let many = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    value.as_str().into_iter().chain(many)
}

/// Anything with a scheme, wherever it stands in the text.
fn looks_like_address(text: &str) -> bool {
    text.contains("://")
}

/// A path that begins at a root, a home or a place beside it, or leads up.
fn looks_like_path(text: &str) -> bool {
    let begins = ["/", "~/", "./", "../", "\\"].iter().any(|start| text.starts_with(start));
    (begins || text.split(['/', '\\']).any(|part| part == "..")) && !text.contains('\n')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool() -> TakenOn {
        let named = |name: &str| vec![name.to_owned()];
        let described = Digest::from_bytes([0; 32]);
        TakenOn { described, command: Some("run".to_owned()), paths: named("file"), addresses: named("host") }
    }

    fn told(arguments: Value) -> Result<Facts, Untold> {
        facts(&tool(), arguments.as_object().unwrap())
    }

    #[test]
    fn every_argument_is_told_e3_a44() {
        let facts = told(json!({
            "file": "notes", "host": "evil.example", "run": ["sh", "-c", "env"], "n": 3, "deep": { "list": ["x", null, {}] },
        }));
        let facts = facts.unwrap();
        assert_eq!(facts.command, "sh -c env");
        assert_eq!((facts.paths, facts.addresses), (vec!["notes".to_owned()], vec!["evil.example".to_owned()]));
        let values = ["deep.list.0=x", "deep.list.1=null", "deep.list.2={}", "file=notes", "host=evil.example", "n=3"];
        let values = values.into_iter().chain(["run.0=sh", "run.1=-c", "run.2=env"]);
        let mut told = facts.values;
        told.sort_unstable();
        assert_eq!(told, values.collect::<Vec<_>>());
    }

    #[test]
    fn addresses_and_paths_are_found_where_nobody_named_them() {
        let facts = told(json!({
            "body": "see https://evil.example/?q=1", "a": "/etc/shadow", "b": "a/../../b", "c": "plain words", "d": "1/2",
        }));
        let facts = facts.unwrap();
        assert_eq!(facts.addresses, ["see https://evil.example/?q=1"]);
        assert_eq!(facts.paths, ["/etc/shadow", "a/../../b"]);
    }

    #[test]
    fn a_command_in_another_shape_and_a_path_that_would_be_cut_are_not_passed_over_e3() {
        assert_eq!(told(json!({ "run": "env" })).unwrap().command, "env");
        for run in [json!([["env"]]), json!({ "sh": "env" }), json!(["sh", 1]), json!(3), json!(null)] {
            assert_eq!(told(json!({ "run": run })), Err(Untold), "{run}");
        }
        for name in ["file", "host"] {
            assert!(told(json!({ name: "x".repeat(WORD_CHARS_MAX) })).is_ok());
            assert_eq!(told(json!({ name: "x".repeat(WORD_CHARS_MAX + 1) })), Err(Untold));
        }
    }

    #[test]
    fn what_is_told_is_bounded_and_cannot_deceive_a70() {
        let cut = told(json!({ "a": "x".repeat(10_000), "b": "\u{202e}\u{1b}[2J" })).unwrap();
        assert_eq!(cut.values[0].len(), VALUE_CHARS_MAX + CUT.len());
        assert_eq!(cut.values[1], "b=\u{fffd}\u{fffd}[2J");
        assert_eq!(told(json!({ "a": vec![1; VALUES_MAX + 1] })), Err(Untold));
        let many: Map<String, Value> = (0..=VALUES_MAX).map(|n| (format!("a{n}"), json!(n))).collect();
        assert_eq!(facts(&tool(), &many), Err(Untold));
        let long: Map<String, Value> = (0..100).map(|n| (format!("a{n}"), json!("y".repeat(300)))).collect();
        assert_eq!(facts(&tool(), &long), Err(Untold));
    }

    #[test]
    fn many_long_arguments_are_told_in_part_and_what_is_told_is_all_or_says_that_it_is_cut_c8_e3() {
        let edits: Vec<Value> = (0..6).map(|_| json!({ "old": "a".repeat(2_000), "new": "b".repeat(2_000) })).collect();
        let told = facts(&tool(), json!({ "edits": edits }).as_object().unwrap()).unwrap();
        assert!(told.values.len() == 12 && told.values.iter().all(|value| value.ends_with(CUT)), "{told:?}");
        let own = |arguments: Value| values(arguments.as_object().unwrap());
        assert_eq!(own(json!({ "content": "fn main() {}\n", "n": 3 })), ["content=fn main() {}\n", "n=3"]);
        for much in [
            json!({ "content": "x".repeat(100_000) }),
            json!({ "a": vec!["y".repeat(300); 1_000] }),
            json!({ "b": vec![1; 300] }),
        ] {
            let told = own(much);
            assert!(
                bytes_of(&told) <= OWN_BYTES_MAX + CUT.len() && told.last().unwrap().ends_with(CUT),
                "{}",
                told.len()
            );
        }
    }
}
