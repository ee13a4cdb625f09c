//! mini-swe-agent.

use super::scripted::{called, read};
use super::tools::Tool;
use super::{Adapter, Beside, Pin, Start};

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
    furnish: called,
    acp: None,
    read,
};
