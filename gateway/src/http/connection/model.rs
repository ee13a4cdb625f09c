//! A request to the model door: rebuilt, asked about, sent to the model with the factory's own key, and its answer read event by event,
//! each tool call in it asked about before the agent sees it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::held::{Asked, Waiting};
use super::{Body, Broken, Connection, Next};
use crate::dial::ClientLeg;
use crate::http::Context;
use crate::http::body::{self, BadBody, BodyReader, Framing};
use crate::http::entry::HTTPS_PORT;
use crate::http::lend::{self, BodyWatch, Going, Injection};
use crate::http::path::{CanonicalPath, Query};
use crate::http::peer::{Peer, RelayError};
use crate::http::refusal::Refusal;
use crate::http::request::Exchange;
use crate::http::response::Response;
use crate::http::sieve::Sieve;
use crate::identity::wanted::{Given, Wanted};
use crate::model::Protocol;
use crate::model::answer::{Answer, Call, Garbled, Metered, Ruling, broken};
use crate::model::betas;
use crate::model::call::{Called, called};
use crate::model::dialect::{self, Dialogue};
use crate::model::door::{MEMBER_LEFT_OUT, ModelDoor};
use crate::model::facts::facts;
use crate::model::gemini::Target;
use crate::model::request::{REQUEST_BYTES_MAX, Rebuilt, is_all_text};
use crate::model::sse;
use crate::model::wanted::{BUDGET_IN_USE, ModelAsk, ModelDone};
use crate::protocol::Layer;

/// How long is waited before the keeper is asked again whether the budget has room for a call by now.
const BUDGET_WAIT: Duration = Duration::from_millis(500);

/// Longest answer that is no stream.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// Longest text of a refusal of the vendor's that is passed on.
const ERROR_BYTES_MAX: u64 = 256 * 1024;

/// Request fields that a vendor needs beside the body; no other goes upstream.
const FIELDS: [&str; 5] = ["accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta"];

/// What was answered, for the record.
#[derive(Default)]
pub(super) struct Answered {
    status: u16,
    metered: Metered,
    cut_by_vendor: bool,
    /// Whether the keeper was asked about a call that a person has to say yes to.
    has_asked_people: bool,
}

impl Answered {
    /// Nothing was sent, so nothing is billed.
    fn unsent() -> Self {
        Self { metered: Metered { is_final: true, ..Metered::default() }, ..Self::default() }
    }
}

/// How an answer came to its end.
pub(super) enum Ended {
    /// The agent has all of it.
    Whole,
    /// It has a part, and was told so.
    Short,
    /// It has a part, and the rest waits for a person.
    Waits(Box<Waiting>),
}

impl Connection {
    /// Serves one request to the model door.
    pub(super) async fn serve_model(&mut self, request: &mut Exchange) -> Result<Next, Broken> {
        let context = Arc::clone(&self.context);
        let Some(door) = &context.model else { return Err(Refusal::NotModel.into()) };
        let called = called(request).filter(|called| door.host.protocols.contains(&called.protocol));
        let called = called.ok_or(Refusal::NotModel)?;
        let protocol = called.protocol;
        match self.have_answered(&context, door, request, called).await {
            // What an agent's own client understands, so that it stops where it should.
            Err(Broken::Untold(refusal)) => {
                if let Some((code, detail)) = refusal.reported() {
                    context.link.refused(Layer::Model, code, &detail);
                }
                self.tell(protocol, &refusal).await
            }
            other => other,
        }
    }

    async fn have_answered(
        &mut self,
        context: &Context,
        door: &ModelDoor,
        request: &mut Exchange,
        called: Called,
    ) -> Result<Next, Broken> {
        let (bytes, room) = self.read_whole(request, BodyReader::begin(request.framing, REQUEST_BYTES_MAX)?).await?;
        let Dialogue { rebuilt, mut reader } = door.dialogue(&called, &bytes).map_err(Refusal::UnfitCall)?;
        drop(bytes);
        let (mut upstream, betas_left_out) = upstream_request(door, request, &called, &rebuilt)?;
        for member in door.newly_left_out(&rebuilt.left_out.union(&betas_left_out).cloned().collect()) {
            context.link.refused(Layer::Model, MEMBER_LEFT_OUT, &member);
        }
        if let Some(turned) = BodyWatch::over(&context.loans).and_then(|watch| watch.turned_up_in(&rebuilt.body)) {
            return Err(Refusal::TurnedUp(turned).into());
        }
        let injection = lend::injection(&context.loans, &upstream, &door.host.upstream)?;
        let ask = ModelAsk {
            serial: context.link.serial(),
            protocol: called.protocol,
            asked: rebuilt.model.clone(),
            request_bytes: u64::try_from(rebuilt.body.len()).unwrap_or(u64::MAX),
            tools: u64::try_from(rebuilt.tools.len()).unwrap_or(u64::MAX),
            generates: called.generates,
            is_all_text: is_all_text(&rebuilt.body),
            output_tokens_max: rebuilt.output_tokens_max,
            egress: rebuilt.egress.clone(),
            credential: injection.as_ref().map(|injection| injection.credential.clone()),
        };
        let (serial, is_lent) = (ask.serial, injection.is_some());
        // While the keeper thinks nothing is under way yet that a withdrawal would have to wait for.
        drop(injection);
        if let Err(refusal) = allowed_in_turn(context, ask, door.host.patience).await {
            // Whoever did not answer in time may have set something aside for it all the same.
            if matches!(refusal, Refusal::NotAllowed(crate::link::NotAllowed::NoAnswer)) {
                settle(context, serial, Answered::unsent()).await;
            }
            return Err(refusal.into());
        }
        let mut answered = Answered::default();
        let streams = rebuilt.streams && called.generates;
        let body = Body::Whole(rebuilt.body, room);
        let injection = match is_lent {
            true => match lend::injection(&context.loans, &upstream, &door.host.upstream) {
                Ok(Some(injection)) => Some(injection),
                // The loan went while the keeper thought.
                gone => {
                    settle(context, serial, Answered::unsent()).await;
                    return Err(gone.err().unwrap_or(Refusal::OutsideGrant).into());
                }
            },
            false => None,
        };
        let turn = Turn {
            door,
            protocol: called.protocol,
            serial,
            streams,
            generates: called.generates,
            tools: rebuilt.tools,
            closes: request.closes,
        };
        let ended = match &injection {
            None => self.turn(&turn, &upstream, body, None, &mut *reader, &mut answered).await,
            Some(injection) => {
                if let Going::Field(field, value) = &injection.going {
                    upstream.carry(field.as_str(), value);
                }
                tokio::select! {
                    biased;
                    () = injection.in_hand.withdrawn() => Err(Broken::Told("credential_withdrawn")),
                    ended = self.turn(&turn, &upstream, body, Some(injection), &mut *reader, &mut answered) => ended,
                }
            }
        };
        // A turn that waits for a person holds no credential.
        drop((injection, upstream));
        let has_asked_people = answered.has_asked_people;
        // Noted before the next is asked for; what is not noted keeps what was set aside for it.
        settle(context, serial, answered).await;
        let ended = match ended {
            Ok(Ended::Waits(waiting)) => self.hold(&turn, *waiting, &mut *reader).await,
            ended => ended,
        };
        if has_asked_people {
            let _noted = context.link.want(Wanted::Unheld { serial }).await;
        }
        match ended? {
            Ended::Whole if !turn.closes => Ok(Next::Another),
            Ended::Whole | Ended::Short | Ended::Waits(_) => Ok(Next::Close),
        }
    }

    /// Sends a request and passes its answer on.
    async fn turn(
        &mut self,
        turn: &Turn<'_>,
        upstream: &Exchange,
        body: Body,
        injection: Option<&Injection>,
        reader: &mut dyn Answer,
        answered: &mut Answered,
    ) -> Result<Ended, Broken> {
        let Turn { door, streams, .. } = turn;
        let context = Arc::clone(&self.context);
        let dialled =
            timeout(door.host.patience, context.dialer.dial(&door.host.upstream, ClientLeg::Tls, &context.scope)).await;
        let dialled = dialled.map_err(|_| Refusal::ServerSilent).and_then(|dialled| dialled.map_err(Refusal::from));
        // Nothing was sent, so nothing is billed.
        let mut server = dialled.inspect_err(|_| answered.metered.is_final = true)?;
        let response = self.put(&mut server, upstream, turn, body).await?;
        answered.status = response.status;
        let forms = || injection.into_iter().flat_map(|injection| injection.forms.iter().map(Vec::as_slice));
        let mut sieve = Sieve::new(forms());
        let ended = match (response.status, *streams && response.is_event_stream()) {
            (200..=299, true) => self.pass_stream(turn, &mut server, &response, reader, &mut sieve, answered).await,
            (200..=299, false) => self.pass_whole(turn, &mut server, &response, reader, &mut sieve, answered).await,
            _ => self.pass_error(turn, &mut server, &response, &mut sieve).await,
        };
        if let Some(injection) = injection.filter(|_| sieve.found() > 0) {
            context.link.refused(Layer::Model, "secret_masked", injection.credential.as_str());
        }
        ended
    }

    async fn put(
        &mut self,
        server: &mut Peer,
        upstream: &Exchange,
        turn: &Turn<'_>,
        body: Body,
    ) -> Result<Response, Broken> {
        let Body::Whole(bytes, _room) = body else { return Err(Broken::Told("no_body")) };
        let mut sent = Vec::new();
        upstream.write_head(&turn.door.host.upstream, HTTPS_PORT, &mut sent);
        sent.extend_from_slice(&bytes);
        // A server may answer and close without reading on; its answer is worth passing back.
        let _refused_early = server.write(&sent).await;
        Ok(super::read_response_within(server, upstream, turn.door.host.patience).await?)
    }

    async fn pass_stream(
        &mut self,
        turn: &Turn<'_>,
        server: &mut Peer,
        response: &Response,
        reader: &mut dyn Answer,
        sieve: &mut Sieve,
        answered: &mut Answered,
    ) -> Result<Ended, Broken> {
        let mut events = sse::Reader::new();
        let mut body = BodyReader::begin(response.framing, self.context.limits.response_body_bytes_max)?;
        self.client_write(
            b"HTTP/1.1 200 \r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
              transfer-encoding: chunked\r\n\r\n",
        )
        .await?;
        let (mut calls, mut waiting) = (0, None);
        let garbled = loop {
            let piece = match timeout(turn.door.host.patience, server.next_piece(&mut body)).await {
                Ok(Ok(Some(piece))) => sieve.pass(&piece),
                Ok(Ok(None)) => {
                    answered.cut_by_vendor = true;
                    // What the sieve held back is the end of the last event.
                    let rest = sieve.end();
                    let last =
                        self.read_events(turn, reader, &mut events, &rest, &mut calls, &mut waiting, answered).await;
                    let end = |()| match &mut waiting {
                        None => reader.end(),
                        Some(waiting) => waiting.end(),
                    };
                    break last.and_then(end).err();
                }
                Ok(Err(error)) => {
                    answered.cut_by_vendor =
                        matches!(error, RelayError::Sender | RelayError::Malformed(BadBody::Truncated));
                    break Some(Garbled::Cut);
                }
                // It may have gone on.
                Err(_) => break Some(Garbled::Silent),
            };
            let read = self.read_events(turn, reader, &mut events, &piece, &mut calls, &mut waiting, answered).await;
            if let Err(garbled) = read {
                break Some(garbled);
            }
            self.write_chunk(&reader.drain()).await?;
        };
        answered.metered = waiting.as_ref().map_or_else(|| reader.metered(), Waiting::metered);
        if let (None, Some(waiting)) = (&garbled, waiting) {
            return Ok(Ended::Waits(Box::new(waiting)));
        }
        self.end_stream(turn, reader, garbled).await
    }

    /// The last of a stream: what is left of it, or why there is no more.
    pub(super) async fn end_stream(
        &mut self,
        turn: &Turn<'_>,
        reader: &mut dyn Answer,
        garbled: Option<Garbled>,
    ) -> Result<Ended, Broken> {
        let mut last = Vec::new();
        if let Some(garbled) = &garbled {
            self.context.link.refused(Layer::Model, garbled_code(garbled), &garbled.to_string());
            body::write_piece(
                Framing::Chunked,
                &broken(turn.protocol, garbled_code(garbled), &garbled.to_string()),
                &mut last,
            );
        } else {
            let rest = reader.drain();
            if !rest.is_empty() {
                body::write_piece(Framing::Chunked, &rest, &mut last);
            }
        }
        body::write_end(Framing::Chunked, &mut last);
        self.client_write(&last).await?;
        Ok(if garbled.is_none() { Ended::Whole } else { Ended::Short })
    }

    #[expect(clippy::too_many_arguments, reason = "what one stream consists of; called by its reader alone")]
    async fn read_events(
        &mut self,
        turn: &Turn<'_>,
        reader: &mut dyn Answer,
        events: &mut sse::Reader,
        piece: &[u8],
        calls: &mut u64,
        waiting: &mut Option<Waiting>,
        answered: &mut Answered,
    ) -> Result<(), Garbled> {
        let mut rest = piece;
        while let Some(event) = events.next(&mut rest)? {
            let Some(waiting) = waiting.as_mut() else {
                let asked = reader.event(&event.name, &event.data)?;
                answered.metered = reader.metered();
                *waiting = self.rule(turn, reader, &asked, calls, answered).await;
                continue;
            };
            let more = waiting.event(event)?;
            answered.metered = waiting.metered();
            waiting.asked(self.answers(turn, &more, calls, answered).await);
        }
        Ok(())
    }

    async fn pass_whole(
        &mut self,
        turn: &Turn<'_>,
        server: &mut Peer,
        response: &Response,
        reader: &mut dyn Answer,
        sieve: &mut Sieve,
        answered: &mut Answered,
    ) -> Result<Ended, Broken> {
        let bytes = self.read_answer(turn, server, response, ANSWER_BYTES_MAX, sieve).await?;
        // A count of tokens is a number, and has no calls in it.
        if !turn.generates {
            answered.metered = Metered { is_final: true, ..Metered::default() };
            return self.write_answer(200, &bytes).await;
        }
        let asked = reader.body(&bytes).map_err(Refusal::Garbled)?;
        answered.metered = reader.metered();
        if let Some(waiting) = self.rule(turn, reader, &asked, &mut 0, answered).await {
            return Ok(Ended::Waits(Box::new(waiting.whole())));
        }
        let out = reader.drain();
        self.write_answer(response.status, &out).await
    }

    /// Asks about each call, in order, and tells the reader; unless a person has to be asked about one of them first.
    async fn rule(
        &mut self,
        turn: &Turn<'_>,
        reader: &mut dyn Answer,
        asked: &[Call],
        calls: &mut u64,
        answered: &mut Answered,
    ) -> Option<Waiting> {
        let begun = *calls;
        let answers = self.answers(turn, asked, calls, answered).await;
        let rulings: Option<Vec<Ruling>> = answers.iter().map(Asked::ruling).collect();
        match rulings {
            Some(rulings) if rulings.is_empty() => None,
            Some(rulings) => {
                turn.door.with_denials(|denials| reader.rule(&rulings, denials));
                None
            }
            None => Some(Waiting::begin(&*reader, begun, answers)),
        }
    }

    async fn answers(&self, turn: &Turn<'_>, asked: &[Call], calls: &mut u64, answered: &mut Answered) -> Vec<Asked> {
        let mut answers = Vec::with_capacity(asked.len());
        for call in asked {
            let answer = self.ask_about(turn, call, *calls).await;
            answered.has_asked_people |= matches!(answer, Asked::Waits);
            answers.push(answer);
            *calls += 1;
        }
        answers
    }

    async fn ask_about(&self, turn: &Turn<'_>, call: &Call, index: u64) -> Asked {
        // A name that only the door gives out; the next request would take it for one of ours.
        if call.name == turn.door.host.denied {
            return Asked::Ruled(Ruling::Denied {
                told: "denied (outside_grant): this tool is no tool; use those you were given".to_owned(),
            });
        }
        match facts(call, &turn.tools, &turn.door.host.tools, turn.serial, index) {
            Ok(ask) => self.answer_about(Wanted::Tool(ask)).await,
            Err(untold) => {
                self.context.link.refused(Layer::Model, "tool_call_untold", &untold.to_string());
                Asked::Ruled(Ruling::Denied { told: format!("denied (tool_call_untold): {untold}") })
            }
        }
    }

    /// What the keeper says of a call.
    pub(super) async fn answer_about(&self, wanted: Wanted) -> Asked {
        let refusal = match self.context.link.want(wanted).await {
            Some(Given::Allowed) => return Asked::Ruled(Ruling::Allowed),
            Some(Given::Held) => return Asked::Waits,
            Some(Given::Denied { code, next_step }) => {
                Refusal::NotAllowed(crate::link::NotAllowed::Denied { code, next_step })
            }
            Some(_) | None => Refusal::NotAllowed(crate::link::NotAllowed::NoAnswer),
        };
        let shown = refusal.shown();
        Asked::Ruled(Ruling::Denied { told: format!("denied ({}): {}", shown.code, shown.next_step) })
    }

    /// Passes a vendor's refusal on, with when to come back. One that cannot be read is told as one all the same.
    async fn pass_error(
        &mut self,
        turn: &Turn<'_>,
        server: &mut Peer,
        response: &Response,
        sieve: &mut Sieve,
    ) -> Result<Ended, Broken> {
        let read = self.read_answer(turn, server, response, ERROR_BYTES_MAX, sieve).await.unwrap_or_default();
        let bytes = match read.is_empty() {
            true => {
                dialect::refusal(turn.protocol, response.status, "model_refused", "the model's vendor refused this")
            }
            false => read,
        };
        let after = response.retry_after().map(|after| format!("retry-after: {}\r\n", after.as_secs()));
        self.write_answer_with(response.status, &after.unwrap_or_default(), &bytes).await
    }

    async fn read_answer(
        &mut self,
        turn: &Turn<'_>,
        server: &mut Peer,
        response: &Response,
        most: u64,
        sieve: &mut Sieve,
    ) -> Result<Vec<u8>, Broken> {
        let mut body = BodyReader::begin(response.framing, most).map_err(|_| Refusal::ResponseTooLong)?;
        let mut read = Vec::new();
        loop {
            match timeout(turn.door.host.patience, server.next_piece(&mut body)).await {
                Err(_) => return Err(Refusal::ServerSilent.into()),
                Ok(Ok(Some(piece))) => read.extend(sieve.pass(&piece)),
                Ok(Ok(None)) => break,
                Ok(Err(RelayError::Malformed(bad))) if bad != BadBody::Truncated => {
                    return Err(Refusal::ServerMalformed.into());
                }
                Ok(Err(_)) => return Err(Refusal::ServerGone.into()),
            }
        }
        read.extend(sieve.end());
        Ok(read)
    }

    async fn write_answer(&mut self, status: u16, bytes: &[u8]) -> Result<Ended, Broken> {
        self.write_answer_with(status, "", bytes).await
    }

    async fn write_answer_with(&mut self, status: u16, fields: &str, bytes: &[u8]) -> Result<Ended, Broken> {
        let head = format!(
            "HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncache-control: no-store\r\n{fields}content-length: {}\r\n\r\n",
            bytes.len()
        );
        self.client_write(&[head.as_bytes(), bytes].concat()).await?;
        Ok(Ended::Whole)
    }

    pub(super) async fn write_chunk(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut chunk = Vec::with_capacity(bytes.len() + 16);
        body::write_piece(Framing::Chunked, bytes, &mut chunk);
        self.client_write(&chunk).await
    }

    pub(super) async fn client_write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.client.write(bytes).await.map_err(|_| Broken::Told("client_gone"))
    }

    /// Tells an agent of a refusal in the words of its protocol.
    async fn tell(&mut self, protocol: Protocol, refusal: &Refusal) -> Result<Next, Broken> {
        let shown = refusal.shown();
        // Of all answers, the one at which most agents stop at once (docs/decisions/0014).
        let status = match shown.code {
            "budget_spent" => 402,
            // Of all answers, the one that they try again.
            BUDGET_IN_USE => 429,
            _ => shown.status,
        };
        let told = dialect::refusal(protocol, status, shown.code, shown.next_step);
        self.write_answer(status, &told).await?;
        // Its body may not have been read.
        Ok(Next::Close)
    }
}

/// One call of a model.
pub(super) struct Turn<'a> {
    pub(super) door: &'a ModelDoor,
    pub(super) protocol: Protocol,
    pub(super) serial: u64,
    streams: bool,
    generates: bool,
    /// Those the request declared.
    tools: BTreeSet<String>,
    closes: bool,
}

/// The request that goes upstream: this method and path, a few fields, and the body that was made anew. With what it may not ask for.
fn upstream_request(
    door: &ModelDoor,
    request: &Exchange,
    called: &Called,
    rebuilt: &Rebuilt,
) -> Result<(Exchange, BTreeSet<String>), Refusal> {
    let mut upstream = request.clone();
    // Where the path says what is asked, it is made anew like the body.
    let target = called.target.as_ref().map(Target::upstream);
    let query = upstream.query.as_ref().map(|query| format!("?{}", query.as_str())).unwrap_or_default();
    let target = target.unwrap_or_else(|| format!("{}{query}", request.path.as_str()));
    let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let path = format!("{}{path}", door.host.base_path);
    upstream.path = CanonicalPath::parse(&path).map_err(|_| Refusal::OutsideGrant)?;
    upstream.query = query.map(Query::parse).transpose().map_err(|_| Refusal::OutsideGrant)?;
    upstream.framing = Framing::Length(u64::try_from(rebuilt.body.len()).unwrap_or(u64::MAX));
    upstream.expects_continue = false;
    // Its key is a placeholder, or somebody else's; ours goes in.
    upstream.stripped.clear();
    upstream.keep_only(&FIELDS);
    let mut left_out = BTreeSet::new();
    for field in betas::FIELDS {
        let values = request.fields().filter(|asked| asked.name == field).map(|asked| asked.value.as_slice());
        let (kept, more) = betas::kept(field, values, &door.host.egress);
        left_out.extend(more);
        upstream.remove(field);
        if !kept.is_empty() {
            upstream.set(field, kept.join(",").as_bytes());
        }
    }
    upstream.set("accept-encoding", b"identity");
    Ok((upstream, left_out))
}

/// Tells the keeper what a call came to. Noted before the next is asked for; what is not noted keeps what was set aside for it.
async fn settle(context: &Context, serial: u64, answered: Answered) {
    let Answered { status, metered: Metered { usage, is_final, written_bytes }, cut_by_vendor, .. } = answered;
    let done = ModelDone { serial, status, usage, is_final, written_bytes, cut_by_vendor };
    let _noted = context.link.want(Wanted::ModelDone(done)).await;
}

/// Asks the keeper for a call of the model. While what is left of the budget is set aside for calls under way, it waits for these.
async fn allowed_in_turn(context: &Context, ask: ModelAsk, patience: Duration) -> Result<(), Refusal> {
    let begun = Instant::now();
    loop {
        match allowed(context, Wanted::Model(ask.clone())).await {
            Err(Refusal::NotAllowed(crate::link::NotAllowed::Denied { code, .. }))
                if code == BUDGET_IN_USE && begun.elapsed() < patience =>
            {
                sleep(BUDGET_WAIT).await;
            }
            decided => return decided,
        }
    }
}

/// Asks the keeper.
async fn allowed(context: &Context, wanted: Wanted) -> Result<(), Refusal> {
    match context.link.want(wanted).await {
        Some(Given::Allowed) => Ok(()),
        Some(Given::Denied { code, next_step }) => {
            Err(Refusal::NotAllowed(crate::link::NotAllowed::Denied { code, next_step }))
        }
        Some(_) | None => Err(Refusal::NotAllowed(crate::link::NotAllowed::NoAnswer)),
    }
}

/// A stable code for an answer that was not passed on.
fn garbled_code(garbled: &Garbled) -> &'static str {
    match garbled {
        Garbled::Cut => "model_cut",
        Garbled::Silent => "model_silent",
        Garbled::Unknown(_) => "model_content_unknown",
        Garbled::Syntax(_) | Garbled::Misplaced(_) => "model_garbled",
        Garbled::TooMuch(_) => "model_too_much",
    }
}
