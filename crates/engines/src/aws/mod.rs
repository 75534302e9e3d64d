//! AWS: reading `creds/{role}` makes an IAM user with an access key, or asks STS for a session, under a lease.
//!
//! Paths and replies are those of [Vault's API](https://developer.hashicorp.com/vault/api-docs/secret/aws); the wire is the query
//! protocol of [IAM](https://docs.aws.amazon.com/IAM/latest/APIReference/) and [STS](https://docs.aws.amazon.com/STS/latest/APIReference/),
//! signed with Signature Version 4 and sent to exactly the configured endpoints. The note of a user is durable before the user is
//! made and goes with the commit of the lease, so that no crash leaves a user that nothing takes away.

mod config;
mod creds;
mod iam;
mod roles;
mod rotate;
mod sts;
mod wire;
mod xml;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::Result;

pub struct Aws;

impl Engine for Aws {
    const KIND: &'static str = "aws";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Makes IAM users and STS sessions of AWS, for a while.");
        d.at("config/root")
            .about("Says with which credentials and where AWS is asked.")
            .read(config::read_root)
            .write(config::write_root);
        d.at("config/rotate-root")
            .about("Makes a new access key for the engine itself and takes the old one away.")
            .write(rotate::rotate);
        d.at("config/lease").about("How long IAM users live.").read(config::read_lease).write(config::write_lease);
        d.at("roles").about("Lists roles.").list(roles::list);
        d.at("roles/{name}").about("Reads and writes a role.").read(roles::read).write(roles::write).delete(roles::delete);
        d.at("creds/{name}").about("Makes credentials of a role.").read(creds::generate).write(creds::generate);
        d.at("sts/{name}").about("Makes credentials of a role.").read(creds::generate).write(creds::generate);
        d.lease::<creds::User>().renew(creds::renew).revoke(creds::revoke);
        d.lease::<creds::Session>().revoke(creds::end_session);
        d.intent(creds::roll_back);
        d.intent(rotate::roll_back);
        d.beat(rotate::finish);
    }
}

#[cfg(test)]
mod tests;
