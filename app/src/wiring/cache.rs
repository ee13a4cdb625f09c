//! Keeping a directory that a sandbox writes on the host within bounds. The kernel bounds what lies in memory; this lies on
//! the disk that the ledger needs too.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use selvedge_domain::RunId;

use super::Works;

/// Largest cache that set-up may leave: the dependencies of a very large project.
pub(super) const CACHE_BYTES_MAX: u64 = 4 << 30;

/// Most files in it.
const CACHE_FILES_MAX: u64 = 400_000;

/// How often it is measured. A disk writes some hundred megabytes in that time.
const LOOK: Duration = Duration::from_millis(500);

impl Works {
    /// Kills the run's sandboxes when `dir` outgrows its bounds while `inside` goes on; says whether that happened.
    pub(super) fn while_within<T>(&self, dir: &Path, run: &RunId, inside: impl FnOnce() -> T) -> (T, bool) {
        let (done, too_much) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    if !is_within(dir) {
                        too_much.store(true, Ordering::Release);
                        self.kill_run(run);
                        return;
                    }
                    std::thread::park_timeout(LOOK);
                }
            });
            let result = inside();
            done.store(true, Ordering::Release);
            watcher.thread().unpark();
            (result, too_much.load(Ordering::Acquire) || !is_within(dir))
        })
    }
}

/// Whether what lies beneath `dir` is within bounds. Counts blocks, follows nothing, and stops when it knows. What cannot be
/// measured, such as a path longer than the system takes, is out of bounds: otherwise whoever fills the disk would do it there.
fn is_within(dir: &Path) -> bool {
    let (mut bytes, mut files) = (0u64, 0u64);
    let mut pending = vec![dir.to_owned()];
    // What vanishes while we look is no longer there to be counted.
    let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    while let Some(next) = pending.pop() {
        let entries = match std::fs::read_dir(next) {
            Ok(entries) => entries,
            Err(error) if gone(&error) => continue,
            Err(_) => return false,
        };
        for entry in entries {
            let metadata = match entry.as_ref().map(std::fs::DirEntry::metadata) {
                Ok(Ok(metadata)) => metadata,
                Ok(Err(error)) if gone(&error) => continue,
                Ok(Err(_)) | Err(_) => return false,
            };
            files += 1;
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
            if bytes > CACHE_BYTES_MAX || files > CACHE_FILES_MAX {
                return false;
            }
            if metadata.is_dir() {
                pending.extend(entry.map(|entry| entry.path()));
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name is short and every step relative, so nothing stops a program from going deeper than a path can say.
    #[test]
    fn what_is_too_deep_to_be_measured_is_out_of_bounds_a107() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("small"), "small").unwrap();
        assert!(is_within(dir.path()));
        let dig = "for i in $(seq 30); do mkdir -p $(printf 'd%.0s' $(seq 200)); cd d*; done; echo deep > file";
        let mut shell = std::process::Command::new("bash");
        assert!(shell.args(["-c", dig]).current_dir(dir.path()).status().unwrap().success());
        assert!(!is_within(dir.path()));
    }
}
