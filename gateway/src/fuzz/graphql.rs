//! GraphQL: what is read is bounded, is the same however often it is carried, and nothing that ends a string or a comment hides from it.

use selvedge_domain::GraphqlAct;

use crate::graphql::call::Call;
use crate::graphql::document::{ACTS_MAX, acts_of};

/// A call is read in one way: what was read and is written again is read as the same, alone and in a list.
pub(super) fn call(bytes: &[u8]) -> bool {
    let from_query = std::str::from_utf8(bytes).is_ok_and(|text| Call::from_query(text).is_ok());
    let Ok(calls) = Call::from_json(bytes) else { return from_query };
    let written: Vec<_> = calls.iter().map(written).collect();
    assert_eq!(Call::from_json(serde_json::to_string(&written).unwrap().as_bytes()), Ok(calls.clone()));
    let other: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let named = |value: &serde_json::Value| value.get("query").and_then(|text| text.as_str()).map(str::to_owned);
    // A number that is too large for another reader is passed over here; then there is nothing to compare.
    if !other.is_null() {
        let others: Vec<_> =
            other.as_array().map_or_else(|| vec![named(&other)], |list| list.iter().map(named).collect());
        assert_eq!(calls.iter().map(|call| call.query.clone()).collect::<Vec<_>>(), others, "A-47");
    }
    true
}

fn written(call: &Call) -> serde_json::Value {
    let hash =
        call.hash.as_ref().map(|hash| serde_json::json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } }));
    serde_json::json!({ "query": call.query, "extensions": hash })
}

/// What a document does is in its text, is all that it does, and stays with it whatever is written behind it.
pub(super) fn document(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(acts) = acts_of(text) else { return false };
    assert!((1..=ACTS_MAX).contains(&acts.len()));
    assert!(acts.iter().all(|act| text.contains(act.field())), "an act is not in its text");
    assert!(acts.iter().all(|act| GraphqlAct::parse(&act.to_string()).as_ref() == Some(act)));
    // A second operation shows, so no string, comment or circle of fragments swallowed it.
    if let Ok(more) = acts_of(&format!("{text}\nmutation {{ hidden__ }}")) {
        let hidden = GraphqlAct::parse("mutation hidden__").unwrap();
        assert!(more.contains(&hidden) && acts.is_subset(&more), "A-47");
    }
    true
}
