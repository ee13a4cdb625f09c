//! pytest with `-v`, alone or under xdist. Without it pytest prints dots, and nothing can be counted by name.

use std::collections::BTreeMap;

use selvedge_domain::TestName;

use super::{Reading, leading_number};

/// What pytest calls a result on its line and in its sum, and whether it counts as passed; none where nothing ran.
/// An error in a fixture is one more line about a test, and spoils it.
const WORDS: &[(&str, &[&str], Option<bool>)] = &[
    ("PASSED", &["passed"], Some(true)),
    ("FAILED", &["failed"], Some(false)),
    ("ERROR", &["error", "errors"], Some(false)),
    ("XFAIL", &["xfailed"], Some(true)),
    ("XPASS", &["xpassed"], Some(true)),
    ("SKIPPED", &["skipped"], None),
];

/// One session: results by name, and how many lines there were of each word.
#[derive(Default)]
struct Session {
    results: BTreeMap<TestName, bool>,
    lines: BTreeMap<&'static str, usize>,
}

/// Reads every session from its banner to its sum.
pub(super) fn read(lines: &[&str]) -> Reading {
    let mut tests = Vec::new();
    let mut recognised = false;
    let mut open: Option<Session> = None;
    for line in lines {
        if banner(line) == Some("test session starts") {
            if open.replace(Session::default()).is_some() {
                return Reading::Broken;
            }
        } else if let Some(session) = open.as_mut() {
            if let Some((word, name)) = result(line) {
                session.add(word, name);
            } else if let Some((counts, _time)) = banner(line).and_then(|text| text.rsplit_once(" in "))
                && leading_number(counts).is_some()
            {
                if !session.lines.is_empty() {
                    if !session.adds_up(counts) {
                        return Reading::Broken;
                    }
                    recognised = true;
                    tests.extend(std::mem::take(&mut session.results));
                }
                open = None;
            }
        }
    }
    match open {
        Some(_) => Reading::Broken,
        None if recognised => Reading::Whole(tests),
        None => Reading::Unrecognised,
    }
}

/// The text of a line that is filled up with `=` on both sides.
fn banner(line: &str) -> Option<&str> {
    let text = line.trim_end().strip_prefix('=')?.strip_suffix('=')?;
    Some(text.trim_matches('=').trim())
}

/// `tests/test_a.py::test_x[a b] PASSED   [ 50%]`, or under xdist `[gw0] [ 50%] PASSED tests/test_a.py::test_x`.
fn result(line: &str) -> Option<(&'static str, TestName)> {
    for (word, _, _) in WORDS {
        if let Some(rest) = line.strip_prefix("[gw").and_then(|rest| rest.split_once("%] ")).map(|(_, rest)| rest) {
            if let Some(name) = rest.strip_prefix(word).and_then(|name| name.strip_prefix(' ')) {
                return Some((word, TestName::from_output(name.trim_end())));
            }
        } else if let Some((name, rest)) = line.rsplit_once(&format!(" {word}")) {
            // After the word: nothing, how far it is, or in parentheses why.
            let rest = rest.trim_start();
            if name.contains("::") && (rest.is_empty() || rest.starts_with(['[', '('])) {
                return Some((word, TestName::from_output(name)));
            }
        }
    }
    None
}

impl Session {
    fn add(&mut self, word: &'static str, name: TestName) {
        *self.lines.entry(word).or_default() += 1;
        if let Some(passed) = WORDS.iter().find(|(one, _, _)| *one == word).and_then(|(_, _, passed)| *passed) {
            *self.results.entry(name).or_insert(true) &= passed;
        }
    }

    /// Whether `1 failed, 4 passed, 1 skipped` tells of these lines, word for word.
    fn adds_up(&self, counts: &str) -> bool {
        let told = |names: &[&str]| {
            let parts = counts.split(", ").filter_map(leading_number);
            parts.filter(|(_, rest)| names.contains(&rest.trim())).map(|(count, _)| count).sum::<usize>()
        };
        WORDS.iter().all(|(word, names, _)| self.lines.get(word).copied().unwrap_or(0) == told(names))
    }
}

#[cfg(test)]
mod tests {
    use crate::checks::parse;

    /// What pytest 9.2 printed for a file with one test of each kind.
    const WHOLE: &str = include_str!("../../tests/data/pytest.txt");

    #[test]
    fn a_real_report_is_counted_by_name() {
        let tests = parse(WHOLE.as_bytes()).unwrap();
        let tests: Vec<_> = tests.iter().map(|(name, passed)| (name.as_str(), *passed)).collect();
        let expected = [
            ("test_a.py::TestGroup::test_in", true),
            ("test_a.py::test_ok", true),
            ("test_a.py::test_param[a b]", false),
            ("test_a.py::test_param[c]", true),
            ("test_a.py::test_teardown", false),
            ("test_a.py::test_xfail", true),
        ];
        assert_eq!(tests, expected);
    }

    #[test]
    fn a_session_with_workers_is_counted() {
        let output = "=== test session starts ===\n[gw0] [ 50%] PASSED a.py::x[1 2] \n[gw1] [100%] FAILED a.py::y \n\
            === short test summary info ===\nFAILED a.py::y - assert False\n=== 1 failed, 1 passed in 0.1s ===\n";
        let tests = parse(output.as_bytes()).unwrap();
        let tests: Vec<_> = tests.iter().map(|(name, passed)| (name.as_str(), *passed)).collect();
        assert_eq!(tests, [("a.py::x[1 2]", true), ("a.py::y", false)]);
    }

    #[test]
    fn dots_cannot_be_counted() {
        let dots = "=== test session starts ===\ncollected 2 items\n\na.py ..   [100%]\n\n=== 2 passed in 0.01s ===\n";
        assert_eq!(parse(dots.as_bytes()), None);
    }

    #[test]
    fn a110_a_session_that_is_cut_short_or_does_not_add_up_is_not_counted() {
        assert_eq!(parse(WHOLE.split_at(WHOLE.find("===== 1 failed").unwrap()).0.as_bytes()), None);
        assert_eq!(parse(WHOLE.replace("4 passed", "5 passed").as_bytes()), None);
        assert_eq!(parse(WHOLE.replace("test_a.py::test_ok PASSED", "test_a.py::test_ok").as_bytes()), None);
    }
}
