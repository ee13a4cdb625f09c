//! From sources to policies: parse, read annotations, check against the schema. All problems are told at once.

use std::collections::BTreeMap;

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;
use selvedge_authority::PolicyName;
use selvedge_domain::{Digest, Owner};

use crate::index::Index;
use crate::source::{NESTING_MAX, Source, Statement, is_deceptive};
use crate::vocabulary::{BadSchema, Vocabulary};
use crate::{Check, Effect, Mode, Place, Policies, PolicyText, Problem};

/// Policies that cannot be used. None of them is: half a rulebook is not a rulebook.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory or a file could not be read.
    #[error("cannot read policies from `{path}`: {because}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        because: String,
    },
    /// More than we are ready to hold.
    #[error("too many policies: {0}")]
    TooMuch(String),
    /// Policies are wrong; every problem is listed.
    #[error("{} in the policies:\n{}", count(.0.len()), lines(.0))]
    Problems(Vec<Problem>),
    /// The schema that ships with the factory is broken.
    #[error(transparent)]
    Schema(#[from] BadSchema),
}

/// Most sources: one per team and topic, with room to spare.
pub(crate) const SOURCES_MAX: usize = 1_000;
/// Most text in all sources: about 20,000 policies, which load in a second.
pub(crate) const BYTES_MAX: usize = 8 << 20;
/// Most text of one policy: bounds the depth Cedar's parser can be driven to.
const POLICY_BYTES_MAX: usize = 16 << 10;
/// Most policies.
const POLICIES_MAX: usize = 20_000;
/// Problems told at once; the rest follow once these are mended.
const PROBLEMS_MAX: usize = 100;
/// How many entity attributes deep a policy may look: our requests carry the asker and the resource, nothing behind them.
const DEREFERENCES_MAX: u32 = 2;
/// Longest `@id`.
const ID_BYTES_MAX: usize = 100;
/// Longest `@next_step`: agents read it in the middle of their work.
const NEXT_STEP_BYTES_MAX: usize = 300;

const ANNOTATIONS: [&str; 6] = ["id", "owner", "mode", "next_step", "ticket", "note"];

impl Policies {
    /// Loads named texts. Order does not matter, neither for decisions nor for the digest.
    pub fn from_sources(sources: Vec<(String, String)>) -> Result<Self, LoadError> {
        bound(&sources)?;
        let vocabulary = Vocabulary::built_in()?;
        let mut sources = sources;
        sources.sort();
        let mut loading = Loading::default();
        for (name, text) in &sources {
            loading.read(Source { name, text });
        }
        loading.validate(&vocabulary);
        loading.finish(vocabulary, &sources)
    }

    /// The policies that ship with the factory.
    pub fn defaults() -> Result<Self, LoadError> {
        let sources = crate::default_sources().map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self::from_sources(sources.collect())
    }
}

fn bound(sources: &[(String, String)]) -> Result<(), LoadError> {
    let bytes: usize = sources.iter().map(|(_, text)| text.len()).sum();
    if sources.len() > SOURCES_MAX {
        return Err(LoadError::TooMuch(format!("{} files, at most {SOURCES_MAX}", sources.len())));
    }
    if bytes > BYTES_MAX {
        return Err(LoadError::TooMuch(format!("{bytes} bytes in all, at most {BYTES_MAX}")));
    }
    Ok(())
}

/// What has been read so far.
#[derive(Default)]
struct Loading<'a> {
    policies: BTreeMap<PolicyName, (Policy, PolicyText)>,
    /// Where each policy's text begins, for places inside it.
    origins: BTreeMap<PolicyName, (Source<'a>, usize)>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Loading<'a> {
    fn read(&mut self, source: Source<'a>) {
        if let Some((offset, c)) = source.deceptive() {
            let hint = "remove it: text must mean what it looks like";
            let message = format!("the invisible character U+{:04X}", u32::from(c));
            self.problem(source.place(offset), message, Some(hint.to_owned()));
        }
        let mut cursor = source.cursor();
        for statement in source.statements() {
            let place = cursor.to(statement.offset);
            if self.policies.len() >= POLICIES_MAX || self.problems.len() >= PROBLEMS_MAX {
                let hint = format!("at most {POLICIES_MAX} policies are loaded and {PROBLEMS_MAX} problems told");
                return self.problem(place, "too much; the rest was not read".to_owned(), Some(hint));
            }
            self.read_one(source, statement, place);
        }
    }

    fn read_one(&mut self, source: Source<'a>, statement: Statement<'a>, place: Place) {
        if statement.text.len() > POLICY_BYTES_MAX {
            let hint = format!("a policy has at most {POLICY_BYTES_MAX} bytes; split it");
            return self.problem(place, "the policy is too long".to_owned(), Some(hint));
        }
        if statement.nesting > NESTING_MAX {
            let hint = format!("at most {NESTING_MAX} levels; write several policies");
            return self.problem(place, "brackets nest too deep".to_owned(), Some(hint));
        }
        let policy = match Policy::parse(None, statement.text) {
            Ok(policy) => policy,
            Err(errors) => {
                for error in errors.iter() {
                    self.diagnosed(source, statement.offset, error);
                }
                return;
            }
        };
        match described(&policy, place.clone(), statement.text) {
            Err((message, hint)) => self.problem(place, message, Some(hint)),
            Ok(text) => self.keep(source, statement, policy, text),
        }
    }

    fn keep(&mut self, source: Source<'a>, statement: Statement<'a>, policy: Policy, text: PolicyText) {
        let name = text.name.clone();
        if (text.effect, text.mode, &text.next_step) == (Effect::Forbid, Mode::Enforce, &None) {
            let message = format!("`{name}` forbids and has no `@next_step`");
            let hint = "write one before it: whoever it stops is told that, and nothing else of what to do instead";
            self.warnings.push(Problem { place: text.place.clone(), message, hint: Some(hint.to_owned()) });
        }
        if let Some((_, first)) = self.policies.get(&name) {
            let hint = format!("the first stands at {}; give each policy an `@id` of its own", first.place);
            return self.problem(text.place, format!("`{name}` is the `@id` of two policies"), Some(hint));
        }
        let policy = policy.new_id(PolicyId::new(name.as_str()));
        self.origins.insert(name.clone(), (source, statement.offset));
        self.policies.insert(name, (policy, text));
    }

    fn validate(&mut self, vocabulary: &Vocabulary) {
        let set = match PolicySet::from_policies(self.policies.values().map(|(policy, _)| policy.clone())) {
            Ok(set) => set,
            Err(error) => {
                let place = Place { source: String::new(), line: 1, column: 1 };
                return self.problem(place, error.to_string(), None);
            }
        };
        let validator = Validator::new(vocabulary.schema.clone());
        let result = validator.validate_with_level(&set, ValidationMode::Strict, DEREFERENCES_MAX);
        for error in result.validation_errors() {
            self.diagnosed_in(error.policy_id(), error, Severity::Problem);
        }
        for warning in result.validation_warnings() {
            let severity = if misleads(warning) { Severity::Problem } else { Severity::Warning };
            self.diagnosed_in(warning.policy_id(), warning, severity);
        }
    }

    fn finish(mut self, vocabulary: Vocabulary, sources: &[(String, String)]) -> Result<Policies, LoadError> {
        if !self.problems.is_empty() {
            // Cedar reports in no fixed order.
            self.problems.sort_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
            self.problems.truncate(PROBLEMS_MAX);
            return Err(LoadError::Problems(self.problems));
        }
        self.warnings.sort_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
        self.warnings.truncate(PROBLEMS_MAX);
        let of_mode =
            |mode| self.policies.values().filter(move |(_, text)| text.mode == mode).map(|(policy, _)| policy);
        let index = |mode| Index::of(of_mode(mode)).map_err(LoadError::TooMuch);
        let digested = sources.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        let check = Check {
            sources: sources.len(),
            enforced: of_mode(Mode::Enforce).count(),
            shadow: of_mode(Mode::Shadow).count(),
            warnings: self.warnings.clone(),
        };
        Ok(Policies {
            vocabulary,
            enforced: index(Mode::Enforce)?,
            shadow: index(Mode::Shadow)?,
            digest: Digest::of_parts([crate::SCHEMA.as_bytes()].into_iter().chain(digested)),
            check,
            texts: self.policies.into_iter().map(|(name, (_, text))| (name, text)).collect(),
        })
    }

    fn problem(&mut self, place: Place, message: String, hint: Option<String>) {
        self.problems.push(Problem { place, message, hint });
    }

    fn diagnosed(&mut self, source: Source<'a>, offset: usize, error: &dyn Diagnostic) {
        let problem = told(source, offset, error);
        self.problems.push(problem);
    }

    fn diagnosed_in(&mut self, id: &PolicyId, error: &dyn Diagnostic, severity: Severity) {
        // Every id is a name we gave. Were one not, its problem would still be one.
        let unknown = (Source { name: id.as_ref(), text: "" }, 0);
        let (source, offset) = self.origins.get(&PolicyName::new(id.as_ref())).copied().unwrap_or(unknown);
        let problem = told(source, offset, error);
        match severity {
            Severity::Problem => self.problems.push(problem),
            Severity::Warning => self.warnings.push(problem),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Problem,
    Warning,
}

/// Cedar's finding, placed in the source rather than in the policy.
fn told(source: Source<'_>, offset: usize, error: &dyn Diagnostic) -> Problem {
    let within = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    Problem {
        place: source.place(offset.saturating_add(within)),
        message: shown(&error.to_string()),
        hint: error.help().map(|help| shown(&help.to_string())),
    }
}

/// Cedar quotes the source; what would move a terminal's cursor is escaped.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() || is_deceptive(c) { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// Whether a warning is about text that does not mean what it looks like.
fn misleads(warning: &ValidationWarning) -> bool {
    matches!(
        warning,
        ValidationWarning::MixedScriptString(_)
            | ValidationWarning::BidiCharsInString(_)
            | ValidationWarning::BidiCharsInIdentifier(_)
            | ValidationWarning::MixedScriptIdentifier(_)
            | ValidationWarning::ConfusableIdentifier(_)
    )
}

/// Reads the annotations; the error is a message and a hint.
fn described(policy: &Policy, place: Place, text: &str) -> Result<PolicyText, (String, String)> {
    let known = ANNOTATIONS.join("`, `@");
    for (name, _) in policy.annotations() {
        if !ANNOTATIONS.contains(&name) {
            return Err((format!("`@{name}` is not an annotation we know"), format!("use `@{known}`")));
        }
    }
    let absent = |name: &str, example: &str| {
        (format!("the policy has no `@{name}`"), format!("write `@{name}(\"{example}\")` before it"))
    };
    let id = policy.annotation("id").ok_or_else(|| absent("id", "shop.release"))?;
    if !is_id(id) {
        let hint = format!("use 1 to {ID_BYTES_MAX} of a-z 0-9 . _ - /");
        return Err((format!("`{}` cannot be an `@id`", id.escape_debug()), hint));
    }
    let owner = policy.annotation("owner").ok_or_else(|| absent("owner", "team-shop@acme.example"))?;
    let owner = Owner::parse(owner).ok_or_else(|| {
        ("nobody answers for the policy: its `@owner` is empty or unreadable".to_owned(), "name a team".to_owned())
    })?;
    let mode = match policy.annotation("mode") {
        None => Mode::Enforce,
        Some(word) => Mode::parse(word).ok_or_else(|| {
            (format!("`{}` is not a `@mode`", word.escape_debug()), "use `enforce` or `shadow`".to_owned())
        })?,
    };
    let next_step = policy.annotation("next_step").map(next_step).transpose()?;
    Ok(PolicyText {
        name: PolicyName::new(id),
        owner,
        effect: match policy.effect() {
            cedar_policy::Effect::Permit => Effect::Permit,
            cedar_policy::Effect::Forbid => Effect::Forbid,
        },
        mode,
        next_step,
        names: policy.entity_literals().iter().map(named).collect(),
        annotations: policy.annotations().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        place,
        text: text.to_owned(),
    })
}

fn named(entity: &EntityUid) -> (String, String) {
    (entity.type_name().to_string(), entity.id().unescaped().to_owned())
}

fn next_step(text: &str) -> Result<String, (String, String)> {
    let fits = !text.trim().is_empty() && text.len() <= NEXT_STEP_BYTES_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| {
        let hint = format!("one line of at most {NEXT_STEP_BYTES_MAX} bytes");
        ("the `@next_step` cannot be shown".to_owned(), hint)
    })
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b))
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl LoadError {
    /// Every problem found in the policies, in the order of the sources.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Problems(problems) => problems,
            Self::Read { .. } | Self::TooMuch(_) | Self::Schema(_) => &[],
        }
    }
}
