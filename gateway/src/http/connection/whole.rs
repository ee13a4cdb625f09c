//! Bodies that are read whole before anything of them leaves: where GraphQL is spoken, where a request is signed, at the doors that answer
//! themselves. Owns that there is room for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvedge_domain::{Endpoint, GraphqlAct};
use tokio::sync::OwnedSemaphorePermit;

use super::{Body, Broken, Connection};
use crate::graphql::{CALL_BYTES_MAX, Head};
use crate::http::body::{BadBody, BodyReader, Framing};
use crate::http::lend::BodyWatch;
use crate::http::peer::RelayError;
use crate::http::refusal::Refusal;
use crate::http::request::Exchange;

impl Connection {
    /// Reads what a request would do where GraphQL is spoken, and its body with it: nobody can be asked before.
    pub(super) async fn read_graphql(
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
    pub(super) fn refuse_turned_up(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let turned = BodyWatch::over(&self.context.loans).and_then(|watch| watch.turned_up_in(bytes));
        turned.map_or(Ok(()), |turned| Err(Refusal::TurnedUp(turned)))
    }

    /// Reads a body whole once there is room, having told the client to send it where it waits for that.
    pub(super) async fn read_whole(
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

    /// Has a client send its body where it waits to be told.
    pub(super) async fn let_client_go_on(&mut self, request: &Exchange) -> Result<(), Broken> {
        if request.expects_continue && request.framing != Framing::Empty {
            let go_on = self.client.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            go_on.map_err(|_| Broken::Told("client_gone"))?;
        }
        Ok(())
    }
}
