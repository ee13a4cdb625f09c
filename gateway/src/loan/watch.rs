//! Looks for what a run was lent in what its sandbox writes and leaves. A run never has it; where it turns up all the same, a
//! service told it, or somebody planted it (requirement C7).

use std::fmt;

use selvedge_domain::CredentialName;

use super::{Loan, forms_of};
use crate::http::sieve::Sieve;

/// The secrets of one run, in every common form.
pub struct SecretWatch {
    forms: Vec<(CredentialName, Vec<u8>)>,
}

/// The same over bytes that come in pieces; what it finds is masked before it goes on.
#[derive(Debug)]
pub struct SecretSieve<'a> {
    watch: &'a SecretWatch,
    sieve: Sieve,
}

impl SecretWatch {
    /// Looks for what these loans hold; none where they hold nothing.
    pub fn of(loans: &[Loan]) -> Option<Self> {
        let held = loans.iter().filter_map(|loan| Some((&loan.credential, &loan.secret.as_ref()?.0)));
        let forms = held.flat_map(|(name, secret)| {
            forms_of(secret.expose().as_bytes()).into_iter().map(|form| (name.clone(), form))
        });
        let forms: Vec<_> = forms.collect();
        (!forms.is_empty()).then_some(Self { forms })
    }

    /// Begins to look through a stream.
    pub fn sieve(&self) -> SecretSieve<'_> {
        SecretSieve { watch: self, sieve: Sieve::new(self.forms.iter().map(|(_, form)| form.as_slice())) }
    }

    /// Whose secret `bytes` hold, if they hold one.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&CredentialName> {
        let holds = |(_, form): &&(CredentialName, Vec<u8>)| memchr::memmem::find(bytes, form).is_some();
        self.forms.iter().find(holds).map(|(name, _)| name)
    }
}

impl SecretSieve<'_> {
    /// Takes the next piece; gives what may go on.
    pub fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        self.sieve.pass(piece)
    }

    /// Gives the rest when nothing follows.
    pub fn end(&mut self) -> Vec<u8> {
        self.sieve.end()
    }

    /// Whose secret was found first, if one was.
    pub fn found(&self) -> Option<&CredentialName> {
        self.watch.forms.get(self.sieve.first()?).map(|(name, _)| name)
    }
}

impl fmt::Debug for SecretWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretWatch({} forms)", self.forms.len())
    }
}
