//! Connections: TCP, and TLS over it.

use crate::tls;
use coffer_engine::outside::{Fault, FaultKind, TlsClient};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What both are.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) async fn tcp(host: &str, port: u16) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect((host, port)).await.map_err(|e| unreachable(host, port, &e))?;
    stream.set_nodelay(true).map_err(|e| unreachable(host, port, &e))?;
    Ok(stream)
}

/// TLS on a connection that is there; `host` is verified unless the settings name another.
pub(crate) async fn tls(
    stream: impl Stream + 'static,
    host: &str,
    settings: &TlsClient,
    alpn: &[&[u8]],
) -> Result<Box<dyn Stream>, Fault> {
    let mut config = tls::config(settings)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = settings.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| Fault::new(FaultKind::Settings, format!("{name:?} is no name that a certificate could have")))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| {
        let untrusted = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        let kind = if matches!(untrusted, Some(rustls::Error::InvalidCertificate(_))) {
            FaultKind::Credentials
        } else {
            FaultKind::Unreachable
        };
        Fault::new(kind, format!("TLS with {host}: {e}"))
    })?;
    Ok(Box::new(stream))
}

pub(crate) fn unreachable(host: &str, port: u16, error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::Unreachable, format!("{host}:{port} can't be reached: {error}"))
}
