//! HTTP/1.1 over TCP and unix sockets.

use crate::standin::{read_reply, read_to_close, start, unix};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

#[tokio::test]
async fn a_call_goes_down_and_its_answer_comes_up() {
    let server = start(|_| {}).await;
    let reply = server.ask("GET /v1/a/b?version=1 HTTP/1.1\r\nHost: h\r\nX-Vault-Token: hvs.t\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let json = reply.json();
    assert_eq!(json["data"]["path"], "a/b");
    assert_eq!(json["data"]["operation"], "read");
    assert_eq!(json["data"]["token"], "hvs.t");
    assert_eq!(json["data"]["ip"], "127.0.0.1");
    assert_eq!(json["request_id"].as_str().unwrap().len(), 36);
    let reply = server.put("/v1/a/b", r#"{"n":12345678901234567890}"#).await;
    assert!(reply.body.contains(r#""body":{"n":12345678901234567890}"#), "{}", reply.body);
    let reply = server.ask("LIST /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(reply.json()["data"]["operation"], "list");
}

#[tokio::test]
async fn connections_are_kept_and_pipelined() {
    let server = start(|_| {}).await;
    let mut stream = server.connect().await;
    for n in 0..3 {
        stream.write_all(format!("GET /v1/kept/{n} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(read_reply(&mut stream).await.unwrap().json()["data"]["path"], format!("kept/{n}"));
    }
    let mut many = String::new();
    for n in 0..20 {
        many.push_str(&format!("PUT /v1/piped/{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n{{\"a\":1}}"));
    }
    stream.write_all(many.as_bytes()).await.unwrap();
    for n in 0..20 {
        assert_eq!(read_reply(&mut stream).await.unwrap().json()["data"]["path"], format!("piped/{n}"));
    }
}

#[tokio::test]
async fn chunked_bodies_are_put_together() {
    let server = start(|_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"PUT /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    for piece in ["{\"a\":", "\"", "text", "\"}"] {
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().json()["data"]["body"]["a"], "text");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = start(|_| {}).await;
    let get = server.get("/v1/denied").await;
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /v1/denied HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let head = read_to_close(&mut stream, Duration::from_secs(5)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 403 ") && head.ends_with("\r\n\r\n"), "{head}");
    let length = get.header("content-length").unwrap();
    assert!(head.to_lowercase().contains(&format!("content-length: {length}\r\n")), "{head}");
}

#[tokio::test]
async fn errors_and_panics_are_answered_and_the_connection_goes_on() {
    let server = start(|_| {}).await;
    let mut stream = server.connect().await;
    for (path, status, body) in [
        ("/v1/denied", 403, "{\"errors\":[\"permission denied\"]}\n"),
        ("/v1/broken", 500, "{\"errors\":[\"internal error\"]}\n"),
        ("/v1/panic", 500, "{\"errors\":[\"internal error\"]}\n"),
        ("/v1/a%2fb", 400, "{\"errors\":[\"the path has an encoded slash\"]}\n"),
        ("/nothing", 404, "{\"errors\":[]}\n"),
        ("/v1", 404, "{\"errors\":[]}\n"),
        ("/v1//a", 307, "<a href=\"/v1/a\">Temporary Redirect</a>.\n\n"),
    ] {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        let reply = read_reply(&mut stream).await.unwrap();
        assert_eq!((reply.status, &*reply.body), (status, body), "{path}");
    }
    assert_eq!(server.get("/v1/a").await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_server_goes_on() {
    let server = start(|_| {}).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET /v1/a HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /v1/a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"PUT /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(bytes).await.unwrap();
        let reply = read_to_close(&mut stream, Duration::from_secs(5)).await.unwrap();
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
    }
    assert_eq!(server.calls(), 0);
    let long = format!("GET /v1/{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(200_000));
    let mut stream = server.connect().await;
    // The server may hang up before all is sent.
    let sent = stream.write_all(long.as_bytes()).await;
    let reply = read_to_close(&mut stream, Duration::from_secs(5)).await.unwrap();
    assert!(sent.is_err() || reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
    assert_eq!(server.get("/v1/a").await.status, 200);
}

#[tokio::test]
async fn unix_sockets_serve_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coffer.sock");
    let server = start(unix(&path)).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let reply = read_reply(&mut stream).await.unwrap();
    assert_eq!((reply.status, &reply.json()["data"]["ip"]), (200, &serde_json::Value::Null));
    drop(stream);
    assert!(server.wire.stop(Duration::from_secs(5)).await);
    assert!(!path.exists());
}

#[tokio::test]
async fn stopping_lets_calls_end_and_takes_no_more() {
    let server = start(|_| {}).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut idle).await.unwrap().status, 200);
    let mut busy = server.connect().await;
    busy.write_all(b"GET /v1/sleep/300 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let address = server.address;
    let stopping = tokio::spawn(server.wire.stop(Duration::from_secs(10)));
    assert!(read_reply(&mut idle).await.is_none(), "an idle connection is closed");
    assert_eq!(read_reply(&mut busy).await.unwrap().status, 200);
    assert!(stopping.await.unwrap(), "all ended in time");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let server = start(|_| {}).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /v1/sleep/60000 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!server.wire.stop(Duration::from_millis(200)).await);
}
