//! How a standing identity or secret stands: one that lives on when a run has ended, and that a person has to answer for
//! (requirement B6).

use std::fmt;

use crate::{AgentName, CredentialName, Duration, Owner, Time};

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tenure {
    /// Somebody's word for it is good.
    Active,
    /// That word ends soon.
    Due,
    /// That word has ended.
    Overdue,
    /// Whoever answered for it has left, and nobody has taken it over.
    Offboarded,
}

/// Whom or what somebody's word is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vouchee {
    /// An agent.
    Agent(AgentName),
    /// A credential, with the key that is stored for it.
    Credential(CredentialName),
    /// The factory's own keys.
    Factory,
    /// Everything that this person or team answers for.
    Owner(Owner),
}

/// What a person said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenureChange {
    /// It is still needed, and they answer for that.
    Certified,
    /// Whoever answered for it has left.
    Offboarded,
}

/// How long before its end somebody is reminded, at most: two weeks, which a person on leave comes back from.
const REMINDED_BEFORE: Duration = Duration::from_seconds(14 * 86_400);

impl Tenure {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Active, Self::Due, Self::Overdue, Self::Offboarded];

    /// How it stands at `now`, when somebody's word was given at `since` and is good for `span`.
    pub fn at(now: Time, since: Time, span: Duration) -> Self {
        let ends = since.after(span);
        let reminder = REMINDED_BEFORE.min(Duration::from_millis(span.as_millis() / 4));
        if now >= ends {
            Self::Overdue
        } else if now.after(reminder) >= ends {
            Self::Due
        } else {
            Self::Active
        }
    }

    /// The word policies see. What is due is active still: a yes that was given before must not be lost to a reminder.
    pub fn fact(self) -> &'static str {
        match self {
            Self::Active | Self::Due => Self::Active.as_str(),
            Self::Overdue | Self::Offboarded => self.as_str(),
        }
    }

    /// The word people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Due => "due",
            Self::Overdue => "overdue",
            Self::Offboarded => "offboarded",
        }
    }
}

impl fmt::Display for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Vouchee {
    /// Reads what records print: `agent:NAME`, `credential:NAME`, `owner:WHO`, `factory`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => (text == "factory").then_some(Self::Factory),
            Some(("agent", name)) => AgentName::parse(name).ok().map(Self::Agent),
            Some(("credential", name)) => CredentialName::parse(name).ok().map(Self::Credential),
            // Only the printed form is read: an owner has no space around it.
            Some(("owner", who)) => Owner::parse(who).filter(|owner| owner.as_str() == who).map(Self::Owner),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Vouchee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Factory => f.write_str("factory"),
            Self::Owner(owner) => write!(f, "owner:{owner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    #[test]
    fn a_word_is_good_then_due_then_overdue_b6() {
        let at =
            |day: u64| Tenure::at(Time::from_millis(day * DAY), Time::from_millis(0), Duration::from_millis(90 * DAY));
        assert_eq!(
            [at(0), at(75), at(76), at(89), at(90), at(1000)].map(Tenure::as_str),
            ["active", "active", "due", "due", "overdue", "overdue"]
        );
        let short =
            |millis: u64| Tenure::at(Time::from_millis(millis), Time::from_millis(0), Duration::from_millis(1000));
        assert_eq!([short(749), short(750), short(1000)], [Tenure::Active, Tenure::Due, Tenure::Overdue]);
        // A clock that went back does not end anybody's word.
        assert_eq!(Tenure::at(Time::from_millis(0), Time::from_millis(5), Duration::from_millis(1000)), Tenure::Active);
    }

    #[test]
    fn whom_a_word_is_about_reads_back_as_printed_and_not_otherwise() {
        for text in ["agent:fixer", "credential:api", "factory", "owner:team: shop@example.org"] {
            assert_eq!(Vouchee::parse(text).map(|vouchee| vouchee.to_string()).as_deref(), Some(text));
        }
        for text in ["", "agent:", "agent:../x", "owner:", "owner: a", "factory:log", "key:api", "Factory"] {
            assert_eq!(Vouchee::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_reminder_changes_no_fact() {
        let facts: Vec<&str> = Tenure::ALL.iter().map(|tenure| tenure.fact()).collect();
        assert_eq!(facts, ["active", "active", "overdue", "offboarded"]);
    }
}
