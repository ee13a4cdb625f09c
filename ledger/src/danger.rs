//! What weakens the ledger's promises: for tests, simulation and a recovery that a person takes upon themselves.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::key::Entropy;
use crate::ledger::Ledger;
use crate::open::OpenOptions;

/// Bytes that follow from a seed. Whoever knows the seed knows every salt and the log's key.
#[derive(Debug, Clone)]
pub struct SeededEntropy {
    seed: u64,
    drawn: u64,
}

impl SeededEntropy {
    /// The bytes that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        for chunk in bytes.chunks_mut(32) {
            let block: [u8; 32] = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(self.drawn.to_be_bytes())
                .finalize()
                .into();
            self.drawn += 1;
            chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// Takes randomness from `entropy` instead of the system.
#[must_use]
pub fn with_entropy(options: OpenOptions, entropy: impl Entropy + 'static) -> OpenOptions {
    OpenOptions { entropy: Box::new(entropy), ..options }
}

/// Opens a log whose anchor is gone as if it had never had one. Nobody can tell any more whether it is an old copy.
#[must_use]
pub fn adopt_without_anchor(options: OpenOptions) -> OpenOptions {
    OpenOptions { adopt: true, ..options }
}

/// Fills or frees the simulated disk of a ledger in memory: while it is full, only the reserve can be written. Returns
/// whether the ledger is one in memory.
pub fn simulate_full_disk(ledger: &Ledger, disk: SimulatedDisk) -> bool {
    ledger.with_memory(|memory| memory.full = disk == SimulatedDisk::Full).is_some()
}

/// The disk of a ledger in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedDisk {
    /// Nothing can be written.
    Full,
    /// Everything can.
    Free,
}

/// Forgets everything a ledger in memory holds beside its tables, as a restart would. Returns whether it is one in memory
/// and could be read again.
pub fn simulate_restart(ledger: &Ledger) -> bool {
    ledger.with_memory(|memory| memory.store.reload().is_ok()).unwrap_or(false)
}
