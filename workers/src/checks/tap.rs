//! TAP 13 and 14 with nested subtests, as `node --test` prints it when its output is no terminal (before version 23;
//! later with `--test-reporter=tap`).

use selvedge_domain::TestName;

use super::{Reading, leading_number};

/// Deeper than anyone nests tests.
const DEPTH_MAX: usize = 32;

/// Spaces for each level of nesting.
const INDENT: usize = 4;

/// One level of a document: a list of results that its plan counts.
#[derive(Default)]
struct Level {
    /// The subtest that is being printed on this level, the parent of the levels below.
    subtest: Option<String>,
    results: usize,
    planned: Option<usize>,
}

/// One document, from its version line on.
#[derive(Default)]
struct Document {
    levels: Vec<Level>,
    tests: Vec<(TestName, bool)>,
    /// The indentation of the diagnostic block we are in; what it quotes is no result.
    diagnostic: Option<usize>,
}

/// Reads every document.
pub(super) fn read(lines: &[&str]) -> Reading {
    let mut tests = Vec::new();
    let mut open: Option<Document> = None;
    for line in lines.iter().chain(&["TAP version 14"]) {
        if line.starts_with("TAP version ") {
            match open.replace(Document::default()).map(Document::finish) {
                None => {}
                Some(Some(more)) => tests.extend(more),
                Some(None) => return Reading::Broken,
            }
        } else if let Some(document) = open.as_mut()
            && document.line(line).is_none()
        {
            return Reading::Broken;
        }
    }
    // The line we added began one more document; without any other, nothing was recognised.
    if lines.iter().any(|line| line.starts_with("TAP version ")) {
        Reading::Whole(tests)
    } else {
        Reading::Unrecognised
    }
}

impl Document {
    /// Takes a line; none when the document is not whole.
    fn line(&mut self, line: &str) -> Option<()> {
        let text = line.trim_start_matches(' ');
        let indent = line.len() - text.len();
        if let Some(opened) = self.diagnostic {
            if indent == opened && text.trim_end() == "..." {
                self.diagnostic = None;
            }
            return Some(());
        }
        if text.trim_end() == "---" {
            self.diagnostic = Some(indent);
        } else if indent.is_multiple_of(INDENT) {
            let depth = indent / INDENT;
            if let Some(name) = text.strip_prefix("# Subtest: ") {
                self.level(depth)?.subtest = Some(name.trim_end().to_owned());
            } else if let Some(plan) = text.strip_prefix("1..").and_then(leading_number) {
                self.level(depth)?.planned.replace(plan.0).is_none().then_some(())?;
            } else if let Some(result) = point(text) {
                self.add(depth, result)?;
            }
        }
        Some(())
    }

    fn level(&mut self, depth: usize) -> Option<&mut Level> {
        if depth > DEPTH_MAX {
            return None;
        }
        while self.levels.len() <= depth {
            self.levels.push(Level::default());
        }
        self.levels.get_mut(depth)
    }

    /// Adds a result, which ends the levels below it.
    fn add(&mut self, depth: usize, point: Point<'_>) -> Option<()> {
        self.level(depth)?.results += 1;
        while self.levels.len() > depth + 1 {
            self.levels.pop()?.is_whole().then_some(())?;
        }
        let parents = self.levels.iter().take(depth).filter_map(|level| level.subtest.as_deref());
        let path: Vec<&str> = parents.chain([point.name]).collect();
        if let Some(passed) = point.passed {
            self.tests.push((TestName::from_output(&path.join(" > ")), passed));
        }
        Some(())
    }

    /// The tests, when every level is whole.
    fn finish(self) -> Option<Vec<(TestName, bool)>> {
        let whole = !self.levels.is_empty() && self.diagnostic.is_none() && self.levels.iter().all(Level::is_whole);
        whole.then_some(self.tests)
    }
}

impl Level {
    fn is_whole(&self) -> bool {
        self.planned == Some(self.results)
    }
}

/// A test point; `passed` is none where it was skipped or is still to do.
struct Point<'a> {
    name: &'a str,
    passed: Option<bool>,
}

/// `ok 1 - name`, `not ok 2 - name # TODO`, `ok 3 - name # SKIP why`.
fn point(text: &str) -> Option<Point<'_>> {
    let (passed, rest) = match text.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("ok ")?),
    };
    let (_number, rest) = leading_number(rest)?;
    let rest = rest.trim();
    let (name, directive) = rest.rsplit_once(" # ").unwrap_or((rest, ""));
    let directive = directive.to_ascii_uppercase();
    let passed = (!directive.starts_with("SKIP") && !directive.starts_with("TODO")).then_some(passed);
    Some(Point { name: name.trim_start_matches("- "), passed })
}

#[cfg(test)]
mod tests {
    use crate::checks::parse;

    /// What `node --test` of version 20 printed for a file with one test of each kind.
    const WHOLE: &str = include_str!("../../tests/data/tap-node.txt");

    #[test]
    fn a_real_report_is_counted_by_path() {
        let tests = parse(WHOLE.as_bytes()).unwrap();
        let tests: Vec<_> = tests.iter().map(|(name, passed)| (name.as_str(), *passed)).collect();
        let expected = [
            ("adds", true),
            ("breaks", false),
            ("group", true),
            ("group > inner", true),
            ("group > inner two", true),
            ("parent", true),
            ("parent > child", true),
        ];
        assert_eq!(tests, expected);
    }

    #[test]
    fn what_a_diagnostic_quotes_is_no_result() {
        let output = "TAP version 13\nnot ok 1 - a\n  ---\n  error: |-\n    ok 2 - forged\n  ...\n1..1\n";
        assert_eq!(parse(output.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a110_a_document_that_is_cut_short_or_does_not_add_up_is_not_counted() {
        let end = WHOLE.find("\n1..6").unwrap();
        assert_eq!(parse(WHOLE.split_at(end).0.as_bytes()), None, "no plan");
        assert_eq!(parse(WHOLE.replace("\n1..6", "\n1..7").as_bytes()), None);
        assert_eq!(parse(WHOLE.replace("    1..2\n", "").as_bytes()), None, "a subtest without its plan");
        assert_eq!(parse(WHOLE.replace("    ok 2 - inner two\n", "").as_bytes()), None);
        assert_eq!(parse(b"TAP version 13\n"), None);
    }
}
