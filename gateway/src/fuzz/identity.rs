//! What a workload asks for, as its client writes it and as the door passes it on.

use prost::Message;

use crate::identity::api::{JwtsvidRequest, ValidateJwtsvidRequest, X509svidRequest};
use crate::identity::wanted::{Given, Wanted};
use crate::identity::wire::{WireGiven, WireWanted};

/// A call's message reads back as it is written again, and is written in no more bytes than it came in.
pub(super) fn request(bytes: &[u8]) -> bool {
    let _ = X509svidRequest::decode(bytes);
    let token = message::<JwtsvidRequest>(bytes);
    let validated = message::<ValidateJwtsvidRequest>(bytes);
    token || validated
}

fn message<M: Message + Default + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(read) = M::decode(bytes) else { return false };
    let written = read.encode_to_vec();
    assert!(written.len() <= bytes.len());
    assert!(M::decode(written.as_slice()).is_ok_and(|again| again == read), "a message reads back as another");
    true
}

/// What is wanted and given is the same after it was passed on.
pub(super) fn wire(bytes: &[u8]) -> bool {
    if let Ok(wire) = serde_json::from_slice::<WireWanted>(bytes) {
        let Ok(wanted) = Wanted::try_from(wire) else { return false };
        let text = serde_json::to_string(&WireWanted::from(wanted.clone())).unwrap();
        assert_eq!(Wanted::try_from(serde_json::from_str::<WireWanted>(&text).unwrap()), Ok(wanted));
        return true;
    }
    let Ok(wire) = serde_json::from_slice::<WireGiven>(bytes) else { return false };
    let given = Given::from(wire);
    let text = serde_json::to_string(&WireGiven::from(given.clone())).unwrap();
    assert_eq!(Given::from(serde_json::from_str::<WireGiven>(&text).unwrap()), given);
    true
}
