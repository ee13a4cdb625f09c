//! The forms in which a secret is commonly written: as it is, in base64 at any alignment, in hexadecimal, percent-encoded,
//! in a JSON string.
//! Knowing them is defence in depth: whoever answers can always write a secret in a form that nobody looks for.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

/// Clients leave padding out or not, as they please.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Shortest form worth looking for; a shorter one is met by chance.
const FORM_BYTES_MIN: usize = 8;

/// Every form of `secret`, each once.
pub(crate) fn forms_of(secret: &[u8]) -> Vec<Vec<u8>> {
    wiped_forms_of(secret).iter().map(|form| form.to_vec()).collect()
}

/// The same for whoever does not keep them: no copy of any is left behind.
pub(super) fn wiped_forms_of(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(secret.to_vec())];
    for engine in [PLAIN, URL_SAFE] {
        forms.extend((0..3).map(|offset| base64_inside(secret, offset, &engine)));
    }
    forms.push(written(secret, |byte| [hex(byte >> 4, b'a'), hex(byte, b'a')].into()));
    forms.push(written(secret, |byte| [hex(byte >> 4, b'A'), hex(byte, b'A')].into()));
    forms.push(percent_encoded(secret, b'A'));
    forms.push(percent_encoded(secret, b'a'));
    forms.push(json_escaped(secret, b"\"\\"));
    // Some encoders escape the slash as well, which is harmless in a script (RFC 8259 section 7).
    forms.push(json_escaped(secret, b"\"\\/"));
    forms.sort_by(|one, other| one.as_slice().cmp(other));
    forms.dedup();
    forms.retain(|form| form.len() >= FORM_BYTES_MIN);
    forms
}

/// What base64 of any text that holds `secret` must hold, when `offset` bytes (modulo 3) stand before it: the characters
/// that depend on nothing else.
fn base64_inside(secret: &[u8], offset: usize, engine: &GeneralPurpose) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(Vec::with_capacity(offset + secret.len()));
    padded.resize(offset, 0);
    padded.extend_from_slice(secret);
    let encoded = Zeroizing::new(engine.encode(padded.as_slice()));
    let (begin, end) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    Zeroizing::new(encoded.as_bytes().get(begin..end).unwrap_or_default().to_vec())
}

/// Standard base64 with padding (RFC 4648 section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64 of either alphabet, padded or not; none when it is not base64.
pub(super) fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    PLAIN.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// Undoes percent-encoding (RFC 3986 section 2.1); what is not one stays as it is.
pub(crate) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let pair = after.first_chunk().filter(|_| byte == b'%');
        match pair.and_then(|pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()) {
            Some(meant) => {
                decoded.push(meant);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

/// Within a JSON string.
fn json_escaped(secret: &[u8], escaped: &[u8]) -> Zeroizing<Vec<u8>> {
    written(secret, |byte| if escaped.contains(&byte) { [b'\\', byte].into() } else { [byte].into() })
}

/// With hexadecimal digits from `ten` on.
fn percent_encoded(secret: &[u8], ten: u8) -> Zeroizing<Vec<u8>> {
    written(secret, |byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => [byte].into(),
        byte => [b'%', hex(byte >> 4, ten), hex(byte, ten)].into(),
    })
}

/// Every byte as `write` writes it, in at most three; sized beforehand, so that no copy is left behind by growing.
fn written(secret: &[u8], write: impl Fn(u8) -> Written) -> Zeroizing<Vec<u8>> {
    let mut form = Zeroizing::new(Vec::with_capacity(3 * secret.len()));
    for byte in secret {
        let Written(bytes, length) = write(*byte);
        form.extend(bytes.iter().take(length));
    }
    form
}

/// One to three bytes.
struct Written([u8; 3], usize);

impl<const N: usize> From<[u8; N]> for Written {
    fn from(bytes: [u8; N]) -> Self {
        let mut three = [0; 3];
        three.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        Self(three, N)
    }
}

/// The digit of the lower half of a byte, where ten is written `ten`.
fn hex(byte: u8, ten: u8) -> u8 {
    match byte & 0xf {
        digit @ 0..10 => b'0' + digit,
        digit => ten + (digit - 10),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn base64_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(base64_decoded(base64(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn base64_of_a_text_around_a_secret_holds_one_of_its_forms(
            secret in "[ -~]{9,40}", before in "[ -~]{0,9}", after in "[ -~]{0,9}",
        ) {
            let around = base64(format!("{before}{secret}{after}").as_bytes());
            let holds = |form: &Vec<u8>| around.as_bytes().windows(form.len()).any(|window| window == form);
            prop_assert!(forms_of(secret.as_bytes()).iter().any(holds), "{}", around);
        }

        #[test]
        fn what_encoders_write_for_a_secret_is_one_of_its_forms(secret in "[a-zA-Z0-9+/=\"\\\\]{9,40}") {
            let forms = forms_of(secret.as_bytes());
            let json = serde_json::to_string(&secret).unwrap();
            let json = json.strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned();
            let percent = |escape: fn(u8) -> String| -> String {
                let one = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { escape(byte) };
                secret.bytes().map(one).collect()
            };
            let (upper, lower) = (percent(|byte| format!("%{byte:02X}")), percent(|byte| format!("%{byte:02x}")));
            for written in [secret.clone(), upper, lower, json.replace('/', "\\/"), json] {
                let holds = |form: &Vec<u8>| written.as_bytes().windows(form.len()).any(|window| window == form);
                prop_assert!(forms.iter().any(holds), "{}", written);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let _ = base64_decoded(&bytes);
            let _ = forms_of(&bytes);
            prop_assert_eq!(percent_decoded(&percent_encoded(&bytes, b'A')), bytes);
        }
    }
}
