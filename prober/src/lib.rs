//! Tries, from inside a sandbox, everything that must not succeed, and says what happened.
//!
//! Owns the list of attacks and how each is tried. Knows nothing of how a sandbox is built: it calls the kernel as a
//! hostile program would. Each attack runs in a process of its own, for some answers are a killed process. The arena tries
//! the same attacks where they should succeed, which is what gives a refusal its meaning.
//!
//! One JSON object a line: `{"id":"S-2","what":"…","outcome":"refused","detail":"…"}`.

mod arena;
mod bombs;
mod descriptors;
mod doors;
mod files;
mod namespaces;
mod network;
mod outcome;
mod proc;
mod raw;
mod report;
mod syscalls;

pub use arena::{ABSTRACT_SOCKET, CANARY};
pub use outcome::{Outcome, Spelling};
pub use report::Line;

/// The name under which an executable is to enter [`main`].
pub const NAME: &str = "selvedge-prober";

/// One forbidden thing.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Its id in the list of attacks, with a letter where one row is tried in several ways.
    pub id: &'static str,
    /// What is tried, in plain words.
    pub title: &'static str,
    /// What it is aimed at.
    pub family: Family,
    /// Where the same act is seen to succeed.
    pub control: Control,
    pub(crate) act: fn() -> Outcome,
}

/// What an attack is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Leaving for other namespaces, or bringing mounts into this one.
    Namespaces,
    /// Calls that reach the kernel's insides.
    Syscalls,
    /// Talking to anyone but the doors.
    Network,
    /// Reading or writing what belongs to the host.
    Files,
    /// Looking into or steering other processes and the kernel through `/proc`.
    Proc,
    /// Using up what others need.
    Bombs,
    /// What was left open or left lying about.
    Descriptors,
}

/// Where the same act is seen to succeed, so that its refusal inside means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// In the arena: as root, in namespaces made for it and thrown away.
    Arena,
    /// Nowhere on such a machine, and why.
    None(&'static str),
}

/// Every attack, by family.
pub fn attacks() -> Vec<&'static Attack> {
    [
        namespaces::ATTACKS,
        syscalls::ATTACKS,
        network::ATTACKS,
        doors::ATTACKS,
        files::ATTACKS,
        proc::ATTACKS,
        bombs::ATTACKS,
        descriptors::ATTACKS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs `list`, `try ID…`, `try all` or `arena ID…`; the exit status is 0 unless the arguments make no sense.
pub fn main(arguments: &[String]) -> i32 {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["list"] => report::list(),
        ["try", ids @ ..] => return with(ids, |attack| report::print(attack, &report::try_apart(attack))),
        ["arena", ids @ ..] => return with(ids, |attack| report::print(attack, &arena::try_outside(attack))),
        ["arena-inside", id] => return with(&[*id], |attack| report::print(attack, &arena::enter_and_try(attack))),
        ["daemon"] => descriptors::stay_behind(),
        _ => return 2,
    }
    0
}

fn with(ids: &[&str], each: impl Fn(&Attack)) -> i32 {
    let chosen: Vec<&Attack> =
        attacks().into_iter().filter(|attack| ids == ["all"] || ids.contains(&attack.id)).collect();
    for attack in &chosen {
        each(attack);
    }
    if chosen.is_empty() { 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_an_id_of_its_own() {
        let ids: std::collections::BTreeSet<&str> = attacks().iter().map(|attack| attack.id).collect();
        assert_eq!(ids.len(), attacks().len());
        assert!(ids.iter().all(|id| id.starts_with("S-") || id.starts_with("A-")));
    }
}
