//! What a durable record costs, beside the floors it stands on: one fdatasync, and plain SQLite with its own sync.
//!
//! `cargo bench -p selvedge-ledger [-- DIRECTORY]`: all figures come from one run on one disk; compare them with each other only.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark may be blunt")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use selvedge_authority::{Class, Entry, Record};
use selvedge_domain::{Actor, Digest, Time, Verb};
use selvedge_ledger::{ExportScope, Ledger};

/// A typical entry: about 600 bytes with its body.
fn entry(number: u64) -> Entry {
    let order = Digest::of_parts([number.to_be_bytes().as_slice()]);
    let record = Record::NotDone { order, verb: Verb::HttpRequest, because: "x".repeat(400) };
    Entry { at: Time::from_millis(number), run: None, actor: Actor::Factory, owner: None, record }
}

fn main() {
    let place = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let root = place.map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
    println!("on {}", root.path().display());
    raw_fdatasync(root.path());
    plain_sqlite(root.path());
    let ledger = Ledger::open(&root.path().join("state"), &root.path().join("anchor"), Default::default()).unwrap();
    report("ledger, durable, 1 caller", measure(&ledger, 1, 500, Class::Durable));
    report("ledger, durable, 64 callers", measure(&ledger, 64, 1_000, Class::Durable));
    report("ledger, ordered, 1 caller", measure(&ledger, 1, 20_000, Class::Ordered));
    report("ledger, ordered, 64 callers", measure(&ledger, 64, 1_000, Class::Ordered));
    verify(&ledger);
}

fn raw_fdatasync(root: &Path) {
    let file = File::create(root.join("raw")).unwrap();
    file.write_all_at(&vec![0; 4 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let each = (0..500_u64).map(|at| {
        let begin = Instant::now();
        file.write_all_at(&[1; 4096], at * 4096).unwrap();
        file.sync_data().unwrap();
        begin.elapsed()
    });
    report("raw fdatasync, overwriting 4 KiB", each.collect());
    let mut file = OpenOptions::new().create(true).append(true).open(root.join("grown")).unwrap();
    let each = (0..500).map(|_| {
        let begin = Instant::now();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        begin.elapsed()
    });
    report("raw fdatasync, appending 4 KiB", each.collect());
}

fn plain_sqlite(root: &Path) {
    let db = rusqlite::Connection::open(root.join("plain.db")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n INTEGER PRIMARY KEY, b TEXT)",
    )
    .unwrap();
    let body = "x".repeat(600);
    let each = (0..500).map(|_| {
        let begin = Instant::now();
        db.prepare_cached("INSERT INTO t (b) VALUES (?1)").unwrap().execute([&body]).unwrap();
        begin.elapsed()
    });
    report("plain SQLite, WAL, synchronous FULL", each.collect());
}

/// How long each append of each caller took.
fn measure(ledger: &Ledger, callers: u64, appends: u64, class: Class) -> Vec<Duration> {
    let begin = Instant::now();
    let each: Vec<Duration> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(move || {
                    let append = |number| {
                        let begin = Instant::now();
                        ledger.append_entry(entry(number), class).unwrap();
                        begin.elapsed()
                    };
                    (0..appends).map(append).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    if callers > 1 {
        println!("{callers} callers together: {:.0} entries/s", each.len() as f64 / begin.elapsed().as_secs_f64());
    }
    each
}

fn report(what: &str, mut each: Vec<Duration>) {
    each.sort_unstable();
    let at = |percent: usize| each.get(each.len() * percent / 100).copied().unwrap_or_default();
    let total: Duration = each.iter().sum();
    println!("{what}: {:.0}/s per caller, p50 {:?}, p99 {:?}", each.len() as f64 / total.as_secs_f64(), at(50), at(99));
}

/// What work costs in processor time; elapsed time says more about the neighbours of a shared machine.
fn per_cpu_second(what: &str, entries: u64, work: impl FnOnce()) {
    let spent = || -> f64 {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
    };
    let (begin, before) = (Instant::now(), spent());
    work();
    let (elapsed, cpu) = (begin.elapsed().as_secs_f64(), spent() - before);
    println!(
        "{what}: {:.0} entries/s, {:.0} per second of processor time",
        entries as f64 / elapsed,
        entries as f64 / cpu
    );
}

fn verify(ledger: &Ledger) {
    let checkpoint = ledger.checkpoint().unwrap();
    let size = checkpoint.size();
    let leaves: Vec<[u8; 32]> = ledger.entries(0, None).map(|recorded| *recorded.unwrap().leaf.as_bytes()).collect();
    per_cpu_second("export", size, || drop(ledger.export(&ExportScope::All, &mut std::io::sink()).unwrap()));
    per_cpu_second("hash exported leaves into the root", size, || {
        assert_eq!(selvedge_ledger::root_of(leaves.iter().copied().take(leaves.len())), *checkpoint.root());
    });
    per_cpu_second("verify the log: bodies, headers, chains, tree", size, || {
        assert!(ledger.verify_log(Some(&checkpoint)).unwrap().entries >= size);
    });
}
