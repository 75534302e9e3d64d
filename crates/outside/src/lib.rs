//! The wire clients of systems outside the server. The engine API says what an engine may ask of them
//! ([`coffer_engine::outside`]); here stands how it is asked. Only the server's start knows this room.

mod database;
mod datagram;
mod http;
mod ldap;
mod pod;
mod stream;
pub mod tls;

use coffer_engine::outside::{Database, Datagrams, Directory, Fault, Http, Outside, Pod};

/// All that this program can reach.
#[derive(Debug, Default)]
pub struct World {
    http: http::Client,
    ldap: ldap::Client,
    datagrams: datagram::Client,
    database: database::Client,
}

impl World {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Outside for World {
    fn http(&self) -> &dyn Http {
        &self.http
    }

    fn directory(&self) -> &dyn Directory {
        &self.ldap
    }

    fn datagrams(&self) -> &dyn Datagrams {
        &self.datagrams
    }

    fn database(&self) -> &dyn Database {
        &self.database
    }

    fn pod(&self) -> Result<Pod, Fault> {
        pod::read(pod::FOLDER.as_ref())
    }
}
