//! Signs a request for AWS as it is about to be written: what the client signed with its placeholder goes, and the signature is
//! over what was judged and is sent. Owns which fields are signed; never knows whether the request is allowed. No I/O.

use selvedge_domain::{Endpoint, Time};

use super::aws_chunked;
use super::body::{BadBody, Framing};
use super::fields::Field;
use super::request::Exchange;
use crate::loan::{AUTHORIZATION, SESSION_TOKEN, SessionKeys, Signable, SignedFor, sha256_hex, stamp};

const DATE: &str = "x-amz-date";
const PAYLOAD: &str = "x-amz-content-sha256";
const CODED_LENGTH: &str = "x-amz-decoded-content-length";
const CODED_TRAILER: &str = "x-amz-trailer";
const CODING: &str = "content-encoding";

/// Takes a whole body out of the coding its client signed or checked it in, and has the head say what is left. In the coding
/// nothing could be looked for, and its signatures are the client's own.
pub(crate) fn uncoded(request: &mut Exchange, body: Vec<u8>) -> Result<Vec<u8>, BadBody> {
    let is_coded = text(request, PAYLOAD).is_some_and(|payload| payload.contains("STREAMING-"));
    let codings: Vec<String> =
        text(request, CODING).unwrap_or_default().split(',').map(|coding| coding.trim().to_ascii_lowercase()).collect();
    let is_named = codings.iter().any(|coding| coding == "aws-chunked");
    let body = match (is_coded, is_named) {
        (false, true) => return Err(BadBody::Coding),
        (false, false) => body,
        (true, _) => take_out(request, &body)?,
    };
    if is_named {
        let left: Vec<String> = codings.into_iter().filter(|coding| coding != "aws-chunked").collect();
        request.remove(CODING);
        if !left.is_empty() {
            request.set(CODING, left.join(", ").as_bytes());
        }
    }
    if request.framing != Framing::Empty {
        request.framing = Framing::Length(u64::try_from(body.len()).unwrap_or(u64::MAX));
    }
    Ok(body)
}

fn take_out(request: &mut Exchange, coded: &[u8]) -> Result<Vec<u8>, BadBody> {
    let decoded = aws_chunked::decoded(coded).ok_or(BadBody::Coding)?;
    let announced = text(request, CODED_LENGTH).map(|length| length.parse::<usize>().ok());
    let trailer = text(request, CODED_TRAILER).map(|trailer| trailer.to_ascii_lowercase());
    let brought = decoded.checksum.as_ref().map(|(name, _)| name.clone());
    if announced.is_some_and(|length| length != Some(decoded.body.len())) || trailer != brought {
        return Err(BadBody::Coding);
    }
    request.remove(CODED_LENGTH);
    request.remove(CODED_TRAILER);
    if let Some((name, value)) = decoded.checksum {
        request.set(&name, value.as_bytes());
    }
    Ok(decoded.body)
}

/// Signs the request and this body of it.
pub(crate) fn sign(
    request: &mut Exchange,
    body: &[u8],
    (keys, signed_for): (&SessionKeys, &SignedFor),
    (endpoint, port_default): (&Endpoint, u16),
    now: Time,
) {
    let (stamp, payload) = (stamp(now), sha256_hex(body));
    request.set(DATE, stamp.as_bytes());
    request.set(PAYLOAD, payload.as_bytes());
    request.set(SESSION_TOKEN, keys.token().as_bytes());
    let host = Exchange::host_field(endpoint, port_default);
    let is_signed = |field: &&Field| {
        field.name.starts_with("x-amz-") || matches!(field.name.as_str(), "content-md5" | "content-type" | "range")
    };
    let fields = request.fields().filter(is_signed).map(|field| (field.name.as_str(), field.value.as_slice()));
    let signed = keys.sign(
        signed_for,
        &stamp,
        &Signable {
            method: request.method,
            path: request.path.as_str(),
            query: request.query.as_ref().map_or("", |query| query.as_str()),
            fields: fields.chain([("host", host.as_bytes())]).collect(),
            payload: &payload,
        },
    );
    request.set(AUTHORIZATION, signed.as_bytes());
}

/// What a field says; one that comes twice says both (RFC 9110 section 5.2), as whoever answers reads it.
fn text(request: &Exchange, name: &str) -> Option<String> {
    let fields = request.fields().filter(|field| field.name == name);
    let values: Vec<_> = fields.map(|field| String::from_utf8_lossy(&field.value).into_owned()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

#[cfg(test)]
mod tests {
    use selvedge_domain::HostPattern;

    use super::super::request::{Request, parse_request};
    use super::*;
    use crate::loan::SecretText;

    fn exchange(fields: &str) -> Exchange {
        let head = format!("PUT /bucket/a%20b?x=1 HTTP/1.1\r\nHost: s3.example\r\n{fields}\r\n");
        match parse_request(head.as_bytes()).unwrap() {
            Request::Exchange(exchange) => *exchange,
            Request::Connect(endpoint) => panic!("a tunnel to {endpoint:?}"),
        }
    }

    fn written(request: &Exchange) -> String {
        let endpoint = Endpoint { host: HostPattern::parse("s3.example").unwrap(), port: 443 };
        let mut head = Vec::new();
        request.write_head(&endpoint, 443, &mut head);
        String::from_utf8(head).unwrap()
    }

    #[test]
    fn what_the_client_signed_is_replaced_by_what_is_sent() {
        let mut request = exchange(
            "Authorization: AWS4-HMAC-SHA256 Credential=x/y, SignedHeaders=host, Signature=0\r\nX-Amz-Date: 20000101T000000Z\r\n\
             X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nX-Amz-Meta-A: b\r\nContent-Length: 5\r\n",
        );
        let keys = SecretText::parse(b"ASIAEXAMPLE000001:secret-secret-secret:token-of-a-session").unwrap();
        let signed_for = SignedFor::parse("s3", "eu-central-1").unwrap();
        let endpoint = Endpoint { host: HostPattern::parse("s3.example").unwrap(), port: 443 };
        let now = Time::from_millis(1_440_938_160_000);
        sign(&mut request, b"hello", (&SessionKeys::parse(&keys).unwrap(), &signed_for), (&endpoint, 443), now);
        let head = written(&request);
        for line in [
            "x-amz-date: 20150830T123600Z\r\n",
            "x-amz-content-sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\r\n",
            "x-amz-security-token: token-of-a-session\r\n",
            "x-amz-meta-a: b\r\n",
            "authorization: AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE000001/20150830/eu-central-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a;x-amz-security-token, Signature=",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert!(!head.contains("UNSIGNED") && !head.contains("20000101") && !head.contains("secret-secret"), "{head}");
        assert_eq!(head.matches("x-amz-date:").count(), 1);
    }

    #[test]
    fn a_coded_body_is_taken_out_and_the_head_says_so_a50() {
        let fields = "X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nContent-Encoding: gzip, aws-chunked\r\n\
                      X-Amz-Decoded-Content-Length: 5\r\nX-Amz-Trailer: x-amz-checksum-crc32\r\nTransfer-Encoding: chunked\r\n";
        let coded = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n".to_vec();
        let mut request = exchange(fields);
        assert_eq!(uncoded(&mut request, coded.clone()).unwrap(), b"hello");
        let head = written(&request);
        assert!(
            head.contains("content-length: 5\r\n") && head.contains("x-amz-checksum-crc32: NhCmhg==\r\n"),
            "{head}"
        );
        assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
        assert!(
            !head.contains("transfer-encoding") && !head.contains("decoded") && !head.contains("trailer:"),
            "{head}"
        );
        for (from, to) in [
            ("Length: 5", "Length: 6"),
            ("checksum-crc32", "checksum-sha1"),
            ("X-Amz-Trailer: x-amz-checksum-crc32\r\n", ""),
            ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "UNSIGNED-PAYLOAD"),
            // Said twice, and one of it something else.
            (
                "X-Amz-Decoded-Content-Length: 5\r\n",
                "X-Amz-Decoded-Content-Length: 5\r\nX-Amz-Decoded-Content-Length: 6\r\n",
            ),
            ("X-Amz-Trailer", "X-Amz-Trailer: x-amz-checksum-sha1\r\nX-Amz-Trailer"),
            (
                "STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nContent-Encoding: gzip, aws-chunked",
                "UNSIGNED-PAYLOAD\r\nContent-Encoding: gzip\r\nContent-Encoding: aws-chunked",
            ),
        ] {
            assert!(fields.contains(from), "{from}");
            let mut request = exchange(&fields.replacen(from, to, 1));
            assert_eq!(uncoded(&mut request, coded.clone()), Err(BadBody::Coding), "{from}");
        }
        // What is not coded is sent as it is, with the length it has.
        let mut request = exchange("Transfer-Encoding: chunked\r\n");
        assert_eq!(uncoded(&mut request, coded.clone()).unwrap(), coded);
        assert_eq!(request.framing, Framing::Length(u64::try_from(coded.len()).unwrap()));
    }
}
