//! Attacks through `/proc`: looking into other processes and steering the kernel.

use std::fs;

use crate::outcome::{Outcome, Spelling};
use crate::{Attack, Control, Family, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-11", "look into the first process", first_process),
    attack("S-11c", "signal the first process", signal_first_process),
    attack("S-11b", "see processes of the host", host_processes),
    attack("S-12", "set where the kernel sends crashes, and other settings", settings),
    attack("S-12b", "press the kernel's emergency keys, read its memory", kernel_memory),
    attack("S-12c", "read what tells one machine from another", kernel_tables),
    attack("A-54", "read another process's environment", environments),
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Proc, control: Control::Arena, act }
}

fn first_process() -> Outcome {
    let files = ["environ", "mem", "maps", "auxv", "syscall", "stack", "pagemap", "io"].map(|name| {
        let path = format!("/proc/1/{name}");
        Spelling::new(
            path.clone(),
            fs::read(&path).and_then(|bytes| {
                if bytes.is_empty() && name != "mem" {
                    Err(std::io::Error::from_raw_os_error(libc::ENOENT))
                } else {
                    Ok(())
                }
            }),
        )
    });
    let links = ["root", "cwd", "exe", "ns/net", "ns/user", "fd"].map(|name| {
        let path = format!("/proc/1/{name}");
        Spelling::new(path.clone(), fs::read_link(&path).map(drop).or_else(|_| fs::read_dir(&path).map(drop)))
    });
    let written = ["mem", "oom_score_adj", "uid_map", "coredump_filter"].map(|name| {
        let path = format!("/proc/1/{name}");
        Spelling::new(format!("write {path}"), raw::open(&path, libc::O_WRONLY))
    });
    Outcome::of(files.into_iter().chain(links).chain(written))
}

fn signal_first_process() -> Outcome {
    // Signal 0 asks whether one may, and is the only one that may be tried outside too.
    Outcome::one("kill", raw::call(libc::SYS_kill, &[1, 0]))
}

fn host_processes() -> Outcome {
    let names: Vec<String> = fs::read_dir("/proc")
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let pids: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
    // Kernel threads and the keeper would be among them; inside there are the first process, the program and its children.
    let foreign: Vec<String> = pids
        .iter()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|status| status.contains("Kthread:\t1") || status.contains("Name:\tkthreadd"))
        })
        .map(ToString::to_string)
        .collect();
    if foreign.is_empty() && pids.len() < 64 {
        Outcome::Refused(format!("{} processes, none of the kernel's", pids.len()))
    } else {
        Outcome::Succeeded(format!("{} processes, kernel's: {}", pids.len(), foreign.len()))
    }
}

fn settings() -> Outcome {
    let paths = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/fs/mqueue/msg_max",
    ];
    Outcome::of(paths.map(|path| Spelling::new(path, raw::open(path, libc::O_WRONLY))))
}

fn kernel_memory() -> Outcome {
    let real = |path: &str, bytes: usize| {
        // A mask is an empty device: it opens and holds nothing.
        let opened = fs::File::open(path).and_then(|mut file| {
            let mut some = vec![0; bytes];
            match std::io::Read::read(&mut file, &mut some)? {
                0 => Err(std::io::Error::from_raw_os_error(libc::ENOENT)),
                _ => Ok(()),
            }
        });
        Spelling::new(path, opened)
    };
    let keys = match fs::metadata("/proc/sysrq-trigger") {
        Ok(file) if !std::os::unix::fs::FileTypeExt::is_char_device(&file.file_type()) => {
            raw::open("/proc/sysrq-trigger", libc::O_WRONLY)
        }
        _ => Err(std::io::Error::from_raw_os_error(libc::ENOENT)),
    };
    Outcome::of([
        real("/proc/kcore", 64),
        real("/dev/mem", 1),
        real("/proc/kpageflags", 8),
        Spelling::new("/proc/sysrq-trigger", keys),
    ])
}

fn kernel_tables() -> Outcome {
    let paths = [
        "/proc/kallsyms",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/config.gz",
        "/proc/interrupts",
        "/proc/vmallocinfo",
        "/proc/slabinfo",
    ];
    Outcome::of(paths.map(|path| {
        let read = fs::read(path).and_then(|bytes| {
            if bytes.is_empty() { Err(std::io::Error::from_raw_os_error(libc::ENOENT)) } else { Ok(()) }
        });
        Spelling::new(path, read)
    }))
}

fn environments() -> Outcome {
    let own = std::process::id();
    let others = fs::read_dir("/proc")
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    let readable = others.into_iter().filter(|pid| *pid != own).map(|pid| {
        let path = format!("/proc/{pid}/environ");
        let read = fs::read(&path).and_then(|bytes| {
            let canary = String::from_utf8_lossy(&bytes).contains(crate::arena::CANARY);
            if canary { Ok(()) } else { Err(std::io::Error::from_raw_os_error(libc::ENOENT)) }
        });
        Spelling::new(path, read)
    });
    let spellings: Vec<Spelling> = readable.collect();
    if spellings.is_empty() { Outcome::Refused("there is no other process".to_owned()) } else { Outcome::of(spellings) }
}
