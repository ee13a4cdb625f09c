//! Promises that hold for any policies and any question, tried on thousands of drawn ones.

use cedar_policy::{PolicySet, Schema};
use selvedge_authority::{Context, Judge as _, Question, Subject};
use selvedge_domain::{
    Autonomy, Description, Field, Intent, Method, RepoName, Resource, ResourceKind, RunId, Sensitivity, Trust, Verb,
};

use super::world::{
    admit, admit_review, agent, check, child, drifted, enqueue, http, load, merge_others, merge_own, mint,
    one_of_each_verb, person, plain, propose, question, work,
};
use crate::facts::{Fact, Parts, Value, parts};
use crate::judge::{Evaluation, Sight, evaluate};
use crate::{Policies, SCHEMA};

/// SplitMix64: a failure names its seed and is met again.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    fn yes(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}

const REPOSITORIES: usize = 6;

fn drawn_subject(draw: &mut Draw) -> Subject {
    match draw.below(6) {
        0 => person(),
        1 => Subject::Factory,
        _ => agent(*draw.of(Trust::ALL), *draw.of(Autonomy::ALL)),
    }
}

fn drawn_order(draw: &mut Draw) -> Description {
    let mut order = match draw.below(8) {
        0 => mint(*draw.of(&[0, 60, 900, 901, 5000])),
        1 => http(*draw.of(Method::ALL), "/a/b"),
        2 => propose(draw.below(3), if draw.yes() { &[] } else { &["build.rs"] }),
        3 => merge_own(),
        4 => enqueue(draw.below(20)),
        5 => work(),
        _ => draw.of(&one_of_each_verb()).clone(),
    };
    let repo = RepoName::parse(&format!("acme/r{}", draw.below(REPOSITORIES))).unwrap();
    if order.resource.kind == ResourceKind::Repository {
        order.resource.name = repo.to_string();
    }
    order.resource.repo = repo;
    order
}

fn drawn_context(draw: &mut Draw) -> Context {
    Context {
        run: draw.yes().then(|| RunId::from_entropy(draw.next())),
        intent: draw.yes().then(|| *draw.of(Intent::ALL)),
        sensitivity: *draw.of(Sensitivity::ALL),
        chain_depth: draw.below(4),
        follow_ups_left: u32::try_from(draw.below(3)).unwrap(),
        tainted: draw.yes(),
        read_sensitive: draw.yes(),
        lands_unattended: draw.yes(),
        ..plain()
    }
}

fn drawn_policy(draw: &mut Draw, number: usize) -> String {
    let effect = if draw.below(3) == 0 { "forbid" } else { "permit" };
    let principal = draw.of(&[
        "principal",
        "principal is Agent",
        r#"principal == Agent::"fixer""#,
        r#"principal == Agent::"other""#,
        "principal is Person",
        "principal is Factory",
    ]);
    let verb = |draw: &mut Draw| format!("Action::\"{}\"", draw.of(Verb::ALL));
    let action = match draw.below(4) {
        0 => "action".to_owned(),
        1 => format!("action in [{}, {}, {}]", verb(draw), verb(draw), verb(draw)),
        _ => format!("action == {}", verb(draw)),
    };
    let repo = format!("Repository::\"acme/r{}\"", draw.below(REPOSITORIES));
    let resource = match (draw.below(6), action.as_str()) {
        (0, _) => "resource".to_owned(),
        (1, "action") => format!("resource is Endpoint in {repo}"),
        (2, "action") => format!("resource == {repo}"),
        (3, "action") => "resource is Audience".to_owned(),
        _ => format!("resource in {repo}"),
    };
    let condition = draw.of(&[
        "true",
        "context.run.tainted",
        "context.approved",
        "context.home.sensitivity_rank >= 2",
        r#"context.run.intent == "run-command""#,
        "context.risk_rank == 2",
        // Fails for chains of two and more.
        "context.run.chain_depth * 9223372036854775807 >= 0",
    ]);
    let word = if draw.below(3) == 0 { "unless" } else { "when" };
    format!("@id(\"p{number}\") @owner(\"o\") {effect} ({principal}, {action}, {resource}) {word} {{ {condition} }};\n")
}

#[test]
fn indexed_decides_as_unindexed() {
    let (mut allowed, mut forbidden, mut failed) = (0, 0, 0);
    for seed in 0..20 {
        let mut draw = Draw(seed);
        let text: String = (0..60).map(|number| drawn_policy(&mut draw, number)).collect();
        let policies = load(&text);
        let everything = unindexed(&text);
        for case in 0..250 {
            let (subject, order, context) =
                (drawn_subject(&mut draw), drawn_order(&mut draw), drawn_context(&mut draw));
            let asked = policies.ask(&Question { approved: draw.yes(), ..question(&subject, &order, &context) });
            let asked = asked.unwrap_or_else(|misfit| panic!("seed {seed} case {case}: {misfit}"));
            let asking = question(&subject, &order, &context);
            let indexed = evaluate(&asked, &policies.shards(&asking, Sight::Enforced));
            let reference = evaluate(&asked, &[&everything]);
            assert_eq!(comparable(&indexed), comparable(&reference), "seed {seed} case {case}");
            allowed += usize::from(reference.allows());
            forbidden += usize::from(!reference.forbids.is_empty());
            failed += usize::from(!reference.errors.is_empty());
        }
    }
    // The draw must reach every kind of answer, or the comparison says little.
    assert!(allowed > 300 && forbidden > 300 && failed > 300, "{allowed} {forbidden} {failed}");
}

/// Which permits apply is known only where no forbid does.
fn comparable(evaluation: &Evaluation) -> Evaluation {
    let mut same = evaluation.clone();
    if !same.forbids.is_empty() {
        same.permits.clear();
    }
    same
}

/// All policies in one set, as Cedar is used without an index.
fn unindexed(text: &str) -> PolicySet {
    let set: PolicySet = text.parse().unwrap();
    let named = set.policies().map(|policy| {
        let id = policy.annotation("id").unwrap();
        policy.new_id(cedar_policy::PolicyId::new(id))
    });
    PolicySet::from_policies(named).unwrap()
}

#[test]
fn statements_are_the_policies_that_cedar_sees() {
    let mut draw = Draw(7);
    let drawn: String = (0..200).map(|number| drawn_policy(&mut draw, number)).collect();
    let defaults = crate::default_sources().map(|(_, text)| text.to_owned());
    for text in defaults.chain([drawn]) {
        let whole: PolicySet = text.parse().unwrap();
        let cut = crate::source::Source { name: "x", text: &text }.statements();
        assert_eq!(cut.len(), whole.num_of_policies());
    }
}

/// Each way to leave out one fact, at any depth.
fn without_one(facts: &[Fact]) -> Vec<Vec<Fact>> {
    let mut ways = Vec::new();
    for at in 0..facts.len() {
        let mut rest = facts.to_vec();
        let left_out = rest.remove(at);
        ways.push(rest);
        if let Value::Record(inner) = &left_out.value {
            ways.extend(without_one(inner).into_iter().map(|inner| {
                let mut fewer = facts.to_vec();
                fewer[at] = Fact { name: left_out.name, value: Value::Record(inner) };
                fewer
            }));
        }
    }
    ways
}

fn drop_each_fact(whole: &Parts) -> Vec<Parts> {
    let context = without_one(&whole.context).into_iter().map(|context| Parts { context, ..whole.clone() });
    let (principal, facts) = &whole.principal;
    let asker = without_one(facts).into_iter();
    let asker = asker.map(|facts| Parts { principal: (principal.clone(), facts), ..whole.clone() });
    context.chain(asker).collect()
}

/// Orders whose facts the schema calls optional are caught before Cedar sees them.
fn has_optional_facts(order: &Description) -> bool {
    let is_part = order.verb == Verb::TaskAdmit && order.text("pipeline").is_some();
    is_part || matches!(order.verb, Verb::SandboxStart | Verb::TaskEnqueue)
}

#[test]
fn leaving_out_a_fact_never_turns_a_denial_into_an_allowance() {
    let defaults = Policies::defaults().unwrap();
    let mut dropped = 0;
    for seed in 0..40 {
        let mut draw = Draw(seed);
        let (subject, order, context) = (drawn_subject(&mut draw), drawn_order(&mut draw), drawn_context(&mut draw));
        dropped += no_fact_less_allows(&defaults, &question(&subject, &order, &context), &format!("seed {seed}"));
    }
    assert!(dropped > 500, "{dropped}");
}

/// The same for every kind of order there is, asked by the strongest and the weakest, with and without somebody's yes.
#[test]
fn no_kind_of_order_gains_from_a_fact_left_out_a44() {
    let defaults = Policies::defaults().unwrap();
    let tainted = Context { tainted: true, ..plain() };
    for order in one_of_each_verb() {
        for subject in [
            agent(Trust::Release, Autonomy::Autonomous),
            agent(Trust::Draft, Autonomy::ALL[0]),
            drifted(Trust::Release, Autonomy::Assistant, Autonomy::Supervised),
            person(),
        ] {
            for (context, approved) in [(&plain(), false), (&plain(), true), (&tainted, false)] {
                let asking = Question { approved, ..question(&subject, &order, context) };
                let dropped = no_fact_less_allows(&defaults, &asking, &format!("{subject:?}"));
                assert!(dropped > 0, "`{}` has no facts", order.verb);
            }
        }
    }
}

/// Leaves out each fact of a question in turn; how many there were.
fn no_fact_less_allows(defaults: &Policies, asking: &Question<'_>, which: &str) -> usize {
    let (order, allowed) = (asking.order, defaults.judge(asking).as_str() == "allow");
    let less = drop_each_fact(&parts(&defaults.vocabulary, asking).unwrap());
    for fewer in &less {
        let still = fewer
            .clone()
            .assemble(&defaults.vocabulary)
            .ok()
            .map(|asked| evaluate(&asked, &defaults.shards(asking, Sight::Enforced)).allows());
        assert!(allowed || still != Some(true), "{which}: a fact less allowed `{}`", order.verb);
        assert!(
            has_optional_facts(order) || still.is_none(),
            "{which}: a fact less of `{}` went unnoticed",
            order.verb
        );
    }
    for at in 0..order.fields.len() {
        let mut fewer = order.clone();
        fewer.fields.remove(at);
        let asking = Question { order: &fewer, ..*asking };
        assert!(defaults.ask(&asking).is_err(), "{which}: `{}`", order.verb);
    }
    less.len()
}

#[test]
fn a_child_without_what_was_handed_to_it_is_no_question_b4_a44() {
    let defaults = Policies::defaults().unwrap();
    let (subject, context) = (agent(Trust::Release, Autonomy::Autonomous), plain());
    let whole = child(1);
    assert!(defaults.ask(&question(&subject, &whole, &context)).is_ok());
    let mut bare = whole;
    bare.fields.retain(|(name, _)| enqueue(1).fields.iter().any(|(known, _)| known == name));
    assert_eq!(bare.text("source"), Some("child"));
    assert!(
        defaults.ask(&question(&subject, &bare, &context)).is_err(),
        "it would be limited by nothing that policy sees"
    );
}

#[test]
fn a_stage_that_does_not_say_whose_work_it_reviews_is_no_question_a5_a44() {
    let defaults = Policies::defaults().unwrap();
    let (subject, context) = (agent(Trust::Release, Autonomy::Autonomous), plain());
    let whole = admit_review("author");
    assert!(defaults.ask(&question(&subject, &whole, &context)).is_ok());
    let mut bare = whole;
    bare.fields.retain(|(name, _)| admit().fields.iter().any(|(known, _)| known == name));
    assert_eq!(bare.text("source"), Some("stage"));
    assert!(defaults.ask(&question(&subject, &bare, &context)).is_err(), "guard.no-own-review would not see it");
}

#[test]
fn a_fact_of_another_type_or_name_is_refused_a44() {
    let defaults = Policies::defaults().unwrap();
    let (subject, context) = (agent(Trust::Release, Autonomy::Autonomous), plain());
    for order in [mint(900), work(), check(), http(Method::Get, "/"), propose(3, &[]), merge_others()] {
        let mut more = order.clone();
        more.fields.push(("surprise", Field::Flag(true)));
        let mut twice = order.clone();
        twice.fields.push(order.fields[0].clone());
        let mut other = order.clone();
        other.fields[0].1 = Field::Number(7);
        let elsewhere = Resource { kind: ResourceKind::Approval, ..order.resource.clone() };
        // A repository that claims to lie in another would be judged by the wrong team's policies.
        let borrowed = Resource { kind: ResourceKind::Repository, name: "acme/other".to_owned(), ..elsewhere.clone() };
        let moved = [elsewhere, borrowed].map(|resource| Description { resource, ..order.clone() });
        for wrong in [more, twice, other].into_iter().chain(moved) {
            let asking = question(&subject, &wrong, &context);
            assert!(defaults.ask(&asking).is_err(), "{wrong:?}");
            assert_eq!(defaults.judge(&asking).as_str(), "deny");
        }
    }
}

#[test]
fn work_cannot_pass_for_a_check() {
    // A check may be started by anyone, so what is called one must have the facts of one.
    let defaults = Policies::defaults().unwrap();
    let mut disguised = work();
    disguised.fields[0].1 = Field::from("check");
    let (subject, context) = (person(), plain());
    assert_eq!(defaults.judge(&question(&subject, &check(), &context)).as_str(), "allow");
    let asking = question(&subject, &disguised, &context);
    assert!(defaults.ask(&asking).is_err());
    assert_eq!(defaults.judge(&asking).as_str(), "deny");
}

#[test]
fn the_schema_names_every_verb_and_no_other() {
    let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA).unwrap();
    assert_eq!(warnings.count(), 0);
    let actions: std::collections::BTreeSet<&str> = schema.actions().map(|action| action.id().unescaped()).collect();
    assert_eq!(actions, Verb::ALL.iter().map(|verb| verb.as_str()).collect());
}
