//! What `init` proposes: a configuration for one repository, each line of which can be explained.

use std::path::Path;

use super::discover::Discovered;
use super::file::{Addresses, Agent, Environment, File, Limits, Registry, Repo, When};

/// A configuration, and why it says what it says.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    /// The configuration.
    pub(crate) file: File,
    /// One sentence for each choice a person should know of.
    pub(crate) because: Vec<String>,
}

/// Proposes a configuration for the repository `name` at `path`, whose default branch is `branch`.
pub(crate) fn propose(name: &str, path: &Path, branch: &str, owner: &str, found: &Discovered) -> Proposal {
    let mut file = File::default();
    let mut because = found.notes.clone();
    file.factory.toolchains.clone_from(&found.toolchains);
    file.repo.insert(name.to_owned(), repository(path, branch, &mut because));
    file.agent.insert("remediate".to_owned(), remediator(owner));
    file.when.push(When { every: "24h".to_owned(), run: "remediate".to_owned(), repo: name.to_owned() });
    let hosts = found.cargo_hosts.iter().cloned().collect();
    let replace_with = found.cargo_replacement.clone();
    file.registry.insert("cargo".to_owned(), Registry { hosts, replace_with });
    for (host, addresses) in &found.not_global {
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        because.push(format!(
            "`danger.addresses`: your registry `{host}` resolves to {}, which is not a global address; without this entry \
             the door refuses to dial it",
            shown.join(", ")
        ));
        let allowed = Addresses { allow: addresses.clone(), plain_port: None };
        file.danger.addresses.insert(host.clone(), allowed);
    }
    Proposal { file, because }
}

fn repository(path: &Path, branch: &str, because: &mut Vec<String>) -> Repo {
    let cargo = path.join("Cargo.toml").is_file();
    if !cargo {
        because
            .push("no `Cargo.toml` found, so `checks` is empty: until you name one, every change is held".to_owned());
    }
    Repo {
        path: path.to_owned(),
        branch: branch.to_owned(),
        checks: if cargo { vec!["cargo test --locked".to_owned()] } else { Vec::new() },
        gate: Vec::new(),
        environment: Environment { setup: cargo.then(|| "cargo fetch --locked".to_owned()), services: Vec::new() },
        sensitivity: "internal".to_owned(),
        chain: 10,
        approval_within: "24h".to_owned(),
    }
}

fn remediator(owner: &str) -> Agent {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Agent {
        runtime: "remediate".to_owned(),
        command: Vec::new(),
        owner: owner.to_owned(),
        purpose: "raise dependencies with known vulnerabilities to the nearest safe release".to_owned(),
        escalate: owner.to_owned(),
        trust: "propose".to_owned(),
        may: words(&["read", "write", "open-pr", "follow-up"]),
        reach: words(&["cargo:read"]),
        attempt_at_most: None,
        minimum_release_age_days: 7,
        limits: Limits::default(),
    }
}
