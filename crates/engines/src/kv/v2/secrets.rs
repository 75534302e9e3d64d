//! Secrets of version 2 as the handlers see them: kernel records, and values that version 1 left.

use super::V2;
use crate::kv::{v1_json, v1_key};
use crate::records::{Fault, Record, Records, Selector, Shape, State, Version, payload_bytes, to_map};
use coffer_engine::Ctx;
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Kind, Object, Result, Timestamp};

/// A secret that is there.
pub(super) struct Secret {
    pub(super) record: Record,
    /// The record is drawn from a value of version 1 that no upgrade has reached yet.
    drawn: bool,
}

/// What a version has to show.
pub(super) enum Shown {
    Data(Json),
    /// Deleted, destroyed or disabled: the metadata alone.
    Hidden,
}

/// Reads a secret: one store read, two if the name is unknown to version 2.
pub(super) async fn load(cx: &Ctx<V2>, name: &str) -> Result<Option<Secret>> {
    let records = Records::new(&cx.view, cx.now());
    if let Some(record) = records.load(name).await? {
        return Ok(Some(Secret { record, drawn: false }));
    }
    if !cx.view.exists(&v1_key(name)).await? {
        return Ok(None);
    }
    Ok(Some(Secret { record: records.sketch(fresh_id(cx), Shape::Json), drawn: true }))
}

pub(super) fn fresh_id(cx: &Ctx<V2>) -> [u8; 16] {
    let mut id = [0u8; 16];
    cx.fill_random(&mut id);
    id
}

/// Reads a secret in order to change it: a value of version 1 becomes a record in this same transaction.
pub(super) async fn load_to_change(cx: &Ctx<V2>, name: &str) -> Result<Option<Record>> {
    let Some(mut secret) = load(cx, name).await? else { return Ok(None) };
    if secret.drawn {
        let key = v1_key(name);
        if let Some(stored) = cx.view.get_bytes(&key).await? {
            Records::new(&cx.view, cx.now()).take_over(name, &mut secret.record, v1_json(&stored)?)?;
            cx.view.delete(&key);
        }
    }
    Ok(Some(secret.record))
}

impl Secret {
    /// The version that a read asks for; 0 and below ask for the current one. A secret whose deletion another
    /// dialect scheduled is not there.
    pub(super) fn version(&self, asked: Option<i64>) -> Option<&Version> {
        if self.record.deletion.is_some() {
            return None;
        }
        self.record.select(&match asked.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0) {
            Some(seq) => Selector::Seq(seq),
            None => Selector::Current,
        })
    }

    /// The version's data: one store read.
    pub(super) async fn show(&self, cx: &Ctx<V2>, name: &str, version: &Version) -> Result<Shown> {
        if version.state(cx.now()) != State::Enabled {
            return Ok(Shown::Hidden);
        }
        if self.drawn {
            let stored = cx.view.get_bytes(&v1_key(name)).await?.ok_or_else(Error::not_found)?;
            return Ok(Shown::Data(parse(v1_json(&stored)?, &Limits::NONE).map_err(Error::internal)?));
        }
        let stored = Records::new(&cx.view, cx.now()).payload(&self.record, version).await.map_err(refused)?;
        Ok(Shown::Data(to_map(version.shape, payload_bytes(&stored)?)?))
    }
}

/// What is told of one version beside its data. A shape that no KV write has is named, because then the data is a
/// projection.
pub(super) fn describe(record: &Record, version: &Version) -> Object {
    let mut object = Object::with_capacity(6);
    object.insert("created_time", version.created.rfc3339());
    object.insert("custom_metadata", custom_metadata(record));
    object.insert("deletion_time", time_or_empty(version.deletion));
    object.insert("destroyed", version.is_destroyed());
    object.insert("version", version.seq);
    if version.shape != Shape::Json {
        object.insert("shape", version.shape.as_str());
    }
    object
}

pub(super) fn custom_metadata(record: &Record) -> Json {
    if record.custom.is_empty() {
        return Json::Null;
    }
    record.custom.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Object>().into()
}

pub(super) fn time_or_empty(time: Timestamp) -> String {
    if time.is_never() { String::new() } else { time.rfc3339() }
}

/// KV's words for the kernel's refusals.
pub(super) fn refused(fault: Fault) -> Error {
    match fault {
        Fault::Conflict => Error::new(Kind::Precondition, "check-and-set parameter did not match the current version"),
        Fault::DeletionScheduled => Error::bad_request("the deletion of this secret is scheduled: restore it first"),
        Fault::NoVersion | Fault::NotScheduled => Error::not_found(),
        Fault::NativeIdTaken => Error::bad_request("another version has this id"),
        Fault::Destroyed => Error::bad_request("this version is destroyed"),
        Fault::Failed(error) => error,
    }
}
