//! A disk that is really full: nothing is allowed any more, and taking authority away is still recorded (invariant 2, A-95, A-107).

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_authority::{Class, HaltScope, Journal, JournalError, Record, Relinquished};
use selvedge_domain::{Owner, TenureChange, Vouchee};
use selvedge_ledger::{Ledger, OpenError, WriteError, danger};

use crate::support::*;

/// A small file system of its own, unmounted when dropped.
struct Tmpfs {
    _root: tempfile::TempDir,
    at: PathBuf,
}

impl Tmpfs {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("disk");
        std::fs::create_dir(&at).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], &at);
        Self { _root: root, at }
    }

    /// Fills it to the last byte; removing the file frees it.
    fn fill(&self) -> PathBuf {
        let path = self.at.join("ballast");
        let mut file = File::create(&path).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount").args(arguments).arg(at).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "this test mounts a small tmpfs to fill it: run it as root, where mounting is allowed"
    );
}

fn halted(at: u64) -> selvedge_authority::Entry {
    entry(at, None, Record::Relinquished(Relinquished::Halted(HaltScope::All)))
}

fn killed(at: u64) -> selvedge_authority::Entry {
    entry(at, None, Record::Relinquished(Relinquished::SandboxKilled { found: "3 processes".to_owned() }))
}

/// Appends until the disk says no; returns how many entries were written.
fn append_until_full(ledger: &Ledger) -> u64 {
    let long = "x".repeat(2_000);
    (0..1_000_000).find(|at| ledger.append_entry(not_done(*at, None, &long), Class::Durable).is_err()).unwrap()
}

#[test]
fn on_a_full_disk_only_taking_authority_away_is_recorded() {
    let (disk, anchor) = (Tmpfs::new(), tempfile::tempdir().unwrap());
    let state = disk.at.join("state");
    let ledger = Ledger::open(&state, anchor.path(), options()).unwrap();
    let ballast = disk.fill();
    let written = append_until_full(&ledger);
    let refused = ledger.append(not_done(1, None, "an order"), Class::Durable);
    assert!(matches!(refused, Err(JournalError::Write(_))), "what cannot be recorded is not allowed (A-95)");
    assert!(matches!(ledger.queue().enqueue(&trigger(1), time(1)), Err(WriteError::Storage(_))));

    ledger.append(halted(2), Class::Durable).expect("a halt is recorded from the reserve (A-107)");
    for at in 3..303 {
        ledger.append(killed(at), Class::Durable).expect("so are hundreds of kills");
    }
    assert_eq!(ledger.halts().unwrap(), [HaltScope::All], "the halt is in force at once");
    let (of, owner) = (Vouchee::Factory, Owner::parse("team@example.org").unwrap());
    let word = |change| Record::TenureChanged { of: of.clone(), owner: owner.clone(), change };
    let left = entry(303, None, word(TenureChange::Offboarded));
    ledger.append(left.clone(), Class::Durable).expect("so is that somebody left (B6)");
    assert_eq!(ledger.tenures().unwrap(), [(u64::MAX, left.clone())], "in force at once");
    let vouched = ledger.append(entry(304, None, word(TenureChange::Certified)), Class::Durable);
    assert!(vouched.is_err(), "vouching gives authority back");
    assert_eq!(ledger.head().unwrap().size, written, "the log itself did not grow");

    std::fs::remove_file(ballast).unwrap();
    ledger.append_entry(not_done(400, None, "there is room again"), Class::Durable).unwrap();
    assert_eq!(ledger.head().unwrap().size, written + 303);
    assert_eq!(ledger.tenures().unwrap(), [(written + 301, left)]);
    let acts = ledger.entries(written, None).map(|recorded| recorded.unwrap().entry).take(2).collect::<Vec<_>>();
    assert_eq!(acts, [halted(2), killed(3)], "moved into the log in order, before anything newer");
    assert_eq!(ledger.halts().unwrap(), [HaltScope::All]);
    assert_eq!(ledger.verify(None).unwrap().entries, written + 303);
}

#[test]
fn the_reserve_outlives_the_keeper_and_moves_into_the_log_once() {
    let (disk, anchor) = (Tmpfs::new(), tempfile::tempdir().unwrap());
    let state = disk.at.join("state");
    let ledger = Ledger::open(&state, anchor.path(), options()).unwrap();
    let ballast = disk.fill();
    let written = append_until_full(&ledger);
    ledger.append(halted(2), Class::Durable).unwrap();
    drop(ledger);
    std::fs::remove_file(ballast).unwrap();
    for _ in 0..2 {
        let ledger = Ledger::open(&state, anchor.path(), options()).unwrap();
        assert_eq!((ledger.head().unwrap().size, ledger.halts().unwrap()), (written + 1, vec![HaltScope::All]));
    }
}

#[test]
fn a_read_only_state_directory_says_so() {
    let (disk, anchor) = (Tmpfs::new(), tempfile::tempdir().unwrap());
    let state = disk.at.join("state");
    drop(Ledger::open(&state, anchor.path(), options()).unwrap());
    mount(&["-o", "remount,ro"], &disk.at);
    let refused = Ledger::open(&state, anchor.path(), options());
    assert!(matches!(refused, Err(OpenError::ReadOnly { .. })), "{refused:?}");
}

#[test]
fn the_simulated_disk_behaves_like_the_real_one() {
    let ledger = Ledger::in_memory(Box::new(danger::SeededEntropy::new(1))).unwrap();
    assert!(danger::simulate_full_disk(&ledger, danger::SimulatedDisk::Full));
    assert!(matches!(ledger.append(not_done(1, None, "x"), Class::Durable), Err(JournalError::Write(_))));
    ledger.append(halted(2), Class::Durable).unwrap();
    assert_eq!((ledger.head().unwrap().size, ledger.halts().unwrap()), (0, vec![HaltScope::All]));
    assert!(danger::simulate_full_disk(&ledger, danger::SimulatedDisk::Free));
    ledger.append(not_done(3, None, "x"), Class::Durable).unwrap();
    assert_eq!((ledger.head().unwrap().size, ledger.halts().unwrap()), (2, vec![HaltScope::All]));
    ledger.verify(None).unwrap();
}
