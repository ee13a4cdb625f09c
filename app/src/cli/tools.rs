//! `tools`: the tool servers that are brokered, and what is to be written down to take a tool on.

use clap::Args;
use serde_json::Value;

use super::Common;
use super::people::{ask, boxed, text};
use crate::errors::{CliError, Kind};
use crate::keeper::Request;
use crate::output::Output;

/// List tool servers, what was taken on of each, and what runs saw of them that was not, ready to be written into `selvedge.toml`.
#[derive(Debug, Args)]
pub(crate) struct Tools {
    /// One server alone.
    server: Option<String>,
}

impl Tools {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let value = ask(common, output, &Request::Tools)?;
        let is_wanted = |server: &&Value| self.server.as_deref().is_none_or(|wanted| text(server, "server") == wanted);
        let servers: Vec<&Value> = list(&value, "servers").filter(is_wanted).collect();
        match (&self.server, servers.is_empty()) {
            (Some(wanted), true) => {
                return Err(CliError::new(Kind::NotFound, format!("no tool server `{wanted}`"))
                    .hint("`selvedge tools` lists them; add one as `[mcp.NAME]` to `selvedge.toml`"));
            }
            (None, true) => output.line("no tool servers; add one as `[mcp.NAME]` to `selvedge.toml`"),
            _ => servers.into_iter().for_each(|server| say(output, server)),
        }
        Ok(0)
    }
}

fn say(output: &Output, server: &Value) {
    let name = text(server, "server");
    output.heading(&format!("{name}: {} answers for it", text(server, "owner")));
    output.line(format!("  at {}", text(server, "at")));
    let agents: Vec<&str> = list(server, "agents").filter_map(Value::as_str).collect();
    output.line(format!("  asked by {}", if agents.is_empty() { "nobody".to_owned() } else { agents.join(", ") }));
    for tool in list(server, "tools") {
        output.line(format!("  {} ({})", text(tool, "tool"), text(tool, "risk")));
    }
    let mut is_any = false;
    for tool in list(server, "not_taken_on") {
        is_any = true;
        let changed = tool.get("is_changed").and_then(Value::as_bool).unwrap_or(false);
        let what = if changed { "CHANGED, and not called any more" } else { "not taken on, and not called" };
        output.line(format!("  {} ({what}), seen {}:", text(tool, "tool"), text(tool, "seen")));
        boxed(output, text(tool, "text"));
        output.line(format!("    [mcp.{name:?}.tools.{:?}]", text(tool, "tool")));
        output.line(format!("    digest = \"{}\"", text(tool, "digest")));
    }
    let has_tools = list(server, "tools").next().is_some();
    if is_any {
        output.line("  next: read what is said there as if it were said to you; write the lines below it into `selvedge.toml` to take the tool on");
    } else if !has_tools {
        output.line("  next: let an agent that has it in `mcp` list its tools; they are noted then, and shown here");
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}
