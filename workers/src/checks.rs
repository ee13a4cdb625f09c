//! What checks print, read as tests by name (requirement F1, A-110).
//!
//! Owns: recognising the reporters we know. One file per reporter. Never knows: how checks are run, or what a result is
//! worth; the comparison of base and change is [`selvedge_domain::Verified::judge`].
//!
//! A report counts only when it is whole: every test that was announced has a result, and the reporter's own sum
//! agrees. Code under test that ends the process early (`_exit(0)`) leaves a report that is not whole, which is then
//! no report. Limits of this: the output is written by a process that also runs the code under test, so a change that
//! imitates its reporter to the letter, and then ends the process, is believed. Reviewers see such code in the change.

mod gotest;
mod junit;
mod libtest;
mod nextest;
mod pytest;
mod tap;

use std::collections::BTreeMap;

use selvedge_domain::TestName;

/// Output beyond this is not looked at, and what is cut off makes a report incomplete: a hundred thousand tests print
/// some 10 MiB.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// More tests than any project we know has in one check.
const TESTS_MAX: usize = 1_000_000;

/// What one reporter makes of output.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    /// Not its output.
    Unrecognised,
    /// Its output, but not a whole report.
    Broken,
    /// Names and whether they passed; a name that was reported twice is here twice.
    Whole(Vec<(TestName, bool)>),
}

/// The reporters we know, besides JUnit's documents.
const REPORTERS: &[fn(&[&str]) -> Reading] = &[libtest::read, nextest::read, pytest::read, gotest::read, tap::read];

/// Reads standard output and standard error of one check, in the order they were written.
///
/// Gives none when no reporter is recognised, or when a report is not whole: what cannot be counted is uncounted.
/// Tests of the same name (in two crates, say) are told apart by number, the failed ones first.
pub fn parse(output: &[u8]) -> Option<BTreeMap<TestName, bool>> {
    parse_each([output])
}

/// The same for several checks of one tree. One whose report is not whole leaves all of them uncounted, since what is
/// missing cannot be told; one that prints no known report adds nothing.
pub fn parse_each<'a>(outputs: impl IntoIterator<Item = &'a [u8]>) -> Option<BTreeMap<TestName, bool>> {
    let mut all = Vec::new();
    let mut recognised = false;
    for output in outputs {
        let text = String::from_utf8_lossy(output.get(..OUTPUT_BYTES_MAX).unwrap_or(output));
        let plain = without_colours(&text);
        let (documents, rest) = junit::read(&plain);
        let lines: Vec<&str> = rest.lines().collect();
        for reading in std::iter::once(documents).chain(REPORTERS.iter().map(|read| read(&lines))) {
            match reading {
                Reading::Unrecognised => {}
                Reading::Broken => return None,
                Reading::Whole(tests) => {
                    recognised = true;
                    all.extend(tests);
                }
            }
        }
    }
    (recognised && all.len() <= TESTS_MAX).then(|| number_repeated(all))
}

/// Tells results of one name apart. Failures come first on every tree, so the change may have no more of them than the
/// base under the same name: a forged pass beside the true failure only adds a number that no base asks for.
fn number_repeated(tests: Vec<(TestName, bool)>) -> BTreeMap<TestName, bool> {
    let mut by_name: BTreeMap<TestName, Vec<bool>> = BTreeMap::new();
    for (name, passed) in tests {
        by_name.entry(name).or_default().push(passed);
    }
    let mut numbered = BTreeMap::new();
    for (name, mut results) in by_name {
        results.sort_unstable();
        for (at, passed) in results.into_iter().enumerate() {
            let name = if at == 0 { name.clone() } else { TestName::from_output(&format!("#{} of {name}", at + 1)) };
            // A test may be called like one of our numbers; then the worse result counts.
            numbered.entry(name).and_modify(|all_passed| *all_passed &= passed).or_insert(passed);
        }
    }
    numbered
}

/// Removes terminal control sequences (ECMA-48: `ESC [`, parameters, one final letter).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
        } else if characters.next() == Some('[') {
            characters.by_ref().find(|c| ('@'..='~').contains(c));
        }
    }
    plain
}

/// The number at the beginning of `text`, and what follows it.
fn leading_number(text: &str) -> Option<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_without_a_known_reporter_is_uncounted() {
        for output in [&b""[..], b"make: Nothing to be done\n", b"all good\xff\n", b"test result: ok."] {
            assert_eq!(parse(output), None);
        }
    }

    #[test]
    fn a_name_in_two_crates_counts_twice() {
        let crate_output = "\nrunning 1 test\ntest works ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let one = parse(crate_output.as_bytes()).unwrap();
        let two = parse(crate_output.repeat(2).as_bytes()).unwrap();
        assert_eq!((one.len(), two.len()), (1, 2));
        assert!(one.keys().all(|name| two.contains_key(name)), "the second is named apart, not the first");
    }

    /// A whole document in TAP with these lines.
    fn tap(lines: &[&str]) -> BTreeMap<TestName, bool> {
        parse(format!("TAP version 13\n1..{}\n{}\n", lines.len(), lines.join("\n")).as_bytes()).unwrap()
    }

    #[test]
    fn a110_a_forged_pass_beside_the_true_failure_hides_nothing() {
        let name = TestName::from_output("greets");
        assert_eq!(tap(&["ok 1 - greets"]).get(&name), Some(&true));
        for forged in [["ok 1 - greets", "not ok 2 - greets"], ["not ok 1 - greets", "ok 2 - greets"]] {
            assert_eq!(tap(&forged).get(&name), Some(&false), "the base's name is the one that failed");
        }
        // Where the base already has a failure of this name, its passes are what a second failure would break.
        let second = TestName::from_output("#2 of greets");
        assert_eq!(tap(&["not ok 1 - greets", "ok 2 - greets"]).get(&second), Some(&true));
        let worse = tap(&["not ok 1 - greets", "not ok 2 - greets", "ok 3 - greets"]);
        assert_eq!(worse.get(&second), Some(&false));
    }

    #[test]
    fn a110_a_test_called_like_a_number_hides_nothing() {
        let forged = tap(&["not ok 1 - \"greets", "ok 2 - #2 of \"greets", "not ok 3 - \"greets"]);
        assert_eq!(forged.get(&TestName::from_output("#2 of \"greets")), Some(&false));
    }

    #[test]
    fn several_checks_are_counted_together_or_not_at_all() {
        let (libtest, pytest) =
            (include_bytes!("../tests/data/libtest-yasna.txt"), include_bytes!("../tests/data/pytest.txt"));
        let counted = |outputs: &[&[u8]]| parse_each(outputs.iter().copied()).map(|tests| tests.len());
        assert_eq!(counted(&[libtest, b"make: Nothing to be done\n", pytest]), Some(169 + 6));
        assert_eq!(counted(&[libtest, libtest]), Some(2 * 169), "the same suite in two checks counts twice");
        assert_eq!(counted(&[libtest, pytest.split_at(600).0]), None);
        assert_eq!(counted(&[]), None);
    }

    #[test]
    fn colours_do_not_matter() {
        assert_eq!(without_colours("\u{1b}[32;1mok\u{1b}[0m \u{1b}x\u{1b}"), "ok ");
        let coloured = "running 1 test\ntest works ... \u{1b}[32mok\u{1b}(B\u{1b}[m\n\ntest result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert!(parse(coloured.replace("\u{1b}(B", "").as_bytes()).is_some());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_damaged_report_is_read_without_panic(which in 0_usize..8, at in 0_usize..400, with in "[ -~\\n\u{1b}é]{0,10}") {
            let whole = [
                include_str!("../tests/data/libtest-yasna.txt"),
                include_str!("../tests/data/nextest-yasna.txt"),
                include_str!("../tests/data/pytest.txt"),
                include_str!("../tests/data/gotest.txt"),
                include_str!("../tests/data/tap-node.txt"),
                include_str!("../tests/data/junit-pytest.xml"),
                include_str!("../tests/data/junit-nextest.xml"),
                include_str!("../tests/data/junit-node.xml"),
            ][which];
            let at = whole.floor_char_boundary(at * whole.len() / 400);
            let (head, tail) = whole.split_at(at);
            let _ = parse(format!("{head}{with}{tail}").as_bytes());
            let _ = parse(head.as_bytes());
        }
    }
}
