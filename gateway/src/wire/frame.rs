//! Frames on the channel between keeper and door: a four-byte length and that many bytes of JSON. Owns the bounds; never
//! knows what a frame says, and since it may be a secret, leaves no copy of it behind.

use std::io::{Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

/// Largest frame towards a door: `Hello` carries a bundle of root certificates, a quarter of a megabyte where it is large.
pub(crate) const TO_DOOR_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Largest frame from a door: one request's path and a little around it, even if every byte is escaped.
pub(crate) const FROM_DOOR_BYTES_MAX: u32 = 64 * 1024;

/// Why a frame was not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side is gone.
    #[error("the channel is closed")]
    Closed(#[source] std::io::Error),
    /// Longer than the limit.
    #[error("a frame of {bytes} bytes is longer than {bytes_max}")]
    TooLong {
        /// What was announced.
        bytes: u64,
        /// What is accepted.
        bytes_max: u32,
    },
    /// Not a message of this protocol.
    #[error("a frame is not a message")]
    Malformed(#[source] serde_json::Error),
}

/// Writes a message as one frame's bytes.
pub(crate) fn encode(message: &impl Serialize, bytes_max: u32) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    // Measured first: a frame that grew while it was written would leave copies of its beginning behind.
    let mut measured = Measure(0);
    serde_json::to_writer(&mut measured, message).map_err(FrameError::Malformed)?;
    let Measure(bytes) = measured;
    let too_long = || FrameError::TooLong { bytes, bytes_max };
    let length = u32::try_from(bytes).ok().filter(|length| *length <= bytes_max).ok_or_else(too_long)?;
    let room = usize::try_from(bytes).map_err(|_| too_long())?;
    let mut frame = Zeroizing::new(Vec::with_capacity(4 + room));
    frame.extend_from_slice(&length.to_be_bytes());
    serde_json::to_writer(&mut *frame, message).map_err(FrameError::Malformed)?;
    Ok(frame)
}

/// Counts what is written to it.
struct Measure(u64);

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes one frame.
pub(crate) fn write(channel: &mut impl Write, message: &impl Serialize, bytes_max: u32) -> Result<(), FrameError> {
    channel.write_all(&encode(message, bytes_max)?).map_err(FrameError::Closed)
}

/// Reads one frame.
pub(crate) fn read<M: DeserializeOwned>(channel: &mut impl Read, bytes_max: u32) -> Result<M, FrameError> {
    let mut length = [0; 4];
    channel.read_exact(&mut length).map_err(FrameError::Closed)?;
    read_body(channel, length, bytes_max)
}

/// Reads the rest of a frame whose length has been read.
pub(crate) fn read_body<M: DeserializeOwned>(
    channel: &mut impl Read,
    length: [u8; 4],
    bytes_max: u32,
) -> Result<M, FrameError> {
    let mut body = Zeroizing::new(vec![0; accept_length(length, bytes_max)?]);
    channel.read_exact(&mut body).map_err(FrameError::Closed)?;
    serde_json::from_slice(&body).map_err(FrameError::Malformed)
}

/// Reads one frame without blocking the thread. Not safe to cancel: a dropped read loses bytes.
pub(crate) async fn read_async<M: DeserializeOwned>(
    channel: &mut (impl AsyncRead + Unpin),
    bytes_max: u32,
) -> Result<M, FrameError> {
    let mut length = [0; 4];
    channel.read_exact(&mut length).await.map_err(FrameError::Closed)?;
    let mut body = Zeroizing::new(vec![0; accept_length(length, bytes_max)?]);
    channel.read_exact(&mut body).await.map_err(FrameError::Closed)?;
    serde_json::from_slice(&body).map_err(FrameError::Malformed)
}

fn accept_length(length: [u8; 4], bytes_max: u32) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(length);
    let too_long = || FrameError::TooLong { bytes: u64::from(length), bytes_max };
    if length > bytes_max {
        return Err(too_long());
    }
    usize::try_from(length).map_err(|_| too_long())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_a_long_one_is_never_allocated() {
        let frame = encode(&"hello", 16).unwrap();
        assert_eq!(read::<String>(&mut frame.as_slice(), 16).unwrap(), "hello");
        assert!(matches!(encode(&"hello", 6), Err(FrameError::TooLong { bytes: 7, .. })));
        let endless = [0xff, 0xff, 0xff, 0xff, b'"'];
        assert!(matches!(read::<String>(&mut endless.as_slice(), 16), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn half_a_frame_is_a_closed_channel() {
        let frame = encode(&"hello", 16).unwrap();
        for length in 0..frame.len() {
            assert!(matches!(read::<String>(&mut &frame[..length], 16), Err(FrameError::Closed(_))));
        }
        assert!(matches!(read::<String>(&mut [0, 0, 0, 1, b'x'].as_slice(), 16), Err(FrameError::Malformed(_))));
    }
}
