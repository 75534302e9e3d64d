//! SQL Server's protocol, TDS 7.4 (<https://learn.microsoft.com/openspecs/windows_protocols/ms-tds>), as much of it as statements in text
//! need: TLS (inside of the protocol, or around it with `encrypt=strict`), the login by name and password, batches.

mod login;
mod tokens;
mod tunnel;

use super::{LONGEST, broken, connect, nonsense, statement};
use crate::stream::{Stream, tls};
use coffer_engine::outside::{Fault, FaultKind, Rows, Script, Target, Tls};
use login::Encryption;
use tokens::{Answer, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

/// What a packet is.
mod kind {
    pub(super) const BATCH: u8 = 0x01;
    pub(super) const ANSWER: u8 = 0x04;
    pub(super) const LOGIN: u8 = 0x10;
    pub(super) const PRELOGIN: u8 = 0x12;
}

/// The last packet of a message.
const LAST: u8 = 1;
const HEADER: usize = 8;
/// The length of packets until the server says another.
const PACKET: usize = 4096;

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    host: String,
    packet: usize,
    /// The transaction that is open, as the server named it.
    transaction: [u8; 8],
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Fault> {
        let (stream, host) = connect(target).await?;
        let strict = target.parameters.iter().any(|(name, value)| name == "encrypt" && value == "strict");
        let mut connection = Self { stream, host: host.to_owned(), packet: PACKET, transaction: [0; 8] };
        if let (true, Tls::On(settings)) = (strict, &target.tls) {
            connection.stream = tls(connection.stream, host, settings, &[b"tds/8.0"]).await?;
        }
        let wish = match &target.tls {
            Tls::Off => Encryption::NotHere,
            _ if strict => Encryption::NotHere,
            _ => Encryption::On,
        };
        connection.send(kind::PRELOGIN, &login::prelogin(wish)).await?;
        let answer = connection.receive().await?;
        let offer = login::encryption(&answer).ok_or_else(|| nonsense(host))?;
        let settings = match (&target.tls, offer) {
            _ if strict => None,
            (Tls::Off, Encryption::Required | Encryption::On) => {
                let text = format!("{host}: the server wants TLS, and encrypt=disable forbids it");
                return Err(Fault::new(FaultKind::Unreachable, text));
            }
            (Tls::Off, _) | (Tls::Offered(_), Encryption::NotHere) => None,
            (Tls::On(_), Encryption::NotHere) => {
                return Err(Fault::new(FaultKind::Unreachable, format!("{host}: the server speaks no TLS")));
            }
            (_, Encryption::Off) => return Err(nonsense(host)),
            (Tls::Offered(settings) | Tls::On(settings), _) => Some(settings),
        };
        if let Some(settings) = settings {
            let (tunnel, switch) = tunnel::Tunnel::new(connection.stream);
            connection.stream = tls(tunnel, host, settings, &[]).await?;
            switch.open();
        }
        connection.log_in(target, strict).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, target: &Target, strict: bool) -> Result<(), Fault> {
        let hello = login::login(target, strict).ok_or_else(|| {
            Fault::new(
                FaultKind::Settings,
                "a name, password or database of SQL Server has at most 128 characters, none of them zero",
            )
        })?;
        self.send(kind::LOGIN, &hello).await?;
        let answer = self.answer().await?;
        if let Some(refusal) = answer.refusal {
            return Err(refused(&refusal));
        }
        if let Some(elsewhere) = answer.elsewhere {
            let text = format!("{}: the server sends us on to {elsewhere}: name that one", self.host);
            return Err(Fault::new(FaultKind::Unreachable, text));
        }
        if !answer.logged_in {
            return Err(nonsense(&self.host));
        }
        // Statements are filled in for a server that takes "…" as a name.
        self.batch("SET QUOTED_IDENTIFIER ON; SET XACT_ABORT ON").await.map(|_| ())
    }

    /// Says the lines, atomic ones in a transaction.
    pub(super) async fn run(&mut self, script: &Script) -> Result<Vec<Rows>, Fault> {
        let lines = script.lines.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        if script.atomic && !lines.is_empty() {
            self.batch("BEGIN TRANSACTION").await?;
        }
        let mut rows = Vec::with_capacity(lines.len());
        for line in &lines {
            match self.batch(line).await {
                Ok(found) => rows.push(found),
                Err(fault) => {
                    if script.atomic && fault.is_refusal() {
                        self.batch("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION").await?;
                    }
                    return Err(fault);
                }
            }
        }
        if script.atomic && !lines.is_empty() {
            self.batch("COMMIT TRANSACTION").await?;
        }
        Ok(rows)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        self.batch("SELECT 1").await.map(|_| ())
    }

    async fn batch(&mut self, text: &str) -> Result<Rows, Fault> {
        let mut body = Zeroizing::new(Vec::with_capacity(text.len() * 2 + 22));
        // One header: which transaction, and that nothing else is under way.
        body.extend_from_slice(&[22, 0, 0, 0, 18, 0, 0, 0, 2, 0]);
        body.extend_from_slice(&self.transaction);
        body.extend_from_slice(&[1, 0, 0, 0]);
        text.encode_utf16().for_each(|unit| body.extend_from_slice(&unit.to_le_bytes()));
        self.send(kind::BATCH, &body).await?;
        let answer = self.answer().await?;
        match answer.refusal {
            Some(refusal) => Err(refused(&refusal)),
            None => Ok(answer.rows),
        }
    }

    async fn answer(&mut self) -> Result<Answer, Fault> {
        let message = self.receive().await?;
        let answer = tokens::read(&message).ok_or_else(|| nonsense(&self.host))?;
        if let Some(transaction) = answer.transaction {
            self.transaction = transaction;
        }
        self.packet = answer.packet.unwrap_or(self.packet);
        Ok(answer)
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), Fault> {
        for packet in packets(kind, body, self.packet) {
            self.stream.write_all(&packet).await.map_err(broken(&self.host))?;
        }
        self.stream.flush().await.map_err(broken(&self.host))
    }

    async fn receive(&mut self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mut whole = Zeroizing::new(Vec::new());
        loop {
            let mut head = [0u8; HEADER];
            self.stream.read_exact(&mut head).await.map_err(broken(&self.host))?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let start = whole.len();
            if head[0] != kind::ANSWER || length < HEADER || start + length > LONGEST {
                return Err(nonsense(&self.host));
            }
            whole.resize(start + length - HEADER, 0);
            self.stream.read_exact(&mut whole[start..]).await.map_err(broken(&self.host))?;
            if head[1] & LAST != 0 {
                return Ok(whole);
            }
        }
    }
}

/// A message as packets of at most `size` bytes, their headers included.
fn packets(kind: u8, body: &[u8], size: usize) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    let room = size.clamp(512, 32_767) - HEADER;
    let count = body.len().div_ceil(room).max(1);
    (0..count).map(move |number| {
        let piece = &body[number * room..body.len().min((number + 1) * room)];
        let length = u16::try_from(piece.len() + HEADER).unwrap_or(u16::MAX).to_be_bytes();
        let last = if number + 1 == count { LAST } else { 0 };
        let mut packet = Zeroizing::new(Vec::with_capacity(piece.len() + HEADER));
        // Its number counts from one and wraps.
        packet.extend_from_slice(&[kind, last, length[0], length[1], 0, 0, (number + 1).to_le_bytes()[0], 0]);
        packet.extend_from_slice(piece);
        packet
    })
}

/// The server's refusal: its words and its number.
fn refused(refusal: &Refusal) -> Fault {
    let kind = match refusal.number {
        // Unknown, locked, expired, of another database, disabled.
        18_456 | 18_486 | 18_487 | 18_488 | 18_470 | 4060 | 4062 | 4064 => FaultKind::Credentials,
        // Starting, stopping, too busy, out of connections, a replica.
        17_187 | 17_188 | 17_189 | 6005 | 10_928 | 10_929 | 40_197 | 40_501 | 40_613 | 976 | 3906 => FaultKind::Unreachable,
        // No such login, user or principal, or it may not be seen.
        15_151 | 15_007 | 15_008 | 15_410 => FaultKind::Absent,
        // The connection is gone after such.
        _ if refusal.class >= 20 => FaultKind::Unreachable,
        _ => FaultKind::Refused,
    };
    Fault::new(kind, format!("{} (error {})", refusal.text, refusal.number))
}

#[cfg(test)]
mod tests;
