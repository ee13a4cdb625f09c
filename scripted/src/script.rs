//! The script: what a model says, turn by turn, in a form that is no vendor's. Owns what a script may be and how it is read from a file.

use serde::Deserialize;
use serde_json::{Map, Value};

/// One conversation, and the key that it takes to have it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The only key that is taken; where it is empty, any is, and none, as with a server of one's own.
    pub key: String,
    /// What is said, in order. Which turn comes next is told by the request: one that is sent again is answered by the same turn.
    #[serde(default, rename = "turn")]
    pub turns: Vec<Turn>,
    /// What a request is answered that declares no tools.
    #[serde(default)]
    pub without_tools: WithoutTools,
    /// The answer to a side call.
    #[serde(default)]
    pub side: Side,
}

/// One thing the model says in answer to one request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// The parts of it, in order.
    #[serde(default)]
    pub say: Vec<Part>,
    /// What it costs.
    #[serde(default)]
    pub usage: Usage,
    /// What goes wrong instead, or meanwhile.
    #[serde(default)]
    pub fault: Option<Failing>,
    /// What the model has to have been told for this turn; otherwise it says another.
    #[serde(default)]
    pub expect: Option<Expect>,
}

/// A part of what is said.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// For people to read.
    Text(String),
    /// What the model thinks, in the summary that a vendor shows.
    Reasoning(String),
    /// A call of a tool.
    Call(Call),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "CallInFile")]
pub struct Call {
    /// Its name.
    pub name: String,
    /// What it is called with.
    pub input: Input,
}

/// What a tool is called with. What the protocol or the tool's declaration has no place for is put into the other form: free text becomes
/// the one argument `input`, and arguments become their JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Arguments by name.
    Arguments(Map<String, Value>),
    /// Free text, as OpenAI's custom tools take it.
    Text(String),
}

/// Tokens of one turn, each in one place only; a protocol adds them up in its own way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Read anew.
    pub input: u64,
    /// Read from the vendor's cache.
    pub cached: u64,
    /// Read anew, and written to the cache.
    pub cache_write: u64,
    /// Written for the client.
    pub output: u64,
    /// Written for the model itself.
    pub reasoning: u64,
}

/// A condition on what the model was told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What one of the tool results that the request ends with has to contain.
    pub contains: String,
    /// What is said when none does.
    pub otherwise: Box<Turn>,
}

/// A fault, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failing {
    /// What goes wrong.
    pub what: Fault,
    /// How many requests for this turn meet it, counted over everything the server is asked.
    #[serde(default)]
    pub times: Times,
}

/// What goes wrong with an answer. An answer that is no stream counts as one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An error of the vendor's.
    Status {
        /// Its status.
        status: u16,
        /// What `Retry-After` says, where it is sent.
        #[serde(default)]
        retry_after_seconds: Option<u64>,
    },
    /// The connection ends in the middle of the answer.
    Cut {
        /// How many events are sent whole before it.
        after_events: usize,
    },
    /// Nothing more comes until the client has gone.
    Hang {
        /// How many events are sent before.
        after_events: usize,
    },
    /// An event that is no JSON is sent, then the rest.
    Garbage {
        /// How many events are sent before.
        after_events: usize,
    },
    /// Whoever answers breaks off in the middle of a stream, and says so as it does: an event, or a frame, with its error.
    Breaks {
        /// How many events are sent before.
        after_events: usize,
    },
    /// The whole answer is no JSON, and no stream of events either, under status 200.
    NoJson,
    /// A pause before every event.
    Slow {
        /// How long it is.
        pause_ms: u64,
    },
}

/// How many requests meet a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// All of them.
    #[default]
    Always,
    /// The first so many.
    First(u64),
}

/// What a request is that declares no tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutTools {
    /// Something an agent asks on the side, such as a title or a commit message.
    #[default]
    Side,
    /// The conversation itself, as of agents that say everything in text.
    Turns,
}

/// The answer to a side call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Side {
    /// What is said.
    pub text: String,
    /// What it costs.
    pub usage: Usage,
}

/// Why a file is no script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Neither TOML nor of the right shape.
    #[error("the script cannot be read as TOML: {0}")]
    Toml(#[from] toml::de::Error),
    /// Neither JSON nor of the right shape.
    #[error("the script cannot be read as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Script {
    /// A script without turns, which asks for no key.
    #[must_use]
    pub fn open() -> Self {
        Self::new("")
    }

    /// A script without turns, which takes this key.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), turns: Vec::new(), without_tools: WithoutTools::default(), side: Side::default() }
    }

    /// The script with one more turn.
    #[must_use]
    pub fn turn(mut self, turn: Turn) -> Self {
        self.turns.push(turn);
        self
    }

    /// The script that a file holds: JSON where it begins with a brace, TOML otherwise.
    ///
    /// # Errors
    /// When it is neither, or has another shape.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        if text.trim_start().starts_with('{') { Ok(serde_json::from_str(text)?) } else { Ok(toml::from_str(text)?) }
    }
}

impl Turn {
    /// A turn in which nothing is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// The turn with text after what it has.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.say.push(Part::Text(text.into()));
        self
    }

    /// The turn with reasoning after what it has.
    #[must_use]
    pub fn reasoning(mut self, text: impl Into<String>) -> Self {
        self.say.push(Part::Reasoning(text.into()));
        self
    }

    /// The turn with a call after what it has. Arguments are an object; anything else is said as the argument `input`.
    #[must_use]
    pub fn call(mut self, name: impl Into<String>, arguments: Value) -> Self {
        let input = Input::Arguments(match arguments {
            Value::Object(arguments) => arguments,
            other => Map::from_iter([("input".to_owned(), other)]),
        });
        self.say.push(Part::Call(Call { name: name.into(), input }));
        self
    }

    /// The turn with a call in free text after what it has.
    #[must_use]
    pub fn call_with_text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.say.push(Part::Call(Call { name: name.into(), input: Input::Text(text.into()) }));
        self
    }

    /// The turn at this cost.
    #[must_use]
    pub fn costs(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The turn with a fault.
    #[must_use]
    pub fn fails(mut self, what: Fault, times: Times) -> Self {
        self.fault = Some(Failing { what, times });
        self
    }

    /// The turn for the case that the model was told this, and another for every other case.
    #[must_use]
    pub fn told(mut self, contains: impl Into<String>, otherwise: Turn) -> Self {
        self.expect = Some(Expect { contains: contains.into(), otherwise: Box::new(otherwise) });
        self
    }

    /// The turn that is said to a model that was shown these results last.
    pub(crate) fn given(&self, results: &[String]) -> &Turn {
        match &self.expect {
            Some(expect) if !results.iter().any(|result| result.contains(&expect.contains)) => {
                expect.otherwise.given(results)
            }
            _ => self,
        }
    }
}

impl Input {
    /// Arguments by name.
    pub(crate) fn arguments(&self) -> Value {
        match self {
            Self::Arguments(arguments) => Value::Object(arguments.clone()),
            Self::Text(text) => serde_json::json!({ "input": text }),
        }
    }

    /// Free text.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Arguments(arguments) => Value::Object(arguments.clone()).to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Usage {
    /// Everything that is read.
    pub(crate) fn read(self) -> u64 {
        self.input.saturating_add(self.cached).saturating_add(self.cache_write)
    }

    /// Everything that is written.
    pub(crate) fn written(self) -> u64 {
        self.output.saturating_add(self.reasoning)
    }
}

impl Default for Side {
    fn default() -> Self {
        Self { text: "A scripted title".to_owned(), usage: Usage { input: 20, output: 5, ..Usage::default() } }
    }
}

/// How a call is written in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallInFile {
    name: String,
    arguments: Option<Map<String, Value>>,
    text: Option<String>,
}

impl TryFrom<CallInFile> for Call {
    type Error = &'static str;

    fn try_from(file: CallInFile) -> Result<Self, Self::Error> {
        let input = match (file.arguments, file.text) {
            (Some(arguments), None) => Input::Arguments(arguments),
            (None, Some(text)) => Input::Text(text),
            _ => return Err("a call has either `arguments` or `text`"),
        };
        Ok(Self { name: file.name, input })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = r#"
        key = "sk-scripted"
        without_tools = "turns"

        [side]
        text = "A title"
        usage = { input = 3, output = 1 }

        [[turn]]
        say = [
            { reasoning = "first a file" },
            { text = "I will write it." },
            { call = { name = "Write", arguments = { path = "a" } } },
            { call = { name = "apply_patch", text = "*** Begin Patch" } },
        ]
        usage = { input = 10, cached = 5, cache_write = 2, output = 7, reasoning = 4 }
        fault = { what = { status = { status = 429, retry_after_seconds = 1 } }, times = { first = 2 } }

        [[turn]]
        say = [{ text = "I was told." }]
        expect = { contains = "denied", otherwise = { say = [{ text = "I was not told." }] } }
        fault = { what = "no_json" }
    "#;

    #[test]
    fn a_file_says_what_the_library_says() {
        let usage = Usage { input: 10, cached: 5, cache_write: 2, output: 7, reasoning: 4 };
        let mut script = Script::new("sk-scripted")
            .turn(
                Turn::new()
                    .reasoning("first a file")
                    .text("I will write it.")
                    .call("Write", json!({"path": "a"}))
                    .call_with_text("apply_patch", "*** Begin Patch")
                    .costs(usage)
                    .fails(Fault::Status { status: 429, retry_after_seconds: Some(1) }, Times::First(2)),
            )
            .turn(
                Turn::new()
                    .text("I was told.")
                    .told("denied", Turn::new().text("I was not told."))
                    .fails(Fault::NoJson, Times::Always),
            );
        script.without_tools = WithoutTools::Turns;
        script.side = Side { text: "A title".to_owned(), usage: Usage { input: 3, output: 1, ..Usage::default() } };
        assert_eq!(Script::parse(FILE).unwrap(), script);
        let again: Value = toml::from_str(FILE).unwrap();
        assert_eq!(Script::parse(&again.to_string()).unwrap(), script);
    }

    #[test]
    fn what_nobody_would_notice_in_a_file_is_refused() {
        for wrong in [
            "key = \"k\"\nturns = []",
            "key = \"k\"\n[[turn]]\nsays = []",
            "key = \"k\"\n[[turn]]\nsay = [{ call = { name = \"x\" } }]",
            "key = \"k\"\n[[turn]]\nsay = [{ call = { name = \"x\", arguments = {}, text = \"\" } }]",
            "key = \"k\"\n[[turn]]\nusage = { inputs = 1 }",
            "[[turn]]\nsay = []",
        ] {
            assert!(Script::parse(wrong).is_err(), "{wrong}");
        }
    }
}
