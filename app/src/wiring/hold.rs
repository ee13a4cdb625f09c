//! Holding a turn for people, the keeper's side of it: while a call waits for a yes, or a question for words, the sandbox stands still and
//! nothing is lent to it. Owns the order of that: let servers finish, freeze, take back, wait, lend again, decide, let go on. Never decides
//! anything itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_authority::{Code, Denial};
use selvedge_domain::orders::{AskPerson, BrokeredCall, ToolAnswered, ToolCall};
use selvedge_domain::{Digest, RunId};
use selvedge_factory::nobody_here;
use selvedge_factory::ports::{Asked, Doorkeeper, Heard, HeldCall, Holdable, Holding, Ruled};
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

/// Which call: of which answer of a model and which of that one's, or the one that a client sent to a server, or what came with it.
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
    /// Whether the sandbox stands still. What is decided meanwhile is told once it goes on.
    stands: AtomicBool,
}

/// A call that waits, or did.
enum Call {
    /// Its answer is being read.
    Asked(Box<Waiting>),
    /// Its door waits, and last said so then.
    Held(Box<Waiting>, Instant),
    /// It is decided, and its door has yet to hear of it.
    Ruled(Result<Ruled, Denial>),
}

/// What people were asked, and under which rules.
#[derive(Clone)]
struct Waiting {
    held: HeldCall,
    rules: Rules,
}

/// The configuration and the policies in force.
type Rules = (Digest, Option<Digest>);

impl<'a> HoldDesk<'a> {
    /// Nothing is held yet.
    pub(super) fn new(works: &'a Works, run: &'a RunId, doors: &'a dyn Doorkeeper, loans: &'a DoorLoans<'a>) -> Self {
        let (calls, moved, stands) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        Self { works, run, doors, loans, calls, moved, stands }
    }

    /// Answers whether the agent may have a tool call; where a person has to say, that it waits.
    pub(super) fn ask(&self, place: Place, call: ToolCall) -> Given {
        match self.holding() {
            Some(holding) => self.put(holding, place, Holdable::Tool(call)),
            None => self.doors.call_tool(call).map_or_else(denied, |()| Given::Allowed),
        }
    }

    /// The same of a call of a tool server.
    pub(super) fn ask_server(&self, place: Place, call: BrokeredCall) -> Given {
        match self.holding() {
            Some(holding) => self.put(holding, place, Holdable::Server(call)),
            None => self.doors.call_server(call).map_or_else(denied, |()| Given::Allowed),
        }
    }

    /// Puts a question before people.
    pub(super) fn ask_person(&self, place: Place, question: AskPerson) -> Given {
        match self.holding() {
            Some(holding) => self.put(holding, place, Holdable::Question(question)),
            None => denied(nobody_here()),
        }
    }

    fn put(&self, holding: &dyn Holding, place: Place, call: Holdable) -> Given {
        let rules = self.rules();
        match holding.ask(call) {
            Ok(Asked::Passed) => Given::Allowed,
            Ok(Asked::Waits(held)) => {
                self.calls().insert(place, Call::Asked(Box::new(Waiting { held: *held, rules })));
                Given::Held
            }
            Err(denial) => denied(denial),
        }
    }

    /// How a turn is held here; none where nobody holds any, or a sandbox cannot stand still.
    fn holding(&self) -> Option<&dyn Holding> {
        self.doors.holding().filter(|_| self.can_freeze())
    }

    /// Whether anybody can be waited for.
    pub(super) fn can_hold(&self) -> bool {
        self.holding().is_some()
    }

    /// What was decided on a call that waits. Its answer has been read, so the turn is held from now on.
    pub(super) fn answer(&self, place: Place) -> Given {
        let mut calls = self.calls();
        let stands = self.stands.load(Ordering::Acquire);
        match calls.remove(&place) {
            Some(ruled @ Call::Ruled(_)) if stands => {
                calls.insert(place, ruled);
                Given::Held
            }
            Some(Call::Ruled(Ok(Ruled::Passed))) => Given::Allowed,
            Some(Call::Ruled(Ok(Ruled::Told(text)))) => Given::Told { text },
            Some(Call::Ruled(Err(denial))) => denied(denial),
            Some(Call::Asked(waiting) | Call::Held(waiting, _)) => {
                calls.insert(place, Call::Asked(waiting));
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

    /// Nobody waits any more for what came with this call. Whether something did: then nothing comes of that.
    pub(super) fn forget(&self, serials_from: u64, serial: u64) -> bool {
        let forgotten = self.calls().extract_if((serial, 0)..=(serial, u64::MAX), |_, _| true).collect::<Vec<_>>();
        let waited = !forgotten.is_empty();
        let Some(holding) = self.doors.holding() else { return waited };
        for (_, call) in forgotten {
            match call {
                Call::Asked(waiting) | Call::Held(waiting, _) => {
                    let because = "whoever asked does not wait for it any more".to_owned();
                    let _denied = holding.rule(&waiting.held, &Heard::Ended { because });
                }
                // A server's call that was allowed and that nobody will make now; of anything else there is none by that number.
                Call::Ruled(_) => self.doors.server_answered(serials_from.wrapping_add(serial), unsent()),
            }
        }
        waited
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
        // A server at work on a call would be told as silent once its patience is over, whatever it did: it ends first.
        holding.close();
        self.wait_for_servers(holding, is_over);
        // Whoever was quicker than the model, or than a server, is not waited for.
        if is_answered(&self.hear(holding)) {
            self.rule_all(holding, Ok(()));
            return holding.end();
        }
        let sandboxes = self.works.sandboxes_of(self.run);
        self.stands.store(true, Ordering::Release);
        let frozen = freeze(&sandboxes);
        let began = frozen.map_err(|error| error.to_string()).and_then(|()| self.begin(holding));
        if let Err(because) = began {
            self.deny_all(holding, &because);
            holding.end();
            thaw(&sandboxes);
            self.stands.store(false, Ordering::Release);
            return;
        }
        let taken = self.loans.pause();
        let ended = self.wait(holding, is_over).err();
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
        self.stands.store(false, Ordering::Release);
    }

    /// Until no server is at work on a call, or nobody has to be waited for any more. Each of them has its own patience.
    fn wait_for_servers(&self, holding: &dyn Holding, is_over: &AtomicBool) {
        while holding.is_server_at_work() && !is_over.load(Ordering::Acquire) {
            let heard = self.hear(holding);
            if is_answered(&heard) || heard.iter().any(|heard| matches!(heard, Heard::Ended { .. })) {
                return;
            }
            let calls = self.calls();
            let _woken = self.moved.wait_timeout(calls, LOOK_EVERY);
        }
    }

    fn begin(&self, holding: &dyn Holding) -> Result<(), String> {
        let calls = self.calls();
        let held: Vec<&HeldCall> = calls.values().filter_map(Call::waits).map(|waiting| &waiting.held).collect();
        holding.begin(&held).map_err(|denial| denial.to_string())
    }

    /// Waits until every call is answered. Why it was not waited for to the end, otherwise.
    fn wait(&self, holding: &dyn Holding, is_over: &AtomicBool) -> Result<(), Ended> {
        let ended = |because: &str| Err(Ended(because.to_owned()));
        let mut living = holding.take_back().err();
        let mut tried = Instant::now();
        loop {
            if is_over.load(Ordering::Acquire) {
                return ended("the attempt is over");
            }
            let rules = self.rules();
            if self.calls().values().filter_map(Call::waits).any(|waiting| waiting.rules != rules) {
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
            Call::Held(waiting, asked) => Some((&waiting.held, asked.elapsed())),
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
            if let Some(Waiting { held, .. }) = call.waits() {
                let heard = match (holding.hear(held), &lent) {
                    (Heard::Yes, Err(because)) => Heard::Ended { because: because.clone() },
                    (heard, _) => heard,
                };
                *call = Call::Ruled(holding.rule(held, &self.withheld(heard)));
            }
        }
    }

    /// A person's words without what was lent to the run: they would go to its model.
    fn withheld(&self, heard: Heard) -> Heard {
        match heard {
            Heard::Words(reply) if self.loans.are_in(&reply.words) => {
                Heard::Ended { because: "the answer holds a credential that the run was lent".to_owned() }
            }
            heard => heard,
        }
    }

    fn deny_all(&self, holding: &dyn Holding, because: &str) {
        let mut calls = self.calls();
        for call in calls.values_mut() {
            if let Some(Waiting { held, .. }) = call.waits() {
                let heard = match holding.hear(held) {
                    // Whoever answered, and whatever the clock says, is told as it is.
                    heard @ (Heard::No | Heard::TimedOut | Heard::Ended { .. }) => heard,
                    Heard::Nothing | Heard::Yes | Heard::Words(_) => Heard::Ended { because: because.to_owned() },
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
        let (Self::Asked(waiting) | Self::Held(waiting, _)) = self else { return };
        *self = Self::Held(waiting.clone(), Instant::now());
    }

    fn waits(&self) -> Option<&Waiting> {
        match self {
            Self::Held(waiting, _) => Some(waiting),
            Self::Asked(_) | Self::Ruled(_) => None,
        }
    }
}

/// Whether everybody has answered, or had the time to.
fn is_answered(heard: &[Heard]) -> bool {
    !heard.iter().any(|heard| matches!(heard, Heard::Nothing | Heard::Ended { .. }))
}

/// What came of a call that was allowed and that nobody made.
fn unsent() -> ToolAnswered {
    ToolAnswered { code: "not_sent".to_owned(), answer: Digest::of_parts([]), answer_bytes: 0, request_bytes: 0 }
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
