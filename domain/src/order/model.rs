//! `model.call`: have a model answer; and `tool.call`: let an agent do what the model asks of it.

use super::{Description, Field, Order, Resource, ResourceKind, Secrets, Verb};
use crate::{CredentialName, Digest, Endpoint, ModelName, RepoName, Risk, RunId, ToolScope};

/// How a text ends that a door cut because it was longer than is told.
pub const CUT: &str = "[cut]";

/// Send this request to a model. What is asked is the vendor's to read; these are the facts the factory computed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCall {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// The door's count of calls, so that no two orders are the same.
    pub serial: u64,
    /// The configured model.
    pub model: ModelName,
    /// What the vendor calls the one that is asked.
    pub asked: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How it is spoken to.
    pub protocol: String,
    /// Length of the request.
    pub request_bytes: u64,
    /// How many tools it offers.
    pub tools: u64,
    /// What the vendor is to do on its side.
    pub egress: Vec<String>,
    /// The day from which the price holds that it is reckoned by; `always` where it has none.
    pub price_since: String,
    /// What it may cost at most, in millionths of the unit that budgets are in.
    pub reserves: u64,
    /// What is left of the run's budget before it.
    pub budget_left: u64,
    /// The lent credential that the door will put into it.
    pub credential: Option<CredentialName>,
}

/// What a model's answer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelAnswered {
    /// The upstream's status code; 0 when it could not be reached.
    pub status: u16,
    /// Tokens, each counted once.
    pub tokens: Tokens,
    /// Whether the vendor did not give the last numbers, so that they are an estimate, and not too low.
    pub is_estimated: bool,
    /// What it cost, in millionths of the unit that budgets are in.
    pub cost: u64,
}

/// Tokens of one call, each counted once, whatever a protocol's own sums do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read at the full price.
    pub input: u64,
    /// Read from the vendor's cache.
    pub cached: u64,
    /// Written to the vendor's cache.
    pub cache_write: u64,
    /// Written by the model, reasoning included.
    pub output: u64,
    /// How many of `output` were reasoning.
    pub reasoning: u64,
}

/// Let the agent have this tool call, as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The run that works.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// The call of the model that it came with.
    pub serial: u64,
    /// Which of that answer's calls, counted from 0.
    pub index: u64,
    /// The tool, in the agent's words.
    pub tool: String,
    /// What kind of tool that is; `other` where nobody told.
    pub kind: String,
    /// The command it would run; "" where it is none. A long one ends with [`CUT`].
    pub command: String,
    /// The paths it names.
    pub paths: Vec<String>,
    /// Those of them that steer an agent's own program: its hooks, permissions and servers.
    pub steers: Vec<String>,
    /// The addresses it names.
    pub addresses: Vec<String>,
    /// Its arguments as `name=value`, but those that are its command, paths or addresses; of a server's tool every one. One that is not told
    /// whole ends with [`CUT`].
    pub values: Vec<String>,
    /// Of its arguments, all of them; of a server's tool as canonical JSON, so that both orders about one call have one.
    pub arguments: Digest,
    /// How long they are.
    pub argument_bytes: u64,
    /// What looks like a secret in it.
    pub secrets: Secrets,
    /// The tool of a brokered server that the agent calls by that name.
    pub of_server: Option<ServerTool>,
}

/// A tool of a brokered server, as it is called by its model's name: what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTool {
    /// What is called.
    pub scope: ToolScope,
    /// How much harm it could do, in the operator's word.
    pub risk: Risk,
}

/// The agent was given the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolPassed;

fn measured(count: u64) -> Field {
    Field::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

impl Order for ModelCall {
    type Deed = ModelAnswered;
    const VERB: Verb = Verb::ModelCall;

    fn describe(&self) -> Description {
        Description {
            verb: Self::VERB,
            resource: Resource {
                kind: ResourceKind::Endpoint,
                name: format!("{}:{}", self.endpoint.host, self.endpoint.port),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("serial", measured(self.serial)),
                ("model", Field::from(self.model.as_str())),
                ("asked", Field::from(self.asked.as_str())),
                ("protocol", Field::from(self.protocol.as_str())),
                ("request_bytes", measured(self.request_bytes)),
                ("tools", measured(self.tools)),
                ("egress", Field::Words(self.egress.clone())),
                ("price_since", Field::from(self.price_since.as_str())),
                ("reserves", measured(self.reserves)),
                ("budget_left", measured(self.budget_left)),
                ("credential", Field::from(self.credential.as_ref().map_or("none", |credential| credential.as_str()))),
            ],
        }
    }
}

impl Order for ToolCall {
    type Deed = ToolPassed;
    const VERB: Verb = Verb::ToolCall;

    /// What the agent would ask of a server has the facts of that, so that a rule or a person who looks at this one sees the other.
    fn describe(&self) -> Description {
        let of_server = self.of_server.as_ref();
        let facts = ToolFacts {
            run: &self.run,
            repo: &self.repo,
            serial: self.serial,
            index: self.index,
            server: of_server.map_or(BESIDES_TOOLS, |tool| tool.scope.server().as_str()),
            tool: &self.tool,
            kind: &self.kind,
            risk: of_server.map_or(Risk::Medium, |tool| tool.risk),
            command: &self.command,
            paths: &self.paths,
            steers: &self.steers,
            addresses: &self.addresses,
            values: &self.values,
            described: described(of_server.map(|tool| &tool.scope)),
            arguments: &self.arguments,
            argument_bytes: self.argument_bytes,
            credential: BESIDES_TOOLS,
            host: BESIDES_TOOLS,
            request_bytes_max: 0,
            secrets: &self.secrets,
        };
        facts.describe()
    }

    fn recorded(&self) -> Description {
        self.secrets.mask_all(self.describe())
    }
}

/// What stands where a tool call has no such fact: no name, digest or server is that.
pub(super) const BESIDES_TOOLS: &str = "none";

/// The digest a tool was taken on with.
pub(super) fn described(scope: Option<&ToolScope>) -> String {
    match scope {
        Some(ToolScope::Call { described, .. }) => described.to_string(),
        Some(ToolScope::List { .. }) | None => BESIDES_TOOLS.to_owned(),
    }
}

/// The facts of any tool call, an agent's own or a brokered one.
pub(super) struct ToolFacts<'a> {
    pub(super) run: &'a RunId,
    pub(super) repo: &'a RepoName,
    pub(super) serial: u64,
    pub(super) index: u64,
    pub(super) server: &'a str,
    pub(super) tool: &'a str,
    pub(super) kind: &'a str,
    pub(super) risk: Risk,
    pub(super) command: &'a str,
    pub(super) paths: &'a [String],
    pub(super) steers: &'a [String],
    pub(super) addresses: &'a [String],
    pub(super) values: &'a [String],
    pub(super) described: String,
    pub(super) arguments: &'a Digest,
    pub(super) argument_bytes: u64,
    pub(super) credential: &'a str,
    pub(super) host: &'a str,
    pub(super) request_bytes_max: u64,
    pub(super) secrets: &'a Secrets,
}

impl ToolFacts<'_> {
    pub(super) fn describe(self) -> Description {
        Description {
            verb: Verb::ToolCall,
            resource: Resource {
                kind: ResourceKind::Repository,
                name: self.repo.as_str().to_owned(),
                repo: self.repo.clone(),
            },
            fields: vec![
                ("run", Field::from(self.run.as_str())),
                ("serial", measured(self.serial)),
                ("index", measured(self.index)),
                ("server", Field::from(self.server)),
                ("tool", Field::from(self.tool)),
                ("kind", Field::from(self.kind)),
                ("risk", Field::from(self.risk.as_str())),
                ("command", Field::from(self.command)),
                ("paths", Field::Words(self.paths.to_vec())),
                ("steers", Field::Words(self.steers.to_vec())),
                ("addresses", Field::Words(self.addresses.to_vec())),
                ("values", Field::Words(self.values.to_vec())),
                ("described", Field::from(self.described)),
                ("arguments", Field::from(self.arguments.to_string())),
                ("argument_bytes", measured(self.argument_bytes)),
                ("credential", Field::from(self.credential)),
                ("host", Field::from(self.host)),
                ("request_bytes_max", measured(self.request_bytes_max)),
                ("secrets", Field::Words(self.secrets.kinds())),
            ],
        }
    }
}
