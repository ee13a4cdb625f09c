//! Packet lines: four hexadecimal digits that count themselves and what follows (`gitprotocol-common`). Owns the framing;
//! never knows what a line says.

/// Longest line with its four digits, by the protocol.
pub const PACKET_BYTES_MAX: usize = 65_520;

/// Digits of a length.
const LENGTH_BYTES: usize = 4;

/// Why bytes are not a packet line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPacket {
    /// Not four hexadecimal digits.
    #[error("a packet line does not begin with its length")]
    Length,
    /// Longer than the protocol has it, or one of the short lengths that mean nothing in a push.
    #[error("a packet line has a length that is not accepted")]
    LengthNotAccepted,
}

/// One packet line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0000`: the end of a section.
    Flush,
    /// What a line says.
    Line(&'a [u8]),
}

/// Takes the first packet line off `bytes`; nothing where more bytes are needed to tell.
pub fn take<'a>(bytes: &mut &'a [u8]) -> Result<Option<Packet<'a>>, BadPacket> {
    let Some((digits, rest)) = bytes.split_at_checked(LENGTH_BYTES) else { return Ok(None) };
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadPacket::Length);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| BadPacket::Length)?;
    let length = usize::from_str_radix(digits, 16).map_err(|_| BadPacket::Length)?;
    if length == 0 {
        *bytes = rest;
        return Ok(Some(Packet::Flush));
    }
    // Git itself sends no empty line, and 1 to 3 separate sections only in protocol 2, which has no push.
    if length <= LENGTH_BYTES || length > PACKET_BYTES_MAX {
        return Err(BadPacket::LengthNotAccepted);
    }
    let Some((line, rest)) = rest.split_at_checked(length - LENGTH_BYTES) else { return Ok(None) };
    *bytes = rest;
    Ok(Some(Packet::Line(line)))
}

/// Writes `payload` as one packet line, or as several where it does not fit one.
pub fn write(payload: &[u8], out: &mut Vec<u8>) {
    for piece in payload.chunks(PACKET_BYTES_MAX - LENGTH_BYTES) {
        out.extend_from_slice(format!("{:04x}", piece.len() + LENGTH_BYTES).as_bytes());
        out.extend_from_slice(piece);
    }
}

/// Writes the end of a section.
pub fn write_flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}
