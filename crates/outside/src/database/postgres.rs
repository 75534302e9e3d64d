//! PostgreSQL's protocol, version 3 (<https://www.postgresql.org/docs/current/protocol.html>), as much of it as statements in text need:
//! TLS, the logins `scram-sha-256`, `md5` and `password`, simple queries.

use super::{LONGEST, MOST_ROWS, broken, connect, nonsense, secure, statement};
use crate::stream::Stream;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coffer_crypto::login::Scram;
use coffer_crypto::md5::md5;
use coffer_crypto::random::{Random, SystemRandom};
use coffer_engine::outside::{Fault, FaultKind, Rows, Script, Target, Tls};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    host: String,
    /// The SQLSTATE of the last error.
    state: String,
}

/// How often a transaction is begun again that lost against another.
const TRIES: u32 = 10;
/// The SQLSTATEs that say so: serialisation, deadlock, and the internal error of grants side by side.
const LOST: [&str; 3] = ["40001", "40P01", "XX000"];

/// What a server says: the type of the message and what is in it.
struct Message {
    kind: u8,
    body: Zeroizing<Vec<u8>>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Fault> {
        let (stream, host) = connect(target).await?;
        let stream = match &target.tls {
            Tls::Off => stream,
            Tls::Offered(settings) => match offered(stream, host).await? {
                (stream, true) => secure(stream, host, settings).await?,
                (stream, false) => stream,
            },
            Tls::On(settings) => match offered(stream, host).await? {
                (stream, true) => secure(stream, host, settings).await?,
                (_, false) => {
                    return Err(Fault::new(
                        FaultKind::Unreachable,
                        format!("{host}: the server speaks no TLS, and sslmode asks for it"),
                    ));
                }
            },
        };
        let mut connection = Self { stream, host: host.to_owned(), state: String::new() };
        connection.log_in(target).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, target: &Target) -> Result<(), Fault> {
        let mut hello = Zeroizing::new(196_608u32.to_be_bytes().to_vec());
        let database = if target.database.is_empty() { &target.user } else { &target.database };
        let usual = [("user", target.user.as_str()), ("database", database), ("client_encoding", "UTF8")];
        let more = target.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in usual.into_iter().chain(more) {
            if name.contains('\0') || value.contains('\0') {
                return Err(Fault::new(FaultKind::Settings, "a setting of the connection must not hold a zero byte"));
            }
            hello.extend_from_slice(name.as_bytes());
            hello.push(0);
            hello.extend_from_slice(value.as_bytes());
            hello.push(0);
        }
        hello.push(0);
        self.send(None, &hello).await?;
        loop {
            let message = self.receive().await?;
            match message.kind {
                b'R' => self.authenticate(target, &message.body).await?,
                b'E' => return Err(self.refused(&message.body)),
                b'Z' => return Ok(()),
                // Settings, the key to cancel with, notices, a version that the server would rather speak.
                b'S' | b'K' | b'N' | b'v' => {}
                _ => return Err(nonsense(&self.host)),
            }
        }
    }

    async fn authenticate(&mut self, target: &Target, body: &[u8]) -> Result<(), Fault> {
        let password = target.password.expose().as_bytes();
        let (kind, rest) = body.split_at_checked(4).ok_or_else(|| nonsense(&self.host))?;
        match kind {
            [0, 0, 0, 0] => Ok(()),
            [0, 0, 0, 3] => self.send_text(b'p', password).await,
            [0, 0, 0, 5] => {
                let inner = hex(&md5(&[password, target.user.as_bytes()]));
                let outer = hex(&md5(&[inner.as_bytes(), rest]));
                self.send_text(b'p', format!("md5{}", *outer).as_bytes()).await
            }
            [0, 0, 0, 10] if rest.split(|b| *b == 0).any(|name| name == b"SCRAM-SHA-256") => self.scram(password).await,
            _ => {
                let text = format!(
                    "{}: the server asks for a login that is not here (here are scram-sha-256, md5, password)",
                    self.host
                );
                Err(Fault::new(FaultKind::Credentials, text))
            }
        }
    }

    /// RFC 5802 without channel binding. Passwords beyond ASCII are taken as they are.
    async fn scram(&mut self, password: &[u8]) -> Result<(), Fault> {
        let mut nonce = [0u8; 18];
        SystemRandom.fill(&mut nonce);
        let nonce = BASE64_STANDARD.encode(nonce);
        let bare = format!("n=,r={nonce}");
        let first = format!("n,,{bare}");
        let mut hello = b"SCRAM-SHA-256\0".to_vec();
        hello.extend_from_slice(&u32::try_from(first.len()).unwrap_or(0).to_be_bytes());
        hello.extend_from_slice(first.as_bytes());
        self.send(Some(b'p'), &hello).await?;

        let challenge = self.sasl(11).await?;
        let part = |name: &str| challenge.split(',').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
        let (Some(together), Some(salt), Some(rounds)) = (part("r"), part("s"), part("i")) else {
            return Err(nonsense(&self.host));
        };
        // One that does not go on from ours is of another exchange.
        if !together.starts_with(&nonce) || together.len() == nonce.len() {
            return Err(nonsense(&self.host));
        }
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| nonsense(&self.host))?;
        let rounds = rounds.parse().map_err(|_| nonsense(&self.host))?;
        let secret = Zeroizing::new(password.to_vec());
        // Thousands of rounds: not on a thread that others wait for.
        let scram = tokio::task::spawn_blocking(move || Scram::new(&secret, &salt, rounds)).await.ok().flatten();
        let scram = scram.ok_or_else(|| nonsense(&self.host))?;
        let unproven = format!("c=biws,r={together}");
        let messages = format!("{bare},{challenge},{unproven}");
        let proof = BASE64_STANDARD.encode(scram.proof(messages.as_bytes()));
        self.send(Some(b'p'), format!("{unproven},p={proof}").as_bytes()).await?;

        let end = self.sasl(12).await?;
        let signature = end.strip_prefix("v=").and_then(|v| BASE64_STANDARD.decode(v.split(',').next().unwrap_or_default()).ok());
        if signature.is_some_and(|s| scram.server_is_genuine(messages.as_bytes(), &s)) {
            Ok(())
        } else {
            Err(Fault::new(
                FaultKind::Credentials,
                format!("{}: the server does not know the password that it asks for", self.host),
            ))
        }
    }

    async fn sasl(&mut self, step: u8) -> Result<String, Fault> {
        loop {
            let message = self.receive().await?;
            match (message.kind, &message.body[..]) {
                (b'E', body) => return Err(self.refused(body)),
                (b'N', _) => {}
                (b'R', [0, 0, 0, at, text @ ..]) if *at == step => {
                    return String::from_utf8(text.to_vec()).map_err(|_| nonsense(&self.host));
                }
                _ => return Err(nonsense(&self.host)),
            }
        }
    }

    /// Says the lines; atomic ones in a transaction in which no statement takes longer than `timeout` and a backslash in a text
    /// is a backslash.
    pub(super) async fn run(&mut self, script: &Script, timeout: Duration) -> Result<Vec<Rows>, Fault> {
        let lines = script.lines.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        if !script.atomic {
            let mut rows = Vec::with_capacity(lines.len());
            for line in lines {
                rows.push(self.query(line).await?);
            }
            return Ok(rows);
        }
        let mut tries = 0;
        loop {
            self.state.clear();
            match self.atomically(&lines, timeout).await {
                // The transaction lost against another one and left nothing: grants on one table can't be made side by side.
                Err(fault) if fault.is_refusal() && tries < TRIES && LOST.contains(&self.state.as_str()) => {
                    tries += 1;
                    let mut spread = [0u8; 1];
                    SystemRandom.fill(&mut spread);
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * (10 + u64::from(spread[0]) / 4))).await;
                }
                said => return said,
            }
        }
    }

    async fn atomically(&mut self, lines: &[&str], timeout: Duration) -> Result<Vec<Rows>, Fault> {
        let milliseconds = timeout.as_millis().clamp(1, 2_000_000_000);
        self.query(&format!("BEGIN; SET LOCAL standard_conforming_strings = on; SET LOCAL statement_timeout = {milliseconds}"))
            .await?;
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            match self.query(line).await {
                Ok(found) => rows.push(found),
                Err(fault) => {
                    if fault.is_refusal() {
                        self.query("ROLLBACK").await?;
                    }
                    return Err(fault);
                }
            }
        }
        self.query("COMMIT").await?;
        Ok(rows)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        self.query("").await.map(|_| ())
    }

    async fn query(&mut self, text: &str) -> Result<Rows, Fault> {
        self.send_text(b'Q', text.as_bytes()).await?;
        let (mut rows, mut fault) = (Rows::new(), None);
        loop {
            let message = self.receive().await?;
            match message.kind {
                b'D' => {
                    if rows.len() == MOST_ROWS {
                        return Err(Fault::new(FaultKind::Protocol, format!("{}: over {MOST_ROWS} rows", self.host)));
                    }
                    rows.push(row(&message.body).ok_or_else(|| nonsense(&self.host))?);
                }
                b'E' => fault = Some(fault.unwrap_or_else(|| self.refused(&message.body))),
                b'Z' => return fault.map_or(Ok(rows), Err),
                // It waits for data that a statement would copy in: there is none.
                b'G' => self.send_text(b'f', b"no data").await?,
                b'T' | b'C' | b'I' | b'N' | b'S' | b'A' | b'H' | b'd' | b'c' | b'W' => {}
                _ => return Err(nonsense(&self.host)),
            }
        }
    }

    /// The server's error: severity, text and SQLSTATE, and none of the fields that repeat what was said to it.
    fn refused(&mut self, body: &[u8]) -> Fault {
        let field = |kind: u8| {
            let found = body.split(|b| *b == 0).find(|f| f.first() == Some(&kind));
            found.map(|f| String::from_utf8_lossy(&f[1..]).into_owned()).unwrap_or_default()
        };
        let (severity, text, state) = (field(b'S'), field(b'M'), field(b'C'));
        let kind = match state.as_str() {
            s if s.starts_with("28") => FaultKind::Credentials,
            // Too many connections, shutting down, starting up, cut off.
            s if s.starts_with("08") || s.starts_with("57P") || s == "53300" => FaultKind::Unreachable,
            "42704" => FaultKind::Absent,
            _ => FaultKind::Refused,
        };
        let fault = Fault::new(kind, format!("{severity}: {text} (SQLSTATE {state})"));
        self.state = state;
        fault
    }

    async fn send_text(&mut self, kind: u8, text: &[u8]) -> Result<(), Fault> {
        let mut body = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        body.extend_from_slice(text);
        body.push(0);
        self.send(Some(kind), &body).await
    }

    async fn send(&mut self, kind: Option<u8>, body: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(body.len() + 4).map_err(|_| nonsense(&self.host))?;
        let mut message = Zeroizing::new(Vec::with_capacity(body.len() + 5));
        message.extend(kind);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        self.stream.write_all(&message).await.map_err(broken(&self.host))?;
        self.stream.flush().await.map_err(broken(&self.host))
    }

    async fn receive(&mut self) -> Result<Message, Fault> {
        let mut head = [0u8; 5];
        self.stream.read_exact(&mut head).await.map_err(broken(&self.host))?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..=LONGEST).contains(&length) {
            return Err(nonsense(&self.host));
        }
        let mut body = Zeroizing::new(vec![0; length - 4]);
        self.stream.read_exact(&mut body).await.map_err(broken(&self.host))?;
        Ok(Message { kind: head[0], body })
    }
}

/// Asks whether the server speaks TLS.
async fn offered(mut stream: Box<dyn Stream>, host: &str) -> Result<(Box<dyn Stream>, bool), Fault> {
    stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await.map_err(broken(host))?;
    stream.flush().await.map_err(broken(host))?;
    // One byte and no more: what else a server might send in clear is no part of the encrypted session.
    match stream.read_u8().await.map_err(broken(host))? {
        b'S' => Ok((stream, true)),
        b'N' => Ok((stream, false)),
        _ => Err(nonsense(host)),
    }
}

/// A row's columns as text.
fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        columns.push(match i32::from_be_bytes(*length) {
            -1 => None,
            length => {
                let (text, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after;
                Some(String::from_utf8_lossy(text).into_owned())
            }
        });
    }
    rest.is_empty().then_some(columns)
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows_and_no_half_of_one() {
        let good = [0, 2, 0, 0, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(row(&good), Some(vec![Some("a".to_owned()), None]));
        for short in 0..good.len() {
            assert_eq!(row(&good[..short]), None, "{short}");
        }
        assert_eq!(row(&[0, 1, 0xff, 0xff, 0xff, 0xfe]), None, "a length below -1");
        assert_eq!(row(&[0, 0, 1]), None, "more than it says");
    }
}
