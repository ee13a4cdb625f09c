//! The keeper's side of a door: start it, hand it listeners, answer it, close it. Synchronous. Owns the door's process;
//! never knows why something is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_domain::{CredentialName, Reach};

use crate::git::wanted::{GitAnswer, GitCall};
use crate::identity::wanted::{Given, Wanted};
use crate::loan::{DRAINED_WITHIN, LoanChange};
use crate::protocol::{Ask, Done, Fence, Hello, ListenerKind, Outcome, Refused, Verdict};
use crate::wire::descriptors::{self, PassError};
use crate::wire::frame::{self, FROM_DOOR_BYTES_MAX, FrameError, TO_DOOR_BYTES_MAX};
use crate::wire::hello::WireHello;
use crate::wire::loan::WireLoanChange;
use crate::wire::message::{FromDoor, ToDoor, WireReach};

/// The name under which the main executable becomes a door.
pub const DOOR_NAME: &str = "selvedge-door";

/// How long a door may take to make its keys and fences; a loaded machine needs a second.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a write to a door may block. A door that does not read is not served.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a closing door may take to tell what it refused last; then it is killed.
const CLOSE_GRACE: Duration = Duration::from_millis(100);

/// How long a door may take to say that a loan is changed. It does so at once; but whoever hears it may be answering something
/// else, and each answer waits for a disk flush.
const CHANGED_WITHIN: Duration = Duration::from_secs(10);

/// Answers what a door asks and hears what it tells. Called from every thread that serves.
pub trait Judge: Sync {
    /// Decides one request. The answer is final, and a panic ends the door: neither lets the request through.
    fn ask(&self, ask: &Ask) -> Verdict;
    /// Hears what became of an allowed request; called once for each, also when the door is gone.
    fn done(&self, done: Done);
    /// Hears what the door refused by itself.
    fn refused(&self, refused: Refused);
    /// Gives an identity document, or says whether one is good. Without an answer of its own, a judge gives nothing.
    fn identity(&self, wanted: Wanted) -> Given {
        let _ungiven = wanted;
        let next_step = "this run has no identity to give; work without it".to_owned();
        Given::Denied { code: "outside_grant".to_owned(), next_step }
    }
    /// Serves the run's repository. Without an answer of its own, a judge serves none.
    fn git(&self, call: GitCall) -> GitAnswer {
        let _unserved = call;
        let because = "this sandbox has no repository to ask for; work with the files it has".to_owned();
        GitAnswer::Refused { code: "outside_grant".to_owned(), because }
    }
}

/// Whose rights a door runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAs {
    /// The keeper's own; the door's fences hold all the more. Not for a keeper that is root: name resolution reads `/etc`,
    /// and root may read all of it.
    Keeper,
    /// These ids and no others.
    Ids {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// Why a door did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be started.
    #[error("the door could not be started")]
    Spawn(#[source] std::io::Error),
    /// It started and did not get ready; it says why, if it could.
    #[error("the door did not get ready: {0}")]
    NotReady(String),
    /// It went away or spoke nonsense.
    #[error("the door broke off")]
    Channel(#[from] FrameError),
}

/// Why serving ended before the door closed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A frame that is none, or means nothing. The door was killed.
    #[error("the door sent what is not a message: {0}")]
    Nonsense(String),
    /// An answer could not be written. The door was killed.
    #[error("the door does not take answers")]
    Stuck(#[source] FrameError),
}

/// A door did not change what it lends: it is gone, or was killed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the door is gone")]
pub struct DoorGone;

/// What a door says when it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The certificate that the run's clients must trust.
    pub ca_pem: String,
    /// The fences it stands behind.
    pub fences: BTreeSet<Fence>,
}

/// A door's process. Dropping it kills the door.
#[derive(Debug)]
pub struct Door {
    reader: Mutex<UnixStream>,
    writer: Mutex<Writer>,
    child: Mutex<Child>,
    /// What was allowed and is not done, with the most that it sends.
    open: Mutex<BTreeMap<u64, u64>>,
    changes: Changes,
}

/// What is written to a door, and whether that includes its listeners: what comes before them it hears before any client.
#[derive(Debug)]
struct Writer {
    channel: UnixStream,
    has_listeners: bool,
}

/// Changes that a door has yet to confirm.
#[derive(Debug, Default)]
struct Changes {
    serials: AtomicU64,
    waiting: Mutex<BTreeMap<u64, mpsc::Sender<()>>>,
}

impl Door {
    /// Starts `program` as the door of a run.
    pub fn start(program: &Path, run_as: RunAs, hello: &Hello) -> Result<(Self, Ready), StartError> {
        let (keeper, door) = UnixStream::pair().map_err(StartError::Spawn)?;
        let child = spawn(program, run_as, door).map_err(StartError::Spawn)?;
        let writer = Writer { channel: keeper.try_clone().map_err(StartError::Spawn)?, has_listeners: false };
        let (open, changes) = (Mutex::default(), Changes::default());
        let door = Self { reader: keeper.into(), writer: writer.into(), child: child.into(), open, changes };
        let ready = door.greet(hello)?;
        Ok((door, ready))
    }

    fn greet(&self, hello: &Hello) -> Result<Ready, StartError> {
        let set = |channel: &UnixStream| {
            channel.set_write_timeout(Some(WRITE_TIMEOUT))?;
            channel.set_read_timeout(Some(START_TIMEOUT))
        };
        let mut reader = lock(&self.reader);
        set(&reader).map_err(StartError::Spawn)?;
        frame::write(
            &mut lock(&self.writer).channel,
            &ToDoor::Hello(Box::new(WireHello::from(hello))),
            TO_DOOR_BYTES_MAX,
        )?;
        match frame::read(&mut *reader, FROM_DOOR_BYTES_MAX)? {
            FromDoor::Ready { ca_pem, fences } => {
                reader.set_read_timeout(None).map_err(StartError::Spawn)?;
                Ok(Ready { ca_pem, fences: fences.into_iter().map(Fence::from).collect() })
            }
            FromDoor::Failed { why } => Err(StartError::NotReady(why)),
            FromDoor::Ask(_)
            | FromDoor::Done(_)
            | FromDoor::Refused(_)
            | FromDoor::Identity { .. }
            | FromDoor::Git { .. }
            | FromDoor::LoanChanged { .. } => Err(StartError::NotReady("it spoke first".into())),
        }
    }

    /// Gives the door its listeners, once; it serves from then on.
    pub fn attach(&self, listeners: &[(ListenerKind, BorrowedFd<'_>)]) -> Result<(), PassError> {
        let mut writer = lock(&self.writer);
        // Also when it fails: some of them may have gone.
        writer.has_listeners = true;
        descriptors::send(&mut writer.channel, listeners)
    }

    /// Answers the door until it is gone. More threads may call this at once; each then answers one request at a time.
    pub fn serve(&self, judge: &dyn Judge) -> Result<(), ServeError> {
        let served = self.serve_until_gone(judge);
        self.kill();
        // Nobody will confirm anything any more.
        lock(&self.changes.waiting).clear();
        for (serial, request_bytes) in std::mem::take(&mut *lock(&self.open)) {
            let outcome = Outcome::Failed { code: "door_gone".into() };
            judge.done(Done { serial, outcome, request_bytes, response_bytes: 0 });
        }
        served
    }

    fn serve_until_gone(&self, judge: &dyn Judge) -> Result<(), ServeError> {
        // A judge that panics unwinds through here; the door must not outlive its answers.
        let killer = KillUnlessDisarmed(Some(self));
        loop {
            let message = match frame::read(&mut *lock(&self.reader), FROM_DOOR_BYTES_MAX) {
                Ok(message) => message,
                Err(FrameError::Closed(_)) => break,
                Err(error) => return Err(ServeError::Nonsense(error.to_string())),
            };
            self.hear(message, judge)?;
        }
        killer.disarm();
        Ok(())
    }

    fn hear(&self, message: FromDoor, judge: &dyn Judge) -> Result<(), ServeError> {
        match message {
            FromDoor::Ask(ask) => self.answer(ask, judge),
            FromDoor::Done(done) => {
                let done = Done::from(done);
                if lock(&self.open).remove(&done.serial).is_none() {
                    return Err(ServeError::Nonsense("it did what was not allowed".into()));
                }
                judge.done(done);
                Ok(())
            }
            FromDoor::Refused(refused) => {
                judge.refused(refused.into());
                Ok(())
            }
            FromDoor::Identity { serial, wanted } => {
                let wanted = Wanted::try_from(wanted).map_err(|bad| ServeError::Nonsense(bad.to_string()))?;
                let answer = ToDoor::Identity { serial, given: judge.identity(wanted).into() };
                frame::write(&mut lock(&self.writer).channel, &answer, TO_DOOR_BYTES_MAX).map_err(ServeError::Stuck)
            }
            FromDoor::Git { serial, call } => {
                let call = GitCall::try_from(call).map_err(|bad| ServeError::Nonsense(bad.to_string()))?;
                let answer = ToDoor::Git { serial, answer: judge.git(call).into() };
                frame::write(&mut lock(&self.writer).channel, &answer, TO_DOOR_BYTES_MAX).map_err(ServeError::Stuck)
            }
            // One that comes after the door was given up on changes nothing.
            FromDoor::LoanChanged { serial } => {
                let waiting = lock(&self.changes.waiting).remove(&serial);
                let _unheard = waiting.map(|told| told.send(()));
                Ok(())
            }
            FromDoor::Ready { .. } | FromDoor::Failed { .. } => Err(ServeError::Nonsense("it got ready twice".into())),
        }
    }

    fn answer(&self, ask: crate::wire::message::WireAsk, judge: &dyn Judge) -> Result<(), ServeError> {
        let ask = Ask::try_from(ask).map_err(|bad| ServeError::Nonsense(bad.to_string()))?;
        let verdict = judge.ask(&ask);
        if verdict == Verdict::Allow && lock(&self.open).insert(ask.serial, ask.sent_at_most()).is_some() {
            return Err(ServeError::Nonsense("it asked twice under one number".into()));
        }
        let answer = ToDoor::Answer { serial: ask.serial, verdict: verdict.into() };
        frame::write(&mut lock(&self.writer).channel, &answer, TO_DOOR_BYTES_MAX).map_err(ServeError::Stuck)
    }

    /// Changes a loan of a door and waits until the door says so; somebody must be serving it by then. A door that does not say
    /// so is killed: what it may still lend, it lends no more. One that has no listeners yet is not waited for: it hears this
    /// before them, so no request goes out with what it was lent.
    pub fn change_loan(&self, credential: &CredentialName, change: &LoanChange) -> Result<(), DoorGone> {
        let serial = self.changes.serials.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = mpsc::channel();
        lock(&self.changes.waiting).insert(serial, tell);
        let message = ToDoor::Loan { serial, credential: credential.to_string(), change: WireLoanChange::from(change) };
        let within = match change {
            LoanChange::Renewed { .. } => CHANGED_WITHIN + DRAINED_WITHIN,
            LoanChange::Withdrawn { .. } | LoanChange::Paused { .. } | LoanChange::Lapses { .. } => CHANGED_WITHIN,
        };
        let written = {
            let mut writer = lock(&self.writer);
            frame::write(&mut writer.channel, &message, TO_DOOR_BYTES_MAX).map(|()| writer.has_listeners)
        };
        let confirmed = match written {
            Ok(true) => told.recv_timeout(within),
            Ok(false) => Ok(()),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        lock(&self.changes.waiting).remove(&serial);
        confirmed.map_err(|_| {
            self.kill();
            DoorGone
        })
    }

    /// Lets the run reach what this rule covers. Whoever is answered after this finds it so: the door reads in order. One that does
    /// not read is killed, and so is one that was not told that this may be asked for.
    pub fn widen(&self, rule: &Reach) -> Result<(), DoorGone> {
        let message = ToDoor::Widened { reach: WireReach::from(rule) };
        frame::write(&mut lock(&self.writer).channel, &message, TO_DOOR_BYTES_MAX).map_err(|_| {
            self.kill();
            DoorGone
        })
    }

    /// Ends the door: all its connections drop, its keys and lease are gone with its memory. Safe from any thread, also
    /// while another serves, and more than once.
    pub fn close(&self) {
        // If a write is stuck the door is not listening, and is killed like one that does not answer.
        if let Ok(mut writer) = self.writer.try_lock() {
            let _ = writer.channel.set_write_timeout(Some(CLOSE_GRACE));
            let _ = frame::write(&mut writer.channel, &ToDoor::Close {}, TO_DOOR_BYTES_MAX)
                .map(|()| writer.channel.flush());
        }
        let deadline = Instant::now() + CLOSE_GRACE;
        while Instant::now() < deadline {
            if !matches!(lock(&self.child).try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.kill();
    }

    fn kill(&self) {
        let mut child = lock(&self.child);
        // Both fail only for a child that is already reaped, which is what they are for.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// The door's process id, to be placed and counted with its run.
    pub fn process_id(&self) -> u32 {
        lock(&self.child).id()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.kill();
    }
}

struct KillUnlessDisarmed<'a>(Option<&'a Door>);

impl KillUnlessDisarmed<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillUnlessDisarmed<'_> {
    fn drop(&mut self) {
        if let Some(door) = self.0 {
            door.kill();
        }
    }
}

/// A door has its channel as standard input, no other descriptor, an empty environment and its own process group, so that
/// what ends a terminal's programs ends it only through its keeper.
pub(crate) fn spawn(program: &Path, run_as: RunAs, channel: UnixStream) -> std::io::Result<Child> {
    // Opened here, because the ids a door runs as need not reach the directory the program lies in.
    let program = File::open(program)?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_fd().as_raw_fd()));
    command.arg0(DOOR_NAME).env_clear().current_dir("/").process_group(0);
    command.stdin(OwnedFd::from(channel)).stdout(Stdio::null()).stderr(Stdio::null());
    if let RunAs::Ids { uid, gid } = run_as {
        // The standard library also drops supplementary groups when it changes the user as root.
        command.uid(uid).gid(gid);
    }
    command.spawn()
}

/// A poisoned lock guards a socket, a child or a set that are each whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{Endpoint, HostPattern, Method};

    use super::*;
    use crate::protocol::Source;

    /// A door that says what the test writes; its process only waits.
    fn lying_door() -> (Door, UnixStream) {
        let (keeper, liar) = UnixStream::pair().unwrap();
        let writer = Writer { channel: keeper.try_clone().unwrap(), has_listeners: true }.into();
        let child = Command::new("sleep").arg("1000").spawn().unwrap().into();
        let (open, changes) = (Mutex::default(), Changes::default());
        (Door { reader: keeper.into(), writer, child, open, changes }, liar)
    }

    struct Yes(Mutex<Vec<Done>>);

    impl Judge for Yes {
        fn ask(&self, _: &Ask) -> Verdict {
            Verdict::Allow
        }
        fn done(&self, done: Done) {
            self.0.lock().unwrap().push(done);
        }
        fn refused(&self, _: Refused) {}
    }

    fn ask(serial: u64, path: &str) -> Vec<u8> {
        let endpoint = Endpoint { host: HostPattern::parse("registry.example").unwrap(), port: 443 };
        let path = path.to_owned();
        let (method, credential, source) = (Method::Get, None, Source::Connect);
        let (query_bytes, graphql) = (0, BTreeSet::new());
        let ask = Ask { serial, method, endpoint, path, query_bytes, body_bytes: None, credential, graphql, source };
        frame::encode(&FromDoor::Ask(ask.into()), FROM_DOOR_BYTES_MAX).unwrap().to_vec()
    }

    fn done(serial: u64) -> Vec<u8> {
        let done = Done { serial, outcome: Outcome::Answered { status: 200 }, request_bytes: 0, response_bytes: 0 };
        frame::encode(&FromDoor::Done(done.into()), FROM_DOOR_BYTES_MAX).unwrap().to_vec()
    }

    #[test]
    fn a_door_that_does_what_was_not_allowed_or_speaks_nonsense_is_killed() {
        for lies in [
            done(1),
            [ask(1, "/a"), done(2)].concat(),
            [ask(1, "/a"), done(1), done(1)].concat(),
            [ask(1, "/a"), ask(1, "/b")].concat(),
            ask(1, "/a/../b"),
            b"\0\0\0\x02{}".to_vec(),
            b"\xff\xff\xff\xff".to_vec(),
        ] {
            let (door, mut liar) = lying_door();
            liar.write_all(&lies).unwrap();
            let heard = Yes(Mutex::default());
            assert!(matches!(door.serve(&heard), Err(ServeError::Nonsense(_))), "{}", String::from_utf8_lossy(&lies));
            assert!(!Path::new(&format!("/proc/{}", door.process_id())).exists(), "it lives on");
        }
    }

    #[test]
    fn every_allowed_request_has_one_deed_though_the_door_is_gone() {
        let (door, mut liar) = lying_door();
        liar.write_all(&[ask(1, "/a"), ask(2, "/b"), done(1), ask(3, "/c")].concat()).unwrap();
        liar.shutdown(std::net::Shutdown::Write).unwrap();
        let heard = Yes(Mutex::default());
        door.serve(&heard).unwrap();
        let heard = heard.0.into_inner().unwrap();
        // Nobody knows what left, so it counts as all that could have.
        assert!(heard.iter().skip(1).all(|done| done.request_bytes > 16 << 20), "{heard:?}");
        let heard: Vec<_> = heard.into_iter().map(|done| (done.serial, done.outcome)).collect();
        let gone = || Outcome::Failed { code: "door_gone".into() };
        assert_eq!(heard, [(1, Outcome::Answered { status: 200 }), (2, gone()), (3, gone())]);
    }

    #[test]
    fn a_door_that_does_not_read_is_closed_all_the_same() {
        let (door, _liar) = lying_door();
        let start = Instant::now();
        door.close();
        assert!(!Path::new(&format!("/proc/{}", door.process_id())).exists());
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
