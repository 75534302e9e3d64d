//! The server's side.

use super::frame::{CONTENT_TYPE, MOST, frame, trailers, unframe};
use super::{Code, Key, Place, Status, Verb, protobuf};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Who has the keys. Both calls may block: they run on threads of their own.
pub trait Keys: Send + Sync + 'static {
    /// # Errors
    /// What the caller is told.
    fn encrypt(&self, key: &Key, plaintext: &[u8]) -> Result<String, Status>;

    /// # Errors
    /// What the caller is told.
    fn decrypt(&self, key: &Key, enc: &str) -> Result<Zeroizing<Vec<u8>>, Status>;
}

/// To the last byte of a request: they are small.
const READ: Duration = Duration::from_secs(10);
/// Calls at once. More wait: gpg and people answer one at a time anyway.
const AT_ONCE: usize = 64;
/// Connections at once; more are closed.
const CONNECTIONS: usize = 256;

/// A key service that listens and does not answer yet.
pub struct Bound {
    runtime: tokio::runtime::Runtime,
    listener: Listener,
    place: Place,
    /// The socket goes when the service ends.
    _unlink: Option<Unlink>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Removes the socket that it made.
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap_or_default();
    }
}

impl Bound {
    /// Listens. A socket is for its owner alone.
    ///
    /// # Errors
    /// The system's: the address is taken, the folder may not be written.
    pub fn new(place: &Place) -> Result<Self, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (listener, place) = runtime.block_on(async {
            Ok::<_, std::io::Error>(match place {
                Place::Tcp(address) => {
                    let listener = TcpListener::bind(address).await?;
                    let place = Place::Tcp(listener.local_addr()?.to_string());
                    (Listener::Tcp(listener), place)
                }
                Place::Unix(path) => (Listener::Unix(own_socket(path)?), place.clone()),
            })
        })?;
        let unlink = if let Place::Unix(path) = &place { Some(Unlink(path.clone())) } else { None };
        Ok(Self { runtime, listener, place, _unlink: unlink })
    }

    /// Where it listens, with the port that the system chose.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Answers until `until` ends.
    pub fn serve(self, keys: Arc<dyn Keys>, until: impl Future<Output = ()>) {
        let calls = Arc::new(Semaphore::new(AT_ONCE));
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        self.runtime.block_on(async {
            let mut until = std::pin::pin!(until);
            loop {
                let stream: std::io::Result<Box<dyn Stream>> = tokio::select! {
                    () = &mut until => return,
                    accepted = self.listener.accept() => accepted,
                };
                let Ok(stream) = stream else {
                    // Out of descriptors, most likely: those that are open will close.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let Ok(room) = connections.clone().try_acquire_owned() else { continue };
                let (keys, calls) = (keys.clone(), calls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(keys.clone(), calls.clone(), request));
                    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .timer(TokioTimer::new())
                        .keep_alive_interval(Duration::from_secs(60))
                        .max_concurrent_streams(16)
                        .serve_connection(TokioIo::new(stream), service);
                    // A connection that broke off is its client's matter.
                    served.await.unwrap_or_default();
                    drop(room);
                });
            }
        });
        // Whoever asks a person or a program right now is not waited for.
        self.runtime.shutdown_background();
    }
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// The socket is bound in a folder that nobody else enters and then moved to its name, so that it is never open to others.
fn own_socket(path: &std::path::Path) -> Result<UnixListener, std::io::Error> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if path.symlink_metadata().is_ok() {
        return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "there is something of that name already"));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    std::fs::DirBuilder::new().mode(0o700).create(&beside)?;
    let inner = beside.join("s");
    let made = UnixListener::bind(&inner).and_then(|listener| {
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o600))?;
        // Unlike a rename this never replaces what is there.
        std::fs::hard_link(&inner, path)?;
        Ok(listener)
    });
    std::fs::remove_file(&inner).unwrap_or_default();
    std::fs::remove_dir(&beside).unwrap_or_default();
    made
}

async fn answer(
    keys: Arc<dyn Keys>,
    calls: Arc<Semaphore>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Answer>, Infallible> {
    let outcome = call(keys, &calls, request).await;
    let data = outcome.as_ref().ok().map(|message| Bytes::copy_from_slice(&frame(message)));
    let status = outcome.as_ref().map(|_| ());
    let mut response = http::Response::new(Answer { data, trailers: Some(trailers(status)) });
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

async fn call(keys: Arc<dyn Keys>, calls: &Semaphore, request: http::Request<Incoming>) -> Result<Zeroizing<Vec<u8>>, Status> {
    let verb = match request.uri().path() {
        path if path == Verb::Encrypt.path() => Verb::Encrypt,
        path if path == Verb::Decrypt.path() => Verb::Decrypt,
        _ => return Err(Status::new(Code::Unimplemented, "unknown service or method")),
    };
    let is_grpc =
        request.headers().get("content-type").is_some_and(|value| value.as_bytes().starts_with(CONTENT_TYPE.as_bytes()));
    if !is_grpc || request.method() != http::Method::POST {
        return Err(Status::new(Code::InvalidArgument, "a call is a POST of application/grpc"));
    }
    let body = tokio::time::timeout(READ, Limited::new(request.into_body(), MOST).collect())
        .await
        .map_err(|_| Status::new(Code::DeadlineExceeded, "the request did not end in time"))?
        .map_err(|_| Status::new(Code::ResourceExhausted, format!("the request broke off or is over {MOST} bytes")))?;
    let bytes = Zeroizing::new(body.to_bytes().to_vec());
    let (key, payload) = protobuf::read_request(unframe(&bytes)?)?;
    // The semaphore is never closed.
    let _turn = calls.acquire().await.map_err(|_| Status::new(Code::Unavailable, "the service ends"))?;
    let work = move || match verb {
        Verb::Encrypt => keys.encrypt(&key, &payload).map(|enc| protobuf::response(enc.as_bytes())),
        Verb::Decrypt => {
            let enc =
                std::str::from_utf8(&payload).map_err(|_| Status::new(Code::InvalidArgument, "the ciphertext is no text"))?;
            keys.decrypt(&key, enc).map(|plaintext| protobuf::response(&plaintext))
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Status::new(Code::Internal, "the service failed")))
}

/// At most one piece of data, then the trailers.
struct Answer {
    data: Option<Bytes>,
    trailers: Option<http::HeaderMap>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(next.map(Ok))
    }
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}
