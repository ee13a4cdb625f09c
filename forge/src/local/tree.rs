//! Listing a tree: every entry named, typed, sized and within limits before any content is read.

use std::collections::BTreeSet;

use selvedge_domain::{BadPath, FileMode, RepoPath, TreeId};

use crate::git::{GitError, GitLimits, LISTING};

use super::Repository;

/// How much tree we are willing to write out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Entries.
    pub files_max: usize,
    /// Bytes in one file, which is held in memory while it is written.
    pub file_bytes_max: u64,
    /// Bytes in all.
    pub bytes_max: u64,
}

impl Default for TreeLimits {
    /// Twice the largest trees in everyday use (about 100,000 files, 2 GB checked out).
    fn default() -> Self {
        Self { files_max: 200_000, file_bytes_max: 256 << 20, bytes_max: 4 << 30 }
    }
}

/// A tree that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Git gave no answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A path we refuse: it would leave the directory or be taken for git's own.
    #[error("the tree has a path that cannot be used: {0}")]
    Path(#[from] BadPath),
    /// A submodule. Its content is elsewhere and its URL is the repository's choice (attack A-66).
    #[error("`{path}` is a submodule, and submodules are not supported")]
    Gitlink {
        /// Where.
        path: RepoPath,
    },
    /// A mode that git does not write.
    #[error("`{path}` has the unknown mode `{mode}`")]
    Mode {
        /// Where.
        path: RepoPath,
        /// What it says.
        mode: String,
    },
    /// Two entries for one name, or a file with entries beneath it.
    #[error("`{path}` stands for two different things in the tree")]
    Twice {
        /// Where.
        path: RepoPath,
    },
    /// More files than the limit, or as many with paths of unusual length.
    #[error("the tree has more than {files_max} files")]
    TooManyFiles {
        /// The limit.
        files_max: usize,
    },
    /// A file larger than the limit.
    #[error("`{path}` has more than {bytes_max} bytes")]
    TooLarge {
        /// Which.
        path: RepoPath,
        /// The limit.
        bytes_max: u64,
    },
    /// More bytes than the limit.
    #[error("the tree's files have more than {bytes_max} bytes in all")]
    TooManyBytes {
        /// The limit.
        bytes_max: u64,
    },
}

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: RepoPath,
    pub(super) mode: FileMode,
    pub(super) blob: String,
    pub(super) bytes: u64,
}

/// What a listing spends on an entry, on average, in a tree with very long paths.
const ENTRY_BYTES_USUAL: usize = 256;
/// The longest entry: the longest path, and mode, type, id and size before it.
const ENTRY_BYTES_MAX: usize = 4096;
/// Content read at once; bounds memory, and a batch costs one process.
const BATCH_BYTES: u64 = 64 << 20;
/// `<id> blob <size>\n` and the closing newline, with room to spare.
const HEADER_BYTES_MAX: u64 = 128;

impl Repository {
    /// Every file of a tree, in git's order, within `limits`.
    pub(super) fn list(&self, tree: &TreeId, limits: TreeLimits) -> Result<Vec<Entry>, TreeError> {
        // A few objects can spell out any number of paths, so git is stopped where the limit must have been passed.
        let stdout_bytes_max = limits.files_max.saturating_mul(ENTRY_BYTES_USUAL).saturating_add(ENTRY_BYTES_MAX);
        let git_limits = GitLimits { stdout_bytes_max, ..LISTING };
        let listing = match self.git(&["ls-tree", "-r", "-z", "-l", "--full-tree", tree.as_str()], b"", git_limits) {
            Err(GitError::TooMuchOutput { .. }) => return Err(TreeError::TooManyFiles { files_max: limits.files_max }),
            other => other?,
        };
        let mut entries = Vec::new();
        let mut bytes_total = 0u64;
        for record in records(&listing) {
            let entry = parse_entry(record)?;
            if entry.bytes > limits.file_bytes_max {
                return Err(TreeError::TooLarge { path: entry.path, bytes_max: limits.file_bytes_max });
            }
            bytes_total = bytes_total.saturating_add(entry.bytes);
            if bytes_total > limits.bytes_max {
                return Err(TreeError::TooManyBytes { bytes_max: limits.bytes_max });
            }
            if entries.len() == limits.files_max {
                return Err(TreeError::TooManyFiles { files_max: limits.files_max });
            }
            entries.push(entry);
        }
        no_name_twice(&entries)?;
        Ok(entries)
    }

    /// Reads the entries' content and hands it over in order.
    pub(super) fn read_blobs<'e, E: From<GitError>>(
        &self,
        entries: &'e [Entry],
        mut each: impl FnMut(&'e Entry, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = entries;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            rest = after;
            let asked: String = batch.iter().flat_map(|entry| [entry.blob.as_str(), "\n"]).collect();
            let size: u64 = batch.iter().map(|entry| entry.bytes + HEADER_BYTES_MAX).sum();
            let stdout_bytes_max = usize::try_from(size).unwrap_or(usize::MAX);
            let answered =
                self.git(&["cat-file", "--batch"], asked.as_bytes(), GitLimits { stdout_bytes_max, ..LISTING })?;
            let mut answered = answered.as_slice();
            for entry in batch {
                let content = take_blob(&mut answered, entry)
                    .ok_or_else(|| GitError::Unreadable { what: "cat-file".to_owned() })?;
                each(entry, content)?;
            }
        }
        Ok(())
    }
}

/// How many entries fit one batch: at least one, however large.
fn batch_len(entries: &[Entry]) -> usize {
    let mut bytes = 0u64;
    let fits = entries.iter().take_while(|entry| {
        bytes = bytes.saturating_add(entry.bytes + HEADER_BYTES_MAX);
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

/// Takes `<id> blob <size>\n<content>\n` off the front, if it is the blob asked for.
fn take_blob<'a>(answered: &mut &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    let header = format!("{} blob {}\n", entry.blob, entry.bytes);
    let rest = answered.strip_prefix(header.as_bytes())?;
    let (content, rest) = rest.split_at_checked(usize::try_from(entry.bytes).ok()?)?;
    *answered = rest.strip_prefix(b"\n")?;
    Some(content)
}

/// NUL-terminated records.
pub(super) fn records(listing: &[u8]) -> impl Iterator<Item = &[u8]> {
    listing.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

/// Reads `<mode> <type> <id> <size>\t<path>`.
pub(super) fn parse_entry(record: &[u8]) -> Result<Entry, TreeError> {
    let unreadable = || GitError::Unreadable { what: "ls-tree".to_owned() };
    let tab = record.iter().position(|byte| *byte == b'\t').ok_or_else(unreadable)?;
    let (head, path) = record.split_at_checked(tab).ok_or_else(unreadable)?;
    let path = RepoPath::parse(path.get(1..).unwrap_or_default())?;
    let head = std::str::from_utf8(head).map_err(|_| unreadable())?;
    let mut words = head.split_ascii_whitespace();
    let (Some(mode), Some(_kind), Some(blob), Some(size)) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(unreadable().into());
    };
    let Some(file_mode) = file_mode(mode) else {
        return Err(if mode == "160000" {
            TreeError::Gitlink { path }
        } else {
            TreeError::Mode { path, mode: mode.to_owned() }
        });
    };
    let bytes = size.parse().map_err(|_| unreadable())?;
    Ok(Entry { path, mode: file_mode, blob: blob.to_owned(), bytes })
}

/// The mode of a file; `100664` is what very old versions of git wrote.
pub(super) fn file_mode(mode: &str) -> Option<FileMode> {
    match mode {
        "100644" | "100664" => Some(FileMode::Regular),
        "100755" => Some(FileMode::Executable),
        "120000" => Some(FileMode::Symlink),
        _ => None,
    }
}

fn no_name_twice(entries: &[Entry]) -> Result<(), TreeError> {
    let mut files = BTreeSet::new();
    for entry in entries {
        if !files.insert(entry.path.as_str()) {
            return Err(TreeError::Twice { path: entry.path.clone() });
        }
    }
    for entry in entries {
        if parents(entry.path.as_str()).any(|parent| files.contains(parent)) {
            return Err(TreeError::Twice { path: entry.path.clone() });
        }
    }
    Ok(())
}

/// The directories above a path, nearest first.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/').map(|(parent, _)| parent), |path| {
        path.rsplit_once('/').map(|(parent, _)| parent)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_listing_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_entry(&bytes);
        }

        #[test]
        fn an_entry_reads_back(name in "[a-z]{1,8}(/[a-z]{1,8}){0,3}", size in any::<u64>(), padding in 0usize..8) {
            let record = format!("100755 blob {} {:>padding$}{size}\t{name}", "a".repeat(40), "");
            let entry = parse_entry(record.as_bytes()).unwrap();
            prop_assert_eq!((entry.path.as_str(), entry.mode, entry.bytes), (name.as_str(), FileMode::Executable, size));
        }

        #[test]
        fn any_answer_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in any::<u64>()) {
            let path = RepoPath::parse(b"a").unwrap();
            let entry = Entry { path, mode: FileMode::Regular, blob: "a".repeat(40), bytes: size };
            let _ = take_blob(&mut bytes.as_slice(), &entry);
            let headed = [format!("{} blob {size}\n", entry.blob).as_bytes(), &bytes].concat();
            let taken = take_blob(&mut headed.as_slice(), &entry);
            prop_assert!(taken.is_none_or(|content| u64::try_from(content.len()) == Ok(size)));
        }
    }

    #[test]
    fn a_batch_holds_at_least_one_entry_and_is_bounded() {
        let entry =
            |bytes| Entry { path: RepoPath::parse(b"a").unwrap(), mode: FileMode::Regular, blob: String::new(), bytes };
        assert_eq!(batch_len(&[entry(u64::MAX / 2), entry(1)]), 1);
        assert_eq!(batch_len(&[entry(BATCH_BYTES / 2), entry(BATCH_BYTES / 2), entry(1)]), 1);
        assert_eq!(batch_len(&[entry(1), entry(1), entry(BATCH_BYTES)]), 2);
    }
}
