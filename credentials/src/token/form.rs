//! The body of a request as parameters: `application/x-www-form-urlencoded` (RFC 6749 appendix B), read strictly. What two
//! readers could read differently is refused. Knows no parameter's meaning.

use super::refusal::{Code, Refusal};

/// Longest body: two tokens of ours, a scope with every byte of it escaped, and room.
pub(crate) const FORM_BYTES_MAX: usize = 16 * 1024;
/// Most parameters: RFC 8693 knows nine, and clients add their own.
const PARAMETERS_MAX: usize = 32;
/// May be there more than once (RFC 8693 section 2.1); all else may not (RFC 6749 section 3.2).
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// A request's parameters. An empty value is no value (RFC 6749 section 3.2), so none is empty.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if body.len() > FORM_BYTES_MAX {
            return Err(malformed("the form is too long; send fewer or shorter parameters"));
        }
        let text =
            std::str::from_utf8(body).map_err(|_| malformed("the form is not text; percent-encode its values"))?;
        let mut seen: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|_| !text.is_empty()) {
            if seen.len() == PARAMETERS_MAX {
                return Err(malformed("the form has too many parameters; leave out those that are not needed"));
            }
            let (name, value) = pair.split_once('=').ok_or_else(bad_encoding)?;
            let [name, value] = [decoded(name)?, decoded(value)?];
            if name.is_empty() {
                return Err(bad_encoding());
            }
            if !REPEATABLE.contains(&name.as_str()) && seen.iter().any(|(other, _)| *other == name) {
                return Err(malformed("a parameter is there more than once; send each one once"));
            }
            seen.push((name, value));
        }
        seen.retain(|(_, value)| !value.is_empty());
        Ok(Self(seen))
    }

    /// The parameter with this name.
    pub(crate) fn one(&self, name: &'static str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every parameter with this name.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter there is no going on without.
    pub(crate) fn need(&self, name: &'static str) -> Result<&str, Refusal> {
        self.one(name).ok_or_else(|| Refusal::told(Code::InvalidRequest, format!("`{name}` is missing; send it")))
    }
}

/// Undoes the encoding of one name or value.
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit =
                    |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                    return Err(bad_encoding());
                };
                high << 4 | low
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| bad_encoding())?;
    if text.chars().any(char::is_control) { Err(bad_encoding()) } else { Ok(text) }
}

fn bad_encoding() -> Refusal {
    malformed("the form is not application/x-www-form-urlencoded; encode it again")
}

fn malformed(next_step: &'static str) -> Refusal {
    Refusal::new(Code::InvalidRequest, next_step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::errand;

    fn read(body: &str) -> Option<Vec<(String, String)>> {
        Form::parse(body.as_bytes()).ok().map(|form| form.0)
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        assert_eq!(read("a=1&b=x+y%2Bz&c="), Some(vec![("a".into(), "1".into()), ("b".into(), "x y+z".into())]));
        assert_eq!(read(""), Some(Vec::new()));
        assert_eq!(read("audience=x&audience=y").map(|pairs| pairs.len()), Some(2));
        let many = (0..=PARAMETERS_MAX).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&");
        let long = format!("a={}", "x".repeat(FORM_BYTES_MAX));
        let bad = [
            "a=1&a=2",
            "a=1&a=",
            "a=&a=1",
            "%61=1&a=2",
            "a",
            "=1",
            "&",
            "a=1&",
            "a=1&&b=2",
            "a=%",
            "a=%4",
            "a=%zz",
            "a=%+1",
            "a=%-1",
            "a=%C3",
            "a=%00",
            "a=%0A",
            "a=\u{85}",
            &many,
            &long,
        ];
        for body in bad {
            assert_eq!(read(body), None, "{body:?}");
        }
        assert!(Form::parse(b"a=\xff").is_err());
        assert!(read(long.get(..FORM_BYTES_MAX).unwrap()).is_some(), "the limit itself is allowed");
    }

    proptest! {
        #[test]
        fn a_form_reads_back_as_it_was_written(value in "[^\\p{Cc}]{1,40}", other in "[ -~]{1,40}") {
            let body = errand::form(&[("a", &value), ("b&=", &other)]);
            let form = Form::parse(body.expose()).map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
            prop_assert_eq!((form.one("a"), form.one("b&=")), (Some(value.as_str()), Some(other.as_str())));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read_or_refused = Form::parse(&body).is_ok();
        }
    }
}
