//! Reads and writes message bodies by their framing (RFC 9112 sections 6 and 7), without I/O. A body is read out of one
//! framing and written into ours, so that nothing between the bytes survives; never knows what a body means.

/// Longest line that states a chunk's size: sixteen digits and CR LF. Extensions are refused, so none is longer.
const CHUNK_LINE_BYTES_MAX: usize = 18;

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Whatever comes until the connection ends; only responses.
    UntilClose,
}

/// Why bytes are not the body that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// More bytes than the limit.
    #[error("the body is longer than allowed")]
    TooLong,
    /// A chunk size that is not hexadecimal digits and CR LF, extensions and bare line feeds included (A-42).
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// A chunk is not followed by CR LF.
    #[error("a chunk is longer than its size")]
    ChunkEnd,
    /// Fields after the last chunk.
    #[error("the body has a trailer")]
    Trailer,
    /// A coding of its own that it announces and is not in, or is in and does not announce.
    #[error("the body is not coded as its head says")]
    Coding,
    /// The connection ended first.
    #[error("the body ended early")]
    Truncated,
}

/// What was found at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Body bytes, which end the first `consumed` bytes of the input.
    Data {
        /// The bytes.
        bytes: &'a [u8],
        /// How much of the input they and their framing took.
        consumed: usize,
    },
    /// Nothing more without more input.
    Wait,
    /// The end, after `consumed` bytes of framing.
    End {
        /// How much of the input the end took.
        consumed: usize,
    },
}

/// Reads one body.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    bytes_left_max: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Bytes(u64),
    ChunkSize { first: bool },
    ChunkBytes(u64),
    Stream,
}

impl BodyReader {
    /// Begins a body; an announced length beyond `bytes_max` is refused at once.
    pub fn begin(framing: Framing, bytes_max: u64) -> Result<Self, BadBody> {
        let state = match framing {
            Framing::Empty => State::Bytes(0),
            Framing::Length(length) if length > bytes_max => return Err(BadBody::TooLong),
            Framing::Length(length) => State::Bytes(length),
            Framing::Chunked => State::ChunkSize { first: true },
            Framing::UntilClose => State::Stream,
        };
        Ok(Self { state, bytes_left_max: bytes_max })
    }

    /// Reads the next piece from the start of `input`.
    pub fn read<'a>(&mut self, input: &'a [u8]) -> Result<Piece<'a>, BadBody> {
        match self.state {
            State::Bytes(0) => Ok(Piece::End { consumed: 0 }),
            State::Bytes(left) => self.take(input, 0, left, State::Bytes),
            State::ChunkBytes(left) => self.take(input, 0, left, State::ChunkBytes),
            State::Stream => self.take(input, 0, u64::MAX, |_| State::Stream),
            State::ChunkSize { first } => self.read_chunk(input, first),
        }
    }

    /// What the end of the connection means here.
    pub fn at_close(&self) -> Result<(), BadBody> {
        match self.state {
            State::Stream | State::Bytes(0) => Ok(()),
            State::Bytes(_) | State::ChunkSize { .. } | State::ChunkBytes(_) => Err(BadBody::Truncated),
        }
    }

    fn read_chunk<'a>(&mut self, input: &'a [u8], first: bool) -> Result<Piece<'a>, BadBody> {
        let before = if first { &b""[..] } else { b"\r\n" };
        let Some(line) = strip_expected(input, before, BadBody::ChunkEnd)? else { return Ok(Piece::Wait) };
        let Some((size, size_bytes)) = parse_chunk_size(line)? else { return Ok(Piece::Wait) };
        let head_bytes = before.len() + size_bytes;
        let rest = input.get(head_bytes..).unwrap_or_default();
        if size == 0 {
            let end = strip_expected(rest, b"\r\n", BadBody::Trailer)?;
            return Ok(end.map_or(Piece::Wait, |_| Piece::End { consumed: head_bytes + 2 }));
        }
        if size > self.bytes_left_max {
            return Err(BadBody::TooLong);
        }
        self.take(rest, head_bytes, size, State::ChunkBytes)
    }

    /// Takes up to `left` bytes, `framing_bytes` of framing having been read before them.
    fn take<'a>(
        &mut self,
        input: &'a [u8],
        framing_bytes: usize,
        left: u64,
        next: impl FnOnce(u64) -> State,
    ) -> Result<Piece<'a>, BadBody> {
        if input.is_empty() {
            return Ok(Piece::Wait);
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let bytes = input.get(..length).unwrap_or_default();
        let taken = u64::try_from(length).unwrap_or(u64::MAX);
        self.bytes_left_max = self.bytes_left_max.checked_sub(taken).ok_or(BadBody::TooLong)?;
        self.state = match next(left - taken) {
            State::ChunkBytes(0) => State::ChunkSize { first: false },
            state => state,
        };
        Ok(Piece::Data { bytes, consumed: framing_bytes + length })
    }
}

/// What follows `expected`, or nothing if the input ends within it.
fn strip_expected<'a>(input: &'a [u8], expected: &[u8], otherwise: BadBody) -> Result<Option<&'a [u8]>, BadBody> {
    match input.strip_prefix(expected) {
        Some(rest) => Ok(Some(rest)),
        None if expected.starts_with(input) => Ok(None),
        None => Err(otherwise),
    }
}

/// Reads `1a\r\n`: the size, and how many bytes stated it.
fn parse_chunk_size(input: &[u8]) -> Result<Option<(u64, usize)>, BadBody> {
    let window = input.get(..CHUNK_LINE_BYTES_MAX).unwrap_or(input);
    let digits = window.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, rest) = window.split_at_checked(digits).ok_or(BadBody::ChunkSize)?;
    if digits == 0 && !window.is_empty() {
        return Err(BadBody::ChunkSize);
    }
    if !rest.starts_with(b"\r\n") {
        let is_unfinished = window.len() < CHUNK_LINE_BYTES_MAX && b"\r\n".starts_with(rest);
        return if is_unfinished { Ok(None) } else { Err(BadBody::ChunkSize) };
    }
    let size = std::str::from_utf8(size).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    size.map(|size| Some((size, digits + 2))).ok_or(BadBody::ChunkSize)
}

/// Writes body bytes into `framing`.
pub fn write_piece(framing: Framing, bytes: &[u8], out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked => {
            out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Empty | Framing::Length(_) | Framing::UntilClose => out.extend_from_slice(bytes),
    }
}

/// Writes what ends a body in `framing`.
pub fn write_end(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
        Framing::Empty | Framing::Length(_) | Framing::UntilClose => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a whole body that arrives `step` bytes at a time; the rest is what the next message begins with.
    fn read_all(framing: Framing, bytes_max: u64, input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), BadBody> {
        let mut reader = BodyReader::begin(framing, bytes_max)?;
        let (mut body, mut buffer, mut arriving) = (Vec::new(), Vec::new(), input.chunks(step));
        loop {
            match reader.read(&buffer)? {
                Piece::Data { bytes, consumed } => {
                    body.extend_from_slice(bytes);
                    buffer.drain(..consumed);
                }
                Piece::End { consumed } => {
                    buffer.drain(..consumed);
                    buffer.extend(arriving.flatten());
                    return Ok((body, buffer));
                }
                Piece::Wait => match arriving.next() {
                    Some(more) => buffer.extend_from_slice(more),
                    None => return reader.at_close().map(|()| (body, buffer)),
                },
            }
        }
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        for step in [1, 2, 3, 100] {
            let chunked = b"4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\nGET";
            assert_eq!(read_all(Framing::Chunked, 9, chunked, step), Ok((b"Wikipedia".to_vec(), b"GET".to_vec())));
            assert_eq!(read_all(Framing::Length(4), 4, b"Wikipedia", step), Ok((b"Wiki".to_vec(), b"pedia".to_vec())));
            assert_eq!(read_all(Framing::Empty, 0, b"Wiki", step), Ok((Vec::new(), b"Wiki".to_vec())));
            assert_eq!(read_all(Framing::UntilClose, 9, b"Wiki", step), Ok((b"Wiki".to_vec(), Vec::new())));
        }
    }

    #[test]
    fn a42_hostile_bodies_are_refused_however_they_arrive() {
        use BadBody::*;
        for (framing, input, why) in [
            (Framing::Chunked, &b"4;x=y\r\nWiki\r\n0\r\n\r\n"[..], ChunkSize),
            (Framing::Chunked, b"4\nWiki\n0\n\n", ChunkSize),
            (Framing::Chunked, b"4 \r\nWiki\r\n0\r\n\r\n", ChunkSize),
            (Framing::Chunked, b"4;\nx\r\nWiki\r\n0\r\n\r\n", ChunkSize),
            (Framing::Chunked, b"0x4\r\nWiki\r\n0\r\n\r\n", ChunkSize),
            (Framing::Chunked, b"+4\r\nWiki\r\n0\r\n\r\n", ChunkSize),
            (Framing::Chunked, b"-4\r\nWiki\r\n0\r\n\r\n", ChunkSize),
            (Framing::Chunked, b"\r\nWiki\r\n0\r\n\r\n", ChunkSize),
            (Framing::Chunked, b"00000000000000004\r\nWiki\r\n0\r\n\r\n", ChunkSize),
            (Framing::Chunked, b"ffffffffffffffff\r\nW", TooLong),
            (Framing::Chunked, b"4\r\nWikipedia\r\n0\r\n\r\n", ChunkEnd),
            (Framing::Chunked, b"4\r\nWiki\n0\r\n\r\n", ChunkEnd),
            (Framing::Chunked, b"0\r\nhost: evil.example\r\n\r\n", Trailer),
            (Framing::Chunked, b"0\r\n\n", Trailer),
            (Framing::Chunked, b"4\r\nWiki\r\n", Truncated),
            (Framing::Chunked, b"8\r\nWikipedi\r\n8\r\n", TooLong),
            (Framing::Length(5), b"Wiki", Truncated),
            (Framing::Length(11), b"", TooLong),
            (Framing::UntilClose, b"Wikipedia, the", TooLong),
        ] {
            for step in [1, 3, 100] {
                assert_eq!(read_all(framing, 10, input, step), Err(why), "{input:?} in steps of {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), step in 1usize..50) {
            let mut wire = Vec::new();
            pieces.iter().for_each(|piece| write_piece(Framing::Chunked, piece, &mut wire));
            write_end(Framing::Chunked, &mut wire);
            prop_assert_eq!(read_all(Framing::Chunked, 1000, &wire, step), Ok((pieces.concat(), Vec::new())));
        }

        #[test]
        fn however_bytes_arrive_they_are_the_same_body(bytes in hostile_chunks(), step in 1usize..50) {
            let at_once = read_all(Framing::Chunked, 16, &bytes, usize::MAX);
            prop_assert_eq!(&read_all(Framing::Chunked, 16, &bytes, step), &at_once);
            prop_assert!(at_once.is_err() || at_once.is_ok_and(|(body, _)| body.len() <= 16));
        }
    }

    /// Bytes that look like chunks often enough to get far.
    fn hostile_chunks() -> impl Strategy<Value = Vec<u8>> {
        let pieces: Vec<&[u8]> =
            vec![b"0", b"1", b"3", b"f", b"\r\n", b"\r\n", b"\n", b"\r", b";", b" ", b"a", b"abc", b"\r\n0\r\n\r\n"];
        prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
    }
}
