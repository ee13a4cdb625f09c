//! One conversation, from `initialize` to the end of the turn, without a clock and without streams: lines in, lines out.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

use super::Assignment;
use super::told::Told;
use super::wire::{self, Message, Wrong};
use crate::agents::End;

/// Most messages: a turn of some hours, each word of it one.
const MESSAGES_MAX: u64 = 500_000;

/// Most lines that are none: banners, and what libraries print.
const STRAYS_MAX: u64 = 1_000;

/// How often it may ask for what it was not offered.
const DECLINED_MAX: u64 = 100;

/// Methods of these that are told by name.
const NOTED_MAX: usize = 16;

/// A conversation.
#[derive(Debug)]
pub(crate) struct Conversation<'a, W> {
    assignment: &'a Assignment,
    told: Told<W>,
    stage: Stage,
    session: String,
    /// The number of the last request, which is the one that an answer is awaited to.
    asked: u64,
    messages: u64,
    strays: u64,
    declined: u64,
    noted: BTreeSet<String>,
}

/// What an answer is awaited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Opening,
    Setting,
    Working,
}

impl Stage {
    /// What was asked.
    fn method(self) -> &'static str {
        match self {
            Self::Greeting => "initialize",
            Self::Opening => "session/new",
            Self::Setting => "the mode",
            Self::Working => "session/prompt",
        }
    }
}

/// What follows from a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// The line is no message, and nothing that was meant as one.
    Stray,
    /// This is to be said.
    Say(String),
    /// The conversation is over.
    End(End),
}

impl<'a, W: Write> Conversation<'a, W> {
    /// Begins one; the first thing to say.
    pub(crate) fn begin(assignment: &'a Assignment, to: W) -> (Self, String) {
        let mut conversation = Self {
            assignment,
            told: Told::new(to),
            stage: Stage::Greeting,
            session: String::new(),
            asked: 0,
            messages: 0,
            strays: 0,
            declined: 0,
            noted: BTreeSet::new(),
        };
        let hello = conversation.ask(Stage::Greeting, "initialize", &wire::hello());
        (conversation, hello)
    }

    /// Whether it has its task.
    pub(super) fn works(&self) -> bool {
        self.stage == Stage::Working
    }

    /// What it has not answered yet.
    pub(super) fn awaited(&self) -> &'static str {
        self.stage.method()
    }

    /// Tells how it ended.
    pub(crate) fn end(mut self, end: &End) {
        self.told.ends(end);
    }

    /// Hears a line of the agent's.
    pub(crate) fn hear(&mut self, line: &[u8]) -> Step {
        let line = line.trim_ascii();
        self.messages = self.messages.saturating_add(1);
        if self.messages > MESSAGES_MAX {
            return misspoke(format!("it sent more than {MESSAGES_MAX} messages"));
        }
        if !line.starts_with(b"{") {
            self.strays = self.strays.saturating_add(u64::from(!line.is_empty()));
            return match self.strays > STRAYS_MAX {
                true => misspoke(format!("it goes on writing what is no message: {}", wire::shown(line))),
                false => Step::Stray,
            };
        }
        self.understand(line).unwrap_or_else(|wrong| misspoke(wrong.to_string()))
    }

    fn understand(&mut self, line: &[u8]) -> Result<Step, Wrong> {
        match wire::read(line)? {
            Message::Answer(number, _) if number != self.asked => {
                Ok(misspoke(format!("it answered request {number}, which it was not asked")))
            }
            Message::Answer(_, Err(problem)) => {
                Ok(Step::End(End::Failed(format!("`{}` failed: {problem}", self.stage.method()))))
            }
            Message::Answer(_, Ok(())) => self.answered(line),
            Message::Asks { id, method } if method == "session/request_permission" => {
                self.permit(&id, &wire::params(line, &method)?)
            }
            Message::Asks { id, method } => Ok(self.decline(&id, method)),
            Message::Tells { method } if method == "session/update" => self.updated(line, &method),
            Message::Tells { .. } => Ok(Step::Nothing),
        }
    }

    fn answered(&mut self, line: &[u8]) -> Result<Step, Wrong> {
        match self.stage {
            Stage::Greeting => Ok(self.open(&wire::result(line, "initialize")?)),
            Stage::Opening => {
                self.session = wire::result::<wire::Session>(line, "session/new")?.id()?;
                match &self.assignment.mode {
                    None => Ok(self.work()),
                    Some(mode) => Ok(self.set(mode, &wire::result(line, "session/new")?)),
                }
            }
            Stage::Setting => Ok(self.work()),
            Stage::Working => Ok(stopped(&wire::result(line, "session/prompt")?)),
        }
    }

    fn open(&mut self, hello: &wire::Hello) -> Step {
        if hello.protocol_version != wire::VERSION {
            let (theirs, ours) = (hello.protocol_version, wire::VERSION);
            return misspoke(format!("it speaks version {theirs} of the protocol, and {ours} is spoken here"));
        }
        let servers = &self.assignment.servers;
        let given = match hello.takes_servers() {
            true => servers.as_slice(),
            false => &[],
        };
        if given.len() < servers.len() {
            self.told.notes("it takes no tool servers by their addresses, so it was given none");
        }
        let server =
            |(name, url): &(String, String)| json!({ "type": "http", "name": name, "url": url, "headers": [] });
        let servers: Vec<Value> = given.iter().map(server).collect();
        let params = json!({ "cwd": self.assignment.workspace, "mcpServers": servers });
        Step::Say(self.ask(Stage::Opening, "session/new", &params))
    }

    fn set(&mut self, mode: &str, settable: &wire::Settable) -> Step {
        match settable.set(&self.session, mode) {
            Ok((method, params)) => Step::Say(self.ask(Stage::Setting, method, &params)),
            Err(modes) if modes.is_empty() => Step::End(End::Failed(format!(
                "it has no modes, and so none that is `{mode}`: leave `mode` out of its configuration"
            ))),
            Err(modes) => {
                Step::End(End::Failed(format!("it has no mode `{mode}`; those it has are: {}", modes.join(", "))))
            }
        }
    }

    fn work(&mut self) -> Step {
        let prompt = json!([{ "type": "text", "text": self.assignment.task }]);
        let params = json!({ "sessionId": self.session, "prompt": prompt });
        Step::Say(self.ask(Stage::Working, "session/prompt", &params))
    }

    fn ask(&mut self, stage: Stage, method: &str, params: &Value) -> String {
        self.stage = stage;
        self.asked += 1;
        wire::request(self.asked, method, params)
    }

    /// Yes, as often as it asks: whether a call is made was decided before the agent heard of it, and no less where it does not ask.
    fn permit(&mut self, id: &Value, permission: &wire::Permission) -> Result<Step, Wrong> {
        let choice = permission.choice();
        if !choice.is_some_and(|(_, is_yes)| is_yes) {
            self.note("it asked for a permission that cannot be given for once");
        }
        Ok(Step::Say(wire::permitted(id, choice.map(|(option, _)| option))))
    }

    /// Files, terminals, and whatever else was not offered.
    fn decline(&mut self, id: &Value, method: String) -> Step {
        self.declined += 1;
        if self.declined > DECLINED_MAX {
            return misspoke(format!("it goes on asking for what it was not offered, at last for `{method}`"));
        }
        self.note(&format!("it asked for `{method}`, which it was not offered"));
        Step::Say(wire::declined(id))
    }

    /// Notes something once.
    fn note(&mut self, message: &str) {
        if self.noted.len() < NOTED_MAX && self.noted.insert(message.to_owned()) {
            self.told.notes(message);
        }
    }

    fn updated(&mut self, line: &[u8], method: &str) -> Result<Step, Wrong> {
        let update: wire::Update = wire::params(line, method)?;
        // What helpers of its own do in sessions of theirs is told by what the agent makes of it.
        if update.session_id == self.session {
            match update.update.session_update.as_str() {
                "agent_message_chunk" => self.told.says(&wire::params::<wire::Chunk>(line, method)?.text()),
                "tool_call" => {
                    let (tool, title) = wire::params::<wire::Use>(line, method)?.update.told();
                    self.told.uses(&tool, &title);
                }
                // Thoughts, plans, what becomes of calls, and usage, which agents count in ways of their own.
                _ => {}
            }
        }
        Ok(Step::Nothing)
    }
}

/// How a turn ended, by what the agent says.
fn stopped(stopped: &wire::Stopped) -> Step {
    Step::End(match stopped.stop_reason.as_str() {
        "end_turn" => End::Well,
        "refusal" => End::Failed("its model refused to go on (`refusal`)".to_owned()),
        "max_tokens" => End::Stopped("its model came to its most tokens (`max_tokens`)".to_owned()),
        "max_turn_requests" => End::Stopped("it asked its model as often as it may (`max_turn_requests`)".to_owned()),
        "cancelled" => End::Stopped("it took its task for cancelled (`cancelled`)".to_owned()),
        other => End::Misspoke(format!("it stopped for a reason that nobody knows: {}", wire::shown(other.as_bytes()))),
    })
}

fn misspoke(because: String) -> Step {
    Step::End(End::Misspoke(because))
}
