//! The identity door's messages as they are written, and their conversion from and into [`super::wanted`].

use serde::{Deserialize, Serialize};

use super::wanted::{Bundles, Claims, Given, Wanted};
use crate::model::wire::{WireModelAsk, WireModelDone, WireTold, WireToolAsk};
use crate::protocol::Lease;
use crate::tokens::TokenCall;
use crate::tools::wire::{WireNotTakenOn, WireServerAsk, WireServerDone, server_name};
use crate::wire::message::BadMessage;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum WireWanted {
    X509 { key: Vec<u8> },
    Jwt { audience: String },
    Bundles {},
    Valid { audience: String, token: Vec<u8> },
    Token { call: WireTokenCall, form: String },
    Access { asked: String },
    Model(WireModelAsk),
    ModelDone(WireModelDone),
    Tool(WireToolAsk),
    Held { serial: u64, index: u64 },
    Unheld { serial: u64 },
    Told(WireTold),
    Rehearsed {},
    Server(WireServerAsk),
    ServerDone(WireServerDone),
    Shown { server: String },
    NotTakenOn(WireNotTakenOn),
    Words { words: String, is_proposal: bool },
    Question { serial: u64, question: String },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireTokenCall {
    Exchange,
    Introspect,
    Revoke,
    Metadata,
    Child,
    ChildStanding,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum WireGiven {
    X509 { spiffe_id: String, certificate: Vec<u8>, life_seconds: u64 },
    Jwt { spiffe_id: String, token: Vec<u8> },
    Bundles { trust_domain: String, x509: Vec<Vec<u8>>, jwks: String },
    Valid { issuer: String, subject: String, audience: String, issued: u64, expires: u64, id: String },
    Token { status: u16, body: Vec<u8> },
    Access { status: u16, body: String },
    Allowed {},
    Held {},
    Told { text: String },
    Shown { tools: Vec<String> },
    Invalid { because: String },
    Denied { code: String, next_step: String },
}

/// Tokens are in some of them.
impl std::fmt::Debug for WireWanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireWanted(..)")
    }
}

/// One of them is a token.
impl std::fmt::Debug for WireGiven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireGiven(..)")
    }
}

impl From<Wanted> for WireWanted {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::X509 { key } => Self::X509 { key },
            Wanted::Jwt { audience } => Self::Jwt { audience },
            Wanted::Bundles => Self::Bundles {},
            Wanted::Valid { audience, token } => Self::Valid { audience, token: token.expose().to_vec() },
            Wanted::Token { call, form } => {
                Self::Token { call: call.into(), form: String::from_utf8_lossy(form.expose()).into_owned() }
            }
            Wanted::Access { asked } => Self::Access { asked },
            Wanted::Model(ask) => Self::Model(ask.into()),
            Wanted::ModelDone(done) => Self::ModelDone(done.into()),
            Wanted::Tool(ask) => Self::Tool(ask.into()),
            Wanted::Held { serial, index } => Self::Held { serial, index },
            Wanted::Unheld { serial } => Self::Unheld { serial },
            Wanted::Told(told) => Self::Told(told.into()),
            Wanted::Rehearsed => Self::Rehearsed {},
            Wanted::Server(ask) => Self::Server(ask.into()),
            Wanted::ServerDone(done) => Self::ServerDone(done.into()),
            Wanted::Shown { server } => Self::Shown { server: server.to_string() },
            Wanted::NotTakenOn(tool) => Self::NotTakenOn(tool.into()),
            Wanted::Words { words, is_proposal } => Self::Words { words, is_proposal },
            Wanted::Question { serial, question } => Self::Question { serial, question },
        }
    }
}

impl TryFrom<WireWanted> for Wanted {
    type Error = BadMessage;

    fn try_from(wire: WireWanted) -> Result<Self, BadMessage> {
        Ok(match wire {
            WireWanted::X509 { key } => Self::X509 { key },
            WireWanted::Jwt { audience } => Self::Jwt { audience },
            WireWanted::Bundles {} => Self::Bundles,
            WireWanted::Valid { audience, token } => Self::Valid { audience, token: Lease::new(token) },
            WireWanted::Token { call, form } => Self::Token { call: call.into(), form: Lease::new(form.into_bytes()) },
            WireWanted::Access { asked } => Self::Access { asked },
            WireWanted::Model(ask) => Self::Model(ask.try_into()?),
            WireWanted::ModelDone(done) => Self::ModelDone(done.into()),
            WireWanted::Tool(ask) => Self::Tool(ask.try_into()?),
            WireWanted::Held { serial, index } => Self::Held { serial, index },
            WireWanted::Unheld { serial } => Self::Unheld { serial },
            WireWanted::Told(told) => Self::Told(told.into()),
            WireWanted::Rehearsed {} => Self::Rehearsed,
            WireWanted::Server(ask) => Self::Server(ask.try_into()?),
            WireWanted::ServerDone(done) => Self::ServerDone(done.try_into()?),
            WireWanted::Shown { server } => Self::Shown { server: server_name(&server)? },
            WireWanted::NotTakenOn(tool) => Self::NotTakenOn(tool.try_into()?),
            WireWanted::Words { words, is_proposal } => Self::Words { words, is_proposal },
            WireWanted::Question { serial, question } => Self::Question { serial, question },
        })
    }
}

impl From<Given> for WireGiven {
    fn from(given: Given) -> Self {
        match given {
            Given::X509 { spiffe_id, certificate, life_seconds } => Self::X509 { spiffe_id, certificate, life_seconds },
            Given::Jwt { spiffe_id, token } => Self::Jwt { spiffe_id, token: token.expose().to_vec() },
            Given::Bundles(Bundles { trust_domain, x509, jwks }) => Self::Bundles { trust_domain, x509, jwks },
            Given::Valid(Claims { issuer, subject, audience, issued, expires, id }) => {
                Self::Valid { issuer, subject, audience, issued, expires, id }
            }
            Given::Token { status, body } => Self::Token { status, body: body.expose().to_vec() },
            Given::Access { status, body } => Self::Access { status, body },
            Given::Allowed => Self::Allowed {},
            Given::Held => Self::Held {},
            Given::Told { text } => Self::Told { text },
            Given::Shown { tools } => Self::Shown { tools },
            Given::Invalid { because } => Self::Invalid { because },
            Given::Denied { code, next_step } => Self::Denied { code, next_step },
        }
    }
}

impl From<WireGiven> for Given {
    fn from(wire: WireGiven) -> Self {
        match wire {
            WireGiven::X509 { spiffe_id, certificate, life_seconds } => {
                Self::X509 { spiffe_id, certificate, life_seconds }
            }
            WireGiven::Jwt { spiffe_id, token } => Self::Jwt { spiffe_id, token: Lease::new(token) },
            WireGiven::Bundles { trust_domain, x509, jwks } => Self::Bundles(Bundles { trust_domain, x509, jwks }),
            WireGiven::Valid { issuer, subject, audience, issued, expires, id } => {
                Self::Valid(Claims { issuer, subject, audience, issued, expires, id })
            }
            WireGiven::Token { status, body } => Self::Token { status, body: Lease::new(body) },
            WireGiven::Access { status, body } => Self::Access { status, body },
            WireGiven::Allowed {} => Self::Allowed,
            WireGiven::Held {} => Self::Held,
            WireGiven::Told { text } => Self::Told { text },
            WireGiven::Shown { tools } => Self::Shown { tools },
            WireGiven::Invalid { because } => Self::Invalid { because },
            WireGiven::Denied { code, next_step } => Self::Denied { code, next_step },
        }
    }
}

impl From<TokenCall> for WireTokenCall {
    fn from(call: TokenCall) -> Self {
        match call {
            TokenCall::Exchange => Self::Exchange,
            TokenCall::Introspect => Self::Introspect,
            TokenCall::Revoke => Self::Revoke,
            TokenCall::Metadata => Self::Metadata,
            TokenCall::Child => Self::Child,
            TokenCall::ChildStanding => Self::ChildStanding,
        }
    }
}

impl From<WireTokenCall> for TokenCall {
    fn from(wire: WireTokenCall) -> Self {
        match wire {
            WireTokenCall::Exchange => Self::Exchange,
            WireTokenCall::Introspect => Self::Introspect,
            WireTokenCall::Revoke => Self::Revoke,
            WireTokenCall::Metadata => Self::Metadata,
            WireTokenCall::Child => Self::Child,
            WireTokenCall::ChildStanding => Self::ChildStanding,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use selvedge_domain::{Digest, ServerName, ToolName};

    use super::*;
    use crate::model::wanted::{ModelAsk, ModelDone, Told, ToolAsk};
    use crate::model::{Egress, Protocol, Usage};
    use crate::tools::wanted::{NotTakenOn, ServerAsk, ServerDone};

    fn wanted() -> [Wanted; 19] {
        let token = || Lease::new(vec![0, 255, 7]);
        [
            Wanted::X509 { key: vec![4; 65] },
            Wanted::Jwt { audience: "https://cloud.example".to_owned() },
            Wanted::Bundles,
            Wanted::Valid { audience: String::new(), token: token() },
            Wanted::Token { call: TokenCall::Revoke, form: Lease::new(b"token=a.b.c".to_vec()) },
            Wanted::Access { asked: r#"{"reach":"GET"}"#.to_owned() },
            Wanted::Model(ModelAsk {
                serial: 7,
                protocol: Protocol::Messages,
                asked: "m-1".to_owned(),
                request_bytes: 3,
                tools: 2,
                generates: true,
                is_all_text: true,
                output_tokens_max: Some(9),
                egress: Egress::ALL.iter().copied().collect(),
                credential: None,
            }),
            Wanted::ModelDone(ModelDone {
                serial: 7,
                status: 200,
                usage: Usage { input: 1, cached: 2, cache_write: 3, output: 4, reasoning: 5 },
                is_final: true,
                written_bytes: 6,
                cut_by_vendor: true,
                broke_off: true,
            }),
            Wanted::Tool(ToolAsk {
                serial: 7,
                index: 1,
                tool: "Bash".to_owned(),
                kind: "shell".to_owned(),
                command: "ls".to_owned(),
                paths: vec!["a".to_owned()],
                addresses: vec!["b".to_owned()],
                arguments: Digest::of_parts([b"{}".as_slice()]),
                argument_bytes: 2,
                of_server: Some((ServerName::parse("s").unwrap(), ToolName::parse("t").unwrap())),
                values: vec!["a=1".to_owned()],
            }),
            Wanted::Held { serial: 7, index: 1 },
            Wanted::Unheld { serial: 7 },
            Wanted::Question { serial: 7, question: "which?".to_owned() },
            Wanted::Told(Told {
                id: "toolu_1".to_owned(),
                tool: "Bash".to_owned(),
                call: Some((7, 1)),
                is_over: true,
                has_failed: true,
                exit: Some(-1),
            }),
            Wanted::Rehearsed,
            Wanted::Server(ServerAsk {
                serial: 7,
                server: ServerName::parse("tracker").unwrap(),
                tool: ToolName::parse("search"),
                command: "ls".to_owned(),
                paths: vec!["a".to_owned()],
                addresses: vec!["b".to_owned()],
                values: vec!["c=d".to_owned()],
                arguments: Digest::of_parts([b"{}".as_slice()]),
                argument_bytes: 2,
            }),
            Wanted::ServerDone(ServerDone {
                serial: 7,
                code: "answered".to_owned(),
                answer: Digest::of_parts([b"{}".as_slice()]),
                answer_bytes: 2,
                request_bytes: 3,
            }),
            Wanted::Words { words: "Done.".to_owned(), is_proposal: true },
            Wanted::Shown { server: ServerName::parse("tracker").unwrap() },
            Wanted::NotTakenOn(NotTakenOn {
                server: ServerName::parse("tracker").unwrap(),
                tool: ToolName::parse("search").unwrap(),
                described: Digest::of_parts([b"{}".as_slice()]),
                is_changed: true,
                text: "Search it.".to_owned(),
            }),
        ]
    }

    #[test]
    fn what_is_wanted_reads_back_and_unknown_words_do_not() {
        for wanted in wanted() {
            let text = serde_json::to_string(&WireWanted::from(wanted.clone())).unwrap();
            assert_eq!(Wanted::try_from(serde_json::from_str::<WireWanted>(&text).unwrap()), Ok(wanted));
        }
        assert!(serde_json::from_str::<WireWanted>(r#"{"jwt":{"audience":"a","until":"never"}}"#).is_err());
        assert!(serde_json::from_str::<WireWanted>(r#"{"key":{}}"#).is_err());
    }

    #[test]
    fn a_token_is_never_shown() {
        let given = Given::Jwt { spiffe_id: "spiffe://a/b".to_owned(), token: Lease::new(b"secret".to_vec()) };
        assert!(!format!("{given:?}").contains("115, 101"), "{given:?}");
        assert_eq!(format!("{:?}", WireGiven::from(given)), "WireGiven(..)");
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(wire) = serde_json::from_slice::<WireWanted>(&bytes) {
                let Ok(wanted) = Wanted::try_from(wire) else { return Ok(()) };
                prop_assert_eq!(Wanted::try_from(WireWanted::from(wanted.clone())), Ok(wanted));
            }
        }
    }
}
