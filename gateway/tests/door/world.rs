//! A run's door, started as a process of its own, with upstreams behind it and every way in before it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use selvedge_domain::{Endpoint, HostPattern, Method, Reach, RunId};
use selvedge_gateway::{
    Ask, Done, Door, GraphqlService, Hello, Judge, Lease, Limits, ListenerKind, Loan, Ready, Refused, RunAs,
    ServeError, UpstreamProxy, Verdict, danger,
};

use crate::upstream::{PublicAuthority, Upstream};

pub const DOOR_PROGRAM: &str = env!("CARGO_BIN_EXE_selvedge-door");
pub const HOST: &str = "registry.example";

/// Generous: nothing here is about speed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bounds the door of a [`World`] is told.
pub const LIMITS: Limits = Limits { request_body_bytes_max: 15 << 20, response_body_bytes_max: 8 << 20 };

/// A judge that allows all but paths beneath `/denied` and remembers what it heard.
#[derive(Default)]
pub struct Keeper {
    pub asked: Mutex<Vec<Ask>>,
    pub done: Mutex<Vec<Done>>,
    pub refused: Mutex<Vec<Refused>>,
}

impl Judge for Keeper {
    fn ask(&self, ask: &Ask) -> Verdict {
        self.asked.lock().unwrap().push(ask.clone());
        match ask.path.as_str() {
            path if path.starts_with("/denied") => {
                Verdict::Deny { code: "policy_denied".into(), next_step: "ask for something else".into() }
            }
            "/panic" => panic!("the judge fails"),
            "/slow" => {
                std::thread::sleep(Duration::from_secs(3600));
                Verdict::Allow
            }
            _ => Verdict::Allow,
        }
    }

    fn done(&self, done: Done) {
        self.done.lock().unwrap().push(done);
    }

    fn refused(&self, refused: Refused) {
        self.refused.lock().unwrap().push(refused);
    }
}

/// Everything around one door.
pub struct World {
    pub door: Arc<Door>,
    pub ready: Ready,
    pub keeper: Arc<Keeper>,
    pub tls: Upstream,
    pub clear: Upstream,
    pub other: Upstream,
    pub proxy: SocketAddr,
    pub captured_tls: SocketAddr,
    pub captured_clear: SocketAddr,
    pub dns: SocketAddr,
    pub serving: JoinHandle<Result<(), ServeError>>,
    files: tempfile::TempDir,
    /// The certificate that upstreams are verified by.
    pub public_pem: String,
}

impl World {
    pub fn start() -> Self {
        Self::start_as(Path::new(DOOR_PROGRAM), RunAs::Keeper)
    }

    pub fn start_as(program: &Path, run_as: RunAs) -> Self {
        Self::start_lending(program, run_as, Vec::new())
    }

    /// One whose door has these credentials.
    pub fn lending(loans: Vec<Loan>) -> Self {
        Self::start_lending(Path::new(DOOR_PROGRAM), RunAs::Keeper, loans)
    }

    /// One whose door leaves through a proxy, to what speaks TLS at least.
    pub fn through(proxy: UpstreamProxy) -> Self {
        Self::start_told(Path::new(DOOR_PROGRAM), RunAs::Keeper, |hello| {
            hello.proxy = Some(proxy);
            hello.dangers.retain(|danger| danger.transport == danger::Transport::Clear);
        })
    }

    /// One whose door knows that GraphQL is spoken there.
    pub fn speaking_graphql(services: Vec<GraphqlService>) -> Self {
        Self::start_told(Path::new(DOOR_PROGRAM), RunAs::Keeper, |hello| hello.graphql = services)
    }

    /// One whose door may send this much to [`HOST`].
    pub fn sending_at_most(bytes: u64, loans: Vec<Loan>) -> Self {
        Self::start_told(Path::new(DOOR_PROGRAM), RunAs::Keeper, |hello| {
            hello.budgets.insert(HostPattern::parse(HOST).unwrap(), bytes);
            hello.loans = loans;
        })
    }

    fn start_lending(program: &Path, run_as: RunAs, loans: Vec<Loan>) -> Self {
        Self::start_told(program, run_as, |hello| hello.loans = loans)
    }

    /// One whose door hears something before it has its listeners, as while its sandbox is being built.
    pub fn lending_then(loans: Vec<Loan>, then: impl FnOnce(&Door)) -> Self {
        Self::start_told_then(Path::new(DOOR_PROGRAM), RunAs::Keeper, |hello| hello.loans = loans, then)
    }

    fn start_told(program: &Path, run_as: RunAs, tell: impl FnOnce(&mut Hello)) -> Self {
        Self::start_told_then(program, run_as, tell, |_| {})
    }

    fn start_told_then(program: &Path, run_as: RunAs, tell: impl FnOnce(&mut Hello), then: impl FnOnce(&Door)) -> Self {
        let public = PublicAuthority::make();
        let [tls, clear, other] = [Upstream::tls(&public, HOST), Upstream::clear(), Upstream::clear()];
        let mut told = hello(&public, [&tls, &clear, &other]);
        tell(&mut told);
        let (door, ready) = Door::start(program, run_as, &told).unwrap();
        then(&door);
        let [proxy, captured_tls, captured_clear] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
        door.attach(&[
            (ListenerKind::Proxy, proxy.as_fd()),
            (ListenerKind::CapturedTls, captured_tls.as_fd()),
            (ListenerKind::CapturedClear, captured_clear.as_fd()),
            (ListenerKind::Dns, dns.as_fd()),
        ])
        .unwrap();
        let (door, keeper) = (Arc::new(door), Arc::new(Keeper::default()));
        let serving = std::thread::spawn({
            let (door, keeper) = (Arc::clone(&door), Arc::clone(&keeper));
            move || door.serve(&*keeper)
        });
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("ca.pem"), &ready.ca_pem).unwrap();
        Self {
            proxy: proxy.local_addr().unwrap(),
            captured_tls: captured_tls.local_addr().unwrap(),
            captured_clear: captured_clear.local_addr().unwrap(),
            dns: dns.local_addr().unwrap(),
            door,
            ready,
            keeper,
            tls,
            clear,
            other,
            serving,
            files,
            public_pem: public.pem,
        }
    }

    /// The certificate file that clients inside the sandbox have.
    pub fn ca_file(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    /// A directory that goes with the world.
    pub fn directory(&self) -> &Path {
        self.files.path()
    }

    /// Opens TLS on a stream to the door, trusting the run's authority only.
    pub fn tls_over(&self, stream: TcpStream, sni: &str) -> TlsClient {
        open_tls(stream, sni, &self.ready.ca_pem, &[])
    }

    /// Opens TLS on a stream to the door as a client that speaks these protocols only.
    pub fn tls_speaking(&self, stream: TcpStream, protocols: &[&str]) -> TlsClient {
        open_tls(stream, HOST, &self.ready.ca_pem, protocols)
    }

    /// Opens TLS on a stream to the upstream, past the door.
    pub fn tls_to_upstream(&self, stream: TcpStream) -> TlsClient {
        open_tls(stream, HOST, &self.public_pem, &[])
    }

    /// Opens a tunnel and TLS inside it.
    pub fn tunnel(&self, target: &str, sni: &str) -> TlsClient {
        tunnel(self.proxy, target, sni, &self.ready.ca_pem)
    }

    /// Waits until the door has told of a refusal with this code.
    pub fn wait_for_refused(&self, code: &str) -> Refused {
        wait_for(code, || self.keeper.refused.lock().unwrap().iter().find(|refused| refused.code == code).cloned())
    }

    /// Waits until this many deeds were told.
    pub fn wait_for_done(&self, count: usize) -> Vec<Done> {
        wait_for("deeds", || Some(self.keeper.done.lock().unwrap().clone()).filter(|done| done.len() >= count))
    }

    /// What any upstream has seen.
    pub fn upstream_heads(&self) -> Vec<String> {
        [self.tls.heads(), self.clear.heads()].concat()
    }

    /// Runs curl as a client without configuration or environment; gives the status and the body.
    pub fn curl(&self, arguments: &[&str]) -> (String, String) {
        let output = Command::new("curl")
            .env_clear()
            .args([
                "--disable",
                "--silent",
                "--max-time",
                "60",
                "--write-out",
                "\n%{http_connect} %{http_code}",
                "--cacert",
            ])
            .arg(self.ca_file())
            .args(arguments)
            .output()
            .expect("curl is needed for this test");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, codes) = text.rsplit_once('\n').unwrap();
        (codes.to_owned(), body.to_owned())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.door.close();
    }
}

pub fn hello(public: &PublicAuthority, [tls, clear, other]: [&Upstream; 3]) -> Hello {
    let endpoint = |host: &str, port| Endpoint { host: HostPattern::parse(host).unwrap(), port };
    let reach = |host, port, methods: &[Method], path: &str| Reach {
        endpoint: endpoint(host, port),
        methods: BTreeSet::from_iter(methods.iter().copied()),
        path_prefix: path.into(),
    };
    let upstream = |host, port, upstream: &Upstream, transport| danger::Upstream {
        endpoint: endpoint(host, port),
        address: upstream.address.ip(),
        port: upstream.address.port(),
        transport,
    };
    let some = &[Method::Get, Method::Head, Method::Post, Method::Put];
    Hello {
        run: RunId::from_entropy(7),
        reach: vec![
            reach(HOST, 443, some, "/"),
            reach(HOST, 80, some, "/"),
            reach("localhost", 443, some, "/"),
            reach("127.0.0.1", 443, some, "/"),
            reach("elsewhere.example", 443, some, "/only"),
            reach("elsewhere.example", 80, some, "/"),
        ],
        dangers: vec![
            upstream(HOST, 443, tls, danger::Transport::Tls),
            upstream(HOST, 80, clear, danger::Transport::Clear),
            upstream("elsewhere.example", 80, other, danger::Transport::Clear),
        ],
        roots_pem: public.pem.clone(),
        ca_common_name: "Selvedge run r-test".into(),
        life: Duration::from_secs(60),
        lease: Lease::new(b"a credential".to_vec()),
        loans: Vec::new(),
        git: None,
        tokens: None,
        asking: None,
        model: None,
        tools: None,
        graphql: Vec::new(),
        limits: LIMITS,
        budgets: [HOST, "localhost", "127.0.0.1", "elsewhere.example"]
            .map(|host| (HostPattern::parse(host).unwrap(), 64 << 20))
            .into(),
        proxy: None,
    }
}

/// A TLS client.
pub type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// Opens a tunnel through any proxy, and TLS inside it.
pub fn tunnel(proxy: SocketAddr, target: &str, sni: &str, roots_pem: &str) -> TlsClient {
    let mut stream = connect(proxy);
    let answer = exchange(&mut stream, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    open_tls(stream, sni, roots_pem, &[])
}

/// Opens TLS, trusting whoever these vouch for, as a client that speaks these protocols only.
pub fn open_tls(stream: TcpStream, sni: &str, roots_pem: &str, protocols: &[&str]) -> TlsClient {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(roots_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends bytes and reads one response with its announced body; what came if the connection ended first.
pub fn exchange(stream: &mut (impl Read + Write), request: &str) -> String {
    if stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).is_err() {
        return String::new();
    }
    let mut response = Vec::new();
    let mut byte = [0];
    while !response.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        response.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&response).into_owned();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let body = stream.read_exact(&mut body).map(|()| String::from_utf8_lossy(&body).into_owned());
    head + &body.unwrap_or_default()
}

pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
