//! The factory's own tools, at the tool door like those of any server: `request_access`, `delegate`, `child`, `ask_person`, `report` and
//! `propose`. The first three say to the keeper what the endpoints of the same purpose say, in their words, so that each is one thing that
//! is decided once; the others hand it words, which are data. Never knows what comes of any of them.

use selvedge_domain::ToolName;
use serde_json::{Map, Value, json};

use super::describe::Described;
use super::people::Asker;
use super::server::Broke;
use crate::identity::wanted::{Given, Wanted};
use crate::model::facts::shown;
use crate::protocol::Lease;
use crate::tokens::TokenCall;

/// What the server is called.
pub const NAME: &str = "factory";

/// Longest form that the token endpoint reads.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// Longest request for access, as at the endpoint for it.
const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Longest name of a child, as at the token endpoint.
const CHILD_NAME_BYTES_MAX: usize = 32;

/// The tool that waits for people.
pub const ASK_PERSON: &str = "ask_person";

/// Longest question: a person reads it within minutes, and answers it. A longer one is refused rather than cut, as what is cut is another
/// question.
const QUESTION_CHARS_MAX: usize = 1_000;

/// Longest text that is handed on.
pub const WORDS_CHARS_MAX: usize = 4_000;

/// Its tools, as they are described.
pub fn tools() -> Vec<Described> {
    let text = |what: &str| json!({ "type": "string", "description": what });
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| {
        json!({
            "name": name, "description": description,
            "inputSchema": { "type": "object", "properties": properties, "required": required, "additionalProperties": false },
        })
    };
    let tools = [
        tool(
            "request_access",
            "Ask to reach one more address while you work, within what this task may ask for. A person may have to say yes: work on, and ask \
             again with the same words to learn whether they did.",
            json!({ "reach": text("one rule: `GET https://host/path`"), "reason": text("why, in one sentence") }),
            &["reach", "reason"],
        ),
        tool(
            "delegate",
            "Give a part of the work to another agent, with a part of what you may do. It works by itself, in a sandbox of its own.",
            json!({
                "agent": text("which agent"), "text": text("what it is to do"),
                "scope": text("what it is given, such as `trust:draft may:read may:write`"),
                "budget": text("what it may spend of what you have left, in millionths"),
            }),
            &["agent", "text", "scope"],
        ),
        tool("child", "How work that you delegated stands.", json!({ "child": text("its name") }), &["child"]),
        tool(
            ASK_PERSON,
            "Ask a person something that you cannot find out and cannot go on without. You wait for the answer, for minutes at most; nobody \
             may answer, and then you decide by yourself. An answer is information: it permits nothing.",
            json!({ "question": text("one question, in at most 1000 characters, with what a person has to know to answer it") }),
            &["question"],
        ),
        tool(
            "report",
            "Say something about the work for whoever reviews it: what you could not do, what you are not sure of.",
            json!({ "text": text("what") }),
            &["text"],
        ),
        tool(
            "propose",
            "Say that the work is done, and what it is, for whoever reviews it. The files you leave are what is proposed.",
            json!({ "title": text("in one line"), "summary": text("what changed, and why") }),
            &["title", "summary"],
        ),
    ];
    tools.iter().filter_map(|tool| Described::read(tool).ok()).collect()
}

/// Does what a tool is for.
pub(crate) async fn call(
    asker: Asker<'_>,
    tool: &ToolName,
    arguments: &Map<String, Value>,
) -> Result<Map<String, Value>, Broke> {
    let context = asker.context;
    let given = match tool.as_str() {
        "request_access" => {
            let asked = plain(&json!(arguments));
            if asked.len() > REQUEST_BYTES_MAX {
                return Err(Broke::TooLong);
            }
            context.link.want(Wanted::Access { asked }).await
        }
        "delegate" => {
            let form = form(arguments).filter(|form| form.len() <= FORM_BYTES_MAX).ok_or(Broke::TooLong)?;
            context.link.want(Wanted::Token { call: TokenCall::Child, form: Lease::new(form.into_bytes()) }).await
        }
        "child" => {
            let child = arguments.get("child").and_then(Value::as_str).unwrap_or_default();
            if child.len() > CHILD_NAME_BYTES_MAX {
                return Err(Broke::TooLong);
            }
            let form = Lease::new(child.as_bytes().to_vec());
            context.link.want(Wanted::Token { call: TokenCall::ChildStanding, form }).await
        }
        ASK_PERSON => {
            let question = arguments.get("question").and_then(Value::as_str).unwrap_or_default();
            // What is shown is what was asked: a character that deceives is none of either.
            let question = shown(question.trim(), QUESTION_CHARS_MAX.saturating_add(1));
            if !(1..=QUESTION_CHARS_MAX).contains(&question.chars().count()) {
                let next_step = format!("ask one question, in at most {QUESTION_CHARS_MAX} characters");
                return Ok(told(Some(Given::Denied { code: "question_unfit".to_owned(), next_step })));
            }
            asker.want(Wanted::Question { serial: asker.serial, question }).await
        }
        "report" | "propose" => {
            let text = |name: &str| {
                let text = arguments.get(name).and_then(Value::as_str).unwrap_or_default();
                shown(text, WORDS_CHARS_MAX)
            };
            let words = match tool.as_str() {
                "report" => text("text"),
                _ => format!("{}\n\n{}", text("title").replace('\n', " "), text("summary")),
            };
            context.link.want(Wanted::Words { words, is_proposal: tool.as_str() == "propose" }).await
        }
        _ => return Err(Broke::Gone),
    };
    Ok(told(given))
}

fn told(given: Option<Given>) -> Map<String, Value> {
    let (text, is_error) = match given {
        Some(Given::Access { status, body }) => (body, status >= 400),
        Some(Given::Token { status, body }) => (String::from_utf8_lossy(body.bytes()).into_owned(), status >= 400),
        Some(Given::Allowed) => ("noted".to_owned(), false),
        Some(Given::Told { text }) => (text, false),
        Some(Given::Denied { code, next_step }) => (format!("denied ({code}): {next_step}"), true),
        Some(_) | None => ("denied (not_decided): try again later".to_owned(), true),
    };
    let mut told = Map::new();
    told.insert("content".to_owned(), json!([{ "type": "text", "text": text }]));
    told.insert("isError".to_owned(), is_error.into());
    told
}

/// JSON in plain characters, as the keeper reads it: any other is an escape.
fn plain(value: &Value) -> String {
    let mut plain = String::new();
    for c in value.to_string().chars() {
        match c {
            ' '..='~' => plain.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| plain.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    plain
}

/// Arguments that are texts or numbers, as a form.
fn form(arguments: &Map<String, Value>) -> Option<String> {
    let mut form = String::new();
    let mut arguments: Vec<_> = arguments.iter().collect();
    arguments.sort_by_key(|(name, _)| *name);
    for (name, value) in arguments {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        if !form.is_empty() {
            form.push('&');
        }
        encode(name, &mut form);
        form.push('=');
        encode(&text, &mut form);
    }
    Some(form)
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_described_as_the_protocol_says() {
        let names: Vec<String> = tools().iter().map(|tool| tool.name.to_string()).collect();
        assert_eq!(names, ["request_access", "delegate", "child", "ask_person", "report", "propose"]);
    }

    #[test]
    fn arguments_go_on_in_the_words_of_the_endpoints() {
        let arguments = json!({ "agent": "reader", "text": "a b\u{e9}&c=\"d\"", "budget": 5 });
        assert_eq!(
            form(arguments.as_object().unwrap()).unwrap(),
            "agent=reader&budget=5&text=a%20b%C3%A9%26c%3D%22d%22"
        );
        assert_eq!(form(json!({ "a": [] }).as_object().unwrap()), None);
        let text = plain(&json!({ "reason": "caf\u{e9} \u{1f600} \"x\"" }));
        assert_eq!(text, r#"{"reason":"caf\u00e9 \ud83d\ude00 \"x\""}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "reason": "caf\u{e9} \u{1f600} \"x\"" }));
    }
}
