//! How much a run may still send to each host: what is configured, less what its earlier sandboxes sent. The record says what that was, so
//! neither another attempt nor a keeper that died gives a run more.

use std::collections::BTreeMap;

use selvedge_authority::{ActError, Record, Verdict};
use selvedge_domain::{Deed, Description, Digest, HostPattern, Method, Reach, RunId, Verb};
use selvedge_gateway::{HEADS_BYTES_MAX, Limits};

use super::Works;
use super::repositories::transient;
use crate::config::SendLimits;

/// What was sent by requests that are on record, as far as they were read.
#[derive(Default)]
struct Sent {
    to: BTreeMap<String, u64>,
    /// Allowed, and nothing is on record yet of what came of them: where to, and the most that may have left.
    open: BTreeMap<Digest, (String, u64)>,
}

impl Works {
    /// What a door is told is left.
    pub(super) fn left_to_send<'a>(
        &self,
        limits: &SendLimits,
        run: &RunId,
        reach: impl Iterator<Item = &'a Reach>,
    ) -> Result<BTreeMap<HostPattern, u64>, ActError> {
        let mut sent = Sent::default();
        for recorded in self.ledger.entries(0, Some(run.clone())) {
            sent.read(recorded.map_err(transient)?.entry.record);
        }
        let left = |reach: &Reach| {
            let host = &reach.endpoint.host;
            (host.clone(), limits.at(host).saturating_sub(sent.to_host(host)))
        };
        Ok(reach.map(left).collect())
    }
}

impl Sent {
    fn read(&mut self, record: Record) {
        match record {
            Record::Decided { order, verdict: Verdict::Allow { .. }, .. } if order.verb == Verb::HttpRequest => {
                if let Some(host) = order.text("host") {
                    self.open.insert(order.digest(), (host.to_owned(), most(&order)));
                }
            }
            Record::Done { order, deed, .. } => {
                if let (Some((host, most)), deed) = (self.open.remove(&order), deed) {
                    let bytes = if let Deed::Answered(answered) = deed { answered.request_bytes } else { most };
                    let sent = self.to.entry(host).or_default();
                    *sent = sent.saturating_add(bytes);
                }
            }
            Record::NotDone { order, .. } => {
                self.open.remove(&order);
            }
            _ => {}
        }
    }

    /// What nothing more was heard of counts as all that it could have sent: its door died with its keeper, or was closed on it.
    fn to_host(&self, host: &HostPattern) -> u64 {
        let open = self.open.values().filter(|(to, _)| to == host.as_str()).map(|(_, most)| *most);
        let known = self.to.get(host.as_str()).copied().unwrap_or(0);
        open.fold(known, u64::saturating_add)
    }
}

/// The most that leaves for a request. Orders of earlier builds do not say how long a body may be; those count as all that is let
/// through, where their method has one.
fn most(order: &Description) -> u64 {
    let said = order.number("body_bytes_max").and_then(|bytes| u64::try_from(bytes).ok());
    let body = said.unwrap_or_else(|| match order.text("method").and_then(Method::parse) {
        Some(Method::Get | Method::Head) => 0,
        _ => Limits::default().request_body_bytes_max,
    });
    HEADS_BYTES_MAX.saturating_add(body)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use selvedge_domain::orders::HttpRequest;
    use selvedge_domain::{Endpoint, Order as _, RepoName};
    use selvedge_gateway::{Ask, Source};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn endpoint() -> Endpoint {
        Endpoint { host: HostPattern::parse("a.example").unwrap(), port: 443 }
    }

    fn ask(body_bytes: Option<u64>) -> Ask {
        Ask {
            serial: 1,
            method: Method::Post,
            endpoint: endpoint(),
            path: "/".to_owned(),
            query_bytes: 0,
            body_bytes,
            credential: None,
            graphql: BTreeSet::new(),
            source: Source::Connect,
        }
    }

    fn allowed(serial: u64, body_bytes_max: u64) -> Record {
        let order = HttpRequest {
            run: RunId::from_entropy(1),
            repo: RepoName::parse("acme/shop").unwrap(),
            serial,
            endpoint: endpoint(),
            method: Method::Post,
            path: "/".to_owned(),
            query_bytes: 0,
            body_bytes_max,
            credential: None,
            graphql: BTreeSet::new(),
            danger: BTreeSet::new(),
        };
        let verdict = Verdict::Allow { policies: Vec::new() };
        Record::Decided { order: order.describe(), verdict, approval: None }
    }

    #[test]
    fn a_request_nothing_more_was_heard_of_counts_as_what_it_said_it_would_send_a20() {
        let mut sent = Sent::default();
        sent.read(allowed(1, 3 * MIB));
        sent.read(allowed(2, 0));
        assert_eq!(sent.to_host(&endpoint().host), 3 * MIB + 2 * HEADS_BYTES_MAX);
        assert_eq!(ask(Some(7)).sent_at_most(), HEADS_BYTES_MAX + 7);
        assert_eq!(ask(None).sent_at_most(), HEADS_BYTES_MAX + 16 * MIB, "one that does not say counts as all of it");
    }
}
