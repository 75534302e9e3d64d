//! `sys/metrics`, `sys/in-flight-req`, `sys/loggers`: what the running server counts, does and says.

use super::Sys;
use crate::core::Core;
use crate::live::Unsealed;
use crate::process::LOGGERS;
use coffer_engine::{Ctx, Declare, ListenerTraits, MountClass, NoInput, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Json, Object, Operation, Result, Timestamp};
use time::OffsetDateTime;
use tracing::Level;

pub(super) fn declare(d: &mut Declare<Sys>) {
    // Public where the listener says so; the handlers ask.
    d.at("metrics").about("What the server counts.").public().read(metrics);
    d.at("in-flight-req").about("The calls that are being answered.").public().read(in_flight);
    d.at("loggers").about("The levels of the log.").plain(&["level"]).read(loggers).write(set_all).delete(reset_all);
    d.at("loggers/{name}").about("The level of one logger.").plain(&["level"]).read(logger).write(set_one).delete(reset_one);
}

/// The listener lets everyone in, or the caller's policies do.
fn allowed(cx: &Ctx<Sys>, open: fn(&ListenerTraits) -> bool) -> Result<()> {
    let call = cx.call().ok_or_else(|| Error::internal("a route without a call"))?;
    if open(&call.listener) || cx.host().permits(Operation::Read, call.path.as_str()).is_some() {
        return Ok(());
    }
    Err(Error::denied())
}

/// Ask for metrics.
#[derive(Request)]
struct Ask {
    /// `prometheus`, or nothing for JSON.
    #[field(query, default)]
    format: String,
}

/// One number.
struct Metric {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    value: u64,
}

/// What goes up and down, as of now.
fn gauges(core: &Core, live: &Unsealed) -> Vec<Metric> {
    let router = live.router.load();
    let mounts = |class: MountClass| router.all().filter(|m| m.mount.class == class).count() as u64;
    let one = |name, value| Metric { name, label: None, value };
    vec![
        one("core.active", 1),
        one("core.unsealed", 1),
        one("core.in_flight_requests", core.in_flight.calls().len() as u64),
        Metric { name: "core.mount_table.num_entries", label: Some(("type", "logical")), value: mounts(MountClass::Engine) },
        Metric { name: "core.mount_table.num_entries", label: Some(("type", "auth")), value: mounts(MountClass::Auth) },
    ]
}

/// What only grows, since the start.
fn counters(core: &Core, live: &Unsealed) -> Vec<Metric> {
    let begun = core.in_flight.begun().into_iter();
    let mut counters: Vec<Metric> = begun
        .map(|(operation, value)| Metric { name: "core.handle_request", label: Some(("operation", operation.as_str())), value })
        .collect();
    counters.push(Metric { name: "quota.rate_limit.violation", label: None, value: live.quotas.violations() });
    counters
}

async fn metrics(cx: Ctx<Sys>, ask: Ask) -> Result<Reply> {
    allowed(&cx, |l| l.unauthed_metrics)?;
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    let (gauges, counters) = (gauges(&core, &live), counters(&core, &live));
    match ask.format.as_str() {
        "" => Ok(Reply::data(as_json(&gauges, &counters, cx.now())).bare()),
        "prometheus" => {
            for metric in &gauges {
                // Exact up to 2^53, far beyond any of them.
                #[allow(clippy::cast_precision_loss, reason = "small numbers")]
                let value = metric.value as f64;
                match metric.label {
                    Some((name, label)) => metrics::gauge!(metric.name, name => label).set(value),
                    None => metrics::gauge!(metric.name).set(value),
                }
            }
            for metric in &counters {
                match metric.label {
                    Some((name, label)) => metrics::counter!(metric.name, name => label).absolute(metric.value),
                    None => metrics::counter!(metric.name).absolute(metric.value),
                }
            }
            let text = core.config.process.prometheus().ok_or_else(|| Error::bad_request("prometheus is not enabled"))?;
            Ok(Reply::raw("text/plain; version=0.0.4; charset=utf-8", text.into_bytes()))
        }
        _ => Err(Error::bad_request("metric response format unknown: prometheus, or none for JSON")),
    }
}

fn as_json(gauges: &[Metric], counters: &[Metric], now: Timestamp) -> Object {
    let labels = |m: &Metric| m.label.into_iter().collect::<Object>();
    let name = |m: &Metric| format!("vault.{}", m.name);
    let gauges: Vec<Object> = gauges
        .iter()
        .map(|m| Object::new().with("Name", name(m)).with("Value", number(m.value)).with("Labels", labels(m)))
        .collect();
    let counters: Vec<Object> = counters
        .iter()
        .map(|m| {
            let value = || number(m.value);
            Object::new().with("Name", name(m)).with("Count", value()).with("Sum", value()).with("Labels", labels(m))
        })
        .collect();
    let nothing = || Json::Array(Vec::new());
    Object::new()
        .with("Timestamp", go_time(now))
        .with("Gauges", gauges)
        .with("Points", nothing())
        .with("Counters", counters)
        .with("Samples", nothing())
}

fn number(value: u64) -> Json {
    Json::Number(Text::new(value.to_string()))
}

/// `2026-11-23 19:30:10 +0000 UTC`: whole seconds, as the reference writes.
fn go_time(now: Timestamp) -> String {
    let at = OffsetDateTime::from_unix_timestamp(now.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!("{} {:02}:{:02}:{:02} +0000 UTC", at.date(), at.hour(), at.minute(), at.second())
}

async fn in_flight(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    allowed(&cx, |l| l.unauthed_in_flight)?;
    let calls = cx.engine.core()?.in_flight.calls();
    let shown = calls.into_iter().map(|(call, begun)| {
        let method = match call.operation {
            Operation::Read | Operation::Help => "GET",
            Operation::Create | Operation::Update => "PUT",
            Operation::Patch => "PATCH",
            Operation::Delete => "DELETE",
            Operation::List => "LIST",
            Operation::Scan => "SCAN",
        };
        let remote = call.remote.ip.map_or_else(String::new, |ip| std::net::SocketAddr::new(ip, call.remote.port).to_string());
        let shown = Object::new()
            .with("start_time", begun.rfc3339())
            .with("client_remote_address", remote)
            .with("request_path", format!("/v1/{}", call.path.as_str()))
            .with("request_method", method)
            .with("client_id", "");
        (call.id.to_string(), shown)
    });
    Ok(Reply::data(shown.collect::<Object>()).bare())
}

/// Set the level of all loggers.
#[derive(Request)]
struct SetAll {
    /// trace, debug, info, warn or error.
    #[field(default)]
    level: String,
}

/// Set the level of one logger.
#[derive(Request)]
struct SetOne {
    /// Its name.
    #[field(path)]
    name: String,
    /// trace, debug, info, warn or error.
    #[field(default)]
    level: String,
}

/// A logger by its name.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: String,
}

fn level(word: &str) -> Result<Level> {
    match word.to_ascii_lowercase().as_str() {
        "" => Err(Error::bad_request("level is required")),
        "trace" => Ok(Level::TRACE),
        "debug" => Ok(Level::DEBUG),
        "info" | "notice" => Ok(Level::INFO),
        "warn" | "warning" => Ok(Level::WARN),
        "error" | "err" => Ok(Level::ERROR),
        _ => Err(Error::bad_request("invalid level provided: unknown log level: trace, debug, info, warn or error")),
    }
}

fn known(name: &str) -> Result<&'static str> {
    let found = LOGGERS.into_iter().find(|known| *known == name);
    found.ok_or_else(|| Error::bad_request(format!("logger {name:?} not found")))
}

fn shown(core: &Core, name: &str) -> String {
    core.config.process.level(name).as_str().to_ascii_lowercase()
}

async fn loggers(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let core = cx.engine.core()?;
    Ok(Reply::data(LOGGERS.into_iter().map(|name| (name, shown(&core, name))).collect::<Object>()))
}

async fn logger(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let core = cx.engine.core()?;
    // One that is not there is an empty answer, as in the reference.
    Ok(Reply::data(known(&ask.name).into_iter().map(|name| (name, shown(&core, name))).collect::<Object>()))
}

async fn set_all(cx: Ctx<Sys>, ask: SetAll) -> Result<Reply> {
    cx.engine.core()?.config.process.set_level(None, Some(level(&ask.level)?))?;
    Ok(Reply::empty())
}

async fn reset_all(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    cx.engine.core()?.config.process.set_level(None, None)?;
    Ok(Reply::empty())
}

async fn set_one(cx: Ctx<Sys>, ask: SetOne) -> Result<Reply> {
    let level = level(&ask.level)?;
    cx.engine.core()?.config.process.set_level(Some(known(&ask.name)?), Some(level))?;
    Ok(Reply::empty())
}

async fn reset_one(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    cx.engine.core()?.config.process.set_level(Some(known(&ask.name)?), None)?;
    Ok(Reply::empty())
}
