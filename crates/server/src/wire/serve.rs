//! One request: pick the dialect, decode, let the core answer, encode.

use super::activity::Activity;
use super::body::{self, Budget};
use super::cors::{self, Cors};
use super::settings::{Metrics, Settings};
use arc_swap::ArcSwap;
use bytes::Bytes;
use coffer_crypto::random::{Random, uuid};
use coffer_dialects::pick::{Spoken, not_built, pick};
use coffer_dialects::vault::{self, DecodeContext, Refusal, Rendering};
use coffer_engine::{Answer, Call, Remote, RequestId};
use coffer_types::{Error, Result};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What answers calls: the core, or a test's stand-in.
pub trait Serve: Clone + Send + Sync + 'static {
    fn serve(&self, call: Call) -> impl Future<Output = Result<Answer>> + Send;

    /// The origins that were allowed over the API, for listeners that say nothing of any.
    fn cors(&self) -> Option<Arc<coffer_core::settings::Cors>> {
        None
    }
}

impl Serve for Arc<coffer_core::Core> {
    async fn serve(&self, call: Call) -> Result<Answer> {
        coffer_core::Core::serve(self, call).await
    }

    fn cors(&self) -> Option<Arc<coffer_core::settings::Cors>> {
        coffer_core::Core::cors(self)
    }
}

/// What all connections of a listener share.
pub(super) struct Endpoint<S> {
    pub(super) core: S,
    /// Shared by all listeners.
    pub(super) ids: Arc<Ids>,
    /// Shared by all listeners.
    pub(super) budget: Arc<Budget>,
    pub(super) settings: ArcSwap<Settings>,
}

/// The other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) certificate: Option<Arc<coffer_engine::ClientCertificate>>,
}

impl<S: Serve> Endpoint<S> {
    /// Answers a request, whatever it is.
    pub(super) async fn respond(&self, peer: &Peer, activity: &Activity, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _in_flight = activity.begin(request.version() >= Version::HTTP_2);
        let settings = self.settings.load_full();
        let (parts, body) = request.into_parts();
        let mut origin = None;
        let outcome = self.answer(&settings, peer, &parts, body, &mut origin).await;
        let mut response = outcome.unwrap_or_else(|refusal| refusal.into_response(&parts.method));
        if let Some(origin) = origin {
            cors::allow(response.headers_mut(), origin);
        }
        settings.headers.apply(&mut response);
        response.map(Full::new)
    }

    async fn answer(
        &self,
        settings: &Settings,
        peer: &Peer,
        parts: &Parts,
        body: Incoming,
        origin: &mut Option<http::HeaderValue>,
    ) -> Result<Response<Bytes>, Refusal> {
        // Only browsers say where they come from; for others nothing is put together.
        let of_api = || self.core.cors().filter(|_| parts.headers.contains_key(header::ORIGIN));
        let of_api = if settings.cors.is_some() { None } else { of_api() };
        let of_api = of_api.map(|cors| Cors::new(&cors.origins, &cors.headers));
        if let Some(cors) = settings.cors.as_ref().or(of_api.as_ref()) {
            *origin = cors.check(parts)?;
            if let Some(response) = cors.preflight(parts) {
                return Ok(response);
            }
        }
        let spoken = pick(parts, settings.speaks);
        match spoken {
            Spoken::Vault => {}
            Spoken::Ui | Spoken::Nobody => return Err(Refusal::nothing_here()),
            Spoken::Aws(_) | Spoken::Azure | Spoken::Gcp { .. } => return not_built(spoken).ok_or_else(Refusal::nothing_here),
        }
        if settings.require_request_header && parts.headers.get("x-vault-request").is_none_or(|value| value.as_bytes() != b"true")
        {
            return Err(Refusal::by_listener(StatusCode::PRECONDITION_FAILED, "missing \"X-Vault-Request\" header"));
        }
        let ip = settings.forwarded.client(peer.ip, &parts.headers)?;
        let body = body::read(body, settings.max_body, settings.timeouts.body, &self.budget).await?;
        let id = self.ids.next();
        let cx = DecodeContext {
            id: id.clone(),
            remote: Remote { ip, port: peer.port, certificate: peer.certificate.clone() },
            listener: settings.traits.clone(),
            limits: &settings.limits,
        };
        let call = vault::decode(parts, &body, cx)?;
        drop(body);
        let metrics = call.path.as_str() == "sys/metrics";
        if matches!((settings.metrics, metrics), (Metrics::Only, false) | (Metrics::Refused, true)) {
            return Err(Refusal::nothing_here());
        }
        // Pinned where it stands: a call's future is some kilobytes, and to hand it on would copy them.
        let answered = pin!(self.core.serve(call));
        let result = within(settings.max_duration, answered).await?;
        Ok(vault::encode(result, Rendering { id: &id, head: parts.method == Method::HEAD }))
    }
}

/// Awaits `call`, at most for `limit`. Most calls are answered at once: those pay for no timer.
async fn within(
    limit: Option<Duration>,
    mut call: Pin<&mut impl Future<Output = Result<Answer>>>,
) -> Result<Result<Answer>, Refusal> {
    let at_once = poll_fn(|cx| {
        Poll::Ready(match unwinding(call.as_mut(), cx) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        })
    });
    if let Some(result) = at_once.await {
        return Ok(result);
    }
    let later = poll_fn(|cx| unwinding(call.as_mut(), cx));
    match limit {
        None => Ok(later.await),
        Some(limit) => tokio::time::timeout(limit, later).await.map_err(|_| Refusal::took_too_long()),
    }
}

/// A panic in a handler ends that call, not the connection with other calls on it.
fn unwinding(call: Pin<&mut impl Future<Output = Result<Answer>>>, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
    // The call is not polled again after it has panicked, so nobody sees what it left half-done.
    catch_unwind(AssertUnwindSafe(|| call.poll(cx))).unwrap_or_else(|_| {
        tracing::error!(target: "core", "a handler panicked");
        Poll::Ready(Err(Error::internal("a handler panicked")))
    })
}

/// Random bytes for request ids, drawn many at a time: they are no secret, and a draw costs as much as a short call.
pub(super) struct Ids {
    source: Arc<dyn Random>,
    pool: Mutex<Pool>,
}

struct Pool {
    bytes: [u8; 1024],
    used: usize,
}

impl Ids {
    pub(super) fn new(source: Arc<dyn Random>) -> Self {
        Self { source, pool: Mutex::new(Pool { bytes: [0; 1024], used: 1024 }) }
    }

    fn next(&self) -> RequestId {
        uuid(self).into()
    }
}

impl Random for Ids {
    fn fill(&self, out: &mut [u8]) {
        let mut pool = self.pool.lock();
        if out.len() > pool.bytes.len() - pool.used {
            if out.len() > pool.bytes.len() {
                return self.source.fill(out);
            }
            self.source.fill(&mut pool.bytes);
            pool.used = 0;
        }
        let from = pool.used;
        pool.used += out.len();
        out.copy_from_slice(&pool.bytes[from..from + out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::random::SeededRandom;

    #[test]
    fn ids_look_like_uuids_and_never_come_again() {
        let ids = Ids::new(Arc::new(SeededRandom::for_tests_only(1)));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let id = ids.next();
            let groups: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12]);
            assert!(seen.insert(id));
        }
        let mut long = [0; 2000];
        ids.fill(&mut long);
        assert!(long.iter().any(|b| *b != 0));
    }

    async fn outcome(limit: Option<Duration>, call: impl Future<Output = ()>) -> std::result::Result<(), ()> {
        let call = async {
            call.await;
            Ok(Answer::default())
        };
        within(limit, pin!(call)).await.map(|answer| assert!(answer.is_ok())).map_err(|_| ())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_end_in_time_or_are_given_up() {
        let limit = Some(Duration::from_secs(1));
        assert!(outcome(limit, async {}).await.is_ok());
        assert!(outcome(limit, tokio::time::sleep(Duration::from_millis(999))).await.is_ok());
        assert!(outcome(limit, tokio::time::sleep(Duration::from_secs(2))).await.is_err());
        assert!(outcome(None, tokio::time::sleep(Duration::from_secs(1_000_000))).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_our_fault_and_says_nothing() {
        for pause in [0, 10] {
            let call = async {
                if pause > 0 {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                panic!("canary")
            };
            let error = within(Some(Duration::from_secs(1)), pin!(call)).await.unwrap().err().unwrap();
            assert_eq!((error.kind(), error.public()), (coffer_types::Kind::Internal, "internal error"));
        }
    }
}
