//! mini-swe-agent.

use serde_json::json;

use super::rehearsal::{Commands, Rehearses};
use super::scripted::{called, read};
use super::tools::Tool;
use super::{Adapter, Beside, HasHooks, Pin, Start};

pub(super) static ADAPTER: Adapter = Adapter {
    name: "mini-swe-agent",
    protocol: "openai-chat",
    pin: Pin {
        manager: "pypi",
        package: "mini-swe-agent",
        version: "2.4.6",
        beside: Beside::Listed(include_str!("scripts/mini_swe_agent.txt")),
    },
    // It has no other.
    tools: &[Tool::shell("bash", "command")],
    calls: &[],
    start: Start::Python(include_str!("scripts/mini_swe_agent.py")),
    hooks: HasHooks::No,
    rehearses: Rehearses::Commands(&[Commands {
        tool: "bash",
        call: |command| json!({ "command": command }).to_string(),
        ends: Some("printf 'COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\\nDone.\\n'"),
    }]),
    furnish: called,
    acp: None,
    read,
};
