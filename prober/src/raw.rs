//! Owns the raw calls. Everything else in this crate is safe code.
#![expect(unsafe_code, reason = "hostile calls have no safe form; every block states why it cannot harm this process")]

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libc::{c_int, c_long};

use crate::outcome::Outcome;

/// How long one attack may take. One that hangs is told as such.
const ATTACK_MAX: Duration = Duration::from_secs(60);

/// Calls the kernel by number. Arguments are numbers, null, or [`place`]s; none of the calls tried here changes memory
/// of this process other than such places.
pub(crate) fn call(number: c_long, arguments: &[usize]) -> io::Result<usize> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: by the promise above the kernel touches no memory Rust relies on.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The address of bytes that live for ever, for a call to read or write.
pub(crate) fn place(bytes: &[u8]) -> usize {
    let mut leaked = bytes.to_vec();
    // Structures of the kernel want more alignment than bytes have.
    leaked.resize(bytes.len() + 16, 0);
    let words: Vec<u128> = leaked
        .chunks(16)
        .map(|chunk| {
            let mut word = [0; 16];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            u128::from_ne_bytes(word)
        })
        .collect();
    words.leak().as_ptr().addr()
}

/// The address of a text with its closing zero.
pub(crate) fn text(text: &str) -> usize {
    let text = CString::new(text).unwrap_or_default();
    place(text.as_bytes_with_nul())
}

/// Opens with flags; the descriptor is closed at once.
pub(crate) fn open(path: &str, flags: c_int) -> io::Result<()> {
    open_kept(path, flags).map(drop)
}

/// Opens with flags.
pub(crate) fn open_kept(path: &str, flags: c_int) -> io::Result<OwnedFd> {
    let path = CString::new(path)?;
    // SAFETY: a string that outlives the call.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) };
    // SAFETY: when not negative, a new descriptor that is ours.
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
}

/// Makes a socket; it is closed at once.
pub(crate) fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<()> {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that is ours.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// Sends a descriptor over a unix socket (unix(7), `SCM_RIGHTS`), with the one byte that has to go along.
pub(crate) fn send_descriptor(socket: &impl AsRawFd, descriptor: &impl AsRawFd) -> io::Result<()> {
    let mut byte = [b'x'];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // Room for one header and one descriptor, aligned as the header wants it.
    let mut control = [0_u64; 4];
    // SAFETY: a message that points at the three values above, which outlive the call; the control data fit their room.
    let sent = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(descriptor.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const message, 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the loopback interface an address and turns it on.
pub(crate) fn give_loopback(address: [u8; 4]) -> io::Result<()> {
    // SAFETY: takes numbers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that is ours, and structures of the types the ioctls read.
    unsafe {
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        let mut place: libc::sockaddr_in = zeroed();
        place.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
        place.sin_addr.s_addr = u32::from_ne_bytes(address);
        request.ifr_ifru.ifru_addr = std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(place);
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) < 0 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// `getpid` through the 32-bit entry of the kernel.
#[cfg(target_arch = "x86_64")]
pub(crate) fn getpid_as_i386() -> i32 {
    let result: i32;
    // SAFETY: call 20 of the i386 table takes nothing and only returns a number; the registers it clobbers are named.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result
}

/// A process made for one thing, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a status.
    Status(i32),
    /// By a signal.
    Signal(i32),
    /// Not in time; it was killed.
    Hung,
}

/// Runs something in a process of its own and returns what it wrote.
pub(crate) fn apart(act: impl FnOnce(&mut dyn Write)) -> io::Result<(String, Ended)> {
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(reader);
            act(&mut writer);
            exit_now(0)
        }
        pid => {
            drop(writer);
            let ended = reap(pid);
            let mut text = String::new();
            // What it left running may hold the other end.
            // SAFETY: takes numbers.
            unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
            let _ = reader.by_ref().take(1 << 20).read_to_string(&mut text);
            Ok((text, ended))
        }
    }
}

fn reap(pid: libc::pid_t) -> Ended {
    let until = Instant::now() + ATTACK_MAX;
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place.
        let reaped = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
        if reaped == pid {
            return if libc::WIFSIGNALED(status) {
                Ended::Signal(libc::WTERMSIG(status))
            } else {
                Ended::Status(libc::WEXITSTATUS(status))
            };
        }
        if Instant::now() > until {
            kill(pid, libc::SIGKILL);
            return Ended::Hung;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Forks: 0 in the child, which dies with its parent, so that an attack that is cut short leaves nothing behind.
pub(crate) fn fork() -> io::Result<libc::pid_t> {
    // SAFETY: this program has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        die_with_parent(libc::SIGKILL);
    }
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// The signal this process gets when its parent dies; 0 for none.
pub(crate) fn die_with_parent(signal: c_int) {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
}

/// Ends this process at once.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// Sends a signal; an answer is not waited for.
pub(crate) fn kill(pid: libc::pid_t, signal: c_int) {
    // SAFETY: takes numbers.
    unsafe { libc::kill(pid, signal) };
}

/// Waits for a child to end.
pub(crate) fn wait(pid: libc::pid_t) {
    // SAFETY: null means that the status is not wanted.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

/// Sleeps until killed.
pub(crate) fn sleep_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Ignores a signal.
pub(crate) fn ignore(signal: c_int) {
    // SAFETY: ignoring is no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Touches this much memory.
pub(crate) fn touch(bytes: usize) -> usize {
    let mut memory = vec![0_u8; bytes];
    for page in memory.chunks_mut(4096) {
        if let Some(byte) = page.first_mut() {
            *byte = 1;
        }
    }
    memory.iter().step_by(4096).map(|byte| usize::from(*byte)).sum()
}

/// How a process that was asked to say more ended.
pub(crate) fn outcome_of_end(ended: Ended) -> Outcome {
    match ended {
        Ended::Signal(signal) => Outcome::Refused(format!("killed by signal {signal}")),
        Ended::Status(status) => Outcome::Untestable(format!("it ended with status {status} and said nothing")),
        Ended::Hung => Outcome::Untestable("it did not end".to_owned()),
    }
}
