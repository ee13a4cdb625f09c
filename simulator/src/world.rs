//! The outside world: credentials that work somewhere, sandboxes, branches, proposals, agents that do as they please.
//!
//! Owns what is true whether or not it was recorded, and a history of it for the oracle. Never reads the record.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::orders::{MintCredential, Minted, Ran};
use selvedge_domain::{
    CommitId, CredentialName, Digest, Effect, EffectKind, LeaseId, ProposalNumber, RepoName, Revocation, RunId, Task,
    Time, TreeId, TriggerId, Verb, Witnessed,
};
use selvedge_factory::ports::{Agent, Repository, TakenBack};

use crate::rules::Rules;
use crate::scenario::{Lending, Scenario};

/// What every secret in this world contains, and no record may.
pub const CANARY: &str = "canary-7f3a";

/// Something that came true, and how many entries had been recorded when it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// How many entries there were.
    pub entries: usize,
    /// What came true.
    pub fact: Fact,
}

/// What can come true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An order was carried out.
    Acted {
        /// Its fingerprint.
        order: Digest,
        /// For which run.
        run: RunId,
        /// Its verb.
        verb: Verb,
        /// Whether by a worker that had lost its claim.
        stale: bool,
    },
    /// A credential began to work.
    Born(LeaseId, RunId, Option<CredentialName>),
    /// A lease was asked back, whatever came of it.
    AskedBack(LeaseId),
    /// A credential stopped working.
    Died(LeaseId, RunId),
    /// A sandbox started.
    SandboxUp(u64, RunId, Held, Purpose),
    /// A sandbox is gone.
    SandboxDown(u64, RunId),
    /// A proposal was opened.
    Proposed(ProposalNumber, RunId, CommitId),
    /// A follow-up was queued.
    Enqueued(TriggerId),
    /// A worker that was told it lost its claim killed what the worker with the claim had running, or would have had.
    KilledByStranger(RunId),
    /// A keeper gave up on a run whose record failed.
    Interrupted(RunId),
}

/// Whether whoever did something held the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Yes.
    Yes,
    /// No: the claim had been taken over.
    No,
}

/// What a sandbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An agent works in it.
    Work,
    /// Checks run in it.
    Check,
}

#[derive(Debug, Clone)]
struct Credential {
    run: RunId,
    works_until: u64,
    works: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sandbox {
    Up(RunId),
    Killed(RunId, Option<String>),
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) recorded: usize,
    pub(crate) history: Vec<Moment>,
    pub(crate) rules: Rules,
    pub(crate) agents: Vec<Agent>,
    pub(crate) repos: Vec<Repository>,
    pub(crate) configurations: u64,
    pub(crate) disk_full: bool,
    pub(crate) serial: u64,
    /// Milliseconds that have really passed, whatever the clock says.
    elapsed: u64,
    /// How far the clock was set back.
    set_back: u64,
    drawn: u64,
    lending: Lending,
    refusals: BTreeMap<LeaseId, u32>,
    credentials: BTreeMap<LeaseId, Credential>,
    refused: BTreeSet<LeaseId>,
    sandboxes: BTreeMap<u64, Sandbox>,
    proposals: Vec<(RepoName, RunId, CommitId)>,
    trees: BTreeMap<CommitId, (TreeId, String)>,
    commands: usize,
}

/// When this world begins: 2026-01-01T00:00:00Z.
const EPOCH_MILLIS: u64 = 1_767_225_600_000;

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            recorded: 0,
            history: Vec::new(),
            rules: scenario.rules.clone(),
            agents: scenario.agents.clone(),
            repos: scenario.repos.clone(),
            configurations: 1,
            disk_full: false,
            serial: 0,
            elapsed: 0,
            set_back: 0,
            drawn: scenario.seed,
            lending: scenario.lending,
            refusals: BTreeMap::new(),
            credentials: BTreeMap::new(),
            refused: BTreeSet::new(),
            sandboxes: BTreeMap::new(),
            proposals: Vec::new(),
            trees: BTreeMap::new(),
            commands: scenario.checks,
        }
    }

    pub(crate) fn note(&mut self, fact: Fact) {
        self.history.push(Moment { entries: self.recorded, fact });
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_millis(EPOCH_MILLIS + self.elapsed - self.set_back.min(self.elapsed))
    }

    /// Time passes, and what can only expire does.
    pub(crate) fn pass(&mut self, millis: u64) {
        self.elapsed = self.elapsed.saturating_add(millis);
        let expired: Vec<LeaseId> = self
            .credentials
            .iter()
            .filter(|(_, credential)| credential.works && credential.works_until <= self.elapsed)
            .map(|(lease, _)| lease.clone())
            .collect();
        expired.iter().for_each(|lease| self.kill_credential(lease));
    }

    pub(crate) fn set_clock_back(&mut self, millis: u64) {
        self.set_back = self.set_back.saturating_add(millis);
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        bits(&[b"draw", &self.drawn.to_be_bytes()])
    }

    // Credentials.

    /// Makes a credential work, unless its lease was given up already: a late mint must not outlive its run.
    pub(crate) fn mint(&mut self, order: &MintCredential) -> Result<Minted, String> {
        if self.refused.contains(&order.lease) {
            return Err("the lease was given up".to_owned());
        }
        let expires = order.until;
        let works_until = self.elapsed.saturating_add(expires.since(self.now()).as_millis());
        let revocation = match self.lending {
            Lending::Immediate => Revocation::Immediate,
            Lending::StuckFor(_) => Revocation::LeaseRevoke,
            Lending::ExpiryOnly => Revocation::ExpiryOnly(expires),
        };
        if !self.credentials.contains_key(&order.lease) {
            self.birth(&order.lease, order, works_until);
        }
        Ok(Minted { lease: order.lease.clone(), revocation, expires })
    }

    pub(crate) fn birth(&mut self, lease: &LeaseId, order: &MintCredential, works_until: u64) {
        let MintCredential { run, credential, .. } = order;
        self.credentials.insert(lease.clone(), Credential { run: run.clone(), works_until, works: true });
        self.note(Fact::Born(lease.clone(), run.clone(), credential.clone()));
    }

    pub(crate) fn take_back(&mut self, lease: &LeaseId) -> TakenBack {
        self.refused.insert(lease.clone());
        let works = self.credentials.get(lease).is_some_and(|credential| credential.works);
        if !works {
            return TakenBack::Dead;
        }
        match self.lending {
            Lending::ExpiryOnly => return TakenBack::Stuck { because: "it can only expire".to_owned() },
            Lending::StuckFor(times) => {
                let refusals = self.refusals.entry(lease.clone()).or_default();
                if *refusals < times {
                    *refusals += 1;
                    return TakenBack::Stuck { because: "the lease service does not answer".to_owned() };
                }
            }
            Lending::Immediate => {}
        }
        self.kill_credential(lease);
        TakenBack::Dead
    }

    /// What a run was lent and can use, besides its identity: of each the newest.
    pub(crate) fn lent_to(&self, run: &RunId) -> Vec<(LeaseId, CredentialName)> {
        let born = self.history.iter().filter_map(|moment| match &moment.fact {
            Fact::Born(lease, of, Some(name)) if of == run => Some((name.clone(), lease.clone())),
            _ => None,
        });
        let newest: BTreeMap<CredentialName, LeaseId> = born.collect();
        let works = |lease: &LeaseId| self.credentials.get(lease).is_some_and(|credential| credential.works);
        newest.into_iter().filter(|(_, lease)| works(lease)).map(|(name, lease)| (lease, name)).collect()
    }

    fn kill_credential(&mut self, lease: &LeaseId) {
        let Some(credential) = self.credentials.get_mut(lease) else { return };
        if credential.works {
            credential.works = false;
            let run = credential.run.clone();
            self.note(Fact::Died(lease.clone(), run));
        }
    }

    pub(crate) fn owner_of(&self, lease: &LeaseId) -> Option<RunId> {
        self.credentials.get(lease).map(|credential| credential.run.clone())
    }

    pub(crate) fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    // Sandboxes.

    pub(crate) fn start_sandbox(&mut self, run: &RunId, held: Held, purpose: Purpose) -> u64 {
        let id = u64::try_from(self.sandboxes.len()).unwrap_or(u64::MAX);
        self.sandboxes.insert(id, Sandbox::Up(run.clone()));
        self.note(Fact::SandboxUp(id, run.clone(), held, purpose));
        id
    }

    pub(crate) fn sandbox(&self, id: u64) -> Option<&Sandbox> {
        self.sandboxes.get(&id)
    }

    pub(crate) fn stop_sandbox(&mut self, id: u64, halted: Option<&str>) {
        if let Some(Sandbox::Up(run)) = self.sandboxes.get(&id).cloned() {
            self.sandboxes.insert(id, Sandbox::Killed(run.clone(), halted.map(str::to_owned)));
            self.note(Fact::SandboxDown(id, run));
        }
    }

    /// Kills what the run has running; says how much that was.
    pub(crate) fn kill(&mut self, run: &RunId, halted: Option<&str>) -> usize {
        let up = |sandbox: &Sandbox| matches!(sandbox, Sandbox::Up(of) if of == run);
        let found: Vec<u64> = self.sandboxes.iter().filter(|(_, sandbox)| up(sandbox)).map(|(id, _)| *id).collect();
        found.iter().for_each(|id| self.stop_sandbox(*id, halted));
        found.len()
    }

    pub(crate) fn running(&self) -> Vec<RunId> {
        let runs: BTreeSet<RunId> = self
            .sandboxes
            .values()
            .filter_map(|sandbox| match sandbox {
                Sandbox::Up(run) => Some(run.clone()),
                Sandbox::Killed(..) => None,
            })
            .collect();
        runs.into_iter().collect()
    }

    // Work.

    /// What the agent leaves, by the first word of what it was asked.
    pub(crate) fn work(&mut self, task: &Task) -> Ran {
        let text = &task.trigger.text;
        let (now, then) = text.split_once("; then ").map_or((text.as_str(), None), |(now, then)| (now, Some(then)));
        let mut follow_ups: Vec<String> = then.map(str::to_owned).into_iter().collect();
        let reviews = task.trigger.part().is_some_and(|part| part.reviews);
        let effect = match now {
            _ if reviews => {
                Ok(Effect::Document { kind: EffectKind::Proposal, digest: Digest::of_parts([now.as_bytes()]) })
            }
            "nothing" => Ok(Effect::Nothing { because: "all is well".to_owned() }),
            "unresolved" => Ok(Effect::Unresolved { because: "no safe version exists".to_owned() }),
            // Its door was closed on it, and it ended before it was killed.
            "severed" => Err("the program ended with exit status 1".to_owned()),
            "broken" => Err("it left a nested repository".to_owned()),
            "flood" => {
                follow_ups = (0..10).map(|_| "nothing".to_owned()).collect();
                Ok(self.commit(task, now))
            }
            content => Ok(self.commit(task, content)),
        };
        Ran { exit: "exit status 0".to_owned(), status: Some(0), effect, follow_ups, seen: Witnessed::default() }
    }

    /// The same work leaves the same tree.
    fn commit(&mut self, task: &Task, content: &str) -> Effect {
        let name = [task.id.as_str().as_bytes(), task.base.as_str().as_bytes(), content.as_bytes()];
        let (commit, tree) = (commit_id(&name), tree_id(&name));
        self.trees.insert(commit.clone(), (tree.clone(), content.to_owned()));
        Effect::Tree { tree, commit, summary: format!("I did this: {content}") }
    }

    // Repositories.

    pub(crate) fn head(&self, repo: &RepoName) -> CommitId {
        commit_id(&[b"head", repo.as_str().as_bytes()])
    }

    pub(crate) fn tree_of(&self, commit: &CommitId) -> TreeId {
        match self.trees.get(commit) {
            Some((tree, _)) => tree.clone(),
            None => tree_id(&[commit.as_str().as_bytes()]),
        }
    }

    pub(crate) fn content(&self, commit: &CommitId) -> &str {
        self.trees.get(commit).map_or("base", |(_, content)| content)
    }

    pub(crate) fn content_of_tree(&self, tree: &TreeId) -> &str {
        self.trees.values().find(|(known, _)| known == tree).map_or("base", |(_, content)| content)
    }

    pub(crate) fn checks(&self) -> usize {
        self.commands
    }

    /// Opens a proposal; the same commit of the same run is the same proposal.
    pub(crate) fn propose(&mut self, repo: &RepoName, run: &RunId, commit: &CommitId) -> ProposalNumber {
        let wanted = (repo.clone(), run.clone(), commit.clone());
        if let Some(index) = self.proposals.iter().position(|known| *known == wanted) {
            return numbered(index);
        }
        self.proposals.push(wanted);
        let number = numbered(self.proposals.len().saturating_sub(1));
        self.note(Fact::Proposed(number, run.clone(), commit.clone()));
        number
    }
}

fn numbered(index: usize) -> ProposalNumber {
    ProposalNumber::new(u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1))
}

fn bits(parts: &[&[u8]]) -> u64 {
    let digest = Digest::of_parts(parts.iter().copied());
    digest.as_bytes().iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

fn hex(parts: &[&[u8]]) -> String {
    Digest::of_parts(parts.iter().copied()).to_string().chars().take(40).collect()
}

#[expect(clippy::expect_used, reason = "by INVARIANT: `hex` gives 40 lower-case hexadecimal characters")]
pub(crate) fn commit_id(parts: &[&[u8]]) -> CommitId {
    CommitId::parse(&hex(parts)).expect("forty hexadecimal characters")
}

#[expect(clippy::expect_used, reason = "by INVARIANT: `hex` gives 40 lower-case hexadecimal characters")]
fn tree_id(parts: &[&[u8]]) -> TreeId {
    TreeId::parse(&hex(parts)).expect("forty hexadecimal characters")
}
