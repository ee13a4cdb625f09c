//! `demo`: a scratch factory, one governed run to a proposal, then a hostile worker that gets nowhere. Needs no account, no
//! key and no network: the registry is a directory served through the door.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::errors::{CliError, Kind};
use crate::keeper::{self, Keeper, Reply, Request, RunRequest};
use crate::output::Output;

mod attacks;
mod dry;
mod sabotage;
mod scratch;
mod server;
mod turncoat;

pub(crate) use dry::dry_run;

/// What the program of the hostile worker is called inside.
pub(crate) const PROBER: &str = "/opt/selvedge/selvedge-prober";

/// What the program of the agent that obeys a hostile model is called inside.
pub(crate) const OBEDIENT: &str = "/opt/selvedge/selvedge-obedient";

/// The agents of the demonstration.
pub(super) const REMEDIATE: &str = "remediate";

/// Runs the demonstration.
pub(crate) fn run(state: Option<&Path>, keep: bool, output: &mut Output) -> Result<u8, CliError> {
    let scratch = scratch::Scratch::new(state, keep)?;
    output.heading("Selvedge: one governed run, then a hostile one");
    output.line(format!("scratch factory in {}", scratch.state().root().display()));
    std::fs::create_dir_all(scratch.state().root()).map_err(|error| scratch.state().unusable(&error))?;
    crate::cli::complete(&crate::wiring::probe(scratch.state())?)?;
    let server = server::serve(scratch::data("registry")?, scratch::REGISTRY_HOST)?;
    let stage = turncoat::Stage::set()?;
    scratch.set_up(server.port(), &stage)?;
    let state = scratch.state();
    let Some(lock) = state.lock()? else {
        return Err(CliError::new(Kind::State, "the scratch factory is in use").hint("name another `--state DIR`"));
    };
    let keeper = Arc::new(Keeper::open(state.clone(), lock, crate::wiring::Purpose::Work)?);
    let told = tell(&keeper, &scratch, &stage, output);
    keeper.close();
    summary(&told?, &scratch, keep, output);
    Ok(0)
}

/// What the story came to.
struct Told {
    proposal: u64,
    attacks: Attacks,
    entries: u64,
}

/// How the attacks ended; all of them were refused inside.
#[derive(Clone, Copy)]
struct Attacks {
    /// Succeeded without the fence, so the fence alone made the difference.
    shown: usize,
    /// Could not be shown to succeed on this machine.
    not_shown: usize,
}

/// What was seen, and how to look further.
fn summary(told: &Told, scratch: &scratch::Scratch, keep: bool, output: &Output) {
    let (state, anchor) = (scratch.state().root(), scratch.root().join("anchor"));
    output.heading("summary");
    output.line(format!("  proposal {}, verified in a clean room", told.proposal));
    let Attacks { shown, not_shown } = told.attacks;
    output.line(format!("  {shown} attacks succeeded without the fence, and every one of them was refused inside"));
    if not_shown > 0 {
        output.line(format!(
            "  {not_shown} could not be shown to succeed without it here (the rows without `succeeded`); they were refused \
             inside as well"
        ));
    }
    if keep {
        output.line("  look further:");
        output.line(format!("    export SELVEDGE_STATE='{}' SELVEDGE_ANCHOR='{}'", state.display(), anchor.display()));
        output.line("    selvedge ps --all; then `selvedge show RUN`, `selvedge proposals`, `selvedge audit show`");
        output.line(format!("    selvedge merge {} --repo {}", told.proposal, scratch::REPO));
    } else {
        output.line("  this factory is removed now; `selvedge demo --keep` keeps it to look further and to merge");
    }
    let kept = keep.then(|| serde_json::json!({ "state": state, "anchor": anchor }));
    output.document(&serde_json::json!({
        "proposal": told.proposal, "attacks_refused": shown, "attacks_not_shown": not_shown, "entries": told.entries,
        "kept": kept,
    }));
}

/// The story: remediation, attacks, authority cards, the log.
fn tell(
    keeper: &Arc<Keeper>,
    scratch: &scratch::Scratch,
    stage: &turncoat::Stage,
    output: &Output,
) -> Result<Told, CliError> {
    output.heading("1. a vulnerable dependency is found, fixed, verified and proposed");
    let scan = RunRequest {
        agent: String::new(),
        pipeline: None,
        repo: Some(scratch::REPO.to_owned()),
        text: "remediate the first vulnerable dependency".to_owned(),
        argv: Vec::new(),
        scan: true,
        advisories: Some(scratch::data("advisories")?),
        wait: true,
    };
    let scanned = ask(keeper, &Request::Run(scan), output)?;
    let run = first_run(&scanned);
    show_decisions(keeper, &run, output)?;
    let proposal = proposal(keeper, &scanned, output)?;
    output.heading(
        "2. a hostile worker, and a hostile model, try what must not succeed: first without the fence, then inside",
    );
    let attacks = hostilities(keeper, scratch, stage, output)?;
    output.heading("3. what could they do, what could they reach, what died at the end");
    for agent in [REMEDIATE, scratch::HOSTILE, turncoat::AGENT] {
        crate::cli::card(output, &ask(keeper, &Request::Can { agent: agent.to_owned() }, output)?);
    }
    output.heading("4. the log verifies");
    let verified = ask(keeper, &Request::Verify { against: None }, output)?;
    let entries = verified.get("entries").and_then(Value::as_u64).unwrap_or(0);
    output.line(format!("  {entries} entries, head {}", verified.get("head").and_then(Value::as_str).unwrap_or("-")));
    Ok(Told { proposal, attacks, entries })
}

/// Every attack, outside and inside. One that gets through is an error.
fn hostilities(
    keeper: &Arc<Keeper>,
    scratch: &scratch::Scratch,
    stage: &turncoat::Stage,
    output: &Output,
) -> Result<Attacks, CliError> {
    output.line(format!("  {:<6} {:<62} {:<10} {}", "row", "what is tried", "without", "inside"));
    let mut tried = attacks::run(keeper, output)?;
    tried.iter().for_each(|tried| tried.show(output));
    let loop_attacks = sabotage::run(keeper, scratch.root(), output)?;
    loop_attacks.iter().for_each(|tried| tried.show(output));
    tried.extend(loop_attacks);
    let turned = stage.play(keeper, scratch.root(), output)?;
    turned.iter().for_each(|tried| tried.show(output));
    tried.extend(turned);
    let through: Vec<&str> = tried.iter().filter(|tried| !tried.refused()).map(|tried| tried.id.as_str()).collect();
    if through.is_empty() {
        let shown = tried.iter().filter(|tried| tried.proved()).count();
        return Ok(Attacks { shown, not_shown: tried.len() - shown });
    }
    Err(CliError::new(Kind::Breached, format!("not refused inside: {}", through.join(", ")))
        .hint("do not run agents here; `selvedge doctor` says what is missing"))
}

/// Asks the keeper and shows what it says on the way.
fn ask(keeper: &Arc<Keeper>, request: &Request, output: &Output) -> Result<Value, CliError> {
    let mut last = String::new();
    keeper::ask_here(keeper, request, &mut |reply| match reply {
        // A run that has ended and one that has settled look the same here: said once is enough.
        Reply::Progress { text } if *text != last => {
            output.line(format!("  {text}"));
            last.clone_from(text);
        }
        _ => {}
    })
}

fn first_run(result: &Value) -> String {
    let runs = result.get("runs").and_then(Value::as_array);
    runs.and_then(|runs| runs.first()?.get("run")?.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Every decision of a run, and what was done: requests at doors are counted, not listed.
fn show_decisions(keeper: &Arc<Keeper>, run: &str, output: &Output) -> Result<(), CliError> {
    let shown = ask(keeper, &Request::Show { run: run.to_owned() }, output)?;
    let mut requests = 0;
    for entry in shown.get("entries").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
        match text("kind") {
            "decided" | "done" if text("summary").starts_with("http.request") => requests += 1,
            "decided" | "done" | "happened" => output.line(format!("  {:<10} {}", text("kind"), text("summary"))),
            _ => {}
        }
    }
    output.line(format!("  and {} requests to the registry, each decided and recorded", requests / 2));
    Ok(())
}

fn proposal(keeper: &Arc<Keeper>, scanned: &Value, output: &Output) -> Result<u64, CliError> {
    let proposals = ask(keeper, &Request::Proposals, output)?;
    let first = proposals.get("proposals").and_then(Value::as_array).and_then(|all| all.first());
    let number = first.and_then(|proposal| proposal.get("number")?.as_u64());
    let Some((first, number)) = first.zip(number) else {
        let run = scanned.get("runs").and_then(Value::as_array).and_then(|runs| runs.first());
        let because = run.and_then(|run| run.get("because")?.as_str()).unwrap_or("nothing says why");
        return Err(CliError::new(Kind::Failed, format!("the run did not end in a proposal: {because}"))
            .hint("`selvedge doctor` checks the sandbox, `selvedge demo --keep` keeps the factory to look around in"));
    };
    let body = first.get("body").and_then(Value::as_str).unwrap_or("");
    output.line(format!("  proposal #{number}: {}", first.get("title").and_then(Value::as_str).unwrap_or("-")));
    body.lines().for_each(|line| output.line(format!("    | {line}")));
    Ok(number)
}
