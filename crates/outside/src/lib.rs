//! The wire clients of systems outside the server. The engine API says what an engine may ask of them
//! ([`coffer_engine::outside`]); here stands how it is asked. Only the server's start knows this room.

mod http;
mod stream;
pub mod tls;

use coffer_engine::outside::{Http, Outside};

/// All that this program can reach.
#[derive(Debug, Default)]
pub struct World {
    http: http::Client,
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
}
