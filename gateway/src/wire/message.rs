//! The messages of the channel as they are written, version 1, and their conversion from and into [`crate::protocol`].
//! Owns the format; what does not convert is refused. A door is always started from its keeper's own build.

use selvedge_domain::{CredentialName, Endpoint, GraphqlAct, HostPattern, Method, Reach};
use serde::{Deserialize, Serialize};

use super::errand::WireErrand;
use super::hello::WireHello;
use super::loan::WireLoanChange;
use crate::git::wire::{WireGitAnswer, WireGitCall};
use crate::identity::wire::{WireGiven, WireWanted};
use crate::protocol::{Ask, Done, Fence, Layer, ListenerKind, Outcome, Refused, Source, Verdict};

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
pub(crate) struct WireReach {
    host: String,
    port: u16,
    methods: Vec<String>,
    path_prefix: String,
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

/// A frame that carries secrets is not for anybody's eyes.
/// A frame that carries secrets is not for anybody's eyes.
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
}
