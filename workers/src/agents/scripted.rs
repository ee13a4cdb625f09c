//! Agents that are started by a script of ours, in `scripts/`: they are libraries of Python, and their own command lines take settings
//! from the repository, ask a person, or print for people. What such a script tells is what a client of the Agent Client Protocol tells.

use serde_json::Value;

use super::report::{Report, Tokens, kind, number, text};
use super::{Adapter, Furnishing, Job, pairs, words};

/// What such a script is called with.
pub(super) fn called(_: &Adapter, job: &Job<'_>) -> Furnishing {
    Furnishing {
        argv: words(&[job.model, &format!("{}/v1", job.door), "--", job.prompt]),
        env: pairs(&[("SELVEDGE_MODEL_KEY", job.placeholder)]),
        files: Vec::new(),
    }
}

/// What such a script tells.
pub(crate) fn read(event: &Value, report: &mut Report) {
    match kind(event) {
        Some("said") => report.said(text(event, &["text"]).unwrap_or_default()),
        Some("used") => report.used(text(event, &["tool"]).unwrap_or_default()),
        Some("failed") => report.failed(text(event, &["message"]).unwrap_or("no reason given")),
        Some("ended") => {
            report.tokens = Tokens {
                input: number(event, &["tokens", "input"]),
                cached: number(event, &["tokens", "cached"]),
                output: number(event, &["tokens", "output"]),
            };
            let because = text(event, &["because"]).unwrap_or("no reason given");
            match (event.get("because"), text(event, &["how"])) {
                (Some(Value::Null), _) => report.ended_well(),
                (_, Some("stopped")) => report.ended_early(because),
                (_, Some("misspoke")) => report.misspoke(because),
                _ => report.ended_badly(because),
            }
        }
        _ => {}
    }
}
