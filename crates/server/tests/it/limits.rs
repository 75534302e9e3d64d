//! What is too slow, too large, too long, too many.

use crate::standin::{read_reply, read_to_close, start};
use coffer_types::Span;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: Span = Span(1_000_000_000);
const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn slow_headers_are_cut_off() {
    let server = start(|l| l.keys.http_read_header_timeout = SECOND).await;
    for start in ["", "GET /v1/a HT", "GET /v1/a HTTP/1.1\r\nHost: h\r\nX-A: ", "PRI * HTTP/2.0\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let (begun, mut closed) = (Instant::now(), false);
        // A byte now and then does not help.
        while begun.elapsed() < SOON && !closed {
            let dripped = start.is_empty() || stream.write_all(b"a").await.is_ok();
            closed = !dripped || read_to_close(&mut stream, Duration::from_millis(200)).await.is_some();
        }
        assert!(closed, "{start:?} kept its connection");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn the_second_request_is_held_to_the_same_time() {
    let server = start(|l| l.keys.http_read_header_timeout = SECOND).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 200);
    // Idle between requests is not slow.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    stream.write_all(b"GET /v1/a HTTP/1.1\r\n").await.unwrap();
    assert_eq!(read_to_close(&mut stream, SOON).await.as_deref(), Some(""));
}

#[tokio::test]
async fn slow_bodies_are_refused() {
    let server = start(|l| l.keys.http_read_timeout = SECOND).await;
    let mut stream = server.connect().await;
    stream.write_all(b"PUT /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    let reply = read_reply(&mut stream).await.unwrap();
    assert_eq!((reply.status, server.calls()), (408, 0));
    assert!(read_to_close(&mut stream, SOON).await.is_some(), "the connection is of no use any more");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = start(|l| l.keys.http_idle_timeout = SECOND).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 200);
    let begun = Instant::now();
    assert_eq!(read_to_close(&mut stream, SOON).await.as_deref(), Some(""));
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn clients_that_take_nothing_are_cut_off() {
    let server = start(|l| {
        l.keys.http_write_timeout = SECOND;
        l.keys.http_read_header_timeout = SECOND;
    })
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(b"GET /v1/big/10000000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the connection is closed");
    assert!(ended.is_err() || bytes.len() < 9_000_000, "all was sent");
}

#[tokio::test]
async fn a_slow_reader_gets_all() {
    let server = start(|_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /v1/big/3000000 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(read_reply(&mut stream).await.unwrap().body.len() > 3_000_000);
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_early() {
    let server = start(|l| l.keys.max_request_size = 1000).await;
    let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(1000 - 8));
    assert_eq!((fits.len(), server.put("/v1/a", &fits).await.status), (1000, 200));
    // Said beforehand: refused before a byte of it came.
    let reply = server.ask("PUT /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n").await;
    assert_eq!(reply.status, 413);
    assert!(reply.body.contains("max_request_size"));
    // Not said: refused when it is seen.
    let mut stream = server.connect().await;
    stream.write_all(b"PUT /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    for _ in 0..3 {
        // Once refused, the server need not listen any more.
        if stream.write_all(format!("190\r\n{}\r\n", "x".repeat(400)).as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 413);
    assert_eq!(server.calls(), 1);
    // A body that no operation reads is held to the limit too.
    assert_eq!(server.ask("GET /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n").await.status, 413);
}

#[tokio::test]
async fn json_is_held_to_the_listeners_limits() {
    let server = start(|l| {
        l.keys.max_json_depth = 3;
        l.keys.max_json_string_value_length = 5;
    })
    .await;
    for (body, status) in [
        (r#"{"a":{"b":{"c":1}}}"#, 200),
        (r#"{"a":{"b":{"c":{}}}}"#, 400),
        (r#"{"a":"12345"}"#, 200),
        (r#"{"a":"123456"}"#, 400),
        (r#"{"a":1,"a":2}"#, 400),
        (r#"[]"#, 400),
        (r#"{"a":"#, 400),
    ] {
        assert_eq!(server.put("/v1/a", body).await.status, status, "{body}");
    }
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn broken_off_bodies_call_nothing() {
    let server = start(|_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"PUT /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{\"a\":1}").await.unwrap();
    stream.shutdown().await.unwrap();
    let reply = read_to_close(&mut stream, SOON).await.unwrap();
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400"), "{reply}");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn calls_that_take_too_long_are_given_up() {
    let server = start(|l| l.keys.max_request_duration = Some(SECOND)).await;
    let begun = Instant::now();
    let reply = server.get("/v1/sleep/60000").await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("max_request_duration") && begun.elapsed() < SOON);
    assert_eq!(server.get("/v1/sleep/10").await.status, 200);
}

/// As many idle connections as the system lets one process have, up to 10,000: the server answers others meanwhile
/// and pays little for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little() {
    let allowed = coffer_server::signals::raise_file_limit();
    let many = usize::try_from(allowed / 2).unwrap().saturating_sub(200).min(10_000);
    assert!(many > 100, "{allowed} files are too few to see anything");
    let server = start(|l| l.keys.http_read_header_timeout = Span::from_secs(60)).await;
    assert_eq!(server.get("/v1/a").await.status, 200);
    let before = resident();
    let mut idle = Vec::with_capacity(many);
    for _ in 0..many {
        idle.push(server.connect().await);
    }
    let begun = Instant::now();
    assert_eq!(server.get("/v1/a").await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2));
    let each = resident().saturating_sub(before) / many;
    assert!(each < 16 << 10, "{each} bytes a connection, both ends");
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
