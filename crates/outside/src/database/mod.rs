//! Databases: each protocol's client, and the connections that are kept between calls.
//!
//! The clients are our own and small: a statement goes as text and rows come back as text, which is all that an engine asks for.
//! No client knows a statement's meaning, logs one, or repeats one in an error of its own.

mod mysql;
mod pool;
mod postgres;
mod redis;

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
            Protocol::MongoDb | Protocol::SqlServer | Protocol::Cassandra => {
                Err(Fault::new(FaultKind::NotBuilt, "this program is built without a client for that database"))
            }
        }
    }

    async fn run(&mut self, script: &Script, timeout: Duration) -> Result<Vec<Rows>, Fault> {
        match self {
            Self::Postgres(connection) => connection.run(script, timeout).await,
            Self::MySql(connection) => connection.run(script).await,
            Self::Redis(connection) => connection.run(script).await,
        }
    }

    /// Whether the other side is still there.
    async fn answers(&mut self) -> bool {
        match self {
            Self::Postgres(connection) => connection.ping().await.is_ok(),
            Self::MySql(connection) => connection.ping().await.is_ok(),
            Self::Redis(connection) => connection.ping().await.is_ok(),
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
