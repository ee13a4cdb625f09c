//! What the tests build their logs from.

use std::path::{Path, PathBuf};

use selvedge_authority::{Class, Entry, PolicyName, Record, Verdict};
use selvedge_domain::orders::{AnswerQuestion, AskPerson, GrantApproval, OpenProposal};
use selvedge_domain::{
    Actor, AgentName, ApprovalId, Authorship, CheckReport, CommitId, Deed, Digest, Duration, Effect, Event, Intent,
    LeaseEvent, LeaseId, Lineage, Order, Outcome, Person, ProposalNumber, RepoName, Revocation, RunId, Task, TaskId,
    Time, TreeId, Trigger, TriggerId, TriggerSource, Verb, Verified, Witnessed,
};
use selvedge_ledger::{Claim, Ledger, OpenOptions, WriteError, danger};

/// A state directory and its anchor, gone when dropped.
pub(crate) struct Place {
    pub(crate) root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub(crate) fn anchor(&self) -> PathBuf {
        self.root.path().join("anchor")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.state().join("ledger.db")
    }

    pub(crate) fn open(&self) -> Ledger {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Ledger, selvedge_ledger::OpenError> {
        Ledger::open(&self.state(), &self.anchor(), options())
    }
}

pub(crate) fn options() -> OpenOptions {
    danger::with_entropy(OpenOptions::default(), danger::SeededEntropy::new(7))
}

/// Copies a directory's files.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

pub(crate) fn time(millis: u64) -> Time {
    Time::from_millis(millis)
}

pub(crate) const LEASE: Duration = Duration::from_millis(1_000);

pub(crate) fn repo() -> RepoName {
    RepoName::parse("acme/shop").unwrap()
}

pub(crate) fn agent() -> AgentName {
    AgentName::parse("fixer").unwrap()
}

pub(crate) fn commit(digit: char) -> CommitId {
    CommitId::parse(&digit.to_string().repeat(40)).unwrap()
}

pub(crate) fn trigger(id: u64) -> Trigger {
    Trigger {
        id: TriggerId::from_entropy(id),
        source: TriggerSource::Command,
        by: Actor::Person(Person::from_uid(1000)),
        repo: repo(),
        agent: agent(),
        text: format!("fix number {id}"),
        argv: vec!["make".to_owned()],
        lineage: Lineage::outside(),
    }
}

pub(crate) fn entry(at: u64, run: Option<&RunId>, record: Record) -> Entry {
    Entry { at: time(at), run: run.cloned(), actor: Actor::Factory, owner: None, record }
}

pub(crate) fn happened(at: u64, run: &RunId, event: Event) -> Entry {
    entry(at, Some(run), Record::Happened(event))
}

pub(crate) fn not_done(at: u64, run: Option<&RunId>, because: &str) -> Entry {
    let order = Digest::of_parts([because.as_bytes()]);
    entry(at, run, Record::NotDone { order, verb: Verb::HttpRequest, because: because.to_owned() })
}

pub(crate) fn allow() -> Verdict {
    Verdict::Allow { policies: vec![PolicyName::new("base")] }
}

/// Records that `order` was allowed and done.
pub(crate) fn decide_and_do<O: Order>(
    ledger: &Ledger,
    at: u64,
    run: Option<&RunId>,
    order: &O,
    deed: Deed,
) -> Result<(), WriteError> {
    let described = order.describe();
    let digest = described.digest();
    let decided = Record::Decided { order: described, verdict: allow(), approval: None };
    ledger.append_entry(entry(at, run, decided), Class::Durable)?;
    ledger.append_entry(entry(at, run, Record::Done { order: digest, verb: O::VERB, deed }), Class::Durable).map(drop)
}

pub(crate) fn open_proposal(run: &RunId) -> OpenProposal {
    OpenProposal {
        run: run.clone(),
        repo: repo(),
        verified: verified(),
        target: "main".to_owned(),
        title: "Fix it".to_owned(),
        body: "It is fixed.".to_owned(),
        paths: vec!["src/lib.rs".to_owned()],
        executes_elsewhere: Vec::new(),
        changes_gate: Vec::new(),
        undeclared: Vec::new(),
        author: Authorship::default(),
    }
}

pub(crate) fn grant(approval: &ApprovalId, run: &RunId, order: Digest, until: u64) -> GrantApproval {
    GrantApproval {
        approval: approval.clone(),
        run: run.clone(),
        order,
        verb: Verb::ProposalOpen,
        by: Person::from_uid(1001),
        until: time(until),
        repo: repo(),
        by_requester: false,
    }
}

pub(crate) fn question(run: &RunId) -> AskPerson {
    AskPerson { run: run.clone(), repo: repo(), serial: 7, question: "Which one?".to_owned() }
}

pub(crate) fn words(approval: &ApprovalId, run: &RunId, order: Digest, answer: &str) -> AnswerQuestion {
    AnswerQuestion {
        approval: approval.clone(),
        run: run.clone(),
        repo: repo(),
        order,
        answer: answer.to_owned(),
        by: Person::from_uid(1001),
        by_requester: false,
    }
}

pub(crate) fn verified() -> Verified {
    let report = CheckReport { tree: TreeId::parse(&"2".repeat(40)).unwrap(), commands: 1, failed: None, tests: None };
    Verified::judge(commit('1'), commit('0'), &report, &report).unwrap()
}

pub(crate) fn tree_effect() -> Effect {
    Effect::Tree { tree: TreeId::parse(&"2".repeat(40)).unwrap(), commit: commit('1'), summary: "done".to_owned() }
}

/// A run is taken on.
pub(crate) fn admitted(ledger: &Ledger, run: &RunId, id: u64) -> Event {
    Event::Admitted(Box::new(Task {
        id: TaskId::from_entropy(id),
        trigger: ledger.load_run(run).unwrap().unwrap().trigger().clone(),
        intent: Intent::ProposeChange,
        base: commit('0'),
    }))
}

/// Takes a claimed run from its beginning to its end, with a lease and a proposal on the way. `from` is the first moment.
pub(crate) fn walk(ledger: &Ledger, claim: &Claim, from: u64) -> ProposalNumber {
    let run = &claim.run;
    let lease = LeaseId::from_entropy(from);
    let expires = time(from + 10_000);
    let minted = LeaseEvent::Minted { revocation: Revocation::Immediate, expires };
    let before = [
        admitted(ledger, run, from),
        Event::LeaseAnnounced(lease.clone()),
        Event::LeaseChanged(lease.clone(), minted),
        Event::AttemptBegan { attempt: 1 },
        Event::Worked { effect: tree_effect(), follow_ups: Vec::new(), seen: Witnessed::default() },
        Event::Verified(verified()),
    ];
    for (at, event) in (from..).zip(before) {
        ledger.append_entry(happened(at, run, event), Class::Durable).unwrap();
    }
    let number = ledger.proposal_number(&repo(), run).unwrap();
    decide_and_do(ledger, from + 10, Some(run), &open_proposal(run), Deed::Opened(number)).unwrap();
    let outcome = Outcome::Proposed(number);
    let after = [
        Event::Delivered(outcome.clone()),
        Event::Ended(outcome),
        Event::LeaseChanged(lease, LeaseEvent::Died),
        Event::Revoked,
        Event::Settled,
    ];
    for (at, event) in (from + 20..).zip(after) {
        ledger.append_entry(happened(at, run, event), Class::Durable).unwrap();
    }
    number
}
