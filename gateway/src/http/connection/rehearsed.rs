//! A rehearsing door's upstream: bytes that were written down, where otherwise a vendor's connection is. All else of a turn is as ever.

use std::io::Cursor;

use selvedge_scripted::Once;

use super::turn::Turn;
use super::{Body, Connection};
use crate::http::peer::Peer;
use crate::http::request::Exchange;
use crate::identity::wanted::Wanted;
use crate::model::rehearsal::{Rehearsed, Rehearsing};

impl Connection {
    /// Who answers this request in a vendor's place. Whatever is written to them is gone.
    pub(super) async fn rehearsed(
        &self,
        rehearsing: &Rehearsing,
        turn: &Turn<'_>,
        upstream: &Exchange,
        body: &Body,
    ) -> Peer {
        let body = match body {
            Body::Whole(bytes, _) => bytes.as_slice(),
            Body::Streamed(_) => &[],
        };
        let query = upstream.query.as_ref().map(|query| query.as_str()).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields: Vec<_> = upstream.fields().map(|field| (field.name.clone(), text(&field.value))).collect();
        let request = Once { path: upstream.path.as_str(), query, fields: &fields, body };
        let Rehearsed { answer, came_back } = rehearsing.answer(request, &turn.tools, turn.generates);
        if came_back {
            let _noted = self.context.link.want(Wanted::Rehearsed).await;
        }
        Peer::new(tokio::io::join(Cursor::new(answer), tokio::io::sink()))
    }
}
