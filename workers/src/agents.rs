//! Coding agents that people already use, each behind an adapter: data and a little code.
//!
//! Owns, for each agent: which package in which version is known to work, how its program is called so that nothing of the
//! agent's own loosens or doubles the fence around it, which of its tools does what, and what its output says happened. Pure:
//! nothing here reads a file or starts a program. Never knows: doors, sandboxes, runs, policies. What an agent says of its own
//! work is a claim; [`Outcome::Finished`] means that it claims to be done, and no more.

mod aider;
mod claude_code;
mod codex;
mod gemini_cli;
mod hooks;
mod mini_swe_agent;
mod opencode;
mod package;
mod qwen_code;
mod rehearsal;
mod report;
pub(crate) mod scripted;
mod tools;

pub use hooks::{HasHooks, Hooks};
pub use package::{Beside, Pin};
pub use rehearsal::{Rehearsal, RehearsedTurn};
pub(crate) use report::End;
pub use report::{Outcome, Report, Tokens};
pub use tools::{Tool, ToolKind};

/// Where an installed agent lies inside a sandbox; the rest of the path is its name.
pub const INSTALLED: &str = "/opt/agents";

/// Where files lie that are laid for an agent, unless it looks for them in a place of its own.
const LAID: &str = "/etc/selvedge";

/// One agent.
#[derive(Debug)]
pub struct Adapter {
    /// What it is called in the configuration.
    pub name: &'static str,
    /// How it speaks to its model: `anthropic-messages`, `openai-responses`, `openai-chat` or `gemini`.
    pub protocol: &'static str,
    /// The package it comes in.
    pub pin: Pin,
    /// Its own tools.
    pub tools: &'static [Tool],
    /// What it calls a tool of a server, as far as is known.
    pub calls: &'static [CalledAs],
    start: Start,
    /// Whether it has hooks that are used.
    pub hooks: HasHooks,
    rehearses: rehearsal::Rehearses,
    /// What it is called with for a job, behind what starts it.
    furnish: fn(&Adapter, &Job<'_>) -> Furnishing,
    /// What it is called with instead to speak the Agent Client Protocol, where it does.
    acp: Option<fn(&Job<'_>) -> Vec<String>>,
    read: fn(&serde_json::Value, &mut Report),
}

/// What an agent calls a tool of a server, to its model: it makes one name of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CalledAs {
    /// `mcp__SERVER__TOOL`
    Mcp,
    /// `mcp_SERVER_TOOL`
    McpJoined,
    /// `SERVER_TOOL`
    Joined,
}

impl CalledAs {
    /// The name of this tool. What is no letter, digit, `-` or `_` is written as `_`.
    pub fn of(self, server: &str, tool: &str) -> String {
        let name = match self {
            Self::Mcp => format!("mcp__{server}__{tool}"),
            Self::McpJoined => format!("mcp_{server}_{tool}"),
            Self::Joined => format!("{server}_{tool}"),
        };
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect()
    }
}

impl PartialEq for Adapter {
    /// There is one adapter of each name.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Adapter {}

/// What starts an agent.
#[derive(Debug)]
enum Start {
    /// Its program, by processor, below the installed tree. The vendor's own wrapper is passed by: it would need an interpreter.
    Native([(&'static str, &'static str); 2]),
    /// A script below the installed tree, for the Node.js that lies there beside it, and one of ours that is run before it.
    Node(&'static str, &'static str),
    /// A script of ours, which calls the installed packages, for the system's Python.
    Python(&'static str),
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
    /// Where its hooks tell of its tool calls; none where they are not to.
    pub hooks: Option<Hooks<'a>>,
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
    pub const ALL: [&'static Self; 7] = [
        &claude_code::ADAPTER,
        &codex::ADAPTER,
        &opencode::ADAPTER,
        &gemini_cli::ADAPTER,
        &qwen_code::ADAPTER,
        &mini_swe_agent::ADAPTER,
        &aider::ADAPTER,
    ];

    /// The agent of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|adapter| adapter.name == name)
    }

    /// Where its tree lies inside a sandbox.
    pub fn installed_at(&self) -> String {
        format!("{INSTALLED}/{}", self.name)
    }

    /// How it is called for a job, on a processor as Rust names it (`x86_64`, `aarch64`); none on one it has no program for.
    pub fn furnish(&self, job: &Job<'_>, processor: &str) -> Option<Furnishing> {
        let started = self.started(processor)?;
        let called = (self.furnish)(self, job);
        Some(Furnishing {
            argv: started.argv.into_iter().chain(called.argv).collect(),
            env: called.env,
            files: started.files.into_iter().chain(called.files).collect(),
        })
    }

    /// Whether it can be spoken to in the Agent Client Protocol.
    pub fn speaks_acp(&self) -> bool {
        self.acp.is_some()
    }

    /// How it is called to speak the Agent Client Protocol: its settings are the same, and the task comes by the protocol.
    pub fn furnish_for_acp(&self, job: &Job<'_>, processor: &str) -> Option<Furnishing> {
        let started = self.started(processor)?;
        let called = (self.furnish)(self, job);
        let argv = started.argv.into_iter().chain((self.acp?)(job)).collect();
        Some(Furnishing { argv, env: called.env, files: started.files.into_iter().chain(called.files).collect() })
    }

    /// How it is asked for its version, with no model and no network.
    pub fn asks_version(&self, processor: &str) -> Option<Furnishing> {
        let mut started = self.started(processor)?;
        started.argv.push("--version".to_owned());
        Some(started)
    }

    fn started(&self, processor: &str) -> Option<Furnishing> {
        let below = |path: &str| format!("{}/{path}", self.installed_at());
        match self.start {
            Start::Native(programs) => {
                let (_, program) = programs.into_iter().find(|(known, _)| *known == processor)?;
                Some(Furnishing { argv: vec![below(program)], ..Furnishing::default() })
            }
            Start::Node(script, first) => {
                let laid = self.laid("cjs", first);
                let mut argv = vec![below(&format!("node_modules/{}/bin/node", package::node(processor)?))];
                argv.extend(words(&["--require", &laid.path, &below(script)]));
                Some(Furnishing { argv, env: Vec::new(), files: vec![laid] })
            }
            Start::Python(text) => {
                let laid = self.laid("py", text);
                // Isolated: neither the repository nor the home says what is imported. Nothing is written beside what is installed.
                let argv = words(&[package::PYTHON, "-I", "-B", &laid.path, &self.installed_at()]);
                Some(Furnishing { argv, env: Vec::new(), files: vec![laid] })
            }
        }
    }

    fn laid(&self, kind: &str, text: &str) -> Laid {
        Laid { path: format!("{LAID}/{}.{kind}", self.name), text: text.to_owned() }
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
