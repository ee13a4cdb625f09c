//! What an agent's output says happened: one JSON event a line, read within bounds. The output is the agent's, and hostile:
//! nothing in it is believed, and nothing in it can make reading it fail.

use serde_json::Value;

/// Longest line that is read; what an agent prints of a command's output is shorter. A longer one counts as unread.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Most lines that are read: some thousand turns.
const LINES_MAX: usize = 200_000;

/// Longest text that is kept of what it said last.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Most uses of tools that are kept by name; more are counted.
const TOOLS_MAX: usize = 1_000;

/// Longest name of a tool.
const NAME_BYTES_MAX: usize = 128;

/// Most errors that are kept, and how long each may be.
const ERRORS_MAX: usize = 16;
const ERROR_BYTES_MAX: usize = 2 << 10;

/// What the output of an agent says happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What it said last.
    pub text: String,
    /// The tools it says it used, in order, by name.
    pub tools: Vec<String>,
    /// How many uses that were; more than are named where it used very many.
    pub tool_uses: u64,
    /// What it says it used of its model. Side calls are missing, and all of it is a claim.
    pub tokens: Tokens,
    /// Errors it told of, those it got over among them.
    pub errors: Vec<String>,
    /// Lines that were no event of this agent's.
    pub unread: u64,
    /// Whether what it says next goes on where it stopped.
    is_saying: bool,
    events: u64,
    end: Option<End>,
}

/// How an agent's work ended, by what it or its client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It is done.
    Well,
    /// It failed, in its own words.
    Failed(String),
    /// It stopped before it was done.
    Stopped(String),
    /// It did not keep to the protocol it is spoken to in.
    Misspoke(String),
}

/// Tokens as an agent counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, those from a cache among them.
    pub input: u64,
    /// Read from a cache.
    pub cached: u64,
    /// Written.
    pub output: u64,
}

/// What an agent came to, by what it says and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It says that it is done.
    Finished,
    /// It says that it is done, used no tool and said nothing.
    Idle,
    /// It says that it failed, whatever its exit status.
    Failed {
        /// In its own words.
        because: String,
    },
    /// It stopped before it was done.
    Stopped {
        /// Which limit or end it came to.
        because: String,
    },
    /// It did not keep to the protocol it is spoken to in.
    Misspoke {
        /// What it did instead.
        because: String,
    },
    /// Its program ended with an error that its output says nothing of.
    Broke {
        /// With which exit status; none where it was ended.
        status: Option<i32>,
    },
    /// Its output ends before its end.
    Unfinished,
    /// Its output is none of this agent's.
    NotUnderstood,
}

impl Report {
    pub(crate) fn read(output: &[u8], event: fn(&Value, &mut Self)) -> Self {
        let mut report = Self::default();
        let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        for (index, line) in lines.enumerate() {
            let read = (index < LINES_MAX && line.len() <= LINE_BYTES_MAX)
                .then(|| serde_json::from_slice::<Value>(line).ok())
                .flatten()
                .filter(|value| kind(value).is_some());
            match read {
                Some(value) => {
                    report.events += 1;
                    event(&value, &mut report);
                }
                None => report.unread = report.unread.saturating_add(1),
            }
        }
        report
    }

    /// What it came to, where its program ended with this status; none where something ended it.
    pub fn outcome(&self, status: Option<i32>) -> Outcome {
        match (&self.end, status) {
            (Some(End::Failed(because)), _) => Outcome::Failed { because: because.clone() },
            (Some(End::Stopped(because)), _) => Outcome::Stopped { because: because.clone() },
            (Some(End::Misspoke(because)), _) => Outcome::Misspoke { because: because.clone() },
            (Some(End::Well), Some(0)) if self.tool_uses == 0 && self.text.trim().is_empty() => Outcome::Idle,
            (Some(End::Well), Some(0)) => Outcome::Finished,
            (None, Some(0)) if self.events == 0 => Outcome::NotUnderstood,
            (None, Some(0)) => match self.errors.last() {
                Some(because) => Outcome::Failed { because: because.clone() },
                None => Outcome::Unfinished,
            },
            (_, status) => match self.errors.last() {
                Some(because) => Outcome::Failed { because: because.clone() },
                None => Outcome::Broke { status },
            },
        }
    }

    /// It says that it is done. What it said of an earlier turn is over.
    pub(super) fn ended_well(&mut self) {
        self.end = Some(End::Well);
    }

    pub(super) fn ended_badly(&mut self, because: &str) {
        self.end = Some(End::Failed(cut(because, ERROR_BYTES_MAX)));
        self.failed(because);
    }

    pub(super) fn ended_early(&mut self, because: &str) {
        self.end = Some(End::Stopped(cut(because, ERROR_BYTES_MAX)));
    }

    pub(super) fn misspoke(&mut self, because: &str) {
        self.end = Some(End::Misspoke(cut(because, ERROR_BYTES_MAX)));
    }

    /// It goes on.
    pub(super) fn goes_on(&mut self) {
        self.end = None;
    }

    pub(super) fn said(&mut self, text: &str) {
        self.text = cut(text, TEXT_BYTES_MAX);
        self.is_saying = false;
    }

    /// It says more of what it was saying, or begins to say something.
    pub(super) fn went_on_saying(&mut self, text: &str) {
        if !std::mem::replace(&mut self.is_saying, true) {
            self.text.clear();
        }
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        self.text.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
    }

    pub(super) fn used(&mut self, tool: &str) {
        self.tool_uses = self.tool_uses.saturating_add(1);
        self.is_saying = false;
        if self.tools.len() < TOOLS_MAX {
            self.tools.push(cut(tool, NAME_BYTES_MAX));
        }
    }

    pub(super) fn failed(&mut self, because: &str) {
        if self.errors.len() == ERRORS_MAX {
            // The last one says most.
            self.errors.pop();
        }
        self.errors.push(cut(because, ERROR_BYTES_MAX));
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => f.write_str("the agent says it is done"),
            Self::Idle => f.write_str("the agent says it is done, and neither used a tool nor said a word"),
            Self::Failed { because } => write!(f, "the agent says it failed: {}", plain(because)),
            Self::Stopped { because } => write!(f, "the agent stopped before it was done: {}", plain(because)),
            Self::Misspoke { because } => write!(f, "the agent does not keep to its protocol: {}", plain(because)),
            Self::Broke { status: Some(status) } => {
                write!(f, "the agent ended with exit status {status} and did not say why")
            }
            Self::Broke { status: None } => f.write_str("the agent was ended before it was done"),
            Self::Unfinished => f.write_str("the agent's output ends before its work does"),
            Self::NotUnderstood => f.write_str("nothing in the output is an event of this agent"),
        }
    }
}

impl std::ops::AddAssign for Tokens {
    fn add_assign(&mut self, more: Self) {
        self.input = self.input.saturating_add(more.input);
        self.cached = self.cached.saturating_add(more.cached);
        self.output = self.output.saturating_add(more.output);
    }
}

/// What kind of event this is.
pub(super) fn kind(event: &Value) -> Option<&str> {
    event.get("type")?.as_str()
}

/// The text at a path of names.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, name| value.get(name))?.as_str()
}

/// The number at a path of names; 0 where there is none.
pub(super) fn number(value: &Value, path: &[&str]) -> u64 {
    path.iter().try_fold(value, |value, name| value.get(name)).and_then(Value::as_u64).unwrap_or_default()
}

/// One line, whatever it said.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, bytes_max: usize) -> String {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default().to_owned()
}
