//! The name stub of a sandbox: granted names get a synthetic address at which the HTTP door listens, all others do not
//! exist. Nothing is ever forwarded, so a query carries nothing out (A-15, S-26).

pub mod message;

use std::sync::Arc;

use tokio::net::UdpSocket;

use crate::http::Context;
use crate::protocol::Layer;
use message::{Answer, QUERY_BYTES_MAX, answer_malformed, parse_query};

/// Answers queries until the door ends.
pub(crate) async fn serve(socket: UdpSocket, context: Arc<Context>) {
    // One byte more than is read, so that a longer query shows.
    let mut buffer = [0; QUERY_BYTES_MAX + 1];
    loop {
        // An error here is about an earlier answer whose client is gone.
        let Ok((bytes, client)) = socket.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let query = buffer.get(..bytes).unwrap_or_default();
        if let Some(answer) = answer(query, &context) {
            // A client that does not take its answer asks again.
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

fn answer(query: &[u8], context: &Context) -> Option<Vec<u8>> {
    let question = match parse_query(query) {
        Ok(question) => question,
        Err(bad) => {
            context.link.refused(Layer::Dns, "malformed_query", &bad.to_string());
            return answer_malformed(query);
        }
    };
    let Some(address) = context.scope.synthetic_address(&question.name) else {
        context.link.refused(Layer::Dns, "name_not_granted", &question.name);
        return Some(question.answer(Answer::NoSuchName));
    };
    // Every client asks for IPv6 too, and some for HTTPS records; other types of a granted name are worth telling.
    if !question.asks_for_address() && !matches!(question.kind, TYPE_AAAA | TYPE_HTTPS) {
        context.link.refused(Layer::Dns, "type_not_answered", &format!("{} type {}", question.name, question.kind));
    }
    Some(question.answer(Answer::Address(address)))
}

const TYPE_AAAA: u16 = 28;
const TYPE_HTTPS: u16 = 65;
