//! Owns what keeper, launcher and first process say to each other: one datagram each, descriptors beside it. Sandboxed
//! programs never hold either end of such a socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Failed, Named, Step};
use crate::sys::{self, Patience};
use crate::wire::{Malformed, Reader, Writer};

/// Largest message without its descriptors.
pub const MESSAGE_BYTES_MAX: usize = 8192;
/// A failure's texts are cut to this, so that a message always fits.
const TEXT_BYTES_MAX: usize = 2048;

/// One message. The comments name the descriptors that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Keeper to launcher: build this. With a file that holds the encoded spec, and the program's input, output and
    /// error output.
    Build,
    /// Keeper to launcher to payload: the doors listen, run the program.
    Release,
    /// Launcher to first process: your user exists now. With the detached mounts that only the launcher could make.
    Go,
    /// Payload to launcher to keeper: every layer was seen to hold. With the directory that holds what the workspace's
    /// writer changed, if there is a workspace, then the five listeners in the order of [`crate::DOORS`], if there are
    /// doors. From the payload, last, with the descriptor that refused calls come out of; to the keeper, first, with a
    /// handle of the first process.
    Ready {
        /// The first process, as the host numbers it; the payload does not know.
        pid: i32,
    },
    /// A step failed and nothing of the program ran.
    Failed(Failed),
    /// The filter refused a call.
    Refused {
        /// The system call.
        number: i32,
        /// The first process that tried it, as the host numbers it; 0 if it was gone.
        pid: u32,
        /// How often it was tried so far, by any process.
        total: u64,
    },
    /// The program ended with this status, in the form `wait` gives it.
    Exited {
        /// The raw status.
        status: i32,
    },
}

impl Message {
    /// The byte form.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Build => w.u8(0),
            Self::Release => w.u8(1),
            Self::Go => w.u8(2),
            Self::Ready { pid } => {
                w.u8(3);
                w.i32(*pid);
            }
            Self::Failed(failed) => {
                w.u8(4);
                w.bytes(cut(&failed.step).as_bytes());
                w.i32(failed.errno);
                w.bytes(cut(&failed.detail).as_bytes());
            }
            Self::Refused { number, pid, total } => {
                w.u8(5);
                w.i32(*number);
                w.u32(*pid);
                w.u64(*total);
            }
            Self::Exited { status } => {
                w.u8(6);
                w.i32(*status);
            }
        }
        w.finish()
    }

    /// Reads the byte form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let message = match r.u8()? {
            0 => Self::Build,
            1 => Self::Release,
            2 => Self::Go,
            3 => Self::Ready { pid: r.i32()? },
            4 => Self::Failed(Failed { step: r.text()?, errno: r.i32()?, detail: r.text()? }),
            5 => Self::Refused { number: r.i32()?, pid: r.u32()?, total: r.u64()? },
            6 => Self::Exited { status: r.i32()? },
            _ => return Err(Malformed),
        };
        r.end()?;
        Ok(message)
    }

    /// Sends it, waiting for room.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> Step<()> {
        sys::send(socket, &self.encode(), descriptors, Patience::Wait).step("send message")
    }

    /// Waits for one; `None` when the other side is gone.
    pub(crate) fn receive(socket: &OwnedFd) -> Step<Option<(Self, Vec<OwnedFd>)>> {
        let (bytes, descriptors) = sys::receive(socket.as_fd(), MESSAGE_BYTES_MAX).step("receive message")?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let message = Self::decode(&bytes).map_err(|error| Failed::because("read message", error.to_string()))?;
        Ok(Some((message, descriptors)))
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_cut_ones_do_not() {
        let long = "ß".repeat(5000);
        for message in [
            Message::Build,
            Message::Ready { pid: 42 },
            Message::Refused { number: 101, pid: 7, total: u64::MAX },
            Message::Exited { status: 9 },
            Message::Failed(Failed { step: "mount".into(), errno: 1, detail: "x".into() }),
        ] {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Ok(message));
            assert!(Message::decode(&bytes[..bytes.len() - 1]).is_err());
            assert!(Message::decode(&[bytes.as_slice(), b"x"].concat()).is_err());
        }
        let failed = Message::Failed(Failed { step: long.clone(), errno: 0, detail: long });
        assert!(failed.encode().len() < MESSAGE_BYTES_MAX);
        assert!(Message::decode(&failed.encode()).is_ok());
    }
}
