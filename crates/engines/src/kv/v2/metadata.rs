//! `metadata/…` and `detailed-metadata/…`: what is known of a secret besides its data, and lists.

use super::V2;
use super::data::nothing_to_patch;
use super::secrets::{custom_metadata, fresh_id, load, load_to_change, refused, time_or_empty};
use super::settings::{Config, Settings};
use crate::kv::field::{Given, page};
use crate::kv::{V1_ROOT, custom, folder, v1_key, writable};
use crate::records::{Expect, Record, Records, Tree};
use coffer_engine::{Ctx, Reply, Request};
use coffer_types::{Error, Object, Operation, Result, Span};

/// Read what is known of the secret and its versions.
#[derive(Request)]
pub(super) struct Read {
    /// Location of the secret.
    #[field(path)]
    path: String,
}

pub(super) async fn read(cx: Ctx<V2>, q: Read) -> Result<Reply> {
    let secret = load(&cx, &q.path).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(describe(&secret.record)))
}

fn describe(record: &Record) -> Object {
    let settings = Settings::of(record);
    let versions: Object = record
        .versions
        .iter()
        .map(|version| {
            let entry = Object::new()
                .with("created_time", version.created.rfc3339())
                .with("deletion_time", time_or_empty(version.deletion))
                .with("destroyed", version.is_destroyed());
            (version.seq.to_string(), entry)
        })
        .collect();
    Object::new()
        .with("cas_required", settings.cas_required)
        .with("created_time", record.created.rfc3339())
        .with("current_metadata_version", record.settings_revision)
        .with("current_version", record.current)
        .with("custom_metadata", custom_metadata(record))
        .with("delete_version_after", settings.delete_version_after.to_string())
        .with("max_versions", record.max_versions)
        .with("metadata_cas_required", settings.metadata_cas_required)
        .with("oldest_version", record.oldest)
        .with("updated_time", record.updated.rfc3339())
        .with("versions", versions)
}

/// Set metadata of the secret, which need not have a version yet; what is not named stays, null sets back.
#[derive(Request)]
pub(super) struct Write {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// Whether every write must say which version it replaces; false leaves it to the mount.
    #[field(default)]
    cas_required: Given<bool>,
    /// Whether every change of metadata must say which revision it replaces; false leaves it to the mount.
    #[field(default)]
    metadata_cas_required: Given<bool>,
    /// Names and values of your own, which replace all that were there.
    #[field(default)]
    custom_metadata: Given<Object>,
    /// The time after which a version counts as deleted; not longer than the mount's. 0 clears it.
    delete_version_after: Option<Span>,
    /// How many versions are kept, if more than the mount says.
    #[field(default)]
    max_versions: Given<u32>,
    /// The revision of the metadata that this change replaces; 0 where there is none yet.
    metadata_cas: Option<i64>,
    /// Of no use when writing.
    #[field(rename = "after")]
    _after: Option<String>,
    /// Of no use when writing.
    #[field(rename = "limit")]
    _limit: Option<i64>,
}

pub(super) async fn write(cx: Ctx<V2>, q: Write) -> Result<Reply<()>> {
    let name = writable(&q.path)?;
    let asked = Asked {
        cas_required: q.cas_required.or_default(),
        metadata_cas_required: q.metadata_cas_required.or_default(),
        delete_version_after: not_negative(q.delete_version_after)?,
        max_versions: q.max_versions.or_default(),
    };
    let custom = q.custom_metadata.or_default().map(|object| custom::read(&object)).transpose()?;
    if asked.is_empty() && custom.is_none() {
        return Ok(Reply::empty());
    }
    let record = load_to_change(&cx, name).await?;
    check_cas(&cx, record.as_ref(), q.metadata_cas).await?;
    let records = Records::new(&cx.view, cx.now());
    let mut record = record.unwrap_or_else(|| records.create(fresh_id(&cx)));
    records
        .update_meta(name, &mut record, Expect::Anything, |record| {
            asked.apply(record);
            if let Some(custom) = custom {
                record.custom = custom;
            }
        })
        .map_err(refused)?;
    Ok(Reply::empty())
}

/// Change metadata of the secret: null sets a flag or number back, or removes a name of `custom_metadata`.
#[derive(Request)]
pub(super) struct Patch {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// Whether every write must say which version it replaces.
    #[field(default)]
    cas_required: Given<bool>,
    /// Whether every change of metadata must say which revision it replaces.
    #[field(default)]
    metadata_cas_required: Given<bool>,
    /// Names to set, and names to remove (null).
    #[field(default)]
    custom_metadata: Given<Object>,
    /// The time after which a version counts as deleted. 0 clears it; null leaves it.
    delete_version_after: Option<Span>,
    /// How many versions are kept.
    #[field(default)]
    max_versions: Given<u32>,
    /// The revision of the metadata that this change replaces.
    metadata_cas: Option<i64>,
}

pub(super) async fn patch(cx: Ctx<V2>, q: Patch) -> Result<Reply> {
    let name = writable(&q.path)?;
    let asked = Asked {
        cas_required: q.cas_required.or_default(),
        metadata_cas_required: q.metadata_cas_required.or_default(),
        delete_version_after: not_negative(q.delete_version_after)?,
        max_versions: q.max_versions.or_default(),
    };
    if asked.is_empty() && matches!(q.custom_metadata, Given::Absent) {
        return Ok(Reply::empty());
    }
    // What can never be is refused before it is asked whether the secret is there.
    if let Given::Value(changes) = &q.custom_metadata {
        custom::patch(&Default::default(), changes.clone())?;
    }
    let Some(mut record) = load_to_change(&cx, name).await? else { return Ok(nothing_to_patch()) };
    let custom = match q.custom_metadata {
        Given::Absent => None,
        Given::Null => Some(Default::default()),
        Given::Value(changes) => Some(custom::patch(&record.custom, changes)?),
    };
    check_cas(&cx, Some(&record), q.metadata_cas).await?;
    Records::new(&cx.view, cx.now())
        .update_meta(name, &mut record, Expect::Anything, |record| {
            asked.apply(record);
            if let Some(custom) = custom {
                record.custom = custom;
            }
        })
        .map_err(refused)?;
    Ok(Reply::empty())
}

/// Settings to change.
struct Asked {
    cas_required: Option<bool>,
    metadata_cas_required: Option<bool>,
    delete_version_after: Option<Span>,
    max_versions: Option<u32>,
}

impl Asked {
    const fn is_empty(&self) -> bool {
        self.cas_required.is_none()
            && self.metadata_cas_required.is_none()
            && self.delete_version_after.is_none()
            && self.max_versions.is_none()
    }

    fn apply(&self, record: &mut Record) {
        let mut settings = Settings::of(record);
        settings.cas_required = self.cas_required.unwrap_or(settings.cas_required);
        settings.metadata_cas_required = self.metadata_cas_required.unwrap_or(settings.metadata_cas_required);
        settings.delete_version_after = self.delete_version_after.unwrap_or(settings.delete_version_after);
        record.max_versions = self.max_versions.unwrap_or(record.max_versions);
        settings.put(record);
    }
}

fn not_negative(span: Option<Span>) -> Result<Option<Span>> {
    match span {
        Some(span) if span.is_negative() => Err(Error::bad_request(format!(
            "error converting input for field \"delete_version_after\": cannot provide negative value '{}'",
            span.secs()
        ))),
        span => Ok(span),
    }
}

async fn check_cas(cx: &Ctx<V2>, record: Option<&Record>, cas: Option<i64>) -> Result<()> {
    let Some(cas) = cas else {
        let required = record.is_some_and(|r| Settings::of(r).metadata_cas_required);
        if required || Config::load(&cx.view).await?.metadata_cas_required {
            return Err(Error::bad_request("metadata check-and-set parameter required for this call"));
        }
        return Ok(());
    };
    match record {
        None if cas != 0 => Err(Error::bad_request("metadata_cas must be 0 when creating new metadata")),
        Some(record) if u64::try_from(cas) != Ok(record.settings_revision) => {
            Err(Error::bad_request("metadata check-and-set parameter does not match the current version"))
        }
        _ => Ok(()),
    }
}

/// Delete the secret: its metadata and all versions, for good.
#[derive(Request)]
pub(super) struct Delete {
    /// Location of the secret.
    #[field(path)]
    path: String,
}

pub(super) async fn delete(cx: Ctx<V2>, q: Delete) -> Result<Reply<()>> {
    let records = Records::new(&cx.view, cx.now());
    match records.load(&q.path).await? {
        Some(record) => records.purge(&q.path, &record, false).map_err(refused)?,
        None => {
            // What version 1 left under this name.
            let key = v1_key(&q.path);
            if cx.view.exists(&key).await? {
                cx.view.delete(&key);
            }
        }
    }
    Ok(Reply::empty())
}

/// List the names in a folder.
#[derive(Request)]
pub(super) struct List {
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

pub(super) async fn list(cx: Ctx<V2>, q: List) -> Result<Reply> {
    Ok(Reply::list(tree(&cx).children(&folder(&q.path), &page(q.after, q.limit)).await?))
}

pub(super) async fn list_detailed(cx: Ctx<V2>, q: List) -> Result<Reply> {
    let folder = folder(&q.path);
    let names = tree(&cx).children(&folder, &page(q.after, q.limit)).await?;
    let details = details(&cx, &folder, &names).await?;
    Ok(Reply::list_with(names, details))
}

/// List all names below a folder that the caller may list.
#[derive(Request)]
pub(super) struct Scan {
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

pub(super) async fn scan(cx: Ctx<V2>, q: Scan) -> Result<Reply> {
    let names = visible(&cx, "metadata/", &q).await?;
    Ok(Reply::data(if names.is_empty() { Object::new() } else { Object::new().with("keys", names) }))
}

pub(super) async fn scan_detailed(cx: Ctx<V2>, q: Scan) -> Result<Reply> {
    let names = visible(&cx, "detailed-metadata/", &q).await?;
    if names.is_empty() {
        return Ok(Reply::data(Object::new()));
    }
    let details = details(&cx, &folder(&q.path), &names).await?;
    Ok(Reply::list_with(names, details))
}

/// The names below the folder of a scan, but for those in folders that the caller could not list by itself.
async fn visible(cx: &Ctx<V2>, route: &str, q: &Scan) -> Result<Vec<String>> {
    let (below, top) = (folder(&q.path), format!("{}{route}", cx.mount().path));
    let shows = |inner: &str| {
        let may = |op| cx.host().permits(op, &format!("{top}{inner}")).is_some();
        inner == below || may(Operation::List) || may(Operation::Scan)
    };
    tree(cx).descend(&below, &page(q.after.clone(), q.limit), shows).await
}

/// The metadata of the names; a folder's entry is that of the secret of the same name, or empty.
async fn details(cx: &Ctx<V2>, folder: &str, names: &[String]) -> Result<Object> {
    let mut details = Object::with_capacity(names.len());
    for name in names {
        let secret = load(cx, format!("{folder}{name}").trim_end_matches('/')).await?;
        details.insert(name.as_str(), secret.map(|s| describe(&s.record)).unwrap_or_default());
    }
    Ok(details)
}

/// Names of both layouts: a mount of version 1 may be on its way to version 2.
fn tree(cx: &Ctx<V2>) -> Tree<'_> {
    Tree::of(&cx.view, &["meta/", V1_ROOT])
}
