//! How a verdict comes about: errors deny, approvals lift what they may, and nothing is allowed without a policy.

use selvedge_authority::{Code, Context, Judge, PolicyName, Question, Verdict};
use selvedge_domain::{Method, Verb};

use super::world::{
    check, code, fixer, http, judge, load, merge_own, mint, names, one_of_each_verb, person, plain, propose, question,
};
use crate::judge::evaluate;
use crate::{ApprovalEffect, DenyAll, Policies};

#[test]
fn every_order_fits_the_schema_a44() {
    // A permit for everything: an order is denied here only if it does not fit.
    let all = load(r#"@id("all") @owner("o") permit (principal, action, resource);"#);
    for order in one_of_each_verb() {
        for subject in [fixer(), person(), selvedge_authority::Subject::Factory] {
            let asked = all.ask(&question(&subject, &order, &plain()));
            assert_eq!(asked.err(), None, "`{}` does not fit", order.verb);
            assert_eq!(judge(&all, &subject, &order, &plain()).as_str(), "allow");
        }
    }
    let covered: std::collections::BTreeSet<Verb> = one_of_each_verb().iter().map(|order| order.verb).collect();
    assert_eq!(covered.len(), Verb::ALL.len());
}

#[test]
fn judges_can_be_shared_between_threads() {
    fn shared<J: Judge + Send + Sync + 'static>() {}
    shared::<Policies>();
    shared::<DenyAll>();
}

#[test]
fn the_defaults_load_without_a_warning() {
    let defaults = Policies::defaults().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(defaults.check().warnings, []);
    assert!(defaults.list().all(|text| text.owner.as_str() == "selvedge defaults"));
}

#[test]
fn a_forbid_that_fails_denies() {
    // The hazard: a forbid looks at an entity that is not there, fails, and Cedar skips it.
    let policies = load(
        r#"@id("permit") @owner("o") permit (principal, action, resource);
           @id("ghost") @owner("o") forbid (principal is Agent, action, resource) when { principal.trust_rank < 3 };"#,
    );
    let (subject, order, context) = (fixer(), check(), plain());
    let mut asked = policies.ask(&question(&subject, &order, &context)).unwrap();
    let shards: Vec<_> = policies.enforced.shards(Verb::SandboxStart, "acme/shop").collect();
    assert!(!evaluate(&asked, &shards).allows(), "the forbid applies while its facts are there");
    asked.entities = cedar_policy::Entities::empty();
    let cedar = cedar_policy::Authorizer::new().is_authorized(&asked.request, shards[0], &asked.entities);
    assert_eq!(cedar.decision(), cedar_policy::Decision::Allow, "without our rule this is allowed");
    let ours = evaluate(&asked, &shards);
    assert!(!ours.allows());
    assert!(ours.errors.contains_key(&PolicyName::new("ghost")));
}

#[test]
fn a_policy_that_fails_is_named_and_its_reason_is_for_the_operator() {
    let policies = load(
        r#"@id("permit") @owner("o") permit (principal, action, resource);
           @id("big") @owner("o") forbid (principal, action == Action::"credential.mint", resource)
           when { context.order.ttl_seconds * 9223372036854775807 > 5 };"#,
    );
    let (subject, order, context) = (fixer(), mint(900), plain());
    let asked = question(&subject, &order, &context);
    let Verdict::Deny(denial) = policies.judge(&asked) else { panic!("must deny") };
    assert_eq!((denial.code, names(&denial.policies)), (Code::PolicyError, vec!["big"]));
    let explained = policies.explain(&asked);
    assert!(explained.errors[0].contains("overflow"), "{:?}", explained.errors);
    assert!(!denial.next_step.contains("overflow"));
}

#[test]
fn an_overflow_denies_even_where_an_approval_would_allow() {
    let policies = load(
        r#"@id("permit") @owner("o") permit (principal, action, resource);
           @id("big") @owner("o") forbid (principal, action == Action::"credential.mint", resource)
           when { context.order.ttl_seconds * 9223372036854775807 > 5 } unless { context.approved };"#,
    );
    let verdict = judge(&policies, &fixer(), &mint(900), &plain());
    assert_eq!(code(&verdict), Some(Code::PolicyError));
}

#[test]
fn an_organisation_can_stop_what_read_a_secret_from_going_out_a78() {
    let policies = load(
        r#"@id("permit") @owner("o") permit (principal, action, resource);
           @id("read-then-out") @owner("o") @next_step("leave it to a run that reads no secret")
           forbid (principal, action == Action::"http.request", resource) when { context.run.read_sensitive };"#,
    );
    let having_read = Context { read_sensitive: true, ..plain() };
    let order = http(Method::Get, "/x");
    assert_eq!(code(&judge(&policies, &fixer(), &order, &plain())), None);
    let Verdict::Deny(denial) = judge(&policies, &fixer(), &order, &having_read) else { panic!("must deny") };
    assert_eq!(names(&denial.policies), ["read-then-out"]);
}

#[test]
fn without_policies_everything_is_denied_with_a_remedy() {
    for policies in [Policies::from_sources(vec![]).unwrap(), load("// nothing yet\n")] {
        for order in one_of_each_verb() {
            let Verdict::Deny(denial) = judge(&policies, &person(), &order, &plain()) else { panic!("must deny") };
            assert_eq!(denial.code, Code::PolicyError);
            assert!(denial.next_step.contains("selvedge init"));
        }
    }
}

#[test]
fn a_factory_whose_policies_do_not_load_denies_and_tells_no_path() {
    let judge = DenyAll::new("/etc/factory/policies/a.cedar:3:1: nonsense".to_owned());
    let (subject, order, context) = (fixer(), check(), plain());
    let Verdict::Deny(denial) = judge.judge(&question(&subject, &order, &context)) else { panic!("must deny") };
    assert_eq!(denial.code, Code::PolicyError);
    assert!(!denial.to_string().contains("/etc"), "an agent may read this");
    assert!(judge.reason().contains("a.cedar:3:1"));
}

#[test]
fn an_approval_that_would_help_is_asked_for_by_the_policies_that_demand_it() {
    let defaults = Policies::defaults().unwrap();
    let (subject, order, context) = (fixer(), propose(3, &[".github/workflows/ci.yml"]), plain());
    let asked = question(&subject, &order, &context);
    let Verdict::NeedsApproval(denial) = defaults.judge(&asked) else { panic!("A-34 must need approval") };
    assert_eq!(denial.code, Code::NeedsApproval);
    assert_eq!(names(&denial.policies), ["guard.runs-elsewhere-needs-approval"]);
    assert!(denial.next_step.contains("a person has to approve"));

    let approved = defaults.judge(&Question { approved: true, ..asked.clone() });
    assert_eq!(approved.as_str(), "allow");
    let ApprovalEffect::Allows { lifts, .. } = defaults.explain(&asked).approval else { panic!("an approval helps") };
    assert_eq!(names(&lifts), ["guard.runs-elsewhere-needs-approval"]);
}

#[test]
fn a_permit_that_waits_for_an_approval_is_named() {
    let policies = load(
        r#"@id("post") @owner("o") @next_step("ask") permit (principal, action == Action::"http.request", resource)
           when { context.approved };"#,
    );
    let verdict = judge(&policies, &fixer(), &http(Method::Post, "/x"), &plain());
    assert_eq!((verdict.as_str(), names(verdict.policies())), ("needs_approval", vec!["post"]));
}

#[test]
fn an_approval_that_would_not_help_is_not_asked_for() {
    let policies = load(
        r#"@id("permit") @owner("o") permit (principal, action, resource);
           @id("soft") @owner("o") forbid (principal, action, resource) unless { context.approved };
           @id("hard") @owner("o") @next_step("stop") forbid (principal, action, resource);"#,
    );
    let Verdict::Deny(denial) = judge(&policies, &fixer(), &check(), &plain()) else { panic!("must deny") };
    assert_eq!((denial.code, names(&denial.policies)), (Code::Forbidden, vec!["hard"]));
    assert_eq!(denial.next_step, "stop");
}

#[test]
fn shadow_policies_are_told_and_never_decide() {
    let policies = load(
        r#"@id("permit") @owner("o") permit (principal, action == Action::"sandbox.start", resource);
           @id("watch") @owner("o") @mode("shadow") forbid (principal, action == Action::"sandbox.start", resource);"#,
    );
    let (subject, order, context) = (fixer(), check(), plain());
    let asked = question(&subject, &order, &context);
    assert_eq!(policies.judge(&asked).as_str(), "allow");
    let shadow = policies.shadow(&asked).unwrap();
    assert!(shadow.differs());
    assert_eq!((shadow.supposed.as_str(), names(&shadow.because)), ("deny", vec!["watch"]));
    let other = mint(60);
    assert_eq!(policies.shadow(&question(&subject, &other, &context)), None, "it does not concern minting");
}

#[test]
fn what_shadow_would_change_names_only_policies_in_shadow() {
    let policies = load(
        r#"@id("permit") @owner("o") permit (principal, action, resource);
           @id("counts") @owner("o") forbid (principal, action, resource) unless { context.approved };
           @id("watch") @owner("o") @mode("shadow") forbid (principal, action, resource) unless { context.approved };"#,
    );
    let (subject, order, context) = (fixer(), check(), plain());
    let shadow = policies.shadow(&question(&subject, &order, &context)).unwrap();
    assert_eq!(names(shadow.enforced.policies()), ["counts"]);
    assert_eq!((names(shadow.supposed.policies()), names(&shadow.because)), (vec!["counts", "watch"], vec!["watch"]));
    assert!(!shadow.differs());
}

#[test]
fn a_permit_in_shadow_permits_nothing() {
    let policies = load(r#"@id("watch") @owner("o") @mode("shadow") permit (principal, action, resource);"#);
    let (subject, order, context) = (fixer(), check(), plain());
    assert_eq!(code(&judge(&policies, &subject, &order, &context)), Some(Code::PolicyError), "none is enforced");
}

#[test]
fn an_explanation_quotes_the_policies_and_what_did_not_apply() {
    let defaults = Policies::defaults().unwrap();
    let (subject, order, context) = (fixer(), merge_own(), plain());
    let forbidden = defaults.explain(&question(&subject, &order, &context));
    let quoted: Vec<&str> = forbidden.determining.iter().map(|text| text.name.as_str()).collect();
    assert_eq!(quoted, ["guard.land-only-where-agreed", "guard.no-own-merge"], "A-67");
    let own = &forbidden.determining[1];
    assert!(own.text.contains("context.order.asked_by_author"));
    assert!(own.annotations.contains(&("owner".to_owned(), "selvedge defaults".to_owned())));
    assert_eq!((own.place.source.as_str(), defaults.find(&own.name)), ("guardrails.cedar", Some(own)));
    assert!(matches!(forbidden.approval, ApprovalEffect::ChangesNothing { forbidden_by } if forbidden_by.len() == 2));

    let order = http(Method::Post, "/x");
    let missing = defaults.explain(&question(&subject, &order, &context));
    assert_eq!(code(&missing.verdict), Some(Code::NotPermitted));
    assert_eq!(names(&missing.permits_that_did_not_apply), ["factory.http-read"]);
    assert!(missing.evaluated < defaults.len(), "only what concerns http.request is evaluated");
}

#[test]
fn no_agent_decides_at_a_forge_however_widely_it_may_write_there_a67() {
    let defaults = crate::defaults::default_sources().map(|(_, text)| text).collect::<String>();
    let wide = r#"@id("wide") @owner("o") permit (principal is Agent, action == Action::"http.request", resource);"#;
    let policies = load(&format!("{defaults}{wide}"));
    let (subject, context) = (fixer(), plain());
    for path in ["/repos/a/b/pulls/7/merge", "/repos/a/b/pulls/7/reviews", "/a/b.git/git-receive-pack", "/api/graphql"]
    {
        let order = http(Method::Post, path);
        let Verdict::Deny(denial) = judge(&policies, &subject, &order, &context) else { panic!("must deny {path}") };
        assert_eq!((denial.code, names(&denial.policies)), (Code::Forbidden, vec!["guard.no-decision-at-a-forge"]));
        assert!(denial.next_step.contains("leave the proposal to people"), "{denial}");
        let approved = Question { approved: true, ..question(&subject, &order, &context) };
        assert_eq!(policies.judge(&approved).as_str(), "deny", "no approval makes an agent a reviewer");
    }
    for path in ["/repos/a/b/pulls", "/repos/a/b/issues/7/comments"] {
        assert_eq!(judge(&policies, &subject, &http(Method::Post, path), &context).as_str(), "allow");
    }
}

#[test]
fn an_explanation_and_the_verdict_never_differ() {
    let defaults = Policies::defaults().unwrap();
    for order in one_of_each_verb() {
        for subject in [fixer(), person(), selvedge_authority::Subject::Factory] {
            let context = plain();
            let asked = question(&subject, &order, &context);
            assert_eq!(defaults.explain(&asked).verdict, defaults.judge(&asked));
        }
    }
}
