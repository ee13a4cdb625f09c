//! Ids the factory gives out: a one-letter prefix that says what is named, a dash, and entropy in Crockford base 32.

use std::fmt;

/// Text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind} id: expected `{prefix}-` and 13 characters of 0-9 a-z without i, l, o, u")]
pub struct BadId {
    text: String,
    kind: &'static str,
    prefix: char,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 64 bits in groups of five.
const ENCODED_CHARS: usize = 13;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $kind:literal $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Makes an id from 64 random bits.
            pub fn from_entropy(bits: u64) -> Self {
                Self(encode($prefix, bits))
            }

            /// Reads an id that was printed before.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                if is_encoded($prefix, text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(BadId { text: text.chars().take(64).collect(), kind: $kind, prefix: $prefix })
                }
            }

            /// The id as users see it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// One request for work.
    TriggerId "trigger" 'g';
    /// One piece of work, fixed at admission.
    TaskId "task" 't';
    /// One governed execution of a task.
    ///
    /// A run is not a task, and the compiler says so:
    /// ```compile_fail
    /// # use selvedge_domain::{RunId, TaskId};
    /// let run: RunId = TaskId::from_entropy(7);
    /// ```
    RunId "run" 'r';
    /// One live credential.
    LeaseId "lease" 'l';
    /// One person's answer to one order.
    ApprovalId "approval" 'a';
}

fn encode(prefix: char, bits: u64) -> String {
    let symbols = (0..ENCODED_CHARS).rev().map(|place| {
        let value = (bits >> (5 * place)) & 31;
        // INVARIANT: `value` is masked to five bits and the alphabet has 32 letters.
        usize::try_from(value).ok().and_then(|i| ALPHABET.get(i)).map_or('0', |&b| char::from(b))
    });
    [prefix, '-'].into_iter().chain(symbols).collect()
}

fn is_encoded(prefix: char, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|symbols| symbols.len() == ENCODED_CHARS && symbols.bytes().all(|b| ALPHABET.contains(&b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_not_as_another_kind() {
        for bits in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let run = RunId::from_entropy(bits);
            assert_eq!(RunId::parse(run.as_str()), Ok(run.clone()));
            assert!(TaskId::parse(run.as_str()).is_err());
        }
    }

    #[test]
    fn hostile_ids_are_refused() {
        for text in ["", "r-", "r-../../etc/passw", "r-0000000000000\n", "r-000000000000i", "R-0000000000000"] {
            assert!(RunId::parse(text).is_err(), "{text:?}");
        }
    }
}
