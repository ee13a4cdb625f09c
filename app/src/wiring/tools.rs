//! An attempt's tool door, the keeper's side: each question to a server and each call of a tool an order of its own, with the facts that the
//! door computed. Nothing that an agent or a server wrote is parsed here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use selvedge_authority::{ActError, Observation};
use selvedge_domain::orders::{AskPerson, BrokeredCall, ServerTool, StartWork, ToolAnswered};
use selvedge_domain::{Digest, Duration, Endpoint, HostPattern, May, Risk, ServerName, ToolName, ToolScope};
use selvedge_factory::ports::{Doorkeeper, Shows};
use selvedge_forge::secret::Scanner;
use selvedge_gateway::Given;
use selvedge_gateway::model::wanted::Tool;
use selvedge_gateway::tools::factory;
use selvedge_gateway::tools::wanted::{NotTakenOn, ServerAsk, ServerDone, ServerWay, TakenOn, ToolHost, ToolServer};
use selvedge_sandbox::Place;
use selvedge_workers::agents::CalledAs;

use super::Works;
use super::denied::outside_grant;
use super::hold::HoldDesk;
use super::narrowed::{Narrowed, danger_narrowed};
use super::repositories::permanent;
use super::secrets::{masked, secrets_in};
use crate::config::{Config, RepoConfig, ServerAt, ServerConfig};

/// Where they are served, each under its name: nowhere, the door answers.
const HOST: &str = "tools.selvedge.internal";

/// Plain HTTP, on loopback inside the sandbox, as where a model is served.
const PORT: u16 = 80;

/// Reports that are kept of one attempt.
const REPORTS_MAX: usize = 8;

/// The code of a finding on a tool that nobody took on.
pub(crate) const TOOL_NOT_TAKEN_ON: &str = "tool_not_taken_on";

/// The code of a finding on a tool that is described otherwise than when it was taken on.
pub(crate) const TOOL_CHANGED: &str = "tool_changed";

/// One attempt's tool servers, as they were configured when it began.
pub(super) struct ToolDesk {
    order: StartWork,
    servers: Vec<ServerConfig>,
    /// Whether a turn is ever held for people.
    holds: bool,
    said: Mutex<Said>,
}

/// What the agent said of its work.
#[derive(Default)]
struct Said {
    /// What it is, said last.
    proposal: Option<String>,
    /// What else there is to it.
    reports: Vec<String>,
}

impl Works {
    /// The tool servers of an attempt; none where its grant names none.
    pub(super) fn tool_desk(&self, order: &StartWork) -> Result<Option<ToolDesk>, ActError> {
        let config = self.config();
        let mut servers = Vec::new();
        for scope in &order.grant.tools {
            let ToolScope::List { server } = scope else { continue };
            let gone = || permanent(format!("tool server `{server}` is no longer configured"));
            servers.push(config.servers.get(server).ok_or_else(gone)?.clone());
        }
        let holds = |repo: &RepoConfig| repo.repository.hold_at_most > Duration::ZERO;
        let holds = config.repos.get(&order.repo).is_some_and(holds);
        Ok((!servers.is_empty()).then(|| ToolDesk { order: order.clone(), servers, holds, said: Mutex::default() }))
    }
}

impl ToolDesk {
    /// What its door has to know: of each server the tools that were granted, and no other.
    pub(super) fn host(&self) -> Result<ToolHost, ActError> {
        let host = HostPattern::parse(HOST).ok_or_else(|| permanent("the name of the tools' host is none"))?;
        let server = |server: &ServerConfig| ToolServer {
            name: server.name.clone(),
            way: match &server.way {
                ServerAt::Url { upstream, path } => ServerWay::Http { upstream: upstream.clone(), path: path.clone() },
                ServerAt::Program(_) => ServerWay::Pipes,
                ServerAt::Factory => ServerWay::Factory,
            },
            tools: self.granted(server).collect(),
            patience: server.patience,
        };
        Ok(ToolHost { endpoint: Endpoint { host, port: PORT }, servers: self.servers.iter().map(server).collect() })
    }

    fn granted<'a>(&'a self, server: &'a ServerConfig) -> impl Iterator<Item = (ToolName, TakenOn)> + 'a {
        let is_granted =
            |name: &ToolName| self.scope(&server.name, Some(name)).is_some() && self.is_of_use(server, name);
        server.tools.iter().filter(move |(name, _)| is_granted(name)).map(|(name, tool)| {
            let (described, command) = (tool.described, tool.command.clone());
            (name.clone(), TakenOn { described, command, paths: tool.paths.clone(), addresses: tool.addresses.clone() })
        })
    }

    /// Whether the run could come to anything with it: the factory's own tools ask for what its grant has or has not.
    fn is_of_use(&self, server: &ServerConfig, tool: &ToolName) -> bool {
        match (&server.way, tool.as_str()) {
            (ServerAt::Factory, "request_access") => !self.order.grant.may_ask.is_empty(),
            (ServerAt::Factory, factory::ASK_PERSON) => self.holds,
            (ServerAt::Factory, "delegate" | "child") => self.order.grant.may.contains(&May::Delegate),
            _ => true,
        }
    }

    /// Keeps words for whoever reviews the work.
    pub(super) fn say(&self, words: String, is_proposal: bool) -> Given {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if is_proposal {
            said.proposal = Some(words);
            return Given::Allowed;
        }
        if said.reports.len() >= REPORTS_MAX {
            let next_step = "enough was reported: put the rest into the files you leave".to_owned();
            return Given::Denied { code: "too_many_reports".to_owned(), next_step };
        }
        said.reports.push(words);
        Given::Allowed
    }

    /// What the agent said of its work. Data: it is quoted, and steers nothing.
    pub(super) fn words(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.proposal.iter().chain(&said.reports).cloned().collect::<Vec<_>>().join("\n\n")
    }

    /// Where the servers take requests.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Endpoint> {
        self.servers.iter().filter_map(|server| match &server.way {
            ServerAt::Url { upstream, .. } => Some(upstream),
            ServerAt::Program(_) | ServerAt::Factory => None,
        })
    }

    /// The servers that are programs, in the order in which the door knows them.
    pub(super) fn programs(&self) -> impl Iterator<Item = (&ServerConfig, &[String])> {
        self.servers.iter().filter_map(|server| match &server.way {
            ServerAt::Url { .. } | ServerAt::Factory => None,
            ServerAt::Program(argv) => Some((server, argv.as_slice())),
        })
    }

    /// Every server, and where an agent finds it.
    pub(super) fn places(&self) -> Vec<(String, String)> {
        let place = |server: &ServerConfig| (server.name.to_string(), format!("http://{HOST}/{}", server.name));
        self.servers.iter().map(place).collect()
    }

    /// Says in the sandbox where they are.
    pub(super) fn announce(&self, place: Place) -> Place {
        place.with_env("SELVEDGE_TOOLS_URL", &format!("http://{HOST}"))
    }

    /// Answers whether this may go to a server; where a person has to say, that it waits.
    pub(super) fn ask(&self, holds: &HoldDesk<'_>, serials_from: u64, ask: ServerAsk) -> Given {
        let place = (ask.serial, 0);
        let Some(call) = self.call(serials_from.wrapping_add(ask.serial), ask) else { return no_tools() };
        holds.ask_server(place, call)
    }

    /// Puts a question before people. What holds a secret is not shown to them, nor kept.
    pub(super) fn question(&self, holds: &HoldDesk<'_>, serials_from: u64, serial: u64, question: String) -> Given {
        if let Some(found) = Scanner::default().added(b"", question.as_bytes()).first() {
            let next_step = format!("ask without what looks like a secret ({})", found.kind);
            return Given::Denied { code: "secret_in_question".to_owned(), next_step };
        }
        let (run, repo) = (self.order.run.clone(), self.order.repo.clone());
        holds.ask_person((serial, 0), AskPerson { run, repo, serial: serials_from.wrapping_add(serial), question })
    }

    /// The tools as an agent calls them, one for each name that means one thing: what an agent that writes names like this calls so is
    /// judged, and shown to people, as what it will ask of the server.
    pub(super) fn as_called(&self, ways: &BTreeSet<CalledAs>) -> Vec<Tool> {
        let mut called: BTreeMap<String, Option<Tool>> = BTreeMap::new();
        for server in &self.servers {
            for (tool, taken) in self.granted(server) {
                for name in ways.iter().map(|way| way.of(server.name.as_str(), tool.as_str())) {
                    let described = Tool {
                        name: name.clone(),
                        kind: "other".to_owned(),
                        command: taken.command.clone(),
                        paths: taken.paths.clone(),
                        addresses: taken.addresses.clone(),
                        patch: None,
                        of_server: Some((server.name.clone(), tool.clone())),
                    };
                    // Two tools that one name could mean are neither.
                    called.entry(name).and_modify(|known| *known = None).or_insert(Some(described));
                }
            }
        }
        called.into_values().flatten().collect()
    }

    /// What is known of a tool, for a call that a model wrote of it.
    pub(super) fn of_server(&self, server: &ServerName, tool: &ToolName) -> Option<ServerTool> {
        let scope = self.scope(server, Some(tool))?.clone();
        let known = self.servers.iter().find(|known| known.name == *server)?;
        Some(ServerTool { scope, risk: known.tools.get(tool)?.risk })
    }

    /// Why a server is not asked this any more: the configuration in force has it elsewhere or not at all, or takes the tool for riskier.
    pub(super) fn narrowed(&self, told: &Config, now: &Config, ask: &ServerAsk) -> Option<Narrowed> {
        let known = self.servers.iter().find(|known| known.name == ask.server)?;
        let risk = |server: &ServerConfig| Some(server.tools.get(ask.tool.as_ref()?)?.risk);
        let is_same = |server: &&ServerConfig| server.way == known.way && risk(server) == risk(known);
        if now.servers.get(&ask.server).filter(is_same).is_none() {
            return Some(Narrowed {
                code: "server_withdrawn",
                detail: ask.server.to_string(),
                next_step: "do without this: the operator took the server or the tool away, or changed what it is, since this task began",
            });
        }
        match &known.way {
            ServerAt::Url { upstream, .. } => danger_narrowed(told, now, upstream),
            ServerAt::Program(_) | ServerAt::Factory => None,
        }
    }

    /// Notes what came of it.
    pub(super) fn done(&self, doors: &dyn Doorkeeper, serials_from: u64, done: ServerDone) -> Given {
        let ServerDone { serial, code, answer, answer_bytes, request_bytes } = done;
        let answered = ToolAnswered { code, answer, answer_bytes, request_bytes };
        doors.server_answered(serials_from.wrapping_add(serial), answered);
        Given::Allowed
    }

    /// The tools of a server that policy lets the agent see.
    pub(super) fn shown(&self, holds: &HoldDesk<'_>, doors: &dyn Doorkeeper, server: &ServerName) -> Given {
        let Some(server) = self.servers.iter().find(|known| known.name == *server) else {
            return Given::Shown { tools: Vec::new() };
        };
        let is_shown = |(name, _): &(ToolName, TakenOn)| {
            let call = self.call(0, nothing_said(&server.name, name));
            call.is_some_and(|call| match doors.shows(&call) {
                Shows::Yes => true,
                Shows::WherePeopleAnswer => holds.can_hold(),
                Shows::No => false,
            })
        };
        Given::Shown { tools: self.granted(server).filter(is_shown).map(|(name, _)| name.to_string()).collect() }
    }

    /// Has a person know of a tool that is not called.
    pub(super) fn note(&self, doors: &dyn Doorkeeper, tool: &NotTakenOn) -> Given {
        let NotTakenOn { server, tool, described, is_changed, text } = tool;
        let code = if *is_changed { TOOL_CHANGED } else { TOOL_NOT_TAKEN_ON };
        let detail = format!("{server} {tool} {described}\n{}", masked(text));
        doors.saw(Observation::Finding { code: code.to_owned(), detail });
        Given::Allowed
    }

    /// Where what is asked goes, where its server takes requests.
    pub(super) fn host_of(&self, ask: &ServerAsk) -> Option<&HostPattern> {
        match &self.servers.iter().find(|known| known.name == ask.server)?.way {
            ServerAt::Url { upstream, .. } => Some(&upstream.host),
            ServerAt::Program(_) | ServerAt::Factory => None,
        }
    }

    fn call(&self, serial: u64, ask: ServerAsk) -> Option<BrokeredCall> {
        let server = self.servers.iter().find(|known| known.name == ask.server)?;
        let scope = self.scope(&ask.server, ask.tool.as_ref())?.clone();
        let host = self.host_of(&ask).cloned();
        let secrets = secrets_in([&ask.command].into_iter().chain(&ask.paths).chain(&ask.addresses).chain(&ask.values));
        Some(BrokeredCall {
            request_bytes_max: host.as_ref().map_or(0, |_| ask.sent_at_most()),
            host,
            secrets,
            run: self.order.run.clone(),
            repo: self.order.repo.clone(),
            serial,
            scope,
            // To ask which tools there are changes nothing.
            risk: ask.tool.and_then(|tool| server.tools.get(&tool)).map_or(Risk::Low, |tool| tool.risk),
            command: ask.command,
            paths: ask.paths,
            addresses: ask.addresses,
            values: ask.values,
            arguments: ask.arguments,
            argument_bytes: ask.argument_bytes,
            credential: server.credential.clone(),
        })
    }

    /// What was granted of this.
    fn scope(&self, server: &ServerName, tool: Option<&ToolName>) -> Option<&ToolScope> {
        self.order.grant.tools.iter().find(|scope| match (scope, tool) {
            (ToolScope::List { server: granted }, None) => granted == server,
            (ToolScope::Call { server: granted, tool: known, .. }, Some(tool)) => granted == server && known == tool,
            _ => false,
        })
    }
}

/// A call that says nothing, to learn whether a tool is shown at all.
fn nothing_said(server: &ServerName, tool: &ToolName) -> ServerAsk {
    ServerAsk {
        serial: 0,
        server: server.clone(),
        tool: Some(tool.clone()),
        command: String::new(),
        paths: Vec::new(),
        addresses: Vec::new(),
        values: Vec::new(),
        arguments: Digest::of_parts([b"".as_slice()]),
        argument_bytes: 0,
    }
}

/// What a sandbox without tool servers is told.
pub(super) fn no_tools() -> Given {
    outside_grant("this sandbox has no tool servers; work without one")
}
