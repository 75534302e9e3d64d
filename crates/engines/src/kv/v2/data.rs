//! `data/…`: versions of a secret.

use super::V2;
use super::secrets::{Shown, describe, fresh_id, load, load_to_change, refused};
use super::settings::{Config, Settings};
use crate::kv::field::Given;
use crate::kv::merge::merge;
use crate::kv::writable;
use crate::records::{Change, Expect, Fault, Put, Record, Records, Selector, State, from_map, payload_bytes, to_map};
use coffer_engine::{Ctx, Reply, Request};
use coffer_types::{Error, Json, Object, Result};
use std::collections::BTreeMap;

/// Read a version of the secret, by default the current one.
#[derive(Request)]
pub(super) struct Read {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// Which version; the current one if this is not given or 0.
    #[field(query)]
    version: Option<i64>,
}

pub(super) async fn read(cx: Ctx<V2>, q: Read) -> Result<Reply> {
    let secret = load(&cx, &q.path).await?.ok_or_else(Error::not_found)?;
    let version = secret.version(q.version).ok_or_else(Error::not_found)?;
    let metadata = describe(&secret.record, version);
    Ok(match secret.show(&cx, &q.path, version).await? {
        Shown::Data(data) => Reply::data(Object::new().with("data", data).with("metadata", metadata)),
        Shown::Hidden => Reply::missing_with(Object::new().with("data", Json::Null).with("metadata", metadata)),
    })
}

/// Write a new version of the secret.
#[derive(Request)]
pub(super) struct Write {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// The secret itself: any JSON object.
    #[field(default)]
    data: Given<Object>,
    /// Options. `cas`: the version that must be the current one; 0 if there must be none.
    options: Option<Object>,
    /// Of no use when writing.
    #[field(rename = "version")]
    _version: Option<i64>,
}

pub(super) async fn write(cx: Ctx<V2>, q: Write) -> Result<Reply> {
    let name = writable(&q.path)?;
    let data = match q.data {
        Given::Absent => return Err(no_data()),
        Given::Null => Json::Null,
        Given::Value(object) => Json::Object(object),
    };
    let cas = cas(q.options.as_ref())?;
    let config = Config::load(&cx.view).await?;
    let mut record = match load_to_change(&cx, name).await? {
        Some(record) => record,
        None => Records::new(&cx.view, cx.now()).create(fresh_id(&cx)),
    };
    let expect = expected(&config, &record, cas)?;
    store(&cx, name, &mut record, &config, expect, &data).await
}

async fn store(cx: &Ctx<V2>, name: &str, record: &mut Record, config: &Config, expect: Expect, data: &Json) -> Result<Reply> {
    let put = Put {
        payload: from_map(data),
        expect,
        native_id: None,
        current: true,
        labels: Vec::new(),
        keep: config.keep(record),
        deletes_at: config.deletes_at(cx, &Settings::of(record)),
        attrs: BTreeMap::new(),
    };
    let seq = Records::new(&cx.view, cx.now()).put(name, record, put).await.map_err(refused)?;
    let version = record.select(&Selector::Seq(seq)).ok_or_else(|| Error::internal("a version just written is not there"))?;
    Ok(Reply::data(describe(record, version)))
}

pub(super) async fn exists(cx: Ctx<V2>, q: Read) -> Result<bool> {
    Ok(load(&cx, &q.path).await?.is_some_and(|secret| secret.version(None).is_some()))
}

/// Write a new version that is the current one with changes: a JSON merge patch (RFC 7386).
#[derive(Request)]
pub(super) struct Patch {
    /// Location of the secret.
    #[field(path)]
    path: String,
    /// The changes: members replace or add, null removes.
    #[field(default)]
    data: Given<Object>,
    /// Options. `cas`: the version that must be the current one.
    options: Option<Object>,
}

pub(super) async fn patch(cx: Ctx<V2>, q: Patch) -> Result<Reply> {
    let name = writable(&q.path)?;
    let changes = match q.data {
        Given::Absent => return Err(no_data()),
        Given::Null => Object::new(),
        Given::Value(object) => object,
    };
    let config = Config::load(&cx.view).await?;
    let Some(mut record) = load_to_change(&cx, name).await? else { return Ok(nothing_to_patch()) };
    let expect = expected(&config, &record, cas(q.options.as_ref())?)?;
    if expect != Expect::Anything && expect != Expect::Current(record.current) {
        return Err(refused(Fault::Conflict));
    }
    let Some(version) = record.select(&Selector::Current) else { return Ok(nothing_to_patch()) };
    if version.state(cx.now()) != State::Enabled {
        return Ok(Reply::missing_with(describe(&record, version)));
    }
    let stored = Records::new(&cx.view, cx.now()).payload(&record, version).await.map_err(refused)?;
    let mut data = to_map(version.shape, payload_bytes(&stored)?)?.into_object().unwrap_or_default();
    merge(&mut data, changes);
    store(&cx, name, &mut record, &config, expect, &Json::Object(data)).await
}

/// 404 with nothing in it, as clients of the API know it.
pub(super) fn nothing_to_patch() -> Reply {
    Reply::raw("application/json", Vec::new()).status(404)
}

/// Mark the current version as deleted.
#[derive(Request)]
pub(super) struct Delete {
    /// Location of the secret.
    #[field(path)]
    path: String,
}

pub(super) async fn delete(cx: Ctx<V2>, q: Delete) -> Result<Reply<()>> {
    if let Some(mut record) = load_to_change(&cx, &q.path).await? {
        let current = record.current;
        Records::new(&cx.view, cx.now()).set_state(&q.path, &mut record, &[current], Change::Delete).map_err(refused)?;
    }
    Ok(Reply::empty())
}

fn no_data() -> Error {
    Error::bad_request("no data provided")
}

/// The `cas` of the options. `null` counts as 0: nothing may be there.
fn cas(options: Option<&Object>) -> Result<Option<i64>> {
    let bad = || Error::bad_request("error parsing check-and-set parameter");
    match options.and_then(|o| o.get("cas")) {
        None => Ok(None),
        Some(Json::Null) => Ok(Some(0)),
        Some(Json::Bool(b)) => Ok(Some(i64::from(*b))),
        Some(Json::String(text)) if text.as_str().is_empty() => Ok(Some(0)),
        Some(Json::String(text) | Json::Number(text)) => text.as_str().parse().map(Some).map_err(|_| bad()),
        Some(_) => Err(bad()),
    }
}

fn expected(config: &Config, record: &Record, cas: Option<i64>) -> Result<Expect> {
    match cas {
        // No version has a negative number.
        Some(seq) => Ok(Expect::Current(u64::try_from(seq).unwrap_or(u64::MAX))),
        None if config.cas_required || Settings::of(record).cas_required => {
            Err(Error::bad_request("check-and-set parameter required for this call"))
        }
        None => Ok(Expect::Anything),
    }
}
