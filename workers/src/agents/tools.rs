//! What the tools of an agent are, and where in a call's arguments it says what it will do. A call is what a model asked for: the
//! facts of it help a policy to answer, and bound nothing.

use serde_json::Value;

/// Most paths that one call is said to name. More are left out, and that is said.
const PATHS_MAX: usize = 64;

/// Longest command, path or address that is looked at.
const WORD_BYTES_MAX: usize = 16 << 10;

/// What a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolKind {
    /// Runs a program.
    Shell,
    /// Changes files.
    Edit,
    /// Reads files.
    Read,
    /// Asks an address for something.
    Fetch,
    /// Looks for something, in files or elsewhere.
    Search,
    /// Writes down what is planned.
    Plan,
    /// Gives work to another agent.
    Child,
    /// Something else.
    Other,
}

/// One tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// What the agent calls it.
    pub name: &'static str,
    /// What it does.
    pub kind: ToolKind,
    /// The argument that holds a command: text, or a list of words.
    pub command: Option<&'static str>,
    /// The arguments that hold a path.
    pub paths: &'static [&'static str],
    /// The argument that holds an address.
    pub address: Option<&'static str>,
    /// The argument that holds a patch, which names its paths itself.
    pub patch: Option<&'static str>,
}

/// What a call of a tool says it will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The command.
    pub command: Option<String>,
    /// The paths, as they are written.
    pub paths: Vec<String>,
    /// The address.
    pub address: Option<String>,
    /// Whether something was there and is left out: longer, more, or of another form than is looked at.
    pub is_cut: bool,
}

impl ToolKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Edit => "edit",
            Self::Read => "read",
            Self::Fetch => "fetch",
            Self::Search => "search",
            Self::Plan => "plan",
            Self::Child => "child",
            Self::Other => "other",
        }
    }
}

impl Tool {
    /// A tool that says nothing of what it will do.
    pub(super) const fn new(name: &'static str, kind: ToolKind) -> Self {
        Self { name, kind, command: None, paths: &[], address: None, patch: None }
    }

    pub(super) const fn shell(name: &'static str, command: &'static str) -> Self {
        Self { command: Some(command), ..Self::new(name, ToolKind::Shell) }
    }

    pub(super) const fn at(name: &'static str, kind: ToolKind, paths: &'static [&'static str]) -> Self {
        Self { paths, ..Self::new(name, kind) }
    }

    pub(super) const fn fetch(name: &'static str, address: &'static str) -> Self {
        Self { address: Some(address), ..Self::new(name, ToolKind::Fetch) }
    }

    pub(super) const fn patch(name: &'static str, patch: &'static str) -> Self {
        Self { patch: Some(patch), ..Self::new(name, ToolKind::Edit) }
    }

    /// What a call with these arguments says it will do.
    pub fn facts(&self, arguments: &Value) -> Facts {
        let mut facts = Facts::default();
        facts.command = self.command.and_then(|name| facts.word(arguments.get(name)));
        facts.address = self.address.and_then(|name| facts.word(arguments.get(name)));
        for name in self.paths {
            if let Some(path) = facts.word(arguments.get(*name)) {
                facts.path(path);
            }
        }
        match self.patch.and_then(|name| arguments.get(name)) {
            Some(Value::String(patch)) => {
                for path in patch.lines().filter_map(patched) {
                    match path.len() <= WORD_BYTES_MAX {
                        true => facts.path(path.to_owned()),
                        false => facts.is_cut = true,
                    }
                }
            }
            Some(_) => facts.is_cut = true,
            None => {}
        }
        facts
    }
}

impl Facts {
    /// A text, or the words of a list with spaces between them.
    fn word(&mut self, value: Option<&Value>) -> Option<String> {
        let text = match value? {
            Value::Null => return None,
            Value::String(text) => Some(text.clone()),
            Value::Array(words) => {
                words.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|words| words.join(" "))
            }
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        };
        let text = text.filter(|text| text.len() <= WORD_BYTES_MAX);
        self.is_cut |= text.is_none();
        text
    }

    fn path(&mut self, path: String) {
        match self.paths.len() < PATHS_MAX {
            true => self.paths.push(path),
            false => self.is_cut = true,
        }
    }
}

/// The path that a line of a patch names: `*** Update File: path`, and the like.
fn patched(line: &str) -> Option<&str> {
    ["*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "]
        .iter()
        .find_map(|head| line.strip_prefix(head))
        .map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agents::Adapter;

    fn facts(adapter: &str, tool: &str, arguments: &Value) -> Facts {
        Adapter::named(adapter).unwrap().tool(tool).unwrap().facts(arguments)
    }

    #[test]
    fn a_call_says_its_command_its_paths_and_its_address() {
        let bash = facts("claude-code", "Bash", &json!({ "command": "make test", "description": "x" }));
        assert_eq!(bash, Facts { command: Some("make test".to_owned()), ..Facts::default() });
        let shell = facts("codex", "shell", &json!({ "command": ["bash", "-lc", "ls"] }));
        assert_eq!(shell.command.as_deref(), Some("bash -lc ls"));
        let write = facts("opencode", "write", &json!({ "filePath": "a/b.rs", "content": "x" }));
        assert_eq!(write.paths, ["a/b.rs"]);
        let fetch = facts("claude-code", "WebFetch", &json!({ "url": "https://a.example/", "prompt": "x" }));
        assert_eq!(fetch.address.as_deref(), Some("https://a.example/"));
    }

    #[test]
    fn a_patch_names_its_paths_itself() {
        let patch = "*** Begin Patch\n*** Update File: src/a.rs\n*** Move to: src/b.rs\n@@\n-x\n+*** Add File: no\n*** Delete File: c\n*** End Patch";
        let facts = facts("codex", "apply_patch", &json!({ "input": patch }));
        assert_eq!(facts, Facts { paths: vec!["src/a.rs".into(), "src/b.rs".into(), "c".into()], ..Facts::default() });
    }

    #[test]
    fn what_is_too_long_too_much_or_of_another_form_is_said_to_be_cut() {
        let long = facts("claude-code", "Bash", &json!({ "command": "x".repeat(WORD_BYTES_MAX + 1) }));
        assert_eq!(long, Facts { is_cut: true, ..Facts::default() });
        let other = facts("claude-code", "Bash", &json!({ "command": { "a": 1 } }));
        assert!(other.is_cut && other.command.is_none());
        let many: String = (0..=PATHS_MAX).map(|n| format!("*** Add File: f{n}\n")).collect();
        let many = facts("codex", "apply_patch", &json!({ "input": many }));
        assert!(many.is_cut && many.paths.len() == PATHS_MAX);
        assert_eq!(facts("claude-code", "Bash", &json!([])), Facts::default());
    }
}
