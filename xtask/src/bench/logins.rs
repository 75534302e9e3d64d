//! AppRole logins: each makes a service token with its accessor and lease, durable, with a line of audit before and after.

use super::load::Ask;
use super::server::{Product, Server};
use super::{Bench, Rounds, Table};

type Result<T> = std::result::Result<T, String>;

/// Roles that logins go through in turn, each with one secret id without a limit of uses.
const ROLES: usize = 64;

impl Bench {
    pub(super) fn logins(&self) -> Result<String> {
        let ours = Server::durable(Product::Coffer, &self.options.coffer, &self.place("logins-a"), true)?;
        let theirs = Server::durable(Product::Peer, &self.options.peer, &self.place("logins-b"), true)?;
        let asks = [roles(&ours)?, roles(&theirs)?];
        let mut table = Table::new("AppRole logins, service tokens, file audit device, embedded store beside raft");
        for connections in [16, 64] {
            let mut rounds = Rounds::default();
            for _ in 0..self.options.rounds {
                rounds.a.push(self.wrk(&ours, "", &asks[0], connections)?);
                rounds.b.push(self.wrk(&theirs, "", &asks[1], connections)?);
            }
            table.rate(&format!("approle login, {connections} connections"), &rounds, "CPU at most 1/10, at least 10");
        }
        Ok(table.text())
    }
}

/// The same roles on either server, and the logins with them. Each has logged in once, so that its entity is there.
fn roles(server: &Server) -> Result<Ask<'static>> {
    let mut client = server.client()?;
    client.must("POST", "sys/auth/approle", r#"{"type":"approle"}"#)?;
    let mut logins = Vec::new();
    for number in 0..ROLES {
        let role = format!("auth/approle/role/bench{number}");
        client.must("POST", &role, r#"{"token_policies":["default"],"token_ttl":"20m","token_max_ttl":"1h"}"#)?;
        let role_id = client.must("GET", &format!("{role}/role-id"), "")?;
        let secret_id = client.must("POST", &format!("{role}/secret-id"), "{}")?;
        let text = |value: &serde_json::Value, name: &str| value["data"][name].as_str().unwrap_or_default().to_owned();
        let body = format!(r#"{{"role_id":"{}","secret_id":"{}"}}"#, text(&role_id, "role_id"), text(&secret_id, "secret_id"));
        client.must("POST", "auth/approle/login", &body)?;
        logins.push(("auth/approle/login".to_owned(), body));
    }
    Ok(Ask::Post(logins))
}
