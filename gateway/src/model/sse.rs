//! Event streams as the HTML standard has them ("server-sent events"). Owns where an event ends, however its bytes were cut on the way,
//! and how long one may be; never knows what an event means.

use super::answer::{EVENT_BYTES_MAX, Garbled};

/// What some servers begin a stream with: it says that what follows is UTF-8, and is no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An event: what it is called, empty where it says nothing, and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data; lines of it are held apart by a line feed.
    pub data: String,
}

/// Reads one stream. An event that has not ended when the stream does is none, as the standard says: whether one is missing is known by
/// the protocol's reader.
#[derive(Debug, Default)]
pub struct Reader {
    /// The line that has not ended.
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// The last byte was a carriage return: a line feed behind it ends no other line.
    is_after_return: bool,
    /// Some line has ended, so that no byte order mark can come any more.
    is_under_way: bool,
}

impl Reader {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes off the front of `rest` until an event is whole, or none are left. Call it until it gives none.
    pub fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Event>, Garbled> {
        while !rest.is_empty() {
            if std::mem::take(&mut self.is_after_return)
                && let Some(behind) = rest.strip_prefix(b"\n")
            {
                *rest = behind;
                continue;
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.extend(rest)?;
                *rest = &[];
                break;
            };
            let (begun, from_end) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.extend(begun)?;
            self.is_after_return = from_end.starts_with(b"\r");
            *rest = from_end.get(1..).unwrap_or_default();
            if let Some(event) = self.line_ended()? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Adds to the line that has not ended.
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Garbled> {
        let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
        if held.saturating_add(bytes.len()) > EVENT_BYTES_MAX {
            return Err(Garbled::TooMuch("long an event"));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the line in. An empty one ends an event.
    fn line_ended(&mut self) -> Result<Option<Event>, Garbled> {
        let line = std::mem::take(&mut self.line);
        let is_first = !std::mem::replace(&mut self.is_under_way, true);
        let marked = if is_first { line.strip_prefix(BYTE_ORDER_MARK) } else { None };
        let line = std::str::from_utf8(marked.unwrap_or(&line)).map_err(|_| Garbled::Syntax("UTF-8"))?;
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return Ok(self.data.take().map(|data| Event { name, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut self.data) {
            ("event", _) => value.clone_into(&mut self.name),
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", none) => *none = Some(value.to_owned()),
            // A comment (no field before the colon), where a client should go on, when it should come back: all of no use to one answer.
            _ => {}
        }
        Ok(None)
    }
}

/// Writes an event behind what `out` holds. Every line break in `data` becomes a line feed, and what stands behind one in `name` is left
/// out: a line break is the one thing that the grammar cannot hold.
pub fn write(out: &mut Vec<u8>, name: &str, data: &str) {
    let is_break = |c: char| matches!(c, '\r' | '\n');
    let name = name.split(is_break).next().unwrap_or_default();
    if !name.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    for line in data.replace("\r\n", "\n").split(is_break) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that comes of a stream that arrives in these pieces, up to what cannot be read.
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

    #[test]
    fn a_stream_is_read_as_the_standard_says() {
        let cases: &[(&str, &[Event])] = &[
            ("", &[]),
            ("data: a\n\n", &[event("", "a")]),
            ("event: x\ndata: a\n\n", &[event("x", "a")]),
            ("event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", &[event("x", "a"), event("", "b")]),
            ("data: a\r\rdata: b\r\r", &[event("", "a"), event("", "b")]),
            ("data: a\n\r\ndata: b\r\n\n", &[event("", "a"), event("", "b")]),
            ("\u{feff}data: a\n\n", &[event("", "a")]),
            ("data: a\n\n\u{feff}data: b\n\n", &[event("", "a")]),
            (": hello\n:\ndata: a\n\n", &[event("", "a")]),
            ("data:a\ndata:  b\ndata\n\n", &[event("", "a\n b\n")]),
            ("data\n\n", &[event("", "")]),
            ("event: x\n\ndata: a\n\n", &[event("", "a")]),
            ("event: x\nevent: y\ndata: a\n\n", &[event("y", "a")]),
            ("id: 7\nretry: 9\nwhat: ever\nDATA: b\ndata: a:b\n\n", &[event("", "a:b")]),
            ("data: a\n\ndata: cut", &[event("", "a")]),
            ("data: a\n\ndata: cut\n", &[event("", "a")]),
        ];
        for (stream, expected) in cases {
            assert_eq!(read([stream.as_bytes()]), (expected.to_vec(), None), "{stream:?}");
        }
    }

    #[test]
    fn a101_what_is_not_utf8_is_not_guessed_at() {
        let read = read([b"data: a\n\ndata: \xC3\n\n".as_slice()]);
        assert_eq!(read, (vec![event("", "a")], Some(Garbled::Syntax("UTF-8"))));
    }

    #[test]
    fn an_event_is_bounded_in_one_line_and_in_many() {
        let (long, many) = (vec![b'x'; EVENT_BYTES_MAX + 1], b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10));
        for stream in [long, many] {
            assert_eq!(read([stream.as_slice()]), (vec![], Some(Garbled::TooMuch("long an event"))));
        }
    }

    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let known = vec!["\r", "\n", "\r\n", "data: ", "data", "event: ", ":", " ", "\u{feff}", "a", "é", "{}"];
        let known = prop::sample::select(known).prop_map(|bit| bit.as_bytes().to_vec());
        let bits = prop_oneof![40 => known, 1 => any::<u8>().prop_map(|byte| vec![byte])];
        prop::collection::vec(bits, 0..60).prop_map(|bits| bits.concat())
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_its_events_are_the_same(stream in streams(), sizes in prop::collection::vec(1usize..9, 1..60)) {
            let (mut pieces, mut rest) = (Vec::new(), stream.as_slice());
            for size in sizes.into_iter().cycle() {
                let (piece, behind) = rest.split_at(size.min(rest.len()));
                pieces.push(piece);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read(pieces), read([stream.as_slice()]));
        }

        #[test]
        fn what_is_written_is_read_back(name in "[^\r\n]{0,6}", data in "[^\r]{0,20}", before in "(: .\n){0,2}") {
            let mut stream = before.into_bytes();
            write(&mut stream, &name, &data);
            write(&mut stream, "", "next");
            prop_assert_eq!(read([stream.as_slice()]), (vec![event(&name, &data), event("", "next")], None));
        }

        #[test]
        fn a101_nothing_that_is_written_makes_an_event_of_its_own(name in "[a\r\n: ]{0,9}", data in "[a\r\n: ]{0,20}") {
            let mut stream = Vec::new();
            write(&mut stream, &name, &data);
            prop_assert_eq!(read([stream.as_slice()]).0.len(), 1);
        }
    }
}
