//! An answer of the Responses API, as a stream and as a whole. Owns that everything waits behind a call until it was ruled on, and that
//! what an answer says twice (pieces, the whole, the whole output at the end) is the same each time: the agent may go by any of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::item;
use crate::model::answer::{Answer, CALLS_MAX, Call, EVENT_BYTES_MAX, Garbled, HELD_BYTES_MAX, Metered, Ruling};
use crate::model::denials::Denials;
use crate::model::openai::{self, NO_SUCH_TOOL, array, kept, kind_of, text};
use crate::model::{Egress, json, sse};

/// Members of the object that stands for the whole answer.
const RESPONSE: &[&str] = &[
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "background",
    "error",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "model",
    "output",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "usage",
    "end_turn",
];

/// Events that belong to an item: the kinds of item, and their members. Those with a `part` have it looked at as well.
const OF_ITEMS: &[(&str, &[&str], &[&str])] = &[
    ("response.content_part.added", &["message", "reasoning"], &["content_index", "part"]),
    ("response.content_part.done", &["message", "reasoning"], &["content_index", "part"]),
    ("response.output_text.delta", &["message"], &["content_index", "delta", "logprobs", "obfuscation"]),
    ("response.output_text.done", &["message"], &["content_index", "text", "logprobs"]),
    ("response.output_text.annotation.added", &["message"], &["content_index", "annotation_index", "annotation"]),
    ("response.refusal.delta", &["message"], &["content_index", "delta", "obfuscation"]),
    ("response.refusal.done", &["message"], &["content_index", "refusal"]),
    ("response.reasoning_text.delta", &["reasoning"], &["content_index", "delta", "obfuscation"]),
    ("response.reasoning_text.done", &["reasoning"], &["content_index", "text"]),
    ("response.reasoning_summary_part.added", &["reasoning"], &["summary_index", "part"]),
    ("response.reasoning_summary_part.done", &["reasoning"], &["summary_index", "part"]),
    ("response.reasoning_summary_text.delta", &["reasoning"], &["summary_index", "delta", "obfuscation"]),
    ("response.reasoning_summary_text.done", &["reasoning"], &["summary_index", "text"]),
    (ARGUMENTS_DELTA, &["function_call"], &["delta", "obfuscation"]),
    (ARGUMENTS_DONE, &["function_call"], &["arguments", "name"]),
    (INPUT_DELTA, &["custom_tool_call"], &["delta", "obfuscation"]),
    (INPUT_DONE, &["custom_tool_call"], &["input"]),
];
const ARGUMENTS_DELTA: &str = "response.function_call_arguments.delta";
const ARGUMENTS_DONE: &str = "response.function_call_arguments.done";
const INPUT_DELTA: &str = "response.custom_tool_call_input.delta";
const INPUT_DONE: &str = "response.custom_tool_call_input.done";
const ITEM_ADDED: &str = "response.output_item.added";
const ITEM_DONE: &str = "response.output_item.done";

/// Events about what the vendor does on its side, by how they begin.
const OF_VENDOR: &[(&str, Egress)] = &[
    ("response.web_search_call.", Egress::VendorTools),
    ("response.file_search_call.", Egress::VendorTools),
    ("response.code_interpreter_call", Egress::VendorTools),
    ("response.image_generation_call.", Egress::VendorTools),
    ("response.mcp_", Egress::Connectors),
];

/// Reads one answer.
#[derive(Debug, Clone)]
pub struct Reader {
    /// What of the vendor's the request used that was granted: only that may stand in the answer.
    egress: BTreeSet<Egress>,
    stage: Stage,
    /// The number of the next event that is written, where the vendor numbers its events.
    sequence: Option<u64>,
    /// Items that were begun and are not whole, by their index.
    open: BTreeMap<u64, Open>,
    /// The index of the last item.
    last: Option<u64>,
    /// Calls that are whole, by their index.
    calls: BTreeMap<u64, Whole>,
    /// Those that were given and not ruled on.
    asked: Vec<u64>,
    /// Events that wait behind a call.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// The whole answer, where it is no stream.
    body: Option<Map<String, Value>>,
    out: Vec<u8>,
    metered: Metered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    Ended,
}

/// An item that is not whole.
#[derive(Debug, Clone)]
struct Open {
    item: Map<String, Value>,
    /// What its pieces said so far of a call's arguments.
    pieces: String,
    /// What its pieces said it was at their end.
    said: Option<String>,
    /// Bytes counted of it.
    counted: u64,
}

/// A call that is whole.
#[derive(Debug, Clone)]
struct Whole {
    call: Call,
    item: Map<String, Value>,
    /// Whether anything was said of it before it was whole.
    was_begun: bool,
    sent: Sent,
}

/// How a call goes to the agent.
#[derive(Debug, Clone, PartialEq)]
enum Sent {
    NotRuledOn,
    AsItIs,
    Denied { item: Map<String, Value>, arguments: String, was_begun: bool },
}

/// An event that waits, and the call it belongs to.
#[derive(Debug, Clone)]
struct Held {
    event: Map<String, Value>,
    of: Option<u64>,
    bytes: usize,
}

impl Reader {
    /// A reader for the answer to a request that uses `egress` of the vendor's.
    pub fn new(egress: BTreeSet<Egress>) -> Self {
        Self {
            egress,
            stage: Stage::Begun,
            sequence: None,
            open: BTreeMap::new(),
            last: None,
            calls: BTreeMap::new(),
            asked: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            body: None,
            out: Vec::new(),
            metered: Metered::default(),
        }
    }

    /// Takes an event in. Gives the index of a call that it made whole.
    fn take(&mut self, event: &Map<String, Value>, bytes: usize) -> Result<Option<u64>, Garbled> {
        let kind = kind_of(event);
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.response(event, bytes)?;
                Ok(None)
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.ended(event, bytes)?;
                Ok(None)
            }
            "error" => {
                self.stage = Stage::Ended;
                self.drop_held(|_| true);
                self.hold(kept_of(event, &["code", "message", "param", "error"]), None, bytes)?;
                Ok(None)
            }
            ITEM_ADDED => {
                self.added(event, bytes)?;
                Ok(None)
            }
            ITEM_DONE => self.done(event, bytes),
            _ => {
                self.piece(event, bytes)?;
                Ok(None)
            }
        }
    }

    /// The answer as it stands before there is any of it.
    fn response(&mut self, event: &Map<String, Value>, bytes: usize) -> Result<(), Garbled> {
        let response = event.get("response").and_then(Value::as_object);
        let mut response = kept(response.ok_or_else(|| misplaced("a response that is none"))?, RESPONSE);
        if !array(&response, "output").is_empty() {
            return Err(misplaced("output before it began"));
        }
        response.remove("usage");
        self.hold(with(kept_of(event, &[]), "response", Value::Object(response)), None, bytes)
    }

    /// The answer as it is at its end. Calls that were never whole are not part of it, which an answer that is complete cannot have.
    fn ended(&mut self, event: &Map<String, Value>, bytes: usize) -> Result<(), Garbled> {
        let is_complete = kind_of(event) == "response.completed";
        let response = event.get("response").and_then(Value::as_object);
        let mut response = kept(response.ok_or_else(|| misplaced("a response that is none"))?, RESPONSE);
        let cut: BTreeSet<u64> =
            self.open.iter().filter(|(_, open)| item::is_call(kind_of(&open.item))).map(|(index, _)| *index).collect();
        if is_complete && !cut.is_empty() {
            return Err(misplaced("an end inside a call"));
        }
        self.drop_held(|held| held.of.is_some_and(|of| cut.contains(&of)));
        let mut output = Vec::new();
        for item in array(&response, "output") {
            let item = item::rebuilt(item, &self.egress)?;
            if !item::is_call(kind_of(&item)) {
                output.push(Value::Object(item));
                continue;
            }
            let known = self.calls.values().find(|whole| text(&item, "call_id") == Some(&whole.call.id));
            match known {
                Some(whole) if item::call(&item)? != whole.call => {
                    return Err(misplaced("a call that is another at the end"));
                }
                Some(whole) => output.push(Value::Object(whole.as_sent().clone())),
                None if is_complete => return Err(misplaced("a call that only the end has")),
                None => {}
            }
        }
        if response.contains_key("output") {
            response.insert("output".into(), Value::Array(output));
        }
        self.meter(&response);
        self.stage = Stage::Ended;
        self.hold(with(kept_of(event, &[]), "response", Value::Object(response)), None, bytes)
    }

    fn added(&mut self, event: &Map<String, Value>, bytes: usize) -> Result<(), Garbled> {
        let index = self.begin(event)?;
        let item = item::rebuilt(event.get("item").unwrap_or(&Value::Null), &self.egress)?;
        let is_call = item::is_call(kind_of(&item));
        if is_call && self.calls.len() + self.open.len() >= CALLS_MAX {
            return Err(Garbled::TooMuch("many calls"));
        }
        let event = with(kept_of(event, &["output_index"]), "item", Value::Object(item.clone()));
        self.open.insert(index, Open { item, pieces: String::new(), said: None, counted: 0 });
        self.hold(event, is_call.then_some(index), bytes)
    }

    /// The index of an item that begins: behind those of the others.
    fn begin(&mut self, event: &Map<String, Value>) -> Result<u64, Garbled> {
        let index = index(event)?;
        if self.last.is_some_and(|last| index <= last) {
            return Err(misplaced("an item out of order"));
        }
        self.last = Some(index);
        Ok(index)
    }

    /// An item is whole. Some servers say nothing of it before.
    fn done(&mut self, event: &Map<String, Value>, bytes: usize) -> Result<Option<u64>, Garbled> {
        let item = item::rebuilt(event.get("item").unwrap_or(&Value::Null), &self.egress)?;
        let index = index(event)?;
        let open = match self.open.remove(&index) {
            Some(open) => Some(open),
            None => {
                self.begin(event)?;
                None
            }
        };
        let was_begun = open.is_some();
        let counted = open.as_ref().map_or(0, |open| open.counted);
        self.wrote(item::written_bytes(&item).saturating_sub(counted));
        let is_call = item::is_call(kind_of(&item));
        if let Some(open) = open {
            open.agrees(&item)?;
        }
        let event = with(kept_of(event, &["output_index"]), "item", Value::Object(item.clone()));
        self.hold(event, is_call.then_some(index), bytes)?;
        if !is_call {
            return Ok(None);
        }
        self.whole(index, item, was_begun)?;
        Ok(Some(index))
    }

    /// Remembers a call that is whole.
    fn whole(&mut self, index: u64, item: Map<String, Value>, was_begun: bool) -> Result<(), Garbled> {
        let call = item::call(&item)?;
        if self.calls.len() >= CALLS_MAX {
            return Err(Garbled::TooMuch("many calls"));
        }
        if self.calls.values().any(|other| other.call.id == call.id) {
            return Err(misplaced("two calls of one id"));
        }
        self.calls.insert(index, Whole { call, item, was_begun, sent: Sent::NotRuledOn });
        self.asked.push(index);
        Ok(())
    }

    /// Takes a piece of an item that is not whole.
    fn piece(&mut self, event: &Map<String, Value>, bytes: usize) -> Result<(), Garbled> {
        let kind = kind_of(event);
        if let Some((_, egress)) = OF_VENDOR.iter().find(|(beginning, _)| kind.starts_with(beginning)) {
            if !self.egress.contains(egress) {
                return Err(Garbled::Unknown(kind.to_owned()));
            }
            return self.hold(event.clone(), None, bytes);
        }
        let Some((_, items, members)) = OF_ITEMS.iter().find(|(name, _, _)| *name == kind) else {
            // Signs of life and of limits, which vendors put between the events of an answer, are not part of it.
            let is_of_answer = kind.is_empty() || kind.starts_with("response.");
            return if is_of_answer { Err(Garbled::Unknown(kind.to_owned())) } else { Ok(()) };
        };
        let index = index(event)?;
        let open = self.open.get_mut(&index).ok_or_else(|| misplaced("a piece of no item"))?;
        let of = kind_of(&open.item);
        let is_of_this = match (text(event, "item_id"), text(&open.item, "id")) {
            (Some(said), Some(id)) => said == id,
            _ => true,
        };
        if !items.contains(&of) || !is_of_this {
            return Err(misplaced("a piece of another item"));
        }
        let is_call = item::is_call(of);
        let delta = text(event, "delta").unwrap_or_default();
        open.counted = open.counted.saturating_add(u64::try_from(delta.len()).unwrap_or(u64::MAX));
        if is_call {
            open.pieces.push_str(delta);
            let said = text(event, "arguments").or_else(|| text(event, "input"));
            open.said = said.map(str::to_owned).or_else(|| open.said.take());
        }
        self.wrote(u64::try_from(delta.len()).unwrap_or(u64::MAX));
        let mut rebuilt = kept_of(event, &["output_index", "item_id"]);
        rebuilt.extend(kept(event, members));
        if let Some(part) = event.get("part") {
            rebuilt.insert("part".into(), item::rebuilt_part(part)?);
        }
        self.hold(rebuilt, is_call.then_some(index), bytes)
    }

    fn wrote(&mut self, bytes: u64) {
        self.metered.written_bytes = self.metered.written_bytes.saturating_add(bytes);
    }

    fn meter(&mut self, response: &Map<String, Value>) {
        if let Some(usage) = openai::usage(response.get("usage"), "input_tokens", "output_tokens") {
            self.metered.usage = usage;
            self.metered.is_final = true;
        }
    }

    /// Puts an event behind those that wait, and passes on what need not.
    fn hold(&mut self, event: Map<String, Value>, of: Option<u64>, bytes: usize) -> Result<(), Garbled> {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if self.held_bytes > HELD_BYTES_MAX {
            return Err(Garbled::TooMuch("much behind a call that is not whole"));
        }
        self.held.push_back(Held { event, of, bytes });
        self.pass();
        Ok(())
    }

    fn drop_held(&mut self, drops: impl Fn(&Held) -> bool) {
        self.held.retain(|held| !drops(held));
        self.held_bytes = self.held.iter().map(|held| held.bytes).sum();
    }

    /// Passes on what waits up to the first call that was not ruled on.
    fn pass(&mut self) {
        while let Some(held) = self.held.pop_front() {
            let sent = held.of.map(|of| self.calls.get(&of).map_or(&Sent::NotRuledOn, |whole| &whole.sent));
            let events = match sent {
                Some(Sent::NotRuledOn) => {
                    self.held.push_front(held);
                    return;
                }
                None | Some(Sent::AsItIs) => vec![held.event],
                Some(Sent::Denied { item, arguments, was_begun }) => {
                    denied_events(&held.event, item, was_begun.then_some(arguments.as_str()))
                }
            };
            self.held_bytes = self.held_bytes.saturating_sub(held.bytes);
            for event in events {
                self.write(event);
            }
        }
    }

    fn write(&mut self, mut event: Map<String, Value>) {
        if let Some(sequence) = &mut self.sequence {
            event.insert("sequence_number".into(), (*sequence).into());
            *sequence = sequence.saturating_add(1);
        }
        let name = kind_of(&event).to_owned();
        sse::write(&mut self.out, &name, &Value::Object(event).to_string());
    }

    /// The whole answer with its calls as they go to the agent.
    fn write_body(&mut self) {
        if !self.calls.values().all(|whole| whole.sent != Sent::NotRuledOn) {
            return;
        }
        let Some(mut body) = self.body.take() else { return };
        if let Some(Value::Array(output)) = body.get_mut("output") {
            for (at, item) in output.iter_mut().enumerate() {
                let whole = u64::try_from(at).ok().and_then(|at| self.calls.get(&at));
                if let Some(whole) = whole {
                    *item = Value::Object(whole.as_sent().clone());
                }
            }
        }
        self.out = Value::Object(body).to_string().into_bytes();
    }

    fn given(&self) -> Vec<Call> {
        self.asked.iter().filter_map(|index| self.calls.get(index)).map(|whole| whole.call.clone()).collect()
    }
}

impl Answer for Reader {
    fn event(&mut self, name: &str, data: &str) -> Result<Vec<Call>, Garbled> {
        if data.len() > EVENT_BYTES_MAX {
            return Err(Garbled::TooMuch("long an event"));
        }
        let is_over = self.stage == Stage::Ended;
        // Some compatible servers end this protocol's streams as those of the other.
        if data == "[DONE]" && is_over {
            return Ok(Vec::new());
        }
        let event = json::object(data.as_bytes())?;
        if !name.is_empty() && name != kind_of(&event) {
            return Err(misplaced("an event of two names"));
        }
        if is_over {
            return Err(misplaced("an event behind its end"));
        }
        if self.sequence.is_none() && self.out.is_empty() && self.held.is_empty() {
            self.sequence = event.get("sequence_number").and_then(Value::as_u64);
        }
        self.asked.clear();
        self.take(&event, data.len())?;
        Ok(self.given())
    }

    fn body(&mut self, body: &[u8]) -> Result<Vec<Call>, Garbled> {
        if body.len() > HELD_BYTES_MAX {
            return Err(Garbled::TooMuch("long a body"));
        }
        let mut body = kept(&json::object(body)?, RESPONSE);
        if self.stage == Stage::Ended || text(&body, "object") != Some("response") {
            return Err(misplaced("a body that is no response"));
        }
        let mut output = Vec::new();
        for (at, item) in array(&body, "output").iter().enumerate() {
            let item = item::rebuilt(item, &self.egress)?;
            self.wrote(item::written_bytes(&item));
            if item::is_call(kind_of(&item)) {
                self.whole(u64::try_from(at).unwrap_or(u64::MAX), item.clone(), false)?;
            }
            output.push(Value::Object(item));
        }
        body.insert("output".into(), Value::Array(output));
        self.meter(&body);
        self.stage = Stage::Ended;
        self.body = Some(body);
        self.write_body();
        Ok(self.given())
    }

    fn rule(&mut self, rulings: &[Ruling], denials: &mut Denials) {
        for (at, index) in std::mem::take(&mut self.asked).into_iter().enumerate() {
            let Some(whole) = self.calls.get_mut(&index) else { continue };
            let told = match rulings.get(at) {
                Some(Ruling::Allowed) if whole.call.name != denials.name() => None,
                Some(Ruling::Allowed) => Some(NO_SUCH_TOOL),
                Some(Ruling::Denied { told }) => Some(told.as_str()),
                None => continue,
            };
            whole.sent = match told {
                None => Sent::AsItIs,
                Some(told) => {
                    let arguments = denials.deny(&whole.call, told);
                    let item = item::denied(&whole.item, denials.name(), &arguments);
                    Sent::Denied { item, arguments, was_begun: whole.was_begun }
                }
            };
        }
        self.pass();
        self.write_body();
    }

    fn end(&mut self) -> Result<(), Garbled> {
        let is_whole = self.stage == Stage::Ended && self.held.is_empty() && self.body.is_none();
        if is_whole { Ok(()) } else { Err(Garbled::Cut) }
    }

    fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn metered(&self) -> Metered {
        self.metered
    }

    fn twin(&self) -> Box<dyn Answer> {
        Box::new(self.clone())
    }
}

impl Open {
    /// Whether the whole item is what was said of it before.
    fn agrees(&self, whole: &Map<String, Value>) -> Result<(), Garbled> {
        let is_same = |member: &str| self.item.get(member) == whole.get(member);
        if kind_of(&self.item) != kind_of(whole) || !is_same("id") {
            return Err(misplaced("an item that became another"));
        }
        if !item::is_call(kind_of(whole)) {
            return Ok(());
        }
        let arguments = item::arguments(whole)?;
        let begun = item::arguments(&self.item).unwrap_or_default();
        let said = [begun.as_str(), self.pieces.as_str(), self.said.as_deref().unwrap_or_default()];
        let is_same_call = is_same("call_id") && is_same("name") && is_same("namespace");
        let is_said = said.iter().all(|said| said.is_empty() || *said == arguments);
        if is_same_call && is_said { Ok(()) } else { Err(misplaced("a call that became another")) }
    }
}

impl Whole {
    fn as_sent(&self) -> &Map<String, Value> {
        match &self.sent {
            Sent::Denied { item, .. } => item,
            Sent::AsItIs | Sent::NotRuledOn => &self.item,
        }
    }
}

/// What becomes of an event of a denied call: it begins, says its arguments in one piece if there were to be `pieces`, and is whole.
fn denied_events(
    event: &Map<String, Value>,
    item: &Map<String, Value>,
    pieces: Option<&str>,
) -> Vec<Map<String, Value>> {
    let is_custom = kind_of(item) == "custom_tool_call";
    let member = if is_custom { "input" } else { "arguments" };
    match kind_of(event) {
        ITEM_ADDED => {
            let mut begun = with(item.clone(), member, Value::from(""));
            begun.insert("status".into(), "in_progress".into());
            vec![with(event.clone(), "item", Value::Object(begun))]
        }
        ITEM_DONE => {
            let whole = with(event.clone(), "item", Value::Object(item.clone()));
            let Some(arguments) = pieces else { return vec![whole] };
            let names = if is_custom { (INPUT_DELTA, INPUT_DONE) } else { (ARGUMENTS_DELTA, ARGUMENTS_DONE) };
            let mut piece = kept(event, &["output_index"]);
            if let Some(id) = item.get("id") {
                piece.insert("item_id".into(), id.clone());
            }
            let delta = with(with(piece.clone(), "type", names.0.into()), "delta", arguments.into());
            let said = with(with(piece, "type", names.1.into()), member, arguments.into());
            vec![delta, said, whole]
        }
        _ => Vec::new(),
    }
}

/// The members of an event that every event may have, and `members`.
fn kept_of(event: &Map<String, Value>, members: &[&str]) -> Map<String, Value> {
    let mut rebuilt = kept(event, &["type"]);
    rebuilt.extend(kept(event, members));
    rebuilt
}

fn with(mut object: Map<String, Value>, member: &str, value: Value) -> Map<String, Value> {
    object.insert(member.to_owned(), value);
    object
}

fn index(event: &Map<String, Value>) -> Result<u64, Garbled> {
    event.get("output_index").and_then(Value::as_u64).ok_or_else(|| misplaced("an item without an index"))
}

fn misplaced(what: &str) -> Garbled {
    Garbled::Misplaced(what.to_owned())
}
