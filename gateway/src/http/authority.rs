//! Reads `host[:port]` as clients write it. Owns the refusal of every spelling that two readers could understand
//! differently; never knows which hosts are granted.

use selvedge_domain::{Endpoint, HostPattern};

/// Longest authority: a 253-byte name, a colon and five digits.
const AUTHORITY_BYTES_MAX: usize = 259;

/// Why text is not an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthority {
    /// Empty, or longer than any name.
    #[error("the authority is empty or too long")]
    Length,
    /// Credentials before an `@` (RFC 3986 section 3.2.1).
    #[error("the authority carries user information")]
    UserInformation,
    /// Not a DNS name, IPv4 or bracketed IPv6 literal.
    #[error("the host is not a name or an address")]
    Host,
    /// `2130706433`, `0x7f.1`, `127.1`: an address to some readers, a name to others (S-24).
    #[error("the host is an address in an ambiguous form")]
    AmbiguousAddress,
    /// Not a plain decimal number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

/// A host and, if it was written, a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: HostPattern,
    port: Option<u16>,
}

impl Authority {
    /// Reads an authority; the host becomes lower case.
    pub fn parse(text: &str) -> Result<Self, BadAuthority> {
        if text.is_empty() || text.len() > AUTHORITY_BYTES_MAX {
            return Err(BadAuthority::Length);
        }
        if text.contains('@') {
            return Err(BadAuthority::UserInformation);
        }
        let (host, port) = split_port(text)?;
        let host = HostPattern::parse(host).ok_or(BadAuthority::Host)?;
        if is_ambiguous_address(host.as_str()) {
            return Err(BadAuthority::AmbiguousAddress);
        }
        Ok(Self { host, port })
    }

    /// The endpoint meant, given the port the scheme implies.
    pub fn endpoint(&self, port_default: u16) -> Endpoint {
        Endpoint { host: self.host.clone(), port: self.port.unwrap_or(port_default) }
    }

    /// The endpoint meant, if the port was written.
    pub fn endpoint_with_port(&self) -> Option<Endpoint> {
        self.port.map(|port| Endpoint { host: self.host.clone(), port })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), BadAuthority> {
    let (host, port) = if text.starts_with('[') {
        let (inside, after) = text.split_once(']').ok_or(BadAuthority::Host)?;
        let host = text.get(..=inside.len()).ok_or(BadAuthority::Host)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(BadAuthority::Port),
        }
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, BadAuthority> {
    // `parse` would also take `+443`, and `0443` is octal to some.
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadAuthority::Port);
    }
    text.parse().map_err(|_| BadAuthority::Port)
}

/// Whether `inet_aton` and friends would read this as an address although it is not plain dotted decimal. The URL
/// standard's rule: a host whose last label is a number is an address.
fn is_ambiguous_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    is_number && host.parse::<std::net::Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_forms_are_read() {
        for (text, host, port) in [
            ("Registry.Example", "registry.example", 443),
            ("registry.example:8443", "registry.example", 8443),
            ("192.0.2.7:80", "192.0.2.7", 80),
            ("[2001:db8::1]", "[2001:db8::1]", 443),
            ("[2001:db8::1]:8080", "[2001:db8::1]", 8080),
            ("0x7f.example", "0x7f.example", 443),
        ] {
            let endpoint = Authority::parse(text).unwrap().endpoint(443);
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port), "{text}");
        }
    }

    #[test]
    fn s24_forms_with_two_readings_are_refused() {
        use BadAuthority::*;
        for (text, why) in [
            ("", Length),
            (&*"a".repeat(300), Length),
            ("user@registry.example", UserInformation),
            ("registry.example:443@evil.example", UserInformation),
            ("2130706433", AmbiguousAddress),
            ("0x7f000001", AmbiguousAddress),
            ("0x7F.0.0.1", AmbiguousAddress),
            ("127.1", AmbiguousAddress),
            ("0177.0.0.1", AmbiguousAddress),
            ("169.254.169.254.1", AmbiguousAddress),
            ("999.1.1.1", AmbiguousAddress),
            ("registry.example.", Host),
            ("registry..example", Host),
            ("registry.example\0.evil.example", Host),
            ("registry.example/", Host),
            ("registry.example#", Host),
            ("registry.example\\", Host),
            ("reg%69stry.example", Host),
            ("r\u{435}gistry.example", Host),
            ("[::1", Host),
            ("::1", Port),
            ("[::1%25eth0]", Host),
            ("[::1]443", Port),
            ("registry.example:", Port),
            ("registry.example:0", Port),
            ("registry.example:0443", Port),
            ("registry.example:+443", Port),
            ("registry.example:65536", Port),
            ("registry.example:443:80", Port),
            ("registry.example: 443", Port),
        ] {
            assert_eq!(Authority::parse(text), Err(why), "{text:?}");
        }
    }
}
