//! The reserve: room set aside so that taking authority away can be recorded when the disk is full (invariant 2, A-107).
//!
//! A file of fixed size, written through when it is made, so that writing it again needs no new block on file systems
//! that overwrite in place. What it holds moves into the log as soon as the log can be written, once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use selvedge_authority::{Entry, Record, Relinquished};
use selvedge_domain::{Actor, Owner, RunId, TenureChange, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::entry;

/// Room for about a thousand acts: a halt of several hundred live runs, twice.
pub(crate) const RESERVE_BYTES: u64 = 512 * 1024;
/// Longest text an act may bring; the rest is cut so that one act cannot use up the room of others.
const TEXT_CHARS_MAX: usize = 120;

const MAGIC: [u8; 4] = *b"SvRe";
/// Magic, length, serial, hash.
const HEAD_BYTES: usize = 4 + 4 + 8 + 32;

/// Entries that wait to be moved into the log.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    file: Option<File>,
    used_bytes: u64,
    last_serial: u64,
    pending: Vec<(u64, Entry)>,
}

/// An entry as the reserve keeps it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptV1 {
    at: u64,
    run: Option<String>,
    actor: String,
    owner: Option<String>,
    kind: String,
    version: u32,
    body: String,
}

impl Reserve {
    /// Opens the reserve at `path`, or sets it aside. Acts up to serial `moved` are in the log already.
    pub(crate) fn open(path: &Path, moved: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() < RESERVE_BYTES {
            file.write_all_at(&vec![0; usize::try_from(RESERVE_BYTES).unwrap_or(0)], 0)?;
            file.sync_all()?;
        }
        let mut bytes = vec![0; usize::try_from(RESERVE_BYTES).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        let mut reserve = Self { file: Some(file), last_serial: moved, ..Self::default() };
        let mut rest = bytes.as_slice();
        while let Some((serial, kept, after)) = take_record(rest) {
            reserve.used_bytes += (rest.len() - after.len()) as u64;
            rest = after;
            reserve.last_serial = reserve.last_serial.max(serial);
            if serial > moved {
                reserve.pending.push((serial, restore(&kept)?));
            }
        }
        Ok(reserve)
    }

    /// Keeps `entry` on stable storage without needing new room.
    pub(crate) fn keep(&mut self, entry: &Entry) -> io::Result<()> {
        let entry = shortened(entry);
        let serial = self.last_serial + 1;
        if let Some(file) = &self.file {
            let record = make_record(serial, &entry)?;
            let after = self.used_bytes + record.len() as u64;
            if after > RESERVE_BYTES {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the reserve is used up"));
            }
            file.write_all_at(&record, self.used_bytes)?;
            file.sync_data()?;
            self.used_bytes = after;
        }
        self.last_serial = serial;
        self.pending.push((serial, entry));
        Ok(())
    }

    /// What waits, oldest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.pending.iter().map(|(_, entry)| entry)
    }

    /// Whether anything waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The serial of the last act kept: once the log remembers it, nothing kept so far is moved again.
    pub(crate) fn last_serial(&self) -> u64 {
        self.last_serial
    }

    /// Frees the room of what has been moved into the log.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.pending.clear();
        if let Some(file) = &self.file {
            file.write_all_at(&vec![0; usize::try_from(self.used_bytes).unwrap_or(0)], 0)?;
            file.sync_data()?;
        }
        self.used_bytes = 0;
        Ok(())
    }
}

/// Whether an entry may use the reserve: only what takes authority away.
pub(crate) fn may_use(entry: &Entry) -> bool {
    match &entry.record {
        Record::Relinquished(_) => true,
        Record::TenureChanged { change, .. } => *change == TenureChange::Offboarded,
        _ => false,
    }
}

fn shortened(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if let Record::Relinquished(Relinquished::SandboxKilled { found }) = &mut entry.record {
        *found = found.chars().take(TEXT_CHARS_MAX).collect();
    }
    entry
}

fn make_record(serial: u64, entry: &Entry) -> io::Result<Vec<u8>> {
    let stored = entry::encode(&entry.record).map_err(io::Error::other)?;
    let kept = KeptV1 {
        at: entry.at.as_millis(),
        run: entry.run.as_ref().map(ToString::to_string),
        actor: entry.actor.to_string(),
        owner: entry.owner.as_ref().map(ToString::to_string),
        kind: stored.kind.to_owned(),
        version: stored.version,
        body: stored.body,
    };
    let payload = serde_json::to_vec(&kept)?;
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut record = Vec::with_capacity(HEAD_BYTES + payload.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(&serial.to_be_bytes());
    record.extend_from_slice(&Sha256::new().chain_update(serial.to_be_bytes()).chain_update(&payload).finalize());
    record.extend_from_slice(&payload);
    Ok(record)
}

/// The first record of `bytes` and what follows it; none when there is no whole one.
fn take_record(bytes: &[u8]) -> Option<(u64, Vec<u8>, &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (serial, rest) = rest.split_first_chunk::<8>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let expected: [u8; 32] = Sha256::new().chain_update(serial).chain_update(payload).finalize().into();
    (*magic == MAGIC && *hash == expected).then(|| (u64::from_be_bytes(*serial), payload.to_vec(), rest))
}

fn restore(payload: &[u8]) -> io::Result<Entry> {
    let kept: KeptV1 = serde_json::from_slice(payload)?;
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the reserve holds a bad {what}"));
    Ok(Entry {
        at: Time::from_millis(kept.at),
        run: kept.run.map(|run| RunId::parse(&run)).transpose().map_err(|_| bad("run"))?,
        actor: Actor::parse(&kept.actor).ok_or_else(|| bad("actor"))?,
        owner: kept.owner.map(|owner| Owner::parse(&owner).ok_or_else(|| bad("owner"))).transpose()?,
        record: entry::decode(&kept.kind, kept.version, &kept.body).map_err(io::Error::other)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn killed(found: &str) -> Entry {
        let record = Record::Relinquished(Relinquished::SandboxKilled { found: found.to_owned() });
        let run = Some(RunId::from_entropy(7));
        Entry { at: Time::from_millis(5), run, actor: Actor::Factory, owner: None, record }
    }

    #[test]
    fn what_was_kept_is_found_again_until_it_was_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let mut reserve = Reserve::open(&path, 0).unwrap();
        reserve.keep(&killed("one")).unwrap();
        reserve.keep(&killed(&"x".repeat(10_000))).unwrap();
        let again = Reserve::open(&path, 0).unwrap();
        assert_eq!(again.pending().collect::<Vec<_>>(), [&killed("one"), &killed(&"x".repeat(TEXT_CHARS_MAX))]);
        let moved = Reserve::open(&path, 1).unwrap();
        assert_eq!(moved.pending().count(), 1, "the first is in the log already");
        reserve.clear().unwrap();
        assert!(Reserve::open(&path, 2).unwrap().is_empty());
    }

    #[test]
    fn a_torn_record_ends_the_reserve_and_hides_nothing_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let mut reserve = Reserve::open(&path, 0).unwrap();
        reserve.keep(&killed("one")).unwrap();
        let first = reserve.used_bytes;
        reserve.keep(&killed("two")).unwrap();
        reserve.file.as_ref().unwrap().write_all_at(&[0xff], first + 60).unwrap();
        assert_eq!(Reserve::open(&path, 0).unwrap().pending().collect::<Vec<_>>(), [&killed("one")]);
    }

    #[test]
    fn the_room_is_bounded_and_enough_for_a_halt_of_hundreds_of_runs() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::open(&dir.path().join("reserve"), 0).unwrap();
        let kept = (0..).take_while(|_| reserve.keep(&killed(&"x".repeat(500))).is_ok()).count();
        assert!(kept >= 1_000, "{kept}");
    }
}
