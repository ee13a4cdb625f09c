//! Names people choose: agents, repositories, credentials, models and tool servers. They end up in paths, branch names and policies, so they are narrow.

use std::fmt;

/// A name that cannot be used, and what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not {kind} name: use 1 to 100 of a-z 0-9 . _ -{slash}, beginning and ending with a letter or digit"
)]
pub struct BadName {
    text: String,
    kind: &'static str,
    slash: &'static str,
}

/// Longest name we accept; file names end at 255 bytes and we add prefixes.
const NAME_BYTES_MAX: usize = 100;

/// A registered worker, for example `fixer`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

/// A repository the factory looks after, for example `acme/shop`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName(String);

/// A credential the operator configured, for example `crates`. It names the means, never the secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialName(String);

/// A model the operator configured, for example `main`. What the vendor calls it is another matter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

/// A pipeline the operator configured, for example `fix`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineName(String);

/// One part of a pipeline, for example `plan`. Files that are handed over are named after it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName(String);

impl PipelineName {
    /// Reads a pipeline's name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        is_slug(text).then(|| Self(text.to_owned())).ok_or_else(|| BadName {
            text: text.chars().take(64).collect(),
            kind: "a pipeline's",
            slash: "",
        })
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartName {
    /// Reads the name of a pipeline's stage.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        is_slug(text).then(|| Self(text.to_owned())).ok_or_else(|| BadName {
            text: text.chars().take(64).collect(),
            kind: "a stage's",
            slash: "",
        })
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tool server the operator configured, for example `tracker`. It is a path component of the tool door.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// Reads a tool server's name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        is_slug(text).then(|| Self(text.to_owned())).ok_or_else(|| BadName {
            text: text.chars().take(64).collect(),
            kind: "a tool server's",
            slash: "",
        })
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ModelName {
    /// Reads a model's name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        is_slug(text).then(|| Self(text.to_owned())).ok_or_else(|| BadName {
            text: text.chars().take(64).collect(),
            kind: "a model's",
            slash: "",
        })
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AgentName {
    /// Reads an agent's name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        is_slug(text).then(|| Self(text.to_owned())).ok_or_else(|| BadName {
            text: text.chars().take(64).collect(),
            kind: "an agent",
            slash: "",
        })
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CredentialName {
    /// Reads a credential's name.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        is_slug(text).then(|| Self(text.to_owned())).ok_or_else(|| BadName {
            text: text.chars().take(64).collect(),
            kind: "a credential's",
            slash: "",
        })
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RepoName {
    /// Reads a repository's name: one or more slugs joined by `/`.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        (text.len() <= NAME_BYTES_MAX && text.split('/').all(is_slug))
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| BadName { text: text.chars().take(64).collect(), kind: "a repository", slash: " /" })
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one path component: `/` becomes `+`, which no name contains.
    pub fn as_file_name(&self) -> String {
        self.0.replace('/', "+")
    }
}

fn is_slug(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= NAME_BYTES_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && !text.contains("..")
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b))
}

macro_rules! shown_as_text {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
shown_as_text!(AgentName RepoName CredentialName ModelName PipelineName PartName ServerName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_read() {
        assert!(AgentName::parse("fixer-2").is_ok());
        assert_eq!(RepoName::parse("acme/shop").map(|r| r.as_file_name()), Ok("acme+shop".to_owned()));
    }

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for text in ["", "/", "a/", "/a", "..", "a/../b", "a..b", ".git", "a b", "a\n", "A", "ä", "a//b", "-a"] {
            assert!(RepoName::parse(text).is_err(), "{text:?}");
        }
        assert!(AgentName::parse("a/b").is_err());
        assert!(RepoName::parse(&"a".repeat(NAME_BYTES_MAX + 1)).is_err());
    }
}
