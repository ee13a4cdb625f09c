//! Which call of which protocol a request to the model door is, as far as its head says. No I/O.

use selvedge_domain::Method;

use super::Protocol;
use super::gemini::{self, Target};
use crate::http::request::Exchange;
use crate::tokens::is_of_type;

/// A call of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What the path asks for, where it is the path that says so.
    pub target: Option<Target>,
    /// Whether an answer is generated; otherwise tokens are counted, which costs nothing.
    pub generates: bool,
}

/// Which call a request is; nothing where this door has none such.
pub fn called(request: &Exchange) -> Option<Called> {
    if request.method != Method::Post || !is_of_type(request, b"application/json") {
        return None;
    }
    let query = request.query.as_ref().map(|query| query.as_str());
    let of = |protocol, generates| Called { protocol, target: None, generates };
    match (request.path.as_str(), query) {
        ("/v1/messages", None | Some("beta=true")) => Some(of(Protocol::Messages, true)),
        ("/v1/messages/count_tokens", None | Some("beta=true")) => Some(of(Protocol::Messages, false)),
        ("/v1/responses", None) => Some(of(Protocol::Responses, true)),
        ("/v1/chat/completions", None) => Some(of(Protocol::Chat, true)),
        (path, query) => {
            let target = Target::read(path, query.unwrap_or_default()).ok()?;
            let generates = target.method != gemini::Method::CountTokens;
            Some(Called { target: Some(target), ..of(Protocol::Gemini, generates) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Request, parse_request};

    fn read(first: &str, fields: &str) -> Option<Called> {
        let head = format!("{first} HTTP/1.1\r\nHost: model.example\r\nContent-Length: 2\r\n{fields}\r\n");
        match parse_request(head.as_bytes()).unwrap() {
            Request::Exchange(request) => called(&request),
            Request::Connect(_) => None,
        }
    }

    #[test]
    fn each_call_has_one_way_to_be_asked() {
        let json = "Content-Type: application/json\r\n";
        let read_json =
            |path: &str| read(&format!("POST {path}"), json).map(|called| (called.protocol, called.generates));
        assert_eq!(read_json("/v1/messages?beta=true"), Some((Protocol::Messages, true)));
        assert_eq!(read_json("/v1/messages/count_tokens"), Some((Protocol::Messages, false)));
        assert_eq!(read_json("/v1/responses"), Some((Protocol::Responses, true)));
        assert_eq!(read_json("/v1/chat/completions"), Some((Protocol::Chat, true)));
        assert_eq!(read_json("/v1beta/models/gemini-2.5-pro:generateContent"), Some((Protocol::Gemini, true)));
        let streamed = read("POST /v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", json).unwrap();
        assert_eq!(streamed.target.unwrap().model, "gemini-2.5-pro");
        for path in [
            "/v1/files",
            "/v1/messages?beta=false",
            "/v1/messages/batches",
            "/v1/responses/resp_1/cancel",
            "/v1/organizations/api_keys",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "/v1beta/models/a/b:generateContent",
            "/v1beta/models/:generateContent",
            "/v1beta/cachedContents",
        ] {
            assert_eq!(read_json(path), None, "{path}");
        }
        assert_eq!(read("POST /v1/messages", "Content-Type: text/plain\r\n"), None);
        assert_eq!(read("POST /v1/messages", &format!("{json}Content-Encoding: gzip\r\n")), None);
    }
}
