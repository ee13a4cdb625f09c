//! A request that was allowed, on its way: its credential put in, sent on the connection at hand or a new one, its answer passed back. Never
//! decides; it looks a second time all the same.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use selvedge_domain::{Endpoint, Time};

use super::{Body, Broken, Connection, Next};
use crate::http::body::{BadBody, BodyReader, Framing};
use crate::http::budget::Spent;
use crate::http::lend::{self, BodyWatch, Going, Injection};
use crate::http::peer::{Peer, ReadError, RelayError, Tally, Watch, relay};
use crate::http::refusal::Refusal;
use crate::http::request::Exchange;
use crate::http::response::{RESPONSE_HEAD_BYTES_MAX, Response, parse_response};
use crate::http::sieve::{Sieve, mask_all};
use crate::http::sign;
use crate::protocol::Layer;

/// How long a server may think; package indexes are slow when cold.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

/// What passed, also when it broke off.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// The server did not take all of the body, so the client's connection cannot be read on.
    is_cut_short: bool,
    /// The client has part of an answer.
    client_is_told: bool,
}

impl Connection {
    /// Forwards a request with its credential for as long as that is lent: one that is withdrawn cuts what is under way.
    pub(super) async fn forward_while_lent(
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

    /// Forwards a request that was allowed, and passes its answer back.
    pub(super) async fn forward(
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
}

async fn read_response(server: &mut Peer, request: &Exchange) -> Result<Response, Refusal> {
    read_response_within(server, request, SERVER_PATIENCE).await
}

/// Reads the head of an answer from whoever may think for so long.
pub(super) async fn read_response_within(
    server: &mut Peer,
    request: &Exchange,
    patience: Duration,
) -> Result<Response, Refusal> {
    let head = server.read_head(RESPONSE_HEAD_BYTES_MAX, patience).await.map_err(|error| match error {
        ReadError::Ended | ReadError::Broken => Refusal::ServerGone,
        ReadError::TimedOut => Refusal::ServerSilent,
        ReadError::Head(_) => Refusal::ServerMalformed,
    })?;
    parse_response(&head, request.method).map_err(|_| Refusal::ServerMalformed)
}

/// What the host's clock says; a service refuses a signature that is more than some minutes off.
pub(super) fn now() -> Time {
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
