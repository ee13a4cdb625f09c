//! `init`: proposes a configuration for a repository, explains it, and writes it into the state directory, or adds the
//! repository to what is configured there. The repository itself only gains a remote.

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

/// Set a repository up, or add one more to a factory.
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
        let owner = self.owner.clone().unwrap_or_else(|| place.email());
        let existing = state.config().exists().then(|| Config::load(&state.config(), wiring::now())).transpose()?;
        let proposal = propose(place.name.as_str(), &place.root, &place.branch, &owner, &discover());
        match existing {
            Some(existing) => self.add(&state, &place, &existing, proposal, output),
            None => self.begin(&state, &place, &proposal, output),
        }
    }

    /// The first repository of a state directory.
    fn begin(&self, state: &State, place: &Place, proposal: &Proposal, output: &Output) -> Result<u8, CliError> {
        let text = proposal.file.to_text().map_err(|error| CliError::caused(Kind::Internal, &error))?;
        // What we propose must load, or we must not propose it.
        Config::parse("selvedge.toml", &text).map_err(|error: ConfigError| CliError::from(error))?;
        let title = format!("proposed configuration, to be written to {}", state.config().display());
        show(output, &title, proposal, &text);
        if !self.yes && !confirmed(output)? {
            output.line("nothing was written");
            return Ok(0);
        }
        let bare = set_up(state, place, &text)?;
        ready(state, place, &bare, proposal, output)
    }

    /// One more repository: what its operator wrote stays as it is, and what is missing is written behind it.
    fn add(
        &self,
        state: &State,
        place: &Place,
        existing: &Config,
        proposal: Proposal,
        output: &Output,
    ) -> Result<u8, CliError> {
        refuse_known(state, place, existing)?;
        let proposal = proposal.beside(existing);
        let text = proposal.tables().map_err(|error| CliError::caused(Kind::Internal, &error))?;
        appended(state, &text)?;
        let title = format!("proposed addition, to be written at the end of {}", state.config().display());
        show(output, &title, &proposal, &text);
        if !self.yes && !confirmed(output)? {
            output.line("nothing was written");
            return Ok(0);
        }
        // Taking a repository in clears what a crash may have left beside the others: nobody may be at work there.
        let Some(_lock) = state.lock()? else {
            return Err(CliError::new(Kind::State, format!("another process keeps `{}`", state.root().display()))
                .hint("end `selvedge serve` or wait for the other command, run this again, then start `serve` again"));
        };
        let bare = wiring::import(&wiring::forge(state)?, &place.root, &place.name)?;
        append(state, &appended(state, &text)?).map_err(|error| state.unusable(&error))?;
        ready(state, place, &bare, &proposal, output)
    }
}

/// A repository is added once, under a name of its own.
fn refuse_known(state: &State, place: &Place, existing: &Config) -> Result<(), CliError> {
    if let Some((name, _)) = existing.repos.iter().find(|(_, repo)| repo.source == place.root) {
        return Err(CliError::new(
            Kind::Config,
            format!("`{}` is set up already in `{}`, as `{name}`", place.root.display(), state.root().display()),
        )
        .hint(format!("edit `{}` to change it or to add an agent", state.config().display()))
        .hint("`selvedge init` in another repository adds that one; `--state DIR` names another factory"));
    }
    if let Some(other) = existing.repos.get(&place.name) {
        return Err(CliError::new(
            Kind::Config,
            format!("`{}` is the name of `{}` already", place.name, other.source.display()),
        )
        .hint("give this one another with `--name NAME`"));
    }
    Ok(())
}

/// What to write behind the configuration for it to say `text` as well; together they load.
fn appended(state: &State, text: &str) -> Result<String, CliError> {
    let path = state.config();
    let written = std::fs::read_to_string(&path).map_err(|error| state.unusable(&error))?;
    let gap = if written.ends_with('\n') { "\n" } else { "\n\n" };
    let more = format!("{gap}{text}");
    Config::parse(&path.to_string_lossy(), &format!("{written}{more}"))
        .map_err(|error| CliError::from(error).hint("nothing was written; add the repository's table by hand"))?;
    Ok(more)
}

/// Writes at the end of the configuration, all of it or nothing.
fn append(state: &State, more: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().append(true).open(state.config())?;
    let length = file.metadata()?.len();
    let written = file.write_all(more.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        file.set_len(length)?;
    }
    written
}

/// Joins the repository to the factory by a remote, and says what comes next.
fn ready(state: &State, place: &Place, bare: &Path, proposal: &Proposal, output: &Output) -> Result<u8, CliError> {
    let remote = join(place, bare)?;
    output.document(&serde_json::json!({
        "state": state.root(), "repo": place.name.as_str(), "branch": place.branch, "config": state.config(),
        "bare_clone": bare, "remote": remote,
    }));
    output.line(format!("set up {} in {}", place.name, state.root().display()));
    if Path::new(&remote) != bare {
        output.line(format!(
            "note: the remote `selvedge` points at `{remote}` and was left so; proposals are in the clone:"
        ));
        output.line(format!("  `git remote set-url selvedge {}`, or `git fetch` from that path", bare.display()));
    }
    let cargo = proposal.file.repo.values().any(|repo| !repo.checks.is_empty());
    output.line(if cargo {
        format!("next: `selvedge doctor`, then `selvedge scan --repo {} --advisories DIR --wait`", place.name)
    } else {
        format!(
            "next: `selvedge doctor`, then `selvedge run --command --repo {} --wait -- PROGRAM`; to let a program propose, set \
             `checks` and register it as an agent in {}",
            place.name,
            state.config().display()
        )
    });
    Ok(0)
}

/// Adds the remote `selvedge`, unless there is one; says where it points.
fn join(place: &Place, bare: &Path) -> Result<String, CliError> {
    if let Some(there) = git(&place.root, &["remote", "get-url", "selvedge"]) {
        return Ok(there);
    }
    let bare = bare.to_string_lossy();
    git(&place.root, &["remote", "add", "selvedge", &bare]).ok_or_else(|| {
        CliError::new(Kind::Git, "cannot add the remote `selvedge`")
            .hint(format!("add it yourself: `git remote add selvedge {bare}`"))
    })?;
    Ok(bare.into_owned())
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

fn show(output: &Output, title: &str, proposal: &Proposal, text: &str) {
    output.heading(title);
    output.line(text);
    output.heading("why it says so");
    for because in proposal.because() {
        output.line(format!("  {because}"));
    }
    for note in &proposal.notes {
        output.line(format!("note: {note}"));
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

/// Makes the state directory a factory; says where its bare clone is.
fn set_up(state: &State, place: &Place, text: &str) -> Result<PathBuf, CliError> {
    state.create()?;
    let unusable = |error: &std::io::Error| state.unusable(error);
    let bare = wiring::import(&wiring::forge(state)?, &place.root, &place.name)?;
    std::fs::create_dir_all(state.at("policies")).map_err(|error| unusable(&error))?;
    for (name, policy) in selvedge_policy::default_sources() {
        std::fs::write(state.at("policies").join(name), policy).map_err(|error| unusable(&error))?;
    }
    // Written last: a configuration is what makes a state directory a factory.
    std::fs::write(state.config(), text).map_err(|error| unusable(&error))?;
    Ok(bare)
}
