//! A server that gives the answers of a script, one a request, and keeps what it was asked.

use super::Kms;
use crate::Environment;
use coffer_types::{Clock, Timestamp};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(super) struct Script {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// One request, header names in small letters.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

impl Script {
    pub(super) async fn of(answers: Vec<(u16, impl Into<String>)>) -> Self {
        Self::with_headers(answers.into_iter().map(|(status, body)| (status, String::new(), body.into())).collect()).await
    }

    /// Status, header lines (each with its CRLF), body.
    pub(super) async fn with_headers(answers: Vec<(u16, String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        tokio::spawn(async move {
            for (status, headers, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                kept.lock().unwrap().push(request);
                let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { port, seen }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> Seen {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let line = lines.next().unwrap_or_default().to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|l| l.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
            if body.len() >= length {
                return Seen { line, headers, body: body.to_owned() };
            }
        }
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "the request broke off: {text:?}");
        bytes.extend_from_slice(&piece[..n]);
    }
}

pub(super) struct Fixed(pub(super) Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Clients with this environment, at 2026-01-02T03:04:05Z, that wait for nothing.
pub(super) fn quick(env: &[(&str, &str)]) -> Kms {
    let now = Timestamp::parse_rfc3339("2026-01-02T03:04:05Z").unwrap();
    Kms::new(Environment::fixed(env))
        .with_clock(Arc::new(Fixed(now)))
        .with_pause(Duration::ZERO)
        .with_timeout(Duration::from_secs(5))
}
