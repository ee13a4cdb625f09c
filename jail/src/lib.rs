//! The launcher: the only privileged code of the factory, and the only code with `unsafe` in it besides the prober.
//!
//! Owns how one sandbox is built and fenced: namespaces, mounts, loopback listeners, Landlock, the system call filter.
//! It reads one [`Spec`] from its keeper over the socket that is its standard input, builds exactly that, proves it from
//! inside, and answers every refused call. It knows no run, no policy, no secret; it takes no decision. Each step that
//! fails ends the launch: nothing is ever made weaker instead.
//!
//! ```text
//! keeper ── Build(spec, stdin, stdout, stderr) ──▶ launcher ── clone ──▶ first process ── fork ──▶ payload
//!        ◀─ Ready(handle, changes, listeners, watches)│  ◀── Ready(.., listeners, watches, calls) ─   │
//!        ── Release ─────────────────────────────▶    │  ────────────────────────────── Release ──▶ execve
//!        ◀─ Refused*, Started*, Became*, Exited ──    │  ◀── Exited ───────     │
//! ```
//!
//! Rooms, in the order a launch passes them: `launcher` (outside), `namespaces`, `trees`, `inside` (first process and
//! payload), `root`, `network`, `watches`, `landlock`, `filter` with `syscalls`, `selftest`, and again `launcher` with `refusals`
//! and `programs`.

mod danger;
mod error;
mod filter;
mod inside;
mod landlock;
mod launcher;
mod message;
mod namespaces;
mod network;
mod programs;
mod refusals;
mod root;
mod selftest;
mod spec;
mod sys;
mod syscalls;
mod trees;
mod watches;
mod wire;

pub use error::Failed;
pub use landlock::VERSION_MIN as LANDLOCK_VERSION_MIN;
pub use message::{Argument, MESSAGE_BYTES_MAX, Message, Started};
pub use network::{DOORS, HTTP_PORT, IDENTITY_PORT};
pub use spec::{
    Access, Bind, File, Groups, HOME, Limits, Mapping, Network, Observe, Owner, SPEC_BYTES_MAX, Spec, USER, WORKSPACE,
};
pub use syscalls::name as system_call_name;
pub use wire::Malformed;

/// The name under which an executable is to enter [`main`]: the launcher's own, or the main one's first argument.
pub const NAME: &str = "selvedge-jail";

/// The Landlock version of this kernel, 0 when it has none.
pub fn landlock_version() -> i32 {
    sys::landlock_version()
}

/// Runs as the launcher and never returns. Standard input must be the keeper's control socket.
pub fn main() -> ! {
    // A failure here has nobody to be told to but the exit status: the control socket is what failed.
    let status = if launcher::run().is_ok() { 0 } else { 1 };
    sys::exit_now(status)
}
