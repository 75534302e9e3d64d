//! Servers of a test's own: they say bytes, whatever they hear.

use super::Client;
use coffer_engine::outside::{Database, FaultKind, Protocol, Script, Target, Tls};
use coffer_types::Secret;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) fn target(protocol: Protocol, port: u16) -> Target {
    Target {
        protocol,
        hosts: vec![("127.0.0.1".into(), port)],
        database: String::new(),
        user: "canary-user".into(),
        password: Secret::from("canary-password"),
        tls: Tls::Off,
        parameters: Vec::new(),
        pool: "pool".into(),
        revision: "1".into(),
        most: 2,
        idle: 2,
        lifetime: Duration::ZERO,
        timeout: Duration::from_millis(400),
    }
}

/// A server that says these bytes to everyone, one after each thing that it hears (the first unasked where `greets`).
pub(super) async fn says(greets: bool, replies: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let replies = replies.clone();
            tokio::spawn(async move {
                let mut heard = [0; 4096];
                for (number, reply) in replies.iter().enumerate() {
                    if (number > 0 || !greets) && stream.read(&mut heard).await.unwrap_or(0) == 0 {
                        return;
                    }
                    if stream.write_all(reply).await.is_err() {
                        return;
                    }
                }
                // It stays and says no more.
                tokio::time::sleep(Duration::from_secs(60)).await;
            });
        }
    });
    port
}

/// The same for one connection, with what was heard before each reply.
pub(super) async fn answers(greets: bool, replies: Vec<Vec<u8>>) -> (u16, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut all, mut heard) = (Vec::new(), [0; 65_536]);
        for (number, reply) in replies.iter().enumerate() {
            if number > 0 || !greets {
                let length = stream.read(&mut heard).await.unwrap();
                all.push(heard[..length].to_vec());
            }
            stream.write_all(reply).await.unwrap();
        }
        all
    });
    (port, task)
}

/// Why a login fails, in words that repeat no secret.
pub(super) async fn refused(target: &Target) -> FaultKind {
    let fault = Client::default().run(target, Script::nothing()).await.unwrap_err();
    assert!(!fault.text.contains("canary"), "{fault}");
    fault.kind
}
