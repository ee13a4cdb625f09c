//! AWS's frames (`application/vnd.amazon.eventstream`), as a host of its writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A piece of an answer.
pub(crate) fn chunk(data: &[u8]) -> Vec<u8> {
    let headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    // What stands beside the piece makes all of them alike in length, so that what is said does not show in it.
    let payload = format!("{{\"bytes\":\"{}\",\"p\":\"abcdefghijklmnopqrstuvwxyz\"}}", STANDARD.encode(data));
    frame(&headers, payload.as_bytes())
}

/// What went wrong, in the place of the rest.
pub(crate) fn exception(kind: &str, error: &Value) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers, error.to_string().as_bytes())
}

fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        written.extend_from_slice(name.as_bytes());
        // Of text.
        written.push(7);
        written.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let around = 16;
    let mut frame = length(written.len().saturating_add(payload.len()).saturating_add(around)).to_vec();
    frame.extend_from_slice(&length(written.len()));
    frame.extend_from_slice(&checksum(&frame).to_be_bytes());
    frame.extend_from_slice(&written);
    frame.extend_from_slice(payload);
    let sum = checksum(&frame);
    frame.extend_from_slice(&sum.to_be_bytes());
    frame
}

/// CRC-32 as ISO 3309 has it, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_checksums_that_are_published() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
        // The first of the frames that AWS publishes as examples: nothing in it.
        assert_eq!(frame(&[], b""), [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff]);
    }
}
