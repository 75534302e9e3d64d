//! MongoDB's wire protocol (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>), as much of it as commands need: TLS,
//! finding the primary, the logins SCRAM-SHA-256 and SCRAM-SHA-1, `OP_MSG`.
//!
//! A command is two words: the database, and the command as JSON. What comes back of it is the names of the `users` in it.

mod bson;

use super::{LONGEST, broken, nonsense, secure};
use crate::stream::{Stream, tcp};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bson::{Document, Value};
use coffer_crypto::login::{Scram, ScramHash};
use coffer_crypto::md5::md5;
use coffer_crypto::random::{Random, SystemRandom};
use coffer_engine::outside::{Fault, FaultKind, Line, Rows, Script, Target, Tls};
use coffer_types::Object;
use coffer_types::json::{Limits, parse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

const OP_MSG: i32 = 2013;
/// A check sum stands behind the message; another message follows.
const CHECKSUM: u32 = 1;
const MORE: u32 = 2;
/// The fewest rounds that a client may take (RFC 7677).
const FEWEST_ROUNDS: u32 = 4096;

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    host: String,
    number: i32,
}

impl Connection {
    /// A connection to the first host that takes writes.
    pub(super) async fn open(target: &Target) -> Result<Self, Fault> {
        let source = setting(target, "authSource").unwrap_or("admin");
        if source.contains('\0') {
            return Err(Fault::new(FaultKind::Settings, "authSource must not hold a zero byte"));
        }
        let mut hosts = target.hosts.clone();
        let mut last = Fault::new(FaultKind::Settings, "no host is named");
        let mut tried = 0;
        // A secondary names the primary, which need not be among those that were given.
        while let Some((host, port)) = hosts.get(tried).cloned().filter(|_| tried < target.hosts.len() + 4) {
            tried += 1;
            match Self::meet(target, &host, port, source).await {
                Ok((mut connection, hello)) => {
                    if hello.is_true("isWritablePrimary") || hello.is_true("ismaster") {
                        connection.log_in(target, source, &hello).await?;
                        return Ok(connection);
                    }
                    last = Fault::new(FaultKind::Unreachable, format!("{host}:{port} is not the primary, and none was found"));
                    let primary = hello.text("primary").and_then(|primary| primary.rsplit_once(':'));
                    if let Some((name, port)) = primary.and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?)))
                        && !hosts.contains(&(name.clone(), port))
                    {
                        hosts.push((name, port));
                    }
                }
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    async fn meet(target: &Target, host: &str, port: u16, source: &str) -> Result<(Self, Value), Fault> {
        let stream: Box<dyn Stream> = Box::new(tcp(host, port).await?);
        let stream = match &target.tls {
            Tls::Off => stream,
            Tls::Offered(settings) | Tls::On(settings) => secure(stream, host, settings).await?,
        };
        let mut connection = Self { stream, host: host.to_owned(), number: 0 };
        let hello = Document::default().int("hello", 1).and_then(|hello| {
            let hello = if target.user.is_empty() {
                Some(hello)
            } else {
                hello.text("saslSupportedMechs", &format!("{source}.{}", target.user))
            };
            hello?.text("$db", "admin")
        });
        let hello = connection.ask(hello).await?;
        Ok((connection, hello))
    }

    async fn log_in(&mut self, target: &Target, source: &str, hello: &Value) -> Result<(), Fault> {
        let offered = |name: &str| {
            let offers = hello.get("saslSupportedMechs");
            offers.is_some_and(|offers| offers.items().any(|offer| *offer == Value::Text(name.to_owned())))
        };
        let (name, hash) = match setting(target, "authMechanism") {
            None if offered("SCRAM-SHA-256") => ("SCRAM-SHA-256", ScramHash::Sha256),
            None | Some("SCRAM-SHA-1") => ("SCRAM-SHA-1", ScramHash::Sha1),
            Some("SCRAM-SHA-256") => ("SCRAM-SHA-256", ScramHash::Sha256),
            Some(other) => {
                let text = format!("authMechanism {other:?} is not here (here are SCRAM-SHA-256 and SCRAM-SHA-1)");
                return Err(Fault::new(FaultKind::Settings, text));
            }
        };
        let password = target.password.expose().as_bytes();
        let secret: Zeroizing<Vec<u8>> = match hash {
            ScramHash::Sha256 => Zeroizing::new(password.to_vec()),
            ScramHash::Sha1 => {
                let digest = md5(&[target.user.as_bytes(), b":mongo:", password]);
                Zeroizing::new(digest.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect())
            }
        };
        let mut nonce = [0u8; 24];
        SystemRandom.fill(&mut nonce);
        let nonce = BASE64_STANDARD.encode(nonce);
        let bare = format!("n={},r={nonce}", target.user.replace('=', "=3D").replace(',', "=2C"));
        let start = Document::default()
            .int("saslStart", 1)
            .and_then(|d| d.text("mechanism", name))
            .and_then(|d| d.binary("payload", format!("n,,{bare}").as_bytes()))
            .and_then(|d| d.document("options", Document::default().bool("skipEmptyExchange", true)?))
            .and_then(|d| d.text("$db", source));
        let reply = self.ask(start).await?;
        let challenge = payload(&reply).ok_or_else(|| nonsense(&self.host))?;
        let field = |mark: &str| challenge.split(',').find_map(|part| part.strip_prefix(mark)).map(str::to_owned);
        let together = field("r=").filter(|r| r.len() > nonce.len() && r.starts_with(&nonce));
        let salt = field("s=").and_then(|salt| BASE64_STANDARD.decode(salt).ok());
        let rounds = field("i=").and_then(|rounds| rounds.parse().ok()).filter(|rounds| *rounds >= FEWEST_ROUNDS);
        let (Some(together), Some(salt), Some(rounds)) = (together, salt, rounds) else { return Err(nonsense(&self.host)) };
        let scram = tokio::task::spawn_blocking(move || Scram::with(hash, &secret, &salt, rounds)).await.ok().flatten();
        let scram = scram.ok_or_else(|| nonsense(&self.host))?;
        let unproven = format!("c=biws,r={together}");
        let messages = format!("{bare},{challenge},{unproven}");
        let proof = BASE64_STANDARD.encode(scram.proof(messages.as_bytes()));

        let reply = self.go_on(&reply, format!("{unproven},p={proof}").as_bytes(), source).await?;
        let end = payload(&reply).ok_or_else(|| nonsense(&self.host))?;
        let signature = end.strip_prefix("v=").and_then(|v| BASE64_STANDARD.decode(v.split(',').next().unwrap_or_default()).ok());
        if !signature.is_some_and(|signature| scram.server_is_genuine(messages.as_bytes(), &signature)) {
            let text = format!("{}: the server does not know the password that it asks for", self.host);
            return Err(Fault::new(FaultKind::Credentials, text));
        }
        // Older servers want an empty message more.
        if reply.is_true("done") || self.go_on(&reply, b"", source).await?.is_true("done") {
            return Ok(());
        }
        Err(nonsense(&self.host))
    }

    async fn go_on(&mut self, before: &Value, payload: &[u8], source: &str) -> Result<Value, Fault> {
        let id = before.number("conversationId").ok_or_else(|| nonsense(&self.host))?;
        let next = Document::default()
            .int("saslContinue", 1)
            .and_then(|d| d.int("conversationId", id as i32))
            .and_then(|d| d.binary("payload", payload))
            .and_then(|d| d.text("$db", source));
        self.ask(next).await
    }

    /// Commands one after the other; `atomic` holds for a single one only.
    pub(super) async fn run(&mut self, script: &Script) -> Result<Vec<Rows>, Fault> {
        let mut rows = Vec::with_capacity(script.lines.len());
        for line in &script.lines {
            let command = command(line).ok_or_else(|| {
                Fault::new(
                    FaultKind::Settings,
                    "this database takes commands: its name, and a JSON object without zero bytes in names",
                )
            })?;
            let reply = self.ask(Some(command)).await?;
            if reply.get("writeConcernError").is_some() {
                let text = format!("{}: it was done, and not enough of the set confirmed it", self.host);
                return Err(Fault::new(FaultKind::Unreachable, text));
            }
            let users = reply.get("users").into_iter().flat_map(Value::items);
            rows.push(users.map(|user| vec![user.text("user").map(str::to_owned)]).collect());
        }
        Ok(rows)
    }

    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        let ping = Document::default().int("ping", 1).and_then(|ping| ping.text("$db", "admin"));
        self.ask(ping).await.map(|_| ())
    }

    /// One command and its answer; an answer that is a refusal is returned as one.
    async fn ask(&mut self, command: Option<Document>) -> Result<Value, Fault> {
        let body = command.and_then(Document::finish);
        let body =
            body.ok_or_else(|| Fault::new(FaultKind::Settings, "a setting of the connection must not hold a zero byte"))?;
        self.number = self.number.wrapping_add(1);
        let length = i32::try_from(body.len() + 21).map_err(|_| nonsense(&self.host))?;
        let mut message = Zeroizing::new(Vec::with_capacity(body.len() + 21));
        for word in [length, self.number, 0, OP_MSG, 0] {
            message.extend_from_slice(&word.to_le_bytes());
        }
        message.push(0);
        message.extend_from_slice(&body);
        self.stream.write_all(&message).await.map_err(broken(&self.host))?;
        self.stream.flush().await.map_err(broken(&self.host))?;

        let mut head = [0u8; 16];
        self.stream.read_exact(&mut head).await.map_err(broken(&self.host))?;
        let word = |place: usize| i32::from_le_bytes([head[place], head[place + 1], head[place + 2], head[place + 3]]);
        let length = usize::try_from(word(0)).ok().filter(|length| (21..=LONGEST).contains(length));
        let length = length.filter(|_| word(8) == self.number && word(12) == OP_MSG).ok_or_else(|| nonsense(&self.host))?;
        let mut body = Zeroizing::new(vec![0; length - 16]);
        self.stream.read_exact(&mut body).await.map_err(broken(&self.host))?;
        let reply = sections(&body).and_then(bson::read).ok_or_else(|| nonsense(&self.host))?;
        if reply.is_true("ok") { Ok(reply) } else { Err(refused(&reply)) }
    }
}

/// The document of a message with one.
fn sections(body: &[u8]) -> Option<&[u8]> {
    let (flags, rest) = body.split_first_chunk::<4>()?;
    let flags = u32::from_le_bytes(*flags);
    if flags & MORE != 0 {
        return None;
    }
    let rest = if flags & CHECKSUM != 0 { rest.split_last_chunk::<4>()?.0 } else { rest };
    rest.strip_prefix(&[0])
}

/// The server's refusal: its words and its number.
fn refused(reply: &Value) -> Fault {
    let number = reply.number("code").unwrap_or(0.0) as i64;
    let kind = match number {
        18 | 8000 => FaultKind::Credentials,
        11 => FaultKind::Absent,
        // No primary any more, shutting down, not reached in time, replicas that did not confirm.
        6 | 7 | 50 | 64 | 89 | 91 | 100 | 189 | 262 | 9001 | 10_058 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436 => {
            FaultKind::Unreachable
        }
        _ => FaultKind::Refused,
    };
    Fault::new(kind, format!("{} (code {number})", reply.text("errmsg").unwrap_or("refused")))
}

fn command(line: &Line) -> Option<Document> {
    let Line::Command(words) = line else { return None };
    let [database, command] = words.as_slice() else { return None };
    let command: Object = parse(command.expose().as_bytes(), &Limits::NONE).ok()?.into_object()?;
    let database = Some(database.expose()).filter(|name| !name.contains('\0'))?;
    Document::default().members(&command)?.text("$db", database)
}

fn payload(reply: &Value) -> Option<String> {
    let Some(Value::Binary(bytes)) = reply.get("payload") else { return None };
    String::from_utf8(bytes.to_vec()).ok()
}

fn setting<'t>(target: &'t Target, name: &str) -> Option<&'t str> {
    target.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{refused as refusal, says, target as plain};
    use super::*;
    use coffer_crypto::mac::{HmacKey, sha256};
    use coffer_engine::outside::Protocol;
    use tokio::net::{TcpListener, TcpStream};

    fn message(to: i32, document: Document) -> Vec<u8> {
        let body = document.finish().unwrap();
        let mut out = i32::try_from(body.len() + 21).unwrap().to_le_bytes().to_vec();
        for word in [77, to, OP_MSG, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.push(0);
        out.extend_from_slice(&body);
        out
    }

    fn ok() -> Document {
        Document::default().int("ok", 1).unwrap()
    }

    fn primary() -> Document {
        ok().bool("isWritablePrimary", true).unwrap().document("saslSupportedMechs", mechanisms()).unwrap()
    }

    fn mechanisms() -> Document {
        Document::default().text("0", "SCRAM-SHA-1").unwrap().text("1", "SCRAM-SHA-256").unwrap()
    }

    fn error(code: i32, text: &str) -> Document {
        Document::default().int("ok", 0).unwrap().int("code", code).unwrap().text("errmsg", text).unwrap()
    }

    fn target(port: u16) -> Target {
        Target { timeout: std::time::Duration::from_secs(5), ..plain(Protocol::MongoDb, port) }
    }

    async fn hear(stream: &mut TcpStream) -> Option<(i32, Value)> {
        let length = stream.read_i32_le().await.ok()?;
        let mut rest = vec![0; usize::try_from(length).unwrap() - 4];
        stream.read_exact(&mut rest).await.ok()?;
        Some((i32::from_le_bytes(rest[..4].try_into().unwrap()), bson::read(sections(&rest[12..]).unwrap()).unwrap()))
    }

    fn binary(value: &Value) -> String {
        payload(value).unwrap()
    }

    /// A server that knows one password, then says these answers; gives back what it was told after the login.
    async fn server(password: &'static str, rounds: u32, replies: Vec<Document>) -> (u16, tokio::task::JoinHandle<Vec<Value>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (number, hello) = hear(&mut stream).await.unwrap();
            assert_eq!(hello.text("saslSupportedMechs"), Some("admin.canary-user"));
            stream.write_all(&message(number, primary())).await.unwrap();
            let (number, start) = hear(&mut stream).await.unwrap();
            let first = binary(&start);
            let bare = first.strip_prefix("n,,").unwrap();
            let nonce = format!("{}server", bare.split("r=").nth(1).unwrap());
            let challenge = format!("r={nonce},s={},i={rounds}", BASE64_STANDARD.encode("salt"));
            let reply = |done: bool, text: &str| {
                ok().int("conversationId", 1)
                    .and_then(|d| d.bool("done", done))
                    .and_then(|d| d.binary("payload", text.as_bytes()))
                    .unwrap()
            };
            stream.write_all(&message(number, reply(false, &challenge))).await.unwrap();
            let Some((number, end)) = hear(&mut stream).await else { return Vec::new() };
            let end = binary(&end);
            let (unproven, proof) = end.rsplit_once(",p=").unwrap();
            assert_eq!(unproven, format!("c=biws,r={nonce}"));
            let messages = format!("{bare},{challenge},{unproven}");
            // RFC 5802 once more, from the server's side.
            let key = HmacKey::new(password.as_bytes());
            let mut last = key.tag(b"salt\0\0\0\x01");
            let mut salted = last;
            for _ in 1..rounds {
                last = key.tag(&last);
                salted.iter_mut().zip(last).for_each(|(s, l)| *s ^= l);
            }
            let stored = sha256(&[&HmacKey::new(&salted).tag(b"Client Key")]);
            let mask = HmacKey::new(&stored).tag(messages.as_bytes());
            let proof = BASE64_STANDARD.decode(proof).unwrap();
            let shown: Vec<u8> = proof.iter().zip(mask).map(|(p, m)| p ^ m).collect();
            if sha256(&[&shown]) != stored {
                stream.write_all(&message(number, error(18, "Authentication failed."))).await.unwrap();
                return Vec::new();
            }
            let server = HmacKey::new(&salted).tag(b"Server Key");
            let signature = BASE64_STANDARD.encode(HmacKey::new(&server).tag(messages.as_bytes()));
            stream.write_all(&message(number, reply(true, &format!("v={signature}")))).await.unwrap();
            let mut heard = Vec::new();
            for answer in replies {
                let (number, command) = hear(&mut stream).await.unwrap();
                stream.write_all(&message(number, answer)).await.unwrap();
                heard.push(command);
            }
            heard
        });
        (port, task)
    }

    fn words(database: &str, command: &str) -> Script {
        let words = [database, command].into_iter().map(coffer_types::Secret::from).collect();
        Script { atomic: false, lines: vec![Line::Command(words)] }
    }

    #[tokio::test]
    async fn logs_in_and_says_commands() {
        let users = Document::default().document("0", Document::default().text("user", "a").unwrap()).unwrap();
        let (port, heard) = server(
            "canary-password",
            4096,
            vec![
                ok(),
                ok().document("users", users).unwrap(),
                error(11, "User 'x@db' not found"),
                error(13, "not authorized"),
                error(10_107, "not primary"),
            ],
        )
        .await;
        let mut connection = Connection::open(&target(port)).await.unwrap();
        let hostile = r#"{"createUser":"a\", \"roles\": [{\"role\":\"root\"}], \"x\": \"","pwd":"p","roles":["read",{"role":"r","db":"d"}]}"#;
        assert_eq!(connection.run(&words("db", hostile)).await.unwrap(), [Rows::new()]);
        assert_eq!(connection.run(&words("db", r#"{"usersInfo":"a"}"#)).await.unwrap(), [vec![vec![Some("a".to_owned())]]]);
        for kind in [FaultKind::Absent, FaultKind::Refused, FaultKind::Unreachable] {
            assert_eq!(connection.run(&words("db", r#"{"dropUser":"x"}"#)).await.unwrap_err().kind, kind);
        }
        let heard = heard.await.unwrap();
        assert_eq!(heard[0].text("createUser"), Some(r#"a", "roles": [{"role":"root"}], "x": ""#));
        assert_eq!((heard[0].text("$db"), heard[0].get("roles").unwrap().items().count()), (Some("db"), 2));
        // What is no command is not sent.
        for (database, command) in [("d\0b", "{}"), ("db", "[]"), ("db", "{"), ("db", r#"{"a\u0000":1}"#)] {
            assert_eq!(connection.run(&words(database, command)).await.unwrap_err().kind, FaultKind::Settings, "{command}");
        }
        assert_eq!(connection.run(&Script::one("db.dropUser()")).await.unwrap_err().kind, FaultKind::Settings);
    }

    #[tokio::test]
    async fn wrong_passwords_and_servers_that_do_not_know_it() {
        let (port, _) = server("another", 4096, Vec::new()).await;
        assert_eq!(refusal(&target(port)).await, FaultKind::Credentials);
        let (port, _) = server("canary-password", 4095, Vec::new()).await;
        assert_eq!(refusal(&target(port)).await, FaultKind::Protocol, "too few rounds");
        let challenge = |text: &str| ok().int("conversationId", 1).and_then(|d| d.binary("payload", text.as_bytes())).unwrap();
        for text in ["r=other,s=c2FsdA==,i=4096", "s=c2FsdA==,i=4096", "v=x", "r=other,s=c2FsdA==,i=4000000000"] {
            let port = says(false, vec![message(1, primary()), message(2, challenge(text))]).await;
            assert_eq!(refusal(&target(port)).await, FaultKind::Protocol, "{text}");
        }
        let port = says(false, vec![message(1, primary())]).await;
        for (name, value) in [("authMechanism", "PLAIN"), ("authMechanism", "MONGODB-X509"), ("authSource", "a\0b")] {
            let mut target = target(port);
            target.parameters.push((name.into(), value.into()));
            assert_eq!(refusal(&target).await, FaultKind::Settings, "{value}");
        }
    }

    #[tokio::test]
    async fn lies_are_not_believed() {
        let whole = message(1, primary());
        let with = |place: usize, byte: u8| {
            let mut bad = whole.clone();
            bad[place] = byte;
            bad
        };
        // Over sixteen megabytes, shorter than itself, another's answer, another operation, one that goes on, another section, ok 0.
        for reply in [with(3, 0x7f), with(0, 3), with(8, 9), with(12, 1), with(16, 2), with(20, 1), with(22, 0xff)] {
            let port = says(false, vec![reply.clone()]).await;
            let kind = refusal(&plain(Protocol::MongoDb, port)).await;
            assert!(matches!(kind, FaultKind::Protocol | FaultKind::Unreachable), "{reply:?} {kind:?}");
        }
        let port = says(false, vec![message(1, ok().text("primary", "nowhere").unwrap())]).await;
        assert_eq!(refusal(&target(port)).await, FaultKind::Unreachable, "a secondary");
    }

    #[tokio::test]
    async fn a_secondary_names_the_primary() {
        let (port, _) = server("canary-password", 4096, Vec::new()).await;
        let secondary =
            ok().bool("isWritablePrimary", false).and_then(|d| d.text("primary", &format!("127.0.0.1:{port}"))).unwrap();
        let second = says(false, vec![message(1, secondary)]).await;
        assert!(Connection::open(&target(second)).await.is_ok());
    }
}
