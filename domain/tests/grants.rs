//! Grants as an order: reflexive, transitive, antisymmetric up to meaning; and a grant that is contained allows nothing that
//! the one around it does not (invariant 8, C2).

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use selvedge_domain::{
    Ceiling, CredentialName, Endpoint, Grant, HostPattern, Loan, May, Method, ModelName, Reach, ServerName, Time,
    ToolScope, Trust,
};

/// Few hosts, ports and paths, so that what is drawn is often comparable.
fn endpoint() -> impl Strategy<Value = Endpoint> {
    (select(vec!["a.example", "b.example"]), select(vec![80_u16, 443]))
        .prop_map(|(host, port)| Endpoint { host: HostPattern::parse(host).unwrap(), port })
}

fn path() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "ab"]), 0..3).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn reach() -> impl Strategy<Value = Reach> {
    let methods = subsequence(vec![Method::Get, Method::Head, Method::Put], 1..=3);
    (endpoint(), methods, path()).prop_map(|(endpoint, methods, path_prefix)| Reach {
        endpoint,
        methods: methods.into_iter().collect(),
        path_prefix,
    })
}

fn loan() -> impl Strategy<Value = Loan> {
    (select(vec!["key", "token"]), reach())
        .prop_map(|(name, uses)| Loan { credential: CredentialName::parse(name).unwrap(), uses })
}

fn grant() -> impl Strategy<Value = Grant> {
    let trust = select(Trust::ALL.to_vec());
    let may = subsequence(May::ALL.to_vec(), 0..=May::ALL.len());
    let audiences = btree_set("[xy]", 0..2);
    let reaches = || btree_set(reach(), 0..4);
    let models = btree_set("[mn]", 0..2).prop_map(|models| {
        models.iter().map(|model: &String| ModelName::parse(model).unwrap()).collect::<BTreeSet<_>>()
    });
    let tools = btree_set(select(vec!["a", "b"]), 0..3).prop_map(|servers| {
        let server = |name| ToolScope::List { server: ServerName::parse(name).unwrap() };
        servers.into_iter().map(server).collect::<BTreeSet<_>>()
    });
    (trust, may, reaches(), reaches(), audiences, btree_set(loan(), 0..3), models, tools, 0_u64..4).prop_map(
        |(trust, may, reach, may_ask, audiences, loans, models, tools, until)| Grant {
            trust,
            may: may.into_iter().collect(),
            reach,
            may_ask,
            audiences,
            loans,
            models,
            tools,
            until: Time::from_millis(until),
        },
    )
}

/// A grant and one that was narrowed from it at random, as a parent would hand it down.
fn narrowed() -> impl Strategy<Value = (Grant, Grant)> {
    (grant(), any::<u64>(), select(vec!["", "/a", "/a/b"]), 0_u64..4).prop_map(|(wide, bits, deeper, earlier)| {
        let mut bits = bits;
        let mut keep = || {
            bits = bits.rotate_right(1);
            bits & 1 == 0
        };
        let narrow = |reach: &Reach| {
            let prefix = reach.path_prefix.trim_end_matches('/');
            let path_prefix = if deeper.is_empty() { reach.path_prefix.clone() } else { format!("{prefix}{deeper}") };
            Reach { path_prefix, ..reach.clone() }
        };
        let grant = Grant {
            trust: if keep() { wide.trust } else { Trust::Observe },
            may: wide.may.iter().copied().filter(|_| keep()).collect(),
            reach: wide.reach.iter().filter(|_| keep()).map(narrow).collect(),
            may_ask: wide.may_ask.iter().filter(|_| keep()).map(narrow).collect(),
            audiences: wide.audiences.iter().filter(|_| keep()).cloned().collect(),
            loans: wide.loans.iter().filter(|_| keep()).map(|l| Loan { uses: narrow(&l.uses), ..l.clone() }).collect(),
            models: wide.models.iter().filter(|_| keep()).cloned().collect(),
            tools: wide.tools.iter().filter(|_| keep()).cloned().collect(),
            until: Time::from_millis(wide.until.as_millis().saturating_sub(earlier)),
        };
        (wide, grant)
    })
}

/// Everything a grant allows, of a world small enough to try it all.
fn allowed(grant: &Grant) -> BTreeSet<String> {
    let mut allowed: BTreeSet<String> = grant.may.iter().map(|may| may.as_str().to_owned()).collect();
    allowed.extend(grant.audiences.iter().map(|audience| format!("audience {audience}")));
    allowed.extend(grant.models.iter().map(|model| format!("model {model}")));
    allowed.extend(grant.tools.iter().map(|tool| format!("tool {tool:?}")));
    allowed.extend(Trust::ALL.iter().filter(|trust| **trust <= grant.trust).map(|trust| format!("trust {trust}")));
    allowed.extend((0..=grant.until.as_millis()).map(|at| format!("at {at}")));
    let paths = ["/", "/a", "/b", "/ab", "/a/a", "/a/b", "/ab/a", "/b/a", "/a/b/a", "/a/b/ab", "/b/b/b/b"];
    for (host, port) in [("a.example", 80), ("a.example", 443), ("b.example", 80), ("b.example", 443)] {
        let endpoint = Endpoint { host: HostPattern::parse(host).unwrap(), port };
        for (method, path) in Method::ALL.iter().flat_map(|method| paths.map(|path| (*method, path))) {
            let request = format!("{} {host}:{port}{path}", method.as_str());
            if grant.reach.iter().any(|reach| reach.covers(&endpoint, method, path)) {
                allowed.insert(request.clone());
            }
            if grant.may_ask.iter().any(|reach| reach.covers(&endpoint, method, path)) {
                allowed.insert(format!("ask for {request}"));
            }
            let lent = grant.loans.iter().filter(|loan| loan.uses.covers(&endpoint, method, path));
            allowed.extend(lent.map(|loan| format!("{request} with {}", loan.credential)));
        }
    }
    allowed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_grant_contains_itself(grant in grant()) {
        prop_assert!(grant.contains(&grant));
    }

    #[test]
    fn what_a_child_may_its_parent_may_a58((parent, child) in narrowed()) {
        prop_assert!(parent.contains(&child));
        prop_assert!(allowed(&child).is_subset(&allowed(&parent)));
    }

    #[test]
    fn containment_means_that_nothing_more_is_allowed_whatever_is_compared(one in grant(), other in grant()) {
        if one.contains(&other) {
            prop_assert!(allowed(&other).is_subset(&allowed(&one)));
        }
        if one.contains(&other) && other.contains(&one) {
            prop_assert_eq!(allowed(&one), allowed(&other), "antisymmetric up to meaning");
        }
    }

    #[test]
    fn containment_passes_down_a_chain((a, b) in narrowed(), c in grant()) {
        if b.contains(&c) {
            prop_assert!(a.contains(&c));
        }
        if c.contains(&a) {
            prop_assert!(c.contains(&b));
        }
    }

    #[test]
    fn a_child_may_what_lies_in_both_and_nothing_more_b4_a58(one in grant(), other in grant(), third in grant()) {
        let until = Time::from_millis(0);
        let [one, other, third] = [one, other, third].map(|grant| Ceiling::from(&grant));
        let means = |ceiling: &Ceiling| {
            let Ceiling { trust, may, reach, audiences, loans } = ceiling.clone();
            allowed(&Grant { trust, may, reach, audiences, loans, until, may_ask: BTreeSet::new(), models: BTreeSet::new(), tools: BTreeSet::new() })
        };
        let meet = one.meet(&other);
        prop_assert!(one.contains(&meet) && other.contains(&meet), "{meet:?}");
        let both: BTreeSet<String> = means(&one).intersection(&means(&other)).cloned().collect();
        prop_assert_eq!(means(&meet), both, "exactly what both allow");
        // Whatever lies in both lies in the meet: no rule is lost, so that a grant met with itself means what it meant.
        prop_assert!(!(one.contains(&third) && other.contains(&third)) || meet.contains(&third));
        prop_assert!(one.meet(&one).contains(&one), "idempotent");
        prop_assert_eq!(meet.meet(&meet), meet.clone(), "and the same rules from then on");
        prop_assert_eq!(other.meet(&one), meet, "whichever is named first");
    }

    #[test]
    fn a_narrower_bound_never_allows_more_b4((wide, narrow) in narrowed(), other in grant()) {
        let [wide, narrow, other] = [wide, narrow, other].map(|grant| Ceiling::from(&grant));
        prop_assert!(wide.meet(&other).contains(&narrow.meet(&other)));
    }

    #[test]
    fn whatever_is_asked_for_a_grant_gains_only_what_may_be_asked_e7(before in grant(), asked in vec(reach(), 0..6)) {
        let after = asked.iter().fold(before.clone(), |grant, rule| grant.widened(rule).unwrap_or(grant));
        let may_be = |rule: &&Reach| !rule.methods.is_empty() && before.may_ask.iter().any(|rules| rules.contains(rule));
        let given: BTreeSet<Reach> = asked.iter().filter(may_be).cloned().collect();
        let reach = before.reach.union(&given).cloned().collect();
        prop_assert_eq!(&after, &Grant { reach, ..before.clone() });
        // And in what it means: requests that were allowed, or could be asked for, and nothing of any other kind.
        let could: BTreeSet<String> = allowed(&before);
        for request in allowed(&after).difference(&could) {
            prop_assert!(could.contains(&format!("ask for {request}")), "{request}");
        }
    }

    #[test]
    fn what_overlaps_is_covered_by_both(one in reach(), other in reach()) {
        let covered = |reach: &Reach| {
            let grant = Grant {
                trust: Trust::Observe, may: BTreeSet::new(), reach: [reach.clone()].into(), may_ask: BTreeSet::new(),
                audiences: BTreeSet::new(), loans: BTreeSet::new(), models: BTreeSet::new(), tools: BTreeSet::new(), until: Time::from_millis(0),
            };
            allowed(&grant).into_iter().filter(|text| text.contains("example")).collect::<BTreeSet<_>>()
        };
        let shared = !covered(&one).is_disjoint(&covered(&other));
        prop_assert!(!shared || one.overlaps(&other), "two credentials could go into one request");
    }
}
