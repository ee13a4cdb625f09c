//! The default policies as tables a person can review: who may do what, and every denial that can be met.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use selvedge_authority::{Context, Judge as _, Question, Subject, Verdict};
use selvedge_domain::orders::{ModelCall, ToolCall};
use selvedge_domain::{
    Authorship, Autonomy, Description, Intent, Method, Order as _, Risk, Sensitivity, Tenure, Trust, Verb,
};

use super::world::{
    access, admit, admit_child, admit_for, admit_review, agent, answer, approve_others, approve_own, ask_person,
    borrow, borrow_standing, brokered_call, call_of_server, check, child, credential, delegate, drifted, enqueue,
    enqueue_of_a_child, enqueue_stage, http, merge_others, merge_own, mint_for, mint_standing, model_call, names,
    person, plain, propose, propose_beyond, propose_made_by, propose_with_gate, push, push_git, question, read_git,
    tool_call, untyped, work,
};
use crate::Policies;

const LEGEND: &str = "\
Agents by trust: observe, draft, propose, land, release; `assistant` is an agent trusted with `propose` that is graded
as an assistant; `drifted` one with `release` that is registered as supervised and was seen to be autonomous. What a run's grant does not hold is refused before policy is asked, and is not shown here.

";

fn subjects() -> Vec<(&'static str, Subject)> {
    vec![
        ("observe", agent(Trust::Observe, Autonomy::BoundedAutomation)),
        ("draft", agent(Trust::Draft, Autonomy::BoundedAutomation)),
        ("propose", agent(Trust::Propose, Autonomy::Supervised)),
        ("land", agent(Trust::Land, Autonomy::Autonomous)),
        ("release", agent(Trust::Release, Autonomy::Autonomous)),
        ("assistant", agent(Trust::Propose, Autonomy::Assistant)),
        ("drifted", drifted(Trust::Release, Autonomy::Supervised, Autonomy::Autonomous)),
        ("person", person()),
        ("factory", Subject::Factory),
    ]
}

fn circumstances() -> Vec<(&'static str, Context, bool)> {
    let restricted = Context { sensitivity: Sensitivity::Restricted, ..plain() };
    let tainted = Context { tainted: true, ..plain() };
    let unattended = Context { lands_unattended: true, ..plain() };
    vec![
        ("plain", plain(), false),
        ("approved", plain(), true),
        ("tainted", tainted.clone(), false),
        ("tainted, approved", tainted, true),
        ("restricted repository", restricted.clone(), false),
        ("restricted repository, approved", restricted, true),
        ("lands unattended", unattended.clone(), false),
        ("lands unattended, approved", unattended.clone(), true),
        ("lands unattended, approved, tainted", Context { tainted: true, ..unattended }, true),
        ("intent is to run a command", Context { intent: Some(Intent::RunCommand), ..plain() }, false),
        ("no follow-ups left", Context { follow_ups_left: 0, ..plain() }, false),
    ]
}

fn orders() -> Vec<(String, Description)> {
    let mut orders = vec![
        ("task.admit".to_owned(), admit()),
        ("task.enqueue, of a new chain".to_owned(), enqueue(0)),
        ("task.enqueue, of a follow-up".to_owned(), enqueue(1)),
        ("task.enqueue, of the 17th in a chain".to_owned(), enqueue(17)),
        ("task.enqueue, of a child".to_owned(), child(3)),
        ("task.enqueue, of a child of a child of a child of a child".to_owned(), child(4)),
        ("task.enqueue, of a follow-up of a child".to_owned(), enqueue_of_a_child()),
        ("task.admit, of a child".to_owned(), admit_child()),
        ("task.enqueue, of a stage of a pipeline".to_owned(), enqueue_stage()),
        ("task.admit, of a reviewing stage".to_owned(), admit_review("author")),
        ("task.admit, of a reviewing stage by the author".to_owned(), admit_review("fixer")),
        ("credential.mint, own identity, one hour".to_owned(), mint_for("selvedge", 3600)),
        ("credential.mint, own identity, longer".to_owned(), mint_for("selvedge", 3601)),
        ("credential.mint, 900 seconds".to_owned(), mint_for("cloud", 900)),
        ("credential.mint, 901 seconds".to_owned(), mint_for("cloud", 901)),
        ("credential.mint, forever".to_owned(), mint_for("cloud", u64::MAX)),
        ("secret.use, 900 seconds".to_owned(), borrow(900)),
        ("secret.use, 901 seconds".to_owned(), borrow(901)),
        ("secret.use, overdue".to_owned(), borrow_standing(900, Tenure::Overdue)),
        ("secret.use, offboarded".to_owned(), borrow_standing(900, Tenure::Offboarded)),
        ("task.admit, of an overdue agent".to_owned(), admit_for(Tenure::Overdue)),
        ("task.admit, of an offboarded agent".to_owned(), admit_for(Tenure::Offboarded)),
        ("credential.mint, own identity, agent overdue".to_owned(), mint_standing(None, Tenure::Overdue)),
        ("credential.mint, own identity, agent offboarded".to_owned(), mint_standing(None, Tenure::Offboarded)),
        ("credential.mint, credential due".to_owned(), mint_standing(Some(credential()), Tenure::Due)),
        ("credential.mint, credential overdue".to_owned(), mint_standing(Some(credential()), Tenure::Overdue)),
        ("credential.mint, credential offboarded".to_owned(), mint_standing(Some(credential()), Tenure::Offboarded)),
        ("delegate".to_owned(), delegate(300)),
        ("access.request".to_owned(), access()),
        ("model.call, as much as is left".to_owned(), model_call().describe()),
        ("model.call, more than is left".to_owned(), ModelCall { budget_left: 4_999, ..model_call() }.describe()),
        (
            "model.call, with a vendor's tools".to_owned(),
            ModelCall { egress: vec!["vendor-tools".to_owned()], ..model_call() }.describe(),
        ),
        ("tool.call, an edit".to_owned(), tool_call().describe()),
        (
            "tool.call, a command that is not shown whole".to_owned(),
            ToolCall { kind: "shell".to_owned(), command: "echo [cut]".to_owned(), ..tool_call() }.describe(),
        ),
        (
            "tool.call, an edit of what steers the agent".to_owned(),
            ToolCall { steers: vec![".claude/settings.json".to_owned()], ..tool_call() }.describe(),
        ),
        ("tool.call, of a server, low".to_owned(), brokered_call(Risk::Low).describe()),
        ("tool.call, of a server, medium".to_owned(), brokered_call(Risk::Medium).describe()),
        ("tool.call, of a server, high".to_owned(), brokered_call(Risk::High).describe()),
        ("tool.call, of a server, as a model writes it, low".to_owned(), call_of_server(Risk::Low)),
        ("tool.call, of a server, as a model writes it, high".to_owned(), call_of_server(Risk::High)),
        ("question.ask".to_owned(), ask_person()),
        ("question.answer, by who asked for the run".to_owned(), answer(true)),
        ("question.answer, by another".to_owned(), answer(false)),
        ("sandbox.start, work".to_owned(), work()),
        ("sandbox.start, check".to_owned(), check()),
        ("git.read".to_owned(), read_git()),
        ("git.push".to_owned(), push_git()),
        ("git.push, a workflow touched".to_owned(), push(&[".github/workflows/ci.yml"], &[])),
        ("git.push, a secret added".to_owned(), push(&[], &["AWS key in a line 1"])),
        ("proposal.open, tests counted".to_owned(), propose(3, &[])),
        ("proposal.open, tests not counted".to_owned(), propose(0, &[])),
        ("proposal.open, a CI file changed".to_owned(), propose(3, &[".github/workflows/ci.yml"])),
        ("proposal.open, a test of the base deleted".to_owned(), propose_with_gate(&["tests/a.rs (deleted)"])),
        ("proposal.open, more done than declared".to_owned(), propose_beyond(&["ran /usr/bin/curl"])),
        (
            "proposal.open, by a reviewer, whose author drifted".to_owned(),
            propose_made_by(Authorship { drifted: true, ..Authorship::default() }),
        ),
        (
            "proposal.open, by a reviewer, whose author departed".to_owned(),
            propose_made_by(Authorship { departed: true, ..Authorship::default() }),
        ),
        ("proposal.merge, by its author's chain".to_owned(), merge_own()),
        ("proposal.merge, by another".to_owned(), merge_others()),
        ("approval.grant, by who asked for the run".to_owned(), approve_own()),
        ("approval.grant, by another".to_owned(), approve_others()),
    ];
    orders.extend(Method::ALL.iter().map(|method| (format!("http.request, {}", method.as_str()), http(*method, "/x"))));
    for (act, path) in [
        ("merge", "/repos/acme/shop/pulls/7/merge"),
        ("review", "/repos/acme/shop/pulls/7/reviews"),
        ("push", "/acme/shop.git/git-receive-pack"),
    ] {
        orders.push((format!("http.request, a {act} at a forge"), http(Method::Post, path)));
    }
    let typed: BTreeSet<Verb> = orders.iter().map(|(_, order)| order.verb).collect();
    let bare = Verb::ALL.iter().filter(|verb| !typed.contains(verb));
    orders.extend(bare.map(|verb| (verb.to_string(), untyped(*verb))));
    orders
}

fn verdicts(defaults: &Policies, order: &Description, context: &Context, approved: bool) -> String {
    let mut by_outcome: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (who, subject) in &subjects() {
        let asked = Question { approved, ..question(subject, order, context) };
        by_outcome.entry(told(&defaults.judge(&asked))).or_default().push(who);
    }
    let line = |(outcome, who): (&String, &Vec<&str>)| format!("    {outcome:<75} {}\n", who.join(" "));
    by_outcome.iter().map(line).collect()
}

fn told(verdict: &Verdict) -> String {
    let by = names(verdict.policies()).join(", ");
    match verdict {
        Verdict::Allow { .. } => format!("allow           {by}"),
        Verdict::Deny(denial) => format!("deny            {} {by}", denial.code.as_str()),
        Verdict::NeedsApproval(_) => format!("needs approval  {by}"),
    }
    .trim_end()
    .to_owned()
}

#[test]
fn who_may_do_what_by_default() {
    let defaults = Policies::defaults().unwrap();
    let mut table = String::from(LEGEND);
    for (name, order) in &orders() {
        writeln!(table, "{name}").unwrap();
        let mut told: Vec<(String, Vec<&str>)> = Vec::new();
        for (circumstance, context, approved) in &circumstances() {
            let verdicts = verdicts(&defaults, order, context, *approved);
            match told.iter_mut().find(|(same, _)| *same == verdicts) {
                Some((_, circumstances)) => circumstances.push(circumstance),
                None => told.push((verdicts, vec![circumstance])),
            }
        }
        // The commonest circumstances last, as `otherwise`: what differs is what a reviewer looks for.
        told.sort_by_key(|(_, circumstances)| circumstances.len());
        let (common, special) = told.split_last().unwrap();
        for (verdicts, circumstances) in special {
            writeln!(table, "  {}", circumstances.join("; ")).unwrap();
            table.push_str(verdicts);
        }
        writeln!(table, "  {}", if special.is_empty() { "always" } else { "otherwise" }).unwrap();
        table.push_str(&common.0);
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_denial_the_defaults_can_give() {
    let defaults = Policies::defaults().unwrap();
    let mut catalogue: BTreeSet<String> = BTreeSet::new();
    for (_, order) in &orders() {
        for (_, context, approved) in &circumstances() {
            for (_, subject) in &subjects() {
                let asked = Question { approved: *approved, ..question(subject, order, context) };
                if let Verdict::Deny(denial) | Verdict::NeedsApproval(denial) = defaults.judge(&asked) {
                    assert!(!denial.next_step.is_empty());
                    catalogue.insert(denial.to_string());
                }
            }
        }
    }
    let named = catalogue.iter().cloned().collect::<Vec<_>>().join("\n");
    for text in defaults.list().filter(|text| text.effect == crate::Effect::Forbid) {
        assert!(named.contains(text.name.as_str()), "no circumstance above meets `{}`", text.name);
        assert!(text.next_step.is_some(), "`{}` does not say what to do next", text.name);
    }
    insta::assert_snapshot!(named);
}
