//! Services of a test's own, in clear text on a port of loopback; the doors add TLS.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request, whole.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its first line and its fields, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The next one of a connection; none at its end.
    pub(crate) fn next(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return None;
            }
        }
        let mut asked = Self { head, body: Vec::new() };
        asked.body.resize(asked.field("content-length").parse().unwrap_or(0), 0);
        reader.read_exact(&mut asked.body).ok().map(|()| asked)
    }

    /// Method and target.
    pub(crate) fn line(&self) -> &str {
        self.head.split(" HTTP/1.1").next().unwrap()
    }

    pub(crate) fn method(&self) -> &str {
        self.line().split_once(' ').unwrap().0
    }

    /// The path, and what stands behind its question mark.
    pub(crate) fn target(&self) -> &str {
        self.line().split_once(' ').unwrap().1
    }

    /// A field of this name in small letters; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map_or("", |(_, value)| value.trim())
    }
}

/// Attends to every connection, each in a thread of its own; the port.
pub(crate) fn attended(attend: impl Fn(BufReader<TcpStream>) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let attend = Arc::new(attend);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let attend = Arc::clone(&attend);
            std::thread::spawn(move || attend(BufReader::new(stream)));
        }
    });
    port
}

/// Answers every request with a status and a body, or breaks off; the port.
pub(crate) fn answered<B: AsRef<[u8]>>(answer: impl Fn(&Asked) -> Option<(u16, B)> + Send + Sync + 'static) -> u16 {
    attended(move |mut reader| {
        while let Some(asked) = Asked::next(&mut reader) {
            let Some((status, body)) = answer(&asked) else { return };
            let body = body.as_ref();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            if reader.get_mut().write_all(&[head.as_bytes(), body].concat()).is_err() {
                return;
            }
        }
    })
}

/// Answers everything alike; the port, and what it was asked.
pub(crate) fn heard(answer: &'static str) -> (u16, Arc<Mutex<Vec<Asked>>>) {
    let all = Arc::<Mutex<Vec<Asked>>>::default();
    let kept = Arc::clone(&all);
    let port = answered(move |asked| {
        kept.lock().unwrap().push(asked.clone());
        Some((200, answer))
    });
    (port, all)
}
