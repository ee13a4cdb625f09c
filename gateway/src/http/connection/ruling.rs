//! The tool calls in an answer of a model: each is asked about as it becomes whole, and ruled on in its order. Never decides; a call that
//! cannot be told to the keeper is denied.

use super::Connection;
use super::held::Waiting;
use super::turn::{Answered, Turn};
use crate::http::refusal::Refusal;
use crate::identity::wanted::{Given, Wanted};
use crate::link::NotAllowed;
use crate::model::answer::{Answer, Call, Garbled, Ruling};
use crate::model::facts::facts;
use crate::model::hosting::Events;
use crate::protocol::Layer;

/// What the keeper said of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is decided.
    Ruled(Ruling),
    /// A person has to say yes first.
    Waits,
}

impl Asked {
    /// The decision, if there is one.
    pub(super) fn ruling(&self) -> Option<Ruling> {
        match self {
            Self::Ruled(ruling) => Some(ruling.clone()),
            Self::Waits => None,
        }
    }
}

/// How far an answer that comes as events has been read.
pub(super) struct Stream {
    events: Events,
    /// How many calls were in it so far.
    calls: u64,
    /// The rest of it, from the first call on that waits for a person.
    pub(super) waiting: Option<Waiting>,
}

impl Stream {
    /// At its beginning.
    pub(super) fn of(events: Events) -> Self {
        Self { events, calls: 0, waiting: None }
    }
}

impl Connection {
    /// Reads what came of a stream, and has each call in it ruled on.
    pub(super) async fn read_events(
        &mut self,
        turn: &Turn<'_>,
        reader: &mut dyn Answer,
        Stream { events, calls, waiting }: &mut Stream,
        piece: &[u8],
        answered: &mut Answered,
    ) -> Result<(), Garbled> {
        let mut rest = piece;
        while let Some(event) = events.next(&mut rest)? {
            let Some(waiting) = waiting.as_mut() else {
                let asked = reader.event(&event.name, &event.data)?;
                answered.metered = reader.metered();
                *waiting = self.rule(turn, reader, &asked, calls, answered).await;
                continue;
            };
            let more = waiting.event(event)?;
            answered.metered = waiting.metered();
            waiting.asked(self.answers(turn, &more, calls, answered).await);
        }
        Ok(())
    }

    /// Asks about each call, in order, and tells the reader; unless a person has to be asked about one of them first.
    pub(super) async fn rule(
        &mut self,
        turn: &Turn<'_>,
        reader: &mut dyn Answer,
        asked: &[Call],
        calls: &mut u64,
        answered: &mut Answered,
    ) -> Option<Waiting> {
        let begun = *calls;
        let answers = self.answers(turn, asked, calls, answered).await;
        let rulings: Option<Vec<Ruling>> = answers.iter().map(Asked::ruling).collect();
        match rulings {
            Some(rulings) if rulings.is_empty() => None,
            Some(rulings) => {
                turn.door.with_denials(|denials| reader.rule(&rulings, denials));
                None
            }
            None => Some(Waiting::begin(&*reader, begun, answers)),
        }
    }

    async fn answers(&self, turn: &Turn<'_>, asked: &[Call], calls: &mut u64, answered: &mut Answered) -> Vec<Asked> {
        let mut answers = Vec::with_capacity(asked.len());
        for call in asked {
            let answer = self.ask_about(turn, call, *calls).await;
            answered.has_asked_people |= matches!(answer, Asked::Waits);
            answers.push(answer);
            *calls += 1;
        }
        answers
    }

    async fn ask_about(&self, turn: &Turn<'_>, call: &Call, index: u64) -> Asked {
        // A name that only the door gives out; the next request would take it for one of ours.
        if call.name == turn.door.host.denied {
            return Asked::Ruled(Ruling::Denied {
                told: "denied (outside_grant): this tool is no tool; use those you were given".to_owned(),
            });
        }
        // Known before the agent has it: its hooks may tell of it the moment it is there.
        turn.door.with_given(|given| given.note(call, (turn.serial, index)));
        let asked = match facts(call, &turn.tools, &turn.door.host.tools, turn.serial, index) {
            Ok(ask) => self.answer_about(Wanted::Tool(ask)).await,
            Err(untold) => {
                self.context.link.refused(Layer::Model, "tool_call_untold", &untold.to_string());
                Asked::Ruled(Ruling::Denied { told: format!("denied (tool_call_untold): {untold}") })
            }
        };
        if matches!(asked, Asked::Ruled(Ruling::Denied { .. })) {
            turn.door.with_given(|given| given.forget(call));
        }
        asked
    }

    /// What the keeper says of a call.
    pub(super) async fn answer_about(&self, wanted: Wanted) -> Asked {
        let refusal = match self.context.link.want(wanted).await {
            Some(Given::Allowed) => return Asked::Ruled(Ruling::Allowed),
            Some(Given::Held) => return Asked::Waits,
            given => Refusal::NotAllowed(NotAllowed::of(given)),
        };
        let shown = refusal.shown();
        Asked::Ruled(Ruling::Denied { told: format!("denied ({}): {}", shown.code, shown.next_step) })
    }
}
