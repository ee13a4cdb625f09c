//! The model door's messages as they are written, and their conversion from and into [`super::wanted`].

use std::time::Duration;

use selvedge_domain::{Digest, ServerName, ToolName};
use serde::{Deserialize, Serialize};

use super::hosting::Hosting;
use super::wanted::{ModelAsk, ModelDone, ModelHost, Rehearsal, RehearsedTurn, Told, Tool, ToolAsk};
use super::{Egress, Protocol, Usage};
use crate::tools::wire::{server_name, tool_name};
use crate::wire::message::{BadMessage, credential, endpoint};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireModelHost {
    endpoint: (String, u16),
    upstream: (String, u16),
    base_path: String,
    hosting: String,
    api_version: Option<String>,
    protocols: Vec<String>,
    names: Vec<String>,
    called: Vec<(String, String)>,
    egress: Vec<String>,
    tools: Vec<WireTool>,
    denied: String,
    patience_seconds: u64,
    rehearsal: Option<WireRehearsal>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRehearsal {
    turns: Vec<WireRehearsedTurn>,
    comes_back: Vec<String>,
    ends: Vec<WireRehearsedTurn>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRehearsedTurn {
    tool: Option<String>,
    text: String,
    calls: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTool {
    name: String,
    kind: String,
    command: Option<String>,
    paths: Vec<String>,
    addresses: Vec<String>,
    patch: Option<String>,
    of_server: Option<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireModelAsk {
    serial: u64,
    protocol: String,
    asked: String,
    request_bytes: u64,
    tools: u64,
    generates: bool,
    is_all_text: bool,
    output_tokens_max: Option<u64>,
    egress: Vec<String>,
    credential: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireModelDone {
    serial: u64,
    status: u16,
    /// Input, cached, cache write, output, reasoning.
    usage: [u64; 5],
    is_final: bool,
    written_bytes: u64,
    cut_by_vendor: bool,
    broke_off: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToolAsk {
    serial: u64,
    index: u64,
    tool: String,
    kind: String,
    command: String,
    paths: Vec<String>,
    addresses: Vec<String>,
    arguments: String,
    argument_bytes: u64,
    of_server: Option<(String, String)>,
    values: Vec<String>,
}

fn of_server(named: Option<(String, String)>) -> Result<Option<(ServerName, ToolName)>, BadMessage> {
    let read = |(server, tool): (String, String)| Ok((server_name(&server)?, tool_name(&tool)?));
    named.map(read).transpose()
}

fn told(of_server: Option<(ServerName, ToolName)>) -> Option<(String, String)> {
    of_server.map(|(server, tool)| (server.to_string(), tool.to_string()))
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireTold {
    id: String,
    tool: String,
    call: Option<(u64, u64)>,
    is_over: bool,
    has_failed: bool,
    exit: Option<i64>,
}

impl From<Told> for WireTold {
    fn from(Told { id, tool, call, is_over, has_failed, exit }: Told) -> Self {
        Self { id, tool, call, is_over, has_failed, exit }
    }
}

impl From<WireTold> for Told {
    fn from(WireTold { id, tool, call, is_over, has_failed, exit }: WireTold) -> Self {
        Self { id, tool, call, is_over, has_failed, exit }
    }
}

fn protocol(word: &str) -> Result<Protocol, BadMessage> {
    Protocol::parse(word).ok_or(BadMessage("protocol"))
}

fn egress(word: &str) -> Result<Egress, BadMessage> {
    Egress::parse(word).ok_or(BadMessage("egress"))
}

fn words<'a>(egress: impl IntoIterator<Item = &'a Egress>) -> Vec<String> {
    egress.into_iter().map(|egress| egress.as_str().to_owned()).collect()
}

impl From<&ModelHost> for WireModelHost {
    fn from(host: &ModelHost) -> Self {
        Self {
            endpoint: (host.endpoint.host.to_string(), host.endpoint.port),
            upstream: (host.upstream.host.to_string(), host.upstream.port),
            base_path: host.base_path.clone(),
            hosting: host.hosting.as_str().to_owned(),
            api_version: match &host.hosting {
                Hosting::Azure { api_version } => Some(api_version.clone()),
                Hosting::Vendor | Hosting::Bedrock | Hosting::Vertex => None,
            },
            protocols: host.protocols.iter().map(ToString::to_string).collect(),
            names: host.names.iter().cloned().collect(),
            called: host.called.iter().map(|(name, there)| (name.clone(), there.clone())).collect(),
            egress: words(&host.egress),
            tools: host.tools.iter().map(WireTool::from).collect(),
            denied: host.denied.clone(),
            patience_seconds: host.patience.as_secs(),
            rehearsal: host.rehearsal.clone().map(WireRehearsal::from),
        }
    }
}

impl TryFrom<WireModelHost> for ModelHost {
    type Error = BadMessage;

    fn try_from(wire: WireModelHost) -> Result<Self, BadMessage> {
        Ok(Self {
            endpoint: endpoint(&wire.endpoint.0, wire.endpoint.1)?,
            upstream: endpoint(&wire.upstream.0, wire.upstream.1)?,
            base_path: wire.base_path,
            hosting: Hosting::parse(&wire.hosting, wire.api_version.as_deref()).ok_or(BadMessage("hosting"))?,
            protocols: wire.protocols.iter().map(|word| protocol(word)).collect::<Result<_, _>>()?,
            names: wire.names.into_iter().collect(),
            called: wire.called.into_iter().collect(),
            egress: wire.egress.iter().map(|word| egress(word)).collect::<Result<_, _>>()?,
            tools: wire.tools.into_iter().map(Tool::try_from).collect::<Result<_, _>>()?,
            denied: wire.denied,
            patience: Duration::from_secs(wire.patience_seconds),
            rehearsal: wire.rehearsal.map(Rehearsal::from),
        })
    }
}

impl From<Rehearsal> for WireRehearsal {
    fn from(Rehearsal { turns, comes_back, ends }: Rehearsal) -> Self {
        let wire = |turns: Vec<RehearsedTurn>| turns.into_iter().map(WireRehearsedTurn::from).collect();
        Self { turns: wire(turns), comes_back, ends: wire(ends) }
    }
}

impl From<WireRehearsal> for Rehearsal {
    fn from(WireRehearsal { turns, comes_back, ends }: WireRehearsal) -> Self {
        let own = |turns: Vec<WireRehearsedTurn>| turns.into_iter().map(RehearsedTurn::from).collect();
        Self { turns: own(turns), comes_back, ends: own(ends) }
    }
}

impl From<RehearsedTurn> for WireRehearsedTurn {
    fn from(RehearsedTurn { tool, text, calls }: RehearsedTurn) -> Self {
        Self { tool, text, calls }
    }
}

impl From<WireRehearsedTurn> for RehearsedTurn {
    fn from(WireRehearsedTurn { tool, text, calls }: WireRehearsedTurn) -> Self {
        Self { tool, text, calls }
    }
}

impl From<&Tool> for WireTool {
    fn from(tool: &Tool) -> Self {
        let Tool { name, kind, command, paths, addresses, patch, of_server } = tool.clone();
        Self { name, kind, command, paths, addresses, patch, of_server: told(of_server) }
    }
}

impl TryFrom<WireTool> for Tool {
    type Error = BadMessage;

    fn try_from(wire: WireTool) -> Result<Self, BadMessage> {
        let WireTool { name, kind, command, paths, addresses, patch, of_server: named } = wire;
        Ok(Self { name, kind, command, paths, addresses, patch, of_server: of_server(named)? })
    }
}

impl From<ModelAsk> for WireModelAsk {
    fn from(ask: ModelAsk) -> Self {
        Self {
            serial: ask.serial,
            protocol: ask.protocol.to_string(),
            asked: ask.asked,
            request_bytes: ask.request_bytes,
            tools: ask.tools,
            generates: ask.generates,
            is_all_text: ask.is_all_text,
            output_tokens_max: ask.output_tokens_max,
            egress: words(&ask.egress),
            credential: ask.credential.map(|credential| credential.to_string()),
        }
    }
}

impl TryFrom<WireModelAsk> for ModelAsk {
    type Error = BadMessage;

    fn try_from(wire: WireModelAsk) -> Result<Self, BadMessage> {
        Ok(Self {
            serial: wire.serial,
            protocol: protocol(&wire.protocol)?,
            asked: wire.asked,
            request_bytes: wire.request_bytes,
            tools: wire.tools,
            generates: wire.generates,
            is_all_text: wire.is_all_text,
            output_tokens_max: wire.output_tokens_max,
            egress: wire.egress.iter().map(|word| egress(word)).collect::<Result<_, _>>()?,
            credential: wire.credential.as_deref().map(credential).transpose()?,
        })
    }
}

impl From<ModelDone> for WireModelDone {
    fn from(done: ModelDone) -> Self {
        let ModelDone { serial, status, usage, is_final, written_bytes, cut_by_vendor, broke_off } = done;
        let usage = [usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning];
        Self { serial, status, usage, is_final, written_bytes, cut_by_vendor, broke_off }
    }
}

impl From<WireModelDone> for ModelDone {
    fn from(wire: WireModelDone) -> Self {
        let WireModelDone { serial, status, usage, is_final, written_bytes, cut_by_vendor, broke_off } = wire;
        let [input, cached, cache_write, output, reasoning] = usage;
        let usage = Usage { input, cached, cache_write, output, reasoning };
        Self { serial, status, usage, is_final, written_bytes, cut_by_vendor, broke_off }
    }
}

impl From<ToolAsk> for WireToolAsk {
    fn from(ask: ToolAsk) -> Self {
        let ToolAsk {
            serial,
            index,
            tool,
            kind,
            command,
            paths,
            addresses,
            arguments,
            argument_bytes,
            of_server,
            values,
        } = ask;
        let (arguments, of_server) = (arguments.to_string(), told(of_server));
        Self { serial, index, tool, kind, command, paths, addresses, arguments, argument_bytes, of_server, values }
    }
}

impl TryFrom<WireToolAsk> for ToolAsk {
    type Error = BadMessage;

    fn try_from(wire: WireToolAsk) -> Result<Self, BadMessage> {
        let WireToolAsk {
            serial,
            index,
            tool,
            kind,
            command,
            paths,
            addresses,
            arguments,
            argument_bytes,
            of_server: named,
            values,
        } = wire;
        let arguments = Digest::parse(&arguments).map_err(|_| BadMessage("arguments"))?;
        let of_server = of_server(named)?;
        Ok(Self { serial, index, tool, kind, command, paths, addresses, arguments, argument_bytes, of_server, values })
    }
}
