//! The cycle: one governed turn, from wherever the run stands to where it settles or has to wait.

use selvedge_authority::{
    ActError, Context, Entry, Funnel, JournalError, Judge, Record, Relinquished, Stop, Subject, class_of,
};
use selvedge_domain::orders::{AdmitTask, StartWork};
use selvedge_domain::{
    Actor, ApprovalId, Conduct, Description, Digest, Effect, Event, Grant, Intent, Outcome, Run, RunId, Stage, Task,
    TaskId, Verb, Wait, WaitKind, WorkloadId,
};

use crate::access::Asking;
use crate::doorkeeper::Gatekeeper;
use crate::identity::Lending;
use crate::ports::{
    Agent, Answer, Clock, Entropy, Lender, Queue, Registry, Repositories, Repository, Store, Workplace,
};

/// The loop, and everything it reaches for.
#[expect(missing_debug_implementations, reason = "a bundle of ports, which have nothing to show")]
#[derive(Clone, Copy)]
pub struct Factory<'a> {
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Draws ids.
    pub entropy: &'a dyn Entropy,
    /// Remembers.
    pub store: &'a dyn Store,
    /// Decides.
    pub judge: &'a dyn Judge,
    /// Knows agents and repositories.
    pub registry: &'a dyn Registry,
    /// Lends credentials.
    pub lender: &'a dyn Lender,
    /// Runs agents and checks.
    pub workplace: &'a dyn Workplace,
    /// Keeps repositories.
    pub repositories: &'a dyn Repositories,
    /// Takes follow-ups.
    pub queue: &'a dyn Queue,
}

/// Where a turn left its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is over.
    Settled(Outcome),
    /// It waits, holding nothing.
    Waiting(Wait),
    /// It has ended, and a credential may still live: call again.
    Closing {
        /// Why it cannot settle.
        because: String,
    },
    /// An act failed in a way that may pass: call again.
    Again {
        /// What failed.
        because: String,
    },
}

/// The record could not be kept, so the turn stopped. Whatever ran was killed; the run goes on when the record works again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run {run} is interrupted: {cause}")]
pub struct Interrupted {
    /// The run.
    pub run: RunId,
    /// What is wrong with the record.
    pub cause: JournalError,
}

/// Why a step did not lead to the next stage.
pub(crate) enum Halt {
    /// The run ends like this.
    End(Outcome),
    /// A person has to say yes to this order first.
    Ask(Box<Description>),
    /// It may work later.
    Later(String),
    /// The record failed.
    Journal(JournalError),
}

impl Factory<'_> {
    /// Takes the run as far as it can go now.
    ///
    /// Every arrow asks policy, records the answer, acts, records the deed. Safe to call again after a crash anywhere:
    /// what was done is recalled, what was not is decided anew.
    pub fn turn(&self, id: &RunId) -> Result<Standing, Interrupted> {
        self.advance(id).map_err(|cause| {
            // Nothing can be recorded, so nothing may go on. Except what is no longer ours: whoever took the run over killed
            // what we had before they began.
            if cause != JournalError::Fenced {
                self.let_go(id);
            }
            Interrupted { run: id.clone(), cause }
        })
    }

    /// Ends a run whose acts keep failing. The next turn takes its leases back and settles it.
    pub fn give_up(&self, id: &RunId, because: &str) -> Result<(), JournalError> {
        let run = self.store.load(id)?;
        match run.outcome() {
            Some(_) => Ok(()),
            None => self.happened(run, Event::Ended(Outcome::Failed { because: because.to_owned() })).map(drop),
        }
    }

    fn advance(&self, id: &RunId) -> Result<Standing, JournalError> {
        // A turn never ends in the middle of an attempt, so one that begins there was cut short.
        let mut run = self.give_attempt_up(self.store.load(id)?)?;
        loop {
            let stage = run.stage().clone();
            let step = match &stage {
                Stage::Settled(outcome) => return Ok(Standing::Settled(outcome.clone())),
                Stage::Waiting(wait) => match self.wake(&run, wait)? {
                    Some(event) => Ok(event),
                    None => return Ok(Standing::Waiting(wait.clone())),
                },
                Stage::Revoked(_) => Ok(Event::Settled),
                Stage::Parking(_) | Stage::Closing(_) => match self.give_back(run)? {
                    Ok(clean) => {
                        run = clean;
                        self.queue_follow_ups(&run).and_then(|()| self.queue_next_part(&run)).map(|()| match stage {
                            Stage::Parking(_) => Event::Parked,
                            _ => Event::Revoked,
                        })
                    }
                    Err(because) => return Ok(Standing::Closing { because }),
                },
                _ => match self.store.halted(&run)? {
                    Some(because) => Ok(Event::Ended(Outcome::Halted { because })),
                    None => self.step(&mut run, &stage),
                },
            };
            run = match step {
                Ok(event) => self.happened(run, event)?,
                Err(Halt::End(outcome)) => {
                    let outcome = self.unless_halted(&run, outcome)?;
                    self.happened(run, Event::Ended(outcome))?
                }
                Err(Halt::Ask(order)) => self.ask(run, *order)?,
                Err(Halt::Later(because)) => return Ok(Standing::Again { because }),
                Err(Halt::Journal(error)) => return Err(error),
            };
        }
    }

    /// What fails while the run is halted may have failed of the halt: it closes doors before the sandbox behind them is dead, and
    /// a program that sees that may end first.
    fn unless_halted(&self, run: &Run, outcome: Outcome) -> Result<Outcome, JournalError> {
        let because = match &outcome {
            Outcome::Failed { .. } => self.store.halted(run)?,
            _ => None,
        };
        Ok(because.map_or(outcome, |because| Outcome::Halted { because }))
    }

    /// The mission, in a sentence: admit, lease, work, verify, deliver.
    fn step(&self, run: &mut Run, stage: &Stage) -> Result<Event, Halt> {
        match stage {
            Stage::Triggered => self.admit(run),
            Stage::Admitted => self.lease(run),
            // Its doors lent meanwhile, and whatever was lent has to die with the run, however the work went.
            Stage::Working => {
                let left = self.work(run);
                self.look_again(run, left)
            }
            // A command that prepares the tree for its checks may have read something sensitive.
            Stage::Worked(effect) => {
                let judged = self.verify(run, effect);
                self.look_again(run, judged)
            }
            Stage::Verified(verified) => self.deliver(run, verified),
            Stage::Delivered(outcome) => Ok(Event::Ended(outcome.clone())),
            Stage::Parking(_) | Stage::Waiting(_) | Stage::Closing(_) | Stage::Revoked(_) | Stage::Settled(_) => {
                Err(Halt::Later(format!("a run that is {} has no next step", stage.name())))
            }
        }
    }

    /// Takes up what the record has of a run by now, after a step that went on in a sandbox.
    fn look_again(&self, run: &mut Run, step: Result<Event, Halt>) -> Result<Event, Halt> {
        // A record that failed has said why already: whoever lost their claim must not be told something else.
        if !matches!(step, Err(Halt::Journal(_))) {
            *run = self.store.load(run.id())?;
        }
        step
    }

    /// May the factory act on this trigger at all? Nothing is touched before (requirement A3).
    fn admit(&self, run: &Run) -> Result<Event, Halt> {
        let desk = self.desk(run)?;
        self.see_that_part_stands(run)?;
        let (intent, tenure, declared) = (desk.agent.intent, desk.agent.tenure, desk.agent.declared.words());
        let order = AdmitTask { trigger: run.trigger().clone(), intent, tenure, declared };
        let task = desk.funnel(self).perform(order, |permit| {
            let base = self.repositories.base(permit)?;
            let AdmitTask { trigger, intent, .. } = permit.order().clone();
            Ok(Task { id: TaskId::from_entropy(derived(run.id(), "task")), trigger, intent, base })
        })?;
        Ok(Event::Admitted(Box::new(task)))
    }

    /// Lets the agent at the tree; or recalls what it left, when that was recorded before a crash.
    fn work(&self, run: &Run) -> Result<Event, Halt> {
        let desk = self.desk(run)?;
        let task = desk.task(run)?;
        let order = desk.work_order(run, task);
        let funnel = desk.funnel(self);
        let doors =
            Gatekeeper::new(&funnel, run.id()).lending(Lending::new(self, &desk)).asking(Asking::new(self, &desk));
        match funnel.perform(order, |permit| self.workplace.work(permit, task, &doors)) {
            Ok(ran) => match ran.effect {
                Ok(effect) => Ok(Event::Worked { effect, follow_ups: ran.follow_ups, seen: ran.seen }),
                Err(because) => Err(Halt::End(Outcome::Failed { because })),
            },
            // Lost whether or not there may be another: the next step counts, and fails the run when there were enough.
            Err(Stop::Act(ActError::Transient(_))) => Ok(Event::AttemptLost { attempt: run.attempts() }),
            // Nobody can be waited for with a sandbox about to start and a lease alive; admission is where to ask.
            Err(Stop::NeedsApproval { denial, .. }) => Err(Halt::End(Outcome::Refused {
                because: format!("{denial}; work cannot wait for that, so let `{}` ask instead", Verb::TaskAdmit),
            })),
            Err(stop) => Err(stop.into()),
        }
    }

    /// Asks a person, and parks the run until they answer.
    fn ask(&self, run: Run, order: Description) -> Result<Run, JournalError> {
        let now = self.clock.now();
        let within =
            self.registry.repository(&run.trigger().repo).map_or(DEFAULT_APPROVAL_WITHIN, |r| r.approval_within);
        let approval = approval_of(&order);
        let line = format!("{} on {}", order.verb, order.resource.name);
        if self.store.answer(&approval)? == Answer::Granted {
            // There is a yes, and the order was still not allowed: it ran out between waking and deciding.
            return self.happened(run, refused(format!("the yes to {line} ran out before it could be used")));
        }
        let until = now.after(within);
        self.record(run.id(), Verb::ApprovalGrant, Record::ApprovalAsked { approval: approval.clone(), order, until })?;
        self.happened(run, Event::Waited { kind: WaitKind::Approval { approval, order: line }, since: now, until })
    }

    /// What ends a wait: the answer, or the hour. A lapse is a no, and is recorded as a lapse.
    fn wake(&self, run: &Run, wait: &Wait) -> Result<Option<Event>, JournalError> {
        if let Some(because) = self.store.halted(run)? {
            return Ok(Some(Event::Ended(Outcome::Halted { because })));
        }
        let WaitKind::Approval { approval, order } = &wait.kind;
        let lapsed = self.clock.now() >= wait.until;
        Ok(match self.store.answer(approval)? {
            Answer::Denied => Some(refused(format!("a person denied {order}"))),
            // A yes dies with its request: resumed on it, the run would ask again, find the same yes, and never end.
            Answer::Granted if lapsed => Some(refused(format!("the yes to {order} ran out before it could be used"))),
            Answer::Granted => Some(Event::Resumed),
            Answer::Pending | Answer::Words(_) if lapsed => Some(refused(format!("nobody answered {order} in time"))),
            Answer::Pending | Answer::Words(_) => None,
        })
    }

    /// Records what happened and takes the run there. The law has the last word before the store does.
    pub(crate) fn happened(&self, run: Run, event: Event) -> Result<Run, JournalError> {
        let id = run.id().clone();
        let after = run.apply(event.clone()).map_err(|illegal| JournalError::Read(illegal.to_string()))?;
        self.record(&id, Verb::TaskAdmit, Record::Happened(event))?;
        Ok(after)
    }

    /// Appends a record of the factory's own.
    pub(crate) fn record(&self, run: &RunId, like: Verb, record: Record) -> Result<(), JournalError> {
        let entry = Entry { at: self.clock.now(), run: Some(run.clone()), actor: Actor::Factory, owner: None, record };
        self.store.append(entry, class_of(like))
    }

    /// Records that authority was taken away.
    pub(crate) fn relinquished(&self, run: &RunId, what: Relinquished) -> Result<(), JournalError> {
        self.record(run, Verb::CredentialMint, Record::Relinquished(what))
    }

    /// Looks the run's agent and repository up and works out who asks, and with what.
    pub(crate) fn desk(&self, run: &Run) -> Result<Desk, Halt> {
        let trigger = run.trigger();
        let unknown = |what: &str, name: &str| {
            Halt::End(Outcome::Refused {
                because: format!("{what} `{name}` is not configured; add it or drop the trigger"),
            })
        };
        let agent = self.registry.agent(&trigger.agent).ok_or_else(|| unknown("agent", trigger.agent.as_str()))?;
        let repository =
            self.registry.repository(&trigger.repo).ok_or_else(|| unknown("repo", trigger.repo.as_str()))?;
        let agent = agent.within(trigger);
        let conduct = Conduct { registered: agent.autonomy, seen: self.store.seen(&agent.name) };
        let trust = conduct.trust(agent.trust);
        let grant = Grant {
            trust,
            may: agent.may.clone(),
            reach: agent.reach.clone(),
            may_ask: agent.may_ask.clone(),
            models: agent.models.clone(),
            tools: agent.tools.clone(),
            audiences: agent.audiences.clone(),
            loans: agent.loans.clone(),
            until: self.clock.now().after(agent.attempt_at_most),
        };
        let workload = WorkloadId::new(self.registry.trust_domain(), run.id().clone(), agent.name.clone());
        let depth = u32::try_from(trigger.lineage.depth()).unwrap_or(u32::MAX);
        let context = Context {
            run: Some(run.id().clone()),
            intent: Some(agent.intent),
            sensitivity: repository.sensitivity,
            chain_depth: trigger.lineage.depth(),
            follow_ups_left: repository.chain_depth_max.saturating_sub(depth),
            // What a follow-up asks for is an agent's words, except where a fixed program words it; and so is what a pipeline hands over.
            tainted: trigger.lineage.depth() > 0
                && (agent.intent != Intent::RemediateDependencies || trigger.lineage.part.is_some()),
            read_sensitive: run.has_read(),
            lands_unattended: repository.lands_unattended,
            configuration: self.registry.configuration(),
        };
        let subject = Subject::Agent {
            workload,
            name: agent.name.clone(),
            owner: agent.owner.clone(),
            trust,
            conduct,
            grant: Box::new(grant.clone()),
        };
        Ok(Desk { agent, repository, grant, subject, context })
    }
}

/// How long a person has when the repository is no longer configured.
const DEFAULT_APPROVAL_WITHIN: selvedge_domain::Duration = selvedge_domain::Duration::from_seconds(24 * 3600);

/// Who asks for a run, and with what: worked out anew at each step, so that a change binds the next one (requirement D12).
pub(crate) struct Desk {
    pub(crate) agent: Agent,
    pub(crate) repository: Repository,
    pub(crate) grant: Grant,
    pub(crate) subject: Subject,
    pub(crate) context: Context,
}

impl Desk {
    /// The funnel as the run's agent.
    pub(crate) fn funnel<'a>(&'a self, factory: &'a Factory<'a>) -> Funnel<'a> {
        factory.funnel_of(&self.subject, &self.context)
    }

    /// The order for the run's current attempt.
    pub(crate) fn work_order(&self, run: &Run, task: &Task) -> StartWork {
        StartWork {
            run: run.id().clone(),
            attempt: run.attempts(),
            repo: self.repository.name.clone(),
            agent: self.agent.name.clone(),
            base: task.base.clone(),
            grant: self.grant.clone(),
            level: self.agent.level.clone(),
            configuration: self.context.configuration,
        }
    }

    /// The task; a run without one is not admitted.
    pub(crate) fn task<'a>(&self, run: &'a Run) -> Result<&'a Task, Halt> {
        let missing = || JournalError::Read(format!("run {} is past admission and has no task", run.id()));
        run.task().ok_or_else(|| Halt::Journal(missing()))
    }
}

impl<'a> Factory<'a> {
    /// The funnel for any subject.
    pub(crate) fn funnel_of(&'a self, subject: &'a Subject, context: &'a Context) -> Funnel<'a> {
        Funnel { judge: self.judge, journal: self.store, subject, context, clock: self.clock }
    }
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Denied(denial) => Self::End(Outcome::Refused { because: denial.to_string() }),
            Stop::NeedsApproval { order, .. } => Self::Ask(order),
            Stop::Act(ActError::Transient(because)) => Self::Later(because),
            Stop::Act(ActError::Permanent(because)) => Self::End(Outcome::Failed { because }),
            Stop::Act(ActError::Halted(because)) => Self::End(Outcome::Halted { because }),
            Stop::Journal(error) => Self::Journal(error),
        }
    }
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

fn refused(because: String) -> Event {
    Event::Ended(Outcome::Refused { because })
}

/// 64 bits that follow from the run and a word, so that a step repeated after a crash names the same thing.
pub(crate) fn derived(run: &RunId, word: &str) -> u64 {
    leading_bits(&Digest::of_parts([run.as_str().as_bytes(), word.as_bytes()]))
}

/// The request a person answers about an order. The same order asked again, after a crash say, is the same request.
pub(crate) fn approval_of(order: &Description) -> ApprovalId {
    ApprovalId::from_entropy(leading_bits(&order.digest()))
}

fn leading_bits(digest: &Digest) -> u64 {
    digest.as_bytes().iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

/// What a worker said it did, when it left a tree.
pub(crate) fn summary_of(effect: &Effect) -> &str {
    match effect {
        Effect::Tree { summary, .. } => summary,
        Effect::Document { .. } | Effect::Unresolved { .. } | Effect::Nothing { .. } => "",
    }
}
