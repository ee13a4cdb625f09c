//! Owns the inside: the first process, which builds the sandbox and then only reaps, and the payload, which gives up
//! everything and becomes the program. Every step that fails ends both before the program runs.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Failed, Named, Step};
use crate::message::Message;
use crate::spec::{Network, Spec, USER};
use crate::sys::{self, Closing, Side};
use crate::{danger, filter, landlock, network, root, selftest, trees, watches};

/// A status no program is likely to end with, for when there was no program.
const NOT_STARTED: i32 = 125;

/// The life of the first process. Never returns to the launcher's code.
pub(crate) fn first_process(spec: &Spec, launcher: OwnedFd, stdio: &[OwnedFd], groups: Vec<File>) -> ! {
    match join(groups).and_then(|()| build(spec, &launcher, stdio)) {
        Ok(payload) => reap(payload, &launcher),
        Err(failed) => {
            let _ = Message::Failed(failed).send(launcher.as_fd(), &[]);
            sys::exit_now(NOT_STARTED);
        }
    }
}

/// Enters the version 1 control groups. A thread that moves itself spares the kernel a lock over all processes, for which
/// it would wait some ten milliseconds.
fn join(groups: Vec<File>) -> Step<()> {
    groups.into_iter().try_for_each(|mut group| group.write_all(b"0").step("join control group"))
}

fn build(spec: &Spec, launcher: &OwnedFd, stdio: &[OwnedFd]) -> Step<libc::pid_t> {
    // Until it has a user, this process must not outlive the launcher either.
    die_with_launcher()?;
    let from_launcher = expect(launcher, &Message::Go)?;
    root::part_from_host()?;
    let system = trees::system()?;
    let named = if trees::taken_by_launcher(spec) { from_launcher } else { trees::named(spec, None)? };
    danger::fault(spec, "trees")?;
    sys::become_user(USER, USER).step("become the sandbox's user")?;
    // Changing user made it forget both.
    die_with_launcher()?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0).step("close own memory")?;
    sys::umask(0o022);
    sys::sethostname("sandbox").step("set host name")?;
    let upper = root::build(spec, system, named)?;
    danger::fault(spec, "root")?;
    network::loopback()?;
    let doors = if spec.network == Network::Doors { network::listen()? } else { Vec::new() };
    let watches = watches::set(spec)?;
    let handed_out: Vec<OwnedFd> = upper.into_iter().chain(doors).chain(watches).collect();
    danger::fault(spec, "network")?;
    limits(spec)?;
    if !danger::left_out(spec, "capabilities") {
        drop_capabilities()?;
    }
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).step("forbid new privileges")?;
    match sys::fork().step("fork the payload")? {
        Side::Parent(pid) => Ok(pid),
        Side::Child => payload(spec, launcher.as_fd(), stdio, handed_out),
    }
}

fn die_with_launcher() -> Step<()> {
    let signal = u64::from(libc::SIGKILL.cast_unsigned());
    sys::prctl(libc::PR_SET_PDEATHSIG, signal).step("die with the launcher").map(drop)
}

fn limits(spec: &Spec) -> Step<()> {
    let limits = [
        // Not 0: see `CORE` in the filter.
        (libc::RLIMIT_CORE, Some(1)),
        (libc::RLIMIT_NOFILE, Some(spec.limits.open_files)),
        (libc::RLIMIT_NPROC, spec.limits.processes),
        (libc::RLIMIT_FSIZE, Some(spec.limits.disk_bytes)),
        (libc::RLIMIT_MEMLOCK, Some(8 << 20)),
        (libc::RLIMIT_SIGPENDING, Some(4096)),
    ];
    for (resource, value) in limits {
        if let Some(value) = value {
            sys::limit(resource, value).step_on("limit resource", resource)?;
        }
    }
    Ok(())
}

/// From here on neither this process nor any it starts can have a capability, even in its own namespaces.
fn drop_capabilities() -> Step<()> {
    const AMBIENT_CLEAR_ALL: u64 = 4;
    // The kernel answers "invalid" for the first number it does not know.
    for capability in 0.. {
        if sys::prctl(libc::PR_CAPBSET_DROP, capability).is_err() {
            break;
        }
    }
    sys::prctl(libc::PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL).step("drop ambient capabilities")?;
    sys::drop_capability_sets().step("drop capabilities")
}

/// Process 1: tells how the program ended, and ends everything with it. It holds nothing but its line to the launcher.
fn reap(payload: libc::pid_t, launcher: &OwnedFd) -> ! {
    let Ok(line) = sys::keep_only(launcher.as_fd()) else { sys::exit_now(NOT_STARTED) };
    loop {
        match sys::wait(-1) {
            Ok(Some((pid, status))) if pid == payload => {
                let _ = Message::Exited { status }.send(line, &[]);
                sys::exit_now(0);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => sys::exit_now(NOT_STARTED),
        }
    }
}

fn payload(spec: &Spec, launcher: BorrowedFd<'_>, stdio: &[OwnedFd], handed_out: Vec<OwnedFd>) -> ! {
    let failed = match prepare(spec, launcher, stdio, handed_out) {
        Ok(program) => program.run(),
        Err(failed) => failed,
    };
    let _ = Message::Failed(failed).send(launcher, &[]);
    sys::exit_now(NOT_STARTED);
}

/// Gives up everything, proves it, and waits for the word to go.
fn prepare(spec: &Spec, launcher: BorrowedFd<'_>, stdio: &[OwnedFd], mut handed_out: Vec<OwnedFd>) -> Step<Program> {
    sys::setsid().step("start session")?;
    sys::default_signals().step("reset signals")?;
    std::env::set_current_dir(&spec.directory).step_on("enter directory", &spec.directory)?;
    let program = Program::find(spec)?;
    if !danger::left_out(spec, "landlock") {
        landlock::restrict(spec)?;
    }
    if !danger::left_out(spec, "self-test") {
        selftest::before_filter()?;
    }
    for (from, to) in stdio.iter().zip(0..) {
        sys::put_at(from.as_fd(), to).step("set standard streams")?;
    }
    sys::close_from(3, Closing::OnExec).step("close descriptors")?;
    danger::fault(spec, "payload")?;
    if !danger::left_out(spec, "filter") {
        let starts = if spec.tells_programs() { filter::Starts::Told } else { filter::Starts::Untold };
        handed_out.push(sys::install_filter(&filter::program(starts)).step("install filter")?);
    }
    if !danger::left_out(spec, "self-test") {
        selftest::after_filter()?;
    }
    // One message with everything: each would wake the launcher, and on a busy machine every hand-over costs.
    Message::Ready { pid: 0 }.send(launcher, &handed_out.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
    drop(handed_out);
    await_release(launcher)?;
    Ok(program)
}

fn await_release(launcher: BorrowedFd<'_>) -> Step<()> {
    let (bytes, _) = sys::receive(launcher, crate::message::MESSAGE_BYTES_MAX).step("wait for release")?;
    match Message::decode(&bytes) {
        Ok(Message::Release) => Ok(()),
        _ => Err(Failed::because("wait for release", "the launcher is gone")),
    }
}

fn expect(launcher: &OwnedFd, expected: &Message) -> Step<Vec<OwnedFd>> {
    match Message::receive(launcher)? {
        Some((message, descriptors)) if message == *expected => Ok(descriptors),
        other => Err(Failed::because("wait for the launcher", format!("{:?}", other.map(|(message, _)| message)))),
    }
}

/// What is to be executed, in the kernel's form.
#[derive(Debug)]
struct Program {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    fn find(spec: &Spec) -> Step<Self> {
        let name = spec.argv.first().ok_or_else(|| Failed::because("find program", "no name"))?;
        let path = spec.env.iter().find(|(key, _)| key == "PATH").map_or("/usr/bin", |(_, value)| value);
        let candidates: Vec<String> = if name.contains('/') {
            vec![name.clone()]
        } else {
            path.split(':').filter(|part| part.starts_with('/')).map(|part| format!("{part}/{name}")).collect()
        };
        Ok(Self {
            candidates: c_texts(candidates)?,
            argv: c_texts(spec.argv.iter().cloned())?,
            env: c_texts(spec.env.iter().map(|(key, value)| format!("{key}={value}")))?,
        })
    }

    /// Becomes the program. Returns only when that failed.
    fn run(self) -> Failed {
        let mut last = std::io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            last = sys::execve(candidate, &self.argv, &self.env);
            if !matches!(last.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) {
                break;
            }
        }
        let name = self.argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Failed { step: "execute program".to_owned(), errno: last.raw_os_error().unwrap_or(0), detail: name }
    }
}

fn c_texts(texts: impl IntoIterator<Item = String>) -> Step<Vec<CString>> {
    texts.into_iter().map(|text| CString::new(text).map_err(|_| Failed::because("read spec", "NUL in text"))).collect()
}
