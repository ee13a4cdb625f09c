//! cargo-nextest, in its default format. It prints on standard error.

use std::collections::BTreeMap;

use selvedge_domain::TestName;

use super::{Reading, leading_number};

/// Reads results up to the summary, and checks them against it.
pub(super) fn read(lines: &[&str]) -> Reading {
    let mut tests = Vec::new();
    let mut run: BTreeMap<TestName, bool> = BTreeMap::new();
    let (mut recognised, mut open) = (false, false);
    for line in lines {
        let line = line.trim_start();
        if line.starts_with("Nextest run ID ") {
            if open {
                return Reading::Broken;
            }
            (recognised, open) = (true, true);
        } else if open && let Some(summary) = line.strip_prefix("Summary [") {
            if !adds_up(summary, &run) {
                return Reading::Broken;
            }
            tests.extend(std::mem::take(&mut run));
            // What follows lists the failed ones again.
            open = false;
        } else if open && let Some((name, passed)) = result(line) {
            // A retried test is reported once for each try; the last one counts.
            run.insert(name, passed);
        }
    }
    match (recognised, open) {
        (false, _) => Reading::Unrecognised,
        (true, true) => Reading::Broken,
        (true, false) => Reading::Whole(tests),
    }
}

/// `PASS [   0.005s] (1/3) crate::binary module::test`; the position is printed since 0.9.100.
fn result(line: &str) -> Option<(TestName, bool)> {
    let (status, rest) = line.split_once(" [")?;
    let (time, rest) = rest.split_once("] ")?;
    let status = status.trim_end();
    let is_time = time.trim_start().strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
    if !is_time || status.is_empty() {
        return None;
    }
    let passed = match status.rsplit(' ').next()? {
        "PASS" | "LEAK" => true,
        // Not run, and `SLOW [> 60s]`, which is no result, has no time we read.
        "SKIP" => return None,
        word if word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-') => false,
        _ => return None,
    };
    let rest = rest.trim_start();
    let name = match rest.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((_position, name)) => name.trim_start(),
        None => rest,
    };
    Some((TestName::from_output(name), passed))
}

/// Whether `0.005s] 3 tests run: 3 passed (1 slow), 0 skipped` tells of these results. A run that was cancelled says
/// `2/5 tests run`.
fn adds_up(summary: &str, run: &BTreeMap<TestName, bool>) -> bool {
    let Some((_time, counts)) = summary.split_once("] ") else { return false };
    let Some((head, results)) = counts.split_once(" run: ") else { return false };
    let passed =
        results.split(", ").find_map(|part| leading_number(part).filter(|(_, rest)| rest.starts_with(" passed")));
    leading_number(head).is_some_and(|(count, _)| count == run.len())
        && passed.map_or(0, |(count, _)| count) == run.values().filter(|passed| **passed).count()
}

#[cfg(test)]
mod tests {
    use crate::checks::parse;

    const WHOLE: &str = "   Compiling demo v0.1.0 (/w)\n    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.30s\n\
        ────────────\n Nextest run ID 7f0c8a54 with nextest profile: default\n    Starting 4 tests across 2 binaries (1 test skipped)\n\
        \x20       PASS [   0.004s] (1/4) demo a::works\n        FAIL [   0.004s] (2/4) demo::it a::breaks\n  stdout ───\n\n    running 1 test\n    test a::breaks ... FAILED\n\n\
        \x20 TRY 1 FAIL [   0.004s] (3/4) demo::it flaky\n  TRY 2 PASS [   0.004s] (3/4) demo::it flaky\n     SIGABRT [   0.004s] (4/4) demo a::aborts\n\
        ────────────\n     Summary [   0.005s] 4 tests run: 2 passed (1 flaky), 2 failed, 1 skipped\n        FAIL [   0.004s] (2/4) demo::it a::breaks\nerror: test run failed\n";

    #[test]
    fn a_real_report_is_counted() {
        let tests = parse(include_bytes!("../../tests/data/nextest-yasna.txt")).unwrap();
        assert_eq!((tests.len(), tests.values().filter(|passed| **passed).count()), (87, 87));
    }

    #[test]
    fn results_are_counted_by_binary_and_name() {
        let tests = parse(WHOLE.as_bytes()).unwrap();
        let tests: Vec<_> = tests.iter().map(|(name, passed)| (name.as_str(), *passed)).collect();
        assert_eq!(
            tests,
            [
                ("demo a::aborts", false),
                ("demo a::works", true),
                ("demo::it a::breaks", false),
                ("demo::it flaky", true)
            ]
        );
    }

    #[test]
    fn a110_a_run_that_is_cut_short_or_does_not_add_up_is_not_counted() {
        assert_eq!(parse(&WHOLE.as_bytes()[..WHOLE.find("Summary").unwrap()]), None);
        assert_eq!(parse(WHOLE.replace("2 passed", "3 passed").as_bytes()), None);
        assert_eq!(parse(WHOLE.replace("4 tests run", "5 tests run").as_bytes()), None);
    }
}
