//! The client's side.

use super::frame::{CONTENT_TYPE, MOST, frame, read_status, unframe};
use super::{Code, Key, Place, Status, Verb, protobuf};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

/// Somebody may have to answer a question first.
const WAIT: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(10);

type Sender = SendRequest<Full<Bytes>>;

/// Calls one key service, over one connection that it keeps. Works from any thread and needs no runtime.
pub struct Caller {
    place: Place,
    runtime: tokio::runtime::Runtime,
    sender: Mutex<Option<Sender>>,
}

impl Caller {
    /// Connects at the first call.
    ///
    /// # Errors
    /// Where the system gives no event loop.
    pub fn new(place: Place) -> Result<Self, Status> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Status::new(Code::Internal, format!("the system gives no event loop: {e}")))?;
        Ok(Self { place, runtime, sender: Mutex::new(None) })
    }

    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Encrypts a data key; gives the text that stands as `enc` in a file.
    ///
    /// # Errors
    /// The service's status, or [`Code::Unavailable`] where there is no service.
    pub fn encrypt(&self, key: &Key, plaintext: &[u8]) -> Result<String, Status> {
        let found = self.call(Verb::Encrypt, key, plaintext)?;
        String::from_utf8(found.to_vec())
            .map_err(|_| Status::new(Code::Internal, "the service gave a ciphertext that is no text"))
    }

    /// Decrypts what [`Caller::encrypt`] gave.
    ///
    /// # Errors
    /// As there.
    pub fn decrypt(&self, key: &Key, enc: &str) -> Result<Zeroizing<Vec<u8>>, Status> {
        self.call(Verb::Decrypt, key, enc.as_bytes())
    }

    fn call(&self, verb: Verb, key: &Key, payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, Status> {
        let message = frame(&protobuf::request(key, payload));
        let found = self.runtime.block_on(async {
            tokio::time::timeout(WAIT, self.exchange(verb, &message))
                .await
                .unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, format!("no answer within {} s", WAIT.as_secs()))))
        });
        let found =
            found.map_err(|status| Status { message: format!("key service {}: {}", self.place, status.message), ..status })?;
        if found.is_empty() {
            return Err(Status::new(Code::Internal, format!("key service {}: the answer is empty", self.place)));
        }
        Ok(found)
    }

    async fn exchange(&self, verb: Verb, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, Status> {
        let broke = |e: hyper::Error| Status::new(Code::Unavailable, format!("the connection broke off: {e}"));
        let authority = match &self.place {
            Place::Tcp(address) => address.as_str(),
            Place::Unix(_) => "localhost",
        };
        let request = http::Request::post(format!("http://{authority}{}", verb.path()))
            .header("content-type", CONTENT_TYPE)
            .header("te", "trailers")
            .header("user-agent", concat!("coffer/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::copy_from_slice(message)))
            .map_err(|_| Status::new(Code::InvalidArgument, "the address can't stand in a request"))?;
        let mut sender = self.connected().await?;
        let (head, body) = sender.send_request(request).await.map_err(broke)?.into_parts();
        if head.status != 200 {
            return Err(Status::new(Code::Unavailable, format!("it answered {}; is that a key service?", head.status)));
        }
        let body = Limited::new(body, MOST)
            .collect()
            .await
            .map_err(|e| Status::new(Code::Unavailable, format!("the answer broke off: {e}")))?;
        match body.trailers() {
            Some(trailers) => read_status(trailers)?,
            None => read_status(&head.headers)?,
        }
        let bytes = Zeroizing::new(body.to_bytes().to_vec());
        protobuf::read_response(unframe(&bytes)?)
    }

    async fn connected(&self) -> Result<Sender, Status> {
        let kept = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sender) = kept.filter(|sender| !sender.is_closed()) {
            return Ok(sender);
        }
        let absent = |e: &dyn std::fmt::Display| Status::new(Code::Unavailable, format!("nobody listens there: {e}"));
        let connect = async {
            Ok::<_, std::io::Error>(match &self.place {
                Place::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream) as Box<dyn Stream>
                }
                Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        };
        let stream = tokio::time::timeout(CONNECT, connect).await.map_err(|e| absent(&e))?.map_err(|e| absent(&e))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Status::new(Code::Unavailable, format!("no HTTP/2 is spoken there: {e}")))?;
        tokio::spawn(async move {
            // The request on its way reports the failure; nobody else waits for it.
            connection.await.unwrap_or_default();
        });
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        Ok(sender)
    }
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}
