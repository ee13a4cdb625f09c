//! What an attempt was seen to do inside its sandbox, without its help, and what it was declared to do (requirements E2, D10).
//!
//! Owns the nouns and the comparison. Never how anything is seen, and never what follows: policy decides that.

use std::collections::BTreeSet;
use std::fmt;

use crate::Digest;

/// What an attempt did on the way to its effect, as the factory saw it. Bounded by whoever observes; what is left out is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SideEffects {
    /// Programs it asked for.
    pub programs: Vec<ProgramRun>,
    /// Programs asked for that are not among them.
    pub programs_more: u64,
    /// Programs asked for of which nothing is known but that they were asked for.
    pub programs_unkept: u64,
    /// Files of the workspace that it made, changed or removed.
    pub written: Vec<Written>,
    /// Such files that are not among them.
    pub written_more: u64,
    /// Why what it wrote is not known, when it is not.
    pub unread: Option<String>,
}

/// A program that was asked for, once or often, with the same arguments and for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramRun {
    /// The path that was asked for, as its caller had it; empty if it could not be read. The caller may have changed it since.
    pub asked: String,
    /// The program that ran, as the kernel knows it; none if it was over before anyone looked.
    pub ran: Option<String>,
    /// The beginning of its arguments, without secrets; none if they hold what looks like one.
    pub arguments: Option<String>,
    /// Fingerprint of its arguments, as far as they were read.
    pub arguments_digest: Digest,
    /// How often.
    pub count: u64,
    /// The tool call it came from, where that is known.
    pub cause: Option<Cause>,
}

/// What an agent says of a tool call of its own, through its hooks. Its word, and no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldCall {
    /// The tool, as it calls it.
    pub tool: String,
    /// The call that it was given, where it names one.
    pub cause: Option<Cause>,
    /// Whether it never said that it is over.
    pub is_open: bool,
    /// From one word of it to the next, by the factory's clock.
    pub millis: Option<u64>,
    /// Whether it says that it failed.
    pub has_failed: bool,
    /// With which exit status, where it says so.
    pub exit: Option<i64>,
}

/// A tool call that an agent was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The call of the model that it was an answer to.
    pub serial: u64,
    /// Which of the answer's tool calls.
    pub index: u64,
}

/// A file of the workspace that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub path: String,
    /// What was done to it.
    pub how: Writing,
    /// The tool call that named it, where one did.
    pub cause: Option<Cause>,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writing {
    /// It was not there before.
    Created,
    /// It was there, and holds something else.
    Changed,
    /// It is not there any more.
    Removed,
}

impl Writing {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }

    /// Reads the word in records.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Created, Self::Changed, Self::Removed].into_iter().find(|writing| writing.as_str() == word)
    }
}

/// Facts for policy that come of what was seen of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Witnessed {
    /// What it did that was not declared, in words. Bounded; the last word counts what is left out.
    pub undeclared: Vec<String>,
    /// Sensitive files it read. Bounded by how many are observed.
    pub read: Vec<String>,
    /// What looks like a secret in what it says of its work: kind and place, never the secret.
    pub secrets: Vec<String>,
}

impl Witnessed {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.undeclared.is_empty() && self.read.is_empty() && self.secrets.is_empty()
    }
}

/// What an agent is declared to do. What is not declared is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declared {
    /// The programs it runs, besides its own.
    pub runs: Option<BTreeSet<ProgramPattern>>,
    /// The files of the workspace it writes.
    pub writes: Option<BTreeSet<PathPattern>>,
}

/// The programs that are the agent's own, and so are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnPrograms {
    /// As they are started.
    pub asked: BTreeSet<String>,
    /// What they turned out to be where nobody inside could have changed what was asked for.
    pub ran: BTreeSet<String>,
}

impl OwnPrograms {
    fn are_run(&self, program: &ProgramRun) -> bool {
        self.asked.contains(&program.asked)
            && program.ran.as_ref().is_none_or(|ran| self.asked.contains(ran) || self.ran.contains(ran))
    }
}

/// Words of a comparison that are kept; a person who is asked reads every one.
const UNDECLARED_MAX: usize = 20;

impl Declared {
    /// It in words, for policy and people.
    pub fn words(&self) -> Vec<String> {
        let runs = self.runs.iter().flatten().map(|name| format!("runs {name}"));
        let writes = self.writes.iter().flatten().map(|pattern| format!("writes {pattern}"));
        let no = |list: bool, word: &str| list.then(|| word.to_owned());
        let nothing = [
            no(self.runs.as_ref().is_some_and(BTreeSet::is_empty), "runs nothing"),
            no(self.writes.as_ref().is_some_and(BTreeSet::is_empty), "writes nothing"),
        ];
        runs.chain(writes).chain(nothing.into_iter().flatten()).collect()
    }

    /// What was seen and is not declared, in words. What is not known counts as not declared.
    pub fn beyond(&self, seen: &SideEffects, own: &OwnPrograms) -> Vec<String> {
        let mut words = BTreeSet::new();
        if let Some(runs) = &self.runs {
            let is_declared = |path: &str| runs.iter().any(|pattern| pattern.covers(path));
            for program in seen.programs.iter().filter(|program| !own.are_run(program)) {
                match (&program.asked, &program.ran) {
                    (asked, _) if asked.is_empty() => {
                        words.insert("ran a program whose name could not be read".to_owned());
                    }
                    // Asked for under the agent's own name: no link of ours, so any other file is another program.
                    (asked, Some(ran)) if own.asked.contains(asked) && !is_declared(ran) => {
                        words.insert(format!("ran {} where {} was asked for", shown(ran), shown(asked)));
                    }
                    (asked, _) if !own.asked.contains(asked) && !is_declared(asked) => {
                        words.insert(format!("ran {}", shown(asked)));
                    }
                    // Asked for under a declared name, and another file when the kernel looked.
                    (asked, Some(ran)) if !is_fixed(ran) && !is_declared(ran) => {
                        words.insert(format!("ran {} where {} was asked for", shown(ran), shown(asked)));
                    }
                    _ => {}
                }
            }
            if seen.programs_more > 0 {
                words.insert(format!("ran {} programs more than are listed", seen.programs_more));
            }
            if seen.programs_unkept > 0 {
                words.insert(format!("ran {} programs that nobody could keep up with", seen.programs_unkept));
            }
        }
        if let Some(writes) = &self.writes {
            let is_declared = |path: &str| writes.iter().any(|pattern| pattern.covers(path));
            let undeclared = seen.written.iter().filter(|written| !is_declared(&written.path));
            words.extend(undeclared.map(|written| format!("{} {}", written.how.as_str(), shown(&written.path))));
            if seen.written_more > 0 {
                words.insert(format!("wrote {} files more than are listed", seen.written_more));
            }
            words.extend(seen.unread.iter().map(|because| format!("wrote what cannot be told: {}", shown(because))));
        }
        bounded(words)
    }
}

fn bounded(words: BTreeSet<String>) -> Vec<String> {
    let more = words.len().saturating_sub(UNDECLARED_MAX);
    let mut kept: Vec<String> = words.into_iter().take(UNDECLARED_MAX).collect();
    if more > 0 {
        kept.push(format!("and {more} more"));
    }
    kept
}

/// Agents choose these names: what could deceive a reader is escaped, and the rest is cut.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 120;
    let safe = |c: char| if crate::is_deceptive(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().take(SHOWN_MAX).map(safe).collect()
}

/// Programs, as a rule writes them: `cargo` is one of that name among those that no run can write, `scripts/*.sh` lies in the
/// workspace. A copy of something under a declared name is therefore none of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProgramPattern {
    /// By its name.
    Named(String),
    /// By its place in the workspace.
    InWorkspace(PathPattern),
}

/// Where a run can put programs of its own; all else inside is read-only. Files without a place (`/memfd:`) are its own, too.
const WRITABLE: &[&str] = &["/workspace/", "/tmp/", "/var/tmp/", "/dev/", "/proc/", "/home/agent/", "/memfd:"];

/// Where the workspace lies inside.
const WORKSPACE: &str = "/workspace/";

impl ProgramPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        match text.contains('/') {
            true => PathPattern::parse(text.strip_prefix("./").unwrap_or(text)).map(Self::InWorkspace),
            // A pattern of one part has the same rules, but for the stars.
            false if text.contains('*') => Err(BadPattern(text.to_owned())),
            false => PathPattern::parse(text).map(|PathPattern(name)| Self::Named(name)),
        }
    }

    /// Whether the program at this path is among them.
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Named(name) => is_fixed(path) && path.rsplit('/').next() == Some(name),
            Self::InWorkspace(pattern) => path.strip_prefix(WORKSPACE).is_some_and(|path| pattern.covers(path)),
        }
    }
}

impl fmt::Display for ProgramPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::InWorkspace(pattern) => pattern.fmt(f),
        }
    }
}

/// Whether no run can write what lies at this path. One that climbs may lie anywhere.
fn is_fixed(path: &str) -> bool {
    path.starts_with('/')
        && !WRITABLE.iter().any(|place| path.starts_with(place))
        && !path.split('/').any(|part| part == "..")
}

/// Paths of a repository, as a rule writes them: `src/**` is everything beneath `src`, `*` is any part of one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(String);

/// A pattern that names no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern: write `src/**`, `docs/*.md` or `Cargo.lock`, and for programs `cargo` or `scripts/*.sh`")]
pub struct BadPattern(String);

/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 256;

/// Most `**` in a pattern, so that comparing stays cheap.
const DEEP_MAX: usize = 4;

impl PathPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && (part == "**" || !part.contains("**"))
                && !part.contains(char::is_control)
        };
        let deep = text.split('/').filter(|part| *part == "**").count();
        if text.len() > PATTERN_BYTES_MAX || deep > DEEP_MAX || !text.split('/').all(is_part) {
            return Err(BadPattern(text.chars().take(PATTERN_BYTES_MAX).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a path is among them.
    pub fn covers(&self, path: &str) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        covers_parts(&pattern, &path)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// At most [`DEEP_MAX`] levels of choice.
fn covers_parts(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        // At the end it is everything beneath, and not the directory itself.
        (Some((&"**", [])), rest) => rest.is_some(),
        (Some((&"**", after)), _) => {
            (0..=path.len()).any(|n| path.get(n..).is_some_and(|rest| covers_parts(after, rest)))
        }
        (Some((part, after)), Some((name, rest))) => {
            covers_name(part.as_bytes(), name.as_bytes()) && covers_parts(after, rest)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// One name, in which `*` is any text: the last star takes one byte more whenever what follows does not fit.
fn covers_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if name.get(n) == Some(byte) => (p, n) = (p + 1, n + 1),
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, n) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    fn program(asked: &str) -> ProgramRun {
        ProgramRun {
            asked: asked.to_owned(),
            ran: None,
            arguments: None,
            arguments_digest: Digest::of_parts([]),
            count: 1,
            cause: None,
        }
    }

    fn own() -> OwnPrograms {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        OwnPrograms { asked: set(&["agent", "/opt/agents/x/start"]), ran: set(&["/usr/bin/node"]) }
    }

    fn written(path: &str) -> Written {
        Written { path: path.to_owned(), how: Writing::Changed, cause: None }
    }

    fn declared(runs: &[&str], writes: &[&str]) -> Declared {
        Declared {
            runs: Some(runs.iter().map(|text| ProgramPattern::parse(text).unwrap()).collect()),
            writes: Some(writes.iter().map(|text| pattern(text)).collect()),
        }
    }

    #[test]
    fn patterns_cover_what_they_say() {
        for (text, path, covers) in [
            ("src/**", "src/a.rs", true),
            ("src/**", "src/a/b.rs", true),
            ("src/**", "src", false),
            ("src/**", "src2/a.rs", false),
            ("src/**", "a/src/b.rs", false),
            ("**/src/*.rs", "src/a.rs", true),
            ("**/src/*.rs", "a/b/src/c.rs", true),
            ("**/src/*.rs", "a/src/b/c.rs", false),
            ("*.toml", "Cargo.toml", true),
            ("*.toml", "a/Cargo.toml", false),
            ("Cargo.lock", "Cargo.lock", true),
            ("Cargo.lock", "Cargo.lock2", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYbcd", false),
            ("*", ".env", true),
            ("**", "any/thing", true),
        ] {
            assert_eq!(pattern(text).covers(path), covers, "{text} {path}");
        }
        for bad in ["", "/src", "src/", "a//b", "../x", "a/./b", "a**", "src/**x", "a\nb", "**/**/**/**/**"] {
            assert!(PathPattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_of_stars_is_compared_in_no_time() {
        let stars = pattern(&"*a".repeat(100));
        assert!(!stars.covers(&format!("{}b", "a".repeat(3000))));
        let deep = pattern("**/x/**/x/**/x/**/y");
        assert!(!deep.covers(&["x"; 60].join("/")));
    }

    #[test]
    fn what_exceeds_what_was_declared_is_named_and_what_does_not_is_not_d10() {
        let seen = SideEffects {
            programs: vec![program("/usr/bin/git"), program("/usr/bin/curl"), program("/bin/sh")],
            written: vec![written("src/lib.rs"), written(".github/workflows/ci.yml")],
            ..SideEffects::default()
        };
        assert_eq!(
            declared(&["git", "sh"], &["src/**"]).beyond(&seen, &own()),
            ["changed .github/workflows/ci.yml", "ran /usr/bin/curl"]
        );
        assert!(declared(&["git", "sh", "curl"], &["src/**", ".github/**"]).beyond(&seen, &own()).is_empty());
        assert!(Declared::default().beyond(&seen, &own()).is_empty(), "nothing declared, nothing compared");
        assert_eq!(declared(&[], &[]).beyond(&seen, &own()).len(), 5, "nothing may be declared, too");
    }

    #[test]
    fn a_copy_under_a_declared_name_is_not_what_was_declared_a38() {
        let declared = declared(&["git", "scripts/*.sh"], &[]);
        let beyond = |asked: &str, ran: Option<&str>| {
            let program = ProgramRun { ran: ran.map(str::to_owned), ..program(asked) };
            declared.beyond(&SideEffects { programs: vec![program], ..SideEffects::default() }, &own())
        };
        for asked in ["/usr/bin/git", "/home/dev/toolchain/bin/git", "/workspace/scripts/a.sh", "agent"] {
            assert_eq!(beyond(asked, None), [""; 0], "{asked}");
        }
        for asked in ["/tmp/git", "/workspace/git", "/usr/../tmp/git", "/proc/self/fd/3", "/memfd:git (deleted)", "git"]
        {
            assert_eq!(beyond(asked, None), [format!("ran {asked}")]);
        }
        assert_eq!(beyond("/usr/bin/git", Some("/usr/lib/git-core/git")), [""; 0], "a link leads there");
        assert_eq!(beyond("/workspace/scripts/a.sh", Some("/usr/bin/dash")), [""; 0], "what interprets it");
        assert_eq!(beyond("/usr/bin/git", Some("/tmp/x")), ["ran /tmp/x where /usr/bin/git was asked for"], "A-24");
        for bad in ["", "g*t", "/usr/bin/git", "../git", "a\nb"] {
            assert!(ProgramPattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_ran_in_place_of_the_agent_s_own_program_is_compared_a24() {
        let beyond = |asked: &str, ran: Option<&str>, runs: &[&str]| {
            let program = ProgramRun { ran: ran.map(str::to_owned), ..program(asked) };
            declared(runs, &[]).beyond(&SideEffects { programs: vec![program], ..SideEffects::default() }, &own())
        };
        for asked in ["agent", "/opt/agents/x/start"] {
            for ran in [None, Some(asked), Some("/usr/bin/node")] {
                assert_eq!(beyond(asked, ran, &[]), [""; 0], "{asked} {ran:?}");
            }
            for ran in ["/usr/bin/curl", "/tmp/agent"] {
                assert_eq!(beyond(asked, Some(ran), &[]), [format!("ran {ran} where {asked} was asked for")]);
            }
            assert_eq!(beyond(asked, Some("/usr/bin/curl"), &["curl"]), [""; 0], "it is declared");
        }
        assert_eq!(beyond("/usr/bin/node", None, &[]), ["ran /usr/bin/node"], "what interprets it is not it");
    }

    #[test]
    fn what_nobody_could_see_was_not_declared_d10() {
        let nothing = SideEffects::default();
        for seen in [
            SideEffects { programs_unkept: 312, ..nothing.clone() },
            SideEffects { programs_more: 1, ..nothing.clone() },
            SideEffects { programs: vec![program("")], ..nothing.clone() },
            SideEffects { written_more: 1, ..nothing.clone() },
            SideEffects { unread: Some("it left a device".to_owned()), ..nothing.clone() },
        ] {
            assert_eq!(declared(&["sh"], &["**"]).beyond(&seen, &own()).len(), 1, "{seen:?}");
            assert!(Declared::default().beyond(&seen, &own()).is_empty());
        }
        assert!(declared(&["sh"], &["**"]).beyond(&nothing, &own()).is_empty());
    }

    #[test]
    fn names_that_deceive_are_escaped_and_the_list_is_bounded_s37() {
        let many = (0..100).map(|n| program(&format!("/tmp/x{n}"))).collect();
        let words = declared(&[], &[]).beyond(&SideEffects { programs: many, ..SideEffects::default() }, &own());
        assert_eq!((words.len(), words.last().map(String::as_str)), (UNDECLARED_MAX + 1, Some("and 80 more")));
        let seen = SideEffects { programs: vec![program("/tmp/\u{202e}hs\n")], ..SideEffects::default() };
        assert_eq!(declared(&[], &[]).beyond(&seen, &own()), ["ran /tmp/\\u{202e}hs\\u{a}"]);
    }
}
