//! Passwords that hold once, for hosts that ask here whether they are right. A password is kept as its digest alone, under a lease.

use super::role::{self, items};
use super::{Cx, Ssh, check_name, new_id};
use coffer_crypto::digest::Algorithm;
use coffer_engine::{Declare, LeaseKind, NoInput, Record, Reply, Request, Terms};
use coffer_types::{Error, Object, Result, Secret};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

const ZERO_ADDRESS: &str = "config/zeroaddress";
/// What a host's helper asks to see whether it gets through.
const ECHO: &str = "verify-echo-request";

pub(super) fn declare(d: &mut Declare<Ssh>) {
    d.at("creds/{role}").about("Gives a password for a host.").plain(&["ip", "username"]).write(give);
    d.at("verify").about("Whether a password is right; it is not afterwards.").public().write(verify);
    d.at("lookup").about("The roles that give passwords for a host.").plain(&["ip"]).write(lookup);
    d.at("config/zeroaddress")
        .about("Roles that give passwords for hosts of any address.")
        .plain(&["roles"])
        .read(read_zero)
        .write(write_zero)
        .delete(delete_zero);
    d.at("tidy/dynamic-keys").about("Takes away what roles of an old kind left: here there never was any.").delete(tidy);
    d.lease::<Given>().revoke(revoke);
}

/// Stored in format 1 under `otp/<SHA-256 of the password>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Otp {
    ip: String,
    username: String,
    role: String,
}

impl Record for Otp {
    const FORMAT: u8 = 1;
}

/// The lease on a password: where it stands.
#[derive(Serialize, Deserialize)]
struct Given {
    place: String,
}

impl Record for Given {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Given {
    const NAME: &'static str = "otp";
}

/// Stored in format 1.
#[derive(Serialize, Deserialize, Default)]
struct ZeroAddress {
    roles: Vec<String>,
}

impl Record for ZeroAddress {
    const FORMAT: u8 = 1;
}

/// Ask for a password.
#[derive(Request)]
struct Give {
    /// The role's name.
    #[field(path)]
    role: String,
    /// The host's address.
    #[field(default)]
    ip: String,
    /// The user on the host; the role's default without one.
    #[field(default)]
    username: String,
}

async fn give(cx: Cx, q: Give) -> Result<Reply> {
    check_name(&q.role)?;
    let ip = address(&q.ip)?;
    let role = role::find(&cx, &q.role).await?;
    let role = role.ok_or_else(|| Error::bad_request(format!("Role {:?} not found", q.role)))?;
    if q.username.is_empty() && role.default_user.is_empty() {
        return Err(Error::bad_request("No default username registered. Use 'username' option"));
    }
    let username = if q.username.is_empty() { role.default_user.clone() } else { q.username };
    if username != role.default_user && role.allowed_users.trim() != "*" {
        if role.allowed_users.is_empty() {
            return Err(Error::bad_request("Username has to be either in allowed users list or has to be a default username"));
        }
        if !items(&role.allowed_users).any(|user| user == username) {
            return Err(Error::bad_request("Username is not present is allowed users list"));
        }
    }
    if role.gives != role::Gives::Otp || !role.covers(ip) && !is_zero(&cx, &q.role).await? {
        return Err(Error::bad_request("Error validating IP: IP does not belong to role"));
    }
    let password = Secret::new(new_id(&cx));
    let place = place(password.expose());
    let ip = ip.to_string();
    cx.view.put(&place, &Otp { ip: ip.clone(), username: username.clone(), role: q.role })?;
    let data = Object::new()
        .with("ip", ip)
        .with("key", password.expose().as_str())
        .with("key_type", "otp")
        .with("port", role.port)
        .with("username", username);
    Reply::leased(data, &Given { place }, Terms::default())
}

async fn revoke(cx: Cx, lease: Given) -> Result<()> {
    cx.view.delete(&lease.place);
    Ok(())
}

/// Ask whether a password is right.
#[derive(Request)]
struct Verify {
    /// The password.
    #[field(default = Secret::from(""))]
    otp: Secret<String>,
}

/// The password is read and taken away in one commit, so of several calls at the same time one finds it.
async fn verify(cx: Cx, q: Verify) -> Result<Reply> {
    if q.otp.expose() == ECHO {
        return Ok(Reply::data(Object::new().with("message", "verify-echo-response")));
    }
    let place = place(q.otp.expose());
    let found: Option<Otp> = cx.view.get(&place).await?;
    let otp = found.ok_or_else(|| Error::bad_request("OTP not found"))?;
    cx.view.delete(&place);
    Ok(Reply::data(Object::new().with("ip", otp.ip).with("role_name", otp.role).with("username", otp.username)))
}

/// A password has 122 random bits, so its bare digest tells nothing.
fn place(password: &str) -> String {
    let digest = Algorithm::Sha256.digest(&[password.as_bytes()]);
    format!("otp/{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Ask for roles.
#[derive(Request)]
struct Lookup {
    /// A host's address.
    #[field(default)]
    ip: String,
}

/// Those that would give a password for it.
async fn lookup(cx: Cx, q: Lookup) -> Result<Reply> {
    let ip = address(&q.ip)?;
    let zero: ZeroAddress = cx.view.get(ZERO_ADDRESS).await?.unwrap_or_default();
    let mut roles = Vec::new();
    for name in cx.view.children("role/", None, usize::MAX).await? {
        let found = role::find(&cx, &name).await?;
        if found.is_some_and(|role| role.gives == role::Gives::Otp && (role.covers(ip) || zero.roles.contains(&name))) {
            roles.push(name);
        }
    }
    Ok(Reply::data(Object::new().with("roles", roles)))
}

fn address(text: &str) -> Result<IpAddr> {
    if text.is_empty() {
        return Err(Error::bad_request("Missing ip"));
    }
    text.parse().map_err(|_| Error::bad_request(format!("Invalid IP {text:?}")))
}

async fn is_zero(cx: &Cx, role: &str) -> Result<bool> {
    let zero: ZeroAddress = cx.view.get(ZERO_ADDRESS).await?.unwrap_or_default();
    Ok(zero.roles.iter().any(|name| name == role))
}

/// Say which roles give passwords for any address.
#[derive(Request)]
struct WriteZero {
    /// Names of roles.
    #[field(default)]
    roles: Vec<String>,
}

async fn write_zero(cx: Cx, q: WriteZero) -> Result<Reply<()>> {
    if q.roles.is_empty() {
        return Err(Error::bad_request("Missing roles"));
    }
    for name in &q.roles {
        if role::find(&cx, name).await?.is_none() {
            return Err(Error::bad_request(format!("Role {name:?} does not exist")));
        }
    }
    cx.view.put(ZERO_ADDRESS, &ZeroAddress { roles: q.roles })?;
    Ok(Reply::empty())
}

async fn read_zero(cx: Cx, _: NoInput) -> Result<Reply> {
    let zero: ZeroAddress = cx.view.get(ZERO_ADDRESS).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Object::new().with("roles", zero.roles)))
}

async fn delete_zero(cx: Cx, _: NoInput) -> Result<Reply<()>> {
    cx.view.delete(ZERO_ADDRESS);
    Ok(Reply::empty())
}

/// A role that is gone is on no list: another of its name would be on it.
pub(super) async fn forget_role(cx: &Cx, name: &str) -> Result<()> {
    let Some(mut zero) = cx.view.get::<ZeroAddress>(ZERO_ADDRESS).await? else { return Ok(()) };
    zero.roles.retain(|role| role != name);
    if zero.roles.is_empty() {
        cx.view.delete(ZERO_ADDRESS);
        return Ok(());
    }
    cx.view.put(ZERO_ADDRESS, &zero)
}

async fn tidy(_: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("message", "Removed 0 of 0 host keys.")))
}
