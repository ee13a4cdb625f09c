//! Owns the seeing of programs: each one that is asked for inside is read from its caller's memory, told to the keeper, and let go
//! on. Nothing is decided here, and nothing may be: the caller can change what was read before the kernel reads it. What
//! a process really became is looked up afterwards, where it lives long enough to be found.
//!
//! Bounded in everything: what is read of a call, what waits for the keeper, what is remembered. What is not kept is counted.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::message::{Argument, Message, Started};
use crate::sys::{self, Notified, Patience};

/// A path is told as far as this: messages have a size.
const PATH_BYTES_MAX: usize = 1024;
/// An argument is told as far as this, and all of them together.
const ARGUMENT_BYTES_MAX: usize = 4096;
const ARGUMENTS_BYTES_MAX: usize = 5120;
/// Arguments that are told; a compiler is given hundreds.
const ARGUMENTS_MAX: usize = 16;
/// Arguments that are counted, and bytes of one that are measured. The kernel takes more; "at least" is said of those.
const ARGUMENTS_COUNTED_MAX: usize = 4096;
const ARGUMENT_MEASURED_MAX: usize = 1 << 17;
/// Messages that wait for a keeper that does not listen: a few megabytes at most.
const WAITING_MAX: usize = 1024;
/// Processes remembered with what they were; the oldest are forgotten first, and what they start has no known cause then.
const KNOWN_MAX: usize = 4096;
/// Processes looked at for what they became, and for how long each. A start takes the kernel some tenths of a millisecond, and one
/// that failed is never seen to be done.
const FRESH_MAX: usize = 64;
const LOOKED_AT_MOST: Duration = Duration::from_secs(1);
/// How soon to look again, and to try to tell what waits: after half the time it has been so far, within this.
const SOON_MILLISECONDS: std::ops::RangeInclusive<u128> = 1..=50;
/// Processes between one that starts a program and the one that was seen to be one: shells fork a few times.
const ANCESTORS_MAX: usize = 32;
/// Memory is read in pieces that end where a page does, for the next one may be missing.
const PAGE_BYTES: usize = 4096;

/// What was seen of programs so far.
#[derive(Debug)]
pub(crate) struct Programs {
    /// What the spec says is run first: that process is closed to us until it is a program.
    first: Vec<String>,
    /// Where the search for what started a process ends.
    launcher: u32,
    serial: u64,
    known: BTreeMap<Process, u64>,
    fresh: Vec<Fresh>,
    waiting: VecDeque<Vec<u8>>,
    unkept: u64,
    unkept_told: u64,
}

/// A process, told apart from a later one with its number by when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    began: u64,
}

/// A process that asked for a program a moment ago.
#[derive(Debug)]
struct Fresh {
    process: Process,
    stack: u64,
    serial: u64,
    since: Instant,
}

/// What the process table says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    process: Process,
    parent: u32,
    /// Where its stack begins: somewhere else in each program, so that one that was started is told from one that was not.
    stack: u64,
}

impl Programs {
    /// Nothing so far, in a sandbox that runs this first.
    pub(crate) fn new(first: &[String]) -> Self {
        Self {
            first: first.to_vec(),
            launcher: std::process::id(),
            serial: 0,
            known: BTreeMap::new(),
            fresh: Vec::new(),
            waiting: VecDeque::new(),
            unkept: 0,
            unkept_told: 0,
        }
    }

    /// Looks at a call that would start a program. The caller of this answers it, whatever was seen.
    pub(crate) fn see(&mut self, notified: &Notified, listener: BorrowedFd<'_>) {
        let (pid, asked) = (leader_of(notified.pid), Asked::read(notified));
        let entry = pid.and_then(entry_of);
        if !sys::still_waits(listener, notified) {
            // It is dead, and so nothing was started; what was read may be another's.
            return;
        }
        // What it is now will soon be gone; everything else is looked at once it is answered.
        if let Some(entry) = entry {
            self.look(|process| process == entry.process);
        }
        let under = entry.map_or(0, |entry| self.under(entry));
        let asked = match asked {
            Some(asked) => asked,
            None if self.serial == 0 => Asked::of_spec(&self.first),
            // The first process tries its name in one directory after another.
            None if self.serial == 1 && under == 1 => return,
            None => Asked::default(),
        };
        self.serial += 1;
        if let Some(entry) = entry {
            self.remember(entry);
        }
        let Asked { program, arguments, arguments_more } = asked;
        let pid = pid.unwrap_or(notified.pid);
        let started = Started { serial: self.serial, under, pid, program, arguments, arguments_more };
        self.tell(&Message::Started(started));
    }

    /// How long to wait for something to happen before there is something to do here, in the kernel's terms.
    pub(crate) fn patience(&self) -> libc::c_int {
        if self.fresh.is_empty() && self.waiting.is_empty() {
            return -1;
        }
        let newest = self.fresh.iter().map(|fresh| fresh.since.elapsed().as_millis()).min().unwrap_or_default();
        let soon = (newest / 2).clamp(*SOON_MILLISECONDS.start(), *SOON_MILLISECONDS.end());
        libc::c_int::try_from(soon).unwrap_or(1)
    }

    /// Looks what processes became that asked for a program a moment ago.
    pub(crate) fn look_again(&mut self) {
        self.look(|_| true);
    }

    fn look(&mut self, which: impl Fn(Process) -> bool) {
        for fresh in std::mem::take(&mut self.fresh) {
            if !which(fresh.process) {
                self.fresh.push(fresh);
                continue;
            }
            let Some(now) = entry_of(fresh.process.pid).filter(|now| now.process == fresh.process) else { continue };
            if now.stack != fresh.stack {
                if let Ok(program) = std::fs::read_link(format!("/proc/{}/exe", fresh.process.pid)) {
                    let program = cut(program.into_os_string().into_vec());
                    self.tell(&Message::Became { serial: fresh.serial, program });
                }
                continue;
            }
            if fresh.since.elapsed() < LOOKED_AT_MOST {
                self.fresh.push(fresh);
            }
        }
    }

    /// Tells the keeper what waits, as far as it listens.
    pub(crate) fn flush(&mut self, control: BorrowedFd<'_>, patience: Patience) {
        while let Some(bytes) = self.waiting.pop_front() {
            if sys::send(control, &bytes, &[], patience).is_err() {
                self.waiting.push_front(bytes);
                return;
            }
        }
        if self.unkept > self.unkept_told {
            let message = Message::Unkept { programs: self.unkept };
            if sys::send(control, &message.encode(), &[], patience).is_ok() {
                self.unkept_told = self.unkept;
            }
        }
    }

    /// The number of the program that this process, or the nearest above it, was seen to be.
    fn under(&self, mut entry: Entry) -> u64 {
        for _ in 0..ANCESTORS_MAX {
            if let Some(serial) = self.known.get(&entry.process) {
                return *serial;
            }
            match entry_of(entry.parent) {
                Some(above) if above.process.pid != self.launcher => entry = above,
                _ => return 0,
            }
        }
        0
    }

    fn remember(&mut self, entry: Entry) {
        if self.known.len() >= KNOWN_MAX {
            let oldest = self.serial.saturating_sub(KNOWN_MAX as u64 / 2);
            self.known.retain(|_, serial| *serial > oldest);
        }
        self.known.insert(entry.process, self.serial);
        self.fresh.retain(|fresh| fresh.process != entry.process);
        if self.fresh.len() < FRESH_MAX {
            let Entry { process, stack, .. } = entry;
            self.fresh.push(Fresh { process, stack, serial: self.serial, since: Instant::now() });
        }
    }

    fn tell(&mut self, message: &Message) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(message.encode());
        } else if matches!(message, Message::Started(_)) {
            self.unkept += 1;
        }
    }
}

/// What a caller asks for.
#[derive(Debug, Default)]
struct Asked {
    program: Vec<u8>,
    arguments: Vec<Argument>,
    arguments_more: u32,
}

impl Asked {
    fn of_spec(argv: &[String]) -> Self {
        let mut room = ARGUMENTS_BYTES_MAX;
        let arguments =
            argv.iter().take(ARGUMENTS_MAX).map(|argument| kept(argument.as_bytes(), argument.len(), &mut room));
        Self {
            program: cut(argv.first().map(|name| name.clone().into_bytes()).unwrap_or_default()),
            arguments: arguments.collect(),
            arguments_more: u32::try_from(argv.len().saturating_sub(ARGUMENTS_MAX)).unwrap_or(u32::MAX),
        }
    }

    /// Reads the caller's memory; none of it if the kernel does not let us.
    fn read(notified: &Notified) -> Option<Self> {
        let [first, second, third, ..] = notified.arguments;
        // `execveat` takes a directory before the path.
        let (directory, path, argv) = match notified.number {
            EXECVE => (None, first, second),
            _ => (Some(first), second, third),
        };
        let path = string_at(notified.pid, path, PATH_BYTES_MAX * 4)?.0;
        let program = cut(whole_path(notified.pid, directory, path));
        let mut asked = Self { program, ..Self::default() };
        let mut room = ARGUMENTS_BYTES_MAX;
        for index in 0..ARGUMENTS_COUNTED_MAX {
            let mut address = [0; 8];
            let at = argv.checked_add(index as u64 * 8)?;
            if sys::read_memory(notified.pid.cast_signed(), at, &mut address).ok() != Some(address.len()) {
                break;
            }
            match u64::from_ne_bytes(address) {
                0 => break,
                _ if index >= ARGUMENTS_MAX => asked.arguments_more += 1,
                address => {
                    let (bytes, length) = string_at(notified.pid, address, ARGUMENT_MEASURED_MAX)?;
                    asked.arguments.push(kept(&bytes, length, &mut room));
                }
            }
        }
        Some(asked)
    }
}

const EXECVE: i32 = 59;

/// As much of an argument as there is room for.
fn kept(bytes: &[u8], length: usize, room: &mut usize) -> Argument {
    let end = bytes.len().min(ARGUMENT_BYTES_MAX).min(*room);
    *room -= end;
    Argument { bytes: bytes.get(..end).unwrap_or_default().to_vec(), length: u32::try_from(length).unwrap_or(u32::MAX) }
}

/// Text that ends with NUL in another process, and its length. Of a longer one the first `most` bytes.
fn string_at(pid: u32, mut address: u64, most: usize) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    while text.len() < most {
        let mut piece = [0; PAGE_BYTES];
        let until_page_ends = PAGE_BYTES - usize::try_from(address % PAGE_BYTES as u64).ok()?;
        let piece = piece.get_mut(..until_page_ends)?;
        let read = sys::read_memory(pid.cast_signed(), address, piece).ok().filter(|read| *read > 0)?;
        let piece = piece.get(..read)?;
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(piece.get(..end)?);
            break;
        }
        text.extend_from_slice(piece);
        address = address.checked_add(read as u64)?;
    }
    text.truncate(most);
    let length = text.len();
    Some((text, length))
}

/// The path from the root, as the caller means it. It is put together, not followed.
fn whole_path(pid: u32, directory: Option<u64>, path: Vec<u8>) -> Vec<u8> {
    if path.starts_with(b"/") {
        return path;
    }
    // Only the low half counts, and one number stands for the directory the caller is in.
    let low_half = |directory: u64| {
        let [a, b, c, d, ..] = directory.to_le_bytes();
        i32::from_le_bytes([a, b, c, d])
    };
    match directory.map(low_half) {
        None | Some(libc::AT_FDCWD) => {}
        // The table of another user's descriptors is closed to us; what it stands for is seen when it runs.
        Some(descriptor) => return [format!("descriptor {descriptor}").as_bytes(), b" ", &path].concat(),
    }
    let Ok(base) = std::fs::read_link(format!("/proc/{pid}/cwd")) else { return path };
    base.join(without_dots(&path)).into_os_string().into_vec()
}

fn without_dots(path: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(path)).components().filter(|part| *part != std::path::Component::CurDir).collect()
}

fn cut(mut path: Vec<u8>) -> Vec<u8> {
    path.truncate(PATH_BYTES_MAX);
    path
}

/// The process a thread belongs to.
fn leader_of(thread: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

fn entry_of(pid: u32) -> Option<Entry> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &stat)
}

/// The name in it is the process's own choice, parentheses and spaces included; nothing is believed before its end.
fn parse_stat(pid: u32, stat: &[u8]) -> Option<Entry> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Counted from the state, which is the third field.
    let field = |number: usize| fields.get(number - 3);
    Some(Entry {
        process: Process { pid, began: field(22)?.parse().ok()? },
        parent: field(4)?.parse().ok()?,
        stack: field(28)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_the_rest_deceives_nobody_a21() {
        let stat =
            b"77 (x) R 1 1 (0) S 41 77 77 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 5555 8000000 200 184 1 2 140736 0";
        let entry = parse_stat(77, stat).unwrap();
        assert_eq!(entry, Entry { process: Process { pid: 77, began: 5555 }, parent: 41, stack: 140_736 });
        for end in 0..stat.len() - 20 {
            assert_ne!(parse_stat(77, &stat[..end]), Some(entry));
        }
    }

    #[test]
    fn the_own_process_is_found_with_its_parent() {
        let own = entry_of(std::process::id()).unwrap();
        assert_eq!(leader_of(std::process::id()), Some(std::process::id()));
        assert!(own.parent > 0 && own.stack > 0);
        // A thread of it is no process of its own.
        let thread = std::thread::spawn(|| leader_of(this_thread())).join().unwrap();
        assert_eq!(thread, Some(std::process::id()));
    }

    /// The number of this thread, by way of the process table.
    fn this_thread() -> u32 {
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        link.file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn text_is_read_across_pages_and_no_further_than_asked() {
        let text: Vec<u8> = b"ab".repeat(9000).into_iter().chain([0, b'x']).collect();
        let at = text.as_ptr().addr() as u64;
        let (read, length) = string_at(std::process::id(), at, 1 << 17).unwrap();
        assert_eq!((read.len(), length), (18_000, 18_000));
        assert_eq!(string_at(std::process::id(), at, 100).unwrap().1, 100);
        assert_eq!(string_at(std::process::id(), 8, 100), None, "nothing is there");
    }

    #[test]
    fn what_does_not_fit_is_cut_with_its_length_and_counted() {
        let mut room = ARGUMENTS_BYTES_MAX;
        let long = vec![b'x'; 100_000];
        let first = kept(&long, long.len(), &mut room);
        assert_eq!((first.bytes.len(), first.length), (ARGUMENT_BYTES_MAX, 100_000));
        assert_eq!(kept(&long, long.len(), &mut room).bytes.len(), ARGUMENTS_BYTES_MAX - ARGUMENT_BYTES_MAX);
        assert_eq!(kept(b"more", 4, &mut room), Argument { bytes: Vec::new(), length: 4 });
        let arguments = vec![Argument { bytes: vec![0; ARGUMENT_BYTES_MAX], length: 1 }; 1];
        let rest = vec![Argument { bytes: vec![0; 64], length: 1 }; ARGUMENTS_MAX];
        let arguments = arguments.into_iter().chain(rest).collect();
        let program = vec![b'/'; PATH_BYTES_MAX];
        let started = Started { serial: 1, under: 0, pid: 1, program, arguments, arguments_more: 9 };
        assert!(Message::Started(started).encode().len() < crate::message::MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_keeper_that_does_not_listen_stalls_nobody_and_learns_what_it_missed() {
        let mut programs = Programs::new(&["sh".to_owned()]);
        let started = Message::Started(Started {
            serial: 1,
            under: 0,
            pid: 1,
            program: vec![b'/'; PATH_BYTES_MAX],
            arguments: Vec::new(),
            arguments_more: 0,
        });
        for _ in 0..WAITING_MAX + 312 {
            programs.tell(&started);
        }
        assert_eq!((programs.waiting.len(), programs.unkept), (WAITING_MAX, 312));
        let (ours, theirs) = sys::socket_pair().unwrap();
        programs.flush(std::os::fd::AsFd::as_fd(&ours), Patience::Hurry);
        assert!(!programs.waiting.is_empty(), "more than a socket holds");
        let (mut heard, mut unkept) = (0, 0);
        while heard < WAITING_MAX || unkept == 0 {
            match Message::receive(&theirs).unwrap().unwrap().0 {
                Message::Started(_) => heard += 1,
                Message::Unkept { programs } => unkept = programs,
                other => panic!("{other:?}"),
            }
            programs.flush(std::os::fd::AsFd::as_fd(&ours), Patience::Hurry);
        }
        assert_eq!(unkept, 312);
    }
}
