//! `identities`: what stands and what lives, with who answers for it, and whether all of it should.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Common;
use super::people::{ask, log_read, say_what_may_live, say_what_the_log_lacks, text};
use crate::errors::{CliError, Kind};
use crate::keeper::Request;
use crate::output::Output;

/// List standing identities and secrets, what each was granted and used, and what is live.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Identities {
    #[command(subcommand)]
    act: Option<Act>,
    /// Say only what is wrong, and end with status 115 when something is overdue, leaked, nobody's, or an orphan that
    /// can be ended or lives for more than five minutes, or the configuration on disk is not in force.
    #[arg(long)]
    check: bool,
    /// How many days of the record count as use.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
}

/// Say something about what stands; it is recorded, and by whom.
#[derive(Debug, Subcommand)]
enum Act {
    /// Vouch for it: you looked, it is still needed, and somebody answers for it. Good for as long as its `recertify` says.
    Certify {
        /// `agent:NAME`, `credential:NAME`, `factory` (its own keys), or an owner who is back; a name alone if only one has it.
        name: String,
    },
    /// Whoever answers for it has left: nothing uses it until somebody else vouches for it or another owner is configured, and
    /// runs that use it end now.
    Offboard {
        /// An owner, `agent:NAME`, `credential:NAME`, or `factory`; a name alone if only one has it.
        name: String,
    },
}

impl Identities {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        match &self.act {
            None => self.list(common, output),
            Some(Act::Certify { name }) => {
                let value = ask(common, output, &Request::Certify { name: name.clone() })?;
                let (what, owner) = (text(&value, "identity"), text(&value, "owner"));
                output.line(format!("{what} is vouched for from {} on; {owner} answers for it", text(&value, "at")));
                if let Some(leaked) = value.get("leaked").filter(|leaked| leaked.is_object()) {
                    let (name, at) = (text(leaked, "credential"), text(leaked, "at"));
                    output
                        .line(format!("its key LEAKED at {at} and stays barred: {owner} ends it at its issuer, then"));
                    output.line(format!("store the new one: selvedge credentials store {name}"));
                }
                Ok(0)
            }
            Some(Act::Offboard { name }) => {
                let value = ask(common, output, &Request::Offboard { name: name.clone() })?;
                output.line(format!("{} is offboarded", text(&value, "offboarded")));
                say(output, &value, "ended", "is not used any more");
                say(output, &value, "stopped", "was stopped");
                let is_all_dead = say_what_may_live(output, &value);
                if is_all_dead && log_read(&value) && !list(&value, "stopped").is_empty() {
                    output.line("  what was lent to them is revoked, and nothing of it lives");
                }
                say_what_the_log_lacks(output, &value);
                Ok(0)
            }
        }
    }

    fn list(&self, common: &Common, output: &Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Identities { days: self.days })?;
        if !self.check {
            for identity in list(&value, "identities") {
                show(output, identity, &value);
            }
            for agent in list(&value, "conduct") {
                output.heading(&format!("agent:{} by what it does", text(agent, "agent")));
                list(agent, "lines")
                    .into_iter()
                    .filter_map(Value::as_str)
                    .for_each(|line| output.line(format!("  {line}")));
            }
            for lease in list(&value, "live") {
                alive(output, lease);
            }
        }
        let problems = list(&value, "problems");
        conclude(output, &value, &problems);
        Ok(if self.check && !problems.is_empty() { Kind::Overdue as u8 } else { 0 })
    }
}

fn say(output: &Output, value: &Value, list_name: &str, what: &str) {
    for name in list(value, list_name).into_iter().filter_map(Value::as_str) {
        output.line(format!("  {name} {what}"));
    }
}

fn list<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().collect()
}

fn show(output: &Output, identity: &Value, whole: &Value) {
    let (name, state) = (text(identity, "identity"), text(identity, "state"));
    output.heading(&format!(
        "{name}: {}, {}, {} answers for it",
        state,
        text(identity, "kind"),
        text(identity, "owner")
    ));
    output.line(format!("  for {}", text(identity, "purpose")));
    let age =
        identity.get("age_days").and_then(Value::as_u64).map_or_else(String::new, |days| format!(", {days} days"));
    output.line(format!("  there since {}{age}; last used {}", text(identity, "since"), text(identity, "last_used")));
    if text(identity, "leaked_at") != "-" {
        output.line(format!("  LEAKED at {} and not lent any more", text(identity, "leaked_at")));
    }
    match (text(identity, "last_rotated"), text(identity, "rotates_at")) {
        ("-", "-") => {}
        (last, "-") => output.line(format!("  replaced at {last}")),
        (last, next) => output.line(format!("  in use since {last}; the next takes over at {next}")),
    }
    if text(identity, "recertify_by") != "-" {
        let last = match text(identity, "certified_at") {
            "-" => "never certified".to_owned(),
            at => format!("certified at {at} by {}", text(identity, "certified_by")),
        };
        output.line(format!("  {last}; to be certified again by {}", text(identity, "recertify_by")));
    }
    for right in list(identity, "granted") {
        let used = match right.get("last_used").and_then(Value::as_str) {
            Some(at) => format!("used last at {at}"),
            None => "not used".to_owned(),
        };
        output.line(format!("  {} = {}: {used}", text(right, "key"), text(right, "word")));
    }
    let surplus = list(identity, "surplus");
    if surplus.is_empty() {
        return;
    }
    let window = whole.get("window").unwrap_or(&Value::Null);
    let (from, until) = (text(window, "from"), text(window, "until"));
    match identity.get("runs").and_then(Value::as_u64) {
        Some(0) => output.line(format!("  surplus: it did not run from {from} to {until}; is it needed at all?")),
        _ => output.line(format!("  surplus: granted, and not used from {from} to {until}")),
    }
    for right in surplus {
        output.line(format!("    {}", text(right, "trim")));
    }
}

fn alive(output: &Output, lease: &Value) {
    let orphan = if lease.get("orphaned").is_some_and(Value::is_string) { "ORPHAN " } else { "" };
    output.heading(&format!("{orphan}live: {} for {}", text(lease, "what"), text(lease, "holder")));
    output.line(format!("  lease {}, {} answers for its agent", text(lease, "lease"), text(lease, "owner")));
    output.line(format!("  until {}; dies: {}", text(lease, "until"), text(lease, "dies")));
}

/// What is wrong, or in words that nothing is.
fn conclude(output: &Output, value: &Value, problems: &[&Value]) {
    let orphans =
        list(value, "live").iter().filter(|lease| lease.get("orphaned").is_some_and(Value::is_string)).count();
    let live = list(value, "live").len();
    let overdue = problems.iter().filter(|problem| text(problem, "code") == "overdue").count();
    output.line(format!("{live} live, {orphans} orphans, {overdue} overdue"));
    for problem in problems {
        output.line(format!("{}: {}", text(problem, "code"), text(problem, "what")));
        output.line(format!("  remedy: {}", text(problem, "remedy")));
    }
    let expiring = list(value, "expiring");
    for lease in &expiring {
        output.line(format!("waited for: {}", text(lease, "what")));
    }
    if problems.is_empty() && !expiring.is_empty() {
        output.line("nothing is overdue and no key is nobody's; what nobody is at work on is dead by the times above");
    } else if problems.is_empty() {
        output.line("nothing is overdue, no key is nobody's, and no lease lives without a run that ends it");
    }
}
