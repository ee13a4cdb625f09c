//! Opens connections to upstreams. Owns that a name is resolved once, after the keeper allowed, that every answer is looked
//! at, and that the very address that was looked at is dialled, or that a proxy the operator named is asked instead;
//! never knows what is said on the connection.

pub mod address;
pub(crate) mod proxy;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use selvedge_domain::Endpoint;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::danger::Transport;
use crate::http::certificates::BadAuthority;
use crate::http::peer::{Peer, Stream};
use crate::scope::Scope;
use proxy::UpstreamProxy;

/// How long name resolution may take: two tries of a stub resolver.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address may take to connect and to shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses tried, of those a name has.
const ADDRESSES_MAX: usize = 4;

/// Turns names into addresses.
pub(crate) trait Resolve: Send + Sync {
    /// Every address of `host`.
    fn resolve<'a>(&'a self, host: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// The machine's resolver.
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((host, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the name does not resolve")]
    NotResolved,
    #[error("an address of the name is not on the open internet")]
    NotGlobal,
    #[error("no address takes the connection")]
    Unreachable,
    #[error("the server does not prove its name")]
    NotVerified,
    #[error("the connection takes too long")]
    TimedOut,
    #[error("clear text to this server was not named by the operator")]
    ClearText,
    #[error("the proxy does not take the connection, or breaks off")]
    ProxyUnreachable,
    #[error("the proxy takes too long to connect")]
    ProxySilent,
    #[error("the proxy wants another user or password: see `proxy_user` and `selvedge credentials store --proxy`")]
    ProxyLogin,
    #[error("the proxy refuses to connect to this server")]
    ProxyRefused,
    #[error("the proxy's answer is none to `CONNECT`")]
    ProxyMalformed,
}

/// Whether the client spoke TLS to the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientLeg {
    Tls,
    Clear,
}

/// Opens connections for one run.
pub(crate) struct Dialer {
    resolver: Box<dyn Resolve>,
    tls: TlsConnector,
    proxy: Option<UpstreamProxy>,
}

impl Dialer {
    /// Takes the certificates upstreams are verified against, and the proxy that leads to them.
    pub(crate) fn new(
        roots_pem: &str,
        resolver: Box<dyn Resolve>,
        proxy: Option<UpstreamProxy>,
    ) -> Result<Self, BadAuthority> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
            roots.add_parsable_certificates([certificate.map_err(|_| BadAuthority::Roots)?]);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BadAuthority::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { resolver, tls: TlsConnector::from(Arc::new(config)), proxy })
    }

    /// Connects to `endpoint`: where the operator said, or else through their proxy, or to a global address of its name, with TLS.
    pub(crate) async fn dial(&self, endpoint: &Endpoint, leg: ClientLeg, scope: &Scope) -> Result<Peer, DialError> {
        let named: Vec<_> = scope.named_upstreams(endpoint).cloned().collect();
        if let (true, ClientLeg::Tls, Some(proxy)) = (named.is_empty(), leg, &self.proxy) {
            let connected = proxy::connect(proxy, endpoint, self.resolver.as_ref()).await?;
            let spoken = timeout(CONNECT_TIMEOUT, self.speak_tls(connected.into_stream(), endpoint)).await;
            return spoken.map_err(|_| DialError::TimedOut)?;
        }
        let targets: Vec<_> = if named.is_empty() && leg == ClientLeg::Tls {
            let addresses = self.resolve(endpoint).await?;
            addresses.into_iter().map(|address| (SocketAddr::new(address, endpoint.port), Transport::Tls)).collect()
        } else {
            // What came in clear text would leave looking as if it had been protected.
            let fits = |transport| leg == ClientLeg::Tls || transport == Transport::Clear;
            let named = named.into_iter().filter(|upstream| fits(upstream.transport));
            named.map(|upstream| (SocketAddr::new(upstream.address, upstream.port), upstream.transport)).collect()
        };
        if targets.is_empty() { Err(DialError::ClearText) } else { self.connect_first(targets, endpoint).await }
    }

    /// Resolves a name and refuses it if any of its addresses is not global: a name that has one such answer may have it
    /// again.
    async fn resolve(&self, endpoint: &Endpoint) -> Result<Vec<IpAddr>, DialError> {
        let host = endpoint.host.as_str();
        let addresses = match parse_literal(host) {
            Some(address) => vec![address],
            None => timeout(RESOLVE_TIMEOUT, self.resolver.resolve(host))
                .await
                .map_err(|_| DialError::TimedOut)?
                .map_err(|_| DialError::NotResolved)?,
        };
        if addresses.is_empty() {
            return Err(DialError::NotResolved);
        }
        if addresses.iter().all(|&address| address::is_global(address)) {
            Ok(addresses)
        } else {
            Err(DialError::NotGlobal)
        }
    }

    async fn connect_first(
        &self,
        targets: Vec<(SocketAddr, Transport)>,
        endpoint: &Endpoint,
    ) -> Result<Peer, DialError> {
        let mut last = DialError::Unreachable;
        for (address, transport) in targets.into_iter().take(ADDRESSES_MAX) {
            match timeout(CONNECT_TIMEOUT, self.connect(address, transport, endpoint)).await {
                Ok(Ok(peer)) => return Ok(peer),
                Ok(Err(error)) => last = error,
                Err(_) => last = DialError::TimedOut,
            }
        }
        Err(last)
    }

    async fn connect(&self, address: SocketAddr, transport: Transport, endpoint: &Endpoint) -> Result<Peer, DialError> {
        let stream = TcpStream::connect(address).await.map_err(|_| DialError::Unreachable)?;
        // Requests are written whole; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        match transport {
            Transport::Clear => Ok(Peer::new(stream)),
            Transport::Tls => self.speak_tls(stream, endpoint).await,
        }
    }

    async fn speak_tls(&self, stream: impl Stream + 'static, endpoint: &Endpoint) -> Result<Peer, DialError> {
        let host = endpoint.host.as_str().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|_| DialError::NotVerified)?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| DialError::NotVerified)?;
        Ok(Peer::new(stream))
    }
}

/// The address a host literally is.
pub(crate) fn parse_literal(host: &str) -> Option<IpAddr> {
    host.parse::<std::net::Ipv4Addr>().map(IpAddr::V4).ok().or_else(|| {
        let inside = host.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<std::net::Ipv6Addr>().map(IpAddr::V6).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use selvedge_domain::{HostPattern, Method, Reach, RunId};

    use super::*;
    use crate::danger::Upstream;
    use crate::protocol::{Hello, Lease, Limits};

    /// Gives one prepared answer after the other and counts questions.
    struct Scripted(Arc<Mutex<Vec<Vec<IpAddr>>>>);

    impl Resolve for Scripted {
        fn resolve<'a>(
            &'a self,
            _: &'a str,
        ) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>> {
            let answer = self.0.lock().unwrap().pop().expect("the name is resolved more often than allowed");
            Box::pin(std::future::ready(Ok(answer)))
        }
    }

    fn endpoint() -> Endpoint {
        Endpoint { host: HostPattern::parse("registry.example").unwrap(), port: 443 }
    }

    fn scope(dangers: Vec<Upstream>) -> Scope {
        let reach = Reach { endpoint: endpoint(), methods: [Method::Get].into(), path_prefix: "/".into() };
        Scope::of(&Hello {
            run: RunId::from_entropy(7),
            reach: vec![reach],
            dangers,
            roots_pem: String::new(),
            ca_common_name: String::new(),
            life: Duration::from_secs(1),
            lease: Lease::default(),
            loans: vec![],
            git: None,
            tokens: None,
            asking: None,
            model: None,
            tools: None,
            graphql: Vec::new(),
            limits: Limits::default(),
            budgets: std::collections::BTreeMap::new(),
            proxy: None,
        })
    }

    /// Dials once with these answers, last first; gives the error and how many answers are left.
    fn dial(answers: &[&[&str]], dangers: Vec<Upstream>, leg: ClientLeg) -> (Option<DialError>, usize) {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let answers = Arc::new(Mutex::new(answers.iter().map(parse).collect()));
        let dialer = Dialer::new("", Box::new(Scripted(Arc::clone(&answers))), None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dialled = runtime.block_on(dialer.dial(&endpoint(), leg, &scope(dangers)));
        let left = answers.lock().unwrap().len();
        (dialled.err(), left)
    }

    #[test]
    fn a14_one_inward_address_among_many_refuses_the_name() {
        for answer in [&["127.0.0.1"][..], &["1.1.1.1", "10.0.0.1"], &["2606:4700::1111", "::ffff:169.254.169.254"]] {
            assert_eq!(dial(&[answer], vec![], ClientLeg::Tls), (Some(DialError::NotGlobal), 0), "{answer:?}");
        }
        assert_eq!(dial(&[&[]], vec![], ClientLeg::Tls), (Some(DialError::NotResolved), 0));
    }

    #[test]
    fn a14_a_name_that_changes_its_mind_is_looked_at_each_time() {
        // Rebinding: the first answer was fine, the second leads inwards. Each connection has one resolution, which is the
        // one that is looked at.
        let (error, left) = dial(&[&["1.1.1.1"], &["192.168.0.1"]], vec![], ClientLeg::Tls);
        assert_eq!((error, left), (Some(DialError::NotGlobal), 1));
    }

    #[test]
    fn a_named_upstream_is_dialled_as_named_and_never_resolved() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let named = |transport| Upstream { endpoint: endpoint(), address: at.ip(), port: at.port(), transport };
        let clear = vec![named(Transport::Clear)];
        assert_eq!(dial(&[&["1.1.1.1"]], clear.clone(), ClientLeg::Clear), (None, 1));
        assert_eq!(dial(&[&["1.1.1.1"]], clear, ClientLeg::Tls), (None, 1));
        // Named for TLS only: clear text does not leave, and does not turn to the public address either.
        let tls = vec![named(Transport::Tls)];
        assert_eq!(dial(&[&["1.1.1.1"]], tls, ClientLeg::Clear), (Some(DialError::ClearText), 1));
        assert_eq!(dial(&[&["1.1.1.1"]], vec![], ClientLeg::Clear), (Some(DialError::ClearText), 1));
        // Named for another port: that is another endpoint.
        let mut other = named(Transport::Clear);
        other.endpoint.port = 80;
        assert_eq!(dial(&[&["10.0.0.1"]], vec![other], ClientLeg::Tls), (Some(DialError::NotGlobal), 0));
    }
}
