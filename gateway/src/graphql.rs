//! GraphQL, where the operator said that a path speaks it: a request is read down to what it would do, all of it, before anybody
//! is asked (A-47). Owns what such a request may look like, and which of its acts were configured; never knows bodies' framing,
//! or policy, which is asked about the acts as about every other fact.

pub(crate) mod call;
pub(crate) mod document;

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use selvedge_domain::{GraphqlAct, GraphqlKind, HostPattern, Method};

use self::call::Call;
use self::document::{ACTS_MAX, acts_of};
use crate::http::body::Framing;
use crate::http::request::Exchange;

/// Longest body of a call. It is held whole; what carries files beside it is not read.
pub(crate) const CALL_BYTES_MAX: u64 = 1 << 20;

/// A place where GraphQL is spoken, and what may be asked of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphqlService {
    /// The host, at every port: a service is no other for being reached in clear text.
    pub host: HostPattern,
    /// The path, and all beneath it.
    pub path: String,
    /// The root fields of mutations that may be carried out. Queries may be.
    pub mutations: BTreeSet<String>,
    /// Documents that may be named by their hash alone.
    pub persisted: Vec<String>,
}

/// Why a request in GraphQL is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Its method, media type or coding is not one that is read.
    #[error("the request is not one that GraphQL is read from")]
    Carrier,
    /// It is no call, or one that can be read in two ways.
    #[error("the body or query string is not a call")]
    Call,
    /// Its document is none.
    #[error("the document is not one of operations")]
    Document,
    /// It asks to be told of things as they happen, which nobody could judge one by one.
    #[error("the document has a subscription")]
    Subscription,
    /// More calls or root fields than are recorded with one decision.
    #[error("the request asks for too much at once")]
    TooMuch,
    /// It names a document by a hash that nobody registered, or that is not the hash of the text beside it.
    #[error("the hash is of no document that is known here")]
    Unregistered,
    /// It would do this, which was not configured.
    #[error("`{0}` is not configured")]
    Undeclared(GraphqlAct),
    /// It would do this by a method that says it only reads.
    #[error("`{0}` does not come by `POST`")]
    WritesByReading(GraphqlAct),
}

impl Unfit {
    /// Status, code and next step for the agent.
    pub(crate) fn shown(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Carrier | Self::Call | Self::Document => (
                400,
                "graphql_not_read",
                "post JSON, one object or a list, of nothing but `query`, `operationName`, `variables` and `extensions`",
            ),
            Self::Subscription => (403, "graphql_not_read", "ask with a query; subscriptions are not passed on"),
            Self::TooMuch => (413, "graphql_too_much", "ask for less in one request"),
            Self::Unregistered => (403, "graphql_hash_unknown", "send the text of the query, not only its hash"),
            Self::Undeclared(_) => (
                403,
                "graphql_act_denied",
                "do without this mutation: queries, and those configured here, are passed on",
            ),
            Self::WritesByReading(_) => {
                (403, "graphql_act_denied", "post this mutation: only queries are passed on by `GET`")
            }
        }
    }
}

impl GraphqlService {
    /// Why one of the documents that may be named by their hash could not be: it is none, or does what is not configured.
    pub fn refused_document(&self) -> Result<(), String> {
        for text in &self.persisted {
            let call = Call { query: Some(text.clone()), hash: None };
            self.acts(&[call]).map_err(|unfit| format!("holds a document that would be refused: {unfit}"))?;
        }
        Ok(())
    }

    /// Whether a request to this host and canonical path is one to this service. Without regard to case, to `;parameters` and to a format
    /// (`graphql.json`), as some servers have none: what is taken for GraphQL and is none is refused, and the other way round it would pass.
    pub fn is_at(&self, host: &HostPattern, path: &str) -> bool {
        let plain = |segment: &str| {
            let is_of_name = |byte: char| byte.is_ascii_alphanumeric() || matches!(byte, '-' | '_');
            segment.chars().take_while(|byte| is_of_name(*byte)).collect::<String>().to_ascii_lowercase()
        };
        let mut segments = path.split('/').map(plain);
        let mut own = self.path.trim_end_matches('/').split('/').map(plain);
        self.host == *host && own.all(|own| segments.next() == Some(own))
    }

    /// What the head alone says: the acts, where it says all; that the body has to be read, or that nobody could.
    pub(crate) fn read_head(&self, request: &Exchange) -> Result<Head, Unfit> {
        match (request.method, &request.query) {
            (Method::Get | Method::Head, Some(query)) => {
                let acts = self.acts(&Call::from_query(query.as_str())?)?;
                // No server carries one out that comes this way, if it keeps to the transport's text; one that does would have whoever
                // may only read write.
                match acts.iter().find(|act| act.kind() == GraphqlKind::Mutation) {
                    Some(act) => Err(Unfit::WritesByReading(act.clone())),
                    None => Ok(Head::Whole(acts)),
                }
            }
            // Beside a query string some servers do not look at the body.
            (Method::Post, None) if request.framing != Framing::Empty => Media::of(request).map(Head::BodyFollows),
            _ => Err(Unfit::Carrier),
        }
    }

    /// What a body would do, all calls of it.
    pub(crate) fn read_body(&self, media: Media, body: &[u8]) -> Result<BTreeSet<GraphqlAct>, Unfit> {
        self.acts(&match media {
            Media::Json => Call::from_json(body)?,
            Media::Document => Call::from_document(body)?,
        })
    }

    fn acts(&self, calls: &[Call]) -> Result<BTreeSet<GraphqlAct>, Unfit> {
        let persisted: BTreeMap<_, _> = self.persisted.iter().map(|text| (hash_of(text), text.as_str())).collect();
        let mut acts = BTreeSet::new();
        for Call { query, hash } in calls {
            let text = match (query.as_deref(), hash) {
                (Some(text), None) => text,
                (Some(text), Some(hash)) if hash_of(text) == *hash => text,
                (None, Some(hash)) => persisted.get(hash).copied().ok_or(Unfit::Unregistered)?,
                (Some(_), Some(_)) => return Err(Unfit::Unregistered),
                (None, None) => return Err(Unfit::Call),
            };
            acts.extend(acts_of(text)?);
        }
        if acts.len() > ACTS_MAX {
            return Err(Unfit::TooMuch);
        }
        let undeclared =
            |act: &&GraphqlAct| act.kind() == GraphqlKind::Mutation && !self.mutations.contains(act.field());
        match acts.iter().find(undeclared) {
            Some(act) => Err(Unfit::Undeclared(act.clone())),
            None => Ok(acts),
        }
    }
}

/// What a head says.
pub(crate) enum Head {
    /// Everything.
    Whole(BTreeSet<GraphqlAct>),
    /// That the rest is in the body.
    BodyFollows(Media),
}

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`.
    Json,
    /// `application/graphql`.
    Document,
}

impl Media {
    /// What a request says of its body; a form, parts, another coding or another character set are not read.
    fn of(request: &Exchange) -> Result<Self, Unfit> {
        let mut said = request.fields().filter(|field| field.name == "content-type");
        let (Some(field), None) = (said.next(), said.next()) else { return Err(Unfit::Carrier) };
        if request.fields().any(|field| field.name == "content-encoding") {
            return Err(Unfit::Carrier);
        }
        let value = String::from_utf8_lossy(&field.value).to_ascii_lowercase();
        let mut parts = value.split(';').map(str::trim);
        let media = match parts.next() {
            Some("application/json") => Self::Json,
            Some("application/graphql") => Self::Document,
            _ => return Err(Unfit::Carrier),
        };
        if parts.all(|part| matches!(part, "charset=utf-8" | "charset=\"utf-8\"")) {
            Ok(media)
        } else {
            Err(Unfit::Carrier)
        }
    }
}

/// SHA-256, in lower-case hexadecimal.
fn hash_of(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> GraphqlService {
        GraphqlService {
            host: HostPattern::parse("api.example").unwrap(),
            path: "/graphql".to_owned(),
            mutations: ["addComment".to_owned()].into(),
            persisted: vec!["query { viewer }".to_owned()],
        }
    }

    fn json(body: &str) -> Result<Vec<String>, Unfit> {
        let acts = service().read_body(Media::Json, body.as_bytes())?;
        Ok(acts.iter().map(GraphqlAct::to_string).collect())
    }

    fn undeclared(field: &str) -> Result<Vec<String>, Unfit> {
        Err(Unfit::Undeclared(GraphqlAct::new(GraphqlKind::Mutation, field).unwrap()))
    }

    #[test]
    fn a47_every_operation_of_every_call_has_to_be_declared() {
        assert_eq!(
            json(r#"{"query":"{viewer} mutation A{addComment}"}"#).unwrap(),
            ["query viewer", "mutation addComment"]
        );
        assert_eq!(json(r#"[{"query":"{a}"},{"query":"mutation{deleteIt}"}]"#), undeclared("deleteIt"));
        assert_eq!(json(r#"{"query":"query A{a} mutation B{deleteIt}","operationName":"A"}"#), undeclared("deleteIt"));
        assert_eq!(json(r#"{"query":"mutation{addComment:deleteIt}"}"#), undeclared("deleteIt"));
    }

    #[test]
    fn a47_a_hash_stands_for_what_is_registered_and_nothing_else() {
        let call = |query: &str, text: &str| {
            let hash = hash_of(text);
            format!(r#"{{{query}"extensions":{{"persistedQuery":{{"version":1,"sha256Hash":"{hash}"}}}}}}"#)
        };
        assert_eq!(json(&call("", "query { viewer }")).unwrap(), ["query viewer"]);
        assert_eq!(json(&call("", "mutation{deleteIt}")), Err(Unfit::Unregistered));
        assert_eq!(json(&call(r#""query":"{a}","#, "{a}")).unwrap(), ["query a"]);
        assert_eq!(json(&call(r#""query":"{a}","#, "mutation{deleteIt}")), Err(Unfit::Unregistered));
        assert_eq!(json(&call(r#""query":"{a}","#, "query { viewer }")), Err(Unfit::Unregistered), "two documents");
        assert_eq!(json("{}"), Err(Unfit::Call));
    }

    #[test]
    fn a47_a_service_is_at_its_path_however_that_is_spelled() {
        let host = HostPattern::parse("api.example").unwrap();
        for path in ["/graphql", "/graphql/", "/GraphQL", "/graphql/v4", "/graphql;a=b", "/graphql%3Ba"] {
            assert!(service().is_at(&host, path), "{path}");
        }
        for path in ["/", "/graphql2", "/v1/graphql"] {
            assert!(!service().is_at(&host, path), "{path}");
        }
        assert!(!service().is_at(&HostPattern::parse("b.example").unwrap(), "/graphql"));
    }
}
