//! One connection, from its first byte to its last.

use super::activity::{Activity, Verdict};
use super::serve::{Endpoint, Peer, Serve};
use super::stream::{Stream, Watched};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::watch;

/// HTTP/1.1 and HTTP/2, whichever the client speaks.
pub(super) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Headers hold a token and a path, not more.
    builder.http1().max_buf_size(64 << 10);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(250).max_header_list_size(64 << 10);
    builder
}

/// Serves requests until the client goes, is too slow, or the server stops.
pub(super) async fn serve<S: Serve>(
    builder: &auto::Builder<TokioExecutor>,
    endpoint: Arc<Endpoint<S>>,
    stream: Stream,
    peer: Peer,
    mut stop: watch::Receiver<bool>,
) {
    let activity = Arc::new(Activity::new());
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let shared = Arc::new((endpoint.clone(), peer, activity.clone()));
    let service = service_fn(move |request| {
        let shared = shared.clone();
        // Boxed, so that an idle connection does not hold the room of a call.
        Box::pin(async move {
            let (endpoint, peer, activity) = &*shared;
            Ok::<_, Infallible>(endpoint.respond(peer, activity, request).await)
        })
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut look = pin!(tokio::time::sleep(std::time::Duration::ZERO));
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            // A client that broke off or spoke no HTTP is its own affair.
            _ = connection.as_mut() => return,
            () = look.as_mut() => match activity.verdict(&endpoint.settings.load().timeouts) {
                Verdict::Wait(time) => look.as_mut().reset(tokio::time::Instant::now() + time),
                Verdict::Slow => return,
                // Said farewell and still not gone.
                Verdict::Idle if leaving => return,
                Verdict::Idle => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                    look.as_mut().reset(tokio::time::Instant::now() + std::time::Duration::from_secs(1));
                }
            },
            _ = stop.wait_for(|stop| *stop), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
