//! Splits a message head into lines and fields, strictly (RFC 9112 sections 2 and 5): no bare line feeds, no folding, no
//! spaces before colons. Owns which fields go no further; never knows requests from responses.

/// Most fields in one head; browsers send about twenty.
const FIELDS_MAX: usize = 100;

/// Why bytes are not a message head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Longer than the limit without an end.
    #[error("the head is too long")]
    TooLong,
    /// More fields than the limit.
    #[error("the head has too many fields")]
    TooManyFields,
    /// `LF` without `CR`, or `CR` without `LF`.
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// The first line has not exactly three parts, or a wrong version.
    #[error("the first line is malformed")]
    FirstLine,
    /// A line that begins with white space continues the one before (obs-fold).
    #[error("a field is folded over two lines")]
    Folded,
    /// A name that is not a token, is empty, is followed by a space, or has an underscore, which some servers read as a dash.
    #[error("a field name is malformed")]
    FieldName,
    /// A control, or a byte that is not ASCII where only ASCII is sent.
    #[error("a field value has a forbidden byte")]
    FieldValue,
    /// A field that must come once comes twice, or must come and does not.
    #[error("the field `{0}` must come exactly once")]
    Count(&'static str),
    /// A field that must have one simple value has another.
    #[error("the field `{0}` has a value that is not accepted")]
    Value(&'static str),
    /// Both `Content-Length` and `Transfer-Encoding` (A-42).
    #[error("the message has two lengths")]
    TwoLengths,
}

/// One field; the name in lower case, the value without surrounding white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Vec<u8>,
}

/// The fields of a head in the order they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(Vec<Field>);

/// Which bytes a value may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueBytes {
    /// Printable ASCII, spaces and tabs.
    Ascii,
    /// The same and `obs-text`, which servers still send.
    AsciiAndOpaque,
}

/// Where the head that begins `buffer` ends, if it does; `bytes_max` bounds how far it may go.
pub fn head_length(buffer: &[u8], bytes_max: usize) -> Result<Option<usize>, BadHead> {
    let mut line_start = 0;
    let mut before = 0;
    for (at, &byte) in buffer.iter().enumerate().take(bytes_max) {
        if (byte == b'\n') != (before == b'\r') {
            return Err(BadHead::LineEnd);
        }
        if byte == b'\n' {
            if at == line_start + 1 {
                return Ok(Some(at + 1));
            }
            line_start = at + 1;
        }
        before = byte;
    }
    if buffer.len() >= bytes_max { Err(BadHead::TooLong) } else { Ok(None) }
}

/// Splits a complete head into its first line and its fields.
pub fn split_head(head: &[u8], values: ValueBytes) -> Result<(&[u8], Fields), BadHead> {
    let head = head.strip_suffix(b"\r\n\r\n").ok_or(BadHead::LineEnd)?;
    let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().ok_or(BadHead::FirstLine)?;
    let mut fields = Vec::new();
    for line in lines {
        if fields.len() == FIELDS_MAX {
            return Err(BadHead::TooManyFields);
        }
        fields.push(parse_field(line, values)?);
    }
    Ok((first, Fields(fields)))
}

fn parse_field(line: &[u8], values: ValueBytes) -> Result<Field, BadHead> {
    if line.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
        return Err(BadHead::Folded);
    }
    let mut parts = line.splitn(2, |&byte| byte == b':');
    let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return Err(BadHead::FieldName) };
    if name.is_empty() || !name.iter().all(|&b| is_token_byte(b) && b != b'_') {
        return Err(BadHead::FieldName);
    }
    let is_allowed = |&b: &u8| matches!(b, b'\t' | b' '..=b'~') || (values == ValueBytes::AsciiAndOpaque && b >= 0x80);
    if !value.iter().all(is_allowed) {
        return Err(BadHead::FieldValue);
    }
    let name = name.iter().map(|b| char::from(b.to_ascii_lowercase())).collect();
    Ok(Field { name, value: value.trim_ascii().to_vec() })
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

impl Fields {
    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// The one value of `name`, or nothing; twice is an error even if both agree.
    pub fn at_most_one(&self, name: &'static str) -> Result<Option<&[u8]>, BadHead> {
        let mut values = self.0.iter().filter(|field| field.name == name).map(|field| field.value.as_slice());
        let first = values.next();
        if values.next().is_some() { Err(BadHead::Count(name)) } else { Ok(first) }
    }

    /// Keeps the fields that `keep` chooses.
    pub fn retain(&mut self, keep: impl FnMut(&Field) -> bool) {
        self.0.retain(keep);
    }

    /// Adds a field at the end.
    pub fn push(&mut self, field: Field) {
        self.0.push(field);
    }

    /// Writes the fields as lines.
    pub fn write(&self, out: &mut Vec<u8>) {
        for field in &self.0 {
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(&field.value);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// How the body is delimited, if the fields say so: a length, or chunks; both or either twice is an error (A-42).
    pub fn framing(&self) -> Result<Option<super::body::Framing>, BadHead> {
        let length = self.at_most_one("content-length")?;
        let coding = self.at_most_one("transfer-encoding")?;
        match (length, coding) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(BadHead::TwoLengths),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(super::body::Framing::Chunked)),
            (None, Some(_)) => Err(BadHead::Value("transfer-encoding")),
            (Some(length), None) => parse_length(length).map(|length| Some(super::body::Framing::Length(length))),
        }
    }

    /// Whether `Connection` says that this is the last message; an option other than those that only concern this hop is
    /// an error, since it would remove a field the judgement saw.
    pub fn closes(&self) -> Result<bool, BadHead> {
        let mut closes = false;
        for field in self.0.iter().filter(|field| field.name == "connection" || field.name == "proxy-connection") {
            for option in field.value.split(|&byte| byte == b',') {
                match option.trim_ascii().to_ascii_lowercase().as_slice() {
                    b"close" => closes = true,
                    b"" | b"keep-alive" | b"te" | b"upgrade" | b"http2-settings" | b"transfer-encoding" => {}
                    _ => return Err(BadHead::Value("connection")),
                }
            }
        }
        Ok(closes)
    }
}

fn parse_length(text: &[u8]) -> Result<u64, BadHead> {
    let bad = || BadHead::Value("content-length");
    // `parse` would also take `+5`.
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    std::str::from_utf8(text).ok().and_then(|digits| digits.parse().ok()).ok_or_else(bad)
}

/// Whether a field only concerns one connection and is written anew on the next (RFC 9110 section 7.6.1).
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "proxy-connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "content-length"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        assert_eq!(head_length(b"GET / HTTP/1.1\r\na: b\r\n\r\nGET", 99), Ok(Some(24)));
        assert_eq!(head_length(b"GET / HTTP/1.1\r\na: b\r\n\r", 99), Ok(None));
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n", 10), Err(BadHead::TooLong));
        for head in [&b"GET / HTTP/1.1\n\n"[..], b"a\r\nb\n\r\n", b"a\rb\r\n\r\n", b"a\r\r\n\r\n"] {
            assert_eq!(head_length(head, 99), Err(BadHead::LineEnd), "{head:?}");
        }
    }

    #[test]
    fn a42_hostile_fields_are_refused() {
        use BadHead::*;
        for (lines, why) in [
            ("a: b\r\n c", Folded),
            ("a: b\r\n\tc", Folded),
            ("a : b", FieldName),
            (": b", FieldName),
            ("a", FieldName),
            ("content_length: 4", FieldName),
            ("a\u{e9}: b", FieldName),
            ("a: b\0c", FieldValue),
            ("a: caf\u{e9}", FieldValue),
        ] {
            let head = format!("first\r\n{lines}\r\n\r\n");
            assert_eq!(split_head(head.as_bytes(), ValueBytes::Ascii).unwrap_err(), why, "{lines:?}");
        }
    }

    #[test]
    fn a42_a_message_has_one_length() {
        use BadHead::*;
        for (lines, why) in [
            ("content-length: 4\r\ncontent-length: 4", Count("content-length")),
            ("content-length: 4\r\ntransfer-encoding: chunked", TwoLengths),
            ("content-length: 4, 4", Value("content-length")),
            ("content-length: +4", Value("content-length")),
            ("content-length: -4", Value("content-length")),
            ("content-length: 0x4", Value("content-length")),
            ("content-length:", Value("content-length")),
            ("content-length: 99999999999999999999999", Value("content-length")),
            ("transfer-encoding: gzip, chunked", Value("transfer-encoding")),
            ("transfer-encoding: identity", Value("transfer-encoding")),
            ("transfer-encoding: xchunked", Value("transfer-encoding")),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", Count("transfer-encoding")),
        ] {
            let head = format!("first\r\n{lines}\r\n\r\n");
            let (_, fields) = split_head(head.as_bytes(), ValueBytes::Ascii).unwrap();
            assert_eq!(fields.framing(), Err(why), "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn fields_read_back_as_written(names in prop::collection::vec("[a-z][a-z0-9-]{0,9}", 0..9), value in "[!-~]([ -~]{0,20}[!-~])?") {
            let fields = Fields(names.into_iter().map(|name| Field { name, value: value.clone().into_bytes() }).collect());
            let mut head = b"first\r\n".to_vec();
            fields.write(&mut head);
            head.extend_from_slice(b"\r\n");
            prop_assert_eq!(head_length(&head, 4096), Ok(Some(head.len())));
            prop_assert_eq!(split_head(&head, ValueBytes::Ascii).unwrap().1, fields);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(length)) = head_length(&bytes, 128) {
                let _ = split_head(&bytes[..length], ValueBytes::AsciiAndOpaque);
            }
        }
    }
}
