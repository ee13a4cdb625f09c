//! How what an attempt was seen to do looks to people and scripts.

use selvedge_domain::{Cause, ProgramRun, SideEffects, ToldCall, Written};
use serde_json::{Value, json};

/// Programs and files in the line for people; scripts have all that is kept.
const SAID_MAX: usize = 6;

/// Its kind, its line and its detail.
pub(super) fn side_effects(seen: &SideEffects) -> (&'static str, String, Value) {
    let programs = said(seen.programs.iter().map(|program| times(&program.asked, program.count)), seen.programs_more);
    let written =
        said(seen.written.iter().map(|file| format!("{} {}", file.how.as_str(), file.path)), seen.written_more);
    let unkept = match seen.programs_unkept {
        0 => String::new(),
        more => format!("; {more} programs more than anybody could keep up with"),
    };
    let written = seen.unread.as_ref().map_or(written, |because| format!("what cannot be told, for {because}"));
    let detail = json!({
        "programs": seen.programs.iter().map(program).collect::<Vec<_>>(),
        "programs_more": seen.programs_more,
        "programs_unkept": seen.programs_unkept,
        "written": seen.written.iter().map(file).collect::<Vec<_>>(),
        "written_more": seen.written_more,
        "unread": seen.unread,
    });
    ("side_effects", format!("observed run: {programs}{unkept}; observed write: {written}"), detail)
}

/// What an agent says of its tool calls: its kind, its line and its detail.
pub(super) fn told(calls: &[ToldCall], more: u64) -> (&'static str, String, Value) {
    let words = calls.iter().map(|call| match (call.is_open, call.has_failed, call.exit, call.millis) {
        (true, ..) => format!("{}, never over", call.tool),
        (_, _, Some(exit), Some(millis)) => format!("{} ({millis} ms, exit status {exit})", call.tool),
        (_, true, _, _) => format!("{}, which failed", call.tool),
        (_, _, _, Some(millis)) => format!("{} ({millis} ms)", call.tool),
        _ => call.tool.clone(),
    });
    let detail = json!({
        "calls": calls.iter().map(|call| json!({
            "tool": call.tool, "cause": cause(call.cause), "is_open": call.is_open, "millis": call.millis,
            "has_failed": call.has_failed, "exit": call.exit,
        })).collect::<Vec<_>>(),
        "more": more,
    });
    ("told", format!("the agent says of its calls: {}", said(words, more)), detail)
}

fn program(program: &ProgramRun) -> Value {
    json!({
        "asked": program.asked,
        "ran": program.ran,
        "arguments": program.arguments,
        "arguments_digest": program.arguments_digest.to_string(),
        "count": program.count,
        "cause": cause(program.cause),
    })
}

fn file(written: &Written) -> Value {
    json!({ "path": written.path, "how": written.how.as_str(), "cause": cause(written.cause) })
}

/// A tool call of the run; `null` where none is known.
fn cause(cause: Option<Cause>) -> Value {
    cause.map_or(Value::Null, |cause| json!({ "serial": cause.serial, "index": cause.index }))
}

fn times(asked: &str, count: u64) -> String {
    let asked = if asked.is_empty() { "a program whose name could not be read" } else { asked };
    if count == 1 { asked.to_owned() } else { format!("{asked} ({count} times)") }
}

fn said(all: impl ExactSizeIterator<Item = String>, more: u64) -> String {
    let more = u64::try_from(all.len().saturating_sub(SAID_MAX)).unwrap_or(u64::MAX).saturating_add(more);
    let mut some: Vec<String> = all.take(SAID_MAX).collect();
    match (some.is_empty(), more) {
        (true, 0) => "nothing".to_owned(),
        (_, 0) => some.join(", "),
        (_, more) => {
            some.push(format!("and {more} more"));
            some.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{Digest, Writing};

    use super::*;

    #[test]
    fn a_person_reads_some_and_how_many_more_and_a_script_reads_all_e2() {
        let program = |n: usize| ProgramRun {
            asked: format!("/usr/bin/p{n}"),
            ran: None,
            arguments: None,
            arguments_digest: Digest::of_parts([]),
            count: 1 + n as u64,
            cause: (n == 0).then_some(Cause { serial: 7, index: 2 }),
        };
        let file = Written { path: "src/lib.rs".to_owned(), how: Writing::Changed, cause: None };
        let seen = SideEffects {
            programs: (0..8).map(program).collect(),
            programs_more: 3,
            programs_unkept: 312,
            written: vec![file],
            ..SideEffects::default()
        };
        let (kind, line, detail) = side_effects(&seen);
        assert_eq!(kind, "side_effects");
        assert_eq!(
            line,
            "observed run: /usr/bin/p0, /usr/bin/p1 (2 times), /usr/bin/p2 (3 times), /usr/bin/p3 (4 times), \
             /usr/bin/p4 (5 times), /usr/bin/p5 (6 times), and 5 more; 312 programs more than anybody could keep up with; \
             observed write: changed src/lib.rs"
        );
        assert_eq!(detail["programs"].as_array().unwrap().len(), 8);
        assert_eq!(detail["programs"][0]["cause"], json!({ "serial": 7, "index": 2 }));
        assert_eq!(detail["written"][0]["cause"], Value::Null);
        let (_, nothing, _) = side_effects(&SideEffects::default());
        assert_eq!(nothing, "observed run: nothing; observed write: nothing");
    }
}
