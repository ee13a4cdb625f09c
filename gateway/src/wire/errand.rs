//! A courier's messages as they are written, and their conversion. Whatever could end a line of the request, or begin another,
//! does not convert.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_domain::Method;
use serde::{Deserialize, Serialize};

use super::hello::{WireProxy, WireUpstream};
use super::message::{BadMessage, endpoint};
use super::wiped::Wiped;
use crate::courier::{Brought, Errand, PATIENCE_MAX, Reads};
use crate::danger;
use crate::dial::proxy::UpstreamProxy;
use crate::loan::FieldName;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireErrand {
    host: String,
    port: u16,
    method: String,
    target: String,
    fields: Vec<(String, Wiped<String>)>,
    body: Option<(String, Wiped<Vec<u8>>)>,
    /// Where a refusal says which it is, in an answer in XML.
    xml_why: Option<String>,
    wants: Vec<String>,
    counts: Vec<String>,
    dangers: Vec<WireUpstream>,
    roots_pem: String,
    proxy: Option<WireProxy>,
    patience_millis: u64,
}

/// Courier to keeper.
#[derive(Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromCourier {
    Brought(WireBrought),
    NotAsked { why: String },
    AnswerLost { why: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireBrought {
    status: u16,
    retry_after_seconds: Option<u64>,
    found: BTreeMap<String, String>,
}

impl From<&Errand> for WireErrand {
    fn from(errand: &Errand) -> Self {
        Self {
            host: errand.endpoint.host.to_string(),
            port: errand.endpoint.port,
            method: errand.method.as_str().to_owned(),
            target: errand.target.clone(),
            fields: errand
                .fields
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), Wiped(value.clone())))
                .collect(),
            body: errand.body.clone().map(|(media_type, bytes)| (media_type, Wiped(bytes))),
            xml_why: match &errand.reads {
                Reads::Json => None,
                Reads::Xml { why } => Some(why.clone()),
            },
            wants: errand.wants.clone(),
            counts: errand.counts.clone(),
            dangers: errand.dangers.iter().map(WireUpstream::from).collect(),
            roots_pem: errand.roots_pem.clone(),
            proxy: errand.proxy.as_ref().map(WireProxy::from),
            patience_millis: u64::try_from(errand.patience.min(PATIENCE_MAX).as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<WireErrand> for Errand {
    type Error = BadMessage;

    fn try_from(wire: WireErrand) -> Result<Self, BadMessage> {
        let is_line = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~'));
        let is_target = wire.target.starts_with('/') && wire.target.bytes().all(|b| b.is_ascii_graphic());
        let field = |(name, Wiped(value)): (String, Wiped<String>)| {
            let name = FieldName::parse(&name).ok_or(BadMessage("field"))?;
            if is_line(&value) { Ok((name, value)) } else { Err(BadMessage("field")) }
        };
        Ok(Self {
            endpoint: endpoint(&wire.host, wire.port)?,
            method: Method::parse(&wire.method).ok_or(BadMessage("method"))?,
            target: Some(wire.target).filter(|_| is_target).ok_or(BadMessage("target"))?,
            fields: wire.fields.into_iter().map(field).collect::<Result<_, _>>()?,
            body: match wire.body {
                Some((media_type, _)) if !is_line(&media_type) => return Err(BadMessage("media type")),
                body => body.map(|(media_type, Wiped(bytes))| (media_type, bytes)),
            },
            reads: wire.xml_why.map_or(Reads::Json, |why| Reads::Xml { why }),
            wants: wire.wants,
            counts: wire.counts,
            dangers: wire.dangers.into_iter().map(danger::Upstream::try_from).collect::<Result<_, _>>()?,
            roots_pem: wire.roots_pem,
            proxy: wire.proxy.map(UpstreamProxy::try_from).transpose()?,
            patience: Some(Duration::from_millis(wire.patience_millis))
                .filter(|patience| *patience <= PATIENCE_MAX)
                .ok_or(BadMessage("patience"))?,
        })
    }
}

impl From<Brought> for WireBrought {
    fn from(brought: Brought) -> Self {
        let retry_after_seconds = brought.retry_after.map(|wait| wait.as_secs());
        Self { status: brought.status, retry_after_seconds, found: brought.found }
    }
}

impl From<WireBrought> for Brought {
    fn from(wire: WireBrought) -> Self {
        let retry_after = wire.retry_after_seconds.map(Duration::from_secs);
        Self { status: wire.status, retry_after, found: wire.found }
    }
}

/// A frame that carries secrets is not for anybody's eyes.
impl std::fmt::Debug for WireErrand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireErrand({})", self.host)
    }
}
