//! How a standing identity or secret stands: one that lives on when a run has ended, and that a person has to answer for
//! (requirement B6).

use std::fmt;

use crate::{Duration, Time};

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

    /// Whether somebody answers for it now.
    pub fn is_vouched(self) -> bool {
        matches!(self, Self::Active | Self::Due)
    }

    /// The word in records and policies.
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
}
