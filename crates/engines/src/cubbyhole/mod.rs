//! A token's own secrets: nobody else reads them, and they go with the token.
//!
//! Layout below the mount's view: `<cubbyhole id>/<name>`, one byte of format, then the JSON object as it was sent.
//! The id is the principal's ([`Principal::cubbyhole`](coffer_engine::Principal)); what ends a token deletes every
//! key below `<cubbyhole id>/`.

use coffer_engine::{Ctx, Declare, Engine, Mount, Reply, Request};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Object, Operation, Result};
use zeroize::Zeroizing;

/// Format of a stored value; its first byte.
const FORMAT: u8 = 1;

pub struct Cubbyhole;

impl Engine for Cubbyhole {
    const KIND: &'static str = "cubbyhole";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Keeps secrets of one token: only that token reads them, and they end with it.");
        d.at("{path...}")
            .about("Reads, writes, deletes and lists this token's own secrets.")
            .read(read)
            .write(write)
            .exists(exists)
            .delete(delete)
            .list(list);
        d.otherwise(root);
    }
}

/// The prefix of a cubbyhole's keys, for what ends a token.
pub fn prefix(cubbyhole: &str) -> String {
    format!("{cubbyhole}/")
}

/// Read the secret.
#[derive(Request)]
struct Read {
    /// Location of the secret.
    #[field(path)]
    path: String,
}

async fn read(cx: Ctx<Cubbyhole>, q: Read) -> Result<Reply> {
    let stored = cx.view.get_bytes(&key(&cx, &q.path)?).await?.ok_or_else(Error::not_found)?;
    let json = match stored.split_first() {
        Some((&FORMAT, json)) => json,
        _ => return Err(Error::internal("a value of a cubbyhole has an unknown format")),
    };
    let data = parse(json, &Limits::NONE).map_err(Error::internal)?;
    data.into_object().map(Reply::data).ok_or_else(|| Error::internal("a value of a cubbyhole is no object"))
}

/// Write the secret, replacing what was there.
#[derive(Request)]
struct Write {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// The secret itself.
    #[field(rest)]
    data: Object,
}

async fn write(cx: Ctx<Cubbyhole>, q: Write) -> Result<Reply<()>> {
    let key = key(&cx, &q.path)?;
    if q.path.is_empty() || q.path.ends_with('/') {
        return Err(Error::bad_request("cannot write to a path ending in '/'"));
    }
    if q.data.is_empty() {
        return Err(Error::bad_request("missing data fields"));
    }
    let mut stored = Zeroizing::new(vec![FORMAT]);
    coffer_types::json::write(&Json::Object(q.data), &mut stored);
    cx.view.put_bytes(&key, stored);
    Ok(Reply::empty())
}

async fn exists(cx: Ctx<Cubbyhole>, q: Read) -> Result<bool> {
    cx.view.exists(&key(&cx, &q.path)?).await
}

/// Delete the secret.
#[derive(Request)]
struct Delete {
    /// Location of the secret.
    #[field(path)]
    path: String,
}

async fn delete(cx: Ctx<Cubbyhole>, q: Delete) -> Result<Reply<()>> {
    let key = key(&cx, &q.path)?;
    if cx.view.exists(&key).await? {
        cx.view.delete(&key);
    }
    Ok(Reply::empty())
}

/// List the names in a folder.
#[derive(Request)]
struct List {
    /// The folder.
    #[field(path)]
    path: String,
}

async fn list(cx: Ctx<Cubbyhole>, q: List) -> Result<Reply> {
    let folder = match q.path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    };
    Ok(Reply::list(cx.view.children(&key(&cx, &folder)?, None, usize::MAX).await?))
}

/// The cubbyhole itself holds no value.
async fn root(cx: Ctx<Cubbyhole>, _: String) -> Result<Reply> {
    key(&cx, "")?;
    match cx.operation() {
        Operation::Delete => Ok(Reply::empty()),
        _ => Err(Error::bad_request("missing path")),
    }
}

fn key(cx: &Ctx<Cubbyhole>, name: &str) -> Result<String> {
    let own = cx.principal().and_then(|p| p.cubbyhole.as_deref());
    let own = own.ok_or_else(|| Error::bad_request("cubbyhole operations are only supported by 'service' type tokens"))?;
    Ok(format!("{}{name}", prefix(own)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::testing::{Bench, Failed, service_principal, text};
    use coffer_types::Kind;

    fn bench() -> Bench {
        Bench::new::<Cubbyhole>("cubbyhole/", &[])
    }

    #[test]
    fn keeps_numbers_as_they_were_sent() {
        let b = bench();
        let sent = r#"{"x":"y","n":12345678901234567890,"f":1.10,"ttl":"1h"}"#;
        b.call(Operation::Update, "a/b", sent).unwrap();
        let read = b.call(Operation::Read, "a/b", "").unwrap();
        assert_eq!(text(&read), sent);
        assert!(read.leased.is_none());
        assert_eq!(text(&b.call(Operation::List, "", "").unwrap()), r#"{"keys":["a/"]}"#);
        assert_eq!(text(&b.call(Operation::List, "a/", "").unwrap()), r#"{"keys":["b"]}"#);
        b.call(Operation::Delete, "a/b", "").unwrap();
        b.call(Operation::Delete, "a/b", "").unwrap();
        assert_eq!(b.call(Operation::Read, "a/b", "").err().map(|e| e.kind), Some(Kind::NotFound));
        assert!(b.keys().is_empty());
    }

    #[test]
    fn each_token_has_its_own() {
        let mut b = bench();
        b.call(Operation::Update, "a", r#"{"x":"y"}"#).unwrap();
        b.principal = Some(service_principal("cubby-2"));
        assert_eq!(b.call(Operation::Read, "a", "").err().map(|e| e.kind), Some(Kind::NotFound));
        assert_eq!(b.call(Operation::List, "", "").unwrap().status, Some(404));
        b.call(Operation::Delete, "a", "").unwrap();
        b.principal = Some(service_principal("cubby-1"));
        assert!(b.call(Operation::Read, "a", "").is_ok());
        assert_eq!(b.keys(), [format!("{}a", prefix("cubby-1"))]);
    }

    #[test]
    fn refuses_tokens_without_one() {
        let mut b = bench();
        let mut batch = service_principal("");
        batch.cubbyhole = None;
        let refusal =
            Failed { kind: Kind::BadRequest, public: "cubbyhole operations are only supported by 'service' type tokens".into() };
        for principal in [Some(batch), None] {
            b.principal = principal;
            for (operation, path) in [
                (Operation::Read, "a"),
                (Operation::Update, "a"),
                (Operation::Delete, "a"),
                (Operation::List, ""),
                (Operation::Read, ""),
            ] {
                assert_eq!(b.call(operation, path, r#"{"x":1}"#).err(), Some(Failed { ..clone(&refusal) }), "{operation} {path}");
            }
        }
    }

    fn clone(failed: &Failed) -> Failed {
        Failed { kind: failed.kind, public: failed.public.clone() }
    }

    #[test]
    fn refuses_what_is_no_secret() {
        let b = bench();
        for (operation, path, body, kind) in [
            (Operation::Update, "a", "{}", Kind::BadRequest),
            (Operation::Update, "a/", r#"{"x":1}"#, Kind::BadRequest),
            (Operation::Update, "", r#"{"x":1}"#, Kind::BadRequest),
            (Operation::Read, "", "", Kind::BadRequest),
            (Operation::Patch, "a", r#"{"x":1}"#, Kind::Unsupported),
            (Operation::Scan, "", "", Kind::Unsupported),
        ] {
            assert_eq!(b.call(operation, path, body).err().map(|e| e.kind), Some(kind), "{operation} {path}");
        }
        assert!(b.call(Operation::Delete, "", "").is_ok());
    }
}
