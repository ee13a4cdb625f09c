//! What a door was told it may reach, ready to be asked. Owns the second look at every answer; never knows policy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use selvedge_domain::{Endpoint, HostPattern, Method, Reach};

use crate::danger;
use crate::dial::proxy::UpstreamProxy;
use crate::protocol::Hello;
use crate::tools::wanted::ServerWay;

/// Synthetic addresses are `127.1.0.1` and on: a /16 of loopback that nothing else uses. It bounds the hosts of a grant.
const SYNTHETIC_FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
const SYNTHETIC_LAST: Ipv4Addr = Ipv4Addr::new(127, 1, 255, 254);

/// The reach of a run.
#[derive(Debug)]
pub(crate) struct Scope {
    granted: RwLock<Granted>,
    /// What may be asked for, and so added.
    within: Vec<Reach>,
    dangers: Vec<danger::Upstream>,
    /// What this door answers for itself; never dialled.
    own: Vec<Endpoint>,
    /// Where a model and tool servers listen, which no request but their own door's goes to.
    own_ports: BTreeSet<u16>,
    proxy_port: Option<u16>,
}

/// What a run reaches by now.
#[derive(Debug)]
struct Granted {
    reach: Vec<Reach>,
    names: BTreeMap<HostPattern, Ipv4Addr>,
    /// Addresses that no name has yet.
    addresses: std::ops::RangeInclusive<u32>,
}

/// A rule that the door was not told may be asked for, or for whose host it has no address left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CannotWiden;

impl Scope {
    /// Reads what the keeper said.
    pub(crate) fn of(hello: &Hello) -> Self {
        let git = hello.git.as_ref().map(|git| git.endpoint.clone());
        let (asked_at, within) = hello.asking.clone().map(|asking| (asking.endpoint, asking.within)).unzip();
        let model = hello.model.as_ref().map(|model| model.endpoint.clone());
        let tools = hello.tools.as_ref().map(|tools| tools.endpoint.clone());
        let own = git.into_iter().chain(hello.tokens.clone()).chain(asked_at).chain(model).chain(tools);
        let own: Vec<Endpoint> = own.collect();
        let granted = hello.reach.iter().map(|reach| &reach.endpoint);
        let hosts: BTreeSet<_> = granted.chain(&own).map(|endpoint| endpoint.host.clone()).collect();
        let mut addresses = SYNTHETIC_FIRST.to_bits()..=SYNTHETIC_LAST.to_bits();
        let names = hosts.into_iter().zip(addresses.by_ref().map(Ipv4Addr::from_bits)).collect();
        Self {
            granted: Granted { reach: hello.reach.clone(), names, addresses }.into(),
            within: within.unwrap_or_default(),
            dangers: hello.dangers.clone(),
            own,
            own_ports: own_ports(hello),
            proxy_port: hello.proxy.as_ref().map(|proxy| proxy.port),
        }
    }

    /// One endpoint and nothing else, for whoever asks no keeper.
    pub(crate) fn alone(endpoint: &Endpoint, dangers: Vec<danger::Upstream>, proxy: Option<&UpstreamProxy>) -> Self {
        let reach = Reach { endpoint: endpoint.clone(), methods: BTreeSet::new(), path_prefix: "/".to_owned() };
        let proxy_port = proxy.map(|proxy| proxy.port);
        let addresses = SYNTHETIC_FIRST.to_bits()..=SYNTHETIC_LAST.to_bits();
        let granted = Granted { reach: vec![reach], names: BTreeMap::new(), addresses }.into();
        Self { granted, within: Vec::new(), dangers, own: Vec::new(), own_ports: BTreeSet::new(), proxy_port }
    }

    /// Adds a rule that the run asked for and was given. The door checks again that it could be asked for.
    pub(crate) fn widen(&self, rule: Reach) -> Result<(), CannotWiden> {
        if rule.methods.is_empty() || !self.within.iter().any(|within| within.contains(&rule)) {
            return Err(CannotWiden);
        }
        let mut granted = self.granted.write().unwrap_or_else(PoisonError::into_inner);
        let host = &rule.endpoint.host;
        if !granted.names.contains_key(host) {
            let address = granted.addresses.next().map(Ipv4Addr::from_bits).ok_or(CannotWiden)?;
            granted.names.insert(host.clone(), address);
        }
        granted.reach.push(rule);
        Ok(())
    }

    /// A poisoned lock guards a list that is whole between statements.
    fn granted(&self) -> RwLockReadGuard<'_, Granted> {
        self.granted.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any request to this endpoint can be within the grant.
    pub(crate) fn reaches(&self, endpoint: &Endpoint) -> bool {
        self.is_own(endpoint) || self.granted().reach.iter().any(|reach| reach.endpoint == *endpoint)
    }

    /// Whether this door answers for this endpoint itself.
    pub(crate) fn is_own(&self, endpoint: &Endpoint) -> bool {
        self.own.contains(endpoint)
    }

    /// Whether this very request is within the grant.
    pub(crate) fn covers(&self, endpoint: &Endpoint, method: Method, path: &str) -> bool {
        self.granted().reach.iter().any(|reach| reach.covers(endpoint, method, path))
    }

    /// Where requests to this endpoint go if the operator said so.
    pub(crate) fn named_upstreams(&self, endpoint: &Endpoint) -> impl Iterator<Item = &danger::Upstream> {
        self.dangers.iter().filter(move |upstream| upstream.endpoint == *endpoint)
    }

    /// The address the stub gives for a granted name.
    pub(crate) fn synthetic_address(&self, name: &str) -> Option<Ipv4Addr> {
        HostPattern::parse(name).and_then(|name| self.granted().names.get(&name).copied())
    }

    /// Every TCP port a door may ever dial: the proxy's where there is one, whatever is granted. What may be asked for is among
    /// them, as the fence that is put up with them cannot be opened again.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let granted = self.granted();
        let reach = granted.reach.iter().chain(&self.within);
        let reached = reach
            .map(|reach| reach.endpoint.port)
            .chain(self.own_ports.iter().copied())
            .filter(|_| self.proxy_port.is_none());
        reached.chain(self.proxy_port).chain(self.dangers.iter().map(|upstream| upstream.port)).collect()
    }
}

/// Ports of what is asked through a door of its own.
fn own_ports(hello: &Hello) -> BTreeSet<u16> {
    let servers = hello.tools.iter().flat_map(|tools| &tools.servers);
    let listens = servers.filter_map(|server| match &server.way {
        ServerWay::Http { upstream, .. } => Some(upstream.port),
        ServerWay::Pipes | ServerWay::Factory => None,
    });
    hello.model.iter().map(|model| model.upstream.port).chain(listens).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(host: &str, port: u16, path_prefix: &str) -> Reach {
        let endpoint = Endpoint { host: HostPattern::parse(host).unwrap(), port };
        Reach { endpoint, methods: [Method::Get].into(), path_prefix: path_prefix.to_owned() }
    }

    fn asking() -> Scope {
        let within = vec![reach("docs.example", 8443, "/guide")];
        Scope { within, ..Scope::alone(&reach("registry.example", 443, "/").endpoint, vec![], None) }
    }

    #[test]
    fn a_rule_that_may_be_asked_for_joins_and_nothing_beside_it_e7() {
        let scope = asking();
        let (rule, docs) = (reach("docs.example", 8443, "/guide/a"), reach("docs.example", 8443, "/").endpoint);
        assert!(!scope.reaches(&docs) && scope.synthetic_address("docs.example").is_none());
        assert_eq!(scope.widen(rule.clone()), Ok(()));
        assert!(scope.covers(&docs, Method::Get, "/guide/a/b"));
        for (method, path) in [(Method::Get, "/guide"), (Method::Get, "/guide/ab"), (Method::Post, "/guide/a")] {
            assert!(!scope.covers(&docs, method, path), "{method:?} {path}");
        }
        let address = scope.synthetic_address("docs.example");
        assert!(address.is_some());
        // Given twice it is the same place.
        assert_eq!((scope.widen(rule), scope.synthetic_address("docs.example")), (Ok(()), address));
    }

    #[test]
    fn a_door_takes_no_rule_it_was_not_told_of_e7() {
        let scope = asking();
        for rule in [
            reach("docs.example", 8443, "/"),
            reach("docs.example", 443, "/guide"),
            reach("evil.example", 8443, "/guide"),
            Reach { methods: [Method::Get, Method::Post].into(), ..reach("docs.example", 8443, "/guide") },
            Reach { methods: BTreeSet::new(), ..reach("docs.example", 8443, "/guide") },
        ] {
            assert_eq!(scope.widen(rule.clone()), Err(CannotWiden), "{rule}");
            assert!(!scope.reaches(&rule.endpoint));
        }
    }

    #[test]
    fn the_ports_of_what_may_be_asked_for_are_open_from_the_start_e7() {
        assert_eq!(asking().ports(), [443, 8443].into());
    }

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
