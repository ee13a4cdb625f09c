//! The decision: allow only what is permitted, not forbidden, and judged without an error.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{AuthorizationError, Authorizer, Decision, PolicySet};
use selvedge_authority::{Code, Denial, Judge, PolicyName, Question, Verdict};
use selvedge_domain::{Digest, Verb};

use crate::facts::{self, Asked};
use crate::index::Index;
use crate::vocabulary::Vocabulary;
use crate::{Effect, Mode, PolicyText};

/// Policies that loaded: each fits the schema, has a name of its own and somebody who answers for it.
#[derive(Debug)]
pub struct Policies {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) enforced: Index,
    pub(crate) shadow: Index,
    pub(crate) texts: BTreeMap<PolicyName, PolicyText>,
    pub(crate) digest: Digest,
    pub(crate) check: crate::Check,
}

/// What a set of policies says about one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evaluation {
    /// Permits that apply; known only where no forbid does.
    pub(crate) permits: BTreeSet<PolicyName>,
    /// Forbids that apply.
    pub(crate) forbids: BTreeSet<PolicyName>,
    /// Policies that could not be evaluated, with the reason.
    pub(crate) errors: BTreeMap<PolicyName, String>,
}

/// Next steps told at once when nothing permits an order; more would not help whoever reads them.
const NEXT_STEPS_MAX: usize = 3;

impl Judge for Policies {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        if self.enforced.is_empty() {
            return no_policies();
        }
        let shards = self.shards(question, Sight::Enforced);
        self.decide(question, &shards)
    }
}

/// Which policies are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Those that count.
    Enforced,
    /// Those, and the ones in shadow as if they counted.
    WithShadow,
}

impl Policies {
    /// The fingerprint of the schema and of every source, for the record.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many policies there are, in shadow or not.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is no policy at all; then nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Every policy, by name.
    pub fn list(&self) -> impl Iterator<Item = &PolicyText> {
        self.texts.values()
    }

    /// The policy with this name, as its owner wrote it.
    pub fn find(&self, name: &PolicyName) -> Option<&PolicyText> {
        self.texts.get(name)
    }

    pub(crate) fn shards(&self, question: &Question<'_>, sight: Sight) -> Vec<&PolicySet> {
        let (verb, repository) = (question.order.verb, question.order.resource.repo.as_str());
        let enforced = self.enforced.shards(verb, repository);
        match sight {
            Sight::Enforced => enforced.collect(),
            Sight::WithShadow => enforced.chain(self.shadow.shards(verb, repository)).collect(),
        }
    }

    pub(crate) fn decide(&self, question: &Question<'_>, shards: &[&PolicySet]) -> Verdict {
        let Ok(asked) = self.ask(question) else { return misfit() };
        let actual = evaluate(&asked, shards);
        if let Some(verdict) = actual.settled() {
            return verdict;
        }
        let supposed = self.suppose_approved(question, shards);
        self.refuse(question.order.verb, &actual, supposed.as_ref(), shards)
    }

    pub(crate) fn ask(&self, question: &Question<'_>) -> Result<Asked, facts::Misfit> {
        facts::parts(&self.vocabulary, question)?.assemble(&self.vocabulary)
    }

    /// What one more approval would lead to; none where there is one already.
    pub(crate) fn suppose_approved(&self, question: &Question<'_>, shards: &[&PolicySet]) -> Option<Evaluation> {
        if question.approved {
            return None;
        }
        let asked = self.ask(&Question { approved: true, ..question.clone() }).ok()?;
        Some(evaluate(&asked, shards))
    }

    fn refuse(&self, verb: Verb, actual: &Evaluation, supposed: Option<&Evaluation>, shards: &[&PolicySet]) -> Verdict {
        if let Some(supposed) = supposed.filter(|supposed| supposed.allows()) {
            let asking = if actual.forbids.is_empty() { &supposed.permits } else { &actual.forbids };
            let next_step = self.next_steps(asking).unwrap_or_else(|| format!("a person has to approve this `{verb}`"));
            return Verdict::NeedsApproval(denial(Code::NeedsApproval, asking, next_step));
        }
        if actual.forbids.is_empty() {
            return Verdict::Deny(denial(Code::NotPermitted, &BTreeSet::new(), self.how_to_be_permitted(verb, shards)));
        }
        // What an approval would not lift is the true obstacle; name that where there is some.
        let lasting = supposed.map(|supposed| &supposed.forbids).filter(|lasting| !lasting.is_empty());
        let obstacle = lasting.unwrap_or(&actual.forbids);
        let next_step = match (self.next_steps(obstacle), lasting.is_none() && supposed.is_some()) {
            (_, true) => self.how_to_be_permitted(verb, shards),
            (Some(steps), false) => steps,
            (None, false) => format!("policy forbids this `{verb}`; do without it, or ask the policy's owner"),
        };
        Verdict::Deny(denial(Code::Forbidden, obstacle, next_step))
    }

    fn next_steps(&self, names: &BTreeSet<PolicyName>) -> Option<String> {
        let texts = names.iter().filter_map(|name| self.texts.get(name));
        join(texts.filter_map(|text| text.next_step.as_deref()))
    }

    /// The advice of the permits that could have applied and did not.
    fn how_to_be_permitted(&self, verb: Verb, shards: &[&PolicySet]) -> String {
        let candidates =
            shards.iter().flat_map(|set| set.policies()).map(|policy| PolicyName::new(policy.id().as_ref()));
        let candidates: BTreeSet<PolicyName> = candidates.collect();
        let permits = candidates.iter().filter_map(|name| self.texts.get(name));
        let permits = permits.filter(|text| text.effect == Effect::Permit && text.mode == Mode::Enforce);
        join(permits.filter_map(|text| text.next_step.as_deref())).unwrap_or_else(|| {
            format!("no policy permits this `{verb}`; do without it, or ask the operator for a policy that does")
        })
    }
}

impl Evaluation {
    /// Whether it comes to a yes.
    pub(crate) fn allows(&self) -> bool {
        self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty()
    }

    /// The verdict, unless it is a no that an approval might lift.
    fn settled(&self) -> Option<Verdict> {
        if !self.errors.is_empty() {
            let names: BTreeSet<PolicyName> = self.errors.keys().cloned().collect();
            let next_step =
                "a policy could not be evaluated, so nothing it may bear on is allowed; its owner has to mend it";
            return Some(Verdict::Deny(denial(Code::PolicyError, &names, next_step.to_owned())));
        }
        self.allows().then(|| Verdict::Allow { policies: self.permits.iter().cloned().collect() })
    }
}

/// Asks Cedar about each set and joins the answers as Cedar would over all of them at once.
pub(crate) fn evaluate(asked: &Asked, shards: &[&PolicySet]) -> Evaluation {
    let authorizer = Authorizer::new();
    let mut all = Evaluation::default();
    for set in shards {
        let response = authorizer.is_authorized(&asked.request, set, &asked.entities);
        let applied = response.diagnostics().reason().map(|id| PolicyName::new(id.as_ref()));
        match response.decision() {
            Decision::Allow => all.permits.extend(applied),
            Decision::Deny => all.forbids.extend(applied),
        }
        // Cedar skips a policy that fails, a forbid too; every failure is kept, and denies.
        all.errors.extend(response.diagnostics().errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => {
                (PolicyName::new(error.policy_id().as_ref()), error.inner().to_string())
            }
        }));
    }
    all
}

fn denial(code: Code, names: &BTreeSet<PolicyName>, next_step: String) -> Denial {
    Denial { code, policies: names.iter().cloned().collect(), next_step }
}

fn join<'t>(steps: impl Iterator<Item = &'t str>) -> Option<String> {
    let distinct: BTreeSet<&str> = steps.collect();
    let told: Vec<&str> = distinct.into_iter().take(NEXT_STEPS_MAX).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn no_policies() -> Verdict {
    let next_step =
        "no policies are loaded, so nothing is allowed; the operator can write the defaults with `selvedge init`";
    Verdict::Deny(denial(Code::PolicyError, &BTreeSet::new(), next_step.to_owned()))
}

fn misfit() -> Verdict {
    let next_step =
        "the factory could not put this question to its policies, so it is not allowed; this is a defect to report";
    Verdict::Deny(denial(Code::PolicyError, &BTreeSet::new(), next_step.to_owned()))
}
