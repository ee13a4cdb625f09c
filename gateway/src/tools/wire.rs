//! The tool door's messages as they are written, and their conversion from and into [`super::wanted`].

use std::time::Duration;

use selvedge_domain::{Digest, ServerName, ToolName};
use serde::{Deserialize, Serialize};

use super::wanted::{NotTakenOn, ServerAsk, ServerDone, ServerWay, TakenOn, ToolHost, ToolServer};
use crate::wire::message::{BadMessage, endpoint};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToolHost {
    endpoint: (String, u16),
    servers: Vec<WireServer>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireServer {
    name: String,
    way: WireWay,
    tools: Vec<WireTakenOn>,
    patience_millis: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WireWay {
    Http { host: String, port: u16, path: String },
    Pipes {},
    Factory {},
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTakenOn {
    tool: String,
    described: String,
    command: Option<String>,
    paths: Vec<String>,
    addresses: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireServerAsk {
    serial: u64,
    server: String,
    tool: Option<String>,
    command: String,
    paths: Vec<String>,
    addresses: Vec<String>,
    values: Vec<String>,
    arguments: String,
    argument_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireServerDone {
    serial: u64,
    code: String,
    answer: String,
    answer_bytes: u64,
    request_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireNotTakenOn {
    server: String,
    tool: String,
    described: String,
    is_changed: bool,
    text: String,
}

pub(crate) fn server_name(name: &str) -> Result<ServerName, BadMessage> {
    ServerName::parse(name).map_err(|_| BadMessage("server"))
}

pub(crate) fn tool_name(name: &str) -> Result<ToolName, BadMessage> {
    ToolName::parse(name).ok_or(BadMessage("tool"))
}

fn digest(text: &str) -> Result<Digest, BadMessage> {
    Digest::parse(text).map_err(|_| BadMessage("digest"))
}

impl From<&ToolHost> for WireToolHost {
    fn from(host: &ToolHost) -> Self {
        let server = |server: &ToolServer| WireServer {
            name: server.name.to_string(),
            way: match &server.way {
                ServerWay::Http { upstream, path } => {
                    WireWay::Http { host: upstream.host.to_string(), port: upstream.port, path: path.clone() }
                }
                ServerWay::Pipes => WireWay::Pipes {},
                ServerWay::Factory => WireWay::Factory {},
            },
            tools: server.tools.iter().map(|(name, taken)| WireTakenOn::of(name, taken)).collect(),
            patience_millis: u64::try_from(server.patience.as_millis()).unwrap_or(u64::MAX),
        };
        Self {
            endpoint: (host.endpoint.host.to_string(), host.endpoint.port),
            servers: host.servers.iter().map(server).collect(),
        }
    }
}

impl WireTakenOn {
    fn of(name: &ToolName, taken: &TakenOn) -> Self {
        let TakenOn { described, command, paths, addresses } = taken.clone();
        Self { tool: name.to_string(), described: described.to_string(), command, paths, addresses }
    }

    fn read(self) -> Result<(ToolName, TakenOn), BadMessage> {
        let Self { tool, described, command, paths, addresses } = self;
        Ok((tool_name(&tool)?, TakenOn { described: digest(&described)?, command, paths, addresses }))
    }
}

impl TryFrom<WireToolHost> for ToolHost {
    type Error = BadMessage;

    fn try_from(wire: WireToolHost) -> Result<Self, BadMessage> {
        let server = |server: WireServer| {
            Ok(ToolServer {
                name: server_name(&server.name)?,
                way: match server.way {
                    WireWay::Http { host, port, path } => ServerWay::Http { upstream: endpoint(&host, port)?, path },
                    WireWay::Pipes {} => ServerWay::Pipes,
                    WireWay::Factory {} => ServerWay::Factory,
                },
                tools: server.tools.into_iter().map(WireTakenOn::read).collect::<Result<_, _>>()?,
                patience: Duration::from_millis(server.patience_millis),
            })
        };
        Ok(Self {
            endpoint: endpoint(&wire.endpoint.0, wire.endpoint.1)?,
            servers: wire.servers.into_iter().map(server).collect::<Result<_, _>>()?,
        })
    }
}

impl From<ServerAsk> for WireServerAsk {
    fn from(ask: ServerAsk) -> Self {
        let ServerAsk { serial, server, tool, command, paths, addresses, values, arguments, argument_bytes } = ask;
        let (server, tool) = (server.to_string(), tool.map(|tool| tool.to_string()));
        let arguments = arguments.to_string();
        Self { serial, server, tool, command, paths, addresses, values, arguments, argument_bytes }
    }
}

impl TryFrom<WireServerAsk> for ServerAsk {
    type Error = BadMessage;

    fn try_from(wire: WireServerAsk) -> Result<Self, BadMessage> {
        let WireServerAsk { serial, server, tool, command, paths, addresses, values, arguments, argument_bytes } = wire;
        let (server, tool) = (server_name(&server)?, tool.as_deref().map(tool_name).transpose()?);
        let arguments = digest(&arguments)?;
        Ok(Self { serial, server, tool, command, paths, addresses, values, arguments, argument_bytes })
    }
}

impl From<ServerDone> for WireServerDone {
    fn from(done: ServerDone) -> Self {
        let ServerDone { serial, code, answer, answer_bytes, request_bytes } = done;
        Self { serial, code, answer: answer.to_string(), answer_bytes, request_bytes }
    }
}

impl TryFrom<WireServerDone> for ServerDone {
    type Error = BadMessage;

    fn try_from(wire: WireServerDone) -> Result<Self, BadMessage> {
        let WireServerDone { serial, code, answer, answer_bytes, request_bytes } = wire;
        Ok(Self { serial, code, answer: digest(&answer)?, answer_bytes, request_bytes })
    }
}

impl From<NotTakenOn> for WireNotTakenOn {
    fn from(tool: NotTakenOn) -> Self {
        let NotTakenOn { server, tool, described, is_changed, text } = tool;
        let (server, tool, described) = (server.to_string(), tool.to_string(), described.to_string());
        Self { server, tool, described, is_changed, text }
    }
}

impl TryFrom<WireNotTakenOn> for NotTakenOn {
    type Error = BadMessage;

    fn try_from(wire: WireNotTakenOn) -> Result<Self, BadMessage> {
        let WireNotTakenOn { server, tool, described, is_changed, text } = wire;
        let (server, tool) = (server_name(&server)?, tool_name(&tool)?);
        Ok(Self { server, tool, described: digest(&described)?, is_changed, text })
    }
}
