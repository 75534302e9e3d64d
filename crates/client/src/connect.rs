//! One connection: TCP, TLS over it, or a Unix socket, with HTTP/1.1 spoken on top.

use crate::error::go_words;
use crate::{Address, Proxy, Result, Tls};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The half of a connection that requests are put into; its other half runs as a task of its own.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// Why there is no connection.
pub(crate) enum Refused {
    /// In Go's words, and what would help.
    Unreachable(String, Option<String>),
    Setup(crate::Error),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) async fn connect(address: &Address, tls: &Tls, proxy: Option<&Proxy>) -> Result<Sender, Refused> {
    let stream: Box<dyn Stream> = match address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(|e| {
                let why = format!("dial unix {}: connect: {}", path.display(), go_words(&e));
                Refused::Unreachable(why, Some("Is a server listening on that socket?".into()))
            })?;
            Box::new(socket)
        }
        Address::Net { tls: false, host, port, .. } => match proxy {
            Some(proxy) => Box::new(to_proxy(proxy).await?),
            None => Box::new(tcp(host, *port).await?),
        },
        Address::Net { tls: true, host, port, .. } => {
            let config = tls.build().map_err(Refused::Setup)?;
            let name = tls.server_name.as_deref().unwrap_or(host);
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| Refused::Setup(crate::Error::setup(format!("{name:?} is no name that a certificate could have"))))?;
            let stream = match proxy {
                Some(proxy) => tunnel(proxy, &address.authority(), *port).await?,
                None => tcp(host, *port).await?,
            };
            let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .map_err(|e| handshake_refused(&e, address))?;
            Box::new(stream)
        }
    };
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| Refused::Unreachable(e.to_string(), None))?;
    tokio::spawn(async move {
        // The request on its way reports the failure; nobody else waits for it.
        connection.await.unwrap_or_default();
    });
    Ok(sender)
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, Refused> {
    let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let stream = TcpStream::connect((host, port)).await.map_err(|e| {
        let is_lookup = e.raw_os_error().is_none() && host.parse::<std::net::IpAddr>().is_err();
        if is_lookup {
            return Refused::Unreachable(format!("dial tcp: lookup {host}: no such host"), Some("Check the host name in the address.".into()));
        }
        let hint = (e.kind() == io::ErrorKind::ConnectionRefused)
            .then(|| "No server listens at that address. Start one with \"coffer server\", or name another with -address or VAULT_ADDR.".into());
        Refused::Unreachable(format!("dial tcp {shown}: connect: {}", go_words(&e)), hint)
    })?;
    // Requests are small and each waits for its answer.
    stream.set_nodelay(true).map_err(|e| Refused::Unreachable(go_words(&e), None))?;
    Ok(stream)
}

async fn to_proxy(proxy: &Proxy) -> Result<TcpStream, Refused> {
    tcp(&proxy.host, proxy.port).await.map_err(|refused| match refused {
        Refused::Unreachable(why, _) => Refused::Unreachable(
            format!("proxyconnect tcp: {why}"),
            Some("The environment names this proxy (HTTPS_PROXY, HTTP_PROXY); NO_PROXY names what goes without.".into()),
        ),
        other => other,
    })
}

/// Asks the proxy for a way through to the server (RFC 9110 section 9.3.6).
async fn tunnel(proxy: &Proxy, authority: &str, port: u16) -> Result<TcpStream, Refused> {
    let mut stream = to_proxy(proxy).await?;
    let to = if authority.ends_with(&format!(":{port}")) { authority.to_owned() } else { format!("{authority}:{port}") };
    let mut ask = zeroize::Zeroizing::new(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n"));
    if let Some(authorization) = &proxy.authorization {
        ask.push_str("Proxy-Authorization: ");
        ask.push_str(authorization.expose());
        ask.push_str("\r\n");
    }
    ask.push_str("\r\n");
    let broke = |e: std::io::Error| Refused::Unreachable(format!("proxyconnect tcp: {}", go_words(&e)), None);
    stream.write_all(ask.as_bytes()).await.map_err(broke)?;
    let mut head = Vec::new();
    // One byte at a time: what follows the head is the server's and belongs to TLS.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 8192 {
            return Err(Refused::Unreachable("proxyconnect tcp: the proxy's answer has no end".into(), None));
        }
        head.push(stream.read_u8().await.map_err(broke)?);
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) == Some("200") {
        Ok(stream)
    } else {
        Err(Refused::Unreachable(format!("proxyconnect tcp: the proxy answered {line:?}"), None))
    }
}

fn handshake_refused(error: &io::Error, address: &Address) -> Refused {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => Refused::Unreachable(
            "http: server gave HTTP response to HTTPS client".into(),
            Some(format!("The server there speaks plain HTTP. Use the address {}.", address.to_string().replacen("https", "http", 1))),
        ),
        Some(rustls::Error::InvalidCertificate(why)) => Refused::Unreachable(
            format!("tls: failed to verify certificate: {}", certificate_words(why)),
            Some("Name the authority that signed the server's certificate with -ca-cert or VAULT_CACERT; another host name with -tls-server-name.".into()),
        ),
        Some(other) => Refused::Unreachable(format!("tls: {other}"), None),
        None => Refused::Unreachable(go_words(error), None),
    }
}

/// What is wrong with a certificate, in Go's words where it has some.
fn certificate_words(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match why {
        E::UnknownIssuer => "x509: certificate signed by unknown authority".into(),
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
            format!("x509: certificate has expired or is not yet valid: {why}")
        }
        other => format!("x509: {other}"),
    }
}
