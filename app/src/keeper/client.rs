//! The client's side: talk to the keeper, or become it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::errors::{CliError, Kind};
use crate::keeper::lock::{Lock, State};
use crate::keeper::message::{LINE_BYTES_MAX, Reply, Request};
use crate::keeper::{Keeper, ballast, hall, serve};
use crate::wiring::Purpose;

/// How long we wait for a keeper that holds the lock and has not opened its socket yet, or keeps for one short command only.
const KEEPER_STARTS_WITHIN: Duration = Duration::from_secs(10);

/// How often we look whether it has.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// Room for a request with a key of the longest kind, each byte of it escaped.
const KEY_LINE_BYTES: usize = 512 << 10;

/// A way to the keeper of a state directory.
pub(crate) enum Session {
    /// Another process keeps it.
    Remote(UnixStream),
    /// This process does, for as long as the session lasts.
    Local(Arc<Keeper>, State),
}

/// Finds the keeper of `state`, or becomes it.
pub(crate) fn connect(state: &State) -> Result<Session, CliError> {
    state.require()?;
    connect_for(state, Purpose::Work)
}

fn connect_for(state: &State, purpose: Purpose) -> Result<Session, CliError> {
    let begun = Instant::now();
    loop {
        let refused = match UnixStream::connect(state.socket()) {
            Ok(stream) => return Ok(Session::Remote(stream)),
            Err(refused) => refused,
        };
        if let Some(lock) = state.lock().map_err(|error| state.kept_out(&refused).unwrap_or(error))? {
            return Ok(Session::Local(Arc::new(Keeper::open(state.clone(), lock, purpose)?), state.clone()));
        }
        if begun.elapsed() > KEEPER_STARTS_WITHIN {
            return Err(CliError::new(
                Kind::State,
                format!("another process keeps `{}` and does not answer", state.root().display()),
            )
            .hint("wait for the other command to end, or look for a `selvedge` process that hangs"));
        }
        std::thread::sleep(LOOKS_EVERY);
    }
}

/// The same for whoever stops something: neither a full disk nor a configuration that does not load keeps them from becoming
/// the keeper (invariant 2, G5).
pub(crate) fn connect_to_stop(state: &State) -> Result<Session, CliError> {
    state.require_log()?;
    let connect = || connect_for(state, Purpose::Stop);
    connect().or_else(|error| if ballast::spend(state) { connect() } else { Err(error) })
}

/// Becomes the keeper of `state`, to stay; none where another one is at work. A keeper that answers stays itself, but a command may
/// be its own for a moment, and whoever starts `serve` does not lose to one: it is waited for, and `tell` says so.
pub(crate) fn stay(state: &State, tell: &dyn Fn(&str)) -> Result<Option<Lock>, CliError> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        if let Some(lock) = state.lock()? {
            return Ok(Some(lock));
        }
        if UnixStream::connect(state.socket()).is_ok() || begun.elapsed() > KEEPER_STARTS_WITHIN {
            return Ok(None);
        }
        if !std::mem::replace(&mut is_told, true) {
            tell(&format!("another process keeps `{}` for now; waiting for it to end", state.root().display()));
        }
        std::thread::sleep(LOOKS_EVERY);
    }
}

impl Session {
    /// Asks, hands what comes before the end to `each`, and returns the result, whose long lists came element by element.
    pub(crate) fn ask(self, request: &Request, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
        whole(each, |each| match self {
            Self::Local(keeper, state) => ask_local(&keeper, &state, request, each),
            Self::Remote(stream) => ask_remote(stream, request, each),
        })
    }
}

/// Asks a keeper that lives in this process and goes on living.
pub(crate) fn ask_here(
    keeper: &Arc<Keeper>,
    request: &Request,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let uid = rustix::process::getuid().as_raw();
    whole(each, |each| keeper.handle(request, uid, &hall::Always, each))
}

/// The result of `ask` with the lists that came element by element in it; everything else goes to `each`.
fn whole(
    each: &mut dyn FnMut(&Reply),
    ask: impl FnOnce(&mut dyn FnMut(&Reply)) -> Result<Value, CliError>,
) -> Result<Value, CliError> {
    let mut lists = BTreeMap::new();
    let result = ask(&mut |reply| match reply {
        Reply::Element { list, value } => lists.entry(list.clone()).or_insert_with(Vec::new).push(value.clone()),
        other => each(other),
    });
    result.map(|value| assembled(value, lists))
}

/// The result with its lists in it.
fn assembled(mut value: Value, lists: BTreeMap<String, Vec<Value>>) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.extend(lists.into_iter().map(|(list, items)| (list, Value::Array(items))));
    }
    value
}

fn ask_local(
    keeper: &Arc<Keeper>,
    state: &State,
    request: &Request,
    each: &mut dyn FnMut(&Reply),
) -> Result<Value, CliError> {
    let uid = rustix::process::getuid().as_raw();
    // What is said must not depend on who keeps the state directory.
    let mut each = |reply: &Reply| each(&reply.within_a_line());
    let mut answer = || keeper.handle(request, uid, &hall::Always, &mut each);
    let result = match request {
        Request::Run(_) | Request::Watch { .. } | Request::Approve { .. } | Request::Deny { .. } => {
            serve::meanwhile(keeper, state, answer).and_then(|result| result)
        }
        _ => answer(),
    };
    keeper.close();
    result
}

fn ask_remote(mut stream: UnixStream, request: &Request, each: &mut dyn FnMut(&Reply)) -> Result<Value, CliError> {
    let gone = |error: &dyn std::fmt::Display| {
        CliError::new(Kind::State, format!("the keeper went away: {error}"))
            .hint("what was recorded is kept; run the command again to see where things stand")
    };
    // It may hold a key, so it is wiped, and has room for one from the start: what a growing vector leaves behind is not.
    let mut line = Zeroizing::new(Vec::with_capacity(KEY_LINE_BYTES));
    serde_json::to_writer(&mut *line, request).map_err(|error| CliError::caused(Kind::Internal, &error))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(|error| gone(&error))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| gone(&error))?;
        if read == 0 {
            return Err(gone(&"no more replies"));
        }
        let reply: Reply = serde_json::from_slice(&line).map_err(|error| gone(&error))?;
        match reply {
            Reply::Done { value } => return Ok(value),
            Reply::Failed { code, message, hints } => return Err(Reply::into_error(&code, message, hints)),
            Reply::Item { .. }
            | Reply::Progress { .. }
            | Reply::Wrote { .. }
            | Reply::Kept { .. }
            | Reply::Element { .. }
            | Reply::Text { .. } => each(&reply),
        }
    }
}
