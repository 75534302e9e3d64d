//! What the server says of itself.

use super::Sys;
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, NoInput, Reply};
use coffer_types::{Json, Object, Result, Timestamp, version};
use serde::{Deserialize, Serialize};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("ha-status").about("The nodes of this server.").read(ha_status);
    d.at("host-info").about("The machine that the server runs on.").sudo().read(host_info);
    d.at("version-history").about("The versions that ran on this store.").read(versions).list(versions);
    d.at("license/status").about("There is no licence to keep.").read(licence);
    d.at("replication/status").about("There is no replication.").read(replication);
}

/// A version that ran on this store.
#[derive(Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    pub previous: Option<String>,
    pub installed: Timestamp,
}

impl Record for VersionRecord {
    const FORMAT: u8 = 1;
}

/// `core/versions/<version>`, written when a version first opens the barrier.
pub(crate) const VERSIONS: &str = "core/versions/";

/// Notes that this version runs on this store.
pub(crate) async fn note_version(view: &coffer_engine::View, now: Timestamp) -> Result<()> {
    let key = format!("{VERSIONS}{}", version::API_LEVEL);
    if view.exists(&key).await? {
        return Ok(());
    }
    let mut previous: Option<(Timestamp, String)> = None;
    for name in view.children(VERSIONS, None, usize::MAX).await? {
        if let Some(found) = view.get::<VersionRecord>(&format!("{VERSIONS}{name}")).await?
            && previous.as_ref().is_none_or(|(at, _)| found.installed > *at)
        {
            previous = Some((found.installed, name));
        }
    }
    view.put(&key, &VersionRecord { previous: previous.map(|(_, name)| name), installed: now })
}

async fn versions(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let names = cx.view.children(VERSIONS, None, usize::MAX).await?;
    let mut info = Object::new();
    for name in &names {
        if let Some(found) = cx.view.get::<VersionRecord>(&format!("{VERSIONS}{name}")).await? {
            let shown = Object::new()
                .with("build_date", "")
                .with("commit_date", version::RELEASED)
                .with("previous_version", found.previous)
                .with("timestamp_installed", found.installed.rfc3339_secs());
            info.insert(name.as_str(), shown);
        }
    }
    Ok(Reply::list_with(names, info))
}

async fn ha_status(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let core = cx.engine.core()?;
    let node = Object::new()
        .with("hostname", hostname())
        .with("api_address", core.config.api_addr.as_str())
        .with("cluster_address", core.config.cluster_address())
        .with("active_node", true)
        .with("last_echo", Json::Null)
        .with("version", version::API_LEVEL);
    Ok(Reply::data(Object::new().with("nodes", vec![node])).mirrored())
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".to_owned(), |h| h.trim().to_owned())
}

async fn licence(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("autoloading_used", false)))
}

async fn replication(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let mode = || Object::new().with("mode", "disabled");
    Ok(Reply::data(Object::new().with("dr", mode()).with("performance", mode())))
}

fn lines(path: &str) -> Vec<String> {
    std::fs::read_to_string(path).map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
}

/// The number after a name in a text like /proc/meminfo, in bytes.
fn memory(name: &str) -> u64 {
    let found = lines("/proc/meminfo").into_iter().find_map(|l| l.strip_prefix(name).map(str::to_owned));
    let kibibytes = found.and_then(|l| l.trim_start_matches(':').trim().split(' ').next().and_then(|n| n.parse::<u64>().ok()));
    kibibytes.unwrap_or(0) * 1024
}

async fn host_info(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let mut cpus: Vec<Object> = Vec::new();
    for line in lines("/proc/cpuinfo") {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name == "processor" {
            let number = value.parse::<u32>().unwrap_or(0);
            cpus.push(Object::new().with("cpu", number).with("cores", 1).with("flags", Vec::<String>::new()));
        }
        let Some(cpu) = cpus.last_mut() else { continue };
        let text = |cpu: &mut Object, wire: &str| {
            cpu.insert(wire, value);
        };
        let number = |cpu: &mut Object, wire: &str| {
            let whole = value.split([' ', '.']).next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            cpu.insert(wire, whole);
        };
        match name {
            "vendor_id" => text(cpu, "vendorId"),
            "cpu family" => text(cpu, "family"),
            "model" => text(cpu, "model"),
            "model name" => text(cpu, "modelName"),
            "physical id" => text(cpu, "physicalId"),
            "core id" => text(cpu, "coreId"),
            "microcode" => text(cpu, "microcode"),
            "stepping" => number(cpu, "stepping"),
            "cpu MHz" => number(cpu, "mhz"),
            "cache size" => number(cpu, "cacheSize"),
            "flags" => {
                cpu.insert("flags", value.split(' ').collect::<Vec<_>>());
            }
            _ => {}
        }
    }
    let mut times = Vec::new();
    for line in lines("/proc/stat") {
        let mut fields = line.split_whitespace();
        let Some(name) = fields.next().filter(|n| n.starts_with("cpu") && *n != "cpu") else { continue };
        let mut shown = Object::new().with("cpu", name);
        let names = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guestNice"];
        for (wire, ticks) in names.into_iter().zip(fields) {
            // Ticks are hundredths of a second on Linux.
            let ticks: u64 = ticks.parse().unwrap_or(0);
            shown.insert(wire, Json::Number(coffer_types::json::Text::new(format!("{}.{:02}", ticks / 100, ticks % 100))));
        }
        times.push(shown);
    }
    let (total, available, free) = (memory("MemTotal"), memory("MemAvailable"), memory("MemFree"));
    let memory = Object::new()
        .with("total", total)
        .with("available", available)
        .with("used", total.saturating_sub(available))
        .with("usedPercent", (total.saturating_sub(available) * 100).checked_div(total).unwrap_or(0))
        .with("free", free)
        .with("active", memory("Active"))
        .with("inactive", memory("Inactive"))
        .with("buffers", memory("Buffers"))
        .with("cached", memory("Cached"));
    let release = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    let uptime = lines("/proc/uptime").first().and_then(|l| l.split('.').next().and_then(|n| n.parse::<u64>().ok())).unwrap_or(0);
    let host = Object::new()
        .with("hostname", hostname())
        .with("uptime", uptime)
        .with("bootTime", u64::try_from(cx.now().secs()).unwrap_or(0).saturating_sub(uptime))
        .with("procs", 0)
        .with("os", std::env::consts::OS)
        .with("platform", std::env::consts::OS)
        .with("platformFamily", "")
        .with("platformVersion", "")
        .with("kernelVersion", release("osrelease"))
        .with("kernelArch", std::env::consts::ARCH)
        .with("virtualizationSystem", "")
        .with("virtualizationRole", "")
        .with("hostId", "");
    let shown = Object::new()
        .with("timestamp", cx.now().rfc3339())
        .with("cpu", cpus)
        .with("cpu_times", times)
        .with("disk", Vec::<String>::new())
        .with("host", host)
        .with("memory", memory);
    Ok(Reply::data(shown))
}
