//! An exported log is verified by a program that shares nothing with us but the format.

use std::path::Path;
use std::process::Command;

use selvedge_authority::Class;
use selvedge_ledger::{ExportScope, Ledger};

use crate::support::*;

fn verifier_says(export: &[u8], log: &str, at: &Path) -> Result<String, String> {
    std::fs::write(at, export).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ledger/verify_export.py");
    let output = Command::new("python3").arg(script).arg(at).arg(log).output().expect("python3 is needed to verify");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn export(ledger: &Ledger, scope: &ExportScope) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.export(scope, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_stranger_s_program_verifies_the_log_and_refuses_every_change() {
    let place = Place::new();
    let ledger = place.open();
    ledger.queue().enqueue(&trigger(1), time(1)).unwrap();
    ledger.queue().enqueue(&trigger(2), time(1)).unwrap();
    let claims: Vec<_> = (0..2).map(|_| ledger.queue().claim(time(10), LEASE).unwrap().unwrap()).collect();
    walk(&ledger, &claims[0], 100);
    // Beyond one tile, so that audit paths come from tiles too.
    for at in 200..500 {
        ledger.append_entry(not_done(at, None, &format!("{at} \u{e9}\"\\")), Class::Ordered).unwrap();
    }
    walk(&ledger, &claims[1], 600);
    let (log, at) = (ledger.public_key().log_id().to_string(), place.root.path().join("export.jsonl"));

    let whole = export(&ledger, &ExportScope::All);
    let size = ledger.head().unwrap().size;
    assert_eq!(verifier_says(&whole, &log, &at), Ok(format!("verified {size} entries of {log} at size {size}")));
    let run = export(&ledger, &ExportScope::Run(claims[1].run.clone()));
    let said = verifier_says(&run, &log, &at).unwrap();
    assert!(said.starts_with("verified ") && !said.contains(&format!("verified {size} ")), "{said}");

    let text = String::from_utf8(whole).unwrap();
    for (from, to) in [("fix number 2", "fix number 3"), ("\"at\":205", "\"at\":206"), ("acme/shop", "acme/shoq")] {
        assert!(text.contains(from));
        assert!(verifier_says(text.replacen(from, to, 1).as_bytes(), &log, &at).is_err(), "{from}");
    }
    let cut: Vec<&str> = text.lines().take(100).collect();
    assert!(verifier_says(cut.join("\n").as_bytes(), &log, &at).unwrap_err().contains("entries of"));
    let dropped: Vec<&str> = text.lines().enumerate().filter(|(n, _)| *n != 50).map(|(_, line)| line).collect();
    assert!(verifier_says(dropped.join("\n").as_bytes(), &log, &at).is_err());
    let run = String::from_utf8(run).unwrap();
    assert!(verifier_says(run.replacen("Fix it", "Fix If", 1).as_bytes(), &log, &at).is_err());
    assert!(verifier_says(text.as_bytes(), "selvedge-00000000000000000000000000000000", &at).is_err());
    assert_eq!(ledger.verify(None).unwrap().entries, size);
}

#[test]
fn whoever_reads_an_export_keeps_nobody_from_the_log_and_it_is_never_held_whole() {
    struct Reader {
        ledger: Ledger,
        lines: Vec<u8>,
        longest: usize,
    }
    impl std::io::Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // In memory there is one connection: were it held while we read, this would wait for ever.
            self.ledger.append_entry(not_done(900, None, "meanwhile"), Class::Ordered).unwrap();
            self.longest = self.longest.max(bytes.len());
            self.lines.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let ledger = Ledger::in_memory(Box::new(selvedge_ledger::danger::SeededEntropy::new(1))).unwrap();
    for at in 0..100 {
        ledger.append_entry(not_done(at, None, &format!("{at} {}", "x".repeat(100 << 10))), Class::Ordered).unwrap();
    }
    let mut reader = Reader { ledger: ledger.clone(), lines: Vec::new(), longest: 0 };
    let size = ledger.export(&ExportScope::All, &mut reader).unwrap().size();
    let seqs = String::from_utf8(reader.lines).unwrap();
    let seqs =
        seqs.lines().skip(1).map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64());
    assert!(seqs.eq((0..size).map(Some)) && size >= 100);
    assert!(reader.longest < 1 << 20, "{}", reader.longest);
    assert!(ledger.head().unwrap().size > size);
}
