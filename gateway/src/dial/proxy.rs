//! The way out through a company's proxy: one `CONNECT` (RFC 9110 section 9.3.6) for each connection, and of the answer nothing
//! but whether it connects. What passes after it is TLS that the door ends with the server, so a proxy sees where to and how
//! much. Never knows what is said, and tells nobody what the proxy says.

use std::fmt;
use std::time::Duration;

use selvedge_domain::{Endpoint, HostPattern, Method};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ADDRESSES_MAX, CONNECT_TIMEOUT, DialError, RESOLVE_TIMEOUT, Resolve, address, parse_literal};
use crate::http::peer::{Peer, ReadError};
use crate::http::response::parse_response;
use crate::loan::basic_pair;

/// Longest head of a proxy's answer; what matters of it is its first line.
const ANSWER_HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long a proxy may take to connect: it looks a name up and dials in that time.
const PROXY_PATIENCE: Duration = Duration::from_secs(20);

/// Longest user name or password of a proxy.
const LOGIN_BYTES_MAX: usize = 255;

/// A proxy that everything leaves through. It is looked up and dialled as the operator named it, wherever that leads: the one
/// address besides those under `danger` that may be a private one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamProxy {
    /// Its host, a name or an address.
    pub host: HostPattern,
    /// Its port.
    pub port: u16,
    /// How it knows us, where it wants to.
    pub login: Option<ProxyLogin>,
}

/// What a proxy is shown, written for `Basic` (RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyLogin(String);

impl ProxyLogin {
    /// For this user and password; none where they cannot be told apart, or written.
    pub fn new(user: &str, password: &str) -> Option<Self> {
        let is_written = |text: &str| {
            (1..=LOGIN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        (is_written(user) && is_written(password) && !user.contains(':')).then(|| Self(basic_pair(user, password)))
    }

    /// Reads what [`Self::expose`] gave.
    pub(crate) fn parse(written: String) -> Option<Self> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        (!written.is_empty() && written.bytes().all(is_base64)).then_some(Self(written))
    }

    /// For the frame that carries it to the door, and the field that carries it on.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyLogin(..)")
    }
}

/// Has the proxy connect to `endpoint`; what comes back is as good as a connection to it, and as little trusted.
pub(super) async fn connect(
    proxy: &UpstreamProxy,
    endpoint: &Endpoint,
    resolver: &dyn Resolve,
) -> Result<Peer, DialError> {
    if leads_inwards(endpoint.host.as_str()) {
        return Err(DialError::NotGlobal);
    }
    let mut peer = Peer::new(dial(proxy, resolver).await?);
    peer.write(&asked(proxy, endpoint)).await.map_err(|_| DialError::ProxyUnreachable)?;
    let head = peer.read_head(ANSWER_HEAD_BYTES_MAX, PROXY_PATIENCE).await.map_err(|error| match error {
        ReadError::TimedOut => DialError::ProxySilent,
        ReadError::Ended | ReadError::Broken => DialError::ProxyUnreachable,
        ReadError::Head(_) => DialError::ProxyMalformed,
    })?;
    answered(&head)?;
    // A server that speaks TLS waits to be spoken to: what is there already is the proxy's own.
    if peer.has_sent_ahead() { Err(DialError::ProxyMalformed) } else { Ok(peer) }
}

/// Last labels that are no public name's: of the machine itself (RFC 6761), its neighbours (RFC 6762), or a network's own.
const INWARD_LABELS: [&str; 5] = ["internal", "local", "localdomain", "localdomain6", "localhost"];

/// Names of a home's own (RFC 8375).
const HOME: &str = "home.arpa";

/// A proxy resolves names itself, so what can be known without it is what the name says: an address, this very machine, or a
/// network's own name. What the operator named under `danger` never gets here.
fn leads_inwards(host: &str) -> bool {
    if let Some(literal) = parse_literal(host) {
        return !address::is_global(literal);
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // Without a dot, a resolver completes it with what its own network is called.
    let Some((_, last)) = host.rsplit_once('.') else { return true };
    let is_home = host.strip_suffix(HOME).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    is_number(last) || last.ends_with("localhost") || INWARD_LABELS.contains(&last) || is_home
}

/// Whether a resolver takes a name with this last label for an address in another spelling, as `inet_aton` does.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    label.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

async fn dial(proxy: &UpstreamProxy, resolver: &dyn Resolve) -> Result<TcpStream, DialError> {
    let host = proxy.host.as_str();
    let addresses = match parse_literal(host) {
        Some(address) => vec![address],
        None => {
            let resolved = timeout(RESOLVE_TIMEOUT, resolver.resolve(host)).await;
            resolved.ok().and_then(Result::ok).ok_or(DialError::ProxyUnreachable)?
        }
    };
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect((address, proxy.port))).await {
            // Requests are written whole; waiting for more only delays them.
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(DialError::ProxyUnreachable)
}

fn asked(proxy: &UpstreamProxy, endpoint: &Endpoint) -> Vec<u8> {
    let Endpoint { host, port } = endpoint;
    let login = proxy.login.as_ref().map(|login| format!("proxy-authorization: Basic {}\r\n", login.expose()));
    format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n{}\r\n", login.unwrap_or_default()).into_bytes()
}

/// Whether the proxy connects. An answer to `CONNECT` has no body, like one to `HEAD`, whatever its fields say.
fn answered(head: &[u8]) -> Result<(), DialError> {
    let response = parse_response(head, Method::Head).map_err(|_| DialError::ProxyMalformed)?;
    match response.status {
        ..300 => Ok(()),
        407 => Err(DialError::ProxyLogin),
        // It would, and cannot: the server's trouble, or the name's.
        502..=504 => Err(DialError::Unreachable),
        300.. => Err(DialError::ProxyRefused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_connects_or_says_why_not() {
        for (head, expected) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Ok(())),
            ("HTTP/1.0 200\r\nProxy-Agent: x\r\n\r\n", Ok(())),
            // Some proxies send a length with it; it means nothing here.
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(())),
            ("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\n", Err(DialError::ProxyLogin)),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Err(DialError::ProxyRefused)),
            ("HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\n\r\n", Err(DialError::ProxyRefused)),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Err(DialError::Unreachable)),
            ("HTTP/1.1 100 Continue\r\n\r\n", Err(DialError::ProxyMalformed)),
            ("HTTP/1.1 2000 OK\r\n\r\n", Err(DialError::ProxyMalformed)),
            ("HTTP/2 200\r\n\r\n", Err(DialError::ProxyMalformed)),
            ("SSH-2.0-OpenSSH\r\n\r\n", Err(DialError::ProxyMalformed)),
            ("HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n", Err(DialError::ProxyMalformed)),
        ] {
            assert_eq!(answered(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn a14_what_says_by_itself_that_it_leads_inwards_is_not_asked_for() {
        for host in ["127.0.0.1", "10.0.0.8", "169.254.169.254", "[::1]", "[fd00::1]", "localhost", "db.localhost"] {
            assert!(leads_inwards(host), "{host}");
        }
        for host in ["1.1.1.1", "registry.example", "localhost.example"] {
            assert!(!leads_inwards(host), "{host}");
        }
    }

    #[test]
    fn a14_other_spellings_of_an_address_and_names_of_a_network_s_own_are_not_asked_for() {
        let asked: Vec<_> = [
            "2130706433",
            "127.1",
            "0x7f000001",
            "0X7F.1",
            "1.2.3.0x",
            "0177.0.0.1",
            "1.1.1.256",
            "localhost.",
            "localhost6",
            "localhost.localdomain",
            "localhost6.localdomain6",
            "ip6-localhost",
            "ip6-loopback",
            "metadata",
            "metadata.google.internal",
            "vault.corp.internal",
            "printer.local",
            "router.home.arpa",
        ]
        .into_iter()
        .filter(|host| !leads_inwards(host))
        .collect();
        assert!(asked.is_empty(), "{asked:?}");
        for host in ["1.1.1.1", "internal.example", "local.example", "1.example", "0x.example", "x.0xyz", "a.x1"] {
            assert!(!leads_inwards(host), "{host}");
        }
    }

    #[test]
    fn a_login_is_written_whole_and_shown_to_nobody() {
        // `printf 'me:pass word' | base64`
        assert_eq!(ProxyLogin::new("me", "pass word").unwrap().expose(), "bWU6cGFzcyB3b3Jk");
        for (user, password) in [("a:b", "x"), ("", "x"), ("a", ""), ("a\r\nb", "x"), ("a", "x\nhost: evil")] {
            assert_eq!(ProxyLogin::new(user, password), None, "{user:?} {password:?}");
        }
        assert_eq!(format!("{:?}", ProxyLogin::new("me", "x").unwrap()), "ProxyLogin(..)");
        assert_eq!(ProxyLogin::parse("YQ==\r\nhost: evil".to_owned()), None);
    }
}
