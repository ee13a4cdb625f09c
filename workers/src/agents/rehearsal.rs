//! What is rehearsed with an agent before it has a task: one turn of its model, made up, with a call that will be denied and one that will
//! not be. Each leaves a mark where it happens, so that it is seen from outside what did.

use serde_json::json;

use super::Adapter;

/// How an agent rehearses.
#[derive(Debug)]
pub(super) enum Rehearses {
    /// It is called for two commands. Agents declare other tools for other models: the first that is declared is called.
    Commands(&'static [Commands]),
    /// It calls no tools. What it is to do stands in the text: how an edit is written that makes a file of one line.
    Edits(fn(path: &str, line: &str) -> String),
}

/// A tool for commands.
#[derive(Debug)]
pub(super) struct Commands {
    /// Its name.
    pub(super) tool: &'static str,
    /// What a call is made with.
    pub(super) call: fn(command: &str) -> String,
    /// The command that ends a conversation, where a word does not.
    pub(super) ends: Option<&'static str>,
}

/// What a rehearsal is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// What the agent is asked.
    pub prompt: &'static str,
    /// The turn, in as many forms as there are tools for it.
    pub turns: Vec<RehearsedTurn>,
    /// What ends it, where a word does not.
    pub ends: Vec<RehearsedTurn>,
    /// The file in the workspace that an allowed call makes.
    pub allowed: String,
    /// What is in it, and in the answer to that call; in no request before.
    pub written: String,
    /// The file in the workspace that a denied call would make; none where none is denied.
    pub denied: Option<String>,
}

/// One answer of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsedTurn {
    /// The tool it calls; none where it calls none.
    pub tool: Option<&'static str>,
    /// What it says.
    pub text: String,
    /// What it calls the tool with.
    pub calls: Vec<String>,
}

const PROMPT: &str = "This is a rehearsal. Do what you are told.";

/// What is written, together with what was drawn.
const MADE: &str = "made";

impl Adapter {
    /// A rehearsal in this workspace, told apart from others by what was drawn for it: some letters and digits.
    pub fn rehearsal(&self, workspace: &str, drawn: &str) -> Rehearsal {
        let [allowed, denied] = ["allowed", "denied"].map(|mark| format!("selvedge-rehearsal-{drawn}-{mark}"));
        let written = format!("{MADE}{drawn}");
        let without = Rehearsal { prompt: PROMPT, turns: Vec::new(), ends: Vec::new(), allowed, written, denied: None };
        match self.rehearses {
            Rehearses::Edits(edit) => {
                let text = edit(&without.allowed, &without.written);
                Rehearsal { turns: vec![RehearsedTurn { tool: None, text, calls: Vec::new() }], ..without }
            }
            Rehearses::Commands(tools) => {
                let turn = |tool: &Commands, text: &str, commands: &[String]| RehearsedTurn {
                    tool: Some(tool.tool),
                    text: text.to_owned(),
                    calls: commands.iter().map(|command| (tool.call)(command)).collect(),
                };
                // Written in two halves, so that the command alone does not hold what it writes.
                let commands = [
                    format!("touch {workspace}/{denied}"),
                    format!("printf '%s%s\\n' {MADE} {drawn} | tee {workspace}/{}", without.allowed),
                ];
                let ends = |tool: &Commands| tool.ends.map(|ends| turn(tool, "That is all.", &[ends.to_owned()]));
                Rehearsal {
                    turns: tools.iter().map(|tool| turn(tool, "Two commands.", &commands)).collect(),
                    ends: tools.iter().filter_map(ends).collect(),
                    denied: Some(denied),
                    ..without
                }
            }
        }
    }

    /// What it shows by that, in words.
    pub fn rehearses(&self) -> &'static str {
        match self.rehearses {
            Rehearses::Commands(_) => {
                "before each task it rehearses: it makes a call that is allowed, and does not make one that is denied"
            }
            Rehearses::Edits(_) => {
                "before each task it rehearses: it makes an edit that its model asks for; it calls no tools, so none is denied"
            }
        }
    }
}

/// Arguments of which one is the command, as most tools take it.
pub(super) fn command(command: &str) -> String {
    json!({ "command": command, "description": "rehearse" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_rehearses_and_what_is_written_is_in_no_command() {
        for adapter in Adapter::ALL {
            let Rehearsal { turns, allowed, written, denied, .. } = adapter.rehearsal("/workspace", "7f");
            assert!(!turns.is_empty(), "{}", adapter.name);
            for turn in &turns {
                let Some(tool) = turn.tool else { continue };
                let known = adapter.tool(tool).unwrap();
                assert_eq!(known.kind, super::super::ToolKind::Shell, "{tool}");
                let denied = denied.as_ref().unwrap();
                let [no, yes] = turn.calls.as_slice() else { panic!("{turn:?}") };
                assert!(no.contains(denied) && !no.contains(&allowed), "{no}");
                assert!(yes.contains(&allowed) && !yes.contains(denied) && !yes.contains(&written), "{yes}");
            }
        }
    }
}
