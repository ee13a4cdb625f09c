//! `serve`: the keeper stays, works its queue and schedule, and answers the control socket.

use std::fs::Permissions;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::errors::{CliError, Kind};
use crate::keeper::lock::State;
use crate::keeper::message::Reply;
use crate::keeper::reception::{Client, Place, Row, Seats};
use crate::keeper::{Keeper, ballast};

/// How often the schedule and a stop are looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How often identity keys are rotated where due, and published where changed: a changed configuration shows soon, and a key
/// is published for a day before it signs.
const KEYS_PERIOD: Duration = Duration::from_secs(10);

/// How long nobody is let in when the machine has no room for one more.
const BREATH: Duration = Duration::from_millis(200);

/// Serves until `stop` is set. What the operator should know meanwhile goes to `tell`.
pub(crate) fn serve(
    keeper: Arc<Keeper>,
    state: &State,
    stop: &AtomicBool,
    tell: &dyn Fn(&str),
) -> Result<(), CliError> {
    let listener = listen(&keeper, state)?;
    ballast::keep(state);
    keeper.start_pool();
    let seats = Arc::new(Seats::default());
    let mut keys = Keys::default();
    while !stop.load(Ordering::Relaxed) {
        if let Some(told) = keys.tend(&keeper) {
            tell(&told);
        }
        if let Some(told) = keeper.refresh() {
            tell(&told);
        }
        keeper.fire_schedule();
        accept(&keeper, &listener, &[], &seats).map_err(|error| state.unusable(&error))?;
    }
    let _gone = std::fs::remove_file(state.socket());
    keeper.close();
    Ok(())
}

/// When the identity keys were looked after last, and what was said about them.
#[derive(Default)]
struct Keys {
    at: Option<Instant>,
    said: Option<String>,
}

impl Keys {
    /// Looks after the keys when it is time; says what is wrong, once.
    fn tend(&mut self, keeper: &Keeper) -> Option<String> {
        if self.at.is_some_and(|at| at.elapsed() < KEYS_PERIOD) {
            return None;
        }
        self.at = Some(Instant::now());
        let wrong = keeper.works.tend_keys().err();
        let told = wrong.clone().filter(|_| wrong != self.said);
        self.said = wrong;
        told
    }
}

/// Does `act` and answers other processes meanwhile, so that whoever is the keeper for one command can be halted like
/// any other. Whoever came while it lasted is served to the end.
pub(crate) fn meanwhile<T>(keeper: &Arc<Keeper>, state: &State, act: impl FnOnce() -> T) -> Result<T, CliError> {
    let listener = listen(keeper, state)?;
    let seats = Arc::new(Seats::default());
    let (end, bell) = UnixStream::pair().map_err(|error| state.unusable(&error))?;
    let result = std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut bells = vec![&bell];
            while !bells.is_empty() || seats.are_taken() {
                // Whoever runs the command reads its own words; the log has these.
                let _told = keeper.refresh();
                // A listener that fails leaves the command as it would be without one.
                if accept(keeper, &listener, &bells, &seats).is_err() {
                    break;
                }
                bells.retain(|bell| !has_ended(bell));
            }
        });
        let result = act();
        keeper.leave();
        drop(end);
        result
    });
    let _gone = std::fs::remove_file(state.socket());
    Ok(result)
}

/// Whether the other end of a pair is gone.
fn has_ended(mut bell: &UnixStream) -> bool {
    bell.set_nonblocking(true).is_err() || matches!(bell.read(&mut [0]), Ok(0))
}

/// Greets whoever comes within a tick, or before anything happens at one of `bells`.
fn accept(
    keeper: &Arc<Keeper>,
    listener: &UnixListener,
    bells: &[&UnixStream],
    seats: &Arc<Seats>,
) -> std::io::Result<()> {
    let fds = std::iter::once(listener.as_fd()).chain(bells.iter().map(|bell| bell.as_fd()));
    let mut ready: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    match rustix::event::poll(&mut ready, Some(&TICK)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    match listener.accept() {
        Ok((stream, _)) => greet(keeper, stream, seats),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        // Too many files are open, here or on the whole machine: whoever comes waits until some are closed.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
            std::thread::sleep(BREATH);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn listen(keeper: &Keeper, state: &State) -> Result<UnixListener, CliError> {
    // We hold the lock, so a socket that lies here is a dead keeper's.
    let _none = std::fs::remove_file(state.socket());
    let people = keeper.works.config().people;
    let bind = || -> std::io::Result<UnixListener> {
        let listener = UnixListener::bind(state.socket())?;
        // The group the operator named may pass through the directory and speak to the socket, and read nothing.
        let (directory, socket) = if people.is_some() { (0o710, 0o660) } else { (0o700, 0o600) };
        if people.is_some() {
            close_to_all_but_the_owner(state.root())?;
            std::os::unix::fs::chown(state.root(), None, people)?;
            std::os::unix::fs::chown(state.socket(), None, people)?;
        }
        std::fs::set_permissions(state.root(), Permissions::from_mode(directory))?;
        std::fs::set_permissions(state.socket(), Permissions::from_mode(socket))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error| state.unusable(&error))
}

/// Takes every right to what lies in `dir` from everybody but its owner.
fn close_to_all_but_the_owner(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let mode = entry.metadata()?.permissions().mode();
        std::fs::set_permissions(entry.path(), Permissions::from_mode(mode & 0o700))?;
    }
    Ok(())
}

/// Hears whoever comes in a thread of its own, if there is room for one more of its uid to be heard.
fn greet(keeper: &Arc<Keeper>, stream: UnixStream, seats: &Arc<Seats>) {
    let Ok(client) = Client::new(stream) else { return };
    let Some(place) = seats.take(client.uid, Row::Hearing) else {
        client.say_once(&Reply::from(busy()));
        return;
    };
    let (keeper, seats) = (Arc::clone(keeper), Arc::clone(seats));
    // Where no thread can be had, the client is let go and the keeper stays: it has runs to keep.
    let _no_room = std::thread::Builder::new().spawn(move || attend(&keeper, client, &seats, place));
}

fn busy() -> CliError {
    CliError::new(Kind::State, "the keeper is busy with other clients")
        .hint("try again in a moment, or end a `selvedge watch`; `halt` and `revoke` are served all the same")
}

/// Serves one client. What stops something never waits for a seat: it is served where it was heard (invariant 2).
fn attend(keeper: &Arc<Keeper>, mut client: Client, seats: &Arc<Seats>, heard: Place) {
    let request = match client.hear() {
        Ok(request) => request,
        Err(error) => return client.say_once(&Reply::from(error)),
    };
    if request.only_takes_away() {
        return client.serve(keeper, &request);
    }
    let Some(_seat) = seats.take(client.uid, Row::Served) else { return client.say_once(&Reply::from(busy())) };
    drop(heard);
    client.serve(keeper, &request);
}
