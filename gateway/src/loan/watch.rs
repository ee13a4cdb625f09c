//! Looks for what a run was lent in what its sandbox writes and leaves. A run never has it; where it turns up all the same, a
//! service told it, or somebody planted it (requirement C7).

use std::fmt;

use selvedge_domain::CredentialName;

use super::Loan;
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
        let forms =
            |loan: &Loan| loan.forms().into_iter().map(|form| (loan.credential.clone(), form)).collect::<Vec<_>>();
        let forms: Vec<_> = loans.iter().flat_map(forms).collect();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::loan::{Placeholder, SecretText, SignedFor, Way};

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
                Duration::from_secs(60),
            )),
        };
        let watch = SecretWatch::of(&[loan]).unwrap();
        let percent = |text: &str| text.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        for part in [secret, token] {
            for form in [part.to_owned(), percent(part), hex(part), part.replace('/', "\\/")] {
                assert!(watch.found_in(format!("export KEY={form}\n").as_bytes()).is_some(), "{form}");
            }
        }
        assert!(watch.found_in(b"ASIAEXAMPLE000001").is_none(), "it stands in every signature");
    }
}
