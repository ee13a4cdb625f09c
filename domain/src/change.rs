//! What a worker changed, as plain data: paths beneath the repository and their new content.

use std::fmt;

/// A path that may not be part of a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {because}")]
pub struct BadPath {
    path: String,
    because: &'static str,
}

/// A path beneath a repository's root, in git's form: `/` between components, no leading slash.
///
/// No component is empty, `.`, `..` or any spelling of `.git`; no byte is NUL or a control character. So joining it to
/// a directory stays beneath that directory, and git will not read it as its own configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

/// Longest path: Linux `PATH_MAX` less room for the directory it is joined to.
const PATH_BYTES_MAX: usize = 3072;

impl RepoPath {
    /// Reads a path as bytes from a directory walk or a git tree.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadPath> {
        let bad =
            |because| BadPath { path: String::from_utf8_lossy(bytes).escape_debug().take(120).collect(), because };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("is not UTF-8"))?;
        if text.len() > PATH_BYTES_MAX {
            return Err(bad("is too long"));
        }
        if text.chars().any(char::is_control) {
            return Err(bad("holds a control character"));
        }
        for component in text.split('/') {
            match component {
                "" => return Err(bad("has an empty component")),
                "." | ".." => return Err(bad("has a `.` or `..` component")),
                _ if is_dot_git(component) => return Err(bad("names git's own directory")),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

/// Whether a character can make text look like other text: control characters, bidirectional controls, invisible and tag
/// characters, and separators that only some viewers break lines at (Unicode TR 36, section 2; A-70).
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
            | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// Whether some file system would take `component` for `.git`: git's own `verify_dotfile` and `is_ntfs_dotgit` rules,
/// and code points HFS+ ignores.
fn is_dot_git(component: &str) -> bool {
    let visible: String = component
        .chars()
        .filter(|c| !matches!(u32::from(*c), 0x200c..=0x200f | 0x202a..=0x202e | 0x206a..=0x206f | 0xfeff))
        .collect();
    let stem = visible.split([':', '\\']).next().unwrap_or("").trim_end_matches([' ', '.']).to_ascii_lowercase();
    stem == ".git" || stem == "git~1"
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// The kinds of file a proposal may hold. Gitlinks and devices have no variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileMode {
    /// `100644`
    Regular,
    /// `100755`
    Executable,
    /// `120000`; the content is the target.
    Symlink,
}

impl FileMode {
    /// The mode as git writes it in a tree.
    pub fn as_git(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }
}

/// One path's new state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The file now has this content.
    Write {
        /// Where.
        path: RepoPath,
        /// As what.
        mode: FileMode,
        /// The bytes, or a symlink's target.
        content: Vec<u8>,
    },
    /// The path, and everything beneath it, is gone.
    Remove {
        /// Where.
        path: RepoPath,
    },
}

impl Change {
    /// The path it concerns.
    pub fn path(&self) -> &RepoPath {
        match self {
            Self::Write { path, .. } | Self::Remove { path } => path,
        }
    }
}

/// Everything a worker changed, in path order, each path once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSet {
    changes: Vec<Change>,
}

impl ChangeSet {
    /// Puts changes in path order; a later change of the same path replaces an earlier one.
    pub fn new(changes: impl IntoIterator<Item = Change>) -> Self {
        let by_path: std::collections::BTreeMap<RepoPath, Change> =
            changes.into_iter().map(|change| (change.path().clone(), change)).collect();
        Self { changes: by_path.into_values().collect() }
    }

    /// The changes in path order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_git_s_directory_is_refused() {
        for path in [
            ".git",
            ".git/config",
            "a/.git",
            ".GIT/x",
            ".Git",
            "git~1",
            "GIT~1/config",
            ".git ",
            ".git.",
            ".git. .",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it/config",
            "x/\u{feff}.git",
        ] {
            assert!(RepoPath::parse(path.as_bytes()).is_err(), "{path:?}");
        }
        for path in [".gitignore", ".github/workflows/ci.yml", "git", "a.git", ".gitattributes"] {
            assert!(RepoPath::parse(path.as_bytes()).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn paths_that_leave_or_confuse_are_refused() {
        for path in [&b""[..], b"/etc", b"a//b", b"../a", b"a/..", b"./a", b"a\0b", b"a\nb", b"\xff", b"a/"] {
            assert!(RepoPath::parse(path).is_err(), "{path:?}");
        }
        assert!(RepoPath::parse(&[b'a'; PATH_BYTES_MAX + 1]).is_err());
    }
}
