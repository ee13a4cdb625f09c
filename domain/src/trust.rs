//! Graded labels that policy weighs. Each is an order: later variants are higher.

use std::fmt;

macro_rules! grades {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every grade, lowest first.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word users write.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Reads the word users write.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|grade| grade.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

grades! {
    /// How far an agent may go (requirement D7).
    Trust {
        /// Read only.
        Observe = "observe",
        /// Write in the sandbox; nothing leaves it.
        Draft = "draft",
        /// Open a proposal.
        Propose = "propose",
        /// Merge where that was approved beforehand.
        Land = "land",
        /// Trigger a release.
        Release = "release",
    }

    /// How much of what it does an agent chooses by itself (requirement B5): what its owner registers, and what it is seen to be.
    Autonomy {
        /// Answers; does not act.
        Assistant = "assistant",
        /// Acts on a fixed script.
        BoundedAutomation = "bounded-automation",
        /// Chooses actions; a person confirms.
        Supervised = "supervised",
        /// Chooses actions, tools and timing.
        Autonomous = "autonomous",
    }

    /// How much harm disclosure of a repository would do. Unlabelled means `internal`.
    Sensitivity {
        /// Anyone may read it.
        Public = "public",
        /// The organisation may read it.
        Internal = "internal",
        /// Named people may read it.
        Restricted = "restricted",
        /// Holds secrets or personal data.
        Secret = "secret",
    }

    /// How much harm an act could do. Each order has a default; policy may raise it.
    Risk {
        /// Reads, or writes only inside the sandbox.
        Low = "low",
        /// Reaches outside the sandbox in a way that is easily undone.
        Medium = "medium",
        /// Changes what other people run.
        High = "high",
    }
}
