//! What a client may ask of the keeper, and what it answers: one JSON line each way, then a stream of replies. No answer
//! grows with the log: what is long goes piece by piece, and no piece is longer than a line.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::errors::{CliError, Kind};

/// Longest line of the control socket.
pub(crate) const LINE_BYTES_MAX: u64 = 4 << 20;

/// Longest piece of a text in one reply: written as JSON it is at most six times as long, which is within a line.
pub(crate) const PIECE_BYTES_MAX: usize = 256 << 10;

/// How long a text, and how many elements a list, of a reply may still have once it had to be shortened; halved until
/// the reply is a line.
const SHORTENED: usize = 64 << 10;

/// What can be asked. Who asks is the uid on the socket, never a field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Queue work.
    Run(RunRequest),
    /// List runs.
    Ps,
    /// Everything about one run.
    Show { run: String },
    /// What a run changed, as text.
    Diff { run: String },
    /// The log after this entry, and whatever comes.
    Watch { after: Option<u64> },
    /// The log as stored.
    Log,
    /// What a run's programs wrote.
    Output { run: String },
    /// List proposals.
    Proposals,
    /// Merge one.
    Merge { repo: Option<String>, number: u64, head: Option<String> },
    /// List what waits for a person.
    Approvals,
    /// Say yes.
    Approve { approval: String },
    /// Say no.
    Deny { approval: String },
    /// Answer a question in words.
    Answer { question: String, words: String },
    /// Stop.
    Halt(Scope),
    /// Go on.
    Resume(Scope),
    /// Revoke a run's credentials and end it.
    Revoke { run: String },
    /// The authority card of an agent.
    Can { agent: String },
    /// List agents.
    Agents,
    /// List tool servers.
    Tools,
    /// Install a coding agent.
    InstallAgent { name: String },
    /// List credentials.
    Credentials,
    /// List what stands and what lives; uses count that were made in the last days.
    Identities { days: u32 },
    /// Make, use and end a credential, to see whether that works; or say how a trial went.
    Try { credential: String, of: Option<String> },
    /// Vouch for what stands when no run does.
    Certify { name: String },
    /// Whoever answered for it has left.
    Offboard { name: String },
    /// Store the key of a credential.
    StoreKey { name: String, key: SecretWord },
    /// Say with which form a browser has an App made for a credential, and where to it comes back.
    PlanApp { name: String, organization: Option<String>, redirect: String },
    /// Exchange what a browser brought back for the App's key, and store that.
    MakeApp { name: String, organization: Option<String>, code: SecretWord },
    /// Forget the key of a credential.
    RemoveKey { name: String },
    /// Store the password of the proxy.
    StoreProxyPassword { password: SecretWord },
    /// Forget the password of the proxy.
    RemoveProxyPassword,
    /// Withdraw a credential from live runs; from one, when it is named.
    Withdraw { name: String, from: Option<String> },
    /// Explain a decision on record.
    Explain { entry: u64 },
    /// Verify the log, also against a checkpoint somebody else kept.
    Verify { against: Option<String> },
    /// The whole log, for others to check.
    Export,
    /// What relying parties need to verify identities.
    Published(Document),
    /// Whether a token lives, for the service that was shown it.
    Introspect { audience: String, token: SecretWord },
    /// Is anyone there?
    Ping,
}

impl Request {
    /// Whether it only takes authority away, and so is served whatever else is wrong (invariant 2).
    pub(crate) fn only_takes_away(&self) -> bool {
        matches!(self, Self::Halt(_) | Self::Revoke { .. } | Self::Withdraw { .. } | Self::Offboard { .. })
    }
}

/// A secret on its way from the operator to the keeper, over a socket that only they can use. Wiped when dropped.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(crate) struct SecretWord(Zeroizing<String>);

impl SecretWord {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretWord {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl Serialize for SecretWord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl std::fmt::Debug for SecretWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretWord(..)")
    }
}

/// Work to queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    /// Which agent.
    pub(crate) agent: String,
    /// Which pipeline, in an agent's place.
    pub(crate) pipeline: Option<String>,
    /// On which repository; the only one when absent.
    pub(crate) repo: Option<String>,
    /// The words of the task.
    pub(crate) text: String,
    /// The program, for ad-hoc work.
    pub(crate) argv: Vec<String>,
    /// Whether this is a scan.
    pub(crate) scan: bool,
    /// The advisory database, when another one than the configured is meant.
    pub(crate) advisories: Option<std::path::PathBuf>,
    /// Wait until the run is settled or waiting, and follow its follow-ups.
    pub(crate) wait: bool,
}

/// A document for relying parties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Document {
    /// The keys of tokens.
    Jwks,
    /// The keys of tokens and certificates.
    Bundle,
    /// Where the keys are.
    Discovery,
}

/// How far a halt reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scope", content = "name", rename_all = "snake_case")]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// One agent.
    Agent(String),
    /// One repository.
    Repo(String),
    /// One run.
    Run(String),
}

/// What the keeper says. The last reply is `Done` or `Failed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// One item of a list or one event of a stream.
    Item { value: Value },
    /// A line about progress.
    Progress { text: String },
    /// What a governed program wrote.
    Wrote {
        stderr: bool,
        #[serde(with = "hex")]
        bytes: Vec<u8>,
    },
    /// The next piece of what is kept of a run's programs that ran for this purpose.
    Kept {
        purpose: String,
        #[serde(with = "hex")]
        bytes: Vec<u8>,
    },
    /// The next element of this list of the result.
    Element { list: String, value: Value },
    /// The next piece of a text.
    Text { text: String },
    /// The end, with the result.
    Done { value: Value },
    /// The end, without.
    Failed { code: String, message: String, hints: Vec<String> },
}

impl From<CliError> for Reply {
    fn from(error: CliError) -> Self {
        Self::Failed { code: error.kind.code().to_owned(), message: error.message, hints: error.hints }
    }
}

impl Reply {
    /// The error this reply reports.
    pub(crate) fn into_error(code: &str, message: String, hints: Vec<String>) -> CliError {
        CliError { kind: Kind::parse(code).unwrap_or(Kind::Internal), message, hints }
    }

    /// The next element of the list `list` of the result.
    pub(crate) fn element(list: &str, value: Value) -> Self {
        Self::Element { list: list.to_owned(), value }
    }

    /// The same reply if it fits a line; otherwise one whose long texts and lists are cut, and say so. One order of an
    /// agent's must not keep anybody from the rest of the log (S-37).
    pub(crate) fn within_a_line(&self) -> Cow<'_, Self> {
        let fits = |reply: &Self| length(reply) < LINE_BYTES_MAX;
        if fits(self) {
            return Cow::Borrowed(self);
        }
        let mut longest = SHORTENED;
        loop {
            let short = self.shortened(longest);
            if fits(&short) || longest == 0 {
                return Cow::Owned(short);
            }
            longest /= 2;
        }
    }

    fn shortened(&self, longest: usize) -> Self {
        let mut short = self.clone();
        match &mut short {
            Self::Item { value } | Self::Element { value, .. } | Self::Done { value } => shorten(value, longest),
            Self::Progress { text } | Self::Text { text } | Self::Failed { message: text, .. } => cut(text, longest),
            Self::Wrote { bytes, .. } | Self::Kept { bytes, .. } => bytes.truncate(longest),
        }
        short
    }
}

/// Bytes as two digits each, so that the longest frame of a tape is within a line whatever is in it.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        bytes.ok_or_else(|| D::Error::custom("not hexadecimal digits"))
    }
}

/// Bytes of the line this reply is.
fn length(reply: &Reply) -> u64 {
    let mut counted = Counted(0);
    // What cannot be written as JSON is no line of any length; saying it fails.
    let _unwritable = serde_json::to_writer(&mut counted, reply);
    counted.0
}

struct Counted(u64);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Cuts every text and every list in `value` that is longer than `longest`.
fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => cut(text, longest),
        Value::Array(items) => {
            let more = items.len().saturating_sub(longest);
            items.truncate(longest);
            items.iter_mut().for_each(|item| shorten(item, longest));
            if more > 0 {
                items.push(Value::String(format!("[and {more} more: too long to show]")));
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| shorten(field, longest)),
    }
}

fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        let end = text.floor_char_boundary(longest);
        let more = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("[and {more} bytes more: too long to show]"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn s37_a_reply_longer_than_a_line_is_cut_where_it_is_long_and_says_so() {
        let paths: Vec<String> = (0..60_000).map(|n| format!("{}{n}", "p".repeat(200))).collect();
        let value =
            json!({ "seq": 7, "facts": { "paths": paths, "title": "t" }, "text": "\u{1b}\u{e9}".repeat(2 << 20) });
        let reply = Reply::Item { value };
        let short = reply.within_a_line();
        assert!(serde_json::to_vec(&*short).unwrap().len() < usize::try_from(LINE_BYTES_MAX).unwrap());
        let Reply::Item { value } = &*short else { panic!("{short:?}") };
        assert_eq!((&value["seq"], &value["facts"]["title"]), (&json!(7), &json!("t")));
        let shown = value["facts"]["paths"].as_array().unwrap();
        let more = format!("[and {} more: too long to show]", 60_000 - (shown.len() - 1));
        assert!(shown.len() > 1000 && shown[0] == json!(paths[0]), "{}", shown.len());
        assert_eq!(shown.last().unwrap(), &json!(more));
        assert!(value["text"].as_str().unwrap().ends_with("bytes more: too long to show]"));
    }

    #[test]
    fn a_reply_that_fits_is_left_alone() {
        let reply = Reply::element("runs", json!({ "text": "t".repeat(3 << 20) }));
        assert!(matches!(reply.within_a_line(), Cow::Borrowed(_)));
    }

    #[test]
    fn the_longest_piece_of_anything_is_within_a_line() {
        let text = Reply::Text { text: "\u{1}".repeat(PIECE_BYTES_MAX) };
        let kept = Reply::Kept { purpose: "work".to_owned(), bytes: vec![255; crate::wiring::FRAME_BYTES_MAX] };
        assert!(length(&text) < LINE_BYTES_MAX && length(&kept) < LINE_BYTES_MAX);
    }

    #[test]
    fn bytes_arrive_as_they_were_written() {
        let wrote = Reply::Wrote { stderr: true, bytes: (0..=255).collect() };
        let line = serde_json::to_string(&wrote).unwrap();
        let Reply::Wrote { bytes, .. } = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert!(serde_json::from_str::<Reply>(&line.replace("0001", "0+-1")).is_err());
    }
}
