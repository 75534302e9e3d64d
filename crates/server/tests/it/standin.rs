//! A stand-in for the core, a server that it stands in, and a client that sends bytes as they are.

use coffer_core::settings::Cors;
use coffer_crypto::random::{Random, SystemRandom};
use coffer_engine::{Answer, Call, Credential, Reply};
use coffer_server::config::{Bind, Listener};
use coffer_server::wire::{Defaults, Serve, Wire, bind};
use coffer_types::{Error, Json, Object, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers by the first segment of the path.
#[derive(Clone, Default)]
pub(crate) struct StandIn {
    pub(crate) calls: Arc<AtomicUsize>,
    /// Origins that were allowed over the API.
    pub(crate) cors: Arc<std::sync::Mutex<Option<Arc<Cors>>>>,
}

impl Serve for StandIn {
    async fn serve(&self, call: Call) -> Result<Answer> {
        self.calls.fetch_add(1, SeqCst);
        let number = || call.path.as_str().rsplit('/').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        match call.path.as_str().split('/').next() {
            Some("sleep") => tokio::time::sleep(Duration::from_millis(number())).await,
            Some("panic") => panic!("canary"),
            Some("denied") => return Err(Error::denied()),
            Some("broken") => return Err(Error::internal("a cause")),
            Some("big") => {
                let text = "x".repeat(usize::try_from(number()).unwrap());
                return Ok(Reply::data(Object::new().with("text", text)).into_answer());
            }
            _ => {}
        }
        let token = match &call.credential {
            Credential::Token(token) => token.expose().clone(),
            Credential::None | Credential::Basic(_) => String::new(),
        };
        let data = Object::new()
            .with("operation", call.operation.as_str())
            .with("path", call.path.as_str())
            .with("token", token)
            .with("ip", call.remote.ip.map(|ip| ip.to_string()))
            .with("certificate", call.remote.certificate.as_ref().map_or(0, |c| c.leaf.len()))
            .with("beside", call.remote.certificate.as_ref().map_or(0, |c| c.others.len()))
            .with("body", Json::Object(call.fields.body))
            .with("metrics", call.listener.unauthed_metrics);
        Ok(Reply::data(data).into_answer())
    }

    fn cors(&self) -> Option<Arc<Cors>> {
        self.cors.lock().unwrap().clone()
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) wire: Wire<StandIn>,
    pub(crate) address: SocketAddr,
    pub(crate) core: StandIn,
    pub(crate) listener: Listener,
}

pub(crate) const DEFAULTS: fn() -> Defaults = || Defaults { max_request_duration: Some(Duration::from_secs(90)), hostname: None };

/// A plain listener on a free port of loopback, changed by `change`.
pub(crate) async fn start(change: impl FnOnce(&mut Listener)) -> Server {
    let mut listener = Listener::loopback("127.0.0.1", 0);
    change(&mut listener);
    let bound = bind(&listener, &DEFAULTS()).await.unwrap();
    let address = bound.address().unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    let core = StandIn::default();
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let wire = Wire::start(vec![bound], &core, &random, DEFAULTS());
    Server { wire, address, core, listener }
}

impl Server {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends one request on a connection of its own and gives back status, head and body.
    pub(crate) async fn ask(&self, request: &str) -> Reply1 {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_reply(&mut stream).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply1 {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Reply1 {
        self.ask(&format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
    }

    pub(crate) fn calls(&self) -> usize {
        self.core.calls.load(SeqCst)
    }
}

/// A unix listener at `path`.
pub(crate) fn unix(path: &std::path::Path) -> impl FnOnce(&mut Listener) {
    let path = path.to_owned();
    move |listener| listener.bind = Bind::Unix(path)
}

/// One reply of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Reply1 {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply1 {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads one reply with a content length or without a body; `None` at the end of the stream.
pub(crate) async fn read_reply(stream: &mut (impl AsyncRead + Unpin)) -> Option<Reply1> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            assert!(head.is_empty(), "a reply broke off: {}", String::from_utf8_lossy(&head));
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply1 { status, head, body: String::new() };
    let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    reply.body = String::from_utf8(body).unwrap();
    Some(reply)
}

/// Waits for the server to close the connection; gives back what came before.
pub(crate) async fn read_to_close(stream: &mut (impl AsyncRead + Unpin), at_most: Duration) -> Option<String> {
    let mut bytes = Vec::new();
    match tokio::time::timeout(at_most, stream.read_to_end(&mut bytes)).await {
        Ok(_) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => None,
    }
}
