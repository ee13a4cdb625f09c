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
    /// doors, then where the first opening of watched files comes out, if any are. From the payload, last, with the descriptor that told calls come out of; to the keeper, first, with a
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
    /// A program was asked for. What was read of it in its caller's memory is what was asked for, no more: the caller could change
    /// it before the kernel looked.
    Started(Started),
    /// What was asked for under this number was done, and the process is this program now. Said of as many as were seen in time.
    Became {
        /// The number of what was asked for.
        serial: u64,
        /// The program's path, as the kernel knows it.
        program: Vec<u8>,
    },
    /// So many programs were asked for in all that the keeper was not told of: it did not listen fast enough.
    Unkept {
        /// How many.
        programs: u64,
    },
    /// The program ended with this status, in the form `wait` gives it.
    Exited {
        /// The raw status.
        status: i32,
    },
}

/// A program that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Counted from 1 in each sandbox.
    pub serial: u64,
    /// The number of the program that the process, or the nearest process above it, was seen to be before; 0 if none was.
    pub under: u64,
    /// The process, as the host numbers it.
    pub pid: u32,
    /// The path that was asked for, from the root where it can be told; empty if it could not be read.
    pub program: Vec<u8>,
    /// The first arguments, the program's name among them.
    pub arguments: Vec<Argument>,
    /// How many more there are at least.
    pub arguments_more: u32,
}

/// An argument, the end of a long one left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its beginning.
    pub bytes: Vec<u8>,
    /// How long all of it is; for one too long to be measured, at least this.
    pub length: u32,
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
            Self::Started(started) => {
                w.u8(7);
                started.encode(&mut w);
            }
            Self::Became { serial, program } => {
                w.u8(8);
                w.u64(*serial);
                w.bytes(program);
            }
            Self::Unkept { programs } => {
                w.u8(9);
                w.u64(*programs);
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
            7 => Self::Started(Started::decode(&mut r)?),
            8 => Self::Became { serial: r.u64()?, program: r.bytes()? },
            9 => Self::Unkept { programs: r.u64()? },
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

impl Started {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.serial);
        w.u64(self.under);
        w.u32(self.pid);
        w.bytes(&self.program);
        w.list(&self.arguments, |w, argument| {
            w.bytes(&argument.bytes);
            w.u32(argument.length);
        });
        w.u32(self.arguments_more);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            serial: r.u64()?,
            under: r.u64()?,
            pid: r.u32()?,
            program: r.bytes()?,
            arguments: r.list(|r| Ok(Argument { bytes: r.bytes()?, length: r.u32()? }))?,
            arguments_more: r.u32()?,
        })
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
            Message::Started(Started {
                serial: 3,
                under: 1,
                pid: 77,
                program: b"/bin/\xff".to_vec(),
                arguments: vec![Argument { bytes: b"sh".to_vec(), length: 2 }, Argument { bytes: vec![0], length: 9 }],
                arguments_more: 4,
            }),
            Message::Became { serial: 3, program: b"/usr/bin/dash".to_vec() },
            Message::Unkept { programs: 312 },
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
