//! The client's side of the Agent Client Protocol (ACP): a program that starts an agent which speaks it on its standard streams, gives it
//! one task, and tells what came of that.
//!
//! Runs inside the sandbox, as the main executable called by another name, beside the agent and fenced as it is: it guards nothing, and what
//! it tells is the agent's word. It offers the agent no files and no terminal, believes nothing, and has a limit for all that it
//! reads or waits for. Owns: the conversation, and how an agent that breaks it off is told from one that is done. Never knows: doors,
//! policies, runs; which tool calls the agent makes is decided elsewhere, whether it asks here or not.

mod conversation;
mod program;
mod told;
mod wire;

use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use conversation::{Conversation, Step};
pub use program::{converse, main};

use crate::agents::{Report, scripted};

/// The name under which the main executable is this program.
pub const PROGRAM: &str = "selvedge-acp";

/// What the program is to do: one JSON document on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The agent's program and its arguments.
    pub command: Vec<String>,
    /// What the agent is asked.
    pub task: String,
    /// Where the repository lies.
    pub workspace: String,
    /// The mode it is to work in; without one, that in which it begins.
    pub mode: Option<String>,
    /// Servers whose tools it is told of, each with where it is asked.
    pub servers: Vec<(String, String)>,
    /// How long it may say nothing while it works.
    pub silence_seconds: u64,
}

impl Assignment {
    /// As the program reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let value = serde_json::json!({
            "command": self.command, "task": self.task, "workspace": self.workspace, "mode": self.mode,
            "servers": self.servers, "silence_seconds": self.silence_seconds,
        });
        value.to_string().into_bytes()
    }
}

/// What the program's output says happened.
pub fn read(output: &[u8]) -> Report {
    Report::read(output, scripted::read)
}
