//! Takes a body out of `aws-chunked`, the coding in which S3's clients sign or check a body piece by piece. Whole, so that what is
//! looked through, hashed and sent is the object itself, and nothing hides on either side of a chunk's line. No I/O.

/// Longest line within the coding: a size and a signature, or a checksum.
const LINE_BYTES_MAX: usize = 256;

/// Most lines after the last chunk: a checksum and its signature.
const TRAILERS_MAX: usize = 4;

/// What a body was coded of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The bytes themselves.
    pub(crate) body: Vec<u8>,
    /// The checksum that came behind them, as the field it would have been.
    pub(crate) checksum: Option<(String, String)>,
}

/// The bytes of a whole body; none where it is not coded so.
pub(crate) fn decoded(mut coded: &[u8]) -> Option<Decoded> {
    let mut body = Vec::with_capacity(coded.len());
    loop {
        let (line, rest) = split_line(coded)?;
        let size = parse_size(line)?;
        coded = rest;
        if size == 0 {
            break;
        }
        let (chunk, rest) = coded.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        coded = rest.strip_prefix(b"\r\n")?;
    }
    Some(Decoded { body, checksum: trailer(coded)? })
}

/// `1a` or `1a;chunk-signature=...`, whose signature is the client's own and proves nothing here.
fn parse_size(line: &str) -> Option<usize> {
    let (size, extension) = line.split_once(';').map_or((line, None), |(size, extension)| (size, Some(extension)));
    let is_ours = extension.is_none_or(|extension| extension.starts_with("chunk-signature="));
    // `from_str_radix` would also take `+5`.
    let is_hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
    (is_ours && is_hex).then(|| usize::from_str_radix(size, 16).ok())?
}

/// What follows the last chunk: a checksum in base64, a signature over it, an empty line. Some clients leave the empty line out
/// where nothing else follows.
fn trailer(mut coded: &[u8]) -> Option<Option<(String, String)>> {
    let mut checksum = None;
    for _ in 0..=TRAILERS_MAX {
        if coded.is_empty() || coded == b"\r\n" {
            return Some(checksum);
        }
        let (line, rest) = split_line(coded)?;
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let is_base64 = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        match name.as_str() {
            "x-amz-trailer-signature" => {}
            name if is_checksum(name) && is_base64 && !value.is_empty() && checksum.is_none() => {
                checksum = Some((name.to_owned(), value.to_owned()));
            }
            _ => return None,
        }
        coded = rest;
    }
    None
}

/// Whether a field of this name states a checksum of an object.
fn is_checksum(name: &str) -> bool {
    let algorithm = name.strip_prefix("x-amz-checksum-");
    algorithm.is_some_and(|of| (1..=16).contains(&of.len()) && of.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn split_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let window = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let at = window.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = bytes.split_at_checked(at)?;
    let is_text = line.iter().all(|b| (b' '..=b'~').contains(b));
    Some((std::str::from_utf8(line).ok().filter(|_| is_text)?, rest.get(2..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_clients_send_is_taken_out_whole() {
        let signature = "a".repeat(64);
        let checksum = |value: &str| Some(("x-amz-checksum-crc32".to_owned(), value.to_owned()));
        for (coded, body, expected) in [
            ("5\r\nhello\r\n0\r\n\r\n".to_owned(), "hello", None),
            ("5\r\nhello\r\n3\r\n\r\n!\r\n0\r\n".to_owned(), "hello\r\n!", None),
            ("0\r\n\r\n".to_owned(), "", None),
            ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n".to_owned(), "hello", checksum("NhCmhg==")),
            (
                format!(
                    "5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\
                     X-Amz-Checksum-Crc32: NhCmhg==\r\nx-amz-trailer-signature:{signature}\r\n\r\n"
                ),
                "hello",
                checksum("NhCmhg=="),
            ),
        ] {
            let decoded = decoded(coded.as_bytes()).unwrap();
            assert_eq!((decoded.body.as_slice(), decoded.checksum), (body.as_bytes(), expected), "{coded:?}");
        }
    }

    #[test]
    fn what_has_two_readings_is_none_a42() {
        let long = format!("5;chunk-signature={}\r\nhello\r\n0\r\n\r\n", "a".repeat(LINE_BYTES_MAX));
        for coded in [
            "",
            "hello",
            "5\r\nhello\r\n",
            "5\r\nhell\r\n0\r\n\r\n",
            "6\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5;x=y\r\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            "0\r\n\r\nmore",
            "0\r\nauthorization:x\r\n\r\n",
            "0\r\nx-amz-checksum-crc32:a b\r\n\r\n",
            "0\r\nx-amz-checksum-crc32:aa\r\nx-amz-checksum-sha1:bb\r\n\r\n",
            &long,
        ] {
            assert_eq!(decoded(coded.as_bytes()), None, "{coded:?}");
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_body_is_the_same(body in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..50) {
            let chunk = |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            let mut coded: Vec<u8> = body.chunks(cut).flat_map(chunk).collect();
            coded.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decoded(&coded), Some(Decoded { body, checksum: None }));
        }

        #[test]
        fn no_bytes_panic(coded in prop::collection::vec(any::<u8>(), 0..200), text in "[0-9a-f;:\r\n]{0,40}") {
            let _ = (decoded(&coded), decoded(text.as_bytes()));
        }
    }
}
