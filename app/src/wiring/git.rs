//! A run's git door, the keeper's side: its landing repository, made when it is first asked for, and every call decided
//! through the funnel. What clients send is given to git in a jail as it is; the keeper reads none of it (invariant 11).

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_authority::{ActError, Observation, Stop};
use selvedge_domain::orders::{GitServed, PushGit, ReadGit, StartWork};
use selvedge_domain::{ChangeSet, CommitId, Endpoint, HostPattern, RepoName, RunId};
use selvedge_factory::ports::{Doorkeeper, Entropy as _};
use selvedge_forge::local::{BranchName, Landing, LandingError, PublishError, Repository, Service};
use selvedge_gateway::{GitAnswer, GitCall, GitHost, GitService, GitWanted, ListenerKind};
use selvedge_sandbox::Place;

use super::Works;
use super::jailed_git::{Tie, TiedGit};
use super::repositories::{permanent, transient};
use super::tape::private_dir;

/// Where repositories are served: nowhere, the door answers. `internal` is never delegated (ICANN resolution 2024.07.29.06).
const HOST: &str = "git.selvedge.internal";

/// Exchanges with one run's clients at a time.
const LANES: usize = 2;

/// Bytes of packs that one attempt may push, refused ones too: each stays on the disk until the attempt ends.
const RECEIVED_BYTES_MAX: u64 = 256 << 20;

/// Bytes of the paths that all pushes of an attempt may name, denied ones too: the log repeats each of them. Two pushes as
/// large as one may be.
const NAMED_BYTES_MAX: usize = 8 << 20;

/// Longest detail of a refusal in the log.
const DETAIL_BYTES_MAX: usize = 253;

/// One attempt's repository.
pub(super) struct GitDesk {
    dir: PathBuf,
    /// Ends its calls of git with the run.
    tie: Arc<Tie>,
    repository: Repository,
    repo: RepoName,
    run: RunId,
    base: CommitId,
    target: BranchName,
    lanes: Vec<Lane>,
    landing: Mutex<Option<Arc<Landing>>>,
    /// So that a push is looked at and landed before the next is.
    pushing: Mutex<()>,
    received: AtomicU64,
    named: AtomicUsize,
    serials: AtomicU64,
    /// Whether the sandbox has ended, so that nobody waits for answers and nothing more is pushed.
    ended: AtomicBool,
}

/// The files one exchange passes through. They have no name.
struct Lane {
    request: File,
    answer: File,
}

impl Works {
    /// The repository of an attempt that may push.
    pub(super) fn git_desk(&self, order: &StartWork) -> Result<GitDesk, ActError> {
        let config = self.config();
        let repo = config.repos.get(&order.repo).ok_or_else(|| permanent("the repository is no longer configured"))?;
        let dir = self.state.at("landing").join(format!("{}-a{}", order.run, order.attempt));
        let _none_left = fs::remove_dir_all(&dir);
        private_dir(&dir).map_err(transient)?;
        let tie = Arc::<Tie>::default();
        self.remember_git(&order.run, &tie);
        let git = TiedGit { git: Arc::clone(&self.git), tie: Arc::clone(&tie) };
        let lanes = (0..LANES).map(|_| Ok(Lane { request: nameless(&dir)?, answer: nameless(&dir)? }));
        Ok(GitDesk {
            lanes: lanes.collect::<std::io::Result<_>>().map_err(transient)?,
            tie,
            repository: self.repository_of(&order.repo)?.run_by(Arc::new(git)),
            repo: order.repo.clone(),
            run: order.run.clone(),
            base: order.base.clone(),
            target: BranchName::parse(&repo.repository.target).map_err(permanent)?,
            landing: Mutex::default(),
            pushing: Mutex::default(),
            received: AtomicU64::new(0),
            named: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            serials: AtomicU64::new(self.draw() >> 1),
            dir,
        })
    }

    /// Clears what attempts of a dead keeper left.
    pub(super) fn clear_landings(state: &crate::keeper::State) {
        let _none = fs::remove_dir_all(state.at("landing"));
    }
}

/// A file for reading and writing that nothing else can open.
fn nameless(dir: &std::path::Path) -> std::io::Result<File> {
    let path = dir.join("lane");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl GitDesk {
    /// Where its door serves it.
    pub(super) fn host(&self) -> Result<GitHost, ActError> {
        let host = HostPattern::parse(HOST).ok_or_else(|| permanent("the name of the git host is none"))?;
        Ok(GitHost {
            endpoint: Endpoint { host, port: 443 },
            path: format!("/{}.git", self.repo),
            reference: format!("refs/heads/{}", self.branch()),
        })
    }

    fn branch(&self) -> String {
        selvedge_forge::local::run_branch(&self.run)
    }

    /// Says in the sandbox where it is.
    pub(super) fn announce(&self, place: Place) -> Place {
        let url = format!("https://{HOST}/{}.git", self.repo);
        place.with_env("SELVEDGE_GIT_URL", &url).with_env("SELVEDGE_BRANCH", &self.branch())
    }

    /// The lanes, for its door.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (ListenerKind, BorrowedFd<'_>)> {
        self.lanes.iter().flat_map(|lane| {
            [(ListenerKind::GitRequest, lane.request.as_fd()), (ListenerKind::GitAnswer, lane.answer.as_fd())]
        })
    }

    /// What was pushed, as a change of the base, or why that cannot be told; nothing where nothing was. Its sandbox has ended, and a
    /// halt does not wait for this either.
    pub(super) fn changes(&self) -> Result<Result<Option<ChangeSet>, String>, ActError> {
        self.tie.mend();
        let landing = self.landing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listed = landing.map_or(Ok(None), |landing| landing.changes().map_err(|error| error.to_string()));
        if self.tie.is_stopped() {
            return Err(ActError::Halted("it was stopped before what it pushed was looked at".to_owned()));
        }
        Ok(listed)
    }

    /// Gives up what is being looked at: a pack can take long, and whoever stops a run does not wait for it.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.tie.cut();
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    /// Answers one call of the door.
    pub(super) fn answer(&self, doors: &dyn Doorkeeper, call: &GitCall) -> GitAnswer {
        let Some(lane) = self.lanes.get(call.lane).filter(|_| self.goes_on()) else { return failed() };
        match &call.wanted {
            GitWanted::Advertise(service) => {
                let service = match service {
                    GitService::UploadPack => Service::UploadPack,
                    GitService::ReceivePack => Service::ReceivePack,
                };
                self.read(doors, lane, 0, &|landing, answer| landing.advertise(service, answer))
            }
            GitWanted::Fetch { bytes } => {
                self.read(doors, lane, *bytes, &|landing, answer| Ok(landing.fetch(lane.request_from(0)?, answer)?))
            }
            GitWanted::Push { old, new, pack_at, bytes } => {
                let one_at_a_time = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
                let pushed = self.push(doors, lane, old.as_ref(), new, *pack_at, bytes.saturating_sub(*pack_at));
                drop(one_at_a_time);
                pushed.unwrap_or_else(|refused| refused)
            }
        }
    }

    fn read(
        &self,
        doors: &dyn Doorkeeper,
        lane: &Lane,
        request_bytes: u64,
        serve: &dyn Fn(&Landing, &mut dyn Write) -> Result<(), LandingError>,
    ) -> GitAnswer {
        let order = ReadGit {
            run: self.run.clone(),
            repo: self.repo.clone(),
            serial: self.serials.fetch_add(1, Ordering::Relaxed),
            base: self.base.clone(),
            request_bytes,
        };
        let mut at = None;
        let served = doors.read_git(order, &mut |_| {
            let landing = self.landing().map_err(transient)?;
            let mut answer = Counted { file: lane.emptied_answer().map_err(transient)?, bytes: 0 };
            serve(&landing, &mut answer).map_err(transient)?;
            at = landing.head().map_err(transient)?;
            Ok(GitServed { response_bytes: answer.bytes })
        });
        match served {
            Ok(GitServed { response_bytes }) => GitAnswer::Served { bytes: response_bytes, at },
            Err(stop) => stopped(&stop),
        }
    }

    /// Takes the objects in without a name, looks at them, and has the move decided on what they are.
    fn push(
        &self,
        doors: &dyn Doorkeeper,
        lane: &Lane,
        old: Option<&CommitId>,
        new: &CommitId,
        pack_at: u64,
        pack_bytes: u64,
    ) -> Result<GitAnswer, GitAnswer> {
        let refuse = |because: String| {
            let detail = because.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
            let (detail, code) = (detail.take(DETAIL_BYTES_MAX).collect(), "push_refused".to_owned());
            doors.saw(Observation::DoorRefused { door: "git".to_owned(), code: code.clone(), detail, count: 1 });
            GitAnswer::Refused { code, because }
        };
        // It may have waited for another push.
        if !self.goes_on() {
            return Err(failed());
        }
        let landing = self.landing().map_err(|_| failed())?;
        let sent = self.received.fetch_add(pack_bytes, Ordering::Relaxed).saturating_add(pack_bytes);
        let kept = landing.received_bytes().map_err(|_| failed())?.saturating_add(pack_bytes);
        if sent.max(kept) > RECEIVED_BYTES_MAX {
            return Err(refuse(format!("more than {} MiB in all pushes of this attempt", RECEIVED_BYTES_MAX >> 20)));
        }
        if landing.head().map_err(|_| failed())?.as_ref() != old {
            return Err(refuse("the branch has moved: fetch, and push again".to_owned()));
        }
        let pack = lane.request_from(pack_at).map_err(|_| failed())?;
        landing.receive(pack, pack_bytes).map_err(|error| refuse(error.to_string()))?;
        let seen = landing.examine(old, new, &|| self.goes_on()).map_err(|error| refuse(error.to_string()))?;
        let named = seen.paths.iter().chain(&seen.automation).map(|path| path.as_str().len()).sum::<usize>();
        if self.named.fetch_add(named, Ordering::Relaxed).saturating_add(named) > NAMED_BYTES_MAX {
            return Err(refuse("the pushes of this attempt name too many paths: push fewer files".to_owned()));
        }
        let texts = |paths: &std::collections::BTreeSet<selvedge_domain::RepoPath>| {
            paths.iter().map(ToString::to_string).collect()
        };
        let order = PushGit {
            run: self.run.clone(),
            repo: self.repo.clone(),
            reference: landing.reference(),
            old: old.cloned(),
            new: new.clone(),
            commits: u64::try_from(seen.commits).unwrap_or(u64::MAX),
            pack_bytes,
            paths: texts(&seen.paths),
            automation: texts(&seen.automation),
            secrets: seen.secrets.into_iter().collect(),
        };
        let land = doors.push_git(order, &mut |permit| {
            landing.land(permit).map_err(|error| match error {
                PublishError::Moved { .. } => permanent("the branch has moved: fetch, and push again"),
                other => transient(other),
            })
        });
        land.map(|_| GitAnswer::Pushed).map_err(|stop| stopped(&stop))
    }

    /// The landing repository; made now if this is the first call.
    fn landing(&self) -> Result<Arc<Landing>, LandingError> {
        let mut made = self.landing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = made.as_ref() {
            return Ok(Arc::clone(landing));
        }
        let at = self.dir.join("landing.git");
        // An earlier call may have failed half-way.
        let _none = fs::remove_dir_all(&at);
        let landing = self.repository.landing(&at, &self.base, &self.target, &self.run)?;
        Ok(Arc::clone(made.insert(Arc::new(landing))))
    }
}

impl Drop for GitDesk {
    fn drop(&mut self) {
        // What is left is cleared when a keeper starts.
        let _gone = fs::remove_dir_all(&self.dir);
    }
}

impl Lane {
    /// The request from `at` on, opened anew for reading only: git gets this descriptor.
    fn request_from(&self, at: u64) -> std::io::Result<File> {
        let mut file = File::open(format!("/proc/self/fd/{}", self.request.as_raw_fd()))?;
        file.seek(SeekFrom::Start(at))?;
        Ok(file)
    }

    fn emptied_answer(&self) -> std::io::Result<&File> {
        self.answer.set_len(0)?;
        (&self.answer).seek(SeekFrom::Start(0))?;
        Ok(&self.answer)
    }
}

/// Counts what is written.
struct Counted<'a> {
    file: &'a File,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn failed() -> GitAnswer {
    let because = "the repository cannot be served now; try again, and tell the operator if it stays so".to_owned();
    GitAnswer::Refused { code: "not_served".to_owned(), because }
}

/// What whoever pushed or fetched is told; never detail of the host.
fn stopped(stop: &Stop) -> GitAnswer {
    match stop {
        Stop::Denied(denial) | Stop::NeedsApproval { denial, .. } => {
            let code = denial.code.as_str();
            GitAnswer::Refused { code: code.to_owned(), because: format!("{code}: {}", denial.next_step) }
        }
        Stop::Act(ActError::Permanent(because)) => {
            GitAnswer::Refused { code: "push_refused".to_owned(), because: because.clone() }
        }
        Stop::Act(_) | Stop::Journal(_) => failed(),
    }
}
