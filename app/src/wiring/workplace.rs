//! Running agents and checks: sandboxes, doors and trees behind the factory's port.

use std::path::PathBuf;
use std::sync::Arc;

use selvedge_authority::{ActError, Observation, Permit};
use selvedge_domain::orders::{CheckTree, Ran, StartWork};
use selvedge_domain::{
    Change, ChangeSet, CheckReport, CredentialName, Digest, Effect, EffectKind, Failure, Intent, May, Reach, RunId,
    Task, TreeId, TriggerId,
};
use selvedge_factory::ports::{Clock, Doorkeeper, Workplace};
use selvedge_forge::local::{Draft, TreeLimits};
use selvedge_gateway::model::wanted::Tool;
use selvedge_gateway::{SecretSieve, SecretWatch};
use selvedge_sandbox::{
    Access, Bind, CollectLimits, Ended, Event, Exit, Layer, Network, Place, Sandbox, Stream, Workspace,
};
use selvedge_workers::agents::{Adapter, Outcome as Told};
use selvedge_workers::remediate::{Outcome, Report};

use super::Works;
use super::access::AccessDesk;
use super::cache::CACHE_BYTES_MAX;
use super::door::{Behalf, Desks, HasIdentity, Lent};
use super::git::GitDesk;
use super::model::ModelDesk;
use super::repositories::{permanent, transient};
use super::tape::Tape;
use super::tool_rooms::ToolRooms;
use super::tools::ToolDesk;
use super::witness::Witness;
use crate::config::{AgentConfig, RepoConfig, Runtime};

/// Where the worker's own program lies inside.
const WORKER_DIR: &str = "/opt/selvedge";

/// Where the advisories lie inside.
const ADVISORIES: &str = "/opt/advisories";

/// How long a second scan may take: it reads one file and some thousand small ones.
const SCAN_AT_MOST: std::time::Duration = std::time::Duration::from_secs(300);

/// Why a run fails whose agent could ask its model no more.
const BUDGET_SPENT: &str = "the budget is spent";

/// Output of an agent that is kept in memory for its report; a report is at most this long.
const REPORT_BYTES_MAX: usize = 16 << 20;

/// Longest last words of an agent: more than a proposal shows of them.
const LAST_WORDS_BYTES_MAX: usize = 8 << 10;

/// What a sandbox has besides its place.
#[derive(Default)]
pub(super) struct Inside<'a> {
    /// Where its doors lead; none without.
    pub(super) reach: Vec<Reach>,
    /// What its doors are lent.
    pub(super) lending: Lent,
    /// What its doors answer for themselves.
    pub(super) desks: Desks<'a>,
    /// What its output is kept under.
    pub(super) purpose: &'a str,
}

impl Workplace for Works {
    fn work(&self, permit: &Permit<StartWork>, task: &Task, doors: &dyn Doorkeeper) -> Result<Ran, ActError> {
        let order = permit.order();
        let config = self.config();
        let agent = config.agents.get(&order.agent).ok_or_else(|| permanent("the agent is no longer configured"))?;
        if let Runtime::Install(adapter) = &agent.runtime {
            return self.install(order, task, adapter, doors);
        }
        let repository = self.repository_of(&order.repo)?;
        let tree = repository.tree_of(&order.base).map_err(transient)?;
        let purse = Arc::new(self.purse(order, task)?);
        let model = self.model_desk(order, tools_of(agent), &purse)?;
        let tools = self.tool_desk(order)?;
        let place =
            self.place_for_work(agent, (model.as_ref(), tools.as_ref()), task, self.pristine(&order.repo, &tree)?)?;
        let own = place.argv.first().cloned().unwrap_or_default();
        let tokens = order.grant.may.contains(&May::Delegate).then(|| self.token_desk(order, task, &purse));
        // Whoever hands something on shows a document for it.
        let identity = match order.grant.audiences.is_empty() && tokens.is_none() {
            true => HasIdentity::No,
            false => HasIdentity::Yes,
        };
        let (run, repo) = (order.run.clone(), order.repo.clone());
        let behalf = Behalf { run, repo, agent: order.agent.clone(), identity };
        let id = format!("{}-a{}", order.run, order.attempt);
        let lending = self.lending_for_work(&order.run, &order.grant)?;
        let git = order.grant.may.contains(&May::Push).then(|| self.git_desk(order)).transpose()?;
        let reach = order.grant.reach.iter().cloned().collect();
        let watch = lending.watch.clone();
        let access = AccessDesk::of(order);
        let pristine = self.pristine(&order.repo, &tree)?;
        let witness = self.witness(&order.repo, &pristine)?;
        let desks = Desks {
            git: git.as_ref(),
            tokens: tokens.as_ref(),
            access: access.as_ref(),
            model: model.as_ref(),
            witness: Some(&witness),
            tools: tools.as_ref(),
        };
        let inside = Inside { reach, lending, desks, purpose: "work" };
        let (sandbox, exit, output) = self.run_inside(&id, place, &behalf, inside, doors)?;
        // What was pushed is what the run wants taken; what lies in the workspace beside it is not looked at.
        let changes = match git.as_ref().map_or(Ok(Ok(None)), GitDesk::changes)? {
            Ok(Some(pushed)) => Ok(pushed),
            Ok(None) => sandbox
                .collect(&CollectLimits::default(), &|_| false)
                .map_err(|error| format!("its files cannot be collected: {error}")),
            Err(because) => Err(because),
        };
        // What was pushed leaves; what lies in the workspace beside it is seen all the same.
        let left = match git.is_some() {
            true => sandbox.collect(&CollectLimits::default(), &|_| false).map_err(|error| error.to_string()),
            false => Ok(ChangeSet::default()),
        };
        let declared = (&agent.agent.declared, own.as_str());
        let lent = watch.as_deref();
        let seen = witness.conclude(&[left.as_ref(), changes.as_ref()], &pristine, declared, lent, doors);
        sandbox.destroy().map_err(transient)?;
        let (is_ended, is_halted) =
            (purse.is_ended(), self.run(&order.run).is_ok_and(|run| self.halt_covering(&run).is_some()));
        if is_ended && !is_halted {
            return Err(permanent(BUDGET_SPENT));
        }
        self.refuse_when_killed(&exit)?;
        if let Some(leaked) = watch.iter().find_map(|watch| leaked_in(watch, changes.as_ref().ok()?)) {
            self.secret_leaked(&order.run, &leaked, "what the agent left");
            return Err(ActError::Halted(format!("credential `{leaked}` is in what the agent left")));
        }
        let words = tools.as_ref().map(ToolDesk::words).unwrap_or_default();
        let (effect, follow_ups) = match (&agent.runtime, changes) {
            (_, Err(error)) if task.intent != Intent::RunCommand => (Err(error), Vec::new()),
            (Runtime::Remediate, Ok(changes)) => self.remediated(order, &tree, &output, &exit, &changes, doors)?,
            (Runtime::Command(_), changes) => {
                let program = Program { output: &output, exit: &exit, says: &words };
                (self.commanded(order, task, &tree, &program, &changes.unwrap_or_default())?, Vec::new())
            }
            (Runtime::Agent(adapter), changes) => {
                let report = adapter.read(&output);
                match report.outcome(status_of(&exit)) {
                    // Its word that it is done is a claim, and what it left is looked at like any program's.
                    Told::Finished => {
                        // What it is heard by in a pipeline is its last message, and not everything that its program wrote.
                        let heard = if task.trigger.part().is_some() { report.text.as_bytes() } else { &output };
                        let says = if words.is_empty() { last_words(&report.text) } else { &words };
                        let program = Program { output: heard, exit: &exit, says };
                        (self.commanded(order, task, &tree, &program, &changes.unwrap_or_default())?, Vec::new())
                    }
                    told => (Err(told.to_string()), Vec::new()),
                }
            }
            (Runtime::Remediate, Err(error)) => (Err(error), Vec::new()),
            (Runtime::Install(_), _) => (Err("nothing was to be installed".to_owned()), Vec::new()),
        };
        match effect {
            // Another attempt has no more to spend.
            Err(because) if purse.is_spent() => Err(permanent(format!("{BUDGET_SPENT}: {because}"))),
            effect => Ok(Ran { exit: told(&exit), status: status_of(&exit), effect, follow_ups, seen }),
        }
    }

    fn check(&self, permit: &Permit<CheckTree>, doors: &dyn Doorkeeper) -> Result<CheckReport, ActError> {
        let order = permit.order();
        let config = self.config();
        let repo = config.repos.get(&order.repo).ok_or_else(|| permanent("the repository is no longer configured"))?;
        if repo.checks.is_empty() {
            return Ok(CheckReport { tree: order.tree.clone(), commands: 0, failed: None, tests: None });
        }
        let checked = self.with_the_base_s_checks(order)?;
        let pristine = self.pristine(&order.repo, &checked)?;
        let cache = self.fresh_dir(&format!("cache/{}-{}", order.run, order.tree))?;
        let agent = self.run(&order.run).map_err(transient)?.trigger().agent.clone();
        let (run, checked_repo) = (order.run.clone(), order.repo.clone());
        let behalf = Behalf { run, repo: checked_repo, agent, identity: HasIdentity::No };
        let prepared = self.prepare(order, repo, &pristine, &cache, &behalf, doors);
        let report = match prepared {
            Ok(None) => self.run_checks(order, repo, pristine, &cache, &behalf, doors),
            Ok(Some(failed)) => Ok(CheckReport {
                tree: order.tree.clone(),
                commands: repo.checks.len(),
                failed: Some(Failure::SetUp(failed)),
                tests: None,
            }),
            Err(error) => Err(error),
        };
        let _left_for_the_next_sweep = std::fs::remove_dir_all(&cache);
        report
    }

    fn kill(&self, run: &RunId) -> Option<String> {
        self.drop_lent(run);
        self.kill_run(run)
    }
}

impl Works {
    /// The tree on disk, exact and never written again.
    fn pristine(&self, repo: &selvedge_domain::RepoName, tree: &TreeId) -> Result<PathBuf, ActError> {
        self.repository_of(repo)?.materialise(tree, TreeLimits::default()).map_err(permanent)
    }

    /// Who sees what an attempt on this tree does.
    fn witness(&self, repo: &selvedge_domain::RepoName, pristine: &std::path::Path) -> Result<Witness, ActError> {
        let config = self.config();
        let named = config.repos.get(repo).map(|repo| &repo.sensitive);
        Witness::of(pristine, named.into_iter().flatten()).map_err(transient)
    }

    fn place_for_work(
        &self,
        agent: &AgentConfig,
        (model, tools): (Option<&ModelDesk>, Option<&ToolDesk>),
        task: &Task,
        pristine: PathBuf,
    ) -> Result<Place, ActError> {
        let argv = match &agent.runtime {
            Runtime::Agent(_) | Runtime::Install(_) => Vec::new(),
            Runtime::Remediate => self.remediation(agent, package_of(task)),
            Runtime::Command(_) if !task.trigger.argv.is_empty() => task.trigger.argv.clone(),
            Runtime::Command(command) => {
                let words = self.words_of(task);
                command.iter().map(|word| word.replace("{text}", &words)).collect()
            }
        };
        let mut place = match &agent.runtime {
            Runtime::Agent(adapter) => {
                let model = model.ok_or_else(|| permanent("this task was given no model, and its agent needs one"))?;
                self.place_for_agent(adapter, model, tools, task)?
            }
            Runtime::Remediate | Runtime::Command(_) | Runtime::Install(_) if argv.is_empty() => {
                return Err(permanent("the agent has no command and the task names no program"));
            }
            Runtime::Remediate | Runtime::Command(_) | Runtime::Install(_) => self.furnished(Place::new(argv)),
        };
        place = self.lay_handed_over(task, place)?;
        place.workspace = Some(Workspace { pristine });
        place.limits.memory_bytes = agent.memory_bytes;
        place.limits.pids = agent.processes;
        place.limits.disk_bytes = agent.disk_bytes;
        place.limits.disk_files = agent.disk_files;
        place.limits.wall = std::time::Duration::from_millis(agent.agent.attempt_at_most.as_millis());
        if agent.runtime == Runtime::Remediate {
            place.binds.extend(self.binds_for_remediation(&task.trigger.id)?);
        }
        let programs =
            [(crate::demo::PROBER, selvedge_prober::NAME), (crate::demo::OBEDIENT, selvedge_scripted::OBEDIENT)];
        let is_first = |path: &str| place.argv.first().is_some_and(|program| program == path);
        let demonstrates = programs.into_iter().find(|(path, _)| is_first(path));
        place.binds.extend(demonstrates.map(|(_, name)| self.bind_executable(name)));
        Ok(place)
    }

    fn remediation(&self, agent: &AgentConfig, package: Option<&str>) -> Vec<String> {
        let mut argv = vec![
            format!("{WORKER_DIR}/{}", selvedge_workers::remediate::PROGRAM),
            "--advisories".to_owned(),
            ADVISORIES.to_owned(),
            "--workspace".to_owned(),
            "/workspace".to_owned(),
            "--minimum-release-age-days".to_owned(),
            agent.minimum_release_age_days.to_string(),
            "--maximum-database-age-days".to_owned(),
            self.database_age_days_max.to_string(),
            "--now".to_owned(),
            self.now().as_millis().to_string(),
        ];
        if let Some(package) = package {
            argv.extend(["--only".to_owned(), package.to_owned()]);
        }
        argv
    }

    fn bind_executable(&self, name: &str) -> Bind {
        Bind { source: self.executable.clone(), target: format!("{WORKER_DIR}/{name}"), access: Access::ReadOnly }
    }

    /// Runs a place to its end, doors and all, and keeps what it wrote.
    pub(super) fn run_inside(
        &self,
        id: &str,
        mut place: Place,
        behalf: &Behalf,
        inside: Inside<'_>,
        doors: &dyn Doorkeeper,
    ) -> Result<(Sandbox, Exit, Vec<u8>), ActError> {
        let Inside { reach, lending, desks, purpose } = inside;
        let Desks { git, tokens, access, model, tools, witness } = desks;
        let watch = lending.watch.clone();
        let asks_nobody = access.is_none() && model.is_none() && tools.is_none();
        let is_alone = git.is_none() && asks_nobody && behalf.identity == HasIdentity::No;
        let mut door = match reach.is_empty() && is_alone {
            true => None,
            false => {
                place.network = Network::Doors;
                for (name, placeholder) in &lending.env {
                    place = place.with_env(name, placeholder.as_str());
                }
                if let Some(git) = git {
                    place = git.announce(place);
                }
                if let Some(tokens) = tokens {
                    place = tokens.announce(place);
                }
                if let Some(access) = access {
                    place = access.announce(place);
                }
                if let Some(model) = model {
                    place = model.announce(place);
                }
                if let Some(tools) = tools {
                    place = tools.announce(place);
                }
                let door = self.open_door(behalf, reach, lending, desks, place.limits.wall)?;
                self.trust(&mut place, &door.ca_pem);
                if behalf.identity == HasIdentity::Yes {
                    self.announce_identity(&mut place);
                }
                Some(door)
            }
        };
        place.observe = witness.map(Witness::observe);
        let mut sandbox =
            self.driver.start(id, &place).map_err(|refused| permanent(format!("no sandbox: {refused}")))?;
        self.remember_sandbox(&behalf.run, id, sandbox.killer());
        // A halt that came while it was being built did not find it. Dropping it, and its door, kills both.
        if let Some(because) = self.run(&behalf.run).ok().and_then(|run| self.halt_covering(&run)) {
            self.forget_sandbox(&behalf.run, id);
            return Err(ActError::Halted(because));
        }
        doors.saw(self.started(&sandbox));
        let rooms = ToolRooms::build(self, tools, id, &place, behalf);
        let rooms = rooms.inspect_err(|_| self.forget_sandbox(&behalf.run, id))?;
        // Nor did one that came while those beside it were built. Dropping them kills them, and their doors.
        if let Some(because) = self.run(&behalf.run).ok().and_then(|run| self.halt_covering(&run)) {
            self.forget_sandbox(&behalf.run, id);
            return Err(ActError::Halted(because));
        }
        if let Some(witness) = witness {
            witness.begin(sandbox.reads(), doors);
        }
        if let (Some(door), Some(listeners)) = (&door, sandbox.listeners()) {
            door.attach(behalf, git, &rooms, &listeners)?;
        }
        let mut heard = Heard::new(self, &behalf.run, self.tape(&behalf.run, purpose)?, watch.as_deref());
        let listen = || {
            let mut hear = |event| match event {
                Event::Output { stream, bytes } => heard.take(stream, &bytes),
                Event::RefusedCall { name, count } => doors.saw(Observation::CallRefused { call: name, count }),
                Event::Started(_) | Event::Became { .. } | Event::Unkept { .. } => {
                    if let Some(witness) = witness {
                        witness.hear(&event, watch.as_deref());
                    }
                }
            };
            rooms.while_open(self, behalf, doors, || sandbox.wait(&mut hear))
        };
        let exit = match &mut door {
            Some(door) => door.while_open(self, behalf, desks, doors, listen),
            None => listen(),
        };
        let (kept, output_bytes) = heard.end();
        // Closed, and now gone: what is alive is what a halt is told about.
        drop(door);
        self.forget_sandbox(&behalf.run, id);
        doors.saw(Observation::SandboxEnded { purpose: purpose.to_owned(), exit: told(&exit), output_bytes });
        Ok((sandbox, exit, kept))
    }

    /// What is worth knowing of a sandbox that starts, listed once.
    pub(super) fn started(&self, sandbox: &Sandbox) -> Observation {
        let layers = Layer::ALL.iter().map(|layer| format!("{layer}: proved from inside before the program ran"));
        let unreachable = UNREACHABLE.iter().map(|what| (*what).to_owned());
        Observation::SandboxStarted {
            level: sandbox.level().to_string(),
            layers: layers.collect(),
            unreachable: unreachable.collect(),
        }
    }

    pub(super) fn refuse_when_killed(&self, exit: &Exit) -> Result<(), ActError> {
        match &exit.ended {
            Ended::Killed => Err(ActError::Halted("its sandbox was killed".to_owned())),
            Ended::NotRun(because) => Err(permanent(format!("the program did not run: {because}"))),
            Ended::Status(_) | Ended::Signal(_) | Ended::Limit(_) => Ok(()),
        }
    }

    /// What the remediation worker came to. Its report is a claim: the lock file it left is scanned again without it.
    fn remediated(
        &self,
        order: &StartWork,
        tree: &TreeId,
        output: &[u8],
        exit: &Exit,
        changes: &ChangeSet,
        doors: &dyn Doorkeeper,
    ) -> Result<(Result<Effect, String>, Vec<String>), ActError> {
        let report = match Report::parse(output) {
            Ok(report) => report,
            Err(error) => return Ok((Err(format!("{error}; it ended with {}", told(exit))), Vec::new())),
        };
        let follow_ups = next_package(&report).map(|package| format!("{FOLLOW_UP}{package}")).into_iter().collect();
        let because = report.reason.clone().unwrap_or_default();
        let effect = match report.outcome {
            Outcome::NothingToDo => {
                Ok(Effect::Nothing { because: "no known vulnerability in the lock file".to_owned() })
            }
            Outcome::Held => Ok(Effect::Unresolved { because: held(&report, because) }),
            Outcome::Bumped if !only_lock_files(changes) => {
                Err("the remediation worker changed something else than lock files".to_owned())
            }
            Outcome::Bumped => match self.committed(order, tree, changes, &summary(&report))? {
                Ok(Effect::Tree { tree, commit, summary }) => match self.scan_again(order, &tree, &report, doors)? {
                    None => Ok(Effect::Tree { tree, commit, summary }),
                    Some(because) => Ok(Effect::Unresolved { because }),
                },
                other => other,
            },
        };
        Ok((effect, follow_ups))
    }

    /// Scans the tree the worker left, in a sandbox without network that the worker never saw. Says what is still wrong.
    fn scan_again(
        &self,
        order: &StartWork,
        tree: &TreeId,
        claimed: &Report,
        doors: &dyn Doorkeeper,
    ) -> Result<Option<String>, ActError> {
        let config = self.config();
        let agent = config.agents.get(&order.agent).ok_or_else(|| permanent("the agent is no longer configured"))?;
        let mut place = self.furnished(Place::new(self.remediation(agent, None))).with_env("CARGO_NET_OFFLINE", "true");
        place.workspace = Some(Workspace { pristine: self.pristine(&order.repo, tree)? });
        let trigger = self.run(&order.run).map_err(transient)?.trigger().id.clone();
        place.binds.extend(self.binds_for_remediation(&trigger)?);
        place.limits.wall = SCAN_AT_MOST;
        let id = format!("{}-s{}", order.run, order.attempt);
        let (run, repo) = (order.run.clone(), order.repo.clone());
        let behalf = Behalf { run, repo, agent: order.agent.clone(), identity: HasIdentity::No };
        let (sandbox, exit, output) =
            self.run_inside(&id, place, &behalf, Inside { purpose: "scan", ..Inside::default() }, doors)?;
        sandbox.destroy().map_err(transient)?;
        self.refuse_when_killed(&exit)?;
        let report = match Report::parse(&output) {
            Ok(report) if report.database.is_some() => report,
            _ => {
                return Ok(Some(
                    "the result could not be scanned again, so nobody knows whether it is fixed".to_owned(),
                ));
            }
        };
        let fixed: Vec<&String> = claimed.bumps.iter().flat_map(|bump| &bump.advisories_fixed).collect();
        let still =
            report.remaining.iter().flat_map(|finding| &finding.advisories).find(|advisory| fixed.contains(advisory));
        Ok(still.map(|advisory| format!("the worker says {advisory} is fixed, and a second scan still finds it")))
    }

    fn binds_for_remediation(&self, trigger: &TriggerId) -> Result<[Bind; 2], ActError> {
        let missing = || permanent("no advisory database is configured; use `selvedge scan --advisories DIR`");
        let advisories = self.advisories_of(trigger).ok_or_else(missing)?;
        Ok([
            self.bind_executable(selvedge_workers::remediate::PROGRAM),
            Bind { source: advisories, target: ADVISORIES.to_owned(), access: Access::ReadOnly },
        ])
    }

    fn commanded(
        &self,
        order: &StartWork,
        task: &Task,
        tree: &TreeId,
        program: &Program<'_>,
        changes: &ChangeSet,
    ) -> Result<Result<Effect, String>, ActError> {
        if !program.exit.success() {
            return Ok(Err(format!("the program ended with {}", told(program.exit))));
        }
        match task.trigger.part() {
            Some(part) if part.reviews => return self.review_of(order, tree, program.output, changes),
            Some(_) if task.intent == Intent::RunCommand => {
                let digest = self.keep_report(program.output)?;
                return Ok(Ok(Effect::Document { kind: EffectKind::Report, digest }));
            }
            _ => {}
        }
        if task.intent == Intent::RunCommand {
            return Ok(Ok(Effect::Document { kind: EffectKind::Report, digest: Digest::of_parts([program.output]) }));
        }
        // Its words do not go into the commit: forges and pipelines do what a commit's message says (`[skip ci]`, `Closes #1`).
        let mut effect = self.committed(order, tree, changes, "")?;
        if let Ok(Effect::Tree { summary, .. }) = &mut effect {
            program.says.clone_into(summary);
        }
        Ok(effect)
    }

    /// The factory's own commit of what was collected.
    pub(super) fn committed(
        &self,
        order: &StartWork,
        base: &TreeId,
        changes: &ChangeSet,
        summary: &str,
    ) -> Result<Result<Effect, String>, ActError> {
        let message = format!("{}: work of run {}\n\n{summary}\n", order.agent, order.run);
        let author = self.author()?;
        let draft = Draft { base: &order.base, changes, message: &message, author: &author, when: self.now() };
        let commit = match self.repository_of(&order.repo)?.commit_tree(&draft) {
            Ok(commit) => commit,
            Err(error) => return Ok(Err(format!("the change cannot be committed: {error}"))),
        };
        if commit.tree == *base {
            return Ok(Ok(Effect::Nothing { because: "the agent changed nothing".to_owned() }));
        }
        Ok(Ok(Effect::Tree { tree: commit.tree, commit: commit.commit, summary: summary.to_owned() }))
    }

    /// Prepares the environment with the registries in reach. The inner text says which command failed, and how.
    fn prepare(
        &self,
        order: &CheckTree,
        repo: &RepoConfig,
        pristine: &std::path::Path,
        cache: &std::path::Path,
        behalf: &Behalf,
        doors: &dyn Doorkeeper,
    ) -> Result<Option<String>, ActError> {
        let Some(setup) = &repo.setup else { return Ok(None) };
        let mut place = self.furnished(Place::new(["/bin/sh", "-c", setup])).with_env("CARGO_HOME", CARGO_CACHE);
        place.workspace = Some(Workspace { pristine: pristine.to_owned() });
        place.binds.push(Bind { source: cache.to_owned(), target: CACHE.to_owned(), access: Access::ReadWrite });
        let id = format!("{}-p{}", order.run, short(&order.tree));
        let agent = self.agent_of_run(&order.run)?;
        let lending = self.lending_nothing(&agent.loans)?;
        let reach = agent.reach.into_iter().collect();
        let inside = Inside { reach, lending, purpose: "prepare", ..Inside::default() };
        let (ran, too_much) =
            self.while_within(cache, &order.run, || self.run_inside(&id, place, behalf, inside, doors));
        let (sandbox, exit, _) = ran?;
        if too_much {
            let _gone = sandbox.destroy();
            return Ok(Some(format!("`{setup}` left more than {} MiB for the checks", CACHE_BYTES_MAX >> 20)));
        }
        sandbox.destroy().map_err(transient)?;
        self.refuse_when_killed(&exit)?;
        Ok((!exit.success()).then(|| format!("`{setup}` ended with {}", told(&exit))))
    }

    /// Runs every check, also after one that failed: what a red base's other checks count is required of the change.
    fn run_checks(
        &self,
        order: &CheckTree,
        repo: &RepoConfig,
        pristine: PathBuf,
        cache: &std::path::Path,
        behalf: &Behalf,
        doors: &dyn Doorkeeper,
    ) -> Result<CheckReport, ActError> {
        let mut report =
            CheckReport { tree: order.tree.clone(), commands: repo.checks.len(), failed: None, tests: None };
        let mut outputs = Vec::new();
        // Kept apart, so that whoever reads why a change fails does not read what the base wrote.
        let base = self.repository_of(&order.repo)?.tree_of(&order.base).map_err(transient)?;
        let purpose = if base == order.tree { "check-base" } else { "check" };
        for (index, check) in repo.checks.iter().enumerate() {
            let services: String = repo.services.iter().map(|service| format!("({service}) & ")).collect();
            let mut place = self.furnished(Place::new(["/bin/sh", "-c", &format!("{services}{check}")]));
            place = place.with_env("CARGO_HOME", CARGO_CACHE).with_env("CARGO_NET_OFFLINE", "true");
            place.workspace = Some(Workspace { pristine: pristine.clone() });
            place.binds.push(Bind { source: cache.to_owned(), target: CACHE.to_owned(), access: Access::PrivateCopy });
            let id = format!("{}-c{index}{}", order.run, short(&order.tree));
            let (sandbox, exit, output) =
                self.run_inside(&id, place, behalf, Inside { purpose, ..Inside::default() }, doors)?;
            sandbox.destroy().map_err(transient)?;
            self.refuse_when_killed(&exit)?;
            outputs.push(output);
            if !exit.success() && report.failed.is_none() {
                report.failed = Some(Failure::Check(format!("`{check}` ended with {}", told(&exit))));
            }
        }
        report.tests = selvedge_workers::checks::parse_each(outputs.iter().map(Vec::as_slice));
        Ok(report)
    }
}

/// A program that ran, and what it left beside files.
struct Program<'a> {
    output: &'a [u8],
    exit: &'a Exit,
    /// What it says of its work, for whoever reads the proposal.
    says: &'a str,
}

/// What a sandbox writes, on its way to its tape: without what it was lent.
pub(super) struct Heard<'a> {
    works: &'a Works,
    run: &'a RunId,
    tape: Tape,
    kept: Vec<u8>,
    /// One for each stream, where there is something to look for.
    sieves: Option<[SecretSieve<'a>; 2]>,
    has_leaked: bool,
}

impl<'a> Heard<'a> {
    pub(super) fn new(works: &'a Works, run: &'a RunId, tape: Tape, watch: Option<&'a SecretWatch>) -> Self {
        let sieves = watch.map(|watch| [watch.sieve(), watch.sieve()]);
        Self { works, run, tape, kept: Vec::new(), sieves, has_leaked: false }
    }

    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let Some([output, error]) = &mut self.sieves else { return self.keep(stream, bytes) };
        let sieve = match stream {
            Stream::Output => output,
            Stream::Error => error,
        };
        let passed = sieve.pass(bytes);
        let leaked = sieve.found().filter(|_| !self.has_leaked);
        self.keep(stream, &passed);
        if let Some(credential) = leaked {
            self.has_leaked = true;
            self.works.secret_leaked(self.run, &credential, "what the agent printed");
        }
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        self.tape.write(stream, bytes);
        if stream == Stream::Output && self.kept.len() + bytes.len() <= REPORT_BYTES_MAX {
            self.kept.extend_from_slice(bytes);
        }
    }

    /// What was written to standard output, and how much to both.
    pub(super) fn end(mut self) -> (Vec<u8>, u64) {
        if let Some([mut output, mut error]) = self.sieves.take() {
            self.keep(Stream::Output, &output.end());
            self.keep(Stream::Error, &error.end());
        }
        let bytes = self.tape.bytes();
        (self.kept, bytes)
    }
}

/// What mounts and namespaces make unreachable, in words for an auditor.
const UNREACHABLE: &[&str] = &[
    "every host file but /usr, the toolchain and what the run's place lists",
    "every process, signal and socket outside the sandbox",
    "every network address but the run's own doors on loopback",
    "every device but null, zero, full, random, urandom and tty",
    "the keeper, its ledger, its policies and its keys",
    "/sys, kernel settings, other runs",
];

/// Where set-up leaves what checks need.
const CACHE: &str = "/cache";

/// Cargo's part of it.
const CARGO_CACHE: &str = "/cache/cargo";

/// How a follow-up of the remediation worker begins; the rest is a package's name.
pub(crate) const FOLLOW_UP: &str = "remediate ";

/// Whose secret a change holds, if it holds one.
fn leaked_in(watch: &SecretWatch, changes: &ChangeSet) -> Option<CredentialName> {
    changes.changes().iter().find_map(|change| match change {
        Change::Write { path, content, .. } => {
            watch.found_in(content).or_else(|| watch.found_in(path.as_str().as_bytes()))
        }
        Change::Remove { .. } => None,
    })
}

/// Whether a change is what remediation may come to.
fn only_lock_files(changes: &ChangeSet) -> bool {
    changes.changes().iter().all(|change| change.path().file_name() == "Cargo.lock")
}

/// As much of an agent's last words as is kept on record. A proposal shows them as not ours and not checked.
fn last_words(text: &str) -> &str {
    let text = text.trim();
    text.get(..text.floor_char_boundary(LAST_WORDS_BYTES_MAX)).unwrap_or_default()
}

/// The package a task names, when it names one.
fn package_of(task: &Task) -> Option<&str> {
    task.trigger.text.strip_prefix(FOLLOW_UP).filter(|package| !package.contains(char::is_whitespace))
}

/// The package a follow-up should look at: one that is vulnerable and was neither fixed nor held by this run.
fn next_package(report: &Report) -> Option<&str> {
    let done = |package: &str| {
        report.held.iter().any(|held| held.package == package)
            || report.bumps.iter().any(|bump| bump.package == package)
    };
    report.remaining.iter().map(|finding| finding.package.as_str()).find(|package| !done(package))
}

fn held(report: &Report, because: String) -> String {
    let each = report
        .held
        .iter()
        .map(|held| format!("{} {} ({}): {}", held.package, held.version, held.advisories.join(", "), held.reason));
    let all: Vec<String> = each.collect();
    if all.is_empty() { because } else { all.join("; ") }
}

fn summary(report: &Report) -> String {
    let bumps = report.bumps.iter().map(|bump| {
        let age = bump.release_age_days.map_or("unknown age".to_owned(), |days| format!("released {days} days ago"));
        format!("{} {} to {} ({age}), fixes {}", bump.package, bump.from, bump.to, bump.advisories_fixed.join(", "))
    });
    bumps.collect::<Vec<_>>().join("\n")
}

fn short(tree: &TreeId) -> String {
    tree.as_str().chars().take(12).collect()
}

/// The tools that the agent is known to have. What an agent of somebody's own calls like one that is known, does what that one does.
fn tools_of(agent: &AgentConfig) -> Vec<Tool> {
    let known = match agent.runtime {
        Runtime::Agent(adapter) => vec![adapter],
        Runtime::Command(_) => Adapter::ALL.to_vec(),
        Runtime::Remediate | Runtime::Install(_) => Vec::new(),
    };
    let text = |text: &str| text.to_owned();
    let tool = |tool: &selvedge_workers::agents::Tool| Tool {
        name: text(tool.name),
        kind: text(tool.kind.as_str()),
        command: tool.command.map(text),
        paths: tool.paths.iter().map(|path| text(path)).collect(),
        addresses: tool.address.iter().map(|address| text(address)).collect(),
        patch: tool.patch.map(text),
    };
    known.into_iter().flat_map(|adapter| adapter.tools).map(tool).collect()
}

/// The exit status of a program that ended by itself.
pub(super) fn status_of(exit: &Exit) -> Option<i32> {
    match exit.ended {
        Ended::Status(status) => Some(status),
        Ended::Signal(_) | Ended::Limit(_) | Ended::Killed | Ended::NotRun(_) => None,
    }
}

/// How a sandbox ended, in words.
pub(crate) fn told(exit: &Exit) -> String {
    let ended = match &exit.ended {
        Ended::Status(status) => format!("exit status {status}"),
        Ended::Signal(signal) => format!("signal {signal}"),
        Ended::Limit(limit) => format!("the {limit:?} limit").to_lowercase(),
        Ended::Killed => "a kill".to_owned(),
        Ended::NotRun(because) => format!("nothing run ({because})"),
    };
    if exit.limits.is_empty() {
        return ended;
    }
    let limits: Vec<String> = exit.limits.iter().map(|limit| format!("{limit:?}").to_lowercase()).collect();
    format!("{ended}, after running into: {}", limits.join(", "))
}
