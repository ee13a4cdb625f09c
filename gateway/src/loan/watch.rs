//! Looks for what a run was lent in what its sandbox writes and leaves. A run never has it; where it turns up all the same, a
//! service told it, or somebody planted it (requirement C7).
//!
//! Whoever looks handles bytes from an agent and must not have the secret meanwhile (invariant 11). So none is kept: of each
//! form there is a salted digest, and a few bits of a rolling sum by which nearly every place is passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use selvedge_domain::{CredentialName, Digest};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Loan, SecretText, Way};
use crate::http::sieve::MASK;

/// How many bits of a form's sum are kept. They tell as much about a secret; with these, one place in some hundred thousand is
/// looked at for nothing.
const SUM_BITS: u32 = 20;

/// How much of the stack is wiped after secrets were hashed; the frames in question have some two thousand bytes.
const STACK_BYTES: usize = 32 << 10;

/// What the secrets of one run look like, in every common form.
pub struct SecretWatch {
    salt: [u8; 16],
    /// What each byte adds to a sum.
    steps: Vec<u64>,
    /// How each credential goes into a request, which says what of it is a secret.
    ways: BTreeMap<CredentialName, Way>,
    /// Of what was lent at first, and of each secret that came later, in that order.
    lent: RwLock<Vec<Traces>>,
}

/// What is kept of secrets that are looked for together.
struct Traces {
    /// How many bytes are summed: as many as the shortest form has.
    window: usize,
    traces: Vec<Trace>,
}

/// What is kept of one form.
struct Trace {
    credential: CredentialName,
    length: usize,
    /// Of its first bytes.
    sum: u64,
    digest: Digest,
}

/// The same over bytes that come in pieces; what it finds is masked before it goes on.
#[derive(Debug)]
pub struct SecretSieve<'a> {
    watch: &'a SecretWatch,
    held: Vec<u8>,
    found: Option<CredentialName>,
}

impl SecretWatch {
    /// Looks for what these loans hold; none where they hold nothing. The bits are random, and for this watch alone.
    pub fn of(loans: &[Loan], bits: u128) -> Option<Self> {
        let watch = Self::over(loans, bits);
        watch.look_for(loans.iter().filter_map(|loan| Some((&loan.credential, &loan.secret.as_ref()?.0))));
        (!watch.is_empty()).then_some(watch)
    }

    /// Looks for nothing yet, and for what of these loans is added.
    pub(super) fn over(loans: &[Loan], bits: u128) -> Self {
        let salt = bits.to_be_bytes();
        let steps = (0..=u8::MAX).map(|byte| step(&salt, byte)).collect();
        let ways = loans.iter().map(|loan| (loan.credential.clone(), loan.way.clone())).collect();
        Self { salt, steps, ways, lent: RwLock::default() }
    }

    /// Looks for this secret as well, and of those that were added for no more than the latest so many.
    pub(super) fn add_latest(&self, credential: &CredentialName, secret: &SecretText, many: usize) {
        self.add(credential, secret);
        let mut lent = self.lent.write().unwrap_or_else(PoisonError::into_inner);
        let surplus = lent.len().saturating_sub(many);
        lent.drain(..surplus);
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.lent().is_empty()
    }

    /// Looks for this secret as well from here on: what was lent before is looked for all the same.
    pub fn add(&self, credential: &CredentialName, secret: &SecretText) {
        self.look_for(std::iter::once((credential, secret)));
    }

    fn look_for<'s>(&self, secrets: impl Iterator<Item = (&'s CredentialName, &'s SecretText)>) {
        self.trace_all(secrets);
        wipe_stack();
    }

    /// A frame of its own, so that what it and the hash it calls leave on the stack lies where it is wiped.
    #[inline(never)]
    fn trace_all<'s>(&self, secrets: impl Iterator<Item = (&'s CredentialName, &'s SecretText)>) {
        let forms = secrets.flat_map(|(name, secret)| {
            let forms = match self.ways.get(name) {
                Some(way) => way.wiped_forms(secret),
                None => super::codes::wiped_forms_of(secret.expose().as_bytes()),
            };
            forms.into_iter().map(move |form| (name, form))
        });
        let forms: Vec<_> = forms.collect();
        let Some(window) = forms.iter().map(|(_, form)| form.len()).min() else { return };
        let trace = |(name, form): &(&CredentialName, Zeroizing<Vec<u8>>)| Trace {
            credential: (*name).clone(),
            length: form.len(),
            sum: kept(form.iter().take(window).fold(0, |sum, byte| self.longer(sum, *byte))),
            digest: self.digest(form),
        };
        let mut traces: Vec<Trace> = forms.iter().map(trace).collect();
        // Where one begins another, the longer one is meant.
        traces.sort_by_key(|trace| std::cmp::Reverse(trace.length));
        self.lent.write().unwrap_or_else(PoisonError::into_inner).push(Traces { window, traces });
    }

    /// Each addition leaves it whole.
    fn lent(&self) -> RwLockReadGuard<'_, Vec<Traces>> {
        self.lent.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to look through a stream.
    pub fn sieve(&self) -> SecretSieve<'_> {
        SecretSieve { watch: self, held: Vec::new(), found: None }
    }

    /// Whose secret `bytes` hold, if they hold one.
    pub fn found_in(&self, bytes: &[u8]) -> Option<CredentialName> {
        self.first_in(bytes).map(|(_, credential)| credential)
    }

    /// Where the first is, and whose; of two that begin in one place, the longer.
    fn first_in(&self, bytes: &[u8]) -> Option<(Range<usize>, CredentialName)> {
        let lent = self.lent();
        let found = lent.iter().filter_map(|traces| self.first_of(traces, bytes));
        let first = found.min_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        first.map(|(place, credential)| (place, credential.clone()))
    }

    /// Only bytes that can be written into a field are part of a form.
    fn first_of<'t>(&self, traces: &'t Traces, bytes: &[u8]) -> Option<(Range<usize>, &'t CredentialName)> {
        let (mut sum, mut begin) = (0, 0);
        for (at, byte) in bytes.iter().enumerate() {
            if !byte.is_ascii_graphic() {
                (sum, begin) = (0, at + 1);
                continue;
            }
            sum = self.longer(sum, *byte);
            if at + 1 - begin > traces.window {
                sum = self.shorter(sum, bytes.get(begin).copied().unwrap_or_default(), traces.window);
                begin += 1;
            }
            let place = bytes.get(begin..).unwrap_or_default();
            if at + 1 - begin == traces.window
                && let Some(trace) = self.trace_at(traces, place, kept(sum))
            {
                return Some((begin..begin + trace.length, &trace.credential));
            }
        }
        None
    }

    /// Which form `place` begins with, given the sum of its first bytes.
    fn trace_at<'t>(&self, traces: &'t Traces, place: &[u8], sum: u64) -> Option<&'t Trace> {
        let begins = |trace: &&Trace| {
            trace.sum == sum && place.get(..trace.length).is_some_and(|form| self.digest(form) == trace.digest)
        };
        traces.traces.iter().find(begins)
    }

    fn digest(&self, form: &[u8]) -> Digest {
        Digest::of_parts([b"selvedge secret watch".as_slice(), &self.salt, form])
    }

    /// The sum with one more byte at its end.
    fn longer(&self, sum: u64, byte: u8) -> u64 {
        sum.rotate_left(1) ^ self.step(byte)
    }

    /// The sum of one byte more than a window without its first.
    fn shorter(&self, sum: u64, first: u8, window: usize) -> u64 {
        // Below 64, so it fits.
        let turns = u32::try_from(window % 64).unwrap_or_default();
        sum ^ self.step(first).rotate_left(turns)
    }

    fn step(&self, byte: u8) -> u64 {
        self.steps.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

/// Overwrites what calls from the same place left on the stack: a hash keeps its last block there, and a form is one.
#[inline(never)]
fn wipe_stack() {
    let mut below = [0xff_u8; STACK_BYTES];
    below.zeroize();
}

fn step(salt: &[u8], byte: u8) -> u64 {
    let digest = Digest::of_parts([b"selvedge secret watch step".as_slice(), salt, &[byte]]);
    digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The part of a sum that is kept.
fn kept(sum: u64) -> u64 {
    sum >> (u64::BITS - SUM_BITS)
}

impl SecretSieve<'_> {
    /// Takes the next piece; gives what may go on. What may be the beginning of a secret is held back: never across the end of
    /// a line, for no form goes beyond one.
    pub fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.mask();
        let begun = self.held.iter().rev().take(self.longest() - 1).take_while(|byte| byte.is_ascii_graphic()).count();
        let ready = self.held.len() - begun;
        self.held.drain(..ready).collect()
    }

    /// Gives the rest when nothing follows.
    pub fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Whose secret was found first, if one was.
    pub fn found(&self) -> Option<CredentialName> {
        self.found.clone()
    }

    fn mask(&mut self) {
        let mut looked_at = 0;
        while let Some((place, credential)) = self.watch.first_in(self.held.get(looked_at..).unwrap_or_default()) {
            let place = looked_at + place.start..looked_at + place.end;
            looked_at = place.end;
            self.held.get_mut(place).unwrap_or_default().fill(MASK);
            self.found.get_or_insert(credential);
        }
    }

    /// INVARIANT: at least one, because no form is empty.
    fn longest(&self) -> usize {
        let lent = self.watch.lent();
        lent.iter().flat_map(|lent| &lent.traces).map(|trace| trace.length).max().unwrap_or(1)
    }
}

impl fmt::Debug for SecretWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms: usize = self.lent().iter().map(|lent| lent.traces.len()).sum();
        write!(f, "SecretWatch({forms} forms)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{FieldName, Placeholder, Scheme, SignedFor, forms_of};
    use super::*;

    const SECRETS: [&str; 2] = ["s3cr3t-value-0001", "another/secret+value=="];

    fn watch() -> SecretWatch {
        let loan = |(index, secret): (usize, &&str)| Loan {
            credential: CredentialName::parse(&format!("key-{index}")).unwrap(),
            uses: vec![],
            way: Way::Field(FieldName::parse("authorization").unwrap(), Scheme::Bearer),
            placeholder: Placeholder::of_bits(7),
            secret: Some((SecretText::parse(secret.as_bytes()).unwrap(), std::time::Duration::ZERO)),
        };
        let loans: Vec<Loan> = SECRETS.iter().enumerate().map(loan).collect();
        SecretWatch::of(&loans, 9).unwrap()
    }

    fn sifted(watch: &SecretWatch, pieces: &[&[u8]]) -> (Vec<u8>, Option<String>) {
        let mut sieve = watch.sieve();
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| sieve.pass(piece)).collect();
        out.extend(sieve.end());
        (out, sieve.found().map(|name| name.to_string()))
    }

    #[test]
    fn every_form_is_found_masked_and_told_whose_it_is_c7() {
        let watch = watch();
        for (index, secret) in SECRETS.iter().enumerate() {
            for form in forms_of(secret.as_bytes()) {
                let text = [b"so: ", form.as_slice(), b"x\n"].concat();
                assert_eq!(watch.found_in(&text).map(|name| name.to_string()), Some(format!("key-{index}")));
                let (out, found) = sifted(&watch, &[&text]);
                assert_eq!(out, [b"so: ".to_vec(), vec![MASK; form.len()], b"x\n".to_vec()].concat());
                assert_eq!(found, Some(format!("key-{index}")));
            }
        }
        assert_eq!(watch.found_in(b"s3cr3t-value-0002 s3cr3t-value-\n0001"), None);
    }

    #[test]
    fn lines_are_not_held_back_and_nothing_of_a_secret_goes_on() {
        let watch = watch();
        let mut sieve = watch.sieve();
        assert_eq!(sieve.pass(b"$ ls\n"), b"$ ls\n");
        assert_eq!(sieve.pass(b"it is s3cr3t-"), b"it is ");
        assert_eq!(sieve.pass(b"value-0001 "), [vec![MASK; 17], b" ".to_vec()].concat());
    }

    #[test]
    fn no_run_of_a_secret_s_bytes_is_kept_a54() {
        // What a watch keeps, as bytes: nowhere are eight of a form's in a row.
        let watch = watch();
        let lent = watch.lent();
        let traces = || lent.iter().flat_map(|lent| &lent.traces);
        let sums = traces().flat_map(|trace| trace.sum.to_be_bytes());
        let digests = traces().flat_map(|trace| *trace.digest.as_bytes());
        let kept: Vec<u8> = sums.chain(digests).chain(watch.steps.iter().flat_map(|step| step.to_be_bytes())).collect();
        for form in SECRETS.iter().flat_map(|secret| forms_of(secret.as_bytes())) {
            assert!(form.windows(8).all(|part| memchr::memmem::find(&kept, part).is_none()));
        }
        assert!(traces().all(|trace| trace.sum < 1 << SUM_BITS));
    }

    /// A secret that came later is looked for in what was begun before.
    #[test]
    fn c7_what_is_lent_later_is_looked_for_too() {
        let (watch, other) = (watch(), CredentialName::parse("other").unwrap());
        let mut sieve = watch.sieve();
        let mut passed = sieve.pass(b"so: s3cr3t-value-0003 ");
        watch.add(&other, &SecretText::parse(b"s3cr3t-value-0003").unwrap());
        assert_eq!((sieve.found(), watch.found_in(b"a s3cr3t-value-0003")), (None, Some(other.clone())));
        passed.extend(sieve.pass(b"so: s3cr3t-value-00"));
        passed.extend(sieve.pass(b"03."));
        passed.extend(sieve.end());
        assert_eq!(String::from_utf8(passed).unwrap(), "so: s3cr3t-value-0003 so: *****************.");
        assert_eq!(sieve.found(), Some(other));
        assert!(watch.found_in(SECRETS[0].as_bytes()).is_some(), "what was lent before is looked for all the same");
    }

    #[test]
    fn the_keys_of_a_session_are_watched_for_one_by_one_in_every_common_form_c7() {
        let (secret, token) = ("s3cr3t/of+a/session/00000001", "t0ken/of+a/session//00000001==");
        let loan = Loan {
            credential: CredentialName::parse("bucket").unwrap(),
            uses: Vec::new(),
            way: Way::Signature(SignedFor::parse("s3", "eu-central-1").unwrap()),
            placeholder: Placeholder::of_bits(7),
            secret: Some((
                SecretText::parse(format!("ASIAEXAMPLE000001:{secret}:{token}").as_bytes()).unwrap(),
                std::time::Duration::from_secs(60),
            )),
        };
        let watch = SecretWatch::of(&[loan], 9).unwrap();
        let percent = |text: &str| text.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        for part in [secret, token] {
            for form in [part.to_owned(), percent(part), hex(part), part.replace('/', "\\/")] {
                assert!(watch.found_in(format!("export KEY={form}\n").as_bytes()).is_some(), "{form}");
            }
        }
        assert!(watch.found_in(b"ASIAEXAMPLE000001").is_none(), "it stands in every signature");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_result_is_the_same(
            text in "(s3cr3t-value-0001|another/secret\\+value==|s3cr3t|[a-e \\n=]){0,12}",
            cuts in prop::collection::vec(1usize..9, 0..20),
        ) {
            let watch = watch();
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let whole = sifted(&watch, &[text.as_bytes()]);
            prop_assert_eq!(sifted(&watch, &pieces), whole.clone());
            prop_assert_eq!(whole.0.len(), text.len());
            let holds = SECRETS.iter().any(|secret| text.contains(secret));
            prop_assert_eq!(whole.1.is_some(), holds);
            prop_assert_eq!(watch.found_in(text.as_bytes()).is_some(), holds);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let watch = watch();
            prop_assert_eq!(sifted(&watch, &[&bytes]).0.len(), bytes.len());
        }
    }
}
