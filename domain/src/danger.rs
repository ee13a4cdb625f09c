//! What the operator named although it weakens a door, in words that policy and people read. Owns the words; never what a door
//! does about it.

use std::fmt;
use std::net::SocketAddr;

/// Where requests to a host go because the operator named it under `danger`, although it need not be on the open internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamedUpstream {
    /// To this address, over TLS that is verified as any other.
    Tls(SocketAddr),
    /// To this address, in clear text.
    Plain(SocketAddr),
}

impl fmt::Display for NamedUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(address) => write!(f, "{address}"),
            Self::Plain(address) => write!(f, "plain {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_is_said_and_no_two_are_written_alike() {
        let address: SocketAddr = "10.0.0.8:8443".parse().unwrap();
        assert_eq!(NamedUpstream::Tls(address).to_string(), "10.0.0.8:8443");
        assert_eq!(NamedUpstream::Plain("[::1]:80".parse().unwrap()).to_string(), "plain [::1]:80");
    }
}
