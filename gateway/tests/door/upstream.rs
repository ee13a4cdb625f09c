//! A server on loopback that remembers every byte it was sent, in clear text or TLS.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A running server.
pub struct Upstream {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    files: Files,
    answers: Answers,
    connections: Arc<AtomicUsize>,
}

/// Whole answers, by path; and whether the connection closes after them.
type Answers = Arc<Mutex<BTreeMap<String, (Vec<u8>, bool)>>>;

/// What is served beside the prepared answers, by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A certificate authority for upstreams, as a public one would be.
pub struct PublicAuthority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub pem: String,
}

impl PublicAuthority {
    pub fn make() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // A name other than its servers have by default: some libraries take a certificate under its issuer's name for its own.
        params.distinguished_name.push(rcgen::DnType::CommonName, "a public authority");
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    fn config(&self, host: &str) -> Arc<ServerConfig> {
        let key = rcgen::KeyPair::generate().unwrap();
        // Also as `localhost`, which a proxy without our `danger` can find.
        let params = rcgen::CertificateParams::new([host.to_owned(), "localhost".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap())
    }
}

impl Upstream {
    pub fn clear() -> Self {
        Self::start(|stream| Box::new(stream))
    }

    pub fn tls(authority: &PublicAuthority, host: &str) -> Self {
        let config = authority.config(host);
        Self::start(move |stream| {
            Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream))
        })
    }

    fn start(wrap: impl Fn(TcpStream) -> Box<dyn ReadWrite> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, bodies) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (files, answers) = (Files::default(), Answers::default());
        let kept_answers = Arc::clone(&answers);
        let (kept_heads, kept_bodies, kept_files) = (Arc::clone(&heads), Arc::clone(&bodies), Arc::clone(&files));
        let (wrap, connections) = (Arc::new(wrap), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heads, bodies) = (Arc::clone(&kept_heads), Arc::clone(&kept_bodies));
                let (files, answers, wrap) = (Arc::clone(&kept_files), Arc::clone(&kept_answers), Arc::clone(&wrap));
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = stream.set_nodelay(true);
                std::thread::spawn(move || answer_all(wrap(stream), &heads, &bodies, &files, &answers));
            }
        });
        Self { address, heads, bodies, files, answers, connections }
    }

    /// Serves `content` at `path` from now on.
    pub fn serve(&self, path: &str, content: Vec<u8>) {
        self.files.lock().unwrap().insert(path.into(), content);
    }

    /// Answers `path` with exactly these bytes from now on.
    pub fn answer(&self, path: &str, answer: Vec<u8>) {
        self.answers.lock().unwrap().insert(path.into(), (answer, false));
    }

    /// The same, and then closes.
    pub fn answer_and_close(&self, path: &str, answer: Vec<u8>) {
        self.answers.lock().unwrap().insert(path.into(), (answer, true));
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Every request head received so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Every request body received so far.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }
}

pub trait ReadWrite: Read + Write {}
impl<S: Read + Write> ReadWrite for S {}

/// Reads naively on purpose: what a lenient server would make of the bytes is what the tests look at.
fn answer_all(
    mut stream: Box<dyn ReadWrite>,
    heads: &Mutex<Vec<String>>,
    bodies: &Mutex<Vec<Vec<u8>>>,
    files: &Files,
    answers: &Answers,
) {
    let mut buffer = Vec::new();
    while let Some(head) = read_until(&mut stream, &mut buffer, b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.starts_with("PUT /early ") {
            // Answers and closes without reading the body.
            let _ = stream
                .write_all(b"HTTP/1.1 409 Conflict\r\ncontent-length: 4\r\n\r\nfull")
                .and_then(|()| stream.flush());
            // Long enough for the answer to be on its way before the reset that closing on unread bytes causes.
            std::thread::sleep(std::time::Duration::from_millis(100));
            return;
        }
        let body = read_body(&mut stream, &mut buffer, &head.to_ascii_lowercase());
        heads.lock().unwrap().push(head.clone());
        bodies.lock().unwrap().push(body.unwrap_or_default());
        let path = head.split(' ').nth(1).unwrap_or_default();
        if let Some((answer, closes)) = answers.lock().unwrap().get(path).cloned() {
            if stream.write_all(&answer).and_then(|()| stream.flush()).is_err() || closes {
                return;
            }
            continue;
        }
        let file = files.lock().unwrap().get(path).cloned();
        let response = file.map_or_else(|| response(&head, path), |file| with("content-type: text/html\r\n", &file));
        if stream.write_all(&response).and_then(|()| stream.flush()).is_err() || path.ends_with("/close") {
            return;
        }
    }
}

fn response(head: &str, path: &str) -> Vec<u8> {
    let text = |text: &str| text.as_bytes().to_vec();
    match path {
        _ if is_head(head) => text("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        "/chunked" => text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        "/close" => text("HTTP/1.1 200 OK\r\n\r\nhello"),
        "/lent/redirect" => text("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
        "/lent/echo" => with(&format!("x-seen: {}\r\n", authorization(head)), head.as_bytes()),
        "/lent/echo-chunked" => [
            text("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            authorization(head).bytes().flat_map(|byte| [b"1\r\n", &[byte][..], b"\r\n"].concat()).collect(),
            text("0\r\n\r\n"),
        ]
        .concat(),
        "/silent" | "/lent/silent" => Vec::new(),
        "/lent/half" => text("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"),
        "/redirect" => text("HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n"),
        "/cookie" => with("set-cookie: a=b\r\nalt-svc: h3=\":443\"\r\n", b"hello"),
        "/big" => with("", &vec![b'x'; 3 << 20]),
        "/interim" => text("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"),
        "/two-lengths" => text("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        "/ahead" => {
            text("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        }
        _ => with("", b"hello"),
    }
}

fn authorization(head: &str) -> &str {
    head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default()
}

fn with(fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn is_head(head: &str) -> bool {
    head.starts_with("HEAD ")
}

fn read_until(stream: &mut impl Read, buffer: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|window| window == end) {
            return Some(buffer.drain(..at + end.len()).collect());
        }
        fill(stream, buffer)?;
    }
}

fn read_body(stream: &mut impl Read, buffer: &mut Vec<u8>, head: &str) -> Option<Vec<u8>> {
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("transfer-encoding:") == Some("chunked") {
        let mut body = Vec::new();
        loop {
            let line = read_until(stream, buffer, b"\r\n")?;
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
            let chunk = read_exactly(stream, buffer, size + 2)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Some(body);
            }
        }
    }
    read_exactly(stream, buffer, field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0))
}

fn read_exactly(stream: &mut impl Read, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        fill(stream, buffer)?;
    }
    Some(buffer.drain(..length).collect())
}

fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
    buffer.extend_from_slice(&chunk[..read]);
    Some(())
}
