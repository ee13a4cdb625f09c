//! A simulated keeper: the process that takes turns, and dies when told to.
//!
//! Owns what a crash forgets: its claims, and that it lives. A dead keeper's ports do nothing and say that they failed, so
//! whatever code still runs in it can change neither the world nor the record; dropping it is the crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_authority::{ActError, Class, Entry, JournalError};
use selvedge_domain::{RunId, Stage};
use selvedge_factory::{Factory, Interrupted, Standing};

use crate::faults::{Fault, Faults, Kind, Plan};
use crate::notebook::Memory;
use crate::scenario::Scenario;
use crate::script::Script;
use crate::teeth::Break;
use crate::world::{Fact, Held, World};

/// One simulation: a world, a record, and what goes wrong.
#[expect(missing_debug_implementations, reason = "borrows a record, which has nothing to show")]
pub struct Simulation<'m> {
    pub(crate) memory: &'m dyn Memory,
    pub(crate) world: Mutex<World>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) script: Mutex<Script>,
    /// What was appended, in order, beside the record itself.
    pub(crate) written: Mutex<Vec<Entry>>,
    pub(crate) broken: Option<Break>,
    claims: Mutex<BTreeMap<RunId, u64>>,
    busy: Mutex<BTreeSet<RunId>>,
}

/// A keeper, while it lives.
pub(crate) struct Keeper<'s, 'm> {
    pub(crate) sim: &'s Simulation<'m>,
    dead: AtomicBool,
    claims: Mutex<BTreeMap<RunId, u64>>,
    /// Runs it was told that it lost.
    told: Mutex<BTreeSet<RunId>>,
    /// Whether faults strike it; another worker that steals a claim is left in peace.
    struck: bool,
}

/// How far a worker that steals a claim gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Recovers,
    Settles,
}

/// How often a thief takes a turn; more would only repeat a wait.
const THIEF_TURNS_MAX: usize = 6;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'m> Simulation<'m> {
    /// A fresh world for this scenario, in which faults strike as planned.
    pub fn new(scenario: &Scenario, plan: Plan, memory: &'m dyn Memory) -> Self {
        Self {
            memory,
            world: Mutex::new(World::new(scenario)),
            faults: Mutex::new(Faults::new(plan)),
            script: Mutex::new(Script::new(scenario)),
            written: Mutex::default(),
            broken: None,
            claims: Mutex::default(),
            busy: Mutex::default(),
        }
    }

    /// The same world with one part broken, to see that the oracle notices.
    #[must_use]
    pub fn breaking(mut self, part: Break) -> Self {
        self.broken = Some(part);
        self
    }

    pub(crate) fn is_broken(&self, part: Break) -> bool {
        self.broken == Some(part)
    }

    pub(crate) fn write(&self, claim: Option<u64>, entry: Entry, class: Class) -> Result<(), JournalError> {
        if lock(&self.world).disk_full {
            return Err(JournalError::Write("no space left on device".to_owned()));
        }
        self.memory.append(claim, entry.clone(), class)?;
        self.wrote(entry);
        Ok(())
    }

    /// Notes what the record took.
    pub(crate) fn wrote(&self, entry: Entry) {
        lock(&self.written).push(entry);
        lock(&self.world).recorded += 1;
    }
}

impl<'s, 'm> Keeper<'s, 'm> {
    pub(crate) fn new(sim: &'s Simulation<'m>) -> Self {
        Self { sim, dead: AtomicBool::new(false), claims: Mutex::default(), told: Mutex::default(), struck: true }
    }

    fn thief(sim: &'s Simulation<'m>) -> Self {
        Self { struck: false, ..Self::new(sim) }
    }

    pub(crate) fn factory(&self) -> Factory<'_> {
        Factory {
            clock: self,
            entropy: self,
            store: self,
            judge: self,
            registry: self,
            lender: self,
            workplace: self,
            repositories: self,
            queue: self,
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// Takes the run from whoever holds it.
    pub(crate) fn claim(&self, run: &RunId) -> Result<(), JournalError> {
        let claim = self.sim.memory.claim(run)?;
        lock(&self.claims).insert(run.clone(), claim);
        lock(&self.told).remove(run);
        lock(&self.sim.claims).insert(run.clone(), claim);
        Ok(())
    }

    pub(crate) fn claim_on(&self, run: &RunId) -> Option<u64> {
        lock(&self.claims).get(run).copied()
    }

    /// Notes whether the record's last word was that it lost the run.
    pub(crate) fn tell(&self, run: &RunId, fenced: bool) {
        if fenced {
            lock(&self.told).insert(run.clone());
        } else {
            lock(&self.told).remove(run);
        }
    }

    pub(crate) fn was_told(&self, run: &RunId) -> bool {
        lock(&self.told).contains(run)
    }

    pub(crate) fn held(&self, run: &RunId) -> Held {
        let mine = self.claim_on(run);
        if mine == lock(&self.sim.claims).get(run).copied() { Held::Yes } else { Held::No }
    }

    /// One turn, with the run marked so that nothing else begins one.
    pub(crate) fn turn(&self, run: &RunId) -> Result<Standing, Interrupted> {
        lock(&self.sim.busy).insert(run.clone());
        let struck_before = lock(&self.sim.faults).struck.len();
        let standing = self.factory().turn(run);
        lock(&self.sim.busy).remove(run);
        if matches!(&standing, Err(Interrupted { cause: JournalError::Fenced, .. })) {
            lock(&self.claims).remove(run);
        }
        if let Err(Interrupted { cause: JournalError::Write(_), .. }) = &standing
            && !self.is_dead()
        {
            // One thing went wrong; where a second did, letting go may have failed as well.
            let troubles = usize::from(lock(&self.sim.world).disk_full);
            if lock(&self.sim.faults).struck.len() + troubles <= struck_before + 1 {
                lock(&self.sim.world).note(Fact::Interrupted(run.clone()));
            }
        }
        standing
    }

    /// Counts a fault point and says what goes wrong there.
    pub(crate) fn fault(&self, kind: Kind, name: &'static str) -> Option<Fault> {
        if !self.struck {
            return None;
        }
        let mut faults = lock(&self.sim.faults);
        let fault = faults.next(kind, name);
        if faults.ran_away() {
            self.die();
        }
        fault
    }

    /// A call that cannot fail, but under which the keeper can die.
    pub(crate) fn ask(&self, name: &'static str) {
        if !self.is_dead() && self.fault(Kind::Ask, name) == Some(Fault::CrashBefore) {
            self.die();
        }
    }

    /// A call that does something for `run`, with whatever goes wrong.
    pub(crate) fn act<T>(
        &self,
        name: &'static str,
        run: &RunId,
        go: impl Fn() -> Result<T, ActError>,
    ) -> Result<T, ActError> {
        let gone = || Err(ActError::Transient("the keeper died".to_owned()));
        if self.is_dead() {
            return gone();
        }
        match self.fault(Kind::Act, name) {
            None => go(),
            Some(Fault::CrashBefore) => {
                self.die();
                gone()
            }
            Some(Fault::CrashAfter) => {
                let _lost = go();
                self.die();
                gone()
            }
            Some(Fault::Transient) => Err(ActError::Transient("injected: try again".to_owned())),
            Some(Fault::Permanent) => Err(ActError::Permanent("injected: will not work".to_owned())),
            Some(Fault::Repeated) => {
                let _first = go();
                go()
            }
            Some(Fault::AnswerLost) => {
                let _lost = go();
                Err(ActError::Transient("injected: the answer was lost".to_owned()))
            }
            Some(fault) => {
                self.interrupt(fault, run);
                if self.is_dead() { gone() } else { go() }
            }
        }
    }

    /// What other workers do in the middle of a call for `run`.
    pub(crate) fn interrupt(&self, fault: Fault, run: &RunId) {
        match fault {
            Fault::Stolen => self.steal(run, Reach::Settles),
            Fault::StolenBriefly => self.steal(run, Reach::Recovers),
            Fault::Elsewhere => self.turn_another(),
            _ => {}
        }
    }

    fn steal(&self, run: &RunId, reach: Reach) {
        let thief = Keeper::thief(self.sim);
        let recovered = thief.claim(run).and_then(|()| thief.factory().recover(run));
        if recovered.is_err() || reach == Reach::Recovers {
            return;
        }
        for _ in 0..THIEF_TURNS_MAX {
            if matches!(thief.factory().turn(run), Ok(Standing::Settled(_) | Standing::Waiting(_)) | Err(_)) {
                return;
            }
        }
    }

    fn turn_another(&self) {
        let busy = lock(&self.sim.busy).clone();
        let unsettled = |run: &RunId| {
            self.sim.memory.load(run).is_ok_and(|run| !matches!(run.stage(), Stage::Settled(_) | Stage::Waiting(_)))
        };
        let other = self.sim.memory.runs().ok().and_then(|runs| {
            runs.into_iter().find(|run| !busy.contains(run) && self.claim_on(run).is_some() && unsettled(run))
        });
        if let Some(other) = other {
            let _later = self.turn(&other);
        }
    }
}
