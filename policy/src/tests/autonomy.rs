//! What becomes of an agent that becomes more than its owner registered (B5): it gains nothing, and whoever wants to can stop it.

use selvedge_authority::{Context, Judge as _, Question, Verdict};
use selvedge_domain::{Autonomy, Trust};

use super::world::{agent, drifted, load, one_of_each_verb, plain, question};
use crate::Policies;

/// The page whose example operators copy.
const PAGE: &str = include_str!("../../../docs/decisions/0019-autonomy.md");

/// How much a verdict lets happen.
fn permits(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allow { .. } => 2,
        Verdict::NeedsApproval(_) => 1,
        Verdict::Deny(_) => 0,
    }
}

#[test]
fn no_agent_gains_an_order_by_being_seen_to_be_more_b5() {
    let defaults = Policies::defaults().unwrap();
    let unattended = Context { lands_unattended: true, ..plain() };
    for order in one_of_each_verb() {
        for (registered, seen) in Autonomy::ALL.iter().flat_map(|of| Autonomy::ALL.iter().map(move |to| (*of, *to))) {
            for (context, approved) in [(&plain(), false), (&plain(), true), (&unattended, false), (&unattended, true)]
            {
                let judge =
                    |subject| permits(&defaults.judge(&Question { approved, ..question(&subject, &order, context) }));
                let before = judge(agent(Trust::Release, registered));
                let after = judge(drifted(Trust::Release, registered, seen));
                assert!(after <= before, "`{}` by what is registered as {registered} and is {seen}", order.verb);
            }
        }
    }
}

#[test]
fn the_example_of_the_page_stops_what_drifted_whatever_it_asks_and_nobody_else_b5() {
    let (_, example) = PAGE.split_once("```\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let policies = load(&format!("@id(\"all\") @owner(\"o\") permit (principal, action, resource);\n{example}"));
    assert_eq!(policies.check().warnings, []);
    let context = plain();
    for order in one_of_each_verb() {
        let judge = |subject| permits(&policies.judge(&question(&subject, &order, &context)));
        assert_eq!(judge(drifted(Trust::Release, Autonomy::Supervised, Autonomy::Autonomous)), 0, "`{}`", order.verb);
        assert_eq!(judge(agent(Trust::Release, Autonomy::Autonomous)), 2, "`{}`", order.verb);
    }
}
