//! What models and agents say to each other through the model door.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::answer::{Answer, Ruling};
use crate::model::denials::Denials;
use crate::model::gemini::{self, Method, Target};
use crate::model::request::{Rebuilt, Unfit};
use crate::model::told::Given;
use crate::model::{frames, json, messages, sse};

const DENIED: &str = "selvedge_denied_x7";

/// JSON that is read means the same to everybody, and is read once it was written. Fractions may lose their last digit then.
pub(super) fn plain_json(bytes: &[u8]) -> bool {
    let Ok(value) = json::parse(bytes) else { return false };
    assert_eq!(serde_json::from_slice::<Value>(bytes).unwrap(), value);
    json::parse(value.to_string().as_bytes()).is_ok()
}

/// What a hook tells is short and plain, whatever it sends.
pub(super) fn told(bytes: &[u8]) -> bool {
    let told = Given::default().read(bytes);
    if let Some(told) = &told {
        assert!(told.call.is_none(), "no call was given");
        assert!(
            [&told.id, &told.tool]
                .iter()
                .all(|word| word.len() <= 128 && word.bytes().all(|byte| byte.is_ascii_graphic()))
        );
    }
    told.is_some()
}

/// However the bytes are cut, the events are the same, and written they are read back.
pub(super) fn event_stream(bytes: &[u8]) -> bool {
    let Some(whole) = events([bytes]) else {
        assert_eq!(events(bytes.chunks(1)), None, "cut, it is read");
        return false;
    };
    assert_eq!(events(bytes.chunks(1)).as_ref(), Some(&whole));
    let mut written = Vec::new();
    for event in &whole {
        sse::write(&mut written, &event.name, &event.data);
    }
    assert_eq!(events([written.as_slice()]).as_ref(), Some(&whole));
    !whole.is_empty()
}

fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<sse::Event>> {
    let (mut reader, mut events) = (sse::Reader::new(), Vec::new());
    for mut rest in pieces {
        while let Some(event) = reader.next(&mut rest).ok()? {
            events.push(event);
        }
    }
    Some(events)
}

/// However the bytes are cut, the events are the same.
pub(super) fn aws_frames(bytes: &[u8]) -> bool {
    let of = |size: usize| {
        let (mut reader, mut events) = (frames::Reader::new(), Vec::new());
        for mut rest in bytes.chunks(size) {
            loop {
                match reader.next(&mut rest) {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(garbled) => return (events, Some(garbled)),
                }
            }
        }
        (events, None)
    };
    let whole = of(bytes.len().max(1));
    assert_eq!(of(1), whole);
    let (events, garbled) = whole;
    garbled.is_none() && !events.is_empty()
}

pub(super) fn messages_request(bytes: &[u8]) -> bool {
    rebuilt(bytes, |body| messages::rebuild(body, &BTreeSet::new(), &Denials::new(DENIED.into())))
}

pub(super) fn gemini_request(bytes: &[u8]) -> bool {
    let target = Target { model: "m".into(), method: Method::Stream };
    rebuilt(bytes, |body| gemini::rebuild(body, &target, &BTreeSet::new(), &Denials::new(DENIED.into())))
}

/// A path that is read is asked for in one form, which is read alike.
pub(super) fn gemini_target(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let Ok(target) = Target::read(path, query) else { return false };
    let upstream = target.upstream();
    let (path, query) = upstream.split_once('?').unwrap_or((&upstream, ""));
    assert_eq!(Target::read(path, query), Ok(target));
    true
}

/// What was rebuilt is all listed: rebuilt again, nothing is left out. Nothing of the vendor's was granted.
fn rebuilt(bytes: &[u8], rebuild: impl Fn(&[u8]) -> Result<Rebuilt, Unfit>) -> bool {
    let Ok(once) = rebuild(bytes) else { return false };
    assert!(once.egress.is_empty());
    let again = rebuild(&once.body).unwrap();
    assert_eq!((again.left_out.len(), again.model, again.tools), (0, once.model, once.tools));
    true
}

pub(super) fn messages_answer(bytes: &[u8]) -> bool {
    answered(bytes, || messages::Reader::new(BTreeSet::new()))
}

pub(super) fn gemini_answer(bytes: &[u8]) -> bool {
    answered(bytes, || gemini::Reader::new(BTreeSet::new()))
}

/// An answer, as a stream or as a body. Where every call was denied, whoever reads what came out finds as many calls, all of the name of
/// denied calls; where every call was allowed, it comes out as it was.
fn answered<R: Answer>(bytes: &[u8], reader: impl Fn() -> R) -> bool {
    let denied = Ruling::Denied { told: "no".into() };
    let mut is_read = false;
    for is_body in [false, true] {
        let (calls, given) = through(bytes, is_body, &mut reader(), &Ruling::Allowed);
        let Some(given) = given else { continue };
        is_read = true;
        let (again, same) = through(&given, is_body, &mut reader(), &Ruling::Allowed);
        assert_eq!((&again, same.as_ref()), (&calls, Some(&given)));
        let (_, given) = through(bytes, is_body, &mut reader(), &denied);
        let (left, _) = through(&given.unwrap(), is_body, &mut reader(), &Ruling::Allowed);
        assert_eq!(left.len(), calls.len());
        assert!(left.iter().all(|(_, name)| name == DENIED));
        assert!(left.iter().zip(&calls).all(|((left, _), (id, _))| left == id));
    }
    is_read
}

/// The ids and names of the calls, and what the agent is given if the answer is one.
fn through<R: Answer>(
    bytes: &[u8],
    is_body: bool,
    reader: &mut R,
    ruling: &Ruling,
) -> (Vec<(String, String)>, Option<Vec<u8>>) {
    let (mut denials, mut calls, mut given) = (Denials::new(DENIED.into()), Vec::new(), Vec::new());
    let steps = if is_body { vec![None] } else { events([bytes]).unwrap_or_default().into_iter().map(Some).collect() };
    for step in steps {
        let step = match step {
            None => reader.body(bytes),
            Some(event) => reader.event(&event.name, &event.data),
        };
        let Ok(step) = step else { return (calls, None) };
        if !step.is_empty() {
            reader.rule(&vec![ruling.clone(); step.len()], &mut denials);
        }
        calls.extend(step.into_iter().map(|call| (call.id, call.name)));
        given.extend(reader.drain());
    }
    let has_ended = reader.end().is_ok();
    (calls, has_ended.then_some(given))
}
