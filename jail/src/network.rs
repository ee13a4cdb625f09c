//! Owns the ways out: sockets made inside the sandbox's network namespace and handed to the keeper, who accepts on them.
//! A socket belongs to the namespace it was made in, so the namespace needs no interface but its loopback.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::error::{Named, Step};
use crate::sys;

/// The doors in the order their descriptors are handed out: the HTTP proxy, DNS, what is caught of TLS and plain HTTP by
/// clients that know no proxy, and the Workload API.
pub const DOORS: [(&str, u16); 5] =
    [("http", HTTP_PORT), ("dns", 53), ("tls", 443), ("plain", 80), ("identity", IDENTITY_PORT)];

/// Where clients find the HTTP proxy, on 127.0.0.1.
pub const HTTP_PORT: u16 = 3128;

/// Where clients find the Workload API, on 127.0.0.1, in a run that may have an identity for others.
pub const IDENTITY_PORT: u16 = 3129;

/// Turns the loopback on. Without it, a program could not even talk to its own test server.
pub(crate) fn loopback() -> Step<()> {
    sys::loopback_up().step("turn the loopback on")
}

/// Makes the listeners. Ports below 1024 are free here: the launcher's first process still rules its own namespace.
pub(crate) fn listen() -> Step<Vec<OwnedFd>> {
    let tcp = |address: Ipv4Addr, port: u16| {
        TcpListener::bind((address, port)).step_on("listen on tcp", port).map(OwnedFd::from)
    };
    let dns = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).step_on("listen on udp", 53)?;
    Ok(vec![
        tcp(Ipv4Addr::LOCALHOST, HTTP_PORT)?,
        dns.into(),
        // Every name resolves to some address of 127.1.0.0/16, so these two must hear all of them.
        tcp(Ipv4Addr::UNSPECIFIED, 443)?,
        tcp(Ipv4Addr::UNSPECIFIED, 80)?,
        tcp(Ipv4Addr::LOCALHOST, IDENTITY_PORT)?,
    ])
}
