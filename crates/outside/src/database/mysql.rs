//! The protocol of MySQL and MariaDB (<https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>), as much of it as
//! statements in text need: TLS, the logins `mysql_native_password` and `caching_sha2_password`, text queries.

use super::{LONGEST, MOST_ROWS, broken, connect, nonsense, secure, statement};
use crate::stream::Stream;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coffer_crypto::login::{rsa_oaep_sha1, sha1};
use coffer_crypto::mac::sha256;
use coffer_engine::outside::{Fault, FaultKind, Rows, Script, Target, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

/// What we can do: long passwords and flags, protocol 4.1, transactions, secure login, its plug-ins.
const ABILITIES: u32 = 0x1 | 0x4 | 0x200 | 0x2000 | 0x8000 | 0x8_0000 | 0x20_0000;
const WITH_DATABASE: u32 = 0x8;
const WITH_TLS: u32 = 0x800;
/// utf8mb4_general_ci, which both have.
const CHARSET: u8 = 45;

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    host: String,
    sequence: u8,
}

/// What a server says first.
struct Greeting {
    abilities: u32,
    plugin: String,
    nonce: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Fault> {
        let (stream, host) = connect(target).await?;
        let mut connection = Self { stream, host: host.to_owned(), sequence: 0 };
        let first = connection.receive().await?;
        if first.first() == Some(&0xff) {
            return Err(connection.refused(&first));
        }
        let greeting = Greeting::read(&first).ok_or_else(|| nonsense(host))?;
        let mut abilities = ABILITIES;
        if !target.database.is_empty() {
            abilities |= WITH_DATABASE;
        }
        let settings = match &target.tls {
            Tls::Off => None,
            Tls::Offered(settings) => (greeting.abilities & WITH_TLS != 0).then_some(settings),
            Tls::On(settings) if greeting.abilities & WITH_TLS != 0 => Some(settings),
            Tls::On(_) => return Err(Fault::new(FaultKind::Unreachable, format!("{host}: the server speaks no TLS"))),
        };
        let mut hello = Zeroizing::new(Vec::new());
        if settings.is_some() {
            abilities |= WITH_TLS;
        }
        hello.extend_from_slice(&abilities.to_le_bytes());
        hello.extend_from_slice(&(1u32 << 24).to_le_bytes());
        hello.push(CHARSET);
        hello.extend_from_slice(&[0; 23]);
        if let Some(settings) = settings {
            connection.send(&hello).await?;
            connection.stream = secure(connection.stream, host, settings).await?;
        }
        connection.log_in(target, &greeting, hello, settings.is_some()).await?;
        // Statements are filled in for a server that takes a backslash as an escape.
        connection.query("SET SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'NO_BACKSLASH_ESCAPES', '')").await?;
        Ok(connection)
    }

    async fn log_in(
        &mut self,
        target: &Target,
        greeting: &Greeting,
        mut hello: Zeroizing<Vec<u8>>,
        private: bool,
    ) -> Result<(), Fault> {
        if target.user.contains('\0') || target.database.contains('\0') {
            return Err(Fault::new(FaultKind::Settings, "a setting of the connection must not hold a zero byte"));
        }
        let password = target.password.expose().as_bytes();
        // What is not here is answered by a switch to what the account needs.
        let plugin = if known(&greeting.plugin) { greeting.plugin.as_str() } else { "mysql_native_password" };
        let answer = proof(plugin, password, &greeting.nonce).ok_or_else(|| nonsense(&self.host))?;
        hello.extend_from_slice(target.user.as_bytes());
        hello.push(0);
        hello.push(u8::try_from(answer.len()).map_err(|_| nonsense(&self.host))?);
        hello.extend_from_slice(&answer);
        if !target.database.is_empty() {
            hello.extend_from_slice(target.database.as_bytes());
            hello.push(0);
        }
        hello.extend_from_slice(plugin.as_bytes());
        hello.push(0);
        self.send(&hello).await?;
        let mut nonce = greeting.nonce.clone();
        for _ in 0..8 {
            let answer = self.receive().await?;
            match answer.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xff, _)) => return Err(self.refused(&answer)),
                Some((0xfe, rest)) => {
                    let mut parts = rest.splitn(2, |b| *b == 0);
                    let plugin = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                    nonce = parts.next().unwrap_or_default().to_vec();
                    if nonce.last() == Some(&0) {
                        nonce.pop();
                    }
                    let Some(answer) = proof(&plugin, password, &nonce) else {
                        let text = format!(
                            "{}: the account logs in by {plugin:?}, which is not here (here are mysql_native_password and caching_sha2_password)",
                            self.host
                        );
                        return Err(Fault::new(FaultKind::Credentials, text));
                    };
                    self.send(&answer).await?;
                }
                // caching_sha2_password: known already, or asks for the password itself.
                Some((0x01, [3])) => {}
                Some((0x01, [4])) => self.send_password(password, &nonce, private).await?,
                _ => return Err(nonsense(&self.host)),
            }
        }
        Err(nonsense(&self.host))
    }

    /// As it is inside of TLS, else under the server's public key.
    async fn send_password(&mut self, password: &[u8], nonce: &[u8], private: bool) -> Result<(), Fault> {
        let mut secret = Zeroizing::new(password.to_vec());
        secret.push(0);
        if private {
            return self.send(&secret).await;
        }
        self.send(&[2]).await?;
        let answer = self.receive().await?;
        let Some((0x01, pem)) = answer.split_first() else { return Err(self.refused(&answer)) };
        if !nonce.is_empty() {
            secret.iter_mut().zip(nonce.iter().cycle()).for_each(|(s, n)| *s ^= n);
        }
        let body: String =
            String::from_utf8_lossy(pem).lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let spki = BASE64_STANDARD.decode(body).map_err(|_| nonsense(&self.host))?;
        let sealed = rsa_oaep_sha1(&spki, &secret).ok_or_else(|| nonsense(&self.host))?;
        self.send(&sealed).await
    }

    /// Says the lines. Statements that make or change accounts commit by themselves in this database, whatever stands around them.
    pub(super) async fn run(&mut self, script: &Script) -> Result<Vec<Rows>, Fault> {
        let lines = script.lines.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        if script.atomic {
            self.query("START TRANSACTION").await?;
        }
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            match self.query(line).await {
                Ok(found) => rows.push(found),
                Err(fault) => {
                    if script.atomic && fault.is_refusal() {
                        self.query("ROLLBACK").await?;
                    }
                    return Err(fault);
                }
            }
        }
        if script.atomic {
            self.query("COMMIT").await?;
        }
        Ok(rows)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        self.sequence = 0;
        self.send(&[0x0e]).await?;
        let answer = self.receive().await?;
        if answer.first() == Some(&0) { Ok(()) } else { Err(self.refused(&answer)) }
    }

    async fn query(&mut self, text: &str) -> Result<Rows, Fault> {
        let mut sent = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        sent.push(0x03);
        sent.extend_from_slice(text.as_bytes());
        self.sequence = 0;
        self.send(&sent).await?;
        let answer = self.receive().await?;
        let columns = match answer.first() {
            Some(0x00) => return Ok(Rows::new()),
            Some(0xff) => return Err(self.refused(&answer)),
            // It asks for a file of ours.
            Some(0xfb) | None => return Err(nonsense(&self.host)),
            Some(_) => length(&answer).ok_or_else(|| nonsense(&self.host))?.0.unwrap_or(0),
        };
        for _ in 0..=columns {
            self.receive().await?;
        }
        let mut rows = Rows::new();
        loop {
            let answer = self.receive().await?;
            match answer.first() {
                Some(0xff) => return Err(self.refused(&answer)),
                Some(0xfe) if answer.len() < 9 => return Ok(rows),
                _ if rows.len() == MOST_ROWS => {
                    return Err(Fault::new(FaultKind::Protocol, format!("{}: over {MOST_ROWS} rows", self.host)));
                }
                _ => rows.push(row(&answer).ok_or_else(|| nonsense(&self.host))?),
            }
        }
    }

    /// The server's error: number, SQLSTATE and text. The text of a syntax error repeats the statement: it ends before that.
    fn refused(&self, body: &[u8]) -> Fault {
        let Some((0xff, [low, high, rest @ ..])) = body.split_first() else { return nonsense(&self.host) };
        let number = u16::from_le_bytes([*low, *high]);
        let (state, text) = match rest.split_first() {
            Some((b'#', rest)) if rest.len() >= 5 => (String::from_utf8_lossy(&rest[..5]).into_owned(), &rest[5..]),
            _ => (String::new(), rest),
        };
        let text = String::from_utf8_lossy(text);
        let text = if number == 1064 { text.split(" near ").next().unwrap_or_default().to_owned() } else { text.into_owned() };
        let kind = match number {
            1045 | 1044 | 1698 | 1251 | 1862 => FaultKind::Credentials,
            1040 | 1053 | 1129 | 1203 => FaultKind::Unreachable,
            // No such grant, no such account; 1396 says only that an account could not be made or changed.
            1133 | 1141 | 1269 | 1396 | 3162 => FaultKind::Absent,
            _ => FaultKind::Refused,
        };
        Fault::new(kind, format!("Error {number} ({state}): {text}"))
    }

    async fn send(&mut self, body: &[u8]) -> Result<(), Fault> {
        if body.len() >= 0xff_ffff {
            return Err(Fault::new(FaultKind::Settings, "a statement is over 16 MiB"));
        }
        let length = u32::try_from(body.len()).unwrap_or(0).to_le_bytes();
        let mut packet = Zeroizing::new(Vec::with_capacity(body.len() + 4));
        packet.extend_from_slice(&length[..3]);
        packet.push(self.sequence);
        packet.extend_from_slice(body);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&packet).await.map_err(broken(&self.host))?;
        self.stream.flush().await.map_err(broken(&self.host))
    }

    async fn receive(&mut self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mut whole = Zeroizing::new(Vec::new());
        loop {
            let mut head = [0u8; 4];
            self.stream.read_exact(&mut head).await.map_err(broken(&self.host))?;
            let length = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
            self.sequence = head[3].wrapping_add(1);
            let start = whole.len();
            if start + length > LONGEST {
                return Err(nonsense(&self.host));
            }
            whole.resize(start + length, 0);
            self.stream.read_exact(&mut whole[start..]).await.map_err(broken(&self.host))?;
            if length < 0xff_ffff {
                return Ok(whole);
            }
        }
    }
}

impl Greeting {
    fn read(body: &[u8]) -> Option<Self> {
        let (version, rest) = body.split_first()?;
        if *version != 10 {
            return None;
        }
        let end = rest.iter().position(|b| *b == 0)?;
        // The server's version, its thread; then the nonce's first part, a filler.
        let rest = rest.get(end + 1 + 4..)?;
        let (mut nonce, rest) = (rest.get(..8)?.to_vec(), rest.get(9..)?);
        let low = u16::from_le_bytes(*rest.first_chunk()?);
        let Some(rest) = rest.get(2 + 1 + 2..) else {
            return Some(Self { abilities: low.into(), plugin: String::new(), nonce });
        };
        let high = u16::from_le_bytes(*rest.first_chunk()?);
        let more = usize::from(*rest.get(2)?).saturating_sub(8).max(13);
        let rest = rest.get(3 + 10..)?;
        let second = rest.get(..more.min(rest.len()))?;
        nonce.extend_from_slice(second.strip_suffix(&[0]).unwrap_or(second));
        let plugin = rest.get(more.min(rest.len())..)?;
        let plugin = String::from_utf8_lossy(plugin.split(|b| *b == 0).next().unwrap_or_default()).into_owned();
        Some(Self { abilities: u32::from(low) | u32::from(high) << 16, plugin, nonce })
    }
}

fn known(plugin: &str) -> bool {
    matches!(plugin, "mysql_native_password" | "caching_sha2_password")
}

/// The proof of a password by a plug-in; `None` for one that is not here.
fn proof(plugin: &str, password: &[u8], nonce: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if password.is_empty() && known(plugin) {
        return Some(Zeroizing::default());
    }
    let xor = |one: &[u8], other: &[u8]| Zeroizing::new(one.iter().zip(other).map(|(a, b)| a ^ b).collect());
    match plugin {
        "mysql_native_password" => {
            let once = Zeroizing::new(sha1(&[password]));
            let twice = Zeroizing::new(sha1(&[&*once]));
            Some(xor(&*once, &sha1(&[nonce, &*twice])))
        }
        "caching_sha2_password" => {
            let once = Zeroizing::new(sha256(&[password]));
            let twice = Zeroizing::new(sha256(&[&*once]));
            Some(xor(&*once, &sha256(&[&*twice, nonce])))
        }
        _ => None,
    }
}

/// A number of the protocol's own form (`None` is null) and what follows it.
fn length(body: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (first, rest) = body.split_first()?;
    let bytes = match first {
        0..=0xfa => return Some((Some(usize::from(*first)), rest)),
        0xfb => return Some((None, rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xff => return None,
    };
    let (number, rest) = rest.split_at_checked(bytes)?;
    let mut whole = [0u8; 8];
    whole[..bytes].copy_from_slice(number);
    Some((Some(usize::try_from(u64::from_le_bytes(whole)).ok()?), rest))
}

fn row(mut rest: &[u8]) -> Option<Vec<Option<String>>> {
    let mut columns = Vec::new();
    while !rest.is_empty() {
        let (size, after) = length(rest)?;
        rest = after;
        columns.push(match size {
            None => None,
            Some(size) => {
                let (text, after) = rest.split_at_checked(size)?;
                rest = after;
                Some(String::from_utf8_lossy(text).into_owned())
            }
        });
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows_and_no_half_of_one() {
        assert_eq!(row(&[1, b'a', 0xfb, 0xfc, 1, 0, b'b']), Some(vec![Some("a".into()), None, Some("b".into())]));
        for bad in [&[2, b'a'][..], &[0xfc, 1], &[0xff], &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(row(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn greetings_cut_off_are_none() {
        let mut whole = vec![10];
        whole.extend_from_slice(b"8.0\0");
        whole.extend_from_slice(&[1, 0, 0, 0]);
        whole.extend_from_slice(b"abcdefgh\0");
        whole.extend_from_slice(&[0xff, 0xf7, 45, 2, 0, 0x08, 0x00, 21]);
        whole.extend_from_slice(&[0; 10]);
        whole.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
        let greeting = Greeting::read(&whole).unwrap();
        assert_eq!(
            (greeting.nonce.as_slice(), greeting.plugin.as_str()),
            (&b"abcdefghijklmnopqrst"[..], "caching_sha2_password")
        );
        assert_eq!(greeting.abilities, 0x8_f7ff);
        for short in 0..20 {
            assert!(Greeting::read(&whole[..short]).is_none(), "{short}");
        }
        whole[0] = 9;
        assert!(Greeting::read(&whole).is_none());
    }

    #[test]
    fn proofs_of_the_reference() {
        // The double hash that a server stores for "password", and the proof that it checks against it.
        let nonce = b"01234567890123456789";
        let proof = proof("mysql_native_password", b"password", nonce).unwrap();
        let stored = sha1(&[&sha1(&[b"password"])]);
        let mask = sha1(&[nonce, &stored]);
        let once: Vec<u8> = proof.iter().zip(mask).map(|(p, m)| p ^ m).collect();
        assert_eq!(sha1(&[&once]), stored);
        assert!(super::proof("dialog", b"p", nonce).is_none());
        assert!(super::proof("caching_sha2_password", b"", nonce).unwrap().is_empty());
    }
}
