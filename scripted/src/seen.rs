//! What a server was asked, and what it gave.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Usage;
use crate::protocol::Protocol;

/// One request, as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The protocol its path belongs to; none for a path that is nobody's.
    pub protocol: Option<Protocol>,
    /// Its path, without the query.
    pub path: String,
    /// Its header fields, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Where the key was: `x-api-key`, `api-key`, `authorization`, `x-goog-api-key`, or `key` for Google's in the query.
    pub key_in: Option<&'static str>,
    /// The model it names; empty where it was refused before that was read.
    pub model: String,
    /// Names of the tools it declares, in order.
    pub tools: Vec<String>,
    /// The tool results it ends with, as text, in order.
    pub results: Vec<String>,
    /// Which turn it was answered by, counted from zero; none for side calls, counts of tokens and refusals.
    pub turn: Option<usize>,
    /// The status it was answered.
    pub status: u16,
    /// Why it was refused, where it was.
    pub refused: Option<String>,
    /// Its body; null where it is no JSON.
    pub body: Value,
}

/// What was given so far, by the server's own count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tokens, as a vendor would bill them: of a stream that was cut, all that was read, and what was written until then.
    pub tokens: Usage,
    /// Requests by the status they were answered.
    pub by_status: BTreeMap<u16, u64>,
    /// Side calls that were answered.
    pub side_calls: u64,
    /// Requests beyond the last turn of the script, which are told that it has ended.
    pub beyond_the_script: u64,
}
