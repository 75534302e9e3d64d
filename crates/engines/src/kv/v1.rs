//! Version 1: one JSON object a name, the last write stays.

use super::field::page;
use super::{V1_FORMAT, V1_ROOT, folder, v1_json, v1_key, writable};
use crate::records::Tree;
use coffer_engine::{Ctx, Declare, Engine, Mount, Reply, Request};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Kind, Object, Operation, Result, Span, lenient};
use zeroize::Zeroizing;

/// Key-value secrets without versions.
pub struct V1;

impl Engine for V1 {
    const KIND: &'static str = "kv";
    const VERSION: Option<&'static str> = Some("1");

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Keeps secrets as JSON objects under names of your choice, the last value of each.");
        d.at("{path...}")
            .about("Reads, writes, deletes and lists secrets.")
            .read(read)
            .write(write)
            .exists(exists)
            .delete(delete)
            .list(list)
            .scan(scan);
        d.otherwise(root);
    }
}

/// Read the secret.
#[derive(Request)]
struct Read {
    /// Location of the secret.
    #[field(path)]
    path: String,
}

async fn read(cx: Ctx<V1>, q: Read) -> Result<Reply> {
    let stored = cx.view.get_bytes(&v1_key(&q.path)).await?.ok_or_else(Error::not_found)?;
    let data = parse(v1_json(&stored)?, &Limits::NONE).map_err(Error::internal)?;
    let data = data.into_object().ok_or_else(|| Error::internal("a stored value of version 1 is no object"))?;
    let ttl = advised_ttl(&data).unwrap_or(cx.mount().default_lease_ttl);
    Ok(Reply::data(data).advises(ttl))
}

/// How long the secret itself says that it may be kept; what does not read as a duration says nothing.
fn advised_ttl(data: &Object) -> Option<Span> {
    let said = data.get("ttl").or_else(|| data.get("lease"))?;
    lenient::span(said).ok()
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

async fn write(cx: Ctx<V1>, q: Write) -> Result<Reply<()>> {
    let name = writable(&q.path)?;
    if q.data.is_empty() {
        return Err(Error::bad_request("missing data fields"));
    }
    still_version_1(&cx).await?;
    let mut stored = Zeroizing::new(vec![V1_FORMAT]);
    coffer_types::json::write(&Json::Object(q.data), &mut stored);
    cx.view.put_bytes(&v1_key(name), stored);
    Ok(Reply::empty())
}

async fn exists(cx: Ctx<V1>, q: Read) -> Result<bool> {
    cx.view.exists(&v1_key(&q.path)).await
}

/// Delete the secret.
#[derive(Request)]
struct Delete {
    /// Location of the secret.
    #[field(path)]
    path: String,
}

async fn delete(cx: Ctx<V1>, q: Delete) -> Result<Reply<()>> {
    still_version_1(&cx).await?;
    let key = v1_key(&q.path);
    if cx.view.exists(&key).await? {
        cx.view.delete(&key);
    }
    Ok(Reply::empty())
}

/// A call that was under way when the mount became one of version 2 must not write what nothing would read again.
async fn still_version_1(cx: &Ctx<V1>) -> Result<()> {
    if cx.view.exists(super::upgrade::MARK).await? {
        return Err(Error::new(
            Kind::Unavailable,
            "this mount has just become one of version 2: send the call again, as to version 2",
        ));
    }
    Ok(())
}

/// List the names in a folder.
#[derive(Request)]
struct List {
    /// The folder.
    #[field(path)]
    path: String,
    /// Begin after this name, which need not exist.
    #[field(query)]
    after: Option<String>,
    /// At most this many names; all if it is not positive.
    #[field(query)]
    limit: Option<i64>,
}

async fn list(cx: Ctx<V1>, q: List) -> Result<Reply> {
    let tree = Tree::of(&cx.view, &[V1_ROOT]);
    Ok(Reply::list(tree.children(&folder(&q.path), &page(q.after, q.limit)).await?))
}

/// List all names below a folder that the caller may list.
#[derive(Request)]
struct Scan {
    /// The folder.
    #[field(path)]
    path: String,
    /// Begin after this name, in the order of the list.
    #[field(query)]
    after: Option<String>,
    /// At most this many names; all if it is not positive.
    #[field(query)]
    limit: Option<i64>,
}

async fn scan(cx: Ctx<V1>, q: Scan) -> Result<Reply> {
    let (below, top) = (folder(&q.path), &cx.mount().path);
    let shows = |inner: &str| {
        let may = |op| cx.host().permits(op, &format!("{top}{inner}")).is_some();
        inner == below || may(Operation::List) || may(Operation::Scan)
    };
    let names = Tree::of(&cx.view, &[V1_ROOT]).descend(&below, &page(q.after, q.limit), shows).await?;
    Ok(Reply::data(if names.is_empty() { Object::new() } else { Object::new().with("keys", names) }))
}

/// The mount itself holds no value.
async fn root(cx: Ctx<V1>, _: String) -> Result<Reply> {
    match cx.operation() {
        op if op.writes() => Err(Error::bad_request("missing path")),
        Operation::Delete => Ok(Reply::empty()),
        _ => Err(Error::not_found()),
    }
}
