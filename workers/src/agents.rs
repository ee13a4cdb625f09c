//! Coding agents that people already use, each behind an adapter: data and a little code.
//!
//! Owns, for each agent: which package in which version is known to work, how its program is called so that nothing of the
//! agent's own loosens or doubles the fence around it, which of its tools does what, and what its output says happened. Pure:
//! nothing here reads a file or starts a program. Never knows: doors, sandboxes, runs, policies. What an agent says of its own
//! work is a claim; [`Outcome::Finished`] means that it claims to be done, and no more.

mod claude_code;
mod codex;
mod opencode;
mod report;
mod tools;

pub use report::{Outcome, Report, Tokens};
pub use tools::{Tool, ToolKind};

/// Where an installed agent lies inside a sandbox; the rest of the path is its name.
pub const INSTALLED: &str = "/opt/agents";

/// One agent.
#[derive(Debug)]
pub struct Adapter {
    /// What it is called in the configuration.
    pub name: &'static str,
    /// How it speaks to its model: `anthropic-messages`, `openai-responses` or `openai-chat`.
    pub protocol: &'static str,
    /// The package it comes in.
    pub pin: Pin,
    /// Its own tools.
    pub tools: &'static [Tool],
    /// Its program, by processor, below the installed tree. The vendor's own wrapper is passed by: it would need an interpreter.
    programs: [(&'static str, &'static str); 2],
    furnish: fn(&Adapter, &Job<'_>) -> Furnishing,
    read: fn(&serde_json::Value, &mut Report),
}

impl PartialEq for Adapter {
    /// There is one adapter of each name.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Adapter {}

/// A package in the version this adapter was tried with. Command lines, streams and switches change from release to release, so
/// another version is another adapter's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Who fetches it.
    pub manager: &'static str,
    /// The package.
    pub package: &'static str,
    /// The exact version.
    pub version: &'static str,
}

/// What an agent is to do, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The words of the task.
    pub prompt: &'a str,
    /// The model to ask for.
    pub model: &'a str,
    /// Where the model is asked: scheme and host, no path.
    pub door: &'a str,
    /// What stands in a key's place. Worthless, but agents insist on one.
    pub placeholder: &'a str,
    /// Where the repository lies.
    pub workspace: &'a str,
    /// Servers whose tools it has, each with where it is asked.
    pub servers: &'a [(String, String)],
}

/// How a program is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Furnishing {
    /// The program and its arguments. It reads nothing: its standard input is at its end.
    pub argv: Vec<String>,
    /// What is added to the environment.
    pub env: Vec<(String, String)>,
    /// Files that it can read and not change.
    pub files: Vec<Laid>,
}

/// A file that is laid for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laid {
    /// Where, inside.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl Adapter {
    /// Every agent there is an adapter for.
    pub const ALL: [&'static Self; 3] = [&claude_code::ADAPTER, &codex::ADAPTER, &opencode::ADAPTER];

    /// The agent of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|adapter| adapter.name == name)
    }

    /// Where its tree lies inside a sandbox.
    pub fn installed_at(&self) -> String {
        format!("{INSTALLED}/{}", self.name)
    }

    /// Its program inside a sandbox, on a processor as Rust names it (`x86_64`, `aarch64`); none where there is none.
    pub fn program(&self, processor: &str) -> Option<String> {
        let (_, below) = self.programs.into_iter().find(|(known, _)| *known == processor)?;
        Some(format!("{}/{below}", self.installed_at()))
    }

    /// How it is called for a job; none on a processor it has no program for.
    pub fn furnish(&self, job: &Job<'_>, processor: &str) -> Option<Furnishing> {
        let program = self.program(processor)?;
        let mut furnishing = (self.furnish)(self, job);
        furnishing.argv.insert(0, program);
        Some(furnishing)
    }

    /// What its output says happened.
    pub fn read(&self, output: &[u8]) -> Report {
        Report::read(output, self.read)
    }

    /// Its tool of this name.
    pub fn tool(&self, name: &str) -> Option<&'static Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
