//! `serve`: the keeper stays, works its queue and schedule, and answers the control socket.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::errors::{CliError, Kind};
use crate::keeper::hall::Listener;
use crate::keeper::lock::State;
use crate::keeper::message::{LINE_BYTES_MAX, Reply, Request};
use crate::keeper::{Keeper, ballast};

/// How many clients are served at the same time; more are told to come back.
const CLIENTS_MAX: usize = 64;

/// How often the schedule and a stop are looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How long a client may take to say what it wants.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

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
    let clients = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        if let Some(told) = keeper.refresh() {
            tell(&told);
        }
        keeper.fire_schedule();
        accept(&keeper, &listener, &[], &clients).map_err(|error| state.unusable(&error))?;
    }
    let _gone = std::fs::remove_file(state.socket());
    keeper.close();
    Ok(())
}

/// Does `act` and answers other processes meanwhile, so that whoever is the keeper for one command can be halted like
/// any other. Whoever came while it lasted is served to the end.
pub(crate) fn meanwhile<T>(keeper: &Arc<Keeper>, state: &State, act: impl FnOnce() -> T) -> Result<T, CliError> {
    let listener = listen(keeper, state)?;
    let clients = Arc::new(AtomicUsize::new(0));
    let (end, bell) = UnixStream::pair().map_err(|error| state.unusable(&error))?;
    let result = std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut bells = vec![&bell];
            while !bells.is_empty() || clients.load(Ordering::Acquire) > 0 {
                // Whoever runs the command reads its own words; the log has these.
                let _told = keeper.refresh();
                // A listener that fails leaves the command as it would be without one.
                if accept(keeper, &listener, &bells, &clients).is_err() {
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
    clients: &Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let fds = std::iter::once(listener.as_fd()).chain(bells.iter().map(|bell| bell.as_fd()));
    let mut ready: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    match rustix::event::poll(&mut ready, Some(&TICK)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    match listener.accept() {
        Ok((stream, _)) => greet(keeper, stream, clients),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
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

fn greet(keeper: &Arc<Keeper>, stream: UnixStream, clients: &Arc<AtomicUsize>) {
    if clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS_MAX {
        clients.fetch_sub(1, Ordering::AcqRel);
        let busy = CliError::new(Kind::State, "the keeper is busy with other clients").hint("try again in a moment");
        let _gone = say(&stream, &Reply::from(busy));
        return;
    }
    let (keeper, clients) = (Arc::clone(keeper), Arc::clone(clients));
    std::thread::spawn(move || {
        attend(&keeper, &stream);
        clients.fetch_sub(1, Ordering::AcqRel);
    });
}

fn attend(keeper: &Arc<Keeper>, stream: &UnixStream) {
    let last = match hear(stream) {
        Ok((request, uid)) => {
            let present = Present(stream);
            keeper.handle(&request, uid, &present, &mut |reply| {
                let _gone = say(stream, reply);
            })
        }
        Err(error) => Err(error),
    };
    let _gone = match last {
        Ok(value) => say(stream, &Reply::Done { value }),
        Err(error) => say(stream, &Reply::from(error)),
    };
}

/// What the client wants, and who it is: the kernel's word, not the client's.
fn hear(stream: &UnixStream) -> Result<(Request, u32), CliError> {
    let unusable =
        |error: &dyn std::fmt::Display| CliError::new(Kind::Usage, format!("cannot read the request: {error}"));
    stream.set_nonblocking(false).map_err(|error| unusable(&error))?;
    stream.set_read_timeout(Some(REQUEST_WITHIN)).map_err(|error| unusable(&error))?;
    let uid = rustix::net::sockopt::socket_peercred(stream).map_err(|error| unusable(&error))?.uid.as_raw();
    let mut line = Vec::new();
    BufReader::new(stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| unusable(&error))?;
    let request = serde_json::from_slice(&line).map_err(|error| unusable(&error))?;
    Ok((request, uid))
}

fn say(mut stream: &UnixStream, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Whether the client is still there; a follower that left is not followed.
struct Present<'a>(&'a UnixStream);

impl Listener for Present<'_> {
    fn is_there(&self) -> bool {
        let mut byte = [0];
        let peeked =
            rustix::net::recv(self.0, &mut byte, rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT);
        !matches!(peeked, Ok((_, 0)))
    }

    fn is_the_keeper(&self) -> bool {
        false
    }
}
