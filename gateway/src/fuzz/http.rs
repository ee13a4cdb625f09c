//! Heads, bodies, paths and authorities: there is one way to read them, and what is written is read in that way by others too.

use selvedge_domain::Method;

use crate::http::authority::Authority;
use crate::http::aws_chunked;
use crate::http::body::{BadBody, BodyReader, Framing, Piece, write_end, write_piece};
use crate::http::credentials::is_credential_field;
use crate::http::fields::{ValueBytes, head_length, is_hop_by_hop, is_token_byte, split_head};
use crate::http::path::{CanonicalPath, Query};
use crate::http::request::{Exchange, Form, HTTP_PORT, REQUEST_HEAD_BYTES_MAX, Request, parse_request};
use crate::http::response::{RESPONSE_HEAD_BYTES_MAX, parse_response};

/// More fields than a head may have.
const FIELDS: usize = 128;

/// Longest body that is read here.
const BODY_BYTES_MAX: u64 = 4096;

/// A request is written so that we and others read again what was judged, however it came in.
pub(super) fn request_head(bytes: &[u8]) -> bool {
    let Some(head) = head(bytes, REQUEST_HEAD_BYTES_MAX) else { return false };
    match parse_request(head) {
        Err(_) => false,
        Ok(Request::Connect(endpoint)) => {
            let place = format!("{}:{}", endpoint.host, endpoint.port);
            let again = format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n\r\n");
            assert_eq!(parse_request(again.as_bytes()), Ok(Request::Connect(endpoint)));
            true
        }
        Ok(Request::Exchange(exchange)) => {
            exchange_holds(&exchange, head.len());
            true
        }
    }
}

fn exchange_holds(read: &Exchange, head_bytes: usize) {
    let endpoint = read.host.endpoint(HTTP_PORT);
    let mut written = Vec::new();
    read.write_head(&endpoint, HTTP_PORT, &mut written);
    // A space after each colon, and the slash that an absolute target may leave out.
    assert!(written.len() <= head_bytes + FIELDS + 1, "a head grew from {head_bytes} to {} bytes", written.len());
    let is_ours = |name: &str| is_credential_field(name) || is_hop_by_hop(name) || name == "host" || name == "expect";
    assert!(read.fields().all(|field| !is_ours(&field.name)), "a field is forwarded that is ours to write");

    let port = if endpoint.port == HTTP_PORT { String::new() } else { format!(":{}", endpoint.port) };
    let mut expected = read.clone();
    expected.host = Authority::parse(&format!("{}{port}", endpoint.host)).unwrap();
    expected.form = Form::Origin;
    expected.expects_continue = false;
    expected.closes = false;
    expected.stripped.clear();
    assert_eq!(parse_request(&written), Ok(Request::Exchange(Box::new(expected.clone()))));

    let text = std::str::from_utf8(&written).unwrap();
    let target = text.split(' ').nth(1).unwrap();
    let absolute = text.replacen(target, &format!("http://{}{port}{target}", endpoint.host), 1);
    expected.form = Form::Absolute;
    assert_eq!(parse_request(absolute.as_bytes()), Ok(Request::Exchange(Box::new(expected))), "A-40");

    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(&written), Ok(httparse::Status::Complete(written.len())));
    assert_eq!((other.method, other.path, other.version), (Some(read.method.as_str()), Some(target), Some(1)));
    assert_eq!(count(other.headers, &["host"]), 1);
    let lengths = count(other.headers, &["content-length", "transfer-encoding"]);
    assert_eq!(lengths, usize::from(read.framing != Framing::Empty), "A-42");
    assert_eq!(count(other.headers, &["connection", "upgrade", "te", "trailer"]), 0, "A-45");
}

/// A response is written so that we and others read it again as it was passed on.
pub(super) fn response_head(bytes: &[u8]) -> bool {
    let Some(head) = head(bytes, RESPONSE_HEAD_BYTES_MAX) else { return false };
    let mut is_read = false;
    for (method, closes) in [(Method::Get, false), (Method::Get, true), (Method::Head, false)] {
        let Ok(read) = parse_response(head, method) else { continue };
        is_read = true;
        let (mut written, mut twice) = (Vec::new(), Vec::new());
        read.write_head(closes, &mut written);
        let again = parse_response(&written, method).unwrap();
        assert_eq!((again.status, again.framing), (read.status, read.framing_to_client()));
        assert_eq!(again.closes, closes);
        again.write_head(closes, &mut twice);
        assert_eq!(written, twice);

        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut other = httparse::Response::new(&mut fields);
        assert_eq!(other.parse(&written), Ok(httparse::Status::Complete(written.len())));
        assert_eq!((other.code, other.version), (Some(read.status), Some(1)));
        assert!(count(other.headers, &["content-length", "transfer-encoding"]) <= 1, "A-42");
        assert_eq!(count(other.headers, &["upgrade", "trailer", "set-cookie", "alt-svc"]), 0, "A-45");
    }
    is_read
}

/// The head that begins `bytes`, which ends where it ends whatever follows it.
fn head(bytes: &[u8], bytes_max: usize) -> Option<&[u8]> {
    let length = head_length(bytes, bytes_max).ok()??;
    let (head, _) = bytes.split_at(length);
    assert!(length <= bytes_max && head.ends_with(b"\r\n"));
    assert_eq!(head_length(head, bytes_max), Ok(Some(length)), "where a head ends depends on what follows it");
    let (_, unfinished) = head.split_last()?;
    assert_eq!(head_length(unfinished, bytes_max), Ok(None));
    Some(head)
}

fn count(fields: &[httparse::Header<'_>], names: &[&str]) -> usize {
    fields.iter().filter(|field| names.iter().any(|name| field.name.eq_ignore_ascii_case(name))).count()
}

/// Fields are tokens and lines, and are read again as they are written; never two lengths.
pub(super) fn fields(bytes: &[u8]) -> bool {
    let Some(head) = head(bytes, RESPONSE_HEAD_BYTES_MAX) else { return false };
    let mut is_read = false;
    for values in [ValueBytes::Ascii, ValueBytes::AsciiAndOpaque] {
        let Ok((line, fields)) = split_head(head, values) else { continue };
        is_read = true;
        let mut written = [line, b"\r\n"].concat();
        fields.write(&mut written);
        written.extend_from_slice(b"\r\n");
        assert_eq!(split_head(&written, values), Ok((line, fields.clone())));
        assert!(fields.iter().count() <= FIELDS);
        for field in fields.iter() {
            let is_name = |b: u8| is_token_byte(b) && b != b'_' && !b.is_ascii_uppercase();
            assert!(!field.name.is_empty() && field.name.bytes().all(is_name), "{field:?}");
            assert!(!field.value.iter().any(|b| matches!(b, 0..=8 | 10..=31 | 127)), "{field:?}");
        }
        let lengths = fields.iter().filter(|field| matches!(&*field.name, "content-length" | "transfer-encoding"));
        let lengths = lengths.count();
        match fields.framing() {
            Ok(framing) => assert_eq!(lengths, usize::from(framing.is_some()), "A-42"),
            Err(_) => assert!(lengths > 0),
        }
    }
    is_read
}

/// A body is the same however it arrives, ends where its framing says, and is read again as it is written.
pub(super) fn body(bytes: &[u8]) -> bool {
    let length = u64::try_from(bytes.len() / 2).unwrap();
    for framing in [Framing::Empty, Framing::Length(length), Framing::UntilClose] {
        body_holds(framing, bytes);
    }
    body_holds(Framing::Chunked, bytes)
}

/// What is taken out of S3's coding is what was put in, and nothing of the coding is part of it.
pub(super) fn aws_chunked(bytes: &[u8]) -> bool {
    let Some(decoded) = aws_chunked::decoded(bytes) else { return false };
    assert!(decoded.body.len() < bytes.len());
    let mut coded = Vec::new();
    for chunk in decoded.body.chunks(7) {
        coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n");
    if let Some((name, value)) = &decoded.checksum {
        assert!([name, value].iter().all(|text| text.bytes().all(|b| b.is_ascii_graphic())), "it becomes a field");
        coded.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    coded.extend_from_slice(b"\r\n");
    assert_eq!(aws_chunked::decoded(&coded), Some(decoded));
    true
}

fn body_holds(framing: Framing, bytes: &[u8]) -> bool {
    let at_once = read_body(framing, bytes, bytes.len().max(1));
    for step in [1, 3] {
        assert_eq!(read_body(framing, bytes, step), at_once, "in steps of {step}");
    }
    let Ok((body, rest)) = at_once else { return false };
    assert!(bytes.ends_with(&rest), "bytes were lost after the body");
    assert!(u64::try_from(body.len()).unwrap() <= BODY_BYTES_MAX);
    let mut written = Vec::new();
    // No chunk is empty but the last.
    body.chunks(100).for_each(|piece| write_piece(Framing::Chunked, piece, &mut written));
    write_end(Framing::Chunked, &mut written);
    written.extend_from_slice(&rest);
    assert_eq!(read_body(Framing::Chunked, &written, written.len()), Ok((body, rest)));
    true
}

/// Reads a body that arrives `step` bytes at a time; what follows it is left.
fn read_body(framing: Framing, bytes: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), BadBody> {
    let mut reader = BodyReader::begin(framing, BODY_BYTES_MAX)?;
    let (mut body, mut buffer, mut arriving) = (Vec::new(), Vec::new(), bytes.chunks(step));
    loop {
        match reader.read(&buffer)? {
            Piece::Data { bytes, consumed } => {
                assert!(!bytes.is_empty(), "nothing was read and it was not the end");
                body.extend_from_slice(bytes);
                buffer.drain(..consumed);
            }
            Piece::End { consumed } => {
                buffer.drain(..consumed);
                buffer.extend(arriving.flatten());
                return Ok((body, buffer));
            }
            Piece::Wait => match arriving.next() {
                Some(more) => buffer.extend_from_slice(more),
                None => return reader.at_close().map(|()| (body, buffer)),
            },
        }
    }
}

/// A path has one form, in which decoding it once or twice shows no segment that was not judged.
pub(super) fn path(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    if let Some(query) = query.and_then(|query| Query::parse(query).ok()) {
        assert_eq!(Query::parse(query.as_str()), Ok(query.clone()));
        assert!(query.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'#'));
        assert_eq!(query.parameter_names().count(), query.as_str().split('&').count());
    }
    let Ok(read) = CanonicalPath::parse(path) else { return false };
    assert_eq!(CanonicalPath::parse(read.as_str()), Ok(read.clone()));
    assert!(read.as_str().len() <= path.len() && read.as_str().bytes().all(|b| b.is_ascii_graphic()));
    let seen = decoded(read.as_str().as_bytes());
    assert_eq!(decoded(&seen), seen, "decoded twice, it is another path");
    assert!(!seen.iter().any(|b| matches!(b, b'\\' | 0..=31 | 127)), "it hides a byte");
    let segments: Vec<&[u8]> = seen.split(|&b| b == b'/').skip(1).collect();
    assert_eq!(segments.len(), read.as_str().split('/').skip(1).count(), "it hides a separator");
    for (at, segment) in segments.iter().enumerate() {
        assert!(!segment.is_empty() || at + 1 == segments.len(), "it has an empty segment");
        let name = segment.split(|&b| b == b';').next().unwrap_or_default();
        assert!(!matches!(name, b"." | b".."), "it has a dot segment");
    }
    true
}

/// Decodes as a careless server does: what is no encoding stays as it is.
fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&b| char::from(b).to_digit(16));
        let value = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        let decoded = value.filter(|_| byte == b'%');
        out.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { after.split_at(2).1 } else { after };
    }
    out
}

/// An authority has one form, in which no reader takes a name for an address.
pub(super) fn authority(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(read) = Authority::parse(text) else { return false };
    let endpoint = read.endpoint(HTTP_PORT);
    let again = Authority::parse(&format!("{}:{}", endpoint.host, endpoint.port)).unwrap();
    assert_eq!(again.endpoint_with_port(), Some(endpoint.clone()));
    assert!(endpoint.port != 0 && read.endpoint_with_port().is_none_or(|stated| stated == endpoint));
    let host = endpoint.host.as_str();
    assert!(host.is_ascii() && !host.bytes().any(|b| b.is_ascii_uppercase() || b"@/\\%#? ".contains(&b)));
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_v6 = inside.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_v4 = host.parse::<std::net::Ipv4Addr>().is_ok();
    let has_letter = |label: &str| label.bytes().any(|b| !b.is_ascii_digit());
    assert!(is_v6 || is_v4 || host.rsplit('.').next().is_some_and(has_letter), "`{host}` may be an address");
    assert_eq!(host.contains([':', '[', ']']), is_v6, "`{host}` has a colon");
    true
}
