//! Codes: made, and checked, each once.

use super::key::{self, Named};
use super::{Totp, check_name};
use coffer_engine::{Ctx, Record, Reply, Request, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// Steps whose codes were taken and would still be in time. Stored in format 1 under `used/<name>`.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Used {
    steps: Vec<u64>,
}

impl Record for Used {
    const FORMAT: u8 = 1;
}

impl Used {
    pub(super) fn place(name: &str) -> String {
        format!("used/{name}")
    }
}

/// A code.
#[derive(Response)]
pub(super) struct Code {
    /// Six or eight digits.
    code: String,
    /// When the next one comes, in seconds since 1970.
    expire_time: i64,
    /// When this was made, in seconds since 1970.
    generated: i64,
    /// How long a code holds.
    period: String,
}

pub(super) async fn now(cx: Ctx<Totp>, q: Named) -> Result<Reply<Code>> {
    check_name(&q.name)?;
    let key = key::find(&cx, &q.name).await?.ok_or_else(|| unknown(&q.name))?;
    let (totp, seconds) = (key.totp()?, cx.now().secs());
    let step = totp.step(seconds);
    Ok(Reply::data(Code {
        code: totp.digits.show(totp.code(step)),
        expire_time: i64::try_from((step + 1).saturating_mul(key.period)).unwrap_or(i64::MAX),
        generated: seconds,
        period: format!("{}s", key.period),
    }))
}

/// Check a code.
#[derive(Request)]
pub(super) struct Check {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The code.
    #[field(default)]
    code: String,
}

/// Whether a code is right.
#[derive(Response)]
pub(super) struct Checked {
    /// It is, and was not used before.
    valid: bool,
}

pub(super) async fn check(cx: Ctx<Totp>, q: Check) -> Result<Reply<Checked>> {
    check_name(&q.name)?;
    if q.code.is_empty() {
        return Err(Error::bad_request("the code value is required"));
    }
    let key = key::find(&cx, &q.name).await?.ok_or_else(|| unknown(&q.name))?;
    let (totp, seconds) = (key.totp()?, cx.now().secs());
    if q.code.len() != totp.digits.count() {
        return Err(Error::bad_request("invalid number of digits for the code"));
    }
    let step = totp.digits.parse(&q.code).and_then(|code| totp.find(code, seconds, key.skew));
    let Some(step) = step else { return Ok(Reply::data(Checked { valid: false })) };
    let place = Used::place(&q.name);
    let mut used: Used = cx.view.get(&place).await?.unwrap_or_default();
    if used.steps.contains(&step) {
        return Err(Error::bad_request("code already used; wait until the next time period"));
    }
    // What is older can't be found again.
    let oldest = totp.step(seconds).saturating_sub(key.skew);
    used.steps.retain(|step| *step >= oldest);
    used.steps.push(step);
    cx.view.put(&place, &used)?;
    Ok(Reply::data(Checked { valid: true }))
}

fn unknown(name: &str) -> Error {
    Error::bad_request(format!("unknown key: {name}"))
}
