//! Words that nobody guesses, for whoever has to be told from a stranger once. Knows nothing of what they are for.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

/// Random bytes of a word: 128 bits, which nobody tries out.
const BYTES: usize = 16;

/// A word of 128 random bits, in 32 hexadecimal digits.
///
/// Nobody compares it but in constant time:
/// ```compile_fail
/// let word = selvedge_credentials::Unguessable::new().unwrap();
/// let _ = word == word;
/// ```
pub struct Unguessable(Zeroizing<String>);

/// The operating system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness;

impl Unguessable {
    /// Another one each time.
    pub fn new() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| NoRandomness)?;
        let mut word = Zeroizing::new(String::with_capacity(2 * BYTES));
        for byte in bytes.iter() {
            word.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
        }
        Ok(Self(word))
    }

    /// The word itself, for whoever may know it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the word. How long that takes says nothing about how much of it is right.
    pub fn is(&self, said: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), said.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Unguessable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unguessable(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_128_bits_is_another_each_time_and_is_itself_alone() {
        let (one, another) = (Unguessable::new().unwrap(), Unguessable::new().unwrap());
        assert!(one.expose().len() == 32 && one.expose().bytes().all(|b| b.is_ascii_hexdigit()), "{}", one.expose());
        let (first, _) = one.expose().split_at(31);
        assert!(one.is(one.expose()) && !one.is(another.expose()) && !one.is("") && !one.is(first));
        assert_eq!(format!("{one:?}"), "Unguessable(..)");
    }
}
