//! A run's tool door: what it is told, its conversations, and what it noted of tools that were not taken on.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use selvedge_domain::{Digest, Endpoint, ServerName, ToolName};

use super::describe::Described;
use super::over_pipe::Pipes;
use super::server::Conversation;
use super::wanted::{NotTakenOn, ServerWay, ToolHost, ToolServer};

/// Tools that are noted in one attempt: a server chooses how many it has.
const NOTED_MAX: usize = 256;

/// What the connections of a door share.
#[derive(Debug)]
pub(crate) struct ToolDoor {
    pub(crate) host: ToolHost,
    conversations: Vec<tokio::sync::Mutex<Conversation>>,
    noted: Mutex<BTreeSet<(ServerName, ToolName, Digest)>>,
}

impl ToolDoor {
    /// Nothing was said yet. A server whose pipes are missing is gone.
    pub(crate) fn new(host: ToolHost, pipes: Vec<Pipes>) -> Self {
        let mut pipes = pipes.into_iter();
        let mut conversation = |server: &ToolServer| {
            let pipes = if server.way == ServerWay::Pipes { pipes.next() } else { None };
            tokio::sync::Mutex::new(Conversation::new(server, pipes))
        };
        let conversations = host.servers.iter().map(&mut conversation).collect();
        Self { host, conversations, noted: Mutex::default() }
    }

    /// The server that a path names, and the conversation with it.
    pub(crate) fn at(&self, path: &str) -> Option<(&ToolServer, &tokio::sync::Mutex<Conversation>)> {
        let name = path.strip_prefix('/')?;
        self.host.servers.iter().zip(&self.conversations).find(|(server, _)| server.name.as_str() == name)
    }

    /// Whether a request would go where a server is. Its calls are judged at this door and nowhere else.
    pub(crate) fn is_server(&self, endpoint: &Endpoint, path: &str) -> bool {
        self.host.servers.iter().any(|server| match &server.way {
            ServerWay::Http { upstream, path: place } => {
                upstream == endpoint
                    && path.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            ServerWay::Pipes | ServerWay::Factory => false,
        })
    }

    /// Those of a list that were taken on as they are described, and those that were not and have not been noted before.
    pub(crate) fn sift(&self, server: &ToolServer, tools: Vec<Described>) -> (Vec<Described>, Vec<NotTakenOn>) {
        let is_taken_on =
            |tool: &Described| server.tools.get(&tool.name).is_some_and(|taken| taken.described == tool.digest);
        let (taken, others): (Vec<_>, Vec<_>) = tools.into_iter().partition(is_taken_on);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let others = others.into_iter().filter(|tool| {
            noted.len() < NOTED_MAX && noted.insert((server.name.clone(), tool.name.clone(), tool.digest))
        });
        let others = others.map(|tool| NotTakenOn {
            server: server.name.clone(),
            described: tool.digest,
            is_changed: server.tools.contains_key(&tool.name),
            text: tool.text(),
            tool: tool.name,
        });
        (taken, others.collect())
    }
}
