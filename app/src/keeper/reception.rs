//! One client at the control socket: who it is, what it wants, what it is told; and how many of them there may be. A uid
//! that takes all its seats, or does not read what it asked for, is in nobody's way but its own.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::errors::{CliError, Kind};
use crate::keeper::Keeper;
use crate::keeper::hall::Listener;
use crate::keeper::message::{LINE_BYTES_MAX, Reply, Request};

/// How many clients of the keeper's own uid are served at the same time, and heard.
const OWN_MAX: usize = 64;

/// How many of any other uid: one person's terminals and scripts.
const ANOTHER_MAX: usize = 16;

/// How many of all other uids together: each is a thread.
const OTHERS_MAX: usize = 256;

/// How much of a request is read at a time; most are shorter.
const PIECE_BYTES: usize = 4096;

/// How long a client may take to say what it wants, from its first byte to its last.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// How long a client may read nothing of what it is told: a person may leave a pager open for a while.
const STALLED_AT_MOST: Duration = Duration::from_secs(300);

/// How often it is looked whether the keeper leaves while a client does not read.
const LOOK: Duration = Duration::from_millis(500);

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// It has yet to say what it wants, or wants something stopped.
    Hearing,
    /// It has what it wants to come.
    Served,
}

/// Who takes how many places.
#[derive(Default)]
pub(super) struct Seats {
    taken: Mutex<BTreeMap<(Row, u32), usize>>,
}

/// A place, given back when dropped.
pub(super) struct Place {
    seats: Arc<Seats>,
    row: Row,
    uid: u32,
}

impl Seats {
    /// A place in this row for one more of this uid, if there is one.
    pub(super) fn take(self: &Arc<Self>, uid: u32, row: Row) -> Option<Place> {
        let own = rustix::process::getuid().as_raw();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let others: usize =
            taken.iter().filter(|((of, uid), _)| *of == row && *uid != own).map(|(_, count)| *count).sum();
        let count = taken.entry((row, uid)).or_default();
        let free = if uid == own { *count < OWN_MAX } else { *count < ANOTHER_MAX && others < OTHERS_MAX };
        if !free {
            return None;
        }
        *count += 1;
        Some(Place { seats: Arc::clone(self), row, uid })
    }

    /// Whether anybody is there.
    pub(super) fn are_taken(&self) -> bool {
        !self.taken.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&(self.row, self.uid)) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&(self.row, self.uid));
            }
        }
    }
}

/// A client at the other end of a connection.
pub(super) struct Client {
    stream: UnixStream,
    /// Who it is: the kernel's word, not the client's.
    pub(super) uid: u32,
    stalled_at_most: Duration,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> std::io::Result<Self> {
        let uid = rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw();
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(LOOK))?;
        Ok(Self { stream, uid, stalled_at_most: STALLED_AT_MOST })
    }

    /// What the client wants.
    pub(super) fn hear(&mut self) -> Result<Request, CliError> {
        let unusable =
            |error: &dyn std::fmt::Display| CliError::new(Kind::Usage, format!("cannot read the request: {error}"));
        let until = Until { stream: &self.stream, end: Instant::now() + REQUEST_WITHIN };
        let line = line_of(until.take(LINE_BYTES_MAX)).map_err(|error| unusable(&error))?;
        serde_json::from_slice(&line).map_err(|error| unusable(&error))
    }

    /// Does what it wants, tells it what comes of that, and stops telling once it is gone.
    pub(super) fn serve(&self, keeper: &Arc<Keeper>, request: &Request) {
        let present = Present { client: self, keeper, gone: Cell::new(false) };
        let last = match keeper.handle(request, self.uid, &present, &mut |reply| present.tell(reply)) {
            Ok(value) => Reply::Done { value },
            Err(error) => Reply::from(error),
        };
        present.tell(&last);
    }

    /// Tells it one thing without waiting for it.
    pub(super) fn say_once(&self, reply: &Reply) {
        let _gone = self.say(reply, &|| true);
    }

    /// Tells it this, for as long as it reads. `hurries` says that nobody waits for it any more.
    fn say(&self, reply: &Reply, hurries: &dyn Fn() -> bool) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&*reply.within_a_line())?;
        line.push(b'\n');
        let mut rest = line.as_slice();
        let mut read_last = Instant::now();
        while !rest.is_empty() {
            match (&self.stream).write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    read_last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if hurries() || read_last.elapsed() >= self.stalled_at_most {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The first line, without what follows it. It may hold a key that is to be stored, so no copy of it is left behind.
fn line_of(mut reader: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::new());
    let mut piece = Zeroizing::new([0; PIECE_BYTES]);
    loop {
        let read = match reader.read(piece.as_mut()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        let piece = piece.get(..read).unwrap_or_default();
        let end = piece.iter().position(|byte| *byte == b'\n');
        let more = piece.get(..end.unwrap_or(read)).unwrap_or_default();
        if line.capacity() - line.len() < more.len() {
            // Grown by hand: a vector that grows by itself does not wipe what it leaves.
            let mut longer = Zeroizing::new(Vec::with_capacity(2 * (line.len() + more.len())));
            longer.extend_from_slice(&line);
            line = longer;
        }
        line.extend_from_slice(more);
        if end.is_some() || read == 0 {
            return Ok(line);
        }
    }
}

/// What can be read of a stream until a moment, however little comes at a time.
struct Until<'a> {
    stream: &'a UnixStream,
    end: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// Whether the client is still there; a follower that left, or does not read, is not followed.
struct Present<'a> {
    client: &'a Client,
    keeper: &'a Keeper,
    gone: Cell<bool>,
}

impl Present<'_> {
    fn tell(&self, reply: &Reply) {
        let leaves = || self.keeper.leaving.load(Ordering::Acquire);
        if !self.gone.get() && self.client.say(reply, &leaves).is_err() {
            self.gone.set(true);
            // Half a line is no answer, so the client is not left to wait for the rest.
            let _closed = self.client.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Listener for Present<'_> {
    fn is_there(&self) -> bool {
        let mut byte = [0];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        !self.gone.get() && !matches!(rustix::net::recv(&self.client.stream, &mut byte, flags), Ok((_, 0)))
    }

    fn is_the_keeper(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn a107_one_uid_cannot_take_the_places_of_another() {
        let seats = Arc::new(Seats::default());
        let own = rustix::process::getuid().as_raw();
        let (one, another) = (own + 1, own + 2);
        let taken: Vec<Place> = std::iter::from_fn(|| seats.take(one, Row::Served)).collect();
        assert_eq!(taken.len(), ANOTHER_MAX);
        assert!(seats.take(one, Row::Hearing).is_some(), "what it wants stopped is heard all the same");
        assert!(seats.take(another, Row::Served).is_some() && seats.take(own, Row::Served).is_some());
        let many: Vec<Place> = (own + 3..own + 100).filter_map(|uid| seats.take(uid, Row::Served)).collect();
        let more: Vec<Place> = (own + 3..own + 100)
            .flat_map(|uid| [uid; ANOTHER_MAX])
            .filter_map(|uid| seats.take(uid, Row::Served))
            .collect();
        assert_eq!(taken.len() + many.len() + more.len(), OTHERS_MAX);
        assert!(seats.take(own, Row::Served).is_some(), "the operator's own places are nobody else's");
        drop((taken, many, more));
        assert!(!seats.are_taken());
    }

    #[test]
    fn a107_a_client_that_does_not_read_is_dropped_and_one_that_does_is_told_all() {
        let reply = Reply::Text { text: "x".repeat(2 << 20) };
        let client = || {
            let (near, far) = UnixStream::pair().unwrap();
            (Client { stalled_at_most: Duration::ZERO, ..Client::new(near).unwrap() }, far)
        };
        let (silent, _kept_open) = client();
        assert_eq!(silent.say(&reply, &|| false).unwrap_err().kind(), ErrorKind::TimedOut);
        let (patient, far) = client();
        let patient = Client { stalled_at_most: STALLED_AT_MOST, ..patient };
        let reading = std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(far).read_line(&mut line).unwrap();
            line.len()
        });
        patient.say(&reply, &|| false).unwrap();
        assert!(reading.join().unwrap() > 2 << 20);
    }

    #[test]
    fn a107_a_request_that_comes_drop_by_drop_is_not_waited_for() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut until = Until { stream: &near, end: Instant::now() };
        (&far).write_all(b"{").unwrap();
        assert_eq!(until.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
