//! Pushes: whatever a client wrote comes to commands, and to the run's own reference alone where it is let through.

use selvedge_domain::CommitId;

use crate::git::packet::{self, PACKET_BYTES_MAX, Packet};
use crate::git::push::{COMMANDS_MAX, HEAD_BYTES_MAX, Head, Own};
use crate::git::report::{self, Outcome};

/// The run's own reference here.
const OWN: &str = "refs/heads/selvedge/r1";

/// Where it stands, after the first push.
const AT: &str = "1111111111111111111111111111111111111111";

/// Every line is written again as it was; read where nothing else is there.
pub(super) fn packet(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        let before = rest;
        match packet::take(&mut rest) {
            Err(_) => return false,
            Ok(None) => {
                assert_eq!(before, rest, "an unfinished line was taken");
                return rest.is_empty() && !bytes.is_empty();
            }
            Ok(Some(packet)) => {
                let mut written = Vec::new();
                match packet {
                    Packet::Flush => packet::write_flush(&mut written),
                    Packet::Line(line) => packet::write(line, &mut written),
                }
                assert!(written.len() <= PACKET_BYTES_MAX);
                assert_eq!(written.len() + rest.len(), before.len());
                assert_eq!(packet::take(&mut written.as_slice()), Ok(Some(packet)));
            }
        }
    }
}

/// What is let through moves the run's own reference, from where it is, and nothing else.
pub(super) fn push(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let Ok(Some(head)) = Head::take(&mut rest) else { return false };
    assert!(bytes.ends_with(rest) && bytes.len() - rest.len() <= HEAD_BYTES_MAX + PACKET_BYTES_MAX);
    assert!(head.commands.len() <= COMMANDS_MAX);
    let written = written(&head);
    assert_eq!(Head::take(&mut written.as_slice()), Ok(Some(head.clone())));
    let reason = String::from_utf8_lossy(rest);
    for outcome in [Outcome::Accepted, Outcome::Refused(&reason)] {
        report_holds(&head, outcome);
    }
    let stands = [None, Some(CommitId::parse(AT).unwrap())];
    stands.into_iter().any(|at| {
        let own = Own { reference: OWN.to_owned(), at };
        let Ok(moved) = head.judge(&own) else { return false };
        let [command] = head.commands.as_slice() else { panic!("a push of several references was let through") };
        assert_eq!((&command.reference, &command.old, &command.new), (&own.reference, &own.at, &Some(moved.new)));
        assert!(moved.old == own.at && !head.can("push-options"));
        true
    })
}

fn written(head: &Head) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, command) in head.commands.iter().enumerate() {
        let [old, new] = [&command.old, &command.new].map(|id| id.as_ref().map(CommitId::as_str));
        let nothing = "0".repeat(old.or(new).map_or(AT.len(), str::len));
        let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
        let after = if at == 0 { format!("\0{}", head.capabilities.join(" ")) } else { String::new() };
        packet::write(format!("{old} {new} {}{after}\n", command.reference).as_bytes(), &mut bytes);
    }
    packet::write_flush(&mut bytes);
    bytes
}

/// A report names every command once, in lines that a terminal shows as they are.
fn report_holds(head: &Head, outcome: Outcome<'_>) {
    let mut out = Vec::new();
    report::write(head, outcome, &mut out);
    if !head.can("report-status") && !head.can("report-status-v2") {
        return assert!(out.is_empty());
    }
    if head.can("side-band-64k") || head.can("side-band") {
        let bands = lines(&out).into_iter().map(|line| line.strip_prefix(b"\x01").unwrap().to_vec());
        out = bands.collect::<Vec<_>>().concat();
    }
    let lines = lines(&out);
    assert_eq!(lines.len(), 1 + head.commands.len());
    assert!(lines.iter().all(|line| line.strip_suffix(b"\n").unwrap().iter().all(|b| matches!(b, b' '..=b'~'))));
    for (line, command) in lines.iter().skip(1).zip(&head.commands) {
        let word = if outcome == Outcome::Accepted { "ok" } else { "ng" };
        assert!(line.starts_with(format!("{word} {}", command.reference).as_bytes()));
    }
}

/// The lines of one section that is all there is.
fn lines(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Packet::Line(line) = packet::take(&mut bytes).unwrap().unwrap() {
        lines.push(line);
    }
    assert!(bytes.is_empty(), "something follows the report");
    lines
}
