//! Who vouches for what stands when no run does: what people said last of agents, credentials and owners, and how each stands by
//! it now (requirement B6).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use selvedge_authority::Record;
use selvedge_credentials::Standing;
use selvedge_domain::{Actor, AgentName, Duration, Owner, Tenure, TenureChange, Time, Vouchee};
use selvedge_factory::ports::Clock;
use selvedge_ledger::{Ledger, ReadError};

use super::Works;
use crate::config::{AgentConfig, CredentialConfig, KeyKept};

/// What people said last, by whom or what it is about.
#[derive(Default)]
pub(super) struct Words {
    said: BTreeMap<Vouchee, Word>,
    /// Agents whose first run is known; it never changes.
    first_runs: std::sync::Mutex<BTreeMap<AgentName, Time>>,
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// The entry it is in, which says what came first.
    pub(crate) seq: u64,
    pub(crate) at: Time,
    pub(crate) by: Actor,
    /// Who answered for it then.
    pub(crate) owner: Owner,
    pub(crate) change: TenureChange,
}

/// How something stands, and by whose word.
#[derive(Debug, Clone)]
pub(crate) struct Vouched {
    pub(crate) tenure: Tenure,
    /// When the word ends; none where nobody needs to give any.
    pub(crate) until: Option<Time>,
    /// Who certified it last, and when.
    pub(crate) certified: Option<(Time, Actor)>,
    /// Whether whoever the configuration names has left.
    pub(crate) owner_left: bool,
}

impl Words {
    /// What the log has.
    pub(super) fn read(ledger: &Ledger) -> Result<Self, ReadError> {
        let mut words = Self::default();
        for (seq, entry) in ledger.tenures()? {
            let (at, by) = (entry.at, entry.actor);
            if let Record::TenureChanged { of, owner, change } = entry.record {
                words.said.insert(of, Word { seq, at, by, owner, change });
            }
        }
        Ok(words)
    }

    /// How `of` stands at `now`, for which `owner` answers. `since` is when there was first something to answer for.
    fn vouched(&self, of: &Vouchee, owner: &Owner, since: Option<Time>, span: Duration, now: Time) -> Vouched {
        let own = self.said.get(of);
        let certified = own.filter(|word| word.change == TenureChange::Certified);
        // A word about somebody else than who answers for it now is over: the configuration has named another.
        let ended = |word: &&Word| word.change == TenureChange::Offboarded && word.owner == *owner;
        let left = self.said.get(&Vouchee::Owner(owner.clone())).filter(ended);
        let outlived = |word: &&Word| certified.is_none_or(|certified| certified.seq < word.seq);
        let is_ended = own.filter(ended).is_some() || left.filter(outlived).is_some();
        // What is stored anew is vouched for by who stored it.
        let word = since.map(|since| certified.map_or(since, |certified| since.max(certified.at)));
        let tenure = match (is_ended, word) {
            (true, _) => Tenure::Offboarded,
            (false, Some(word)) => Tenure::at(now, word, span),
            (false, None) => Tenure::Active,
        };
        Vouched {
            tenure,
            until: word.map(|word| word.after(span)),
            certified: certified.map(|word| (word.at, word.by.clone())),
            owner_left: left.is_some(),
        }
    }
}

impl Works {
    /// How an agent stands. What tries a credential is vouched for with it.
    pub(crate) fn agent_vouched(&self, config: &AgentConfig) -> Vouched {
        let agent = &config.agent;
        let (of, since) = match &config.tries {
            Some(credential) => (Vouchee::Credential(credential.clone()), None),
            None => (Vouchee::Agent(agent.name.clone()), self.first_run(&agent.name)),
        };
        self.vouched(&of, &agent.owner, since, config.recertify)
    }

    /// How a credential stands, with the key that is stored for it.
    pub(crate) fn credential_vouched(&self, config: &CredentialConfig) -> Vouched {
        let name = &config.credential.name;
        let kept = match config.source.key_kept() {
            KeyKept::None => Ok(None),
            KeyKept::Lent => match self.lending.keys.standing(name) {
                Ok(Some(Standing::StoredSince(since))) => Ok(Some(since)),
                Ok(Some(Standing::LeakedAt(_)) | None) => Ok(None),
                Err(_) => Err(()),
            },
            KeyKept::OfApp | KeyKept::OfAccount => self.lending.minting.stored_since(name).map_err(drop),
        };
        let of = Vouchee::Credential(name.clone());
        match kept {
            Ok(since) => self.vouched(&of, &config.credential.owner, since, config.recertify),
            // A key that cannot be opened is nobody's: whoever lends it says why.
            Err(()) => {
                let since = Some(Time::from_millis(0));
                self.vouched(&of, &config.credential.owner, since, config.recertify)
            }
        }
    }

    /// How a key of the factory's own stands that is there since `since` and stays.
    pub(crate) fn factory_vouched(&self, since: Option<Time>) -> Vouched {
        let config = self.config();
        self.vouched(&Vouchee::Factory, &config.owner, since, config.recertify)
    }

    /// Takes a word up. It is in force from here on.
    pub(crate) fn take_word(&self, of: Vouchee, word: Word) {
        self.words.write().unwrap_or_else(PoisonError::into_inner).said.insert(of, word);
    }

    /// What was said last of it.
    pub(crate) fn word_about(&self, of: &Vouchee) -> Option<Word> {
        self.words.read().unwrap_or_else(PoisonError::into_inner).said.get(of).cloned()
    }

    fn vouched(&self, of: &Vouchee, owner: &Owner, since: Option<Time>, span: Duration) -> Vouched {
        self.words.read().unwrap_or_else(PoisonError::into_inner).vouched(of, owner, since, span, self.now())
    }

    fn first_run(&self, agent: &AgentName) -> Option<Time> {
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        let mut known = words.first_runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = known.get(agent) {
            return Some(*first);
        }
        // Without its run on record nothing could be asked for it, so there is nothing to answer for yet.
        let first = self.ledger.first_run_of(agent).ok().flatten()?;
        known.insert(agent.clone(), first);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{CredentialName, Person};

    use super::*;

    const SPAN: Duration = Duration::from_seconds(100);

    fn owner(name: &str) -> Owner {
        Owner::parse(name).unwrap()
    }

    fn api() -> Vouchee {
        Vouchee::Credential(CredentialName::parse("api").unwrap())
    }

    fn said(words: &mut Words, of: Vouchee, owner: &Owner, change: TenureChange) {
        let seq =
            u64::try_from(words.said.len()).unwrap() + words.said.values().map(|word| word.seq).max().unwrap_or(0);
        let (at, by) = (Time::from_millis(seq), Actor::Person(Person::from_uid(1000)));
        words.said.insert(of, Word { seq, at, by, owner: owner.clone(), change });
    }

    #[test]
    fn what_somebody_owned_who_left_is_ended_until_another_answers_for_it_b6() {
        let (ann, bob) = (owner("ann@example.org"), owner("bob@example.org"));
        let mut words = Words::default();
        let tenure = |words: &Words, owner: &Owner| {
            words.vouched(&api(), owner, Some(Time::from_millis(0)), SPAN, Time::from_millis(10)).tenure
        };
        assert_eq!(tenure(&words, &ann), Tenure::Active);
        said(&mut words, Vouchee::Owner(ann.clone()), &ann, TenureChange::Offboarded);
        assert_eq!((tenure(&words, &ann), tenure(&words, &bob)), (Tenure::Offboarded, Tenure::Active));
        said(&mut words, api(), &ann, TenureChange::Certified);
        assert_eq!(tenure(&words, &ann), Tenure::Active);
        let vouched = words.vouched(&api(), &ann, None, SPAN, Time::from_millis(10));
        assert!(vouched.owner_left && vouched.certified.is_some());
        // She came back, and left once more: what was said in between counts no longer.
        said(&mut words, Vouchee::Owner(ann.clone()), &ann, TenureChange::Certified);
        said(&mut words, Vouchee::Owner(ann.clone()), &ann, TenureChange::Offboarded);
        assert_eq!(tenure(&words, &ann), Tenure::Offboarded);
        // A word about one credential names who answered for it then.
        said(&mut words, api(), &ann, TenureChange::Offboarded);
        assert_eq!((tenure(&words, &ann), tenure(&words, &bob)), (Tenure::Offboarded, Tenure::Active));
    }

    #[test]
    fn a_word_is_good_from_the_later_of_storing_and_certifying_b6() {
        let ann = owner("ann@example.org");
        let mut words = Words::default();
        let at = |words: &Words, since: u64, now: u64| {
            words.vouched(&api(), &ann, Some(Time::from_millis(since)), SPAN, Time::from_millis(now)).tenure
        };
        assert_eq!(at(&words, 0, 100_000), Tenure::Overdue);
        assert_eq!(at(&words, 50_000, 100_000), Tenure::Active);
        said(&mut words, Vouchee::Factory, &ann, TenureChange::Certified);
        assert_eq!(at(&words, 0, 100_000), Tenure::Overdue, "a word about something else");
        words.said.insert(
            api(),
            Word {
                seq: 9,
                at: Time::from_millis(60_000),
                by: Actor::Factory,
                owner: ann.clone(),
                change: TenureChange::Certified,
            },
        );
        assert_eq!((at(&words, 0, 100_000), at(&words, 0, 160_000)), (Tenure::Active, Tenure::Overdue));
    }
}
