//! Sockets and syslog with a real other side.

use super::support::*;
use crate::audit::device::{Delivery, Pulse, Sink};
use crate::audit::queue::Queue;
use crate::audit::remote::{Target, syslog_header};
use crate::audit::*;
use coffer_types::{Error, Kind};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

fn socket(address: &str, kind: &str) -> AuditDeviceSpec {
    spec("socket", "socket", &[("address", address), ("socket_type", kind), ("write_timeout", "500ms")])
}

async fn delivered(queue: &Queue, line: &[u8]) -> bool {
    match queue.submit(line) {
        Delivery::Done(result) => result.is_ok(),
        Delivery::Waiting(told) => told.await.unwrap().is_ok(),
    }
}

#[tokio::test]
async fn tcp_gets_whole_lines_and_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = broker();
    broker.enable(socket(&address.to_string(), "tcp"), &Salt::from_bytes([1; 32])).await.unwrap();
    write_one(&broker).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    for path in ["sys/audit/test", "secret/data/a", "secret/data/a"] {
        let line: serde_json::Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(line["request"]["path"], path);
    }
    // The other side hangs up: the next lines come over a new connection, none is lost in between.
    drop(lines);
    tokio::time::sleep(Duration::from_millis(50)).await;
    write_one(&broker).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    for kind in ["request", "response"] {
        let line: serde_json::Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(line["type"], kind);
    }
    // The other side is gone: no answer. It is back: answers.
    drop((lines, listener));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let refused: Error = write_one(&broker).await.unwrap_err().into();
    assert_eq!(refused.kind(), Kind::Unavailable);
    assert!(broker.health().blocked());
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    write_one(&broker).await.unwrap();
    assert!(!broker.health().blocked());
    drop(listener);
}

#[tokio::test]
async fn unix_streams_and_datagrams_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let one = broker();
    one.enable(socket(path.to_str().unwrap(), "unix"), &Salt::from_bytes([1; 32])).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(BufReader::new(stream).lines().next_line().await.unwrap().unwrap().contains("sys/audit/test"));

    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let two = broker();
    two.enable(socket(&receiver.local_addr().unwrap().to_string(), "udp"), &Salt::from_bytes([1; 32])).await.unwrap();
    let mut datagram = [0; 2048];
    let length = receiver.recv(&mut datagram).await.unwrap();
    serde_json::from_slice::<serde_json::Value>(&datagram[..length]).unwrap();
}

#[tokio::test]
async fn a_line_too_long_for_a_datagram_is_a_failure_and_not_a_silence() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Udp(receiver.local_addr().unwrap().to_string());
    let pulse = Arc::new(Pulse::new("socket/"));
    let queue = Queue::start(target, Duration::from_millis(500), Arc::clone(&pulse)).unwrap();
    assert!(!delivered(&queue, &vec![b'x'; 100_000]).await);
    assert!(pulse.reason().unwrap().contains("long"), "{:?}", pulse.reason());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(delivered(&queue, b"{}\n").await);
    assert_eq!(pulse.reason(), None);
}

#[tokio::test]
async fn syslog_gets_facility_and_tag() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let sockets = vec![dir.path().join("none").to_str().unwrap().to_owned(), path.to_str().unwrap().to_owned()];
    let target = Target::Syslog { sockets, header: syslog_header(16, "coffer") };
    let pulse = Arc::new(Pulse::new("syslog/"));
    let queue = Queue::start(target, Duration::from_millis(500), Arc::clone(&pulse)).unwrap();
    assert!(delivered(&queue, b"{\"a\":1}\n").await);
    let mut datagram = [0; 256];
    let length = daemon.recv(&mut datagram).await.unwrap();
    let expected = format!("<134>coffer[{}]: {{\"a\":1}}\n", std::process::id());
    assert_eq!(std::str::from_utf8(&datagram[..length]).unwrap(), expected);
    // A daemon that restarts has a new socket at the old place.
    drop(daemon);
    std::fs::remove_file(&path).unwrap();
    assert!(!delivered(&queue, b"x\n").await);
    let daemon = UnixDatagram::bind(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(delivered(&queue, b"y\n").await);
    assert!(daemon.recv(&mut datagram).await.unwrap() > 0);
}

#[tokio::test]
async fn nobody_there_is_refused_when_a_device_is_enabled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let broker = broker();
    let error = broker.enable(socket(&address, "tcp"), &Salt::from_bytes([1; 32])).await.unwrap_err();
    assert!(error.public().contains("test line"), "{error}");
    assert!(broker.list().is_empty());
    // From the store or the configuration it is kept and counts.
    let configured = broker_with(vec![socket(&address, "tcp")]);
    assert!(write_one(&configured).await.is_err());
    assert!(configured.health().blocked());
}
