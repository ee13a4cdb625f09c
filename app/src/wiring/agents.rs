//! Coding agents: installing one in a sandbox, what the record says is installed, and the place one works in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use selvedge_authority::ActError;
use selvedge_domain::orders::{Ran, StartWork};
use selvedge_domain::{AgentName, Digest, Effect, EffectKind, Task, Witnessed};
use selvedge_factory::ports::{Doorkeeper, Entropy};
use selvedge_ledger::ReadError;
use selvedge_sandbox::{Access, Bind, Ended, File, Place};
use selvedge_workers::agents::{Adapter, Beside, Furnishing, Hooks, Job, Laid};

use super::Works;
use super::behalf::{Behalf, HasIdentity};
use super::inside::{Inside, status_of, told};
use super::model::ModelDesk;
use super::repositories::{permanent, transient};
use super::tools::ToolDesk;
use crate::config::INSTALL;

mod tree;

/// What is installed into, inside.
const INTO: &str = "/install";

/// npm's note of where each package came from: the same package from another mirror is the same package.
const CAME_FROM: [&str; 2] = ["node_modules", ".package-lock.json"];

/// How long it may take to say its version: programs of some hundred megabytes are read from disk first.
const SELF_TEST_AT_MOST: std::time::Duration = std::time::Duration::from_secs(120);

/// How a coding agent is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// In a way of its own, which its adapter reads.
    Itself,
    /// By the Agent Client Protocol.
    Acp,
}

impl Works {
    /// What the record says of this agent in its pinned version: the fingerprint it was tested with. Every run of its installer is
    /// replayed, so that nothing is believed because it lies on the disk.
    pub(crate) fn installed(&self, adapter: &Adapter) -> Result<Option<Digest>, ReadError> {
        let Ok(installer) = AgentName::parse(&format!("{INSTALL}{}", adapter.name)) else { return Ok(None) };
        for id in self.ledger.runs_of(&installer)? {
            let Some(run) = self.ledger.load_run(&id)? else { continue };
            if let (true, Some(Effect::Document { digest, .. })) = (names(&run.trigger().argv, adapter), run.effect()) {
                return Ok(Some(*digest));
            }
        }
        Ok(None)
    }

    /// Where this version of it lies.
    pub(crate) fn agent_tree(&self, adapter: &Adapter) -> PathBuf {
        self.state.at("agents").join(adapter.name).join(adapter.pin.version)
    }

    /// Adds to a place what a coding agent needs for a task.
    pub(super) fn place_for_agent(
        &self,
        adapter: &Adapter,
        speaks: Speaks,
        model: &ModelDesk,
        tools: Option<&ToolDesk>,
        (task, has_hooks): (&Task, bool),
    ) -> Result<Place, ActError> {
        let next = format!("`selvedge agents install {}` does that", adapter.name);
        let known = self.installed(adapter).map_err(transient)?;
        let known = known.ok_or_else(|| permanent(format!("{} is not installed; {next}", adapter.name)))?;
        let tree = self.agent_tree(adapter);
        let found = tree::fingerprint(&tree).map_err(|because| {
            permanent(format!("the installed {} cannot be used: {because}; {next} anew", adapter.name))
        })?;
        if found != known {
            let because = "is not what was tested: its fingerprint is another one";
            return Err(permanent(format!("the installed {} {because}; {next} anew", adapter.name)));
        }
        let servers = tools.map(ToolDesk::places).unwrap_or_default();
        self.place_of_agent((adapter, speaks), model, &servers, (&self.prompt_of(task)?, has_hooks))
    }

    /// The place one works in whose tree was looked at.
    pub(super) fn place_of_agent(
        &self,
        (adapter, speaks): (&Adapter, Speaks),
        model: &ModelDesk,
        servers: &[(String, String)],
        (prompt, has_hooks): (&str, bool),
    ) -> Result<Place, ActError> {
        let told = format!("{}{}", ModelDesk::url(), selvedge_gateway::model::told::PATH);
        let proxy = format!("127.0.0.1:{}", selvedge_jail::HTTP_PORT);
        let placeholder = format!("selvedge-{:016x}{:016x}", self.draw(), self.draw());
        let job = Job {
            prompt,
            model: model.asked(),
            door: &ModelDesk::url(),
            placeholder: &placeholder,
            workspace: selvedge_jail::WORKSPACE,
            servers,
            hooks: has_hooks.then_some(Hooks { url: &told, proxy: &proxy }),
        };
        let furnishing = match speaks {
            Speaks::Itself => adapter.furnish(&job, std::env::consts::ARCH),
            Speaks::Acp => adapter.furnish_for_acp(&job, std::env::consts::ARCH),
        };
        let furnishing = furnishing.ok_or_else(|| no_program(adapter))?;
        let mut place = self.furnished_for(furnishing);
        place.binds.push(bound(&self.agent_tree(adapter), adapter));
        Ok(place)
    }

    /// Fetches the pinned version in a sandbox that reaches the registry and nothing else, tries it in another one that reaches
    /// nothing, and keeps it. Neither the package's scripts nor anything else of it runs on the host.
    pub(super) fn install(
        &self,
        order: &StartWork,
        task: &Task,
        adapter: &'static Adapter,
        doors: &dyn Doorkeeper,
    ) -> Result<Ran, ActError> {
        if !names(&task.trigger.argv, adapter) {
            return Err(permanent(format!("use `selvedge agents install {}`", adapter.name)));
        }
        let dir = self.fresh_dir(&format!("agents/{}/installing", adapter.name))?;
        let fetched = dir.join("tree");
        super::tape::private_dir(&fetched).map_err(transient)?;
        let behalf = Behalf::of(order, HasIdentity::No);
        let client = client_of(adapter);
        let mut place = self.place_for_installing(adapter)?;
        place.binds.push(Bind { source: dir.clone(), target: INTO.to_owned(), access: Access::ReadWrite });
        place.limits.wall =
            std::time::Duration::from_millis(self.agent_of_run(&order.run)?.attempt_at_most.as_millis());
        let inside = Inside {
            reach: order.grant.reach.iter().cloned().collect(),
            lending: self.lending_nothing(&BTreeSet::new())?,
            purpose: "work",
            ..Inside::default()
        };
        let id = format!("{}-a{}", order.run, order.attempt);
        let (ran, too_much) =
            self.while_within(&dir, &order.run, || self.run_inside(&id, place, &behalf, inside, doors));
        let (sandbox, exit, _) = ran?;
        sandbox.destroy().map_err(transient)?;
        let effect = match too_much {
            true => Err("it is larger than any agent we know; nothing of it is kept".to_owned()),
            false => {
                if let Ended::NotRun(because) = &exit.ended {
                    return Err(permanent(format!("{client} does not start: {because}")));
                }
                self.refuse_when_killed(&exit)?;
                match exit.success() {
                    true => self.take_in(order, adapter, &behalf, &fetched, doors)?,
                    false => Err(format!("{client} ended with {}", told(&exit))),
                }
            }
        };
        std::fs::remove_dir_all(&dir).map_err(transient)?;
        Ok(Ran {
            exit: told(&exit),
            status: status_of(&exit),
            effect,
            follow_ups: Vec::new(),
            seen: Witnessed::default(),
        })
    }

    fn place_for_installing(&self, adapter: &Adapter) -> Result<Place, ActError> {
        let config = self.config();
        let registry = config.registries.get(adapter.pin.manager).and_then(|registry| registry.replace_with.as_deref());
        let fetching = adapter.fetch(INTO, registry, std::env::consts::ARCH).ok_or_else(|| no_program(adapter))?;
        Ok(self.furnished_for(fetching))
    }

    /// A place in which what an adapter says is called as it says.
    fn furnished_for(&self, furnishing: Furnishing) -> Place {
        let mut place = self.furnished(Place::new(furnishing.argv));
        for (name, value) in &furnishing.env {
            place = place.with_env(name, value);
        }
        let laid = |laid: Laid| File { target: laid.path, content: laid.text.into_bytes(), mode: 0o444 };
        place.files.extend(furnishing.files.into_iter().map(laid));
        place
    }

    /// Looks at what was fetched, tries it, and puts it where runs find it. The inner text says why it is not taken.
    fn take_in(
        &self,
        order: &StartWork,
        adapter: &Adapter,
        behalf: &Behalf,
        fetched: &Path,
        doors: &dyn Doorkeeper,
    ) -> Result<Result<Effect, String>, ActError> {
        let settled = tree::forget(fetched, CAME_FROM).and_then(|()| tree::settle(fetched));
        let digest = match settled.and_then(|()| tree::fingerprint(fetched)) {
            Ok(digest) => digest,
            Err(because) => return Ok(Err(because)),
        };
        if let Some(known) = self.installed(adapter).map_err(transient)?
            && known != digest
        {
            let (package, version) = (adapter.pin.package, adapter.pin.version);
            return Ok(Err(format!(
                "{package} {version} is not what it was: it had the digest {known} when it was tested and has {digest} now; \
                 a published version does not change, so ask whoever runs the registry"
            )));
        }
        if let Err(because) = self.self_test(order, adapter, behalf, fetched, doors)? {
            return Ok(Err(because));
        }
        let kept = self.agent_tree(adapter);
        // A run that goes on has the one that lies there.
        if tree::fingerprint(&kept).is_ok_and(|there| there == digest) {
            return Ok(Ok(Effect::Document { kind: EffectKind::Report, digest }));
        }
        match std::fs::remove_dir_all(&kept) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(transient(error)),
            _ => std::fs::rename(fetched, &kept).map_err(transient)?,
        }
        Ok(Ok(Effect::Document { kind: EffectKind::Report, digest }))
    }

    /// Starts it in a sandbox without network, to say its version.
    fn self_test(
        &self,
        order: &StartWork,
        adapter: &Adapter,
        behalf: &Behalf,
        fetched: &Path,
        doors: &dyn Doorkeeper,
    ) -> Result<Result<(), String>, ActError> {
        let asks = adapter.asks_version(std::env::consts::ARCH).ok_or_else(|| no_program(adapter))?;
        let mut place = self.furnished_for(asks);
        place.binds.push(bound(fetched, adapter));
        place.limits.wall = SELF_TEST_AT_MOST;
        let id = format!("{}-t{}", order.run, order.attempt);
        let inside = Inside { purpose: "self-test", ..Inside::default() };
        let (sandbox, exit, output) = self.run_inside(&id, place, behalf, inside, doors)?;
        sandbox.destroy().map_err(transient)?;
        if let Ended::NotRun(because) = &exit.ended {
            return Ok(Err(format!("its program does not start: {because}")));
        }
        self.refuse_when_killed(&exit)?;
        let says = String::from_utf8_lossy(&output);
        Ok(match (exit.success(), says.contains(adapter.pin.version)) {
            (true, true) => Ok(()),
            (true, false) => Err(format!("it does not say that it is version {}", adapter.pin.version)),
            (false, _) => Err(format!("its program ended with {} when it was asked for its version", told(&exit))),
        })
    }
}

/// What a run of an installer is asked for: everything that makes the same version another tree.
pub(crate) fn asked(adapter: &Adapter) -> Vec<String> {
    let beside = match adapter.pin.beside {
        Beside::Nothing => None,
        Beside::Node(version) => Some(format!("node {version}")),
        Beside::Listed(list) => Some(Digest::of_parts([list.as_bytes()]).to_string()),
    };
    [adapter.pin.package.to_owned(), adapter.pin.version.to_owned()].into_iter().chain(beside).collect()
}

fn client_of(adapter: &Adapter) -> &'static str {
    match adapter.pin.beside {
        Beside::Nothing | Beside::Node(_) => "npm",
        Beside::Listed(_) => "pip",
    }
}

fn names(argv: &[String], adapter: &Adapter) -> bool {
    argv == asked(adapter)
}

fn bound(tree: &Path, adapter: &Adapter) -> Bind {
    Bind { source: tree.to_owned(), target: adapter.installed_at(), access: Access::ReadOnly }
}

fn no_program(adapter: &Adapter) -> ActError {
    permanent(format!("{} has no program for {}", adapter.name, std::env::consts::ARCH))
}
