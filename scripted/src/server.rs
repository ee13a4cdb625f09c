//! The server: threads on loopback, one a connection. Owns which turn answers which request, how a fault is played, and the count.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::answer::{Event, Reply, billed};
use crate::host::{Host, Place};
use crate::http::{self, Request};
use crate::protocol::{Protocol, Refusal, Told, What};
use crate::{Failing, Fault, Script, Seen, Times, Totals, Turn, Usage, WithoutTools};

/// A model server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a script on a port of loopback that the kernel chooses.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn start(script: Script) -> io::Result<Self> {
        Self::listen(script, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Serves a script at an address.
    ///
    /// # Errors
    /// When it cannot be listened at.
    pub fn listen(script: Script, at: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { script, state: Mutex::default(), stopped: AtomicBool::new(false) });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self { shared, address, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, in the order in which they were answered.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// What was given so far.
    pub fn totals(&self) -> Totals {
        self.shared.state().totals.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; where that fails, it has ended already.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.shared.state().open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[derive(Debug)]
struct Shared {
    script: Script,
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    totals: Totals,
    /// How often each turn was asked for.
    tries: BTreeMap<usize, u64>,
    /// Answers so far.
    answers: u64,
    /// Connections that are alive.
    open: BTreeMap<u64, TcpStream>,
    connections: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else { continue };
        let number = {
            let mut state = shared.state();
            state.connections = state.connections.saturating_add(1);
            let number = state.connections;
            state.open.insert(number, copy);
            number
        };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client that breaks off, or sends no HTTP, is no event of the script's.
            let _ = converse(stream, &shared);
            shared.state().open.remove(&number);
        });
    }
}

fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let ended = loop {
        let Some(request) = http::read(&mut stream)? else { break Ok(()) };
        let last = request.is_last();
        let answer = shared.answer(&request);
        if answer.send(stream.get_mut(), shared)? == After::Close || last {
            break Ok(());
        }
    };
    stream.get_mut().shutdown(Shutdown::Both)?;
    ended
}

/// An answer that was decided on.
#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Body,
    fault: Option<Fault>,
}

#[derive(Debug)]
enum Body {
    /// In one piece, and what it is billed.
    Whole(String, Usage),
    /// In events, each with what is billed once it is sent, as they stand at a place.
    Events(Place, Vec<(Event, Usage)>),
}

/// What becomes of the connection.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
}

impl Shared {
    fn answer(&self, request: &Request) -> Answer {
        let body: Result<Value, _> = serde_json::from_slice(&request.body);
        let mut seen = Seen {
            protocol: None,
            path: request.path.clone(),
            headers: request.fields.clone(),
            key_in: None,
            model: String::new(),
            tools: Vec::new(),
            results: Vec::new(),
            turn: None,
            status: 200,
            refused: None,
            body: body.as_ref().ok().cloned().unwrap_or_default(),
        };
        let Some(place) = Place::of(&request.path) else {
            let refusal = Refusal::of(format!("Invalid URL ({} {})", request.method, request.path)).with(404);
            let nobody = Place { host: Host::Vendor, protocol: Protocol::Chat, what: What::Turn };
            return self.refuse(&nobody, seen, &refusal);
        };
        seen.protocol = Some(place.protocol);
        let told = place.key(request, &self.script.key).and_then(|at| {
            seen.key_in = at;
            if request.method != "POST" {
                return Err(Refusal::of("Method Not Allowed").with(405));
            }
            let body = body.as_ref().map_err(|_| Refusal::of("The request body is not valid JSON."))?;
            place.read(request, body)
        });
        let told = match told {
            Ok(told) => told,
            Err(refusal) => return self.refuse(&place, seen, &refusal),
        };
        seen.model.clone_from(&told.model);
        seen.tools = told.tools.iter().map(|tool| tool.name.clone()).collect();
        seen.results.clone_from(&told.results);
        match place.what {
            What::Count => self.count(place.protocol, seen, &told),
            What::Turn => self.say(place, seen, &told),
        }
    }

    fn refuse(&self, place: &Place, mut seen: Seen, refusal: &Refusal) -> Answer {
        seen.status = refusal.status;
        seen.refused = Some(refusal.message.clone());
        self.note(seen);
        Answer {
            status: refusal.status,
            fields: Vec::new(),
            body: Body::Whole(place.error(refusal).to_string(), Usage::default()),
            fault: None,
        }
    }

    /// How many tokens the next turn would read; nothing is billed for asking.
    fn count(&self, protocol: Protocol, seen: Seen, told: &Told) -> Answer {
        let (_, turn) = self.turn(told);
        self.note(seen);
        Answer {
            status: 200,
            fields: Vec::new(),
            body: Body::Whole(protocol.count(turn.usage.read()).to_string(), Usage::default()),
            fault: None,
        }
    }

    fn say(&self, place: Place, mut seen: Seen, told: &Told) -> Answer {
        let (at_turn, turn) = self.turn(told);
        seen.turn = at_turn.filter(|turn| *turn < self.script.turns.len());
        let (number, fault) = {
            let mut state = self.state();
            state.answers = state.answers.saturating_add(1);
            let tries = at_turn.map_or(0, |turn| {
                let tries = state.tries.entry(turn).or_default();
                *tries = tries.saturating_add(1);
                *tries
            });
            (state.answers, turn.fault.filter(|fault| fault.is_met_by(tries)).map(|fault| fault.what))
        };
        if let Some(Fault::Status { status, retry_after_seconds }) = fault {
            let refusal = Refusal::of(format!("the script answers with {status}")).with(status);
            let fields = retry_after_seconds.map(|seconds| ("Retry-After", seconds.to_string()));
            let refused = self.refuse(&place, seen, &refusal);
            return Answer { fields: fields.into_iter().collect(), ..refused };
        }
        {
            let mut state = self.state();
            match at_turn {
                None => state.totals.side_calls = state.totals.side_calls.saturating_add(1),
                Some(_) if seen.turn.is_none() => {
                    state.totals.beyond_the_script = state.totals.beyond_the_script.saturating_add(1);
                }
                Some(_) => {}
            }
        }
        let body = seen.body.clone();
        self.note(seen);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map(|passed| passed.as_secs()).unwrap_or_default();
        let reply = Reply { told, turn: &turn, body: &body, number, at };
        let id = match (&place.host, place.protocol) {
            (Host::Bedrock { .. }, _) => "x-amzn-requestid",
            (_, Protocol::Anthropic) => "request-id",
            _ => "x-request-id",
        };
        let body = if told.streams {
            let events = place.events(&reply);
            let bills = billed(&events, turn.usage);
            Body::Events(place, events.into_iter().zip(bills).collect())
        } else {
            Body::Whole(place.whole(&reply).to_string(), turn.usage)
        };
        Answer { status: 200, fields: vec![(id, format!("req_{number:016}"))], body, fault }
    }

    /// The turn that answers, and its place in the script; no place for a side call.
    fn turn(&self, told: &Told) -> (Option<usize>, Turn) {
        if told.tools.is_empty() && self.script.without_tools == WithoutTools::Side {
            let side = &self.script.side;
            return (None, Turn::new().text(side.text.clone()).costs(side.usage));
        }
        let turn = self.script.turns.get(told.turn).map(|turn| turn.given(&told.results).clone());
        (Some(told.turn), turn.unwrap_or_else(|| Turn::new().text("The script has ended.")))
    }

    fn note(&self, seen: Seen) {
        let mut state = self.state();
        let answered = state.totals.by_status.entry(seen.status).or_default();
        *answered = answered.saturating_add(1);
        state.seen.push(seen);
    }

    /// Bills what was given since the last bill of the same answer.
    fn bill(&self, before: Usage, now: Usage) {
        let mut state = self.state();
        let tokens = &mut state.totals.tokens;
        let grown = |total: &mut u64, before: u64, now: u64| *total = total.saturating_add(now.saturating_sub(before));
        grown(&mut tokens.input, before.input, now.input);
        grown(&mut tokens.cached, before.cached, now.cached);
        grown(&mut tokens.cache_write, before.cache_write, now.cache_write);
        grown(&mut tokens.output, before.output, now.output);
        grown(&mut tokens.reasoning, before.reasoning, now.reasoning);
    }
}

impl Failing {
    fn is_met_by(self, tries: u64) -> bool {
        match self.times {
            Times::Always => true,
            Times::First(times) => tries <= times,
        }
    }
}

/// An event that is none, in a stream and instead of one.
const GARBAGE: &str = "{\"type\": \"message_\u{fffd}";

impl Answer {
    /// Sends it. What is sent is billed before, so that who has read it finds it billed.
    fn send(self, stream: &mut TcpStream, shared: &Shared) -> io::Result<After> {
        if self.fault == Some(Fault::NoJson) {
            let all = match &self.body {
                Body::Whole(_, bill) => Some(*bill),
                Body::Events(_, events) => events.last().map(|(_, bill)| *bill),
            };
            shared.bill(Usage::default(), all.unwrap_or_default());
            let page = "<html><body>upstream is having a moment</body></html>";
            stream.write_all(http::head(200, "text/html", Some(page.len()), &self.fields).as_bytes())?;
            stream.write_all(page.as_bytes())?;
            return Ok(After::Keep);
        }
        match self.body {
            Body::Whole(body, bill) => whole(stream, shared, (self.status, &self.fields), self.fault, (&body, bill)),
            Body::Events(place, events) => streamed(stream, shared, &self.fields, self.fault, (&place, events)),
        }
    }
}

fn whole(
    stream: &mut TcpStream,
    shared: &Shared,
    (status, fields): (u16, &[(&str, String)]),
    fault: Option<Fault>,
    (body, bill): (&str, Usage),
) -> io::Result<After> {
    if let Some(Fault::Slow { pause_ms }) = fault
        && !stays(stream, Some(pause_ms))?
    {
        return Ok(After::Close);
    }
    // All of it was written by then: there is no half of an answer that comes in one piece.
    shared.bill(Usage::default(), bill);
    if let Some(Fault::Hang { after_events: 0 }) = fault {
        stays(stream, None)?;
        return Ok(After::Close);
    }
    let garbage = fault == Some(Fault::Garbage { after_events: 0 });
    let body = if garbage { GARBAGE } else { body };
    stream.write_all(http::head(status, "application/json", Some(body.len()), fields).as_bytes())?;
    if let Some(Fault::Cut { after_events: 0 }) = fault {
        let half = body.as_bytes().get(..body.len() / 2).unwrap_or_default();
        stream.write_all(half)?;
        return Ok(After::Close);
    }
    stream.write_all(body.as_bytes())?;
    Ok(After::Keep)
}

fn streamed(
    stream: &mut TcpStream,
    shared: &Shared,
    fields: &[(&str, String)],
    fault: Option<Fault>,
    (at, events): (&Place, Vec<(Event, Usage)>),
) -> io::Result<After> {
    stream.write_all(http::head(200, at.stream_type(), None, fields).as_bytes())?;
    let mut before = Usage::default();
    // What is read is billed however little is sent.
    if let Some((_, first)) = events.first() {
        let read = Usage { output: 0, reasoning: 0, ..*first };
        shared.bill(before, read);
        before = read;
    }
    for (place, (event, bill)) in events.into_iter().enumerate() {
        match fault {
            Some(Fault::Cut { after_events }) if place == after_events => return Ok(After::Close),
            Some(Fault::Hang { after_events }) if place == after_events => {
                stays(stream, None)?;
                return Ok(After::Close);
            }
            Some(Fault::Garbage { after_events }) if place == after_events => {
                let garbage = Event { data: GARBAGE.to_owned(), ..event.clone() };
                stream.write_all(&http::chunk(&at.line(&garbage)))?;
            }
            Some(Fault::Breaks { after_events }) if place == after_events => {
                let refusal = Refusal::of("Too many tokens, please wait before trying again.").with(429);
                stream.write_all(&http::chunk(&at.breaks_off(&refusal)))?;
                stream.write_all(http::LAST_CHUNK.as_bytes())?;
                return Ok(After::Keep);
            }
            Some(Fault::Slow { pause_ms }) if !stays(stream, Some(pause_ms))? => return Ok(After::Close),
            _ => {}
        }
        shared.bill(before, bill);
        before = bill;
        stream.write_all(&http::chunk(&at.line(&event)))?;
    }
    stream.write_all(http::LAST_CHUNK.as_bytes())?;
    Ok(After::Keep)
}

/// Waits, for ever or so long, and says whether the client is still there. What it sends meanwhile is dropped: no client asks anything
/// before it has its answer.
fn stays(stream: &mut TcpStream, pause_ms: Option<u64>) -> io::Result<bool> {
    // A time-out of zero is none to the kernel.
    stream.set_read_timeout(pause_ms.map(|pause_ms| Duration::from_millis(pause_ms.max(1))))?;
    let stays = loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break false,
        }
    };
    stream.set_read_timeout(None)?;
    Ok(stays)
}
