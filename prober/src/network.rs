//! Attacks on the network: talking to anyone but the doors.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use crate::arena::ABSTRACT_SOCKET;
use crate::outcome::{Outcome, Spelling};
use crate::{Attack, Control, Family, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-9", "make a socket below TCP and UDP", raw_sockets),
    attack("S-9b", "make a socket of a family no program needs", odd_families),
    attack("S-9c", "make a socket of a protocol no program needs", odd_protocols),
    attack("S-10", "connect to an abstract socket of the host", abstract_socket),
    attack("S-32", "hand a descriptor to a process of the host", hand_over),
    attack("S-24", "reach an address outside, by UDP", outside_udp),
    attack("S-24b", "reach an address outside, by TCP", outside_tcp),
    Attack {
        control: Control::None("these sockets are the host's own; on a host without them nothing can be connected to"),
        ..attack("A-29", "connect to a socket of the host's services", service_sockets)
    },
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Network, control: Control::Arena, act }
}

fn raw_sockets() -> Outcome {
    Outcome::of([
        Spelling::new("raw icmp", raw::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
        Spelling::new("raw tcp", raw::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP)),
        Spelling::new("raw ipv6", raw::socket(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)),
        Spelling::new("packet", raw::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
        Spelling::new("packet datagram", raw::socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0)),
        Spelling::new("ping", raw::socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP)),
    ])
}

fn odd_families() -> Outcome {
    let families = [
        ("vsock", libc::AF_VSOCK),
        ("alg", libc::AF_ALG),
        ("xdp", libc::AF_XDP),
        ("bluetooth", libc::AF_BLUETOOTH),
        ("key", libc::AF_KEY),
        ("tipc", libc::AF_TIPC),
        ("can", libc::AF_CAN),
        ("rds", libc::AF_RDS),
    ];
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET];
    Outcome::of(
        families
            .into_iter()
            .flat_map(|(name, family)| kinds.map(|kind| Spelling::new(name, raw::socket(family, kind, 0)))),
    )
}

fn odd_protocols() -> Outcome {
    const MPTCP: i32 = 262;
    Outcome::of([
        Spelling::new("sctp", raw::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP)),
        Spelling::new("udplite", raw::socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE)),
        Spelling::new("mptcp", raw::socket(libc::AF_INET, libc::SOCK_STREAM, MPTCP)),
        Spelling::new("netlink audit", raw::socket(libc::AF_NETLINK, libc::SOCK_RAW, 9)),
        Spelling::new("netlink netfilter", raw::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER)),
        Spelling::new("netlink events", raw::socket(libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_KOBJECT_UEVENT)),
    ])
}

fn abstract_socket() -> Outcome {
    let name = || std::os::unix::net::SocketAddr::from_abstract_name(ABSTRACT_SOCKET);
    Outcome::of([
        Spelling::new("stream", name().and_then(|name| UnixStream::connect_addr(&name))),
        Spelling::new("datagram", name().and_then(|name| UnixDatagram::unbound()?.send_to_addr(b"x", &name))),
    ])
}

fn hand_over() -> Outcome {
    let hand = |directory: &str| {
        let name = std::os::unix::net::SocketAddr::from_abstract_name(ABSTRACT_SOCKET)?;
        let socket = UnixStream::connect_addr(&name)?;
        raw::send_descriptor(&socket, &std::fs::File::open(directory)?)
    };
    // Or to whoever holds the other end of a stream that was left here.
    let left = |number: u8| raw::send_descriptor(&std::os::fd::RawFd::from(number), &0);
    Outcome::of([
        Spelling::new("a directory", hand("/")),
        Spelling::new("a file", hand("/proc/self/status")),
        Spelling::new("along standard input", left(0)),
        Spelling::new("along standard output", left(1)),
        Spelling::new("along standard error", left(2)),
    ])
}

/// Cloud metadata in every spelling, private networks, and the world.
const OUTSIDE: [&str; 10] = [
    "169.254.169.254:80",
    "[fd00:ec2::254]:80",
    "[::ffff:169.254.169.254]:80",
    "10.0.0.1:443",
    "172.16.0.1:443",
    "192.168.0.1:443",
    "100.64.0.1:443",
    "8.8.8.8:53",
    "[2001:4860:4860::8888]:53",
    "[fe80::1]:80",
];

fn outside_udp() -> Outcome {
    Outcome::of(OUTSIDE.map(|to| Spelling::new(to, udp(to))))
}

/// The kernel looks for a route when a UDP socket is connected; nothing need answer.
fn udp(to: &str) -> io::Result<()> {
    let to: SocketAddr = to.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    socket.send(b"x").map(drop)
}

fn outside_tcp() -> Outcome {
    Outcome::of(OUTSIDE.map(|to| {
        let address: Result<SocketAddr, _> = to.parse();
        let connected = match address {
            Ok(address) => TcpStream::connect_timeout(&address, Duration::from_millis(300)),
            Err(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        match connected {
            // Somebody answered, if only to refuse: there is a way.
            Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => Spelling::new(to, Ok(())),
            connected => Spelling::new(to, connected),
        }
    }))
}

fn service_sockets() -> Outcome {
    let paths = [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/podman/podman.sock",
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/run/systemd/notify",
        "/run/user/1000/bus",
        "/run/snapd.socket",
        "/run/user/1000/gnupg/S.gpg-agent",
        "/tmp/.X11-unix/X0",
        "/run/user/1000/wayland-0",
        "/dev/log",
        "/run/systemd/journal/socket",
    ];
    Outcome::of(paths.map(|path| Spelling::new(path, UnixStream::connect(path))))
}
