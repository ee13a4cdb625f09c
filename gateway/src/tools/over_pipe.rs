//! Messages to a server that is a program in a sandbox of its own, one a line, over two pipes that the keeper made and never read. Owns how
//! long a line may be.

use std::os::fd::OwnedFd;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use super::server::{ANSWER_BYTES_MAX, Broke};
use crate::protocol::ListenerKind;

/// Read at once: the capacity of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

/// A server's standard streams, the other way round.
#[derive(Debug)]
pub(crate) struct Pipes {
    to: pipe::Sender,
    from: pipe::Receiver,
    read: Vec<u8>,
}

impl Pipes {
    /// Takes the pipes of each server out of what was handed over, in the order of the servers. To be called where the runtime runs.
    pub(crate) fn of(handed: &mut Vec<(ListenerKind, OwnedFd)>) -> std::io::Result<Vec<Self>> {
        let mut kept = |wanted: ListenerKind| -> Vec<OwnedFd> {
            handed.extract_if(.., |(kind, _)| *kind == wanted).map(|(_, fd)| fd).collect()
        };
        let (inputs, outputs) = (kept(ListenerKind::ToolInput), kept(ListenerKind::ToolOutput));
        let pair = |(to, from)| {
            let (to, from) = (pipe::Sender::from_owned_fd(to)?, pipe::Receiver::from_owned_fd(from)?);
            Ok(Self { to, from, read: Vec::new() })
        };
        inputs.into_iter().zip(outputs).map(pair).collect()
    }

    /// Writes a line.
    pub(crate) async fn send(&mut self, message: &[u8]) -> Result<(), Broke> {
        let line = [message, b"\n"].concat();
        self.to.write_all(&line).await.map_err(|_| Broke::Gone)
    }

    /// Reads a line.
    pub(crate) async fn line(&mut self) -> Result<Vec<u8>, Broke> {
        let mut looked_at = 0;
        loop {
            let rest = self.read.get(looked_at..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let mut line: Vec<u8> = self.read.drain(..=looked_at.saturating_add(end)).collect();
                while line.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
                    line.pop();
                }
                return Ok(line);
            }
            looked_at = self.read.len();
            if looked_at > ANSWER_BYTES_MAX {
                return Err(Broke::TooLong);
            }
            self.read.reserve(CHUNK_BYTES);
            match self.from.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return Err(Broke::Gone),
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pipes() -> (Vec<(ListenerKind, OwnedFd)>, std::io::PipeReader, std::io::PipeWriter) {
        let ((their_input, ours), (from, their_output)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        for end in [OwnedFd::from(ours.try_clone().unwrap()), OwnedFd::from(from.try_clone().unwrap())] {
            rustix::fs::fcntl_setfl(&end, rustix::fs::OFlags::NONBLOCK).unwrap();
        }
        let handed = vec![(ListenerKind::ToolInput, ours.into()), (ListenerKind::ToolOutput, from.into())];
        (handed, their_input, their_output)
    }

    #[tokio::test]
    async fn a_line_is_a_message_however_it_comes() {
        let (mut handed, _input, mut output) = pipes();
        let mut pipes = Pipes::of(&mut handed).unwrap().pop().unwrap();
        assert!(handed.is_empty());
        output.write_all(b"{\"a\":1}\r\n\n{\"b\"").unwrap();
        assert_eq!(pipes.line().await.unwrap(), b"{\"a\":1}");
        assert_eq!(pipes.line().await.unwrap(), b"");
        output.write_all(b":2}\nrest").unwrap();
        assert_eq!(pipes.line().await.unwrap(), b"{\"b\":2}");
        drop(output);
        assert!(matches!(pipes.line().await, Err(Broke::Gone)), "what has no end is no message");
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_kept_for_ever_a107() {
        let (mut handed, _input, mut output) = pipes();
        let mut pipes = Pipes::of(&mut handed).unwrap().pop().unwrap();
        let writer = std::thread::spawn(move || {
            let line = vec![b'x'; 1 << 20];
            while output.write_all(&line).is_ok() {}
        });
        assert!(matches!(pipes.line().await, Err(Broke::TooLong)));
        drop(pipes);
        writer.join().unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_gone_takes_nothing() {
        let (mut handed, input, _output) = pipes();
        let mut pipes = Pipes::of(&mut handed).unwrap().pop().unwrap();
        drop(input);
        assert!(matches!(pipes.send(b"{}").await, Err(Broke::Gone)));
    }
}
