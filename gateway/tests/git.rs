//! Git's wire as the door reads it: every form of a push comes down to commands, and only the run's own is let through.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use proptest::prelude::*;
use selvedge_domain::CommitId;
use selvedge_gateway::git::packet::{self, BadPacket, Packet};
use selvedge_gateway::git::push::{BadPush, COMMANDS_MAX, HEAD_BYTES_MAX, Head, Move, Own, RefusedPush};
use selvedge_gateway::git::report::{self, Outcome};

const OWN: &str = "refs/heads/selvedge/r1";
const NOTHING: &str = "0000000000000000000000000000000000000000";
const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

fn id(text: &str) -> CommitId {
    CommitId::parse(text).unwrap()
}

/// A head as git writes it: capabilities after the first command, then the end, then the pack.
fn wire(commands: &[(&str, &str, &str)], capabilities: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, (old, new, reference)) in commands.iter().enumerate() {
        let after = if at == 0 { format!("\0 {capabilities}") } else { String::new() };
        packet::write(format!("{old} {new} {reference}{after}").as_bytes(), &mut bytes);
    }
    packet::write_flush(&mut bytes);
    bytes
}

fn head(commands: &[(&str, &str, &str)], capabilities: &str) -> Head {
    Head::take(&mut wire(commands, capabilities).as_slice()).unwrap().unwrap()
}

fn judge(at: Option<&str>, commands: &[(&str, &str, &str)]) -> Result<Move, RefusedPush> {
    let own = Own { reference: OWN.to_owned(), at: at.map(id) };
    head(commands, "report-status side-band-64k").judge(&own)
}

#[test]
fn a_65_a_run_creates_and_moves_its_own_branch() {
    assert_eq!(judge(None, &[(NOTHING, ONE, OWN)]), Ok(Move { old: None, new: id(ONE) }));
    assert_eq!(judge(Some(ONE), &[(ONE, TWO, OWN)]), Ok(Move { old: Some(id(ONE)), new: id(TWO) }));
}

#[test]
fn a_60_whatever_else_a_push_comes_to_is_refused_whole() {
    let not_own = [
        "refs/heads/main",
        "HEAD",
        "refs/tags/v1",
        "refs/tags/selvedge/r1",
        "refs/heads/selvedge/r2",
        "refs/heads/selvedge/r1/x",
        "refs/heads/selvedge/R1",
        "refs/heads/selvedge//r1",
        "refs/heads/selvedge/../selvedge/r1",
        "refs/pull/1/head",
        "refs/notes/commits",
        "refs/replace/1111111111111111111111111111111111111111",
        "selvedge/r1",
    ];
    for reference in not_own {
        assert_eq!(judge(None, &[(NOTHING, ONE, reference)]), Err(RefusedPush::NotOwn), "{reference}");
        let beside = [(NOTHING, ONE, OWN), (NOTHING, ONE, reference)];
        assert_eq!(judge(None, &beside), Err(RefusedPush::NotOwn), "{reference} beside the own branch");
    }
    assert_eq!(judge(Some(ONE), &[(ONE, NOTHING, OWN)]), Err(RefusedPush::Deletes));
    assert_eq!(judge(Some(ONE), &[(NOTHING, TWO, OWN)]), Err(RefusedPush::Moved));
    assert_eq!(judge(Some(ONE), &[(TWO, ONE, OWN)]), Err(RefusedPush::Moved));
    assert_eq!(judge(None, &[(ONE, TWO, OWN)]), Err(RefusedPush::Moved));
    let own = Own { reference: OWN.to_owned(), at: None };
    assert_eq!(head(&[(NOTHING, ONE, OWN)], "push-options").judge(&own), Err(RefusedPush::Options));
    assert_eq!(Head::default().judge(&own), Err(RefusedPush::NotAlone));
}

#[test]
fn what_git_writes_is_read_and_the_pack_is_left() {
    let mut bytes = wire(&[(NOTHING, ONE, OWN)], "report-status agent=git/2.47");
    bytes.extend_from_slice(b"PACK");
    let mut rest = bytes.as_slice();
    let head = Head::take(&mut rest).unwrap().unwrap();
    assert_eq!(rest, b"PACK");
    assert!(head.can("report-status") && !head.can("report"));
    // Before a large push git sends only the end, to see whether it may speak.
    assert_eq!(Head::take(&mut b"0000".as_slice()), Ok(Some(Head::default())));
    for end in 0..bytes.len() - b"PACK".len() {
        let mut cut = bytes.get(..end).unwrap();
        assert_eq!(Head::take(&mut cut), Ok(None), "{end}");
    }
}

#[test]
fn a_60_hand_written_heads_are_refused() {
    let line = |text: &str| {
        let mut bytes = Vec::new();
        packet::write(text.as_bytes(), &mut bytes);
        packet::write_flush(&mut bytes);
        bytes
    };
    let second = |text: String| {
        [line(&format!("{NOTHING} {ONE} {OWN}"))[..].strip_suffix(b"0000").unwrap(), &line(&text)].concat()
    };
    for (bytes, bad) in [
        (line(&format!("shallow {ONE}")), BadPush::Shallow),
        (line("push-cert\0 report-status"), BadPush::Signed),
        (line(&format!("{ONE} {OWN}")), BadPush::Command),
        (line(&format!("{NOTHING} {ONE} ")), BadPush::Command),
        (line(&format!("{NOTHING} {ONE} refs/heads/a b")), BadPush::Command),
        (line(&format!("{NOTHING} {ONE} refs/heads/\u{430}")), BadPush::Command),
        (line(&format!("{NOTHING} {ONE} refs/heads/{}", "a".repeat(300))), BadPush::Command),
        (line(&format!("{NOTHING} 1111 {OWN}")), BadPush::Command),
        (second(format!("{NOTHING} {TWO} {OWN}")), BadPush::Twice),
        (second(format!("{NOTHING} {TWO} refs/heads/x\0 push-options")), BadPush::Command),
        (b"0001".to_vec(), BadPush::Packet(BadPacket::LengthNotAccepted)),
        (b"0004".to_vec(), BadPush::Packet(BadPacket::LengthNotAccepted)),
        (b"fff1".to_vec(), BadPush::Packet(BadPacket::LengthNotAccepted)),
        (b"+0a0".to_vec(), BadPush::Packet(BadPacket::Length)),
    ] {
        assert_eq!(Head::take(&mut bytes.as_slice()), Err(bad), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_60_a_push_of_very_many_references_is_not_held() {
    let names: Vec<_> = (0..=COMMANDS_MAX).map(|at| format!("refs/heads/x{at}")).collect();
    let commands: Vec<_> = names.iter().map(|name| (NOTHING, ONE, name.as_str())).collect();
    assert_eq!(Head::take(&mut wire(&commands, "").as_slice()), Err(BadPush::TooLong));
    assert!(Head::take(&mut wire(commands.get(1..).unwrap(), "").as_slice()).unwrap().is_some());
    let mut long = Vec::new();
    packet::write(format!("{NOTHING} {ONE} {OWN}\0{}", " a".repeat(HEAD_BYTES_MAX / 2 - 100)).as_bytes(), &mut long);
    assert_eq!(Head::take(&mut [&long[..], b"00"].concat().as_slice()), Ok(None));
    assert_eq!(Head::take(&mut [&long[..], b"fff0", &[b'a'; 300]].concat().as_slice()), Err(BadPush::TooLong));
}

#[test]
fn a_refusal_is_reported_for_each_reference_and_stays_on_its_line() {
    let mut plain = Vec::new();
    let commands = [(NOTHING, ONE, OWN), (NOTHING, ONE, "refs/heads/main")];
    report::write(&head(&commands, "report-status"), Outcome::Refused("no\n\x1b[31m: push less"), &mut plain);
    let mut rest = plain.as_slice();
    let mut said = Vec::new();
    while let Some(Packet::Line(line)) = packet::take(&mut rest).unwrap() {
        said.push(String::from_utf8(line.to_vec()).unwrap());
    }
    let reason = "no  [31m: push less";
    assert_eq!(
        said,
        ["unpack ok\n".to_owned(), format!("ng {OWN} {reason}\n"), format!("ng refs/heads/main {reason}\n")]
    );
    assert_eq!(rest, b"", "the report has its end");

    let mut banded = Vec::new();
    report::write(&head(&commands, "report-status side-band-64k"), Outcome::Accepted, &mut banded);
    let mut rest = banded.as_slice();
    let Some(Packet::Line([1, inner @ ..])) = packet::take(&mut rest).unwrap() else { panic!("not in the side band") };
    assert!(inner.starts_with(b"000eunpack ok\n") && inner.ends_with(b"0000"));
    assert_eq!(rest, b"0000");

    let mut silent = Vec::new();
    report::write(&head(&commands, ""), Outcome::Accepted, &mut silent);
    assert_eq!(silent, b"");
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_accepted_is_one_s_own(bytes in hostile_heads()) {
        let mut rest = bytes.as_slice();
        let own = Own { reference: OWN.to_owned(), at: None };
        if let Ok(Some(head)) = Head::take(&mut rest) {
            prop_assert!(bytes.ends_with(rest));
            if head.judge(&own).is_ok() {
                prop_assert!(head.commands.iter().all(|command| command.reference == OWN && command.new.is_some()));
                prop_assert_eq!(head.commands.len(), 1);
            }
        }
    }

    #[test]
    fn a_line_reads_back(payload in prop::collection::vec(any::<u8>(), 1..200)) {
        let mut bytes = Vec::new();
        packet::write(&payload, &mut bytes);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(packet::take(&mut rest), Ok(Some(Packet::Line(payload.as_slice()))));
        prop_assert_eq!(rest, b"");
    }
}

/// Pieces that make a head often enough to get far, and bytes that make none.
fn hostile_heads() -> impl Strategy<Value = Vec<u8>> {
    let command = |old: &str, new: &str, reference: &str| {
        let mut bytes = Vec::new();
        packet::write(format!("{old} {new} {reference}").as_bytes(), &mut bytes);
        bytes
    };
    let pieces = vec![
        command(NOTHING, ONE, OWN),
        command(NOTHING, NOTHING, OWN),
        command(NOTHING, ONE, "refs/heads/main"),
        command(ONE, TWO, OWN),
        b"0000".to_vec(),
        b"0001".to_vec(),
        b"00".to_vec(),
        b"ffff".to_vec(),
        b"\0\xff".to_vec(),
    ];
    let made = prop::collection::vec(prop::sample::select(pieces), 0..5).prop_map(|pieces| pieces.concat());
    prop_oneof![made, prop::collection::vec(any::<u8>(), 0..300)]
}
