//! Binding, accepting, reloading, stopping.

use super::body::Budget;
use super::connection;
use super::serve::{Endpoint, Ids, Peer, Serve};
use super::settings::{Defaults, Settings};
use super::stream::Stream;
use super::tls::{self, TlsError};
use super::unix;
use crate::config::{Bind, Listener};
use arc_swap::{ArcSwap, ArcSwapOption};
use coffer_crypto::random::Random;
use coffer_engine::ClientCertificate;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// Why a listener could not be had.
#[derive(Debug)]
pub enum ListenError {
    Bind { address: String, why: io::Error },
    Tls { address: String, why: TlsError },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, why } => write!(f, "listening on {address}: {why}"),
            Self::Tls { address, why } => write!(f, "TLS of the listener on {address}: {why}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// A listener that is bound and does not accept yet.
pub struct Bound {
    /// As configured: by which a reload knows it again.
    bind: Bind,
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
    settings: Settings,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Binds a listener and reads its certificates.
pub async fn bind(listener: &Listener, defaults: &Defaults) -> Result<Bound, ListenError> {
    let tls = read_tls(listener)?;
    let failed = |why| ListenError::Bind { address: listener.address(), why };
    let socket = match &listener.bind {
        Bind::Tcp { host, port } => Socket::Tcp(bind_tcp(host, *port).await.map_err(failed)?),
        Bind::Unix(path) => Socket::Unix(unix::bind(path, &listener.keys).await.map_err(failed)?, path.clone()),
    };
    Ok(Bound { bind: listener.bind.clone(), socket, tls, settings: Settings::new(listener, defaults) })
}

fn read_tls(listener: &Listener) -> Result<Option<Arc<ServerConfig>>, ListenError> {
    let files = listener.tls();
    let read = files.as_ref().map(tls::server_config).transpose();
    read.map_err(|why| ListenError::Tls { address: listener.address(), why })
}

/// An empty host is every address, of both families where there are two.
async fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    if !host.is_empty() {
        return TcpListener::bind((host, port)).await;
    }
    match TcpListener::bind(("::", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
    }
}

impl Bound {
    /// The address that was bound: the port is the real one where any was asked for. `None` for a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// All listeners, accepting.
pub struct Wire<S: Serve> {
    running: Vec<Running<S>>,
    defaults: Defaults,
    stop: watch::Sender<bool>,
    /// Every connection and accept loop holds a sender: when the last is dropped, all have ended.
    ended: mpsc::Receiver<()>,
}

struct Running<S> {
    bind: Bind,
    doorway: Arc<Doorway<S>>,
}

/// What an accept loop needs.
struct Doorway<S> {
    endpoint: Arc<Endpoint<S>>,
    tls: ArcSwapOption<ServerConfig>,
    builder: auto::Builder<TokioExecutor>,
}

/// What arriving bodies of all connections may take together, in bytes.
const BODIES: usize = 256 << 20;

impl<S: Serve> Wire<S> {
    /// Starts accepting. Calls are answered by `core`; `random` makes request ids.
    pub fn start(bound: Vec<Bound>, core: &S, random: &Arc<dyn Random>, defaults: Defaults) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        let budget = Arc::new(Budget::new(BODIES));
        let ids = Arc::new(Ids::new(random.clone()));
        let mut running = Vec::with_capacity(bound.len());
        for bound in bound {
            let endpoint = Arc::new(Endpoint {
                core: core.clone(),
                ids: ids.clone(),
                budget: budget.clone(),
                settings: ArcSwap::from_pointee(bound.settings),
            });
            let doorway = Arc::new(Doorway { endpoint, tls: ArcSwapOption::new(bound.tls), builder: connection::builder() });
            running.push(Running { bind: bound.bind, doorway: doorway.clone() });
            tokio::spawn(accept(bound.socket, doorway, stopped.clone(), alive.clone()));
        }
        Self { running, defaults, stop, ended }
    }

    /// Takes a new configuration: certificates, limits, headers, rules. Connections go on; a listener whose new
    /// certificates are bad keeps the old ones and is among the errors. What listens where stays as it is:
    /// listeners that are new or gone are not opened or closed.
    pub fn reload(&self, listeners: &[Listener]) -> Vec<ListenError> {
        let mut errors = Vec::new();
        for listener in listeners {
            let Some(running) = self.running.iter().find(|running| running.bind == listener.bind) else { continue };
            match read_tls(listener) {
                // TLS is not switched on or off under a running listener.
                Ok(tls) if tls.is_some() == running.doorway.tls.load().is_some() => {
                    running.doorway.tls.store(tls);
                    running.doorway.endpoint.settings.store(Arc::new(Settings::new(listener, &self.defaults)));
                }
                Ok(_) => {
                    let why = io::Error::new(io::ErrorKind::Unsupported, "TLS can't be switched on or off by a reload");
                    errors.push(ListenError::Bind { address: listener.address(), why });
                }
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Stops accepting, lets calls in flight end, at most for `grace`. Gives back whether all did.
    pub async fn stop(mut self, grace: Duration) -> bool {
        self.stop.send_replace(true);
        tokio::time::timeout(grace, self.ended.recv()).await.is_ok()
    }
}

/// Accepts until the server stops.
async fn accept<S: Serve>(socket: Socket, doorway: Arc<Doorway<S>>, mut stop: watch::Receiver<bool>, alive: mpsc::Sender<()>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = next(&socket) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (doorway, stop, alive) = (doorway.clone(), stop.clone(), alive.clone());
                tokio::spawn(async move {
                    converse(doorway, stream, peer, stop).await;
                    drop(alive);
                });
            }
            // Out of file descriptors, most likely: those who have connections go on, and some will leave.
            Err(error) => {
                tracing::warn!(target: "http", %error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    if let Socket::Unix(_, path) = &socket
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(target: "http", path = %path.display(), %error, "could not remove the socket");
    }
}

enum Arrival {
    Tcp(TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn next(socket: &Socket) -> io::Result<(Arrival, Option<SocketAddr>)> {
    match socket {
        Socket::Tcp(listener) => listener.accept().await.map(|(stream, peer)| (Arrival::Tcp(stream), Some(peer))),
        Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| (Arrival::Unix(stream), None)),
    }
}

async fn converse<S: Serve>(doorway: Arc<Doorway<S>>, arrival: Arrival, peer: Option<SocketAddr>, stop: watch::Receiver<bool>) {
    let mut peer =
        Peer { ip: peer.map(|peer| peer.ip().to_canonical()), port: peer.map_or(0, |peer| peer.port()), certificate: None };
    let stream = match arrival {
        Arrival::Unix(stream) => Stream::Unix(stream),
        Arrival::Tcp(stream) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(target: "http", %error, "TCP_NODELAY was not taken");
            }
            match doorway.tls.load_full() {
                None => Stream::Tcp(stream),
                Some(config) => {
                    let limit = doorway.endpoint.settings.load().timeouts.header;
                    let Some(stream) = shake_hands(config, stream, limit).await else { return };
                    peer.certificate = stream.get_ref().1.peer_certificates().and_then(presented);
                    Stream::Tls(Box::new(stream))
                }
            }
        }
    };
    connection::serve(&doorway.builder, doorway.endpoint.clone(), stream, peer, stop).await;
}

/// The leaf first, as TLS has it; in a resumed session what the first handshake proved.
fn presented(chain: &[rustls::pki_types::CertificateDer<'_>]) -> Option<Arc<ClientCertificate>> {
    let (leaf, others) = chain.split_first()?;
    Some(Arc::new(ClientCertificate { leaf: (**leaf).into(), others: others.iter().map(|der| (**der).into()).collect() }))
}

/// `None` where the client did not manage, or sent plain HTTP, which it is told.
async fn shake_hands(
    config: Arc<ServerConfig>,
    mut stream: TcpStream,
    limit: Option<Duration>,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    const PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
                           Client sent an HTTP request to an HTTPS server.\n";
    let shaking = async {
        let mut first = [0u8];
        // A TLS record begins with its type, 22; a request with its method's letter.
        if stream.peek(&mut first).await.ok()? == 1 && first[0].is_ascii_uppercase() {
            stream.write_all(PLAIN).await.ok()?;
            stream.shutdown().await.ok()?;
            return None;
        }
        match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(target: "http", %error, "a TLS handshake failed");
                None
            }
        }
    };
    match limit {
        None => shaking.await,
        Some(limit) => tokio::time::timeout(limit, shaking).await.ok().flatten(),
    }
}
