//! HTTP/1.1 to one address at a time: a connection a request.

use crate::stream::{Stream, tcp, tls};
use bytes::Bytes;
use coffer_engine::BoxFuture;
use coffer_engine::outside::{Fault, FaultKind, Http, HttpReply, HttpRequest};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

#[derive(Debug, Default)]
pub(crate) struct Client;

impl Http for Client {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpReply, Fault>> {
        Box::pin(async move {
            let timeout = request.timeout;
            let name = host_of(&request.url);
            tokio::time::timeout(timeout, exchange(request)).await.unwrap_or_else(|_| {
                Err(Fault::new(FaultKind::Unreachable, format!("{name} did not answer within {} s", timeout.as_secs())))
            })
        })
    }
}

async fn exchange(request: HttpRequest) -> Result<HttpReply, Fault> {
    let wrong = |why: &str| Fault::new(FaultKind::Settings, format!("the address of {} {why}", host_of(&request.url)));
    let uri: http::Uri = request.url.parse().map_err(|_| wrong("is no URL"))?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(wrong("must begin with http:// or https://")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("must not hold a user's name"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let message = build(&request, &uri, authority.as_str())?;
    let stream: Box<dyn Stream> = tcp(&host, port).await.map(Box::new)?;
    let stream = if secure { tls(stream, &host, &request.tls, &[b"http/1.1"]).await? } else { stream };
    let broke = |e: hyper::Error| Fault::new(FaultKind::Protocol, format!("{host}: {e}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    // The request on its way reports the failure; the task ends with the connection, when the sender goes.
    let task = tokio::spawn(connection);
    let reply = sender.send_request(message).await.map_err(broke)?;
    let status = reply.status().as_u16();
    let headers = reply
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let body = Limited::new(reply.into_body(), request.limit).collect().await.map_err(|e| {
        let text = if e.is::<LengthLimitError>() {
            format!("{host}: the reply is over {} bytes", request.limit)
        } else {
            format!("{host}: {e}")
        };
        Fault::new(FaultKind::Protocol, text)
    })?;
    task.abort();
    Ok(HttpReply { status, headers, body: Zeroizing::new(body.to_bytes().to_vec()) })
}

fn build(request: &HttpRequest, uri: &http::Uri, authority: &str) -> Result<http::Request<Full<Bytes>>, Fault> {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut message = http::Request::builder().method(request.method.as_str()).uri(path);
    if !request.headers.iter().any(|(name, _)| name == "host") {
        message = message.header(http::header::HOST, authority);
    }
    if !request.headers.iter().any(|(name, _)| name == "user-agent") {
        message = message.header(http::header::USER_AGENT, concat!("coffer/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in &request.headers {
        let mut value = http::HeaderValue::from_str(value.expose()).map_err(|_| {
            Fault::new(FaultKind::Settings, format!("the value of the header {name} has a character that headers can't have"))
        })?;
        value.set_sensitive(true);
        message = message.header(name, value);
    }
    message
        .body(Full::new(Bytes::copy_from_slice(&request.body)))
        .map_err(|_| Fault::new(FaultKind::Settings, "the request can't be put into HTTP"))
}

/// The part of an address that may stand in an error: neither a path nor a query, which may hold secrets.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::outside::{Method, Roots, TlsClient};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that reads one request and says `reply`.
    async fn says(reply: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = vec![0; 4096];
            let n = stream.read(&mut got).await.unwrap();
            stream.write_all(reply.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&got[..n]).into_owned()
        });
        (address, task)
    }

    #[tokio::test]
    async fn asks_and_reads() {
        let (address, seen) = says("HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok").await;
        let request = HttpRequest::new(Method::Post, format!("http://{address}/a/b?c=d"))
            .header("X-Token", "t")
            .body("text/plain", b"hello".to_vec());
        let reply = Client.send(request).await.unwrap();
        assert_eq!((reply.status, reply.header("x-a"), &**reply.body), (201, Some("b"), &b"ok"[..]));
        let seen = seen.await.unwrap();
        assert!(seen.starts_with("POST /a/b?c=d HTTP/1.1\r\n"), "{seen}");
        assert!(
            seen.contains(&format!("host: {address}\r\n")) && seen.contains("x-token: t\r\n") && seen.ends_with("hello"),
            "{seen}"
        );
    }

    #[tokio::test]
    async fn follows_no_redirect() {
        let (address, _) = says("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n").await;
        let reply = Client.send(HttpRequest::new(Method::Get, format!("http://{address}/"))).await.unwrap();
        assert_eq!(reply.status, 302);
    }

    #[tokio::test]
    async fn refuses_what_is_too_large_too_late_or_no_address() {
        let (address, _) = says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
        let mut request = HttpRequest::new(Method::Get, format!("http://{address}/"));
        request.limit = 4;
        assert_eq!(Client.send(request).await.unwrap_err().kind, FaultKind::Protocol);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut request = HttpRequest::new(Method::Get, format!("http://{}/", listener.local_addr().unwrap()));
        request.timeout = Duration::from_millis(50);
        assert_eq!(Client.send(request).await.unwrap_err().kind, FaultKind::Unreachable);

        for url in ["", "ftp://a/", "http://user:canary@a/", "http://", "a b"] {
            let fault = Client.send(HttpRequest::new(Method::Get, url)).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Settings, "{url}: {fault}");
            assert!(!fault.text.contains("canary"));
        }
        let fault = Client.send(HttpRequest::new(Method::Get, "http://127.0.0.1:1/secret-path?canary")).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable);
        assert!(!fault.text.contains("canary") && !fault.text.contains("secret-path"), "{fault}");
    }

    #[tokio::test]
    async fn trusts_only_the_named_authority() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut got = [0; 1024];
                    assert!(stream.read(&mut got).await.unwrap() > 0);
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                }
            }
        });
        let ask = |tls: TlsClient| Client.send(HttpRequest::new(Method::Get, format!("https://localhost:{port}/")).tls(tls));
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let roots = |cert: &rcgen::Certificate| TlsClient { roots: Roots::Pem(cert.pem()), ..TlsClient::default() };
        assert_eq!(ask(roots(&made.cert)).await.unwrap().status, 204);
        assert_eq!(ask(roots(&other.cert)).await.unwrap_err().kind, FaultKind::Credentials);
        let wrong_name = TlsClient { server_name: Some("example.org".into()), ..roots(&made.cert) };
        assert_eq!(ask(wrong_name).await.unwrap_err().kind, FaultKind::Credentials);
        assert_eq!(ask(TlsClient { skip_verify: true, ..TlsClient::default() }).await.unwrap().status, 204);
        let broken = TlsClient { roots: Roots::Pem("no PEM".into()), ..TlsClient::default() };
        assert_eq!(ask(broken).await.unwrap_err().kind, FaultKind::Settings);
    }
}
