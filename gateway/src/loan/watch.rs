//! Looks for what a run was lent in what its sandbox writes and leaves. A run never has it; where it turns up all the same, a
//! service told it, or somebody planted it (requirement C7).

use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use selvedge_domain::CredentialName;

use super::{Loan, SecretText, forms_of};
use crate::http::sieve::Sieve;

/// The secrets of one run, in every common form.
pub struct SecretWatch {
    /// Only ever added to, so that a place in it goes on to mean the same.
    forms: RwLock<Vec<(CredentialName, Vec<u8>)>>,
}

/// The same over bytes that come in pieces; what it finds is masked before it goes on.
#[derive(Debug)]
pub struct SecretSieve<'a> {
    watch: &'a SecretWatch,
    sieve: Sieve,
    known: usize,
}

impl SecretWatch {
    /// Looks for what these loans hold; none where they hold nothing.
    pub fn of(loans: &[Loan]) -> Option<Self> {
        let held = loans.iter().filter_map(|loan| Some((&loan.credential, &loan.secret.as_ref()?.0)));
        let watch = Self { forms: RwLock::default() };
        held.for_each(|(credential, secret)| watch.add(credential, secret));
        let is_empty = watch.forms().is_empty();
        (!is_empty).then_some(watch)
    }

    /// Looks for this secret as well from here on: what was lent before is looked for all the same.
    pub fn add(&self, credential: &CredentialName, secret: &SecretText) {
        let forms = forms_of(secret.expose().as_bytes()).into_iter().map(|form| (credential.clone(), form));
        self.forms.write().unwrap_or_else(PoisonError::into_inner).extend(forms);
    }

    /// Begins to look through a stream.
    pub fn sieve(&self) -> SecretSieve<'_> {
        let forms = self.forms();
        let sieve = Sieve::new(forms.iter().map(|(_, form)| form.as_slice()));
        SecretSieve { watch: self, sieve, known: forms.len() }
    }

    /// Whose secret `bytes` hold, if they hold one.
    pub fn found_in(&self, bytes: &[u8]) -> Option<CredentialName> {
        let holds = |(_, form): &&(CredentialName, Vec<u8>)| memchr::memmem::find(bytes, form).is_some();
        self.forms().iter().find(holds).map(|(name, _)| name.clone())
    }

    /// Each addition leaves it whole.
    fn forms(&self) -> RwLockReadGuard<'_, Vec<(CredentialName, Vec<u8>)>> {
        self.forms.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecretSieve<'_> {
    /// Takes the next piece; gives what may go on.
    pub fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let forms = self.watch.forms();
        self.sieve.add(forms.iter().skip(self.known).map(|(_, form)| form.as_slice()));
        self.known = forms.len();
        drop(forms);
        self.sieve.pass(piece)
    }

    /// Gives the rest when nothing follows.
    pub fn end(&mut self) -> Vec<u8> {
        self.sieve.end()
    }

    /// Whose secret was found first, if one was.
    pub fn found(&self) -> Option<CredentialName> {
        let first = self.sieve.first()?;
        self.watch.forms().get(first).map(|(name, _)| name.clone())
    }
}

impl fmt::Debug for SecretWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretWatch({} forms)", self.forms().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret that came later is looked for in what was begun before.
    #[test]
    fn c7_what_is_lent_later_is_looked_for_too() {
        let (name, other) = (CredentialName::parse("key").unwrap(), CredentialName::parse("other").unwrap());
        let watch = SecretWatch { forms: RwLock::default() };
        watch.add(&name, &SecretText::parse(b"s3cr3t-value-0001").unwrap());
        let mut sieve = watch.sieve();
        let mut passed = sieve.pass(b"so: s3cr3t-value-0002 ");
        watch.add(&other, &SecretText::parse(b"s3cr3t-value-0002").unwrap());
        assert_eq!((sieve.found(), watch.found_in(b"a s3cr3t-value-0002")), (None, Some(other.clone())));
        passed.extend(sieve.pass(b"so: s3cr3t-value-00"));
        passed.extend(sieve.pass(b"02."));
        passed.extend(sieve.end());
        assert_eq!(String::from_utf8(passed).unwrap(), "so: s3cr3t-value-0002 so: *****************.");
        assert_eq!(sieve.found(), Some(other));
    }
}
