//! What the git door asks its keeper, and what it is answered. Owns the vocabulary; what is large passes through a lane's
//! two files, so that neither side holds it.

use selvedge_domain::{CommitId, Endpoint};

/// Where a run's repository is served, and the one branch it may move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitHost {
    /// A place that is nowhere: the door answers for it.
    pub endpoint: Endpoint,
    /// The canonical path its repository has there.
    pub path: String,
    /// The branch's full name.
    pub reference: String,
}

/// What a client of git wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitService {
    /// Fetch.
    UploadPack,
    /// Push.
    ReceivePack,
}

/// One call; `lane` names the files it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCall {
    /// Which lane.
    pub lane: usize,
    /// What is wanted.
    pub wanted: GitWanted,
}

/// What one call wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitWanted {
    /// What there is, in the words of the smart protocol, into the lane's answer.
    Advertise(GitService),
    /// An answer to the lane's request, `bytes` long, of a client that fetches.
    Fetch {
        /// Length of the request.
        bytes: u64,
    },
    /// The run's branch moved, by the pack that begins at `pack_at` of the lane's request.
    Push {
        /// From where; nothing before the first push.
        old: Option<CommitId>,
        /// To where.
        new: CommitId,
        /// Where the pack begins.
        pack_at: u64,
        /// Length of the request.
        bytes: u64,
    },
}

/// The answer to a [`GitCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitAnswer {
    /// The lane's answer is this long, and the run's branch is there.
    Served {
        /// Length of the answer.
        bytes: u64,
        /// Where the branch is.
        at: Option<CommitId>,
    },
    /// The branch was moved.
    Pushed,
    /// It may not be, or cannot be; the words are for whoever asked.
    Refused {
        /// A stable code.
        code: String,
        /// Why, and what to do.
        because: String,
    },
}
