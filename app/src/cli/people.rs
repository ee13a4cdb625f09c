//! What people decide: merge, approve, deny, answer, halt, resume, revoke.

use clap::Args;
use serde_json::Value;

use super::Common;
use crate::errors::{CliError, Kind};
use crate::keeper::{self, Request, State, connect, connect_to_stop};
use crate::output::Output;

/// Merge a proposal into the factory's bare clone.
#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// The proposal's number.
    number: u64,
    /// The repository, when there is more than one.
    #[arg(long, value_name = "NAME")]
    repo: Option<String>,
    /// Merge only if the proposal is still at this commit.
    #[arg(long, value_name = "COMMIT")]
    at: Option<String>,
}

/// Say yes to exactly one order.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The request, as `selvedge approvals` lists it.
    approval: String,
}

/// Say no.
#[derive(Debug, Args)]
pub(crate) struct Deny {
    /// The request, as `selvedge approvals` lists it.
    approval: String,
}

/// Answer a question of an agent's, in words.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// The question, as `selvedge approvals` lists it.
    question: String,
    /// The answer: information for the agent, which permits it nothing.
    words: String,
}

/// How far a halt reaches.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// `agent NAME`, `repo NAME`, `run ID`; everything when absent.
    #[arg(num_args = 0..=2, value_names = ["KIND", "NAME"])]
    scope: Vec<String>,
}

/// Revoke every credential of a run and end it.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The run.
    run: String,
}

impl Merge {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let request = Request::Merge { repo: self.repo.clone(), number: self.number, head: self.at.clone() };
        let value = ask(common, output, &request)?;
        output.line(format!(
            "merged proposal #{}: {} is now {}",
            self.number,
            text(&value, "target"),
            text(&value, "commit")
        ));
        output.line("only the factory's bare clone moved; bring it home with `git pull --no-rebase selvedge` and the branch's name");
        Ok(0)
    }
}

impl Approve {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Approve { approval: self.approval.clone() })?;
        output.line(format!(
            "approved {} on {} for agent {}, once, until {}",
            text(&value, "verb"),
            text(&value, "resource"),
            text(&value, "agent"),
            text(&value, "until")
        ));
        Ok(0)
    }
}

impl Deny {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Deny { approval: self.approval.clone() })?;
        let then = match text(&value, "verb") {
            "question.ask" => "its agent is told that nobody answers",
            "tool.call" => "its agent is told so, and goes on without",
            _ => "its run ends as refused",
        };
        output.line(format!("denied {}; {then}", self.approval));
        Ok(0)
    }
}

impl Answer {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let request = Request::Answer { question: self.question.clone(), words: self.words.clone() };
        let value = ask(common, output, &request)?;
        output.line(format!(
            "answered {}: agent {} of run {} has these words, and may do what it could before",
            text(&value, "question"),
            text(&value, "agent"),
            text(&value, "run")
        ));
        Ok(0)
    }
}

impl Scope {
    pub(crate) fn halt(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Halt(self.parse()?))?;
        let count = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
        let killed = count("killed");
        let waited = count("ended").saturating_sub(killed);
        output.line(match killed {
            0 => "halted; nothing was running".to_owned(),
            1 => "halted; 1 run was killed".to_owned(),
            more => format!("halted; {more} runs were killed"),
        });
        if waited > 0 {
            output.line(format!(
                "{waited} more that waited, or were between two steps, end as halted and are not taken up again; what is only queued stays queued"
            ));
        }
        say_what_may_live(output, &value);
        say_what_the_log_lacks(output, &value);
        if !self.scope.is_empty() {
            say_names_unknown(output, &value);
        }
        let again = std::iter::once("selvedge resume").chain(self.scope.iter().map(String::as_str));
        output.line(format!("nothing new starts in this scope until `{}`", again.collect::<Vec<_>>().join(" ")));
        Ok(0)
    }

    pub(crate) fn resume(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Resume(self.parse()?))?;
        output.line(format!("resumed: {}", text(&value, "resumed")));
        for halt in value.get("still_halted").and_then(Value::as_array).into_iter().flatten() {
            output.line(format!("still halted: {}", halt.as_str().unwrap_or("-")));
        }
        Ok(0)
    }

    fn parse(&self) -> Result<keeper::Scope, CliError> {
        match self.scope.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => Ok(keeper::Scope::All),
            ["agent", name] => Ok(keeper::Scope::Agent((*name).to_owned())),
            ["repo", name] => Ok(keeper::Scope::Repo((*name).to_owned())),
            ["run", id] => Ok(keeper::Scope::Run((*id).to_owned())),
            other => Err(CliError::new(Kind::Usage, format!("`{}` is not a scope", other.join(" ")))
                .hint("write nothing, `agent NAME`, `repo NAME` or `run ID`")),
        }
    }
}

impl Revoke {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Revoke { run: self.run.clone() })?;
        if say_what_may_live(output, &value) && log_read(&value) {
            output.line(format!("every credential of {} is revoked, and the run goes no further", self.run));
        }
        say_what_the_log_lacks(output, &value);
        Ok(0)
    }
}

/// Says why nobody could look whether there is what was named.
pub(super) fn say_names_unknown(output: &Output, value: &Value) {
    if let Some(because) = value.get("configuration").and_then(Value::as_str) {
        output.line(format!("the configuration does not load, so nobody knows whether that name is in it: {because}"));
    }
}

/// Names every credential that may still work; whether there is none.
pub(super) fn say_what_may_live(output: &Output, value: &Value) -> bool {
    let living: Vec<&str> =
        value.get("may_still_live").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for lease in &living {
        let until = value.get("may_live_until").and_then(|until| until.get(lease)).and_then(Value::as_str);
        let until = until.map_or_else(String::new, |until| format!(", until {until} at the latest"));
        output.line(format!(
            "lease {lease} may still live{until}; the factory goes on ending it where that can be done, and `selvedge watch` shows when it is dead"
        ));
    }
    living.is_empty()
}

/// Whether the log could say which runs there are, and what they were lent.
pub(super) fn log_read(value: &Value) -> bool {
    value.get("log_read").and_then(Value::as_bool) != Some(false)
}

/// Says what could not be read or recorded while something was stopped.
pub(super) fn say_what_the_log_lacks(output: &Output, value: &Value) {
    if !log_read(value) {
        output.line(
            "the log could not be read: what is alive in this keeper was stopped; what else there is, is not known",
        );
    }
    if value.get("recorded").and_then(Value::as_bool) == Some(false) {
        output.line("it could not be recorded: look at the disk of the state directory");
    }
}

/// Lists what waits for a person.
pub(crate) fn approvals(common: &Common, output: &mut Output) -> Result<u8, CliError> {
    let value = ask(common, output, &Request::Approvals)?;
    let waiting: Vec<&Value> = value.get("approvals").and_then(Value::as_array).into_iter().flatten().collect();
    if waiting.is_empty() {
        output.line("nothing waits for a person");
    }
    for item in waiting {
        asked(output, item);
    }
    Ok(0)
}

/// One request: who would be let, for which task, on what, until when, why a person is asked, and what exactly a yes is for.
fn asked(output: &Output, item: &Value) {
    output.heading(&format!("{}  {} on {}", text(item, "approval"), text(item, "verb"), text(item, "resource")));
    output.line(format!(
        "  run {}, asked by {}, lapses {}",
        text(item, "run"),
        text(item, "asked_by"),
        text(item, "until")
    ));
    let question = item.get("facts").and_then(|facts| facts.get("question")).and_then(Value::as_str);
    let is_question = text(item, "verb") == "question.ask";
    if is_question {
        output.line(format!("  in {}, waiting since {}", text(item, "repo"), text(item, "asked_at")));
    }
    let (agent, trigger) = (item.get("agent").unwrap_or(&Value::Null), item.get("trigger").unwrap_or(&Value::Null));
    output.line(format!(
        "  agent {}, for {}; {} answers for it, trouble goes to {}",
        text(agent, "agent"),
        text(agent, "purpose"),
        text(agent, "owner"),
        text(agent, "escalate")
    ));
    if text(item, "credential_owner") != "-" {
        output.line(format!("  key {}, {} answers for it", text(item, "resource"), text(item, "credential_owner")));
    }
    output.line(format!(
        "  task {}, by {}; its words, which may be an agent's and bind nobody:",
        text(trigger, "trigger"),
        text(trigger, "source")
    ));
    boxed(output, text(trigger, "words"));
    if trigger.get("cut").and_then(Value::as_bool) == Some(true) {
        output.line(format!("  the rest of them: selvedge show {}", text(item, "run")));
    }
    if let Some(question) = question.filter(|_| is_question) {
        let approval = text(item, "approval");
        output.line("  it asks this; the words are an agent's, and whatever they say, an answer permits nothing:");
        boxed(output, question);
        output.line(format!("  to answer in words: selvedge answer {approval} \"…\""));
        output.line(format!("  to say that nobody does: selvedge deny {approval}"));
        return;
    }
    output.line(format!("  because {}", text(item, "because")));
    output.line("  a yes is for exactly this, once:");
    for (name, fact) in item.get("facts").and_then(Value::as_object).into_iter().flatten() {
        if let Some(list) = name.strip_suffix(crate::keeper::NOT_SHOWN) {
            output.line(format!("  {list}: and {fact} more, which a yes covers too"));
            continue;
        }
        let shown = fact.as_str().map_or_else(|| fact.to_string(), str::to_owned);
        if fits_beside(name, &shown) {
            output.line(format!("  {name}: {shown}"));
        } else {
            output.line(format!("  {name}:"));
            boxed(output, &shown);
        }
    }
    output.line(format!("  what it changes: selvedge diff {}", text(item, "run")));
    let approval = text(item, "approval");
    let but = match text(item, "asked_by") {
        by if by.starts_with("person:") => format!(", as anybody but {by}"),
        _ => String::new(),
    };
    output.line(format!("  to answer{but}: selvedge approve {approval}, or selvedge deny {approval}"));
}

/// Columns of a line of somebody else's words: with the bar before them they fit the narrowest of terminals, which would begin what does
/// not at its edge, where ours begins.
const BOX_COLUMNS: usize = 72;

/// Whether a fact is one word that no terminal breaks where it stands beside its name. Whatever else it is may be an agent's words.
fn fits_beside(name: &str, fact: &str) -> bool {
    name.len() + fact.len() <= BOX_COLUMNS && fact.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Words of somebody else, where none of them can be taken for ours: each line behind a bar, and nothing in them moves the cursor.
pub(super) fn boxed(output: &Output, words: &str) {
    for line in lines_of_box(words) {
        output.line(format!("    | {line}").trim_end());
    }
}

fn lines_of_box(words: &str) -> Vec<String> {
    let shown = crate::output::escape(words.as_bytes());
    let mut lines = Vec::new();
    for whole in String::from_utf8_lossy(&shown).lines() {
        let (mut line, mut left) = (String::new(), BOX_COLUMNS);
        for c in whole.chars().map(|c| if c == '\t' { ' ' } else { c }) {
            if columns_at_most(c) > left {
                lines.push(std::mem::take(&mut line));
                left = BOX_COLUMNS;
            }
            left = left.saturating_sub(columns_at_most(c));
            line.push(c);
        }
        lines.push(line);
    }
    lines
}

/// How wide a terminal may show this. They do not agree on any character but those of ASCII, and none is wider than two.
fn columns_at_most(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

/// Asks the keeper, prints the document when JSON was asked for, and returns it.
pub(crate) fn ask(common: &Common, output: &Output, request: &Request) -> Result<Value, CliError> {
    let state = State::locate(common.state.as_deref())?;
    let session = if request.only_takes_away() { connect_to_stop(&state)? } else { connect(&state)? };
    let value = session.ask(request, &mut |reply| super::work::show(output, reply))?;
    output.document(&value);
    Ok(value)
}

/// The text of a field, or a dash.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_breaks_a_line_of_somebody_else_s_a70() {
        let ours = "ap-0000000000000000  tool.call on acme/shop";
        for filler in ["\t", "\u{3000}", "\u{3164}", "\u{ff21}", "\u{1f600}", " ", "x"] {
            for count in [20, 35, 36, 37, 72, 73] {
                let lines = lines_of_box(&format!("Fine?\n{}  {ours}", filler.repeat(count)));
                let widths: Vec<usize> = lines.iter().map(|line| line.chars().map(columns_at_most).sum()).collect();
                assert!(widths.iter().all(|width| *width <= BOX_COLUMNS), "{filler:?} {count}: {lines:?}");
                assert!(!lines.concat().contains('\t'), "{lines:?}");
                assert!(lines.concat().ends_with(ours), "nothing is left out: {lines:?}");
            }
        }
        assert_eq!(lines_of_box("a\n\nb"), ["a", "", "b"]);
        assert_eq!(lines_of_box(&"x".repeat(72)), ["x".repeat(72)]);
    }

    #[test]
    fn what_may_be_an_agent_s_words_does_not_stand_beside_our_own_a70() {
        for plain in ["7", "true", "none", "shell", "[]", "r-0000000000000", &"a".repeat(68)] {
            assert!(fits_beside("tool", plain), "{plain}");
        }
        for words in ["a b", "a\nb", "a\tb", "\u{3000}", "\u{fffd}", &"x".repeat(69)] {
            assert!(!fits_beside("tool", words), "{words:?}");
        }
    }
}
