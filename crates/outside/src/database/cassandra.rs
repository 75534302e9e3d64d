//! Cassandra's native protocol, versions 3 and 4
//! (<https://cassandra.apache.org/doc/latest/cassandra/reference/native-protocol.html>), as much of it as statements in text need: TLS,
//! the login by name and password, unprepared queries.

use super::{LONGEST, MOST_ROWS, broken, connect, nonsense, secure, statement};
use crate::stream::Stream;
use coffer_engine::outside::{Fault, FaultKind, Rows, Script, Target, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

/// What a frame is.
mod opcode {
    pub(super) const ERROR: u8 = 0x00;
    pub(super) const STARTUP: u8 = 0x01;
    pub(super) const READY: u8 = 0x02;
    pub(super) const AUTHENTICATE: u8 = 0x03;
    pub(super) const OPTIONS: u8 = 0x05;
    pub(super) const SUPPORTED: u8 = 0x06;
    pub(super) const QUERY: u8 = 0x07;
    pub(super) const RESULT: u8 = 0x08;
    pub(super) const AUTH_RESPONSE: u8 = 0x0f;
    pub(super) const AUTH_SUCCESS: u8 = 0x10;
}

/// What may stand before a frame's body: the id of a trace, a server's own map, warnings. Compression, the first bit, is not asked for.
const COMPRESSED: u8 = 0x01;
const TRACED: u8 = 0x02;
const PAYLOAD: u8 = 0x04;
const WARNED: u8 = 0x08;

/// Metadata of rows: one table for all columns, more pages, no columns described.
const ONE_TABLE: i32 = 1;
const MORE_PAGES: i32 = 2;
const NO_COLUMNS: i32 = 4;

/// How deep the types of columns may nest.
const DEEPEST: usize = 16;

/// The logins that take a name and a password at once, by the last word of their class.
const LOGINS: [&str; 3] = ["PasswordAuthenticator", "HelenusAuthenticator", "TransitionalAuthenticator"];

/// How many replicas must agree, in the order of the protocol's numbers.
const LEVELS: [&str; 11] =
    ["ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "SERIAL", "LOCAL_SERIAL", "LOCAL_ONE"];

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    host: String,
    version: u8,
    level: u16,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Fault> {
        let (stream, host) = connect(target).await?;
        let stream = match &target.tls {
            Tls::Off => stream,
            Tls::Offered(settings) | Tls::On(settings) => secure(stream, host, settings).await?,
        };
        let setting = |name: &str| target.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let version = match setting("protocol_version") {
            None | Some("4") => 4,
            Some("3") => 3,
            Some(other) => {
                return Err(Fault::new(FaultKind::Settings, format!("protocol_version must be 3 or 4, not {other:?}")));
            }
        };
        let level = setting("consistency").unwrap_or("QUORUM");
        let level = LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level)).and_then(|place| u16::try_from(place).ok());
        let level = level.ok_or_else(|| Fault::new(FaultKind::Settings, "consistency is no level that Cassandra knows"))?;
        let mut connection = Self { stream, host: host.to_owned(), version, level };
        connection.log_in(target).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, target: &Target) -> Result<(), Fault> {
        let mut hello = Zeroizing::new(1u16.to_be_bytes().to_vec());
        short(&mut hello, "CQL_VERSION");
        short(&mut hello, "3.0.0");
        let class = match self.ask(opcode::STARTUP, &hello).await? {
            // It knows no logins, and so takes every password.
            (opcode::READY, _) => return Ok(()),
            (opcode::AUTHENTICATE, body) => Reader(&body)
                .short()
                .and_then(|b| std::str::from_utf8(b).ok())
                .map(str::to_owned)
                .ok_or_else(|| nonsense(&self.host))?,
            _ => return Err(nonsense(&self.host)),
        };
        if !LOGINS.contains(&class.rsplit('.').next().unwrap_or_default()) {
            let text =
                format!("{}: the server logs in by {class:?}, which is not here (here is PasswordAuthenticator)", self.host);
            return Err(Fault::new(FaultKind::Credentials, text));
        }
        let password = target.password.expose();
        if target.user.contains('\0') || password.contains('\0') {
            return Err(Fault::new(FaultKind::Settings, "a name or password of this database can't hold a zero byte"));
        }
        let length = target.user.len() + password.len() + 2;
        let mut answer = Zeroizing::new(Vec::with_capacity(length + 4));
        answer.extend_from_slice(&i32::try_from(length).map_err(|_| nonsense(&self.host))?.to_be_bytes());
        answer.push(0);
        answer.extend_from_slice(target.user.as_bytes());
        answer.push(0);
        answer.extend_from_slice(password.as_bytes());
        match self.ask(opcode::AUTH_RESPONSE, &answer).await? {
            (opcode::AUTH_SUCCESS, _) => Ok(()),
            _ => Err(nonsense(&self.host)),
        }
    }

    /// Says the lines one after the other: what is said of roles can't be taken back there, so `atomic` holds for a single one only.
    pub(super) async fn run(&mut self, script: &Script) -> Result<Vec<Rows>, Fault> {
        let lines = script.lines.iter().map(statement).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            rows.push(self.query(line).await?);
        }
        Ok(rows)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        match self.ask(opcode::OPTIONS, &[]).await? {
            (opcode::SUPPORTED, _) => Ok(()),
            _ => Err(nonsense(&self.host)),
        }
    }

    async fn query(&mut self, text: &str) -> Result<Rows, Fault> {
        let mut body = Zeroizing::new(Vec::with_capacity(text.len() + 7));
        body.extend_from_slice(&i32::try_from(text.len()).map_err(|_| nonsense(&self.host))?.to_be_bytes());
        body.extend_from_slice(text.as_bytes());
        body.extend_from_slice(&self.level.to_be_bytes());
        body.push(0);
        match self.ask(opcode::QUERY, &body).await? {
            (opcode::RESULT, body) => result(&body).ok_or_else(|| nonsense(&self.host)),
            _ => Err(nonsense(&self.host)),
        }
    }

    /// One question and its answer; an answer that is an error is returned as one.
    async fn ask(&mut self, kind: u8, body: &[u8]) -> Result<(u8, Zeroizing<Vec<u8>>), Fault> {
        let length = u32::try_from(body.len()).map_err(|_| nonsense(&self.host))?;
        let mut frame = Zeroizing::new(Vec::with_capacity(body.len() + 9));
        frame.extend_from_slice(&[self.version, 0, 0, 0, kind]);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(body);
        self.stream.write_all(&frame).await.map_err(broken(&self.host))?;
        self.stream.flush().await.map_err(broken(&self.host))?;

        let mut head = [0u8; 9];
        self.stream.read_exact(&mut head).await.map_err(broken(&self.host))?;
        let [version, flags, stream @ .., kind, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if version & 0x80 == 0 || length > LONGEST || flags & COMPRESSED != 0 {
            return Err(nonsense(&self.host));
        }
        let mut body = Zeroizing::new(vec![0; length]);
        self.stream.read_exact(&mut body).await.map_err(broken(&self.host))?;
        // Servers refuse a version in frames of their own, which are read the same.
        if kind != opcode::ERROR && (version & 0x7f != self.version || stream != [0, 0]) {
            return Err(nonsense(&self.host));
        }
        let mut rest = Reader(&body);
        skip(&mut rest, flags).ok_or_else(|| nonsense(&self.host))?;
        if kind == opcode::ERROR {
            return Err(refused(rest).unwrap_or_else(|| nonsense(&self.host)));
        }
        let rest = Zeroizing::new(rest.0.to_vec());
        Ok((kind, rest))
    }
}

/// What stands before the body proper.
fn skip(body: &mut Reader<'_>, flags: u8) -> Option<()> {
    if flags & TRACED != 0 {
        body.take(16)?;
    }
    if flags & WARNED != 0 {
        for _ in 0..body.u16()? {
            body.short()?;
        }
    }
    if flags & PAYLOAD != 0 {
        for _ in 0..body.u16()? {
            body.short()?;
            body.bytes()?;
        }
    }
    Some(())
}

/// The server's error: its number and its words.
fn refused(mut body: Reader<'_>) -> Option<Fault> {
    let number = body.i32()?;
    let text = String::from_utf8_lossy(body.short()?).into_owned();
    let kind = match number {
        0x0100 => FaultKind::Credentials,
        // Failing, too few replicas, overloaded, starting, and answers of replicas that came too late: nobody knows what happened.
        0x0000 | 0x1000..=0x1700 => FaultKind::Unreachable,
        0x000a => FaultKind::Protocol,
        // Whatever a statement names that is not there; and some more.
        0x2200 => FaultKind::Absent,
        _ => FaultKind::Refused,
    };
    Some(Fault::new(kind, format!("{text} (code {number:#06x})")))
}

/// The rows of a result, none where it is of another kind. `None` where it can't be read.
fn result(body: &[u8]) -> Option<Rows> {
    let mut body = Reader(body);
    if body.i32()? != 2 {
        return Some(Rows::new());
    }
    let flags = body.i32()?;
    let columns = usize::try_from(body.i32()?).ok()?;
    if flags & MORE_PAGES != 0 {
        body.bytes()?;
    }
    if flags & NO_COLUMNS == 0 {
        let table = |body: &mut Reader<'_>| {
            body.short()?;
            body.short().map(|_| ())
        };
        if flags & ONE_TABLE != 0 {
            table(&mut body)?;
        }
        for _ in 0..columns {
            if flags & ONE_TABLE == 0 {
                table(&mut body)?;
            }
            body.short()?;
            type_of(&mut body, DEEPEST)?;
        }
    }
    let count = usize::try_from(body.i32()?).ok().filter(|count| *count <= MOST_ROWS)?;
    // Each value has four bytes at least, so a count that lies ends soon; rows without columns would not.
    if columns == 0 && count > 0 {
        return None;
    }
    let mut rows = Rows::new();
    for _ in 0..count {
        let row = (0..columns).map(|_| Some(body.bytes()?.map(|value| String::from_utf8_lossy(value).into_owned())));
        rows.push(row.collect::<Option<Vec<_>>>()?);
    }
    body.0.is_empty().then_some(rows)
}

/// Skips the type of a column.
fn type_of(body: &mut Reader<'_>, deep: usize) -> Option<()> {
    let deep = deep.checked_sub(1)?;
    match body.u16()? {
        0x00 => body.short().map(|_| ()),
        0x20 | 0x22 => type_of(body, deep),
        0x21 => type_of(body, deep).and_then(|()| type_of(body, deep)),
        0x30 => {
            body.short()?;
            body.short()?;
            (0..body.u16()?).try_for_each(|_| body.short().and_then(|_| type_of(body, deep)))
        }
        0x31 => (0..body.u16()?).try_for_each(|_| type_of(body, deep)),
        _ => Some(()),
    }
}

fn short(out: &mut Vec<u8>, text: &str) {
    // Only the words of STARTUP, which are short.
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads from the front; `None` where there is too little.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    /// `[string]`: two bytes of length.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// `[bytes]`: four bytes of length, null where it is negative.
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match usize::try_from(self.i32()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answers, refused as refusal, says, target};
    use super::*;
    use coffer_engine::outside::Protocol;
    use coffer_types::Secret;

    fn frame(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0x84, flags, 0, 0, kind];
        out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn error(number: u32, text: &str) -> Vec<u8> {
        let mut body = number.to_be_bytes().to_vec();
        short(&mut body, text);
        frame(opcode::ERROR, 0, &body)
    }

    fn asks(class: &str) -> Vec<u8> {
        let mut body = Vec::new();
        short(&mut body, class);
        frame(opcode::AUTHENTICATE, 0, &body)
    }

    /// Two rows of a text and a set of texts, as Cassandra 5.0 sends them.
    fn rows() -> Vec<u8> {
        let mut body = [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2].to_vec();
        for text in ["system_auth", "roles", "role"] {
            short(&mut body, text);
        }
        body.extend_from_slice(&[0, 0x0d]);
        short(&mut body, "member_of");
        body.extend_from_slice(&[0, 0x22, 0, 0x0d, 0, 0, 0, 2]);
        body.extend_from_slice(b"\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x01b\0\0\0\0");
        body
    }

    #[test]
    fn reads_rows_and_no_half_of_them() {
        let whole = rows();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(result(&whole), Some(vec![vec![text("a"), None], vec![text("b"), text("")]]));
        for short in 0..whole.len() {
            assert_eq!(result(&whole[..short]), None, "{short}");
        }
        let mut more = whole.clone();
        more.push(0);
        assert_eq!(result(&more), None, "more than it says");
        assert_eq!(result(&[0, 0, 0, 1]), Some(Rows::new()), "no rows at all");
        // No columns and two thousand million rows; a type in a type in a type …
        assert_eq!(result(&[0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        let mut deep = [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec();
        deep.extend_from_slice(&[0, 0x20].repeat(100_000));
        assert_eq!(result(&deep), None);
    }

    #[tokio::test]
    async fn logs_in_and_asks() {
        let mut warned = vec![0, 1, 0, 2, b'h', b'm'];
        warned.extend_from_slice(&rows());
        let (port, heard) = answers(
            false,
            vec![
                asks("org.apache.cassandra.auth.PasswordAuthenticator"),
                frame(opcode::AUTH_SUCCESS, 0, b"\xff\xff\xff\xff"),
                frame(opcode::RESULT, WARNED, &warned),
                error(0x2200, "u doesn't exist"),
            ],
        )
        .await;
        let mut target = target(Protocol::Cassandra, port);
        target.parameters.push(("consistency".into(), "local_quorum".into()));
        let mut connection = Connection::open(&target).await.unwrap();
        let found = connection.run(&Script::one("LIST ROLES")).await.unwrap();
        assert_eq!(found[0].len(), 2);
        let fault = connection.run(&Script::one("DROP ROLE u")).await.unwrap_err();
        assert_eq!((fault.kind, fault.text.as_ref()), (FaultKind::Absent, "u doesn't exist (code 0x2200)"));
        let heard = heard.await.unwrap();
        assert_eq!(heard[0], b"\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0");
        assert_eq!(heard[1], b"\x04\0\0\0\x0f\0\0\0\x20\0\0\0\x1c\0canary-user\0canary-password");
        assert_eq!(heard[2], b"\x04\0\0\0\x07\0\0\0\x11\0\0\0\x0aLIST ROLES\0\x06\0");
    }

    #[tokio::test]
    async fn refuses() {
        let password = || asks("org.apache.cassandra.auth.PasswordAuthenticator");
        for (replies, kind) in [
            (vec![password(), error(0x0100, "Provided username and/or password are incorrect")], FaultKind::Credentials),
            (vec![asks("com.example.Kerberos")], FaultKind::Credentials),
            (vec![error(0x1002, "starting")], FaultKind::Unreachable),
            (vec![error(0x000a, "Invalid or unsupported protocol version (4)")], FaultKind::Protocol),
            // Over sixteen megabytes, compressed, a question, another stream's, a class that is cut off, an error that is.
            (vec![b"\x84\0\0\0\x02\xff\xff\xff\xff".to_vec()], FaultKind::Protocol),
            (vec![b"\x84\x01\0\0\x02\0\0\0\0".to_vec()], FaultKind::Protocol),
            (vec![b"\x04\0\0\0\x02\0\0\0\0".to_vec()], FaultKind::Protocol),
            (vec![b"\x84\0\0\x07\x02\0\0\0\0".to_vec()], FaultKind::Protocol),
            (vec![frame(opcode::AUTHENTICATE, 0, b"\0\x09abc")], FaultKind::Protocol),
            (vec![frame(opcode::ERROR, 0, b"\0\0")], FaultKind::Protocol),
            (vec![frame(opcode::READY, WARNED, b"\0\x09")], FaultKind::Protocol),
            (vec![password(), frame(opcode::READY, 0, b"")], FaultKind::Protocol),
            (vec![frame(opcode::RESULT, 0, b"")], FaultKind::Protocol),
        ] {
            let port = says(false, replies.clone()).await;
            assert_eq!(refusal(&target(Protocol::Cassandra, port)).await, kind, "{replies:?}");
        }
        for (name, value) in [("protocol_version", "2"), ("protocol_version", "5"), ("consistency", "MOST")] {
            let port = says(false, vec![frame(opcode::READY, 0, b"")]).await;
            let mut target = target(Protocol::Cassandra, port);
            target.parameters.push((name.into(), value.into()));
            assert_eq!(refusal(&target).await, FaultKind::Settings, "{value}");
        }
        let port = says(false, vec![password()]).await;
        let target = Target { password: Secret::from("a\0b"), ..target(Protocol::Cassandra, port) };
        assert_eq!(refusal(&target).await, FaultKind::Settings);
    }
}
