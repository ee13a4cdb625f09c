//! The tool door: what a client or a server says is read in one way, and what was made anew is made anew as the same.

use serde_json::Value;

use crate::model::json;
use crate::tools::describe::{Described, canonical};
use crate::tools::result::outcome;
use crate::tools::rpc::{self, Heard, Said};

/// A message: of a client, or of a server that answers question 7.
pub(super) fn message(bytes: &[u8]) -> bool {
    let said = rpc::said(bytes);
    if let Ok(Said::Request { id, method, params }) = &said {
        let again = serde_json::json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        assert_eq!(rpc::said(again.as_bytes()), said);
    }
    let heard = rpc::heard(bytes, 7);
    if let Ok(Heard::Answer(answer)) = &heard {
        // What is passed on of it is read again as the same, whatever it was.
        if let Ok(outcome_of_it) = outcome(answer) {
            let told = outcome_of_it.told.as_object().unwrap();
            assert_eq!(outcome(told).unwrap(), outcome_of_it);
        }
    }
    said.is_ok() || heard.is_ok()
}

/// What is said of a tool: its digest is of what the agent is told, and of nothing else.
pub(super) fn description(bytes: &[u8]) -> bool {
    let Ok(value) = json::parse(bytes) else { return false };
    let text = canonical(&value);
    assert_eq!(serde_json::from_str::<Value>(&text).map(|again| canonical(&again)).unwrap(), text);
    let Ok(described) = Described::read(&value) else { return false };
    assert_eq!(Described::read(&described.told), Ok(described.clone()));
    assert!(described.text().chars().all(|c| c == '\n' || c == '\t' || !c.is_control()));
    true
}
