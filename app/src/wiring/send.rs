//! How much a run may still send to each host: what is configured, less what its earlier sandboxes sent. The record says what that was, so
//! neither another attempt nor a keeper that died gives a run more.

use std::collections::BTreeMap;

use selvedge_authority::{ActError, Record, Verdict};
use selvedge_domain::{Deed, Description, Digest, HostPattern, Method, RunId, Verb};
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
        hosts: impl Iterator<Item = &'a HostPattern>,
    ) -> Result<BTreeMap<HostPattern, u64>, ActError> {
        let mut sent = Sent::default();
        for recorded in self.ledger.entries(0, Some(run.clone())) {
            sent.read(recorded.map_err(transient)?.entry.record);
        }
        let left = |host: &HostPattern| (host.clone(), limits.at(host).saturating_sub(sent.to_host(host)));
        Ok(hosts.map(left).collect())
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

/// What has no body by its method is its head.
fn most(order: &Description) -> u64 {
    match order.text("method").and_then(Method::parse) {
        Some(Method::Get | Method::Head) => HEADS_BYTES_MAX,
        _ => HEADS_BYTES_MAX.saturating_add(Limits::default().request_body_bytes_max),
    }
}
