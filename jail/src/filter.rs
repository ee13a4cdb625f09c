//! Owns the system call filter: an allow list, compiled to the kernel's filter language. Foreign instruction sets are
//! killed, calls with a harmless older form are answered as absent, everything else is refused and told to the launcher.
//!
//! Where programs are observed, the calls that start one are told to the launcher as well, which lets every one of them go on.
//! They are allowed either way: nothing is decided by what the launcher reads of them, because another thread of the caller
//! may change it afterwards. `docs/decisions/0017-observed.md`.

use libc::sock_filter;

use crate::syscalls::{ABSENT, ALLOWED, CONDITIONAL, NEWEST, STARTS_PROGRAM};

/// `SECCOMP_RET_*`: what the kernel does with the call.
mod verdict {
    pub(super) const ALLOW: u32 = 0x7fff_0000;
    pub(super) const TELL: u32 = 0x7fc0_0000;
    pub(super) const KILL: u32 = 0x8000_0000;
    /// Nothing happens and the caller is told that all went well.
    pub(super) const PRETEND: u32 = 0x0005_0000;
    pub(super) const ABSENT: u32 = 0x0005_0000 | libc::ENOSYS.cast_unsigned();
}

/// `AUDIT_ARCH_X86_64`.
const ARCHITECTURE: u32 = 0xc000_003e;
/// Numbers from here are calls of the x32 instruction set under the same architecture.
const X32: u32 = 0x4000_0000;

/// Offsets in `seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
/// The low halves of the first three arguments; the kernel reads no more of any argument looked at here.
const ARGUMENT_AT: [u32; 3] = [16, 24, 32];

/// Flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
/// `TIOCSTI` types into a terminal, `TIOCLINUX` and `TIOCCONS` reach the console.
const TERMINAL_IOCTLS: [u32; 3] = [0x5412, 0x541c, 0x541d];
/// `RLIMIT_CORE`. It is 1, the one value for which the kernel starts no crash handler; at 0 it would still start one, a
/// program of the host that runs as root and reads what crashed. Programs that turn crash files off are told they did.
const CORE: u32 = 4;
/// Personalities that only change what a program sees of itself: none, another `uname`, and "what is it now".
const PERSONALITIES: [u32; 4] = [0, 0x0008, 0x2_0000, 0xffff_ffff];
/// A filter that asks someone of the sandbox's own choosing.
const NEW_LISTENER: u32 = 8;

/// Whether the launcher is told of the programs that are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starts {
    /// It is.
    Told,
    /// It is not.
    Untold,
}

/// The whole program.
pub(crate) fn program(starts: Starts) -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCHITECTURE_AT),
        if_equal(ARCHITECTURE, 1, 0),
        give(verdict::KILL),
        load(NUMBER_AT),
        if_at_least(X32, 0, 1),
        give(verdict::KILL),
        if_at_least(NEWEST + 1, 0, 1),
        give(verdict::ABSENT),
    ];
    for (number, _) in ABSENT {
        program.extend([if_equal(*number, 0, 1), give(verdict::ABSENT)]);
    }
    for (number, name) in CONDITIONAL {
        let block = condition(name);
        // INVARIANT: blocks are a dozen instructions; `every_jump_lands_inside` would see a longer one.
        program.push(if_equal(*number, 0, u8::try_from(block.len()).unwrap_or(0)));
        program.extend(block);
    }
    if starts == Starts::Told {
        for number in STARTS_PROGRAM {
            program.extend([if_equal(number, 0, 1), give(verdict::TELL)]);
        }
    }
    for (number, _) in ALLOWED {
        program.extend([if_equal(*number, 0, 1), give(verdict::ALLOW)]);
    }
    program.push(give(verdict::TELL));
    program
}

/// What decides one call by its arguments. Every path ends in a verdict.
fn condition(name: &str) -> Vec<sock_filter> {
    let [first, second, third] = ARGUMENT_AT;
    match name {
        "clone" => vec![load(first), if_any_bit(NAMESPACE_FLAGS, 1, 0), give(verdict::ALLOW), give(verdict::TELL)],
        "seccomp" => vec![load(second), if_any_bit(NEW_LISTENER, 1, 0), give(verdict::ALLOW), give(verdict::TELL)],
        "ioctl" => one_of(second, &TERMINAL_IOCTLS, verdict::TELL, verdict::ALLOW),
        "personality" => one_of(first, &PERSONALITIES, verdict::ALLOW, verdict::TELL),
        "setrlimit" => one_of(first, &[CORE], verdict::PRETEND, verdict::ALLOW),
        "prlimit64" => prlimit(second, third),
        "socket" => socket(first, second, third),
        _ => vec![give(verdict::TELL)],
    }
}

/// Reading a limit hands in no new one, and is always allowed.
fn prlimit(resource: u32, new_limit: u32) -> Vec<sock_filter> {
    vec![
        load(resource),
        if_equal(CORE, 0, 4),
        load(new_limit),
        if_equal(0, 0, 3),
        load(new_limit + 4),
        if_equal(0, 0, 1),
        give(verdict::ALLOW),
        give(verdict::PRETEND),
    ]
}

fn one_of(argument: u32, values: &[u32], then: u32, otherwise: u32) -> Vec<sock_filter> {
    let tests = values.iter().flat_map(|value| [if_equal(*value, 0, 1), give(then)]);
    [load(argument)].into_iter().chain(tests).chain([give(otherwise)]).collect()
}

/// Sockets: between processes of the sandbox, TCP and UDP, and the routing table that resolvers read. Not raw, not
/// packets, not virtual machines, not kernel crypto, no protocol that was only ever reached by fuzzers.
fn socket(family: u32, kind: u32, protocol: u32) -> Vec<sock_filter> {
    const UNIX: u32 = 1;
    const INET: u32 = 2;
    const INET6: u32 = 10;
    const NETLINK: u32 = 16;
    const KIND_BITS: u32 = 0xf;
    const RAW: u32 = 3;
    const TCP: u32 = 6;
    const UDP: u32 = 17;
    const ANY: u32 = 0;
    const NETLINK_ROUTE: u32 = 0;
    vec![
        load(family),
        if_equal(UNIX, 6, 0),
        if_equal(INET, 5, 0),
        if_equal(INET6, 4, 0),
        if_equal(NETLINK, 0, 2),
        load(protocol),
        if_equal(NETLINK_ROUTE, 8, 7),
        give(verdict::TELL),
        load(kind),
        mask(KIND_BITS),
        if_equal(RAW, 3, 0),
        load(protocol),
        if_equal(ANY, 2, 0),
        if_equal(TCP, 1, 2),
        give(verdict::TELL),
        give(verdict::ALLOW),
        if_equal(UDP, 0, 1),
        give(verdict::ALLOW),
        give(verdict::TELL),
    ]
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: 0x20, jt: 0, jf: 0, k: offset }
}

fn mask(bits: u32) -> sock_filter {
    sock_filter { code: 0x54, jt: 0, jf: 0, k: bits }
}

fn if_equal(value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter { code: 0x15, jt: then, jf: otherwise, k: value }
}

fn if_at_least(value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter { code: 0x35, jt: then, jf: otherwise, k: value }
}

fn if_any_bit(bits: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter { code: 0x45, jt: then, jf: otherwise, k: bits }
}

fn give(verdict: u32) -> sock_filter {
    sock_filter { code: 0x06, jt: 0, jf: 0, k: verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn run(number: u32, architecture: u32, arguments: [u32; 3]) -> u32 {
        run_with(Starts::Untold, number, architecture, arguments)
    }

    fn run_with(starts: Starts, number: u32, architecture: u32, arguments: [u32; 3]) -> u32 {
        let (program, mut at, mut held) = (program(starts), 0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            match step.code {
                0x20 => {
                    held = match step.k {
                        NUMBER_AT => number,
                        ARCHITECTURE_AT => architecture,
                        offset => match ARGUMENT_AT.iter().position(|at| *at == offset) {
                            Some(place) => arguments[place],
                            None => 0,
                        },
                    }
                }
                0x54 => held &= step.k,
                0x15 => at += jump(held == step.k),
                0x35 => at += jump(held >= step.k),
                0x45 => at += jump(held & step.k != 0),
                0x06 => return step.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn native(number: u32, arguments: [u32; 3]) -> u32 {
        run(number, ARCHITECTURE, arguments)
    }

    #[test]
    fn every_jump_lands_inside() {
        let program = program(Starts::Told);
        assert!(program.len() < 4096, "the kernel's own limit");
        for (at, step) in program.iter().enumerate() {
            if step.code & 7 == 5 {
                assert!(at + 1 + usize::from(step.jt.max(step.jf)) < program.len());
            }
        }
    }

    #[test]
    fn other_instruction_sets_are_killed() {
        assert_eq!(run(20, 0x4000_0003, [0; 3]), verdict::KILL, "S-4: i386 getpid");
        assert_eq!(native(X32 | 39, [0; 3]), verdict::KILL, "S-5: x32 getpid");
        assert_eq!(native(u32::MAX, [0; 3]), verdict::KILL);
    }

    #[test]
    fn each_list_has_its_verdict() {
        for (number, name) in ALLOWED {
            assert_eq!(native(*number, [u32::MAX; 3]), verdict::ALLOW, "{name}");
        }
        for (number, name) in ABSENT {
            assert_eq!(native(*number, [0; 3]), verdict::ABSENT, "S-3: {name}");
        }
        for number in 0..=NEWEST {
            let known = [ALLOWED, ABSENT, CONDITIONAL].into_iter().flatten().any(|call| call.0 == number);
            assert!(known || native(number, [0; 3]) == verdict::TELL, "{number}");
        }
        assert_eq!(native(NEWEST + 1, [0; 3]), verdict::ABSENT);
    }

    #[test]
    fn observing_programs_tells_the_two_calls_that_start_one_and_changes_nothing_else_e2() {
        for number in 0..=NEWEST {
            let (told, untold) =
                [Starts::Told, Starts::Untold].map(|s| run_with(s, number, ARCHITECTURE, [0; 3])).into();
            match STARTS_PROGRAM.contains(&number) {
                true => assert_eq!((told, untold), (verdict::TELL, verdict::ALLOW), "{number}"),
                false => assert_eq!(told, untold, "{number}"),
            }
        }
    }

    #[test]
    fn sockets_are_those_a_program_needs() {
        let socket = |family, kind, protocol| native(41, [family, kind, protocol]);
        for (family, kind, protocol) in
            [(1, 1, 0), (1, 5, 0), (2, 1, 0), (2, 1 | 0o2_000_000, 6), (10, 2, 17), (16, 3, 0)]
        {
            assert_eq!(socket(family, kind, protocol), verdict::ALLOW, "{family} {kind} {protocol}");
        }
        let refused = [
            (40, 1, 0),
            (38, 5, 0),
            (17, 3, 0),
            (44, 3, 0),
            (31, 3, 0),
            (2, 3, 1),
            (10, 3, 58),
            (2, 1, 132),
            (2, 1, 262),
            (16, 3, 9),
            (1, 3, 0),
            (16, 2, 12),
        ];
        for (family, kind, protocol) in refused {
            assert_eq!(socket(family, kind, protocol), verdict::TELL, "S-9: {family} {kind} {protocol}");
        }
    }

    #[test]
    fn arguments_decide_the_conditional_calls() {
        assert_eq!(native(56, [0x0001_0f00, 0, 0]), verdict::ALLOW, "a thread");
        for bit in (0..32).map(|shift| 1 << shift).filter(|bit| bit & NAMESPACE_FLAGS != 0) {
            assert_eq!(native(56, [bit | 17, 0, 0]), verdict::TELL, "S-1: clone flag {bit:#x}");
        }
        assert_eq!(native(16, [0, 0x5401, 0]), verdict::ALLOW, "TCGETS");
        assert_eq!(native(16, [0, 0x5412, 0]), verdict::TELL, "S-8: TIOCSTI");
        assert_eq!(native(317, [1, NEW_LISTENER, 0]), verdict::TELL, "a listener of the sandbox's own");
        assert_eq!(native(317, [1, 0, 0]), verdict::ALLOW);
        assert_eq!(native(160, [4, 1, 0]), verdict::PRETEND, "setrlimit of crash files");
        assert_eq!(native(160, [7, 1, 0]), verdict::ALLOW);
        assert_eq!(native(302, [0, 4, 1]), verdict::PRETEND, "prlimit of crash files");
        assert_eq!(native(302, [0, 4, 0]), verdict::ALLOW, "reading it");
        assert_eq!(native(302, [0, 7, 1]), verdict::ALLOW);
        assert_eq!(native(135, [0x004_0000, 0, 0]), verdict::TELL, "ADDR_NO_RANDOMIZE");
    }
}
