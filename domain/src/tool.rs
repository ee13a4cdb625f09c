//! Tools that a brokered server offers, as a grant names them: by server, name and the digest of what was described.

use std::fmt;

use crate::{Digest, ServerName};

/// Longest name of a tool that is taken for one; the protocol's own advice.
const NAME_BYTES_MAX: usize = 128;

/// What a server calls a tool: letters, digits, `_`, `-`, `.` and `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName(String);

/// What a run may do with a tool server. Compared by equality: a tool that is described otherwise is another tool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToolScope {
    /// Ask which tools it has.
    List {
        /// Which server.
        server: ServerName,
    },
    /// Call one of them.
    Call {
        /// Which server.
        server: ServerName,
        /// Which tool.
        tool: ToolName,
        /// Of its name, description and input schema, as they were when the operator took it on.
        described: Digest,
    },
}

impl ToolScope {
    /// The server.
    pub fn server(&self) -> &ServerName {
        match self {
            Self::List { server } | Self::Call { server, .. } => server,
        }
    }

    /// The tool, where one is called.
    pub fn tool(&self) -> Option<&ToolName> {
        match self {
            Self::List { .. } => None,
            Self::Call { tool, .. } => Some(tool),
        }
    }
}

impl ToolName {
    /// Reads a tool's name; none where it is none that a policy or a person could take for what it is.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
        let is_name = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        is_name.then(|| Self(text.to_owned()))
    }

    /// The name as the server wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_s_name_is_plain() {
        for text in ["search", "create_issue", "a.b/c-d", &"x".repeat(NAME_BYTES_MAX)] {
            assert!(ToolName::parse(text).is_some(), "{text}");
        }
        for text in ["", "a b", "a\n", "s\u{0435}arch", "a\u{200b}", "a;b", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(ToolName::parse(text).is_none(), "{text:?}");
        }
    }
}
