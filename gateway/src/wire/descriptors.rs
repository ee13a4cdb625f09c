//! Passes listeners from keeper to door (`SCM_RIGHTS`), together with the frame that says what each is for. This happens
//! once, before a client is served; no descriptor is accepted afterwards.

use std::io::{IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::frame::{self, FrameError, TO_DOOR_BYTES_MAX};
use super::message::{self, ToDoor};
use crate::loan::{LoanChange, Loans};
use crate::protocol::ListenerKind;

/// Most descriptors a door takes: a listener of each kind, a few lanes of git, two pipes for each of eight tool servers.
pub(crate) const LISTENERS_MAX: usize = 32;

/// Why listeners were not passed.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The descriptors.
    #[error("descriptors could not be passed")]
    Passing(#[source] std::io::Error),
    /// More or fewer descriptors than kinds, or more than the limit.
    #[error("descriptors and their kinds do not match")]
    Mismatch,
}

/// Sends listeners; the receiver gets its own copies.
pub(crate) fn send(channel: &mut UnixStream, listeners: &[(ListenerKind, BorrowedFd<'_>)]) -> Result<(), PassError> {
    if listeners.len() > LISTENERS_MAX {
        return Err(PassError::Mismatch);
    }
    let kinds = listeners.iter().map(|(kind, _)| (*kind).into()).collect();
    let frame = frame::encode(&ToDoor::Listeners { kinds }, TO_DOOR_BYTES_MAX)?;
    let fds: Vec<_> = listeners.iter().map(|(_, fd)| *fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(PassError::Mismatch);
    }
    let sent = sendmsg(channel.as_fd(), &[IoSlice::new(&frame)], &mut ancillary, SendFlags::NOSIGNAL)
        .map_err(|error| PassError::Passing(error.into()))?;
    channel.write_all(frame.get(sent..).unwrap_or_default()).map_err(PassError::Passing)
}

/// Receives listeners. What is said of a loan before they come changes it: no client is there yet, nothing is under way with it,
/// and nobody hears it confirmed.
pub(crate) fn receive(channel: &mut UnixStream, loans: &Loans) -> Result<Vec<(ListenerKind, OwnedFd)>, PassError> {
    loop {
        let (message, fds) = receive_frame(channel)?;
        match message {
            ToDoor::Listeners { kinds } if kinds.len() == fds.len() => {
                return Ok(kinds.into_iter().map(ListenerKind::from).zip(fds).collect());
            }
            ToDoor::Loan { credential, change, .. } if fds.is_empty() => {
                let credential = message::credential(&credential).map_err(|_| PassError::Mismatch)?;
                let change = LoanChange::try_from(change).map_err(|_| PassError::Mismatch)?;
                drop(loans.change(&credential, &change));
            }
            ToDoor::Listeners { .. }
            | ToDoor::Loan { .. }
            | ToDoor::Hello(_)
            | ToDoor::Errand(_)
            | ToDoor::Answer { .. }
            | ToDoor::Identity { .. }
            | ToDoor::Git { .. }
            | ToDoor::Widened { .. }
            | ToDoor::Close {} => return Err(PassError::Mismatch),
        }
    }
}

/// One frame with the descriptors that came with it.
fn receive_frame(channel: &mut UnixStream) -> Result<(ToDoor, Vec<OwnedFd>), PassError> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let received = recvmsg(channel.as_fd(), &mut [IoSliceMut::new(&mut length)], &mut ancillary, flags)
        .map_err(|error| PassError::Passing(error.into()))?;
    let fds: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes != length.len() || received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(PassError::Mismatch);
    }
    Ok((frame::read_body(channel, length, TO_DOOR_BYTES_MAX)?, fds))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_arrives_as_what_it_is() {
        let (mut keeper, mut door) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        send(&mut keeper, &[(ListenerKind::CapturedTls, listener.as_fd())]).unwrap();
        let [(kind, fd)] = receive(&mut door, &Loans::default()).unwrap().try_into().unwrap();
        assert_eq!(kind, ListenerKind::CapturedTls);
        assert_eq!(TcpListener::from(fd).local_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[test]
    fn a30_what_is_said_of_a_loan_brings_no_descriptor_with_it() {
        let change = || LoanChange::Withdrawn { because: "it was withdrawn".to_owned() };
        let loan = || ToDoor::Loan { serial: 0, credential: "key".to_owned(), change: (&change()).into() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut keeper, mut door) = UnixStream::pair().unwrap();
        frame::write(&mut keeper, &loan(), TO_DOOR_BYTES_MAX).unwrap();
        send(&mut keeper, &[(ListenerKind::Proxy, listener.as_fd())]).unwrap();
        assert_eq!(receive(&mut door, &Loans::default()).unwrap().len(), 1);
        let frame = frame::encode(&loan(), TO_DOOR_BYTES_MAX).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [listener.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(keeper.as_fd(), &[IoSlice::new(&frame)], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(receive(&mut door, &Loans::default()), Err(PassError::Mismatch)));
    }

    #[test]
    fn a_frame_without_its_descriptors_is_refused() {
        let (mut keeper, mut door) = UnixStream::pair().unwrap();
        let kinds = vec![ListenerKind::Dns.into()];
        frame::write(&mut keeper, &ToDoor::Listeners { kinds }, TO_DOOR_BYTES_MAX).unwrap();
        assert!(matches!(receive(&mut door, &Loans::default()), Err(PassError::Mismatch)));
    }
}
