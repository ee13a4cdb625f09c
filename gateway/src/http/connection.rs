//! One client connection, request by request: read, place, judge, forward, answer. Each request is judged anew, whatever
//! came before it on the connection.

mod held;
mod model;
mod tools;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use selvedge_domain::{Endpoint, GraphqlAct, Time};
use tokio::sync::OwnedSemaphorePermit;

use super::Context;
use super::body::{BadBody, BodyReader, Framing};
use super::budget::Spent;
use super::entry::{Entry, open_tunnel};
use super::lend::{self, BodyWatch, Going, Injection};
use super::peer::{Peer, ReadError, RelayError, Tally, Watch, relay};
use super::refusal::Refusal;
use super::request::{BadRequest, Exchange, REQUEST_HEAD_BYTES_MAX, Request, parse_request};
use super::response::{RESPONSE_HEAD_BYTES_MAX, Response, parse_response};
use super::sieve::{Sieve, mask_all};
use super::sign;
use crate::access;
use crate::dial::ClientLeg;
use crate::git::door as git;
use crate::graphql::{CALL_BYTES_MAX, Head};
use crate::link::{Question, failed};
use crate::protocol::{Layer, Outcome};
use crate::tokens;

/// How long a client may be idle between requests; pools keep connections about as long.
const CLIENT_PATIENCE: Duration = Duration::from_secs(90);

/// How long a server may think; package indexes are slow when cold.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

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

/// What passed, also when it broke off.
#[derive(Default)]
struct Passed {
    request_bytes: u64,
    response_bytes: u64,
    /// The server did not take all of the body, so the client's connection cannot be read on.
    is_cut_short: bool,
    /// The client has part of an answer.
    client_is_told: bool,
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
        if let Some(git) = self.context.git.as_ref().filter(|git| git.host.endpoint == endpoint) {
            return match git.serve(&self.context, &mut self.client, request).await {
                Ok(()) => Ok(if request.closes { Next::Close } else { Next::Another }),
                Err(git::Broken::Refused(refusal)) => Err(Broken::Untold(refusal)),
                Err(git::Broken::ClientGone) => Err(Broken::Told("client_gone")),
            };
        }
        if self.context.tokens.as_ref() == Some(&endpoint) {
            return match tokens::serve(&self.context, &mut self.client, request).await {
                Ok(()) => Ok(if request.closes { Next::Close } else { Next::Another }),
                Err(tokens::Broken::Refused(refusal)) => Err(Broken::Untold(refusal)),
                Err(tokens::Broken::ClientGone) => Err(Broken::Told("client_gone")),
            };
        }
        if self.context.asking.as_ref() == Some(&endpoint) {
            return match access::serve(&self.context, &mut self.client, request).await {
                Ok(()) => Ok(if request.closes { Next::Close } else { Next::Another }),
                Err(tokens::Broken::Refused(refusal)) => Err(Broken::Untold(refusal)),
                Err(tokens::Broken::ClientGone) => Err(Broken::Told("client_gone")),
            };
        }
        if self.context.model.as_ref().is_some_and(|model| model.host.endpoint == endpoint) {
            return self.serve_model(request).await;
        }
        // Whoever may have a model answer does so where its calls are judged, and nowhere else.
        if self.context.model.as_ref().is_some_and(|model| model.host.upstream == endpoint) {
            return Err(Refusal::NotGranted(endpoint.host.to_string()).into());
        }
        if self.context.tools.as_ref().is_some_and(|tools| tools.host.endpoint == endpoint) {
            return self.serve_tools(request).await;
        }
        // Nor does whoever may ask a tool server ask it elsewhere.
        if self.context.tools.as_ref().is_some_and(|tools| tools.is_server(&endpoint, request.path.as_str())) {
            return Err(Refusal::NotGranted(endpoint.host.to_string()).into());
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

    /// Forwards a request with its credential for as long as that is lent: one that is withdrawn cuts what is under way.
    async fn forward_while_lent(
        &mut self,
        request: &mut Exchange,
        endpoint: &Endpoint,
        body: Body,
        passed: &mut Passed,
    ) -> Result<(u16, Next), Broken> {
        // The keeper took its time to answer: what goes out is what is lent now.
        let injection = lend::injection(&self.context.loans, request, endpoint)?.ok_or(Refusal::OutsideGrant)?;
        let forwarded = tokio::select! {
            biased;
            () = injection.in_hand.withdrawn() => None,
            forwarded = self.put_in_and_forward(request, endpoint, body, &injection, passed) => Some(forwarded),
        };
        forwarded.unwrap_or_else(|| match lend::withdrawn(&self.context.loans, &injection.credential) {
            Some(refusal) if !passed.client_is_told => Err(Broken::Untold(refusal)),
            _ => Err(Broken::Told("credential_withdrawn")),
        })
    }

    async fn put_in_and_forward(
        &mut self,
        request: &mut Exchange,
        endpoint: &Endpoint,
        body: Body,
        injection: &Injection,
        passed: &mut Passed,
    ) -> Result<(u16, Next), Broken> {
        let body = self.put_in(request, endpoint, body, injection).await?;
        self.forward(request, endpoint, body, Some(injection), passed).await
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

    /// Puts the credential into a request. One that signs needs all of it first; nothing of a body has left by then.
    async fn put_in(
        &mut self,
        request: &mut Exchange,
        endpoint: &Endpoint,
        body: Body,
        injection: &Injection,
    ) -> Result<Body, Broken> {
        match &injection.going {
            Going::Field(field, value) => {
                request.carry(field.as_str(), value);
                Ok(body)
            }
            Going::Signature(keys, signed_for) => {
                let (bytes, room) = match body {
                    Body::Streamed(body) => self.read_whole(request, body).await?,
                    Body::Whole(bytes, room) => (bytes, room),
                };
                let bytes = sign::uncoded(request, bytes)?;
                self.refuse_turned_up(&bytes)?;
                let place = (endpoint, self.entry.port_default());
                sign::sign(request, &bytes, (keys, signed_for), place, now());
                Ok(Body::Whole(bytes, room))
            }
        }
    }

    /// Reads what a request would do where GraphQL is spoken, and its body with it: nobody can be asked before.
    async fn read_graphql(
        &mut self,
        request: &mut Exchange,
        endpoint: &Endpoint,
        body: BodyReader,
    ) -> Result<(BTreeSet<GraphqlAct>, Body), Broken> {
        let context = Arc::clone(&self.context);
        let path = request.path.as_str();
        let Some(service) = context.graphql.iter().find(|service| service.is_at(&endpoint.host, path)) else {
            return Ok((BTreeSet::new(), Body::Streamed(body)));
        };
        let media = match service.read_head(request).map_err(Refusal::from)? {
            Head::Whole(acts) => return Ok((acts, Body::Streamed(body))),
            Head::BodyFollows(media) => media,
        };
        let body = BodyReader::begin(request.framing, context.limits.request_body_bytes_max.min(CALL_BYTES_MAX))?;
        let (bytes, room) = self.read_whole(request, body).await?;
        self.refuse_turned_up(&bytes)?;
        let acts = service.read_body(media, &bytes).map_err(Refusal::from)?;
        request.framing = Framing::Length(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok((acts, Body::Whole(bytes, room)))
    }

    /// What leaves whole is looked through whole.
    fn refuse_turned_up(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let turned = BodyWatch::over(&self.context.loans).and_then(|watch| watch.turned_up_in(bytes));
        turned.map_or(Ok(()), |turned| Err(Refusal::TurnedUp(turned)))
    }

    /// Reads a body whole once there is room, having told the client to send it where it waits for that.
    async fn read_whole(
        &mut self,
        request: &mut Exchange,
        body: BodyReader,
    ) -> Result<(Vec<u8>, OwnedSemaphorePermit), Broken> {
        let room = Arc::clone(&self.context.whole_bodies).acquire_owned().await;
        let room = room.map_err(|_| Broken::Told("door_closing"))?;
        self.let_client_go_on(request).await?;
        request.expects_continue = false;
        match self.client.read_body(body).await {
            Ok(bytes) => Ok((bytes, room)),
            Err(RelayError::Malformed(bad)) if bad != BadBody::Truncated => Err(Refusal::Body(bad).into()),
            Err(_) => Err(Broken::Told("client_gone")),
        }
    }

    async fn let_client_go_on(&mut self, request: &Exchange) -> Result<(), Broken> {
        if request.expects_continue && request.framing != Framing::Empty {
            let go_on = self.client.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            go_on.map_err(|_| Broken::Told("client_gone"))?;
        }
        Ok(())
    }

    async fn forward(
        &mut self,
        request: &Exchange,
        endpoint: &Endpoint,
        body: Body,
        injection: Option<&Injection>,
        passed: &mut Passed,
    ) -> Result<(u16, Next), Broken> {
        // The keeper decides; the door looks a second time, so that one mistake is not enough.
        if !self.context.scope.covers(endpoint, request.method, request.path.as_str()) {
            return Err(Refusal::OutsideGrant.into());
        }
        let (mut server, response) = self.send(request, endpoint, body, passed).await?;
        let closes = request.closes || passed.is_cut_short;
        let mut head = Vec::new();
        response.write_head(closes, &mut head);
        let body = BodyReader::begin(response.framing, self.context.limits.response_body_bytes_max)
            .map_err(|_| Refusal::ResponseTooLong)?;
        let framing = response.framing_to_client();
        passed.client_is_told = true;
        self.pass_back(head, &mut server, body, injection, framing, passed).await?;
        if !response.closes && !passed.is_cut_short {
            self.server = Some((endpoint.clone(), server));
        }
        Ok((response.status, if closes { Next::Close } else { Next::Another }))
    }

    /// Passes an answer back. What it says of the secret that went out with the request is masked: a second line of
    /// defence, since whoever answers can write a secret in a form that nobody looks for.
    async fn pass_back(
        &mut self,
        mut head: Vec<u8>,
        server: &mut Peer,
        body: BodyReader,
        injection: Option<&Injection>,
        framing: Framing,
        passed: &mut Passed,
    ) -> Result<(), Broken> {
        let forms = || injection.into_iter().flat_map(|injection| injection.forms.iter().map(Vec::as_slice));
        let mut sieve = Sieve::new(forms());
        let in_head = mask_all(forms(), &mut head);
        let watch = if injection.is_some() { Watch::Mask(&mut sieve) } else { Watch::Unwatched };
        let tally = Tally { relayed: &mut passed.response_bytes, takes_from: None };
        let relayed = relay(head, server, body, watch, framing, &mut self.client, tally).await;
        if let Some(injection) = injection.filter(|_| in_head + sieve.found() > 0) {
            self.context.link.refused(Layer::Http, "secret_masked", injection.credential.as_str());
        }
        relayed.map_err(|error| Broken::Told(response_code(&error)))
    }

    /// Sends a request on the connection at hand or a new one and reads the head of the answer.
    async fn send(
        &mut self,
        request: &Exchange,
        endpoint: &Endpoint,
        body: Body,
        passed: &mut Passed,
    ) -> Result<(Peer, Response), Broken> {
        let kept = self.take_kept(endpoint).await;
        // The server may close a kept connection just now. What is harmless to repeat is repeated on a new one.
        let may_repeat = kept.is_some() && request.may_be_repeated();
        let mut server = match kept {
            Some(kept) => kept,
            None => self.dial(endpoint).await?,
        };
        match self.send_on(&mut server, request, endpoint, body, passed).await {
            Err(Broken::Untold(Refusal::ServerGone)) if may_repeat => {
                let mut server = self.dial(endpoint).await?;
                let nothing = Body::Streamed(BodyReader::begin(Framing::Empty, 0)?);
                let response = self.send_on(&mut server, request, endpoint, nothing, passed).await?;
                Ok((server, response))
            }
            sent => sent.map(|response| (server, response)),
        }
    }

    /// The connection left from the request before, if it leads to the same place and is still fit for use.
    async fn take_kept(&mut self, endpoint: &Endpoint) -> Option<Peer> {
        let (held, mut server) = self.server.take()?;
        (held == *endpoint && server.is_quiet().await).then_some(server)
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Peer, Refusal> {
        let dialled = self.context.dialer.dial(endpoint, self.entry.leg(), &self.context.scope).await;
        dialled.map_err(Refusal::from)
    }

    async fn send_on(
        &mut self,
        server: &mut Peer,
        request: &Exchange,
        endpoint: &Endpoint,
        body: Body,
        passed: &mut Passed,
    ) -> Result<Response, Broken> {
        let mut head = Vec::new();
        request.write_head(endpoint, self.entry.port_default(), &mut head);
        let context = Arc::clone(&self.context);
        let (budgets, host) = (&context.budgets, &endpoint.host);
        let body = match body {
            Body::Streamed(body) => body,
            Body::Whole(bytes, _room) => {
                head.extend_from_slice(&bytes);
                let whole = u64::try_from(head.len()).unwrap_or(u64::MAX);
                budgets.take(host, whole).map_err(|Spent| Refusal::SendSpent(host.to_string()))?;
                passed.request_bytes = passed.request_bytes.saturating_add(whole);
                return match server.write(&head).await {
                    Ok(()) => Ok(read_response(server, request).await?),
                    Err(_) if request.framing == Framing::Empty => Err(Refusal::ServerGone.into()),
                    // As where it is streamed: it may have answered and not read on.
                    Err(_) => Ok(read_response(server, request).await?),
                };
            }
        };
        // Before anything leaves, and before the client is told to go on: the head, and what the body says it is.
        let head_bytes = u64::try_from(head.len()).unwrap_or(u64::MAX);
        let (announced, takes_from) = match request.framing {
            Framing::Empty => (0, None),
            Framing::Length(length) => (length, None),
            Framing::Chunked | Framing::UntilClose => (0, Some((budgets, host))),
        };
        let taken = budgets.take(host, head_bytes.saturating_add(announced));
        taken.map_err(|Spent| Refusal::SendSpent(host.to_string()))?;
        self.let_client_go_on(request).await?;
        passed.request_bytes = passed.request_bytes.saturating_add(head_bytes);
        let mut body_watch = BodyWatch::over(&context.loans);
        let watch = body_watch.as_mut().map_or(Watch::Unwatched, Watch::Stop);
        let tally = Tally { relayed: &mut passed.request_bytes, takes_from };
        match relay(head, &mut self.client, body, watch, request.framing, server, tally).await {
            Ok(()) => {}
            Err(RelayError::Spent(Spent)) => return Err(Refusal::SendSpent(host.to_string()).into()),
            Err(RelayError::TurnedUp) => {
                let turned = body_watch.and_then(|watch| watch.turned_up());
                return Err(turned.map_or(Broken::Told("turned_up"), |turned| Refusal::TurnedUp(turned).into()));
            }
            Err(RelayError::Sender | RelayError::Malformed(BadBody::Truncated)) => {
                return Err(Broken::Told("client_gone"));
            }
            Err(RelayError::Malformed(bad)) => return Err(Refusal::Body(bad).into()),
            Err(RelayError::Receiver) if request.framing == Framing::Empty => return Err(Refusal::ServerGone.into()),
            // A server may answer and close without reading on; its answer is worth passing back.
            Err(RelayError::Receiver) => passed.is_cut_short = true,
        }
        Ok(read_response(server, request).await?)
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

async fn read_response(server: &mut Peer, request: &Exchange) -> Result<Response, Refusal> {
    read_response_within(server, request, SERVER_PATIENCE).await
}

async fn read_response_within(server: &mut Peer, request: &Exchange, patience: Duration) -> Result<Response, Refusal> {
    let head = server.read_head(RESPONSE_HEAD_BYTES_MAX, patience).await.map_err(|error| match error {
        ReadError::Ended | ReadError::Broken => Refusal::ServerGone,
        ReadError::TimedOut => Refusal::ServerSilent,
        ReadError::Head(_) => Refusal::ServerMalformed,
    })?;
    parse_response(&head, request.method).map_err(|_| Refusal::ServerMalformed)
}

/// What the host's clock says; a service refuses a signature that is more than some minutes off.
fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn response_code(error: &RelayError) -> &'static str {
    match error {
        RelayError::Sender | RelayError::Malformed(BadBody::Truncated) => "server_gone",
        RelayError::Malformed(BadBody::TooLong) => "response_too_long",
        RelayError::Malformed(_) => "server_malformed",
        RelayError::Receiver => "client_gone",
        RelayError::TurnedUp => "turned_up",
        RelayError::Spent(_) => "send_budget_spent",
    }
}
