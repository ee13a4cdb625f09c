//! `tool.call` of a tool that another server has: ask it which tools it offers, or call one of them.

use super::model::{BESIDES_TOOLS, ToolFacts, described};
use super::{Description, Order, Secrets, Verb};
use crate::{CredentialName, Digest, HostPattern, RepoName, Risk, RunId, ServerName, ToolName, ToolScope};

/// Send this to a tool server. The facts are computed from what would be sent, before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokeredCall {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// The door's count of calls, so that no two orders are the same.
    pub serial: u64,
    /// What is called.
    pub scope: ToolScope,
    /// How much harm it could do, in the operator's word.
    pub risk: Risk,
    /// The command among its arguments; "" where there is none.
    pub command: String,
    /// The paths among them.
    pub paths: Vec<String>,
    /// The addresses among them.
    pub addresses: Vec<String>,
    /// Every argument as `name=value`; a long one ends with [`CUT`](super::model::CUT).
    pub values: Vec<String>,
    /// Of its arguments, all of them.
    pub arguments: Digest,
    /// How long they are.
    pub argument_bytes: u64,
    /// The lent credential that the door will put into the request.
    pub credential: Option<CredentialName>,
    /// Where the request goes, where the server takes requests.
    pub host: Option<HostPattern>,
    /// The most that is sent there for it.
    pub request_bytes_max: u64,
    /// What looks like a secret in it.
    pub secrets: Secrets,
}

/// What a tool server came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolAnswered {
    /// `answered`, `tool_error` where the tool itself failed, or why there is no answer, as a stable code.
    pub code: String,
    /// Of the answer, as the agent has it.
    pub answer: Digest,
    /// How long it is.
    pub answer_bytes: u64,
    /// What was sent for it, to a server that takes requests.
    pub request_bytes: u64,
}

impl BrokeredCall {
    /// The server.
    pub fn server(&self) -> &ServerName {
        self.scope.server()
    }

    /// The tool, where one is called.
    pub fn tool(&self) -> Option<&ToolName> {
        self.scope.tool()
    }
}

impl Order for BrokeredCall {
    type Deed = ToolAnswered;
    const VERB: Verb = Verb::ToolCall;

    /// The same facts as those of an agent's own tool: a policy that asks for one finds it, whichever it is.
    fn describe(&self) -> Description {
        let facts = ToolFacts {
            run: &self.run,
            repo: &self.repo,
            serial: self.serial,
            index: 0,
            server: self.server().as_str(),
            tool: self.tool().map_or("tools/list", ToolName::as_str),
            kind: match &self.scope {
                ToolScope::List { .. } => "list",
                ToolScope::Call { .. } => "brokered",
            },
            risk: self.risk,
            command: &self.command,
            paths: &self.paths,
            steers: &[],
            addresses: &self.addresses,
            values: &self.values,
            described: described(Some(&self.scope)),
            arguments: &self.arguments,
            argument_bytes: self.argument_bytes,
            credential: self.credential.as_ref().map_or(BESIDES_TOOLS, CredentialName::as_str),
            host: self.host.as_ref().map_or(BESIDES_TOOLS, HostPattern::as_str),
            request_bytes_max: self.request_bytes_max,
            secrets: &self.secrets,
        };
        facts.describe()
    }

    fn recorded(&self) -> Description {
        self.secrets.mask_all(self.describe())
    }
}
