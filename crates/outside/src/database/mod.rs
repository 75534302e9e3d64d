//! Databases: each protocol's client, and the connections that are kept between calls.
//!
//! The clients are our own and small: a statement goes as text and rows come back as text, which is all that an engine asks for.
//! No client knows a statement's meaning, logs one, or repeats one in an error of its own.

#[cfg(feature = "cassandra")]
mod cassandra;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "mssql")]
mod mssql;
mod mysql;
mod pool;
mod postgres;
mod redis;
#[cfg(test)]
mod testing;

use crate::stream::{Stream, tcp, tls};
use coffer_engine::BoxFuture;
use coffer_engine::outside::{Database, Fault, FaultKind, Line, Protocol, Rows, Script, Target, TlsClient};
use pool::Pools;
use std::time::Duration;

/// The longest message that is taken from a database, in bytes.
const LONGEST: usize = 16 << 20;
/// For connecting, TLS and the login together.
const CONNECT: Duration = Duration::from_secs(10);
/// The most rows that are taken of one answer.
const MOST_ROWS: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Client {
    pools: Pools,
}

/// One open connection.
enum Connection {
    Postgres(postgres::Connection),
    MySql(mysql::Connection),
    Redis(redis::Connection),
    #[cfg(feature = "mongodb")]
    MongoDb(mongodb::Connection),
    #[cfg(feature = "mssql")]
    SqlServer(Box<mssql::Connection>),
    #[cfg(feature = "cassandra")]
    Cassandra(cassandra::Connection),
}

impl Connection {
    /// A connection that is logged in. One that says nothing (TLS to a port that speaks none) is not waited for long.
    async fn open(target: &Target) -> Result<Self, Fault> {
        let opened = tokio::time::timeout(CONNECT.min(target.timeout), Self::log_in(target)).await;
        opened.unwrap_or_else(|_| {
            let text = format!("{} did not answer the login within {} s", address(target), CONNECT.as_secs());
            Err(Fault::new(FaultKind::Unreachable, text))
        })
    }

    async fn log_in(target: &Target) -> Result<Self, Fault> {
        match target.protocol {
            Protocol::PostgreSql => postgres::Connection::open(target).await.map(Self::Postgres),
            Protocol::MySql => mysql::Connection::open(target).await.map(Self::MySql),
            Protocol::Redis => redis::Connection::open(target).await.map(Self::Redis),
            #[cfg(feature = "mongodb")]
            Protocol::MongoDb => mongodb::Connection::open(target).await.map(Self::MongoDb),
            #[cfg(feature = "mssql")]
            Protocol::SqlServer => mssql::Connection::open(target).await.map(|open| Self::SqlServer(Box::new(open))),
            #[cfg(feature = "cassandra")]
            Protocol::Cassandra => cassandra::Connection::open(target).await.map(Self::Cassandra),
            #[allow(unreachable_patterns, reason = "which are left depends on the features")]
            _ => Err(Fault::new(FaultKind::NotBuilt, "this program is built without a client for that database")),
        }
    }

    async fn run(&mut self, script: &Script, timeout: Duration) -> Result<Vec<Rows>, Fault> {
        match self {
            Self::Postgres(connection) => connection.run(script, timeout).await,
            Self::MySql(connection) => connection.run(script).await,
            Self::Redis(connection) => connection.run(script).await,
            #[cfg(feature = "mongodb")]
            Self::MongoDb(connection) => connection.run(script).await,
            #[cfg(feature = "mssql")]
            Self::SqlServer(connection) => connection.run(script).await,
            #[cfg(feature = "cassandra")]
            Self::Cassandra(connection) => connection.run(script).await,
        }
    }

    /// Whether the other side is still there.
    async fn answers(&mut self) -> bool {
        match self {
            Self::Postgres(connection) => connection.ping().await.is_ok(),
            Self::MySql(connection) => connection.ping().await.is_ok(),
            Self::Redis(connection) => connection.ping().await.is_ok(),
            #[cfg(feature = "mongodb")]
            Self::MongoDb(connection) => connection.ping().await.is_ok(),
            #[cfg(feature = "mssql")]
            Self::SqlServer(connection) => connection.ping().await.is_ok(),
            #[cfg(feature = "cassandra")]
            Self::Cassandra(connection) => connection.ping().await.is_ok(),
        }
    }
}

impl Database for Client {
    fn run<'a>(&'a self, target: &'a Target, script: Script) -> BoxFuture<'a, Result<Vec<Rows>, Fault>> {
        Box::pin(async move {
            let said = tokio::time::timeout(target.timeout, self.say(target, &script)).await;
            said.unwrap_or_else(|_| {
                let text = format!("{} did not answer within {} s", address(target), target.timeout.as_secs());
                Err(Fault::new(FaultKind::Unreachable, text))
            })
        })
    }

    fn forget(&self, pool: &str) {
        self.pools.forget(pool);
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::PostgreSql | Protocol::MySql | Protocol::Redis => true,
            Protocol::MongoDb => cfg!(feature = "mongodb"),
            Protocol::SqlServer => cfg!(feature = "mssql"),
            Protocol::Cassandra => cfg!(feature = "cassandra"),
        }
    }
}

impl Client {
    async fn say(&self, target: &Target, script: &Script) -> Result<Vec<Rows>, Fault> {
        let place = self.pools.place(target).await?;
        let mut connection = match self.pools.idle(&place) {
            // What was said to one that is gone might have happened: so it is asked first.
            Some(mut kept) => {
                if kept.answers().await {
                    kept
                } else {
                    place.fresh(Connection::open(target).await?)
                }
            }
            None => place.fresh(Connection::open(target).await?),
        };
        let said = connection.run(script, target.timeout).await;
        if said.as_ref().map_or_else(Fault::is_refusal, |_| true) {
            self.pools.keep(place, connection);
        }
        said
    }
}

/// The hosts as an error names them.
fn address(target: &Target) -> String {
    target.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(", ")
}

/// A connection to the first host that takes one.
async fn connect(target: &Target) -> Result<(Box<dyn Stream>, &str), Fault> {
    let mut last = Fault::new(FaultKind::Settings, "no host is named");
    for (host, port) in &target.hosts {
        match tcp(host, *port).await {
            Ok(stream) => return Ok((Box::new(stream), host)),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

async fn secure(stream: Box<dyn Stream>, host: &str, settings: &TlsClient) -> Result<Box<dyn Stream>, Fault> {
    tls(stream, host, settings, &[]).await
}

/// What a protocol of statements was given in its place.
fn statement(line: &Line) -> Result<&str, Fault> {
    match line {
        Line::Statement(text) if text.expose().contains('\0') => {
            Err(Fault::new(FaultKind::Settings, "a statement must not hold a zero byte"))
        }
        Line::Statement(text) => Ok(text.expose()),
        Line::Command(_) => Err(Fault::new(FaultKind::Settings, "this database takes statements, not commands")),
    }
}

fn broken(host: &str) -> impl Fn(std::io::Error) -> Fault {
    move |error| Fault::new(FaultKind::Unreachable, format!("{host}: the connection broke: {error}"))
}

fn nonsense(host: &str) -> Fault {
    Fault::new(FaultKind::Protocol, format!("{host}: the answer is none of this database's protocol"))
}

#[cfg(test)]
mod tests {
    use super::testing::{refused, says, target};
    use super::*;
    use coffer_engine::outside::Tls;
    use coffer_types::Secret;

    fn postgres(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    #[tokio::test]
    async fn servers_that_lie_are_not_believed() {
        let sasl = postgres(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        for reply in [
            // Over sixteen megabytes; shorter than its own length; no message of the protocol.
            vec![vec![b'R', 0xff, 0xff, 0xff, 0xff]],
            vec![vec![b'R', 0, 0, 0, 1]],
            vec![postgres(b'D', b"\0\0")],
            vec![postgres(b'R', b"\0")],
            // A nonce that is not ours, none at all, the end before its time.
            vec![sasl.clone(), postgres(b'R', b"\0\0\0\x0br=other,s=AAAA,i=4096")],
            vec![sasl.clone(), postgres(b'R', b"\0\0\0\x0bs=AAAA")],
            vec![sasl.clone(), postgres(b'R', b"\0\0\0\x0c v=")],
        ] {
            let port = says(false, reply.clone()).await;
            assert_eq!(refused(&target(Protocol::PostgreSql, port)).await, FaultKind::Protocol, "{reply:?}");
        }
        let port = says(false, vec![postgres(b'R', b"\0\0\0\x07")]).await;
        assert_eq!(refused(&target(Protocol::PostgreSql, port)).await, FaultKind::Credentials, "a login that is not here");
        for reply in [&b"\x01\0\0\0\x09"[..], b"\x03\0\0\0abc"] {
            let port = says(true, vec![reply.to_vec()]).await;
            assert_eq!(refused(&target(Protocol::MySql, port)).await, FaultKind::Protocol, "{reply:?}");
        }
        for reply in [
            "?what\r\n",
            "$99999999999\r\n",
            "$1\r\nabc",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n+a\r\n",
            ":x\n\n\r\n\r\n$z\r\n",
        ] {
            let port = says(false, vec![reply.as_bytes().to_vec()]).await;
            let kind = refused(&target(Protocol::Redis, port)).await;
            assert!(matches!(kind, FaultKind::Protocol | FaultKind::Unreachable), "{reply:?} {kind:?}");
        }
    }

    #[tokio::test]
    async fn a_password_goes_to_nobody_who_does_not_speak_tls() {
        let port = says(false, vec![b"N".to_vec(), postgres(b'R', b"\0\0\0\x03")]).await;
        let settings = TlsClient { skip_verify: true, ..TlsClient::default() };
        let target = Target { tls: Tls::On(settings), ..target(Protocol::PostgreSql, port) };
        assert_eq!(refused(&target).await, FaultKind::Unreachable);
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_not_waited_for() {
        for protocol in ALL.into_iter().filter(|protocol| Client::default().speaks(*protocol)) {
            let port = says(false, Vec::new()).await;
            assert_eq!(refused(&target(protocol, port)).await, FaultKind::Unreachable, "{protocol:?}");
            assert_eq!(refused(&target(protocol, 1)).await, FaultKind::Unreachable, "{protocol:?}");
        }
    }

    const ALL: [Protocol; 6] =
        [Protocol::PostgreSql, Protocol::MySql, Protocol::Redis, Protocol::MongoDb, Protocol::SqlServer, Protocol::Cassandra];

    #[tokio::test]
    async fn what_is_not_built_says_so() {
        for protocol in ALL {
            let built = refused(&target(protocol, 1)).await != FaultKind::NotBuilt;
            assert_eq!(built, Client::default().speaks(protocol), "{protocol:?}");
        }
    }

    #[tokio::test]
    async fn connections_are_kept_by_revision_and_bounded() {
        let ok = b"+OK\r\n".to_vec();
        let port = says(false, vec![ok; 32]).await;
        let client = Client::default();
        let mut target = target(Protocol::Redis, port);
        let ping = || Script { atomic: false, lines: vec![Line::Command(vec![Secret::from("PING")])] };
        client.run(&target, ping()).await.unwrap();
        let place = client.pools.place(&target).await.unwrap();
        let kept = client.pools.idle(&place).expect("one is kept");
        assert!(client.pools.idle(&place).is_none(), "and no other");
        client.pools.keep(place, kept);

        let (_one, _two) = (client.pools.place(&target).await.unwrap(), client.pools.place(&target).await.unwrap());
        let third = tokio::time::timeout(Duration::from_millis(50), client.pools.place(&target)).await;
        assert!(third.is_err(), "two at once and no more");

        target.revision = "2".into();
        let place = client.pools.place(&target).await.unwrap();
        assert!(client.pools.idle(&place).is_none(), "those of another revision are not used");
        client.run(&target, ping()).await.unwrap();
        client.forget("pool");
        assert!(client.pools.idle(&place).is_none());
    }
}
