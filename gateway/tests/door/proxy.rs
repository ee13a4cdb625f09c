//! Everything leaves through a company's proxy: asked as RFC 9110 says, believed in nothing but that it connects, and named when
//! it is the trouble.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_domain::{Endpoint, HostPattern, Method};
use selvedge_gateway::courier::{Errand, Failed, PATIENCE_MAX, carry};
use selvedge_gateway::{ProxyLogin, RunAs, UpstreamProxy};

use crate::upstream::{PublicAuthority, Upstream};
use crate::world::{DOOR_PROGRAM, HOST, World, connect, exchange, wait_for};

/// What a stand-in does with a connection once it has read what it was asked.
#[derive(Clone, Copy)]
enum Does {
    /// What a proxy does.
    Connects,
    /// Says this and closes.
    Says(&'static [u8]),
    /// Says this over and over.
    Floods(&'static [u8]),
    /// Says nothing.
    Waits,
    /// Connects, and says this before the server does.
    Smuggles(&'static [u8]),
}

/// A proxy that remembers what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// Where every name leads.
    leads_to: Arc<Mutex<Option<SocketAddr>>>,
}

impl Proxy {
    fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, leads_to) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let (kept, target) = (Arc::clone(&asked), Arc::clone(&leads_to));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, target) = (Arc::clone(&kept), Arc::clone(&target));
                std::thread::spawn(move || serve(stream, does, &kept, &target));
            }
        });
        Self { address, asked, leads_to }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, does: Does, asked: &Mutex<Vec<String>>, leads_to: &Mutex<Option<SocketAddr>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(client.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    match does {
        // A client that has heard enough is gone.
        Does::Says(bytes) => drop(client.write_all(bytes)),
        Does::Floods(bytes) => while client.write_all(bytes).is_ok() {},
        Does::Waits => std::thread::sleep(Duration::from_secs(3600)),
        Does::Connects | Does::Smuggles(_) => {
            let mut answer = established.to_vec();
            if let Does::Smuggles(bytes) = does {
                answer.extend_from_slice(bytes);
            }
            let target = leads_to.lock().unwrap().unwrap();
            let server = TcpStream::connect(target).unwrap();
            client.write_all(&answer).unwrap();
            splice(client, server);
        }
    }
}

fn splice(client: TcpStream, server: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        std::thread::spawn(move || {
            // Either side may close at any time.
            let _ended = std::io::copy(&mut from, &mut to);
            let _told = to.shutdown(std::net::Shutdown::Write);
        })
    };
    let back = copy(server.try_clone().unwrap(), client.try_clone().unwrap());
    copy(client, server).join().unwrap();
    back.join().unwrap();
}

fn named(address: SocketAddr) -> UpstreamProxy {
    let host = HostPattern::parse(&address.ip().to_string()).unwrap();
    UpstreamProxy { host, port: address.port(), login: ProxyLogin::new("door", "p4ssword-of-the-company") }
}

/// A door whose proxy is this one, which leads to the upstream that speaks TLS.
fn world(proxy: &Proxy) -> World {
    let world = World::through(named(proxy.address));
    *proxy.leads_to.lock().unwrap() = Some(world.tls.address);
    world
}

fn ask(world: &World, target: &str, host: &str) -> String {
    let mut tls = world.tunnel(target, host);
    exchange(&mut tls, &format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

#[test]
fn what_leaves_leaves_through_the_proxy_which_alone_knows_the_name() {
    let proxy = Proxy::start(Does::Connects);
    let world = world(&proxy);
    // Nobody resolves this name (RFC 6761); the door does not try.
    let answer = ask(&world, "registry.example:443", HOST);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    // `printf 'door:p4ssword-of-the-company' | base64`
    let login = "ZG9vcjpwNHNzd29yZC1vZi10aGUtY29tcGFueQ==";
    assert_eq!(
        proxy.asked(),
        [format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\nproxy-authorization: Basic {login}\r\n\r\n")]
    );
    // Neither the server nor the client hears of it.
    assert!(!world.tls.heads().concat().contains(login) && !answer.contains(login));
    // What the operator named by its address is dialled there.
    let answer = exchange(&mut connect(world.proxy), &format!("GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!((proxy.asked().len(), world.clear.heads().len()), (1, 1));
}

#[test]
fn a14_what_says_by_itself_that_it_leads_inwards_is_not_asked_of_a_proxy() {
    let proxy = Proxy::start(Does::Connects);
    let world = world(&proxy);
    for host in ["127.0.0.1", "localhost"] {
        let stream = connect(world.proxy);
        let mut stream = stream;
        let opened = exchange(&mut stream, &format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"));
        assert!(opened.starts_with("HTTP/1.1 200"), "{opened}");
        let mut tls = world.tls_over(stream, host);
        let answer = exchange(&mut tls, &format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(answer.contains("address_denied"), "{host}: {answer}");
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn a_proxy_that_is_the_trouble_is_named_and_believed_in_nothing() {
    let hello = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    for (does, code, is_told) in [
        (
            Does::Says(b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n"),
            "proxy_login",
            true,
        ),
        (Does::Says(b"HTTP/1.1 403 Filtered\r\ncontent-length: 5\r\n\r\nno no"), "proxy_refused", true),
        (Does::Says(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n\r\n"), "proxy_refused", true),
        (Does::Says(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n"), "server_unreachable", false),
        (Does::Says(b""), "proxy_unreachable", true),
        (Does::Says(b"HTTP/1.1 200 OK\r\n"), "proxy_unreachable", true),
        (Does::Says(b"HTTP/1.1 200 OK\nno: cr\n\n"), "proxy_malformed", true),
        (Does::Says(b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"), "proxy_malformed", true),
        (Does::Says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "proxy_malformed", true),
        (Does::Floods(b"x-more: and more\r\n"), "proxy_malformed", true),
        (Does::Floods(b"HTTP/1.1 200 OK no end of it "), "proxy_malformed", true),
        // Bytes right behind the answer would be the server's only if it spoke first.
        (Does::Smuggles(hello), "proxy_malformed", true),
        // One that answers in the server's place does not prove the server's name.
        (Does::Says(b"HTTP/1.1 200 OK\r\n\r\n"), "server_not_verified", false),
    ] {
        let proxy = Proxy::start(does);
        let world = world(&proxy);
        let answer = ask(&world, "registry.example:443", HOST);
        assert!(answer.contains(&format!("\"{code}\"")), "{code}: {answer}");
        assert!(!answer.contains("127.0.0.1") && !answer.contains("Filtered"), "{answer}");
        if is_told {
            let told = world.wait_for_refused(code);
            assert!(told.detail.contains("proxy"), "the operator is told: {told:?}");
        }
        assert_eq!(world.tls.heads(), Vec::<String>::new(), "{code}");
    }
}

#[test]
fn a_proxy_that_is_not_there_or_says_nothing_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::through(named(nobody));
    assert!(ask(&world, "registry.example:443", HOST).contains("\"proxy_unreachable\""));
    let mute = Proxy::start(Does::Waits);
    let world = self::world(&mute);
    assert!(ask(&world, "registry.example:443", HOST).contains("\"proxy_silent\""));
}

#[test]
fn a_courier_leaves_through_the_proxy_too() {
    let public = PublicAuthority::make();
    let upstream = Upstream::tls(&public, HOST);
    upstream.answer("/v1/login", b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"token\":\"t\"}".to_vec());
    let errand = |proxy: &Proxy| Errand {
        patience: PATIENCE_MAX,
        endpoint: Endpoint { host: HostPattern::parse(HOST).unwrap(), port: 443 },
        method: Method::Get,
        target: "/v1/login".to_owned(),
        fields: Vec::new(),
        body: None,
        reads: selvedge_gateway::courier::Reads::Json,
        wants: vec!["/token".to_owned()],
        counts: Vec::new(),
        dangers: Vec::new(),
        roots_pem: public.pem.clone(),
        proxy: Some(named(proxy.address)),
    };
    let proxy = Proxy::start(Does::Connects);
    *proxy.leads_to.lock().unwrap() = Some(upstream.address);
    let brought = carry(Path::new(DOOR_PROGRAM), RunAs::Keeper, &errand(&proxy)).unwrap();
    assert_eq!(brought.found["/token"], "t");
    assert!(proxy.asked()[0].starts_with(&format!("CONNECT {HOST}:443 HTTP/1.1\r\n")));
    // Without the proxy there is no way there.
    let alone = Errand { proxy: None, ..errand(&proxy) };
    assert!(matches!(carry(Path::new(DOOR_PROGRAM), RunAs::Keeper, &alone), Err(Failed::NotAsked(_))));
    let wary = Proxy::start(Does::Says(b"HTTP/1.1 407 Who are you\r\n\r\n"));
    match carry(Path::new(DOOR_PROGRAM), RunAs::Keeper, &errand(&wary)) {
        Err(Failed::NotAsked(why)) => assert!(why.contains("selvedge credentials store --proxy"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// `tinyproxy`, as it comes; it hands names on to a stand-in, since nobody resolves the ones tests use.
struct Tinyproxy {
    child: Child,
    address: SocketAddr,
    _files: tempfile::TempDir,
}

impl Tinyproxy {
    fn start(next: SocketAddr, more: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\nConnectPort 443\n\
             BasicAuth door p4ssword-of-the-company\nUpstream http {next}\n{more}\n",
            address.port(),
        );
        let path = files.path().join("tinyproxy.conf");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("this test needs `tinyproxy` (Debian: tinyproxy-bin)");
        wait_for("tinyproxy", || TcpStream::connect(address).ok());
        Self { child, address, _files: files }
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _gone = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn a_door_and_tinyproxy_understand_each_other() {
    let next = Proxy::start(Does::Connects);
    let tinyproxy = Tinyproxy::start(next.address, "");
    let world = World::through(named(tinyproxy.address));
    *next.leads_to.lock().unwrap() = Some(world.tls.address);
    for _ in 0..2 {
        let answer = ask(&world, "registry.example:443", HOST);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    }
    assert!(next.asked()[0].starts_with(&format!("CONNECT {HOST}:443 HTTP/1.")), "{:?}", next.asked());
    // It does not know everybody, and it refuses as it likes.
    let stranger = UpstreamProxy { login: ProxyLogin::new("door", "another-password"), ..named(tinyproxy.address) };
    let world = World::through(stranger);
    let answer = ask(&world, "registry.example:443", HOST);
    assert!(answer.contains("\"proxy_login\"") || answer.contains("\"proxy_refused\""), "{answer}");
    let nobody = UpstreamProxy { login: None, ..named(tinyproxy.address) };
    assert!(ask(&World::through(nobody), "registry.example:443", HOST).contains("\"proxy_login\""));
    assert_eq!(next.asked().len(), 2);
}
