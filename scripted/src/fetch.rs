//! One HTTP request in clear text, through a proxy or not, and its answer. Everything is bounded; nothing is followed.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Most header fields of an answer.
const FIELDS_MAX: usize = 128;

/// How long a server may be silent: longer than a door holds a turn for a person is for the script to say.
const SILENT_AT_MOST: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// `http://host[:port]/path`.
    pub(crate) url: String,
    pub(crate) method: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Asks, through the proxy at `http://host:port` where there is one, and returns status and body.
///
/// # Errors
/// When the address is none, nobody is there, or what comes back is no HTTP.
pub(crate) fn send(fetch: &Fetch, proxy: Option<&str>) -> io::Result<(u16, Vec<u8>)> {
    let (authority, path) = split(&fetch.url)?;
    let proxy = proxy.filter(|proxy| !proxy.is_empty()).map(split).transpose()?;
    let (next, target) = match proxy {
        Some((proxy, _)) => (proxy, fetch.url.as_str()),
        None => (authority, path),
    };
    let port = if next.contains(':') { "" } else { ":80" };
    let mut stream = TcpStream::connect(format!("{next}{port}"))?;
    stream.set_read_timeout(Some(SILENT_AT_MOST))?;
    let mut head = format!("{} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n", fetch.method);
    for (name, value) in &fetch.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", fetch.body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(&fetch.body)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    read(&answer)
}

fn split(url: &str) -> io::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other("only `http://` is spoken here"))?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

fn read(answer: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "what came back is no HTTP");
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = parsed.parse(answer) else { return Err(broken()) };
    let body = answer.get(length..).unwrap_or_default();
    let is_chunked = parsed.headers.iter().any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    let body = if is_chunked { unchunked(body).ok_or_else(broken)? } else { body.to_vec() };
    Ok((parsed.code.ok_or_else(broken)?, body))
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, length))) = httparse::parse_chunk_size(rest) else { return None };
        if length == 0 {
            return Some(body);
        }
        let length = usize::try_from(length).ok()?;
        body.extend_from_slice(rest.get(start..start.checked_add(length)?)?);
        rest = rest.get(start.checked_add(length)?.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_in_one_piece_and_in_chunks() {
        let whole = read(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").unwrap();
        assert_eq!(whole, (403, b"no".to_vec()));
        let chunks =
            read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n").unwrap();
        assert_eq!(chunks, (200, b"abcd".to_vec()));
        assert!(read(b"SSH-2.0\r\n").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz").is_err());
    }
}
