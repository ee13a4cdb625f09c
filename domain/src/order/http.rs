//! `http.request`: forward one canonical request through the HTTP door.

use std::collections::BTreeSet;

use super::forge_act::ForgeAct;
use super::{Description, Field, Order, Resource, ResourceKind, Secrets, Verb};
use crate::{CredentialName, Endpoint, GraphqlAct, GraphqlKind, Method, NamedUpstream, RepoName, RunId};

/// Forward this request. The path is canonical (RFC 3986 section 6.2.2), the query is only measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub repo: RepoName,
    /// The door's count of requests, so that no two orders are the same.
    pub serial: u64,
    /// Where to.
    pub endpoint: Endpoint,
    /// How.
    pub method: Method,
    /// The canonical path.
    pub path: String,
    /// Length of the query.
    pub query_bytes: u64,
    /// The most bytes its body has: what it says, or what a door lets through of one that does not say.
    pub body_bytes_max: u64,
    /// The lent credential that the door will put into it.
    pub credential: Option<CredentialName>,
    /// What it does, where the operator said that the path speaks GraphQL; elsewhere nothing is read.
    pub graphql: BTreeSet<GraphqlAct>,
    /// Where it really goes, if the operator named that under `danger`.
    pub danger: BTreeSet<NamedUpstream>,
    /// What looks like a secret in its path.
    pub secrets: Secrets,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswered {
    /// The upstream's status code; 0 when none came back.
    pub status: u16,
    /// Bytes sent upstream: line, head and body. The most that may have been, where its door ended before it said.
    pub request_bytes: u64,
    /// Bytes of body sent back.
    pub response_bytes: u64,
}

impl Order for HttpRequest {
    type Deed = HttpAnswered;
    const VERB: Verb = Verb::HttpRequest;

    fn describe(&self) -> Description {
        let measured = |count: u64| Field::Number(i64::try_from(count).unwrap_or(i64::MAX));
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
                ("host", Field::from(self.endpoint.host.as_str())),
                ("port", Field::Number(i64::from(self.endpoint.port))),
                ("method", Field::from(self.method.as_str())),
                ("path", Field::from(self.path.as_str())),
                ("query_bytes", measured(self.query_bytes)),
                ("body_bytes_max", measured(self.body_bytes_max)),
                ("forge_act", Field::from(self.forge_act().map_or("none", ForgeAct::as_str))),
                ("credential", Field::from(self.credential.as_ref().map_or("none", |credential| credential.as_str()))),
                ("graphql", Field::Words(self.graphql.iter().map(ToString::to_string).collect())),
                ("danger", Field::from(danger(&self.danger).as_str())),
            ],
        }
    }

    fn recorded(&self) -> Description {
        self.secrets.mask_all(self.describe())
    }
}

impl HttpRequest {
    /// What it would do to a proposal or a branch at a forge: by its path, or by a mutation that is read out of it, or that could stand
    /// in it where nothing was read.
    fn forge_act(&self) -> Option<ForgeAct> {
        let mutations = self.graphql.iter().filter(|act| act.kind() == GraphqlKind::Mutation);
        let by_mutation = || mutations.map(GraphqlAct::field).find_map(ForgeAct::of_mutation);
        let unread = || if self.graphql.is_empty() { ForgeAct::of_unread(self.method, &self.path) } else { None };
        ForgeAct::of(self.method, &self.path).or_else(by_mutation).or_else(unread)
    }
}

/// One text rather than a set: a policy can then say `like "*plain*"` about what it knows no address of.
fn danger(named: &BTreeSet<NamedUpstream>) -> String {
    if named.is_empty() {
        return "none".to_owned();
    }
    named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
