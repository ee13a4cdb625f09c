//! A question as Cedar sees it: typed values in, a request that fits the schema out. No JSON on the way.

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression};
use selvedge_authority::{Question, Subject};
use selvedge_domain::{Autonomy, Description, Field, ResourceKind, Risk, Sensitivity, TriggerSource, Trust, Verb};

use crate::vocabulary::Vocabulary;

/// What stands where a run, or its intent, is not known yet. Facts are never left out: a policy that asks for a missing
/// one would be skipped.
const NONE: &str = "none";

/// A request and the entities it speaks of.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
}

/// The question does not fit the schema: a defect in the factory, and a denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the question does not fit the policy schema: {0}")]
pub(crate) struct Misfit(String);

/// The parts of a request before Cedar has checked them.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) principal: (EntityUid, Vec<Fact>),
    pub(crate) action: EntityUid,
    pub(crate) resource: EntityUid,
    pub(crate) repository: EntityUid,
    pub(crate) context: Vec<Fact>,
}

/// A named value; a record is a list of facts, so that a test can leave any one out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: Value,
}

/// A value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Is(Field),
    Record(Vec<Fact>),
}

/// Lays a question open.
pub(crate) fn parts(vocabulary: &Vocabulary, question: &Question<'_>) -> Result<Parts, Misfit> {
    let order = question.order;
    let resource = &order.resource;
    complete(order)?;
    let missing = |what: &str| Misfit(format!("`{what}` is not in the schema"));
    Ok(Parts {
        principal: principal(vocabulary, question.subject),
        action: vocabulary.action(order.verb).ok_or_else(|| missing(order.verb.as_str()))?,
        resource: vocabulary.resource(resource.kind, &resource.name).ok_or_else(|| missing(resource.kind.as_str()))?,
        repository: vocabulary
            .resource(ResourceKind::Repository, resource.repo.as_str())
            .ok_or_else(|| missing("Repository"))?,
        context: context(question),
    })
}

/// Facts of a sandbox's start, by purpose. Two orders share the verb, so the schema has to call what they do not share
/// optional; here each must be whole, lest a forbid on a fact be passed by leaving the fact out.
const STARTS: [(&str, &[&str]); 2] = [
    (
        "work",
        &["purpose", "run", "attempt", "agent", "base", "trust", "may", "reach", "loans", "level", "configuration"],
    ),
    ("check", &["purpose", "run", "tree", "checks_from"]),
];

/// Facts of a task to be queued, by what is queued: what a run hands on is there for a child and for all that follows it.
const QUEUED: [&[&str]; 2] = [
    &["trigger", "agent", "text", "chain_depth", "source"],
    &[
        "trigger",
        "agent",
        "text",
        "chain_depth",
        "source",
        "trust",
        "may",
        "reach",
        "audiences",
        "loans",
        "depth",
        "budget",
    ],
];

/// Facts of a task to be admitted, by what asks: which part of a pipeline it is, is there for every part.
const ADMITTED: [&[&str]; 2] = [
    &["trigger", "trigger_digest", "source", "asked_by", "intent", "agent", "text", "argv", "tenure", "declared"],
    &[
        "trigger",
        "trigger_digest",
        "source",
        "asked_by",
        "intent",
        "agent",
        "text",
        "argv",
        "tenure",
        "declared",
        "pipeline",
        "part",
        "reviews",
        "reviews_own",
    ],
];

fn complete(order: &Description) -> Result<(), Misfit> {
    let are_all = |names: &[&str]| names.iter().copied().eq(order.fields.iter().map(|(name, _)| *name));
    let is_whole = match order.verb {
        Verb::SandboxStart => STARTS.iter().any(|(of, names)| order.text("purpose") == Some(*of) && are_all(names)),
        // A child without what was handed to it is none.
        Verb::TaskEnqueue => {
            let is_child = order.text("source") == Some(TriggerSource::Child.as_str());
            QUEUED.iter().skip(usize::from(is_child)).any(|names| are_all(names))
        }
        // A part of a pipeline that does not say which could review what it made.
        Verb::TaskAdmit => {
            let is_stage = order.text("source") == Some(TriggerSource::Stage.as_str());
            ADMITTED.iter().skip(usize::from(is_stage)).any(|names| are_all(names))
        }
        _ => true,
    };
    if is_whole { Ok(()) } else { Err(Misfit(format!("facts of `{}` are missing or unknown", order.verb))) }
}

impl Parts {
    /// Builds the request; Cedar checks every fact's type against the schema.
    pub(crate) fn assemble(self, vocabulary: &Vocabulary) -> Result<Asked, Misfit> {
        let misfit = |error: &dyn std::fmt::Display| Misfit(error.to_string());
        let pairs = self.context.into_iter().map(|fact| Ok((fact.name.to_owned(), expression(fact.value)?)));
        let pairs: Vec<_> = pairs.collect::<Result<_, Misfit>>()?;
        let context = Context::from_pairs(pairs).map_err(|error| misfit(&error))?;
        let (principal, facts) = self.principal;
        let attributes = facts.into_iter().map(|fact| Ok((fact.name.to_owned(), expression(fact.value)?)));
        let attributes = attributes.collect::<Result<Vec<_>, Misfit>>()?;
        let asker = Entity::new_with_tags(principal.clone(), attributes, [], []).map_err(|error| misfit(&error))?;
        let home = Entity::with_uid(self.repository.clone());
        let about = (self.resource != self.repository)
            .then(|| Entity::new_no_attrs(self.resource.clone(), [self.repository].into_iter().collect()));
        // Added to none rather than collected: `from_entities` would copy every action of the schema in each time.
        let entities = Entities::empty()
            .add_entities([asker, home].into_iter().chain(about), Some(&vocabulary.schema))
            .map_err(|error| misfit(&error))?;
        let request = Request::new(principal, self.action, self.resource, context, Some(&vocabulary.schema))
            .map_err(|error| misfit(&error))?;
        Ok(Asked { request, entities })
    }
}

fn principal(vocabulary: &Vocabulary, subject: &Subject) -> (EntityUid, Vec<Fact>) {
    match subject {
        Subject::Agent { workload, name, owner, trust, conduct, grant: _ } => {
            let autonomy = conduct.autonomy();
            let facts = vec![
                text("owner", owner.as_str()),
                text("workload", &workload.to_string()),
                text("trust", trust.as_str()),
                rank("trust_rank", Trust::ALL, *trust),
                text("autonomy", autonomy.as_str()),
                rank("autonomy_rank", Autonomy::ALL, autonomy),
                text("registered", conduct.registered.as_str()),
                rank("registered_rank", Autonomy::ALL, conduct.registered),
                field("drifted", Field::Flag(conduct.has_drifted())),
                field("departed", Field::Flag(conduct.seen.departed)),
            ];
            (vocabulary.agent(name.as_str()), facts)
        }
        Subject::Person(person) => {
            (vocabulary.person(person.uid()), vec![field("uid", Field::Number(i64::from(person.uid())))])
        }
        Subject::Factory => (vocabulary.factory(), Vec::new()),
    }
}

fn context(question: &Question<'_>) -> Vec<Fact> {
    let facts = question.context;
    let run = vec![
        text("id", facts.run.as_ref().map_or(NONE, |run| run.as_str())),
        text("intent", facts.intent.map_or(NONE, |intent| intent.as_str())),
        field("chain_depth", Field::Number(i64::try_from(facts.chain_depth).unwrap_or(i64::MAX))),
        field("follow_ups_left", Field::Number(i64::from(facts.follow_ups_left))),
        field("tainted", Field::Flag(facts.tainted)),
        field("read_sensitive", Field::Flag(facts.read_sensitive)),
        text("configuration", &facts.configuration.to_string()),
    ];
    let home = vec![
        text("sensitivity", facts.sensitivity.as_str()),
        rank("sensitivity_rank", Sensitivity::ALL, facts.sensitivity),
        field("lands_unattended", Field::Flag(facts.lands_unattended)),
    ];
    let order = question.order.fields.iter().map(|(name, value)| field(name, value.clone())).collect();
    vec![
        field("approved", Field::Flag(question.approved)),
        text("risk", question.risk.as_str()),
        rank("risk_rank", Risk::ALL, question.risk),
        record("run", run),
        record("home", home),
        record("order", order),
    ]
}

fn field(name: &'static str, field: Field) -> Fact {
    Fact { name, value: Value::Is(field) }
}

fn text(name: &'static str, text: &str) -> Fact {
    field(name, Field::from(text))
}

fn record(name: &'static str, facts: Vec<Fact>) -> Fact {
    Fact { name, value: Value::Record(facts) }
}

/// A grade's place in its order, counted from 0.
fn rank<G: PartialEq>(name: &'static str, all: &[G], grade: G) -> Fact {
    let place = all.iter().position(|one| *one == grade).and_then(|place| i64::try_from(place).ok());
    // INVARIANT: `ALL` holds every grade. Were one missing, -1 would be below whatever a policy demands of trust.
    field(name, Field::Number(place.unwrap_or(-1)))
}

fn expression(value: Value) -> Result<RestrictedExpression, Misfit> {
    match value {
        Value::Is(Field::Text(text)) => Ok(RestrictedExpression::new_string(text)),
        Value::Is(Field::Number(number)) => Ok(RestrictedExpression::new_long(number)),
        Value::Is(Field::Flag(flag)) => Ok(RestrictedExpression::new_bool(flag)),
        Value::Is(Field::Words(words)) => {
            Ok(RestrictedExpression::new_set(words.into_iter().map(RestrictedExpression::new_string)))
        }
        Value::Record(facts) => {
            let pairs = facts.into_iter().map(|fact| Ok((fact.name.to_owned(), expression(fact.value)?)));
            let pairs: Vec<_> = pairs.collect::<Result<_, Misfit>>()?;
            RestrictedExpression::new_record(pairs).map_err(|error| Misfit(error.to_string()))
        }
    }
}
