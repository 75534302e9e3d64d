//! Key pairs with their certificates. The private key is shown once and kept nowhere.

use super::sign::{Wish, certify};
use super::{Cx, Ssh, check_name, issuer, role};
use coffer_crypto::pk::KeyKind;
use coffer_crypto::ssh::{SshPublicKey, write_ed25519};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::{Error, Result};

pub(super) fn declare(d: &mut Declare<Ssh>) {
    d.at("issue/{role}")
        .about("Makes a key pair and signs it.")
        .plain(&["key_type", "key_bits", "valid_principals", "cert_type", "key_id", "ttl"])
        .write(issue);
}

/// Make a key pair and sign it.
#[derive(Request)]
struct Issue {
    /// The role's name.
    #[field(path)]
    role: String,
    /// rsa, ec or ed25519.
    #[field(default = "rsa".to_owned())]
    key_type: String,
    /// The key's length; 0 for what is usual.
    #[field(default)]
    key_bits: i64,
    #[field(flatten)]
    wish: Wish,
}

async fn issue(cx: Cx, q: Issue) -> Result<Reply> {
    check_name(&q.role)?;
    let role = role::find(&cx, &q.role).await?;
    let role = role.ok_or_else(|| Error::bad_request(format!("unknown role: {}", q.role)))?;
    let kind = issuer::kind_of(&q.key_type, q.key_bits).map_err(Error::bad_request)?;
    let private = issuer::generate(&cx, kind).await?;
    let public = SshPublicKey::of(&private.public().map_err(Error::internal)?).map_err(Error::internal)?;
    role.allowed_user_key_lengths.check(public.kind()).map_err(|why| {
        let field = if why.starts_with("key of type") { "key_type" } else { "key_bits" };
        Error::bad_request(format!("provided {field} value not in list of role's allowed_user_key_types"))
    })?;
    let mut signed = certify(&cx, &q.role, &role, &public, q.wish).await?;
    let text = match kind {
        KeyKind::Ed25519 => {
            let mut check = [0; 4];
            cx.fill_random(&mut check);
            write_ed25519(&private, u32::from_be_bytes(check)).map_err(Error::internal)?
        }
        _ => private.to_traditional_pem().map_err(Error::internal)?,
    };
    signed.data.insert("private_key", text.as_str());
    signed.data.insert("private_key_type", q.key_type);
    Ok(Reply::data(signed.data).warnings(signed.warnings))
}
