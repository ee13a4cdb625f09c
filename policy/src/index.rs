//! Which policies could apply to an order: by its verb, and by the repository it lies in.
//!
//! Cedar evaluates every policy of a set; a policy whose scope names another action or repository can neither apply nor
//! fail, so leaving it out changes no decision. The test `indexed_decides_as_unindexed` holds us to that.

use std::collections::BTreeMap;

use cedar_policy::{ActionConstraint, Policy, PolicySet, ResourceConstraint};
use selvedge_domain::Verb;

use crate::vocabulary::{repository_of, verb_of};

/// Policies by verb and repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    by_verb: BTreeMap<Verb, Shards>,
}

/// The policies of one verb.
#[derive(Debug, Clone, Default)]
struct Shards {
    everywhere: PolicySet,
    by_repository: BTreeMap<String, PolicySet>,
}

impl Index {
    /// Files each policy under every verb its scope admits. Ids must be distinct; a repeated one is refused.
    pub(crate) fn of<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Result<Self, String> {
        let mut index = Self::default();
        for policy in policies {
            for verb in verbs(policy) {
                let shards = index.by_verb.entry(verb).or_default();
                let shard = match repository(policy) {
                    Some(name) => shards.by_repository.entry(name).or_default(),
                    None => &mut shards.everywhere,
                };
                shard.add(policy.clone()).map_err(|error| error.to_string())?;
            }
        }
        Ok(index)
    }

    /// The sets to evaluate for this verb in this repository; together they hold every policy that could apply.
    pub(crate) fn shards(&self, verb: Verb, repository: &str) -> impl Iterator<Item = &PolicySet> {
        let shards = self.by_verb.get(&verb);
        let everywhere = shards.map(|shards| &shards.everywhere).filter(|set| !set.is_empty());
        everywhere.into_iter().chain(shards.and_then(|shards| shards.by_repository.get(repository)))
    }

    /// Whether there is no policy at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_verb.is_empty()
    }
}

fn verbs(policy: &Policy) -> Vec<Verb> {
    match policy.action_constraint() {
        ActionConstraint::Any => Verb::ALL.to_vec(),
        ActionConstraint::Eq(action) => verb_of(&action).into_iter().collect(),
        ActionConstraint::In(actions) => {
            let verbs: std::collections::BTreeSet<Verb> = actions.iter().filter_map(verb_of).collect();
            verbs.into_iter().collect()
        }
    }
}

/// The one repository a policy's scope is confined to, if it is.
fn repository(policy: &Policy) -> Option<String> {
    match policy.resource_constraint() {
        ResourceConstraint::Eq(entity) | ResourceConstraint::In(entity) | ResourceConstraint::IsIn(_, entity) => {
            repository_of(&entity).map(str::to_owned)
        }
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    }
}
