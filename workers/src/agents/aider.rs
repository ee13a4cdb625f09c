//! aider. It edits files and does nothing else here: it speaks no protocol with tools, what it would do stands in the text of the model's
//! answers, and commands that are suggested there are not run.

use super::rehearsal::Rehearses;
use super::scripted::{called, read};
use super::{Adapter, Beside, HasHooks, Pin, Start};

pub(super) static ADAPTER: Adapter = Adapter {
    name: "aider",
    protocol: "openai-chat",
    pin: Pin {
        manager: "pypi",
        package: "aider-chat",
        version: "0.86.2",
        beside: Beside::Listed(include_str!("scripts/aider.txt")),
    },
    tools: &[],
    calls: &[],
    start: Start::Python(include_str!("scripts/aider.py")),
    hooks: HasHooks::No,
    rehearses: Rehearses::Edits(edit),
    furnish: called,
    acp: None,
    read,
};

/// A block that makes a file.
fn edit(path: &str, line: &str) -> String {
    format!("A new file.\n\n{path}\n```\n<<<<<<< SEARCH\n=======\n{line}\n>>>>>>> REPLACE\n```\n")
}
