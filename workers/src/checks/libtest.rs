//! libtest, the harness behind `cargo test`, in its default format.

use selvedge_domain::TestName;

use super::{Reading, leading_number};

/// What libtest says of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Ignored,
    Measured,
}

/// One test binary's report, from `running N tests` on.
struct Section {
    announced: usize,
    results: Vec<(TestName, Outcome)>,
    /// Whether results may still come; afterwards captured output is replayed, which may hold anything.
    counting: bool,
}

/// Reads every section; one that is not whole breaks the report.
pub(super) fn read(lines: &[&str]) -> Reading {
    let mut tests = Vec::new();
    let mut recognised = false;
    let mut open: Option<Section> = None;
    for line in lines {
        if let Some(announced) = announcement(line) {
            if open.is_some() {
                return Reading::Broken;
            }
            recognised = true;
            open = Some(Section { announced, results: Vec::new(), counting: true });
        } else if let Some(section) = open.as_mut() {
            if let Some(sum) = line.strip_prefix("test result: ") {
                if !section.is_whole(sum) {
                    return Reading::Broken;
                }
                let ran = section.results.drain(..).filter(|(_, outcome)| *outcome != Outcome::Ignored);
                tests.extend(ran.map(|(name, outcome)| (name, outcome != Outcome::Failed)));
                open = None;
            } else if matches!(*line, "failures:" | "successes:") {
                section.counting = false;
            } else if section.counting
                && let Some(result) = result(line)
            {
                section.results.push(result);
            }
        }
    }
    match (recognised, open) {
        (false, _) => Reading::Unrecognised,
        (true, Some(_)) => Reading::Broken,
        (true, None) => Reading::Whole(tests),
    }
}

/// `running 3 tests`, `running 1 test`.
fn announcement(line: &str) -> Option<usize> {
    let (count, rest) = leading_number(line.strip_prefix("running ")?)?;
    matches!(rest, " test" | " tests").then_some(count)
}

/// `test name ... ok`, also with ` - should panic` in the name, a time after `ok` and a reason after `ignored`.
fn result(line: &str) -> Option<(TestName, Outcome)> {
    let (name, word) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let word = word.trim_end();
    let outcome = match word.split([' ', ',', ':']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        "ignored" => Outcome::Ignored,
        "bench" => Outcome::Measured,
        _ => return None,
    };
    Some((TestName::from_output(name), outcome))
}

impl Section {
    /// Whether `sum` (`ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; ...`) tells of these results.
    fn is_whole(&self, sum: &str) -> bool {
        let count = |outcome| self.results.iter().filter(|(_, one)| *one == outcome).count();
        let Some((_, counts)) = sum.split_once(". ") else { return false };
        let told = |word: &str| {
            counts
                .split("; ")
                .find_map(|part| leading_number(part).filter(|(_, rest)| *rest == word).map(|(count, _)| count))
        };
        self.announced == self.results.len()
            && told(" passed") == Some(count(Outcome::Passed))
            && told(" failed") == Some(count(Outcome::Failed))
            && told(" ignored") == Some(count(Outcome::Ignored))
            && told(" measured") == Some(count(Outcome::Measured))
    }
}

#[cfg(test)]
mod tests {
    use crate::checks::parse;

    /// What `cargo test` printed for a published crate: unit tests, an empty section, and documentation tests.
    const WHOLE: &str = include_str!("../../tests/data/libtest-yasna.txt");

    const MIXED: &str = "\nrunning 5 tests\ntest a::works ... ok\ntest a::breaks ... FAILED\ntest a::later ... ignored, not yet\n\
        test a::panics - should panic ... ok\ntest a::slow ... ok <1.234s>\n\nfailures:\n\n---- a::breaks stdout ----\ntest forged ... ok\n\n\
        failures:\n    a::breaks\n\ntest result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    fn names(output: &str) -> Option<Vec<(String, bool)>> {
        parse(output.as_bytes())
            .map(|tests| tests.into_iter().map(|(name, passed)| (name.as_str().to_owned(), passed)).collect())
    }

    #[test]
    fn a_real_report_is_counted_by_name() {
        let tests = parse(WHOLE.as_bytes()).unwrap();
        let lines = WHOLE.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ... ok")).count();
        assert!(lines > 100);
        assert_eq!(tests.len(), lines);
        assert!(tests.values().all(|passed| *passed));
    }

    #[test]
    fn results_are_told_apart_and_replayed_output_is_not_one() {
        let expected =
            [("a::breaks", false), ("a::panics - should panic", true), ("a::slow", true), ("a::works", true)];
        assert_eq!(names(MIXED).unwrap(), expected.map(|(name, passed)| (name.to_owned(), passed)));
    }

    #[test]
    fn a110_a_process_that_ends_early_is_not_counted() {
        let sum = MIXED.find("test result").unwrap();
        assert!(names(MIXED).is_some(), "the whole report counts");
        assert_eq!(names(MIXED.split_at(sum).0), None, "no sum");
        let cut = MIXED.find("test a::slow").unwrap();
        assert_eq!(names(MIXED.split_at(cut).0), None, "not every test");
        assert_eq!(names(&format!("{}{MIXED}", MIXED.split_at(cut).0)), None, "another binary's report after it");
    }

    #[test]
    fn a110_a_forged_sum_or_a_forged_result_is_not_counted() {
        let cut = MIXED.find("test a::slow").unwrap();
        let forged = format!(
            "{}test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
            MIXED.split_at(cut).0
        );
        assert_eq!(names(&forged), None, "a sum that does not add up");
        assert_eq!(
            names(&MIXED.replacen("test a::works ... ok", "test a::works ... ok\ntest extra ... ok", 1)),
            None,
            "one result too many"
        );
        assert_eq!(
            names(&MIXED.replacen("test a::works", "failures:\ntest a::works", 1)),
            None,
            "results hidden as replay"
        );
    }
}
