//! What keeper and door tell each other, in the factory's own types. Owns the vocabulary; never knows bytes or sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, GraphqlAct, HostPattern, Method, Reach, RunId};
use zeroize::Zeroizing;

use crate::danger;
use crate::dial::proxy::UpstreamProxy;
use crate::git::wanted::GitHost;
use crate::graphql::GraphqlService;
use crate::http::request::REQUEST_HEAD_BYTES_MAX;
use crate::loan::{Loan, SECRET_BYTES_MAX};
use crate::model::wanted::ModelHost;
use crate::tools::wanted::ToolHost;

/// Everything a door is told at its start; it reads nothing else.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Whose door it is.
    pub run: RunId,
    /// What the run's grant reaches; a host outside is refused without asking.
    pub reach: Vec<Reach>,
    /// Upstreams that are not on the open internet, as the operator named them.
    pub dangers: Vec<danger::Upstream>,
    /// Certificates that upstreams are verified against, in PEM.
    pub roots_pem: String,
    /// The name the run's certificate authority gives itself.
    pub ca_common_name: String,
    /// How long the run may last; its certificates die an hour later.
    pub life: Duration,
    /// The run's own credential.
    pub lease: Lease,
    /// Credentials that go into requests.
    pub loans: Vec<Loan>,
    /// The repository it serves, if it serves one.
    pub git: Option<GitHost>,
    /// Where it serves the token endpoint, if it does: a place that is nowhere.
    pub tokens: Option<Endpoint>,
    /// What the run may ask for beyond its reach, and where; nothing, and then it cannot ask.
    pub asking: Option<Asking>,
    /// The model it may have answer, if there is one.
    pub model: Option<ModelHost>,
    /// The tool servers it may ask, if there are any.
    pub tools: Option<ToolHost>,
    /// Where GraphQL is spoken, and what may be asked of it there.
    pub graphql: Vec<GraphqlService>,
    /// How much may pass.
    pub limits: Limits,
    /// How many bytes the run may still send to each host in all; to others none.
    pub budgets: BTreeMap<HostPattern, u64>,
    /// The proxy everything leaves through but what `dangers` name, if there is one.
    pub proxy: Option<UpstreamProxy>,
}

/// How far a run may ask for more, known from the start: so the fences of its door stand around that and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Where it asks: a place that is nowhere.
    pub endpoint: Endpoint,
    /// What it may ask for.
    pub within: Vec<Reach>,
}

/// A credential a door holds for its run, in memory only, and wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Lease(Zeroizing<Vec<u8>>);

impl Lease {
    /// Takes the credential's bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes: for the frame that carries them, and for whoever verifies a credential that a door was shown.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for the frame that carries them to the door and nothing else.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes)", self.0.len())
    }
}

/// How much may pass in one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest request body.
    pub request_body_bytes_max: u64,
    /// Longest response body.
    pub response_body_bytes_max: u64,
}

impl Default for Limits {
    /// Room for a published package upwards and a toolchain downwards.
    fn default() -> Self {
        Self { request_body_bytes_max: 16 << 20, response_body_bytes_max: 2 << 30 }
    }
}

/// How a request came to the door. Tells the story; never changes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Through a `CONNECT` tunnel.
    Connect,
    /// As an absolute target to the proxy.
    Absolute,
    /// Captured on its way to a synthetic address.
    Captured,
}

/// One canonical request that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Names this request between keeper and door.
    pub serial: u64,
    /// How.
    pub method: Method,
    /// Where to.
    pub endpoint: Endpoint,
    /// What, in canonical form.
    pub path: String,
    /// How long the query is.
    pub query_bytes: u64,
    /// How long the body says it is; a chunked one does not say.
    pub body_bytes: Option<u64>,
    /// The lent credential that would go into it.
    pub credential: Option<CredentialName>,
    /// What it does, where GraphQL is spoken.
    pub graphql: BTreeSet<GraphqlAct>,
    /// How it came.
    pub source: Source,
}

impl Ask {
    /// The most that leaves for it, whatever becomes of it.
    pub fn sent_at_most(&self) -> u64 {
        HEADS_BYTES_MAX.saturating_add(self.body_bytes_max())
    }

    /// The most that its body has: what it says, or what the door lets through of one that does not say.
    pub fn body_bytes_max(&self) -> u64 {
        self.body_bytes.unwrap_or(Limits::default().request_body_bytes_max)
    }
}

/// The most that leaves of a request beside its body: its head, with a credential that was put into it in a coding that makes a third
/// more of it, twice where a server closed on the first.
pub const HEADS_BYTES_MAX: u64 = 2 * (REQUEST_HEAD_BYTES_MAX + 2 * SECRET_BYTES_MAX) as u64;

/// The answer to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Forward this very request.
    Allow,
    /// Refuse it; both texts are shown to the agent.
    Deny {
        /// A stable code.
        code: String,
        /// What the agent can do instead.
        next_step: String,
    },
}

/// What an allowed request came to. Every [`Verdict::Allow`] is followed by exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Which request.
    pub serial: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes that left: line, head and body. The most that may have, where the door is gone.
    pub request_bytes: u64,
    /// Body bytes that came back.
    pub response_bytes: u64,
}

/// How an allowed request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered and the client has the answer.
    Answered {
        /// The server's status.
        status: u16,
    },
    /// It did not come to an answer, or the client has only part of it.
    Failed {
        /// Why, as a stable code.
        code: String,
    },
}

/// What a door refused by itself. Repetitions are counted, not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which part of the door.
    pub layer: Layer,
    /// Why, as a stable code.
    pub code: String,
    /// What it was about: a host, a field, a parser's complaint. Printable ASCII, bounded.
    pub detail: String,
    /// How many times since it was last told.
    pub count: u64,
}

/// A part of a door that refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The name stub.
    Dns,
    /// The TLS handshake with the client.
    Tls,
    /// The request.
    Http,
    /// A call of the Workload API.
    Identity,
    /// A push.
    Git,
    /// A call of a model, or its answer.
    Model,
    /// A call of a tool server, or its answer.
    Tools,
}

/// A fence a door stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fence {
    /// No other process of the same user may read its memory, and no core is dumped.
    NotDumpable,
    /// Files are read where name resolution needs them, and TCP goes only to granted ports.
    Landlock,
    /// It starts no program, traces no process, opens no listener.
    Seccomp,
}

/// What a descriptor that a door is handed is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// The explicit proxy, TCP.
    Proxy,
    /// Captured connections to port 443, TCP.
    CapturedTls,
    /// Captured connections to port 80, TCP.
    CapturedClear,
    /// The name stub, UDP.
    Dns,
    /// The Workload API, TCP.
    Identity,
    /// No listener, but a file: what a client of git sends. Each has its answer.
    GitRequest,
    /// A file too: what a client of git is answered.
    GitAnswer,
    /// A pipe: what a tool server reads. Each has its output.
    ToolInput,
    /// A pipe too: what a tool server writes.
    ToolOutput,
}
