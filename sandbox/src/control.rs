//! Owns the line to the launcher: spawning it, one message each way with descriptors beside it. Knows no sandbox.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use selvedge_jail::{MESSAGE_BYTES_MAX, Message, SPEC_BYTES_MAX, Spec};

/// Most descriptors a message from the launcher carries: handle, changes, five listeners, watches.
const DESCRIPTORS_MAX: usize = 8;

/// The keeper's end of the line.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

impl Control {
    /// Starts a launcher with nothing but the other end: no environment, no arguments, no descriptor.
    pub(crate) fn spawn(launcher: &Path) -> io::Result<(Self, Child)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = Command::new(launcher)
            .arg0(selvedge_jail::NAME)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok((Self(ours), child))
    }

    /// Asks for a sandbox. The spec goes as a file, for it may be larger than any message.
    pub(crate) fn build(&self, spec: &Spec, stdio: &[OwnedFd; 3]) -> io::Result<()> {
        let bytes = spec.encode();
        if bytes.len() > SPEC_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the files made for the sandbox are too large"));
        }
        let memory = rustix::fs::memfd_create("spec", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(&bytes)?;
        io::Seek::rewind(&mut file)?;
        let [stdin, stdout, stderr] = stdio;
        self.send(&Message::Build, &[file.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
    }

    /// Sends one message.
    pub(crate) fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&message.encode())], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for one message; `None` when the launcher is gone.
    pub(crate) fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match rustix::net::recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                received => break received?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        bytes.truncate(received.bytes);
        let message = Message::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some((message, descriptors)))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
