//! What a tool came to, made anew of what the protocol has: content of kinds that are known, and nothing beside it. No I/O.

use serde_json::{Map, Value, json};

/// Longest answer that an agent is given: what is longer fits no model's attention.
pub const RESULT_BYTES_MAX: usize = 1 << 20;

/// Most pieces of content.
const PIECES_MAX: usize = 1_024;

/// What a tool came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether the tool itself failed.
    pub is_error: bool,
    /// What the agent is given.
    pub told: Value,
}

/// An answer that is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadResult {
    /// It has another shape than the protocol says, or content of a kind that is not known.
    #[error("the answer has content that is not known")]
    Unknown,
    /// It is too long.
    #[error("the answer is too long")]
    TooLong,
}

/// Reads an answer to `tools/call`.
pub fn outcome(result: &Map<String, Value>) -> Result<Outcome, BadResult> {
    let content = result.get("content").and_then(Value::as_array).ok_or(BadResult::Unknown)?;
    if content.len() > PIECES_MAX {
        return Err(BadResult::TooLong);
    }
    let content = content.iter().map(piece).collect::<Result<Vec<_>, _>>()?;
    let is_error = match result.get("isError") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(is_error)) => *is_error,
        Some(_) => return Err(BadResult::Unknown),
    };
    let mut told = json!({ "content": content, "isError": is_error });
    match result.get("structuredContent") {
        None | Some(Value::Null) => {}
        Some(Value::Object(structured)) => {
            if let Some(told) = told.as_object_mut() {
                told.insert("structuredContent".to_owned(), Value::Object(structured.clone()));
            }
        }
        Some(_) => return Err(BadResult::Unknown),
    }
    if told.to_string().len() > RESULT_BYTES_MAX { Err(BadResult::TooLong) } else { Ok(Outcome { is_error, told }) }
}

/// A refusal that a model reads like any answer, so that it can go on otherwise.
pub fn refused(code: &str, next_step: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": format!("denied ({code}): {next_step}") }], "isError": true })
}

/// By its kind: the members it must have, and those it may.
const PIECES: [(&str, &[&str], &[&str]); 4] = [
    ("text", &["text"], &[]),
    ("image", &["data", "mimeType"], &[]),
    ("audio", &["data", "mimeType"], &[]),
    ("resource_link", &["uri", "name"], &["title", "description", "mimeType"]),
];

fn piece(piece: &Value) -> Result<Value, BadResult> {
    let kind = piece.get("type").and_then(Value::as_str).ok_or(BadResult::Unknown)?;
    if kind == "resource" {
        let resource = piece.get("resource").ok_or(BadResult::Unknown)?;
        return Ok(json!({ "type": kind, "resource": members(resource, &["uri"], &["mimeType", "text", "blob"])? }));
    }
    let known = PIECES.iter().find(|(known, _, _)| *known == kind);
    let (_, needed, allowed) = known.ok_or(BadResult::Unknown)?;
    let mut made = members(piece, needed, allowed)?;
    made.insert("type".to_owned(), kind.into());
    Ok(Value::Object(made))
}

/// These members, each a text.
fn members(of: &Value, needed: &[&str], allowed: &[&str]) -> Result<Map<String, Value>, BadResult> {
    let mut made = Map::new();
    for name in needed.iter().chain(allowed) {
        match of.get(*name) {
            Some(Value::String(text)) => drop(made.insert((*name).to_owned(), text.as_str().into())),
            None | Some(Value::Null) if allowed.contains(name) => {}
            _ => return Err(BadResult::Unknown),
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: Value) -> Result<Outcome, BadResult> {
        outcome(result.as_object().unwrap())
    }

    #[test]
    fn what_the_protocol_has_is_passed_on_and_nothing_beside_it() {
        let all = json!({
            "content": [
                { "type": "text", "text": "a", "annotations": { "audience": ["user"] }, "_meta": {} },
                { "type": "image", "data": "AA==", "mimeType": "image/png" },
                { "type": "resource", "resource": { "uri": "file:///x", "text": "b", "_meta": {} } },
                { "type": "resource_link", "uri": "file:///x", "name": "x", "icons": [] },
            ],
            "structuredContent": { "n": 1 }, "_meta": { "x": 1 }, "anything": 1,
        });
        let outcome = read(all).unwrap();
        assert!(!outcome.is_error);
        assert_eq!(
            outcome.told,
            json!({
                "content": [
                    { "type": "text", "text": "a" },
                    { "type": "image", "data": "AA==", "mimeType": "image/png" },
                    { "type": "resource", "resource": { "uri": "file:///x", "text": "b" } },
                    { "type": "resource_link", "uri": "file:///x", "name": "x" },
                ],
                "isError": false, "structuredContent": { "n": 1 },
            })
        );
        assert!(read(json!({ "content": [], "isError": true })).unwrap().is_error);
    }

    #[test]
    fn what_it_does_not_have_is_not_passed_on() {
        for bad in [
            json!({}),
            json!({ "content": "text" }),
            json!({ "content": [{ "type": "video", "data": "" }] }),
            json!({ "content": [{ "type": "text" }] }),
            json!({ "content": [{ "text": "a" }] }),
            json!({ "content": [], "isError": "no" }),
            json!({ "content": [], "structuredContent": [] }),
            json!({ "resultType": "input_required", "inputRequests": {} }),
        ] {
            assert_eq!(read(bad.clone()), Err(BadResult::Unknown), "{bad}");
        }
        let long = json!({ "content": [{ "type": "text", "text": "x".repeat(RESULT_BYTES_MAX) }] });
        assert_eq!(read(long), Err(BadResult::TooLong));
        let many = vec![json!({ "type": "text", "text": "" }); PIECES_MAX + 1];
        assert_eq!(read(json!({ "content": many })), Err(BadResult::TooLong));
    }
}
