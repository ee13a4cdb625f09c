//! Takes the wanted values out of an answer. Total and bounded; never keeps the rest.

use std::collections::BTreeMap;

use serde_json::Value;

/// Longest value that is brought back; stateless tokens of forges have some 520 bytes, cloud tokens up to two thousand.
pub(super) const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Why an answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAnswer {
    #[error("the answer is not JSON")]
    NotJson,
    #[error("the answer is not XML")]
    NotXml,
    #[error("a value of the answer is there twice")]
    Twice,
    #[error("a value of the answer is too long")]
    TooLong,
}

/// The values at these JSON pointers that are there and are text or a number, and how many members a list, `[2]`, or an object,
/// `{2}`, has that is to be counted. An answer without a body has none.
pub(crate) fn wanted(
    body: &[u8],
    pointers: &[String],
    counts: &[String],
) -> Result<BTreeMap<String, String>, BadAnswer> {
    if (pointers.is_empty() && counts.is_empty()) || body.trim_ascii().is_empty() {
        return Ok(BTreeMap::new());
    }
    // Nesting is bounded by the parser, at 128.
    let answer: Value = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    let mut found = BTreeMap::new();
    for pointer in pointers {
        let value = match answer.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => continue,
        };
        if value.len() > VALUE_BYTES_MAX {
            return Err(BadAnswer::TooLong);
        }
        found.insert(pointer.clone(), value);
    }
    for pointer in counts {
        let members = match answer.pointer(pointer) {
            Some(Value::Array(list)) => format!("[{}]", list.len()),
            Some(Value::Object(object)) => format!("{{{}}}", object.len()),
            Some(_) | None => continue,
        };
        found.insert(pointer.clone(), members);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pointers(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_what_is_wanted_is_found() {
        let body = br#"{"auth":{"client_token":"t","lease_duration":60,"list":["x"]},"other":"secret","active":false}"#;
        let wants =
            pointers(&["/auth/client_token", "/auth/lease_duration", "/auth/list", "/auth/list/0", "/none", "/active"]);
        let found = wanted(body, &wants, &[]).unwrap();
        let expected =
            [("/active", "false"), ("/auth/client_token", "t"), ("/auth/lease_duration", "60"), ("/auth/list/0", "x")];
        assert_eq!(found, expected.map(|(pointer, value)| (pointer.to_owned(), value.to_owned())).into());
        assert_eq!(wanted(b"", &wants, &[]), Ok(BTreeMap::new()));
        assert_eq!(wanted(b"not json", &[], &[]), Ok(BTreeMap::new()));
    }

    #[test]
    fn lists_and_objects_are_counted_and_nothing_is_taken_for_another() {
        let count =
            |body: &[u8], pointer: &str| wanted(body, &[], &pointers(&[pointer])).unwrap().get(pointer).cloned();
        for (body, members) in [
            ("[]", Some("[0]")),
            ("[{},{}]", Some("[2]")),
            ("{\"a\":1}", Some("{1}")),
            ("{}", Some("{0}")),
            ("7", None),
        ] {
            assert_eq!(count(body.as_bytes(), "").as_deref(), members, "{body}");
        }
        assert_eq!(count(br#"{"a":["x"],"b":"2"}"#, "/a").as_deref(), Some("[1]"));
        assert_eq!(count(br#"{"a":["x"],"b":"2"}"#, "/b"), None);
        assert_eq!(wanted(b"<html>", &[], &pointers(&[""])), Err(BadAnswer::NotJson));
    }

    #[test]
    fn nonsense_depth_and_length_are_refused() {
        let wants = pointers(&["/a"]);
        assert_eq!(wanted(b"<html>", &wants, &[]), Err(BadAnswer::NotJson));
        assert_eq!(wanted("[".repeat(100_000).as_bytes(), &wants, &[]), Err(BadAnswer::NotJson));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(VALUE_BYTES_MAX + 1));
        assert_eq!(wanted(long.as_bytes(), &wants, &[]), Err(BadAnswer::TooLong));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), pointer in "[/~a0]{0,6}") {
            let _ = wanted(&body, std::slice::from_ref(&pointer), std::slice::from_ref(&pointer));
        }
    }
}
