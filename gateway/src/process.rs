//! The door's process: read who it serves, make its keys, put up its fences, take its listeners, serve until its keeper
//! closes or is gone. Owns the order of these steps.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::confine;
use crate::courier;
use crate::dial::{Dialer, SystemResolver};
use crate::dns;
use crate::git::door::GitDoor;
use crate::git::spool::Lanes;
use crate::http::budget::Budgets;
use crate::http::certificates::{BadAuthority, RunAuthority};
use crate::http::{self, Context, WHOLE_BODIES_MAX};
use crate::identity;
use crate::link::{ANSWER_TIMEOUT, Ended, Link};
use crate::loan::Loans;
use crate::model::door::ModelDoor;
use crate::protocol::{Hello, Lease, ListenerKind};
use crate::scope::Scope;
use crate::tools::door::ToolDoor;
use crate::tools::over_pipe::Pipes;
use crate::tools::wanted::ToolHost;
use crate::wire::descriptors::{self, PassError};
use crate::wire::frame::{self, FROM_DOOR_BYTES_MAX, FrameError, TO_DOOR_BYTES_MAX};
use crate::wire::hello::WireHello;
use crate::wire::message::{BadMessage, FromDoor, ToDoor};

/// Names looked up at once; each takes a thread, and a resolver that hangs must not take many.
const LOOKUPS_MAX: usize = 8;

/// Why a door ended before it served.
#[derive(Debug, thiserror::Error)]
enum DoorError {
    #[error("the channel is not a socket")]
    Channel(#[source] std::io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] BadMessage),
    #[error(transparent)]
    Keys(#[from] BadAuthority),
    #[error(transparent)]
    Listeners(#[from] PassError),
    #[error("the runtime did not start")]
    Runtime(#[source] std::io::Error),
}

/// Runs a door whose channel is standard input; what an executable named [`crate::DOOR_NAME`] does.
pub fn main() -> ExitCode {
    let channel = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Ok(mut channel) = channel else { return ExitCode::FAILURE };
    let hello = match frame::read(&mut channel, TO_DOOR_BYTES_MAX) {
        Ok(ToDoor::Hello(hello)) => *hello,
        Ok(ToDoor::Errand(errand)) => {
            courier::run(&mut channel, *errand);
            return ExitCode::SUCCESS;
        }
        Ok(
            ToDoor::Listeners { .. }
            | ToDoor::Answer { .. }
            | ToDoor::Identity { .. }
            | ToDoor::Git { .. }
            | ToDoor::Loan { .. }
            | ToDoor::Widened { .. }
            | ToDoor::Close {},
        )
        | Err(_) => return ExitCode::FAILURE,
    };
    match prepare(hello, &mut channel).and_then(|prepared| serve(prepared, channel)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

struct Prepared {
    context: Context,
    tools: Option<ToolHost>,
    messages: tokio::sync::mpsc::Receiver<FromDoor>,
    listeners: Vec<(ListenerKind, OwnedFd)>,
    lease: Lease,
}

/// Everything before the first client. A failure is told to the keeper while it still waits for readiness.
fn prepare(hello: WireHello, channel: &mut UnixStream) -> Result<Prepared, DoorError> {
    let made = Hello::try_from(hello).map_err(DoorError::from).and_then(|hello| {
        let authority = RunAuthority::make(&hello.ca_common_name, hello.life)?;
        let dialer = Dialer::new(&hello.roots_pem, Box::new(SystemResolver), hello.proxy.clone())?;
        Ok((hello, authority, dialer))
    });
    let (hello, authority, dialer) = made.inspect_err(|error| {
        let failed = FromDoor::Failed { why: error.to_string() };
        // The keeper may be gone as well; the exit status then says enough.
        let _ = frame::write(channel, &failed, FROM_DOOR_BYTES_MAX);
    })?;
    let scope = Scope::of(&hello);
    let fences = confine::confine(scope.ports()).into_iter().map(Into::into).collect();
    frame::write(channel, &FromDoor::Ready { ca_pem: authority.certificate_pem(), fences }, FROM_DOOR_BYTES_MAX)?;
    let loans = Loans::begin(hello.loans);
    let mut listeners = descriptors::receive(channel, &loans)?;
    let lanes = Lanes::of(&mut listeners);
    let git = hello.git.map(|host| GitDoor::new(host, lanes));
    let (link, messages) = Link::new(ANSWER_TIMEOUT);
    let whole_bodies = Arc::new(Semaphore::new(WHOLE_BODIES_MAX));
    let (tokens, asking) = (hello.tokens, hello.asking.map(|asking| asking.endpoint));
    let model = hello.model.map(ModelDoor::new);
    let (graphql, limits, budgets) = (hello.graphql, hello.limits, Budgets::begin(hello.budgets));
    let context = Context {
        scope,
        link,
        loans,
        git,
        tokens,
        asking,
        model,
        // Its pipes are taken up once the runtime is there.
        tools: None,
        graphql,
        authority,
        dialer,
        limits,
        budgets,
        whole_bodies,
    };
    Ok(Prepared { context, tools: hello.tools, messages, listeners, lease: hello.lease })
}

fn serve(prepared: Prepared, channel: UnixStream) -> Result<(), DoorError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().max_blocking_threads(LOOKUPS_MAX).build();
    let runtime = runtime.map_err(DoorError::Runtime)?;
    let served = runtime.block_on(serve_until_closed(prepared, channel));
    // A name lookup that hangs must not keep the process.
    runtime.shutdown_background();
    served
}

async fn serve_until_closed(prepared: Prepared, channel: UnixStream) -> Result<(), DoorError> {
    let Prepared { mut context, tools, mut messages, mut listeners, lease } = prepared;
    let pipes = Pipes::of(&mut listeners).map_err(DoorError::Channel)?;
    context.tools = tools.map(|host| ToolDoor::new(host, pipes));
    channel.set_nonblocking(true).map_err(DoorError::Channel)?;
    let channel = tokio::net::UnixStream::from_std(channel).map_err(DoorError::Channel)?;
    let (reader, writer) = channel.into_split();
    let context = Arc::new(context);
    for (kind, listener) in listeners {
        listen(kind, listener, &context).map_err(DoorError::Channel)?;
    }
    let (close, closing) = tokio::sync::oneshot::channel();
    let hearing = async {
        match context.link.hear(reader, &context.loans, &context.scope).await {
            // What was refused last is still told; telling ends by itself.
            Ended::Closed => drop(close.send(())),
            Ended::KeeperGone => return,
        }
        std::future::pending().await
    };
    tokio::select! {
        () = hearing => {}
        () = context.link.tell(writer, &mut messages, closing) => {}
    }
    // No door speaks with the lease yet. It lives exactly as long as the doors it is for.
    drop(lease);
    Ok(())
}

fn listen(kind: ListenerKind, listener: OwnedFd, context: &Arc<Context>) -> std::io::Result<()> {
    match kind {
        // Lanes and pipes are no listeners, and were taken out of them.
        ListenerKind::GitRequest | ListenerKind::GitAnswer | ListenerKind::ToolInput | ListenerKind::ToolOutput => {}
        ListenerKind::Dns => {
            let socket = UdpSocket::from(listener);
            socket.set_nonblocking(true)?;
            tokio::spawn(dns::serve(tokio::net::UdpSocket::from_std(socket)?, Arc::clone(context)));
        }
        ListenerKind::Identity => {
            let listener = TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            tokio::spawn(identity::serve(tokio::net::TcpListener::from_std(listener)?, Arc::clone(context)));
        }
        ListenerKind::Proxy | ListenerKind::CapturedTls | ListenerKind::CapturedClear => {
            let listener = TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            tokio::spawn(http::serve(tokio::net::TcpListener::from_std(listener)?, kind, Arc::clone(context)));
        }
    }
    Ok(())
}
