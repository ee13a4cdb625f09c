//! The identity door: the SPIFFE Workload API on a listener inside the sandbox. Who asks is told by the listener a connection
//! came in on, and by nothing the client says. Holds no signing key: it makes a workload's key pair, asks the keeper for
//! everything else, and passes the answer on. Never knows why something is granted.

#[expect(dead_code, unreachable_pub, reason = "generated from the specification, as it is")]
pub(crate) mod api;
mod holder;
mod service;
pub(crate) mod wanted;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::http::Context;
use api::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use service::WorkloadApi;

/// Connections served at once. A client library opens one; a sandbox has a handful of programs. More wait in the kernel's
/// queue.
const CONNECTIONS_MAX: usize = 16;

/// Calls at once on one connection: five methods, and a few that overlap.
const STREAMS_MAX: u32 = 16;

/// Largest request. The largest that means anything holds one token to be validated.
pub(crate) const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Largest set of header fields: gRPC's own, and what tracing adds.
const HEADER_BYTES_MAX: u32 = 8 * 1024;

/// Largest window for what a client sends; requests are small, so there is no reason to hold more.
const WINDOW_BYTES: u32 = 64 * 1024;

/// How often a silent client is asked whether it is there, and how long it may take: streams stay open for hours.
const ARE_YOU_THERE: Duration = Duration::from_secs(60);

/// How long to wait after the kernel refused to accept, for descriptors to become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the door ends.
pub(crate) async fn serve(listener: TcpListener, context: Arc<Context>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let api = Arc::new(WorkloadApi::new(context));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            serve_client(client, api).await;
            drop(slot);
        });
    }
}

async fn serve_client(client: TcpStream, api: Arc<WorkloadApi>) {
    let _ = client.set_nodelay(true);
    let service = SpiffeWorkloadApiServer::new(api).max_decoding_message_size(REQUEST_BYTES_MAX);
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .keep_alive_interval(ARE_YOU_THERE)
        .keep_alive_timeout(ARE_YOU_THERE);
    // A client that speaks something else than HTTP/2 is not answered: there is no way to answer it.
    let _not_spoken = server.serve_connection(TokioIo::new(client), TowerToHyperService::new(service)).await;
}
