//! The line to a stand-in: HTTP on a port of this machine, on which the power of the keeper can be cut at any request.

use std::sync::{Arc, Mutex, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_credentials::{Body, Errand, Reads, Secret};
use selvedge_domain::{Endpoint, HostPattern, Method, Time};
use serde_json::Value;

use crate::common::service::{Asked, answered};
use crate::vendors::Service;
use crate::{API, VENDOR};

/// Where the keeper dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The provider's n-th request is on its way, and nothing is done.
    Before(usize),
    /// It is done, and not answered.
    After(usize),
    /// A request that carries the credential is on its way.
    InUse,
}

/// What went over the line.
#[derive(Default)]
struct Seen {
    /// Requests to the provider.
    asked: usize,
    /// How many of these came before the credential was used first.
    asked_before_use: Option<usize>,
    /// Which keeper dies, and where.
    cut: Option<(Cut, u32)>,
}

/// A stand-in at the other end of a port.
pub(crate) struct Line {
    pub(crate) port: u16,
    service: Box<dyn Service>,
    seen: Mutex<Seen>,
}

impl Line {
    pub(crate) fn to(service: Box<dyn Service>) -> Arc<Self> {
        Arc::new_cyclic(|line: &Weak<Self>| {
            let line = Weak::clone(line);
            let port = answered(move |asked| line.upgrade()?.answer(asked));
            Self { port, service, seen: Mutex::default() }
        })
    }

    /// Kills this process there.
    pub(crate) fn cut(&self, cut: Cut, pid: u32) {
        self.seen.lock().unwrap().cut = Some((cut, pid));
    }

    /// Whether it was reached.
    pub(crate) fn is_cut(&self) -> bool {
        self.seen.lock().unwrap().cut.is_none()
    }

    /// How many requests the provider had, and how many of them before the first use.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        (seen.asked, seen.asked_before_use.expect("it was never used"))
    }

    pub(crate) fn is_used(&self) -> bool {
        self.seen.lock().unwrap().asked_before_use.is_some()
    }

    /// Counted by the stand-in.
    pub(crate) fn live(&self) -> usize {
        self.service.live(now())
    }

    fn falls(&self, at: Cut) -> bool {
        let mut seen = self.seen.lock().unwrap();
        let Some((_, pid)) = seen.cut.filter(|(cut, _)| *cut == at) else { return false };
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success(), "there was no keeper to kill");
        seen.cut = None;
        true
    }

    fn answer(&self, asked: &Asked) -> Option<(u16, String)> {
        if asked.field("host").starts_with(API) { self.use_it() } else { self.ask(&asked.head, &asked.body) }
    }

    fn use_it(&self) -> Option<(u16, String)> {
        let mut seen = self.seen.lock().unwrap();
        let asked = seen.asked;
        seen.asked_before_use.get_or_insert(asked);
        drop(seen);
        (!self.falls(Cut::InUse)).then(|| (200, "[]".to_owned()))
    }

    fn ask(&self, head: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut seen = self.seen.lock().unwrap();
        let number = seen.asked;
        seen.asked += 1;
        drop(seen);
        if self.falls(Cut::Before(number)) {
            return None;
        }
        let errand = errand(head, body);
        let (status, said) = self.service.serve(&errand, now());
        if self.falls(Cut::After(number)) {
            return None;
        }
        let said = match errand.reads {
            _ if said.is_null() => String::new(),
            Reads::Json => said.to_string(),
            Reads::Xml { .. } => xml(&said),
        };
        Some((status, said))
    }
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time::from_millis(u64::try_from(now.as_millis()).unwrap())
}

/// The request as the stand-ins take it, without what a courier writes into every one.
fn errand(head: &str, body: &[u8]) -> Errand {
    let (mut fields, mut reads, mut media_type) = (Vec::new(), Reads::Json, "");
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        let known = ["accept", "authorization", "private-token", "x-vault-token", "x-github-api-version"];
        match (name, value) {
            ("accept", "application/json") | ("host" | "user-agent" | "connection" | "content-length", _) => {}
            ("accept", "text/xml") => reads = Reads::Xml { why: "" },
            ("content-type", value) => media_type = value,
            (name, value) => {
                let name = known.into_iter().find(|known| *known == name).expect("no provider is sent this field");
                fields.push((name, Secret::new(value.as_bytes().to_vec())));
            }
        }
    }
    let bytes = || Secret::new(body.to_vec());
    let (method, target) = head.split(" HTTP/1.1").next().unwrap().split_once(' ').unwrap();
    Errand {
        endpoint: Endpoint { host: HostPattern::parse(VENDOR).unwrap(), port: 443 },
        method: Method::parse(method).unwrap(),
        target: target.to_owned(),
        fields,
        body: match media_type {
            "application/json" => Some(Body::Json(bytes())),
            "application/x-www-form-urlencoded" => Some(Body::Form(bytes())),
            _ => None,
        },
        reads,
        wants: Vec::new(),
        counts: Vec::new(),
    }
}

fn xml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("<{name}>{}</{name}>", xml(value))).collect()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
