//! What agents ask of OpenAI's protocols and what models answer in them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::answer::{Answer, Call, Ruling};
use crate::model::denials::Denials;
use crate::model::request::{Rebuilt, Unfit};
use crate::model::{Egress, chat, responses, sse};

/// What denied calls are called here.
const DENIED: &str = "selvedge_denied_fuzz";

/// A request that was made anew is made anew as it is, and needs no other grant.
pub(super) fn responses_request(bytes: &[u8]) -> bool {
    request(bytes, responses::rebuild)
}

/// The same of the other protocol.
pub(super) fn chat_request(bytes: &[u8]) -> bool {
    request(bytes, chat::rebuild)
}

/// How a protocol makes a request anew.
type Rebuild = fn(&[u8], &BTreeSet<Egress>, &Denials) -> Result<Rebuilt, Unfit>;

fn request(bytes: &[u8], rebuild: Rebuild) -> bool {
    let denials = Denials::new(DENIED.into());
    let everything = BTreeSet::from_iter(Egress::ALL.iter().copied());
    let Ok(rebuilt) = rebuild(bytes, &everything, &denials) else { return false };
    let again = rebuild(&rebuilt.body, &rebuilt.egress, &denials).unwrap();
    assert!(again.left_out.is_empty(), "something was left that is not known");
    assert_eq!(Rebuilt { left_out: rebuilt.left_out.clone(), ..again }, rebuilt);
    assert!(!rebuilt.tools.contains(DENIED));
    for refused in &rebuilt.egress {
        let others = rebuilt.egress.iter().copied().filter(|egress| egress != refused).collect();
        assert!(matches!(rebuild(bytes, &others, &denials), Err(Unfit::Egress { .. })), "A-101");
    }
    true
}

/// An answer, a stream or a whole: where calls are denied, nothing of them comes out; where they are allowed, another reader finds the
/// same calls in what came out.
pub(super) fn responses_answer(bytes: &[u8]) -> bool {
    answer(bytes, || Box::new(responses::Reader::new(BTreeSet::new())))
}

/// The same of the other protocol.
pub(super) fn chat_answer(bytes: &[u8]) -> bool {
    answer(bytes, || Box::new(chat::Reader::new(chat::UsageChunk::Asked)))
}

fn answer(bytes: &[u8], reader: impl Fn() -> Box<dyn Answer>) -> bool {
    let Some((calls, out)) = read(bytes, reader(), &Ruling::Allowed) else { return false };
    let (again, _) = read(&out, reader(), &Ruling::Allowed).unwrap();
    assert_eq!(again, calls, "what came out has other calls");
    let told = Ruling::Denied { told: "no".into() };
    let (judged, out) = read(bytes, reader(), &told).unwrap();
    let (denied, _) = read(&out, reader(), &Ruling::Allowed).unwrap();
    assert_eq!(judged, calls);
    assert_eq!(denied.len(), calls.len());
    for ((denied, call), key) in denied.iter().zip(&calls).zip(1..) {
        assert_eq!((denied.name.as_str(), &denied.id), (DENIED, &call.id), "A-101");
        assert_eq!(denied.arguments, format!("{{\"denied\":\"{key}\"}}"), "A-101");
    }
    true
}

/// The calls of an answer and what of it comes out, if it is one.
fn read(bytes: &[u8], mut reader: Box<dyn Answer>, ruling: &Ruling) -> Option<(Vec<Call>, Vec<u8>)> {
    let mut denials = Denials::new(DENIED.into());
    let (mut calls, mut out) = (Vec::new(), Vec::new());
    let mut rule = |reader: &mut Box<dyn Answer>, whole: Vec<Call>| {
        reader.rule(&vec![ruling.clone(); whole.len()], &mut denials);
        calls.extend(whole);
    };
    if bytes.trim_ascii_start().starts_with(b"{") {
        let whole = reader.body(bytes).ok()?;
        assert!(whole.is_empty() || reader.drain().is_empty(), "A-01");
        rule(&mut reader, whole);
        out.extend(reader.drain());
        assert!(serde_json::from_slice::<Value>(&out).is_ok());
    } else {
        let (mut events, mut rest) = (sse::Reader::new(), bytes);
        while let Some(event) = events.next(&mut rest).ok()? {
            let whole = reader.event(&event.name, &event.data).ok()?;
            rule(&mut reader, whole);
            out.extend(reader.drain());
        }
    }
    reader.end().ok()?;
    Some((calls, out))
}
