//! The git door: one exchange of a client of git, from its request to its answer. The request is read into a lane, its
//! references are judged here, its objects by the keeper; nothing of a request is forwarded to anybody.

use std::sync::{Mutex, PoisonError};

use selvedge_domain::CommitId;

use super::packet;
use super::push::{BadPush, HEAD_BYTES_MAX, Head, Own};
use super::report::{self, Outcome};
use super::route::{Coding, Route, route};
use super::spool::{Lane, Lanes, Taken};
use super::wanted::{GitAnswer, GitCall, GitHost, GitService, GitWanted};
use crate::http::Context;
use crate::http::body::{BodyReader, Framing};
use crate::http::peer::{Peer, RelayError};
use crate::http::refusal::{Refusal, Unserved};
use crate::http::request::Exchange;
use crate::protocol::Layer;

/// Longest request: a pack of what a run did.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Longest request of a fetch.
const FETCH_BYTES_MAX: u64 = 4 << 20;

/// Written to a client at once.
const PIECE_BYTES: u64 = 64 << 10;

/// One run's repository, as its door knows it.
#[derive(Debug)]
pub(crate) struct GitDoor {
    pub(crate) host: GitHost,
    pub(crate) lanes: Lanes,
    /// What clients were last told the branch is.
    at: Mutex<Option<CommitId>>,
}

/// What is written to a client.
enum Written {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of the lane's answer.
    Spooled(u64),
}

impl GitDoor {
    pub(crate) fn new(host: GitHost, lanes: Lanes) -> Self {
        Self { host, lanes, at: Mutex::default() }
    }

    fn own(&self) -> Own {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Own { reference: self.host.reference.clone(), at }
    }

    fn remember(&self, at: Option<CommitId>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Serves one request.
    pub(crate) async fn serve(&self, context: &Context, client: &mut Peer, request: &Exchange) -> Result<(), Unserved> {
        let route = route(request, &self.host.path).ok_or(Refusal::NotGit)?;
        let taken = self.lanes.take().await.ok_or(Refusal::NotServed)?;
        let served = self.serve_on(&taken, route, context, client, request).await;
        match served {
            // The keeper may still be writing into the lane.
            Err(Unserved::Refused(Refusal::NotServed)) => taken.lose(),
            _ => taken.give_back(),
        }
        served
    }

    async fn serve_on(
        &self,
        taken: &Taken<'_>,
        route: Route,
        context: &Context,
        client: &mut Peer,
        request: &Exchange,
    ) -> Result<(), Unserved> {
        let lane = &taken.lane;
        let (content, written) = match route {
            Route::Advertise(service) => (advertisement(service), self.advertise(lane, service, context).await?),
            Route::Fetch(coding) => {
                let read = read_request(lane, client, request, FETCH_BYTES_MAX).await?;
                let bytes = match coding {
                    Coding::Plain => read.bytes,
                    Coding::Gzip => lane.decode(read.bytes).map_err(|_| Refusal::NotGit)?,
                };
                ("application/x-git-upload-pack-result", self.fetch(lane, bytes, context).await?)
            }
            Route::Push => {
                let read = read_request(lane, client, request, REQUEST_BYTES_MAX).await?;
                ("application/x-git-receive-pack-result", Written::Bytes(self.push(lane, &read, context).await?))
            }
        };
        write(lane, client, content, request.closes, written).await
    }

    async fn advertise(&self, lane: &Lane, service: GitService, context: &Context) -> Result<Written, Unserved> {
        match ask(lane, GitWanted::Advertise(service), context).await? {
            GitAnswer::Served { bytes, at } => {
                self.remember(at);
                Ok(Written::Spooled(bytes))
            }
            GitAnswer::Refused { because, .. } => Ok(Written::Bytes(refused_before_refs(service, &because))),
            GitAnswer::Pushed => Err(Refusal::NotServed.into()),
        }
    }

    async fn fetch(&self, lane: &Lane, bytes: u64, context: &Context) -> Result<Written, Unserved> {
        match ask(lane, GitWanted::Fetch { bytes }, context).await? {
            GitAnswer::Served { bytes, .. } => Ok(Written::Spooled(bytes)),
            GitAnswer::Refused { because, .. } => Ok(Written::Bytes(error_packet(&because))),
            GitAnswer::Pushed => Err(Refusal::NotServed.into()),
        }
    }

    /// Judges a push, has it carried out, and says what became of it in the client's own words.
    async fn push(&self, lane: &Lane, read: &ReadIn, context: &Context) -> Result<Vec<u8>, Unserved> {
        let refused = |code, detail: &str| context.link.refused(Layer::Git, code, detail);
        let mut rest = read.start.as_slice();
        let head = match Head::take(&mut rest) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(fatal(&BadPush::Command)),
            Err(bad) => {
                refused("bad_push", &bad.to_string());
                return Ok(fatal(&bad));
            }
        };
        // A client that has much to send first tries whether it may speak.
        if head.commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        let moved = match head.judge(&self.own()) {
            Ok(moved) => moved,
            Err(because) => {
                let foreign = head.commands.iter().find(|command| command.reference != self.host.reference);
                let named = foreign.or(head.commands.first()).map_or("", |command| command.reference.as_str());
                refused("push_refused", named);
                report::write(&head, Outcome::Refused(&because.to_string()), &mut out);
                return Ok(out);
            }
        };
        let pack_at = u64::try_from(read.start.len() - rest.len()).unwrap_or(u64::MAX);
        let (old, new) = (moved.old, moved.new);
        let wanted = GitWanted::Push { old, new: new.clone(), pack_at, bytes: read.bytes };
        match ask(lane, wanted, context).await? {
            GitAnswer::Pushed => {
                self.remember(Some(new));
                report::write(&head, Outcome::Accepted, &mut out);
            }
            GitAnswer::Refused { because, .. } => report::write(&head, Outcome::Refused(&because), &mut out),
            GitAnswer::Served { .. } => return Err(Refusal::NotServed.into()),
        }
        Ok(out)
    }
}

async fn ask(lane: &Lane, wanted: GitWanted, context: &Context) -> Result<GitAnswer, Unserved> {
    let call = GitCall { lane: lane.number, wanted };
    context.link.git(call).await.ok_or(Unserved::Refused(Refusal::NotServed))
}

/// A request that was read into its lane.
struct ReadIn {
    bytes: u64,
    /// As much of its beginning as the head of a push may have.
    start: Vec<u8>,
}

async fn read_request(lane: &Lane, client: &mut Peer, request: &Exchange, bytes_max: u64) -> Result<ReadIn, Unserved> {
    let body = BodyReader::begin(request.framing, bytes_max).map_err(Refusal::from)?;
    if request.expects_continue && request.framing != Framing::Empty {
        client.write(b"HTTP/1.1 100 \r\n\r\n").await.map_err(|_| Unserved::ClientGone)?;
    }
    lane.clear().map_err(|_| Refusal::NotServed)?;
    let mut read = ReadIn { bytes: 0, start: Vec::new() };
    let mut is_kept = true;
    let keep = |piece: &[u8]| {
        is_kept &= lane.write(piece, read.bytes).is_ok();
        read.bytes = read.bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        // One more than is read of a head, so that a longer one is seen to be.
        let room = (HEAD_BYTES_MAX + packet::PACKET_BYTES_MAX).saturating_sub(read.start.len());
        read.start.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    };
    match client.read_body_with(body, keep).await {
        Ok(()) if is_kept => Ok(read),
        // The disk is full, or the file system's limit is reached: the keeper says so elsewhere.
        Ok(()) => Err(Refusal::NotServed.into()),
        Err(RelayError::Malformed(bad)) => Err(Refusal::Body(bad).into()),
        Err(_) => Err(Unserved::ClientGone),
    }
}

async fn write(lane: &Lane, client: &mut Peer, content: &str, closes: bool, written: Written) -> Result<(), Unserved> {
    let bytes = match &written {
        Written::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        Written::Spooled(bytes) => *bytes,
    };
    let connection = if closes { "connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 \r\ncontent-type: {content}\r\ncache-control: no-cache\r\ncontent-length: {bytes}\r\n{connection}\r\n"
    );
    client.write(head.as_bytes()).await.map_err(|_| Unserved::ClientGone)?;
    match written {
        Written::Bytes(bytes) => client.write(&bytes).await.map_err(|_| Unserved::ClientGone),
        Written::Spooled(bytes) => {
            let mut at = 0;
            while at < bytes {
                let mut piece = vec![0; usize::try_from(PIECE_BYTES.min(bytes - at)).unwrap_or_default()];
                lane.read(&mut piece, at).map_err(|_| Unserved::ClientGone)?;
                client.write(&piece).await.map_err(|_| Unserved::ClientGone)?;
                at += PIECE_BYTES;
            }
            Ok(())
        }
    }
}

fn advertisement(service: GitService) -> &'static str {
    match service {
        GitService::UploadPack => "application/x-git-upload-pack-advertisement",
        GitService::ReceivePack => "application/x-git-receive-pack-advertisement",
    }
}

/// A refusal where references are expected: git shows it as `remote error`.
fn refused_before_refs(service: GitService, because: &str) -> Vec<u8> {
    let name = match service {
        GitService::UploadPack => "git-upload-pack",
        GitService::ReceivePack => "git-receive-pack",
    };
    let mut out = Vec::new();
    packet::write(format!("# service={name}\n").as_bytes(), &mut out);
    packet::write_flush(&mut out);
    out.extend(error_packet(because));
    out
}

fn error_packet(because: &str) -> Vec<u8> {
    let mut out = Vec::new();
    packet::write(format!("ERR {}\n", report::shown(because)).as_bytes(), &mut out);
    out
}

/// A refusal of a push whose head could not be read: on the band that every client shows, since each has it.
fn fatal(because: &BadPush) -> Vec<u8> {
    let mut out = Vec::new();
    packet::write(format!("\x03{}\n", report::shown(&because.to_string())).as_bytes(), &mut out);
    packet::write_flush(&mut out);
    out
}
