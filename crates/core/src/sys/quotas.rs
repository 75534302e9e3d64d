//! `sys/quotas/…`: rate limits, and limits on the number of leases.

use super::Sys;
use crate::leases::counts;
use crate::mounts::{self, MountRecord};
use crate::quotas::{self, Config, Rule};
use coffer_engine::{Ctx, Declare, MountClass, NoInput, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Json, Name, Object, Result, Span};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("quotas/config").about("What holds for all quotas.").plain(CONFIG).read(read_config).write(write_config);
    d.at("quotas/lease-count").about("The limits on the number of leases.").list(list_leases);
    d.at("quotas/lease-count/{name}")
        .about("A limit on the number of leases.")
        .plain(LEASES)
        .read(read_leases)
        .write(write_leases)
        .delete(delete_leases);
    d.at("quotas/rate-limit").about("The rate limits.").list(list);
    d.at("quotas/rate-limit/{name}").about("A rate limit.").plain(RULE).read(read).write(write).delete(delete);
}

const CONFIG: &[&str] = &["enable_rate_limit_audit_logging", "enable_rate_limit_response_headers", "rate_limit_exempt_paths"];
const LEASES: &[&str] = &["inheritable", "max_leases", "path", "role", "type"];
const RULE: &[&str] = &["block_interval", "inheritable", "interval", "path", "rate", "role", "type"];
/// The most calls in an interval: beyond it a limit limits nothing.
const MOST: f64 = 1e9;
/// The longest interval.
const LONGEST: Span = Span::from_secs(366 * 24 * 3600);

/// Configure quotas.
#[derive(Request)]
struct ConfigAsk {
    /// Refused calls leave lines in the audit log.
    #[field(default)]
    enable_rate_limit_audit_logging: bool,
    /// Replies say what is left of the limit.
    #[field(default)]
    enable_rate_limit_response_headers: bool,
    /// Paths that are never refused, with what is below them.
    rate_limit_exempt_paths: Option<Vec<String>>,
}

/// A rate limit by its name.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: Name,
}

/// Write a rate limit.
#[derive(Request)]
struct RuleAsk {
    /// Its name.
    #[field(path)]
    name: Name,
    /// A mount, or a path in one, or such a path with `*` at its end; everything without.
    #[field(default)]
    path: String,
    /// Calls of one client in an interval; may have a fraction.
    #[field(default)]
    rate: Json,
    /// The interval; a second without.
    #[field(default)]
    interval: Span,
    /// How long a client that went over the limit is refused.
    #[field(default)]
    block_interval: Span,
    /// A login role that it holds for.
    #[field(default)]
    role: String,
    /// Whether it holds in namespaces below; there are none.
    inheritable: Option<bool>,
    /// `rate-limit`.
    #[field(rename = "type", default)]
    kind: String,
}

async fn read_config(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let config = quotas::config(&cx.view).await?;
    let shown = Object::new()
        .with("enable_rate_limit_audit_logging", config.audit)
        .with("enable_rate_limit_response_headers", config.headers)
        .with("rate_limit_exempt_paths", config.exempt);
    Ok(Reply::data(shown))
}

async fn write_config(cx: Ctx<Sys>, ask: ConfigAsk) -> Result<Reply> {
    let exempt = match ask.rate_limit_exempt_paths {
        Some(paths) => paths,
        None => quotas::config(&cx.view).await?.exempt,
    };
    let config = Config { exempt, audit: ask.enable_rate_limit_audit_logging, headers: ask.enable_rate_limit_response_headers };
    quotas::set_config(&cx.view, &config)?;
    Ok(Reply::empty())
}

async fn list(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(quotas::rules(&cx.view).await?.into_keys().collect()))
}

async fn read(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let rule = quotas::rule(&cx.view, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    let shown = Object::new()
        .with("block_interval", rule.block_interval.secs())
        .with("inheritable", rule.inheritable)
        .with("interval", rule.interval.secs())
        .with("name", ask.name.as_str())
        .with("path", rule.path)
        .with("rate", Json::Number(Text::new(rule.rate.to_string())))
        .with("role", "")
        .with("type", "rate-limit");
    Ok(Reply::data(shown))
}

async fn delete(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    quotas::remove(&cx.view, ask.name.as_str()).await?;
    Ok(Reply::empty())
}

async fn write(cx: Ctx<Sys>, ask: RuleAsk) -> Result<Reply> {
    if !["", "rate-limit"].contains(&ask.kind.as_str()) {
        return Err(Error::bad_request("the type of this quota is \"rate-limit\""));
    }
    let rate = rate(&ask.rate)?;
    let interval = if ask.interval.is_zero() { Span::from_secs(1) } else { ask.interval };
    for (name, span) in [("interval", interval), ("block_interval", ask.block_interval)] {
        if span.is_negative() {
            return Err(Error::bad_request(format!("error converting input for field {name:?}: cannot provide negative value")));
        }
        if span > LONGEST {
            return Err(Error::bad_request(format!("'{name}' is longer than a year")));
        }
    }
    let path = place(&mounts::load(&cx.view).await?, &ask.path, &ask.role)?;
    let inheritable = ask.inheritable.unwrap_or(path.is_empty());
    let rule = Rule { path, rate, interval, block_interval: ask.block_interval, inheritable };
    quotas::put(&cx.view, ask.name.as_str(), &rule).await?;
    Ok(Reply::empty())
}

/// Write a limit on the number of leases.
#[derive(Request)]
struct LeasesAsk {
    /// Its name. `default` is the one that every server has.
    #[field(path)]
    name: Name,
    /// A mount, or a path in one, or such a path with `*` at its end; everything without.
    #[field(default)]
    path: String,
    /// How many leases there may be. For `default` 0 means any number.
    max_leases: Option<i64>,
    /// Only leases of this role.
    #[field(default)]
    role: String,
    /// Whether it holds in namespaces below; there are none.
    inheritable: Option<bool>,
    /// `lease-count`.
    #[field(rename = "type", default)]
    kind: String,
}

async fn list_leases(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(counts::rules(&cx.view).await?.into_keys().collect()))
}

async fn read_leases(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let rule = counts::rule(&cx.view, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    let live = cx.engine.core()?.unsealed()?;
    if rule.max_leases > 0 {
        live.leases.count(&live).await?;
    }
    let shown = Object::new()
        .with("counter", live.leases.counted(ask.name.as_str()))
        .with("inheritable", rule.inheritable)
        .with("max_leases", rule.max_leases)
        .with("name", ask.name.as_str())
        .with("path", rule.path)
        .with("role", rule.role)
        .with("type", "lease-count");
    Ok(Reply::data(shown))
}

async fn write_leases(cx: Ctx<Sys>, ask: LeasesAsk) -> Result<Reply> {
    if !["", "lease-count"].contains(&ask.kind.as_str()) {
        return Err(Error::bad_request("the type of this quota is \"lease-count\""));
    }
    let default = ask.name.as_str() == counts::DEFAULT;
    let max_leases = match ask.max_leases.map(u64::try_from) {
        Some(Ok(max)) if max > 0 || default => max,
        _ => return Err(Error::bad_request("'max_leases' must be a number above zero")),
    };
    if default && !(ask.path.is_empty() && ask.role.is_empty()) {
        return Err(Error::bad_request("the quota \"default\" is for everything: it has no path and no role"));
    }
    let mounts = mounts::load(&cx.view).await?;
    // Every lease has a role: the one of the login or, in a secrets engine, the last name of the path.
    if !ask.role.is_empty() && ask.path.trim_matches('/').is_empty() {
        return Err(Error::bad_request("a quota for a role needs the path of a mount"));
    }
    let path = place(&mounts, &ask.path, "")?;
    let inheritable = ask.inheritable.unwrap_or(path.is_empty());
    let rule = counts::Rule { path, role: ask.role, max_leases, inheritable };
    counts::put(&cx.view, ask.name.as_str(), &rule).await?;
    Ok(Reply::empty())
}

async fn delete_leases(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    counts::remove(&cx.view, ask.name.as_str()).await?;
    Ok(Reply::empty())
}

fn rate(value: &Json) -> Result<f64> {
    let parsed = match value {
        Json::Null => Some(0.0),
        Json::Number(text) | Json::String(text) => text.as_str().parse::<f64>().ok(),
        _ => None,
    };
    let rate =
        parsed.ok_or_else(|| Error::bad_request("error converting input for field \"rate\": cannot parse value as 'float64'"))?;
    // Neither zero nor below, nor no number at all.
    if rate > 0.0 && rate <= MOST { Ok(rate) } else { Err(Error::bad_request("'rate' is invalid")) }
}

/// The path of a rule in its one form.
fn place(mounts: &[MountRecord], path: &str, role: &str) -> Result<String> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        if !role.is_empty() {
            return Err(Error::bad_request("a quota for a role needs the path of an auth method"));
        }
        return Ok(String::new());
    }
    let slashed = format!("{path}/");
    let mount = mounts.iter().filter(|m| !m.going).find(|m| slashed.starts_with(&m.whole_path()));
    let mount = mount.ok_or_else(|| Error::bad_request(format!("invalid mount path {slashed:?}")))?;
    let whole = mount.whole_path();
    if !role.is_empty() {
        return Err(Error::bad_request(if mount.class == MountClass::Auth {
            format!("Mount path {whole:?} does not support use with role-based quotas")
        } else {
            format!("Mount path {whole:?} is not a valid auth method and therefore unsuitable for use with role-based quotas")
        }));
    }
    if path.trim_end_matches('*').len() + 1 < path.len() || path.trim_end_matches('*').contains('*') {
        return Err(Error::bad_request("a path may have one '*', at its end"));
    }
    Ok(if slashed == whole { whole } else { path.to_owned() })
}
