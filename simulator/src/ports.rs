//! Every port of the factory, on one keeper over one simulated world. Faults strike here and nowhere else.

use selvedge_authority::{
    ActError, Approval, Class, Entry, Journal, JournalError, Judge, Permit, Question, Record, Verdict,
};
use selvedge_domain::orders::{
    AdmitTask, CheckTree, EnqueueTask, MergeProposal, Merged, MintCredential, Minted, OpenProposal, Ran, StartWork,
};
use selvedge_domain::{
    Actor, AgentName, ApprovalId, CheckReport, CommitId, CredentialName, Deed, Digest, Failure, LeaseId, Order,
    PipelineName, ProposalNumber, RepoName, Run, RunId, Task, TestName, Time, TreeId, TriggerId, Verified,
};
use selvedge_factory::ports::{
    Agent, Answer, Clock, Credential, Doorkeeper, Entropy, Lender, Offer, Pipeline, Queue, Registry, Repositories,
    Repository, Store, TakenBack, Workplace,
};

use crate::faults::{Fault, Kind};
use crate::keeper::{Keeper, lock};
use crate::notebook::began;
use crate::scenario::{credential, pipeline};
use crate::teeth::Break;
use crate::world::{CANARY, Fact, Held, Purpose};

impl Clock for Keeper<'_, '_> {
    fn now(&self) -> Time {
        self.ask("clock.now");
        lock(&self.sim.world).now()
    }
}

impl Entropy for Keeper<'_, '_> {
    fn draw(&self) -> u64 {
        self.ask("entropy.draw");
        lock(&self.sim.world).draw()
    }
}

impl Judge for Keeper<'_, '_> {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        self.ask("judge");
        lock(&self.sim.world).rules.judge(question)
    }
}

impl Registry for Keeper<'_, '_> {
    fn agent(&self, name: &AgentName) -> Option<Agent> {
        self.ask("registry.agent");
        lock(&self.sim.world).agents.iter().find(|agent| agent.name == *name).cloned()
    }

    fn repository(&self, name: &RepoName) -> Option<Repository> {
        self.ask("registry.repository");
        lock(&self.sim.world).repos.iter().find(|repo| repo.name == *name).cloned()
    }

    fn credential(&self, name: &CredentialName) -> Option<Credential> {
        self.ask("registry.credential");
        Some(credential(name))
    }

    fn pipeline(&self, name: &PipelineName) -> Option<Pipeline> {
        self.ask("registry.pipeline");
        Some(pipeline()).filter(|known| known.name == *name)
    }

    fn configuration(&self) -> Digest {
        let version = lock(&self.sim.world).configurations;
        Digest::of_parts([b"configuration".as_slice(), &version.to_be_bytes()])
    }

    fn trust_domain(&self) -> &str {
        "factory.example"
    }
}

fn dead_read() -> JournalError {
    JournalError::Read("the keeper died".to_owned())
}

impl Keeper<'_, '_> {
    fn read<T>(
        &self,
        name: &'static str,
        run: Option<&RunId>,
        go: impl Fn() -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        if self.is_dead() {
            return Err(dead_read());
        }
        match (self.fault(Kind::Read, name), run) {
            (None, _) => go(),
            (Some(Fault::CrashBefore), _) => {
                self.die();
                Err(dead_read())
            }
            (Some(Fault::Transient), _) => Err(JournalError::Read("injected: cannot read now".to_owned())),
            (Some(fault), Some(run)) => {
                self.interrupt(fault, run);
                if self.is_dead() { Err(dead_read()) } else { go() }
            }
            (Some(_), None) => go(),
        }
    }
}

impl Keeper<'_, '_> {
    /// Something is recorded, with whatever goes wrong.
    pub(crate) fn write<T>(
        &self,
        run: Option<&RunId>,
        go: impl FnOnce() -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let gone = || Err(JournalError::Write("the keeper died".to_owned()));
        if self.is_dead() {
            return gone();
        }
        match self.fault(Kind::Append, "append") {
            None => go(),
            Some(Fault::CrashBefore) => {
                self.die();
                gone()
            }
            Some(Fault::CrashAfter) => {
                let _lost = go()?;
                self.die();
                gone()
            }
            Some(Fault::Transient) => Err(JournalError::Write("injected: cannot write now".to_owned())),
            Some(Fault::AnswerLost) => {
                let _lost = go()?;
                Err(JournalError::Write("injected: the answer was lost".to_owned()))
            }
            Some(fault) => {
                if let Some(run) = run {
                    self.interrupt(fault, run);
                }
                if self.is_dead() { gone() } else { go() }
            }
        }
    }

    /// Begins the run for the next trigger, when there is one that may begin.
    pub(crate) fn begin(&self) -> Result<Option<RunId>, JournalError> {
        self.write(None, || {
            let (now, bits) = {
                let mut world = lock(&self.sim.world);
                if world.disk_full {
                    return Err(JournalError::Write("no space left on device".to_owned()));
                }
                (world.now(), world.draw())
            };
            let Some((run, trigger)) = self.sim.memory.begin(now, bits)? else { return Ok(None) };
            self.sim.wrote(began(now, &run, &trigger));
            Ok(Some(run))
        })
    }
}

impl Journal for Keeper<'_, '_> {
    fn append(&self, entry: Entry, class: Class) -> Result<(), JournalError> {
        if self.sim.is_broken(Break::SwallowsDecisions) && matches!(entry.record, Record::Decided { .. }) {
            return Ok(());
        }
        let run = entry.run.clone();
        let write = || {
            // What people say about a run needs no hold on it.
            let by_person = matches!(entry.actor, Actor::Person(_));
            let claim = run.as_ref().filter(|_| !by_person).and_then(|run| self.claim_on(run));
            self.sim.write(claim, entry.clone(), class)
        };
        let written = self.write(run.as_ref(), write);
        if let Some(run) = &run {
            self.tell(run, matches!(written, Err(JournalError::Fenced)));
        }
        written
    }

    fn recall(&self, run: &RunId, order: &Digest) -> Result<Option<Deed>, JournalError> {
        let remembered = self.read("recall", Some(run), || self.sim.memory.recall(run, order))?;
        Ok(remembered.filter(|_| !self.sim.is_broken(Break::ForgetsDeeds)))
    }

    fn approval(&self, order: &Digest, now: Time) -> Result<Option<Approval>, JournalError> {
        self.read("approval", None, || self.sim.memory.approval(order, now))
    }
}

impl Store for Keeper<'_, '_> {
    fn load(&self, run: &RunId) -> Result<Run, JournalError> {
        self.read("load", Some(run), || self.sim.memory.load(run))
    }

    fn halted(&self, run: &Run) -> Result<Option<String>, JournalError> {
        self.read("halted", Some(run.id()), || self.sim.memory.halted(run))
    }

    fn answer(&self, approval: &ApprovalId) -> Result<Answer, JournalError> {
        let now = lock(&self.sim.world).now();
        self.read("answer", None, || self.sim.memory.answer(approval, now))
    }
}

impl Keeper<'_, '_> {
    /// Notes that the order under `permit` is being carried out.
    fn acted<O: Order>(&self, permit: &Permit<O>, run: &RunId) {
        let fact = Fact::Acted {
            order: permit.order().describe().digest(),
            run: run.clone(),
            verb: O::VERB,
            stale: self.held(run) == Held::No,
        };
        lock(&self.sim.world).note(fact);
    }
}

impl Lender for Keeper<'_, '_> {
    fn mint(&self, permit: &Permit<MintCredential>) -> Result<Minted, ActError> {
        let order = permit.order();
        self.act("mint", &order.run, || {
            self.acted(permit, &order.run);
            if self.sim.is_broken(Break::LeaksSecrets) {
                return Err(ActError::Permanent(format!("the vendor said: bad key {CANARY}")));
            }
            let mut world = lock(&self.sim.world);
            if self.sim.is_broken(Break::MintsLate) {
                world.forget_refusals();
            }
            if self.sim.is_broken(Break::MintsASpare) {
                let spare = LeaseId::from_entropy(world.draw());
                world.birth(&spare, order, u64::MAX);
            }
            world.mint(order).map_err(ActError::Permanent)
        })
    }

    fn take_back(&self, lease: &LeaseId) -> TakenBack {
        let stuck = |because: &str| TakenBack::Stuck { because: because.to_owned() };
        if self.is_dead() {
            return stuck("the keeper died");
        }
        let go = || {
            lock(&self.sim.world).note(Fact::AskedBack(lease.clone()));
            if self.sim.is_broken(Break::KeepsLeases) {
                return TakenBack::Dead;
            }
            lock(&self.sim.world).take_back(lease)
        };
        match self.fault(Kind::TakeBack, "take_back") {
            None => go(),
            Some(Fault::CrashBefore) => {
                self.die();
                stuck("the keeper died")
            }
            Some(Fault::CrashAfter) => {
                let _lost = go();
                self.die();
                stuck("the keeper died")
            }
            Some(Fault::Transient) => {
                lock(&self.sim.world).note(Fact::AskedBack(lease.clone()));
                stuck("injected: try again")
            }
            Some(Fault::AnswerLost) => {
                let _lost = go();
                stuck("injected: the answer was lost")
            }
            Some(Fault::Repeated) => {
                let _first = go();
                go()
            }
            Some(fault) => {
                let owner = lock(&self.sim.world).owner_of(lease);
                if let Some(run) = owner {
                    self.interrupt(fault, &run);
                }
                if self.is_dead() { stuck("the keeper died") } else { go() }
            }
        }
    }
}

impl Workplace for Keeper<'_, '_> {
    fn work(&self, permit: &Permit<StartWork>, task: &Task, doors: &dyn Doorkeeper) -> Result<Ran, ActError> {
        let run = &permit.order().run;
        self.act("work", run, || {
            self.acted(permit, run);
            self.let_work(run, task, doors)
        })
    }

    fn check(&self, permit: &Permit<CheckTree>, _: &dyn Doorkeeper) -> Result<CheckReport, ActError> {
        let order = permit.order();
        self.act("check", &order.run, || {
            self.acted(permit, &order.run);
            let mut world = lock(&self.sim.world);
            let sandbox = world.start_sandbox(&order.run, self.held(&order.run), Purpose::Check);
            let content = world.content_of_tree(&order.tree).to_owned();
            let mut tests: std::collections::BTreeMap<TestName, bool> =
                [(TestName::from_output("adds"), true), (TestName::from_output("subtracts"), true)].into();
            if content == "vanish" {
                tests.remove(&TestName::from_output("subtracts"));
            }
            let failed = (content == "red").then(|| Failure::Check("`make test` ended with exit status 1".to_owned()));
            let commands = world.checks();
            world.stop_sandbox(sandbox, None);
            Ok(CheckReport { tree: order.tree.clone(), commands, failed, tests: Some(tests) })
        })
    }

    fn kill(&self, run: &RunId) -> Option<String> {
        if self.is_dead() || self.sim.is_broken(Break::KeepsSandboxes) {
            return None;
        }
        let go = || {
            let mut world = lock(&self.sim.world);
            if self.was_told(run) {
                world.note(Fact::KilledByStranger(run.clone()));
            }
            let found = world.kill(run, None);
            (found > 0).then(|| format!("{found} sandboxes"))
        };
        match self.fault(Kind::Kill, "kill") {
            Some(Fault::CrashBefore) => {
                self.die();
                None
            }
            Some(Fault::CrashAfter) => {
                let _lost = go();
                self.die();
                None
            }
            Some(Fault::Repeated) => go().or_else(go),
            _ => go(),
        }
    }
}

impl Repositories for Keeper<'_, '_> {
    fn base(&self, permit: &Permit<AdmitTask>) -> Result<CommitId, ActError> {
        let trigger = &permit.order().trigger;
        let run = lock(&self.sim.written).iter().rev().find_map(|entry| match &entry.record {
            Record::RunBegan { trigger: served } if *served == trigger.id => entry.run.clone(),
            _ => None,
        });
        let run = run.ok_or_else(|| ActError::Permanent("a trigger that no run serves".to_owned()))?;
        self.act("base", &run, || {
            self.acted(permit, &run);
            let head = lock(&self.sim.world).head(&trigger.repo);
            Ok(trigger.lineage.starts_from.clone().unwrap_or(head))
        })
    }

    fn tree_of(&self, _: &RepoName, commit: &CommitId) -> Result<TreeId, ActError> {
        self.ask("tree_of");
        Ok(lock(&self.sim.world).tree_of(commit))
    }

    fn offer(&self, task: &Task, _: &str, verified: &Verified) -> Result<Offer, ActError> {
        self.ask("offer");
        let world = lock(&self.sim.world);
        let secret = world.content(verified.commit()) == "secret";
        Ok(Offer {
            title: format!("fix: {}", task.trigger.id),
            body: "a change".to_owned(),
            paths: vec!["src/lib.rs".to_owned()],
            executes_elsewhere: Vec::new(),
            changes_gate: Vec::new(),
            secrets: secret.then(|| "api key in src/lib.rs line 3".to_owned()).into_iter().collect(),
        })
    }

    fn propose(&self, permit: &Permit<OpenProposal>) -> Result<ProposalNumber, ActError> {
        let order = permit.order();
        self.act("propose", &order.run, || {
            self.acted(permit, &order.run);
            let mut world = lock(&self.sim.world);
            let commit = order.verified.commit();
            if self.sim.is_broken(Break::ProposesTwice) {
                world.propose(&order.repo, &order.run, order.verified.base());
            }
            Ok(world.propose(&order.repo, &order.run, commit))
        })
    }

    fn merge(&self, _: &Permit<MergeProposal>) -> Result<Merged, ActError> {
        Err(ActError::Permanent("people merge elsewhere in this world".to_owned()))
    }
}

impl Queue for Keeper<'_, '_> {
    fn enqueue(&self, permit: &Permit<EnqueueTask>) -> Result<TriggerId, ActError> {
        let trigger = &permit.order().trigger;
        let before = match &trigger.by {
            Actor::Workload(by) => Some(by.run()),
            // A pipeline goes on behind a run of its.
            Actor::Factory => trigger.lineage.ancestors.first(),
            Actor::Person(_) => None,
        };
        let Some(before) = before else {
            return Err(ActError::Permanent("only runs queue what follows them".to_owned()));
        };
        self.act("enqueue", before, || {
            self.acted(permit, before);
            let known = lock(&self.sim.written)
                .iter()
                .any(|entry| matches!(&entry.record, Record::Triggered(queued) if queued.id == trigger.id));
            if !known && !self.sim.is_broken(Break::LosesFollowUps) {
                let record = Record::Triggered(Box::new(trigger.clone()));
                let now = lock(&self.sim.world).now();
                let entry = Entry { at: now, run: None, actor: trigger.by.clone(), owner: None, record };
                self.sim.write(None, entry, Class::Durable).map_err(|e| ActError::Transient(e.to_string()))?;
            }
            lock(&self.sim.world).note(Fact::Enqueued(trigger.id.clone()));
            Ok(trigger.id.clone())
        })
    }
}
