//! The keeper: everything a client may ask, answered in one place, whether the client is another process or this one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use selvedge_authority::{Class, Entry, Journal, Record};
use selvedge_domain::Actor;
use selvedge_factory::ports::Clock;
use selvedge_ledger::{Claim, WriteError};
use serde_json::Value;

use super::lock::{Lock, State};
use super::message::{Reply, Request};
use super::pool;
use super::turns::{Turn, Turns};
use crate::errors::{CliError, Kind};
use crate::wiring::{Purpose, Works};

/// How long whoever waits for work goes on waiting while nothing can be recorded, so that no work goes on: long enough for a disk
/// that is busy, and short enough for somebody who has to make room.
const UNRECORDED_AT_MOST: Duration = Duration::from_secs(5);

/// Holds a state directory and does what clients ask.
pub(crate) struct Keeper {
    pub(super) works: Works,
    /// What it was opened for.
    pub(super) purpose: Purpose,
    pub(super) closing: AtomicBool,
    /// Set when the command that this process is the keeper for is done: what follows without an end, ends.
    pub(super) leaving: AtomicBool,
    pool: Mutex<Vec<std::thread::JoinHandle<()>>>,
    bell: (Mutex<u64>, Condvar),
    pub(super) schedule: Mutex<super::schedule::Schedule>,
    turns: Turns,
    /// Since when the slots cannot record anything, and why; none when they can.
    unrecorded: Mutex<Option<(Instant, String)>>,
    _lock: Lock,
}

/// Whether whoever asked still listens.
pub(crate) trait Listener {
    /// Whether anybody is there.
    fn is_there(&self) -> bool;

    /// Whether the keeper ends when this client has its answer.
    fn is_the_keeper(&self) -> bool;
}

/// A client that is this very process.
pub(crate) struct Always;

impl Listener for Always {
    fn is_there(&self) -> bool {
        true
    }

    fn is_the_keeper(&self) -> bool {
        true
    }
}

impl Keeper {
    /// Takes the state directory over: opens everything, records that, and lets nothing of an earlier keeper live on.
    pub(crate) fn open(state: State, lock: Lock, purpose: Purpose) -> Result<Self, CliError> {
        let works = Works::open(state, purpose)?;
        let record = Record::KeeperStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: works.config().digest,
            policies: works.policies(),
        };
        let entry = Entry { at: works.now(), run: None, actor: Actor::Factory, owner: None, record };
        // A full disk must not keep anyone from halting; nothing else will be allowed either.
        let _unrecorded = works.ledger.append(entry, Class::Durable);
        works.ledger.queue().reap().map_err(|error| CliError::caused(Kind::Ledger, &error))?;
        let schedule = Mutex::new(super::schedule::Schedule::new(&works));
        Ok(Self {
            works,
            purpose,
            closing: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            pool: Mutex::default(),
            bell: (Mutex::new(0), Condvar::new()),
            schedule,
            turns: Turns::default(),
            unrecorded: Mutex::default(),
            _lock: lock,
        })
    }

    /// Starts the slots, once.
    pub(crate) fn start_pool(self: &Arc<Self>) {
        let mut pool = self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !pool.is_empty() {
            return;
        }
        let slots = self.works.config().slots.max(1);
        self.works.askers.has_slots(slots);
        for _ in 0..slots {
            let keeper = Arc::clone(self);
            pool.push(std::thread::spawn(move || pool::slot(&keeper)));
        }
    }

    /// Whether slots see to every run that is not over.
    pub(super) fn is_at_work(&self) -> bool {
        !self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
    }

    /// Ends what only follows, so that this process can go.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.ring();
    }

    /// Runs that slots are still at work on, besides those `mine`.
    pub(super) fn others_at_work(&self, mine: &[String]) -> Vec<String> {
        let open = self.works.ledger.open_runs().unwrap_or_default();
        let at_work = open.iter().filter(|run| run.stage != "waiting").map(|run| run.id.to_string());
        at_work.filter(|run| !mine.contains(run)).collect()
    }

    /// Lets running work come to an end and writes the last checkpoint.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.ring();
        let slots = std::mem::take(&mut *self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for slot in slots {
            // A slot that panicked left its run claimed; the next keeper takes it over.
            let _panicked = slot.join();
        }
        super::ballast::keep(&self.works.state);
    }

    /// Does what is asked. Every reply but the last goes to `each`.
    pub(super) fn handle(
        self: &Arc<Self>,
        request: &Request,
        uid: u32,
        listener: &dyn Listener,
        each: &mut dyn FnMut(&Reply),
    ) -> Result<Value, CliError> {
        match request {
            Request::Run(run) => super::ask_work::run(self, run, uid, listener, each),
            Request::Ps => super::ask_look::ps(self, each),
            Request::Show { run } => super::ask_look::show(self, run, listener, each),
            Request::Diff { run } => super::ask_look::diff(self, run, uid),
            Request::Output { run } => super::ask_look::output(self, run, listener, each),
            Request::Watch { after } => super::ask_look::watch(self, *after, listener, each),
            Request::Log => super::ask_look::log(self, listener, each),
            Request::Proposals => super::ask_look::proposals(self, each),
            Request::Agents => super::ask_agents::list(self, each),
            Request::Tools => super::ask_tools::list(self, each),
            Request::InstallAgent { name } => super::ask_agents::install(self, name, uid, listener, each),
            Request::Credentials => super::ask_credentials::list(self, uid, listener, each),
            Request::Identities { days } => super::ask_identities::list(self, *days, uid, listener, each),
            Request::Try { credential, of: None } => super::ask_doctor::attempt(self, credential, uid, listener, each),
            Request::Try { credential, of: Some(run) } => super::ask_doctor::report(self, credential, run),
            Request::Certify { name } => super::ask_tenure::certify(self, name, uid),
            Request::Offboard { name } => super::ask_tenure::offboard(self, name, uid, listener),
            Request::StoreKey { name, key } => super::ask_credentials::store(self, name, key, uid),
            Request::PlanApp { name, organization, redirect } => {
                super::ask_app::plan(self, name, organization.as_deref(), redirect, uid)
            }
            Request::MakeApp { name, organization, code } => {
                super::ask_app::make(self, name, organization.as_deref(), code, uid)
            }
            Request::RemoveKey { name } => super::ask_credentials::remove(self, name, uid),
            Request::StoreProxyPassword { password } => super::ask_credentials::store_proxy(self, password, uid),
            Request::RemoveProxyPassword => super::ask_credentials::remove_proxy(self, uid),
            Request::Withdraw { name, from } => super::ask_credentials::withdraw(self, name, from.as_deref(), uid),
            Request::Can { agent } => super::ask_look::can(self, agent),
            Request::Explain { entry } => super::ask_look::explain(self, *entry),
            Request::Approvals => super::ask_people::approvals(self, each),
            Request::Approve { approval } => {
                let value = super::ask_people::approve(self, approval, uid)?;
                super::ask_work::see_through(self, approval, &value, listener).map(|()| value)
            }
            Request::Deny { approval } => {
                let value = super::ask_people::deny(self, approval, uid)?;
                super::ask_work::see_through(self, approval, &value, listener).map(|()| value)
            }
            Request::Answer { question, words } => super::ask_people::answer(self, question, words, uid),
            Request::Merge { repo, number, head } => {
                super::ask_people::merge(self, repo.as_deref(), *number, head.as_deref(), uid)
            }
            Request::Halt(scope) => super::ask_stop::halt(self, scope, uid, listener),
            Request::Resume(scope) => super::ask_stop::resume(self, scope, uid),
            Request::Revoke { run } => super::ask_stop::revoke(self, run, uid, listener),
            Request::Verify { against } => super::ask_audit::verify(&self.works.ledger, against.as_deref()),
            Request::Export => {
                let mut pieces = super::ask_audit::Pieces::new(listener, each);
                super::ask_audit::export(&self.works.ledger, &mut pieces).map(|()| Value::Null)
            }
            Request::Introspect { audience, token } => super::ask_identity::introspect(self, audience, token),
            Request::Published(document) => super::ask_identity::published(self, *document),
            Request::Ping => Ok(Value::Null),
        }
    }

    /// Waits for a turn at reading the whole log; none once whoever asked has gone.
    pub(super) fn turn_at_the_log(&self, uid: u32, listener: &dyn Listener) -> Option<Turn<'_>> {
        self.turns.take(uid, &|| listener.is_there() && !self.leaving.load(Ordering::Acquire))
    }

    /// The next claim, with what an earlier holder left to recover.
    pub(super) fn claim(&self) -> Option<Claim> {
        match self.works.ledger.queue().claim(self.works.now(), pool::CLAIM) {
            Ok(Some(claim)) => {
                self.recorded();
                Some(claim)
            }
            // Nothing to do needs no record.
            Ok(None) => None,
            Err(WriteError::Storage(because)) => {
                self.cannot_record(because);
                None
            }
            Err(WriteError::Refused(_) | WriteError::Closed) => None,
        }
    }

    /// A slot could record what it does.
    pub(super) fn recorded(&self) {
        *self.unrecorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// A slot could not record what it has to do, so it does nothing.
    pub(super) fn cannot_record(&self, because: String) {
        let mut unrecorded = self.unrecorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let since = unrecorded.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *unrecorded = Some((since, because));
    }

    /// Keeps nobody waiting for work that does not go on: an error once nothing could be recorded for a while.
    pub(super) fn goes_on(&self) -> Result<(), CliError> {
        let unrecorded = self.unrecorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*unrecorded {
            Some((since, because)) if since.elapsed() >= UNRECORDED_AT_MOST => {
                let said = format!("the work does not go on, because nothing can be recorded: {because}");
                Err(CliError::new(Kind::State, said).hint(
                    "free some space if the disk is full; `selvedge serve` then takes the work up where it stands, and \
                     `selvedge ps --all` says where that is",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How often something has moved. Ask before looking, so that what moves while looking is not slept through.
    pub(super) fn moves(&self) -> u64 {
        *self.bell.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sleeps until something moves, but no longer than `at_most`.
    pub(crate) fn idle(&self, at_most: Duration) {
        self.idle_since(self.moves(), at_most);
    }

    /// Sleeps until something has moved since there were this many moves, but no longer than `at_most`.
    pub(super) fn idle_since(&self, moves: u64, at_most: Duration) {
        let (count, bell) = &self.bell;
        let Ok(seen) = count.lock() else { return };
        let _woken = bell.wait_timeout_while(seen, at_most, |now| *now == moves);
    }

    /// Where the output of a run's agent is kept.
    pub(crate) fn tape_path(&self, run: &selvedge_domain::RunId) -> std::path::PathBuf {
        self.works.tape_path(run, "work")
    }

    /// Says that something moved.
    pub(crate) fn moved(&self) {
        self.ring();
    }

    fn ring(&self) {
        let (count, bell) = &self.bell;
        if let Ok(mut count) = count.lock() {
            *count = count.wrapping_add(1);
        }
        bell.notify_all();
    }
}
