//! The password of the proxy that everything leaves through: sealed for this use alone, so that neither a loan nor a provider
//! opens it, whatever is configured.

use std::fmt;
use std::sync::Arc;

use crate::{NoteError, Purpose, SealedStore, Sealer, Secret, Slot};

/// The one proxy password of a keeper.
pub struct ProxyPassword {
    sealer: Arc<Sealer>,
    store: Arc<dyn SealedStore>,
}

impl ProxyPassword {
    /// Keeps it in `store`, sealed.
    pub fn new(sealer: Arc<Sealer>, store: Arc<dyn SealedStore>) -> Self {
        Self { sealer, store }
    }

    /// Keeps this one in place of what was there.
    pub fn put(&self, password: &Secret) -> Result<(), NoteError> {
        Ok(self.store.put(&slot(), &self.sealer.seal(&slot(), password)?)?)
    }

    /// Forgets it.
    pub fn remove(&self) -> Result<(), NoteError> {
        Ok(self.store.delete(&slot())?)
    }

    /// The password; none when none is stored.
    pub fn get(&self) -> Result<Option<Secret>, NoteError> {
        let Some(sealed) = self.store.get(&slot())? else { return Ok(None) };
        Ok(Some(self.sealer.open(&slot(), &sealed)?))
    }
}

fn slot() -> Slot {
    Slot { purpose: Purpose::ProxyPassword, id: "network".to_owned(), version: 1 }
}

impl fmt::Debug for ProxyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyPassword(..)")
    }
}
