//! Faults: what can go wrong at a call through a port, and the plan that says where it does.
//!
//! Every call through a port is a *fault point*, numbered as they come. A plan names the points that fail; it knows
//! nothing of what the call was for.

use std::collections::BTreeMap;

use crate::random::Random;

/// What kind of call a fault point is; it decides what can go wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An act that needs a permit, or one that comes before a permit is asked.
    Act,
    /// The middle of an act: an agent is at work.
    Inside,
    /// An entry is recorded.
    Append,
    /// The record is read.
    Read,
    /// A lease is taken back.
    TakeBack,
    /// What is left of a run is killed.
    Kill,
    /// Time, chance, policy, configuration: cannot fail, but the keeper can die there.
    Ask,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The keeper dies before the call takes effect.
    CrashBefore,
    /// The keeper dies after the call took effect, before it learns the answer.
    CrashAfter,
    /// The call fails and may work later.
    Transient,
    /// The call fails and will not work later.
    Permanent,
    /// The call is made twice.
    Repeated,
    /// The call takes effect and says that it failed.
    AnswerLost,
    /// Another worker claims the run, takes it as far as it goes, and only then the call is made.
    Stolen,
    /// Another worker claims the run and gets no further than recovering it.
    StolenBriefly,
    /// Another run takes a whole turn in the middle of this call.
    Elsewhere,
}

impl Fault {
    /// Every fault.
    pub const ALL: &'static [Self] = &[
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Transient,
        Self::Permanent,
        Self::Repeated,
        Self::AnswerLost,
        Self::Stolen,
        Self::StolenBriefly,
        Self::Elsewhere,
    ];

    /// Whether this can happen at a call of this kind.
    pub fn strikes(self, kind: Kind) -> bool {
        match kind {
            Kind::Act => true,
            Kind::Inside => {
                matches!(
                    self,
                    Self::CrashBefore | Self::Transient | Self::Stolen | Self::StolenBriefly | Self::Elsewhere
                )
            }
            Kind::Append => !matches!(self, Self::Permanent | Self::Repeated),
            Kind::Read => matches!(self, Self::CrashBefore | Self::Transient | Self::Stolen | Self::StolenBriefly),
            Kind::TakeBack => !matches!(self, Self::Permanent),
            Kind::Kill => matches!(self, Self::CrashBefore | Self::CrashAfter | Self::Repeated),
            Kind::Ask => matches!(self, Self::CrashBefore),
        }
    }

    /// Whether a run that meets only faults like this must end as it would have without them.
    pub fn is_survived(self) -> bool {
        self != Self::Permanent
    }
}

/// Where faults strike.
#[derive(Debug, Clone)]
pub enum Plan {
    /// Nowhere.
    Calm,
    /// At these points, counted from 0.
    At(BTreeMap<usize, Fault>),
    /// One point in `one_in`, of these kinds, for the first `until` points; then never again.
    Random {
        /// The generator.
        random: Random,
        /// How rare.
        one_in: u64,
        /// Which faults.
        faults: Vec<Fault>,
        /// When faults stop and everything has to settle.
        until: usize,
    },
}

/// The fault points met so far, and the plan for those to come.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    plan: Plan,
    pub(crate) seen: Vec<(Kind, &'static str)>,
    pub(crate) struck: Vec<(usize, &'static str, Fault)>,
}

/// More calls than any scenario makes by a factor of ten: past this, something loops.
pub(crate) const POINTS_MAX: usize = 20_000;

impl Faults {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, seen: Vec::new(), struck: Vec::new() }
    }

    /// Counts a point and says what goes wrong there.
    pub(crate) fn next(&mut self, kind: Kind, name: &'static str) -> Option<Fault> {
        let index = self.seen.len();
        self.seen.push((kind, name));
        let fault = match &mut self.plan {
            Plan::Calm => None,
            Plan::At(points) => points.get(&index).copied(),
            Plan::Random { random, one_in, faults, until } if index < *until => {
                (random.below(*one_in) == 0).then(|| random.pick(faults)).flatten()
            }
            Plan::Random { .. } => None,
        };
        let fault = fault.filter(|fault| fault.strikes(kind))?;
        self.struck.push((index, name, fault));
        Some(fault)
    }

    /// Whether something loops.
    pub(crate) fn ran_away(&self) -> bool {
        self.seen.len() > POINTS_MAX
    }
}
