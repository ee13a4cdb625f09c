//! Proxies of other people, each a process of its own that ends TLS on both sides and decides on every request, as the door does.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::World;

/// How often a proxy is asked whether it listens, and how long between.
const TRIES: usize = 200;
const BETWEEN: Duration = Duration::from_millis(100);

/// A running proxy; ended when dropped.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    /// The certificate its clients must trust.
    pub ca_pem: String,
    child: Child,
}

impl Peer {
    /// `mitmdump`, with an addon that allows what is asked for and streams.
    pub fn mitmproxy(world: &World) -> Option<Self> {
        let program = program("SELVEDGE_MITMDUMP", "mitmproxy")?;
        let (directory, roots) = files(world);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let addon = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/allow.py");
        let child = Command::new(program)
            .args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &port.to_string(), "--set"])
            .arg(format!("confdir={}", directory.display()))
            .arg("--set")
            .arg(format!("ssl_verify_upstream_trusted_ca={roots}"))
            .arg("--scripts")
            .arg(addon)
            .spawn()
            .expect("mitmdump starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        until_it_listens(address);
        let ca_pem = std::fs::read_to_string(directory.join("mitmproxy-ca-cert.pem")).unwrap();
        Some(Self { name: "mitmproxy", address, ca_pem, child })
    }

    /// `hudsucker`, in the crate `peers`.
    pub fn hudsucker(world: &World) -> Option<Self> {
        let program = program("SELVEDGE_PEER", "hudsucker")?;
        let (directory, roots) = files(world);
        let ca = directory.join("peer-ca.pem");
        let mut child =
            Command::new(program).arg(roots).arg(&ca).stdout(Stdio::piped()).spawn().expect("the peer starts");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.trim().parse().unwrap()));
        Some(Self { name: "hudsucker", address, ca_pem: std::fs::read_to_string(ca).unwrap(), child })
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A directory that goes with the world, and the file of certificates that upstreams are verified by.
fn files(world: &World) -> (&Path, String) {
    let roots = world.directory().join("public.pem");
    std::fs::write(&roots, &world.public_pem).unwrap();
    (world.directory(), roots.display().to_string())
}

fn program(variable: &str, name: &str) -> Option<std::ffi::OsString> {
    let program = std::env::var_os(variable);
    if program.is_none() {
        println!("{name} is not measured: {variable} does not name it");
    }
    program
}

fn until_it_listens(address: SocketAddr) {
    for _ in 0..TRIES {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(BETWEEN);
    }
    panic!("nobody listens at {address}");
}
