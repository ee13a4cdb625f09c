//! `go test -v`. Without `-v` go prints one line for each package, and nothing can be counted by name.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::TestName;

use super::Reading;

/// The tests of the package that is being printed; its name comes at the end.
#[derive(Default)]
struct Package<'a> {
    begun: BTreeSet<&'a str>,
    results: BTreeMap<&'a str, Option<bool>>,
}

/// Reads package after package; each ends with a line of its own.
pub(super) fn read(lines: &[&str]) -> Reading {
    let mut tests = Vec::new();
    let mut recognised = false;
    let mut package = Package::default();
    for line in lines {
        if let Some(name) = line.strip_prefix("=== RUN   ") {
            recognised = true;
            package.begun.insert(name.trim_end());
        } else if let Some((name, passed)) = result(line) {
            package.results.insert(name, passed);
        } else if let Some(path) = end_of_package(line) {
            let Package { begun, results } = std::mem::take(&mut package);
            // A test that was begun and has no result ended its process; a result without a beginning is forged.
            if !begun.iter().eq(results.keys()) {
                return Reading::Broken;
            }
            let ran = results.into_iter().filter_map(|(name, passed)| Some((name, passed?)));
            tests.extend(ran.map(|(name, passed)| (TestName::from_output(&format!("{path} {name}")), passed)));
        }
    }
    match recognised {
        false => Reading::Unrecognised,
        true if package.begun.is_empty() => Reading::Whole(tests),
        true => Reading::Broken,
    }
}

/// `--- PASS: TestSub/x_y (0.00s)`, indented for a test within another. None for a test that did not run.
fn result(line: &str) -> Option<(&str, Option<bool>)> {
    let (word, rest) = line.trim_start().strip_prefix("--- ")?.split_once(": ")?;
    let (name, _time) = rest.rsplit_once(" (")?;
    match word {
        "PASS" => Some((name, Some(true))),
        "FAIL" => Some((name, Some(false))),
        "SKIP" => Some((name, None)),
        _ => None,
    }
}

/// `ok  <tab>path<tab>0.005s` or `FAIL<tab>path<tab>0.011s`.
fn end_of_package(line: &str) -> Option<&str> {
    let mut fields = line.split('\t');
    let ended = matches!(fields.next()?.trim_end(), "ok" | "FAIL");
    fields.next().filter(|_| ended)
}

#[cfg(test)]
mod tests {
    use crate::checks::parse;

    /// What go 1.27 printed for three packages, one without tests.
    const WHOLE: &str = include_str!("../../tests/data/gotest.txt");

    #[test]
    fn a_real_report_is_counted_by_package_and_name() {
        let tests = parse(WHOLE.as_bytes()).unwrap();
        let tests: Vec<_> = tests.iter().map(|(name, passed)| (name.as_str(), *passed)).collect();
        let expected = [
            ("example.test/demo/a TestBreaks", false),
            ("example.test/demo/a TestOk", true),
            ("example.test/demo/a TestPar", true),
            ("example.test/demo/a TestSub", true),
            ("example.test/demo/a TestSub/x_y", true),
            ("example.test/demo/a TestSub/z", true),
            ("example.test/demo/b TestOk", true),
        ];
        assert_eq!(tests, expected);
    }

    #[test]
    fn a110_a_package_that_is_cut_short_is_not_counted() {
        assert_eq!(parse(WHOLE.split_at(WHOLE.find("FAIL\t").unwrap()).0.as_bytes()), None, "no end");
        assert_eq!(parse(WHOLE.replace("--- PASS: TestPar (0.00s)\n", "").as_bytes()), None, "begun and not ended");
        assert_eq!(parse(WHOLE.replace("=== RUN   TestPar\n", "").as_bytes()), None, "ended and not begun");
    }
}
