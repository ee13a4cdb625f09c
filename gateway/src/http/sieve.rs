//! Looks for byte strings in a stream that comes in pieces, and holds back only what may be the beginning of one. Owns the
//! looking; never knows whether what it finds is a secret or what stands for one.

use memchr::memmem::Finder;

/// What a secret is overwritten with; as long as it was, so that no length changes.
const MASK: u8 = b'*';

/// Strings to look for, and what was held back of the stream so far.
#[derive(Debug)]
pub(crate) struct Sieve {
    finders: Vec<Finder<'static>>,
    held: Vec<u8>,
    found: u64,
    first: Option<usize>,
}

impl Sieve {
    /// Looks for these, none of them empty.
    pub(crate) fn new<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let finders = strings.into_iter().map(|string| Finder::new(string).into_owned());
        Self { finders: finders.collect(), held: Vec::new(), found: 0, first: None }
    }

    /// Looks for these as well, counted on from those before.
    pub(crate) fn add<'a>(&mut self, strings: impl IntoIterator<Item = &'a [u8]>) {
        self.finders.extend(strings.into_iter().map(|string| Finder::new(string).into_owned()));
    }

    /// Takes the next piece; gives what may go on, with everything that was found masked.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let (found, first) = mask(&self.finders, &mut self.held);
        self.found += found;
        self.first = self.first.or(first);
        let ready = self.held.len() - self.begun();
        self.held.drain(..ready).collect()
    }

    /// Gives the rest when nothing follows.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// How often something was found.
    pub(crate) fn found(&self) -> u64 {
        self.found
    }

    /// Which of the strings was found first, counted from 0.
    pub(crate) fn first(&self) -> Option<usize> {
        self.first
    }

    /// How long an end of what is held begins one of the strings; the longest.
    fn begun(&self) -> usize {
        let longest = self.finders.iter().map(|finder| finder.needle().len()).max().unwrap_or(0);
        let longest = longest.saturating_sub(1).min(self.held.len());
        let begins = |end: &[u8]| self.finders.iter().any(|finder| finder.needle().starts_with(end));
        let is_begun = |length: &usize| self.held.get(self.held.len() - length..).is_some_and(begins);
        (1..=longest).rev().find(is_begun).unwrap_or(0)
    }
}

/// Masks every one of `strings` in `bytes`; says how many there were.
pub(crate) fn mask_all<'a>(strings: impl IntoIterator<Item = &'a [u8]>, bytes: &mut [u8]) -> u64 {
    let finders: Vec<Finder<'_>> = strings.into_iter().map(Finder::new).collect();
    mask(&finders, bytes).0
}

/// Masks what these find; says how many there were, and whose was the first.
fn mask(finders: &[Finder<'_>], bytes: &mut [u8]) -> (u64, Option<usize>) {
    let (mut found, mut first) = (0, None);
    for (index, finder) in finders.iter().enumerate().filter(|(_, finder)| !finder.needle().is_empty()) {
        while let Some(at) = finder.find(bytes) {
            let Some(place) = bytes.get_mut(at..at + finder.needle().len()) else { break };
            place.fill(MASK);
            found += 1;
            first = first.or(Some(index));
        }
    }
    (found, first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRINGS: [&[u8]; 2] = [b"secret-one", b"abcabd"];

    fn sifted(pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut sieve = Sieve::new(STRINGS);
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| sieve.pass(piece)).collect();
        out.extend(sieve.end());
        (out, sieve.found())
    }

    #[test]
    fn a_string_in_pieces_is_found_and_no_length_changes_a51() {
        let (out, found) = sifted(&[b"x secr", b"et-", b"one y abcabcab", b"d"]);
        assert_eq!((out.as_slice(), found), (&b"x ********** y abc******"[..], 2));
    }

    #[test]
    fn what_only_begins_like_one_is_passed_on_and_only_that_is_held_back() {
        let mut sieve = Sieve::new(STRINGS);
        assert_eq!(sieve.pass(b"plain text"), b"plain text");
        assert_eq!(sieve.pass(b"a secret"), b"a ");
        assert_eq!(sieve.pass(b"ary"), b"secretary");
        assert_eq!((sieve.pass(b"sec"), sieve.end()), (b"".to_vec(), b"sec".to_vec()));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_result_is_the_same(
            text in "(secret-one|abcabd|abc|sec|[a-e ]){0,12}", cuts in prop::collection::vec(1usize..9, 0..20),
        ) {
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let whole = sifted(&[text.as_bytes()]);
            prop_assert_eq!(sifted(&pieces), whole.clone());
            prop_assert_eq!(whole.0.len(), text.len());
            prop_assert!(!String::from_utf8(whole.0).unwrap().contains("secret-one"));
        }
    }
}
