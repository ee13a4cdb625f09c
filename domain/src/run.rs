//! The law of a run: which event may follow which stage, as one exhaustive match.
//!
//! ```text
//! Triggered ─▶ Admitted ─▶ Working ─▶ Worked ─▶ Verified ─▶ Delivered ─▶ Closing ─▶ Revoked ─▶ Settled
//!      │           │   ◀─lost─┘          │          │                        ▲
//!      └───────────┴──────▶ Parking ◀────┴──────────┘      any of them ─end──┘
//!                    (leases die)  ─▶ Waiting ─▶ back to where it was, decided again
//! ```
//!
//! Effects of every kind pass through the same stages (requirement A10). A run that waits holds no lease (C8), and a
//! run settles only after every lease is dead (C4).

use std::collections::BTreeMap;

use crate::{
    ApprovalId, CommitId, Effect, IllegalLease, LeaseEvent, LeaseId, LeaseState, Lineage, Outcome, RunId, Task, Time,
    Trigger, Trust, Verified, Witnessed,
};

/// How many attempts a run may make before it fails; a host that dies under it every time is not worth a fourth.
const ATTEMPTS_MAX: u32 = 3;

/// Where a run stands. Each stage holds exactly what that stage has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Something asked for work; nothing is decided.
    Triggered,
    /// The task is taken on.
    Admitted,
    /// An attempt is under way.
    Working,
    /// An attempt left an effect.
    Worked(Effect),
    /// The effect passed its checks.
    Verified(Verified),
    /// It reached the world.
    Delivered(Outcome),
    /// It is about to wait; its leases are dying.
    Parking(Wait),
    /// It waits, and holds nothing.
    Waiting(Wait),
    /// It has ended; its leases are dying.
    Closing(Outcome),
    /// It has ended and every lease is dead.
    Revoked(Outcome),
    /// It is over.
    Settled(Outcome),
}

/// What a run waits for and where it goes on. Every stall speaks (invariant 10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What for, and so who can end it.
    pub kind: WaitKind,
    /// Since when.
    pub since: Time,
    /// When it gives up.
    pub until: Time,
    /// The stage it goes back to.
    pub resume: Box<Stage>,
}

/// What a run can wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitKind {
    /// A person's answer to an order.
    Approval {
        /// Which request.
        approval: ApprovalId,
        /// The order in one line.
        order: String,
    },
}

/// What can happen to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The trigger was taken on as this task.
    Admitted(Box<Task>),
    /// A lease is about to be minted.
    LeaseAnnounced(LeaseId),
    /// Something happened to a lease.
    LeaseChanged(LeaseId, LeaseEvent),
    /// An attempt began.
    AttemptBegan {
        /// Counted from 1.
        attempt: u32,
    },
    /// The keeper died under an attempt.
    AttemptLost {
        /// Which.
        attempt: u32,
    },
    /// The attempt left this.
    Worked {
        /// What it produced.
        effect: Effect,
        /// Work that should follow, in the worker's words; queued only when this run ends well, and admitted anew.
        follow_ups: Vec<String>,
        /// What the attempt was seen to do that policy is told of.
        seen: Witnessed,
    },
    /// The effect passed its checks.
    Verified(Verified),
    /// It reached the world.
    Delivered(Outcome),
    /// An order needs something this run has to wait for.
    Waited {
        /// What for.
        kind: WaitKind,
        /// Since when.
        since: Time,
        /// Until when.
        until: Time,
    },
    /// Every lease of a run about to wait is dead.
    Parked,
    /// What it waited for happened; everything is decided again.
    Resumed,
    /// It ends early, or after delivery.
    Ended(Outcome),
    /// Every lease is dead, and that was probed.
    Revoked,
    /// It is over.
    Settled,
}

/// One governed execution, as its events made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    id: RunId,
    trigger: Trigger,
    stage: Stage,
    task: Option<Task>,
    attempts: u32,
    follow_ups: Vec<String>,
    effect: Option<Effect>,
    seen: Witnessed,
    has_read: bool,
    verified: Option<Verified>,
    leases: BTreeMap<LeaseId, LeaseState>,
}

/// An event the law does not allow here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The stage does not know the event.
    #[error("run {run} is {stage} and cannot see `{event}`")]
    Event {
        /// The run.
        run: RunId,
        /// Its stage.
        stage: &'static str,
        /// The event.
        event: &'static str,
    },
    /// A lease is in the way, or is not known.
    #[error("run {run}: lease {lease} {because}")]
    Lease {
        /// The run.
        run: RunId,
        /// The lease.
        lease: LeaseId,
        /// What is wrong.
        because: &'static str,
    },
    /// The lease's own law says no.
    #[error(transparent)]
    LeaseLaw(#[from] IllegalLease),
    /// Attempts are counted, and limited.
    #[error("run {run}: attempt {attempt} cannot follow {before} attempts of at most {ATTEMPTS_MAX}")]
    Attempt {
        /// The run.
        run: RunId,
        /// The attempt that was to begin.
        attempt: u32,
        /// How many there were.
        before: u32,
    },
}

impl Run {
    /// A run begins with what asked for it.
    pub fn begin(id: RunId, trigger: Trigger) -> Self {
        Self {
            id,
            trigger,
            stage: Stage::Triggered,
            task: None,
            attempts: 0,
            follow_ups: Vec::new(),
            effect: None,
            seen: Witnessed::default(),
            has_read: false,
            verified: None,
            leases: BTreeMap::new(),
        }
    }

    /// The run after this event, or why that cannot be.
    pub fn apply(mut self, event: Event) -> Result<Self, Illegal> {
        self.check_leases(&event)?;
        match &event {
            Event::Admitted(task) => self.task = Some((**task).clone()),
            Event::AttemptBegan { attempt } => self.attempts = *attempt,
            Event::Worked { effect, follow_ups, seen } => {
                self.effect = Some(effect.clone());
                self.follow_ups.clone_from(follow_ups);
                self.seen.clone_from(seen);
                self.has_read |= !seen.read.is_empty();
            }
            Event::Verified(verified) => self.verified = Some(verified.clone()),
            Event::LeaseAnnounced(lease) => {
                self.leases.insert(lease.clone(), LeaseState::Announced);
            }
            Event::LeaseChanged(lease, change) => {
                if let Some(state) = self.leases.get_mut(lease) {
                    *state = state.next(*change)?;
                }
            }
            Event::AttemptLost { .. }
            | Event::Delivered(_)
            | Event::Waited { .. }
            | Event::Parked
            | Event::Resumed
            | Event::Ended(_)
            | Event::Revoked
            | Event::Settled => {}
        }
        self.stage =
            next(self.stage, event).map_err(|(stage, event)| Illegal::Event { run: self.id.clone(), stage, event })?;
        Ok(self)
    }

    /// The same, once a sensitive file was seen to be read in it: by any attempt, one that is lost included, or by a command that
    /// prepares its tree. It is no event, for it changes nothing of where the run stands.
    #[must_use]
    pub fn having_read(mut self) -> Self {
        self.has_read = true;
        self
    }

    /// The lineage of what it makes at this trust, with all that its chain carries.
    pub fn begets(&self, trust: Trust) -> Lineage {
        let child = self.trigger.lineage.child(&self.id, &self.trigger.agent, trust);
        Lineage { read_sensitive: self.has_read(), ..child }
    }

    /// What the law says about leases and attempts, across stages.
    fn check_leases(&self, event: &Event) -> Result<(), Illegal> {
        let refuse =
            |lease: &LeaseId, because| Err(Illegal::Lease { run: self.id.clone(), lease: lease.clone(), because });
        match event {
            Event::Parked | Event::Revoked => match self.leases.iter().find(|(_, state)| state.may_live()) {
                Some((lease, _)) => refuse(lease, "may still be alive"),
                None => Ok(()),
            },
            Event::LeaseAnnounced(lease) if self.leases.contains_key(lease) => refuse(lease, "was announced before"),
            Event::LeaseChanged(lease, _) if !self.leases.contains_key(lease) => refuse(lease, "was never announced"),
            Event::AttemptBegan { attempt } if *attempt != self.attempts + 1 || *attempt > ATTEMPTS_MAX => {
                Err(Illegal::Attempt { run: self.id.clone(), attempt: *attempt, before: self.attempts })
            }
            Event::Admitted(_)
            | Event::LeaseAnnounced(_)
            | Event::LeaseChanged(..)
            | Event::AttemptBegan { .. }
            | Event::AttemptLost { .. }
            | Event::Worked { .. }
            | Event::Verified(_)
            | Event::Delivered(_)
            | Event::Waited { .. }
            | Event::Resumed
            | Event::Ended(_)
            | Event::Settled => Ok(()),
        }
    }

    /// Its id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// What asked for it.
    pub fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    /// Where it stands.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The task, once admitted.
    pub fn task(&self) -> Option<&Task> {
        self.task.as_ref()
    }

    /// How many attempts began.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What the last attempt left, once one did.
    pub fn effect(&self) -> Option<&Effect> {
        self.effect.as_ref()
    }

    /// Work that should follow, as the last attempt said.
    pub fn follow_ups(&self) -> &[String] {
        &self.follow_ups
    }

    /// What the last attempt was seen to do that policy is told of.
    pub fn seen(&self) -> &Witnessed {
        &self.seen
    }

    /// Whether a sensitive file was read in it or, before it was queued, in a run of its chain.
    pub fn has_read(&self) -> bool {
        self.has_read || self.trigger.lineage.read_sensitive
    }

    /// The commit that passed its checks, once one did.
    pub fn verified_commit(&self) -> Option<&CommitId> {
        self.verified.as_ref().map(Verified::commit)
    }

    /// That commit with what its checks came to.
    pub fn verified(&self) -> Option<&Verified> {
        self.verified.as_ref()
    }

    /// Whether one more attempt may begin.
    pub fn may_try_again(&self) -> bool {
        self.attempts < ATTEMPTS_MAX
    }

    /// Its leases, dead ones included.
    pub fn leases(&self) -> &BTreeMap<LeaseId, LeaseState> {
        &self.leases
    }

    /// How it ended, once that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.stage {
            Stage::Closing(outcome) | Stage::Revoked(outcome) | Stage::Settled(outcome) => Some(outcome),
            Stage::Triggered
            | Stage::Admitted
            | Stage::Working
            | Stage::Worked(_)
            | Stage::Verified(_)
            | Stage::Delivered(_)
            | Stage::Parking(_)
            | Stage::Waiting(_) => None,
        }
    }
}

/// The law. Legal moves first; the last arm names every event, so that a new one has to be placed.
fn next(stage: Stage, event: Event) -> Result<Stage, (&'static str, &'static str)> {
    use Event as E;
    use Stage as S;
    Ok(match (stage, event) {
        (S::Triggered, E::Admitted(_)) => S::Admitted,

        // While it works, its doors lend as well.
        (stage @ (S::Admitted | S::Working | S::Worked(_) | S::Verified(_)), E::LeaseAnnounced(_)) => stage,
        // A lease may die, or turn out to be minted, wherever its run stands: recovery learns it late.
        (stage, E::LeaseChanged(..)) => stage,

        (S::Admitted, E::AttemptBegan { .. }) => S::Working,
        (S::Working, E::AttemptLost { .. }) => S::Admitted,
        (S::Working, E::Worked { effect, .. }) => S::Worked(effect),
        (S::Worked(_), E::Verified(verified)) => S::Verified(verified),
        (S::Verified(_), E::Delivered(outcome)) => S::Delivered(outcome),
        // A proposal comes from a verified tree or not at all; what has no tree is proved by its own order.
        (S::Worked(_), E::Delivered(outcome)) if !matches!(outcome, Outcome::Proposed(_)) => S::Delivered(outcome),

        (stage @ (S::Triggered | S::Admitted | S::Worked(_) | S::Verified(_)), E::Waited { kind, since, until }) => {
            S::Parking(Wait { kind, since, until, resume: Box::new(stage) })
        }
        (S::Parking(wait), E::Parked) => S::Waiting(wait),
        (S::Waiting(wait), E::Resumed) => *wait.resume,

        (
            S::Triggered
            | S::Admitted
            | S::Working
            | S::Worked(_)
            | S::Verified(_)
            | S::Delivered(_)
            | S::Parking(_)
            | S::Waiting(_),
            E::Ended(outcome),
        ) => S::Closing(outcome),
        (S::Closing(outcome), E::Revoked) => S::Revoked(outcome),
        (S::Revoked(outcome), E::Settled) => S::Settled(outcome),

        (
            stage,
            event @ (E::Admitted(_)
            | E::LeaseAnnounced(_)
            | E::AttemptBegan { .. }
            | E::AttemptLost { .. }
            | E::Worked { .. }
            | E::Verified(_)
            | E::Delivered(_)
            | E::Waited { .. }
            | E::Parked
            | E::Resumed
            | E::Ended(_)
            | E::Revoked
            | E::Settled),
        ) => return Err((stage.name(), event.name())),
    })
}

impl Stage {
    /// The word in records and `--json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Admitted => "admitted",
            Self::Working => "working",
            Self::Worked(_) => "worked",
            Self::Verified(_) => "verified",
            Self::Delivered(_) => "delivered",
            Self::Parking(_) => "parking",
            Self::Waiting(_) => "waiting",
            Self::Closing(_) => "closing",
            Self::Revoked(_) => "revoked",
            Self::Settled(_) => "settled",
        }
    }
}

impl Event {
    /// The word in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Admitted(_) => "admitted",
            Self::LeaseAnnounced(_) => "lease_announced",
            Self::LeaseChanged(..) => "lease_changed",
            Self::AttemptBegan { .. } => "attempt_began",
            Self::AttemptLost { .. } => "attempt_lost",
            Self::Worked { .. } => "worked",
            Self::Verified(_) => "verified",
            Self::Delivered(_) => "delivered",
            Self::Waited { .. } => "waited",
            Self::Parked => "parked",
            Self::Resumed => "resumed",
            Self::Ended(_) => "ended",
            Self::Revoked => "revoked",
            Self::Settled => "settled",
        }
    }
}
