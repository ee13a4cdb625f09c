//! Wiring: joins the factory's ports to the rooms that implement them. The only place that knows both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use selvedge_authority::{HaltScope, Judge};
use selvedge_credentials::{IssuerName, Leases, MasterKey, MintingKeys, ProxyPassword, Sealer, StoredKeys};
use selvedge_domain::{AgentName, Digest, RepoName, RunId, Time};
use selvedge_factory::Factory;
use selvedge_factory::ports::{Clock, Entropy, TakenBack};
use selvedge_forge::git::{GitRunner, HostGit};
use selvedge_forge::local::{LocalForge, Source};
use selvedge_gateway::Door;
use selvedge_ledger::Ledger;
use selvedge_policy::{DenyAll, Policies};
use selvedge_sandbox::{HOST_IDS, Killer, Level, NativeDriver, Setup};

use crate::config::Config;
use crate::errors::{CliError, Kind};
use crate::keeper::State;

mod access;
mod acp;
mod advisories;
mod agents;
mod answer;
mod behalf;
mod bill;
mod cache;
mod checks;
mod children;
mod conduct;
mod courier;
mod danger;
mod denied;
mod desks;
mod door;
mod effect;
mod furnish;
mod gate;
mod git;
mod handover;
mod heard;
mod hold;
mod identity;
mod inside;
mod jailed_git;
mod leak;
mod lender;
mod lent;
mod loans;
mod model;
mod narrowed;
mod on_loan;
pub(crate) mod paths;
mod place;
mod proxy;
mod purse;
mod queue;
mod registry;
mod rehearsal;
mod remediation;
mod repositories;
mod rules;
mod sealed;
mod secrets;
mod send;
mod store;
mod tape;
mod tenure;
mod tokens;
mod told;
mod tool_rooms;
mod tools;
mod withdraw;
mod witness;
mod workplace;

pub(crate) use agents::asked;
pub(crate) use bill::Bill;
pub(crate) use conduct::Standing as ConductStanding;
pub(crate) use danger::dangers_for;
pub(crate) use loans::WITHDRAWN;
pub(crate) use rules::{CurrentJudge, NotInForce};
pub(crate) use store::ClaimedStore;
#[cfg(test)]
pub(crate) use tape::FRAME_BYTES_MAX;
pub(crate) use tape::Reel;
pub(crate) use tenure::{Vouched, Word};
pub(crate) use tools::{TOOL_CHANGED, TOOL_NOT_TAKEN_ON};
pub(crate) use withdraw::{LiveLoan, MayLive, dies_by_itself};

/// How long a kill may take before it is reported as failed. Killing a sandbox takes milliseconds.
const KILL_WITHIN: Duration = Duration::from_secs(30);

/// An advisory database older than this says nothing about a lock file being clean.
const DATABASE_AGE_DAYS_MAX: u64 = 180;

/// Everything one keeper holds.
pub(crate) struct Works {
    pub(crate) state: State,
    pub(crate) ledger: Ledger,
    config: RwLock<Arc<Config>>,
    judge: RwLock<Arc<dyn Judge + Send + Sync>>,
    policies: RwLock<Option<Digest>>,
    rules: Mutex<rules::Seen>,
    not_in_force: RwLock<Option<NotInForce>>,
    forge: LocalForge,
    git: Arc<jailed_git::JailedGit>,
    driver: Arc<NativeDriver>,
    pub(crate) lending: Lending,
    vault: Mutex<lender::Vault>,
    on_loan: on_loan::OnLoan,
    chains: send::Chains,
    live: Mutex<BTreeMap<RunId, Live>>,
    pub(crate) askers: Arc<children::Askers>,
    halts: RwLock<BTreeSet<HaltScope>>,
    words: RwLock<tenure::Words>,
    watch: conduct::Watch,
    swept: Mutex<Vec<String>>,
    /// How many sandboxes had been refused when a probe was last complete.
    probing: Mutex<Option<u64>>,
    executable: PathBuf,
    roots_pem: String,
    trust_domain: String,
    pub(crate) database_age_days_max: u64,
}

/// What a keeper is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Anything.
    Work,
    /// Only to take authority away, which must work when the configuration does not.
    Stop,
}

/// What lends: the issuer, stored keys, keys that make others, and the lease engine over every provider.
pub(crate) struct Lending {
    identities: identity::Identities,
    pub(crate) keys: Arc<StoredKeys>,
    pub(crate) minting: Arc<MintingKeys>,
    pub(crate) proxy: Arc<ProxyPassword>,
    store: Arc<sealed::Shelf>,
    leases: Leases,
}

/// What is running for one run.
#[derive(Default)]
struct Live {
    sandboxes: BTreeMap<String, Killer>,
    doors: Vec<Weak<Door>>,
    gits: Vec<Weak<jailed_git::Tie>>,
}

impl Live {
    /// Whether something of it still is.
    fn is_alive(&mut self) -> bool {
        self.doors.retain(|door| door.strong_count() > 0);
        self.gits.retain(|tie| tie.strong_count() > 0);
        !(self.sandboxes.is_empty() && self.doors.is_empty() && self.gits.is_empty())
    }
}

impl Works {
    /// Opens everything below `state`. The caller holds the lock.
    pub(crate) fn open(state: State, purpose: Purpose) -> Result<Self, CliError> {
        let seen = rules::Seen::of(&state);
        let (config, not_in_force) = match (Config::load(&state.config(), now()), purpose) {
            (Ok(config), _) => (config, None),
            // Whoever stops something needs no configuration, and whatever they stop needs none to end (invariant 2).
            (Err(error), Purpose::Stop) => {
                (Config::parse("selvedge.toml", "")?, Some(NotInForce::new(&state, &error).without_another()))
            }
            (Err(error), Purpose::Work) => return Err(error.into()),
        };
        let ledger = paths::open_ledger(&state)?;
        let (judge, policies) = load_policies(&state);
        let driver = Arc::new(driver(&state, config.level.as_deref())?);
        let swept = driver.sweep().map_err(|error| CliError::caused(Kind::Sandbox, &error))?;
        // What set-up left for checks that a dead keeper never ran.
        let _none = std::fs::remove_dir_all(state.at("cache"));
        Self::clear_landings(&state);
        let lending = Lending::open(&state, &ledger, &config.issuer)?;
        let host = host_git()?;
        // What only stops something runs no git.
        if purpose == Purpose::Work {
            see_that_git_is_inside(&host)?;
        }
        let git = Arc::new(jailed_git::JailedGit::new(Arc::clone(&driver), host));
        let halts = ledger.halts().map_err(|error| CliError::caused(Kind::Ledger, &error))?;
        let words = tenure::Words::read(&ledger).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
        let watch = conduct::Watch::read(&ledger).map_err(|error| CliError::caused(Kind::Ledger, &error))?;
        let works = Self {
            forge: open_forge(&state, Arc::<jailed_git::JailedGit>::clone(&git))?,
            git,
            ledger,
            judge: RwLock::new(judge),
            policies: RwLock::new(policies),
            rules: Mutex::new(seen),
            not_in_force: RwLock::new(not_in_force),
            driver,
            lending,
            vault: Mutex::default(),
            on_loan: on_loan::OnLoan::default(),
            chains: send::Chains::default(),
            live: Mutex::default(),
            askers: Arc::default(),
            halts: RwLock::new(halts.into_iter().collect()),
            words: RwLock::new(words),
            watch,
            swept: Mutex::new(swept),
            probing: Mutex::default(),
            executable: executable()?,
            // A host without certificates can still reach what the operator named as clear text; all else fails closed.
            roots_pem: selvedge_gateway::system_roots_pem().unwrap_or_default(),
            trust_domain: config.issuer.trust_domain().to_owned(),
            database_age_days_max: DATABASE_AGE_DAYS_MAX,
            config: RwLock::new(Arc::new(config)),
            state,
        };
        works.configure_lending();
        Ok(works)
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Why the configuration in force is not the one on disk; none when it is.
    pub(crate) fn not_in_force(&self) -> Option<NotInForce> {
        self.not_in_force.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Why nobody can say which names are configured; none when a configuration of the operator's is in force.
    pub(crate) fn names_unknown(&self) -> Option<String> {
        self.not_in_force().filter(|refused| !refused.another_is).map(|refused| refused.because)
    }

    /// Who decides.
    pub(crate) fn judge(&self) -> Arc<dyn Judge + Send + Sync> {
        Arc::clone(&self.judge.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// A policy as it stands in its file.
    pub(crate) fn policy_text(&self, name: &selvedge_authority::PolicyName) -> serde_json::Value {
        let loaded = Policies::load(&self.state.at("policies"));
        let found = loaded.ok().and_then(|policies| policies.list().find(|policy| policy.name == *name).cloned());
        match found {
            Some(policy) => serde_json::json!({
                "id": name.as_str(), "owner": policy.owner.as_str(), "text": policy.text, "place": policy.place.to_string(),
            }),
            None => serde_json::json!({ "id": name.as_str(), "owner": null, "text": "no longer in force" }),
        }
    }

    /// Fingerprint of the policies; none when they do not load.
    pub(crate) fn policies(&self) -> Option<Digest> {
        *self.policies.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The loop, deciding and recording through these.
    pub(crate) fn factory<'a>(&'a self, store: &'a ClaimedStore<'a>, judge: &'a dyn Judge) -> Factory<'a> {
        Factory {
            clock: self,
            entropy: self,
            store,
            judge,
            registry: self,
            lender: self,
            workplace: self,
            repositories: self,
            queue: self,
        }
    }

    /// What this machine can fence now. One at a time: a probe builds a sandbox under a name of its own.
    pub(crate) fn probe(&self) -> selvedge_sandbox::Report {
        let _one_at_a_time = self.probing.lock();
        self.driver.probe()
    }

    /// Says why no sandbox would start. What a probe saw stands until a sandbox is refused: each proves its own fences before its
    /// program runs, so this only tells whoever asks for work sooner.
    pub(crate) fn see_that_it_can_fence(&self) -> Result<(), CliError> {
        let mut complete_at = self.probing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let refusals = self.driver.refusals();
        if *complete_at != Some(refusals) {
            crate::cli::complete(&self.driver.probe())?;
            *complete_at = Some(refusals);
        }
        Ok(())
    }

    fn driver_level(&self) -> Level {
        level(self.config().level.as_deref())
    }

    /// A directory of the factory's own, empty.
    fn fresh_dir(&self, name: &str) -> Result<PathBuf, selvedge_authority::ActError> {
        let path = self.state.at(name);
        let made = match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => tape::private_dir(&path),
        };
        made.map_err(repositories::transient)?;
        Ok(path)
    }

    fn tape(&self, run: &RunId, purpose: &str) -> Result<tape::Tape, selvedge_authority::ActError> {
        tape::Tape::open(&self.tape_path(run, purpose)).map_err(repositories::transient)
    }

    /// Where the output of a run's sandboxes is kept.
    pub(crate) fn tape_path(&self, run: &RunId, purpose: &str) -> PathBuf {
        self.state.at("runs").join(run.as_str()).join(format!("{purpose}.tape"))
    }

    fn agent_of_run(&self, run: &RunId) -> Result<selvedge_factory::ports::Agent, selvedge_authority::ActError> {
        let run = self.run(run).map_err(repositories::transient)?;
        let config = self.config();
        let agent = config
            .agents
            .get(&run.trigger().agent)
            .ok_or_else(|| repositories::permanent("the agent is no longer configured"))?;
        Ok(agent.agent.clone().within(run.trigger()))
    }
}

/// Halting, and what is alive to be halted.
impl Works {
    fn live<T>(&self, with: impl FnOnce(&mut BTreeMap<RunId, Live>) -> T) -> T {
        with(&mut self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn remember_sandbox(&self, run: &RunId, id: &str, killer: Killer) {
        self.live(|live| live.entry(run.clone()).or_default().sandboxes.insert(id.to_owned(), killer));
    }

    /// What lives of a run now.
    fn sandboxes_of(&self, run: &RunId) -> Vec<Killer> {
        self.live(|live| live.get(run).map(|live| live.sandboxes.values().cloned().collect()).unwrap_or_default())
    }

    fn remember_door(&self, run: &RunId, door: &Arc<Door>) {
        self.live(|live| live.entry(run.clone()).or_default().doors.push(Arc::downgrade(door)));
    }

    fn remember_git(&self, run: &RunId, tie: &Arc<jailed_git::Tie>) {
        self.live(|live| live.entry(run.clone()).or_default().gits.push(Arc::downgrade(tie)));
    }

    fn forget_sandbox(&self, run: &RunId, id: &str) {
        self.live(|live| {
            if let Some(entry) = live.get_mut(run) {
                entry.sandboxes.remove(id);
            }
            live.retain(|_, entry| entry.is_alive());
        });
    }

    /// Kills whatever runs for `run`: doors first, so that nothing leaves any more. Says what was found.
    pub(crate) fn kill_run(&self, run: &RunId) -> Option<String> {
        let found = self.live(|live| live.remove(run)).unwrap_or_default();
        found.doors.iter().filter_map(Weak::upgrade).for_each(|door| door.close());
        found.gits.iter().filter_map(Weak::upgrade).for_each(|tie| tie.stop());
        let mut killed: Vec<String> = Vec::new();
        for (id, killer) in found.sandboxes {
            killed.push(match killer.halt(KILL_WITHIN) {
                Ok(_) => id,
                Err(error) => format!("{id} (not certainly dead: {error})"),
            });
        }
        let mut swept = self.swept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        killed.extend(swept.extract_if(.., |id| id.starts_with(run.as_str())));
        (!killed.is_empty()).then(|| killed.join(", "))
    }

    /// Runs that have something alive.
    pub(crate) fn live_runs(&self) -> Vec<RunId> {
        self.live(|live| {
            live.retain(|_, entry| entry.is_alive());
            live.keys().cloned().collect()
        })
    }

    /// Adds a halt. Takes effect before it is recorded.
    pub(crate) fn set_halt(&self, scope: &HaltScope) {
        self.halts.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(scope.clone());
    }

    /// Lifts a halt.
    pub(crate) fn lift_halt(&self, scope: &HaltScope) {
        self.halts.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(scope);
    }

    /// Every halt in force.
    pub(crate) fn halts(&self) -> BTreeSet<HaltScope> {
        self.halts.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Takes back what a run was lent, whatever its slot is busy with. Its turn does so too, and records it: this is for
    /// those who cannot wait for that turn. Says which leases may still live.
    pub(crate) fn take_leases_back(&self, run: &RunId) -> Vec<MayLive> {
        // A secret that no door fetched yet.
        self.drop_lent(run);
        let mut living = self.may_live(run);
        living.retain_mut(|lent| match self.take_back_now(&lent.lease) {
            TakenBack::Dead => false,
            TakenBack::Expires { at } => {
                lent.until = Some(at);
                true
            }
            TakenBack::Stuck { .. } => true,
        });
        living
    }

    /// Why this run may not go on, when a halt covers it.
    pub(crate) fn halt_covering(&self, run: &selvedge_domain::Run) -> Option<String> {
        let itself = HaltScope::Run(run.id().clone());
        let halts = self.halts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = halts.contains(&itself).then(|| "the run is halted".to_owned());
        let givers = halts.iter().filter_map(|scope| match scope {
            HaltScope::Run(giver) => Some(giver),
            HaltScope::All | HaltScope::Agent(_) | HaltScope::Repo(_) => None,
        });
        let mut givers = givers.filter(|giver| run.trigger().lineage.hangs_on(giver));
        let named = named.or_else(|| givers.next().map(|giver| format!("run {giver}, which it hangs on, is halted")));
        drop(givers);
        drop(halts);
        named.or_else(|| self.halt_of_new_work(&run.trigger().agent, &run.trigger().repo))
    }

    /// Why no work of this agent on this repository may begin, when a halt covers it.
    pub(crate) fn halt_of_new_work(&self, agent: &AgentName, repo: &RepoName) -> Option<String> {
        let halts = self.halts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        halts.iter().find_map(|scope| match scope {
            HaltScope::All => Some("everything is halted".to_owned()),
            HaltScope::Agent(name) => (name == agent).then(|| format!("agent `{name}` is halted")),
            HaltScope::Repo(name) => (name == repo).then(|| format!("repo `{name}` is halted")),
            HaltScope::Run(_) => None,
        })
    }
}

impl Clock for Works {
    fn now(&self) -> Time {
        now()
    }
}

impl Entropy for Works {
    fn draw(&self) -> u64 {
        random()
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // The kernel's generator does not fail once it is seeded, which it is long before a user's process starts.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_be_bytes(bytes)
}

fn load_policies(state: &State) -> (Arc<dyn Judge + Send + Sync>, Option<Digest>) {
    match Policies::load(&state.at("policies")) {
        Ok(policies) => {
            let digest = policies.digest();
            (Arc::new(policies), Some(digest))
        }
        // Dead policy denies everything (invariant 2); what takes authority away still works.
        Err(error) => (Arc::new(DenyAll::new(format!("the policies do not load: {error}"))), None),
    }
}

impl Lending {
    /// Opens keys and issuer; providers are told to it once the configuration is known.
    fn open(state: &State, ledger: &Ledger, name: &IssuerName) -> Result<Self, CliError> {
        let failed = |error: &dyn std::error::Error| CliError::caused(Kind::State, error);
        let master = MasterKey::in_state_dir(state.root()).map_err(|error| failed(&error).hint(error.remedy()))?;
        let sealer = Arc::new(Sealer::new(&master).map_err(|error| failed(&error))?);
        let store = Arc::new(sealed::Shelf::new(ledger.clone()));
        let shelf = sealed::Shelf::new(ledger.clone());
        let identities = identity::Identities::open(name, &sealer, shelf, now()).map_err(|error| failed(&error))?;
        let keys = Arc::new(StoredKeys::new(Arc::clone(&sealer), store.clone()));
        let minting = Arc::new(MintingKeys::new(Arc::clone(&sealer), store.clone()));
        let proxy = Arc::new(ProxyPassword::new(Arc::clone(&sealer), store.clone()));
        let leases = Leases::new(sealer, store.clone(), Vec::new());
        Ok(Self { identities, keys, minting, proxy, store, leases })
    }
}

/// By the clock of this machine.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The level the operator chose, or the strongest this user can have.
fn level(chosen: Option<&str>) -> Level {
    match chosen {
        Some("full") => Level::Full,
        Some(_) => Level::User,
        None if rustix::process::geteuid().is_root() => Level::Full,
        None => Level::User,
    }
}

fn driver(state: &State, chosen: Option<&str>) -> Result<NativeDriver, CliError> {
    let setup =
        Setup { state: state.at("sandboxes"), launcher: executable()?, level: level(chosen), host_ids: HOST_IDS };
    NativeDriver::new(setup).map_err(|refused| CliError::new(Kind::Sandbox, &refused).hint(refused.remedy))
}

fn executable() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| CliError::caused(Kind::Internal, &error))
}

/// The repositories below `state`, before any agent has seen them: for taking one in.
pub(crate) fn forge(state: &State) -> Result<LocalForge, CliError> {
    open_forge(state, Arc::new(host_git()?))
}

fn open_forge(state: &State, git: Arc<dyn GitRunner>) -> Result<LocalForge, CliError> {
    LocalForge::open(&state.at("repos"), git).map_err(|error| CliError::caused(Kind::Git, &error))
}

/// The first git on the search path that sandboxes see too; where there is none, the first.
fn host_git() -> Result<HostGit, CliError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let gits = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("git"));
    let found = match gits.filter(|git| git.is_file()).find(|git| jailed_git::inside(git).is_some()) {
        Some(git) => HostGit::at(git),
        None => HostGit::find(&path),
    };
    found.map_err(|error| CliError::caused(Kind::Git, &error).hint("install git 2.40 or newer"))
}

fn see_that_git_is_inside(host: &HostGit) -> Result<(), CliError> {
    match jailed_git::inside(host.program()) {
        Some(_) => Ok(()),
        None => Err(CliError::new(Kind::Git, jailed_git::unseen(host.program())).hint(jailed_git::SEE_TO_IT)),
    }
}

/// The git that does the work, once it is known that it can.
pub(crate) fn git_at_work() -> Result<HostGit, CliError> {
    let host = host_git()?;
    see_that_git_is_inside(&host)?;
    Ok(host)
}

/// Takes a repository in; says where the factory's own bare clone of it is.
pub(crate) fn import(forge: &LocalForge, source: &Path, name: &selvedge_domain::RepoName) -> Result<PathBuf, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::caused(Kind::Git, error);
    let source = Source::parse(&source.to_string_lossy()).map_err(|error| failed(&error))?;
    match forge.import(&source, name) {
        Ok((repository, _)) => Ok(repository.dir().to_owned()),
        Err(selvedge_forge::local::ImportError::AlreadyImported(_)) => {
            let repository = forge.repository(name).map_err(|error| failed(&error))?;
            repository.sync(&source).map_err(|error| failed(&error))?;
            Ok(repository.dir().to_owned())
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Why the configuration on disk is in force nowhere; none when it loads.
pub(crate) fn not_in_force(state: &State) -> Option<String> {
    Config::load(&state.config(), now()).err().map(|error| NotInForce::new(state, &error).because)
}

/// What this machine can fence.
pub(crate) fn probe(state: &State) -> Result<selvedge_sandbox::Report, CliError> {
    let chosen = Config::load(&state.config(), now()).ok().and_then(|config| config.level);
    Ok(driver(state, chosen.as_deref())?.probe())
}

/// Refreshes a directory of advisories from a git remote with the operator's own git; it is data, and nothing of it runs.
pub(crate) fn update_advisories(path: &Path, remote: &str) -> Result<String, CliError> {
    let git = |arguments: &[&str]| -> Result<String, CliError> {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-C"]).arg(path).args(arguments);
        let output = command.output().map_err(|error| CliError::caused(Kind::Git, &error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(CliError::new(Kind::Advisories, format!("cannot update `{}`: {said}", path.display()))
            .hint("check `advisories.remote`, or point `advisories.path` at a copy you have"))
    };
    std::fs::create_dir_all(path).map_err(|error| CliError::caused(Kind::Advisories, &error))?;
    if !path.join(".git").exists() {
        git(&["init", "--quiet"])?;
    }
    git(&["fetch", "--quiet", "--depth=1", "--no-tags", "--", remote, "HEAD"])?;
    git(&["checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"])?;
    git(&["rev-parse", "HEAD"])
}
