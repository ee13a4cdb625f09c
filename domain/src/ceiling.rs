//! What a child may use at most, whatever its agent's configuration says, and how two bounds meet. The meet exceeds neither: a
//! rule of it lies in a rule of each, and what cannot be compared is in none.

use std::collections::BTreeSet;

use crate::{Grant, Loan, May, Reach, Trust};

/// A grant without its end: what a run that asks for a child gives it of its own. A run has it beside the configuration of its
/// agent, and may do what lies in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// How far it may go.
    pub trust: Trust,
    /// What it may do.
    pub may: BTreeSet<May>,
    /// Where it may reach.
    pub reach: BTreeSet<Reach>,
    /// SVID audiences it may ask for.
    pub audiences: BTreeSet<String>,
    /// Credentials its doors may use for it, each with the requests it is for.
    pub loans: BTreeSet<Loan>,
}

impl Ceiling {
    /// Whether `narrower` allows nothing beyond this.
    pub fn contains(&self, narrower: &Self) -> bool {
        narrower.trust <= self.trust
            && narrower.may.is_subset(&self.may)
            && narrower.audiences.is_subset(&self.audiences)
            && narrower.reach.iter().all(|wanted| self.reach.iter().any(|held| held.contains(wanted)))
            && narrower.loans.iter().all(|wanted| self.loans.iter().any(|held| held.contains(wanted)))
    }

    /// The most that lies in both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            trust: self.trust.min(other.trust),
            may: self.may.intersection(&other.may).copied().collect(),
            reach: meets(&self.reach, &other.reach, Reach::meet, Reach::contains),
            audiences: self.audiences.intersection(&other.audiences).cloned().collect(),
            loans: meets(&self.loans, &other.loans, Loan::meet, Loan::contains),
        }
    }

    /// Each rule and word as text, for policy and the record.
    pub(crate) fn reach_words(&self) -> Vec<String> {
        self.reach.iter().map(ToString::to_string).collect()
    }

    /// The same for the credentials.
    pub(crate) fn loan_words(&self) -> Vec<String> {
        self.loans.iter().map(|loan| format!("{} for {}", loan.credential, loan.uses)).collect()
    }

    /// The same for the words of `may`.
    pub(crate) fn may_words(&self) -> Vec<String> {
        self.may.iter().map(|may| may.as_str().to_owned()).collect()
    }
}

impl From<&Grant> for Ceiling {
    fn from(grant: &Grant) -> Self {
        // What may be asked for is nobody's to hand on, and neither is a model, whose budget is the run's own, nor a tool, whose
        // server works for that run alone.
        let Grant { trust, may, reach, audiences, loans, models: _, tools: _, until: _, may_ask: _ } = grant.clone();
        Self { trust, may, reach, audiences, loans }
    }
}

/// Where each pair of rules meets, without those that another one holds already.
fn meets<T: Clone + Ord>(
    ours: &BTreeSet<T>,
    theirs: &BTreeSet<T>,
    meet: impl Fn(&T, &T) -> Option<T>,
    contains: impl Fn(&T, &T) -> bool,
) -> BTreeSet<T> {
    let all: BTreeSet<T> = ours.iter().flat_map(|one| theirs.iter().filter_map(|other| meet(one, other))).collect();
    let is_held = |rule: &T| all.iter().any(|wider| wider != rule && contains(wider, rule));
    all.iter().filter(|rule| !is_held(rule)).cloned().collect()
}
