//! What a door is told at its start, as it is written, version 1. Owns the format; what does not convert is refused.

use std::time::Duration;

use selvedge_domain::{Endpoint, HostPattern, Reach, RunId};
use serde::{Deserialize, Serialize};

use super::loan::WireLoan;
use super::message::{BadMessage, WireReach, endpoint};
use super::wiped::Wiped;
use crate::danger;
use crate::dial::proxy::{ProxyLogin, UpstreamProxy};
use crate::git::wanted::GitHost;
use crate::git::wire::WireGitHost;
use crate::graphql::GraphqlService;
use crate::loan::Loan;
use crate::model::wanted::ModelHost;
use crate::model::wire::WireModelHost;
use crate::protocol::{Asking, Hello, Lease, Limits};
use crate::tools::wanted::ToolHost;
use crate::tools::wire::WireToolHost;

/// The version both sides must speak.
const VERSION: u32 = 1;

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
pub(crate) struct WireUpstream {
    host: String,
    host_port: u16,
    address: std::net::IpAddr,
    port: u16,
    is_clear: bool,
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

impl std::fmt::Debug for WireProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireProxy({}:{})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
