//! A request to the tool door: one message of a client, answered by the door itself or, once the keeper has allowed it, by the server it
//! is for (`docs/decisions/0016-tool-door.md`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use selvedge_domain::{Digest, Method, ToolName};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::signs::Signs;
use super::{Broken, Connection, Next};
use crate::http::Context;
use crate::http::body::BodyReader;
use crate::http::lend::BodyWatch;
use crate::http::refusal::Refusal;
use crate::http::request::Exchange;
use crate::identity::wanted::{Given, Wanted};
use crate::link::NotAllowed;
use crate::protocol::Layer;
use crate::tokens::is_of_type;
use crate::tools::describe::{canonical, digest_of};
use crate::tools::door::ToolDoor;
use crate::tools::factory::ASK_PERSON;
use crate::tools::facts::facts;
use crate::tools::people::Asker;
use crate::tools::result::{self, BadResult};
use crate::tools::rpc::{self, Said};
use crate::tools::server::{Broke, Conversation};
use crate::tools::wanted::{NotTakenOn, ServerAsk, ServerDone, ServerWay, ToolServer};

/// Longest message of a client: the arguments of a call may be a file.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Nobody keeps a copy of an answer.
const HEAD: &str = "content-type: application/json\r\ncache-control: no-store\r\n";

/// What a call of a server came to, for the record and for the agent.
struct Came {
    code: String,
    told: Value,
}

impl Connection {
    /// Serves one request to the tool door.
    pub(super) async fn serve_tools(&mut self, request: &mut Exchange) -> Result<Next, Broken> {
        let context = Arc::clone(&self.context);
        let Some(door) = &context.tools else { return Err(Refusal::NotTools.into()) };
        let at = door.at(request.path.as_str()).filter(|_| request.query.is_none());
        let (server, conversation) = at.ok_or(Refusal::NotTools)?;
        // No stream is offered, and no session to end, as the protocol lets a server say.
        if request.method != Method::Post {
            return self.say(request, 405, b"").await;
        }
        if !is_of_type(request, b"application/json") {
            return Err(Refusal::NotTools.into());
        }
        let body = BodyReader::begin(request.framing, MESSAGE_BYTES_MAX)?;
        // A call may take minutes; the room is for who reads a body now.
        let (bytes, room) = self.read_whole(request, body).await?;
        drop(room);
        let served = Served { context: &context, door, server, conversation, has_left: AtomicBool::new(false) };
        match rpc::said(&bytes) {
            Ok(Said::Remark) => self.say(request, 202, b"").await,
            Ok(Said::Request { id, method, params }) => {
                let mut signs = Signs::of(request, &params);
                let mut answering = std::pin::pin!(served.answer(&id, &method, params));
                // What is under way goes on to its end, whoever listens: what it came to is on record.
                let answer = loop {
                    tokio::select! {
                        biased;
                        answer = &mut answering => break answer,
                        () = signs.due() => {}
                    }
                    if self.client.write(&signs.next()).await.is_err() {
                        served.has_left.store(true, Ordering::Relaxed);
                    }
                };
                match signs.end(&answer) {
                    None => self.say(request, 200, &answer).await,
                    Some(last) => {
                        let written = self.client.write(&last).await;
                        let next = if request.closes { Next::Close } else { Next::Another };
                        written.map(|()| next).map_err(|_| Broken::Told("client_gone"))
                    }
                }
            }
            Err(bad) => {
                let answer = rpc::error(&Value::Null, rpc::INVALID_REQUEST, &bad.to_string());
                self.say(request, 400, &answer).await
            }
        }
    }

    async fn say(&mut self, request: &Exchange, status: u16, body: &[u8]) -> Result<Next, Broken> {
        // What was not read of a body would be read as the next request.
        let is_read = status != 405 || request.framing == crate::http::body::Framing::Empty;
        let next = if request.closes || !is_read { Next::Close } else { Next::Another };
        let connection = if matches!(next, Next::Close) { "connection: close\r\n" } else { "" };
        let allow = if status == 405 { "allow: POST\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} \r\n{HEAD}{allow}content-length: {}\r\n{connection}\r\n", body.len());
        let written = self.client.write(&[head.as_bytes(), body].concat()).await;
        written.map(|()| next).map_err(|_| Broken::Told("client_gone"))
    }
}

/// One server, as one message of a client finds it.
struct Served<'a> {
    context: &'a Context,
    door: &'a ToolDoor,
    server: &'a ToolServer,
    conversation: &'a Mutex<Conversation>,
    /// Whether its client listens no more.
    has_left: AtomicBool,
}

impl Served<'_> {
    async fn answer(&self, id: &Value, method: &str, mut params: Map<String, Value>) -> Vec<u8> {
        match method {
            "initialize" => {
                let asked = params.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
                rpc::answer(
                    id,
                    &json!({
                        "protocolVersion": rpc::version_for(asked),
                        "capabilities": { "tools": {} },
                        "serverInfo": { "name": self.server.name.as_str(), "version": env!("CARGO_PKG_VERSION") },
                    }),
                )
            }
            "ping" => rpc::answer(id, &json!({})),
            "tools/list" => match self.list().await {
                Ok(tools) => rpc::answer(id, &json!({ "tools": tools })),
                Err((code, next_step)) => rpc::error(id, rpc::REFUSED, &format!("denied ({code}): {next_step}")),
            },
            "tools/call" => {
                let arguments = match params.remove("arguments") {
                    None => Some(Map::new()),
                    Some(Value::Object(arguments)) => Some(arguments),
                    Some(_) => None,
                };
                let name = params.remove("name");
                let name = name.as_ref().and_then(Value::as_str);
                // What a client says beside the call is nobody's business but its own.
                params.remove("_meta");
                match (name, arguments, params.is_empty()) {
                    (Some(name), Some(arguments), true) => self.call(id, name, &arguments).await,
                    _ => rpc::error(id, rpc::INVALID_PARAMS, "a call has a `name` and `arguments`, and nothing else"),
                }
            }
            // Resources, prompts, sampling and all the rest are not brokered.
            _ => rpc::error(id, rpc::METHOD_NOT_FOUND, "this door has tools, and nothing else"),
        }
    }

    /// The tools that were taken on, are described as they were then, and that policy lets the agent see.
    async fn list(&self) -> Result<Vec<Value>, (String, String)> {
        let (tools, serial, sent) = {
            let serial = self.context.link.serial();
            let mut conversation = self.take_turn(self.ask(serial)).await?;
            let listed = timeout(self.server.patience, conversation.list(self.context, self.server)).await;
            (listed.unwrap_or(Err(Broke::Silent)), serial, conversation.sent())
        };
        match tools {
            Ok(tools) => {
                let (taken, others) = self.door.sift(self.server, tools);
                self.note(others).await;
                let shown = self.shown().await;
                let taken = taken.into_iter().filter(|tool| shown.iter().any(|shown| shown == tool.name.as_str()));
                let told: Vec<Value> = taken.map(|tool| tool.told).collect();
                let came = Came { code: "answered".to_owned(), told: Value::Array(told.clone()) };
                self.done(serial, sent, &came).await;
                Ok(told)
            }
            Err(broke) => {
                let (code, next_step) = self.broke(&broke);
                self.done(serial, sent, &Came { code: code.clone(), told: Value::Null }).await;
                Err((code, next_step))
            }
        }
    }

    async fn call(&self, id: &Value, name: &str, arguments: &Map<String, Value>) -> Vec<u8> {
        let taken = ToolName::parse(name).and_then(|tool| self.server.tools.get_key_value(&tool));
        let Some((tool, taken)) = taken else {
            let told: String = name.chars().take(64).collect();
            self.context.link.refused(Layer::Tools, "tool_not_listed", &format!("{} {told}", self.server.name));
            return rpc::error(id, rpc::INVALID_PARAMS, "denied (tool_not_listed): call a tool of this server's list");
        };
        let text = canonical(&Value::Object(arguments.clone()));
        // Asked once and for all of them: what the keeper is told of a call is what the server is sent.
        let facts = match (self.turned_up(&text), facts(taken, arguments)) {
            (Some(refusal), _) => return self.refuse(id, &refusal),
            (None, Err(untold)) => {
                self.context.link.refused(Layer::Tools, "tool_call_untold", &format!("{} {tool}", self.server.name));
                return rpc::answer(id, &result::refused("tool_call_untold", &untold.to_string()));
            }
            (None, Ok(facts)) => facts,
        };
        let serial = self.context.link.serial();
        let ask = ServerAsk {
            tool: Some(tool.clone()),
            command: facts.command,
            paths: facts.paths,
            addresses: facts.addresses,
            values: facts.values,
            arguments: digest_of(text.as_bytes()),
            argument_bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
            ..self.ask(serial)
        };
        let mut conversation = match self.take_turn(ask).await {
            Ok(conversation) => conversation,
            Err((code, next_step)) => return rpc::answer(id, &result::refused(&code, &next_step)),
        };
        let calling = self.call_as_described(&mut conversation, serial, tool, taken.described, arguments);
        // People have their own patience, which the keeper ends.
        let came = match self.server.way == ServerWay::Factory && tool.as_str() == ASK_PERSON {
            true => calling.await,
            false => timeout(self.server.patience, calling).await.unwrap_or(Err(Broke::Silent)),
        };
        let came = came.unwrap_or_else(|broke| {
            let (code, next_step) = self.broke(&broke);
            Came { told: result::refused(&code, &next_step), code }
        });
        self.done(serial, conversation.sent(), &came).await;
        rpc::answer(id, &came.told)
    }

    /// The conversation with the server, once the keeper has allowed what is to be said. One at a time from its decision on; but nobody
    /// waits for the server while somebody is waited for.
    async fn take_turn(&self, ask: ServerAsk) -> Result<MutexGuard<'_, Conversation>, (String, String)> {
        let (serial, most) = (ask.serial, ask.sent_at_most());
        let turn = self.conversation.lock().await;
        let mut conversation = match self.context.link.want(Wanted::Server(ask)).await {
            Some(Given::Held) => {
                drop(turn);
                let given = self.asker(serial).wait().await;
                self.is_allowed(serial, given).await?;
                self.conversation.lock().await
            }
            given => {
                self.is_allowed(serial, given).await?;
                turn
            }
        };
        conversation.may_send(most);
        Ok(conversation)
    }

    /// Calls a tool if it is described now as it was when it was taken on; whoever changed it since may have changed what it does.
    async fn call_as_described(
        &self,
        conversation: &mut Conversation,
        serial: u64,
        tool: &ToolName,
        described: Digest,
        arguments: &Map<String, Value>,
    ) -> Result<Came, Broke> {
        let tools = conversation.list(self.context, self.server).await?;
        let now = tools.iter().find(|now| now.name == *tool).map(|now| now.digest);
        let (_, others) = self.door.sift(self.server, tools);
        self.note(others).await;
        let refused =
            |code: &str, next_step: &str| Came { code: code.to_owned(), told: result::refused(code, next_step) };
        if now != Some(described) {
            let code = if now.is_some() { "tool_changed" } else { "tool_gone" };
            self.context.link.refused(Layer::Tools, code, &format!("{} {tool}", self.server.name));
            return Ok(refused(
                code,
                "work without this tool: its server says something else of it than when it was taken on",
            ));
        }
        let answer = conversation.call(self.asker(serial), self.server, tool, arguments).await?;
        Ok(match result::outcome(&answer) {
            Ok(outcome) => {
                let code = if outcome.is_error { "tool_error" } else { "answered" };
                Came { code: code.to_owned(), told: outcome.told }
            }
            Err(bad) => {
                let code = match bad {
                    BadResult::Unknown => "content_unknown",
                    BadResult::TooLong => "response_too_long",
                };
                self.context.link.refused(Layer::Tools, code, &format!("{} {tool}", self.server.name));
                refused(code, "ask for something else, or for less")
            }
        })
    }

    fn ask(&self, serial: u64) -> ServerAsk {
        ServerAsk {
            serial,
            server: self.server.name.clone(),
            tool: None,
            command: String::new(),
            paths: Vec::new(),
            addresses: Vec::new(),
            values: Vec::new(),
            arguments: digest_of(b"{}"),
            argument_bytes: 0,
        }
    }

    fn asker(&self, serial: u64) -> Asker<'_> {
        Asker { context: self.context, serial, has_left: &self.has_left }
    }

    /// Why not, where the keeper does not allow it.
    async fn is_allowed(&self, serial: u64, given: Option<Given>) -> Result<(), (String, String)> {
        if given == Some(Given::Allowed) {
            return Ok(());
        }
        let not_allowed = NotAllowed::of(given);
        if matches!(not_allowed, NotAllowed::NoAnswer) {
            // It may have been allowed and told too late: nothing comes of it.
            self.done(serial, 0, &Came { code: "not_sent".to_owned(), told: Value::Null }).await;
        }
        let refusal = Refusal::NotAllowed(not_allowed);
        let shown = refusal.shown();
        Err((shown.code.to_owned(), shown.next_step.to_owned()))
    }

    /// Which tools the agent is shown; none where nobody says.
    async fn shown(&self) -> Vec<String> {
        match self.context.link.want(Wanted::Shown { server: self.server.name.clone() }).await {
            Some(Given::Shown { tools }) => tools,
            Some(_) | None => Vec::new(),
        }
    }

    async fn note(&self, tools: Vec<NotTakenOn>) {
        for tool in tools {
            // It is called neither way: a note that is lost is a tool nobody knows of.
            let _noted = self.context.link.want(Wanted::NotTakenOn(tool)).await;
        }
    }

    async fn done(&self, serial: u64, request_bytes: u64, came: &Came) {
        let text = canonical(&came.told);
        let done = ServerDone {
            serial,
            code: came.code.clone(),
            answer: digest_of(text.as_bytes()),
            answer_bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
            request_bytes,
        };
        let _noted = self.context.link.want(Wanted::ServerDone(done)).await;
    }

    fn turned_up(&self, text: &str) -> Option<Refusal> {
        let watch = BodyWatch::over(&self.context.loans);
        watch.and_then(|watch| watch.turned_up_in(text.as_bytes())).map(Refusal::TurnedUp)
    }

    fn refuse(&self, id: &Value, refusal: &Refusal) -> Vec<u8> {
        if let Some((code, detail)) = refusal.reported() {
            self.context.link.refused(Layer::Tools, code, &detail);
        }
        let shown = refusal.shown();
        rpc::answer(id, &result::refused(shown.code, shown.next_step))
    }

    /// What is said of a server that gave no answer, to the record and to the agent.
    fn broke(&self, broke: &Broke) -> (String, String) {
        match broke {
            Broke::Refused(refusal) => {
                if let Some((code, detail)) = refusal.reported() {
                    self.context.link.refused(Layer::Tools, code, &detail);
                }
            }
            // A server that says no says it to the agent; told already.
            Broke::Failed(_) | Broke::AskedBack => {}
            Broke::Gone | Broke::Silent | Broke::Garbled | Broke::TooLong | Broke::Status(_) | Broke::Version => {
                let code = broke.own_code();
                self.context.link.refused(Layer::Tools, code, self.server.name.as_str());
            }
        }
        (broke.code().to_owned(), broke.next_step())
    }
}
