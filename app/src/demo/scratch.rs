//! The scratch factory: a copy of a published crate, a registry on loopback, and a configuration as `init` would write it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_domain::RepoName;

use super::{OBEDIENT, PROBER, sabotage, turncoat};
use crate::config::{AddressesFile, AgentFile, Budget, EffectsFile, Limits, ModelFile, ModelPrice, discover, propose};
use crate::errors::{CliError, Kind};
use crate::keeper::State;
use crate::wiring;

/// What the repository is called.
pub(super) const REPO: &str = "yasna";

/// A repository small enough that attacks on the loop take no time.
pub(super) const SMALL_REPO: &str = "small";

/// What the hostile model is called.
const MODEL: &str = "turncoat";

/// The agent that tries every attack from inside its sandbox.
pub(super) const HOSTILE: &str = "hostile";

/// The registry's name. `.test` is reserved (RFC 6761), so nobody else is ever asked.
pub(super) const REGISTRY_HOST: &str = "registry.selvedge.test";

/// A directory of the demonstration's data, beside the sources it was built from.
pub(super) fn data(name: &str) -> Result<PathBuf, CliError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(name);
    path.canonicalize().map_err(|error| {
        CliError::new(Kind::NotFound, format!("cannot find the demonstration's data in `{}`: {error}", path.display()))
            .hint("run the demonstration from a checkout: `cargo run --release -- demo`")
    })
}

/// Begins the name of a directory that is removed at the end. One that is kept is never called so.
const SCRATCH: &str = "selvedge-demo-scratch-";

/// How many directories of demonstrations that were cut short are removed at one start.
const STALE_MAX: usize = 16;

/// A factory that is removed at the end.
pub(super) struct Scratch {
    root: PathBuf,
    state: State,
    keep: bool,
}

impl Scratch {
    pub(super) fn new(named: Option<&Path>, keep: bool) -> Result<Self, CliError> {
        let temporary = std::env::temp_dir();
        remove_stale(&temporary);
        let unique = format!("{}{}", if keep { "selvedge-demo-" } else { SCRATCH }, std::process::id());
        let root = named.map_or_else(|| temporary.join(unique), Path::to_owned);
        let root = std::path::absolute(root).map_err(|error| CliError::caused(Kind::State, &error))?;
        if root.exists() {
            return Err(CliError::new(Kind::State, format!("`{}` exists", root.display()))
                .hint("name a directory that does not with `--state DIR`, or leave `--state` out"));
        }
        std::fs::create_dir_all(&root).map_err(|error| {
            CliError::new(Kind::State, format!("cannot make `{}`: {error}", root.display()))
                .hint("name a directory that can be made with `--state DIR`")
        })?;
        let state = State::locate(Some(&root.join("state")))?.with_anchor(root.join("anchor"));
        Ok(Self { root, state, keep })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Commits the crate to a repository, and sets a factory up for it.
    pub(super) fn set_up(&self, port: u16, stage: &turncoat::Stage) -> Result<(), CliError> {
        let repo = self.root.join(REPO);
        copy(&data(REPO)?, &repo).map_err(|error| self.state.unusable(&error))?;
        commit(&repo, "yasna 0.6.0, as published")?;
        let small = self.root.join(SMALL_REPO);
        for (path, text) in
            [("src/answer", "42\n"), ("tests/run.sh", "test \"$(cat src/answer)\" = 42\n"), turncoat::REPO_SECRET]
        {
            write(&small.join(path), text).map_err(|error| self.state.unusable(&error))?;
        }
        commit(&small, "a small repository with a check")?;
        self.state.create()?;
        let forge = wiring::forge(&self.state)?;
        for (name, source) in [(REPO, &repo), (SMALL_REPO, &small)] {
            let name = RepoName::parse(name).map_err(|error| CliError::caused(Kind::Internal, &error))?;
            wiring::import(&forge, source, &name)?;
        }
        std::fs::create_dir_all(self.state.at("policies")).map_err(|error| self.state.unusable(&error))?;
        let own = [("demo.cedar", turncoat::policy())];
        let defaults = selvedge_policy::default_sources().map(|(name, policy)| (name, policy.to_owned()));
        for (name, policy) in defaults.chain(own) {
            std::fs::write(self.state.at("policies").join(name), policy)
                .map_err(|error| self.state.unusable(&error))?;
        }
        let text = configuration(&repo, &small, port, stage)?;
        std::fs::write(self.state.config(), text).map_err(|error| self.state.unusable(&error))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _left = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// Removes what demonstrations that were cut short left behind: directories of ours whose process is gone.
fn remove_stale(temporary: &Path) {
    let entries = std::fs::read_dir(temporary).into_iter().flatten().flatten();
    let stale = entries.map(|entry| entry.path()).filter(|path| is_stale(path)).take(STALE_MAX);
    for path in stale {
        // What cannot be removed now is in nobody's way, and is tried again at the next start.
        let _left = std::fs::remove_dir_all(path);
    }
}

fn is_stale(path: &Path) -> bool {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    let Some(process) = name.strip_prefix(SCRATCH).and_then(|number| number.parse::<u32>().ok()) else { return false };
    let own = rustix::process::geteuid().as_raw();
    // Anybody may make a directory of that name in a shared place, or point a link of that name at another.
    let ours = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == own);
    ours && !Path::new("/proc").join(process.to_string()).exists() && !is_kept_by_a_process(path)
}

/// Whether somebody holds its lock: the number of a process says nothing about one in another container.
fn is_kept_by_a_process(root: &Path) -> bool {
    let state = State::locate(Some(&root.join("state")));
    state.is_ok_and(|state| matches!(state.lock(), Ok(None)))
}

/// What `init` proposes, with the demonstration's registry in place of the operator's.
fn configuration(repo: &Path, small: &Path, port: u16, stage: &turncoat::Stage) -> Result<String, CliError> {
    let mut found = discover();
    found.cargo_hosts = [format!("{REGISTRY_HOST}:443")].into();
    found.cargo_replacement = Some(format!("sparse+https://{REGISTRY_HOST}/index/"));
    found.not_global = vec![(REGISTRY_HOST.to_owned(), vec![std::net::Ipv4Addr::LOCALHOST.into()])];
    let mut proposal = propose(REPO, repo, "main", "you@example.test", &found);
    if let Some(written) = proposal.file.repo.get_mut(REPO) {
        written.checks = vec!["cargo test --locked --features std,time,bit-vec".to_owned()];
    }
    if let Some(addresses) = proposal.file.danger.addresses.get_mut(REGISTRY_HOST) {
        addresses.plain_port = Some(port);
    }
    let written = proposal.file.repo.get(REPO).cloned();
    if let Some(mut written) = written {
        written.path = small.to_owned();
        written.checks = vec!["sh tests/run.sh".to_owned()];
        written.environment = Default::default();
        proposal.file.repo.insert(SMALL_REPO.to_owned(), written);
    }
    let tiny = Limits { memory_mib: 192, processes: 256, disk_mib: 32, files: 5000 };
    let mut hostile = agent("draft", &[PROBER, "try", "all"], tiny);
    // A way out that may be used for one thing is what an attacker would use for another.
    hostile.reach = vec!["cargo:read".to_owned()];
    proposal.file.agent.insert(HOSTILE.to_owned(), hostile);
    for sabotage in sabotage::ALL {
        let saboteur = agent("propose", &["/bin/sh", "-c", sabotage.script], Limits::default());
        proposal.file.agent.insert(sabotage.agent.to_owned(), saboteur);
    }
    for (host, port) in stage.ports() {
        let allow = vec![std::net::Ipv4Addr::LOCALHOST.into()];
        proposal.file.danger.addresses.insert(host.to_owned(), AddressesFile { allow, plain_port: Some(port) });
    }
    let model = ModelFile {
        upstream: format!("https://{}", turncoat::MODEL_HOST),
        hosting: None,
        api_version: None,
        called: Default::default(),
        protocols: vec!["anthropic-messages".to_owned()],
        credential: None,
        price: vec![ModelPrice {
            of: "scripted".to_owned(),
            since: None,
            input: 1.0,
            cached: None,
            cache_write: None,
            output: 1.0,
        }],
        egress: Vec::new(),
        patience: None,
    };
    proposal.file.model.insert(MODEL.to_owned(), model);
    proposal.file.agent.insert(turncoat::AGENT.to_owned(), obedient());
    proposal.file.to_text().map_err(|error| CliError::caused(Kind::Internal, &error))
}

/// Whatever an agent may be given, so that the model has something to abuse.
fn obedient() -> AgentFile {
    let mut obedient = agent("propose", &[OBEDIENT], Limits::default());
    obedient.may.extend(["push", "delegate"].map(str::to_owned));
    obedient.reach = vec![format!("POST https://{}/", turncoat::API_HOST)];
    obedient.may_ask = vec![format!("POST https://{REGISTRY_HOST}/")];
    obedient.model = Some(MODEL.to_owned());
    obedient.children = vec![turncoat::AGENT.to_owned()];
    obedient.budget = Budget { millionths: 1_000_000, unit: "USD".to_owned() };
    obedient
}

fn agent(trust: &str, command: &[&str], limits: Limits) -> AgentFile {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    AgentFile {
        runtime: "command".to_owned(),
        command: words(command),
        env: std::collections::BTreeMap::new(),
        acp: None,
        owner: "you@example.test".to_owned(),
        purpose: "do harm, so that you can watch it fail".to_owned(),
        escalate: "you@example.test".to_owned(),
        trust: trust.to_owned(),
        may: words(&["read", "write", "open-pr"]),
        reach: Vec::new(),
        may_ask: Vec::new(),
        model: None,
        mcp: Vec::new(),
        credentials: Vec::new(),
        audiences: Vec::new(),
        budget: crate::config::Budget::default(),
        children: Vec::new(),
        hooks: true,
        attempt_at_most: Some("5m".to_owned()),
        autonomy: None,
        recertify: None,
        minimum_release_age_days: 7,
        effects: EffectsFile::default(),
        limits,
    }
}

fn commit(repo: &Path, message: &str) -> Result<(), CliError> {
    let steps = [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all", "--force"],
        &["commit", "--quiet", "-m", message],
    ];
    steps.iter().try_for_each(|arguments| git(repo, arguments))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, text)
}

fn git(dir: &Path, arguments: &[&str]) -> Result<(), CliError> {
    let identity = ["-c", "user.name=Demo", "-c", "user.email=demo@example.test", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").arg("-C").arg(dir).args(identity).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(CliError::new(Kind::Git, String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => {
            Err(CliError::new(Kind::Git, format!("cannot run git: {error}")).hint("install git 2.40 or newer"))
        }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scratch_directories_whose_process_is_gone_are_removed() {
        let temporary = tempfile::tempdir().unwrap();
        // No process has the largest number there can be.
        let gone = u32::MAX;
        let held = format!("{SCRATCH}{}", gone - 1);
        let stale = format!("{SCRATCH}{gone}");
        let own = format!("{SCRATCH}{}", std::process::id());
        let kept = [held.as_str(), &own, "selvedge-demo-4294967295", "selvedge-demo-scratch-mine", "other"];
        for name in kept.iter().chain([&stale.as_str()]) {
            std::fs::create_dir_all(temporary.path().join(name).join("state")).unwrap();
        }
        let lock = State::locate(Some(&temporary.path().join(&held).join("state"))).unwrap().lock().unwrap();
        std::os::unix::fs::symlink(
            temporary.path().join("other"),
            temporary.path().join(format!("{SCRATCH}4294967293")),
        )
        .unwrap();
        remove_stale(temporary.path());
        assert!(!temporary.path().join(&stale).exists());
        for name in kept {
            assert!(temporary.path().join(name).exists(), "{name}");
        }
        drop(lock);
        remove_stale(temporary.path());
        assert!(!temporary.path().join(&held).exists());
    }
}
