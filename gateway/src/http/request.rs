//! Reads a request head into the one request that is judged and forwarded, and writes it again. Owns what a request may
//! look like; never knows whether it is allowed.

use selvedge_domain::{Endpoint, Method};

use super::authority::{Authority, BadAuthority};
use super::body::Framing;
use super::credentials::{is_credential_field, is_credential_parameter};
use super::fields::{BadHead, Field, Fields, ValueBytes, is_hop_by_hop, is_token_byte, split_head};
use super::path::{BadTarget, CanonicalPath, Query};

/// Longest request head: a long target, and fields as large clients send them.
pub const REQUEST_HEAD_BYTES_MAX: usize = 24 * 1024;

/// Why a head is not a request that a door forwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Lines or fields.
    #[error(transparent)]
    Head(#[from] BadHead),
    /// Path or query.
    #[error(transparent)]
    Target(#[from] BadTarget),
    /// The target's authority or `Host`.
    #[error(transparent)]
    Authority(#[from] BadAuthority),
    /// A method no rule can name: `TRACE`, an extension, lower case.
    #[error("the method is not one a rule can name")]
    Method,
    /// A body where none belongs. Some servers do not look for one there, and would read it as a request that nobody
    /// judged.
    #[error("the method does not take a body")]
    UnexpectedBody,
    /// `Host` and the target name different places.
    #[error("the target and `host` name different places")]
    HostMismatch,
    /// Not `http` in an absolute target; `https` goes through `CONNECT`.
    #[error("the scheme is not `http`")]
    Scheme,
    /// An `Upgrade`, to WebSocket or HTTP/2, after which nothing could be judged.
    #[error("the request asks for another protocol")]
    Upgrade,
    /// An expectation other than `100-continue`.
    #[error("the expectation is not known")]
    Expectation,
    /// A field that tells the server to see another method, host or path than was judged.
    #[error("the field `{0}` would change what was judged")]
    Override(String),
    /// A credential in the query.
    #[error("the query carries a credential in `{0}`")]
    CredentialInQuery(String),
    /// DNS over HTTPS.
    #[error("the request asks for names over HTTPS")]
    DnsOverHttps,
}

/// A request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens a tunnel.
    Connect(Endpoint),
    /// Asks for something.
    Exchange(Box<Exchange>),
}

/// A request for something, in canonical form. What is not in here is not forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// How.
    pub method: Method,
    /// How the target was written.
    pub form: Form,
    /// Where, as `Host` says.
    pub host: Authority,
    /// What.
    pub path: CanonicalPath,
    /// And which.
    pub query: Option<Query>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// Whether the client closes after this.
    pub closes: bool,
    /// The fields that carried credentials, and go no further.
    pub stripped: Vec<Field>,
    fields: Fields,
}

/// The two ways to write a target (RFC 9112 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/path`, to a server.
    Origin,
    /// `http://host/path`, to a proxy.
    Absolute,
}

/// Reads a complete head.
pub fn parse_request(head: &[u8]) -> Result<Request, BadRequest> {
    let (line, fields) = split_head(head, ValueBytes::Ascii)?;
    let (method, target, version) = split_request_line(line)?;
    let host = fields.at_most_one("host")?.map(parse_host).transpose()?;
    if method == "CONNECT" {
        return parse_connect(target, version, host.as_ref(), &fields);
    }
    if version == Version::Http10 {
        return Err(BadHead::FirstLine.into());
    }
    let host = host.ok_or(BadHead::Count("host"))?;
    let method = Method::parse(method).ok_or(BadRequest::Method)?;
    let (form, path_and_query) = split_target(target, &host)?;
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(Query::parse(query)?)),
        None => (path_and_query, None),
    };
    Exchange::read(method, form, host, CanonicalPath::parse(path)?, query, fields).map(Box::new).map(Request::Exchange)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn split_request_line(line: &[u8]) -> Result<(&str, &str, Version), BadHead> {
    let line = std::str::from_utf8(line).map_err(|_| BadHead::FirstLine)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadHead::FirstLine);
    };
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => return Err(BadHead::FirstLine),
    };
    let is_plain = !target.is_empty() && !method.is_empty() && method.bytes().all(is_token_byte);
    if is_plain { Ok((method, target, version)) } else { Err(BadHead::FirstLine) }
}

fn parse_host(value: &[u8]) -> Result<Authority, BadAuthority> {
    Authority::parse(std::str::from_utf8(value).map_err(|_| BadAuthority::Host)?)
}

/// Python before 3.12 opens tunnels in HTTP/1.0 and without `Host`. The target alone says where, and what goes through the
/// tunnel is read as strictly as ever.
fn parse_connect(
    target: &str,
    version: Version,
    host: Option<&Authority>,
    fields: &Fields,
) -> Result<Request, BadRequest> {
    let endpoint = Authority::parse(target)?.endpoint_with_port().ok_or(BadAuthority::Port)?;
    match host {
        Some(host) if host.endpoint(endpoint.port) != endpoint => return Err(BadRequest::HostMismatch),
        None if version == Version::Http11 => return Err(BadHead::Count("host").into()),
        Some(_) | None => {}
    }
    if fields.framing()?.is_some_and(|framing| framing != Framing::Length(0)) {
        return Err(BadHead::Value("content-length").into());
    }
    Ok(Request::Connect(endpoint))
}

/// Takes `http://host` off an absolute target, having compared it with `Host`.
fn split_target<'a>(target: &'a str, host: &Authority) -> Result<(Form, &'a str), BadRequest> {
    if target.starts_with('/') {
        return Ok((Form::Origin, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(BadTarget::NotAbsolute)?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(BadRequest::Scheme);
    }
    let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(authority_bytes).ok_or(BadTarget::NotAbsolute)?;
    if Authority::parse(authority)?.endpoint(HTTP_PORT) != host.endpoint(HTTP_PORT) {
        return Err(BadRequest::HostMismatch);
    }
    Ok((Form::Absolute, if path.is_empty() { "/" } else { path }))
}

/// What `http` implies.
pub const HTTP_PORT: u16 = 80;

impl Exchange {
    fn read(
        method: Method,
        form: Form,
        host: Authority,
        path: CanonicalPath,
        query: Option<Query>,
        mut fields: Fields,
    ) -> Result<Self, BadRequest> {
        refuse_meanings(&fields, query.as_ref())?;
        let framing = match fields.framing()? {
            None => Framing::Empty,
            Some(Framing::Length(0)) if is_safe(method) => Framing::Empty,
            Some(_) if is_safe(method) => return Err(BadRequest::UnexpectedBody),
            Some(framing) => framing,
        };
        let closes = fields.closes()?;
        let expects_continue = match fields.at_most_one("expect")? {
            None => false,
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => true,
            Some(_) => return Err(BadRequest::Expectation),
        };
        let mut stripped = Vec::new();
        fields.retain(|field| {
            let is_credential = is_credential_field(&field.name);
            if is_credential {
                stripped.push(field.clone());
            }
            !is_credential && !is_hop_by_hop(&field.name) && field.name != "host" && field.name != "expect"
        });
        Ok(Self { method, form, host, path, query, framing, expects_continue, closes, stripped, fields })
    }

    /// Whether sending this twice is sending it once.
    pub fn may_be_repeated(&self) -> bool {
        is_safe(self.method)
    }

    /// How many bytes the query has.
    pub fn query_bytes(&self) -> usize {
        self.query.as_ref().map_or(0, |query| query.as_str().len())
    }

    /// The fields that are forwarded.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    /// Puts a credential in. The client's own field of that name goes, and what would have the server answer in a coding
    /// that hides what is in the answer, or in parts that each hold too little of it to be found. A server that is
    /// asked for no part sends the whole, which every client of ranges has to take (RFC 9110 section 14.2).
    pub fn carry(&mut self, name: &str, value: &[u8]) {
        let hides = |field: &str| matches!(field, "accept-encoding" | "range" | "if-range");
        self.fields.retain(|field| !hides(&field.name));
        self.set(name, value);
    }

    /// Has a field say this, in place of whatever it said.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.fields.push(Field { name: name.to_owned(), value: value.to_vec() });
    }

    /// Takes every field off but these.
    pub(crate) fn keep_only(&mut self, names: &[&str]) {
        self.fields.retain(|field| names.contains(&field.name.as_str()));
    }

    /// Takes a field off.
    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.retain(|field| field.name != name);
    }

    /// The value of `host` for the server at `endpoint`, whose scheme implies `port_default`.
    pub(crate) fn host_field(endpoint: &Endpoint, port_default: u16) -> String {
        let port = if endpoint.port == port_default { String::new() } else { format!(":{}", endpoint.port) };
        format!("{}{port}", endpoint.host)
    }

    /// Writes the head for the server at `endpoint`, whose scheme implies `port_default`.
    pub fn write_head(&self, endpoint: &Endpoint, port_default: u16, out: &mut Vec<u8>) {
        let query = self.query.as_ref().map_or(String::new(), |query| format!("?{}", query.as_str()));
        let host = Self::host_field(endpoint, port_default);
        let (method, path) = (self.method.as_str(), self.path.as_str());
        out.extend_from_slice(format!("{method} {path}{query} HTTP/1.1\r\nhost: {host}\r\n").as_bytes());
        self.fields.write(out);
        write_framing(self.framing, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether the method only reads (RFC 9110 section 9.2.1).
fn is_safe(method: Method) -> bool {
    match method {
        Method::Get | Method::Head | Method::Options => true,
        Method::Post | Method::Put | Method::Patch | Method::Delete => false,
    }
}

/// Writes the field that states a framing.
pub(super) fn write_framing(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Empty | Framing::UntilClose => {}
        Framing::Length(length) => out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes()),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

/// Refuses what would make the server do something other than what was judged.
fn refuse_meanings(fields: &Fields, query: Option<&Query>) -> Result<(), BadRequest> {
    for field in fields.iter() {
        match field.name.as_str() {
            "upgrade" | "http2-settings" => return Err(BadRequest::Upgrade),
            name if is_override(name) => return Err(BadRequest::Override(name.to_owned())),
            "accept" | "content-type" if mentions_dns(&field.value) => return Err(BadRequest::DnsOverHttps),
            _ => {}
        }
    }
    match query.and_then(|query| query.parameter_names().find(|name| is_credential_parameter(name))) {
        Some(name) => Err(BadRequest::CredentialInQuery(name)),
        None => Ok(()),
    }
}

fn is_override(name: &str) -> bool {
    name.starts_with("x-forwarded")
        || matches!(
            name,
            "forwarded"
                | "x-http-method"
                | "x-http-method-override"
                | "x-method-override"
                | "x-original-url"
                | "x-original-uri"
                | "x-original-host"
                | "x-rewrite-url"
                | "x-host"
                | "x-real-ip"
        )
}

fn mentions_dns(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    value.contains("application/dns-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(head: &str) -> Result<Request, BadRequest> {
        parse_request(head.as_bytes())
    }

    fn exchange(head: &str) -> Exchange {
        match parse(head).unwrap() {
            Request::Exchange(exchange) => *exchange,
            Request::Connect(endpoint) => panic!("a tunnel to {endpoint:?}"),
        }
    }

    #[test]
    fn what_is_judged_is_what_is_forwarded() {
        let request = exchange(concat!(
            "POST http://Registry.Example/%63rates?q=%2f HTTP/1.1\r\nHost: registry.example:80\r\nAccept: */*\r\n",
            "Connection: keep-alive, TE\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n",
            "Authorization: Bearer stolen\r\nCookie: a=b\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
        ));
        assert_eq!((request.form, request.expects_continue, request.closes), (Form::Absolute, true, false));
        let stripped: Vec<&str> = request.stripped.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(stripped, ["authorization", "cookie"], "A-57");
        let mut head = Vec::new();
        request.write_head(&request.host.endpoint(80), 80, &mut head);
        let expected =
            "POST /crates?q=%2F HTTP/1.1\r\nhost: registry.example\r\naccept: */*\r\ncontent-length: 4\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), expected);
    }

    #[test]
    fn a_tunnel_names_one_place() {
        let connect = parse("CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example\r\n\r\n").unwrap();
        assert!(matches!(&connect, Request::Connect(endpoint) if endpoint.port == 443));
        assert_eq!(
            parse("CONNECT registry.example:443 HTTP/1.0\r\n\r\n"),
            Ok(connect),
            "as Python before 3.12 writes it"
        );
        assert!(parse("CONNECT registry.example:443 HTTP/1.1\r\n\r\n").is_err());
        assert!(parse("CONNECT registry.example:443 HTTP/1.0\r\nHost: evil.example\r\n\r\n").is_err());
        for (target, host) in [
            ("registry.example", "registry.example"),
            ("registry.example:443", "evil.example:443"),
            ("registry.example:443", "registry.example:80"),
            ("http://registry.example:443", "registry.example:443"),
            ("registry.example:443/x", "registry.example:443"),
            ("a@registry.example:443", "registry.example:443"),
        ] {
            let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert!(parse(&head).is_err(), "{head:?}");
        }
    }

    #[test]
    fn a42_first_lines_with_two_readings_are_refused() {
        for line in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / HTTP/1.0",
            "GET / HTTP/2.0",
            "GET / http/1.1",
            "GET /",
            "GET\t/ HTTP/1.1",
            "GET / a HTTP/1.1",
            "get / HTTP/1.1",
            "TRACE / HTTP/1.1",
            "PROPFIND / HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET registry.example/ HTTP/1.1",
            "GET https://registry.example/ HTTP/1.1",
            "GET ftp://registry.example/ HTTP/1.1",
            "GET http:///x HTTP/1.1",
            "GET http://evil.example/ HTTP/1.1",
            "GET http://u@registry.example/ HTTP/1.1",
            "GET //registry.example/ HTTP/1.1",
            "PRI * HTTP/2.0",
            "",
        ] {
            assert!(parse(&format!("{line}\r\nHost: registry.example\r\n\r\n")).is_err(), "{line:?}");
        }
    }

    #[test]
    fn fields_that_change_the_judged_request_are_refused() {
        use BadRequest::*;
        for (lines, why) in [
            ("", Head(BadHead::Count("host"))),
            ("Host: a\r\nHost: a\r\n", Head(BadHead::Count("host"))),
            ("Host: a, b\r\n", Authority(BadAuthority::Host)),
            ("Host:\r\n", Authority(BadAuthority::Length)),
            ("Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", Upgrade),
            ("Host: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n", Upgrade),
            ("Host: a\r\nConnection: host\r\n", Head(BadHead::Value("connection"))),
            ("Host: a\r\nConnection: close, x-checked\r\n", Head(BadHead::Value("connection"))),
            ("Host: a\r\nX-HTTP-Method-Override: DELETE\r\n", Override("x-http-method-override".into())),
            ("Host: a\r\nX-Original-URL: /admin\r\n", Override("x-original-url".into())),
            ("Host: a\r\nX-Forwarded-Host: b\r\n", Override("x-forwarded-host".into())),
            ("Host: a\r\nAccept: application/dns-message\r\n", DnsOverHttps),
            ("Host: a\r\nContent-Type: Application/DNS-Message\r\n", DnsOverHttps),
            ("Host: a\r\nExpect: 200-ok\r\n", Expectation),
        ] {
            assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).unwrap_err(), why, "{lines:?}");
        }
        for framing in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
            let hidden = format!("GET / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            assert_eq!(parse(&hidden).unwrap_err(), UnexpectedBody, "A-42");
        }
        assert_eq!(exchange("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").framing, Framing::Empty);
        let presigned = "GET /?X-Amz-%53ignature=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(parse(presigned).unwrap_err(), CredentialInQuery("x-amz-signature".into()), "A-20");
    }

    /// Damages a plain request in a few places.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let plain = "POST http://a.b/x?y HTTP/1.1\r\nHost: a.b\r\nContent-Length: 3\r\nAccept: */*\r\n\r\n";
        let bytes = prop::sample::select(b" \t\r\n:,;%/.\\@\0\x0b\x7f\x80-_aH01".to_vec());
        prop::collection::vec((0..plain.len() - 4, bytes, any::<bool>()), 1..4).prop_map(move |damages| {
            let mut request = plain.as_bytes().to_vec();
            for (at, byte, inserts) in damages {
                request.splice(at..at + usize::from(!inserts), [byte]);
            }
            request
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn a42_another_parser_reads_the_same_request(bytes in damaged()) {
            let Ok(Request::Exchange(request)) = parse_request(&bytes) else { return Ok(()) };
            let mut written = Vec::new();
            request.write_head(&request.host.endpoint(80), 80, &mut written);
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut other = httparse::Request::new(&mut fields);
            prop_assert_eq!(other.parse(&written), Ok(httparse::Status::Complete(written.len())));
            prop_assert_eq!(other.method, Some(request.method.as_str()));
            prop_assert_eq!(other.path.and_then(|path| path.split('?').next()), Some(request.path.as_str()));
            let count = |name: &str| other.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
            prop_assert_eq!(count("host"), 1);
            prop_assert_eq!(count("content-length") + count("transfer-encoding"), usize::from(request.framing != Framing::Empty));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_request(&bytes);
        }

        #[test]
        fn a_written_request_reads_back(path in "/[a-z%0-9/]{0,20}", host in "[a-z]{1,9}", length in 0u64..9, field in "[a-z]{1,8}") {
            let head = format!("PUT {path} HTTP/1.1\r\nHost: {host}\r\n{field}: x\r\nContent-Length: {length}\r\n\r\n");
            if let Ok(Request::Exchange(request)) = parse(&head) {
                let mut written = Vec::new();
                request.write_head(&request.host.endpoint(443), 443, &mut written);
                let mut expected = *request;
                expected.stripped.clear();
                prop_assert_eq!(exchange(&String::from_utf8(written).unwrap()), expected);
            }
        }
    }
}
