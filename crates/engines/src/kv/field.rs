//! Kinds of fields that only KV has.

use crate::records::Page;
use coffer_engine::{FieldKind, FromField};
use coffer_types::{Json, Result};

/// A field in which `null` says something else than absence.
#[derive(Default)]
pub(super) enum Given<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<T: FromField> FromField for Given<T> {
    const KIND: FieldKind = T::KIND;
    const KNOWS_NULL: bool = true;
    fn from_field(value: Json) -> Result<Self> {
        if value.is_null() { Ok(Self::Null) } else { T::from_field(value).map(Self::Value) }
    }
}

/// The part of a list that `after` and `limit` ask for; a limit that is not positive asks for all.
pub(super) fn page(after: Option<String>, limit: Option<i64>) -> Page {
    let limit = limit.filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
    Page { after: after.filter(|a| !a.is_empty()), limit }
}

impl<T: Default> Given<T> {
    /// What a setting becomes: null sets it back.
    pub(super) fn or_default(self) -> Option<T> {
        match self {
            Self::Absent => None,
            Self::Null => Some(T::default()),
            Self::Value(value) => Some(value),
        }
    }
}
