//! What a sandbox wrote, kept in a file per run so that a waiting client can follow it and an auditor can read it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use selvedge_sandbox::Stream;

/// One frame's header: the stream, then the length as four bytes, big-endian.
const HEADER_BYTES: usize = 5;

/// Longest frame.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;

/// How much of a tape is read at a time: some whole frames.
const READ_BYTES_MAX: u64 = 4 << 20;

/// Written while a sandbox runs. Losing output to a full disk loses nothing that anything rests on.
pub(crate) struct Tape {
    file: Option<File>,
    bytes: u64,
}

impl Tape {
    /// Appends to the tape at `path`, which only the keeper's user can read.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        if let Some(dir) = path.parent() {
            private_dir(dir)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        Ok(Self { file: Some(file), bytes: 0 })
    }

    /// Adds what was written.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let Some(file) = &mut self.file else { return };
        for chunk in bytes.chunks(FRAME_BYTES_MAX) {
            let mut frame = vec![match stream {
                Stream::Output => b'o',
                Stream::Error => b'e',
            }];
            frame.extend(u32::try_from(chunk.len()).unwrap_or(0).to_be_bytes());
            frame.extend_from_slice(chunk);
            if file.write_all(&frame).is_err() {
                self.file = None;
                return;
            }
        }
    }

    /// How much was written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Makes a directory, and those above it, for its owner's eyes only.
pub(super) fn private_dir(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Follows a tape from the beginning.
pub(crate) struct Reel {
    path: PathBuf,
    read: u64,
}

impl Reel {
    /// At the beginning of the tape at `path`, which need not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// Whole frames that came since the last call: whether each is error output, and its bytes. A tape that cannot be read
    /// now has nothing new.
    pub(crate) fn next(&mut self) -> Vec<(bool, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(more) = self.read_on().ok().filter(|more| !more.is_empty()) {
            frames.extend(more);
        }
        frames
    }

    /// Some of them, for whoever reads a long tape or has to know that it cannot be read. None of a tape that is not there.
    pub(crate) fn read_on(&mut self) -> std::io::Result<Vec<(bool, Vec<u8>)>> {
        let mut new = Vec::new();
        let mut tape = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        tape.seek(SeekFrom::Start(self.read))?;
        tape.take(READ_BYTES_MAX).read_to_end(&mut new)?;
        let (mut frames, mut rest) = (Vec::new(), new.as_slice());
        while let Some(([stream, length @ ..], body)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let Some((bytes, after)) = body.split_at_checked(length) else { break };
            frames.push((*stream == b'e', bytes.to_vec()));
            rest = after;
        }
        self.read += u64::try_from(new.len() - rest.len()).unwrap_or(0);
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_followed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/tape");
        let mut reel = Reel::new(path.clone());
        assert!(reel.next().is_empty());
        let mut tape = Tape::open(&path).unwrap();
        tape.write(Stream::Output, b"one");
        tape.write(Stream::Error, b"two");
        assert_eq!(reel.next(), [(false, b"one".to_vec()), (true, b"two".to_vec())]);
        tape.write(Stream::Output, b"three");
        assert_eq!(reel.next(), [(false, b"three".to_vec())]);
    }

    #[test]
    fn a_long_tape_is_read_some_at_a_time_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut tape = Tape::open(&dir.path().join("tape")).unwrap();
        let wrote = vec![b'x'; 10 << 20];
        tape.write(Stream::Output, &wrote);
        let mut reel = Reel::new(dir.path().join("tape"));
        let mut read = Vec::new();
        loop {
            let some: Vec<u8> = reel.read_on().unwrap().into_iter().flat_map(|(_, bytes)| bytes).collect();
            assert!(some.len() < 5 << 20);
            if some.is_empty() {
                break;
            }
            read.extend(some);
        }
        assert!(read == wrote);
    }

    #[test]
    fn a_tape_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        // A directory opens like a file and reads like none.
        assert!(Reel::new(dir.path().to_owned()).read_on().is_err());
        assert!(Reel::new(dir.path().join("none")).read_on().unwrap().is_empty());
    }
}
