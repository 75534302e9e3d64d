//! Like Secrets Manager: verbs instead of paths, over the very records that KV keeps. What policies decide on is the
//! canonical resource of a call, `data/<name>`, which each verb computes from its request: a policy for KV holds here.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coffer_engine::{Ctx, Declare, Engine, Mount, Reply, Request};
use coffer_engines::records::{
    CURRENT, Expect, Fault, PENDING, Payload, Put, Record, Records, Selector, Value, from_bytes, from_text, payload_bytes,
    to_value,
};
use coffer_types::json::Text;
use coffer_types::{Error, Kind, Object, Operation, Result, Span, Timestamp};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

pub struct Secrets;

impl Engine for Secrets {
    const KIND: &'static str = "secrets";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Secrets by verbs.");
        d.verb("CreateSecret").about("Creates a secret.").acts(create, |q: &Create| at(Operation::Create, &q.name));
        d.verb("PutSecretValue").about("Writes a version.").acts(put, |q: &PutValue| at(Operation::Update, &q.id));
        d.verb("GetSecretValue").about("Reads a version.").acts(get, |q: &Get| at(Operation::Read, &q.id));
        d.verb("UpdateSecretVersionStage").about("Moves a label.").acts(stage, |q: &Stage| at(Operation::Update, &q.id));
        d.verb("DeleteSecret").about("Schedules the end of a secret.").acts(delete, |q: &Delete| at(Operation::Delete, &q.id));
        d.verb("RestoreSecret").about("Keeps it after all.").acts(restore, |q: &Restore| at(Operation::Update, &q.id));
        d.verb("BatchGetSecretValue")
            .about("Reads several.")
            .acts(batch, |q: &Batch| q.ids.iter().flat_map(|id| at(Operation::Read, id)).collect());
    }
}

fn at(operation: Operation, name: &str) -> Vec<(Operation, String)> {
    vec![(operation, format!("data/{name}"))]
}

/// Create a secret with its first version.
#[derive(Request)]
struct Create {
    #[field(rename = "Name")]
    name: String,
    #[field(rename = "SecretString")]
    text: Option<Text>,
    #[field(rename = "SecretBinary")]
    binary: Option<Text>,
    #[field(rename = "ClientRequestToken")]
    token: Option<String>,
}

async fn create(cx: Ctx<Secrets>, q: Create) -> Result<Reply> {
    let records = Records::new(&cx.view, cx.now());
    if records.load(&q.name).await?.is_some() {
        return Err(Error::bad_request("the secret exists").with_code("ResourceExistsException"));
    }
    let mut id = [0u8; 16];
    cx.fill_random(&mut id);
    write(&records, &q.name, records.create(id), payload(q.text, q.binary)?, q.token, None).await
}

/// Write a version of a secret.
#[derive(Request)]
struct PutValue {
    #[field(rename = "SecretId")]
    id: String,
    #[field(rename = "SecretString")]
    text: Option<Text>,
    #[field(rename = "SecretBinary")]
    binary: Option<Text>,
    #[field(rename = "ClientRequestToken")]
    token: Option<String>,
    #[field(rename = "VersionStages")]
    stages: Option<Vec<String>>,
}

async fn put(cx: Ctx<Secrets>, q: PutValue) -> Result<Reply> {
    let records = Records::new(&cx.view, cx.now());
    let record = find(&records, &q.id).await?;
    write(&records, &q.id, record, payload(q.text, q.binary)?, q.token, q.stages).await
}

async fn write(
    records: &Records<'_>,
    name: &str,
    mut record: Record,
    payload: Payload,
    token: Option<String>,
    stages: Option<Vec<String>>,
) -> Result<Reply> {
    let stages = stages.unwrap_or_else(|| vec![CURRENT.to_owned()]);
    let put = Put {
        payload,
        expect: Expect::Anything,
        native_id: token,
        current: stages.iter().any(|s| s == CURRENT),
        labels: stages.into_iter().filter(|s| s != CURRENT).collect(),
        keep: 100,
        deletes_at: Timestamp::NEVER,
        attrs: BTreeMap::new(),
    };
    let seq = records.put(name, &mut record, put).await.map_err(refused)?;
    let version = record.select(&Selector::Seq(seq)).ok_or_else(|| Error::internal("a version just written is not there"))?;
    let shown = Object::new().with("Name", name).with("VersionId", record.native_id(version));
    Ok(Reply::data(shown.with("VersionStages", record.labels_of(seq))))
}

fn payload(text: Option<Text>, binary: Option<Text>) -> Result<Payload> {
    match (text, binary) {
        (Some(text), None) => Ok(from_text(&text)),
        (None, Some(base64)) => {
            let bytes = BASE64_STANDARD.decode(base64.as_str());
            let bytes =
                bytes.map_err(|_| Error::bad_request("SecretBinary is not base64").with_code("InvalidParameterException"))?;
            Ok(from_bytes(Zeroizing::new(bytes), false))
        }
        _ => Err(Error::bad_request("either SecretString or SecretBinary").with_code("InvalidParameterException")),
    }
}

/// Read a version of a secret.
#[derive(Request)]
struct Get {
    #[field(rename = "SecretId")]
    id: String,
    #[field(rename = "VersionId")]
    version: Option<String>,
    #[field(rename = "VersionStage")]
    stage: Option<String>,
}

async fn get(cx: Ctx<Secrets>, q: Get) -> Result<Reply> {
    let selector = match (&q.version, &q.stage) {
        (Some(id), _) => Selector::Native(id),
        (None, Some(stage)) => Selector::Label(stage),
        (None, None) => Selector::Label(CURRENT),
    };
    value(&cx, &q.id, &selector).await.map(Reply::data)
}

async fn value(cx: &Ctx<Secrets>, name: &str, selector: &Selector<'_>) -> Result<Object> {
    let records = Records::new(&cx.view, cx.now());
    let record = find(&records, name).await?;
    let version = record.select(selector).ok_or_else(|| refused(Fault::NoVersion))?;
    let stored = records.payload(&record, version).await.map_err(refused)?;
    let shown = Object::new().with("Name", name).with("VersionId", record.native_id(version));
    let shown = shown.with("VersionStages", record.labels_of(version.seq));
    Ok(match to_value(version.shape, payload_bytes(&stored)?)? {
        Value::Text(text) => shown.with("SecretString", text),
        Value::Binary(bytes) => shown.with("SecretBinary", BASE64_STANDARD.encode(bytes)),
    })
}

/// Read the current versions of several secrets.
#[derive(Request)]
struct Batch {
    #[field(rename = "SecretIdList")]
    ids: Vec<String>,
}

async fn batch(cx: Ctx<Secrets>, q: Batch) -> Result<Reply> {
    let mut values = Vec::with_capacity(q.ids.len());
    for id in &q.ids {
        values.push(value(&cx, id, &Selector::Label(CURRENT)).await?);
    }
    Ok(Reply::data(Object::new().with("SecretValues", values)))
}

/// Move a label to a version.
#[derive(Request)]
struct Stage {
    #[field(rename = "SecretId")]
    id: String,
    #[field(rename = "VersionStage")]
    stage: String,
    #[field(rename = "MoveToVersionId")]
    to: Option<String>,
}

async fn stage(cx: Ctx<Secrets>, q: Stage) -> Result<Reply> {
    let records = Records::new(&cx.view, cx.now());
    let mut record = find(&records, &q.id).await?;
    let to = match &q.to {
        Some(id) => Some(record.select(&Selector::Native(id)).ok_or_else(|| refused(Fault::NoVersion))?.seq),
        None => None,
    };
    records.move_label(&q.id, &mut record, &q.stage, to).map_err(refused)?;
    Ok(Reply::data(Object::new().with("Name", q.id)))
}

/// Schedule the end of a secret.
#[derive(Request)]
struct Delete {
    #[field(rename = "SecretId")]
    id: String,
    #[field(rename = "RecoveryWindowInDays", default = 30)]
    days: i64,
}

async fn delete(cx: Ctx<Secrets>, q: Delete) -> Result<Reply> {
    if !(7..=30).contains(&q.days) {
        return Err(Error::bad_request("RecoveryWindowInDays is 7 to 30").with_code("InvalidParameterException"));
    }
    let records = Records::new(&cx.view, cx.now());
    let mut record = find(&records, &q.id).await?;
    let day = cx.now().plus(Span::from_secs(q.days * 86_400).duration());
    records.schedule_delete(&q.id, &mut record, day).map_err(refused)?;
    Ok(Reply::data(Object::new().with("Name", q.id).with("DeletionDate", day.secs())))
}

/// Undo a deletion.
#[derive(Request)]
struct Restore {
    #[field(rename = "SecretId")]
    id: String,
}

async fn restore(cx: Ctx<Secrets>, q: Restore) -> Result<Reply> {
    let records = Records::new(&cx.view, cx.now());
    let mut record = find(&records, &q.id).await?;
    records.restore(&q.id, &mut record).map_err(refused)?;
    Ok(Reply::data(Object::new().with("Name", q.id)))
}

async fn find(records: &Records<'_>, name: &str) -> Result<Record> {
    records.load(name).await?.ok_or_else(|| refused(Fault::NoVersion))
}

/// This protocol's words for the kernel's refusals.
fn refused(fault: Fault) -> Error {
    match fault {
        Fault::NoVersion => {
            Error::new(Kind::NotFound, "there is no such secret or version").with_code("ResourceNotFoundException")
        }
        Fault::NativeIdTaken => Error::bad_request("this token was used with another value").with_code("ResourceExistsException"),
        Fault::DeletionScheduled | Fault::NotScheduled | Fault::Destroyed | Fault::Conflict => {
            Error::bad_request("the secret's state does not allow this").with_code("InvalidRequestException")
        }
        Fault::Failed(error) => error,
    }
}

/// Labels that a rotation uses, for tests.
impl Secrets {
    pub const PENDING: &'static str = PENDING;
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::testing::{Bench, Failed, text};
    use coffer_engines::kv::V2;
    use coffer_types::Json;

    fn bench() -> Bench {
        Bench::new::<Secrets>("secret/", &[])
    }

    fn call(b: &Bench, verb: &str, body: &str) -> Result<Json, Failed> {
        b.verb(verb, body).map(|(answer, _)| Json::Object(answer.data.unwrap_or_default()))
    }

    fn string(value: &Json, name: &str) -> String {
        value.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
    }

    #[test]
    fn policies_decide_on_the_path_that_kv_has() {
        let b = bench();
        for (verb, body, operation) in [
            ("CreateSecret", r#"{"Name":"prod/x","SecretString":"s"}"#, Operation::Create),
            ("PutSecretValue", r#"{"SecretId":"prod/x","SecretString":"s"}"#, Operation::Update),
            ("GetSecretValue", r#"{"SecretId":"prod/x"}"#, Operation::Read),
            ("DeleteSecret", r#"{"SecretId":"prod/x"}"#, Operation::Delete),
        ] {
            let (_, resources) = b.verb(verb, body).unwrap();
            assert_eq!(resources, [(operation, "data/prod/x".to_owned())], "{verb}");
        }
    }

    #[test]
    fn a_batch_is_decided_item_by_item() {
        let b = bench();
        for name in ["a", "b"] {
            call(&b, "CreateSecret", &format!(r#"{{"Name":"{name}","SecretString":"{name}!"}}"#)).unwrap();
        }
        let (answer, resources) = b.verb("BatchGetSecretValue", r#"{"SecretIdList":["a","b"]}"#).unwrap();
        assert_eq!(resources, [(Operation::Read, "data/a".to_owned()), (Operation::Read, "data/b".to_owned())]);
        assert!(text(&answer).contains("a!") && text(&answer).contains("b!"));
    }

    #[test]
    fn verbs_are_no_paths() {
        let b = bench();
        assert!(b.call(Operation::Read, "GetSecretValue", "").is_err());
        assert_eq!(b.verb("NoSuchVerb", "{}").err().map(|e| e.kind), Some(Kind::Unsupported));
        assert!(b.verb("GetSecretValue", "{}").err().unwrap().public.contains("SecretId"));
    }

    #[test]
    fn what_kv_writes_is_read_here_and_back() {
        let mut b = Bench::new::<V2>("secret/", &[]);
        b.call(Operation::Update, "data/prod/x", r#"{"data":{"user":"app","n":1.10}}"#).unwrap();
        b.become_engine::<Secrets>();
        let read = call(&b, "GetSecretValue", r#"{"SecretId":"prod/x"}"#).unwrap();
        assert_eq!(string(&read, "SecretString"), r#"{"user":"app","n":1.10}"#);
        let first = string(&read, "VersionId");
        assert_eq!(first.len(), 36);
        call(&b, "PutSecretValue", r#"{"SecretId":"prod/x","SecretString":"plain"}"#).unwrap();
        let previous = call(&b, "GetSecretValue", r#"{"SecretId":"prod/x","VersionStage":"AWSPREVIOUS"}"#).unwrap();
        assert_eq!(string(&previous, "VersionId"), first);
        b.become_engine::<V2>();
        let read = text(&b.call(Operation::Read, "data/prod/x", "").unwrap());
        assert!(read.starts_with(r#"{"data":{"value":"plain"},"metadata":{"#) && read.contains(r#""version":2"#), "{read}");
    }

    #[test]
    fn a_pending_version_waits_and_moving_back_moves_what_kv_reads() {
        let mut b = bench();
        let created = call(&b, "CreateSecret", r#"{"Name":"a","SecretString":"one"}"#).unwrap();
        let body = r#"{"SecretId":"a","SecretString":"two","VersionStages":["AWSPENDING"],"ClientRequestToken":"token-of-32-characters-or-more-aaa"}"#;
        call(&b, "PutSecretValue", body).unwrap();
        assert_eq!(string(&call(&b, "GetSecretValue", r#"{"SecretId":"a"}"#).unwrap(), "SecretString"), "one");
        let pending = format!(r#"{{"SecretId":"a","VersionStage":"{}"}}"#, Secrets::PENDING);
        assert_eq!(string(&call(&b, "GetSecretValue", &pending).unwrap(), "SecretString"), "two");
        let moving = |to: &str| format!(r#"{{"SecretId":"a","VersionStage":"AWSCURRENT","MoveToVersionId":"{to}"}}"#);
        call(&b, "UpdateSecretVersionStage", &moving("token-of-32-characters-or-more-aaa")).unwrap();
        assert_eq!(string(&call(&b, "GetSecretValue", r#"{"SecretId":"a"}"#).unwrap(), "SecretString"), "two");
        call(&b, "UpdateSecretVersionStage", &moving(&string(&created, "VersionId"))).unwrap();
        b.become_engine::<V2>();
        let read = text(&b.call(Operation::Read, "data/a", "").unwrap());
        assert!(read.contains(r#""value":"one""#) && read.contains(r#""version":1"#), "{read}");
    }

    #[test]
    fn the_same_token_is_the_same_request() {
        let b = bench();
        let body = |value: &str| format!(r#"{{"SecretId":"a","SecretString":"{value}","ClientRequestToken":"t"}}"#);
        call(&b, "CreateSecret", r#"{"Name":"a","SecretString":"zero"}"#).unwrap();
        let first = call(&b, "PutSecretValue", &body("one")).unwrap();
        assert_eq!(call(&b, "PutSecretValue", &body("one")).unwrap().to_bytes(), first.to_bytes());
        assert_eq!(call(&b, "PutSecretValue", &body("two")).err().map(|e| e.kind), Some(Kind::BadRequest));
    }

    #[test]
    fn a_scheduled_deletion_binds_kv_too() {
        let mut b = bench();
        call(&b, "CreateSecret", r#"{"Name":"a","SecretBinary":"AP8Q"}"#).unwrap();
        assert_eq!(string(&call(&b, "GetSecretValue", r#"{"SecretId":"a"}"#).unwrap(), "SecretBinary"), "AP8Q");
        for days in [6, 31, -1] {
            assert!(call(&b, "DeleteSecret", &format!(r#"{{"SecretId":"a","RecoveryWindowInDays":{days}}}"#)).is_err());
        }
        call(&b, "DeleteSecret", r#"{"SecretId":"a","RecoveryWindowInDays":7}"#).unwrap();
        assert!(call(&b, "GetSecretValue", r#"{"SecretId":"a"}"#).is_err());
        b.become_engine::<V2>();
        assert_eq!(b.call(Operation::Read, "data/a", "").err().map(|e| e.kind), Some(Kind::NotFound));
        assert!(b.call(Operation::Delete, "metadata/a", "").is_err());
        b.become_engine::<Secrets>();
        call(&b, "RestoreSecret", r#"{"SecretId":"a"}"#).unwrap();
        assert!(call(&b, "GetSecretValue", r#"{"SecretId":"a"}"#).is_ok());
        assert!(call(&b, "RestoreSecret", r#"{"SecretId":"a"}"#).is_err());
    }

    #[test]
    fn refuses() {
        let b = bench();
        call(&b, "CreateSecret", r#"{"Name":"a","SecretString":"s"}"#).unwrap();
        for (verb, body) in [
            ("CreateSecret", r#"{"Name":"a","SecretString":"s"}"#),
            ("CreateSecret", r#"{"Name":"b"}"#),
            ("CreateSecret", r#"{"Name":"b","SecretString":"s","SecretBinary":"AP8Q"}"#),
            ("CreateSecret", r#"{"Name":"b","SecretBinary":"not base64"}"#),
            ("PutSecretValue", r#"{"SecretId":"none","SecretString":"s"}"#),
            ("GetSecretValue", r#"{"SecretId":"none"}"#),
            ("GetSecretValue", r#"{"SecretId":"a","VersionStage":"NONE"}"#),
            ("GetSecretValue", r#"{"SecretId":"a","VersionId":"none"}"#),
            ("UpdateSecretVersionStage", r#"{"SecretId":"a","VersionStage":"AWSCURRENT"}"#),
            ("UpdateSecretVersionStage", r#"{"SecretId":"a","VersionStage":"X","MoveToVersionId":"none"}"#),
        ] {
            let failed = call(&b, verb, body).err();
            assert!(matches!(failed.map(|e| e.kind), Some(Kind::BadRequest | Kind::NotFound)), "{verb} {body}");
        }
    }
}
