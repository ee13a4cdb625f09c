//! How much a run may send to each host.

use std::collections::BTreeMap;

use selvedge_domain::HostPattern;

use super::{ConfigError, Reader};

/// What a run may send to a host where nothing is said. A client of packages or of an API sends a kilobyte with each of some thousand
/// requests; the rest is room for uploads.
const SEND_BYTES_DEFAULT: u64 = 64 << 20;

/// How many hosts may be named: what a door is told in one message has to hold them.
const HOSTS_MAX: usize = 1024;

/// What a run may send to each host in all.
#[derive(Debug, Clone, Default)]
pub(crate) struct SendLimits(BTreeMap<HostPattern, u64>);

impl SendLimits {
    /// What it may send to this one.
    pub(crate) fn at(&self, host: &HostPattern) -> u64 {
        self.0.get(host).copied().unwrap_or(SEND_BYTES_DEFAULT)
    }
}

impl Reader<'_> {
    /// `"1MiB"` by host.
    pub(super) fn send(&self, written: &BTreeMap<String, String>) -> Result<SendLimits, ConfigError> {
        if written.len() > HOSTS_MAX {
            return self.bad("network.send", format!("holds more than {HOSTS_MAX} hosts"));
        }
        let mut limits = BTreeMap::new();
        for (name, size) in written {
            let key = format!("network.send.\"{name}\"");
            let Some(host) = HostPattern::parse(name) else { return self.bad(key, "is not a host name") };
            let Some(bytes) = parse_size(size) else {
                let because =
                    format!("`{size}` is not a size: write a number and `KiB`, `MiB` or `GiB`, such as `1MiB`");
                return self.bad(key, because);
            };
            if limits.insert(host, bytes).is_some() {
                return self.bad(key, "is named twice");
            }
        }
        Ok(SendLimits(limits))
    }
}

/// Zero is no size: a host that nothing may be sent to is one that is not in `reach`.
fn parse_size(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1_u64 << 30)];
    let (number, unit) = units.iter().find_map(|(word, unit)| Some((text.strip_suffix(word)?, *unit)))?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = digits.then(|| number.parse::<u64>().ok()).flatten()?.checked_mul(unit)?;
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn a20_a_limit_is_read_or_refused_by_its_key_and_there_is_always_one() {
        let read = |text: &str| Config::parse("selvedge.toml", text).map_err(|error| error.to_string());
        let host = |name| HostPattern::parse(name).unwrap();
        let config = read("[network.send]\n\"a.example\" = \"3KiB\"\n\"b.example\" = \"1GiB\"").unwrap();
        let at = |name| config.send.at(&host(name));
        assert_eq!((at("a.example"), at("b.example"), at("c.example")), (3072, 1 << 30, 64 << 20));
        for size in ["", "1", "1MB", "0MiB", "-1MiB", "+1MiB", "1 MiB", "MiB", "1.5MiB", "99999999999GiB"] {
            let error = read(&format!("[network.send]\n\"a.example\" = \"{size}\"")).unwrap_err();
            assert!(error.contains("network.send.\"a.example\"") && error.contains("1MiB"), "{error}");
        }
        assert!(read("[network.send]\n\"https://a.example/\" = \"1MiB\"").unwrap_err().contains("network.send"));
    }
}
