//! Permits, made the only way there is: by a funnel that asks and records. Here the judge says yes to everything.

use selvedge_authority::{
    Approval, Class, Clock, Context, Entry, Funnel, Granted, Journal, JournalError, Judge, Permit, Question, Subject,
    Verdict,
};
use selvedge_domain::orders::{MergeProposal, OpenProposal};
use selvedge_domain::{
    Authorship, CheckReport, CommitId, Deed, Digest, ProposalNumber, RepoName, RunId, Sensitivity, Time, TreeId,
    Verified,
};

struct SaysYes;

impl Judge for SaysYes {
    fn judge(&self, _: &Question<'_>) -> Verdict {
        Verdict::Allow { policies: Vec::new() }
    }
}

impl Clock for SaysYes {
    fn now(&self) -> Time {
        Time::from_millis(0)
    }
}

impl Journal for SaysYes {
    fn append(&self, _: Entry, _: Class) -> Result<(), JournalError> {
        Ok(())
    }

    fn recall(&self, _: &RunId, _: &Digest) -> Result<Option<Deed>, JournalError> {
        Ok(None)
    }

    fn approval(&self, _: &Digest, _: Time) -> Result<Option<Approval>, JournalError> {
        Ok(None)
    }
}

/// Leave to carry out any order.
pub(crate) fn permit<O: Granted>(order: O) -> Permit<O> {
    let context = Context {
        run: None,
        intent: None,
        sensitivity: Sensitivity::Internal,
        chain_depth: 0,
        follow_ups_left: 0,
        tainted: false,
        read_sensitive: false,
        lands_unattended: false,
        configuration: Digest::from_bytes([0; 32]),
    };
    let funnel =
        Funnel { judge: &SaysYes, journal: &SaysYes, subject: &Subject::Factory, context: &context, clock: &SaysYes };
    funnel.open(order).unwrap()
}

/// Leave to publish `commit` as `run`'s proposal.
pub(crate) fn to_open(repo: &RepoName, run: &RunId, commit: &CommitId, tree: &TreeId) -> Permit<OpenProposal> {
    let green = CheckReport { tree: tree.clone(), commands: 1, failed: None, tests: None };
    let verified = Verified::judge(commit.clone(), commit.clone(), &green, &green);
    permit(OpenProposal {
        run: run.clone(),
        repo: repo.clone(),
        verified: verified.unwrap(),
        target: "main".to_owned(),
        title: "fix".to_owned(),
        body: String::new(),
        paths: Vec::new(),
        executes_elsewhere: Vec::new(),
        changes_gate: Vec::new(),
        undeclared: Vec::new(),
        author: Authorship::default(),
    })
}

/// Leave to merge `head` into `target`.
pub(crate) fn to_merge(repo: &RepoName, run: &RunId, head: &CommitId, target: &str) -> Permit<MergeProposal> {
    permit(MergeProposal {
        repo: repo.clone(),
        number: ProposalNumber::new(1),
        run: run.clone(),
        head: head.clone(),
        target: target.to_owned(),
        asked_by_author: false,
    })
}
