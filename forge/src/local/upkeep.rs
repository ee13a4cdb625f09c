//! Keeping a repository quick: every commit brings a pack and every run a reference, and git looks through all of them.

use crate::git::{GitError, GitLimits, TRANSFER};

use super::Repository;

impl Repository {
    /// Gathers packs and references when there are more than `packs_max`, and says whether it did.
    ///
    /// Deletes no object, named or not: a commit that waits to be published has no reference.
    pub fn tidy(&self, packs_max: usize) -> Result<bool, GitError> {
        let unreadable = |cause| GitError::Start { what: "repack".to_owned(), cause };
        let files = std::fs::read_dir(self.dir.join("objects/pack")).map_err(unreadable)?;
        let packs = files.flatten().filter(|file| file.path().extension().is_some_and(|extension| extension == "pack"));
        if packs.count() <= packs_max {
            return Ok(false);
        }
        // Geometric: packs of like size are joined, so that old history is not written again each time.
        let limits = GitLimits { stdout_bytes_max: 1 << 20, ..TRANSFER };
        self.git(&["repack", "--quiet", "-d", "--geometric=2", "--no-write-bitmap-index"], b"", limits)?;
        // Closed runs leave a reference each, and a file each until this.
        self.git(&["pack-refs", "--all"], b"", limits)?;
        Ok(true)
    }
}
