//! The hostile worker: every attack is first shown to succeed without the fence, in namespaces made for it and thrown away,
//! then tried as a governed run.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use selvedge_prober::Line;

use super::{PROBER, ask, first_run, scratch};
use crate::errors::{CliError, Kind};
use crate::keeper::{Keeper, Request, RunRequest};
use crate::output::Output;
use crate::wiring::Reel;

/// Tries them all; the answer is how many succeeded outside and were refused inside. An attack that gets through is an
/// error.
pub(super) fn run(keeper: &Arc<Keeper>, output: &Output) -> Result<usize, CliError> {
    let outside = outside()?;
    let inside = inside(keeper, output)?;
    let mut proved = 0;
    let mut through = Vec::new();
    for attack in selvedge_prober::attacks() {
        let without = outside.get(attack.id);
        let within = inside.get(attack.id);
        let word = |line: Option<&Line>| line.map_or("untestable", |line| line.outcome.as_str()).to_owned();
        match (word(without).as_str(), word(within).as_str()) {
            ("succeeded", "refused") => proved += 1,
            (_, "refused") => {}
            (_, _) => through.push(attack.id),
        }
        output.line(format!("  {:<6} {:<58} {:<10} {}", attack.id, attack.title, word(without), word(within)));
    }
    if through.is_empty() {
        return Ok(proved);
    }
    Err(CliError::new(Kind::Breached, format!("not refused inside: {}", through.join(", ")))
        .hint("do not run agents here; `selvedge doctor` says what is missing"))
}

/// Without the fence: the prober makes its own arena.
fn outside() -> Result<BTreeMap<String, Line>, CliError> {
    let own = std::env::current_exe().map_err(|error| CliError::caused(Kind::Internal, &error))?;
    let mut command = Command::new(own);
    command.arg0(selvedge_prober::NAME).args(["arena", "all"]);
    let output = command.output().map_err(|error| CliError::caused(Kind::Internal, &error))?;
    Ok(lines(&output.stdout))
}

/// Inside: an ad-hoc governed run.
fn inside(keeper: &Arc<Keeper>, output: &Output) -> Result<BTreeMap<String, Line>, CliError> {
    let request = RunRequest {
        agent: String::new(),
        repo: Some(scratch::REPO.to_owned()),
        text: String::new(),
        argv: [PROBER, "try", "all"].map(str::to_owned).to_vec(),
        scan: false,
        advisories: None,
        wait: true,
    };
    let result = ask(keeper, &Request::Run(request), output)?;
    let run = first_run(&result);
    let run = selvedge_domain::RunId::parse(&run).map_err(|error| CliError::caused(Kind::Failed, &error))?;
    let written: Vec<u8> = Reel::new(keeper.tape_path(&run))
        .next()
        .into_iter()
        .filter(|(stderr, _)| !stderr)
        .flat_map(|(_, bytes)| bytes)
        .collect();
    Ok(lines(&written))
}

fn lines(output: &[u8]) -> BTreeMap<String, Line> {
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(Line::parse).map(|line| (line.id.clone(), line)).collect()
}
