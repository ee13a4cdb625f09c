//! Every scenario of the crash matrix. A new one is crashed everywhere by being in this list.

use selvedge_authority::HaltScope;
use selvedge_domain::{AgentName, Digest, Duration, Lineage};

use crate::rules::Rules;
use crate::scenario::{Happening, Lending, Scenario, pipeline};

/// All of them.
pub fn all() -> Vec<Scenario> {
    [work(), pipelines(), people(), halts(), changes(), credentials(), machines()].concat()
}

const HOUR: Duration = Duration::from_seconds(3600);

fn work() -> Vec<Scenario> {
    let plain = Scenario::plain;
    vec![
        plain("a change is proposed").asks("fixer", "fix").ends(&["proposed"]),
        plain("a chain of three, one of them held")
            .asks("fixer", "one; then two; then vanish; then four")
            .ends(&["proposed", "proposed", "held", "proposed"]),
        plain("a chain ends at its limit")
            .asks("fixer", "one; then two; then three; then four; then five; then six")
            .ends(&["proposed"; 4]),
        plain("a flood of follow-ups").asks("fixer", "flood").ends(&[
            "proposed",
            "nothing_to_do",
            "nothing_to_do",
            "nothing_to_do",
        ]),
        plain("nothing to do").asks("fixer", "nothing").ends(&["nothing_to_do"]),
        plain("held because a test vanished").asks("fixer", "vanish").ends(&["held"]),
        plain("held because a check is red").asks("fixer", "red").ends(&["held"]),
        plain("held because the worker cannot").asks("fixer", "unresolved").ends(&["held"]),
        plain("held because a secret is in the change").asks("fixer", "secret").ends(&["held"]),
        plain("failed because nothing usable was left").asks("fixer", "broken").ends(&["failed"]),
        Scenario { checks: 0, ..plain("no checks is not green").asks("fixer", "fix").ends(&["held"]) },
        plain("an ad-hoc command").asks("runner", "list").ends(&["changed"]),
    ]
}

fn pipelines() -> Vec<Scenario> {
    let piped = |name, text: &str, outcomes: &[&'static str]| Scenario::plain(name).pipes(text).ends(outcomes);
    vec![
        piped("a pipeline proposes what was reviewed", "fix; then more", &["changed", "proposed"]),
        piped("nothing may follow the first stage", "fix", &["changed"]).under(Rules::open().deny("task.enqueue")),
        posing("a review by an agent that had a hand in it", |lineage, agent| lineage.agents.extend([agent])),
        posing("a stage of a pipeline that has changed", |lineage, _| {
            if let Some(part) = &mut lineage.part {
                part.definition = Digest::of_parts([b"before".as_slice()]);
            }
        }),
        piped("a pipeline is halted during its first stage", "fix", &["halted"])
            .meanwhile(&[Happening::Halt(HaltScope::All)]),
    ]
}

/// A trigger that passes for the last stage of the pipeline, and is none.
fn posing(name: &'static str, change: fn(&mut Lineage, AgentName)) -> Scenario {
    let mut asked = Scenario::plain(name).asks("runner", "fix").ends(&["refused"]);
    if let Some(trigger) = asked.triggers.last_mut() {
        trigger.lineage.part = pipeline().part(2).map(|(part, _)| Box::new(part));
        change(&mut trigger.lineage, trigger.agent.clone());
    }
    asked
}

fn people() -> Vec<Scenario> {
    let asking = |name| Scenario::plain(name).asks("fixer", "fix").under(Rules::open().ask("proposal.open"));
    vec![
        asking("an approval is granted").then(&[Happening::Restart, Happening::Grant]).ends(&["proposed"]),
        asking("an approval is denied").then(&[Happening::Restart, Happening::Deny]).ends(&["refused"]),
        asking("an approval lapses").then(&[Happening::Restart, Happening::Pass(HOUR)]).ends(&["refused"]),
        asking("an approval is granted and then nobody looks until it ran out")
            .then(&[Happening::GrantThenPass(HOUR)])
            .ends(&["refused"]),
        Scenario::plain("admission needs an approval")
            .asks("fixer", "fix")
            .under(Rules::open().ask("task.admit"))
            .then(&[Happening::Grant])
            .ends(&["proposed"]),
        Scenario::plain("starting work needs an approval")
            .asks("fixer", "fix")
            .under(Rules::open().ask("sandbox.start/work"))
            .then(&[Happening::Grant])
            .ends(&["refused"]),
        Scenario::plain("checking needs an approval")
            .asks("fixer", "fix")
            .under(Rules::open().ask("sandbox.start/check"))
            .then(&[Happening::Grant, Happening::Grant])
            .ends(&["proposed"]),
        Scenario::plain("a follow-up would need an approval")
            .asks("fixer", "fix; then more")
            .under(Rules::open().ask("task.enqueue"))
            .ends(&["proposed"]),
    ]
}

fn halts() -> Vec<Scenario> {
    let halt = Happening::Halt(HaltScope::All);
    vec![
        Scenario::plain("halted during work")
            .asks("fixer", "fix; then more")
            .meanwhile(std::slice::from_ref(&halt))
            .ends(&["halted"]),
        Scenario::plain("halted during work that fails of it before it is killed")
            .asks("fixer", "severed")
            .meanwhile(std::slice::from_ref(&halt))
            .ends(&["halted"]),
        Scenario::plain("halted while it waits")
            .asks("fixer", "fix")
            .under(Rules::open().ask("proposal.open"))
            .then(std::slice::from_ref(&halt))
            .ends(&["halted"]),
        Scenario::plain("halted before it is admitted")
            .asks("fixer", "fix")
            .asks("fixer", "nothing")
            .meanwhile(&[halt])
            .ends(&["halted", "halted"]),
    ]
}

fn changes() -> Vec<Scenario> {
    let closed = Rules::open().deny("proposal.open");
    vec![
        Scenario::plain("refused at admission")
            .asks("fixer", "fix")
            .under(Rules::open().deny("task.admit"))
            .ends(&["refused"]),
        Scenario::plain("policy changes during work")
            .asks("fixer", "fix; then more")
            .meanwhile(&[Happening::Rules(closed)])
            .ends(&["refused"]),
        Scenario::plain("no credential may be minted")
            .asks("fixer", "fix")
            .under(Rules::open().deny("credential.mint"))
            .ends(&["refused"]),
        Scenario::plain("the agent is dropped during work")
            .asks("fixer", "fix; then more")
            .meanwhile(&[Happening::DropAgents])
            .ends(&["refused"]),
        Scenario::plain("the agent is dropped while the run waits")
            .asks("fixer", "fix")
            .under(Rules::open().ask("proposal.open"))
            .then(&[Happening::DropAgents, Happening::Grant])
            .ends(&["refused"]),
        Scenario::plain("an agent nobody configured").asks("ghost", "fix").ends(&["refused"]),
    ]
}

fn credentials() -> Vec<Scenario> {
    let lending =
        |name, lending| Scenario { lending, ..Scenario::plain(name).asks("fixer", "fix").ends(&["proposed"]) };
    let waiting = lending("a credential that can only expire, and a wait", Lending::ExpiryOnly);
    let borrowing = |name| Scenario::plain(name).asks("borrower", "fix").ends(&["proposed"]);
    let renewing = |name| Scenario::plain(name).asks("borrower", "renew").ends(&["proposed"]);
    let asking = || Rules::open().ask("secret.use");
    vec![
        borrowing("three credentials"),
        renewing("credentials are renewed while the agent works"),
        Scenario { lending: Lending::StuckFor(1), ..renewing("renewed credentials are stuck and then die") },
        Scenario { lending: Lending::ExpiryOnly, ..renewing("renewed credentials can only expire") },
        Scenario { lending: Lending::StuckFor(1), ..borrowing("three leases are stuck and then die") },
        borrowing("a stored key is lent after a yes").under(asking()).then(&[Happening::Restart, Happening::Grant]),
        borrowing("a stored key is not lent after a no").under(asking()).then(&[Happening::Deny]).ends(&["refused"]),
        Scenario { attempts_lost: 1, ..borrowing("an attempt that borrowed is lost") }
            .under(asking())
            .then(&[Happening::Grant]),
        lending("a lease is stuck and then dies", Lending::StuckFor(2)),
        lending("a credential that can only expire", Lending::ExpiryOnly),
        waiting.under(Rules::open().ask("proposal.open")).then(&[Happening::Grant]),
    ]
}

fn machines() -> Vec<Scenario> {
    let fix = |name| Scenario::plain(name).asks("fixer", "fix").ends(&["proposed"]);
    vec![
        Scenario { attempts_lost: 1, ..fix("one attempt is lost") },
        Scenario::plain("every attempt is lost").asks("fixer", "lost").ends(&["failed"]),
        Scenario::plain("every attempt of one of two runs is lost")
            .asks("fixer", "lost")
            .asks("fixer", "two")
            .ends(&["failed", "proposed"]),
        fix("the disk is full for a while").meanwhile(&[Happening::DiskFull]).then(&[Happening::DiskFree]),
        fix("the clock is set back").meanwhile(&[Happening::SetBack(HOUR)]),
        fix("two runs at once").asks("fixer", "two").ends(&["proposed", "proposed"]),
    ]
}
