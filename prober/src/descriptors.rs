//! Attacks on what was left open or left lying about: descriptors, variables, and processes that mean to stay.

use std::fs;

use crate::arena::CANARY;
use crate::outcome::Outcome;
use crate::{Attack, Control, Family, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-22", "use a descriptor that was left open", left_open),
    Attack {
        control: Control::None("outside, standard streams may be anything"),
        ..attack("S-22b", "learn a path of the host from a standard stream", standard_streams)
    },
    attack("S-23", "find a variable of the keeper", variables),
    Attack {
        control: Control::None("any Unix has such processes; the test is whether one survives a kill"),
        ..attack("S-33", "gain a terminal to stay attached to", controlling_terminal)
    },
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Descriptors, control: Control::Arena, act }
}

fn open_descriptors() -> Vec<(i32, String)> {
    let entries =
        fs::read_dir("/proc/self/fd").map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let numbered = entries
        .iter()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?)));
    numbered.map(|(number, path)| (number, path.display().to_string())).collect()
}

fn left_open() -> Outcome {
    // Not our own line to the prober's main process, which is a pipe, nor the directory being read.
    let extra: Vec<String> = open_descriptors()
        .into_iter()
        .filter(|(number, path)| *number > 2 && !path.starts_with("pipe:") && !path.ends_with("/fd"))
        .map(|(number, path)| format!("{number} is {path}"))
        .collect();
    if extra.is_empty() {
        Outcome::Refused("none beyond the standard streams".to_owned())
    } else {
        Outcome::Succeeded(extra.join(", "))
    }
}

fn standard_streams() -> Outcome {
    let paths: Vec<String> = open_descriptors()
        .into_iter()
        .filter(|(number, path)| *number <= 2 && !path.starts_with("pipe:"))
        .map(|(_, path)| path)
        .collect();
    if paths.is_empty() { Outcome::Refused("all are pipes".to_owned()) } else { Outcome::Succeeded(paths.join(", ")) }
}

fn variables() -> Outcome {
    let environment = fs::read("/proc/self/environ").unwrap_or_default();
    let names: Vec<String> = String::from_utf8_lossy(&environment)
        .split('\0')
        .filter_map(|entry| entry.split_once('=').map(|(name, _)| name.to_owned()))
        .collect();
    if names.iter().any(|name| name == CANARY) {
        Outcome::Succeeded(CANARY.to_owned())
    } else {
        Outcome::Refused(format!("only {}", names.join(", ")))
    }
}

fn controlling_terminal() -> Outcome {
    Outcome::one("/dev/tty", raw::open("/dev/tty", libc::O_RDWR))
}

/// Leaves a process behind that has left its session, its parent and every polite signal.
pub(crate) fn stay_behind() {
    if let Ok(0) = raw::fork() {
        raw::die_with_parent(0);
        let _ = raw::call(libc::SYS_setsid, &[]);
        if let Ok(0) = raw::fork() {
            raw::die_with_parent(0);
            for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE] {
                raw::ignore(signal);
            }
            raw::sleep_for_ever();
        }
        raw::exit_now(0);
    }
}
