//! What the tools of an agent are, and where in a call's arguments it says what it will do. The model door reads that out of each call:
//! facts that help a policy to answer, and bound nothing.

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
    /// The argument that holds a command: text, or a list of words. Empty where a call has no arguments and is a program itself.
    pub command: Option<&'static str>,
    /// The arguments that hold a path.
    pub paths: &'static [&'static str],
    /// The argument that holds an address.
    pub address: Option<&'static str>,
    /// The argument that holds a patch, which names its paths itself.
    pub patch: Option<&'static str>,
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

    /// A tool that is given the text of a program and nothing else.
    pub(super) const fn program(name: &'static str) -> Self {
        Self::shell(name, "")
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
}
