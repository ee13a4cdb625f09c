//! Sealed records and the revocation list, kept in the ledger's shelf. Only ciphertext and ids pass here.

use selvedge_credentials::{RevocationList, Revoked, Sealed, SealedStore, Slot, StoreError};
use selvedge_domain::{LeaseId, Time};
use selvedge_ledger::Ledger;

/// The form these records are shelved in.
const VERSION: u32 = 1;

/// The ledger's shelf for things it cannot read.
pub(super) struct Shelf {
    ledger: Ledger,
}

impl Shelf {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

fn key(slot: &Slot) -> String {
    format!("{}/{}/{}", slot.purpose.as_str(), slot.id, slot.version)
}

fn revoked_key(lease: &LeaseId) -> String {
    format!("revoked/{lease}")
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}

impl SealedStore for Shelf {
    fn put(&self, slot: &Slot, sealed: &Sealed) -> Result<(), StoreError> {
        let bytes = sealed.as_bytes().to_vec();
        self.ledger.put_sealed(&key(slot), selvedge_ledger::Sealed { version: VERSION, bytes }).map_err(failed)
    }

    fn get(&self, slot: &Slot) -> Result<Option<Sealed>, StoreError> {
        let found = self.ledger.get_sealed(&key(slot)).map_err(failed)?;
        Ok(found.map(|sealed| Sealed::from_bytes(sealed.bytes)))
    }

    fn delete(&self, slot: &Slot) -> Result<(), StoreError> {
        self.ledger.delete_sealed(&key(slot)).map(drop).map_err(failed)
    }
}

impl Revoked for Shelf {
    fn is_revoked(&self, lease: &LeaseId) -> Result<bool, StoreError> {
        self.ledger.get_sealed(&revoked_key(lease)).map(|found| found.is_some()).map_err(failed)
    }
}

impl RevocationList for Shelf {
    fn revoke(&self, lease: &LeaseId, keep_until: Time) -> Result<(), StoreError> {
        let bytes = keep_until.as_millis().to_be_bytes().to_vec();
        self.ledger.put_sealed(&revoked_key(lease), selvedge_ledger::Sealed { version: VERSION, bytes }).map_err(failed)
    }
}
