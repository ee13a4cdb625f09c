//! What becomes of a run when its model or its agent goes wrong, for some agents: one line a trouble, kept in `coding/outcomes/`. In each
//! the agent has made its edit by then, so whatever is taken for success shows as a proposal. None is, unless its model had the last word.

use std::path::{Path, PathBuf};

use selvedge_scripted::{Fault, Script, Times, Turn};
use serde_json::Value;

use crate::common::coding::{Account, CLAUDE_CODE, CODEX, Employed, GEMINI_CLI, Kind, cost};
use crate::common::models::{KEY, billed};
use crate::common::text;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// At the vendor, from the turn after the edit on, for ever.
    Vendor(Fault),
    /// Nothing is left to spend.
    Spent,
    /// In its shell, this.
    Shell(&'static str),
    /// It ends well at once, without a word.
    Idle,
}

/// The agents of which it was seen.
const SEEN: [Kind; 3] = [CLAUDE_CODE, CODEX, GEMINI_CLI];

/// Each by its name. What befalls a stream does not befall an answer in one piece.
const TROUBLES: [(&str, Trouble); 15] = [
    ("401", refuses(401)),
    ("402", refuses(402)),
    ("403", refuses(403)),
    ("429", refuses(429)),
    ("500", refuses(500)),
    ("answer cut", Trouble::Vendor(Fault::Cut { after_events: 0 })),
    ("answer hangs", Trouble::Vendor(Fault::Hang { after_events: 0 })),
    ("answer garbled", Trouble::Vendor(Fault::NoJson)),
    ("stream cut", Trouble::Vendor(Fault::Cut { after_events: 3 })),
    ("stream hangs", Trouble::Vendor(Fault::Hang { after_events: 3 })),
    ("stream garbled", Trouble::Vendor(Fault::Garbage { after_events: 3 })),
    ("budget spent", Trouble::Spent),
    ("agent does nothing", Trouble::Idle),
    // Everything of its sandbox stands still.
    ("agent hangs", Trouble::Shell("while :; do kill -STOP -1; done")),
    ("agent floods", Trouble::Shell("yes flood")),
];

const fn refuses(status: u16) -> Trouble {
    Trouble::Vendor(Fault::Status { status, retry_after_seconds: None })
}

impl Trouble {
    fn script(self, kind: &Kind) -> Script {
        let mut script = (kind.script)(kind);
        match self {
            Self::Vendor(fault) => script.turns[1] = script.turns[1].clone().fails(fault, Times::Always),
            Self::Spent => {}
            Self::Shell(command) => script.turns[1] = kind.runs(Turn::new().costs(cost(2_507, 41)), command),
            Self::Idle => script.turns = vec![Turn::new().costs(cost(10, 1))],
        }
        script
    }

    fn befalls(self, kind: &Kind) -> (Employed, Value, Account) {
        let employed = kind.told(self.script(kind));
        if matches!(self, Self::Spent) {
            employed.may_spend(kind, 100);
        }
        let limits =
            if matches!(self, Self::Shell(_)) { "attempt_at_most = \"30s\"\nlimits = { processes = 256 }" } else { "" };
        employed.with(limits, "patience = \"2s\"");
        let (run, account) = employed.works();
        (employed, run, account)
    }
}

/// Lets each trouble befall an agent and compares what is seen with what was seen before.
fn comes_to_what_is_known(kind: &Kind) {
    let (mut lines, mut wrong) = (String::new(), Vec::new());
    for (name, trouble) in TROUBLES {
        let (employed, run, account) = trouble.befalls(kind);
        let outcome = text(&run, "outcome");
        // Where its model had the last word after all, the agent got over it, and what it did was checked like any other's.
        let proposals = employed.scene.json(&["proposals"])["proposals"].as_array().unwrap().len();
        let is_success = ["proposed", "changed"].contains(&outcome) || proposals > 0;
        if is_success != gets_over_it(kind, &employed) {
            wrong.push(format!("{name}: {run}\n{account}"));
        }
        // Whatever it was, nothing that was billed is missing on the meter.
        let ((counted, estimated), bill) = (account.metered, billed(&employed.server));
        assert!(counted.0 + estimated.0 >= bill.0 && counted.1 + estimated.1 >= bill.1, "{name}: {bill:?} {account}");
        assert!(!account.wrote.contains(KEY), "{name}: {account}");
        lines.push_str(&format!("{name}: {outcome}: {}\n", text(&run, "because")));
    }
    assert!(wrong.is_empty(), "{lines}{}", wrong.join("\n"));
    let known = golden(kind);
    if std::env::var_os("SELVEDGE_WRITE_GOLDEN").is_some() {
        std::fs::write(&known, &lines).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&known).unwrap_or_default(), lines, "{}", known.display());
}

/// Whether the model said its last, which comes after what goes wrong.
fn gets_over_it(kind: &Kind, employed: &Employed) -> bool {
    let last = (kind.script)(kind).turns.len() - 1;
    employed.server.seen().iter().any(|seen| seen.turn == Some(last) && seen.status == 200)
}

fn golden(kind: &Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/coding/outcomes/{}.golden", kind.runtime))
}

#[test]
#[ignore = "minutes, and fetches 357 MB; CONTRIBUTING.md says how it is run"]
fn whatever_goes_wrong_with_claude_code_has_a_name_and_is_no_success_e3() {
    comes_to_what_is_known(&CLAUDE_CODE);
}

#[test]
#[ignore = "minutes, and fetches 404 MB; CONTRIBUTING.md says how it is run"]
fn whatever_goes_wrong_with_codex_has_a_name_and_is_no_success_e3() {
    comes_to_what_is_known(&CODEX);
}

#[test]
#[ignore = "minutes, and fetches 90 MB; CONTRIBUTING.md says how it is run"]
fn whatever_goes_wrong_with_gemini_cli_has_a_name_and_is_no_success_e3() {
    comes_to_what_is_known(&GEMINI_CLI);
}

/// Between these lines `docs/agents.md` has the table.
const BEGINS: &str = "<!-- app/tests/coding/outcomes.rs -->\n";
const ENDS: &str = "<!-- to here -->\n";

#[test]
fn the_outcomes_in_the_documentation_are_those_that_were_seen() {
    let mut table = String::new();
    for kind in SEEN {
        table.push_str(&format!("**{}**\n\n| what goes wrong | outcome | because |\n|---|---|---|\n", kind.runtime));
        for line in std::fs::read_to_string(golden(&kind)).unwrap().lines() {
            let mut words = line.splitn(3, ": ").map(|word| word.replace('|', "\\|"));
            let mut word = || words.next().unwrap();
            table.push_str(&format!("| {} | {} | {} |\n", word(), word(), word()));
        }
        table.push('\n');
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agents.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGINS).unwrap();
    let (_, after) = rest.split_once(ENDS).unwrap();
    let wanted = format!("{before}{BEGINS}\n{table}{ENDS}{after}");
    if std::env::var_os("SELVEDGE_WRITE_GOLDEN").is_some() {
        std::fs::write(&page, &wanted).unwrap();
    }
    assert_eq!(text, wanted, "SELVEDGE_WRITE_GOLDEN=1 writes it");
}
