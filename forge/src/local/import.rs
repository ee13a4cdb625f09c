//! Taking in a repository from a path on this machine.
//!
//! Objects come over git's own protocol and are checked one by one; the source's configuration, hooks and work tree
//! stay where they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_domain::RepoName;

use crate::git::{ANSWER, GitCall, GitError, GitLimits, TRANSFER};

use super::recover::UNFINISHED;
use super::{LocalForge, Repository, Synced};

/// A repository on this machine to import from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    pub(super) text: String,
}

/// A repository could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Only this machine's files can be read so far.
    #[error("`{0}` is not a path on this machine: only local repositories can be imported")]
    NotLocal(String),
    /// There is no directory there.
    #[error("`{path}` cannot be read: {cause}")]
    Missing {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// The directory is not a repository.
    #[error("`{path}` is not a git repository: {said}")]
    NotARepository {
        /// Which.
        path: PathBuf,
        /// Git's words.
        said: String,
    },
    /// Git reads no repository that another user owns.
    #[error("`{path}` belongs to another user")]
    ForeignOwner {
        /// Which.
        path: PathBuf,
    },
    /// What stands at the path points at a repository somewhere else, or borrows from it (attack S-28).
    #[error(
        "`{path}` leads to a repository elsewhere: import that one by its own path, or make this one whole with \
         `git repack -a -d` and remove the link"
    )]
    Elsewhere {
        /// The link, file or worktree that points away.
        path: PathBuf,
    },
    /// There is no commit.
    #[error("`{path}` has no branch that can be imported: it is empty, or a shallow clone")]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// It was imported before.
    #[error("`{0}` has been imported already")]
    AlreadyImported(RepoName),
    /// Our own directory could not be written.
    #[error("`{path}` could not be written: {cause}")]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// Git failed, for example because an object is malformed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Overrides every attribute a tree could set: nothing an agent writes changes how its change is shown or merged.
const ATTRIBUTES: &str =
    "* !diff !merge !text !eol !filter !ident !working-tree-encoding !export-subst !export-ignore !whitespace\n";
/// Most files a source's references and objects may be; a repository with more wants `git gc` first.
const ENTRIES_MAX: u64 = 2_000_000;
/// Distinguishes imports made at the same time.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Source {
    /// Reads an absolute path or a `file://` URL of one.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        let path = text.strip_prefix("file://").unwrap_or(text);
        if !path.starts_with('/') {
            return Err(ImportError::NotLocal(text.escape_debug().take(200).collect()));
        }
        let path = Path::new(path).canonicalize().map_err(|cause| ImportError::Missing { path: path.into(), cause })?;
        if !path.is_dir() {
            return Err(ImportError::Missing { path, cause: io::Error::from(io::ErrorKind::NotADirectory) });
        }
        stays_here(&path)?;
        let text = path.to_str().ok_or_else(|| ImportError::NotLocal(path.display().to_string()))?.to_owned();
        Ok(Self { path, text })
    }

    /// The canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Refuses a source that would bring what its path does not name: whose `.git` is a link, a pointer file or a worktree's, that
/// borrows objects from another repository, or that has a link anywhere among its references and objects.
fn stays_here(path: &Path) -> Result<(), ImportError> {
    let dot_git = path.join(".git");
    let git_dir = match dot_git.symlink_metadata() {
        Ok(found) if found.is_dir() => dot_git,
        Ok(_) => return Err(ImportError::Elsewhere { path: dot_git }),
        // A bare repository.
        Err(_) => path.to_owned(),
    };
    let pointers = ["commondir", "objects/info/alternates", "objects/info/http-alternates"];
    if let Some(path) = pointers.map(|name| git_dir.join(name)).into_iter().find(|path| path.symlink_metadata().is_ok())
    {
        return Err(ImportError::Elsewhere { path });
    }
    let mut left = ENTRIES_MAX;
    let roots = ["HEAD", "packed-refs", "objects", "refs"].map(|name| git_dir.join(name));
    roots.iter().try_for_each(|root| no_links_below(root, &mut left))
}

/// Refuses a link at `path` or anywhere below it.
fn no_links_below(path: &Path, left: &mut u64) -> Result<(), ImportError> {
    let unreadable = |cause| ImportError::Missing { path: path.to_owned(), cause };
    let mut open: Vec<PathBuf> = match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => return Err(ImportError::Elsewhere { path: path.to_owned() }),
        Ok(found) if found.is_dir() => vec![path.to_owned()],
        // What is not there leads nowhere.
        Ok(_) | Err(_) => Vec::new(),
    };
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            *left = left.checked_sub(1).ok_or_else(|| unreadable(io::Error::from(io::ErrorKind::FileTooLarge)))?;
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_symlink() {
                return Err(ImportError::Elsewhere { path: entry.path() });
            }
            if kind.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}

/// What a source says about itself before anything is copied.
struct Advertised {
    default_branch: Option<String>,
    object_format: &'static str,
}

impl LocalForge {
    /// Copies a repository's branches and tags into a new bare repository under `name`.
    pub fn import(&self, source: &Source, name: &RepoName) -> Result<(Repository, Synced), ImportError> {
        let dir = self.at(name).dir;
        if dir.exists() {
            return Err(ImportError::AlreadyImported(name.clone()));
        }
        let half = HalfMade(self.root.join(format!("{UNFINISHED}{}", NEXT.fetch_add(1, Ordering::Relaxed))));
        let repository = Repository { dir: half.0.clone(), ..self.at(name) };
        repository.init("sha1")?;
        let advertised = repository.advertised(source)?;
        if advertised.object_format != "sha1" {
            half.clear()?;
            repository.init(advertised.object_format)?;
        }
        let synced = repository.sync(source)?;
        repository.choose_default(advertised.default_branch.as_deref(), &synced, source)?;
        let failed = |cause| ImportError::Write { path: dir.clone(), cause };
        fs::rename(&half.0, &dir).map_err(failed)?;
        fs::File::open(&self.root).and_then(|root| root.sync_all()).map_err(failed)?;
        Ok((self.at(name), synced))
    }
}

impl Repository {
    pub(super) fn init(&self, object_format: &str) -> Result<(), ImportError> {
        let format = format!("--object-format={object_format}");
        self.git(&["init", "--quiet", "--bare", "--template=", "--initial-branch=main", &format], b"", ANSWER)?;
        let info = self.dir.join("info");
        let written = fs::create_dir_all(&info).and_then(|()| fs::write(info.join("attributes"), ATTRIBUTES));
        written.map_err(|cause| ImportError::Write { path: info, cause })
    }

    pub(super) fn read_source(
        &self,
        args: &[&str],
        source: &Source,
        limits: GitLimits,
    ) -> Result<Vec<u8>, ImportError> {
        let call = GitCall { repo: &self.dir, args, stdin: b"", source: Some(&source.path), limits };
        Ok(self.git.run(&call)?.whole(&call)?)
    }

    fn advertised(&self, source: &Source) -> Result<Advertised, ImportError> {
        let path = source.path.clone();
        let answer =
            self.read_source(&["ls-remote", "--symref", "--", &source.text], source, TRANSFER).map_err(|error| {
                match error {
                    ImportError::Git(GitError::Failed { said, .. }) if said.contains("dubious ownership") => {
                        ImportError::ForeignOwner { path }
                    }
                    ImportError::Git(GitError::Failed { said, .. }) => ImportError::NotARepository { path, said },
                    other => other,
                }
            })?;
        let answer = String::from_utf8_lossy(&answer);
        let head = answer.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"));
        let id = answer.lines().filter(|line| !line.starts_with("ref: ")).find_map(|line| line.split('\t').next());
        let object_format = match id.map(str::len) {
            Some(64) => "sha256",
            Some(_) => "sha1",
            None => return Err(ImportError::Empty { path: source.path.clone() }),
        };
        Ok(Advertised { default_branch: head.map(str::to_owned), object_format })
    }

    /// The source's default branch; failing that `main`, `master`, or the first there is.
    fn choose_default(&self, theirs: Option<&str>, synced: &Synced, source: &Source) -> Result<(), ImportError> {
        let wanted = theirs.into_iter().chain(["main", "master"]);
        let chosen = wanted.filter_map(|name| synced.updated.iter().find(|branch| branch.as_str() == name)).next();
        let Some(branch) = chosen.or(synced.updated.first()) else {
            return Err(ImportError::Empty { path: source.path.clone() });
        };
        self.git(&["symbolic-ref", "HEAD", &branch.reference()], b"", ANSWER)?;
        Ok(())
    }
}

/// A repository that is not whole yet; removed unless renamed away.
#[derive(Debug)]
struct HalfMade(PathBuf);

impl HalfMade {
    fn clear(&self) -> Result<(), ImportError> {
        fs::remove_dir_all(&self.0).map_err(|cause| ImportError::Write { path: self.0.clone(), cause })
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        // After the rename there is nothing here; what an error leaves is swept when the forge opens.
        drop(fs::remove_dir_all(&self.0));
    }
}
