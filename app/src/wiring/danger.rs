//! What the operator named under `danger`: addresses that a door dials in place of a host's own, and those it speaks to in clear text.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use selvedge_domain::{Endpoint, NamedUpstream, Reach};
use selvedge_gateway::danger::{Transport, Upstream};

use crate::config::{Config, Danger};

/// What the operator named under `danger`, for the endpoints this run may reach, or ask to.
pub(super) fn dangers<'a>(config: &Config, endpoints: impl Iterator<Item = &'a Endpoint>) -> Vec<Upstream> {
    let endpoints: BTreeSet<&Endpoint> = endpoints.collect();
    endpoints.into_iter().flat_map(|endpoint| dangers_at(&config.danger, endpoint)).collect()
}

/// What the operator named under `danger`, for this endpoint.
pub(super) fn dangers_at(danger: &[Danger], endpoint: &Endpoint) -> Vec<Upstream> {
    let named = danger.iter().filter(|danger| danger.host == endpoint.host);
    let upstream = |danger: &Danger| Upstream {
        endpoint: endpoint.clone(),
        address: danger.address,
        port: danger.plain_port.unwrap_or(endpoint.port),
        transport: if danger.plain_port.is_some() { Transport::Clear } else { Transport::Tls },
    };
    named.map(upstream).collect()
}

/// The words for it that policy and the record have.
pub(super) fn said(upstream: &Upstream) -> NamedUpstream {
    let address = SocketAddr::new(upstream.address, upstream.port);
    match upstream.transport {
        Transport::Tls => NamedUpstream::Tls(address),
        Transport::Clear => NamedUpstream::Plain(address),
    }
}

/// The authority card's lines on it, for what an agent reaches, or may once it has asked.
pub(crate) fn dangers_for<'a>(config: &Config, reach: impl Iterator<Item = &'a Reach>) -> Vec<String> {
    let line = |named: Upstream| {
        let to = match said(&named) {
            NamedUpstream::Tls(address) => format!("at {address}"),
            NamedUpstream::Plain(address) => format!("at {address}, in clear text"),
        };
        format!("by `danger`, {}:{} is reached {to}", named.endpoint.host, named.endpoint.port)
    };
    dangers(config, reach.map(|reach| &reach.endpoint)).into_iter().map(line).collect()
}
