//! A turn of the script on its way to a client: what an answer is made from, and what is written by the end of each of its events.

use serde_json::Value;

use crate::protocol::{Takes, Told, Tool};
use crate::{Call, Part, Turn, Usage};

/// What an answer is made from.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) told: &'a Told,
    pub(crate) turn: &'a Turn,
    /// The request's body, of which some protocols repeat members.
    pub(crate) body: &'a Value,
    /// Counts the server's answers, so that every id is given once.
    pub(crate) number: u64,
    /// When it is given, in seconds of Unix time.
    pub(crate) at: u64,
}

impl Reply<'_> {
    /// An id that no other answer has, nor another place in this one: at most forty letters, which is what Chat Completions takes back.
    pub(crate) fn id(&self, prefix: &str, place: usize) -> String {
        format!("{prefix}{:016}{place:04}", self.number)
    }

    /// Whether a call goes out as free text: where its tool is declared so, or it is written so and its tool is not declared.
    pub(crate) fn is_text(&self, call: &Call) -> bool {
        self.declared(call).map_or(matches!(call.input, crate::Input::Text(_)), |tool| tool.takes == Takes::Text)
    }

    /// The tool that is called, where it is declared.
    pub(crate) fn declared(&self, call: &Call) -> Option<&Tool> {
        self.told.tools.iter().find(|tool| tool.name == call.name)
    }

    /// How many calls the turn has.
    pub(crate) fn calls(&self) -> usize {
        self.turn.say.iter().filter(|part| matches!(part, Part::Call(_))).count()
    }
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: Option<&'static str>,
    pub(crate) data: String,
    pub(crate) writes: Writes,
}

/// What of the model's an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    Nothing,
    Output,
    Reasoning,
}

impl Event {
    /// An event that carries nothing the model wrote.
    pub(crate) fn about(name: Option<&'static str>, data: &Value) -> Self {
        Self { name, data: data.to_string(), writes: Writes::Nothing }
    }

    /// An event with a piece of what it wrote.
    pub(crate) fn with(self, writes: Writes) -> Self {
        Self { writes, ..self }
    }

    /// The event as it goes over the line.
    pub(crate) fn line(&self) -> String {
        let name = self.name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        format!("{name}data: {}\n\n", self.data)
    }
}

/// What a vendor bills after each event: all that was read from the first on, and of what is written the share that was sent, rounded up.
pub(crate) fn billed(events: &[Event], usage: Usage) -> Vec<Usage> {
    let of = |kind| u64::try_from(events.iter().filter(|event| event.writes == kind).count()).unwrap_or(u64::MAX);
    let (outputs, thoughts) = (of(Writes::Output), of(Writes::Reasoning));
    let (mut output, mut thought) = (0_u64, 0_u64);
    let share = |tokens: u64, sent: u64, all: u64| tokens.saturating_mul(sent).div_ceil(all.max(1));
    let mut bills: Vec<Usage> = events
        .iter()
        .map(|event| {
            output = output.saturating_add(u64::from(event.writes == Writes::Output));
            thought = thought.saturating_add(u64::from(event.writes == Writes::Reasoning));
            let (output, reasoning) = (share(usage.output, output, outputs), share(usage.reasoning, thought, thoughts));
            Usage { output, reasoning, ..usage }
        })
        .collect();
    // What shows in no event was written all the same once the stream is whole.
    if let Some(last) = bills.last_mut() {
        *last = usage;
    }
    bills
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_grows_with_what_was_sent_and_ends_with_all_of_it() {
        let event = |writes| Event { name: None, data: String::new(), writes };
        let events = [Writes::Nothing, Writes::Output, Writes::Output, Writes::Output, Writes::Nothing].map(event);
        let usage = Usage { input: 100, cached: 10, cache_write: 5, output: 10, reasoning: 7 };
        let bills = billed(&events, usage);
        assert_eq!(bills.iter().map(|bill| bill.output).collect::<Vec<_>>(), [0, 4, 7, 10, 10]);
        assert_eq!(bills.iter().map(|bill| bill.reasoning).collect::<Vec<_>>(), [0, 0, 0, 0, 7]);
        assert!(bills.iter().all(|bill| bill.read() == 115));
    }
}
