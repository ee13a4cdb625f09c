//! The fences a door puts around itself before it serves: should a client break its parsers, it finds a process that can
//! start nothing, trace nothing, write nothing and dial granted ports only. Owns no policy of the run.

use std::collections::{BTreeMap, BTreeSet};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::protocol::Fence;

/// Descriptors a door may hold: two for each connection at the limit, listeners, and the resolver's.
const DESCRIPTORS_MAX: u64 = 1024;

/// Memory a door may take: ten whole bodies of the longest kind, each as it came, as it was read and as it was made anew, and room to
/// spare. What is more ends the door, and so the attempt, and not the machine.
const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// What name resolution reads: its configuration, its libraries, and the files its configuration links to.
const READABLE: &[&str] =
    &["/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/run/systemd/resolve", "/run/resolvconf"];

/// DNS falls back to TCP for long answers.
const DNS_PORT: u16 = 53;

/// Calls that no door needs and a captured one would want; they fail as if not permitted.
const DENIED_CALLS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_memfd_create,
];

/// On x86-64 the same call has a second number, for programs with short pointers (S-5); elsewhere this names nothing.
const X32: libc::c_long = 0x4000_0000;

/// Puts up every fence that this kernel has and says which hold; the keeper decides whether they are enough.
pub(crate) fn confine(ports: BTreeSet<u16>) -> BTreeSet<Fence> {
    let limit =
        |resource, most: u64| rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    // Limits are a comfort to the machine rather than a fence: a refusal changes nothing about what a door may do. One byte of a
    // core is too little for any, and unlike none it is not piped to a program of the host either (core(5)).
    let _ = (limit(Resource::Nofile, DESCRIPTORS_MAX), limit(Resource::Core, 1));
    // Of what can be written to alone: address space is also set aside for threads that never use it.
    let _ = limit(Resource::Data, MEMORY_BYTES_MAX);
    let not_dumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    let landlock = restrict_access(&ports, CompatLevel::HardRequirement).unwrap_or_else(|_| {
        // A part of a fence is better than none, but is not called one.
        let _ = restrict_access(&ports, CompatLevel::BestEffort);
        false
    });
    let seccomp = restrict_calls().is_ok();
    [(Fence::NotDumpable, not_dumpable), (Fence::Landlock, landlock), (Fence::Seccomp, seccomp)]
        .into_iter()
        .filter_map(|(fence, holds)| holds.then_some(fence))
        .collect()
}

/// Landlock: whether every right below is enforced. The newest rights are taken where the kernel has them.
fn restrict_access(ports: &BTreeSet<u16>, required: CompatLevel) -> Result<bool, landlock::RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .set_compatibility(required)
        .handle_access(AccessFs::from_all(ABI::V4))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for path in READABLE {
        // What is not there cannot be read either.
        if let Ok(directory) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(directory, read))?;
        }
    }
    for port in ports.iter().copied().chain([DNS_PORT]) {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

fn restrict_calls() -> Result<(), seccompiler::Error> {
    let spellings = DENIED_CALLS.iter().flat_map(|&call| [call, call | X32]);
    let denied: BTreeMap<_, _> = spellings.map(|call| (call, Vec::new())).collect();
    let not_permitted = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let program: BpfProgram = SeccompFilter::new(denied, SeccompAction::Allow, not_permitted, arch)?.try_into()?;
    seccompiler::apply_filter(&program)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    /// What a captured door would try, in the order of the results.
    fn tries(granted: u16, other: u16, secret: &std::path::Path) -> [bool; 7] {
        [
            std::fs::read("/etc/hosts").is_ok(),
            TcpStream::connect(("127.0.0.1", granted)).is_ok(),
            TcpStream::connect(("127.0.0.1", other)).is_ok(),
            std::fs::read(secret).is_ok(),
            std::fs::write(secret, "mine").is_ok(),
            TcpListener::bind("127.0.0.1:0").is_ok(),
            // `exec` only comes back if it failed.
            Command::new("/bin/true").spawn().and_then(|mut child| child.wait()).is_ok_and(|status| status.success()),
        ]
    }

    #[test]
    fn a_door_takes_no_more_memory_than_it_may_a101() {
        let more = usize::try_from(MEMORY_BYTES_MAX).unwrap();
        let takes = move || Vec::<u8>::new().try_reserve_exact(more).is_ok();
        let (before, after) = std::thread::spawn(move || {
            let before = takes();
            confine([].into());
            (before, takes())
        })
        .join()
        .unwrap();
        assert_eq!((before, after), (true, false));
    }

    /// Fences hold for the thread that puts them up and those it starts, so a test can put them up around one of its own.
    #[test]
    fn a_door_can_read_and_dial_what_it_needs_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let [granted, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = [&granted, &other].map(|listener| listener.local_addr().unwrap().port());
        let act = move || tries(ports[0], ports[1], &secret);
        let (before, fences, after) = std::thread::spawn(move || {
            let before = act();
            let fences = confine([ports[0]].into());
            let exec_refused = Command::new("/bin/true").exec().raw_os_error() == Some(libc::EPERM);
            assert!(exec_refused, "exec is refused by the call, not by the path");
            (before, fences, act())
        })
        .join()
        .unwrap();
        assert_eq!(before, [true; 7], "without the fences every act succeeds");
        assert_eq!(fences, [Fence::NotDumpable, Fence::Landlock, Fence::Seccomp].into(), "this kernel lacks a fence");
        assert_eq!(after, [true, true, false, false, false, false, false]);
    }
}
