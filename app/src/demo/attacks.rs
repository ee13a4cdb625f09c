//! Attacks from inside the sandbox: each is first shown to succeed without the fence, in namespaces made for it and thrown
//! away, then tried as a governed run.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use selvedge_prober::Line;

use super::{ask, first_run, scratch};
use crate::errors::{CliError, Kind};
use crate::keeper::{Keeper, Request, RunRequest};
use crate::output::Output;
use crate::wiring::Reel;

/// What trying the same thing outside and inside came to.
pub(super) struct Tried {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) outside: String,
    pub(super) inside: String,
}

impl Tried {
    /// Whether the fence made the difference.
    pub(super) fn proved(&self) -> bool {
        self.outside == "succeeded" && self.inside == "refused"
    }

    /// Whether it was refused inside; nothing else will do.
    pub(super) fn refused(&self) -> bool {
        self.inside == "refused"
    }

    /// One line of the table.
    pub(super) fn show(&self, output: &Output) {
        output.line(format!("  {:<6} {:<62} {:<10} {}", self.id, self.title, self.outside, self.inside));
    }
}

/// Every attack the prober knows.
pub(super) fn run(keeper: &Arc<Keeper>, output: &Output) -> Result<Vec<Tried>, CliError> {
    let outside = outside()?;
    let inside = inside(keeper, output)?;
    let word =
        |lines: &BTreeMap<String, Line>, id: &str| lines.get(id).map_or("untestable", |line| &line.outcome).to_owned();
    let tried = selvedge_prober::attacks().into_iter().map(|attack| Tried {
        id: attack.id.to_owned(),
        title: attack.title.to_owned(),
        outside: word(&outside, attack.id),
        inside: word(&inside, attack.id),
    });
    Ok(tried.collect())
}

/// Without the fence: the prober makes its own arena.
fn outside() -> Result<BTreeMap<String, Line>, CliError> {
    let own = std::env::current_exe().map_err(|error| CliError::caused(Kind::Internal, &error))?;
    let mut command = Command::new(own);
    command.arg0(selvedge_prober::NAME).args(["arena", "all"]);
    let output =
        command.output().map_err(|error| CliError::new(Kind::Internal, format!("cannot run the prober: {error}")))?;
    Ok(lines(&output.stdout))
}

/// Inside: a governed run of the hostile agent.
fn inside(keeper: &Arc<Keeper>, output: &Output) -> Result<BTreeMap<String, Line>, CliError> {
    let request = RunRequest {
        agent: scratch::HOSTILE.to_owned(),
        pipeline: None,
        repo: Some(scratch::SMALL_REPO.to_owned()),
        text: "try everything".to_owned(),
        argv: Vec::new(),
        scan: false,
        advisories: None,
        wait: true,
    };
    let result = ask(keeper, &Request::Run(request), output)?;
    let run =
        selvedge_domain::RunId::parse(&first_run(&result)).map_err(|error| CliError::caused(Kind::Failed, &error))?;
    let frames = Reel::new(keeper.tape_path(&run)).next().into_iter();
    let written: Vec<u8> = frames.filter(|(stderr, _)| !stderr).flat_map(|(_, bytes)| bytes).collect();
    Ok(lines(&written))
}

fn lines(output: &[u8]) -> BTreeMap<String, Line> {
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(Line::parse).map(|line| (line.id.clone(), line)).collect()
}
