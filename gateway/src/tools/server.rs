//! A conversation with one tool server: a handshake, then questions and answers, one at a time. Owns what a server may come to say in it;
//! never knows which tools were taken on.

use std::collections::BTreeSet;

use selvedge_domain::ToolName;
use serde_json::{Map, Value, json};

use super::describe::{Described, TOOLS_MAX};
use super::factory;
use super::over_http::{self, Session as HttpSession};
use super::over_pipe::Pipes;
use super::people::Asker;
use super::rpc::{self, Heard};
use super::wanted::{ServerWay, ToolServer};
use crate::http::Context;
use crate::http::refusal::Refusal;
use crate::protocol::Layer;

/// Longest answer of a server that is read: the descriptions of many tools, or a file.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Most pages a list of tools may come in.
const PAGES_MAX: usize = 32;

/// Why a server gave no answer that can be used.
#[derive(Debug)]
pub(crate) enum Broke {
    /// The door did not send it.
    Refused(Box<Refusal>),
    /// It is not there, or not any more.
    Gone,
    /// It did not answer in time.
    Silent,
    /// It does not speak the protocol.
    Garbled,
    /// It said more than is read.
    TooLong,
    /// It answered with this status.
    Status(u16),
    /// It wanted something asked of the agent's side, and would wait for that.
    AskedBack,
    /// It said that it cannot.
    Failed(String),
    /// It speaks no version of the protocol that is spoken here.
    Version,
}

impl Broke {
    /// A stable code.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => refusal.shown().code,
            other => other.own_code(),
        }
    }

    /// The code of what is the server's doing.
    pub(crate) fn own_code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "not_sent",
            Self::Gone => "server_gone",
            Self::Silent => "server_silent",
            Self::Garbled => "server_malformed",
            Self::TooLong => "response_too_long",
            Self::Status(_) => "server_refused",
            Self::AskedBack => "server_asked_back",
            Self::Failed(_) => "server_failed",
            Self::Version => "version_not_spoken",
        }
    }

    /// What the agent can do.
    pub(crate) fn next_step(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.shown().next_step.to_owned(),
            Self::Failed(message) => format!("the server says: {message}"),
            Self::Status(status) => {
                format!("the server answered with status {status}; try again later, or work without it")
            }
            Self::TooLong => "ask for less in one call".to_owned(),
            Self::Gone | Self::Silent | Self::Garbled | Self::AskedBack | Self::Version => {
                "try again later, or work without this server".to_owned()
            }
        }
    }
}

impl<R: Into<Refusal>> From<R> for Broke {
    fn from(refusal: R) -> Self {
        Self::Refused(Box::new(refusal.into()))
    }
}

/// One conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    line: Line,
    /// What may be sent for what is asked now, and what was.
    allowance: Allowance,
    next: u64,
    has_begun: bool,
}

/// What one question to a server may send in all: what the keeper was told of it, and decided on.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    most: u64,
    sent: u64,
}

impl Allowance {
    /// Counts bytes before they leave.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Broke> {
        let sent = self.sent.saturating_add(bytes);
        if sent > self.most {
            return Err(Broke::TooLong);
        }
        self.sent = sent;
        Ok(())
    }
}

/// What it goes over.
#[derive(Debug)]
enum Line {
    Http(HttpSession),
    /// It is the door itself.
    Factory,
    /// None once it broke: what stood in the pipes then belongs to no answer.
    Pipes(Option<Pipes>),
}

impl Conversation {
    /// Nothing was said yet.
    pub(crate) fn new(server: &ToolServer, pipes: Option<Pipes>) -> Self {
        let line = match server.way {
            ServerWay::Http { .. } => Line::Http(HttpSession::default()),
            ServerWay::Pipes => Line::Pipes(pipes),
            ServerWay::Factory => Line::Factory,
        };
        Self { line, allowance: Allowance::default(), next: 1, has_begun: false }
    }

    /// Something else is asked, for which this much may be sent.
    pub(crate) fn may_send(&mut self, most: u64) {
        self.allowance = Allowance { most, sent: 0 };
    }

    /// What was sent for it up to now.
    pub(crate) fn sent(&self) -> u64 {
        self.allowance.sent
    }

    /// Asks which tools there are now.
    pub(crate) async fn list(&mut self, context: &Context, server: &ToolServer) -> Result<Vec<Described>, Broke> {
        if let Line::Factory = self.line {
            return Ok(factory::tools());
        }
        self.begin(context, server).await?;
        let mut tools = Vec::new();
        let mut names = BTreeSet::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let params = cursor.map_or(json!({}), |cursor: String| json!({ "cursor": cursor }));
            let answer = self.ask(context, server, "tools/list", &params).await?;
            for tool in answer.get("tools").and_then(Value::as_array).ok_or(Broke::Garbled)? {
                // One that is not described as the protocol says is none; the others are.
                let Ok(described) = Described::read(tool) else { continue };
                if !names.insert(described.name.clone()) {
                    return Err(Broke::Garbled);
                }
                tools.push(described);
            }
            if tools.len() > TOOLS_MAX {
                return Err(Broke::TooLong);
            }
            cursor = match answer.get("nextCursor") {
                None | Some(Value::Null) => return Ok(tools),
                Some(Value::String(cursor)) => Some(cursor.clone()),
                Some(_) => return Err(Broke::Garbled),
            };
        }
        Err(Broke::TooLong)
    }

    /// Calls a tool.
    pub(crate) async fn call(
        &mut self,
        asker: Asker<'_>,
        server: &ToolServer,
        tool: &ToolName,
        arguments: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Broke> {
        if let Line::Factory = self.line {
            return factory::call(asker, tool, arguments).await;
        }
        let context = asker.context;
        self.begin(context, server).await?;
        let params = json!({ "name": tool.as_str(), "arguments": arguments });
        self.ask(context, server, "tools/call", &params).await
    }

    async fn begin(&mut self, context: &Context, server: &ToolServer) -> Result<(), Broke> {
        if self.has_begun {
            return Ok(());
        }
        let params = json!({
            "protocolVersion": rpc::VERSION, "capabilities": {},
            "clientInfo": { "name": "selvedge", "version": env!("CARGO_PKG_VERSION") },
        });
        let answer = self.exchange(context, server, "initialize", &params).await?;
        let version = answer.get("protocolVersion").and_then(Value::as_str).ok_or(Broke::Garbled)?;
        let version = rpc::VERSIONS.into_iter().find(|known| *known == version).ok_or(Broke::Version)?;
        if let Line::Http(session) = &mut self.line {
            session.version = Some(version);
        }
        self.remark(context, server, &rpc::notification("notifications/initialized")).await?;
        self.has_begun = true;
        Ok(())
    }

    /// Asks once more in a new session where the server has forgotten the old one, as the protocol says.
    async fn ask(
        &mut self,
        context: &Context,
        server: &ToolServer,
        method: &str,
        params: &Value,
    ) -> Result<Map<String, Value>, Broke> {
        let answer = self.exchange(context, server, method, params).await;
        match (&answer, &mut self.line) {
            (Err(Broke::Status(404)), Line::Http(session)) if session.id.is_some() => {
                *session = HttpSession::default();
                self.has_begun = false;
            }
            _ => return answer,
        }
        self.begin(context, server).await?;
        self.exchange(context, server, method, params).await
    }

    async fn exchange(
        &mut self,
        context: &Context,
        server: &ToolServer,
        method: &str,
        params: &Value,
    ) -> Result<Map<String, Value>, Broke> {
        let id = self.next;
        self.next = id.wrapping_add(1);
        let message = rpc::request(id, method, params);
        match &mut self.line {
            Line::Http(session) => {
                let allowance = &mut self.allowance;
                let answer = over_http::post(context, server, (session, allowance), &message, Some(id)).await?;
                answer.ok_or(Broke::Garbled)
            }
            Line::Factory => Err(Broke::Gone),
            // Taken out while it is used: whoever gives up waiting leaves nothing half said behind.
            Line::Pipes(kept) => {
                let mut pipes = kept.take().ok_or(Broke::Gone)?;
                pipes.send(&message).await?;
                let answer = hear(context, server, &mut pipes, id).await;
                if matches!(answer, Ok(_) | Err(Broke::Failed(_))) {
                    *kept = Some(pipes);
                }
                answer
            }
        }
    }

    async fn remark(&mut self, context: &Context, server: &ToolServer, message: &[u8]) -> Result<(), Broke> {
        match &mut self.line {
            Line::Http(session) => {
                let line = (session, &mut self.allowance);
                over_http::post(context, server, line, message, None).await.map(|_nothing| ())
            }
            Line::Pipes(Some(pipes)) => pipes.send(message).await,
            Line::Pipes(None) | Line::Factory => Err(Broke::Gone),
        }
    }
}

/// Reads until the answer to `awaited`. What the server asks itself is refused, so that it goes on without.
async fn hear(
    context: &Context,
    server: &ToolServer,
    pipes: &mut Pipes,
    awaited: u64,
) -> Result<Map<String, Value>, Broke> {
    loop {
        let line = pipes.line().await?;
        match rpc::heard(&line, awaited).map_err(|_| Broke::Garbled)? {
            Heard::Answer(answer) => return Ok(answer),
            Heard::Failed { message, .. } => return Err(Broke::Failed(message)),
            Heard::Remark => {}
            Heard::Asks { id, method } if method == "ping" => pipes.send(&rpc::answer(&id, &json!({}))).await?,
            Heard::Asks { id, method } => {
                asked_back(context, server, &method);
                pipes.send(&rpc::error(&id, rpc::METHOD_NOT_FOUND, "nobody here answers this")).await?;
            }
        }
    }
}

/// Tells that a server wanted something of the agent's side: its model, its files, its user.
pub(crate) fn asked_back(context: &Context, server: &ToolServer, method: &str) {
    context.link.refused(Layer::Tools, "server_asked_back", &format!("{} {method}", server.name));
}
