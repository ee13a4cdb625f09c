//! A door that rehearses says in a model's place what was written down for it, so that an agent shows how it takes a call that is allowed
//! and one that is denied (`docs/decisions/0021-rehearsal.md`). Owns which turn answers which request; the protocols are `scripted`'s. No I/O.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_scripted::{Once, Turn};
use serde_json::Value;

use super::wanted::{Rehearsal, RehearsedTurn};

/// How often the turn is said. An agent may ask again after an answer that it did not read to its end.
const SAID_MAX: u64 = 4;

/// What everything else is answered: titles that agents ask for on the side, and whoever does not come to an end.
const ASIDE: &str = "This is a rehearsal.";

/// What a rehearsing door remembers.
#[derive(Debug)]
pub(crate) struct Rehearsing {
    rehearsal: Rehearsal,
    answers: AtomicU64,
    said: AtomicU64,
}

/// An answer, and whether the request showed that the turn before was taken as it should be.
pub(crate) struct Rehearsed {
    pub(crate) answer: Vec<u8>,
    pub(crate) came_back: bool,
}

impl Rehearsing {
    /// Nothing was said yet.
    pub(crate) fn new(rehearsal: Rehearsal) -> Self {
        Self { rehearsal, answers: AtomicU64::new(0), said: AtomicU64::new(0) }
    }

    /// Answers a request as it would go to a vendor, which declares these tools. One that only has tokens counted is no turn.
    pub(crate) fn answer(&self, request: Once<'_>, tools: &BTreeSet<String>, generates: bool) -> Rehearsed {
        let Rehearsal { turns, comes_back, ends } = &self.rehearsal;
        let has = |word: &String| memchr::memmem::find(request.body, word.as_bytes()).is_some();
        let came_back = generates && !comes_back.is_empty() && comes_back.iter().all(has);
        let chosen = match (generates, came_back) {
            (false, _) => None,
            (true, true) => chosen(ends, tools),
            (true, false) => chosen(turns, tools).filter(|_| self.said.fetch_add(1, Ordering::Relaxed) < SAID_MAX),
        };
        let turn = chosen.map_or_else(|| Turn::new().text(ASIDE), said);
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        Rehearsed { answer: request.answered(&turn, number), came_back }
    }
}

/// The first whose tool is declared; one without a tool is for requests that declare none.
fn chosen<'a>(turns: &'a [RehearsedTurn], tools: &BTreeSet<String>) -> Option<&'a RehearsedTurn> {
    turns.iter().find(|turn| match &turn.tool {
        Some(tool) => tools.contains(tool),
        None => tools.is_empty(),
    })
}

fn said(turn: &RehearsedTurn) -> Turn {
    let tool = turn.tool.as_deref().unwrap_or_default();
    // A tool of a group is called by its own name.
    let name = tool.rsplit('/').next().unwrap_or_default();
    turn.calls.iter().fold(Turn::new().text(turn.text.as_str()), |said, call| {
        match serde_json::from_str::<Value>(call) {
            Ok(arguments @ Value::Object(_)) => said.call(name, arguments),
            _ => said.call_with_text(name, call.as_str()),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rehearsing() -> Rehearsing {
        let turn = |tool: Option<&str>, text: &str, calls: &[&str]| RehearsedTurn {
            tool: tool.map(str::to_owned),
            text: text.to_owned(),
            calls: calls.iter().map(|call| (*call).to_owned()).collect(),
        };
        Rehearsing::new(Rehearsal {
            turns: vec![
                turn(Some("functions/exec"), "A program.", &["text(1)"]),
                turn(Some("bash"), "Two calls.", &[r#"{"command":"no"}"#, r#"{"command":"yes"}"#]),
                turn(None, "An edit.", &[]),
            ],
            comes_back: vec!["told-7".to_owned(), "made-9".to_owned()],
            ends: vec![turn(Some("bash"), "The end.", &[r#"{"command":"end"}"#])],
        })
    }

    /// Answers a request with these tools in which this was said last.
    fn answered(rehearsing: &Rehearsing, tools: &[&str], last: &str) -> (String, bool) {
        let function = |name: &&str| json!({ "type": "function", "function": { "name": name } });
        let tools_named: Vec<_> = tools.iter().map(function).collect();
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": last }] });
        if !tools.is_empty() {
            body["tools"] = json!(tools_named);
        }
        let body = body.to_string();
        let request = Once { path: "/v1/chat/completions", query: "", fields: &[], body: body.as_bytes() };
        let Rehearsed { answer, came_back } =
            rehearsing.answer(request, &tools.iter().map(|tool| (*tool).to_owned()).collect(), true);
        (String::from_utf8(answer).unwrap(), came_back)
    }

    #[test]
    fn the_turn_is_the_one_whose_tool_is_declared() {
        let rehearsing = rehearsing();
        let (two, came_back) = answered(&rehearsing, &["bash", "edit"], "go");
        assert!(two.contains("Two calls.") && two.contains("yes") && !came_back, "{two}");
        assert!(answered(&rehearsing, &[], "go").0.contains("An edit."));
        assert!(answered(&rehearsing, &["else"], "go").0.contains(ASIDE));
    }

    #[test]
    fn only_a_request_that_has_all_of_it_has_come_back_and_is_ended() {
        let rehearsing = rehearsing();
        for last in ["told-7", "made-9", "told-8 made-9"] {
            assert!(!answered(&rehearsing, &["bash"], last).1, "{last}");
        }
        let (end, came_back) = answered(&rehearsing, &["bash"], "made-9, told-7");
        assert!(came_back && end.contains("The end."), "{end}");
        assert!(answered(&rehearsing, &["else"], "made-9, told-7").0.contains(ASIDE), "a word ends others");
    }

    #[test]
    fn counting_tokens_is_no_turn_and_shows_nothing_e5() {
        let rehearsing = rehearsing();
        let tools = ["bash".to_owned()].into();
        for last in ["go", "made-9, told-7"] {
            let body = json!({
                "model": "m", "messages": [{ "role": "user", "content": last }],
                "tools": [{ "name": "bash", "input_schema": { "type": "object" } }],
            });
            let body = body.to_string();
            let fields = [("anthropic-version".to_owned(), "2023-06-01".to_owned())];
            let path = "/v1/messages/count_tokens";
            let request = || Once { path, query: "", fields: &fields, body: body.as_bytes() };
            for _ in 0..=SAID_MAX {
                let Rehearsed { answer, came_back } = rehearsing.answer(request(), &tools, false);
                let answer = String::from_utf8(answer).unwrap();
                assert!(!came_back && answer.contains("input_tokens"), "{answer}");
            }
        }
        assert!(answered(&rehearsing, &["bash"], "go").0.contains("Two calls."));
    }

    #[test]
    fn whoever_goes_round_in_circles_is_not_asked_for_ever() {
        let rehearsing = rehearsing();
        let said = (0..9).filter(|_| answered(&rehearsing, &["bash"], "go").0.contains("Two calls.")).count();
        assert_eq!(said as u64, SAID_MAX);
    }
}
