//! Answers of the Gemini API, read chunk by chunk. Each is a whole object, and so is each call in it.

use std::collections::BTreeSet;
use std::mem;

use serde_json::{Map, Value};

use super::super::answer::{Answer, CALLS_MAX, Call, Garbled, Metered, Ruling};
use super::super::denials::Denials;
use super::super::shape::named;
use super::super::{Egress, Usage, json, sse};

/// What the id of a call begins with where the vendor gave none.
pub(super) const MADE_UP: &str = "selvedge-call-";

/// Reads one answer: a stream, a whole body, or a count of tokens.
#[derive(Debug, Clone)]
pub struct Reader {
    granted: BTreeSet<Egress>,
    state: State,
    /// Ids of the calls so far.
    ids: BTreeSet<String>,
    out: Vec<u8>,
    metered: Metered,
}

/// How far an answer has come.
#[derive(Debug, Clone)]
enum State {
    /// Nothing of it has come.
    Begins,
    /// Something has, and nothing waits.
    Goes,
    /// This has calls that wait for their rulings.
    Waits(Chunk),
    /// Why it ended was said. More may come: some models say it in each chunk, and usage may come last.
    Ended,
    /// An error, or a whole body: nothing comes behind it.
    Over,
}

/// An object with calls, as it came.
#[derive(Debug, Clone)]
struct Chunk {
    text: String,
    object: Map<String, Value>,
    /// The calls, with the part that each stands in.
    calls: Vec<(usize, Call)>,
    is_body: bool,
    /// The state once it was ruled on.
    then: Box<State>,
}

impl Reader {
    /// At the beginning of an answer to a request that was granted these.
    pub fn new(granted: BTreeSet<Egress>) -> Self {
        let (out, metered) = (Vec::new(), Metered::default());
        Self { granted, state: State::Begins, ids: BTreeSet::new(), out, metered }
    }

    /// Takes an object: a chunk of a stream, or a body.
    fn takes(&mut self, text: &str, is_body: bool) -> Result<Vec<Call>, Garbled> {
        // Whatever goes wrong, nothing comes out any more.
        let before = mem::replace(&mut self.state, State::Over);
        let object = json::object(text.as_bytes())?;
        match before {
            State::Begins => {}
            State::Goes | State::Ended if !is_body => {}
            State::Goes | State::Ended | State::Waits(_) | State::Over => {
                self.state = before;
                return Err(Garbled::Misplaced("something behind its end or before a ruling".to_owned()));
            }
        }
        if object.contains_key("error") {
            if object.contains_key("candidates") {
                return Err(Garbled::Misplaced("`error` beside an answer".to_owned()));
            }
            self.passes(text, is_body);
            return Ok(vec![]);
        }
        if is_body && object.get("totalTokens").is_some_and(Value::is_u64) && !object.contains_key("candidates") {
            self.metered.is_final = true;
            self.passes(text, is_body);
            return Ok(vec![]);
        }
        let calls = self.calls(&object)?;
        let has_ended = matches!(before, State::Ended) || ends(&object);
        self.counts(&object);
        self.metered.is_final = is_body && self.metered.usage != Usage::default();
        let then = match (is_body, has_ended) {
            (true, _) => State::Over,
            (false, true) => State::Ended,
            (false, false) => State::Goes,
        };
        let given: Vec<_> = calls.iter().map(|(_, call)| call.clone()).collect();
        if calls.is_empty() {
            self.passes(text, is_body);
            self.state = then;
        } else {
            let then = Box::new(then);
            self.state = State::Waits(Chunk { text: text.to_owned(), object, calls, is_body, then });
        }
        Ok(given)
    }

    fn passes(&mut self, text: &str, is_body: bool) {
        if is_body {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            sse::write(&mut self.out, "", text);
        }
    }

    /// The calls of a chunk. There is one candidate, because the request asked for one.
    fn calls(&mut self, chunk: &Map<String, Value>) -> Result<Vec<(usize, Call)>, Garbled> {
        let candidate = match chunk.get("candidates") {
            None => return Ok(vec![]),
            Some(Value::Array(candidates)) => match candidates.as_slice() {
                [] => return Ok(vec![]),
                [candidate] => candidate,
                _ => return Err(Garbled::Misplaced("several candidates".to_owned())),
            },
            Some(_) => return Err(other("candidates")),
        };
        let parts = match candidate.as_object().ok_or_else(|| other("candidates"))?.get("content") {
            None => return Ok(vec![]),
            Some(Value::Object(content)) => match content.get("parts") {
                None => return Ok(vec![]),
                Some(parts) => parts.as_array().ok_or_else(|| other("parts"))?,
            },
            Some(_) => return Err(other("content")),
        };
        let mut calls = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            if let Some(call) = self.part(part.as_object().ok_or_else(|| other("parts"))?)? {
                calls.push((index, call));
            }
        }
        Ok(calls)
    }

    /// Looks at a part. Gives the call that it is, if it is one.
    fn part(&mut self, part: &Map<String, Value>) -> Result<Option<Call>, Garbled> {
        let mut kinds = 0;
        let mut call = None;
        for (name, value) in part {
            match name.as_str() {
                "thought" | "thoughtSignature" => continue,
                "text" => self.metered.written_bytes += value.as_str().ok_or_else(|| other("text"))?.len() as u64,
                "inlineData" => {}
                "functionCall" => call = Some(self.call(value.as_object().ok_or_else(|| other("functionCall"))?)?),
                "executableCode" | "codeExecutionResult" if self.granted.contains(&Egress::VendorTools) => {}
                _ => return Err(Garbled::Unknown(named(name))),
            }
            kinds += 1;
        }
        if kinds > 1 {
            return Err(Garbled::Misplaced("two kinds in one part".to_owned()));
        }
        Ok(call)
    }

    fn call(&mut self, call: &Map<String, Value>) -> Result<Call, Garbled> {
        if let Some(name) = call.keys().find(|name| !matches!(name.as_str(), "id" | "name" | "args")) {
            return Err(Garbled::Unknown(named(name)));
        }
        let name = call.get("name").and_then(Value::as_str).ok_or_else(|| other("name"))?.to_owned();
        let arguments = match call.get("args") {
            None => "{}".to_owned(),
            Some(args @ Value::Object(_)) => args.to_string(),
            Some(_) => return Err(Garbled::Syntax("a JSON object where a tool is called")),
        };
        let id = match call.get("id") {
            None => format!("{MADE_UP}{}", self.ids.len() + 1),
            Some(id) => id.as_str().ok_or_else(|| other("id"))?.to_owned(),
        };
        self.metered.written_bytes += arguments.len() as u64;
        if !self.ids.insert(id.clone()) {
            return Err(Garbled::Misplaced("an `id` twice".to_owned()));
        }
        if self.ids.len() > CALLS_MAX {
            return Err(Garbled::TooMuch("many tool calls"));
        }
        Ok(Call { id, name, arguments, is_json: true })
    }

    /// Takes over the vendor's numbers, each a sum up to here. Those of the prompt hold the cached ones; thoughts are beside the
    /// candidates.
    fn counts(&mut self, chunk: &Map<String, Value>) {
        let Some(usage) = chunk.get("usageMetadata").and_then(Value::as_object) else { return };
        let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (cached, reasoning) = (count("cachedContentTokenCount"), count("thoughtsTokenCount"));
        let input = count("promptTokenCount").saturating_sub(cached).saturating_add(count("toolUsePromptTokenCount"));
        let beside = count("totalTokenCount")
            .saturating_sub(count("promptTokenCount"))
            .saturating_sub(count("toolUsePromptTokenCount"));
        // What no other number accounts for was written, which is the dearer.
        let output = count("candidatesTokenCount").saturating_add(reasoning).max(beside);
        self.metered.usage = Usage { input, cached, cache_write: 0, output, reasoning };
    }
}

impl Answer for Reader {
    fn event(&mut self, name: &str, data: &str) -> Result<Vec<Call>, Garbled> {
        if !name.is_empty() {
            self.state = State::Over;
            return Err(Garbled::Misplaced(format!("an event `{}`", named(name))));
        }
        self.takes(data, false)
    }

    fn body(&mut self, body: &[u8]) -> Result<Vec<Call>, Garbled> {
        let body = std::str::from_utf8(body).map_err(|_| Garbled::Syntax("UTF-8"))?;
        self.takes(body, true)
    }

    fn rule(&mut self, rulings: &[Ruling], denials: &mut Denials) {
        match mem::replace(&mut self.state, State::Over) {
            State::Waits(mut chunk) if chunk.calls.len() == rulings.len() => {
                let mut is_changed = false;
                for ((index, call), ruling) in chunk.calls.iter().zip(rulings) {
                    let Ruling::Denied { told } = ruling else { continue };
                    deny(&mut chunk.object, *index, &denials.deny(call, told), denials.name());
                    is_changed = true;
                }
                let text = if is_changed { Value::Object(chunk.object).to_string() } else { chunk.text };
                self.passes(&text, chunk.is_body);
                self.state = *chunk.then;
            }
            // Rulings on something else than what was asked: nothing passes, and `end` says that it was cut.
            state => self.state = state,
        }
    }

    fn end(&mut self) -> Result<(), Garbled> {
        match self.state {
            State::Ended => {
                // Why it ended may be said in each chunk, so that its numbers are the last ones only now.
                self.metered.is_final = self.metered.usage != Usage::default();
                Ok(())
            }
            State::Over => Ok(()),
            State::Begins | State::Goes | State::Waits(_) => Err(Garbled::Cut),
        }
    }

    fn drain(&mut self) -> Vec<u8> {
        mem::take(&mut self.out)
    }

    fn metered(&self) -> Metered {
        self.metered
    }

    fn twin(&self) -> Box<dyn Answer> {
        Box::new(self.clone())
    }
}

/// Makes a call in a chunk one of `name`, with `arguments`. Its id stays, and so does the signature beside it, which the vendor wants back.
fn deny(chunk: &mut Map<String, Value>, index: usize, arguments: &str, name: &str) {
    let parts =
        chunk.get_mut("candidates").and_then(|candidates| candidates.get_mut(0)?.get_mut("content")?.get_mut("parts"));
    let call = parts.and_then(|parts| parts.get_mut(index)?.get_mut("functionCall")?.as_object_mut());
    if let Some(call) = call {
        call.insert("name".to_owned(), Value::from(name));
        call.insert("args".to_owned(), serde_json::from_str(arguments).unwrap_or_default());
    }
}

/// Whether a chunk says why the answer ended: with a reason, or because the question was not answered at all.
fn ends(chunk: &Map<String, Value>) -> bool {
    let reason = chunk.get("candidates").and_then(|candidates| candidates.get(0)?.get("finishReason"));
    let blocked = chunk.get("promptFeedback").and_then(|feedback| feedback.get("blockReason"));
    reason.or(blocked).is_some_and(Value::is_string)
}

fn other(name: &str) -> Garbled {
    Garbled::Misplaced(format!("something else in `{name}`"))
}
