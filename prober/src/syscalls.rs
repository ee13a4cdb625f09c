//! Attacks by system calls that reach the kernel's insides or other processes.

use std::io;

use crate::outcome::{Outcome, Spelling};
use crate::{Attack, Control, Family, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-3", "make a ring of asynchronous calls", rings),
    Attack {
        control: Control::None("clone3 works everywhere outside; inside libraries must fall back to clone"),
        ..attack("S-3b", "make a process by clone3, whose flags no filter can read", clone3)
    },
    attack("S-4", "call the kernel by its 32-bit entry", i386),
    Attack {
        control: Control::None("this kernel was built without the x32 calls, as most are"),
        ..attack("S-5", "call the kernel by x32 numbers", x32)
    },
    attack("S-6", "trace a process", trace),
    attack("S-6b", "read and write another process's memory", other_memory),
    attack("S-6c", "take a descriptor out of another process", take_descriptor),
    attack("S-6d", "compare kernel objects of two processes", compare),
    attack("S-7", "load a program into the kernel", bpf),
    attack("S-7b", "watch the processor's counters", perf),
    attack("S-7c", "handle page faults in user space", userfaultfd),
    attack("S-7d", "use the kernel's key rings", keys),
    attack("S-7e", "open a file by its handle", by_handle),
    attack("S-7f", "read the kernel's log", kernel_log),
    attack("S-7g", "watch every file of a mount", fanotify),
    attack("S-7h", "reach calls only old exploits need", relics),
    attack("S-8", "type into a terminal", terminal),
    Attack {
        control: Control::None("outside, a filter may have a listener of one's own: that is its use"),
        ..attack("A-24", "answer for the filter with a listener of one's own", own_listener)
    },
    Attack {
        control: Control::None("whether a crash starts a program of the host is a setting of the host"),
        ..attack("S-12d", "let a crash start a program of the host", crash_handler)
    },
    attack("S-34b", "take a priority or a clock that belongs to the host", privileged_settings),
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Syscalls, control: Control::Arena, act }
}

fn rings() -> Outcome {
    Outcome::one("io_uring_setup", raw::call(libc::SYS_io_uring_setup, &[4, raw::place(&[0; 256])]))
}

fn clone3() -> Outcome {
    let mut arguments = [0; 88];
    // exit_signal, the fifth word.
    if let Some(byte) = arguments.get_mut(32) {
        *byte = 17;
    }
    let made = raw::call(libc::SYS_clone3, &[raw::place(&arguments), 88]);
    if let Ok(0) = made {
        raw::exit_now(0);
    }
    Outcome::one("clone3", made)
}

fn i386() -> Outcome {
    let pid = raw::getpid_as_i386();
    if pid > 0 { Outcome::Succeeded(format!("getpid gave {pid}")) } else { Outcome::Refused(format!("answered {pid}")) }
}

fn x32() -> Outcome {
    const X32: i64 = 0x4000_0000;
    Outcome::one("getpid", raw::call(X32 | libc::SYS_getpid, &[]))
}

/// Does something to a child that waits, then ends the child.
fn with_child(act: impl FnOnce(usize) -> Vec<Spelling>) -> Outcome {
    match raw::fork() {
        Err(error) => Outcome::Untestable(format!("no child: {error}")),
        Ok(0) => raw::sleep_for_ever(),
        Ok(pid) => {
            let spellings = act(usize::try_from(pid).unwrap_or_default());
            raw::kill(pid, libc::SIGKILL);
            raw::wait(pid);
            Outcome::of(spellings)
        }
    }
}

fn trace() -> Outcome {
    const ATTACH: usize = 16;
    const SEIZE: usize = 0x4206;
    with_child(|pid| {
        let seized = raw::call(libc::SYS_ptrace, &[SEIZE, pid, 0, 0]);
        let attached = raw::call(libc::SYS_ptrace, &[ATTACH, pid, 0, 0]);
        vec![Spelling::new("seize", seized), Spelling::new("attach", attached)]
    })
}

fn other_memory() -> Outcome {
    let words = |address: usize, length: usize| raw::place(&[address.to_ne_bytes(), length.to_ne_bytes()].concat());
    let (here, there) = (raw::place(&[0; 16]), raw::place(b"secret of child!"));
    with_child(|pid| {
        let read = raw::call(libc::SYS_process_vm_readv, &[pid, words(here, 8), 1, words(there, 8), 1, 0]);
        let written = raw::call(libc::SYS_process_vm_writev, &[pid, words(here, 8), 1, words(there, 8), 1, 0]);
        let first = raw::call(libc::SYS_process_vm_readv, &[1, words(here, 8), 1, words(there, 8), 1, 0]);
        vec![Spelling::new("read", read), Spelling::new("write", written), Spelling::new("read process 1", first)]
    })
}

fn take_descriptor() -> Outcome {
    with_child(|pid| {
        let handle = raw::call(libc::SYS_pidfd_open, &[pid, 0]);
        vec![Spelling::new("pidfd_getfd", handle.and_then(|handle| raw::call(libc::SYS_pidfd_getfd, &[handle, 0, 0])))]
    })
}

fn compare() -> Outcome {
    let own = usize::try_from(std::process::id()).unwrap_or_default();
    with_child(|pid| vec![Spelling::new("kcmp", raw::call(libc::SYS_kcmp, &[own, pid, 1, 0, 0]))])
}

fn bpf() -> Outcome {
    const MAP_CREATE: usize = 0;
    // An array of one value of four bytes under keys of four bytes.
    let array: Vec<u8> = [2_u32, 4, 4, 1].into_iter().flat_map(u32::to_ne_bytes).chain([0; 112]).collect();
    Outcome::one("create map", raw::call(libc::SYS_bpf, &[MAP_CREATE, raw::place(&array), 72]))
}

fn perf() -> Outcome {
    // A software clock: type 1, size 112, configuration 0; of this process, on any processor.
    let mut clock = vec![0_u8; 112];
    for (place, value) in [(0, 1), (4, 112)] {
        if let Some(byte) = clock.get_mut(place) {
            *byte = value;
        }
    }
    let opened = raw::call(libc::SYS_perf_event_open, &[raw::place(&clock), 0, usize::MAX, usize::MAX, 0]);
    Outcome::one("perf_event_open", opened)
}

fn userfaultfd() -> Outcome {
    Outcome::of([
        Spelling::new("userfaultfd", raw::call(libc::SYS_userfaultfd, &[0])),
        Spelling::new("user mode only", raw::call(libc::SYS_userfaultfd, &[1])),
    ])
}

fn keys() -> Outcome {
    const SESSION: usize = usize::MAX - 2;
    const GET_KEYRING_ID: usize = 0;
    let (kind, name) = (raw::text("user"), raw::text("selvedge"));
    Outcome::of([
        Spelling::new("keyctl", raw::call(libc::SYS_keyctl, &[GET_KEYRING_ID, SESSION, 1])),
        Spelling::new("add_key", raw::call(libc::SYS_add_key, &[kind, name, raw::place(b"x"), 1, SESSION])),
        Spelling::new("request_key", raw::call(libc::SYS_request_key, &[kind, name, 0, SESSION])),
    ])
}

fn by_handle() -> Outcome {
    let here = usize::MAX - 99;
    // A handle with room for 128 bytes, filled in by the first call.
    let handle = raw::place(&[128_u32.to_ne_bytes().as_slice(), &[0; 140]].concat());
    let mount = raw::place(&[0; 8]);
    let named = raw::call(libc::SYS_name_to_handle_at, &[here, raw::text("/usr"), handle, mount, 0]);
    if let Err(error) = named {
        return Outcome::Refused(format!("no handle: {error}"));
    }
    let opened = match raw::open_kept("/usr", libc::O_RDONLY) {
        Err(error) => Err(error),
        Ok(mount) => {
            let mount = usize::try_from(std::os::fd::AsRawFd::as_raw_fd(&mount)).unwrap_or_default();
            raw::call(libc::SYS_open_by_handle_at, &[mount, handle, 0])
        }
    };
    Outcome::one("open_by_handle_at", opened)
}

fn kernel_log() -> Outcome {
    const READ_ALL: usize = 3;
    const SIZE: usize = 10;
    Outcome::of([
        Spelling::new("read", raw::call(libc::SYS_syslog, &[READ_ALL, raw::place(&[0; 64]), 64])),
        Spelling::new("size", raw::call(libc::SYS_syslog, &[SIZE, 0, 0])),
        Spelling::new("/dev/kmsg", raw::open("/dev/kmsg", libc::O_RDONLY)),
    ])
}

fn fanotify() -> Outcome {
    Outcome::one("fanotify_init", raw::call(libc::SYS_fanotify_init, &[0, 0]))
}

fn relics() -> Outcome {
    Outcome::of([
        Spelling::new("modify_ldt", raw::call(libc::SYS_modify_ldt, &[0, raw::place(&[0; 16]), 16])),
        Spelling::new("memfd_secret", raw::call(libc::SYS_memfd_secret, &[0])),
        Spelling::new("sysfs", raw::call(libc::SYS_sysfs, &[3])),
        Spelling::new("quotactl", raw::call(libc::SYS_quotactl, &[0x80_0001, 0, 0, 0])),
        Spelling::new("iopl", raw::call(libc::SYS_iopl, &[0])),
        Spelling::new("adjtimex", raw::call(libc::SYS_adjtimex, &[raw::place(&[0; 256])])),
        Spelling::new("move_pages", raw::call(libc::SYS_move_pages, &[0, 0, 0, 0, 0, 0])),
        Spelling::new("ADDR_NO_RANDOMIZE", raw::call(libc::SYS_personality, &[0x004_0000])),
    ])
}

fn terminal() -> Outcome {
    const TIOCSTI: usize = 0x5412;
    const TIOCLINUX: usize = 0x541c;
    const HIGH: usize = 1 << 40;
    // A terminal of our own: whether it may be typed into depends on the call, not on whose it is.
    let terminal = raw::open_kept("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY);
    let terminal = match &terminal {
        Ok(terminal) => usize::try_from(std::os::fd::AsRawFd::as_raw_fd(terminal)).unwrap_or_default(),
        Err(error) => return Outcome::Untestable(format!("no terminal: {error}")),
    };
    let type_in = |request: usize| raw::call(libc::SYS_ioctl, &[terminal, request, raw::place(b"x")]);
    Outcome::of([
        Spelling::new("TIOCSTI", type_in(TIOCSTI)),
        Spelling::new("TIOCSTI with high bits", type_in(TIOCSTI | HIGH)),
        Spelling::new("TIOCLINUX", type_in(TIOCLINUX)),
    ])
}

/// A filter of the sandbox's own that asks a listener of its own. Of two listeners the newer one would be asked, and it
/// could let a call continue that the older refuses.
fn own_listener() -> Outcome {
    const SET_FILTER: usize = 1;
    const NEW_LISTENER: usize = 8;
    const ALLOW: u32 = 0x7fff_0000;
    // One instruction: return "allow".
    let instruction: Vec<u8> = [6_u16.to_ne_bytes().as_slice(), &[0, 0], &ALLOW.to_ne_bytes()].concat();
    let program: Vec<u8> = [1_u64.to_ne_bytes(), raw::place(&instruction).to_ne_bytes()].concat();
    Outcome::of([
        Spelling::new("seccomp", raw::call(libc::SYS_seccomp, &[SET_FILTER, NEW_LISTENER, raw::place(&program)])),
        Spelling::new(
            "with all flags",
            raw::call(libc::SYS_seccomp, &[SET_FILTER, NEW_LISTENER | 0x16, raw::place(&program)]),
        ),
    ])
}

fn privileged_settings() -> Outcome {
    const FIFO: usize = 1;
    let limit = raw::place(&[u64::MAX.to_ne_bytes(), u64::MAX.to_ne_bytes()].concat());
    let nofile = usize::try_from(libc::RLIMIT_NOFILE).unwrap_or_default();
    let nice = usize::MAX - 19;
    let raised = raw::call(
        libc::SYS_prlimit64,
        &[0, nofile, raw::place(&[(1_u64 << 20).to_ne_bytes(), (1_u64 << 20).to_ne_bytes()].concat()), 0],
    );
    let results: [(&str, io::Result<usize>); 5] = [
        ("priority -20", raw::call(libc::SYS_setpriority, &[0, 0, nice])),
        ("real-time", raw::call(libc::SYS_sched_setscheduler, &[0, FIFO, raw::place(&1_u32.to_ne_bytes())])),
        ("more descriptors", raised),
        (
            "endless files",
            raw::call(libc::SYS_prlimit64, &[0, usize::try_from(libc::RLIMIT_FSIZE).unwrap_or_default(), limit, 0]),
        ),
        ("real-time disk", raw::call(libc::SYS_ioprio_set, &[1, 0, 1 << 13])),
    ];
    Outcome::of(results.map(|(how, answer)| Spelling::new(how, answer)))
}

/// The kernel starts the host's crash handler, as root, for every limit on crash files but 1.
fn crash_handler() -> Outcome {
    let core = usize::try_from(libc::RLIMIT_CORE).unwrap_or_default();
    let none = raw::place(&[0; 16]);
    let _ = raw::call(libc::SYS_setrlimit, &[core, none]);
    let _ = raw::call(libc::SYS_prlimit64, &[0, core, none, 0]);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    let values: Vec<&str> = line.split_whitespace().skip(4).take(2).collect();
    match values.as_slice() {
        ["1", "1"] => Outcome::Refused("the limit stays at 1".to_owned()),
        other => Outcome::Succeeded(format!("the limit became {}", other.join(" "))),
    }
}
