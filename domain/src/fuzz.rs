//! What holds of whatever is read as a name, an id, a host or a path, as functions from bytes: for the fuzz targets in
//! `fuzz/`, and with their corpora for the tests. Owns the promises; never part of a build.

#![expect(clippy::panic, reason = "a broken promise has to be seen")]

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::{
    Actor, AgentName, ApprovalId, CommitId, CredentialName, Digest, Endpoint, HostPattern, LeaseId, Method, Owner,
    Reach, RepoName, RepoPath, RunId, TaskId, TreeId, TriggerId,
};

/// Whether the bytes were read. Panics where a promise about what was read is broken.
pub type Promise = fn(&[u8]) -> bool;

/// Every promise, by the name of its fuzz target.
pub const TARGETS: &[(&str, Promise)] =
    &[("actor", actor), ("host", host), ("id", id), ("name", name), ("reach", reach), ("repo_path", repo_path)];

/// Looks at `bytes` as the fuzz target of this name does.
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let named = TARGETS.iter().find(|(name, _)| *name == target);
    named.map(|(_, promise)| promise(bytes)).unwrap_or_else(|| panic!("there is no target `{target}`"))
}

/// Whether text was read, and prints as it was written.
fn prints<T: Display, E>(text: &str, read: Result<T, E>) -> bool {
    let printed = read.ok().map(|read| read.to_string());
    assert!(printed.is_none() || printed.as_deref() == Some(text), "`{text}` prints as {printed:?}");
    printed.is_some()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("\0")
}

/// Names are one path component, and none can be taken for an option or a parent.
fn name(bytes: &[u8]) -> bool {
    let text = text(bytes);
    let is_slug = prints(text, AgentName::parse(text));
    assert_eq!(prints(text, CredentialName::parse(text)), is_slug);
    let repo = RepoName::parse(text);
    if let Ok(repo) = &repo {
        let file = repo.as_file_name();
        assert!(file.len() <= 100 && !file.contains(['/', '\\', '\0']) && !file.contains(".."));
        assert!(!file.starts_with(['-', '.']) && file.is_ascii());
    }
    assert_eq!(is_slug, repo.is_ok() && !text.contains('/'));
    prints(text, repo)
}

/// An id is of one kind.
fn id(bytes: &[u8]) -> bool {
    let text = text(bytes);
    let kinds = [
        prints(text, RunId::parse(text)),
        prints(text, TaskId::parse(text)),
        prints(text, TriggerId::parse(text)),
        prints(text, LeaseId::parse(text)),
        prints(text, ApprovalId::parse(text)),
        prints(text, CommitId::parse(text)),
    ];
    assert_eq!(prints(text, TreeId::parse(text)), kinds[5]);
    assert!(!prints(text, Digest::parse(text)) || kinds[5]);
    let count = kinds.iter().filter(|is_kind| **is_kind).count();
    assert!(count <= 1);
    count == 1
}

/// An actor prints as it was read.
fn actor(bytes: &[u8]) -> bool {
    let text = text(bytes);
    if let Some(owner) = Owner::parse(text) {
        assert_eq!(Owner::parse(owner.as_str()), Some(owner.clone()));
        assert!(owner.as_str().len() <= 200 && !owner.as_str().contains(['\n', '\r', '\0']));
    }
    prints(text, Actor::parse(text).ok_or(()))
}

/// A host is in lower case, and is read as itself.
fn host(bytes: &[u8]) -> bool {
    let text = text(bytes);
    let Some(host) = HostPattern::parse(text) else { return false };
    assert_eq!(host.as_str(), text.to_ascii_lowercase());
    assert_eq!(HostPattern::parse(host.as_str()), Some(host.clone()));
    assert!(host.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b)));
    true
}

/// A path stays beneath the repository and is no path of git's own.
fn repo_path(bytes: &[u8]) -> bool {
    let Ok(path) = RepoPath::parse(bytes) else { return false };
    assert_eq!(path.as_str().as_bytes(), bytes);
    let beneath = std::path::Path::new(path.as_str());
    assert!(beneath.components().all(|component| matches!(component, std::path::Component::Normal(_))));
    assert_eq!(beneath.components().count(), path.as_str().split('/').count());
    assert!(!path.as_str().to_ascii_lowercase().split('/').any(|component| component == ".git"));
    true
}

/// Of two prefixes and a path, one a line, whoever contains the other covers what it covers. Read where the first
/// covers the path.
fn reach(bytes: &[u8]) -> bool {
    let mut lines = text(bytes).split('\n');
    let mut line = || lines.next().unwrap_or_default().to_owned();
    let Some(host) = HostPattern::parse(&line()) else { return false };
    let endpoint = Endpoint { host, port: 443 };
    let prefix = |path_prefix| {
        let methods = BTreeSet::from([Method::Get]);
        Reach { endpoint: endpoint.clone(), methods, path_prefix }
    };
    let (wide, narrow, path) = (prefix(line()), prefix(line()), line());
    let covers = |reach: &Reach| reach.covers(&endpoint, Method::Get, &path);
    assert!(wide.contains(&wide) && narrow.contains(&narrow));
    if wide.contains(&narrow) {
        assert!(!covers(&narrow) || covers(&wide), "a part covers more than the whole");
        assert!(wide.overlaps(&narrow) && narrow.overlaps(&wide));
    }
    assert!(!(covers(&wide) && covers(&narrow)) || wide.overlaps(&narrow));
    assert!(!wide.covers(&endpoint, Method::Put, &path));
    covers(&wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file is called says what becomes of it: `read-…` is read and `refused-…` is not. The others were found by a
    /// fuzzer and only have to keep the promises.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the corpora are files")]
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
