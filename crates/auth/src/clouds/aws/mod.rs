//! Principals and machines of AWS. <https://developer.hashicorp.com/vault/api-docs/auth/aws>

mod config;
mod roles;
mod tags;

use super::not_yet;
use coffer_engine::{Ctx, Declare, Engine, Mount, NoInput, Reply, Request};
use coffer_types::{Error, Result};

/// The method.
pub struct Aws;

const LOGIN: &str = "auth method aws: logs in once the aws dialect exists; its configuration and roles are kept";

impl Engine for Aws {
    const KIND: &'static str = "aws";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in principals and machines of AWS (configuration only, as yet).");
        d.at("config/client")
            .about("Credentials and addresses to ask AWS.")
            .read(config::read_client)
            .write(config::write_client)
            .exists(config::client_exists)
            .delete(config::delete_client);
        d.at("config/rotate-root").about("Replaces the access key; waits for the aws dialect.").write(rotate);
        d.at("config/identity").about("How identities are named.").read(config::read_identity).write(config::write_identity);
        d.at("config/certificates").about("Lists certificates of AWS.").list(config::list_certificates);
        d.at("config/certificate/{cert_name}")
            .about("A certificate that signs the documents of machines.")
            .read(config::read_certificate)
            .write(config::write_certificate)
            .exists(config::certificate_exists)
            .delete(config::delete_certificate);
        d.at("config/sts").about("Lists accounts that have a role to assume.").list(config::list_sts);
        d.at("config/sts/{account_id}")
            .about("The role to assume in another account.")
            .read(config::read_sts)
            .write(config::write_sts)
            .exists(config::sts_exists)
            .delete(config::delete_sts);
        // The older names do the same.
        for pattern in ["config/tidy/identity-accesslist", "config/tidy/identity-whitelist"] {
            d.at(pattern)
                .about("How long entries of machines are kept.")
                .read(config::read_tidy_identities)
                .write(config::write_tidy_identities)
                .delete(config::delete_tidy_identities);
        }
        for pattern in ["config/tidy/roletag-denylist", "config/tidy/roletag-blacklist"] {
            d.at(pattern)
                .about("How long refused role tags are kept.")
                .read(config::read_tidy_tags)
                .write(config::write_tidy_tags)
                .delete(config::delete_tidy_tags);
        }
        d.at("roles").about("Lists roles.").list(roles::list);
        d.at("role").about("Lists roles.").list(roles::list);
        d.at("role/{role}")
            .about("A role: whom it takes, and what tokens they get.")
            .read(roles::read)
            .write(roles::write)
            .exists(roles::exists)
            .delete(roles::delete);
        d.at("role/{role}/tag").about("Makes a tag for machines that gives less than the role.").write(tags::make);
        for (folder, one) in
            [("roletag-denylist", "roletag-denylist/{role_tag...}"), ("roletag-blacklist", "roletag-blacklist/{role_tag...}")]
        {
            d.at(folder).about("Lists refused role tags.").list(tags::list);
            d.at(one)
                .about("A role tag that no machine may log in with again.")
                .read(tags::read)
                .write(tags::refuse)
                .delete(tags::delete);
        }
        for (folder, one) in [
            ("identity-accesslist", "identity-accesslist/{instance_id}"),
            ("identity-whitelist", "identity-whitelist/{instance_id}"),
        ] {
            d.at(folder).about("Lists machines that have logged in.").list(list_machines);
            d.at(one).about("A machine that has logged in.").read(read_machine).delete(delete_machine);
        }
        for pattern in ["tidy/identity-accesslist", "tidy/identity-whitelist"] {
            d.at(pattern).about("Removes entries of machines that are past their time.").write(tidy_machines);
        }
        for pattern in ["tidy/roletag-denylist", "tidy/roletag-blacklist"] {
            d.at(pattern).about("Removes refused role tags that are past their time.").write(tags::tidy);
        }
        d.at("login").about("Logs in with a signed request or document; waits for the aws dialect.").public().write(login);
    }
}

async fn login(_: Ctx<Aws>, _: NoInput) -> Result<Reply<()>> {
    Err(not_yet(LOGIN))
}

async fn rotate(_: Ctx<Aws>, _: NoInput) -> Result<Reply<()>> {
    Err(not_yet("auth method aws: rotates its access key once the aws dialect exists"))
}

/// Names a machine.
#[derive(Request)]
struct Machine {
    /// The instance's id.
    #[field(path)]
    instance_id: String,
}

/// Only logins write entries, under `machine/<id>`; there are none before there are logins.
async fn list_machines(cx: Ctx<Aws>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("machine/", None, usize::MAX).await?))
}

async fn read_machine(_: Ctx<Aws>, q: Machine) -> Result<Reply<()>> {
    crate::names::normal(&q.instance_id)?;
    Err(Error::not_found())
}

async fn delete_machine(cx: Ctx<Aws>, q: Machine) -> Result<Reply<()>> {
    cx.view.delete(&format!("machine/{}", crate::names::normal(&q.instance_id)?));
    Ok(Reply::empty())
}

/// Tidy.
#[derive(Request)]
struct Tidy {
    /// How long past its time an entry must be.
    #[field(default = coffer_types::Span::from_secs(72 * 3600))]
    safety_buffer: coffer_types::Span,
}

async fn tidy_machines(_: Ctx<Aws>, q: Tidy) -> Result<Reply<()>> {
    if q.safety_buffer.is_negative() {
        return Err(Error::bad_request("safety_buffer must not be negative"));
    }
    Ok(Reply::empty())
}
