//! Like a certificate authority: raw replies to anyone, `cert/ca` beside `cert/{serial}`, a body that is not JSON.
//! Its "DER" is a sequence of one integer (X.690 §8.3, §8.9): enough to see that bytes are not touched on the way.

use coffer_engine::{Ctx, Declare, Engine, Mount, NoInput, RawFields, Record, Reply, Request, Response};
use coffer_types::{Error, Object, Operation, Result};
use serde::{Deserialize, Serialize};

pub struct Certificates;

/// A certificate that was issued or imported; stored in format 1 under `cert/<serial>`.
#[derive(Serialize, Deserialize)]
struct Issued {
    der: Vec<u8>,
    imported: bool,
}

impl Record for Issued {
    const FORMAT: u8 = 1;
}

impl Engine for Certificates {
    const KIND: &'static str = "certificates";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Issues certificates that are none.");
        d.at("ca").about("The authority's certificate as it is.").public().read(ca);
        d.at("cert/ca").about("The authority's certificate in JSON.").public().read(ca_in_json);
        d.at("cert/{serial}").about("A certificate in JSON.").public().read(certificate);
        d.at("cert/{serial}/raw").about("A certificate as it is.").public().read(raw);
        d.at("certs").about("Lists certificates.").list(list);
        d.at("issue/{name}").about("Issues a certificate.").write(issue).exists(always);
        d.at("import").about("Takes a certificate as it is.").raw_body().write(import).exists(always);
    }
}

const CA: [u8; 5] = [0x30, 0x03, 0x02, 0x01, 0x00];
const DER: &str = "application/pkix-cert";

fn der(serial: u8) -> Vec<u8> {
    vec![0x30, 0x03, 0x02, 0x01, serial]
}

/// Read the authority's certificate.
#[derive(Request)]
struct Ca {}

async fn ca(_: Ctx<Certificates>, _: Ca) -> Result<Reply<()>> {
    Ok(Reply::raw(DER, CA.to_vec()))
}

#[derive(Response)]
struct Shown {
    /// The bytes, in hexadecimal digits.
    certificate: String,
    /// Whether it came from outside.
    imported: bool,
}

async fn ca_in_json(_: Ctx<Certificates>, _: Ca) -> Result<Reply<Shown>> {
    Ok(Reply::data(Shown { certificate: hex(&CA), imported: false }))
}

/// Read a certificate.
#[derive(Request)]
struct BySerial {
    /// Its serial number.
    #[field(path)]
    serial: String,
}

async fn find(cx: &Ctx<Certificates>, serial: &str) -> Result<Issued> {
    cx.view.get::<Issued>(&format!("cert/{serial}")).await?.ok_or_else(Error::not_found)
}

async fn certificate(cx: Ctx<Certificates>, q: BySerial) -> Result<Reply<Shown>> {
    let issued = find(&cx, &q.serial).await?;
    Ok(Reply::data(Shown { certificate: hex(&issued.der), imported: issued.imported }))
}

async fn raw(cx: Ctx<Certificates>, q: BySerial) -> Result<Reply<()>> {
    Ok(Reply::raw(DER, find(&cx, &q.serial).await?.der))
}

async fn list(cx: Ctx<Certificates>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("cert/", None, usize::MAX).await?))
}

/// Issue a certificate.
#[derive(Request)]
struct Issue {
    /// Whom it is for.
    #[field(path)]
    name: String,
    /// Its serial number.
    serial: u8,
}

async fn issue(cx: Ctx<Certificates>, q: Issue) -> Result<Reply> {
    let key = format!("cert/{:02x}", q.serial);
    if cx.view.exists(&key).await? {
        return Err(Error::bad_request("this serial number is taken"));
    }
    cx.view.put(&key, &Issued { der: der(q.serial), imported: false })?;
    Ok(Reply::data(Object::new().with("name", q.name).with("certificate", hex(&der(q.serial)))))
}

/// A body that is no JSON: read by hand, as the derive knows only fields.
struct Import(Vec<u8>);

impl Request for Import {
    const ABOUT: &'static str = "Import a certificate as it is.";

    fn fields() -> Vec<coffer_engine::Field> {
        Vec::new()
    }

    fn read(raw: &mut RawFields<'_>) -> Result<Self> {
        match raw.fields.raw.take() {
            Some(body) => Ok(Self(body)),
            None => Err(Error::bad_request("a certificate is expected as the body")),
        }
    }
}

async fn import(cx: Ctx<Certificates>, q: Import) -> Result<Reply> {
    let [0x30, 0x03, 0x02, 0x01, serial] = q.0[..] else {
        return Err(Error::bad_request("this is no certificate"));
    };
    cx.view.put(&format!("cert/{serial:02x}"), &Issued { der: q.0, imported: true })?;
    Ok(Reply::data(Object::new().with("serial", format!("{serial:02x}"))))
}

async fn always(_: Ctx<Certificates>, _: NoInput) -> Result<bool> {
    Ok(true)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The patterns that answer without a token, for tests of pipelines.
impl Certificates {
    pub const PUBLIC: [(Operation, &'static str); 4] =
        [(Operation::Read, "ca"), (Operation::Read, "cert/ca"), (Operation::Read, "cert/01"), (Operation::Read, "cert/01/raw")];
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::Fields;
    use coffer_engine::testing::{Bench, text};
    use coffer_types::Kind;

    fn bench() -> Bench {
        let bench = Bench::new::<Certificates>("pki/", &[]);
        bench.call(Operation::Update, "issue/web", r#"{"serial":1}"#).unwrap();
        bench
    }

    #[test]
    fn replies_in_its_own_form() {
        let b = bench();
        for (path, bytes) in [("ca", CA.to_vec()), ("cert/01/raw", der(1))] {
            let answer = b.call(Operation::Read, path, "").unwrap();
            let raw = answer.raw.as_ref().unwrap();
            assert_eq!((raw.content_type, &raw.body), (DER, &bytes), "{path}");
            assert!(answer.data.is_none());
        }
    }

    #[test]
    fn the_literal_beside_the_variable() {
        let b = bench();
        assert_eq!(text(&b.call(Operation::Read, "cert/ca", "").unwrap()), r#"{"certificate":"3003020100","imported":false}"#);
        assert_eq!(text(&b.call(Operation::Read, "cert/01", "").unwrap()), r#"{"certificate":"3003020101","imported":false}"#);
        assert_eq!(b.call(Operation::Read, "cert/02", "").err().map(|e| e.kind), Some(Kind::NotFound));
        // The literal has no sub-path; the variable takes it.
        assert_eq!(b.call(Operation::Read, "cert/ca/raw", "").err().map(|e| e.kind), Some(Kind::NotFound));
    }

    #[test]
    fn what_is_public_is_declared_on_the_route() {
        let b = bench();
        let public = |operation, path: &str| b.engine.routes().find(path, operation).unwrap().endpoint.public;
        for (operation, path) in Certificates::PUBLIC {
            assert!(public(operation, path), "{path}");
        }
        assert!(!public(Operation::List, "certs"));
        assert!(!public(Operation::Update, "issue/web"));
        assert!(!public(Operation::Update, "import"));
    }

    #[test]
    fn takes_a_body_that_is_not_json() {
        let b = bench();
        let import = |raw: Option<&[u8]>| {
            b.send(Operation::Update, "import", Fields { raw: raw.map(<[u8]>::to_vec), ..Fields::default() })
        };
        assert_eq!(text(&import(Some(&der(7))).unwrap()), r#"{"serial":"07"}"#);
        assert_eq!(text(&b.call(Operation::List, "certs/", "").unwrap()), r#"{"keys":["01","07"]}"#);
        for refused in [None, Some(&b""[..]), Some(&b"{}"[..]), Some(&[0x30, 0x03, 0x02, 0x02, 0x01])] {
            assert_eq!(import(refused).err().map(|e| e.kind), Some(Kind::BadRequest), "{refused:?}");
        }
        assert!(b.engine.routes().find("import", Operation::Update).unwrap().endpoint.raw_body);
    }

    #[test]
    fn a_taken_serial_is_refused() {
        let b = bench();
        assert_eq!(b.call(Operation::Update, "issue/web", r#"{"serial":1}"#).err().map(|e| e.kind), Some(Kind::BadRequest));
        assert!(b.call(Operation::Update, "issue/web", r#"{"serial":256}"#).is_err());
        assert!(b.call(Operation::Update, "issue/web", "{}").is_err());
    }
}
