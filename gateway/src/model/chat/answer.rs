//! An answer of the Chat Completions API, as a stream and as a whole. Owns that from the first piece of a call on everything waits until
//! the answer says that it is finished (calls are only whole then), and that calls go to the agent in one form, however they came.

use serde_json::{Map, Value, json as made};

use super::UsageChunk;
use crate::model::answer::{Answer, CALLS_MAX, Call, EVENT_BYTES_MAX, Garbled, HELD_BYTES_MAX, Metered, Ruling};
use crate::model::denials::Denials;
use crate::model::openai::{self, NO_SUCH_TOOL, array, is_tool_name, kept, kind_of, text};
use crate::model::{json, sse};

/// Members of a chunk, and of a whole answer, besides its choices.
const CHUNK: &[&str] = &["id", "object", "created", "model", "service_tier", "system_fingerprint", "provider"];

/// Members of what is said in a choice, whole or in pieces, besides its calls. The names for reasoning are those of compatible servers.
const SAID: &[&str] =
    &["role", "content", "refusal", "reasoning", "reasoning_content", "reasoning_details", "annotations"];

/// What ends a stream.
const DONE: &str = "[DONE]";

/// Reads one answer.
#[derive(Debug, Clone)]
pub struct Reader {
    usage_chunk: UsageChunk,
    stage: Stage,
    /// What chunks have in common: those that are made here look like the others.
    chunk: Map<String, Value>,
    calls: Vec<Begun>,
    /// Chunks that wait behind the first call.
    held: Vec<Map<String, Value>>,
    held_bytes: usize,
    /// The whole answer, where it is no stream.
    body: Option<Map<String, Value>>,
    out: Vec<u8>,
    metered: Metered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Text and reasoning, which pass as they come.
    Saying,
    /// A call has begun, so that everything waits.
    Calling,
    /// The choice is finished, and its calls were given.
    Asking,
    /// The choice is finished and has passed. Usage may follow.
    Finished,
    /// Nothing may follow.
    Ended,
}

/// A call, as much as came of it.
#[derive(Debug, Clone)]
struct Begun {
    /// Where it stands among the calls, as the server says.
    index: Option<u64>,
    id: String,
    is_custom: bool,
    name: String,
    arguments: String,
}

impl Reader {
    /// A reader for one answer. `usage_chunk` says whether the agent asked for the chunk that says what was used.
    pub fn new(usage_chunk: UsageChunk) -> Self {
        Self {
            usage_chunk,
            stage: Stage::Saying,
            chunk: Map::new(),
            calls: Vec::new(),
            held: Vec::new(),
            held_bytes: 0,
            body: None,
            out: Vec::new(),
            metered: Metered::default(),
        }
    }

    fn take(&mut self, chunk: &Map<String, Value>, bytes: usize) -> Result<Vec<Call>, Garbled> {
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            self.held.clear();
            self.stage = Stage::Ended;
            // What was counted until then may not be all.
            self.metered.is_final = false;
            self.write(&Map::from_iter([("error".to_owned(), error.clone())]));
            return Ok(Vec::new());
        }
        self.meter(chunk);
        let mut rebuilt = kept(chunk, CHUNK);
        if self.chunk.is_empty() {
            self.chunk = rebuilt.clone();
        }
        if self.usage_chunk == UsageChunk::Asked
            && let Some(usage) = chunk.get("usage")
        {
            rebuilt.insert("usage".into(), usage.clone());
        }
        let Some(choice) = only_choice(chunk)? else {
            // What was used, or what a server says before it begins.
            rebuilt.insert("choices".into(), made!([]));
            if rebuilt.get("usage").is_some_and(Value::is_object) {
                self.pass_or_hold(rebuilt, bytes)?;
            }
            return Ok(Vec::new());
        };
        let finish = choice.get("finish_reason").filter(|reason| !reason.is_null());
        let delta = choice.get("delta").and_then(Value::as_object).cloned().unwrap_or_default();
        if self.stage != Stage::Saying && self.stage != Stage::Calling {
            // Some servers say again that it ends, with what was used. What is said behind it has no place.
            if !delta.iter().all(|(member, said)| member == "role" || is_nothing(said)) {
                return Err(misplaced("more behind its end"));
            }
            rebuilt.insert("choices".into(), made!([]));
            if rebuilt.get("usage").is_some_and(Value::is_object) {
                self.pass_or_hold(rebuilt, bytes)?;
            }
            return Ok(Vec::new());
        }
        no_legacy_call(&delta)?;
        let pieces = delta.get("tool_calls").filter(|pieces| !pieces.is_null());
        for piece in array(&delta, "tool_calls") {
            self.stage = Stage::Calling;
            self.piece(piece.as_object().ok_or_else(|| misplaced("a call that is no object"))?)?;
        }
        if pieces.is_some_and(|pieces| !pieces.is_array()) {
            return Err(misplaced("calls that are no list"));
        }
        let said = kept(&delta, SAID);
        self.wrote(said_bytes(&said));
        let mut choice = kept(choice, &["index", "logprobs", "finish_reason"]);
        choice.insert("delta".into(), Value::Object(said));
        if finish.is_some() && !self.calls.is_empty() {
            // The calls stand between what was said and the end.
            let end = Map::from_iter([
                ("index".to_owned(), 0.into()),
                ("delta".to_owned(), made!({})),
                ("finish_reason".to_owned(), choice.get("finish_reason").cloned().unwrap_or(Value::Null)),
            ]);
            choice.insert("finish_reason".into(), Value::Null);
            let mut last = rebuilt.clone();
            last.insert("choices".into(), made!([end]));
            rebuilt.remove("usage");
            rebuilt.insert("choices".into(), made!([choice]));
            self.hold(rebuilt, bytes)?;
            self.stage = Stage::Asking;
            self.hold(last, 0)?;
            return self.calls.iter().map(Begun::call).collect();
        }
        rebuilt.insert("choices".into(), made!([choice]));
        self.pass_or_hold(rebuilt, bytes)?;
        if finish.is_some() {
            self.stage = Stage::Finished;
        }
        Ok(Vec::new())
    }

    /// Takes a piece of a call in. It belongs to the call of its index, unless it says another id; where there is no index, to the last
    /// call, unless it says an id.
    fn piece(&mut self, piece: &Map<String, Value>) -> Result<(), Garbled> {
        let index = piece.get("index").and_then(Value::as_u64);
        let id = text(piece, "id").filter(|id| !id.is_empty());
        let is_same = |begun: &&mut Begun| match index {
            Some(_) => begun.index == index,
            None => true,
        };
        let known = self.calls.iter_mut().rev().find(is_same);
        let known = known.filter(|begun| id.is_none_or(|id| id == begun.id));
        let begun = match known {
            Some(begun) => begun,
            None => {
                if self.calls.len() >= CALLS_MAX {
                    return Err(Garbled::TooMuch("many calls"));
                }
                let made_up = || format!("call_{}_{}", text(&self.chunk, "id").unwrap_or_default(), self.calls.len());
                let id = id.map_or_else(made_up, str::to_owned);
                if self.calls.iter().any(|other| other.id == id) {
                    return Err(misplaced("two calls of one id"));
                }
                let begun =
                    Begun { index, id, is_custom: is_custom(piece)?, name: String::new(), arguments: String::new() };
                self.calls.push(begun);
                self.calls.last_mut().ok_or_else(|| misplaced("a call"))?
            }
        };
        let (name, arguments) = spoken(piece, begun.is_custom);
        match name.filter(|name| !name.is_empty()) {
            Some(name) if begun.name.is_empty() => name.clone_into(&mut begun.name),
            Some(name) if name != begun.name => return Err(misplaced("a call that became another")),
            _ => {}
        }
        begun.arguments.push_str(&arguments);
        self.wrote(u64::try_from(arguments.len()).unwrap_or(u64::MAX));
        self.holds(arguments.len())
    }

    fn wrote(&mut self, bytes: u64) {
        self.metered.written_bytes = self.metered.written_bytes.saturating_add(bytes);
    }

    /// Takes what was used: the last numbers are those that count, and they are final once the choice is.
    fn meter(&mut self, chunk: &Map<String, Value>) {
        if let Some(usage) = openai::usage(chunk.get("usage"), "prompt_tokens", "completion_tokens") {
            self.metered.usage = usage;
            self.metered.is_final = true;
        }
    }

    fn holds(&mut self, bytes: usize) -> Result<(), Garbled> {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if self.held_bytes > HELD_BYTES_MAX {
            return Err(Garbled::TooMuch("much behind a call that is not whole"));
        }
        Ok(())
    }

    fn hold(&mut self, chunk: Map<String, Value>, bytes: usize) -> Result<(), Garbled> {
        self.holds(bytes)?;
        self.held.push(chunk);
        Ok(())
    }

    fn pass_or_hold(&mut self, chunk: Map<String, Value>, bytes: usize) -> Result<(), Garbled> {
        if matches!(self.stage, Stage::Calling | Stage::Asking) {
            return self.hold(chunk, bytes);
        }
        self.write(&chunk);
        Ok(())
    }

    fn write(&mut self, chunk: &Map<String, Value>) {
        let chunk = serde_json::to_string(chunk).unwrap_or_default();
        sse::write(&mut self.out, "", &chunk);
    }

    /// Writes what waited: what was said first, then the calls, then the end.
    fn write_held(&mut self, calls: &[Value]) {
        let mut held = std::mem::take(&mut self.held);
        let end = held.pop();
        let calls = calls.iter().enumerate().flat_map(|(at, call)| chunks_of_call(at, call));
        let common = self.chunk.clone();
        let calls = calls.map(|call| {
            let mut chunk = common.clone();
            let choice = made!({ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null });
            chunk.insert("choices".into(), made!([choice]));
            chunk
        });
        let chunks: Vec<_> = held.into_iter().chain(calls).chain(end).collect();
        for chunk in &chunks {
            self.write(chunk);
        }
        self.stage = Stage::Finished;
    }

    fn write_body(&mut self, calls: Vec<Value>) {
        let Some(mut body) = self.body.take() else { return };
        let message = body.get_mut("choices").and_then(|choices| choices.get_mut(0)).and_then(|c| c.get_mut("message"));
        if let Some(message) = message.and_then(Value::as_object_mut)
            && !calls.is_empty()
        {
            message.insert("tool_calls".into(), Value::Array(calls));
        }
        self.out = Value::Object(body).to_string().into_bytes();
    }
}

impl Answer for Reader {
    fn event(&mut self, _name: &str, data: &str) -> Result<Vec<Call>, Garbled> {
        if data.len() > EVENT_BYTES_MAX {
            return Err(Garbled::TooMuch("long an event"));
        }
        if self.stage == Stage::Ended {
            return Err(misplaced("an event behind its end"));
        }
        if data == DONE {
            if self.stage != Stage::Finished {
                return Err(Garbled::Cut);
            }
            self.stage = Stage::Ended;
            sse::write(&mut self.out, "", DONE);
            return Ok(Vec::new());
        }
        self.take(&json::object(data.as_bytes())?, data.len())
    }

    fn body(&mut self, body: &[u8]) -> Result<Vec<Call>, Garbled> {
        if body.len() > HELD_BYTES_MAX {
            return Err(Garbled::TooMuch("long a body"));
        }
        let body = &json::object(body)?;
        let choice = only_choice(body)?.ok_or_else(|| misplaced("no choice"))?;
        let message = choice.get("message").and_then(Value::as_object).ok_or_else(|| misplaced("no message"))?;
        no_legacy_call(message)?;
        self.meter(body);
        for call in array(message, "tool_calls") {
            let call = call.as_object().ok_or_else(|| misplaced("a call that is no object"))?;
            let id = text(call, "id").filter(|id| !id.is_empty());
            let made_up = Value::String(format!("call_{}_{}", text(body, "id").unwrap_or_default(), self.calls.len()));
            let mut call = call.clone();
            call.insert("index".into(), self.calls.len().into());
            if id.is_none() {
                call.insert("id".into(), made_up);
            }
            self.piece(&call)?;
        }
        let said = kept(message, SAID);
        self.wrote(said_bytes(&said));
        let mut rebuilt = kept(body, CHUNK);
        let mut choice = kept(choice, &["index", "logprobs", "finish_reason"]);
        choice.insert("message".into(), Value::Object(said));
        rebuilt.insert("choices".into(), made!([choice]));
        if let Some(usage) = body.get("usage") {
            rebuilt.insert("usage".into(), usage.clone());
        }
        self.body = Some(rebuilt);
        self.stage = Stage::Asking;
        let calls = self.calls.iter().map(Begun::call).collect::<Result<Vec<_>, _>>()?;
        if calls.is_empty() {
            self.write_body(Vec::new());
            self.stage = Stage::Ended;
        }
        Ok(calls)
    }

    fn rule(&mut self, rulings: &[Ruling], denials: &mut Denials) {
        if self.stage != Stage::Asking || rulings.len() < self.calls.len() {
            return;
        }
        let mut calls = Vec::new();
        for (begun, ruling) in self.calls.iter().zip(rulings) {
            let told = match ruling {
                Ruling::Allowed if begun.name != denials.name() => None,
                Ruling::Allowed => Some(NO_SUCH_TOOL),
                Ruling::Denied { told } => Some(told.as_str()),
            };
            // INVARIANT: it was given, so it can be.
            let Ok(call) = begun.call() else { return };
            let (name, arguments) = match told {
                None => (begun.name.clone(), begun.arguments.clone()),
                Some(told) => (denials.name().to_owned(), denials.deny(&call, told)),
            };
            calls.push(written(&begun.id, begun.is_custom, &name, &arguments));
        }
        if self.body.is_some() {
            self.write_body(calls);
            self.stage = Stage::Ended;
        } else {
            self.write_held(&calls);
        }
    }

    fn end(&mut self) -> Result<(), Garbled> {
        // Some servers forget to say that it is done.
        if !matches!(self.stage, Stage::Finished | Stage::Ended) {
            return Err(Garbled::Cut);
        }
        self.stage = Stage::Ended;
        Ok(())
    }

    fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn metered(&self) -> Metered {
        // Some servers count in each chunk, so that of a stream the numbers are the last ones only at its very end.
        let is_over = self.stage == Stage::Ended || self.body.is_some();
        Metered { is_final: self.metered.is_final && is_over, ..self.metered }
    }

    fn twin(&self) -> Box<dyn Answer> {
        Box::new(self.clone())
    }
}

impl Begun {
    fn call(&self) -> Result<Call, Garbled> {
        if !is_tool_name(&self.name) {
            return Err(misplaced("a call without a tool's name"));
        }
        let is_json = !self.is_custom && json::object(self.arguments.as_bytes()).is_ok();
        Ok(Call { id: self.id.clone(), name: self.name.clone(), arguments: self.arguments.clone(), is_json })
    }
}

/// The one choice of a chunk or a body, if it has any.
fn only_choice(chunk: &Map<String, Value>) -> Result<Option<&Map<String, Value>>, Garbled> {
    let choices = match chunk.get("choices") {
        Some(Value::Array(choices)) => choices.as_slice(),
        None | Some(Value::Null) => return Ok(None),
        Some(_) => return Err(misplaced("choices that are no list")),
    };
    match choices {
        [] => Ok(None),
        [choice] if matches!(choice.get("index").map(Value::as_u64), None | Some(Some(0))) => {
            choice.as_object().map(Some).ok_or_else(|| misplaced("a choice that is no object"))
        }
        _ => Err(misplaced("a second choice")),
    }
}

/// Calls as they were before there were several at once, which no agent asks for here.
fn no_legacy_call(said: &Map<String, Value>) -> Result<(), Garbled> {
    match said.get("function_call") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(Garbled::Unknown("function_call".into())),
    }
}

/// Whether a call takes text.
fn is_custom(call: &Map<String, Value>) -> Result<bool, Garbled> {
    match kind_of(call) {
        "custom" => Ok(true),
        "function" => Ok(false),
        "" => Ok(call.contains_key("custom")),
        other => Err(Garbled::Unknown(other.to_owned())),
    }
}

/// What a call, or a piece of one, says: the tool, and what it is called with. Some servers give an object where text should be.
fn spoken(call: &Map<String, Value>, is_custom: bool) -> (Option<&str>, String) {
    let (kind, member) = if is_custom { ("custom", "input") } else { ("function", "arguments") };
    let Some(of) = call.get(kind).and_then(Value::as_object) else { return (None, String::new()) };
    let arguments = match of.get(member) {
        Some(Value::String(arguments)) => arguments.clone(),
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        _ => String::new(),
    };
    (text(of, "name"), arguments)
}

/// A call as it stands in a whole answer and in a history.
fn written(id: &str, is_custom: bool, name: &str, arguments: &str) -> Value {
    if is_custom {
        made!({ "id": id, "type": "custom", "custom": { "name": name, "input": arguments } })
    } else {
        made!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
    }
}

/// The chunks of a call: first what it is, then what it is called with.
fn chunks_of_call(at: usize, call: &Value) -> [Value; 2] {
    let (kind, member) = if call.get("custom").is_some() { ("custom", "input") } else { ("function", "arguments") };
    let arguments = call.get(kind).and_then(|of| of.get(member)).cloned().unwrap_or_default();
    let name = call.get(kind).and_then(|of| of.get("name")).cloned().unwrap_or_default();
    let id = call.get("id").cloned().unwrap_or_default();
    [
        made!({ "index": at, "id": id, "type": kind, kind: { "name": name, member: "" } }),
        made!({ "index": at, kind: { member: arguments } }),
    ]
}

fn said_bytes(said: &Map<String, Value>) -> u64 {
    let of = |member: &str| match said.get(member) {
        Some(Value::String(said)) => said.len(),
        Some(Value::Array(parts)) => parts.iter().map(|part| part.to_string().len()).sum(),
        _ => 0,
    };
    // Where reasoning comes twice, in two members, counting it twice errs on the side of the budget.
    let bytes: usize = SAID.iter().filter(|member| **member != "role").map(|member| of(member)).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn is_nothing(said: &Value) -> bool {
    match said {
        Value::Null => true,
        Value::String(said) => said.is_empty(),
        Value::Array(said) => said.is_empty(),
        Value::Object(said) => said.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn misplaced(what: &str) -> Garbled {
    Garbled::Misplaced(what.to_owned())
}
