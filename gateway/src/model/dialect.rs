//! One protocol's way of all that the door does with it: making a request anew, reading its answer, telling of a refusal.

use std::collections::BTreeSet;

use serde_json::json;

use super::answer::Answer;
use super::call::Called;
use super::denials::Denials;
use super::request::{Rebuilt, Unfit};
use super::{Egress, Protocol, chat, gemini, messages, responses};

/// A request made anew, and what will read its answer.
pub struct Dialogue {
    /// The request.
    pub rebuilt: Rebuilt,
    /// What reads the answer.
    pub reader: Box<dyn Answer>,
}

impl std::fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialogue({} bytes)", self.rebuilt.body.len())
    }
}

/// Makes a request anew.
pub fn dialogue(
    called: &Called,
    body: &[u8],
    granted: &BTreeSet<Egress>,
    denials: &Denials,
) -> Result<Dialogue, Unfit> {
    let (rebuilt, reader): (_, Box<dyn Answer>) = match called.protocol {
        Protocol::Messages => {
            (messages::rebuild(body, granted, denials)?, Box::new(messages::Reader::new(granted.clone())))
        }
        Protocol::Responses => {
            (responses::rebuild(body, granted, denials)?, Box::new(responses::Reader::new(granted.clone())))
        }
        Protocol::Chat => {
            (chat::rebuild(body, granted, denials)?, Box::new(chat::Reader::new(chat::asks_for_usage(body))))
        }
        Protocol::Gemini => {
            let target = called.target.as_ref().ok_or_else(|| Unfit::Shape("path".to_owned()))?;
            (gemini::rebuild(body, target, granted, denials)?, Box::new(gemini::Reader::new(granted.clone())))
        }
    };
    Ok(Dialogue { rebuilt, reader })
}

/// A refusal in the form that the protocol's clients read, so that an agent shows and heeds it.
pub fn refusal(protocol: Protocol, status: u16, code: &str, because: &str) -> Vec<u8> {
    let told = format!("{code}: {because}");
    let body = match protocol {
        Protocol::Messages => json!({ "type": "error", "error": { "type": code, "message": told } }),
        Protocol::Responses | Protocol::Chat => {
            json!({ "error": { "message": told, "type": code, "code": code, "param": null } })
        }
        Protocol::Gemini => json!({ "error": { "code": status, "message": told, "status": code } }),
    };
    body.to_string().into_bytes()
}
