//! Queries: one question, answered under its own id and in its own words, and answers are never answered.

use std::net::Ipv4Addr;

use crate::dns::message::{Answer, QUERY_BYTES_MAX, answer_malformed, parse_query};

/// The id, flags and counts that every message begins with.
const HEADER_BYTES: usize = 12;

/// An A record whose name points at the question's.
const RECORD_BYTES: usize = 16;

pub(super) fn message(bytes: &[u8]) -> bool {
    if let Some(answer) = answer_malformed(bytes) {
        assert_eq!(answer.len(), HEADER_BYTES);
        assert_eq!(answer_malformed(&answer), None, "an answer would be answered");
    }
    let Ok(question) = parse_query(bytes) else { return false };
    assert!(bytes.len() <= QUERY_BYTES_MAX && question.name.len() <= 253);
    let mut plain = bytes.iter().copied().take(HEADER_BYTES - 1).chain([0]).collect::<Vec<u8>>();
    for label in question.name.split('.').filter(|label| !label.is_empty()) {
        assert!(label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')), "{label}");
        plain.push(u8::try_from(label.len()).unwrap());
        plain.extend_from_slice(label.as_bytes());
    }
    plain.push(0);
    plain.extend_from_slice(&question.kind.to_be_bytes());
    plain.extend_from_slice(&question.class.to_be_bytes());
    let again = parse_query(&plain).unwrap();
    assert_eq!((&again.name, again.kind, again.class), (&question.name, question.kind, question.class));

    let address = Answer::Address(Ipv4Addr::new(127, 1, 0, 7));
    for (answer, records) in [(address, usize::from(question.asks_for_address())), (Answer::NoSuchName, 0)] {
        let written = question.answer(answer);
        assert_eq!(written.len(), plain.len() + records * RECORD_BYTES);
        assert_eq!(written.get(..2), bytes.get(..2), "an answer has another id than its question");
        assert!(parse_query(&written).is_err() && answer_malformed(&written).is_none(), "an answer would be answered");
    }
    true
}
