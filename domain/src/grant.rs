//! What a run may use: typed scopes, compared by containment. A scope that cannot be compared is not contained.

use std::collections::BTreeSet;
use std::fmt;

use crate::{CredentialName, ModelName, Time, ToolScope, Trust};

/// A host name or address literal as a rule writes it: exact, lower case, no wildcards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(String);

/// A host and port that a door may dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Which host.
    pub host: HostPattern,
    /// Which TCP port.
    pub port: u16,
}

/// An HTTP method a rule may name (RFC 9110 section 9). `CONNECT` and `TRACE` are never granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
}

/// Requests a run may make: these methods, on this endpoint, on paths beneath this prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reach {
    /// Where to.
    pub endpoint: Endpoint,
    /// How.
    pub methods: BTreeSet<Method>,
    /// A path prefix that begins with `/` and is compared by whole segments, on the canonical path.
    pub path_prefix: String,
}

/// A word of `may` in the configuration; the closed list of what an agent may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum May {
    /// Read the repository's tree.
    Read,
    /// Change files in the sandbox.
    Write,
    /// Open a proposal (`open-pr`).
    OpenProposal,
    /// Queue a follow-up task.
    FollowUp,
    /// Push commits to its own branch, through the git door.
    Push,
    /// Hand on a part of its grant as an access token, through the token endpoint.
    Delegate,
}

/// A credential a run may borrow, and the requests it may be used for. A door puts it into these requests; the run itself
/// never has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loan {
    /// Which credential.
    pub credential: CredentialName,
    /// What for.
    pub uses: Reach,
}

/// What a run may use and until when. Only ever narrowed on the way down a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// How far it may go.
    pub trust: Trust,
    /// What it may do.
    pub may: BTreeSet<May>,
    /// Where it may reach.
    pub reach: BTreeSet<Reach>,
    /// Where it may ask to reach; empty by default, and then it cannot ask.
    pub may_ask: BTreeSet<Reach>,
    /// SVID audiences it may ask for; empty by default.
    pub audiences: BTreeSet<String>,
    /// Credentials its doors may use for it, each with the requests it is for; empty by default.
    pub loans: BTreeSet<Loan>,
    /// Models it may have answer, through the model door; empty by default.
    pub models: BTreeSet<ModelName>,
    /// Tools of brokered servers it may list and call, through the tool door; empty by default.
    pub tools: BTreeSet<ToolScope>,
    /// When it ends.
    pub until: Time,
}

impl HostPattern {
    /// Reads a host: a DNS name in letters, digits, dashes and dots, or an IPv4 or bracketed IPv6 literal.
    pub fn parse(text: &str) -> Option<Self> {
        let host = text.to_ascii_lowercase();
        let name = !host.is_empty()
            && host.len() <= 253
            && host.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        let v6 = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
        (name || v6).then_some(Self(host))
    }

    /// The host as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Method {
    /// Every method that can be granted.
    pub const ALL: &'static [Self] =
        &[Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// The token on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Reads the token on the wire; methods are case-sensitive.
    pub fn parse(token: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == token)
    }
}

impl May {
    /// Every word.
    pub const ALL: &'static [Self] =
        &[Self::Read, Self::Write, Self::OpenProposal, Self::FollowUp, Self::Push, Self::Delegate];

    /// The word users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::OpenProposal => "open-pr",
            Self::FollowUp => "follow-up",
            Self::Push => "push",
            Self::Delegate => "delegate",
        }
    }

    /// Reads the word users write.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|may| may.as_str() == word)
    }
}

impl Reach {
    /// Whether a request with this method and canonical path, to this endpoint, lies within.
    pub fn covers(&self, endpoint: &Endpoint, method: Method, path: &str) -> bool {
        self.endpoint == *endpoint && self.methods.contains(&method) && is_beneath(&self.path_prefix, path)
    }

    /// Whether some request is covered by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && !self.methods.is_disjoint(&other.methods)
            && (is_beneath(&self.path_prefix, &other.path_prefix) || is_beneath(&other.path_prefix, &self.path_prefix))
    }

    /// Whether every request `narrower` covers is covered here.
    pub fn contains(&self, narrower: &Self) -> bool {
        self.endpoint == narrower.endpoint
            && narrower.methods.is_subset(&self.methods)
            && is_beneath(&self.path_prefix, &narrower.path_prefix)
    }

    /// The requests that both cover, if there are any.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let longer = match is_beneath(&self.path_prefix, &other.path_prefix) {
            true => other,
            false => self,
        };
        let methods = self.methods.intersection(&other.methods).copied().collect();
        self.overlaps(other).then(|| Self { methods, ..longer.clone() })
    }
}

impl Loan {
    /// Whether every use `narrower` allows is allowed here, of the same credential.
    pub fn contains(&self, narrower: &Self) -> bool {
        self.credential == narrower.credential && self.uses.contains(&narrower.uses)
    }

    /// What both may be used for: requests that both cover, with the same credential.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let uses = self.uses.meet(&other.uses).filter(|_| self.credential == other.credential)?;
        Some(Self { credential: self.credential.clone(), uses })
    }
}

impl fmt::Display for Reach {
    /// `GET,HEAD registry.example:443/crates`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<&str> = self.methods.iter().map(|method| method.as_str()).collect();
        write!(f, "{} {}:{}{}", methods.join(","), self.endpoint.host, self.endpoint.port, self.path_prefix)
    }
}

/// Whether `path` equals `prefix` or continues it at a segment boundary: `/a` covers `/a` and `/a/b`, not `/ab`.
fn is_beneath(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

impl Grant {
    /// Whether every request `wanted` covers lies within what may be asked for, and there is any.
    pub fn may_be_asked(&self, wanted: &Reach) -> bool {
        !wanted.methods.is_empty() && self.may_ask.iter().any(|askable| askable.contains(wanted))
    }

    /// This grant and one rule more; none when the rule lies beyond what may be asked for. Nothing else of it changes.
    pub fn widened(&self, rule: &Reach) -> Option<Self> {
        let mut wider = self.may_be_asked(rule).then(|| self.clone())?;
        wider.reach.insert(rule.clone());
        Some(wider)
    }

    /// Whether `narrower` asks for nothing beyond this grant. Reflexive, transitive, antisymmetric up to equal scopes.
    pub fn contains(&self, narrower: &Self) -> bool {
        narrower.trust <= self.trust
            && narrower.may.is_subset(&self.may)
            && narrower.audiences.is_subset(&self.audiences)
            && narrower.models.is_subset(&self.models)
            && narrower.tools.is_subset(&self.tools)
            && narrower.until <= self.until
            && narrower.reach.iter().all(|wanted| self.reach.iter().any(|held| held.contains(wanted)))
            && narrower.may_ask.iter().all(|wanted| self.may_be_asked(wanted))
            && narrower.loans.iter().all(|wanted| self.loans.iter().any(|held| held.contains(wanted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(prefix: &str, methods: &[Method]) -> Reach {
        Reach {
            endpoint: Endpoint { host: HostPattern::parse("registry.example").unwrap(), port: 443 },
            methods: methods.iter().copied().collect(),
            path_prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn a_prefix_covers_whole_segments_only() {
        let crates = reach("/crates", &[Method::Get]);
        let at = crates.endpoint.clone();
        assert!(crates.covers(&at, Method::Get, "/crates"));
        assert!(crates.covers(&at, Method::Get, "/crates/itoa"));
        assert!(!crates.covers(&at, Method::Get, "/crates-secret"));
        assert!(!crates.covers(&at, Method::Post, "/crates/itoa"));
        assert!(!crates.covers(&Endpoint { port: 80, ..at }, Method::Get, "/crates"));
    }

    #[test]
    fn containment_narrows() {
        let wide = reach("/", &[Method::Get, Method::Head]);
        let narrow = reach("/crates", &[Method::Get]);
        assert!(wide.contains(&narrow) && wide.contains(&wide));
        assert!(!narrow.contains(&wide));
    }

    #[test]
    fn a_loan_is_contained_only_in_one_of_the_same_credential_c2() {
        let loan = |name: &str, prefix: &str| Loan {
            credential: CredentialName::parse(name).unwrap(),
            uses: reach(prefix, &[Method::Put]),
        };
        let wide = loan("crates", "/api");
        assert!(wide.contains(&loan("crates", "/api/v1")) && wide.contains(&wide));
        assert!(!wide.contains(&loan("other", "/api/v1")) && !loan("crates", "/api/v1").contains(&wide));
    }

    #[test]
    fn hosts_that_could_mean_something_else_are_refused() {
        for host in
            ["", "*.example", "a b", "-a.example", "a..b", "user@host", "host:443", "host/", "exa\u{043c}ple.com"]
        {
            assert!(HostPattern::parse(host).is_none(), "{host:?}");
        }
        assert_eq!(HostPattern::parse("Registry.Example").unwrap().as_str(), "registry.example");
    }
}
