//! Publishing a run's commit under its branch, and closing it again.
//!
//! Every move names what it expects to find, so two writers cannot both win; repeating a move that happened is no error.

use selvedge_authority::Permit;
use selvedge_domain::orders::OpenProposal;
use selvedge_domain::{CommitId, RepoName, RunId};

use crate::git::{ANSWER, GitError, LISTING};

use super::Repository;
use super::branch::{closed_reference, run_branch, run_reference, run_reference_prefix};

/// What a branch must point at for a move to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// There is no such branch yet.
    Absent,
    /// It points here.
    At(CommitId),
}

/// A run's branch as it now is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The branch, for people: `selvedge/<run>`.
    pub branch: String,
    /// What it points at.
    pub commit: CommitId,
}

/// A reference could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Git gave no answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The permit is for another repository.
    #[error("the permit is for `{permitted}`, not for `{asked}`")]
    OtherRepository {
        /// Where it may act.
        permitted: RepoName,
        /// Where it was used.
        asked: RepoName,
    },
    /// Someone else moved it.
    #[error("`{branch}` is not where it was expected: found {}", found.as_ref().map_or("no such branch", CommitId::as_str))]
    Moved {
        /// Which.
        branch: String,
        /// Where it is.
        found: Option<CommitId>,
    },
}

impl Repository {
    /// Points the run's branch at the verified commit, if it is where it is expected; already being there is success.
    pub fn publish(&self, permit: &Permit<OpenProposal>, expected: &Expected) -> Result<Published, PublishError> {
        let OpenProposal { run, repo, verified, .. } = permit.order();
        if *repo != self.name {
            return Err(PublishError::OtherRepository { permitted: repo.clone(), asked: self.name.clone() });
        }
        let branch = run_branch(run);
        self.move_reference(&run_reference(run), &branch, verified.commit(), expected)?;
        Ok(Published { branch, commit: verified.commit().clone() })
    }

    /// The commit a run's branch points at, if it is open.
    pub fn published(&self, run: &RunId) -> Result<Option<CommitId>, GitError> {
        self.resolve(&run_reference(run))
    }

    /// Every run whose branch is open, with its commit: what a restart compares the record with.
    pub fn open_runs(&self) -> Result<Vec<(RunId, CommitId)>, GitError> {
        let unreadable = || GitError::Unreadable { what: "for-each-ref".to_owned() };
        let prefix = run_reference_prefix();
        let listing = self.git(&["for-each-ref", "--format=%(objectname) %(refname)", &prefix], b"", LISTING)?;
        let listing = String::from_utf8(listing).map_err(|_| unreadable())?;
        // A person may have put a branch of their own beside ours; it is none of our business.
        let open = listing.lines().filter_map(|line| {
            let (id, name) = line.split_once(' ')?;
            Some((RunId::parse(name.strip_prefix(&prefix)?).ok()?, CommitId::parse(id).ok()?))
        });
        Ok(open.collect())
    }

    /// Takes the run's branch away, which needs no permit, and keeps its commit reachable under another reference.
    ///
    /// `None` where the run never published anything.
    pub fn close(&self, run: &RunId) -> Result<Option<CommitId>, PublishError> {
        let (open, closed) = (run_reference(run), closed_reference(run));
        let Some(commit) = self.resolve(&open)? else {
            return Ok(self.resolve(&closed)?);
        };
        let moves = format!("update {closed}\0{commit}\0\0delete {open}\0{commit}\0");
        let output = self.ask(&["update-ref", "--no-deref", "--stdin", "-z"], moves.as_bytes(), ANSWER)?;
        if output.status == Some(0) {
            return Ok(Some(commit));
        }
        match self.resolve(&open)? {
            // Another close was quicker.
            None => Ok(self.resolve(&closed)?),
            Some(found) if found == commit => {
                Err(GitError::Failed { what: "update-ref".to_owned(), said: output.said() }.into())
            }
            found => Err(PublishError::Moved { branch: run_branch(run), found }),
        }
    }

    /// Compare and swap.
    pub(super) fn move_reference(
        &self,
        reference: &str,
        branch: &str,
        commit: &CommitId,
        expected: &Expected,
    ) -> Result<(), PublishError> {
        let old = match expected {
            // Git reads the empty string as `must not exist`.
            Expected::Absent => "",
            Expected::At(old) => old.as_str(),
        };
        let output = self.ask(&["update-ref", "--no-deref", "--", reference, commit.as_str(), old], b"", ANSWER)?;
        if output.status == Some(0) {
            return Ok(());
        }
        let found = self.resolve(reference)?;
        let was_expected = match (expected, &found) {
            (_, Some(found)) if found == commit => return Ok(()),
            (Expected::Absent, None) => true,
            (Expected::At(old), Some(found)) => old == found,
            (Expected::Absent, Some(_)) | (Expected::At(_), None) => false,
        };
        if was_expected {
            Err(GitError::Failed { what: "update-ref".to_owned(), said: output.said() }.into())
        } else {
            Err(PublishError::Moved { branch: branch.to_owned(), found })
        }
    }
}
