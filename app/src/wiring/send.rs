//! How much a run may still send to each host: what is configured, less what it and the runs that share its budget have sent. A child
//! shares the budget of whoever asked for it, so that asking for children gives nobody more. The record says what was
//! sent, so neither another attempt nor a keeper that died gives more; while doors are open one account for all of them says it sooner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use selvedge_authority::{ActError, Record, Verdict};
use selvedge_domain::{Deed, Description, Digest, HostPattern, Method, Run, RunId, Verb};
use selvedge_gateway::{HEADS_BYTES_MAX, Limits};

use super::Works;
use super::repositories::transient;
use crate::config::SendLimits;

/// The accounts of chains that have a door open, by the run that the chain hangs on.
#[derive(Default)]
pub(super) struct Chains(Mutex<BTreeMap<RunId, Weak<Chain>>>);

/// What the runs of one chain sent, and may be sending.
#[derive(Default)]
pub(super) struct Chain(Mutex<Account>);

#[derive(Default)]
struct Account {
    sent: BTreeMap<String, u64>,
    /// Requests that were allowed and are not over: where to, and the most that may leave.
    under_way: BTreeMap<(RunId, u64), (String, u64)>,
    /// How many doors were opened since the account was: of runs of the chain, and of tool servers of theirs. A door counts what it sends
    /// itself; only of others it knows nothing.
    doors: usize,
}

impl Works {
    /// The account that one more door of a run sends from.
    pub(super) fn chain_of(&self, run: &RunId) -> Result<Arc<Chain>, ActError> {
        let first = self.first_giver(run)?;
        let mut chains = self.chains.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = chains.get(first.id()).and_then(Weak::upgrade);
        let chain = match open {
            Some(open) => open,
            // Nobody sends from it now, so the record is whole.
            None => Arc::new(Chain::with(self.sent_by_chain(first.id())?)),
        };
        chains.retain(|_, chain| chain.strong_count() > 0);
        chains.insert(first.id().clone(), Arc::downgrade(&chain));
        chain.account().doors += 1;
        Ok(chain)
    }

    /// The run that nobody gave anything, and that this one has what it has from; itself, where nobody gave it anything.
    fn first_giver(&self, run: &RunId) -> Result<Run, ActError> {
        let mut run = self.run(run).map_err(transient)?;
        // Each has fewer ancestors than the one before.
        while let (Some(_), Some(giver)) = (&run.trigger().lineage.within, run.trigger().lineage.ancestors.first()) {
            run = self.run(giver).map_err(transient)?;
        }
        Ok(run)
    }

    /// What a run and everything that hangs on it sent, by the record.
    fn sent_by_chain(&self, first: &RunId) -> Result<BTreeMap<String, u64>, ActError> {
        let (mut sent, mut unread) = (BTreeMap::new(), vec![first.clone()]);
        while let Some(run) = unread.pop() {
            let mut of_run = Sent::default();
            for recorded in self.ledger.entries(0, Some(run)) {
                let record = recorded.map_err(transient)?.entry.record;
                if let Record::Done { deed: Deed::Enqueued(queued), .. } = &record
                    && let Some((trigger, Some(begun))) = self.ledger.trigger(queued).map_err(transient)?
                    && trigger.lineage.within.is_some()
                {
                    unread.push(begun);
                }
                of_run.read(record);
            }
            for (host, bytes) in of_run.in_all() {
                add(&mut sent, host, bytes);
            }
        }
        Ok(sent)
    }
}

impl Chain {
    fn with(sent: BTreeMap<String, u64>) -> Self {
        Self(Mutex::new(Account { sent, ..Account::default() }))
    }

    /// What a door is told is left.
    pub(super) fn left<'a>(
        &self,
        limits: &SendLimits,
        hosts: impl Iterator<Item = &'a HostPattern>,
    ) -> BTreeMap<HostPattern, u64> {
        let account = self.account();
        let left = |host: &HostPattern| (host.clone(), limits.at(host).saturating_sub(account.taken(host)));
        hosts.map(left).collect()
    }

    /// Sets aside the most that a request sends, before it is decided; false when that may be more than is left. A door that is alone,
    /// and was told of no more than `limit`, is left to itself: it counts to the byte.
    pub(super) fn set_aside(
        &self,
        (run, serial): (&RunId, u64),
        (host, most): (&HostPattern, u64),
        told: u64,
        limit: u64,
    ) -> bool {
        let mut account = self.account();
        let door_knows = account.doors == 1 && told <= limit;
        if !door_knows && account.taken(host).saturating_add(most) > limit {
            return false;
        }
        account.under_way.insert((run.clone(), serial), (host.as_str().to_owned(), most));
        true
    }

    /// What a request came to; nothing was sent for one that was denied.
    pub(super) fn settle(&self, (run, serial): (&RunId, u64), bytes: u64) {
        let mut account = self.account();
        if let Some((host, _)) = account.under_way.remove(&(run.clone(), serial)) {
            add(&mut account.sent, host, bytes);
        }
    }

    /// Each statement leaves it whole.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// What is sent to a host, or may be.
    fn taken(&self, host: &HostPattern) -> u64 {
        let under_way = self.under_way.values().filter(|(to, _)| to == host.as_str()).map(|(_, most)| *most);
        under_way.fold(self.sent.get(host.as_str()).copied().unwrap_or(0), u64::saturating_add)
    }
}

fn add(sent: &mut BTreeMap<String, u64>, host: String, bytes: u64) {
    let sent = sent.entry(host).or_default();
    *sent = sent.saturating_add(bytes);
}

/// What was sent by requests that are on record, as far as they were read.
#[derive(Default)]
struct Sent {
    to: BTreeMap<String, u64>,
    /// Allowed, and nothing is on record yet of what came of them: where to, and the most that may have left.
    open: BTreeMap<Digest, (String, u64)>,
}

impl Sent {
    fn read(&mut self, record: Record) {
        match record {
            Record::Decided { order, verdict: Verdict::Allow { .. }, .. } => {
                let most = match order.verb {
                    Verb::HttpRequest => most(&order),
                    // Orders of earlier builds do not say where they went.
                    Verb::ToolCall => {
                        order.number("request_bytes_max").and_then(|most| u64::try_from(most).ok()).unwrap_or(0)
                    }
                    _ => return,
                };
                if let Some(host) = order.text("host").filter(|_| most > 0) {
                    self.open.insert(order.digest(), (host.to_owned(), most));
                }
            }
            Record::Done { order, deed, .. } => {
                if let Some((host, most)) = self.open.remove(&order) {
                    let bytes = match deed {
                        Deed::Answered(answered) => answered.request_bytes,
                        Deed::ToolAnswered(answered) => answered.request_bytes,
                        _ => most,
                    };
                    add(&mut self.to, host, bytes);
                }
            }
            Record::NotDone { order, .. } => {
                self.open.remove(&order);
            }
            _ => {}
        }
    }

    /// What nothing more was heard of counts as all that it could have sent: its door died with its keeper, or was closed on it.
    fn in_all(self) -> BTreeMap<String, u64> {
        let mut sent = self.to;
        for (host, most) in self.open.into_values() {
            add(&mut sent, host, most);
        }
        sent
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

    use selvedge_domain::orders::{BrokeredCall, HttpRequest, ToolAnswered};
    use selvedge_domain::{Endpoint, Order as _, RepoName, Risk, Secrets, ServerName, ToolScope};
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
            secrets: Secrets::default(),
        };
        let verdict = Verdict::Allow { policies: Vec::new() };
        Record::Decided { order: order.describe(), verdict, approval: None }
    }

    #[test]
    fn a_request_nothing_more_was_heard_of_counts_as_what_it_said_it_would_send_a20() {
        let mut sent = Sent::default();
        sent.read(allowed(1, 3 * MIB));
        sent.read(allowed(2, 0));
        assert_eq!(sent.in_all(), [("a.example".to_owned(), 3 * MIB + 2 * HEADS_BYTES_MAX)].into());
        assert_eq!(ask(Some(7)).sent_at_most(), HEADS_BYTES_MAX + 7);
        assert_eq!(ask(None).sent_at_most(), HEADS_BYTES_MAX + 16 * MIB, "one that does not say counts as all of it");
    }

    #[test]
    fn what_a_tool_server_was_sent_counts_in_later_attempts_a20() {
        let call = |serial, host| BrokeredCall {
            run: RunId::from_entropy(1),
            repo: RepoName::parse("acme/shop").unwrap(),
            serial,
            scope: ToolScope::List { server: ServerName::parse("tracker").unwrap() },
            risk: Risk::Low,
            command: String::new(),
            paths: Vec::new(),
            addresses: Vec::new(),
            values: Vec::new(),
            arguments: Digest::of_parts([b"{}".as_slice()]),
            argument_bytes: 2,
            credential: None,
            host,
            request_bytes_max: MIB,
            secrets: Secrets::default(),
        };
        let mut sent = Sent::default();
        let orders = [call(1, Some(endpoint().host)), call(2, Some(endpoint().host)), call(3, None)];
        for order in &orders {
            let verdict = Verdict::Allow { policies: Vec::new() };
            sent.read(Record::Decided { order: order.recorded(), verdict, approval: None });
        }
        let answered = ToolAnswered {
            code: "answered".to_owned(),
            answer: Digest::of_parts([b"".as_slice()]),
            answer_bytes: 0,
            request_bytes: 700,
        };
        let [first, _, to_a_program] = orders.map(|order| order.recorded().digest());
        for order in [first, to_a_program] {
            sent.read(Record::Done { order, verb: Verb::ToolCall, deed: Deed::ToolAnswered(answered.clone()) });
        }
        let in_all: Vec<_> = sent.in_all().into_iter().filter(|(host, _)| host != "none").collect();
        assert_eq!(in_all, [("a.example".to_owned(), 700 + MIB)], "nothing more was heard of the second");
    }

    #[test]
    fn the_runs_of_a_chain_send_from_one_budget_a20_a58() {
        let chain = Chain::with([("a.example".to_owned(), MIB)].into());
        let (giver, child) = (RunId::from_entropy(1), RunId::from_entropy(2));
        let asks = |run, serial, body| {
            let ask = ask(Some(body));
            chain.set_aside((run, serial), (&ask.endpoint.host, ask.sent_at_most()), 4 * MIB, 4 * MIB)
        };
        chain.account().doors = 1;
        // Alone it is its door that counts, to the byte.
        assert!(asks(&giver, 1, 3 * MIB));
        chain.settle((&giver, 1), MIB);
        chain.account().doors = 2;
        assert!(!asks(&child, 1, 2 * MIB), "two of four are sent, and its head would be more");
        assert!(asks(&child, 1, MIB));
        assert!(!asks(&giver, 2, MIB), "what the child may be sending is gone for its giver");
        chain.settle((&child, 1), 0);
        assert!(asks(&giver, 2, MIB), "it was denied");
        chain.settle((&giver, 2), MIB);
        assert!(!asks(&child, 2, MIB));
        assert_eq!(chain.account().taken(&endpoint().host), 3 * MIB);
    }

    #[test]
    fn less_than_a_door_was_told_of_holds_at_once_a20_d12() {
        let (chain, run) = (Chain::default(), RunId::from_entropy(1));
        chain.account().doors = 1;
        let host = endpoint().host;
        assert!(chain.set_aside((&run, 1), (&host, 2 * MIB), 4 * MIB, 4 * MIB));
        assert!(!chain.set_aside((&run, 2), (&host, 1), 4 * MIB, 2 * MIB));
    }
}
