//! Answers of the Messages API, read block by block.

use std::collections::BTreeSet;
use std::mem;

use serde_json::{Map, Value, json};

use super::super::answer::{Answer, CALLS_MAX, Call, Garbled, HELD_BYTES_MAX, Metered, Ruling};
use super::super::denials::Denials;
use super::super::shape::named;
use super::super::{Egress, Usage, json, sse};

/// Reads one answer: to a request for a message, streamed or not, or for a count of tokens.
///
/// Blocks come one after the other, so that only one waits: all that came before a call is out when the call begins, and nothing behind
/// it is taken before it was ruled on.
#[derive(Debug, Clone)]
pub struct Reader {
    granted: BTreeSet<Egress>,
    state: State,
    /// How many blocks have begun.
    blocks: u64,
    /// Ids of the calls. An agent answers by them, so none stands twice.
    ids: BTreeSet<String>,
    out: Vec<u8>,
    metered: Metered,
    /// Whether input was counted, and whether output was in the last numbers.
    counted: (bool, bool),
}

/// How far an answer has come.
#[derive(Debug, Clone)]
enum State {
    /// Nothing of it has come.
    Begins,
    /// Between two blocks.
    Between,
    /// In a block of this kind.
    Open(&'static Block),
    /// In a call of a tool of the agent's.
    Calling(Calling),
    /// A call is whole and waits for its ruling.
    Waits(Calling, Call),
    /// The calls of a whole body wait for theirs.
    WaitsWhole(Map<String, Value>, Vec<u8>, Vec<(usize, Call)>),
    /// Why it ended was said; only its last event is missing.
    Ending,
    /// It is over.
    Over,
}

/// A call that is not whole, with the events that made it.
#[derive(Debug, Clone)]
struct Calling {
    id: String,
    name: String,
    arguments: String,
    events: Vec<u8>,
}

/// A kind of content in an answer: what its events may add, and what of the vendor's it uses.
#[derive(Debug)]
struct Block {
    name: &'static str,
    deltas: &'static [&'static str],
    egress: Option<Egress>,
}

const fn block(name: &'static str, deltas: &'static [&'static str], egress: Option<Egress>) -> Block {
    Block { name, deltas, egress }
}

/// The kinds of content beside calls of the agent's tools.
static BLOCKS: &[Block] = &[
    block("text", &["text_delta", "citations_delta"], None),
    block("thinking", &["thinking_delta", "signature_delta"], None),
    block("redacted_thinking", &[], None),
    block("server_tool_use", &["input_json_delta"], Some(Egress::VendorTools)),
    block("web_search_tool_result", &[], Some(Egress::VendorTools)),
    block("web_fetch_tool_result", &[], Some(Egress::VendorTools)),
    block("code_execution_tool_result", &[], Some(Egress::VendorTools)),
    block("bash_code_execution_tool_result", &[], Some(Egress::VendorTools)),
    block("text_editor_code_execution_tool_result", &[], Some(Egress::VendorTools)),
    block("tool_search_tool_result", &[], Some(Egress::VendorTools)),
    block("mcp_tool_use", &["input_json_delta"], Some(Egress::Connectors)),
    block("mcp_tool_result", &[], Some(Egress::Connectors)),
    block("container_upload", &[], Some(Egress::StoredState)),
];

/// Where a delta keeps what the model wrote.
const WRITTEN: &[&str] = &["text", "thinking", "partial_json"];

impl Reader {
    /// At the beginning of an answer to a request that was granted these.
    pub fn new(granted: BTreeSet<Egress>) -> Self {
        let (out, metered) = (Vec::new(), Metered::default());
        Self { granted, state: State::Begins, blocks: 0, ids: BTreeSet::new(), out, metered, counted: (false, false) }
    }

    /// A kind of content that may stand in this answer.
    fn kind(&self, content: &Map<String, Value>) -> Result<&'static Block, Garbled> {
        let kind = text(content, "type")?;
        let block = BLOCKS.iter().find(|block| block.name == kind);
        block
            .filter(|block| block.egress.is_none_or(|egress| self.granted.contains(&egress)))
            .ok_or_else(|| Garbled::Unknown(named(kind)))
    }

    fn passes(&mut self, kind: &str, data: &str) {
        sse::write(&mut self.out, kind, data);
    }

    /// `message_start`: who answers, and what was read. Content in it would pass unseen.
    fn starts(&mut self, event: &Map<String, Value>, data: &str) -> Result<State, Garbled> {
        let message = member(event, "message")?;
        if !message.get("content").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Err(Garbled::Misplaced("content in `message_start`".to_owned()));
        }
        self.counts(message);
        self.passes("message_start", data);
        Ok(State::Between)
    }

    /// `content_block_start`.
    fn opens(&mut self, event: &Map<String, Value>, data: &str) -> Result<State, Garbled> {
        in_place(event, self.blocks)?;
        self.blocks += 1;
        let content = member(event, "content_block")?;
        if text(content, "type")? != "tool_use" {
            let kind = self.kind(content)?;
            self.metered.written_bytes += WRITTEN.iter().map(|at| length(content, at)).sum::<u64>();
            self.passes("content_block_start", data);
            return Ok(State::Open(kind));
        }
        let arguments = match content.get("input") {
            // Streams give arguments behind it, and an empty object here.
            None | Some(Value::Null) => String::new(),
            Some(Value::Object(input)) if input.is_empty() => String::new(),
            Some(input) => input.to_string(),
        };
        let (id, name) = (self.id(content)?, text(content, "name")?.to_owned());
        let mut events = Vec::new();
        sse::write(&mut events, "content_block_start", data);
        Ok(State::Calling(Calling { id, name, arguments, events }))
    }

    /// The id of a further call.
    fn id(&mut self, call: &Map<String, Value>) -> Result<String, Garbled> {
        let id = text(call, "id")?.to_owned();
        if !self.ids.insert(id.clone()) {
            return Err(Garbled::Misplaced("an `id` twice".to_owned()));
        }
        if self.ids.len() > CALLS_MAX {
            return Err(Garbled::TooMuch("many tool calls"));
        }
        Ok(id)
    }

    /// `content_block_delta` in a block that needs no ruling.
    fn adds(&mut self, kind: &'static Block, event: &Map<String, Value>, data: &str) -> Result<State, Garbled> {
        let delta = member(event, "delta")?;
        let said = text(delta, "type")?;
        if !kind.deltas.contains(&said) {
            return Err(Garbled::Misplaced(format!("`{}` in `{}`", named(said), kind.name)));
        }
        self.metered.written_bytes += WRITTEN.iter().map(|at| length(delta, at)).sum::<u64>();
        self.passes("content_block_delta", data);
        Ok(State::Open(kind))
    }

    /// `content_block_delta` in a call.
    fn calls_on(&mut self, mut call: Calling, event: &Map<String, Value>, data: &str) -> Result<State, Garbled> {
        let delta = member(event, "delta")?;
        let said = text(delta, "type")?;
        if said != "input_json_delta" {
            return Err(Garbled::Misplaced(format!("`{}` in `tool_use`", named(said))));
        }
        let more = text(delta, "partial_json")?;
        self.metered.written_bytes += length(delta, "partial_json");
        call.arguments.push_str(more);
        sse::write(&mut call.events, "content_block_delta", data);
        if call.events.len() > HELD_BYTES_MAX {
            return Err(Garbled::TooMuch("long a tool call"));
        }
        Ok(State::Calling(call))
    }

    /// `content_block_stop` of a call, which is whole now.
    fn called(mut calling: Calling, data: &str) -> Result<(State, Call), Garbled> {
        if calling.arguments.is_empty() {
            calling.arguments.push_str("{}");
        }
        // Both arguments in the block's beginning and behind it would be no JSON together.
        json::object(calling.arguments.as_bytes()).map_err(|because| match because {
            json::NotPlain::Syntax => Garbled::Syntax("a JSON object where a tool is called"),
            json::NotPlain::TooDeep | json::NotPlain::TooMany => because.into(),
        })?;
        sse::write(&mut calling.events, "content_block_stop", data);
        let (id, name, arguments) = (calling.id.clone(), calling.name.clone(), mem::take(&mut calling.arguments));
        let call = Call { id, name, arguments, is_json: true };
        Ok((State::Waits(calling, call.clone()), call))
    }

    /// `message_delta`: why it ended, and what was written.
    fn closes(&mut self, event: &Map<String, Value>, data: &str) -> Result<State, Garbled> {
        self.counted.1 = false;
        self.counts(event);
        let has_ended = member(event, "delta")?.get("stop_reason").is_some_and(Value::is_string);
        self.metered.is_final |= has_ended && self.is_counted();
        self.passes("message_delta", data);
        Ok(if has_ended { State::Ending } else { State::Between })
    }

    /// Takes over the vendor's numbers. Each is a sum up to here, so the last one counts, and `input_tokens` leaves out the cached ones.
    fn counts(&mut self, holder: &Map<String, Value>) {
        let Some(usage) = holder.get("usage").and_then(Value::as_object) else { return };
        let Usage { input, cached, cache_write, output, reasoning } = &mut self.metered.usage;
        self.counted.0 |= usage.get("input_tokens").is_some_and(Value::is_u64);
        self.counted.1 = usage.get("output_tokens").is_some_and(Value::is_u64);
        for (name, count) in [
            ("input_tokens", input),
            ("cache_read_input_tokens", cached),
            ("cache_creation_input_tokens", cache_write),
            ("output_tokens", output),
        ] {
            *count = usage.get(name).and_then(Value::as_u64).unwrap_or(*count);
        }
        let thinking = usage.get("output_tokens_details").and_then(|details| details.get("thinking_tokens"));
        *reasoning = thinking.and_then(Value::as_u64).unwrap_or(*reasoning);
    }

    /// Whether what was read is counted, and what was written, by whoever says that it is the end. What nobody counted is estimated.
    fn is_counted(&self) -> bool {
        self.counted.0 && self.counted.1
    }

    /// A whole message. Gives its calls, with where they stand.
    fn message(&mut self, message: &Map<String, Value>) -> Result<Vec<(usize, Call)>, Garbled> {
        let content = message.get("content").and_then(Value::as_array);
        let content = content.ok_or_else(|| Garbled::Misplaced("something else in `content`".to_owned()))?;
        let mut calls = Vec::new();
        for (index, block) in content.iter().enumerate() {
            let block = object(block, "content")?;
            if text(block, "type")? != "tool_use" {
                self.kind(block)?;
                self.metered.written_bytes += WRITTEN.iter().map(|at| length(block, at)).sum::<u64>();
                continue;
            }
            let arguments = Value::from(member(block, "input")?.clone()).to_string();
            self.metered.written_bytes += arguments.len() as u64;
            let (id, name) = (self.id(block)?, text(block, "name")?.to_owned());
            calls.push((index, Call { id, name, arguments, is_json: true }));
        }
        self.counts(message);
        self.metered.is_final = self.is_counted();
        Ok(calls)
    }
}

impl Answer for Reader {
    fn event(&mut self, name: &str, data: &str) -> Result<Vec<Call>, Garbled> {
        // Whatever goes wrong, nothing that waited comes out any more.
        let state = mem::replace(&mut self.state, State::Over);
        let event = json::object(data.as_bytes())?;
        let kind = text(&event, "type")?;
        // Some clients go by one of the two, some by the other.
        if !name.is_empty() && name != kind {
            return Err(Garbled::Misplaced(format!("`{}` called `{}`", named(kind), named(name))));
        }
        let (state, calls) = match (state, kind) {
            (state @ (State::Over | State::Waits(..) | State::WaitsWhole(..)), _) => {
                self.state = state;
                return Err(misplaced(kind));
            }
            (state, "ping") => {
                self.passes("ping", "{\"type\":\"ping\"}");
                (state, vec![])
            }
            (_, "error") => {
                self.passes("error", data);
                (State::Over, vec![])
            }
            (State::Begins, "message_start") => (self.starts(&event, data)?, vec![]),
            (State::Between, "content_block_start") => (self.opens(&event, data)?, vec![]),
            (State::Open(kind), "content_block_delta") => {
                in_place(&event, self.blocks.saturating_sub(1))?;
                (self.adds(kind, &event, data)?, vec![])
            }
            (State::Open(_), "content_block_stop") => {
                in_place(&event, self.blocks.saturating_sub(1))?;
                self.passes("content_block_stop", data);
                (State::Between, vec![])
            }
            (State::Calling(call), "content_block_delta") => {
                in_place(&event, self.blocks.saturating_sub(1))?;
                (self.calls_on(call, &event, data)?, vec![])
            }
            (State::Calling(call), "content_block_stop") => {
                in_place(&event, self.blocks.saturating_sub(1))?;
                let (state, call) = Self::called(call, data)?;
                (state, vec![call])
            }
            (State::Between | State::Ending, "message_delta") => (self.closes(&event, data)?, vec![]),
            (State::Ending, "message_stop") => {
                self.passes("message_stop", data);
                (State::Over, vec![])
            }
            _ => return Err(misplaced(kind)),
        };
        self.state = state;
        Ok(calls)
    }

    fn body(&mut self, body: &[u8]) -> Result<Vec<Call>, Garbled> {
        let State::Begins = mem::replace(&mut self.state, State::Over) else { return Err(misplaced("a body")) };
        let message = json::object(body)?;
        match message.get("type").and_then(Value::as_str) {
            Some("message") => {}
            // An error, as the vendor puts it.
            Some("error") if !message.contains_key("content") => {
                self.out = body.to_vec();
                return Ok(vec![]);
            }
            // A count of tokens, which costs nothing.
            None if message.get("input_tokens").is_some_and(Value::is_u64) && !message.contains_key("content") => {
                self.metered.is_final = true;
                self.out = body.to_vec();
                return Ok(vec![]);
            }
            kind => return Err(Garbled::Unknown(named(kind.unwrap_or_default()))),
        }
        let calls = self.message(&message)?;
        let given = calls.iter().map(|(_, call)| call.clone()).collect();
        if calls.is_empty() {
            self.out = body.to_vec();
        } else {
            self.state = State::WaitsWhole(message, body.to_vec(), calls);
        }
        Ok(given)
    }

    fn rule(&mut self, rulings: &[Ruling], denials: &mut Denials) {
        match (mem::replace(&mut self.state, State::Over), rulings) {
            (State::Waits(calling, _), [Ruling::Allowed]) => {
                self.out.extend(calling.events);
                self.state = State::Between;
            }
            (State::Waits(_, call), [Ruling::Denied { told }]) => {
                let index = self.blocks.saturating_sub(1);
                let block = json!({ "type": "tool_use", "id": call.id, "name": denials.name(), "input": {} });
                let delta = json!({ "type": "input_json_delta", "partial_json": denials.deny(&call, told) });
                for (kind, of, what) in
                    [("content_block_start", "content_block", block), ("content_block_delta", "delta", delta)]
                {
                    self.passes(kind, &json!({ "type": kind, "index": index, of: what }).to_string());
                }
                let stop = json!({ "type": "content_block_stop", "index": index }).to_string();
                self.passes("content_block_stop", &stop);
                self.state = State::Between;
            }
            (State::WaitsWhole(message, body, calls), rulings) if calls.len() == rulings.len() => {
                self.out = whole(message, body, &calls, rulings, denials);
            }
            // Rulings on something else than what was asked: nothing passes, and `end` says that it was cut.
            (State::Waits(calling, call), _) => self.state = State::Waits(calling, call),
            (State::WaitsWhole(message, body, calls), _) => self.state = State::WaitsWhole(message, body, calls),
            (state, _) => self.state = state,
        }
    }

    fn end(&mut self) -> Result<(), Garbled> {
        match self.state {
            State::Over => Ok(()),
            _ => Err(Garbled::Cut),
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

/// A whole body after its rulings: the very bytes, or made anew with denied calls in it.
fn whole(
    mut message: Map<String, Value>,
    body: Vec<u8>,
    calls: &[(usize, Call)],
    rulings: &[Ruling],
    denials: &mut Denials,
) -> Vec<u8> {
    let mut is_changed = false;
    for ((index, call), ruling) in calls.iter().zip(rulings) {
        let Ruling::Denied { told } = ruling else { continue };
        let key: Value = serde_json::from_str(&denials.deny(call, told)).unwrap_or_default();
        let denied = json!({ "type": "tool_use", "id": call.id, "name": denials.name(), "input": key });
        if let Some(block) = message.get_mut("content").and_then(|content| content.get_mut(*index)) {
            *block = denied;
        }
        is_changed = true;
    }
    if is_changed { Value::Object(message).to_string().into_bytes() } else { body }
}

fn misplaced(kind: &str) -> Garbled {
    Garbled::Misplaced(format!("`{}`", named(kind)))
}

/// An event's block is the one that it should be about.
fn in_place(event: &Map<String, Value>, expected: u64) -> Result<(), Garbled> {
    match event.get("index").and_then(Value::as_u64) {
        Some(index) if index == expected => Ok(()),
        _ => Err(Garbled::Misplaced("another `index`".to_owned())),
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, Garbled> {
    let member = object.get(name).and_then(Value::as_str);
    member.ok_or_else(|| Garbled::Misplaced(format!("something else in `{name}`")))
}

fn member<'a>(of: &'a Map<String, Value>, name: &str) -> Result<&'a Map<String, Value>, Garbled> {
    object(of.get(name).unwrap_or(&Value::Null), name)
}

fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, Garbled> {
    value.as_object().ok_or_else(|| Garbled::Misplaced(format!("something else in `{name}`")))
}

fn length(object: &Map<String, Value>, name: &str) -> u64 {
    object.get(name).and_then(Value::as_str).map_or(0, |text| text.len() as u64)
}
