//! How our own records look before they are sealed: fields, each preceded by its length. Total and bounded: what does not
//! read back whole does not read back at all.

use selvedge_domain::Time;
use zeroize::Zeroizing;

use crate::Secret;

/// Joins `fields`; the result is sized beforehand, so that no copy of a secret is left behind by growing.
pub(crate) fn join(fields: &[&[u8]]) -> Secret {
    let mut joined = Zeroizing::new(Vec::with_capacity(fields.iter().map(|field| 8 + field.len()).sum()));
    for field in fields {
        // A slice's length fits 64 bits on every platform Rust has.
        joined.extend_from_slice(&(field.len() as u64).to_be_bytes());
        joined.extend_from_slice(field);
    }
    Secret::wiped(joined)
}

/// Takes joined fields apart; none when they were not joined by [`join`].
pub(crate) fn split(mut joined: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !joined.is_empty() {
        let (length, rest) = joined.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        fields.push(field);
        joined = rest;
    }
    Some(fields)
}

/// A moment as a field.
pub(crate) fn of_time(time: Time) -> [u8; 8] {
    time.as_millis().to_be_bytes()
}

/// A moment from a field.
pub(crate) fn to_time(field: &[u8]) -> Option<Time> {
    field.try_into().ok().map(|bytes| Time::from_millis(u64::from_be_bytes(bytes)))
}

/// Text from a field.
pub(crate) fn to_text(field: &[u8]) -> Option<String> {
    std::str::from_utf8(field).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_read_back_as_they_were_joined(fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8)) {
            let borrowed: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            let joined = join(&borrowed);
            prop_assert_eq!(split(joined.expose()), Some(borrowed));
        }

        #[test]
        fn what_was_cut_short_does_not_read_back_whole(field in prop::collection::vec(any::<u8>(), 1..50), cut in 1_usize..50) {
            let joined = join(&[&field]);
            let short = joined.expose().len() - cut.min(field.len());
            prop_assert_eq!(split(&joined.expose()[..short]), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(fields) = split(&bytes) {
                let joined = join(&fields);
                prop_assert_eq!(joined.expose(), bytes.as_slice());
            }
        }
    }
}
