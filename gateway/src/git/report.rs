//! The report that follows a push (`report-status`): git shows a refused reference as `[remote rejected]` with our words.
//! Owns the form; never knows who refused.

use super::packet;
use super::push::Head;

/// Longest reason; a terminal shows about two lines.
const REASON_BYTES_MAX: usize = 300;

/// Most of a report in one line of the side band, which is as small as any client takes it.
const BAND_BYTES_MAX: usize = 999;

/// What became of the objects and references of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Everything it asked for was done.
    Accepted,
    /// Nothing was; the reason is shown to the developer.
    Refused(&'a str),
}

/// Writes the report for every command of the push, as the client can read it; nothing where it asked for none.
pub fn write(head: &Head, outcome: Outcome<'_>, out: &mut Vec<u8>) {
    if !head.can("report-status") && !head.can("report-status-v2") {
        return;
    }
    let mut report = Vec::new();
    packet::write(b"unpack ok\n", &mut report);
    for command in &head.commands {
        let line = match outcome {
            Outcome::Accepted => format!("ok {}\n", command.reference),
            Outcome::Refused(reason) => format!("ng {} {}\n", command.reference, shown(reason)),
        };
        packet::write(line.as_bytes(), &mut report);
    }
    packet::write_flush(&mut report);
    if head.can("side-band-64k") || head.can("side-band") {
        for piece in report.chunks(BAND_BYTES_MAX - 4) {
            packet::write(&[b"\x01", piece].concat(), out);
        }
        packet::write_flush(out);
    } else {
        out.extend_from_slice(&report);
    }
}

/// A reason that stays on its line and plays no tricks on a terminal.
pub(crate) fn shown(reason: &str) -> String {
    let printable = |letter: char| if letter.is_ascii_graphic() { letter } else { ' ' };
    reason.chars().map(printable).take(REASON_BYTES_MAX).collect()
}
