//! `init`: proposes a configuration for a repository, explains it, and writes it into the state directory. The repository
//! itself only gains a remote.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use selvedge_domain::RepoName;

use super::Common;
use crate::config::{Config, ConfigError, Proposal, discover, propose};
use crate::errors::{CliError, Kind};
use crate::keeper::State;
use crate::output::Output;
use crate::wiring;

/// Set a repository up.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Take what is proposed without asking.
    #[arg(long)]
    yes: bool,
    /// The repository.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// What to call it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Who answers for the agents; taken from git's `user.email` when absent.
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
}

impl Init {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let state = State::locate(common.state.as_deref())?;
        let place = Place::find(&self.path, self.name.as_deref())?;
        if state.config().exists() {
            return Err(CliError::new(Kind::Config, format!("`{}` is set up already", state.root().display()))
                .hint(format!("edit `{}` to add a repository or an agent", state.config().display()))
                .hint("or name another `--state DIR`"));
        }
        let owner = self.owner.clone().unwrap_or_else(|| place.email());
        let proposal = propose(place.name.as_str(), &place.root, &place.branch, &owner, &discover());
        let text = proposal.file.to_text().map_err(|error| CliError::caused(Kind::Internal, &error))?;
        // What we propose must load, or we must not propose it.
        Config::parse("selvedge.toml", &text).map_err(|error: ConfigError| CliError::from(error))?;
        show(output, &proposal, &text);
        if !self.yes && !confirmed(output)? {
            output.line("nothing was written");
            return Ok(0);
        }
        set_up(&state, &place, &text)?;
        output.document(&serde_json::json!({
            "state": state.root(), "repo": place.name.as_str(), "branch": place.branch, "config": state.config(),
        }));
        output.line(format!("set up {} in {}", place.name, state.root().display()));
        output.line("next: `selvedge doctor`, then `selvedge scan --advisories DIR --wait`");
        Ok(0)
    }
}

/// The repository `init` was pointed at.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) name: RepoName,
    pub(crate) branch: String,
}

impl Place {
    pub(crate) fn find(path: &Path, name: Option<&str>) -> Result<Self, CliError> {
        let root = git(path, &["rev-parse", "--show-toplevel"]).ok_or_else(|| {
            match Command::new("git").arg("--version").output() {
                Err(error) => {
                    CliError::new(Kind::Git, format!("cannot run git: {error}")).hint("install git 2.40 or newer")
                }
                Ok(_) => CliError::new(Kind::Git, format!("`{}` is not in a git repository", path.display()))
                    .hint("run `git init` and commit, or go to a repository"),
            }
        })?;
        let root = PathBuf::from(root);
        let branch = git(&root, &["symbolic-ref", "--short", "HEAD"]).ok_or_else(|| {
            CliError::new(Kind::Git, "HEAD is not on a branch").hint("check a branch out: proposals are meant for one")
        })?;
        if git(&root, &["rev-parse", "--verify", "--quiet", "HEAD"]).is_none() {
            return Err(CliError::new(Kind::Git, "the repository has no commit").hint("commit something first"));
        }
        let derived = root.file_name().map(|name| slug(&name.to_string_lossy())).unwrap_or_default();
        let name = RepoName::parse(name.unwrap_or(&derived))
            .map_err(|error| CliError::caused(Kind::Usage, &error).hint("name it with `--name`"))?;
        Ok(Self { root, name, branch })
    }

    pub(crate) fn email(&self) -> String {
        git(&self.root, &["config", "user.email"])
            .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
    }
}

fn slug(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let mapped: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    mapped.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// The operator's own git, asked about a repository that may come from anywhere: it runs no hook and no watcher, and fetches
/// nothing that is missing.
fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C"]).arg(dir).args(arguments);
    command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn show(output: &Output, proposal: &Proposal, text: &str) {
    output.heading("proposed configuration");
    output.line(text);
    for because in &proposal.because {
        output.line(format!("note: {because}"));
    }
}

fn confirmed(output: &Output) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(
            CliError::new(Kind::Usage, "nobody is there to agree").hint("read the proposal above, then add `--yes`")
        );
    }
    output.progress("write this? [y/N]");
    let _flushed = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| CliError::caused(Kind::Usage, &error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn set_up(state: &State, place: &Place, text: &str) -> Result<(), CliError> {
    state.create()?;
    let unusable = |error: &std::io::Error| state.unusable(error);
    let forge = wiring::forge(state)?;
    let bare = wiring::import(&forge, &place.root, &place.name)?;
    std::fs::create_dir_all(state.at("policies")).map_err(|error| unusable(&error))?;
    for (name, policy) in selvedge_policy::default_sources() {
        std::fs::write(state.at("policies").join(name), policy).map_err(|error| unusable(&error))?;
    }
    // Written last: a configuration is what makes a state directory a factory.
    std::fs::write(state.config(), text).map_err(|error| unusable(&error))?;
    if git(&place.root, &["remote", "get-url", "selvedge"]).is_none() {
        let added = git(&place.root, &["remote", "add", "selvedge", &bare.to_string_lossy()]);
        added.ok_or_else(|| CliError::new(Kind::Git, "cannot add the remote `selvedge`"))?;
    }
    Ok(())
}
