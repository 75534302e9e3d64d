//! HTTP/2, with prior knowledge.

use crate::standin::start;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) async fn client(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> http2::SendRequest<Full<Bytes>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn ask(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, serde_json::Value) {
    let request = Request::builder().method(method).uri(format!("http://h{path}")).body(Full::from(body.to_owned())).unwrap();
    let reply = sender.send_request(request).await.unwrap();
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let server = start(|_| {}).await;
    let sender = client(server.connect().await).await;
    let mut calls = Vec::new();
    for n in 0..50 {
        let mut sender = sender.clone();
        calls.push(tokio::spawn(async move { ask(&mut sender, "PUT", &format!("/v1/a/{n}"), "{\"k\":\"v\"}").await }));
    }
    for (n, call) in calls.into_iter().enumerate() {
        let (status, json) = call.await.unwrap();
        assert_eq!((status, &json["data"]["path"]), (200, &format!("a/{n}").into()));
        assert_eq!(json["data"]["body"]["k"], "v");
    }
    assert_eq!(server.calls(), 50);
}

#[tokio::test]
async fn one_bad_call_does_not_end_the_others() {
    let server = start(|l| l.keys.max_request_size = 1000).await;
    let mut sender = client(server.connect().await).await;
    assert_eq!(ask(&mut sender, "PUT", "/v1/a", &"x".repeat(2000)).await.0, 413);
    assert_eq!(ask(&mut sender, "GET", "/v1/panic", "").await.0, 500);
    assert_eq!(ask(&mut sender, "GET", "/v1/a%00", "").await.0, 400);
    assert_eq!(ask(&mut sender, "HEAD", "/v1/a", "").await.0, 200);
    assert_eq!(ask(&mut sender, "GET", "/v1/a", "").await.0, 200);
}

#[tokio::test]
async fn stopping_says_farewell() {
    let server = start(|_| {}).await;
    let mut sender = client(server.connect().await).await;
    assert_eq!(ask(&mut sender, "GET", "/v1/a", "").await.0, 200);
    assert!(server.wire.stop(std::time::Duration::from_secs(5)).await);
    assert!(sender.send_request(Request::get("http://h/v1/a").body(Full::default()).unwrap()).await.is_err());
}
