//! Which advisory database a piece of work goes by: the one its asker named, else the configured one.
//!
//! A choice belongs to one trigger and what follows from it. It lies beside the queue, not in a keeper's memory: work that
//! outlives its keeper goes on by the same database.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use selvedge_authority::ActError;
use selvedge_domain::{RunId, TriggerId};

use super::Works;
use super::repositories::transient;
use super::tape::private_dir;

/// Where choices lie, one file for each trigger.
const CHOICES: &str = "advisories-by-trigger";

impl Works {
    /// Goes by `path` for this trigger and its follow-ups.
    pub(crate) fn choose_advisories(&self, trigger: &TriggerId, path: &std::path::Path) -> std::io::Result<()> {
        private_dir(&self.state.at(CHOICES))?;
        std::fs::write(self.choice(trigger), path.as_os_str().as_encoded_bytes())
    }

    /// The database for work on this trigger. None as well when a choice is there and cannot be read: another database
    /// than the one that was named would answer another question.
    pub(crate) fn advisories_of(&self, trigger: &TriggerId) -> Option<PathBuf> {
        match std::fs::read(self.choice(trigger)) {
            Ok(path) => Some(PathBuf::from(OsString::from_vec(path))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.config().advisories.clone(),
            Err(_) => None,
        }
    }

    /// Lets a follow-up go by the database of the run it follows from.
    pub(super) fn inherit_advisories(&self, follow_up: &TriggerId, run: &RunId) -> Result<(), ActError> {
        let parent = self.run(run).map_err(transient)?.trigger().id.clone();
        match std::fs::read(self.choice(&parent)) {
            Ok(path) => std::fs::write(self.choice(follow_up), path).map_err(transient),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(transient(error)),
        }
    }

    /// Forgets the choice once nothing can need it any more.
    pub(crate) fn forget_advisories(&self, trigger: &TriggerId) {
        // A file that stays is a few bytes, and is read by nobody.
        let _none = std::fs::remove_file(self.choice(trigger));
    }

    fn choice(&self, trigger: &TriggerId) -> PathBuf {
        self.state.at(CHOICES).join(trigger.as_str())
    }
}
