//! What calls with one item and calls with many have in common.

use super::failed;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use coffer_crypto::Zeroizing;
use coffer_engine::Reply;
use coffer_types::{Error, Json, Kind, Object, Result};

/// Items of one call, with the members of each.
pub(super) enum Items {
    One(Object),
    Many(Vec<Object>),
}

/// The most items of one call; the body's limit is usually reached first.
const MOST: usize = 100_000;

impl Items {
    /// `batch_input` if it is there, else the call's own fields.
    pub(super) fn read(batch: Option<Json>, one: Object) -> Result<Self> {
        let Some(batch) = batch else { return Ok(Self::One(one)) };
        let missing = || Error::bad_request("missing batch input to process");
        let unread = || failed("failed to parse batch input: expected a list of objects");
        let Json::Array(items) = batch else { return Err(unread()) };
        if items.is_empty() {
            return Err(missing());
        }
        if items.len() > MOST {
            return Err(Error::bad_request(format!("a batch has at most {MOST} items")));
        }
        let items = items.into_iter().map(|item| item.into_object().ok_or_else(unread));
        items.collect::<Result<Vec<_>>>().map(Self::Many)
    }

    /// Whether the call is about one item, so that its failure is the call's.
    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// Runs `each` over the items. One item's failure is the call's; of many each has its own result or error, and `failing` says what
    /// the status is then. A failed item has the members of `placeholder` besides.
    pub(super) fn run(
        self,
        failing: Failing,
        placeholder: &Object,
        mut each: impl FnMut(&Object) -> Result<Object>,
    ) -> Result<Reply> {
        let items = match self {
            Self::One(item) => return each(&item).map(Reply::data),
            Self::Many(items) => items,
        };
        let (mut results, mut failures) = (Vec::with_capacity(items.len()), 0);
        for item in &items {
            let mut result = match each(item) {
                Ok(result) => result,
                Err(error) if error.kind() == Kind::Internal => return Err(error),
                Err(error) => {
                    failures += 1;
                    placeholder.clone().with("error", error.public())
                }
            };
            result.insert("reference", text(item, "reference").unwrap_or_default());
            results.push(Json::Object(result));
        }
        let all_failed = failures == results.len();
        let reply = Reply::data(Object::new().with("batch_results", Json::Array(results)));
        let partial = match failing {
            Failing::Shown(partial) if failures > 0 => partial,
            _ => return Ok(reply),
        };
        let status =
            partial.filter(|_| !all_failed).and_then(|code| u16::try_from(code).ok()).filter(|code| (200..600).contains(code));
        Ok(reply.status(status.unwrap_or(400)))
    }
}

/// What the failures of some items are to the whole call.
#[derive(Clone, Copy)]
pub(super) enum Failing {
    /// The status is this where others went well, else 400.
    Shown(Option<i64>),
    /// Nothing: the items say it.
    Quiet,
}

/// A member that is a text.
pub(super) fn text<'a>(item: &'a Object, name: &str) -> Result<&'a str> {
    match item.get(name) {
        None | Some(Json::Null) => Ok(""),
        Some(Json::String(text)) => Ok(text.as_str()),
        Some(_) => Err(Error::bad_request(format!("error converting input for field {name:?}: expected a string"))),
    }
}

/// A member that is a whole number, 0 if it is not there.
pub(super) fn number(item: &Object, name: &str) -> Result<i64> {
    match item.get(name) {
        None | Some(Json::Null) => Ok(0),
        Some(value) => coffer_types::lenient::int(value)
            .map_err(|e| Error::bad_request(format!("error converting input for field {name:?}: {}", e.public()))),
    }
}

/// Base64, of which the error names the place, as clients know it.
pub(super) fn base64(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    decoded(&STANDARD, text).map(Zeroizing::new).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            base64::DecodeError::InvalidLength(length) => length - length % 4,
            base64::DecodeError::InvalidPadding => text.trim_end_matches('=').len(),
        };
        Error::bad_request(format!("illegal base64 data at input byte {at}"))
    })
}

/// Base64, in which line ends mean nothing: what was pasted, or came out of a tool that breaks lines, is taken as it is meant.
pub(super) fn decoded(engine: &GeneralPurpose, text: &str) -> std::result::Result<Vec<u8>, base64::DecodeError> {
    match engine.decode(text) {
        Err(_) if text.contains(['\r', '\n']) => {
            let joined = Zeroizing::new(text.replace(['\r', '\n'], ""));
            engine.decode(&*joined)
        }
        other => other,
    }
}

/// The context of a derived key.
pub(super) fn context_of(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    base64(text).map_err(|_| Error::bad_request("failed to base64-decode context"))
}

/// What stands in front of ciphertexts, signatures and MACs: `vault:v3:`.
pub(super) fn prefix(version: u32) -> String {
    format!("vault:v{version}:")
}

/// The version and the rest of a text with [`prefix`]; `what` names the text in errors.
pub(super) fn unprefix<'a>(text: &'a str, what: &str) -> Result<(u32, &'a str)> {
    let bad = |why: &str| Error::bad_request(format!("invalid {what}: {why}"));
    let rest = text.strip_prefix("vault:v").ok_or_else(|| bad("no prefix"))?;
    let (version, rest) = rest.split_once(':').ok_or_else(|| bad("wrong number of fields"))?;
    let number = version.parse::<u32>().map_err(|_| bad("version number could not be decoded"))?;
    Ok((number.max(1), rest))
}
