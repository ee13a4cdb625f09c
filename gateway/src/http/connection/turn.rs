//! A turn of a model: a call sent, and its answer passed on as it is read, event by event or whole; each tool call in it was ruled on before
//! the agent sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::timeout;

use super::forward::read_response_within;
use super::held::Waiting;
use super::ruling::Stream;
use super::{Body, Broken, Connection};
use crate::dial::ClientLeg;
use crate::http::body::{self, BadBody, BodyReader, Framing};
use crate::http::entry::HTTPS_PORT;
use crate::http::lend::Injection;
use crate::http::peer::{Peer, RelayError};
use crate::http::refusal::Refusal;
use crate::http::request::Exchange;
use crate::http::response::Response;
use crate::http::sieve::Sieve;
use crate::model::Protocol;
use crate::model::answer::{Answer, Garbled, Metered, broken};
use crate::model::dialect;
use crate::model::door::ModelDoor;
use crate::protocol::Layer;

/// Longest answer that is no stream.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// Longest text of a refusal of the vendor's that is passed on.
const ERROR_BYTES_MAX: u64 = 256 * 1024;

/// One call of a model.
pub(super) struct Turn<'a> {
    pub(super) door: &'a ModelDoor,
    pub(super) protocol: Protocol,
    pub(super) serial: u64,
    pub(super) streams: bool,
    pub(super) generates: bool,
    /// Those the request declared.
    pub(super) tools: BTreeSet<String>,
    pub(super) closes: bool,
}

/// What was answered, for the record.
#[derive(Default)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) metered: Metered,
    pub(super) cut_by_vendor: bool,
    /// Whether the vendor's answer had come to its end when the last of it was passed on.
    pub(super) has_ended: bool,
    /// Whether the agent was told that there is no answer, or no more of it.
    pub(super) broke_off: bool,
    /// Whether the keeper was asked about a call that a person has to say yes to.
    pub(super) has_asked_people: bool,
}

impl Answered {
    /// Nothing was sent, so nothing is billed.
    pub(super) fn unsent() -> Self {
        Self { metered: Metered { is_final: true, ..Metered::default() }, broke_off: true, ..Self::default() }
    }

    /// An agent that went away before the end gave up; at the end it may have gone without waiting for the connection's.
    pub(super) fn came_to(&mut self, ended: &Result<Ended, Broken>) {
        self.broke_off = match ended {
            Ok(Ended::Whole | Ended::Waits(_)) => !(200..300).contains(&self.status),
            Err(Broken::Told("client_gone")) => !self.has_ended,
            Ok(Ended::Short) | Err(_) => true,
        };
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
    /// Sends a request and passes its answer on.
    pub(super) async fn turn(
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
        let mut server = match &door.rehearsing {
            Some(rehearsing) => self.rehearsed(rehearsing, turn, upstream, &body).await,
            None => {
                let dial = context.dialer.dial(&door.host.upstream, ClientLeg::Tls, &context.scope);
                let dialled = timeout(door.host.patience, dial).await.map_err(|_| Refusal::ServerSilent);
                let dialled = dialled.and_then(|dialled| dialled.map_err(Refusal::from));
                // Nothing was sent, so nothing is billed.
                dialled.inspect_err(|_| answered.metered.is_final = true)?
            }
        };
        let response = self.put(&mut server, upstream, turn, body).await?;
        answered.status = response.status;
        let forms = || injection.into_iter().flat_map(|injection| injection.forms.iter().map(Vec::as_slice));
        let mut sieve = Sieve::new(forms());
        let kind = response.field("content-type").unwrap_or_default();
        let ended = match (response.status, door.host.hosting.events(kind).filter(|_| *streams)) {
            (200..=299, Some(events)) => {
                let stream = Stream::of(events);
                self.pass_stream(turn, (&mut server, &response), stream, reader, &mut sieve, answered).await
            }
            (200..=299, None) => self.pass_whole(turn, &mut server, &response, reader, &mut sieve, answered).await,
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
        Ok(read_response_within(server, upstream, turn.door.host.patience).await?)
    }

    async fn pass_stream(
        &mut self,
        turn: &Turn<'_>,
        (server, response): (&mut Peer, &Response),
        mut stream: Stream,
        reader: &mut dyn Answer,
        sieve: &mut Sieve,
        answered: &mut Answered,
    ) -> Result<Ended, Broken> {
        let mut body = BodyReader::begin(response.framing, self.context.limits.response_body_bytes_max)?;
        self.client_write(
            b"HTTP/1.1 200 \r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
              transfer-encoding: chunked\r\n\r\n",
        )
        .await?;
        let garbled = loop {
            let piece = match timeout(turn.door.host.patience, server.next_piece(&mut body)).await {
                Ok(Ok(Some(piece))) => sieve.pass(&piece),
                Ok(Ok(None)) => {
                    answered.cut_by_vendor = true;
                    // What the sieve held back is the end of the last event.
                    let rest = sieve.end();
                    let last = self.read_events(turn, reader, &mut stream, &rest, answered).await;
                    let end = |()| match &mut stream.waiting {
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
            if let Err(garbled) = self.read_events(turn, reader, &mut stream, &piece, answered).await {
                break Some(garbled);
            }
            if let Err(gone) = self.write_chunk(&reader.drain()).await {
                answered.has_ended = reader.end().is_ok();
                return Err(gone);
            }
        };
        answered.has_ended = garbled.is_none();
        answered.metered = stream.waiting.as_ref().map_or_else(|| reader.metered(), Waiting::metered);
        if let (None, Some(waiting)) = (&garbled, stream.waiting) {
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
        answered.has_ended = true;
        self.write_answer(response.status, &out).await
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
            false => turn.door.host.hosting.retold(turn.protocol, response.status, read),
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

    pub(super) async fn write_answer(&mut self, status: u16, bytes: &[u8]) -> Result<Ended, Broken> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_went_away_before_the_end_has_no_answer_e3() {
        let broke_off = |status, has_ended, ended: Result<Ended, Broken>| {
            let mut answered = Answered { status, has_ended, ..Answered::default() };
            answered.came_to(&ended);
            answered.broke_off
        };
        let gone = || Err(Broken::Told("client_gone"));
        assert!(broke_off(200, false, gone()), "it gave up");
        assert!(!broke_off(200, true, gone()), "it had the last event, and did not wait for the connection's end");
        assert!(!broke_off(200, true, Ok(Ended::Whole)) && broke_off(500, false, Ok(Ended::Whole)));
        assert!(broke_off(200, false, Ok(Ended::Short)) && broke_off(200, true, Err(Broken::Told("else"))));
    }
}
