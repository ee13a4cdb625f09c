//! Whatever a run holds and whatever it asks for: what it gets is within what it holds (requirement B4, A-58). The judge here reads
//! scopes by itself and compares by trying everything in a small world, not by the order on grants that it judges.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use selvedge_credentials::{DELEGATION_DEPTH_MAX, Inquirer, Issued, OWN_AUDIENCE, Parent};
use selvedge_domain::{CredentialName, Duration, Endpoint, Grant, HostPattern, Loan, May, Method, Reach, Time, Trust};
use serde_json::Value;

use crate::token::{ACCESS, CLOUD, SVID, agent, ask, claims, desk, parent};
use crate::world::{NOW, lease, text};

const OTHER: &str = "https://other.example";
const PATHS: [&str; 8] = ["/", "/a", "/ab", "/a/a", "/a/b", "/b", "/a/b/c", "/ab/a"];

fn reach() -> impl Strategy<Value = Reach> {
    let methods = subsequence(vec![Method::Get, Method::Head, Method::Put], 1..=3);
    (select(vec!["a.example", "b.example"]), select(vec![80_u16, 443]), methods, select(PATHS.to_vec())).prop_map(
        |(host, port, methods, path)| Reach {
            endpoint: Endpoint { host: HostPattern::parse(host).unwrap(), port },
            methods: methods.into_iter().collect(),
            path_prefix: path.to_owned(),
        },
    )
}

fn loan() -> impl Strategy<Value = Loan> {
    (select(vec!["key", "token"]), reach())
        .prop_map(|(name, uses)| Loan { credential: CredentialName::parse(name).unwrap(), uses })
}

fn grant() -> impl Strategy<Value = Grant> {
    let may = subsequence(May::ALL.to_vec(), 0..=May::ALL.len());
    let audiences = subsequence(vec![CLOUD.to_owned(), OTHER.to_owned()], 0..=2);
    let (reach, loans) = (btree_set(reach(), 0..4), btree_set(loan(), 0..3));
    (select(Trust::ALL.to_vec()), may, reach, audiences, loans, 0_u64..600_000).prop_map(
        |(trust, may, reach, audiences, loans, lasts)| Grant {
            trust,
            // Whoever may hand nothing on is refused before any of this (`authority/src/containment.rs`).
            may: may.into_iter().chain([May::Delegate]).collect(),
            reach,
            audiences: audiences.into_iter().collect(),
            may_ask: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            loans,
            until: NOW.after(Duration::from_millis(lasts)),
        },
    )
}

/// A scope: words that `grant` holds, and perhaps some that it may not.
fn scope(grant: &Grant) -> impl Strategy<Value = String> + use<> {
    let held = words(grant);
    let count = held.len();
    let stray = prop_oneof![
        reach().prop_map(|reach| format!("reach:{}", spelled(&reach))),
        loan().prop_map(|loan| format!("loan:{}:{}", loan.credential, spelled(&loan.uses))),
        select(vec!["trust:land", "may:write", "may:follow-up", "audience:https://other.example"])
            .prop_map(str::to_owned),
    ];
    (subsequence(held, 1..=count), vec(stray, 0..3), any::<bool>()).prop_map(|(held, stray, strays)| {
        let stray = stray.into_iter().filter(|_| strays);
        held.into_iter().chain(stray).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
    })
}

fn spelled(reach: &Reach) -> String {
    let methods: Vec<&str> = reach.methods.iter().map(|method| method.as_str()).collect();
    format!("{}:{}:{}{}", methods.join(","), reach.endpoint.host, reach.endpoint.port, reach.path_prefix)
}

fn words(grant: &Grant) -> Vec<String> {
    let mut words = vec![format!("trust:{}", grant.trust)];
    words.extend(grant.may.iter().map(|may| format!("may:{}", may.as_str())));
    words.extend(grant.reach.iter().map(|reach| format!("reach:{}", spelled(reach))));
    words.extend(grant.audiences.iter().map(|audience| format!("audience:{audience}")));
    words.extend(grant.loans.iter().map(|loan| format!("loan:{}:{}", loan.credential, spelled(&loan.uses))));
    words
}

/// Every single thing that the words of a scope allow, spelled out.
fn allowed(scope: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for word in scope.split(' ') {
        match word.split_once(':').unwrap() {
            ("trust", word) => {
                let rank = Trust::ALL.iter().position(|trust| trust.as_str() == word).unwrap();
                allowed.extend((0..=rank).map(|rank| format!("trust {rank}")));
            }
            ("reach", reach) => allowed.extend(requests(reach)),
            ("loan", loan) => {
                let (name, uses) = loan.split_once(':').unwrap();
                allowed.extend(requests(uses).into_iter().map(|request| format!("{request} with {name}")));
            }
            (kind @ ("may" | "audience"), what) => drop(allowed.insert(format!("{kind} {what}"))),
            // No grant of these tests holds it.
            _ => drop(allowed.insert(word.to_owned())),
        }
    }
    allowed
}

fn requests(reach: &str) -> BTreeSet<String> {
    let (methods, rest) = reach.split_once(':').unwrap();
    let (place, path) = rest.split_once('/').unwrap();
    let segments = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let beneath = PATHS.iter().filter(|candidate| segments(candidate).starts_with(&segments(path)));
    let beneath: Vec<_> = beneath.collect();
    methods.split(',').flat_map(|method| beneath.iter().map(move |path| format!("{method} {place}{path}"))).collect()
}

/// What must hold of every token that is issued.
fn narrower(issued: &Issued, held: &str, until: Time, depth: u64, budget: u64) -> Result<(), TestCaseError> {
    let claims = claims(&text(&issued.token));
    let number = |pointer: &str| claims.pointer(pointer).and_then(Value::as_u64).unwrap();
    let scope = claims["scope"].as_str().unwrap();
    prop_assert!(allowed(scope).is_subset(&allowed(held)), "{} within {}", scope, held);
    prop_assert!(number("/exp") * 1000 <= until.as_millis());
    prop_assert!(number("/exp") <= number("/iat") + 300);
    prop_assert_eq!(number("/selvedge/depth"), depth + 1);
    prop_assert!(number("/selvedge/depth") <= u64::from(DELEGATION_DEPTH_MAX));
    prop_assert!(number("/selvedge/budget") <= budget);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_issued_lies_within_what_is_held_a58(
        (grant, scope) in grant().prop_flat_map(|grant| (Just(grant.clone()), scope(&grant))),
        audience in select(vec![OWN_AUDIENCE, CLOUD, OTHER]),
        (depth, budget_left, budget, late) in (0..4_u32, 0..5_u64, 0..5_u64, 0..400_000_u64),
    ) {
        let desk = desk();
        let now = NOW.after(Duration::from_millis(late));
        let parent = Parent { grant, depth, budget_left, ..parent(1) };
        let form = ask(&desk.svid(1), SVID, &scope, &[("audience", audience), ("budget", &budget.to_string())]);
        let answer = desk.exchange(&form, &parent, 101, now);
        let held = words(&parent.grant).join(" ");
        // The document was made at `NOW` and ends, in whole seconds, 300 later.
        let document_ends = Time::from_millis(NOW.as_millis() / 1000 * 1000 + 300_000);
        let until = parent.grant.until.min(document_ends);
        let asked: BTreeSet<&str> = scope.split(' ').collect();
        let is_held = asked.iter().all(|word| words(&parent.grant).iter().any(|held| held == word));
        let is_spoken_to = audience == OWN_AUDIENCE || parent.grant.audiences.contains(audience);
        match answer {
            Ok(issued) => {
                prop_assert!(is_spoken_to && budget <= budget_left);
                narrower(&issued, &held, until, u64::from(depth), budget_left)?;
            }
            // Word for word what it holds, and everything else in order, is never refused.
            Err(refusal) => prop_assert!(
                !is_held || !is_spoken_to || budget > budget_left || depth >= DELEGATION_DEPTH_MAX
                    || until.as_millis() / 1000 * 1000 <= now.as_millis(),
                "{} of {}", refusal, held
            ),
        }
    }

    #[test]
    fn along_a_chain_every_token_lies_within_the_one_before_and_dies_with_it_b4_c4(
        grants in vec(grant(), 3), scopes in vec(scope(&parent(1).grant), 3), keep in vec(any::<bool>(), 3), cut in 0..3_usize,
    ) {
        let desk = desk();
        let (mut held, mut kind, mut within) = (desk.svid(1), SVID, None::<(String, Time, u64)>);
        let mut tokens = Vec::new();
        for (at, run) in (1..=3).enumerate() {
            // Half the runs hold the usual grant, so that chains get long.
            let grant = if keep[at] { parent(run).grant } else { Grant { audiences: [CLOUD.to_owned()].into(), ..grants[at].clone() } };
            let parent = Parent { grant, ..parent(run) };
            let scope = within.as_ref().map_or_else(|| scopes[at].clone(), |(scope, ..)| {
                if keep[at] { scope.clone() } else { scopes[at].clone() }
            });
            let child = desk.svid(run + 1);
            let form = ask(&held, kind, &scope, &[("actor_token", &child), ("actor_token_type", SVID)]);
            let Ok(issued) = desk.exchange(&form, &parent, 100 + run, NOW) else { break };
            narrower(&issued, &words(&parent.grant).join(" "), parent.grant.until, u64::try_from(at).unwrap(), 100)?;
            if let Some((scope, until, budget)) = &within {
                narrower(&issued, scope, *until, u64::try_from(at).unwrap(), *budget)?;
            }
            (held, kind) = (text(&issued.token), ACCESS);
            let says = claims(&held);
            prop_assert_eq!(&says["sub"], &Value::from(agent(run + 1).to_string()));
            let scope = says["scope"].as_str().unwrap().to_owned();
            within = Some((scope, issued.says.grant.until, issued.says.budget));
            tokens.push(held.clone());
        }
        if cut < tokens.len() {
            desk.disk.revoked.lock().unwrap().insert(lease(101 + u64::try_from(cut).unwrap()));
            for (at, token) in tokens.iter().enumerate() {
                prop_assert_eq!(desk.is_active(token, Inquirer::Service(CLOUD), NOW), at < cut, "{} of {}", at, tokens.len());
            }
        }
    }
}
