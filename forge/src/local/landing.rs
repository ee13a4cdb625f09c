//! A run's landing repository: what it may clone, and where its pushes go. It holds the history of one commit and what this
//! one run pushed, so nothing of another run can be asked for in it (attack A-108).
//!
//! Owns the judgement of pushed objects. A push is unnamed objects until [`Landing::land`] moves the run's branch, for which
//! it takes a permit; who may push, and that it is the run's own branch, was judged on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selvedge_authority::Permit;
use selvedge_domain::orders::{PushGit, Pushed};
use selvedge_domain::{Change, ChangeSet, CommitId, RepoPath, RunId, TreeId};

use super::branch::{run_branch, run_reference};
use super::tree::{Entry, TreeError};
use super::{BranchName, Expected, Known, PublishError, Repository, commit_id};
use crate::git::{ANSWER, GitCall, GitError, GitLimits, LISTING};
use crate::secret::Scanner;
use crate::sensitive::{ActedOnBy, acted_on_by};

/// Most commits of one push: each is looked at, which takes a few calls of git.
const COMMITS_MAX: usize = 100;
/// Most comparisons of one push: a merge is compared with each of its parents, of which a commit may name any number.
const COMPARISONS_MAX: usize = 3 * COMMITS_MAX;
/// Content of all comparisons of a push that is searched, both sides of each change. A few bytes of a pack can stand for
/// any number; this takes some seconds.
const SEARCHED_BYTES_MAX: u64 = 256 << 20;
/// Most secrets told of one push: enough to act on, and the log repeats them.
const SECRETS_MAX: usize = 100;
/// Bytes of all paths of a push together, as for a proposal: the order and the log repeat every path.
const PATHS_BYTES_MAX: usize = 4 << 20;
/// Content of a pushed branch that is taken over, as for collected files.
const FILES_MAX: usize = 50_000;
const FILE_BYTES_MAX: u64 = 64 << 20;
const BYTES_MAX: u64 = 256 << 20;
/// One exchange with a client; Linux's history is a few gigabytes.
const EXCHANGE: GitLimits = GitLimits { stdout_bytes_max: 8 << 30, time_max: Duration::from_mins(10) };

/// The landing repository of one run.
#[derive(Debug)]
pub struct Landing {
    repository: Repository,
    run: RunId,
    base: CommitId,
    base_tree: TreeId,
    base_bytes: u64,
}

/// What a client of git asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// To fetch.
    UploadPack,
    /// To push.
    ReceivePack,
}

/// What the commits of a push are, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// How many.
    pub commits: usize,
    /// Every path any of them changes.
    pub paths: BTreeSet<RepoPath>,
    /// Those that a forge's automation would run.
    pub automation: BTreeSet<RepoPath>,
    /// Secrets any of them adds: kind and place. Bounded.
    pub secrets: BTreeSet<String>,
}

/// A landing repository could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// Git gave no answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Our own directory could not be written.
    #[error("the landing repository could not be written: {0}")]
    Write(#[from] std::io::Error),
    /// The pushed branch cannot be taken over.
    #[error("what was pushed cannot be taken over: {0}")]
    Tree(#[from] TreeError),
}

/// A push is not accepted; the words are for whoever pushed.
#[derive(Debug, thiserror::Error)]
pub enum RefusedObjects {
    /// Git gave no answer, which is no fault of the push.
    #[error("the push could not be looked at; try again")]
    Unread(#[source] GitError),
    /// Objects that are malformed, incomplete or too large.
    #[error("the pack is not accepted: it is malformed, incomplete or too large")]
    Pack,
    /// A tag, a tree, a file.
    #[error("only a commit can be pushed")]
    NotACommit,
    /// It would take back what was pushed before.
    #[error("the branch only grows: fetch it, merge, and push again")]
    Rewrites,
    /// A history of its own.
    #[error("its history does not contain the commit the task starts from: rebase onto it")]
    Elsewhere,
    /// Too many to look at.
    #[error("more than {COMMITS_MAX} commits in one push: squash some")]
    TooManyCommits,
    /// Too many comparisons.
    #[error("the commits of one push have more than {COMPARISONS_MAX} parents: merge fewer branches at once")]
    TooManyParents,
    /// Too much to search.
    #[error("the commits change files of more than {} MiB in all: push fewer or smaller files", SEARCHED_BYTES_MAX >> 20)]
    TooMuchContent,
    /// Nobody waits for the answer.
    #[error("the run has ended")]
    Ended,
    /// Too much to list.
    #[error("the commits name too many paths: push fewer files")]
    TooManyPaths,
    /// A submodule, an unknown mode, a path that cannot be used.
    #[error("{0}")]
    Tree(TreeError),
    /// A symbolic link that leads out of the repository.
    #[error("`{0}` is a symbolic link that leaves the repository")]
    Leaves(RepoPath),
}

impl Service {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    fn subcommand(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }
}

impl Repository {
    /// Makes the landing repository of a run at `at`, where nothing is yet: `base` with its history under the name of the
    /// target branch, and nothing else.
    pub fn landing(
        &self,
        at: &Path,
        base: &CommitId,
        target: &BranchName,
        run: &RunId,
    ) -> Result<Landing, LandingError> {
        let repository = Self {
            name: self.name.clone(),
            dir: at.to_owned(),
            trees: at.join("trees"),
            git: Arc::clone(&self.git),
            known: Known::default(),
        };
        fs::create_dir_all(at)?;
        repository.init(if base.as_str().len() == 64 { "sha256" } else { "sha1" }).map_err(std::io::Error::other)?;
        let pack = at.join("base.pack");
        let revisions = at.join("base.revisions");
        fs::write(&revisions, format!("{base}\n"))?;
        let args = ["pack-objects", "--revs", "--stdout", "--delta-base-offset", "--quiet"];
        self.pipe(&args, Some(File::open(&revisions)?), &mut File::create(&pack)?)?;
        repository.pipe(&["index-pack", "--stdin"], Some(File::open(&pack)?), &mut std::io::sink())?;
        fs::remove_file(&pack)?;
        fs::remove_file(&revisions)?;
        let reference = target.reference();
        repository.git(&["update-ref", "--no-deref", "--", &reference, base.as_str(), ""], b"", ANSWER)?;
        repository.git(&["symbolic-ref", "HEAD", &reference], b"", ANSWER)?;
        let base_tree = repository.tree_of(base)?;
        let base_bytes = packed_bytes(&repository)?;
        Ok(Landing { repository, run: run.clone(), base: base.clone(), base_tree, base_bytes })
    }

    /// A call whose input and output are too large to hold.
    fn pipe(&self, args: &[&str], input: Option<File>, output: &mut dyn Write) -> Result<(), GitError> {
        let call = GitCall { repo: &self.dir, args, stdin: b"", source: None, limits: EXCHANGE };
        self.git.pipe(&call, input, output)?.whole(&call).map(drop)
    }
}

impl Landing {
    /// The full name of the one branch the run may push.
    pub fn reference(&self) -> String {
        run_reference(&self.run)
    }

    /// Where that branch is; nothing before the first push.
    pub fn head(&self) -> Result<Option<CommitId>, GitError> {
        self.repository.resolve(&self.reference())
    }

    /// Writes what git says at the beginning (`info/refs` of the smart protocol).
    pub fn advertise(&self, service: Service, output: &mut dyn Write) -> Result<(), LandingError> {
        let line = format!("# service={}\n", service.name());
        write!(output, "{:04x}{line}0000", line.len() + 4)?;
        let dir = self.repository.dir.to_string_lossy();
        let args = [service.subcommand(), "--stateless-rpc", "--advertise-refs", &dir];
        Ok(self.repository.pipe(&args, None, output)?)
    }

    /// Answers a request of a client that fetches.
    pub fn fetch(&self, request: File, output: &mut dyn Write) -> Result<(), GitError> {
        let dir = self.repository.dir.to_string_lossy();
        self.repository.pipe(&["upload-pack", "--stateless-rpc", &dir], Some(request), output)
    }

    /// Takes in the objects of a push, read from where `pack` stands, without a name for them.
    pub fn receive(&self, pack: File, bytes_max: u64) -> Result<(), RefusedObjects> {
        // Nothing at all is no pack, and to git a limit of nothing is none.
        let most = format!("--max-input-size={}", bytes_max.max(1));
        let args = ["index-pack", "--stdin", "--fix-thin", "--strict", &most];
        match self.repository.pipe(&args, Some(pack), &mut std::io::sink()) {
            Err(GitError::Failed { .. } | GitError::TimedOut { .. } | GitError::TooMuchOutput { .. }) => {
                Err(RefusedObjects::Pack)
            }
            other => Ok(other?),
        }
    }

    /// What pushes take up, also refused ones: git completes a thin pack with what it is based on, which can be a hundred
    /// times what was sent, and leaves what it could not read.
    pub fn received_bytes(&self) -> Result<u64, LandingError> {
        Ok(packed_bytes(&self.repository)?.saturating_sub(self.base_bytes))
    }

    /// Looks at every commit that moving the branch from `old` to `new` would add, and at what each changes, for as long as
    /// `goes_on` says that somebody waits for it.
    pub fn examine(
        &self,
        old: Option<&CommitId>,
        new: &CommitId,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Examined, RefusedObjects> {
        let repository = &self.repository;
        let kind = repository.ask(&["cat-file", "-t", new.as_str()], b"", ANSWER)?;
        if kind.stdout != b"commit\n" {
            return Err(RefusedObjects::NotACommit);
        }
        if !repository.contains(new, &self.base)? {
            return Err(RefusedObjects::Elsewhere);
        }
        if let Some(old) = old
            && !repository.contains(new, old)?
        {
            return Err(RefusedObjects::Rewrites);
        }
        let commits = self.added(old.unwrap_or(&self.base), new)?;
        if commits.iter().map(|added| added.parents.len()).sum::<usize>() > COMPARISONS_MAX {
            return Err(RefusedObjects::TooManyParents);
        }
        let mut seen = Examined { commits: commits.len(), ..Examined::default() };
        let mut trees: BTreeMap<CommitId, TreeId> = BTreeMap::from([(self.base.clone(), self.base_tree.clone())]);
        let mut comparisons = Vec::new();
        for Added { commit, tree, parents } in commits {
            // A second beginning has nothing to be compared with.
            if parents.is_empty() {
                return Err(RefusedObjects::Elsewhere);
            }
            for parent in &parents {
                let before = match trees.get(parent) {
                    Some(tree) => tree.clone(),
                    None => repository.tree_of(parent)?,
                };
                comparisons.push((before, tree.clone()));
            }
            trees.insert(commit, tree);
        }
        let goes_on = || if goes_on() { Ok(()) } else { Err(RefusedObjects::Ended) };
        // Listed first, so that too much is refused before any of it is searched.
        let mut bytes_left = SEARCHED_BYTES_MAX;
        for (before, after) in &comparisons {
            goes_on()?;
            let bytes = self.list(before, after, &mut seen)?;
            bytes_left = bytes_left.checked_sub(bytes).ok_or(RefusedObjects::TooMuchContent)?;
        }
        for (before, after) in &comparisons {
            goes_on()?;
            self.search(before, after, &mut seen)?;
        }
        Ok(seen)
    }

    /// Adds the paths that differ; how many bytes they hold on both sides.
    fn list(&self, before: &TreeId, after: &TreeId, seen: &mut Examined) -> Result<u64, RefusedObjects> {
        let changes = self.repository.diff(before, after)?;
        for change in &changes {
            if acted_on_by(&change.path) == Some(ActedOnBy::Ci) {
                seen.automation.insert(change.path.clone());
            }
            seen.paths.insert(change.path.clone());
        }
        if seen.paths.iter().map(|path| path.as_str().len()).sum::<usize>() > PATHS_BYTES_MAX {
            return Err(RefusedObjects::TooManyPaths);
        }
        Ok(self.repository.sized_sides(&changes)?.iter().map(|entry| entry.bytes).sum())
    }

    /// Adds the secrets that differ, and refuses links that lead outside.
    fn search(&self, before: &TreeId, after: &TreeId, seen: &mut Examined) -> Result<(), RefusedObjects> {
        let repository = &self.repository;
        if let Some(path) = repository.links_outside(before, after)?.into_iter().next() {
            return Err(RefusedObjects::Leaves(path));
        }
        let leaks = repository.leaks(before, after, &Scanner::default())?;
        let told = |leak: super::Leak| format!("{} in {} line {}", leak.finding.kind, leak.place, leak.finding.line);
        let room = SECRETS_MAX.saturating_sub(seen.secrets.len());
        seen.secrets.extend(leaks.into_iter().map(told).take(room));
        Ok(())
    }

    /// The commits between two, ancestors first.
    fn added(&self, from: &CommitId, to: &CommitId) -> Result<Vec<Added>, RefusedObjects> {
        let (most, not) = (format!("--max-count={}", COMMITS_MAX + 1), format!("^{from}"));
        let args = ["rev-list", &most, "--topo-order", "--no-commit-header", "--format=%H %T %P", to.as_str(), &not];
        let listing = self.repository.git(&args, b"", LISTING)?;
        let unreadable = || GitError::Unreadable { what: "rev-list".to_owned() };
        let listing = std::str::from_utf8(&listing).map_err(|_| unreadable())?;
        let parsed: Option<Vec<Added>> = listing.lines().map(Added::parse).collect();
        let mut commits = parsed.ok_or_else(unreadable)?;
        if commits.len() > COMMITS_MAX {
            return Err(RefusedObjects::TooManyCommits);
        }
        commits.reverse();
        Ok(commits)
    }

    /// Moves the run's branch as permitted. Having moved it already is success.
    pub fn land(&self, permit: &Permit<PushGit>) -> Result<Pushed, PublishError> {
        let PushGit { repo, reference, old, new, .. } = permit.order();
        if *repo != self.repository.name || *reference != self.reference() {
            return Err(PublishError::OtherRepository { permitted: repo.clone(), asked: self.repository.name.clone() });
        }
        let expected = old.clone().map_or(Expected::Absent, Expected::At);
        self.repository.move_reference(reference, &run_branch(&self.run), new, &expected)?;
        Ok(Pushed { commit: new.clone() })
    }

    /// What the pushed branch changes of the base, to be committed by the factory; nothing where nothing was pushed. One
    /// commit of the factory's own leaves, so what earlier ones held and took back does not (attack A-108).
    pub fn changes(&self) -> Result<Option<ChangeSet>, LandingError> {
        let Some(head) = self.head()? else { return Ok(None) };
        let tree = self.repository.tree_of(&head)?;
        let changed = self.repository.diff(&self.base_tree, &tree)?;
        if changed.len() > FILES_MAX {
            return Err(TreeError::TooManyFiles { files_max: FILES_MAX }.into());
        }
        let gone = changed.iter().filter(|change| change.new.is_none());
        let mut changes: Vec<Change> = gone.map(|change| Change::Remove { path: change.path.clone() }).collect();
        let written: Vec<_> = changed.into_iter().map(|change| super::ChangedPath { old: None, ..change }).collect();
        let entries: Vec<Entry> = self.repository.sized_sides(&written)?;
        if let Some(large) = entries.iter().find(|entry| entry.bytes > FILE_BYTES_MAX) {
            return Err(TreeError::TooLarge { path: large.path.clone(), bytes_max: FILE_BYTES_MAX }.into());
        }
        if entries.iter().map(|entry| entry.bytes).sum::<u64>() > BYTES_MAX {
            return Err(TreeError::TooManyBytes { bytes_max: BYTES_MAX }.into());
        }
        self.repository.read_blobs(&entries, |entry, content| {
            let (path, mode, content) = (entry.path.clone(), entry.mode, content.to_vec());
            changes.push(Change::Write { path, mode, content });
            Ok::<(), GitError>(())
        })?;
        Ok(Some(ChangeSet::new(changes)))
    }
}

/// Bytes of what lies where git keeps packs.
fn packed_bytes(repository: &Repository) -> std::io::Result<u64> {
    let packs = fs::read_dir(repository.dir.join("objects/pack"))?;
    packs.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// A commit of a push.
struct Added {
    commit: CommitId,
    tree: TreeId,
    parents: Vec<CommitId>,
}

impl Added {
    /// `<commit> <tree> <parent>...`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let commit = commit_id("rev-list", words.next()?.as_bytes()).ok()?;
        let tree = TreeId::parse(words.next()?).ok()?;
        let parents = words.map(|word| CommitId::parse(word).ok()).collect::<Option<_>>()?;
        Some(Self { commit, tree, parents })
    }
}

impl From<GitError> for RefusedObjects {
    fn from(error: GitError) -> Self {
        Self::Unread(error)
    }
}

impl From<TreeError> for RefusedObjects {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Git(error) => Self::Unread(error),
            other => Self::Tree(other),
        }
    }
}
