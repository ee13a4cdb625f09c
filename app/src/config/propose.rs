//! What `init` proposes: a configuration for one repository, each part of which is explained.

use std::path::Path;

use super::discover::Discovered;
use super::file::effects::Effects;
use super::file::{Addresses, Agent, Environment, Factory, File, Limits, Registry, Repo};
use super::{Budget, Config, Runtime};

/// A configuration, and what a person should know beside it.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    /// The configuration.
    pub(crate) file: File,
    /// What was looked for and not found, in words for a person.
    pub(crate) notes: Vec<String>,
}

/// Proposes a configuration for the repository `name` at `path`, whose default branch is `branch`.
pub(crate) fn propose(name: &str, path: &Path, branch: &str, owner: &str, found: &Discovered) -> Proposal {
    let cargo = path.join("Cargo.toml").is_file();
    let mut file = File::default();
    file.factory.toolchains.clone_from(&found.toolchains);
    file.repo.insert(name.to_owned(), repository(path, branch, cargo));
    if cargo {
        file.agent.insert(REMEDIATE.to_owned(), remediator(owner));
    }
    if cargo || !found.cargo_hosts.is_empty() {
        let hosts = found.cargo_hosts.iter().cloned().collect();
        let replace_with = found.cargo_replacement.clone();
        file.registry.insert("cargo".to_owned(), Registry { hosts, replace_with });
        for (host, addresses) in &found.not_global {
            let allowed = Addresses { allow: addresses.clone(), plain_port: None };
            file.danger.addresses.insert(host.clone(), allowed);
        }
    }
    Proposal { file, notes: if cargo { found.notes.clone() } else { Vec::new() } }
}

impl Proposal {
    /// What of this `existing` does not say yet: the repository, and whatever it needs that is not there.
    pub(crate) fn beside(mut self, existing: &Config) -> Self {
        let missing = self.file.factory.toolchains.iter().filter(|path| !existing.toolchains.contains(*path));
        self.notes.extend(missing.map(|path| {
            format!("`toolchains` does not list `{}`; add it by hand if the checks need it", path.display())
        }));
        // That table is there already, or its defaults are in force; a second one would not load.
        self.file.factory = Factory::default();
        let remediates = existing.agents.values().any(|agent| agent.runtime == Runtime::Remediate);
        let named = |name: &str| existing.agents.keys().any(|known| known.as_str() == name);
        self.file.agent.retain(|name, _| !remediates && !named(name));
        self.file.registry.retain(|name, _| !existing.registries.contains_key(name));
        let registries = self.file.registry.len();
        let danger = |host: &str| existing.danger.iter().any(|known| known.host.to_string() == host);
        self.file.danger.addresses.retain(|host, _| registries > 0 && !danger(host));
        self
    }

    /// The text of its tables, to be written behind what is there.
    pub(crate) fn tables(&self) -> Result<String, toml::ser::Error> {
        let mut tables = toml::Table::try_from(&self.file)?;
        tables.remove("factory");
        toml::to_string_pretty(&tables)
    }

    /// One line for each part: why it says what it says.
    pub(crate) fn because(&self) -> Vec<String> {
        let file = &self.file;
        let mut lines = Vec::new();
        for path in &file.factory.toolchains {
            lines.push(format!(
                "`toolchains`: your Rust lies outside /usr, in {}; sandboxes see it, read-only",
                path.display()
            ));
        }
        for (name, repo) in &file.repo {
            lines.extend(because_of_repo(name, repo));
        }
        for (name, agent) in &file.agent {
            lines.push(format!(
                "`[agent.{name}]`: raises dependencies with known vulnerabilities and opens proposals, which only a person \
                 merges; {} answers for it",
                agent.owner
            ));
        }
        for name in file.registry.keys() {
            lines.push(format!(
                "`[registry.{name}]`: the hosts your own cargo uses; set-up steps reach them, and agents whose `reach` names \
                 `{name}:read`, all to read only"
            ));
        }
        lines.extend(self.because_of_danger());
        lines
    }

    /// What weakens safety, and why it is proposed all the same.
    pub(crate) fn because_of_danger(&self) -> Vec<String> {
        let line = |(host, addresses): (&String, &Addresses)| {
            let shown: Vec<String> = addresses.allow.iter().map(ToString::to_string).collect();
            format!(
                "`[danger.addresses]`: your registry `{host}` resolves to {}, which is not a global address; without this \
                 entry the door refuses to dial it",
                shown.join(", ")
            )
        };
        self.file.danger.addresses.iter().map(line).collect()
    }
}

/// What the proposed remediation worker is called.
const REMEDIATE: &str = "remediate";

fn because_of_repo(name: &str, repo: &Repo) -> Vec<String> {
    let mut lines = vec![format!(
        "`[repo.{name}]`: the original stays yours; the factory works on a bare clone, and proposals are meant for `{}`",
        repo.branch
    )];
    match repo.checks.as_slice() {
        [] => {
            lines.push(
                "`checks`: empty, because there is no `Cargo.toml` to guess from; until you name one, such as `make test`, \
                 every change is held"
                    .to_owned(),
            );
            lines.push(
                "no `[agent]` is proposed: the remediation worker knows Cargo only, and would find nothing to do"
                    .to_owned(),
            );
        }
        checks => {
            lines.push(format!(
                "`checks`: `{}` has to pass on a change and on its base before anything is proposed",
                checks.join("`, `")
            ));
            lines.push(format!(
                "no `[[when]]` is proposed: a scheduled scan fails without an advisory database; once `path` under `[advisories]` names \
                 one, `[[when]]` with `every = \"24h\"`, `run = \"{REMEDIATE}\"` and `repo = \"{name}\"` scans every day"
            ));
        }
    }
    if let Some(setup) = &repo.environment.setup {
        lines.push(format!(
            "`setup`: `{setup}` fetches with the registry in reach; the checks themselves have no network"
        ));
    }
    lines
}

fn repository(path: &Path, branch: &str, cargo: bool) -> Repo {
    Repo {
        path: path.to_owned(),
        branch: branch.to_owned(),
        checks: if cargo { vec!["cargo test --locked".to_owned()] } else { Vec::new() },
        gate: Vec::new(),
        sensitive: Vec::new(),
        environment: Environment { setup: cargo.then(|| "cargo fetch --locked".to_owned()), services: Vec::new() },
        sensitivity: "internal".to_owned(),
        chain: 10,
        approval_within: "24h".to_owned(),
        hold_at_most: None,
    }
}

fn remediator(owner: &str) -> Agent {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Agent {
        runtime: "remediate".to_owned(),
        command: Vec::new(),
        env: std::collections::BTreeMap::new(),
        acp: None,
        owner: owner.to_owned(),
        purpose: "raise dependencies with known vulnerabilities to the nearest safe release".to_owned(),
        escalate: owner.to_owned(),
        trust: "propose".to_owned(),
        may: words(&["read", "write", "open-pr", "follow-up"]),
        reach: words(&["cargo:read"]),
        may_ask: Vec::new(),
        model: None,
        mcp: Vec::new(),
        credentials: Vec::new(),
        audiences: Vec::new(),
        budget: Budget::default(),
        children: Vec::new(),
        hooks: true,
        attempt_at_most: None,
        autonomy: None,
        recertify: None,
        minimum_release_age_days: 7,
        effects: Effects::default(),
        limits: Limits::default(),
    }
}
