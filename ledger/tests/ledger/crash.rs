//! Many writers at once, and a process that is killed while they write: what was acknowledged is there.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use selvedge_authority::{Class, Record};
use selvedge_ledger::Ledger;

use crate::support::*;

/// The texts of every `not_done` entry.
fn recorded(ledger: &Ledger) -> Vec<String> {
    let text = |record| match record {
        Record::NotDone { because, .. } => Some(because),
        _ => None,
    };
    ledger.entries(0, None).filter_map(|recorded| text(recorded.unwrap().entry.record)).collect()
}

#[test]
fn sixty_four_writers_share_commits_and_lose_nothing() {
    let place = Place::new();
    let ledger = place.open();
    let class = |writer: u64| if writer.is_multiple_of(2) { Class::Durable } else { Class::Ordered };
    std::thread::scope(|scope| {
        for writer in 0..64 {
            let ledger = ledger.clone();
            scope.spawn(move || {
                let mut before = None;
                for number in 0..20 {
                    let entry = not_done(writer, None, &format!("{writer}/{number}"));
                    let seq = ledger.append_entry(entry, class(writer)).unwrap();
                    assert!(before < Some(seq), "a writer's entries keep their order");
                    before = Some(seq);
                }
            });
        }
    });
    let distinct: BTreeSet<String> = recorded(&ledger).into_iter().collect();
    assert_eq!((distinct.len(), ledger.head().unwrap().size), (64 * 20, 64 * 20));
    assert_eq!(ledger.verify(None).unwrap().entries, 64 * 20);
    drop(ledger);
    assert_eq!(place.open().verify(None).unwrap().signed, 64 * 20, "closing signs what there is");
}

const CHILD: &str = "SELVEDGE_LEDGER_TEST_CHILD";

/// Not a test by itself: what the process does that is going to be killed.
#[test]
fn child_appends_until_killed() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let root = std::path::Path::new(&root);
    let ledger = Ledger::open(&root.join("state"), &root.join("anchor"), options()).unwrap();
    let process = std::process::id();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let ledger = ledger.clone();
            scope.spawn(move || {
                for number in 0.. {
                    let text = format!("{process}/{writer}/{number}");
                    ledger.append_entry(not_done(1, None, &text), Class::Durable).unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acked {text}").and_then(|()| out.flush()).unwrap();
                }
            });
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    let place = Place::new();
    let mut acked = BTreeSet::new();
    for round in 1..=6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_appends_until_killed", "--exact", "--nocapture"])
            .env(CHILD, place.root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acks = |line: &str| line.split_once("acked ").map(|(_, text)| text.to_owned());
        let mut seen = 0;
        while seen < 150 * round {
            let line = lines.next().expect("the child writes until it is killed").unwrap();
            if let Some(text) = acks(&line) {
                acked.insert(text);
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Whole lines that it still wrote were acknowledged too; the last may be cut.
        let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.pop();
        acked.extend(rest.iter().filter_map(|line| acks(line)));
    }
    let ledger = place.open();
    let found = recorded(&ledger);
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(distinct.len(), found.len(), "nothing is there twice");
    let lost: Vec<&String> = acked.difference(&distinct).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acked.len());
    assert_eq!(ledger.verify(None).unwrap().entries, found.len() as u64);
}
