//! Holding a turn for people, the keeper's side of it: while a tool call waits for a yes, the sandbox stands still and nothing is lent to
//! it. Owns the order of that: freeze, take back, wait, lend again, decide, let go on. Never decides anything itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_authority::{Code, Denial};
use selvedge_domain::orders::ToolCall;
use selvedge_domain::{Digest, RunId};
use selvedge_factory::ports::{Asked, Doorkeeper, Heard, HeldCall, Holding};
use selvedge_gateway::Given;
use selvedge_sandbox::Killer;

use super::Works;
use super::denied::denied;
use super::loans::{DoorLoans, RETRY_AFTER};

/// How often answers are looked for. A halt is noticed as soon.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a sandbox may take to stand still. Processes that the kernel cannot stop are asleep in it, on a disk that hangs say.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);

/// A door that did not ask for so long does not wait any more: it asks several times a second.
const ASKED_AFTER_WITHIN: Duration = Duration::from_secs(20);

/// Which call: of which answer, and which of that one's.
type Place = (u64, u64);

/// Where turns of one attempt are held.
pub(super) struct HoldDesk<'a> {
    works: &'a Works,
    run: &'a RunId,
    doors: &'a dyn Doorkeeper,
    /// What its door has.
    loans: &'a DoorLoans<'a>,
    calls: Mutex<BTreeMap<Place, Call>>,
    moved: Condvar,
}

/// A call that waits, or did.
enum Call {
    /// Its answer is being read.
    Asked(Box<HeldCall>),
    /// Its door waits, and last said so then.
    Held(Box<HeldCall>, Instant),
    /// It is decided, and its door has yet to hear of it.
    Ruled(Result<(), Denial>),
}

/// What the rules were when people were asked.
type Rules = (Digest, Option<Digest>);

impl<'a> HoldDesk<'a> {
    /// Nothing is held yet.
    pub(super) fn new(works: &'a Works, run: &'a RunId, doors: &'a dyn Doorkeeper, loans: &'a DoorLoans<'a>) -> Self {
        Self { works, run, doors, loans, calls: Mutex::default(), moved: Condvar::new() }
    }

    /// Answers whether the agent may have a tool call; where a person has to say, that it waits.
    pub(super) fn ask(&self, place: Place, call: ToolCall) -> Given {
        let holding = self.doors.holding().filter(|_| self.can_freeze());
        let asked = match holding {
            Some(holding) => holding.ask(call),
            None => self.doors.call_tool(call).map(|()| Asked::Passed),
        };
        match asked {
            Ok(Asked::Passed) => Given::Allowed,
            Ok(Asked::Waits(held)) => {
                self.calls().insert(place, Call::Asked(held));
                Given::Held
            }
            Err(denial) => denied(denial),
        }
    }

    /// What was decided on a call that waits. Its answer has been read, so the turn is held from now on.
    pub(super) fn answer(&self, place: Place) -> Given {
        let mut calls = self.calls();
        match calls.remove(&place) {
            Some(Call::Ruled(Ok(()))) => Given::Allowed,
            Some(Call::Ruled(Err(denial))) => denied(denial),
            Some(Call::Asked(held) | Call::Held(held, _)) => {
                calls.insert(place, Call::Asked(held));
                for (_, call) in calls.range_mut((place.0, 0)..=(place.0, u64::MAX)) {
                    call.is_waited_for();
                }
                drop(calls);
                self.moved.notify_all();
                Given::Held
            }
            None => denied(nobody_asked()),
        }
    }

    /// Nobody waits for calls of this answer any more.
    pub(super) fn forget(&self, serial: u64) {
        let forgotten = self.calls().extract_if((serial, 0)..=(serial, u64::MAX), |_, _| true).collect::<Vec<_>>();
        let Some(holding) = self.doors.holding() else { return };
        for held in forgotten.into_iter().filter_map(|(_, call)| call.held()) {
            let because = "the answer it stood in broke off".to_owned();
            let _denied = holding.rule(&held, &Heard::Ended { because });
        }
    }

    /// Says that something moved.
    pub(super) fn ring(&self) {
        self.moved.notify_all();
    }

    /// Holds turns as they come, until `is_over`.
    pub(super) fn keep(&self, is_over: &AtomicBool) {
        let Some(holding) = self.doors.holding() else { return };
        while !is_over.load(Ordering::Acquire) {
            if self.calls().values().any(|call| matches!(call, Call::Held(..))) {
                self.hold(holding, is_over);
            } else {
                let calls = self.calls();
                let _woken = self.moved.wait_timeout(calls, LOOK_EVERY);
            }
        }
        self.deny_all(holding, "the attempt is over");
    }

    /// One hold, from freezing the sandbox to letting it go on.
    fn hold(&self, holding: &dyn Holding, is_over: &AtomicBool) {
        // Whoever was quicker than the model is not waited for.
        let heard = self.hear(holding);
        if !heard.iter().any(|heard| matches!(heard, Heard::Nothing | Heard::Ended { .. })) {
            return self.rule_all(holding, Ok(()));
        }
        let rules = self.rules();
        let sandboxes = self.works.sandboxes_of(self.run);
        let frozen = freeze(&sandboxes);
        let began = frozen.map_err(|error| error.to_string()).and_then(|()| self.begin(holding));
        if let Err(because) = began {
            self.deny_all(holding, &because);
            thaw(&sandboxes);
            return;
        }
        let taken = self.loans.pause();
        let ended = self.wait(holding, rules, is_over).err();
        // After a no as well: an agent that is told no needs its model to hear it.
        let lent = match self.is_to_go_on(is_over) {
            true => self.loans.lend_again(holding, &taken),
            false => Err("the run does not go on".to_owned()),
        };
        match ended {
            Some(Ended(because)) => self.deny_all(holding, &because),
            None => self.rule_all(holding, lent),
        }
        self.works.on_loan.goes_on(self.run);
        holding.end();
        // What is halted or over is dead, or about to be; it is not for this to wake it.
        if self.is_to_go_on(is_over) {
            thaw(&sandboxes);
        }
    }

    fn begin(&self, holding: &dyn Holding) -> Result<(), String> {
        let calls = self.calls();
        let held: Vec<&HeldCall> = calls.values().filter_map(Call::waits).collect();
        holding.begin(&held).map_err(|denial| denial.to_string())
    }

    /// Waits until every call is answered. Why it was not waited for to the end, otherwise.
    fn wait(&self, holding: &dyn Holding, rules: Rules, is_over: &AtomicBool) -> Result<(), Ended> {
        let ended = |because: &str| Err(Ended(because.to_owned()));
        let mut living = holding.take_back().err();
        let mut tried = Instant::now();
        loop {
            if is_over.load(Ordering::Acquire) {
                return ended("the attempt is over");
            }
            if self.rules() != rules {
                return ended("the policies or the configuration changed meanwhile");
            }
            if self.works.on_loan.is_withdrawn_meanwhile(self.run) {
                return ended("a credential was withdrawn from the run meanwhile");
            }
            if living.is_some() && tried.elapsed() >= RETRY_AFTER {
                living = holding.take_back().err();
                tried = Instant::now();
            }
            let heard = self.hear(holding);
            if let Some(Heard::Ended { because }) = heard.iter().find(|heard| matches!(heard, Heard::Ended { .. })) {
                return ended(because);
            }
            if !heard.contains(&Heard::Nothing) {
                // Asked to be taken back once more before anything is made anew.
                return match living.and_then(|_| holding.take_back().err()) {
                    Some(because) => Err(Ended(because)),
                    None => Ok(()),
                };
            }
            let calls = self.calls();
            let _woken = self.moved.wait_timeout(calls, LOOK_EVERY);
        }
    }

    /// What was heard of each call that waits. Whoever does not ask any more does not wait.
    fn hear(&self, holding: &dyn Holding) -> Vec<Heard> {
        let calls = self.calls();
        let waiting = calls.values().filter_map(|call| match call {
            Call::Held(held, asked) => Some((held, asked.elapsed())),
            Call::Asked(_) | Call::Ruled(_) => None,
        });
        let heard = waiting.map(|(held, silent)| match silent < ASKED_AFTER_WITHIN {
            true => holding.hear(held),
            false => Heard::Ended { because: "its door does not wait for it any more".to_owned() },
        });
        heard.collect()
    }

    /// Rules on everything that waits: what was said of it, unless what the run is lent could not be lent again.
    fn rule_all(&self, holding: &dyn Holding, lent: Result<(), String>) {
        let mut calls = self.calls();
        for call in calls.values_mut() {
            if let Call::Held(held, _) = call {
                let heard = match (holding.hear(held), &lent) {
                    (Heard::Yes, Err(because)) => Heard::Ended { because: because.clone() },
                    (heard, _) => heard,
                };
                *call = Call::Ruled(holding.rule(held, &heard));
            }
        }
    }

    fn deny_all(&self, holding: &dyn Holding, because: &str) {
        let mut calls = self.calls();
        for call in calls.values_mut() {
            if let Call::Held(held, _) = call {
                let heard = match holding.hear(held) {
                    // Whoever answered, and whatever the clock says, is told as it is.
                    heard @ (Heard::No | Heard::TimedOut | Heard::Ended { .. }) => heard,
                    Heard::Nothing | Heard::Yes => Heard::Ended { because: because.to_owned() },
                };
                *call = Call::Ruled(holding.rule(held, &heard));
            }
        }
    }

    fn is_to_go_on(&self, is_over: &AtomicBool) -> bool {
        let is_halted = self.works.run(self.run).map_or(true, |run| self.works.halt_covering(&run).is_some());
        !is_over.load(Ordering::Acquire) && !is_halted
    }

    fn can_freeze(&self) -> bool {
        let sandboxes = self.works.sandboxes_of(self.run);
        !sandboxes.is_empty() && sandboxes.iter().all(Killer::can_freeze)
    }

    fn rules(&self) -> Rules {
        (self.works.config().digest, self.works.policies())
    }

    /// Each statement leaves it whole.
    fn calls(&self) -> MutexGuard<'_, BTreeMap<Place, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a hold came to its end before everybody had answered.
struct Ended(String);

impl Call {
    /// Its door waits now.
    fn is_waited_for(&mut self) {
        let (Self::Asked(held) | Self::Held(held, _)) = self else { return };
        *self = Self::Held(held.clone(), Instant::now());
    }

    fn waits(&self) -> Option<&HeldCall> {
        match self {
            Self::Held(held, _) => Some(held),
            Self::Asked(_) | Self::Ruled(_) => None,
        }
    }

    fn held(self) -> Option<Box<HeldCall>> {
        match self {
            Self::Asked(held) | Self::Held(held, _) => Some(held),
            Self::Ruled(_) => None,
        }
    }
}

/// All of them, or none.
fn freeze(sandboxes: &[Killer]) -> std::io::Result<()> {
    let frozen = sandboxes.iter().try_for_each(|sandbox| sandbox.freeze(FREEZE_WITHIN));
    if frozen.is_err() {
        thaw(sandboxes);
    }
    frozen
}

fn thaw(sandboxes: &[Killer]) {
    for sandbox in sandboxes {
        // It fails where the sandbox is gone; one that stays frozen ends by its limit of time.
        let _ = sandbox.thaw();
    }
}

fn nobody_asked() -> Denial {
    let next_step = "nobody was asked about this call; ask for it once more".to_owned();
    Denial { code: Code::NotPermitted, policies: Vec::new(), next_step }
}
