//! Owns a sandbox while it lives: releasing it, listening to it within its limits, freezing, killing, and taking it off
//! the host. Dropping one that was not destroyed kills it all the same.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use selvedge_jail::{Failed, Message, Started, system_call_name};

use crate::cgroup::{Frozen, Group};
use crate::collect::{self, ChangeSet, CollectError, CollectLimits, Ignored};
use crate::control::Control;
use crate::driver::{DEATH_MAX, Listeners};
use crate::footprint::Footprint;
use crate::place::{Input, Level, Limits, Place};
use crate::reads::Reads;
use crate::streams::{Streams, read_some};

/// Something a sandbox did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It wrote.
    Output {
        /// Where to.
        stream: Stream,
        /// What: anything at all, control sequences included.
        bytes: Vec<u8>,
    },
    /// The filter refused a system call.
    RefusedCall {
        /// The call, or its number.
        name: String,
        /// How often since this was last told.
        count: u64,
    },
    /// It asked for a program, where programs are observed.
    Started(Started),
    /// What was asked for under this number was done. Not every one is seen to be.
    Became {
        /// The number.
        serial: u64,
        /// The program that the process is now, as the kernel knows it.
        program: Vec<u8>,
    },
    /// So many programs were asked for that could not be told.
    Unkept {
        /// How many since this was last told.
        programs: u64,
    },
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// How a sandbox ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// What ended it.
    pub ended: Ended,
    /// Every limit it ran into, whether or not that ended it.
    pub limits: Vec<Limit>,
}

impl Exit {
    /// Whether the program ended by itself and said that all was well.
    pub fn success(&self) -> bool {
        self.ended == Ended::Status(0)
    }
}

/// What ended a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The program, with this status.
    Status(i32),
    /// A signal.
    Signal(i32),
    /// We did, because of a limit.
    Limit(Limit),
    /// We did, because we were told to.
    Killed,
    /// Nothing ran: the program could not be executed, or the launcher died.
    NotRun(String),
}

/// A limit of the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// `memory_bytes`: a process was killed for it.
    Memory,
    /// `pids`: a process could not be made.
    Pids,
    /// `wall`.
    Wall,
    /// `output_bytes`.
    Output,
    /// `disk_bytes` or `disk_files` were used up at the end.
    Disk,
}

/// The other ends of a program's input and output. They do not block.
#[derive(Debug)]
pub struct Handed {
    /// What it reads.
    pub to: OwnedFd,
    /// What it writes.
    pub from: OwnedFd,
}

/// A sandbox that is certainly dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dead {
    /// How long it took.
    pub took: Duration,
}

/// A live sandbox.
#[derive(Debug)]
#[must_use = "release it, wait for it, then destroy it"]
pub struct Sandbox {
    footprint: Footprint,
    control: Control,
    launcher: Child,
    streams: Streams,
    killer: Killer,
    changes: Option<OwnedFd>,
    listeners: Option<Listeners>,
    reads: Option<Reads>,
    pristine: Option<std::path::PathBuf>,
    limits: Limits,
    /// Whether its input and output are still to be given away.
    is_handed: bool,
    level: Level,
    released: Option<Instant>,
    dead: bool,
    destroyed: bool,
}

impl Sandbox {
    #[expect(clippy::too_many_arguments, reason = "called once, by the driver, with what the launcher handed out")]
    pub(crate) fn new(
        footprint: Footprint,
        control: Control,
        launcher: Child,
        streams: Streams,
        handle: OwnedFd,
        changes: Option<OwnedFd>,
        listeners: Option<Listeners>,
        reads: Option<Reads>,
        place: &Place,
        level: Level,
    ) -> Self {
        let killer = Killer(Arc::new(Target { group: footprint.group.clone(), handle, told: AtomicBool::new(false) }));
        let pristine = place.workspace.as_ref().map(|workspace| workspace.pristine.clone());
        let (limits, is_handed) = (place.limits, matches!(place.stdin, Input::Handed));
        Self {
            footprint,
            control,
            launcher,
            streams,
            killer,
            changes,
            listeners,
            reads,
            pristine,
            limits,
            is_handed,
            level,
            released: None,
            dead: false,
            destroyed: false,
        }
    }

    /// The level it was built at.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The host user its program runs as, where that is a user of its own.
    pub fn host_id(&self) -> Option<u32> {
        self.footprint.held.as_ref().map(|held| held.id)
    }

    /// The launcher that watches over it.
    pub fn launcher_pid(&self) -> i32 {
        i32::try_from(self.launcher.id()).unwrap_or_default()
    }

    /// The listeners of the doors: once, before the release.
    pub fn listeners(&mut self) -> Option<Listeners> {
        self.listeners.take()
    }

    /// Where it is told which of the observed files it read: once, before the release.
    pub fn reads(&mut self) -> Option<Reads> {
        self.reads.take()
    }

    /// Our ends of its input and output, for a place that has [`crate::Input::Handed`]: once, before the release. What it then writes is
    /// no event, and no limit here counts it.
    pub fn handed(&mut self) -> Option<Handed> {
        if !self.is_handed || self.released.is_some() {
            return None;
        }
        self.is_handed = false;
        let (to, from) = (self.streams.input.take()?, self.streams.output.take()?);
        Some(Handed { to, from })
    }

    /// Lets the program run. Every door must listen by now.
    pub fn release(&mut self) -> std::io::Result<()> {
        self.control.send(&Message::Release, &[])?;
        self.released = Some(Instant::now());
        Ok(())
    }

    /// Kills it from another thread.
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Tells what it does until it is dead. A sandbox that was never released is released. To be called once.
    pub fn wait(&mut self, on_event: &mut dyn FnMut(Event)) -> Exit {
        let mut watch = Watching::default();
        if self.released.is_none()
            && let Err(error) = self.release()
        {
            watch.ended = Some(Ended::NotRun(format!("release: {error}")));
        }
        let until = self.released.and_then(|at| at.checked_add(self.limits.wall));
        while !watch.over(&self.streams) {
            let left = match until {
                Some(_) if watch.stopped => Some(DEATH_MAX),
                until => until.map(|until| until.saturating_duration_since(Instant::now())),
            };
            if left == Some(Duration::ZERO) {
                self.stop(&mut watch, Ended::Limit(Limit::Wall));
                continue;
            }
            match self.step(left, &mut watch, on_event) {
                Ok(()) if watch.output_bytes > self.limits.output_bytes && !watch.stopped => {
                    self.stop(&mut watch, Ended::Limit(Limit::Output));
                }
                Ok(()) => {}
                Err(error) => {
                    self.stop(&mut watch, Ended::NotRun(format!("listen to sandbox: {error}")));
                    break;
                }
            }
        }
        self.conclude(watch)
    }

    fn stop(&self, watch: &mut Watching, because: Ended) {
        watch.stopped = true;
        watch.ended.get_or_insert(because);
        // What fails here fails again, and is told, when the sandbox is destroyed.
        let _ = self.killer.send_kill();
    }

    /// Waits for one thing to happen and deals with it.
    fn step(
        &mut self,
        left: Option<Duration>,
        watch: &mut Watching,
        on_event: &mut dyn FnMut(Event),
    ) -> std::io::Result<()> {
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let [control, output, error, input] = {
            let none = PollFlags::empty();
            let flag = |there: bool, flags| if there { flags } else { none };
            let streams = &self.streams;
            let (output, error) = (streams.output.as_ref(), streams.error.as_ref());
            let mut fds = [
                PollFd::new(&self.control, flag(!watch.gone, PollFlags::IN)),
                PollFd::from_borrowed_fd(
                    output.map_or(self.control.as_fd(), AsFd::as_fd),
                    flag(output.is_some(), PollFlags::IN),
                ),
                PollFd::from_borrowed_fd(
                    error.map_or(self.control.as_fd(), AsFd::as_fd),
                    flag(error.is_some(), PollFlags::IN),
                ),
                PollFd::from_borrowed_fd(
                    streams.input.as_ref().map_or(self.control.as_fd(), AsFd::as_fd),
                    flag(streams.input.is_some(), PollFlags::OUT),
                ),
            ];
            match poll(&mut fds, timeout.as_ref()) {
                Err(Errno::INTR) => return Ok(()),
                Ok(0) if watch.stopped => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
                polled => polled.map(drop)?,
            }
            fds.map(|fd| !fd.revents().is_empty())
        };
        if output {
            watch.output_bytes += read_some(&mut self.streams.output, Stream::Output, on_event)?;
        }
        if error {
            watch.output_bytes += read_some(&mut self.streams.error, Stream::Error, on_event)?;
        }
        if input {
            self.streams.write_some();
        }
        if control && !watch.gone {
            watch.hear(self.control.receive()?, on_event);
        }
        Ok(())
    }

    fn conclude(&mut self, watch: Watching) -> Exit {
        let _ = self.killer.kill(DEATH_MAX);
        // It has nothing left to watch, and must not be waited for should it hang.
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
        self.dead = true;
        let group = &self.footprint.group;
        let mut limits = Vec::new();
        if group.memory_was_short() {
            limits.push(Limit::Memory);
        }
        if group.processes_were_short() {
            limits.push(Limit::Pids);
        }
        if self.disk_is_full() {
            limits.push(Limit::Disk);
        }
        let ended = match watch.ended {
            Some(Ended::Limit(limit)) => {
                limits.push(limit);
                Ended::Limit(limit)
            }
            // The program did not end by itself, whatever signal it shows.
            _ if self.killer.was_used() => Ended::Killed,
            Some(ended) => ended,
            None => Ended::NotRun("the launcher died".to_owned()),
        };
        limits.sort();
        limits.dedup();
        Exit { ended, limits }
    }

    fn disk_is_full(&self) -> bool {
        let full =
            |changes: &OwnedFd| rustix::fs::fstatvfs(changes).is_ok_and(|disk| disk.f_bfree == 0 || disk.f_ffree == 0);
        self.changes.as_ref().is_some_and(full)
    }

    /// Stops every process where it stands.
    pub fn freeze(&self) -> std::io::Result<()> {
        self.footprint.group.set_frozen(Frozen::Yes)
    }

    /// Lets a frozen sandbox go on.
    pub fn thaw(&self) -> std::io::Result<()> {
        self.footprint.group.set_frozen(Frozen::No)
    }

    /// Kills it and returns when no process is left.
    pub fn kill(&mut self, deadline: Duration) -> std::io::Result<Dead> {
        let dead = self.killer.halt(deadline)?;
        self.dead = true;
        Ok(dead)
    }

    /// What it changed in the workspace. Only once it is dead: nothing can change under the reader.
    pub fn collect(&self, limits: &CollectLimits, ignored: &Ignored<'_>) -> Result<ChangeSet, CollectError> {
        if !self.dead || !self.footprint.group.pids().is_ok_and(|pids| pids.is_empty()) {
            return Err(CollectError::Alive);
        }
        match (&self.changes, &self.pristine) {
            (Some(changes), Some(pristine)) => collect::collect(changes.as_fd(), pristine, limits, ignored),
            _ => Err(CollectError::NoWorkspace),
        }
    }

    /// Takes it off the host: processes, control groups, id, record.
    pub fn destroy(mut self) -> std::io::Result<()> {
        self.clear()
    }

    fn clear(&mut self) -> std::io::Result<()> {
        self.destroyed = true;
        // The launcher would end by itself, but the scratch filesystem goes only when nothing holds it.
        self.changes = None;
        self.footprint.group.kill(DEATH_MAX)?;
        self.launcher.kill()?;
        self.launcher.wait()?;
        self.footprint.clear(DEATH_MAX)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.destroyed {
            // What remains is recorded, and the next sweep finds it.
            let _ = self.clear();
        }
    }
}

/// Kills a sandbox from anywhere in the keeper, at any time, without waiting for who listens to it.
#[derive(Debug, Clone)]
pub struct Killer(Arc<Target>);

#[derive(Debug)]
struct Target {
    group: Group,
    handle: OwnedFd,
    told: AtomicBool,
}

impl Killer {
    /// Kills and returns when no process is left.
    pub fn halt(&self, deadline: Duration) -> std::io::Result<Dead> {
        self.0.told.store(true, Ordering::SeqCst);
        self.kill(deadline)
    }

    fn kill(&self, deadline: Duration) -> std::io::Result<Dead> {
        let began = Instant::now();
        self.send_kill()?;
        self.0.group.kill(deadline)?;
        Ok(Dead { took: began.elapsed() })
    }

    fn send_kill(&self) -> std::io::Result<()> {
        let by_group = self.0.group.kill(Duration::ZERO);
        match rustix::process::pidfd_send_signal(&self.0.handle, rustix::process::Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            // Under the subordinate user the group is what may be killed.
            Err(_) if by_group.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut) => Ok(()),
            Err(error) => by_group.or(Err(error.into())),
        }
    }

    /// Whether the host has what stops a sandbox where it stands.
    pub fn can_freeze(&self) -> bool {
        self.0.group.can_freeze()
    }

    /// Stops every process where it stands, and returns when each has. What takes longer is let go on.
    pub fn freeze(&self, deadline: Duration) -> std::io::Result<()> {
        let frozen = self.0.group.freeze(deadline);
        if frozen.is_err() {
            // It fails only where nothing can be frozen, and then nothing is.
            let _ = self.thaw();
        }
        frozen
    }

    /// Lets a frozen sandbox go on.
    pub fn thaw(&self) -> std::io::Result<()> {
        self.0.group.set_frozen(Frozen::No)
    }

    /// The processes that are alive in it, as the host numbers them.
    pub fn pids(&self) -> std::io::Result<Vec<i32>> {
        self.0.group.pids()
    }

    fn was_used(&self) -> bool {
        self.0.told.load(Ordering::SeqCst)
    }
}

/// What is known while waiting.
#[derive(Debug, Default)]
struct Watching {
    ended: Option<Ended>,
    /// The launcher has nothing more to say.
    gone: bool,
    /// We have killed it.
    stopped: bool,
    output_bytes: u64,
    told: std::collections::BTreeMap<i32, u64>,
    unkept_told: u64,
}

impl Watching {
    fn over(&self, streams: &Streams) -> bool {
        self.gone && streams.output.is_none() && streams.error.is_none()
    }

    fn hear(&mut self, heard: Option<(Message, Vec<OwnedFd>)>, on_event: &mut dyn FnMut(Event)) {
        match heard.map(|(message, _)| message) {
            None => self.gone = true,
            Some(Message::Refused { number, total, .. }) => {
                let told = self.told.entry(number).or_default();
                let count = total.saturating_sub(*told);
                *told = total;
                let name = system_call_name(number).map_or_else(|| format!("system call {number}"), str::to_owned);
                if count > 0 {
                    on_event(Event::RefusedCall { name, count });
                }
            }
            Some(Message::Started(started)) => on_event(Event::Started(started)),
            Some(Message::Became { serial, program }) => on_event(Event::Became { serial, program }),
            Some(Message::Unkept { programs }) => {
                let new = programs.saturating_sub(self.unkept_told);
                self.unkept_told = programs;
                on_event(Event::Unkept { programs: new });
            }
            Some(Message::Exited { status }) => {
                self.ended.get_or_insert(from_status(status));
            }
            Some(Message::Failed(failed)) => {
                self.ended.get_or_insert(not_run(&failed));
            }
            Some(_) => {}
        }
    }
}

fn from_status(status: i32) -> Ended {
    let status: std::process::ExitStatus = std::os::unix::process::ExitStatusExt::from_raw(status);
    match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
        (Some(code), _) => Ended::Status(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::NotRun("it neither exited nor was killed".to_owned()),
    }
}

fn not_run(failed: &Failed) -> Ended {
    Ended::NotRun(failed.to_string())
}
