//! Tool servers: which are configured, what was taken on of each, and what each was seen to have that was not.

use std::collections::BTreeMap;

use selvedge_authority::{Observation, Record};
use selvedge_domain::{ServerName, ToolName, ToolScope};
use selvedge_gateway::tools::factory;
use serde_json::{Value, json};

use super::hall::Keeper;
use super::message::Reply;
use crate::config::{AgentConfig, Config, ServerAt, ServerConfig, ToolConfig};
use crate::errors::{CliError, Kind};
use crate::wiring::{TOOL_CHANGED, TOOL_NOT_TAKEN_ON};

/// What a server said of a tool, when it was seen last.
struct Seen {
    described: String,
    text: String,
    at: String,
}

/// Every server that is configured.
pub(super) fn list(keeper: &Keeper, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    let seen = seen(keeper)?;
    let config = keeper.works.config();
    for server in config.servers.values() {
        let list = ToolScope::List { server: server.name.clone() };
        let users = config.agents.values().filter(|agent| agent.agent.tools.contains(&list));
        let users: Vec<&str> = users.map(|agent| agent.agent.name.as_str()).collect();
        each(&Reply::element(
            "servers",
            json!({
                "server": server.name.as_str(), "owner": server.owner.as_str(), "at": place(server), "agents": users,
                "tools": tools(server), "not_taken_on": not_taken_on(server, &seen),
            }),
        ));
    }
    Ok(json!({ "servers": [] }))
}

/// What an agent may call, a line for each server: for its authority card.
pub(super) fn words(config: &Config, agent: &AgentConfig) -> Vec<String> {
    let is_asked =
        |server: &&ServerConfig| agent.agent.tools.contains(&ToolScope::List { server: server.name.clone() });
    let line = |server: &ServerConfig| {
        let may_call = |(tool, taken): &(&ToolName, &ToolConfig)| {
            let (server, tool) = (server.name.clone(), (*tool).clone());
            agent.agent.tools.contains(&ToolScope::Call { server, tool, described: taken.described })
        };
        let tools = server.tools.iter().filter(may_call).map(|(tool, taken)| format!("{tool} ({})", taken.risk));
        let tools: Vec<String> = tools.collect();
        let tools = if tools.is_empty() { "none, as none was taken on".to_owned() } else { tools.join(", ") };
        format!("tools of `{}`, {}: {tools}", server.name, place(server))
    };
    config.servers.values().filter(is_asked).map(line).collect()
}

/// Whether it may ask people in words: a line for its authority card.
pub(super) fn asks(config: &Config, agent: &AgentConfig) -> Option<String> {
    let own = config.servers.values().find(|server| matches!(server.way, ServerAt::Factory))?;
    let asks = |scope: &ToolScope| {
        *scope.server() == own.name && scope.tool().is_some_and(|tool| tool.as_str() == factory::ASK_PERSON)
    };
    agent
        .agent
        .tools
        .iter()
        .any(asks)
        .then(|| "ask people questions; an answer is words, and permits nothing".to_owned())
}

fn place(server: &ServerConfig) -> String {
    match &server.way {
        ServerAt::Url { upstream, path } => format!("https://{}:{}{path}", upstream.host, upstream.port),
        ServerAt::Program(argv) => argv.join(" "),
        ServerAt::Factory => "the factory's own".to_owned(),
    }
}

fn tools(server: &ServerConfig) -> Vec<Value> {
    let tool = server.tools.iter().map(|(name, tool)| {
        json!({ "tool": name.as_str(), "risk": tool.risk.as_str(), "digest": tool.described.to_string() })
    });
    tool.collect()
}

/// What was seen and is not configured as it was seen. What has been taken on since is in the configuration by now.
fn not_taken_on(server: &ServerConfig, seen: &BTreeMap<(String, String), Seen>) -> Vec<Value> {
    let of_it = seen.iter().filter(|((of, _), _)| of == server.name.as_str());
    let other = of_it.filter_map(|((_, tool), seen)| {
        let taken = server.tools.iter().find(|(name, _)| name.as_str() == tool).map(|(_, taken)| taken.described);
        let is_taken = taken.is_some_and(|taken| taken.to_string() == seen.described);
        (!is_taken).then(|| {
            json!({
                "tool": tool, "digest": seen.described, "text": seen.text, "seen": seen.at,
                "is_changed": taken.is_some(),
            })
        })
    });
    other.collect()
}

/// By server and tool, as runs noted it; the last note counts.
fn seen(keeper: &Keeper) -> Result<BTreeMap<(String, String), Seen>, CliError> {
    let mut seen = BTreeMap::new();
    for recorded in keeper.works.ledger.entries(0, None) {
        let entry = recorded.map_err(|error| CliError::caused(Kind::Ledger, &error))?.entry;
        let Record::Observed(Observation::Finding { code, detail }) = &entry.record else { continue };
        if code != TOOL_NOT_TAKEN_ON && code != TOOL_CHANGED {
            continue;
        }
        if let Some((server, tool, described, text)) = read(detail) {
            let (described, text) = (described.to_owned(), text.to_owned());
            seen.insert((server.to_string(), tool.to_owned()), Seen { described, text, at: entry.at.to_string() });
        }
    }
    Ok(seen)
}

/// A note as the tool desk writes it: three words, and the text on the lines behind them.
fn read(detail: &str) -> Option<(ServerName, &str, &str, &str)> {
    let (words, text) = detail.split_once('\n')?;
    let mut words = words.split(' ');
    let server = ServerName::parse(words.next()?).ok()?;
    let (tool, described) = (words.next()?, words.next()?);
    words.next().is_none().then_some((server, tool, described, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back() {
        let server = ServerName::parse("tracker").unwrap();
        assert_eq!(
            read("tracker search abc\nSearch it.\ninput: {}"),
            Some((server, "search", "abc", "Search it.\ninput: {}"))
        );
        for bad in ["", "tracker search abc", "tracker search\nx", "a b c d\nx", "A b c\nx"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
