//! Whatever is done to a log from outside is found: bytes, rows, whole files, old copies.

use rusqlite::Connection;
use rusqlite::types::Value;
use selvedge_authority::{Class, Journal as _, JournalError, Record};
use selvedge_domain::{ApprovalId, Deed, Digest, Order as _, Owner, TenureChange, Vouchee};
use selvedge_ledger::{
    AnchorProblem, Checkpoint, Ledger, OpenError, OpenOptions, PublicKey, VerifyError, danger, verify_file,
};

use crate::support::*;

/// A closed log with a bit of everything; returns its key and last checkpoint.
fn small_log(place: &Place) -> (PublicKey, Checkpoint) {
    let ledger = place.open();
    let policies = Some(Digest::of_parts([b"policies".as_slice()]));
    let started = Record::KeeperStarted { version: "0.1.0".to_owned(), configuration: Digest::of_parts([]), policies };
    ledger.append_entry(entry(1, None, started), Class::Durable).unwrap();
    ledger.queue().enqueue(&trigger(1), time(2)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let mut owned = not_done(12, Some(&claim.run), "x");
    owned.owner = selvedge_domain::Owner::parse("team@example.org");
    ledger.append_entry(owned, Class::Durable).unwrap();
    walk(&ledger, &claim, 100);
    let checkpoint = ledger.checkpoint().unwrap();
    assert!(ledger.verify(Some(&checkpoint)).is_ok());
    (ledger.public_key(), checkpoint)
}

fn verify(place: &Place, key: &PublicKey) -> Result<(), VerifyError> {
    verify_file(&place.state(), &place.anchor(), key, None).map(drop)
}

/// Values that differ from `value` in one bit. Long ones are sampled: every byte of them is hashed in the same way.
fn flips(value: &Value) -> Vec<Value> {
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    match value {
        Value::Null => vec![Value::Text("x".to_owned()), Value::Integer(1)],
        Value::Integer(number) => (0..8).map(|bit| Value::Integer(number ^ (1 << (bit * 5)))).collect(),
        Value::Real(_) => panic!("no column is a float"),
        Value::Text(text) => (0..text.len())
            .step_by(1 + text.len() / 20)
            .filter_map(|at| String::from_utf8(flipped(text.as_bytes(), at)).ok().map(Value::Text))
            .chain([Value::Text(String::new()), Value::Null])
            .collect(),
        Value::Blob(bytes) => (0..bytes.len()).step_by(5).map(|at| Value::Blob(flipped(bytes, at))).collect(),
    }
}

#[test]
fn any_flipped_byte_of_any_column_is_found_and_the_first_bad_entry_named() {
    let place = Place::new();
    let (key, _) = small_log(&place);
    let db = Connection::open(place.database()).unwrap();
    let mut statement = db.prepare("SELECT * FROM entry ORDER BY seq").unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| (0..names.len()).map(|i| row.get(i)).collect::<Result<Vec<Value>, _>>());
    let rows: Vec<Vec<Value>> = rows.unwrap().map(Result::unwrap).collect();
    drop(statement);
    let mut tried = 0;
    for (seq, row) in (0_i64..).zip(&rows) {
        for (name, value) in names.iter().zip(row) {
            for flip in flips(value) {
                let sql = format!("UPDATE entry SET {name} = ?1 WHERE seq = ?2");
                if db.execute(&sql, (&flip, seq)).is_err() {
                    continue; // The table itself refuses it.
                }
                tried += 1;
                match verify(&place, &key) {
                    Err(VerifyError::Entry { seq: named, .. }) => {
                        assert_eq!(i64::try_from(named).unwrap(), seq, "{name} of {seq} became {flip:?}");
                    }
                    other => panic!("{name} of {seq} became {flip:?}: {other:?}"),
                }
                let now = if name == "seq" { flip } else { Value::Integer(seq) };
                db.execute(&format!("UPDATE entry SET {name} = ?1 WHERE seq = ?2"), (value, &now)).unwrap();
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
    verify(&place, &key).expect("the log is whole again");
}

#[test]
fn any_flipped_byte_beside_the_entries_is_found_too() {
    let place = Place::new();
    let (key, _) = small_log(&place);
    let db = Connection::open(place.database()).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name GLOB 'p_*' OR name = 'checkpoint')";
    let tables: Vec<String> =
        db.prepare(tables).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(tables.len() >= 10);
    for table in tables {
        let statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        for column in columns {
            let value =
                db.query_row(&format!("SELECT {column} FROM {table} LIMIT 1"), [], |row| row.get::<_, Value>(0));
            let Ok(value) = value else { continue };
            for flip in flips(&value) {
                db.execute_batch("BEGIN").unwrap();
                let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {column} IS ?2");
                let changed = db.execute(&sql, (&flip, &value)).unwrap_or(0);
                db.execute_batch(if changed > 0 { "COMMIT" } else { "ROLLBACK" }).unwrap();
                if changed == 0 {
                    continue;
                }
                assert!(verify(&place, &key).is_err(), "{column} of {table} became {flip:?}");
                db.execute(&sql, (&value, &flip)).unwrap();
            }
        }
    }
    verify(&place, &key).expect("the log is whole again");
}

/// Everything the entries say, as text; none when it cannot be read.
fn contents(place: &Place) -> Option<Vec<String>> {
    let db = Connection::open(place.database()).ok()?;
    let mut statement = db.prepare("SELECT * FROM entry ORDER BY seq").ok()?;
    let row = |row: &rusqlite::Row<'_>| (0..12).map(|i| row.get::<_, Value>(i)).collect::<Result<Vec<_>, _>>();
    let rows = statement.query_map([], row).ok()?;
    rows.map(|row| row.ok().map(|row| format!("{row:?}"))).collect()
}

#[test]
fn a_byte_flipped_in_the_file_is_found_or_meant_nothing() {
    let place = Place::new();
    let (key, _) = small_log(&place);
    let (whole, before) = (std::fs::read(place.database()).unwrap(), contents(&place).unwrap());
    let mut found = 0;
    // A stride that is coprime to the page size visits every kind of place in a page.
    for at in (0..whole.len()).step_by(211) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(place.database(), &bytes).unwrap();
        match verify(&place, &key) {
            Err(_) => found += 1,
            Ok(()) => assert_eq!(contents(&place).as_ref(), Some(&before), "byte {at}"),
        }
    }
    assert!(found > 20, "{found}");
    std::fs::write(place.database(), &whole).unwrap();
    verify(&place, &key).expect("the file is whole again");
}

#[test]
fn a_file_that_was_cut_is_refused_a90() {
    let place = Place::new();
    let (key, _) = small_log(&place);
    let whole = std::fs::read(place.database()).unwrap();
    for eighths in 0..8 {
        std::fs::write(place.database(), &whole[..whole.len() * eighths / 8]).unwrap();
        assert!(verify(&place, &key).is_err(), "{eighths} eighths");
        let opened = place.try_open();
        assert!(opened.is_err() || opened.unwrap().verify(None).is_err(), "{eighths} eighths");
    }
}

#[test]
fn tiles_are_held_against_their_entries() {
    let place = Place::new();
    let ledger = place.open();
    for at in 0..600 {
        ledger.append_entry(not_done(at, None, "x"), Class::Ordered).unwrap();
    }
    let key = ledger.public_key();
    drop(ledger);
    let db = Connection::open(place.database()).unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM tile", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    let broken = "UPDATE tile SET hashes = CAST(zeroblob(32) || substr(hashes, 33) AS BLOB) WHERE place = 1";
    db.execute(broken, []).unwrap();
    assert!(matches!(verify(&place, &key), Err(VerifyError::Entry { seq: 511, .. })));
    assert!(matches!(place.try_open(), Err(OpenError::Anchor { problem: AnchorProblem::Forked { .. }, .. })));
}

fn anchor_problem(opened: Result<Ledger, OpenError>) -> AnchorProblem {
    match opened {
        Err(OpenError::Anchor { problem, .. }) => problem,
        other => panic!("must be refused by the anchor: {other:?}"),
    }
}

#[test]
fn an_old_copy_is_refused_a106() {
    let place = Place::new();
    drop(place.open());
    let old = place.root.path().join("old");
    let (key, checkpoint) = {
        let ledger = place.open();
        ledger.append_entry(not_done(1, None, "spent"), Class::Durable).unwrap();
        drop(ledger);
        copy_dir(&place.state(), &old);
        small_log(&place)
    };
    drop(place.open());
    std::fs::remove_dir_all(place.state()).unwrap();
    copy_dir(&old, &place.state());
    assert!(
        matches!(anchor_problem(place.try_open()), AnchorProblem::Shorter { found: 1, anchored } if anchored >= checkpoint.size())
    );
    assert!(matches!(verify(&place, &key), Err(VerifyError::Outside(AnchorProblem::Shorter { .. }))));
    // Without the fence it would have opened: the old copy is a good log by itself.
    std::fs::remove_dir_all(place.anchor()).unwrap();
    assert_eq!(anchor_problem(place.try_open()), AnchorProblem::Missing);
    let adopted = Ledger::open(&place.state(), &place.anchor(), danger::adopt_without_anchor(options()));
    assert_eq!(adopted.unwrap().head().unwrap().size, 1);
    let against = verify_file(&place.state(), &place.anchor(), &key, Some(&checkpoint));
    assert!(matches!(against, Err(VerifyError::Outside(_))), "a checkpoint somebody kept still tells");
}

#[test]
fn a_yes_or_a_deed_that_is_only_in_a_projection_is_none_a106() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let (run, order) = (&claim.run, open_proposal(&claim.run).describe());
    let approval = ApprovalId::from_entropy(1);
    let asked = Record::ApprovalAsked { approval: approval.clone(), order: order.clone(), until: time(1_000) };
    ledger.append_entry(entry(20, Some(run), asked), Class::Durable).unwrap();
    let other = grant(&approval, run, Digest::of_parts([b"other bytes".as_slice()]), 900);
    decide_and_do(&ledger, 21, None, &other, Deed::Approved).unwrap();
    let seq = ledger.head().unwrap().size - 1;
    assert_eq!(ledger.approval(&order.digest(), time(30)).unwrap(), None);

    let db = Connection::open(place.database()).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let forge = "UPDATE p_approval SET state = 'granted', by_uid = 0, usable_until = 900, answer_seq = ?1";
    let run = run.clone();
    assert_eq!(db.execute(forge, [None::<i64>]).unwrap(), 1);
    assert_eq!(ledger.approval(&order.digest(), time(30)).unwrap(), None, "a ledger at work does not even look there");
    let mut ledger = ledger;
    for seq in [None, Some(0), i64::try_from(seq).ok()] {
        assert_eq!(db.execute(forge, [seq]).unwrap(), 1);
        drop(ledger);
        ledger = place.open();
        assert!(matches!(ledger.approval(&order.digest(), time(30)), Err(JournalError::Read(_))), "{seq:?}");
    }
    db.execute("INSERT INTO p_deed VALUES (?1, ?2, 0)", (run.as_str(), order.digest().as_bytes())).unwrap();
    assert!(matches!(ledger.recall(&run, &order.digest()), Err(JournalError::Read(_))));
}

#[test]
fn an_answer_that_is_only_in_a_projection_is_none_a106() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    let claim = ledger.queue().claim(time(10), LEASE).unwrap().unwrap();
    let (run, order) = (&claim.run, question(&claim.run).describe());
    for id in [1, 2] {
        let asked =
            Record::ApprovalAsked { approval: ApprovalId::from_entropy(id), order: order.clone(), until: time(1_000) };
        ledger.append_entry(entry(20, Some(run), asked), Class::Durable).unwrap();
    }
    let (one, other) = (ApprovalId::from_entropy(1), ApprovalId::from_entropy(2));
    decide_and_do(&ledger, 21, None, &words(&other, run, order.digest(), "yes"), Deed::Replied).unwrap();
    let seq = ledger.head().unwrap().size - 1;
    let db = Connection::open(place.database()).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let forge = "UPDATE p_approval SET state = 'answered', by_uid = 0, answer_seq = ?1 WHERE id = ?2";
    for seq in [None, Some(0), i64::try_from(seq).ok()] {
        assert_eq!(db.execute(forge, (seq, one.as_str())).unwrap(), 1);
        assert!(ledger.approval_request(&one, time(30)).is_err(), "{seq:?}");
    }
}

#[test]
fn a_word_for_something_that_is_only_in_a_projection_is_none_b6_a106() {
    let place = Place::new();
    let ledger = place.open();
    let (of, owner) = (Vouchee::Factory, Owner::parse("team@example.org").unwrap());
    let said = |change| Record::TenureChanged { of: of.clone(), owner: owner.clone(), change };
    ledger.append_entry(entry(10, None, said(TenureChange::Certified)), Class::Durable).unwrap();
    let left = ledger.append_entry(entry(20, None, said(TenureChange::Offboarded)), Class::Durable).unwrap();
    let last = ledger.tenures().unwrap();
    assert_eq!(last.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [left], "what was said last counts");
    ledger.rebuild_projections().unwrap();
    assert_eq!(ledger.tenures().unwrap(), last);

    let db = Connection::open(place.database()).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    for forged in ["UPDATE p_tenure SET seq = 99", "UPDATE p_tenure SET seq = 0, of = 'agent:fixer'"] {
        assert_eq!(db.execute(forged, []).unwrap(), 1);
        assert!(ledger.tenures().is_err(), "{forged}");
    }
}

#[test]
fn a_truncated_log_is_refused_a90() {
    let place = Place::new();
    let (key, _) = small_log(&place);
    let db = Connection::open(place.database()).unwrap();
    db.execute_batch("DELETE FROM entry WHERE seq >= 5; DELETE FROM checkpoint").unwrap();
    drop(db);
    assert!(matches!(anchor_problem(place.try_open()), AnchorProblem::Shorter { found: 5, .. }));
    assert!(matches!(verify(&place, &key), Err(VerifyError::Outside(AnchorProblem::Shorter { found: 5, .. }))));
}

#[test]
fn another_log_in_its_place_is_refused_even_with_the_right_key_a90() {
    let place = Place::new();
    small_log(&place);
    let other = Place::new();
    let ledger = other.open();
    for at in 0..100 {
        ledger.append_entry(not_done(at, None, "forged"), Class::Durable).unwrap();
    }
    let key = ledger.public_key();
    drop(ledger);
    std::fs::remove_dir_all(place.state()).unwrap();
    copy_dir(&other.state(), &place.state());
    assert!(matches!(anchor_problem(place.try_open()), AnchorProblem::Forked { .. }));
    assert!(matches!(verify(&place, &key), Err(VerifyError::Rewritten { .. })));
}

#[test]
fn a_fresh_log_in_its_place_is_refused() {
    let place = Place::new();
    small_log(&place);
    std::fs::remove_dir_all(place.state()).unwrap();
    assert!(matches!(anchor_problem(place.try_open()), AnchorProblem::Shorter { found: 0, .. }), "same key");
    std::fs::remove_dir_all(place.state()).unwrap();
    let fresh = Ledger::open(&place.state(), &place.anchor(), OpenOptions::default());
    assert!(matches!(anchor_problem(fresh), AnchorProblem::Replaced { .. }), "another key");
}

#[test]
fn a_dropped_write_ahead_log_is_refused() {
    let place = Place::new();
    let ledger = place.open();
    ledger.append_entry(not_done(1, None, "only in the write-ahead log"), Class::Durable).unwrap();
    let size = |place: &Place| {
        let kept = std::fs::read_dir(place.anchor()).unwrap().next().unwrap().unwrap().path();
        std::fs::read_to_string(kept).unwrap().contains("\\n1\\n")
    };
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !size(&place) && std::time::Instant::now() < give_up {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(size(&place), "the anchor follows without being asked");
    let copy = place.root.path().join("copy");
    copy_dir(&place.state(), &copy);
    drop(ledger);
    std::fs::remove_dir_all(place.state()).unwrap();
    copy_dir(&copy, &place.state());
    std::fs::remove_file(place.state().join("ledger.db-wal")).unwrap();
    std::fs::remove_file(place.state().join("ledger.db-shm")).unwrap();
    assert!(matches!(anchor_problem(place.try_open()), AnchorProblem::Shorter { anchored: 1, .. }));
    // The copy with its write-ahead log is whole.
    std::fs::remove_dir_all(place.state()).unwrap();
    copy_dir(&copy, &place.state());
    assert_eq!(place.open().head().unwrap().size, 1);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let place = Place::new();
    let ledger = place.open();
    assert!(matches!(place.try_open(), Err(OpenError::Locked { .. })));
    drop(ledger);
    let set_format = |format: i64| {
        let db = Connection::open(place.database()).unwrap();
        db.execute("UPDATE meta SET value = ?1 WHERE key = 'format'", [format]).unwrap();
    };
    set_format(99);
    assert!(matches!(place.try_open(), Err(OpenError::NewerFormat { found: 99, known: 1, .. })));
    set_format(1);
    drop(place.open());
    std::fs::write(place.database(), b"not a database at all, by a long way").unwrap();
    assert!(matches!(place.try_open(), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_projection_of_another_number_is_made_again() {
    let place = Place::new();
    small_log(&place);
    let db = Connection::open(place.database()).unwrap();
    db.execute_batch("DELETE FROM p_run; UPDATE meta SET value = 0 WHERE key = 'projections'").unwrap();
    drop(db);
    let ledger = place.open();
    assert_eq!(ledger.runs(10).unwrap().len(), 1);
    assert_eq!(ledger.check_projections().unwrap(), Vec::<&str>::new());
}
