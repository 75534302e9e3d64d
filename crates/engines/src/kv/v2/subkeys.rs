//! `subkeys/…`: what members a secret has, without their values.

use super::V2;
use super::secrets::{Shown, describe, load};
use coffer_engine::{Ctx, Reply, Request};
use coffer_types::{Error, Json, Object, Result};

/// Read the structure of a version, every value replaced by null.
#[derive(Request)]
pub(super) struct Read {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// Which version; the current one if this is not given or 0.
    #[field(query)]
    version: Option<i64>,
    /// Down to this depth; all the way if this is not given or not positive.
    #[field(query)]
    depth: Option<i64>,
}

pub(super) async fn read(cx: Ctx<V2>, q: Read) -> Result<Reply> {
    let secret = load(&cx, &q.path).await?.ok_or_else(Error::not_found)?;
    let version = secret.version(q.version).ok_or_else(Error::not_found)?;
    let metadata = describe(&secret.record, version);
    let depth = q.depth.filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    Ok(match secret.show(&cx, &q.path, version).await? {
        Shown::Data(Json::Object(data)) => {
            Reply::data(Object::new().with("metadata", metadata).with("subkeys", structure(&data, depth)))
        }
        Shown::Data(_) => Reply::data(Object::new().with("metadata", metadata).with("subkeys", Json::Null)),
        Shown::Hidden => Reply::missing_with(Object::new().with("metadata", metadata).with("subkeys", Json::Null)),
    })
}

/// An empty object looks like any other value.
fn structure(data: &Object, depth: usize) -> Object {
    let inner = |value: &Json| match value {
        Json::Object(object) if depth > 1 && !object.is_empty() => Json::Object(structure(object, depth - 1)),
        _ => Json::Null,
    };
    data.iter().map(|(name, value)| (name, inner(value))).collect()
}
