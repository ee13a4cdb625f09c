//! Looking into JSON that may be anything.

use serde_json::{Map, Value};

/// The member of this name as an object's members; none where it is something else.
pub(crate) fn object<'a>(value: &'a Value, name: &str) -> Option<&'a Map<String, Value>> {
    value.get(name).and_then(Value::as_object)
}

/// The member of this name as text; empty where it is something else.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The member of this name as a list; empty where it is something else.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The first member that is not among these.
pub(crate) fn unknown<'a>(value: &'a Value, known: &[&str]) -> Option<&'a str> {
    let members = value.as_object()?;
    members.keys().map(String::as_str).find(|name| !known.contains(name))
}

/// The first that comes a second time.
pub(crate) fn repeated<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut met = std::collections::BTreeSet::new();
    names.into_iter().find(|name| !met.insert(*name))
}

/// Whether a name is between one and so many letters, digits, `_`, `-`, or what else is named.
pub(crate) fn is_plain(name: &str, length_max: usize, and: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter) || and.contains(letter);
    (1..=length_max).contains(&name.len()) && name.chars().all(fits)
}

/// The text of content that is either text or a list of parts with text.
pub(crate) fn flat(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(|part| text(part, "text")).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// Text in pieces as a stream has them: by characters, so that none is cut in two.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(PIECE_CHARACTERS).map(|piece| piece.iter().collect()).collect()
}

/// Small enough that arguments of every test come in several pieces.
const PIECE_CHARACTERS: usize = 12;

/// What a vendor puts beside reasoning to know it again: a fingerprint of the text, and one of that. FNV-1a, for nobody attacks it; sixteen
/// digits each, which is also base64, as Google's is.
pub(crate) fn seal(text: &str) -> String {
    let first = format!("{:016x}", fingerprint(text));
    format!("{first}{:016x}", fingerprint(&first))
}

/// Whether this is a seal of some text.
pub(crate) fn is_seal(seal: &str) -> bool {
    seal.split_at_checked(16).is_some_and(|(first, second)| format!("{:016x}", fingerprint(first)) == second)
}

fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_known_again_and_nothing_else_is() {
        assert!(is_seal(&seal("a thought")));
        assert_ne!(seal("a thought"), seal("another"));
        for wrong in ["", "short", &seal("a").replace(|_| true, "0"), &format!("{}0", seal("a"))] {
            assert!(!is_seal(wrong), "{wrong}");
        }
    }

    #[test]
    fn pieces_are_the_text() {
        let text = "a line of “text” that is longer than one piece — and cut nowhere within a letter";
        assert!(pieces(text).len() > 4);
        assert_eq!(pieces(text).concat(), text);
        assert!(pieces("").is_empty());
    }
}
