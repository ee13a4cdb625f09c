//! Reads one DNS question and writes its answer (RFC 1035 section 4), without I/O. Total, strict and bounded; never knows
//! which names are granted.

use std::net::Ipv4Addr;

/// Largest query read: a header, the longest name, and an OPT record fit with room.
pub const QUERY_BYTES_MAX: usize = 512;
const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// Synthetic addresses hold for the life of a run; a minute keeps resolvers' caches small.
const TTL_SECONDS: u32 = 60;

/// Why bytes are not a question that a stub answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// No header; there is not even an id to answer under.
    #[error("the query is shorter than a header or longer than the limit")]
    Length,
    /// A response, another operation, or not exactly one question.
    #[error("the message is not one plain question")]
    NotAQuestion,
    /// A name that is too long, compressed, truncated, or has bytes other than letters, digits, dashes and underscores.
    #[error("the name is malformed")]
    Name,
    /// Bytes after the question that are not one additional record.
    #[error("the message has bytes after its question")]
    TrailingBytes,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name in lower case, without the final dot.
    pub name: String,
    /// The record type asked for.
    pub kind: u16,
    /// The class asked for.
    pub class: u16,
    id: u16,
    recursion_desired: bool,
    section: Vec<u8>,
}

/// What is said about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This address, if an address was asked for; nothing for other types.
    Address(Ipv4Addr),
    /// The name does not exist. Final, where `REFUSED` would make resolvers try again.
    NoSuchName,
}

/// Reads a query.
pub fn parse_query(message: &[u8]) -> Result<Question, BadQuery> {
    if message.len() > QUERY_BYTES_MAX {
        return Err(BadQuery::Length);
    }
    let (header, rest) = message.split_first_chunk::<HEADER_BYTES>().ok_or(BadQuery::Length)?;
    let [id_0, id_1, flags, _, questions @ .., additional_0, additional_1] = *header;
    let is_query_with_opcode_zero = flags & 0b1111_1000 == 0;
    let additional = u16::from_be_bytes([additional_0, additional_1]);
    if !is_query_with_opcode_zero || questions != [0, 1, 0, 0, 0, 0] || additional > 1 {
        return Err(BadQuery::NotAQuestion);
    }
    let (name, name_bytes) = parse_name(rest)?;
    let (section, after) = rest.split_at_checked(name_bytes + 4).ok_or(BadQuery::Name)?;
    if after.is_empty() != (additional == 0) {
        return Err(BadQuery::TrailingBytes);
    }
    let Some(&[kind_0, kind_1, class_0, class_1]) = section.last_chunk::<4>() else { return Err(BadQuery::Name) };
    Ok(Question {
        name,
        kind: u16::from_be_bytes([kind_0, kind_1]),
        class: u16::from_be_bytes([class_0, class_1]),
        id: u16::from_be_bytes([id_0, id_1]),
        recursion_desired: flags & 1 != 0,
        section: section.to_vec(),
    })
}

/// Reads a name and says how many bytes it took.
fn parse_name(message: &[u8]) -> Result<(String, usize), BadQuery> {
    let mut name = String::new();
    let mut rest = message;
    loop {
        let (&length, after) = rest.split_first().ok_or(BadQuery::Name)?;
        let length = usize::from(length);
        let taken = message.len() - after.len();
        if length == 0 {
            return Ok((name, taken));
        }
        // A compression pointer is larger than any label, and a lone question has nothing to point at.
        let (label, after) = after.split_at_checked(length).ok_or(BadQuery::Name)?;
        if length > LABEL_BYTES_MAX || taken + length >= NAME_BYTES_MAX || !label.iter().all(|&b| is_label_byte(b)) {
            return Err(BadQuery::Name);
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        rest = after;
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl Question {
    /// Whether an IPv4 address is asked for.
    pub fn asks_for_address(&self) -> bool {
        self.kind == TYPE_A && self.class == CLASS_IN
    }

    /// Writes the answer.
    pub fn answer(&self, answer: Answer) -> Vec<u8> {
        let address = match answer {
            Answer::Address(address) if self.asks_for_address() => Some(address),
            Answer::Address(_) | Answer::NoSuchName => None,
        };
        let code = if answer == Answer::NoSuchName { 3 } else { 0 };
        let mut message = header(self.id, self.recursion_desired, code, 1, u8::from(address.is_some()));
        message.extend_from_slice(&self.section);
        if let Some(address) = address {
            // The answer's name points at the question's.
            message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
            message.extend_from_slice(&TTL_SECONDS.to_be_bytes());
            message.extend_from_slice(&[0, 4]);
            message.extend_from_slice(&address.octets());
        }
        message
    }
}

/// The answer to what is not a question: `FORMERR` under the same id, or nothing where there is none.
pub fn answer_malformed(message: &[u8]) -> Option<Vec<u8>> {
    let (&id, rest) = message.split_first_chunk::<2>()?;
    // A response is never answered: two stubs would talk forever.
    let is_response = rest.first().is_none_or(|flags| flags & 0x80 != 0);
    (!is_response).then(|| header(u16::from_be_bytes(id), false, 1, 0, 0))
}

fn header(id: u16, recursion_desired: bool, code: u8, questions: u8, answers: u8) -> Vec<u8> {
    let [id_0, id_1] = id.to_be_bytes();
    // A response, authoritative, with recursion available so that stub resolvers do not complain.
    vec![id_0, id_1, 0x84 | u8::from(recursion_desired), 0x80 | code, 0, questions, 0, answers, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(name: &[&[u8]], kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label);
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message
    }

    #[test]
    fn an_address_is_given_for_an_address_only() {
        let question = parse_query(&query(&[b"Registry", b"example"], 1)).unwrap();
        assert_eq!(question.name, "registry.example");
        let answer = question.answer(Answer::Address(Ipv4Addr::new(127, 1, 0, 7)));
        assert_eq!(answer[..8], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1]);
        assert!(answer.ends_with(&[0, 4, 127, 1, 0, 7]));
        // AAAA, TXT, NULL, MX, ANY, HTTPS carry nothing.
        for kind in [28, 16, 10, 15, 255, 65] {
            let question = parse_query(&query(&[b"registry", b"example"], kind)).unwrap();
            let answer = question.answer(Answer::Address(Ipv4Addr::new(127, 1, 0, 7)));
            assert_eq!((answer[3], answer[7]), (0x80, 0), "type {kind}");
        }
        let answer = parse_query(&query(&[b"evil"], 1)).unwrap().answer(Answer::NoSuchName);
        assert_eq!((answer[3], answer[7]), (0x83, 0));
    }

    #[test]
    fn s26_hostile_queries_are_refused() {
        use BadQuery::*;
        let plain = query(&[b"registry", b"example"], 1);
        let with = |at: usize, byte: u8| {
            let mut message = plain.clone();
            message[at] = byte;
            message
        };
        let label = [b'a'; 63];
        let mut pointer = query(&[], 1);
        pointer.splice(12..13, [0xc0, 12]);
        for (message, why) in [
            (vec![], Length),
            (plain[..11].to_vec(), Length),
            (vec![0; 600], Length),
            (with(2, 0x81), NotAQuestion),
            (with(2, 0x29), NotAQuestion),
            (with(5, 2), NotAQuestion),
            (with(7, 1), NotAQuestion),
            (with(11, 2), NotAQuestion),
            (with(11, 1), TrailingBytes),
            ([plain.as_slice(), b"x"].concat(), TrailingBytes),
            (plain[..plain.len() - 1].to_vec(), Name),
            (plain[..16].to_vec(), Name),
            (pointer, Name),
            (query(&[&[b'a'; 64]], 1), Name),
            (query(&[&label, &label, &label, &label], 1), Name),
            (query(&[b"a.b"], 1), Name),
            (query(&[b"a\0b"], 1), Name),
            (query(&[b"caf\xc3\xa9"], 1), Name),
        ] {
            assert_eq!(parse_query(&message), Err(why), "{message:?}");
        }
        assert_eq!(answer_malformed(&with(2, 0x81)), None);
        assert_eq!(answer_malformed(&with(5, 2)).unwrap()[..4], [0xab, 0xcd, 0x84, 0x81]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(question) = parse_query(&bytes) {
                prop_assert!(question.answer(Answer::NoSuchName).len() <= bytes.len());
            }
            let _ = answer_malformed(&bytes);
        }
    }
}
