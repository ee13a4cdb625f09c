//! Upstreams the operator named although they are not on the open internet or not behind TLS. Whatever weakens a door is
//! in here and nowhere else.

use std::net::IpAddr;

use selvedge_domain::Endpoint;

/// Where requests for an endpoint really go. It is dialled as written; the name is not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The host and port as a client names them.
    pub endpoint: Endpoint,
    /// The address that is dialled.
    pub address: IpAddr,
    /// The port that is dialled.
    pub port: u16,
    /// How the door speaks to it.
    pub transport: Transport,
}

/// How a door speaks to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS, verified as any other.
    Tls,
    /// Clear text. What passes can be read and changed on the way.
    Clear,
}
