//! What keeper, door and courier tell each other: read the same on both kinds of channel, and the same after it was passed on.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use selvedge_domain::Reach;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::courier::{Brought, Errand, answer, xml};
use crate::git::wanted::{GitAnswer, GitCall};
use crate::http::path::CanonicalPath;
use crate::identity::wanted::{Given, Wanted};
use crate::loan::LoanChange;
use crate::protocol::{Ask, Done, Fence, Hello, ListenerKind, Refused, Verdict};
use crate::wire::errand::{FromCourier, WireErrand};
use crate::wire::frame::{self, FROM_DOOR_BYTES_MAX, TO_DOOR_BYTES_MAX};
use crate::wire::hello::WireHello;
use crate::wire::loan::WireLoanChange;
use crate::wire::message::{self, BadMessage, FromDoor, ToDoor, WireAsk, WireReach};

/// A frame is read alike by those who wait for it and those who do not, and not a byte beyond it.
pub(super) fn frame(bytes: &[u8]) -> bool {
    let (mut rest, mut also_rest) = (bytes, bytes);
    let read = frame::read::<FromDoor>(&mut rest, FROM_DOOR_BYTES_MAX);
    let also = at_once(frame::read_async::<FromDoor>(&mut also_rest, FROM_DOOR_BYTES_MAX));
    let (Ok(read), Ok(also)) = (&read, &also) else {
        assert!(read.is_err() && also.is_err(), "one reads what the other does not");
        return false;
    };
    let written = frame::encode(read, TO_DOOR_BYTES_MAX).unwrap();
    assert_eq!((frame::encode(also, TO_DOOR_BYTES_MAX).unwrap(), also_rest), (written.clone(), rest));
    let again = frame::read::<FromDoor>(&mut written.as_slice(), TO_DOOR_BYTES_MAX).unwrap();
    assert_eq!(frame::encode(&again, TO_DOOR_BYTES_MAX).unwrap(), written);
    true
}

/// What comes of it, given that it need not wait.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits for nothing"),
    }
}

/// What a door says.
pub(super) fn from_door(bytes: &[u8]) -> bool {
    passed_on(bytes, |message: FromDoor| {
        Ok(match message {
            FromDoor::Ready { ca_pem, fences } => {
                FromDoor::Ready { ca_pem, fences: fences.into_iter().map(Fence::from).map(Into::into).collect() }
            }
            FromDoor::Failed { why } => FromDoor::Failed { why },
            FromDoor::Ask(wire) => FromDoor::Ask(ask(wire)?),
            FromDoor::Done(wire) => FromDoor::Done(Done::from(wire).into()),
            FromDoor::Refused(wire) => FromDoor::Refused(Refused::from(wire).into()),
            FromDoor::Identity { serial, wanted } => {
                FromDoor::Identity { serial, wanted: Wanted::try_from(wanted)?.into() }
            }
            FromDoor::Git { serial, call } => FromDoor::Git { serial, call: GitCall::try_from(call)?.into() },
            FromDoor::LoanChanged { serial } => FromDoor::LoanChanged { serial },
        })
    })
}

/// A keeper is asked in canonical form only.
fn ask(wire: WireAsk) -> Result<WireAsk, BadMessage> {
    let ask = Ask::try_from(wire)?;
    assert!(CanonicalPath::parse(&ask.path).is_ok_and(|path| path.as_str() == ask.path));
    Ok(ask.into())
}

/// What a keeper says.
pub(super) fn to_door(bytes: &[u8]) -> bool {
    passed_on(bytes, |message: ToDoor| {
        Ok(match message {
            ToDoor::Hello(wire) => ToDoor::Hello(Box::new(WireHello::from(&Hello::try_from(*wire)?))),
            ToDoor::Errand(wire) => ToDoor::Errand(Box::new(errand(*wire)?)),
            ToDoor::Listeners { kinds } => {
                ToDoor::Listeners { kinds: kinds.into_iter().map(ListenerKind::from).map(Into::into).collect() }
            }
            ToDoor::Answer { serial, verdict } => ToDoor::Answer { serial, verdict: Verdict::from(verdict).into() },
            ToDoor::Identity { serial, given } => ToDoor::Identity { serial, given: Given::from(given).into() },
            ToDoor::Git { serial, answer } => ToDoor::Git { serial, answer: GitAnswer::try_from(answer)?.into() },
            ToDoor::Loan { serial, credential, change } => {
                let credential = message::credential(&credential)?.to_string();
                ToDoor::Loan { serial, credential, change: WireLoanChange::from(&LoanChange::try_from(change)?) }
            }
            ToDoor::Widened { reach } => ToDoor::Widened { reach: WireReach::from(&Reach::try_from(reach)?) },
            ToDoor::Close {} => ToDoor::Close {},
        })
    })
}

/// Nothing of an errand ends a line of the request it becomes.
fn errand(wire: WireErrand) -> Result<WireErrand, BadMessage> {
    let errand = Errand::try_from(wire)?;
    let values = errand.fields.iter().map(|(_, value)| value.as_str());
    let media_type = errand.body.as_ref().map(|(media_type, _)| media_type.as_str());
    let mut lines = values.chain([errand.target.as_str()]).chain(media_type);
    assert!(lines.all(|line| line.bytes().all(|b| matches!(b, b' '..=b'~'))));
    Ok(WireErrand::from(&errand))
}

/// What a courier says.
pub(super) fn from_courier(bytes: &[u8]) -> bool {
    passed_on(bytes, |message: FromCourier| {
        Ok(match message {
            FromCourier::Brought(wire) => FromCourier::Brought(Brought::from(wire).into()),
            FromCourier::NotAsked { why } => FromCourier::NotAsked { why },
            FromCourier::AnswerLost { why } => FromCourier::AnswerLost { why },
        })
    })
}

/// Whether a message means something; if so, it is the same once it went through the factory's own types, and again.
fn passed_on<M: Serialize + DeserializeOwned>(bytes: &[u8], through: impl Fn(M) -> Result<M, BadMessage>) -> bool {
    let Ok(message) = serde_json::from_slice::<M>(bytes) else { return false };
    let Ok(passed) = through(message) else { return false };
    let text = serde_json::to_string(&passed).unwrap();
    let again = through(serde_json::from_str(&text).unwrap());
    assert_eq!(again.ok().map(|again| serde_json::to_string(&again).unwrap()), Some(text));
    true
}

/// Only what is wanted is taken out of a provider's answer, as it is there.
pub(super) fn courier_answer(body: &[u8]) -> bool {
    let pointers = ["", "/auth/client_token", "/auth/lease_duration", "/list/0", "/token"].map(str::to_owned);
    let Ok(found) = answer::wanted(body, &pointers, &[]) else { return false };
    let whole = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
    for (pointer, value) in &found {
        assert!(pointers.contains(pointer) && value.len() <= 8 * 1024);
        let there = whole.pointer(pointer).unwrap();
        assert_eq!(there.as_str().map_or_else(|| there.to_string(), str::to_owned), *value);
    }
    true
}

/// The same of an answer in XML: texts of elements as they are there, none of them longer than is brought back.
pub(super) fn courier_xml(body: &[u8]) -> bool {
    let paths = ["", "/A", "/A/B", "/A/B/Key", "/A/B/Token", "/ErrorResponse/Error/Code"].map(str::to_owned);
    let Ok(found) = xml::wanted(body, &paths) else { return false };
    for (path, value) in &found {
        assert!(paths.contains(path) && !path.is_empty() && value.len() <= 8 * 1024);
        // What an element says is no element, whatever was escaped in it.
        let escaped = value.replace('&', "&amp;").replace('<', "&lt;").replace('\r', "&#13;").replace("]]>", "]]&gt;");
        let again = xml::wanted(format!("<A>{escaped}</A>").as_bytes(), &["/A".to_owned()]);
        assert_eq!(again.unwrap().get("/A"), Some(value));
    }
    true
}
