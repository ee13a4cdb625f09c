//! Owns the keeper's ends of a sandbox's standard streams: pipes, never waited on alone.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::live::{Event, Stream};
use crate::place::Input;

/// The keeper's ends of the standard streams.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) input: Option<OwnedFd>,
    waiting: Vec<u8>,
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: Option<OwnedFd>,
}

/// Read at once: the capacity of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

impl Streams {
    /// Three pipes, or two and the file that is read; the other ends are for the launcher.
    pub(crate) fn new(input: &Input) -> std::io::Result<(Self, [OwnedFd; 3])> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (their_input, our_input, waiting) = match input {
            Input::File(file) => (file.as_fd().try_clone_to_owned()?, None, Vec::new()),
            Input::Bytes(bytes) => {
                let (theirs, ours) = pipe()?;
                (theirs, (!bytes.is_empty()).then_some(ours), bytes.clone())
            }
            Input::Handed => {
                let (theirs, ours) = pipe()?;
                (theirs, Some(ours), Vec::new())
            }
        };
        let (our_output, their_output) = pipe()?;
        let (our_error, their_error) = pipe()?;
        for ours in our_input.iter().chain([&our_output, &our_error]) {
            rustix::fs::fcntl_setfl(ours, OFlags::NONBLOCK)?;
        }
        let streams = Self { input: our_input, waiting, output: Some(our_output), error: Some(our_error) };
        Ok((streams, [their_input, their_output, their_error]))
    }

    /// Writes what fits; closes the input when all is written or nobody reads.
    pub(crate) fn write_some(&mut self) {
        let Some(input) = &self.input else { return };
        match rustix::io::write(input, &self.waiting) {
            Ok(written) => drop(self.waiting.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.waiting.clear(),
        }
        if self.waiting.is_empty() {
            self.input = None;
        }
    }
}

/// Reads one chunk; how many bytes. Closes the stream at its end.
pub(crate) fn read_some(
    from: &mut Option<OwnedFd>,
    stream: Stream,
    on_event: &mut dyn FnMut(Event),
) -> std::io::Result<u64> {
    let Some(fd) = from else { return Ok(0) };
    let mut bytes = vec![0; CHUNK_BYTES];
    match rustix::io::read(&*fd, &mut bytes) {
        Ok(0) => {
            *from = None;
            Ok(0)
        }
        Ok(count) => {
            bytes.truncate(count);
            on_event(Event::Output { stream, bytes });
            Ok(count as u64)
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
