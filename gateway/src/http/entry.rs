//! The ways into the door: explicit proxy, tunnel, captured TLS, captured clear text. Owns the rule that what the
//! connection names and what each request names are one place (A-13, S-27); never knows whether it may be reached.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use selvedge_domain::Endpoint;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

use super::Context;
use super::authority::Authority;
use super::connection::Connection;
use super::peer::{Peer, Stream};
use super::refusal::Refusal;
use super::request::{Exchange, Form, HTTP_PORT};
use crate::dial::{ClientLeg, parse_literal};
use crate::protocol::{Layer, Source};

/// How long a client's handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// What `https` implies.
pub(crate) const HTTPS_PORT: u16 = 443;

/// How a connection came in.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// To the explicit proxy, in clear text.
    Proxy,
    /// In clear text, captured on its way to port 80.
    CapturedClear,
    /// In TLS that was opened for this endpoint.
    Tls {
        /// What the handshake, and the tunnel if there was one, named.
        endpoint: Endpoint,
        /// How the TLS came in.
        source: Source,
    },
}

impl Entry {
    /// Where a request goes: what it and its connection both name.
    pub(crate) fn place(&self, request: &Exchange) -> Result<Endpoint, Refusal> {
        match (self, request.form) {
            (Self::Proxy, Form::Absolute) => Ok(request.host.endpoint(HTTP_PORT)),
            (Self::CapturedClear, Form::Origin) => {
                let named = request.host.endpoint(HTTP_PORT);
                // It was captured on its way to port 80 and goes nowhere else.
                if named.port == HTTP_PORT { Ok(named) } else { Err(Refusal::HostMismatch(named.host.to_string())) }
            }
            (Self::Tls { endpoint, .. }, Form::Origin) => {
                let named = request.host.endpoint(HTTPS_PORT);
                if named == *endpoint {
                    Ok(named)
                } else {
                    Err(Refusal::HostMismatch(format!("{} in a connection to {}", named.host, endpoint.host)))
                }
            }
            (Self::Proxy, Form::Origin) | (Self::CapturedClear | Self::Tls { .. }, Form::Absolute) => {
                Err(Refusal::WrongForm)
            }
        }
    }

    /// How the keeper is told this came in.
    pub(crate) fn source(&self) -> Source {
        match self {
            Self::Proxy => Source::Absolute,
            Self::CapturedClear => Source::Captured,
            Self::Tls { source, .. } => *source,
        }
    }

    /// Whether the client is protected on its side.
    pub(crate) fn leg(&self) -> ClientLeg {
        match self {
            Self::Proxy | Self::CapturedClear => ClientLeg::Clear,
            Self::Tls { .. } => ClientLeg::Tls,
        }
    }

    /// The port a server assumes when `Host` has none.
    pub(crate) fn port_default(&self) -> u16 {
        match self.leg() {
            ClientLeg::Clear => HTTP_PORT,
            ClientLeg::Tls => HTTPS_PORT,
        }
    }
}

/// Serves a tunnel that was opened for `endpoint`: TLS for that very host, and nothing else.
pub(crate) async fn open_tunnel(context: Arc<Context>, client: Peer, endpoint: Endpoint) {
    let is_literal = parse_literal(endpoint.host.as_str()).is_some();
    let check = |sni: Option<&str>| match sni {
        // Clients name no address in SNI (RFC 6066 section 3).
        None if is_literal => Ok(endpoint.clone()),
        Some(name) if name.eq_ignore_ascii_case(endpoint.host.as_str()) && !is_literal => Ok(endpoint.clone()),
        sni => Err(Refusal::HostMismatch(format!("{} in a tunnel to {}", sni.unwrap_or("no name"), endpoint.host))),
    };
    serve_tls(context, client.into_stream(), Source::Connect, check).await;
}

/// Serves TLS that was captured on its way to port 443: the host is what SNI says.
pub(crate) async fn serve_captured(context: Arc<Context>, client: Box<dyn Stream>) {
    let check = |sni: Option<&str>| {
        let name = sni.ok_or_else(|| Refusal::HostMismatch("no name".into()))?;
        let authority = Authority::parse(name).map_err(|bad| Refusal::Request(bad.into()))?;
        Ok(authority.endpoint(HTTPS_PORT))
    };
    serve_tls(Arc::clone(&context), client, Source::Captured, check).await;
}

async fn serve_tls(
    context: Arc<Context>,
    client: Box<dyn Stream>,
    source: Source,
    check: impl Fn(Option<&str>) -> Result<Endpoint, Refusal>,
) {
    // Without a handshake there is no way to tell a TLS client anything; it sees the connection end.
    let Ok(Ok(handshake)) = timeout(HANDSHAKE_TIMEOUT, LazyConfigAcceptor::new(Acceptor::default(), client)).await
    else {
        return context.link.refused(Layer::Tls, "no_handshake", "");
    };
    let checked = check(handshake.client_hello().server_name()).and_then(|endpoint| {
        if context.scope.reaches(&endpoint) {
            Ok(endpoint)
        } else {
            Err(Refusal::NotGranted(endpoint.host.to_string()))
        }
    });
    let endpoint = match checked {
        Ok(endpoint) => endpoint,
        Err(refusal) => {
            let (code, detail) = refusal.reported().unwrap_or(("refused", String::new()));
            return context.link.refused(Layer::Tls, code, &detail);
        }
    };
    let Ok(config) = context.authority.server_config(&endpoint.host) else {
        return context.link.refused(Layer::Tls, "no_certificate", endpoint.host.as_str());
    };
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, handshake.into_stream(config)).await else {
        return context.link.refused(Layer::Tls, "no_handshake", endpoint.host.as_str());
    };
    Connection { context, client: Peer::new(stream), entry: Entry::Tls { endpoint, source }, server: None }
        .serve()
        .await;
}
