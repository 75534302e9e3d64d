//! As much of an HTTP client as setting the stage needs: one address on loopback, blocking, replies with a length.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

type Result<T> = std::result::Result<T, String>;

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Client {
    pub(super) fn connect(port: u16, token: &str) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(text)?;
        Ok(Self { stream: BufReader::new(stream), token: token.to_owned() })
    }

    /// Status and body of one call; the connection stays open.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let token = if self.token.is_empty() { String::new() } else { format!("X-Vault-Token: {}\r\n", self.token) };
        let head = format!("{method} /v1/{path} HTTP/1.1\r\nHost: bench\r\n{token}Content-Length: {}\r\n\r\n", body.len());
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes()).map_err(text)?;
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(text)?;
        let status =
            line.split_whitespace().nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| format!("no status in {line:?}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).map_err(text)?;
            let header = line.trim().to_ascii_lowercase();
            match header.split_once(':') {
                _ if header.is_empty() => break,
                Some(("content-length", value)) => length = value.trim().parse().map_err(text)?,
                Some(("transfer-encoding", _)) => chunked = true,
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                line.clear();
                self.stream.read_line(&mut line).map_err(text)?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(text)?;
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk).map_err(text)?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).map_err(text)?;
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The same for steps that must succeed; the reply as JSON (null for none).
    pub(crate) fn must(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
        let (status, reply) = self.call(method, path, body)?;
        if status >= 300 {
            return Err(format!("{method} {path} answered {status} {reply:.200}"));
        }
        Ok(serde_json::from_str(&reply).unwrap_or(Value::Null))
    }
}

/// The status of a GET on a connection of its own; `None` while nobody answers.
pub(super) fn status(port: u16, token: &str, path: &str) -> Option<u16> {
    Client::connect(port, token).and_then(|mut client| client.call("GET", path, "")).ok().map(|(status, _)| status)
}

pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    Ok(listener.local_addr().map_err(text)?.port())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
