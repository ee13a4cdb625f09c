//! A turn that waits for a person: what came of the answer before is with the agent, the rest is here, whole, and goes on once every call
//! in it was answered. Owns the rest and the signs of life; never knows who is asked, or how long.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ruling::Asked;
use super::turn::{Ended, Turn};
use super::{Broken, Connection};
use crate::http::body::{self, Framing};
use crate::identity::wanted::Wanted;
use crate::model::answer::{Answer, Call, Garbled, HELD_BYTES_MAX, Metered, Ruling, keep_alive};
use crate::model::denials::Denials;
use crate::model::door::ModelDoor;
use crate::model::sse::Event;

/// How often the keeper is asked whether there is an answer. Whoever said yes sees it go on at once.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often a client hears that the answer is still coming. The most patient of agents gives up after a minute of silence; what is sent
/// waits in its socket while it is frozen, some 300 bytes a minute.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);

/// The rest of an answer, from the first call on that waits for a person.
pub(super) struct Waiting {
    /// Reads what follows, so that every call of the turn is known and the answer is known to be whole before anybody is waited for.
    scout: Box<dyn Answer>,
    /// Denied calls of the scout's, which nobody is ever told of.
    unheard: Denials,
    /// Which of the answer's calls the first of `asked` is.
    first: u64,
    /// How many calls the reader waits for now.
    group: usize,
    asked: Vec<Asked>,
    rest: Vec<Event>,
    rest_bytes: usize,
    is_stream: bool,
}

impl Waiting {
    /// Behind `reader`, which waits for these calls to be ruled on.
    pub(super) fn begin(reader: &dyn Answer, first: u64, asked: Vec<Asked>) -> Self {
        let group = asked.len();
        let mut waiting = Self {
            scout: reader.twin(),
            unheard: Denials::new(String::new()),
            first,
            group,
            asked: Vec::new(),
            rest: Vec::new(),
            rest_bytes: 0,
            is_stream: true,
        };
        waiting.asked(asked);
        waiting
    }

    /// The same for an answer that is no stream.
    pub(super) fn whole(self) -> Self {
        Self { is_stream: false, ..self }
    }

    /// Takes an event in. Gives the calls that it made whole.
    pub(super) fn event(&mut self, event: Event) -> Result<Vec<Call>, Garbled> {
        self.rest_bytes = self.rest_bytes.saturating_add(event.name.len() + event.data.len());
        if self.rest_bytes > HELD_BYTES_MAX {
            return Err(Garbled::TooMuch("much behind a call that waits for a person"));
        }
        let calls = self.scout.event(&event.name, &event.data)?;
        // What it would pass on is passed on by the reader it is the twin of.
        drop(self.scout.drain());
        self.rest.push(event);
        Ok(calls)
    }

    /// What was said of the calls given last.
    pub(super) fn asked(&mut self, asked: Vec<Asked>) {
        if !asked.is_empty() {
            self.scout.rule(&vec![Ruling::Allowed; asked.len()], &mut self.unheard);
            self.asked.extend(asked);
        }
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Garbled> {
        self.scout.end()
    }

    pub(super) fn metered(&self) -> Metered {
        self.scout.metered()
    }

    /// Which calls a person has to be waited for: of the answer's, and of those here.
    fn open(&self) -> Vec<(u64, usize)> {
        let each = (self.first..).zip(self.asked.iter().enumerate());
        each.filter(|(_, (_, asked))| **asked == Asked::Waits).map(|(index, (at, _))| (index, at)).collect()
    }

    /// Has `reader` read the rest, with every call ruled on. One that nobody ruled on is denied.
    fn read_on(mut self, reader: &mut dyn Answer, door: &ModelDoor) -> Result<(), Garbled> {
        let mut rulings = self.asked.drain(..).map(|asked| match asked {
            Asked::Ruled(ruling) => ruling,
            Asked::Waits => Ruling::Denied { told: "denied (not_decided): try again later".to_owned() },
        });
        let mut rule = |reader: &mut dyn Answer, count: usize| {
            let rulings: Vec<Ruling> = rulings.by_ref().take(count).collect();
            door.with_denials(|denials| reader.rule(&rulings, denials));
        };
        rule(reader, self.group);
        for event in std::mem::take(&mut self.rest) {
            let calls = reader.event(&event.name, &event.data)?;
            if !calls.is_empty() {
                rule(reader, calls.len());
            }
        }
        if self.is_stream { reader.end() } else { Ok(()) }
    }
}

impl Connection {
    /// Waits until every call of a turn is answered, and passes the rest of it on.
    pub(super) async fn hold(
        &mut self,
        turn: &Turn<'_>,
        mut waiting: Waiting,
        reader: &mut dyn Answer,
    ) -> Result<Ended, Broken> {
        if !waiting.is_stream {
            self.client_write(
                b"HTTP/1.1 200 \r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
                  transfer-encoding: chunked\r\n\r\n",
            )
            .await?;
        }
        // Nothing of JSON minds white space before it.
        let sign = if waiting.is_stream { keep_alive(turn.protocol) } else { b"\n" };
        let mut next_sign = Instant::now();
        for (index, at) in waiting.open() {
            let answer = loop {
                let answer = self.answer_about(Wanted::Held { serial: turn.serial, index }).await;
                if answer != Asked::Waits {
                    break answer;
                }
                if Instant::now() >= next_sign {
                    self.write_chunk(sign).await?;
                    next_sign = Instant::now() + KEEP_ALIVE_EVERY;
                }
                sleep(LOOK_EVERY).await;
            };
            if let Some(asked) = waiting.asked.get_mut(at) {
                *asked = answer;
            }
        }
        let is_stream = waiting.is_stream;
        let garbled = waiting.read_on(reader, turn.door).err();
        if is_stream {
            return self.end_stream(turn, reader, garbled).await;
        }
        let mut last = Vec::new();
        body::write_piece(Framing::Chunked, &reader.drain(), &mut last);
        body::write_end(Framing::Chunked, &mut last);
        self.client_write(&last).await?;
        Ok(Ended::Whole)
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{Endpoint, HostPattern};
    use serde_json::{Value, json};

    use super::*;
    use crate::model::hosting::Hosting;
    use crate::model::wanted::ModelHost;
    use crate::model::{Protocol, chat, gemini, messages, responses};

    const DENIED: &str = "selvedge_denied_x7";

    fn door() -> ModelDoor {
        let endpoint = || Endpoint { host: HostPattern::parse("models.example").unwrap(), port: 443 };
        ModelDoor::new(ModelHost {
            endpoint: endpoint(),
            upstream: endpoint(),
            base_path: String::new(),
            hosting: Hosting::Vendor,
            called: [].into(),
            protocols: Protocol::ALL.iter().copied().collect(),
            names: ["m".to_owned()].into(),
            egress: [].into(),
            tools: Vec::new(),
            denied: DENIED.to_owned(),
            patience: std::time::Duration::from_secs(60),
            rehearsal: None,
        })
    }

    fn event(name: &str, data: &Value) -> Event {
        Event { name: name.to_owned(), data: data.to_string() }
    }

    /// An answer of three calls, `a`, `b` and `c`, as this protocol streams it.
    fn three_calls(protocol: Protocol) -> (Box<dyn Answer>, Vec<Event>) {
        let calls = ["a", "b", "c"];
        match protocol {
            Protocol::Messages => {
                let mut events = vec![json!({ "type": "message_start", "message": { "content": [] } })];
                for (index, name) in calls.iter().enumerate() {
                    let block = json!({ "type": "tool_use", "id": format!("id-{name}"), "name": name, "input": {} });
                    events.push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
                    events.push(json!({ "type": "content_block_stop", "index": index }));
                }
                events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }));
                events.push(json!({ "type": "message_stop" }));
                let events = events.iter().map(|data| event(data["type"].as_str().unwrap(), data)).collect();
                (Box::new(messages::Reader::new([].into())), events)
            }
            Protocol::Responses => {
                let mut output = Vec::new();
                let mut events = vec![json!({ "type": "response.created", "response": { "id": "r" } })];
                for (index, name) in calls.iter().enumerate() {
                    let item = json!({ "type": "function_call", "id": format!("i-{name}"), "call_id": format!("id-{name}"),
                        "name": name, "arguments": "{}", "status": "completed" });
                    events.push(json!({ "type": "response.output_item.done", "output_index": index, "item": item }));
                    output.push(item);
                }
                events.push(json!({ "type": "response.completed", "response": { "id": "r", "output": output } }));
                let events = events.iter().map(|data| event(data["type"].as_str().unwrap(), data)).collect();
                (Box::new(responses::Reader::new([].into())), events)
            }
            Protocol::Chat => {
                let mut events = Vec::new();
                for (index, name) in calls.iter().enumerate() {
                    let call = json!({ "index": index, "id": format!("id-{name}"), "type": "function",
                        "function": { "name": name, "arguments": "{}" } });
                    events.push(event("", &json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] })));
                }
                let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] });
                events.push(event("", &end));
                events.push(Event { name: String::new(), data: "[DONE]".to_owned() });
                (Box::new(chat::Reader::new(chat::UsageChunk::NotAsked)), events)
            }
            Protocol::Gemini => {
                let chunk = |name: &str, more: Value| {
                    let call = json!({ "functionCall": { "id": format!("id-{name}"), "name": name, "args": {} } });
                    let mut candidate = json!({ "content": { "role": "model", "parts": [call] } });
                    candidate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                    event("", &json!({ "candidates": [candidate] }))
                };
                let events =
                    vec![chunk("a", json!({})), chunk("b", json!({})), chunk("c", json!({ "finishReason": "STOP" }))];
                (Box::new(gemini::Reader::new([].into())), events)
            }
        }
    }

    /// Reads the answer up to where it waits, with every call after `a` waiting for a person. What passed until then, with the rest.
    fn held(protocol: Protocol, events: Vec<Event>, reader: &mut dyn Answer, door: &ModelDoor) -> (Vec<u8>, Waiting) {
        let (mut waiting, mut seen, mut passed): (Option<Waiting>, u64, Vec<u8>) = (None, 0, Vec::new());
        for event in events {
            let said = |call: &Call| match call.name.as_str() {
                "a" => Asked::Ruled(Ruling::Allowed),
                _ => Asked::Waits,
            };
            match &mut waiting {
                None => {
                    let calls = reader.event(&event.name, &event.data).unwrap();
                    let asked: Vec<Asked> = calls.iter().map(said).collect();
                    let rulings: Option<Vec<Ruling>> = asked.iter().map(Asked::ruling).collect();
                    match rulings {
                        Some(rulings) if rulings.is_empty() => {}
                        Some(rulings) => door.with_denials(|denials| reader.rule(&rulings, denials)),
                        None => waiting = Some(Waiting::begin(reader, seen, asked)),
                    }
                    seen += u64::try_from(calls.len()).unwrap();
                    passed.extend(reader.drain());
                }
                Some(waiting) => {
                    let calls = waiting.event(event).unwrap();
                    waiting.asked(calls.iter().map(said).collect());
                }
            }
        }
        let waiting = waiting.unwrap_or_else(|| panic!("{protocol} waits for nothing"));
        (passed, waiting)
    }

    #[test]
    fn calls_of_a_held_answer_are_each_ruled_on_for_themselves_in_every_protocol_c8_d3() {
        for protocol in Protocol::ALL.iter().copied() {
            let door = door();
            let (mut reader, events) = three_calls(protocol);
            let (mut passed, mut waiting) = held(protocol, events, &mut *reader, &door);
            waiting.end().unwrap();
            assert!(!String::from_utf8_lossy(&passed).contains("id-b"), "{protocol}: nothing of it is out");
            let open = waiting.open();
            assert_eq!(open.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2], "{protocol}");
            for ((_, at), told) in open.iter().zip([None, Some("denied (forbidden): no")]) {
                let denied = told.map(|told| Ruling::Denied { told: told.to_owned() });
                waiting.asked[*at] = Asked::Ruled(denied.unwrap_or(Ruling::Allowed));
            }
            waiting.read_on(&mut *reader, &door).unwrap();
            passed.extend(reader.drain());
            let passed = String::from_utf8(passed).unwrap();
            let named = |name: &str| passed.contains(&format!("\"name\":\"{name}\""));
            assert!(named("a") && named("b") && !named("c"), "{protocol}: {passed}");
            assert!(passed.contains("id-c") && named(DENIED), "{protocol}: it keeps its place: {passed}");
        }
    }

    #[test]
    fn what_nobody_ruled_on_is_denied_and_an_answer_that_breaks_off_is_known_before_anybody_waits() {
        for protocol in Protocol::ALL.iter().copied() {
            let door = door();
            let (mut reader, events) = three_calls(protocol);
            let (mut passed, waiting) = held(protocol, events, &mut *reader, &door);
            waiting.read_on(&mut *reader, &door).unwrap();
            passed.extend(reader.drain());
            let passed = String::from_utf8(passed).unwrap();
            assert!(!passed.contains("\"name\":\"b\"") && passed.contains(DENIED), "{protocol}: {passed}");
            let (mut reader, mut events) = three_calls(protocol);
            if protocol == Protocol::Chat {
                // Its calls are whole with its end.
                continue;
            }
            events.pop();
            let (_, mut waiting) = held(protocol, events, &mut *reader, &door);
            assert!(waiting.end().is_err(), "{protocol}");
        }
    }
}
