//! Streams of AWS's frames (`application/vnd.amazon.eventstream`), in which Bedrock sends the events of a model. Owns where a frame ends,
//! that both of its checksums are right, and how long it may be; gives what is in it as the event that the vendor itself would have sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Crc;
use serde_json::json;

use super::answer::{EVENT_BYTES_MAX, Garbled};
use super::json;
use super::shape::named;
use super::sse::Event;

/// Longest frame: an event of [`EVENT_BYTES_MAX`] in base64, and what stands around it.
pub const FRAME_BYTES_MAX: usize = 12 << 20;

/// Longest headers of a frame, as published.
pub const HEADERS_BYTES_MAX: usize = 128 << 10;

/// Length of the frame, length of its headers, and the checksum of both.
const PRELUDE_BYTES: usize = 12;

/// The checksum of all that is before it.
const CHECKSUM_BYTES: usize = 4;

/// Longest text of a host's that is told further about what went wrong.
const MESSAGE_CHARS_MAX: usize = 1024;

/// Reads one stream. A frame that has not ended when the stream does is none: whether one is missing is known by the protocol's reader.
#[derive(Debug, Default)]
pub struct Reader {
    /// The frame that has not ended.
    frame: Vec<u8>,
}

impl Reader {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes off the front of `rest` until a frame is whole, or none are left. Call it until it gives none.
    pub fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Event>, Garbled> {
        self.fill(PRELUDE_BYTES, rest);
        let Some((prelude, _)) = self.frame.split_at_checked(PRELUDE_BYTES) else { return Ok(None) };
        let (length, headers_length) = lengths(prelude)?;
        self.fill(length, rest);
        if self.frame.len() < length {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.frame);
        event(checked(&frame)?, headers_length).map(Some)
    }

    /// Takes bytes until the frame has this many.
    fn fill(&mut self, length: usize, rest: &mut &[u8]) {
        let missing = length.saturating_sub(self.frame.len()).min(rest.len());
        let (taken, behind) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
        self.frame.extend_from_slice(taken);
        *rest = behind;
    }
}

const NO_FRAME: Garbled = Garbled::Syntax("a stream of AWS's frames");

/// How long the frame that begins like this is, and its headers.
fn lengths(prelude: &[u8]) -> Result<(usize, usize), Garbled> {
    let &[a, b, c, d, e, f, g, h] = checked(prelude)? else { return Err(NO_FRAME) };
    let (length, headers) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    let sizes = (usize::try_from(length), usize::try_from(headers));
    let (Ok(length), Ok(headers)) = sizes else { return Err(Garbled::TooMuch("long a frame")) };
    if length > FRAME_BYTES_MAX || headers > HEADERS_BYTES_MAX {
        return Err(Garbled::TooMuch("long a frame"));
    }
    let least = PRELUDE_BYTES + CHECKSUM_BYTES;
    if length.checked_sub(least).is_none_or(|room| headers > room) { Err(NO_FRAME) } else { Ok((length, headers)) }
}

/// What stands before a checksum that is right.
fn checked(bytes: &[u8]) -> Result<&[u8], Garbled> {
    let (before, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(NO_FRAME)?;
    let mut crc = Crc::new();
    crc.update(before);
    if crc.sum() == u32::from_be_bytes(*sum) { Ok(before) } else { Err(NO_FRAME) }
}

/// What a frame without its last checksum says.
fn event(frame: &[u8], headers_length: usize) -> Result<Event, Garbled> {
    let (_, rest) = frame.split_at_checked(PRELUDE_BYTES).ok_or(NO_FRAME)?;
    let (headers, payload) = rest.split_at_checked(headers_length).ok_or(NO_FRAME)?;
    let headers = Headers::read(headers)?;
    match headers.text(":message-type")? {
        "event" => match headers.text(":event-type")? {
            "chunk" => chunk(payload),
            other => Err(Garbled::Unknown(named(other))),
        },
        "exception" => {
            let said = json::object(payload).ok();
            let said = said.as_ref().and_then(|said| said.get("message")?.as_str()).unwrap_or_default();
            Ok(broken_off(headers.text(":exception-type")?, said))
        }
        "error" => Ok(broken_off(headers.text(":error-code")?, headers.text(":error-message").unwrap_or_default())),
        other => Err(Garbled::Unknown(named(other))),
    }
}

/// An event of the model's, in base64 in JSON. What else stands beside it only makes frames alike in length.
fn chunk(payload: &[u8]) -> Result<Event, Garbled> {
    let payload = json::object(payload)?;
    let coded = payload.get("bytes").and_then(serde_json::Value::as_str);
    let coded = coded.ok_or_else(|| Garbled::Misplaced("something else in `bytes`".to_owned()))?;
    let data = STANDARD.decode(coded).map_err(|_| Garbled::Syntax("base64"))?;
    if data.len() > EVENT_BYTES_MAX {
        return Err(Garbled::TooMuch("long an event"));
    }
    Ok(Event { name: String::new(), data: String::from_utf8(data).map_err(|_| Garbled::Syntax("UTF-8"))? })
}

/// What the vendor itself would have sent where its host breaks off.
fn broken_off(exception: &str, said: &str) -> Event {
    let kind = match exception {
        "throttlingException" => "rate_limit_error",
        "validationException" => "invalid_request_error",
        "serviceUnavailableException" => "overloaded_error",
        "modelTimeoutException" => "timeout_error",
        _ => "api_error",
    };
    let said: String = said.chars().take(MESSAGE_CHARS_MAX).collect();
    let message = format!("{}: {said}", named(exception));
    let data = json!({ "type": "error", "error": { "type": kind, "message": message } });
    Event { name: "error".to_owned(), data: data.to_string() }
}

/// The headers of a frame that are text.
struct Headers<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> Headers<'a> {
    /// Reads them all; none stands twice.
    fn read(mut rest: &'a [u8]) -> Result<Self, Garbled> {
        let mut headers: Vec<(&str, Option<&str>)> = Vec::new();
        while !rest.is_empty() {
            let (name, value) = header(&mut rest).ok_or(NO_FRAME)?;
            if headers.iter().any(|(known, _)| *known == name) {
                return Err(NO_FRAME);
            }
            headers.push((name, value));
        }
        Ok(Self(headers))
    }

    fn text(&self, name: &'static str) -> Result<&'a str, Garbled> {
        let found = self.0.iter().find_map(|(known, value)| value.filter(|_| *known == name));
        found.ok_or_else(|| Garbled::Misplaced(format!("no `{name}`")))
    }
}

/// Takes a header off the front.
fn header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Option<&'a str>)> {
    let length = usize::from(*taken(rest, 1)?.first()?);
    let name = std::str::from_utf8(taken(rest, length)?).ok().filter(|name| !name.is_empty())?;
    let fixed = match *taken(rest, 1)?.first()? {
        // True and false.
        0 | 1 => 0,
        // A byte, and whole numbers of two, four and eight of them; a moment; a UUID.
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        // Bytes, and text.
        kind @ (6 | 7) => {
            let length = taken(rest, 2)?.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))?;
            let value = taken(rest, length)?;
            let text = if kind == 7 { Some(std::str::from_utf8(value).ok()?) } else { None };
            return Some((name, text));
        }
        _ => return None,
    };
    taken(rest, fixed).map(|_| (name, None))
}

fn taken<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checksummed(bytes: Vec<u8>) -> Vec<u8> {
        let mut crc = Crc::new();
        crc.update(&bytes);
        [bytes, crc.sum().to_be_bytes().to_vec()].concat()
    }

    /// A frame that says of itself what `length` and `headers_length` do.
    fn framed(length: u32, headers_length: u32, headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let prelude = checksummed([length.to_be_bytes(), headers_length.to_be_bytes()].concat());
        checksummed([&prelude, headers, payload].concat())
    }

    fn text(name: &str, value: &str) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[7], &length, value.as_bytes()].concat()
    }

    fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        raw(&headers.iter().flat_map(|(name, value)| text(name, value)).collect::<Vec<_>>(), payload)
    }

    fn raw(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + headers.len() + payload.len()).unwrap();
        framed(length, u32::try_from(headers.len()).unwrap(), headers, payload)
    }

    const CHUNK: [(&str, &str); 3] =
        [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];

    fn chunk_of(data: &str) -> Vec<u8> {
        frame(&CHUNK, format!("{{\"bytes\":\"{}\",\"p\":\"abcdef\"}}", STANDARD.encode(data)).as_bytes())
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<Garbled>) {
        let (mut reader, mut events) = (Reader::new(), Vec::new());
        for mut rest in pieces {
            loop {
                match reader.next(&mut rest) {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(garbled) => return (events, Some(garbled)),
                }
            }
        }
        (events, None)
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    /// The first of the frames that AWS publishes as examples for whoever reads them: no headers, and none of a model.
    #[test]
    fn a_published_frame_is_read_as_a_frame() {
        let published = [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(framed(16, 0, &[], &[]), published);
        assert_eq!(read([published.as_slice()]).1, Some(Garbled::Misplaced("no `:message-type`".to_owned())));
    }

    #[test]
    fn frames_are_events_however_they_were_cut() {
        let stream = [chunk_of("{\"a\":1}"), chunk_of("{\"b\":\"\u{e9}\"}")].concat();
        let expected = (vec![event("", "{\"a\":1}"), event("", "{\"b\":\"\u{e9}\"}")], None);
        assert_eq!(read([stream.as_slice()]), expected);
        assert_eq!(read(stream.chunks(1)), expected);
        for cut in 0..stream.len() {
            let (events, garbled) = read([&stream[..cut]]);
            assert_eq!((events.len() < 2, garbled), (true, None), "{cut}: half a frame is none");
        }
    }

    #[test]
    fn a_host_that_breaks_off_says_so_as_the_vendor_would() {
        for (headers, payload, kind, said) in [
            (
                [(":message-type", "exception"), (":exception-type", "throttlingException")],
                "{\"message\":\"Too many tokens\"}",
                "rate_limit_error",
                "throttlingException: Too many tokens",
            ),
            (
                [(":message-type", "exception"), (":exception-type", "modelStreamErrorException")],
                "not JSON",
                "api_error",
                "modelStreamErrorException: ",
            ),
            ([(":message-type", "error"), (":error-code", "InternalError\u{7f}")], "", "api_error", "InternalError?: "),
        ] {
            let data = json!({ "type": "error", "error": { "type": kind, "message": said } }).to_string();
            let (events, garbled) = read([frame(&headers, payload.as_bytes()).as_slice()]);
            assert_eq!((events, garbled), (vec![event("error", &data)], None));
        }
        let long = format!("{{\"message\":\"{}\"}}", "x".repeat(9_000));
        let headers = [(":message-type", "exception"), (":exception-type", "validationException")];
        assert!(read([frame(&headers, long.as_bytes()).as_slice()]).0[0].data.len() < 1_200);
    }

    #[test]
    fn a101_what_is_no_frame_is_not_guessed_at() {
        let good = chunk_of("{}");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let (events, garbled) = read([bad.as_slice()]);
            assert!(events.is_empty(), "{at}");
            assert!(garbled.is_some(), "{at}: a bit that is another is found by a checksum");
        }
        let named = |name: &str, kind: u8, value: &[u8]| {
            [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[kind], value].concat()
        };
        let whole = [text(":message-type", "event"), text(":event-type", "chunk")].concat();
        let more = |header: Vec<u8>| raw(&[whole.clone(), header].concat(), b"{\"bytes\":\"e30=\"}");
        for (kind, length) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            assert_eq!(
                read([more(named("x", kind, &vec![0; length])).as_slice()]),
                (vec![event("", "{}")], None),
                "{kind}"
            );
        }
        for header in [
            named("x", 10, &[]),
            named("", 0, &[]),
            named("x", 4, &[0; 3]),
            named("x", 6, &[0, 9, 1]),
            named("x", 7, &[0, 1, 0xff]),
            named(":message-type", 0, &[]),
            text(":event-type", "chunk"),
            vec![9],
        ] {
            assert_eq!(read([more(header.clone()).as_slice()]), (vec![], Some(NO_FRAME)), "{header:?}");
        }
    }

    #[test]
    fn a101_what_is_in_a_frame_is_what_is_known_of_a_model() {
        let unknown = |kind: &str| Some(Garbled::Unknown(kind.into()));
        let misplaced = |what: &str| Some(Garbled::Misplaced(what.into()));
        let bytes = "something else in `bytes`";
        for (frame, garbled) in [
            (frame(&[(":message-type", "event"), (":event-type", "trace")], b"{}"), unknown("trace")),
            (frame(&[(":message-type", "event")], b"{}"), misplaced("no `:event-type`")),
            (frame(&[(":message-type", "call")], b"{}"), unknown("call")),
            (frame(&[(":message-type", "exception")], b"{}"), misplaced("no `:exception-type`")),
            (frame(&CHUNK, b"{}"), misplaced(bytes)),
            (frame(&CHUNK, b"{\"bytes\":[1]}"), misplaced(bytes)),
            (frame(&CHUNK, b"{\"bytes\":\"e30\"}"), Some(Garbled::Syntax("base64"))),
            (frame(&CHUNK, b"{\"bytes\":\"e3 0=\"}"), Some(Garbled::Syntax("base64"))),
            (frame(&CHUNK, b"{\"bytes\":\"/w==\"}"), Some(Garbled::Syntax("UTF-8"))),
            (frame(&CHUNK, b"{\"bytes\":\"e30=\",\"bytes\":\"e30=\"}"), Some(Garbled::Syntax("plain JSON"))),
            (
                frame(&CHUNK, &[b"{\"a\":".repeat(200), b"1".to_vec(), b"}".repeat(200)].concat()),
                Some(Garbled::TooMuch("deep a nesting")),
            ),
            (
                frame(&CHUNK, format!("{{\"a\":[{}1]}}", "1,".repeat(300_000)).as_bytes()),
                Some(Garbled::TooMuch("many values")),
            ),
        ] {
            assert_eq!(read([frame.as_slice()]), (vec![], garbled));
        }
    }

    #[test]
    fn a_frame_is_bounded_by_what_it_says_before_it_is_there() {
        let too_long = Some(Garbled::TooMuch("long a frame"));
        let most = u32::try_from(FRAME_BYTES_MAX).unwrap();
        let headers = u32::try_from(HEADERS_BYTES_MAX).unwrap();
        for (length, headers_length, garbled) in [
            (most, headers, None),
            (most + 1, 0, too_long.clone()),
            (u32::MAX, u32::MAX, too_long.clone()),
            (most, headers + 1, too_long),
            (15, 0, Some(NO_FRAME)),
            (0, 0, Some(NO_FRAME)),
            (20, 5, Some(NO_FRAME)),
        ] {
            let prelude = checksummed([length.to_be_bytes(), headers_length.to_be_bytes()].concat());
            assert_eq!(read([prelude.as_slice()]), (vec![], garbled), "{length} {headers_length}");
        }
        // Base64 hides how long an event is.
        let long = chunk_of(&"x".repeat(EVENT_BYTES_MAX + 1));
        assert_eq!(read([long.as_slice()]).1, Some(Garbled::TooMuch("long an event")));
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_they_are_read_alike_in_any_pieces(
            bits in prop::collection::vec(prop_oneof![
                Just(chunk_of("{\"a\":1}")), prop::collection::vec(any::<u8>(), 0..20)
            ], 0..5),
            size in 1_usize..40,
        ) {
            let stream = bits.concat();
            prop_assert_eq!(read(stream.chunks(size)), read([stream.as_slice()]));
        }
    }
}
