//! What a door was told it may reach, ready to be asked. Owns the second look at every answer; never knows policy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use selvedge_domain::{Endpoint, HostPattern, Method, Reach};

use crate::danger;
use crate::dial::proxy::UpstreamProxy;
use crate::protocol::Hello;

/// Synthetic addresses are `127.1.0.1` and on: a /16 of loopback that nothing else uses. It bounds the hosts of a grant.
const SYNTHETIC_FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
const SYNTHETIC_LAST: Ipv4Addr = Ipv4Addr::new(127, 1, 255, 254);

/// The reach of a run.
#[derive(Debug)]
pub(crate) struct Scope {
    reach: Vec<Reach>,
    dangers: Vec<danger::Upstream>,
    names: BTreeMap<HostPattern, Ipv4Addr>,
    /// What this door answers for itself; never dialled.
    own: Vec<Endpoint>,
    proxy_port: Option<u16>,
}

impl Scope {
    /// Reads what the keeper said.
    pub(crate) fn of(hello: &Hello) -> Self {
        let git = hello.git.as_ref().map(|git| git.endpoint.clone());
        let own: Vec<Endpoint> = git.into_iter().chain(hello.tokens.clone()).collect();
        let granted = hello.reach.iter().map(|reach| &reach.endpoint);
        let hosts: BTreeSet<_> = granted.chain(&own).map(|endpoint| endpoint.host.clone()).collect();
        let addresses = (SYNTHETIC_FIRST.to_bits()..=SYNTHETIC_LAST.to_bits()).map(Ipv4Addr::from_bits);
        Self {
            reach: hello.reach.clone(),
            dangers: hello.dangers.clone(),
            names: hosts.into_iter().zip(addresses).collect(),
            own,
            proxy_port: hello.proxy.as_ref().map(|proxy| proxy.port),
        }
    }

    /// One endpoint and nothing else, for whoever asks no keeper.
    pub(crate) fn alone(endpoint: &Endpoint, dangers: Vec<danger::Upstream>, proxy: Option<&UpstreamProxy>) -> Self {
        let reach = Reach { endpoint: endpoint.clone(), methods: BTreeSet::new(), path_prefix: "/".to_owned() };
        let proxy_port = proxy.map(|proxy| proxy.port);
        Self { reach: vec![reach], dangers, names: BTreeMap::new(), own: Vec::new(), proxy_port }
    }

    /// Whether any request to this endpoint can be within the grant.
    pub(crate) fn reaches(&self, endpoint: &Endpoint) -> bool {
        self.is_own(endpoint) || self.reach.iter().any(|reach| reach.endpoint == *endpoint)
    }

    /// Whether this door answers for this endpoint itself.
    pub(crate) fn is_own(&self, endpoint: &Endpoint) -> bool {
        self.own.contains(endpoint)
    }

    /// Whether this very request is within the grant.
    pub(crate) fn covers(&self, endpoint: &Endpoint, method: Method, path: &str) -> bool {
        self.reach.iter().any(|reach| reach.covers(endpoint, method, path))
    }

    /// Where requests to this endpoint go if the operator said so.
    pub(crate) fn named_upstreams(&self, endpoint: &Endpoint) -> impl Iterator<Item = &danger::Upstream> {
        self.dangers.iter().filter(move |upstream| upstream.endpoint == *endpoint)
    }

    /// The address the stub gives for a granted name.
    pub(crate) fn synthetic_address(&self, name: &str) -> Option<Ipv4Addr> {
        HostPattern::parse(name).and_then(|name| self.names.get(&name).copied())
    }

    /// Every TCP port a door may dial: the proxy's where there is one, whatever is granted.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let granted = self.reach.iter().map(|reach| reach.endpoint.port).filter(|_| self.proxy_port.is_none());
        granted.chain(self.proxy_port).chain(self.dangers.iter().map(|upstream| upstream.port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_with_a_proxy_dials_no_granted_port() {
        let endpoint = |port| Endpoint { host: HostPattern::parse("registry.example").unwrap(), port };
        let danger = danger::Upstream {
            endpoint: endpoint(80),
            address: [10, 0, 0, 8].into(),
            port: 8080,
            transport: danger::Transport::Clear,
        };
        let host = HostPattern::parse("proxy.example").unwrap();
        let proxy = UpstreamProxy { host, port: 3128, login: None };
        let ports = |proxy| Scope::alone(&endpoint(443), vec![danger.clone()], proxy).ports();
        assert_eq!((ports(None), ports(Some(&proxy))), ([443, 8080].into(), [3128, 8080].into()));
    }
}
