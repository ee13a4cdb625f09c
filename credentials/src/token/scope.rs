//! Scopes as text (RFC 6749 section 3.3), so that a grant can be asked for and carried in a token: words separated by spaces,
//! each a typed scope of the domain. There is one text for each scope, and it means the same to every reader.
//!
//! | word | means |
//! |---|---|
//! | `trust:propose` | how far; without it `observe` |
//! | `may:read` | a word of `may` |
//! | `reach:GET,HEAD:registry.example:443/crates` | requests, as a `reach` rule |
//! | `audience:https://cloud.example` | an audience |
//! | `loan:crates:PUT:registry.example:443/api` | a credential, and what it may be used for |

use std::collections::BTreeSet;

use selvedge_domain::{CredentialName, Endpoint, Grant, HostPattern, Loan, May, Method, Reach, Time, Trust};

/// Longest scope: it is in the token, which goes into a header field of every request.
pub(crate) const SCOPE_BYTES_MAX: usize = 1024;

/// Reads a scope; none when any word of it is not one of ours.
pub(crate) fn read(text: &str, until: Time) -> Option<Grant> {
    if text.len() > SCOPE_BYTES_MAX {
        return None;
    }
    let mut trust = None;
    let mut grant = Grant {
        trust: Trust::Observe,
        may: BTreeSet::new(),
        reach: BTreeSet::new(),
        // What is handed on may not ask for more: who holds it has no door of the giver's.
        may_ask: BTreeSet::new(),
        models: BTreeSet::new(),
        tools: BTreeSet::new(),
        audiences: BTreeSet::new(),
        loans: BTreeSet::new(),
        until,
    };
    for word in text.split(' ') {
        if !word.bytes().all(|b| matches!(b, b'!' | b'#'..=b'[' | b']'..=b'~')) {
            return None;
        }
        let (kind, what) = word.split_once(':')?;
        let is_new = match kind {
            "trust" => trust.replace(Trust::parse(what)?).is_none(),
            "may" => grant.may.insert(May::parse(what)?),
            "reach" => grant.reach.insert(read_reach(what)?),
            "audience" => !what.is_empty() && grant.audiences.insert(what.to_owned()),
            "loan" => grant.loans.insert(read_loan(what)?),
            _ => false,
        };
        if !is_new {
            return None;
        }
    }
    Some(Grant { trust: trust.unwrap_or(Trust::Observe), ..grant })
}

/// The text of a grant that was read here.
pub(crate) fn write(grant: &Grant) -> String {
    let reach = |reach: &Reach| {
        let methods: Vec<&str> = reach.methods.iter().map(|method| method.as_str()).collect();
        format!("{}:{}:{}{}", methods.join(","), reach.endpoint.host, reach.endpoint.port, reach.path_prefix)
    };
    let mut words = vec![format!("trust:{}", grant.trust)];
    words.extend(grant.may.iter().map(|may| format!("may:{}", may.as_str())));
    words.extend(grant.reach.iter().map(|held| format!("reach:{}", reach(held))));
    words.extend(grant.audiences.iter().map(|audience| format!("audience:{audience}")));
    words.extend(grant.loans.iter().map(|loan| format!("loan:{}:{}", loan.credential, reach(&loan.uses))));
    words.join(" ")
}

fn read_loan(text: &str) -> Option<Loan> {
    let (credential, uses) = text.split_once(':')?;
    Some(Loan { credential: CredentialName::parse(credential).ok()?, uses: read_reach(uses)? })
}

fn read_reach(text: &str) -> Option<Reach> {
    let (written, rest) = text.split_once(':')?;
    let mut methods = BTreeSet::new();
    for method in written.split(',') {
        methods.insert(Method::parse(method)?).then_some(())?;
    }
    let (authority, path) = rest.split_once('/')?;
    let (name, number) = authority.rsplit_once(':')?;
    let (host, port) = (HostPattern::parse(name)?, number.parse::<u16>().ok().filter(|port| *port != 0)?);
    // Only the printed form: `EXAMPLE.org` and `0443` would be second names for the same place.
    if host.as_str() != name || port.to_string() != number || !is_plain(path) {
        return None;
    }
    Some(Reach { endpoint: Endpoint { host, port }, methods, path_prefix: format!("/{path}") })
}

/// Whether every reader takes these segments as they stand: nothing encoded, no dots, none empty but the last.
fn is_plain(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
    // Servers that take parameters off a segment see dots behind which there is a semicolon.
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    let mut segments = path.split('/').peekable();
    std::iter::from_fn(|| segments.next().map(|segment| (segment, segments.peek().is_none())))
        .all(|(segment, last)| segment.bytes().all(plain) && !is_dots(segment) && (last || !segment.is_empty()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNTIL: Time = Time::from_millis(1);

    #[test]
    fn a_scope_reads_back_as_printed() {
        let text = "trust:draft may:read may:open-pr reach:GET,HEAD:registry.example:443/crates \
                    audience:https://cloud.example loan:crates:PUT:[::1]:8443/api/";
        let grant = read(text, UNTIL).unwrap();
        assert_eq!(write(&grant), text);
        assert_eq!((grant.trust, grant.until), (Trust::Draft, UNTIL));
        assert_eq!(read("may:read", UNTIL).unwrap().trust, Trust::Observe, "what is not asked for is not given");
    }

    #[test]
    fn a_scope_that_could_mean_something_else_is_refused() {
        for text in [
            "",
            " ",
            "may:read ",
            "may:read  may:write",
            "may:read\tmay:write",
            "may",
            "may:",
            "may:all",
            "MAY:read",
            "may:read may:read",
            "trust:draft trust:land",
            "trust:root",
            "audience:",
            "audience:a\"b",
            "audience:a\\b",
            "audience:\u{e9}",
            "*",
            "openid",
            "reach:GET:registry.example:443",
            "reach:GET:registry.example/",
            "reach:GET:Registry.example:443/",
            "reach:GET:registry.example:0443/",
            "reach:GET:registry.example:+443/",
            "reach:GET:registry.example:0/",
            "reach:GET:registry.example:99999/",
            "reach::registry.example:443/",
            "reach:GET,:registry.example:443/",
            "reach:GET,GET:registry.example:443/",
            "reach:get:registry.example:443/",
            "reach:CONNECT:registry.example:443/",
            "reach:GET:*.example:443/",
            "reach:GET:a@registry.example:443/",
            "reach:GET:registry.example:443/crates/../admin",
            "reach:GET:registry.example:443/..;a/admin",
            "reach:GET:registry.example:443/./a",
            "reach:GET:registry.example:443//a",
            "reach:GET:registry.example:443/a//",
            "reach:GET:registry.example:443/%2e%2e/admin",
            "reach:GET:registry.example:443/a?b",
            "reach:GET:registry.example:443/a#b",
            "loan:crates",
            "loan:Crates:GET:registry.example:443/",
            "loan::GET:registry.example:443/",
        ] {
            assert_eq!(read(text, UNTIL), None, "{text:?}");
        }
        let long = |bytes: usize| format!("audience:{}", "a".repeat(bytes - "audience:".len()));
        assert!(read(&long(SCOPE_BYTES_MAX), UNTIL).is_some());
        assert_eq!(read(&long(SCOPE_BYTES_MAX + 1), UNTIL), None);
    }

    proptest! {
        #[test]
        fn what_is_read_has_one_text(
            words in prop::collection::btree_set(
                "may:(read|write)|audience:[!-~]{1,9}|(reach|loan:[a-c]):(GET|PUT|GET,PUT):[a-c]:80(/[a.;~]{0,3}){1,3}", 1..5,
            ),
        ) {
            let text = words.into_iter().collect::<Vec<_>>().join(" ");
            if let Some(grant) = read(&text, UNTIL) {
                let written = write(&grant);
                prop_assert_eq!(written.split(' ').count(), text.split(' ').count() + 1, "the same, and how far: {}", text);
                prop_assert_eq!(read(&written, UNTIL), Some(grant), "{}", written);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _read_or_refused = read(&text, UNTIL);
        }
    }
}
