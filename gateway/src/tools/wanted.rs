//! What a tool door is told at its start, asks its keeper, and tells it: facts in bounded plain text, never JSON of an agent's or a
//! server's.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_domain::{Digest, Endpoint, ServerName, ToolName};

/// The tool servers of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolHost {
    /// Where the sandbox finds them, each under its name: a place that is nowhere.
    pub endpoint: Endpoint,
    /// The servers.
    pub servers: Vec<ToolServer>,
}

/// A server as a door is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolServer {
    /// Its name.
    pub name: ServerName,
    /// How it is reached.
    pub way: ServerWay,
    /// The tools that were taken on.
    pub tools: BTreeMap<ToolName, TakenOn>,
    /// How long it may take for one answer.
    pub patience: Duration,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerWay {
    /// By requests.
    Http {
        /// Where it is.
        upstream: Endpoint,
        /// The path they go to.
        path: String,
    },
    /// It is the factory: its tools are the door's own.
    Factory,
    /// Through the standard streams of a program in a sandbox of its own. They are handed over with the listeners, in the order of the
    /// servers.
    Pipes,
}

/// A tool that was taken on, and what its arguments mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOn {
    /// Of its name, description and input schema, as they were then.
    pub described: Digest,
    /// The argument that is a command, if one is.
    pub command: Option<String>,
    /// The arguments that are paths, beside those that look like some.
    pub paths: Vec<String>,
    /// The arguments that are addresses, beside those that look like some.
    pub addresses: Vec<String>,
}

/// What a door asks about a call of a server: which tools it has, or one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAsk {
    /// Names this call between keeper and door.
    pub serial: u64,
    /// Which server.
    pub server: ServerName,
    /// Which tool; none to ask which there are.
    pub tool: Option<ToolName>,
    /// The command it would run; "" where there is none.
    pub command: String,
    /// The paths among its arguments.
    pub paths: Vec<String>,
    /// The addresses among them.
    pub addresses: Vec<String>,
    /// Every argument as `name=value`.
    pub values: Vec<String>,
    /// Of its arguments, all of them.
    pub arguments: Digest,
    /// How long they are.
    pub argument_bytes: u64,
}

/// What an allowed call of a server came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerDone {
    /// Which call.
    pub serial: u64,
    /// `answered`, `tool_error`, or why there is no answer.
    pub code: String,
    /// Of the answer, as the agent has it.
    pub answer: Digest,
    /// How long it is.
    pub answer_bytes: u64,
    /// What was sent for it, to a server that takes requests.
    pub request_bytes: u64,
}

/// The most that is sent for a call beside its arguments: the handshake, questions for the list of tools, heads with a credential in each.
const BESIDE_ARGUMENTS_BYTES_MAX: u64 = 128 * 1024;

impl ServerAsk {
    /// The most that a door sends for it to a server that takes requests: its arguments twice, for a server may forget a session.
    pub fn sent_at_most(&self) -> u64 {
        BESIDE_ARGUMENTS_BYTES_MAX.saturating_add(self.argument_bytes.saturating_mul(2))
    }
}

/// A tool that a server offers and that was not taken on as it is described: for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTakenOn {
    /// Which server.
    pub server: ServerName,
    /// What it calls the tool.
    pub tool: ToolName,
    /// Of what is said of it now.
    pub described: Digest,
    /// Whether it was taken on when something else was said of it.
    pub is_changed: bool,
    /// What is said of it, as text that can be shown.
    pub text: String,
}
