//! One client connection, request by request: read, place, judge, forward, answer. Each request is judged anew, whatever
//! came before it on the connection.

mod forward;
mod held;
mod model;
mod rehearsed;
mod ruling;
mod signs;
mod told;
mod tools;
mod turn;
mod whole;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use selvedge_domain::Endpoint;
use tokio::sync::OwnedSemaphorePermit;

use self::forward::Passed;
use super::Context;
use super::body::{BodyReader, Framing};
use super::entry::{Entry, open_tunnel};
use super::lend::{self, Injection};
use super::peer::{Peer, ReadError};
use super::refusal::{Refusal, Unserved};
use super::request::{BadRequest, Exchange, REQUEST_HEAD_BYTES_MAX, Request, parse_request};
use crate::access;
use crate::dial::ClientLeg;
use crate::link::{Question, failed};
use crate::protocol::{Layer, Outcome};
use crate::tokens;

/// How long a client may be idle between requests; pools keep connections about as long.
const CLIENT_PATIENCE: Duration = Duration::from_secs(90);

/// A client's connection and the server it last reached.
pub(crate) struct Connection {
    pub(crate) context: Arc<Context>,
    pub(crate) client: Peer,
    pub(crate) entry: Entry,
    /// The server's connection is this client's alone, so nothing another run sent can be on it.
    pub(crate) server: Option<(Endpoint, Peer)>,
}

/// A request's body on its way.
enum Body {
    /// From the client, as it comes.
    Streamed(BodyReader),
    /// Read whole, and looked through; with the room it takes.
    Whole(Vec<u8>, OwnedSemaphorePermit),
}

/// What follows a request.
enum Next {
    Another,
    Tunnel(Endpoint),
    Close,
}

/// Why an exchange ended early.
enum Broken {
    /// The client has seen nothing yet and is told.
    Untold(Refusal),
    /// The client has seen part of an answer, or is gone.
    Told(&'static str),
}

impl<R: Into<Refusal>> From<R> for Broken {
    fn from(refusal: R) -> Self {
        Self::Untold(refusal.into())
    }
}

impl Connection {
    /// Serves until either side is done.
    pub(crate) async fn serve(mut self) {
        loop {
            match self.serve_one().await {
                Next::Another => {}
                Next::Tunnel(endpoint) => {
                    // Boxed: a tunnel is a connection again.
                    return Box::pin(open_tunnel(self.context, self.client, endpoint)).await;
                }
                Next::Close => break,
            }
        }
        self.client.shut_down().await;
    }

    async fn serve_one(&mut self) -> Next {
        let head = match self.client.read_head(REQUEST_HEAD_BYTES_MAX, CLIENT_PATIENCE).await {
            Ok(head) => head,
            Err(ReadError::Head(bad)) => return self.refuse(&BadRequest::Head(bad).into(), Next::Close).await,
            Err(ReadError::Ended | ReadError::Broken | ReadError::TimedOut) => return Next::Close,
        };
        match parse_request(&head) {
            Ok(Request::Exchange(mut request)) => self.exchange(&mut request).await,
            Ok(Request::Connect(endpoint)) => self.connect(endpoint).await,
            Err(bad) => self.refuse(&bad.into(), Next::Close).await,
        }
    }

    async fn connect(&mut self, endpoint: Endpoint) -> Next {
        if !matches!(self.entry, Entry::Proxy) || self.client.has_sent_ahead() {
            return self.refuse(&Refusal::WrongForm, Next::Close).await;
        }
        if !self.context.scope.reaches(&endpoint) {
            return self.refuse(&Refusal::NotGranted(endpoint.host.to_string()), Next::Close).await;
        }
        match self.client.write(b"HTTP/1.1 200 \r\n\r\n").await {
            Ok(()) => Next::Tunnel(endpoint),
            Err(_) => Next::Close,
        }
    }

    async fn exchange(&mut self, request: &mut Exchange) -> Next {
        // After a refusal an unread body would be read as the next request.
        let next = if request.framing == Framing::Empty && !request.closes { Next::Another } else { Next::Close };
        match self.judge_and_forward(request).await {
            Ok(next) => next,
            Err(Broken::Untold(refusal)) => self.refuse(&refusal, next).await,
            Err(Broken::Told(_)) => Next::Close,
        }
    }

    /// The one way a request takes, however it came in.
    async fn judge_and_forward(&mut self, request: &mut Exchange) -> Result<Next, Broken> {
        let endpoint = self.entry.place(request)?;
        if !self.context.scope.reaches(&endpoint) {
            return Err(Refusal::NotGranted(endpoint.host.to_string()).into());
        }
        if let Some(served) = self.serve_own(request, &endpoint).await {
            return served;
        }
        let injection = lend::injection(&self.context.loans, request, &endpoint)?;
        if let Some(injection) = injection.as_ref().filter(|_| self.entry.leg() == ClientLeg::Clear) {
            return Err(Refusal::LentInClear(injection.credential.clone()).into());
        }
        for name in lend::foreign_fields(&self.context.loans, request, &endpoint) {
            self.context.link.refused(Layer::Http, "foreign_credential_stripped", name);
        }
        let body = BodyReader::begin(request.framing, self.context.limits.request_body_bytes_max)?;
        let mut question = self.question(request, &endpoint, injection.as_ref());
        // While the keeper thinks nothing is under way yet that a renewal or a withdrawal would have to wait for.
        let is_lent = injection.is_some();
        drop(injection);
        let (graphql, body) = self.read_graphql(request, &endpoint, body).await?;
        question.graphql = graphql;
        let allowed = self.context.link.ask(question).await.map_err(Refusal::from)?;

        let mut passed = Passed::default();
        let forwarded = match is_lent {
            true => self.forward_while_lent(request, &endpoint, body, &mut passed).await,
            false => self.forward(request, &endpoint, body, None, &mut passed).await,
        };
        let outcome = match &forwarded {
            Ok((status, _)) => Outcome::Answered { status: *status },
            Err(Broken::Untold(refusal)) => failed(refusal.shown().code),
            Err(Broken::Told(code)) => failed(code),
        };
        self.context.link.finish(allowed, outcome, passed.request_bytes, passed.response_bytes).await;
        forwarded.map(|(_, next)| next)
    }

    /// Serves what the door answers itself; nothing where a request is for somebody else.
    async fn serve_own(&mut self, request: &mut Exchange, endpoint: &Endpoint) -> Option<Result<Next, Broken>> {
        let context = Arc::clone(&self.context);
        let client = &mut self.client;
        let served = if let Some(git) = context.git.as_ref().filter(|git| git.host.endpoint == *endpoint) {
            git.serve(&context, client, request).await
        } else if context.tokens.as_ref() == Some(endpoint) {
            tokens::serve(&context, client, request).await
        } else if context.asking.as_ref() == Some(endpoint) {
            access::serve(&context, client, request).await
        } else if context.model.as_ref().is_some_and(|model| model.host.endpoint == *endpoint) {
            return Some(self.serve_model(request).await);
        } else if context.tools.as_ref().is_some_and(|tools| tools.host.endpoint == *endpoint) {
            return Some(self.serve_tools(request).await);
        } else {
            return self
                .belongs_elsewhere(request, endpoint)
                .then(|| Err(Refusal::NotGranted(endpoint.host.to_string()).into()));
        };
        Some(match served {
            Ok(()) if request.closes => Ok(Next::Close),
            Ok(()) => Ok(Next::Another),
            Err(Unserved::Refused(refusal)) => Err(Broken::Untold(refusal)),
            Err(Unserved::ClientGone) => Err(Broken::Told("client_gone")),
        })
    }

    /// Whoever may have a model answer, or ask a tool server, does so where its calls are judged, and nowhere else.
    fn belongs_elsewhere(&self, request: &Exchange, endpoint: &Endpoint) -> bool {
        self.context.model.as_ref().is_some_and(|model| model.host.upstream == *endpoint)
            || self.context.tools.as_ref().is_some_and(|tools| tools.is_server(endpoint, request.path.as_str()))
    }

    fn question(&self, request: &Exchange, endpoint: &Endpoint, injection: Option<&Injection>) -> Question {
        Question {
            credential: injection.map(|injection| injection.credential.clone()),
            graphql: BTreeSet::new(),
            method: request.method,
            endpoint: endpoint.clone(),
            path: request.path.as_str().to_owned(),
            query_bytes: u64::try_from(request.query_bytes()).unwrap_or(u64::MAX),
            body_bytes: match request.framing {
                Framing::Empty => Some(0),
                Framing::Length(length) => Some(length),
                Framing::Chunked | Framing::UntilClose => None,
            },
            source: self.entry.source(),
        }
    }

    /// Tells the client and, where the keeper does not know, the keeper.
    async fn refuse(&mut self, refusal: &Refusal, next: Next) -> Next {
        if let Some((code, detail)) = refusal.reported() {
            self.context.link.refused(Layer::Http, code, &detail);
        }
        let mut response = Vec::new();
        refusal.write(matches!(next, Next::Close), &mut response);
        match self.client.write(&response).await {
            Ok(()) => next,
            Err(_) => Next::Close,
        }
    }
}
