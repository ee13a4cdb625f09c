//! What waits for people, and what they say to it.

use serde_json::Value;

use super::{Said, Scene, eventually, text};

/// Somebody who did not ask for the run.
pub(crate) const SOMEBODY_ELSE: u32 = 65533;

/// What stands still with its sandbox: a line every moment.
pub(crate) const TICKS: &str = "(while :; do echo tick; sleep 0.05; done) & ticking=$!\n";

/// Checks that a list of what waits shows what looks like one of its own lines, and is an agent's, behind a bar on every terminal: they agree
/// on no width but that of ASCII.
pub(crate) fn nothing_is_forged(shown: &str) {
    for line in shown.lines().filter(|line| line.contains("0000000000") || line.contains("secret.use")) {
        assert!(line.starts_with("    | "), "behind a bar: {line}");
    }
    assert!(!shown.contains(['\t', '\u{1b}']), "nothing moves the cursor: {shown:?}");
    for line in shown.lines().filter(|line| line.starts_with("    | ")) {
        let columns: usize = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        assert!(columns <= 78, "no terminal breaks it: {line}");
    }
}

impl Scene {
    /// Has people asked about such tool calls.
    pub(crate) fn ask_first(&self, when: &str) {
        let policy = format!(
            "@id(\"test.ask-first\")\n@owner(\"tests\")\n@next_step(\"a person has to say yes to this\")\n\
             forbid (principal, action == Action::\"tool.call\", resource)\nwhen {{ {when} }}\nunless {{ context.approved }};\n"
        );
        std::fs::write(self.state().join("policies/more.cedar"), policy).unwrap();
    }

    /// Changes the policies, by one that changes nothing.
    pub(crate) fn touch_policies(&self) {
        let policy =
            "@id(\"test.later\")\n@owner(\"tests\")\npermit (principal, action == Action::\"tool.call\", resource);\n";
        std::fs::write(self.state().join("policies/later.cedar"), policy).unwrap();
    }

    /// Gives the agent `asker` a task; its run, once that has begun.
    pub(crate) fn begin(&self, script: &str) -> String {
        self.run(&["run", "--agent", "asker", script]).ok();
        eventually("the run begins", || self.runs().first().map(|run| text(run, "run").to_owned()))
    }

    /// The requests that nobody has answered.
    pub(crate) fn unanswered(&self) -> Vec<Value> {
        self.json(&["approvals"])["approvals"].as_array().unwrap().clone()
    }

    /// Waits until a turn is held, and gives what is asked about it. `after` was asked before.
    pub(crate) fn held(&self, run: &str, after: Option<&Value>) -> Value {
        eventually("the turn is held", || {
            let is_over = self.runs().iter().any(|one| one["run"] == run && one["stage"] == "settled");
            assert!(!is_over, "it was over before: {} {:#?}", self.printed(run), self.lines(run, ""));
            let is_new = |one: &Value| after.is_none_or(|after| one["approval"] != after["approval"]);
            let one = self.unanswered().into_iter().find(is_new)?;
            let held = self.entries(run).into_iter().rev().find(|entry| entry["kind"] == "turn_held")?;
            held["detail"]["approvals"].as_array().unwrap().contains(&one["approval"]).then_some(one)
        })
    }

    /// Somebody else says yes.
    pub(crate) fn approve(&self, request: &Value) -> Said {
        Said::of(&self.command_as(SOMEBODY_ELSE, &["approve", text(request, "approval")]).output().unwrap())
    }

    /// The kinds of what is on record of a run.
    pub(crate) fn kinds(&self, run: &str) -> Vec<String> {
        self.entries(run).iter().map(|entry| text(entry, "kind").to_owned()).collect()
    }

    /// How often its background work showed that it goes on.
    pub(crate) fn ticks(&self, run: &str) -> usize {
        self.printed(run).matches("tick").count()
    }
}
