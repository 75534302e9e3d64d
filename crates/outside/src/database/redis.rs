//! The protocol of Redis and Valkey, RESP 2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use super::{LONGEST, broken, connect, nonsense, secure};
use crate::stream::Stream;
use coffer_engine::BoxFuture;
use coffer_engine::outside::{Fault, FaultKind, Line, Rows, Script, Target, Tls};
use coffer_types::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use zeroize::Zeroizing;

/// How deep answers may nest.
const DEEPEST: usize = 8;

pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    host: String,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Fault> {
        let (stream, host) = connect(target).await?;
        let stream = match &target.tls {
            Tls::Off => stream,
            Tls::Offered(settings) | Tls::On(settings) => secure(stream, host, settings).await?,
        };
        let mut connection = Self { stream: BufReader::new(stream), host: host.to_owned() };
        let mut login = vec![Secret::from("AUTH")];
        if !target.user.is_empty() {
            login.push(Secret::from(target.user.as_str()));
        }
        login.push(target.password.duplicate());
        connection.command(&login).await.map_err(|fault| match fault.kind {
            FaultKind::Refused | FaultKind::Absent => Fault { kind: FaultKind::Credentials, ..fault },
            _ => fault,
        })?;
        if !target.database.is_empty() {
            connection.command(&[Secret::from("SELECT"), Secret::from(target.database.as_str())]).await?;
        }
        Ok(connection)
    }

    /// Commands one after the other; there is no way to take one back, so `atomic` holds only for a single one.
    pub(super) async fn run(&mut self, script: &Script) -> Result<Vec<Rows>, Fault> {
        let mut rows = Vec::with_capacity(script.lines.len());
        for line in &script.lines {
            match line {
                Line::Command(words) => rows.push(self.command(words).await?),
                Line::Statement(_) => {
                    return Err(Fault::new(FaultKind::Settings, "this database takes commands, not statements"));
                }
            }
        }
        Ok(rows)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        self.command(&[Secret::from("PING")]).await.map(|_| ())
    }

    /// The words as one command; the answer as one row of its texts, empty where it is null.
    async fn command(&mut self, words: &[Secret<String>]) -> Result<Rows, Fault> {
        let mut sent = Zeroizing::new(format!("*{}\r\n", words.len()).into_bytes());
        for word in words {
            sent.extend_from_slice(format!("${}\r\n", word.expose().len()).as_bytes());
            sent.extend_from_slice(word.expose().as_bytes());
            sent.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&sent).await.map_err(broken(&self.host))?;
        self.stream.get_mut().flush().await.map_err(broken(&self.host))?;
        let mut texts = Vec::new();
        match self.answer(&mut texts, DEEPEST).await? {
            Some(refused) => Err(refused),
            None if texts.is_empty() => Ok(Rows::new()),
            None => Ok(vec![texts]),
        }
    }

    /// Reads one answer to its end. An error is given back, not returned: an array goes on after one.
    fn answer<'a>(&'a mut self, texts: &'a mut Vec<Option<String>>, depth: usize) -> BoxFuture<'a, Result<Option<Fault>, Fault>> {
        Box::pin(async move {
            let line = self.line().await?;
            let (kind, rest) = line.split_at_checked(1).ok_or_else(|| nonsense(&self.host))?;
            let number = || rest.parse::<i64>().map_err(|_| nonsense(&self.host));
            match kind {
                "+" => texts.push(Some(rest.to_owned())),
                ":" => texts.push(Some(number()?.to_string())),
                "-" => return Ok(Some(refused(rest))),
                "$" => match number()? {
                    -1 => {}
                    length => {
                        let length =
                            usize::try_from(length).ok().filter(|l| *l <= LONGEST).ok_or_else(|| nonsense(&self.host))?;
                        let mut text = vec![0; length + 2];
                        self.stream.read_exact(&mut text).await.map_err(broken(&self.host))?;
                        if !text.ends_with(b"\r\n") {
                            return Err(nonsense(&self.host));
                        }
                        text.truncate(length);
                        texts.push(Some(String::from_utf8_lossy(&text).into_owned()));
                    }
                },
                "*" if depth > 0 => {
                    let mut fault = None;
                    for _ in 0..number()?.max(0) {
                        if texts.len() > super::MOST_ROWS {
                            return Err(nonsense(&self.host));
                        }
                        fault = fault.or(self.answer(texts, depth - 1).await?);
                    }
                    return Ok(fault);
                }
                _ => return Err(nonsense(&self.host)),
            }
            Ok(None)
        })
    }

    async fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        loop {
            match self.stream.read_u8().await.map_err(broken(&self.host))? {
                b'\r' => break,
                byte if byte != b'\n' && line.len() < 65_536 => line.push(byte),
                _ => return Err(nonsense(&self.host)),
            }
        }
        if self.stream.read_u8().await.map_err(broken(&self.host))? != b'\n' {
            return Err(nonsense(&self.host));
        }
        String::from_utf8(line).map_err(|_| nonsense(&self.host))
    }
}

fn refused(text: &str) -> Fault {
    let kind = match text.split(' ').next().unwrap_or_default() {
        "WRONGPASS" | "NOAUTH" => FaultKind::Credentials,
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" => FaultKind::Unreachable,
        _ => FaultKind::Refused,
    };
    Fault::new(kind, text.to_owned())
}
