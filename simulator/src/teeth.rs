//! Parts that can be broken on purpose, to see that the oracle notices.

/// A broken part of the world. Each is caught by the sentence of the oracle it violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    /// The journal remembers no deed.
    ForgetsDeeds,
    /// The journal says it recorded decisions and does not.
    SwallowsDecisions,
    /// The lender says a lease is dead and leaves it alive.
    KeepsLeases,
    /// The lender makes a credential for a lease that was given up.
    MintsLate,
    /// The lender makes a second credential that nobody asked for.
    MintsASpare,
    /// The lender repeats a vendor's error with the key in it.
    LeaksSecrets,
    /// The forge opens a second proposal, of another commit.
    ProposesTwice,
    /// The workplace neither stops nor kills sandboxes.
    KeepsSandboxes,
    /// The door forwards whatever it was told.
    IgnoresTheDoorkeeper,
    /// The queue forgets what it took.
    LosesFollowUps,
}

impl Break {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::ForgetsDeeds,
        Self::SwallowsDecisions,
        Self::KeepsLeases,
        Self::MintsLate,
        Self::MintsASpare,
        Self::LeaksSecrets,
        Self::ProposesTwice,
        Self::KeepsSandboxes,
        Self::IgnoresTheDoorkeeper,
        Self::LosesFollowUps,
    ];
}
