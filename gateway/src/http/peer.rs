//! A buffered connection, to a client or to a server: reads whole heads, relays bodies piece by piece. Owns timeouts and
//! buffers; never knows what is allowed.

use std::fmt;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use selvedge_domain::HostPattern;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::body::{self, BadBody, BodyReader, Framing, Piece};
use super::budget::{Budgets, Spent};
use super::fields::{BadHead, head_length};
use super::lend::BodyWatch;
use super::sieve::Sieve;

/// Read at once; a TLS record.
const READ_BYTES: usize = 16 * 1024;

/// Written at once at most, so that a fast sender does not fill memory.
const WRITE_BYTES: usize = 64 * 1024;

/// How long either side may be silent in the middle of a message, and how long it may leave written bytes unread.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long, and over how many bytes, a closing connection waits for its peer to read the last answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// A byte stream that a peer can be.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// One side of an exchange.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({} bytes buffered)", self.buffer.len())
    }
}

/// Why a head was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the connection ended before a message")]
    Ended,
    #[error("the connection broke")]
    Broken,
    #[error("the peer is silent")]
    TimedOut,
    #[error(transparent)]
    Head(#[from] BadHead),
}

/// Why a body was not relayed, by whose fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the sender broke off or was silent")]
    Sender,
    #[error("the sender's body is malformed: {0}")]
    Malformed(#[from] BadBody),
    #[error("the receiver broke off or does not read")]
    Receiver,
    #[error("something is in the body that must not leave")]
    TurnedUp,
    #[error(transparent)]
    Spent(#[from] Spent),
}

/// What is looked for in a body, and what to do about it.
pub(crate) enum Watch<'a, 'l> {
    /// Nothing.
    Unwatched,
    /// Ends the exchange before any of it leaves.
    Stop(&'a mut BodyWatch<'l>),
    /// Masks it.
    Mask(&'a mut Sieve),
}

/// Counts what leaves of a body.
pub(crate) struct Tally<'a> {
    pub(crate) relayed: &'a mut u64,
    /// What a body takes as it goes, where nobody knows before how long it is; then its framing counts, too.
    pub(crate) takes_from: Option<(&'a Budgets, &'a HostPattern)>,
}

impl Peer {
    /// Begins with an empty buffer.
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Whether the peer sent what was not asked for yet.
    pub(crate) fn has_sent_ahead(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Gives the stream back; nothing may be buffered.
    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }

    /// Reads one head, waiting for `patience` for all of it.
    pub(crate) async fn read_head(&mut self, bytes_max: usize, patience: Duration) -> Result<Vec<u8>, ReadError> {
        timeout(patience, self.read_head_patiently(bytes_max)).await.map_err(|_| ReadError::TimedOut)?
    }

    async fn read_head_patiently(&mut self, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        loop {
            if let Some(length) = head_length(&self.buffer, bytes_max)? {
                return Ok(self.buffer.drain(..length).collect());
            }
            match self.fill().await {
                Ok(0) if self.buffer.is_empty() => return Err(ReadError::Ended),
                Ok(0) | Err(_) => return Err(ReadError::Broken),
                Ok(_) => {}
            }
        }
    }

    /// Reads one whole body, which the reader bounds.
    pub(crate) async fn read_body(&mut self, reader: BodyReader) -> Result<Vec<u8>, RelayError> {
        let mut body = Vec::new();
        self.read_body_with(reader, |bytes| body.extend_from_slice(bytes)).await?;
        Ok(body)
    }

    /// Reads one whole body, giving away each piece.
    pub(crate) async fn read_body_with(
        &mut self,
        mut reader: BodyReader,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), RelayError> {
        loop {
            match reader.read(&self.buffer)? {
                Piece::Data { bytes, consumed } => {
                    take(bytes);
                    self.buffer.drain(..consumed);
                }
                Piece::End { consumed } => {
                    self.buffer.drain(..consumed);
                    return Ok(());
                }
                Piece::Wait => match timeout(STALL_TIMEOUT, self.fill()).await {
                    Ok(Ok(0)) => return reader.at_close().map_err(RelayError::from),
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return Err(RelayError::Sender),
                },
            }
        }
    }

    /// Reads the next piece of a body; nothing at its end. Waits as long as it takes.
    pub(crate) async fn next_piece(&mut self, reader: &mut BodyReader) -> Result<Option<Vec<u8>>, RelayError> {
        loop {
            match reader.read(&self.buffer)? {
                Piece::Data { bytes, consumed } => {
                    let piece = bytes.to_vec();
                    self.buffer.drain(..consumed);
                    return Ok(Some(piece));
                }
                Piece::End { consumed } => {
                    self.buffer.drain(..consumed);
                    return Ok(None);
                }
                Piece::Wait => match self.fill().await {
                    Ok(0) => return reader.at_close().map(|()| None).map_err(RelayError::from),
                    Ok(_) => {}
                    Err(_) => return Err(RelayError::Sender),
                },
            }
        }
    }

    /// Reads more into the buffer; zero is the end.
    async fn fill(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Writes and flushes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), RelayError> {
        let written = timeout(STALL_TIMEOUT, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        written.await.ok().and_then(Result::ok).ok_or(RelayError::Receiver)
    }

    /// Whether the peer has neither closed nor sent anything; asked before an idle connection is used again, since bytes
    /// that came ahead would answer a request that was not made.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        // Nothing is lost: a connection that has something to say is not used again.
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self.stream).poll_read(cx, &mut read))).await;
        polled.is_pending() && self.buffer.is_empty()
    }

    /// Says that nothing more will be written and waits for the other side to hear it. What it still sends is read and
    /// dropped, since closing on unread bytes would take back the answer it has not read yet.
    pub(crate) async fn shut_down(&mut self) {
        let linger = async {
            self.stream.shutdown().await?;
            let mut dropped = 0;
            let mut chunk = [0; 4096];
            while dropped < LINGER_BYTES_MAX {
                match self.stream.read(&mut chunk).await? {
                    0 => break,
                    read => dropped += read,
                }
            }
            Ok::<_, std::io::Error>(())
        };
        // The peer may be gone already, which is as good.
        let _ = timeout(LINGER_TIMEOUT, linger).await;
    }
}

/// Writes `head` and relays a body after it: read by `reader` from `sender`, watched, written in `framing` to `receiver`.
/// Counts its bytes as they leave, and ends before they would be more than may.
pub(crate) async fn relay(
    head: Vec<u8>,
    sender: &mut Peer,
    mut reader: BodyReader,
    mut watch: Watch<'_, '_>,
    framing: Framing,
    receiver: &mut Peer,
    mut tally: Tally<'_>,
) -> Result<(), RelayError> {
    let mut out = head;
    loop {
        match reader.read(&sender.buffer)? {
            Piece::Data { bytes, consumed } => {
                let passed = watch.pass(bytes)?;
                write_watched(framing, passed.as_deref().unwrap_or(bytes), &mut out, &mut tally)?;
                sender.buffer.drain(..consumed);
                if out.len() >= WRITE_BYTES {
                    receiver.write(&out).await?;
                    out.clear();
                }
            }
            Piece::Wait => {
                if !out.is_empty() {
                    receiver.write(&out).await?;
                    out.clear();
                }
                match timeout(STALL_TIMEOUT, sender.fill()).await {
                    Ok(Ok(0)) => {
                        reader.at_close()?;
                        break;
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return Err(RelayError::Sender),
                }
            }
            Piece::End { consumed } => {
                sender.buffer.drain(..consumed);
                break;
            }
        }
    }
    write_watched(framing, &watch.end(), &mut out, &mut tally)?;
    let before = out.len();
    body::write_end(framing, &mut out);
    tally.count(0, out.len() - before)?;
    if out.is_empty() { Ok(()) } else { receiver.write(&out).await }
}

/// A chunk without bytes would end the body.
fn write_watched(framing: Framing, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally<'_>) -> Result<(), RelayError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let before = out.len();
    body::write_piece(framing, bytes, out);
    Ok(tally.count(bytes.len(), out.len() - before)?)
}

impl Tally<'_> {
    /// Counts bytes of a body, which take so many on the wire.
    fn count(&mut self, bytes: usize, on_the_wire: usize) -> Result<(), Spent> {
        let counted = if self.takes_from.is_some() { on_the_wire } else { bytes };
        let counted = u64::try_from(counted).unwrap_or(u64::MAX);
        if let Some((budgets, host)) = self.takes_from {
            budgets.take(host, counted)?;
        }
        *self.relayed = self.relayed.saturating_add(counted);
        Ok(())
    }
}

impl Watch<'_, '_> {
    /// What may go on of this piece; nothing is copied where nothing is looked for.
    fn pass(&mut self, piece: &[u8]) -> Result<Option<Vec<u8>>, RelayError> {
        match self {
            Self::Unwatched => Ok(None),
            Self::Mask(sieve) => Ok(Some(sieve.pass(piece))),
            Self::Stop(watch) => {
                let passed = watch.pass(piece);
                if watch.has_found() { Err(RelayError::TurnedUp) } else { Ok(Some(passed)) }
            }
        }
    }

    fn end(&mut self) -> Vec<u8> {
        match self {
            Self::Unwatched => Vec::new(),
            Self::Mask(sieve) => sieve.end(),
            Self::Stop(watch) => watch.end(),
        }
    }
}
