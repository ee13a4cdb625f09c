//! What a model door is told at its start, asks its keeper, and tells it: facts in bounded plain text, never JSON of an agent's or a
//! model's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use selvedge_domain::{CredentialName, Digest, Endpoint, ServerName, ToolName};

use super::hosting::Hosting;
use super::{Egress, Protocol, Usage};

/// The code of a denial that will not last: what is left of the budget is set aside for calls under way.
pub const BUDGET_IN_USE: &str = "budget_in_use";

/// A model as a door is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelHost {
    /// Where the sandbox finds it: a place that is nowhere.
    pub endpoint: Endpoint,
    /// Where it is.
    pub upstream: Endpoint,
    /// What stands before the protocol's own paths there, or those of whoever runs it; "" or `/some/path`.
    pub base_path: String,
    /// Who runs it.
    pub hosting: Hosting,
    /// How it is spoken to.
    pub protocols: BTreeSet<Protocol>,
    /// What agents call the models that may be asked.
    pub names: BTreeSet<String>,
    /// What they are called there, of those that have another name.
    pub called: BTreeMap<String, String>,
    /// What the vendor may do on its side.
    pub egress: BTreeSet<Egress>,
    /// The tools of the agent that are known.
    pub tools: Vec<Tool>,
    /// What denied calls are called; drawn for this attempt.
    pub denied: String,
    /// How long it may be silent: before its answer, and between two pieces of it.
    pub patience: Duration,
    /// What is said in its place; the door then has no upstream, for as long as it lives.
    pub rehearsal: Option<Rehearsal>,
}

/// What a door says in a model's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// What is rehearsed: the first turn whose tool a request declares.
    pub turns: Vec<RehearsedTurn>,
    /// What the request after it has in it, all of it, where an agent took the turn as it should.
    pub comes_back: Vec<String>,
    /// What that request is answered, chosen alike; where none is meant, a word.
    pub ends: Vec<RehearsedTurn>,
}

/// One answer of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RehearsedTurn {
    /// The tool that it calls, as requests declare it; none where it answers requests that declare no tools.
    pub tool: Option<String>,
    /// What it says.
    pub text: String,
    /// What it calls the tool with, once or more often: a JSON object, or else text.
    pub calls: Vec<String>,
}

/// A tool of an agent: what its arguments mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tool {
    /// Its name, as the model is told it.
    pub name: String,
    /// What kind it is.
    pub kind: String,
    /// The argument that is a command, or a list of words of one; empty for a tool that takes nothing but a program's text.
    pub command: Option<String>,
    /// The arguments that are paths.
    pub paths: Vec<String>,
    /// The arguments that are addresses.
    pub addresses: Vec<String>,
    /// The argument that is a patch with paths in it; where the tool takes text, that is the patch.
    pub patch: Option<String>,
    /// The tool of a brokered server that the agent calls by this name.
    pub of_server: Option<(ServerName, ToolName)>,
}

/// What a door asks about a call of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAsk {
    /// Names this call between keeper and door.
    pub serial: u64,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What the vendor calls the model.
    pub asked: String,
    /// How long the request is.
    pub request_bytes: u64,
    /// How many tools it offers.
    pub tools: u64,
    /// Whether an answer is generated; otherwise tokens are counted, which costs nothing.
    pub generates: bool,
    /// Whether all that the model is to read is text, each token of which has at least a byte of the request.
    pub is_all_text: bool,
    /// The most the model may write, where the request says so.
    pub output_tokens_max: Option<u64>,
    /// What the vendor is to do on its side.
    pub egress: BTreeSet<Egress>,
    /// The lent credential that would go into it.
    pub credential: Option<CredentialName>,
}

/// What an allowed call of a model came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelDone {
    /// Which call.
    pub serial: u64,
    /// The vendor's status; 0 when there was no answer.
    pub status: u16,
    /// What the vendor counted, as far as it told.
    pub usage: Usage,
    /// Whether these are its last numbers.
    pub is_final: bool,
    /// How much the model wrote, to estimate by.
    pub written_bytes: u64,
    /// Whether it was the vendor who broke off; otherwise it may have gone on writing for nobody.
    pub cut_by_vendor: bool,
    /// Whether the agent was told that there is no answer, or no more of it.
    pub broke_off: bool,
}

/// What an agent's hooks tell of a tool call. Nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The id it names, as far as it is plain.
    pub id: String,
    /// The tool, as the agent calls it.
    pub tool: String,
    /// The call that was passed under this id: the call of the model that it came with, and which of that answer's.
    pub call: Option<(u64, u64)>,
    /// Whether it is over; otherwise it begins.
    pub is_over: bool,
    /// Whether it failed, by the agent's word.
    pub has_failed: bool,
    /// With which exit status, where the agent says.
    pub exit: Option<i64>,
}

/// What a door asks about a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolAsk {
    /// The call of the model that it came with.
    pub serial: u64,
    /// Which of that answer's, counted from 0.
    pub index: u64,
    /// The tool.
    pub tool: String,
    /// What kind it is; `other` where nobody told.
    pub kind: String,
    /// The command it would run; "" where there is none.
    pub command: String,
    /// The paths it names.
    pub paths: Vec<String>,
    /// The addresses it names.
    pub addresses: Vec<String>,
    /// Of its arguments, all of them; of a brokered tool as the tool door would tell of them.
    pub arguments: Digest,
    /// How long they are.
    pub argument_bytes: u64,
    /// The tool of a brokered server that this is.
    pub of_server: Option<(ServerName, ToolName)>,
    /// Arguments as `name=value`: every one of such a tool, of others those that are not told otherwise.
    pub values: Vec<String>,
}
