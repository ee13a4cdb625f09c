//! `doctor`: what this machine can fence; and whether one credential can be made, used and ended for real.

use clap::Args;
use serde_json::Value;

use super::people::{ask, text};
use super::{Common, local};
use crate::errors::{CliError, Kind};
use crate::keeper::Request;
use crate::output::Output;

/// Say what this machine can fence, or try a credential.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Try this credential instead, with its `probe`: make it, use it once, end it, and try that it is dead. An ordinary run
    /// does it, so policy decides, and the record keeps it.
    credential: Option<String>,
    /// Say how an earlier trial went, such as one that waited for a person.
    #[arg(long, value_name = "RUN", requires = "credential")]
    of: Option<String>,
}

impl Doctor {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let Some(credential) = &self.credential else { return local::doctor(common, output) };
        let request = Request::Try { credential: credential.clone(), of: self.of.clone() };
        let value = ask(common, output, &request)?;
        let run = text(&value, "run");
        output.heading(&format!("{credential}: tried in {run}"));
        for step in value.get("steps").and_then(Value::as_array).into_iter().flatten() {
            show(output, step);
        }
        let verdict = text(&value, "verdict");
        output.line(match verdict {
            "works" => format!("{credential} works, and nothing of the trial is alive"),
            "waits" => format!("{credential} waits for a person; nothing is alive meanwhile"),
            _ => format!("{credential} FAILS; `selvedge show {run}` has every step"),
        });
        Ok(match verdict {
            "works" => 0,
            "waits" => Kind::Waiting as u8,
            _ => Kind::Failed as u8,
        })
    }
}

fn show(output: &Output, step: &Value) {
    let took = step.get("took_ms").and_then(Value::as_u64).map_or_else(String::new, |took| format!("{took} ms"));
    let state = match text(step, "state") {
        "failed" => "FAILED",
        "not_reached" => "-",
        state => state,
    };
    output.line(format!("  {:<7} {state:<7} {took:>9}  {}", text(step, "step"), text(step, "said")));
    if let (Some(reason), Some(remedy)) =
        (step.get("reason").and_then(Value::as_str), step.get("remedy").and_then(Value::as_str))
    {
        output.line(format!("  {:<7} {reason}: {remedy}", ""));
    }
}
