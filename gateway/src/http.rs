//! The HTTP door: ends TLS, reads each request into one canonical form, asks the keeper, and forwards that very form.
//! `connection` is the way of a request; `request`, `response`, `body`, `fields`, `path` and `authority` read bytes without
//! I/O. Never knows why something is allowed.

pub mod authority;
pub(crate) mod aws_chunked;
pub mod body;
pub(crate) mod budget;
pub(crate) mod certificates;
mod connection;
pub mod credentials;
pub(crate) mod entry;
pub mod fields;
pub(crate) mod lend;
pub mod path;
pub(crate) mod peer;
pub(crate) mod refusal;
pub mod request;
pub mod response;
pub(crate) mod sieve;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use selvedge_domain::Endpoint;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::dial::Dialer;
use crate::git::door::GitDoor;
use crate::graphql::GraphqlService;
use crate::link::Link;
use crate::loan::Loans;
use crate::model::door::ModelDoor;
use crate::protocol::{Limits, ListenerKind};
use crate::scope::Scope;
use crate::tools::door::ToolDoor;
use budget::Budgets;
use certificates::RunAuthority;
use connection::Connection;
use entry::Entry;
use peer::Peer;

/// Connections served at once per listener; package managers open a few dozen. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 128;

/// Bodies a door holds whole at once, to sign them: as many as S3's clients send parts of one object, with what the limits let each
/// have. More wait.
pub(crate) const WHOLE_BODIES_MAX: usize = 10;

/// How long to wait after the kernel refused to accept, for descriptors to become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection of a door shares.
pub(crate) struct Context {
    pub(crate) scope: Scope,
    pub(crate) link: Link,
    pub(crate) loans: Loans,
    pub(crate) git: Option<GitDoor>,
    /// Where the token endpoint is, if this run has one.
    pub(crate) tokens: Option<Endpoint>,
    /// Where this run asks for more, if it may.
    pub(crate) asking: Option<Endpoint>,
    /// The model it may have answer, if there is one.
    pub(crate) model: Option<ModelDoor>,
    /// The tool servers it may ask, if there are any.
    pub(crate) tools: Option<ToolDoor>,
    /// Where GraphQL is spoken.
    pub(crate) graphql: Vec<GraphqlService>,
    pub(crate) authority: RunAuthority,
    pub(crate) dialer: Dialer,
    pub(crate) limits: Limits,
    /// What may still be sent.
    pub(crate) budgets: Budgets,
    /// Room for the bodies that are read whole.
    pub(crate) whole_bodies: Arc<Semaphore>,
}

/// Accepts connections until the door ends.
pub(crate) async fn serve(listener: TcpListener, kind: ListenerKind, context: Arc<Context>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            serve_client(client, kind, context).await;
            drop(slot);
        });
    }
}

async fn serve_client(client: TcpStream, kind: ListenerKind, context: Arc<Context>) {
    // Answers are written whole; waiting for more only delays them.
    let _ = client.set_nodelay(true);
    let entry = match kind {
        ListenerKind::CapturedTls => return entry::serve_captured(context, Box::new(client)).await,
        ListenerKind::CapturedClear => Entry::CapturedClear,
        ListenerKind::Proxy
        | ListenerKind::Dns
        | ListenerKind::Identity
        | ListenerKind::GitRequest
        | ListenerKind::GitAnswer
        | ListenerKind::ToolInput
        | ListenerKind::ToolOutput => Entry::Proxy,
    };
    Connection { context, client: Peer::new(client), entry, server: None }.serve().await;
}
