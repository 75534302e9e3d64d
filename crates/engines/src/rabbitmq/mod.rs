//! RabbitMQ: reading `creds/{role}` makes a user of the broker, under a lease, through its management API.
//!
//! Paths and replies are those of [Vault's API](https://developer.hashicorp.com/vault/api-docs/secret/rabbitmq); the wire is
//! RabbitMQ's [management HTTP API](https://www.rabbitmq.com/docs/management#http-api). The note of a user is durable before the
//! user is made and goes with the commit of the lease, so that no crash leaves a user that nothing takes away.

mod config;
mod creds;
mod roles;
mod wire;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::Result;

pub struct RabbitMq;

impl Engine for RabbitMq {
    const KIND: &'static str = "rabbitmq";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Makes users of a RabbitMQ broker, for a while.");
        d.at("config/connection").about("Says how to reach the broker.").write(config::write_connection);
        d.at("config/lease")
            .about("How long users live.")
            .read(config::read_lease)
            .write(config::write_lease)
            .plain(&["ttl", "max_ttl"]);
        d.at("roles").about("Lists roles.").list(roles::list);
        d.at("roles/{name}").about("Reads and writes a role.").read(roles::read).write(roles::write).delete(roles::delete);
        d.at("creds/{name}").about("Makes a user with the permissions of a role.").read(creds::make);
        d.lease::<creds::User>().renew(creds::renew).revoke(creds::revoke);
        d.intent(creds::roll_back);
    }
}

#[cfg(test)]
mod tests;
