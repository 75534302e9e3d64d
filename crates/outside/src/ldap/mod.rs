//! A client of LDAP (RFC 4511): simple bind, search with pages, `StartTLS`, and one modification. Written here, for it is small, and
//! so that TLS, limits and referrals are the same as everywhere else in this room.

mod ber;
mod message;

use crate::stream::{self, Stream};
use coffer_engine::BoxFuture;
use coffer_engine::outside::{Directory, DirectorySecurity, DirectoryServer, DirectorySession, Entry, Fault, FaultKind, Search};
use coffer_types::{Secret, secret};
use message::Received;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// See [`Directory`].
#[derive(Debug, Default)]
pub(crate) struct Client;

/// The largest message that is taken, and all of a search's together.
const MAX_MESSAGE: usize = 4 << 20;
const MAX_SEARCH: usize = 16 << 20;

impl Directory for Client {
    fn connect<'a>(&'a self, to: &'a DirectoryServer) -> BoxFuture<'a, Result<Box<dyn DirectorySession>, Fault>> {
        Box::pin(async move {
            let within = tokio::time::timeout(to.connect_timeout, connect(to));
            let session = within.await.map_err(|_| late(&to.host))??;
            Ok(Box::new(session) as Box<dyn DirectorySession>)
        })
    }
}

struct Session {
    stream: Box<dyn Stream>,
    host: String,
    timeout: Duration,
    last_id: u32,
}

async fn connect(to: &DirectoryServer) -> Result<Session, Fault> {
    let tcp = stream::tcp(&to.host, to.port).await?;
    let session = |stream| Session { stream, host: to.host.clone(), timeout: to.request_timeout, last_id: 0 };
    match to.security {
        DirectorySecurity::Plain => Ok(session(Box::new(tcp))),
        DirectorySecurity::Tls => Ok(session(stream::tls(tcp, &to.host, &to.tls, &[]).await?)),
        DirectorySecurity::StartTls => {
            let mut plain = session(Box::new(tcp));
            let id = plain.next_id();
            let reply = plain.exchange(&message::start_tls(id)).await?;
            let reply = plain.read(&reply, id, message::EXTENDED)?;
            plain.check(reply.result(), "StartTLS")?;
            // Messages are read to their last byte and no further, so nothing said in clear is taken for said in TLS.
            let tls = stream::tls(plain.stream, &to.host, &to.tls, &[]).await?;
            Ok(session(tls))
        }
    }
}

impl DirectorySession for Session {
    fn bind<'a>(&'a mut self, dn: &'a str, password: &'a Secret<String>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if dn.is_empty() || password.expose().is_empty() {
                return Err(Fault::new(FaultKind::Credentials, "a bind without a name or a password proves nothing"));
            }
            self.simple_bind(dn, password.expose()).await
        })
    }

    fn bind_anonymously(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.simple_bind("", ""))
    }

    fn search<'a>(&'a mut self, search: &'a Search) -> BoxFuture<'a, Result<Vec<Entry>, Fault>> {
        Box::pin(async move {
            let within = self.timeout;
            match tokio::time::timeout(within, self.pages(search)).await {
                Ok(found) => found,
                Err(_) => Err(late(&self.host)),
            }
        })
    }

    fn replace_password<'a>(&'a mut self, dn: &'a str, new: &'a Secret<String>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let id = self.next_id();
            let reply = self.in_time(&message::replace(id, dn, "userPassword", new.expose().as_bytes())).await?;
            let code = self.read(&reply, id, message::MODIFIED)?.result();
            self.check(code, "the change of the password")
        })
    }
}

impl Session {
    async fn simple_bind(&mut self, dn: &str, password: &str) -> Result<(), Fault> {
        let id = self.next_id();
        let reply = self.in_time(&message::bind(id, dn, password.as_bytes())).await?;
        let code = self.read(&reply, id, message::BIND)?.result().map_err(|_| self.nonsense())?;
        match code {
            0 => Ok(()),
            // These say nothing of the name and password.
            1 | 2 | 7 | 8 | 10 | 13 | 51 | 52 | 80 => self.check(Ok(code), "the bind"),
            _ => Err(Fault::new(FaultKind::Credentials, format!("{} does not take the name and password", self.host))),
        }
    }

    async fn pages(&mut self, search: &Search) -> Result<Vec<Entry>, Fault> {
        let seconds = u32::try_from(self.timeout.as_secs()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs());
        let (mut found, mut taken) = (Vec::new(), 0);
        let mut cookie = Vec::new();
        loop {
            let id = self.next_id();
            self.send(&message::search(id, search, seconds, &cookie)).await?;
            cookie = loop {
                let bytes = self.receive().await?;
                taken += bytes.len();
                let message = self.any(&bytes, id)?;
                match message.tag {
                    message::ENTRY => found.push(message.entry().map_err(|_| self.nonsense())?),
                    // Where else to look: not followed.
                    message::REFERENCE => {}
                    message::SEARCH_DONE => match message.result().map_err(|_| self.nonsense())? {
                        0 => break message.cookie().map_err(|_| self.nonsense())?,
                        // No such base.
                        32 => return Ok(Vec::new()),
                        code => return self.check(Ok(code), "the search").map(|()| found),
                    },
                    _ => return Err(self.nonsense()),
                }
                if found.len() > search.limit || taken > MAX_SEARCH {
                    return Err(Fault::new(FaultKind::Protocol, format!("{} found more than is taken", self.host)));
                }
            };
            if cookie.is_empty() || search.page == 0 {
                return Ok(found);
            }
        }
    }

    /// Sends and receives within the time of one question.
    async fn in_time(&mut self, message: &[u8]) -> Result<secret::Bytes, Fault> {
        let within = self.timeout;
        match tokio::time::timeout(within, self.exchange(message)).await {
            Ok(reply) => reply,
            Err(_) => Err(late(&self.host)),
        }
    }

    async fn exchange(&mut self, message: &[u8]) -> Result<secret::Bytes, Fault> {
        self.send(message).await?;
        self.receive().await
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        let sent = match self.stream.write_all(message).await {
            Ok(()) => self.stream.flush().await,
            failed => failed,
        };
        sent.map_err(|e| self.broke(&e))
    }

    /// One message, to its last byte and no further.
    async fn receive(&mut self) -> Result<secret::Bytes, Fault> {
        let mut bytes = secret::Bytes::default();
        let (header, length) = loop {
            let byte = self.stream.read_u8().await.map_err(|e| self.broke(&e))?;
            bytes.push(byte);
            if let Some(known) = ber::header(&bytes).map_err(|_| self.nonsense())? {
                break known;
            }
        };
        if length > MAX_MESSAGE {
            return Err(Fault::new(FaultKind::Protocol, format!("{}: a message is over {MAX_MESSAGE} bytes", self.host)));
        }
        bytes.resize(header + length, 0);
        self.stream.read_exact(&mut bytes[header..]).await.map_err(|e| self.broke(&e))?;
        Ok(bytes)
    }

    fn any<'b>(&self, bytes: &'b [u8], id: u32) -> Result<Received<'b>, Fault> {
        let message = Received::read(bytes).map_err(|_| self.nonsense())?;
        if message.id == 0 {
            // The only message that nobody asked for: it is about to hang up (RFC 4511 section 4.4.1).
            return Err(Fault::new(FaultKind::Unreachable, format!("{} closes the connection", self.host)));
        }
        if message.id == id { Ok(message) } else { Err(self.nonsense()) }
    }

    fn read<'b>(&self, bytes: &'b [u8], id: u32, tag: u8) -> Result<Received<'b>, Fault> {
        let message = self.any(bytes, id)?;
        if message.tag == tag { Ok(message) } else { Err(self.nonsense()) }
    }

    fn check(&self, code: Result<u32, ber::Malformed>, what: &str) -> Result<(), Fault> {
        let code = code.map_err(|_| self.nonsense())?;
        let kind = match code {
            0 => return Ok(()),
            51 | 52 => FaultKind::Unreachable,
            _ => FaultKind::Refused,
        };
        Err(Fault::new(kind, format!("{} refuses {what}: code {code}, {}", self.host, message::code_name(code))))
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn nonsense(&self) -> Fault {
        Fault::new(FaultKind::Protocol, format!("{} does not speak LDAP as it should", self.host))
    }

    fn broke(&self, error: &std::io::Error) -> Fault {
        Fault::new(FaultKind::Unreachable, format!("{}: the connection broke: {}", self.host, error.kind()))
    }
}

fn late(host: &str) -> Fault {
    Fault::new(FaultKind::Unreachable, format!("{host} does not answer in time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::outside::{Aliases, Filter, Scope, TlsClient};
    use tokio::net::TcpListener;

    const BOUND: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";

    /// A directory that answers each message with the next of these, and then hangs up.
    async fn says(replies: Vec<Vec<u8>>) -> DirectoryServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for reply in replies {
                let mut got = [0; 4096];
                if stream.read(&mut got).await.unwrap_or(0) == 0 {
                    return;
                }
                stream.write_all(&reply).await.unwrap();
            }
        });
        DirectoryServer {
            host: "127.0.0.1".into(),
            port,
            security: DirectorySecurity::Plain,
            tls: TlsClient::default(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
        }
    }

    async fn bind(replies: Vec<Vec<u8>>) -> Result<(), Fault> {
        let server = says(replies).await;
        let mut session = Client.connect(&server).await?;
        session.bind("cn=a", &Secret::from("pw")).await
    }

    fn with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<Vec<u8>> {
        let mut reply = BOUND.to_vec();
        change(&mut reply);
        vec![reply]
    }

    #[tokio::test]
    async fn only_a_whole_yes_to_this_question_is_one() {
        bind(vec![BOUND.to_vec()]).await.unwrap();
        let kind = async |replies| bind(replies).await.unwrap_err().kind;
        assert_eq!(kind(with(|r| r[9] = 49)).await, FaultKind::Credentials);
        assert_eq!(kind(with(|r| r[9] = 53)).await, FaultKind::Credentials);
        assert_eq!(kind(with(|r| r[9] = 14)).await, FaultKind::Credentials);
        assert_eq!(kind(with(|r| r[9] = 10)).await, FaultKind::Refused);
        assert_eq!(kind(with(|r| r[9] = 52)).await, FaultKind::Unreachable);
        assert_eq!(kind(with(|r| r[4] = 2)).await, FaultKind::Protocol);
        assert_eq!(kind(with(|r| r[5] = 0x65)).await, FaultKind::Protocol);
        assert_eq!(kind(with(|r| r.truncate(13))).await, FaultKind::Unreachable);
        assert_eq!(kind(with(|r| *r = b"HTTP/1.1 400\r\n\r\n".to_vec())).await, FaultKind::Unreachable);
        assert_eq!(kind(with(|r| *r = b"\x30\x84\x7f\xff\xff\xff".to_vec())).await, FaultKind::Protocol);
        assert_eq!(kind(vec![]).await, FaultKind::Unreachable);
        assert_eq!(kind(with(|r| r[4] = 0)).await, FaultKind::Unreachable);
    }

    #[tokio::test]
    async fn nothing_is_proved_with_nothing() {
        let server = says(vec![BOUND.to_vec()]).await;
        let mut session = Client.connect(&server).await.unwrap();
        for (dn, password) in [("cn=a", ""), ("", "pw"), ("", "")] {
            assert_eq!(session.bind(dn, &Secret::from(password)).await.unwrap_err().kind, FaultKind::Credentials);
        }
        session.bind_anonymously().await.unwrap();
    }

    #[tokio::test]
    async fn more_than_is_wanted_is_not_taken() {
        let entry = b"\x30\x0d\x02\x01\x01\x64\x08\x04\x04cn=a\x30\x00".to_vec();
        let done = b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00".to_vec();
        let search = |limit| Search {
            base: String::new(),
            scope: Scope::Subtree,
            aliases: Aliases::Never,
            filter: Filter::Present("cn".into()),
            attributes: Vec::new(),
            limit,
            page: 0,
        };
        for (limit, fine) in [(2, true), (1, false)] {
            let server = says(vec![[&entry[..], &entry, &done].concat()]).await;
            let mut session = Client.connect(&server).await.unwrap();
            let found = session.search(&search(limit)).await;
            assert_eq!(found.as_ref().map(Vec::len).ok(), fine.then_some(2), "{found:?}");
        }
    }

    #[tokio::test]
    async fn the_time_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = says(vec![]).await;
        server.port = listener.local_addr().unwrap().port();
        server.request_timeout = Duration::from_millis(50);
        let mut session = Client.connect(&server).await.unwrap();
        assert_eq!(session.bind("cn=a", &Secret::from("pw")).await.unwrap_err().kind, FaultKind::Unreachable);
        server.security = DirectorySecurity::StartTls;
        server.connect_timeout = Duration::from_millis(50);
        assert_eq!(Client.connect(&server).await.err().map(|f| f.kind), Some(FaultKind::Unreachable));
    }

    #[tokio::test]
    async fn without_tls_nothing_is_said_in_clear() {
        // The directory refuses StartTLS: nobody gets a session.
        let refused = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00".to_vec();
        let mut server = says(vec![refused]).await;
        server.security = DirectorySecurity::StartTls;
        assert_eq!(Client.connect(&server).await.err().map(|f| f.kind), Some(FaultKind::Refused));
    }
}
