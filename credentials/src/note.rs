//! What is kept, sealed, about each lease: enough to end it after a crash at any step, and to never mint it twice.

use selvedge_domain::{Revocation, Time};

use crate::{Handle, Secret, fields};

/// The record of one lease. It only ever moves down this list.
#[derive(Debug)]
pub(crate) enum Note {
    /// Minting began; whether a credential exists is not known, and its secret was not handed out.
    Begun(Origin, Time),
    /// A credential exists.
    Held(Origin, Held),
    /// It was revoked before it was minted; nobody may mint it any more.
    Barred,
    /// It is dead, and that was probed.
    Closed,
}

/// Where a credential came from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The provider's name.
    pub(crate) provider: String,
    /// Who accepts it.
    pub(crate) audience: String,
}

/// What ends a credential, and how.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) handle: Handle,
    pub(crate) revocation: Revocation,
    pub(crate) expires: Time,
}

/// Without a time; only our own documents were lent then, and those are ended by their lease.
const BEGUN_1: &[u8] = b"begun 1";
const BEGUN: &[u8] = b"begun 2";
const HELD: &[u8] = b"held 1";
const BARRED: &[u8] = b"barred 1";
const CLOSED: &[u8] = b"closed 1";

const IMMEDIATE: &[u8] = b"immediate";
const LEASE_REVOKE: &[u8] = b"lease revoke";
const EXPIRY_ONLY: &[u8] = b"expiry only";

impl Note {
    /// As it is sealed.
    pub(crate) fn to_secret(&self) -> Secret {
        match self {
            Self::Begun(origin, at) => {
                fields::join(&[BEGUN, origin.provider.as_bytes(), origin.audience.as_bytes(), &fields::of_time(*at)])
            }
            Self::Held(origin, held) => {
                let (word, dies) = match held.revocation {
                    Revocation::Immediate => (IMMEDIATE, held.expires),
                    Revocation::LeaseRevoke => (LEASE_REVOKE, held.expires),
                    Revocation::ExpiryOnly(dies) => (EXPIRY_ONLY, dies),
                };
                fields::join(&[
                    HELD,
                    origin.provider.as_bytes(),
                    origin.audience.as_bytes(),
                    held.handle.expose(),
                    word,
                    &fields::of_time(dies),
                    &fields::of_time(held.expires),
                ])
            }
            Self::Barred => fields::join(&[BARRED]),
            Self::Closed => fields::join(&[CLOSED]),
        }
    }

    /// From what was sealed.
    pub(crate) fn from_secret(secret: &Secret) -> Option<Self> {
        match fields::split(secret.expose())?.as_slice() {
            [BEGUN_1, provider, audience] => {
                Some(Self::Begun(Origin::from_fields(provider, audience)?, Time::from_millis(0)))
            }
            [BEGUN, provider, audience, at] => {
                Some(Self::Begun(Origin::from_fields(provider, audience)?, fields::to_time(at)?))
            }
            [HELD, provider, audience, handle, word, dies, expires] => {
                let revocation = match *word {
                    IMMEDIATE => Revocation::Immediate,
                    LEASE_REVOKE => Revocation::LeaseRevoke,
                    EXPIRY_ONLY => Revocation::ExpiryOnly(fields::to_time(dies)?),
                    _ => return None,
                };
                let handle = Handle::new(Secret::new(handle.to_vec()));
                let held = Held { handle, revocation, expires: fields::to_time(expires)? };
                Some(Self::Held(Origin::from_fields(provider, audience)?, held))
            }
            [BARRED] => Some(Self::Barred),
            [CLOSED] => Some(Self::Closed),
            _ => None,
        }
    }
}

impl Origin {
    fn from_fields(provider: &[u8], audience: &[u8]) -> Option<Self> {
        Some(Self { provider: fields::to_text(provider)?, audience: fields::to_text(audience)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> Vec<Note> {
        let origin = || Origin { provider: "own-svid".to_owned(), audience: "https://cloud.example".to_owned() };
        let held = |revocation| {
            let handle = Handle::new(Secret::new(b"handle".to_vec()));
            Note::Held(origin(), Held { handle, revocation, expires: Time::from_millis(7) })
        };
        vec![
            Note::Begun(origin(), Time::from_millis(5)),
            held(Revocation::Immediate),
            held(Revocation::LeaseRevoke),
            held(Revocation::ExpiryOnly(Time::from_millis(9))),
            Note::Barred,
            Note::Closed,
        ]
    }

    #[test]
    fn every_note_reads_back_and_no_part_of_one_does() {
        for note in notes() {
            let kept = note.to_secret();
            let back = Note::from_secret(&kept).unwrap();
            assert_eq!(format!("{back:?}"), format!("{note:?}"));
            assert_eq!(back.to_secret().expose(), kept.expose());
            for end in 0..kept.expose().len() {
                assert!(
                    Note::from_secret(&Secret::new(kept.expose()[..end].to_vec())).is_none(),
                    "{note:?} cut at {end}"
                );
            }
        }
    }
}
