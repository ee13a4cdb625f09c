//! Owns the native driver: turns a place into a spec, makes what the host must provide, and starts the launcher. A
//! start that fails leaves nothing behind.

use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use selvedge_jail as jail;

use crate::cgroup::Hierarchies;
use crate::control::Control;
use crate::footprint::{Footprint, Records, is_id};
use crate::live::Sandbox;
use crate::owner::{HeldId, Subordinate, refuse_mappable};
use crate::place::{Access, Level, Network, OBSERVED_FILES_MAX, Place};
use crate::reads::Reads;
use crate::refused::{Layer, Refused};
use crate::streams::Streams;

/// How long a start may take. Tens of milliseconds as a rule; a machine under heavy load is not to be mistaken for a
/// missing layer.
const START_MAX: Duration = Duration::from_secs(60);
/// How long processes may take to die. The kernel needs tens of milliseconds; a process deep in a slow disk needs more.
pub(crate) const DEATH_MAX: Duration = Duration::from_secs(30);
/// The limit per host user stands behind the group's, so that the group is what counts and tells.
const PROCESSES_SLACK: u64 = 16;
/// Descriptors one process may hold.
const OPEN_FILES_MAX: u64 = 4096;
/// Most binds: the descriptors of one message, less the workspace.
const BINDS_MAX: usize = 100;

/// What the driver needs to know of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Where records of live sandboxes are kept. One keeper at a time.
    pub state: PathBuf,
    /// The launcher, or an executable that enters [`selvedge_jail::main`] when called [`selvedge_jail::NAME`].
    pub launcher: PathBuf,
    /// The isolation every sandbox must have.
    pub level: Level,
    /// The host ids to hand out at level `full`; [`crate::HOST_IDS`] as a rule.
    pub host_ids: Range<u32>,
}

/// Sandboxes made of the kernel's own namespaces.
#[derive(Debug)]
pub struct NativeDriver {
    pub(crate) setup: Setup,
    pub(crate) records: Records,
    pub(crate) hierarchies: Hierarchies,
    refusals: AtomicU64,
    fail_at: Option<String>,
}

impl NativeDriver {
    /// A driver for this host. Starts nothing.
    pub fn new(setup: Setup) -> Result<Self, Refused> {
        let records =
            Records::open(&setup.state).map_err(|error| Refused::io(Layer::State, "open state directory", error))?;
        let hierarchies =
            Hierarchies::of_host().map_err(|error| Refused::io(Layer::ControlGroups, "look for them", error))?;
        Ok(Self { setup, records, hierarchies, refusals: AtomicU64::new(0), fail_at: None })
    }

    /// Makes a step of every later start fail.
    #[cfg(feature = "fault-injection")]
    pub fn fail_at(&mut self, step: &str) {
        self.fail_at = Some(step.to_owned());
    }

    /// How many starts were refused. While this stays the same, what a probe saw still stands.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Builds a sandbox and proves its layers. The program runs once the sandbox is released.
    pub fn start(&self, id: &str, place: &Place) -> Result<Sandbox, Refused> {
        self.build(id, place).inspect_err(|_| {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn build(&self, id: &str, place: &Place) -> Result<Sandbox, Refused> {
        check(id, place)?;
        let owner = self.owner(id, place)?;
        let group = self.hierarchies.group(id);
        let footprint = match Footprint::announce(&self.records, id, group, owner.held.clone()) {
            Ok(footprint) => footprint,
            Err(refused) => {
                owner.give_back();
                return Err(refused);
            }
        };
        self.launch(place, &owner, &footprint).inspect_err(|_| {
            // What cannot be cleared now stays recorded, and the next sweep tries again.
            let _ = footprint.clear(DEATH_MAX);
        })
    }

    fn launch(&self, place: &Place, owner: &Owner, footprint: &Footprint) -> Result<Sandbox, Refused> {
        let missing = self.hierarchies.missing();
        if !missing.is_empty() {
            return Err(Refused::new(Layer::ControlGroups, format!("no hierarchy has {}", missing.join(", "))));
        }
        self.hierarchies
            .make(&footprint.group, &place.limits)
            .map_err(|error| Refused::io(Layer::ControlGroups, "make group", error))?;
        let spec = self.spec(place, owner, footprint)?;
        let (streams, theirs) =
            Streams::new(&place.stdin).map_err(|error| Refused::io(Layer::Launcher, "make pipes", error))?;
        let (control, mut child) = Control::spawn(&self.setup.launcher)
            .map_err(|error| Refused::io(Layer::Launcher, format!("run `{}`", self.setup.launcher.display()), error))?;
        let ready = control
            .build(&spec, &theirs)
            .map_err(|error| Refused::io(Layer::Launcher, "ask for a sandbox", error))
            .and_then(|()| await_ready(&control));
        drop(theirs);
        match ready {
            Ok(descriptors) => self.assemble(place, footprint.clone(), control, child, streams, descriptors),
            Err(refused) => {
                drop(control);
                let _ = footprint.group.kill(DEATH_MAX);
                let _ = child.kill();
                let _ = child.wait();
                Err(refused)
            }
        }
    }

    fn assemble(
        &self,
        place: &Place,
        footprint: Footprint,
        control: Control,
        child: Child,
        streams: Streams,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Sandbox, Refused> {
        let mut descriptors = descriptors.into_iter();
        let handle = descriptors.next();
        let changes = if place.workspace.is_some() { descriptors.next() } else { None };
        let mut rest: Vec<OwnedFd> = descriptors.collect();
        let files = place.observe.as_ref().map(|observe| observe.files.clone()).unwrap_or_default();
        let watches = if files.is_empty() { None } else { rest.pop() };
        let reads = watches.map(|watches| Reads::new(watches, files));
        let sandbox = |handle, listeners| {
            Sandbox::new(footprint, control, child, streams, handle, changes, listeners, reads, place, self.setup.level)
        };
        match (handle, place.network, <[OwnedFd; 5]>::try_from(rest)) {
            (Some(handle), Network::Doors, Ok([http, dns, tls, plain, identity])) => {
                let (http, dns, tls) = (http.into(), dns.into(), tls.into());
                let listeners = Listeners { http, dns, tls, plain: plain.into(), identity: identity.into() };
                Ok(sandbox(handle, Some(listeners)))
            }
            (Some(handle), Network::None, Err(rest)) if rest.is_empty() => Ok(sandbox(handle, None)),
            _ => Err(Refused::new(Layer::Launcher, "it handed out something else than was asked for")),
        }
    }

    fn owner(&self, id: &str, place: &Place) -> Result<Owner, Refused> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        match self.setup.level {
            Level::Full if uid != 0 => Err(Refused::new(Layer::HostUser, "level `full` needs a keeper that is root")),
            Level::Full => {
                refuse_mappable(&self.setup.host_ids)?;
                let held = HeldId::take(&self.records.ids, self.setup.host_ids.clone(), id)?;
                let ids =
                    jail::Owner { uid: held.id, gid: held.id, keeper: (uid, gid), mapping: jail::Mapping::ByRoot };
                Ok(Owner { ids, held: Some(held) })
            }
            Level::User => {
                let subordinate = Subordinate::of_host(uid)?;
                let mapping = |beside| -> Result<jail::Mapping, Refused> {
                    let (newuidmap, newgidmap) = (text(&subordinate.newuidmap)?, text(&subordinate.newgidmap)?);
                    Ok(jail::Mapping::ByHelpers { newuidmap, newgidmap, beside })
                };
                // A directory of ours can be written by us alone; such a place runs as the keeper's user.
                if place.binds.iter().any(|bind| bind.access == Access::ReadWrite) {
                    return Ok(Owner {
                        ids: jail::Owner {
                            uid,
                            gid,
                            keeper: (uid, gid),
                            mapping: mapping((subordinate.uids.start, subordinate.gids.start))?,
                        },
                        held: None,
                    });
                }
                let held = HeldId::take(&self.records.ids, 0..subordinate.width(), id)?;
                let ids = jail::Owner {
                    uid: subordinate.uids.start + held.id,
                    gid: subordinate.gids.start + held.id,
                    keeper: (uid, gid),
                    mapping: mapping((uid, gid))?,
                };
                Ok(Owner { ids, held: Some(held) })
            }
        }
    }

    fn spec(&self, place: &Place, owner: &Owner, footprint: &Footprint) -> Result<jail::Spec, Refused> {
        let source = |path: &Path| {
            path.canonicalize()
                .map_err(|error| Refused::io(Layer::Request, format!("find `{}`", path.display()), error))
                .and_then(|path| text(&path))
        };
        let workspace = place.workspace.as_ref().map(|workspace| source(&workspace.pristine)).transpose()?;
        let default = if workspace.is_some() { jail::WORKSPACE } else { jail::HOME };
        let bind = |bind: &crate::place::Bind| -> Result<jail::Bind, Refused> {
            let access = match bind.access {
                Access::ReadOnly => jail::Access::ReadOnly,
                Access::PrivateCopy => jail::Access::PrivateCopy,
                Access::ReadWrite => jail::Access::ReadWrite,
            };
            Ok(jail::Bind { source: source(&bind.source)?, target: bind.target.clone(), access })
        };
        let file = |file: &crate::place::File| jail::File {
            target: file.target.clone(),
            mode: file.mode,
            content: file.content.clone(),
        };
        Ok(jail::Spec {
            argv: place.argv.clone(),
            env: place.env.clone(),
            directory: place.directory.clone().unwrap_or_else(|| default.to_owned()),
            owner: owner.ids.clone(),
            groups: jail::Groups {
                unified: footprint.group.unified().map(|dir| text(dir)).transpose()?,
                attach: footprint.group.attach().iter().map(|file| text(file)).collect::<Result<_, _>>()?,
            },
            workspace,
            binds: place.binds.iter().map(bind).collect::<Result<_, _>>()?,
            files: place.files.iter().map(file).collect(),
            network: match place.network {
                Network::None => jail::Network::None,
                Network::Doors => jail::Network::Doors,
            },
            limits: jail::Limits {
                disk_bytes: place.limits.disk_bytes,
                disk_files: place.limits.disk_files,
                // The limit is per host user, so it only means this sandbox where the user is its own.
                processes: owner.held.as_ref().map(|_| u64::from(place.limits.pids) + PROCESSES_SLACK),
                open_files: OPEN_FILES_MAX,
            },
            observe: place
                .observe
                .as_ref()
                .map(|observe| jail::Observe { programs: observe.programs, files: observe.files.clone() }),
            fail_at: self.fail_at.clone(),
        })
    }

    /// Kills a sandbox that this process holds no handle of, and removes what is left. False if there is none.
    pub fn kill_recorded(&self, id: &str) -> std::io::Result<bool> {
        match self.records.read(id)? {
            Some(footprint) => footprint.clear(DEATH_MAX).map(|()| true),
            None => Ok(false),
        }
    }

    /// After a crash of the keeper: ends every recorded sandbox and tells which there were. Only for a process that
    /// holds the state directory and has started nothing yet.
    pub fn sweep(&self) -> std::io::Result<Vec<String>> {
        let names = self.records.names()?;
        for name in &names {
            self.kill_recorded(name)?;
        }
        // An id can be held without a record when the keeper died between the two.
        for entry in std::fs::read_dir(&self.records.ids)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(names)
    }
}

/// The listeners made inside the sandbox. A connection accepted on one comes from that sandbox and no other.
#[derive(Debug)]
pub struct Listeners {
    /// The explicit HTTP proxy, on 127.0.0.1:3128 inside.
    pub http: TcpListener,
    /// DNS, on 127.0.0.1:53 inside.
    pub dns: UdpSocket,
    /// Whatever connects to port 443 of any address that DNS gave out.
    pub tls: TcpListener,
    /// The same for port 80.
    pub plain: TcpListener,
    /// The Workload API, on 127.0.0.1:3129 inside. Dropped, nobody answers there.
    pub identity: TcpListener,
}

#[derive(Debug)]
struct Owner {
    ids: jail::Owner,
    held: Option<HeldId>,
}

impl Owner {
    fn give_back(&self) {
        if let Some(held) = &self.held {
            let _ = held.release();
        }
    }
}

fn check(id: &str, place: &Place) -> Result<(), Refused> {
    let bad = |reason: String| Err(Refused::new(Layer::Request, reason));
    let absolute = |path: &str| path.starts_with('/') && path.len() > 1 && !path.split('/').any(|part| part == "..");
    if !is_id(id) {
        return bad(format!("`{}` cannot name a sandbox", id.escape_debug()));
    }
    if place.binds.len() > BINDS_MAX {
        return bad(format!("more than {BINDS_MAX} binds"));
    }
    let targets = place.binds.iter().map(|bind| &bind.target).chain(place.files.iter().map(|file| &file.target));
    if let Some(target) = targets.chain(&place.directory).find(|target| !absolute(target)) {
        return bad(format!("`{}` is not an absolute path inside", target.escape_debug()));
    }
    // The launcher reports what landed at the workspace; it must be the workspace.
    if place.binds.iter().any(|bind| bind.target.trim_end_matches('/') == jail::WORKSPACE) {
        return bad("a bind may not take the workspace's place".to_owned());
    }
    if let Some(observe) = &place.observe {
        let is_beneath =
            |file: &String| !file.is_empty() && file.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if observe.files.len() > OBSERVED_FILES_MAX || (place.workspace.is_none() && !observe.files.is_empty()) {
            return bad(format!("more than {OBSERVED_FILES_MAX} files to observe, or no workspace they could lie in"));
        }
        if let Some(file) = observe.files.iter().find(|file| !is_beneath(file) || file.contains('\0')) {
            return bad(format!("`{}` is not a path in the workspace", file.escape_debug()));
        }
    }
    // A mount point there would be collected as a file the agent made.
    let in_workspace = |target: &str| Path::new(target).starts_with(jail::WORKSPACE);
    let bound_files = place.binds.iter().filter(|bind| !bind.source.is_dir()).map(|bind| &bind.target);
    if let Some(target) =
        place.files.iter().map(|file| &file.target).chain(bound_files).find(|target| in_workspace(target))
    {
        return bad(format!("`{}` is in the workspace, where only directories can be shown", target.escape_debug()));
    }
    if let Some((name, _)) = place.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        return bad(format!("`{}` cannot name a variable", name.escape_debug()));
    }
    let texts = place.argv.iter().chain(place.env.iter().flat_map(|(name, value)| [name, value]));
    if place.argv.is_empty() || texts.into_iter().any(|text| text.contains('\0')) {
        return bad("no program, or a NUL in its arguments or environment".to_owned());
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, Refused> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Refused::new(Layer::Request, format!("`{}` is not UTF-8", path.display())))
}

fn await_ready(control: &Control) -> Result<Vec<OwnedFd>, Refused> {
    let until = Instant::now() + START_MAX;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let ready = poll(&mut [PollFd::new(control, PollFlags::IN)], Some(&timeout));
        match ready {
            Ok(0) => return Err(Refused::new(Layer::Launcher, format!("no answer within {} s", START_MAX.as_secs()))),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(Refused::io(Layer::Launcher, "wait", error)),
            Ok(_) => {}
        }
        match control.receive() {
            Ok(Some((jail::Message::Ready { .. }, descriptors))) => return Ok(descriptors),
            Ok(Some((jail::Message::Failed(failed), _))) => return Err(Refused::from(&failed)),
            Ok(Some((jail::Message::Refused { .. }, _))) => {}
            Ok(other) => {
                return Err(Refused::new(
                    Layer::Launcher,
                    format!("it ended early: {:?}", other.map(|(message, _)| message)),
                ));
            }
            Err(error) => return Err(Refused::io(Layer::Launcher, "listen", error)),
        }
    }
}
