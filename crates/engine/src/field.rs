//! Fields of requests and responses: how they are read, and what help and OpenAPI say of them.

use crate::call::RawFields;
use coffer_types::json::Text;
use coffer_types::{Error, Json, Name, Secret, Span, lenient};
pub use coffer_types::{Object, Result};
use std::collections::BTreeMap;

/// A field as help, OpenAPI and the audit's masking know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    pub source: Source,
    pub required: bool,
    pub help: &'static str,
}

/// Where a field stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Path,
    /// In the query, else in the body.
    Query,
    /// In the body, else in the query.
    Body,
    /// The whole body.
    Rest,
}

/// The OpenAPI type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    String,
    Integer,
    Boolean,
    /// A duration: seconds or a text like `1h`.
    Seconds,
    Strings,
    Integers,
    Map,
    Any,
}

/// A typed request. Derive it: `#[field(path)]`, `#[field(query)]`, `#[field(rest)]` say where a field stands (the
/// body if nothing), `#[field(default)]` or `#[field(default = EXPR)]` what stands in for it; else a field is required
/// unless it is an `Option`. `#[field(flatten)]` takes in the fields of another request. `#[field(rename = "type")]` gives the wire's name. Doc comments become help.
pub trait Request: Sized + Send {
    /// One line of help: what the operation does.
    const ABOUT: &'static str;
    fn fields() -> Vec<Field>;
    fn read(raw: &mut RawFields<'_>) -> Result<Self>;
}

/// A typed response. Derive it.
pub trait Response: Send {
    fn fields() -> Vec<Field>;
    fn into_object(self) -> Object;
}

/// For operations that take nothing.
pub struct NoInput;

impl Request for NoInput {
    const ABOUT: &'static str = "";
    fn fields() -> Vec<Field> {
        Vec::new()
    }
    fn read(_: &mut RawFields<'_>) -> Result<Self> {
        Ok(Self)
    }
}

/// A response whose members are not known beforehand.
impl Response for Object {
    fn fields() -> Vec<Field> {
        Vec::new()
    }
    fn into_object(self) -> Object {
        self
    }
}

/// A response without data.
impl Response for () {
    fn fields() -> Vec<Field> {
        Vec::new()
    }
    fn into_object(self) -> Object {
        Object::new()
    }
}

/// Used by the derive: reads one field, naming it in the error.
///
/// A member that is null counts as left out, as clients send it for what they don't set, except for the types that
/// tell the two apart ([`FromField::KNOWS_NULL`]).
pub fn read_field<T: FromField>(raw: &mut RawFields<'_>, name: &'static str, source: Source) -> Result<Option<T>> {
    match raw.take(name, source) {
        None => Ok(None),
        Some(Json::Null) if !T::KNOWS_NULL => Ok(None),
        Some(value) => T::from_field(value).map(Some).map_err(|e| name_field(name, &e)),
    }
}

fn name_field(name: &str, error: &Error) -> Error {
    Error::bad_request(format!("error converting input for field {name:?}: {}", error.public()))
}

/// Used by the derive.
pub fn missing(name: &'static str) -> Error {
    Error::bad_request(format!("missing required field {name:?}"))
}

/// A type that a request's field can have; reads leniently, as Vault's clients expect.
pub trait FromField: Sized {
    const KIND: FieldKind;
    /// Whether null says something else than a member that is left out.
    const KNOWS_NULL: bool = false;
    fn from_field(value: Json) -> Result<Self>;
}

/// A type that a response's field can have.
pub trait IntoField {
    const KIND: FieldKind;
    fn into_field(self) -> Json;
}

macro_rules! field {
    ($type:ty, $kind:ident, $read:expr, $write:expr) => {
        impl FromField for $type {
            const KIND: FieldKind = FieldKind::$kind;
            const KNOWS_NULL: bool = matches!(FieldKind::$kind, FieldKind::Any);
            fn from_field(value: Json) -> Result<Self> {
                let read: fn(Json) -> Result<Self> = $read;
                read(value)
            }
        }
        impl IntoField for $type {
            const KIND: FieldKind = FieldKind::$kind;
            fn into_field(self) -> Json {
                let write: fn(Self) -> Json = $write;
                write(self)
            }
        }
    };
}

field!(String, String, |v| lenient::string(&v), Json::from);
field!(bool, Boolean, |v| lenient::bool(&v), Json::from);
field!(i64, Integer, |v| lenient::int(&v), Json::from);
field!(u64, Integer, |v| unsigned(&v), Json::from);
field!(u32, Integer, |v| unsigned(&v), Json::from);
field!(u8, Integer, |v| unsigned(&v), Json::from);
field!(Span, Seconds, |v| lenient::span(&v), |s: Span| Json::from(s.secs()));
field!(Vec<String>, Strings, |v| lenient::comma_strings(&v), Json::from);
field!(Vec<i64>, Integers, |v| lenient::comma_ints(&v), Json::from);
field!(Object, Map, |v| lenient::map(&v).map(|_| ()).and_then(|()| v.into_object().ok_or_else(Error::unsupported)), Json::Object);
field!(Json, Any, Ok, |v| v);
field!(
    BTreeMap<String, String>,
    Map,
    |v| lenient::pairs(&v),
    |m: BTreeMap<String, String>| Json::Object(m.into_iter().map(|(k, v)| (k, Json::from(v))).collect())
);
field!(Secret<String>, String, |v| lenient::string(&v).map(Secret::new), |s: Secret<String>| Json::from(s.expose().as_str()));
field!(Text, String, |v| lenient::string(&v).map(Text::new), Json::String);
field!(Name, String, |v| Name::parse(&lenient::string(&v)?), |n: Name| Json::from(n.as_str()));

fn unsigned<T: TryFrom<i64>>(value: &Json) -> Result<T> {
    T::try_from(lenient::int(value)?).map_err(|_| Error::bad_request("the number is out of range"))
}

impl<T: FromField> FromField for Option<T> {
    const KIND: FieldKind = T::KIND;
    /// An explicit null is absence.
    fn from_field(value: Json) -> Result<Self> {
        if value.is_null() { Ok(None) } else { T::from_field(value).map(Some) }
    }
}

impl<T: IntoField> IntoField for Option<T> {
    const KIND: FieldKind = T::KIND;
    fn into_field(self) -> Json {
        self.map_or(Json::Null, T::into_field)
    }
}
