//! Tool calls that were denied: what the model asked for and what it is told. Owns that the agent never has the call and the model always
//! hears of it: on the next request the call gets its own name and arguments back, and its result is what the door wrote.

use std::collections::BTreeMap;

use super::answer::Call;

/// Denials remembered in one attempt. An agent sends its whole conversation with each request; one that was denied more often has been
/// halted.
const DENIALS_MAX: usize = 8_192;

/// Bytes of calls that are remembered. Beyond it a call's arguments are forgotten and the model is shown none.
const REMEMBERED_BYTES_MAX: usize = 16 << 20;

/// Bytes that the denied calls of one request may come to once they are restored, were each the longest.
const RESTORED_BYTES_MAX: usize = 128 << 20;

/// The member of a denied call's arguments that says which one it was.
const KEY: &str = "denied";

/// The denied calls of one attempt.
#[derive(Debug)]
pub struct Denials {
    name: String,
    calls: BTreeMap<String, Denied>,
    bytes: usize,
    count: u64,
}

/// A call that was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What the model asked for.
    pub call: Call,
    /// What it is told.
    pub told: String,
    /// Which one it was: an id may come twice.
    number: u64,
}

impl Denials {
    /// None yet. `name` is what denied calls are called: no tool of any agent, and another one in every attempt, so that no agent can
    /// declare it (`selvedge_denied_` and some random letters).
    pub fn new(name: String) -> Self {
        Self { name, calls: BTreeMap::new(), bytes: 0, count: 0 }
    }

    /// Whether so many of the denied calls, restored, could be more than a request may be: an agent may send one back again and again.
    pub fn is_flooded_by(&self, count: usize) -> bool {
        let largest = self.calls.values().map(|denied| denied.call.arguments.len() + denied.told.len()).max();
        count.saturating_mul(largest.unwrap_or(0)) > RESTORED_BYTES_MAX
    }

    /// The name of denied calls.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Remembers a denied call. Gives the arguments that it goes to the agent with: a JSON object that holds nothing but its key.
    pub fn deny(&mut self, call: &Call, told: &str) -> String {
        self.count += 1;
        let key = self.count.to_string();
        let size = call.arguments.len() + call.name.len() + told.len();
        if self.calls.len() < DENIALS_MAX {
            let fits = self.bytes.saturating_add(size) <= REMEMBERED_BYTES_MAX;
            let arguments = if fits { call.arguments.clone() } else { "{}".to_owned() };
            self.bytes = self.bytes.saturating_add(if fits { size } else { 0 });
            let is_json = call.is_json || !fits;
            let call = Call { arguments, is_json, ..call.clone() };
            self.calls.insert(key.clone(), Denied { call, told: told.to_owned(), number: self.count });
        }
        format!("{{\"{KEY}\":\"{key}\"}}")
    }

    /// The denied call that an agent sent back, if `name` is that of denied calls: by the key in its arguments. An error where the name is
    /// ours and the key is none that was given.
    pub fn restore(&self, name: &str, arguments: &str) -> Result<Option<&Denied>, ForgedDenial> {
        if name != self.name {
            return Ok(None);
        }
        let arguments: serde_json::Value = serde_json::from_str(arguments).map_err(|_| ForgedDenial)?;
        let key = arguments.get(KEY).and_then(|key| key.as_str()).ok_or(ForgedDenial)?;
        self.calls.get(key).map(Some).ok_or(ForgedDenial)
    }

    /// The denied call that an agent sent back as a call of a tool of its own, for calls of tools it does not have: what it says of it
    /// holds the name that nobody else knows, and the id is still the one it had.
    pub fn renamed(&self, id: &str, arguments: &str) -> Option<&Denied> {
        if !arguments.contains(&self.name) {
            return None;
        }
        self.calls.values().filter(|denied| denied.call.id == id).max_by_key(|denied| denied.number)
    }
}

/// An agent sent back a denied call that there never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no call was denied under this key")]
pub struct ForgedDenial;

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str) -> Call {
        Call { id: "c1".into(), name: "Bash".into(), arguments: arguments.into(), is_json: true }
    }

    #[test]
    fn a_denied_call_comes_back_as_it_was_and_no_other_does() {
        let mut denials = Denials::new("selvedge_denied_x7".into());
        let sent = denials.deny(&call("{\"command\":\"env\"}"), "denied: outside_grant");
        assert!(!sent.contains("env"), "the agent has none of it");
        let back = denials.restore("selvedge_denied_x7", &sent).unwrap().unwrap();
        assert_eq!((back.call.name.as_str(), back.call.arguments.as_str()), ("Bash", "{\"command\":\"env\"}"));
        assert_eq!(back.told, "denied: outside_grant");
        assert_eq!(denials.restore("Bash", &sent), Ok(None));
        for forged in ["{}", "{\"denied\":\"2\"}", "{\"denied\":1}", "no json"] {
            assert_eq!(denials.restore("selvedge_denied_x7", forged), Err(ForgedDenial), "{forged}");
        }
    }

    #[test]
    fn a_denied_call_is_known_as_one_of_a_tool_for_calls_that_went_wrong_a101() {
        let mut denials = Denials::new("selvedge_denied_x7".into());
        for told in ["first", "second"] {
            denials.deny(&call("{}"), told);
        }
        let said = r#"{"tool":"selvedge_denied_x7","error":"unavailable tool"}"#;
        assert_eq!(denials.renamed("c1", said).unwrap().told, "second", "the last of this id");
        assert_eq!(denials.renamed("c2", said), None);
        assert_eq!(denials.renamed("c1", r#"{"tool":"else"}"#), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut denials = Denials::new("selvedge_denied_x7".into());
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(9 << 20));
        let (first, second) = (denials.deny(&call(&large), "no"), denials.deny(&call(&large), "no"));
        let arguments = |sent: &str| denials.restore("selvedge_denied_x7", sent).unwrap().unwrap().call.arguments.len();
        assert_eq!((arguments(&first), arguments(&second)), (large.len(), 2));
        assert!(!denials.is_flooded_by(2) && denials.is_flooded_by(1_000));
    }
}
