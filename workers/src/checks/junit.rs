//! JUnit XML, the format most test runners can write, printed by a check (`cat report.xml`).
//!
//! There is no one schema. What every writer shares is read: suites, which may say how many tests they hold, and test
//! cases, which hold a failure, an error or a skip. XML is read as far as that needs, by hand: no entities but the five
//! of XML itself and character numbers, no document types, no namespaces.

use selvedge_domain::TestName;

use super::Reading;

/// Deeper than anyone nests suites.
const DEPTH_MAX: usize = 64;

/// A tag; what is between tags is never needed.
struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
    kind: TagKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TagKind {
    Open,
    Close,
    Empty,
}

/// A suite that is being read: what it says it holds, and what it was seen to hold.
#[derive(Default)]
struct Suite {
    told: Counts<Option<usize>>,
    seen: Counts<usize>,
}

#[derive(Default, Clone, Copy)]
struct Counts<T> {
    tests: T,
    failures: T,
    errors: T,
}

/// A test case that is being read.
struct Case {
    name: TestName,
    failed: bool,
    errored: bool,
    skipped: bool,
}

/// One document under way.
#[derive(Default)]
struct Document {
    /// The elements that are open, by name.
    open: Vec<String>,
    suites: Vec<Suite>,
    case: Option<Case>,
    tests: Vec<(TestName, bool)>,
}

/// Reads the documents in `text` and gives the text without them: what they quote is no report of another runner.
pub(super) fn read(text: &str) -> (Reading, String) {
    let mut rest = String::with_capacity(text.len());
    let mut tests = Vec::new();
    let mut recognised = false;
    let mut from = text;
    while let Some(at) = beginning(from) {
        let (before, document) = from.split_at(at);
        rest.push_str(before);
        recognised = true;
        let Some((more, after)) = Document::default().read(document) else { return (Reading::Broken, String::new()) };
        tests.extend(more);
        from = after;
    }
    rest.push_str(from);
    (if recognised { Reading::Whole(tests) } else { Reading::Unrecognised }, rest)
}

/// Where a line begins with the root of a document.
fn beginning(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        // The XML declaration may stand on the same line.
        let root = match trimmed.starts_with("<?xml") {
            true => trimmed.split_once("?>").map_or("", |(_, root)| root),
            false => trimmed,
        };
        let name = root.strip_prefix("<testsuite").map(|rest| rest.strip_prefix('s').unwrap_or(rest));
        if name.is_some_and(|rest| rest.starts_with([' ', '>', '\t', '\r', '\n', '/'])) {
            return Some(at + line.len() - root.len());
        }
        at += line.len();
    }
    None
}

impl Document {
    /// Reads until the root is closed; gives the tests and what follows. None when the document is not whole.
    fn read(mut self, mut text: &str) -> Option<(Vec<(TestName, bool)>, &str)> {
        loop {
            let (tag, after) = next_tag(text)?;
            text = after;
            if tag.kind != TagKind::Close {
                self.begin(&tag)?;
            }
            if tag.kind != TagKind::Open {
                self.end(tag.name)?;
            }
            if self.open.is_empty() {
                return Some((self.tests, text));
            }
        }
    }

    fn begin(&mut self, tag: &Tag<'_>) -> Option<()> {
        if self.open.len() >= DEPTH_MAX {
            return None;
        }
        self.open.push(tag.name.to_owned());
        match (tag.name, self.case.as_mut()) {
            ("testsuite" | "testsuites", None) => self.suites.push(Suite::new(tag)),
            ("testcase", None) => self.case = Some(Case::new(tag)?),
            ("testsuite" | "testsuites" | "testcase", Some(_)) => return None,
            ("failure", Some(case)) => case.failed = true,
            ("error", Some(case)) => case.errored = true,
            ("skipped", Some(case)) => case.skipped = true,
            _ => {}
        }
        Some(())
    }

    fn end(&mut self, name: &str) -> Option<()> {
        if self.open.pop()? != name {
            return None;
        }
        match name {
            "testcase" => {
                let case = self.case.take()?;
                self.suites.last_mut()?.seen.add(Counts {
                    tests: 1,
                    failures: usize::from(case.failed),
                    errors: usize::from(case.errored),
                });
                if !case.skipped {
                    self.tests.push((case.name, !case.failed && !case.errored));
                }
            }
            "testsuite" | "testsuites" => {
                let suite = self.suites.pop()?;
                suite.adds_up().then_some(())?;
                if let Some(parent) = self.suites.last_mut() {
                    parent.seen.add(suite.seen);
                }
            }
            _ => {}
        }
        Some(())
    }
}

impl Suite {
    fn new(tag: &Tag<'_>) -> Self {
        let number = |name| attribute(tag.attributes, name).and_then(|text| text.parse().ok());
        let told = Counts { tests: number("tests"), failures: number("failures"), errors: number("errors") };
        Self { told, seen: Counts::default() }
    }

    /// Whether what the suite says it holds is what it holds.
    fn adds_up(&self) -> bool {
        let is = |told: Option<usize>, seen: usize| told.is_none_or(|told| told == seen);
        is(self.told.tests, self.seen.tests)
            && is(self.told.failures, self.seen.failures)
            && is(self.told.errors, self.seen.errors)
    }
}

impl Counts<usize> {
    fn add(&mut self, more: Self) {
        self.tests += more.tests;
        self.failures += more.failures;
        self.errors += more.errors;
    }
}

impl Case {
    fn new(tag: &Tag<'_>) -> Option<Self> {
        let name = attribute(tag.attributes, "name")?;
        let name = match attribute(tag.attributes, "classname").filter(|class| !class.is_empty()) {
            Some(class) => format!("{class} {name}"),
            None => name,
        };
        Some(Self { name: TestName::from_output(&name), failed: false, errored: false, skipped: false })
    }
}

/// The next tag and what follows it, past text, comments, character data and instructions.
fn next_tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let mut rest = text;
    loop {
        rest = rest.split_once('<')?.1;
        let skipped = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")]
            .iter()
            .find_map(|(begin, end)| Some((rest.strip_prefix(begin)?, *end)));
        match skipped {
            Some((within, end)) => rest = within.split_once(end)?.1,
            // A document type could define entities.
            None if rest.starts_with('!') => return None,
            None => break,
        }
    }
    let end = end_of_tag(rest)?;
    let (inside, after) = rest.split_at(end);
    let after = after.strip_prefix('>')?;
    let (inside, kind) = match (inside.strip_prefix('/'), inside.strip_suffix('/')) {
        (Some(inside), _) => (inside, TagKind::Close),
        (None, Some(inside)) => (inside, TagKind::Empty),
        (None, None) => (inside, TagKind::Open),
    };
    let (name, attributes) = inside.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((inside, ""));
    Some((Tag { name, attributes, kind }, after))
}

/// Where the `>` is that is not within quotes.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// The value of an attribute.
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after.strip_prefix(quote)?.split_once(quote)?;
        if key.trim() == name {
            return Some(unescape(value));
        }
        rest = next.trim_start();
    }
    None
}

/// Puts characters for the references XML defines; any other stays as it is.
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        match after.split_once(';').and_then(|(reference, next)| Some((character(reference)?, next))) {
            Some((character, next)) => {
                plain.push(character);
                rest = next;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(reference: &str) -> Option<char> {
    match reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = reference.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checks::parse;

    const PYTEST: &str = include_str!("../../tests/data/junit-pytest.xml");
    const NEXTEST: &str = include_str!("../../tests/data/junit-nextest.xml");
    const NODE: &str = include_str!("../../tests/data/junit-node.xml");

    fn counted(output: &str) -> Option<Vec<(String, bool)>> {
        parse(output.as_bytes())
            .map(|tests| tests.into_iter().map(|(name, passed)| (name.as_str().to_owned(), passed)).collect())
    }

    fn expected(tests: &[(&str, bool)]) -> Option<Vec<(String, bool)>> {
        Some(tests.iter().map(|(name, passed)| ((*name).to_owned(), *passed)).collect())
    }

    #[test]
    fn what_three_runners_wrote_is_counted() {
        let pytest = [
            ("test_a test_ok", true),
            ("test_a test_param[a b]", false),
            ("test_a test_param[c]", true),
            ("test_a test_teardown", false),
            ("test_a.TestGroup test_in", true),
        ];
        assert_eq!(counted(PYTEST), expected(&pytest));
        assert_eq!(counted(NEXTEST), expected(&[("nx breaks", false), ("nx ok", true)]), "and not what it quotes");
        let node = [
            ("test adds", true),
            ("test breaks", false),
            ("test child", true),
            ("test inner", true),
            ("test inner two", true),
        ];
        let read = counted(NODE).unwrap();
        assert!(node.iter().all(|(name, passed)| read.contains(&((*name).to_owned(), *passed))), "{read:?}");
    }

    #[test]
    fn a_document_stands_among_other_output() {
        let output = format!(
            "building\n{NEXTEST}\n<p>done</p>\nrunning 1 test\ntest x ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n"
        );
        assert_eq!(counted(&output), expected(&[("nx breaks", false), ("nx ok", true), ("x", true)]));
        assert_eq!(
            counted(&format!("{PYTEST}{NEXTEST}")).unwrap().len(),
            7,
            "a declaration may follow on the same line"
        );
    }

    #[test]
    fn names_are_unescaped() {
        let output =
            r#"<testsuite tests="1"><testcase name='a &lt;&#98;&#x63;&gt; &amp;&bogus; "q"' time="0"/></testsuite>"#;
        assert_eq!(counted(output), expected(&[("a <bc> &&bogus; \"q\"", true)]));
    }

    #[test]
    fn a110_a_document_that_is_cut_short_or_does_not_add_up_is_not_counted() {
        assert_eq!(counted(NEXTEST.split_at(NEXTEST.find("</testsuite>").unwrap()).0), None);
        assert_eq!(counted(&NEXTEST.replace("tests=\"2\"", "tests=\"3\"")), None);
        assert_eq!(counted(&NEXTEST.replace("failures=\"1\"", "failures=\"0\"")), None);
        assert_eq!(counted("<!DOCTYPE x [<!ENTITY a \"b\">]>\n<testsuite><testcase name=\"a\"/></testcase>"), None);
        assert_eq!(counted("<testsuite><!DOCTYPE x><testcase name=\"a\"/></testsuite>"), None);
        assert_eq!(counted(&"<testsuite>".repeat(100_000)), None);
    }
}
