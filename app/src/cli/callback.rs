//! The page that sends a browser to a forge with a manifest, and the one way back: a listener on loopback that gives out one form
//! and takes one code. Knows no key and no keeper: what a browser or a neighbour sends is read away from both (invariant 11).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use selvedge_credentials::{ManifestCode, Unguessable};

use crate::errors::{CliError, Kind};
use crate::keeper::SecretWord;

/// Longest head of a request that is read; browsers send some hundred bytes to a host that set no cookies.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long a connection may take to ask, and to be answered.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// Most connections at a time. A browser opens a few, some of which it never uses.
const CONNECTIONS_MAX: usize = 32;

/// How often it is looked whether the browser came back.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The path the forge sends the browser back to.
const BACK: &str = "/created";

/// A listener that waits for one browser.
pub(super) struct Callback {
    listener: TcpListener,
    address: SocketAddr,
    /// What is secret of the form's address: whoever has the form has the state.
    page: Unguessable,
    state: Unguessable,
}

impl Callback {
    /// Listens on loopback, where nobody from outside comes.
    pub(super) fn open() -> Result<Self, CliError> {
        let bind = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            listener.local_addr().map(|address| (listener, address))
        };
        let (listener, address) = bind().map_err(|error: std::io::Error| {
            CliError::new(Kind::State, format!("cannot listen on loopback for the browser: {error}"))
                .hint("have the App made by hand, and store its key: `selvedge credentials store`")
        })?;
        let word = || Unguessable::new().map_err(|error| CliError::caused(Kind::Internal, &error));
        Ok(Self { listener, address, page: word()?, state: word()? })
    }

    /// Where the form is.
    pub(super) fn page(&self) -> String {
        format!("http://{}/{}", self.address, self.page.expose())
    }

    /// Where the forge sends the browser back to.
    pub(super) fn redirect(&self) -> String {
        format!("http://{}{BACK}", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Gives out the form that posts `manifest` to `action`, and waits for the code.
    pub(super) fn wait(
        self,
        action: &str,
        manifest: &str,
        within: Duration,
        tell: &dyn Fn(&str),
    ) -> Result<SecretWord, CliError> {
        let Self { listener, address, page, state } = self;
        let form = form(&format!("{action}?state={}", state.expose()), manifest);
        let desk = Arc::new(Desk { host: address.to_string(), page, state, form, is_taken: AtomicBool::new(false) });
        let (came, comes) = channel();
        let (begun, mut strangers) = (Instant::now(), 0_u32);
        while begun.elapsed() < within {
            let mut ready = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
            // Whatever ends the wait, the next look says what there is.
            let _woken = rustix::event::poll(&mut ready, Some(&TICK));
            if let Ok((stream, _)) = listener.accept() {
                // One each for the threads that hold it, and one here.
                if Arc::strong_count(&desk) <= CONNECTIONS_MAX {
                    let (desk, came) = (Arc::clone(&desk), came.clone());
                    // Where no thread can be had, the browser asks again.
                    let _no_room = std::thread::Builder::new().spawn(move || desk.serve(stream, &came));
                }
            }
            match comes.try_recv() {
                Ok(Came::Back(code)) => return Ok(code),
                Ok(Came::Stranger) if strangers == 0 => {
                    strangers = 1;
                    tell("a browser came back with a state that is not this page's, and was sent away; still waiting");
                }
                Ok(Came::Stranger) => strangers = strangers.saturating_add(1),
                Err(_) => {}
            }
        }
        let nobody = format!("nobody came back from the forge within {} s", within.as_secs());
        let error = CliError::new(Kind::Unanswered, nobody);
        Err(match strangers {
            0 => error,
            _ => error.hint(format!(
                "{strangers} came back with a state that is not this page's: from a form of an earlier time, or sent by a page that \
                 is not ours; use no address but the one that was printed last"
            )),
        })
    }
}

/// Who came.
enum Came {
    Back(SecretWord),
    Stranger,
}

/// What a browser may ask here, and nobody else.
struct Desk {
    host: String,
    page: Unguessable,
    state: Unguessable,
    form: String,
    is_taken: AtomicBool,
}

/// What a request is answered with.
enum Answer {
    Form,
    Thanks(SecretWord),
    WrongState,
    NotFound,
}

impl Desk {
    fn serve(&self, mut stream: TcpStream, came: &Sender<Came>) {
        let Some(head) = head_of(&mut stream) else { return };
        let answer = self.answer(&head);
        let (status, page) = match &answer {
            Answer::Form => ("200 OK", self.form.as_str()),
            Answer::Thanks(_) => ("200 OK", "<p>The code arrived. Go back to the terminal, and close this page."),
            Answer::WrongState => {
                ("404 Not Found", "<p>This does not come from the form that the command printed. Open that one.")
            }
            Answer::NotFound => ("404 Not Found", "<p>There is nothing here."),
        };
        let text =
            format!("HTTP/1.1 {status}\r\n{}content-length: {}\r\n\r\n{HTML}{page}", FIELDS, HTML.len() + page.len());
        // A browser that does not read is not waited for.
        let _unread = stream.set_write_timeout(Some(REQUEST_WITHIN)).and_then(|()| stream.write_all(text.as_bytes()));
        let who = match answer {
            Answer::Thanks(code) => Came::Back(code),
            Answer::WrongState => Came::Stranger,
            Answer::Form | Answer::NotFound => return,
        };
        // The command may have stopped waiting.
        let _unheard = came.send(who);
    }

    /// Total: whatever the bytes are, they are one of these.
    fn answer(&self, head: &[u8]) -> Answer {
        let Some(target) = std::str::from_utf8(head).ok().and_then(|head| self.target(head)) else {
            return Answer::NotFound;
        };
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        match (path, query) {
            (BACK, Some(query)) => self.back(query),
            (path, None) if path.strip_prefix('/').is_some_and(|word| self.page.is(word)) => Answer::Form,
            _ => Answer::NotFound,
        }
    }

    /// What is asked for, if it is asked of us: a name that was made to lead here is somebody else's.
    fn target<'a>(&self, head: &'a str) -> Option<&'a str> {
        let mut lines = head.split("\r\n");
        let target = lines.next()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
        let mut hosts = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("host").then_some(value.trim())
        });
        (hosts.next() == Some(self.host.as_str()) && hosts.next().is_none()).then_some(target)
    }

    fn back(&self, query: &str) -> Answer {
        let one = |name: &str| {
            let mut found = query.split('&').filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.next().filter(|_| found.next().is_none())
        };
        let (Some(code), Some(state)) = (one("code"), one("state")) else { return Answer::NotFound };
        if !self.state.is(state) {
            return Answer::WrongState;
        }
        // A code that cannot be one takes nobody's place; one that can is the only one.
        if ManifestCode::parse(code).is_err() || self.is_taken.swap(true, Ordering::AcqRel) {
            return Answer::NotFound;
        }
        Answer::Thanks(SecretWord::new(code.to_owned()))
    }
}

/// The head of a request, without its last line break.
fn head_of(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let begun = Instant::now();
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let left = REQUEST_WITHIN.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        let read = match stream.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.ok().filter(|read| *read > 0)?,
        };
        head.extend_from_slice(piece.get(..read)?);
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            head.truncate(end);
            return Some(head);
        }
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
}

/// What every answer says of itself: it is kept nowhere, framed by nobody, and runs nothing; who is gone to from here learns the
/// origin and not the page's secret.
const FIELDS: &str = "content-type: text/html; charset=utf-8\r\n\
    content-security-policy: default-src 'none'; base-uri 'none'; form-action https:; frame-ancestors 'none'\r\n\
    referrer-policy: strict-origin\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\nconnection: close\r\n";

/// How every page begins.
const HTML: &str = "<!doctype html><meta charset=\"utf-8\"><title>selvedge</title>\n";

/// The form, which a person looks at and posts.
fn form(action: &str, manifest: &str) -> String {
    let (action, manifest) = (quoted(action), quoted(manifest));
    format!(
        "<h1>Have a GitHub App made</h1>\n<p>The forge is asked for an App with this manifest, and asks you before it makes one.\n\
         <pre>{manifest}</pre>\n<form action=\"{action}\" method=\"post\"><input type=\"hidden\" name=\"manifest\" value=\"{manifest}\">\
         <button>Go to the forge</button></form>\n"
    )
}

/// Text that means nothing in HTML, within quotes and without.
fn quoted(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE_PAIR: &str = "state=";

    fn desk() -> Desk {
        let word = || Unguessable::new().unwrap();
        Desk {
            host: "127.0.0.1:4711".to_owned(),
            page: word(),
            state: word(),
            form: String::new(),
            is_taken: AtomicBool::new(false),
        }
    }

    fn said(desk: &Desk, head: &str) -> &'static str {
        match desk.answer(head.as_bytes()) {
            Answer::Form => "form",
            Answer::Thanks(_) => "thanks",
            Answer::WrongState => "wrong state",
            Answer::NotFound => "not found",
        }
    }

    #[test]
    fn one_browser_with_the_right_words_is_heard_once_and_nobody_else_a14() {
        let desk = desk();
        let page = format!("/{}", desk.page.expose());
        let back = format!("{BACK}?code=abc&{STATE_PAIR}{}", desk.state.expose());
        let asks = |target: &str, rest: &str| said(&desk, &format!("GET {target} HTTP/1.1\r\n{rest}"));
        let host = "Host: 127.0.0.1:4711\r\naccept: */*";
        assert_eq!((asks(&page, host), asks(&page, host)), ("form", "form"), "a browser may load it again");
        let (first, rest) = page.split_at(page.len() - 1);
        let other = if rest == "0" { "1" } else { "0" };
        for (target, rest) in [
            ("/", host),
            (first, host),
            (&format!("{first}{other}"), host),
            (&format!("{page}?x"), host),
            (&format!("//127.0.0.1:4711{page}"), host),
            (&format!("{BACK}?code=abc"), host),
            (&back.replace("code=abc", "code=abc&code=abd"), host),
            (&back.replace("abc", "a/../b"), host),
            (&back.replace("abc", ""), host),
            (&format!("{back}&state={}", desk.state.expose()), host),
            // Names that were made to lead here, or none.
            (&back, "host: attacker.example:4711"),
            (&back, "host: localhost:4711"),
            (&back, "host: 127.0.0.1"),
            (&back, "host: 127.0.0.1:4711\r\nhost: attacker.example"),
            (&back, "x-host: 127.0.0.1:4711"),
            (&back, ""),
        ] {
            assert_eq!(asks(target, rest), "not found", "{target} {rest}");
        }
        for method in ["POST", "HEAD", "get", ""] {
            assert_eq!(said(&desk, &format!("{method} {back} HTTP/1.1\r\n{host}")), "not found", "{method}");
        }
        let guess = format!("{BACK}?code=abc&state={}", desk.page.expose());
        assert_eq!(asks(&guess, host), "wrong state");
        assert_eq!((asks(&back, host), asks(&back, host)), ("thanks", "not found"), "one use");
    }

    #[test]
    fn no_cut_and_no_odd_byte_of_a_head_is_anything_but_an_answer() {
        let desk = desk();
        let whole = format!("GET {BACK}?code=abc&state={} HTTP/1.1\r\nhost: 127.0.0.1:4711", desk.state.expose());
        for at in 0..whole.len() {
            assert!(!matches!(desk.answer(&whole.as_bytes()[..at]), Answer::Thanks(_)), "cut at {at}");
            let mut odd = whole.clone().into_bytes();
            for byte in [0, b'\r', b'%', 0xff] {
                odd[at] = byte;
                let _total = desk.answer(&odd);
            }
        }
    }

    #[test]
    fn what_a_manifest_says_means_nothing_in_the_page() {
        let form = form("https://git.example/new?state=1&x", "{\"name\":\"</pre>'<script>\"}");
        assert!(!form.contains("<script>") && !form.contains("'<") && form.matches("</pre>").count() == 1, "{form}");
        assert!(form.contains("action=\"https://git.example/new?state=1&amp;x\""), "{form}");
    }
}
