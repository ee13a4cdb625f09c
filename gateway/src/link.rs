//! The door's side of the channel: ask and wait, tell what was done, count what was refused. Owns fail-closed: without a
//! timely answer nothing is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, GraphqlAct, Method, Reach};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::git::wanted::{GitAnswer, GitCall};
use crate::identity::wanted::{Given, Wanted};
use crate::loan::{LoanChange, Loans};
use crate::protocol::{Ask, Done, Layer, Outcome, Refused, Source, Verdict};
use crate::scope::Scope;
use crate::wire::frame::{self, FROM_DOOR_BYTES_MAX, TO_DOOR_BYTES_MAX};
use crate::wire::message::{self, FromDoor, ToDoor};

/// How long an answer may take. An answer waits for one disk flush, which can take seconds on a shared disk.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a call of git may take: the whole history of a large repository is packed, or a push looked through.
const GIT_TIMEOUT: Duration = Duration::from_secs(900);

/// Messages that may wait to be written; beyond it, requests wait.
const OUTBOX_MESSAGES_MAX: usize = 256;

/// Different refusals remembered between two reports; beyond it they are counted together. The agent chooses their text.
const REFUSALS_MAX: usize = 128;

/// How often refusals are reported.
const REFUSALS_PERIOD: Duration = Duration::from_millis(250);

/// Longest detail of a refusal: a host name.
const DETAIL_BYTES_MAX: usize = 253;

/// One end of the channel, shared by every connection.
#[derive(Debug)]
pub(crate) struct Link {
    serials: AtomicU64,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Verdict>>>,
    wanting: Mutex<BTreeMap<u64, oneshot::Sender<Given>>>,
    calling: Mutex<BTreeMap<u64, oneshot::Sender<GitAnswer>>>,
    outbox: mpsc::Sender<FromDoor>,
    patience: Duration,
    refusals: Mutex<BTreeMap<(Layer, &'static str, String), u64>>,
}

/// What is asked about one request.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) endpoint: Endpoint,
    pub(crate) path: String,
    pub(crate) query_bytes: u64,
    pub(crate) body_bytes: Option<u64>,
    pub(crate) credential: Option<CredentialName>,
    pub(crate) graphql: BTreeSet<GraphqlAct>,
    pub(crate) source: Source,
}

/// Why a request is not allowed.
#[derive(Debug)]
pub(crate) enum NotAllowed {
    /// The keeper said so.
    Denied { code: String, next_step: String },
    /// No answer came in time.
    NoAnswer,
}

/// A request the keeper allowed.
#[derive(Debug)]
#[must_use = "tell the keeper what became of it with `finish`"]
pub(crate) struct Allowed {
    serial: u64,
}

impl NotAllowed {
    /// What is said by an answer that allows nothing.
    pub(crate) fn of(given: Option<Given>) -> Self {
        match given {
            Some(Given::Denied { code, next_step }) => Self::Denied { code, next_step },
            Some(_) | None => Self::NoAnswer,
        }
    }
}

impl Link {
    /// Makes the link and what must be written for it. An answer is waited for with `patience`.
    pub(crate) fn new(patience: Duration) -> (Self, mpsc::Receiver<FromDoor>) {
        let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let link = Self {
            serials: AtomicU64::new(1),
            waiting: Mutex::default(),
            wanting: Mutex::default(),
            calling: Mutex::default(),
            outbox,
            patience,
            refusals: Mutex::default(),
        };
        (link, messages)
    }

    /// A number that nothing else of this door has.
    pub(crate) fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks the keeper and waits for its answer.
    pub(crate) async fn ask(&self, question: Question) -> Result<Allowed, NotAllowed> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(serial, answer);
        let Question { method, endpoint, path, query_bytes, body_bytes, credential, graphql, source } = question;
        let ask = Ask { serial, method, endpoint, path, query_bytes, body_bytes, credential, graphql, source };
        let answered = async {
            self.outbox.send(FromDoor::Ask(ask.into())).await.ok()?;
            answered.await.ok()
        };
        let verdict = tokio::time::timeout(self.patience, answered).await;
        lock(&self.waiting).remove(&serial);
        match verdict {
            Ok(Some(Verdict::Allow)) => Ok(Allowed { serial }),
            Ok(Some(Verdict::Deny { code, next_step })) => Err(NotAllowed::Denied { code, next_step }),
            // A late answer finds nobody waiting; `deliver` tells the keeper so.
            Ok(None) | Err(_) => Err(NotAllowed::NoAnswer),
        }
    }

    /// Asks the keeper for an identity document, or about one. None when no answer came in time.
    pub(crate) async fn want(&self, wanted: Wanted) -> Option<Given> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let (give, given) = oneshot::channel();
        lock(&self.wanting).insert(serial, give);
        let answered = async {
            self.outbox.send(FromDoor::Identity { serial, wanted: wanted.into() }).await.ok()?;
            given.await.ok()
        };
        let given = tokio::time::timeout(self.patience, answered).await;
        lock(&self.wanting).remove(&serial);
        given.ok().flatten()
    }

    /// Asks the keeper whether something may be.
    pub(crate) async fn allowed(&self, wanted: Wanted) -> Result<(), NotAllowed> {
        match self.want(wanted).await {
            Some(Given::Allowed) => Ok(()),
            given => Err(NotAllowed::of(given)),
        }
    }

    /// Has the keeper do something with the run's repository. None when no answer came in time.
    pub(crate) async fn git(&self, call: GitCall) -> Option<GitAnswer> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.calling).insert(serial, answer);
        let answered = async {
            self.outbox.send(FromDoor::Git { serial, call: call.into() }).await.ok()?;
            answered.await.ok()
        };
        let answer = tokio::time::timeout(GIT_TIMEOUT, answered).await;
        lock(&self.calling).remove(&serial);
        answer.ok().flatten()
    }

    /// Tells what became of an allowed request.
    pub(crate) async fn finish(&self, allowed: Allowed, outcome: Outcome, request_bytes: u64, response_bytes: u64) {
        let done = Done { serial: allowed.serial, outcome, request_bytes, response_bytes };
        // It fails only when the keeper is gone, and then this process is about to end.
        let _ = self.outbox.send(FromDoor::Done(done.into())).await;
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, layer: Layer, code: &'static str, detail: &str) {
        let detail = detail.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
        let detail: String = detail.take(DETAIL_BYTES_MAX).collect();
        let mut refusals = lock(&self.refusals);
        let key = (layer, code, detail);
        let key = if refusals.len() < REFUSALS_MAX || refusals.contains_key(&key) {
            key
        } else {
            (layer, code, "...".into())
        };
        *refusals.entry(key).or_default() += 1;
    }

    fn take_refusals(&self) -> Vec<FromDoor> {
        let refusals = std::mem::take(&mut *lock(&self.refusals));
        refusals
            .into_iter()
            .map(|((layer, code, detail), count)| Refused { layer, code: code.into(), detail, count })
            .map(|refused| FromDoor::Refused(refused.into()))
            .collect()
    }

    /// Delivers answers, and changes what is lent and reached, until the keeper closes or is gone.
    pub(crate) async fn hear(&self, mut channel: OwnedReadHalf, loans: &Loans, scope: &Scope) -> Ended {
        loop {
            match frame::read_async(&mut channel, TO_DOOR_BYTES_MAX).await {
                Ok(ToDoor::Answer { serial, verdict }) => self.deliver(serial, verdict.into()).await,
                // What came too late is lent all the same, to nobody: it dies with the run's other leases.
                Ok(ToDoor::Identity { serial, given }) => {
                    let wanting = lock(&self.wanting).remove(&serial);
                    let _too_late = wanting.map(|give| give.send(given.into()));
                }
                Ok(ToDoor::Git { serial, answer }) => {
                    let Ok(answer) = GitAnswer::try_from(answer) else { return Ended::KeeperGone };
                    let calling = lock(&self.calling).remove(&serial);
                    let _too_late = calling.map(|call| call.send(answer));
                }
                Ok(ToDoor::Loan { serial, credential, change }) => {
                    let (Ok(credential), Ok(change)) = (message::credential(&credential), LoanChange::try_from(change))
                    else {
                        return Ended::KeeperGone;
                    };
                    let (replaced, outbox) = (loans.change(&credential, &change), self.outbox.clone());
                    tokio::spawn(async move {
                        replaced.drained().await;
                        // It fails only when the keeper is gone, and then this process is about to end.
                        let _ = outbox.send(FromDoor::LoanChanged { serial }).await;
                    });
                }
                // Whoever asked hears of it after this, on the same channel.
                Ok(ToDoor::Widened { reach }) => {
                    let widened = Reach::try_from(reach).map(|rule| scope.widen(rule));
                    if widened != Ok(Ok(())) {
                        return Ended::KeeperGone;
                    }
                }
                Ok(ToDoor::Close {}) => return Ended::Closed,
                Ok(ToDoor::Hello(_) | ToDoor::Errand(_) | ToDoor::Listeners { .. }) | Err(_) => {
                    return Ended::KeeperGone;
                }
            }
        }
    }

    async fn deliver(&self, serial: u64, verdict: Verdict) {
        let waiting = lock(&self.waiting).remove(&serial);
        let undelivered = match waiting {
            Some(answer) => answer.send(verdict).err(),
            None => Some(verdict),
        };
        if undelivered == Some(Verdict::Allow) {
            self.finish(Allowed { serial }, failed("answer_late"), 0, 0).await;
        }
    }

    /// Writes messages and, from time to time, refusals, until the channel breaks or `closing` says to write what is left
    /// and stop.
    pub(crate) async fn tell(
        &self,
        mut channel: OwnedWriteHalf,
        messages: &mut mpsc::Receiver<FromDoor>,
        mut closing: oneshot::Receiver<()>,
    ) {
        let mut period = tokio::time::interval(REFUSALS_PERIOD);
        loop {
            let (batch, is_last) = tokio::select! {
                message = messages.recv() => (message.into_iter().collect(), false),
                _ = period.tick() => (self.take_refusals(), false),
                _ = &mut closing => {
                    let waiting = std::iter::from_fn(|| messages.try_recv().ok());
                    (waiting.chain(self.take_refusals()).collect(), true)
                }
            };
            if write_all(&mut channel, &batch).await.is_err() || is_last {
                return;
            }
        }
    }
}

/// Why a door ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its keeper closed it.
    Closed,
    /// Its keeper is gone or spoke nonsense.
    KeeperGone,
}

pub(crate) fn failed(code: &str) -> Outcome {
    Outcome::Failed { code: code.into() }
}

async fn write_all(channel: &mut OwnedWriteHalf, messages: &[FromDoor]) -> Result<(), frame::FrameError> {
    for message in messages {
        let frame = frame::encode(message, FROM_DOOR_BYTES_MAX)?;
        channel.write_all(&frame).await.map_err(frame::FrameError::Closed)?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use selvedge_domain::HostPattern;
    use tokio::net::UnixStream;

    use super::*;

    fn question() -> Question {
        let endpoint = Endpoint { host: HostPattern::parse("registry.example").unwrap(), port: 443 };
        let path = "/".to_owned();
        let (credential, source) = (None, Source::Connect);
        let (query_bytes, body_bytes, graphql) = (0, Some(0), BTreeSet::new());
        Question { method: Method::Get, endpoint, path, query_bytes, body_bytes, credential, graphql, source }
    }

    fn on_one_thread(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a03_no_answer_is_a_denial_and_a_late_one_is_told_to_be_late() {
        on_one_thread(async {
            let (link, mut messages) = Link::new(Duration::from_millis(1));
            assert!(matches!(link.ask(question()).await, Err(NotAllowed::NoAnswer)));
            assert!(matches!(messages.recv().await, Some(FromDoor::Ask(_))));
            link.deliver(1, Verdict::Allow).await;
            let Some(FromDoor::Done(done)) = messages.recv().await else { panic!("the keeper still waits for a deed") };
            assert_eq!(Done::from(done).outcome, failed("answer_late"));
            // A late denial allowed nothing, and an answer to nothing is nothing.
            link.deliver(1, Verdict::Deny { code: "no".into(), next_step: "none".into() }).await;
            assert!(messages.try_recv().is_err());
        });
    }

    #[test]
    fn a03_nonsense_from_the_keeper_ends_the_door() {
        for nonsense in [&b""[..], b"\0\0\0\x02{}", b"\xff\xff\xff\xff", b"\0\0\0\x01"] {
            on_one_thread(async {
                let (link, _messages) = Link::new(ANSWER_TIMEOUT);
                let scope = Scope::alone(&question().endpoint, vec![], None);
                let (mut keeper, door) = UnixStream::pair().unwrap();
                keeper.write_all(nonsense).await.unwrap();
                drop(keeper);
                assert_eq!(link.hear(door.into_split().0, &Loans::default(), &scope).await, Ended::KeeperGone);
            });
        }
    }

    #[test]
    fn a_rule_that_could_not_be_asked_for_ends_the_door_e7() {
        on_one_thread(async {
            let (link, _messages) = Link::new(ANSWER_TIMEOUT);
            let scope = Scope::alone(&question().endpoint, vec![], None);
            let (mut keeper, door) = UnixStream::pair().unwrap();
            let reach = r#"{"host":"other.example","port":443,"methods":["GET"],"path_prefix":"/"}"#;
            let message =
                serde_json::from_str::<ToDoor>(&format!(r#"{{"message":"widened","reach":{reach}}}"#)).unwrap();
            keeper.write_all(&frame::encode(&message, TO_DOOR_BYTES_MAX).unwrap()).await.unwrap();
            // Were the rule taken, the door would be closed in order.
            let close = frame::encode(&ToDoor::Close {}, TO_DOOR_BYTES_MAX).unwrap();
            keeper.write_all(&close).await.unwrap();
            assert_eq!(link.hear(door.into_split().0, &Loans::default(), &scope).await, Ended::KeeperGone);
        });
    }

    #[test]
    fn a107_a_million_refusals_take_little_room() {
        let (link, _messages) = Link::new(ANSWER_TIMEOUT);
        for number in 0..1_000_000_u32 {
            link.refused(Layer::Dns, "name_not_granted", &format!("{}.evil.example\n\u{1b}[2J", number % 5000));
        }
        let told: Vec<_> = link
            .take_refusals()
            .into_iter()
            .map(|message| match message {
                FromDoor::Refused(refused) => Refused::from(refused),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told.iter().map(|refused| refused.count).sum::<u64>(), 1_000_000);
        assert_eq!(told.len(), REFUSALS_MAX + 1);
        assert!(told.iter().all(|refused| refused.detail.bytes().all(|b| b == b' ' || b.is_ascii_graphic())));
        assert!(link.take_refusals().is_empty());
    }
}
