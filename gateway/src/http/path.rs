//! Brings a request target's path and query into the one form that is both judged and forwarded (RFC 3986 section 6).
//! What has no such form is refused, never repaired; never knows which paths are granted.

use std::fmt::Write as _;

/// Longest path. Every decision records it for ever, so it is what a person would read; registries stay far below.
pub const PATH_BYTES_MAX: usize = 1024;

/// Longest query, which is measured and not recorded; signed ones are long, and one head must hold it.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;

/// Why text is not a path that every reader understands alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// Longer than the limit.
    #[error("the path or query is too long")]
    TooLong,
    /// A byte outside the URI grammar: a space, a control, a backslash, a fragment, anything not ASCII.
    #[error("the path or query has a byte outside the URI grammar")]
    Byte,
    /// `%` without two hexadecimal digits.
    #[error("the path or query has a broken percent-encoding")]
    PercentEncoding,
    /// An encoded slash, backslash or control, which some servers decode before routing.
    #[error("the path hides a separator or a control in a percent-encoding")]
    HiddenSeparator,
    /// `%25` before two hexadecimal digits: decoded twice, it is another path.
    #[error("the path is percent-encoded twice")]
    DoubleEncoding,
    /// `.` or `..`, plain, encoded or with parameters.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `//`, which some servers merge.
    #[error("the path has an empty segment")]
    EmptySegment,
}

/// A path in canonical form: unreserved bytes plain, all else in upper-case percent-encoding, no dot or empty segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath(String);

/// A query within the URI grammar, percent-encodings in upper case. It is counted, not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(String);

impl CanonicalPath {
    /// Reads the path of a request target.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        if text.len() > PATH_BYTES_MAX {
            return Err(BadTarget::TooLong);
        }
        let rest = text.strip_prefix('/').ok_or(BadTarget::NotAbsolute)?;
        let mut path = String::with_capacity(text.len());
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(BadTarget::EmptySegment);
            }
            path.push('/');
            push_segment(segment, &mut path)?;
        }
        Ok(Self(path))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Query {
    /// Reads what follows the `?`.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(BadTarget::TooLong);
        }
        let mut query = String::with_capacity(text.len());
        let mut bytes = text.as_bytes().iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'%' => match decode(&mut bytes)? {
                    0 => return Err(BadTarget::HiddenSeparator),
                    value => push_encoded(value, &mut query),
                },
                _ if is_path_byte(byte) || matches!(byte, b'/' | b'?') => query.push(char::from(byte)),
                _ => return Err(BadTarget::Byte),
            }
        }
        Ok(Self(query))
    }

    /// The text without its `?`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of the parameters, decoded and in lower case.
    pub fn parameter_names(&self) -> impl Iterator<Item = String> {
        self.0.split('&').map(|pair| {
            let mut bytes = pair.split('=').next().unwrap_or(pair).as_bytes().iter();
            let mut name = String::new();
            while let Some(&byte) = bytes.next() {
                let byte = if byte == b'%' { decode(&mut bytes).unwrap_or(b'%') } else { byte };
                name.push(char::from(byte.to_ascii_lowercase()));
            }
            name
        })
    }
}

fn push_segment(segment: &str, path: &mut String) -> Result<(), BadTarget> {
    let start = path.len();
    let mut bytes = segment.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'%' => match decode(&mut bytes)? {
                // npm writes a scoped package as `@scope%2Fname` and its registries take `@scope/name` as the same.
                b'/' if is_npm_scope(path.get(start..), bytes.as_slice()) => path.push('/'),
                b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(BadTarget::HiddenSeparator),
                value if is_unreserved(value) => path.push(char::from(value)),
                value => push_encoded(value, path),
            },
            _ if is_path_byte(byte) => path.push(char::from(byte)),
            _ => return Err(BadTarget::Byte),
        }
    }
    let written = path.get(start..).unwrap_or_default();
    if written.split("%25").skip(1).any(|after| begins_with_hex_pair(after.as_bytes())) {
        return Err(BadTarget::DoubleEncoding);
    }
    // Some servers drop `;parameters` before they resolve dots.
    let name = written.split(';').next().unwrap_or_default();
    let name = name.split("%3B").next().unwrap_or_default();
    if matches!(name, "." | "..") { Err(BadTarget::DotSegment) } else { Ok(()) }
}

/// Whether what was written is exactly `@scope` and what follows is a plain package name.
fn is_npm_scope(written: Option<&str>, following: &[u8]) -> bool {
    let is_name =
        |bytes: &[u8]| bytes.first().is_some_and(u8::is_ascii_alphanumeric) && bytes.iter().all(|&b| is_unreserved(b));
    written.and_then(|scope| scope.strip_prefix('@')).is_some_and(|scope| is_name(scope.as_bytes()))
        && is_name(following)
}

fn decode(bytes: &mut std::slice::Iter<'_, u8>) -> Result<u8, BadTarget> {
    let mut digit = || bytes.next().and_then(|&b| char::from(b).to_digit(16)).ok_or(BadTarget::PercentEncoding);
    let value = digit()? * 16 + digit()?;
    u8::try_from(value).map_err(|_| BadTarget::PercentEncoding)
}

fn push_encoded(byte: u8, text: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(text, "%{byte:02X}");
}

fn begins_with_hex_pair(bytes: &[u8]) -> bool {
    matches!(bytes, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` without percent-encoding.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_paths_get_one_form() {
        for (text, canonical) in [
            ("/", "/"),
            ("/crates/itoa", "/crates/itoa"),
            ("/crates/", "/crates/"),
            ("/%63rates/%7euser", "/crates/~user"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/100%25", "/100%25"),
            ("/a;v=1/b:c@d", "/a;v=1/b:c@d"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/@types%2fnode", "/@types/node"),
            ("/@types%2Fnode/-/node-1.0.0.tgz", "/@types/node/-/node-1.0.0.tgz"),
        ] {
            assert_eq!(CanonicalPath::parse(text).unwrap().as_str(), canonical, "{text}");
        }
    }

    #[test]
    fn paths_with_two_readings_are_refused() {
        use BadTarget::*;
        for (text, why) in [
            ("", NotAbsolute),
            ("crates", NotAbsolute),
            ("*", NotAbsolute),
            ("//evil.example/x", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a/../b", DotSegment),
            ("/a/..", DotSegment),
            ("/./a", DotSegment),
            ("/a/%2e%2e/b", DotSegment),
            ("/a/.%2E/b", DotSegment),
            ("/a/..;x=1/b", DotSegment),
            ("/a/..%3bx/b", DotSegment),
            ("/a%2fb", HiddenSeparator),
            ("/a%2F..%2Fb", HiddenSeparator),
            ("/@types%2f..%2fx", HiddenSeparator),
            ("/@types%2f.", HiddenSeparator),
            ("/@%2fnode", HiddenSeparator),
            ("/a%5cb", HiddenSeparator),
            ("/a%00", HiddenSeparator),
            ("/a%0d%0ax", HiddenSeparator),
            ("/a%7f", HiddenSeparator),
            ("/a%252fb", DoubleEncoding),
            ("/a%252e%252e", DoubleEncoding),
            ("/a\\b", Byte),
            ("/a b", Byte),
            ("/a#b", Byte),
            ("/a\tb", Byte),
            ("/caf\u{e9}", Byte),
            ("/a%", PercentEncoding),
            ("/a%4", PercentEncoding),
            ("/a%zz", PercentEncoding),
            ("/a%+4", PercentEncoding),
        ] {
            assert_eq!(CanonicalPath::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a107_what_is_recorded_of_a_path_is_bounded_and_a_query_may_be_longer() {
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        assert!(CanonicalPath::parse(&path(PATH_BYTES_MAX)).is_ok());
        assert_eq!(CanonicalPath::parse(&path(PATH_BYTES_MAX + 1)), Err(BadTarget::TooLong));
        assert!(Query::parse(&"a".repeat(QUERY_BYTES_MAX)).is_ok());
        assert_eq!(Query::parse(&"a".repeat(QUERY_BYTES_MAX + 1)), Err(BadTarget::TooLong));
    }

    #[test]
    fn queries_keep_their_meaning_and_show_their_names() {
        let query = Query::parse("q=a%2fb&X-Amz-%53ignature=1&flag").unwrap();
        assert_eq!(query.as_str(), "q=a%2Fb&X-Amz-%53ignature=1&flag");
        assert_eq!(query.parameter_names().collect::<Vec<_>>(), ["q", "x-amz-signature", "flag"]);
        for text in ["a b", "a#b", "a\r\nb", "a\\", "%", "%0", "%00"] {
            assert!(Query::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(text in "/[ -~]{0,40}") {
            if let Ok(path) = CanonicalPath::parse(&text) {
                prop_assert_eq!(CanonicalPath::parse(path.as_str()).unwrap(), path);
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = CanonicalPath::parse(&text);
            let _ = Query::parse(&text).map(|query| query.parameter_names().count());
        }
    }
}
