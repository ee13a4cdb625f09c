//! The messages of the channel as they are written, version 1, and their conversion from and into [`crate::protocol`].
//! Owns the format; what does not convert is refused. A door is always started from its keeper's own build.

use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, GraphqlAct, HostPattern, Method, Reach, RunId};
use serde::{Deserialize, Serialize};

use super::errand::WireErrand;
use super::wiped::Wiped;
use crate::danger;
use crate::dial::proxy::{ProxyLogin, UpstreamProxy};
use crate::git::wanted::GitHost;
use crate::git::wire::{WireGitAnswer, WireGitCall, WireGitHost};
use crate::graphql::GraphqlService;
use crate::identity::wire::{WireGiven, WireWanted};
use crate::loan::{FieldName, Loan, LoanChange, Placeholder, Scheme, SecretText, SignedFor, Way};
use crate::model::wanted::ModelHost;
use crate::model::wire::WireModelHost;
use crate::protocol::{
    Ask, Asking, Done, Fence, Hello, Layer, Lease, Limits, ListenerKind, Outcome, Refused, Source, Verdict,
};
use crate::tools::wanted::ToolHost;
use crate::tools::wire::WireToolHost;

/// The version both sides must speak.
const VERSION: u32 = 1;

/// A message that is well formed and means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of a message is not accepted")]
pub(crate) struct BadMessage(pub(crate) &'static str);

/// Keeper to door.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ToDoor {
    Hello(Box<WireHello>),
    /// To a process that is no door, but a courier.
    Errand(Box<WireErrand>),
    Listeners {
        kinds: Vec<WireListener>,
    },
    Answer {
        serial: u64,
        verdict: WireVerdict,
    },
    Identity {
        serial: u64,
        given: WireGiven,
    },
    Git {
        serial: u64,
        answer: WireGitAnswer,
    },
    Loan {
        serial: u64,
        credential: String,
        change: WireLoanChange,
    },
    /// The run reaches this too, from here on.
    Widened {
        reach: WireReach,
    },
    Close {},
}

/// Door to keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromDoor {
    Ready { ca_pem: String, fences: Vec<WireFence> },
    Failed { why: String },
    Ask(WireAsk),
    Done(WireDone),
    Refused(WireRefused),
    Identity { serial: u64, wanted: WireWanted },
    Git { serial: u64, call: WireGitCall },
    LoanChanged { serial: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireHello {
    version: u32,
    run: String,
    reach: Vec<WireReach>,
    dangers: Vec<WireUpstream>,
    roots_pem: String,
    ca_common_name: String,
    life_seconds: u64,
    lease: Wiped<Vec<u8>>,
    loans: Vec<WireLoan>,
    git: Option<WireGitHost>,
    tokens: Option<(String, u16)>,
    asking: Option<WireAsking>,
    model: Option<WireModelHost>,
    tools: Option<WireToolHost>,
    graphql: Vec<WireGraphql>,
    request_body_bytes_max: u64,
    response_body_bytes_max: u64,
    budgets: Vec<(String, u64)>,
    proxy: Option<WireProxy>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAsking {
    host: String,
    port: u16,
    within: Vec<WireReach>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGraphql {
    host: String,
    path: String,
    mutations: Vec<String>,
    persisted: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireProxy {
    host: String,
    port: u16,
    login: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireReach {
    host: String,
    port: u16,
    methods: Vec<String>,
    path_prefix: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireUpstream {
    host: String,
    host_port: u16,
    address: std::net::IpAddr,
    port: u16,
    is_clear: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLoan {
    credential: String,
    uses: Vec<WireReach>,
    way: WireWay,
    placeholder: String,
    /// The secret, and for how many seconds.
    secret: Option<(Wiped<String>, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum WireLoanChange {
    Withdrawn { because: String },
    Renewed { secret: Wiped<String>, seconds: u64 },
    Paused { because: String },
    Lapses { because: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireWay {
    Field { name: String, scheme: WireScheme },
    Signature { service: String, region: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireScheme {
    Bearer,
    Basic { user: String },
    Plain,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireVerdict {
    Allow,
    Deny { code: String, next_step: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAsk {
    serial: u64,
    method: String,
    host: String,
    port: u16,
    path: String,
    query_bytes: u64,
    body_bytes: Option<u64>,
    credential: Option<String>,
    graphql: Vec<String>,
    source: WireSource,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireDone {
    serial: u64,
    outcome: WireOutcome,
    request_bytes: u64,
    response_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireOutcome {
    Answered { status: u16 },
    Failed { code: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRefused {
    layer: WireLayer,
    code: String,
    detail: String,
    count: u64,
}

/// Declares the wire form of an enum without fields, and both conversions.
macro_rules! wire_words {
    ($($wire:ident = $own:ident { $($word:ident),* })*) => {$(
        #[derive(Debug, Clone, Copy, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum $wire { $($word),* }

        impl From<$own> for $wire {
            fn from(own: $own) -> Self {
                match own { $($own::$word => Self::$word),* }
            }
        }

        impl From<$wire> for $own {
            fn from(wire: $wire) -> Self {
                match wire { $($wire::$word => Self::$word),* }
            }
        }
    )*};
}

wire_words! {
    WireSource = Source { Connect, Absolute, Captured }
    WireLayer = Layer { Dns, Tls, Http, Identity, Git, Model, Tools }
    WireFence = Fence { NotDumpable, Landlock, Seccomp }
    WireListener = ListenerKind {
        Proxy, CapturedTls, CapturedClear, Dns, Identity, GitRequest, GitAnswer, ToolInput, ToolOutput
    }
}

impl From<&Hello> for WireHello {
    fn from(hello: &Hello) -> Self {
        Self {
            version: VERSION,
            run: hello.run.to_string(),
            reach: hello.reach.iter().map(WireReach::from).collect(),
            dangers: hello.dangers.iter().map(WireUpstream::from).collect(),
            roots_pem: hello.roots_pem.clone(),
            ca_common_name: hello.ca_common_name.clone(),
            life_seconds: hello.life.as_secs(),
            lease: hello.lease.expose().to_vec().into(),
            loans: hello.loans.iter().map(WireLoan::from).collect(),
            git: hello.git.as_ref().map(WireGitHost::from),
            tokens: hello.tokens.as_ref().map(|at| (at.host.to_string(), at.port)),
            asking: hello.asking.as_ref().map(WireAsking::from),
            model: hello.model.as_ref().map(WireModelHost::from),
            tools: hello.tools.as_ref().map(WireToolHost::from),
            graphql: hello.graphql.iter().map(WireGraphql::from).collect(),
            request_body_bytes_max: hello.limits.request_body_bytes_max,
            response_body_bytes_max: hello.limits.response_body_bytes_max,
            budgets: hello.budgets.iter().map(|(host, bytes)| (host.to_string(), *bytes)).collect(),
            proxy: hello.proxy.as_ref().map(WireProxy::from),
        }
    }
}

impl TryFrom<WireHello> for Hello {
    type Error = BadMessage;

    fn try_from(wire: WireHello) -> Result<Self, BadMessage> {
        if wire.version != VERSION {
            return Err(BadMessage("version"));
        }
        Ok(Self {
            run: RunId::parse(&wire.run).map_err(|_| BadMessage("run"))?,
            reach: wire.reach.into_iter().map(Reach::try_from).collect::<Result<_, _>>()?,
            dangers: wire.dangers.into_iter().map(danger::Upstream::try_from).collect::<Result<_, _>>()?,
            roots_pem: wire.roots_pem,
            ca_common_name: wire.ca_common_name,
            life: Duration::from_secs(wire.life_seconds),
            lease: Lease::new(wire.lease.0.to_vec()),
            loans: wire.loans.into_iter().map(Loan::try_from).collect::<Result<_, _>>()?,
            git: wire.git.map(GitHost::try_from).transpose()?,
            tokens: wire.tokens.map(|(host, port)| endpoint(&host, port)).transpose()?,
            asking: wire.asking.map(Asking::try_from).transpose()?,
            model: wire.model.map(ModelHost::try_from).transpose()?,
            tools: wire.tools.map(ToolHost::try_from).transpose()?,
            graphql: wire.graphql.into_iter().map(GraphqlService::try_from).collect::<Result<_, _>>()?,
            limits: Limits {
                request_body_bytes_max: wire.request_body_bytes_max,
                response_body_bytes_max: wire.response_body_bytes_max,
            },
            budgets: {
                let host = |host: &str| HostPattern::parse(host).ok_or(BadMessage("host"));
                wire.budgets.into_iter().map(|(name, bytes)| Ok((host(&name)?, bytes))).collect::<Result<_, _>>()?
            },
            proxy: wire.proxy.map(UpstreamProxy::try_from).transpose()?,
        })
    }
}

impl From<&Reach> for WireReach {
    fn from(reach: &Reach) -> Self {
        Self {
            host: reach.endpoint.host.to_string(),
            port: reach.endpoint.port,
            methods: reach.methods.iter().map(|method| method.as_str().to_owned()).collect(),
            path_prefix: reach.path_prefix.clone(),
        }
    }
}

impl TryFrom<WireReach> for Reach {
    type Error = BadMessage;

    fn try_from(wire: WireReach) -> Result<Self, BadMessage> {
        let methods = wire.methods.iter().map(|method| Method::parse(method)).collect::<Option<_>>();
        Ok(Self {
            endpoint: endpoint(&wire.host, wire.port)?,
            methods: methods.ok_or(BadMessage("method"))?,
            path_prefix: wire.path_prefix,
        })
    }
}

impl From<&Asking> for WireAsking {
    fn from(asking: &Asking) -> Self {
        let Asking { endpoint: Endpoint { host, port }, within } = asking;
        Self { host: host.to_string(), port: *port, within: within.iter().map(WireReach::from).collect() }
    }
}

impl TryFrom<WireAsking> for Asking {
    type Error = BadMessage;

    fn try_from(wire: WireAsking) -> Result<Self, BadMessage> {
        let within = wire.within.into_iter().map(Reach::try_from).collect::<Result<_, _>>()?;
        Ok(Self { endpoint: endpoint(&wire.host, wire.port)?, within })
    }
}

impl From<&GraphqlService> for WireGraphql {
    fn from(service: &GraphqlService) -> Self {
        let GraphqlService { host, path, mutations, persisted } = service;
        let mutations = mutations.iter().cloned().collect();
        Self { host: host.to_string(), path: path.clone(), mutations, persisted: persisted.clone() }
    }
}

impl TryFrom<WireGraphql> for GraphqlService {
    type Error = BadMessage;

    fn try_from(wire: WireGraphql) -> Result<Self, BadMessage> {
        let host = HostPattern::parse(&wire.host).ok_or(BadMessage("host"))?;
        Ok(Self { host, path: wire.path, mutations: wire.mutations.into_iter().collect(), persisted: wire.persisted })
    }
}

impl From<&danger::Upstream> for WireUpstream {
    fn from(upstream: &danger::Upstream) -> Self {
        Self {
            host: upstream.endpoint.host.to_string(),
            host_port: upstream.endpoint.port,
            address: upstream.address,
            port: upstream.port,
            is_clear: upstream.transport == danger::Transport::Clear,
        }
    }
}

impl TryFrom<WireUpstream> for danger::Upstream {
    type Error = BadMessage;

    fn try_from(wire: WireUpstream) -> Result<Self, BadMessage> {
        Ok(Self {
            endpoint: endpoint(&wire.host, wire.host_port)?,
            address: wire.address,
            port: wire.port,
            transport: if wire.is_clear { danger::Transport::Clear } else { danger::Transport::Tls },
        })
    }
}

impl From<&UpstreamProxy> for WireProxy {
    fn from(proxy: &UpstreamProxy) -> Self {
        let login = proxy.login.as_ref().map(|login| login.expose().to_owned());
        Self { host: proxy.host.to_string(), port: proxy.port, login }
    }
}

impl TryFrom<WireProxy> for UpstreamProxy {
    type Error = BadMessage;

    fn try_from(wire: WireProxy) -> Result<Self, BadMessage> {
        let login = wire.login.map(|login| ProxyLogin::parse(login).ok_or(BadMessage("login")));
        let Endpoint { host, port } = endpoint(&wire.host, wire.port)?;
        Ok(Self { host, port, login: login.transpose()? })
    }
}

/// A frame that carries secrets is not for anybody's eyes.
impl std::fmt::Debug for WireProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireProxy({}:{})", self.host, self.port)
    }
}

impl From<&Loan> for WireLoan {
    fn from(loan: &Loan) -> Self {
        Self {
            credential: loan.credential.to_string(),
            uses: loan.uses.iter().map(WireReach::from).collect(),
            way: WireWay::from(&loan.way),
            placeholder: loan.placeholder.as_str().to_owned(),
            secret: loan.secret.as_ref().map(|(secret, lasts)| (secret.expose().to_owned().into(), lasts.as_secs())),
        }
    }
}

impl TryFrom<WireLoan> for Loan {
    type Error = BadMessage;

    fn try_from(wire: WireLoan) -> Result<Self, BadMessage> {
        let secret = wire.secret.map(|(secret, seconds)| {
            let secret = SecretText::parse(secret.0.as_bytes()).map_err(|_| BadMessage("secret"))?;
            Ok((secret, Duration::from_secs(seconds)))
        });
        Ok(Self {
            credential: credential(&wire.credential)?,
            uses: wire.uses.into_iter().map(Reach::try_from).collect::<Result<_, _>>()?,
            way: Way::try_from(wire.way)?,
            placeholder: Placeholder::parse(&wire.placeholder).ok_or(BadMessage("placeholder"))?,
            secret: secret.transpose()?,
        })
    }
}

impl From<&Way> for WireWay {
    fn from(way: &Way) -> Self {
        match way {
            Way::Field(name, scheme) => Self::Field {
                name: name.as_str().to_owned(),
                scheme: match scheme {
                    Scheme::Bearer => WireScheme::Bearer,
                    Scheme::Plain => WireScheme::Plain,
                    Scheme::Basic(user) => WireScheme::Basic { user: user.as_str().to_owned() },
                },
            },
            Way::Signature(signed_for) => {
                Self::Signature { service: signed_for.service().to_owned(), region: signed_for.region().to_owned() }
            }
        }
    }
}

impl TryFrom<WireWay> for Way {
    type Error = BadMessage;

    fn try_from(wire: WireWay) -> Result<Self, BadMessage> {
        Ok(match wire {
            WireWay::Field { name, scheme } => Self::Field(
                FieldName::parse(&name).ok_or(BadMessage("field"))?,
                match scheme {
                    WireScheme::Bearer => Scheme::Bearer,
                    WireScheme::Plain => Scheme::Plain,
                    WireScheme::Basic { user } => Scheme::basic(&user).ok_or(BadMessage("user"))?,
                },
            ),
            WireWay::Signature { service, region } => {
                Self::Signature(SignedFor::parse(&service, &region).map_err(|_| BadMessage("signature"))?)
            }
        })
    }
}

/// A frame that carries secrets is not for anybody's eyes.
impl std::fmt::Debug for WireLoan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireLoan({})", self.credential)
    }
}

impl From<&LoanChange> for WireLoanChange {
    fn from(change: &LoanChange) -> Self {
        match change {
            LoanChange::Withdrawn { because } => Self::Withdrawn { because: because.clone() },
            LoanChange::Renewed { secret, lasts } => {
                Self::Renewed { secret: secret.expose().to_owned().into(), seconds: lasts.as_secs() }
            }
            LoanChange::Paused { because } => Self::Paused { because: because.clone() },
            LoanChange::Lapses { because } => Self::Lapses { because: because.clone() },
        }
    }
}

impl TryFrom<WireLoanChange> for LoanChange {
    type Error = BadMessage;

    fn try_from(wire: WireLoanChange) -> Result<Self, BadMessage> {
        Ok(match wire {
            WireLoanChange::Withdrawn { because } => Self::Withdrawn { because },
            WireLoanChange::Renewed { secret, seconds } => Self::Renewed {
                secret: SecretText::parse(secret.0.as_bytes()).map_err(|_| BadMessage("secret"))?,
                lasts: Duration::from_secs(seconds),
            },
            WireLoanChange::Paused { because } => Self::Paused { because },
            WireLoanChange::Lapses { because } => Self::Lapses { because },
        })
    }
}

impl std::fmt::Debug for WireLoanChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Withdrawn { .. } => "Withdrawn",
            Self::Renewed { .. } => "Renewed",
            Self::Paused { .. } => "Paused",
            Self::Lapses { .. } => "Lapses",
        })
    }
}

pub(crate) fn credential(name: &str) -> Result<CredentialName, BadMessage> {
    CredentialName::parse(name).map_err(|_| BadMessage("credential"))
}

pub(crate) fn endpoint(host: &str, port: u16) -> Result<Endpoint, BadMessage> {
    Ok(Endpoint { host: HostPattern::parse(host).ok_or(BadMessage("host"))?, port })
}

impl From<Verdict> for WireVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny { code, next_step } => Self::Deny { code, next_step },
        }
    }
}

impl From<WireVerdict> for Verdict {
    fn from(wire: WireVerdict) -> Self {
        match wire {
            WireVerdict::Allow => Self::Allow,
            WireVerdict::Deny { code, next_step } => Self::Deny { code, next_step },
        }
    }
}

impl From<Ask> for WireAsk {
    fn from(ask: Ask) -> Self {
        Self {
            serial: ask.serial,
            method: ask.method.as_str().to_owned(),
            host: ask.endpoint.host.to_string(),
            port: ask.endpoint.port,
            path: ask.path,
            query_bytes: ask.query_bytes,
            body_bytes: ask.body_bytes,
            credential: ask.credential.map(|name| name.to_string()),
            graphql: ask.graphql.iter().map(ToString::to_string).collect(),
            source: ask.source.into(),
        }
    }
}

impl TryFrom<WireAsk> for Ask {
    type Error = BadMessage;

    fn try_from(wire: WireAsk) -> Result<Self, BadMessage> {
        Ok(Self {
            serial: wire.serial,
            method: Method::parse(&wire.method).ok_or(BadMessage("method"))?,
            endpoint: endpoint(&wire.host, wire.port)?,
            // The keeper judges what it reads, so it reads it as strictly as the door did.
            path: match crate::http::path::CanonicalPath::parse(&wire.path) {
                Ok(path) if path.as_str() == wire.path => wire.path,
                Ok(_) | Err(_) => return Err(BadMessage("path")),
            },
            query_bytes: wire.query_bytes,
            body_bytes: wire.body_bytes,
            credential: wire.credential.as_deref().map(credential).transpose()?,
            graphql: {
                let acts = wire.graphql.iter().map(|act| GraphqlAct::parse(act)).collect::<Option<_>>();
                acts.ok_or(BadMessage("act"))?
            },
            source: wire.source.into(),
        })
    }
}

impl From<Done> for WireDone {
    fn from(done: Done) -> Self {
        let outcome = match done.outcome {
            Outcome::Answered { status } => WireOutcome::Answered { status },
            Outcome::Failed { code } => WireOutcome::Failed { code },
        };
        Self { serial: done.serial, outcome, request_bytes: done.request_bytes, response_bytes: done.response_bytes }
    }
}

impl From<WireDone> for Done {
    fn from(wire: WireDone) -> Self {
        let outcome = match wire.outcome {
            WireOutcome::Answered { status } => Outcome::Answered { status },
            WireOutcome::Failed { code } => Outcome::Failed { code },
        };
        Self { serial: wire.serial, outcome, request_bytes: wire.request_bytes, response_bytes: wire.response_bytes }
    }
}

impl From<Refused> for WireRefused {
    fn from(refused: Refused) -> Self {
        Self { layer: refused.layer.into(), code: refused.code, detail: refused.detail, count: refused.count }
    }
}

impl From<WireRefused> for Refused {
    fn from(wire: WireRefused) -> Self {
        Self { layer: wire.layer.into(), code: wire.code, detail: wire.detail, count: wire.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> Ask {
        Ask {
            serial: 3,
            method: Method::Put,
            endpoint: endpoint("registry.example", 443).unwrap(),
            path: "/a%20b".into(),
            query_bytes: 4,
            body_bytes: None,
            credential: None,
            graphql: [GraphqlAct::parse("query viewer").unwrap()].into(),
            source: Source::Captured,
        }
    }

    #[test]
    fn an_ask_reads_back_and_one_that_is_not_canonical_does_not() {
        assert_eq!(Ask::try_from(WireAsk::from(ask())), Ok(ask()));
        for path in ["", "a", "/a/../b", "/%61", "/a//b", "/a%2fb", "/a\n"] {
            let forged = WireAsk::from(Ask { path: path.into(), ..ask() });
            assert_eq!(Ask::try_from(forged), Err(BadMessage("path")), "{path:?}");
        }
        let mut forged = WireAsk::from(ask());
        forged.host = "evil example".into();
        assert_eq!(Ask::try_from(forged), Err(BadMessage("host")));
    }

    #[test]
    fn messages_look_like_this() {
        let text = |message: &FromDoor| serde_json::to_string(message).unwrap();
        assert_eq!(
            text(&FromDoor::Ask(ask().into())),
            concat!(
                r#"{"message":"ask","serial":3,"method":"PUT","host":"registry.example","port":443,"path":"/a%20b","#,
                r#""query_bytes":4,"body_bytes":null,"credential":null,"graphql":["query viewer"],"source":"captured"}"#
            )
        );
        let answer = ToDoor::Answer { serial: 3, verdict: WireVerdict::Allow };
        assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"message":"answer","serial":3,"verdict":"allow"}"#);
        // What this version does not know is not skipped over.
        assert!(serde_json::from_str::<ToDoor>(r#"{"message":"close","gently":true}"#).is_err());
        assert!(serde_json::from_str::<ToDoor>(r#"{"message":"answer","serial":3,"verdict":"maybe"}"#).is_err());
    }

    #[test]
    fn another_version_is_refused() {
        let hello = Hello {
            run: RunId::from_entropy(7),
            reach: vec![],
            dangers: vec![],
            roots_pem: String::new(),
            ca_common_name: "x".into(),
            life: Duration::from_secs(1),
            lease: Lease::new(vec![1, 2]),
            loans: vec![],
            git: None,
            tokens: None,
            asking: None,
            model: None,
            tools: None,
            graphql: Vec::new(),
            limits: Limits::default(),
            budgets: [(HostPattern::parse("registry.example").unwrap(), 7)].into(),
            proxy: None,
        };
        let mut wire = WireHello::from(&hello);
        assert_eq!(Hello::try_from(WireHello::from(&hello)).unwrap().lease, hello.lease);
        assert_eq!(Hello::try_from(WireHello::from(&hello)).unwrap().budgets, hello.budgets);
        wire.version = 2;
        assert!(Hello::try_from(wire).is_err());
        assert_eq!(format!("{:?}", hello.lease), "Lease(2 bytes)");
    }
}
