//! `debug`: what the server says of itself for a while, in one bundle for those who help.

use crate::cli::{Arity, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::json;
use coffer_client::{Blocking, Config, Request};
use coffer_types::json::Object;
use coffer_types::version::API_LEVEL;
use coffer_types::{Json, Span};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) const COMMANDS: &[&Command] = &[&DEBUG];

/// What can be captured: the name on the command line, the file in the bundle, the paths of the API whose answers go into it.
const TARGETS: &[Target] = &[
    Target { name: "config", file: "config.json", parts: &[("config", "sys/config/state/sanitized")], every: Every::Once },
    Target { name: "host", file: "host_info.json", parts: &[("info", "sys/host-info")], every: Every::Interval },
    Target { name: "metrics", file: "metrics.json", parts: &[("metrics", "sys/metrics")], every: Every::Metrics },
    Target { name: "pprof", file: "", parts: &[], every: Every::Never },
    Target {
        name: "replication-status",
        file: "replication_status.json",
        parts: &[("status", "sys/replication/status")],
        every: Every::Interval,
    },
    Target { name: "requests", file: "requests.json", parts: &[("requests", "sys/in-flight-req")], every: Every::Interval },
    Target {
        name: "server-status",
        file: "server_status.json",
        parts: &[("health", "sys/health"), ("seal", "sys/seal-status")],
        every: Every::Interval,
    },
    Target { name: "log", file: "", parts: &[], every: Every::Never },
];

struct Target {
    name: &'static str,
    file: &'static str,
    parts: &'static [(&'static str, &'static str)],
    every: Every,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Every {
    Once,
    Interval,
    Metrics,
    Never,
}

static DEBUG: Command = Command {
    path: "debug",
    synopsis: "Collect what helps to find a fault",
    args: "",
    about: "Asks the server for its state, again and again for a while, and writes the answers and its log into one bundle, readable by its owner only. Configuration comes without secrets, and no secret is read; look into the bundle all the same before you send it to anybody.\n\nWhat the token may not read is left out, and the bundle's index.json says so. Profiles (pprof) are those of another runtime and are not there.",
    examples: &[
        ("For two minutes:", "debug"),
        ("Only some of it, for a short time:", "debug -duration=30s -interval=10s -target=server-status -target=metrics"),
    ],
    own: &[
        Flag::new("compress", Kind::Switch, "Whether to write one .tar.gz; else a directory.").default("true"),
        Flag::new("duration", Kind::Span, "For how long.").default("2m"),
        Flag::new("interval", Kind::Span, "How often to ask for state.").default("30s"),
        Flag::new("log-format", Kind::Text, "The form of the log: standard or json.")
            .default("standard")
            .values(&["standard", "json"]),
        Flag::new("metrics-interval", Kind::Span, "How often to ask for metrics.").default("10s"),
        Flag::new("output", Kind::Text, "Where to write. The default is a name with the time in this directory."),
        Flag::new("target", Kind::List, "What to collect; everything where it is not given. May be given several times.")
            .values(&["config", "host", "metrics", "pprof", "replication-status", "requests", "server-status", "log"]),
    ],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(run),
};

fn run(call: &Call<'_>) -> Outcome {
    let plan = Plan::read(call)?;
    // A server that does not answer at all has nothing to be collected from.
    let status = call.ask_json(&Request::get("sys/seal-status").in_root_namespace()).map_err(|mut failure| {
        failure.text = format!("Error checking seal status: {}", failure.text);
        failure
    })?;
    let started = OffsetDateTime::now_utc();
    let version = status.get("version").and_then(Json::as_str).unwrap_or_default();
    call.line(&format!(
        "==> Starting debug capture...\n        Server Address: {}\n        Client Version: {API_LEVEL}\n        Server Version: {version}\n              Duration: {}\n              Interval: {}\n      Metrics Interval: {}\n               Targets: {}\n                Output: {}\n",
        call.client()?.config().address.base(),
        Span(i64::try_from(plan.duration.as_nanos()).unwrap_or(i64::MAX)),
        Span(i64::try_from(plan.interval.as_nanos()).unwrap_or(i64::MAX)),
        Span(i64::try_from(plan.metrics_interval.as_nanos()).unwrap_or(i64::MAX)),
        plan.targets.iter().map(|t| t.name).collect::<Vec<_>>().join(", "),
        plan.output.display()
    ));
    let mut bundle = Bundle::new(&plan)?;
    let log = plan.wants("log").then(|| follow_log(call.config()?, &plan, &bundle.folder)).transpose()?;
    capture(call, &plan, &mut bundle)?;
    if let Some(thread) = log {
        call.line("Waiting for the log...");
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(why)) => bundle.errors.push(("log".into(), why)),
            Err(_) => bundle.errors.push(("log".into(), "the capture broke off".into())),
        }
    }
    call.line("\nFinished capturing information, bundling files...");
    for (target, why) in &bundle.errors {
        call.note(&format!("Left out {target}: {}", reason(why)));
    }
    bundle.finish(&plan, started, version, call.client()?.config().address.base())?;
    call.line(&format!("Success! Bundle written to: {}", plan.output.display()));
    Ok(0)
}

/// The last line that says something: the server's own word where there is one.
fn reason(why: &str) -> &str {
    let last = why.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    last.trim_start_matches("* ")
}

struct Plan {
    duration: Duration,
    interval: Duration,
    metrics_interval: Duration,
    targets: Vec<&'static Target>,
    /// The file or directory to be.
    output: PathBuf,
    compress: bool,
    log_format: String,
}

impl Plan {
    fn read(call: &Call<'_>) -> Outcome<Self> {
        let span = |name: &str| call.span(name).map(Span::duration).unwrap_or_default();
        let duration = span("duration");
        if duration < Duration::from_secs(1) {
            return Err(Failure::usage("Invalid value for -duration: at least 1s"));
        }
        let step = |name: &str| span(name).clamp(Duration::from_secs(1), duration);
        let log_format = call.text("log-format").to_lowercase();
        if !["standard", "json"].contains(&log_format.as_str()) {
            return Err(Failure::usage(format!("{log_format} is not a supported log format: standard and json are")));
        }
        let wanted: Vec<&str> = call.list("target").iter().flat_map(|t| t.split(',')).collect();
        if let Some(unknown) = wanted.iter().find(|w| TARGETS.iter().all(|t| t.name != **w)) {
            let known: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
            return Err(Failure::usage(format!("Unable to validate targets: {unknown:?} is not one of {}", known.join(", "))));
        }
        let targets = TARGETS.iter().filter(|t| wanted.is_empty() || wanted.contains(&t.name)).collect();
        let compress = call.on("compress");
        let mut output = match call.text("output") {
            "" => format!("coffer-debug-{}", stamp(OffsetDateTime::now_utc())),
            given => given.to_owned(),
        };
        if compress && !output.ends_with(".tar.gz") && !output.ends_with(".tgz") {
            output.push_str(".tar.gz");
        }
        let output = PathBuf::from(output);
        if output.exists() {
            return Err(Failure::usage(format!(
                "Error during validation: output file or directory already exists: {}",
                output.display()
            )));
        }
        Ok(Self {
            duration,
            interval: step("interval"),
            metrics_interval: step("metrics-interval"),
            targets,
            output,
            compress,
            log_format,
        })
    }

    fn wants(&self, name: &str) -> bool {
        self.targets.iter().any(|t| t.name == name)
    }
}

/// `2026-11-23T18-47-10Z`: a time that can be a file's name.
fn stamp(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default().replace(':', "-")
}

/// The files, in a private directory until they are packed.
struct Bundle {
    folder: PathBuf,
    /// What each target answered, in order.
    captured: BTreeMap<&'static str, Vec<Json>>,
    errors: Vec<(String, String)>,
}

impl Bundle {
    fn new(plan: &Plan) -> Outcome<Self> {
        let mut folder = plan.output.clone().into_os_string();
        if plan.compress {
            folder.push(format!(".{}.tmp", std::process::id()));
        }
        let folder = PathBuf::from(folder);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| local(&folder, &e))?;
        let mut bundle = Self { folder, captured: BTreeMap::new(), errors: Vec::new() };
        if plan.wants("pprof") {
            bundle.errors.push(("pprof".into(), "not supported: the server has no profiles of that kind".into()));
        }
        Ok(bundle)
    }

    fn write(&self, name: &str, value: &Json) -> Outcome<()> {
        let path = self.folder.join(name);
        let mut file = private(&path).map_err(|e| local(&path, &e))?;
        file.write_all(json::pretty(value).as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(|e| local(&path, &e))
    }

    /// Writes what was captured and an index of it, and packs.
    fn finish(self, plan: &Plan, started: OffsetDateTime, version: &str, address: String) -> Outcome<()> {
        for target in TARGETS {
            if let Some(all) = self.captured.get(target.name) {
                self.write(target.file, &Json::Array(all.clone()))?;
            }
        }
        let names = |targets: &[&'static Target]| targets.iter().map(|t| t.name).collect::<Vec<_>>();
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        let errors: Vec<Json> = self
            .errors
            .iter()
            .map(|(target, why)| Json::Object(Object::new().with("target", target).with("error", why)))
            .collect();
        // The arguments are not in it: a header may be a secret.
        let index = Object::new()
            .with("version", 1)
            .with("vault_address", address)
            .with("client_version", API_LEVEL)
            .with("server_version", version)
            .with("timestamp", started.format(&Rfc3339).unwrap_or_default())
            .with("duration_seconds", seconds(plan.duration))
            .with("interval_seconds", seconds(plan.interval))
            .with("metrics_interval_seconds", seconds(plan.metrics_interval))
            .with("compress", plan.compress)
            .with("targets", names(&plan.targets))
            .with("errors", errors);
        self.write("index.json", &Json::Object(index))?;
        if !plan.compress {
            return Ok(());
        }
        let packed = pack(&self.folder, &plan.output);
        let removed = std::fs::remove_dir_all(&self.folder);
        packed.map_err(|e| local(&plan.output, &e))?;
        removed.map_err(|e| local(&self.folder, &e))
    }
}

fn local(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("Error writing the bundle: {}: {error}", path.display()))
}

/// A new file that only its owner can read.
fn private(path: &Path) -> std::io::Result<File> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn pack(folder: &Path, output: &Path) -> std::io::Result<()> {
    let name = output.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let inside = name.trim_end_matches(".tar.gz").trim_end_matches(".tgz").to_owned();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(private(output)?, flate2::Compression::default()));
    archive.append_dir_all(inside, folder)?;
    archive.into_inner()?.finish()?.sync_all()
}

/// Asks until the time is over. What is due at the same moment is asked one after another.
fn capture(call: &Call<'_>, plan: &Plan, bundle: &mut Bundle) -> Outcome<()> {
    let began = Instant::now();
    let mut next: Vec<(&Target, Duration)> =
        plan.targets.iter().filter(|t| t.every != Every::Never).map(|t| (*t, Duration::ZERO)).collect();
    let mut rounds: BTreeMap<&str, usize> = BTreeMap::new();
    while let Some(due) = next.iter().map(|(_, at)| *at).min() {
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        for (target, at) in next.iter_mut().filter(|(_, at)| *at <= due) {
            let round = rounds.entry(target.name).or_insert(0);
            call.line(&format!("{} [INFO]  capturing {}: count={round}", stamp(OffsetDateTime::now_utc()), target.name));
            *round += 1;
            ask(call, target, bundle)?;
            *at += if target.every == Every::Metrics { plan.metrics_interval } else { plan.interval };
        }
        next.retain(|(target, at)| target.every != Every::Once && *at < plan.duration);
    }
    Ok(())
}

/// One round of one target. A refusal is noted once and is no reason to stop.
fn ask(call: &Call<'_>, target: &'static Target, bundle: &mut Bundle) -> Outcome<()> {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let mut entry = Object::new().with("timestamp", now);
    for (name, path) in target.parts {
        let mut request = Request::get(path);
        if *path == "sys/health" {
            // Sealed and standby are answers here, not errors.
            for code in ["sealedcode", "uninitcode", "standbycode", "drsecondarycode", "performancestandbycode"] {
                request = request.query(code, "299");
            }
        }
        match call.ask_json(&request) {
            Ok(found) => {
                let data = found.get("data").filter(|d| !d.is_null()).cloned().unwrap_or(found);
                entry.insert(*name, json::sorted(&data));
            }
            Err(failure) if failure.on_stdout => return Err(failure),
            Err(failure) => {
                let known = bundle.errors.iter().any(|(t, _)| t == target.name);
                if !known {
                    bundle.errors.push((target.name.to_owned(), failure.text));
                }
            }
        }
    }
    if entry.len() > 1 {
        bundle.captured.entry(target.name).or_default().push(Json::Object(entry));
    }
    Ok(())
}

/// Follows the log on a thread of its own, over a connection of its own.
fn follow_log(config: Config, plan: &Plan, folder: &Path) -> Outcome<std::thread::JoinHandle<Result<(), String>>> {
    let path = folder.join("coffer.log");
    let mut file = private(&path).map_err(|e| local(&path, &e))?;
    let (duration, format) = (plan.duration, plan.log_format.clone());
    Ok(std::thread::spawn(move || {
        let client = Blocking::new(config).map_err(|e| e.to_string())?;
        let request = Request::get("sys/monitor").query("log_level", "trace").query("log_format", format);
        let mut failed = None;
        client
            .stream(&request, Some(duration), |piece| match file.write_all(piece) {
                Ok(()) => true,
                Err(e) => {
                    failed = Some(e.to_string());
                    false
                }
            })
            .map_err(|e| e.to_string())?;
        failed.map_or(Ok(()), Err)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_private_and_holds_its_files() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (folder, output) = (dir.path().join("work"), dir.path().join("out.tar.gz"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("index.json"), "{}").unwrap();
        pack(&folder, &output).unwrap();
        assert_eq!(std::fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(&output).unwrap()));
        let names: Vec<String> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert!(names.iter().any(|n| n == "out/index.json"), "{names:?}");
        assert!(pack(&folder, &output).is_err(), "nothing is overwritten");
    }

    #[test]
    fn reasons_are_one_line() {
        assert_eq!(
            reason("Error making API request.\n\nCode: 404. Errors:\n\n* 1 error occurred:\n\t* unsupported path\n\n"),
            "unsupported path"
        );
        assert_eq!(reason(""), "no reason given");
    }

    #[test]
    fn stamps_can_be_names_of_files() {
        assert_eq!(stamp(OffsetDateTime::UNIX_EPOCH), "1970-01-01T00-00-00Z");
    }
}
