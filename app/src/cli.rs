//! The command line: what can be said, and where each command lives. One file per group of commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::errors::{CliError, Kind};
use crate::output::{Output, Stream};

mod agents;
mod audit;
mod callback;
mod create_app;
mod credentials;
mod doctor;
mod identities;
mod identity;
mod init;
mod inspect;
mod local;
mod people;
mod tools;
mod work;

pub(crate) use init::Place;
pub(crate) use inspect::card;
pub(crate) use local::complete;

/// An autonomous code factory whose every act is decided, narrow, short-lived and provable.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, max_term_width = 110, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit statuses of the factory's own are 100 to 119; `selvedge exit-codes` lists them.";

/// Options every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The state directory; else SELVEDGE_STATE, else `~/.local/state/selvedge`.
    // Not read by clap, which would not tell the demonstration whether it was named for this command or for all.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// One JSON document, or one line per event where the command follows.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch one governed run end to end, then a hostile one: needs no account, key or network.
    Demo(local::Demo),
    /// Set a repository up, or add it to a factory: configuration and a bare clone, all in the state directory.
    Init(init::Init),
    /// Say what this machine can fence, layer by layer, and what to do about what is missing; or try a credential for real.
    Doctor(doctor::Doctor),
    /// Give an agent a task, or run any program as an ad-hoc governed worker.
    Run(work::Run),
    /// Look for vulnerable dependencies and remediate them.
    Scan(work::Scan),
    /// Keep the factory running: schedule, queue and control socket.
    Serve,
    /// List runs.
    Ps(inspect::Ps),
    /// Reconstruct a run: trigger, decisions, acts and results, each with its actor and owner.
    Show(inspect::Show),
    /// Print what a run changed, proposed or not: what a person says yes or no to.
    Diff(inspect::Diff),
    /// Print what a run's programs wrote: the agent, the set-up, the checks.
    Output(inspect::Wrote),
    /// Follow the log as it grows.
    Watch(inspect::Watch),
    /// List proposals.
    Proposals(inspect::Proposals),
    /// Merge a proposal into the factory's bare clone.
    Merge(people::Merge),
    /// List what waits for a person.
    Approvals,
    /// Say yes to exactly one order.
    Approve(people::Approve),
    /// Say no.
    Deny(people::Deny),
    /// Answer a question of an agent's, in words.
    Answer(people::Answer),
    /// Stop everything, or `agent X`, `repo Y`, `run Z`.
    Halt(people::Scope),
    /// Lift a halt.
    Resume(people::Scope),
    /// Revoke every credential of a run and end it.
    Revoke(people::Revoke),
    /// Show an agent's authority card: what it can do, what it can reach, what dies at the end.
    Can(inspect::Can),
    /// List agents and what they run as, or install a coding agent.
    Agents(agents::Agents),
    /// List tool servers, what was taken on of each, and what runs saw of them that was not.
    Tools(tools::Tools),
    /// List the credentials doors use for agents, store or remove their keys, or withdraw one from live runs.
    #[command(subcommand)]
    Credentials(credentials::Credentials),
    /// List standing identities and secrets: owner, age, last use, what each was granted and used, and what is live.
    Identities(identities::Identities),
    /// Check or explain the policies in force.
    #[command(subcommand)]
    Policy(inspect::Policy),
    /// Show, verify or export the log.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Print what relying parties need to verify the identities of runs.
    #[command(subcommand)]
    Identity(identity::Identity),
    /// Refresh the advisories from their remote.
    #[command(subcommand)]
    Advisories(local::Advisories),
    /// Print the JSON Schema of `selvedge.toml`.
    Schema,
    /// Print shell completions.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// List the exit statuses.
    ExitCodes,
}

/// Parses, runs, and turns what happened into an exit status.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut output = Output::new(cli.common.json);
    match close_own_memory().and_then(|()| run(&cli, &mut output)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind as u8)
        }
    }
}

/// Whoever becomes the keeper holds the master key and, for moments, keys that it lends; whoever stores a key has read it. None of
/// them leaves a core, nor shows its memory to another process of its user. What it starts has a memory of its own and no core either.
///
/// One byte, not none: of the two only that keeps a crash from being piped to a program of the host (core(5)), here and in the
/// sandboxes, which cannot raise what they inherit.
fn close_own_memory() -> Result<(), CliError> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| CliError::caused(Kind::Internal, &error))
}

/// Help and version are answers; anything else clap says is a usage error of ours, with our status.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _broken_pipe = error.print();
        return ExitCode::SUCCESS;
    }
    let words = std::env::args_os().skip(1).take_while(|word| word != "--");
    if words.into_iter().any(|word| word == "--json") {
        Output::new(true).error(&misspoken(error));
    } else {
        let _broken_pipe = error.print();
    }
    ExitCode::from(Kind::Usage as u8)
}

/// What clap says, as an error of ours: its first paragraph is the message, every other one a hint.
fn misspoken(error: &clap::Error) -> CliError {
    let said = error.render().to_string();
    let one_line = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = said.split("\n\n").map(one_line).filter(|paragraph| !paragraph.is_empty());
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    paragraphs.fold(CliError::new(Kind::Usage, message), CliError::hint)
}

fn run(cli: &Cli, output: &mut Output) -> Result<u8, CliError> {
    let common = &cli.common;
    match &cli.command {
        Command::Demo(demo) => demo.run(common, output),
        Command::Init(init) => init.run(common, output),
        Command::Doctor(doctor) => doctor.run(common, output),
        Command::Run(run) => run.run(common, output),
        Command::Scan(scan) => scan.run(common, output),
        Command::Serve => work::serve_command(common, output),
        Command::Ps(ps) => ps.run(common, output),
        Command::Show(show) => show.run(common, output),
        Command::Diff(diff) => diff.run(common, output),
        Command::Output(wrote) => wrote.run(common, output),
        Command::Watch(watch) => watch.run(common, output),
        Command::Proposals(proposals) => proposals.run(common, output),
        Command::Merge(merge) => merge.run(common, output),
        Command::Approvals => people::approvals(common, output),
        Command::Approve(approve) => approve.run(common, output),
        Command::Deny(deny) => deny.run(common, output),
        Command::Answer(answer) => answer.run(common, output),
        Command::Halt(scope) => scope.halt(common, output),
        Command::Resume(scope) => scope.resume(common, output),
        Command::Revoke(revoke) => revoke.run(common, output),
        Command::Can(can) => can.run(common, output),
        Command::Agents(agents) => agents.run(common, output),
        Command::Tools(tools) => tools.run(common, output),
        Command::Credentials(credentials) => credentials.run(common, output),
        Command::Identities(identities) => identities.run(common, output),
        Command::Policy(policy) => policy.run(common, output),
        Command::Audit(audit) => audit.run(common, output),
        Command::Identity(identity) => identity.run(common, output),
        Command::Advisories(advisories) => advisories.run(common, output),
        Command::Schema => local::schema(output),
        Command::Completions { shell } => {
            // Collected first: the generator takes a reader that went away for a fault.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "selvedge", &mut script);
            output.program(&script, Stream::Out);
            Ok(0)
        }
        Command::ExitCodes => local::exit_codes(output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_leaves_no_core_and_shows_nobody_its_memory_c5() {
        let closed = || {
            let limit = rustix::process::getrlimit(Resource::Core);
            (limit.current, limit.maximum, rustix::process::dumpable_behavior().unwrap())
        };
        assert_eq!(closed().2, DumpableBehavior::Dumpable);
        close_own_memory().unwrap();
        assert_eq!(closed(), (Some(1), Some(1), DumpableBehavior::NotDumpable));
    }
}
