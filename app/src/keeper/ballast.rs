//! Room set aside so that the log can be opened when the disk is full: whoever stops something gets it.
//!
//! A keeper that runs needs none of this: the ledger has a reserve of its own. One that has to start first needs a few
//! blocks before it can even read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::lock::State;

/// Enough for the log's shared memory, its write-ahead log and the records of a stop.
const BALLAST_BYTES: usize = 2 << 20;

fn path(state: &State) -> PathBuf {
    state.at("ballast")
}

/// How much is set aside at a time, so that what room there is can be had when there is less than all.
const PIECE_BYTES: usize = 64 << 10;

/// Sets the room aside, or as much of it as there is.
pub(super) fn keep(state: &State) {
    let Ok(mut file) = OpenOptions::new().append(true).create(true).mode(0o600).open(path(state)) else { return };
    let Ok(before) = file.metadata().map(|metadata| metadata.len()) else { return };
    let missing = BALLAST_BYTES.saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
    // Written, not only sized: a hole takes no room.
    let written = (0..missing.div_ceil(PIECE_BYTES)).try_for_each(|_| file.write_all(&[0xa5; PIECE_BYTES]));
    let _as_much_as_there_is = written.and_then(|()| if missing > 0 { file.sync_all() } else { Ok(()) });
}

/// Gives the room up; says whether there was any.
pub(super) fn spend(state: &State) -> bool {
    // Some file systems give blocks back only when nobody has the file open and its length was cut.
    let _cut = OpenOptions::new().write(true).open(path(state)).and_then(|file: File| file.set_len(0));
    std::fs::remove_file(path(state)).is_ok()
}
