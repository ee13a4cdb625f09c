//! What keeps a credential from being made, by name: for whoever is woken by it at night. Read from what a lender said, which is
//! all that the record keeps.

use std::fmt;

/// Why nothing was lent, or what was lent does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody stored the key it takes.
    KeyNotStored,
    /// The stored key was seen where it must not be.
    KeyLeaked,
    /// It could not be reached, so it was asked nothing.
    ProviderNotReached,
    /// It took the request, and its answer did not come in time or broke off.
    AnswerLost,
    /// It answered, and not what its description says.
    AnswerMalformed,
    /// It does not accept who asks.
    KeyRefused,
    /// It does not know what was asked.
    NotKnownThere,
    /// It has had too many requests.
    TooManyRequests,
    /// It fails.
    ProviderInTrouble,
    /// It made more than was asked for.
    MoreThanAsked,
    /// Something else, in its own words.
    Other,
}

impl Trouble {
    /// The trouble behind these words.
    pub fn of(because: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| because.contains(word));
        match status(because) {
            Some(401 | 403) => return Self::KeyRefused,
            Some(400 | 404 | 405 | 422) => return Self::NotKnownThere,
            Some(429) => return Self::TooManyRequests,
            Some(500..=599) => return Self::ProviderInTrouble,
            Some(_) => return Self::AnswerMalformed,
            None => {}
        }
        if says(&["no key is stored"]) {
            Self::KeyNotStored
        } else if says(&[" leaked at "]) {
            Self::KeyLeaked
        } else if says(&["it was not asked: "]) {
            Self::ProviderNotReached
        } else if says(&[
            "is malformed",
            "the provider answered, and",
            "answered without",
            "has no field",
            "makes no sense",
        ]) {
            Self::AnswerMalformed
        } else if says(&["its answer is lost: "]) {
            Self::AnswerLost
        } else if says(&["is good for more than was asked for", "reaches other repositories than were asked for"]) {
            Self::MoreThanAsked
        } else {
            Self::Other
        }
    }

    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyNotStored => "key_not_stored",
            Self::KeyLeaked => "key_leaked",
            Self::ProviderNotReached => "provider_not_reached",
            Self::AnswerLost => "answer_lost",
            Self::AnswerMalformed => "answer_malformed",
            Self::KeyRefused => "key_refused",
            Self::NotKnownThere => "not_known_there",
            Self::TooManyRequests => "too_many_requests",
            Self::ProviderInTrouble => "provider_in_trouble",
            Self::MoreThanAsked => "more_than_asked",
            Self::Other => "other",
        }
    }

    /// What whoever answers for it can do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::KeyNotStored => "store its key: `selvedge credentials store NAME < key`",
            Self::KeyLeaked => {
                "end the key at its issuer, then store the new one: `selvedge credentials store NAME < key`"
            }
            Self::ProviderNotReached => {
                "see whether the provider runs and this machine reaches it by that name, and whether its certificate is good"
            }
            Self::AnswerLost => "see whether the provider is slow or overloaded, then try once more",
            Self::AnswerMalformed => {
                "see whether its URL is that of the provider itself, and of a version that is known"
            }
            Self::KeyRefused => {
                "the key has expired or was ended there, or the role, issuer or audience there is another: mend it there, or \
                 store a new key with `selvedge credentials store NAME < key`"
            }
            Self::NotKnownThere => {
                "compare the names, paths and roles of `[credential.NAME]` with what the provider has"
            }
            Self::TooManyRequests => "wait for as long as the provider asks, then try once more",
            Self::ProviderInTrouble => "the provider fails by itself: tell whoever runs it, and try once more",
            Self::MoreThanAsked => "give the key that makes it fewer rights at the provider",
            Self::Other => "do what the words say, or ask whoever answers for the credential",
        }
    }
}

/// The status a refusal names.
fn status(because: &str) -> Option<u16> {
    let (_, named) = because.rsplit_once("(status ")?;
    named.split(')').next()?.parse().ok()
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use selvedge_domain::{CredentialName, Time};

    use super::*;
    use crate::{Brought, CourierError, LendError, MintingKeyError, ProviderError, StoredKeyError};

    /// What the record would hold of this error.
    fn recorded(source: impl Into<ProviderError>) -> String {
        LendError::Provider { provider: "openbao:api".to_owned(), source: source.into() }.to_string()
    }

    #[test]
    fn every_trouble_is_known_by_what_is_recorded_of_it_b6() {
        let name = CredentialName::parse("api").unwrap();
        let status =
            |status| Brought { status, retry_after: None, found: BTreeMap::new() }.refusal("the login was refused");
        let lost = |why: &str| CourierError::AnswerLost(why.to_owned());
        for (because, trouble) in [
            (recorded(status(401)), Trouble::KeyRefused),
            (recorded(status(403)), Trouble::KeyRefused),
            (recorded(status(404)), Trouble::NotKnownThere),
            (recorded(status(429)), Trouble::TooManyRequests),
            (recorded(status(500)), Trouble::ProviderInTrouble),
            (recorded(status(503)), Trouble::ProviderInTrouble),
            (recorded(status(302)), Trouble::AnswerMalformed),
            (recorded(CourierError::NotAsked("connection refused".to_owned())), Trouble::ProviderNotReached),
            (recorded(lost("the provider does not answer: timed out")), Trouble::AnswerLost),
            (recorded(lost("the provider's answer breaks off")), Trouble::AnswerLost),
            (recorded(lost("the provider's answer is malformed")), Trouble::AnswerMalformed),
            (recorded(lost("the provider answered, and it is not JSON")), Trouble::AnswerMalformed),
            (recorded(ProviderError::new("the login was answered without a token")), Trouble::AnswerMalformed),
            (recorded(MintingKeyError::Missing(name.clone())), Trouble::KeyNotStored),
            (StoredKeyError::Missing(name.clone()).to_string(), Trouble::KeyNotStored),
            (StoredKeyError::Leaked(name, Time::from_millis(7)).to_string(), Trouble::KeyLeaked),
            (recorded(ProviderError::new("something new")), Trouble::Other),
        ] {
            assert_eq!(Trouble::of(&because), trouble, "{because}");
        }
    }
}
