//! Load on one server: `wrk` for what is measured, our own threads for filling a store.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::machine::cpu_seconds;
use super::server::{Server, secret};

type Result<T> = std::result::Result<T, String>;

/// What one run of wrk gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Server CPU in microseconds for one request.
    pub(super) cpu_us: f64,
    pub(super) per_second: f64,
    pub(super) p99_ms: f64,
    /// Replies with a status above 399, and broken connections.
    pub(super) bad: u64,
}

/// The requests that wrk sends in turn.
pub(super) enum Ask<'a> {
    Get(Vec<String>),
    Post(Vec<(String, String)>),
    Bare,
    /// One path.
    One(&'a str),
}

pub(super) fn wrk(server: &Server, token: &str, ask: &Ask<'_>, connections: usize, seconds: u64, folder: &Path) -> Result<Run> {
    let file = folder.join("wrk.lua");
    fs::write(&file, script(token, ask)).map_err(|e| e.to_string())?;
    let before = cpu_seconds(server.pid());
    let ran = Command::new("wrk")
        .args(["-t2", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(&file)
        .arg(format!("http://127.0.0.1:{}/", server.port))
        .output()
        .map_err(|e| format!("wrk: {e} (Debian: apt-get install wrk)"))?;
    let cpu = cpu_seconds(server.pid()) - before;
    let text = String::from_utf8_lossy(&ran.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).ok_or_else(|| format!("wrk said: {text}"))?;
    let n: Vec<f64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let &[requests, micros, p99, bad] = n.as_slice() else { return Err(format!("wrk said: {line}")) };
    let requests = requests.max(1.0);
    Ok(Run { cpu_us: cpu * 1e6 / requests, per_second: requests / (micros / 1e6), p99_ms: p99 / 1e3, bad: bad as u64 })
}

/// Requests are formatted once in each thread, so that Lua costs little while wrk runs.
fn script(token: &str, ask: &Ask<'_>) -> String {
    let mut lua = String::new();
    if !token.is_empty() {
        let _infallible = writeln!(lua, "wrk.headers[\"X-Vault-Token\"] = \"{token}\"");
    }
    let list: Vec<(&str, String, &str)> = match ask {
        Ask::Bare => vec![("GET", "/".into(), "")],
        Ask::One(path) => vec![("GET", format!("/v1/{path}"), "")],
        Ask::Get(paths) => paths.iter().map(|path| ("GET", format!("/v1/{path}"), "")).collect(),
        Ask::Post(calls) => calls.iter().map(|(path, body)| ("POST", format!("/v1/{path}"), body.as_str())).collect(),
    };
    lua.push_str("local calls = {\n");
    for (method, path, body) in list {
        let body = if body.is_empty() { "nil".to_owned() } else { format!("[==[{body}]==]") };
        let _infallible = writeln!(lua, "  {{\"{method}\", \"{path}\", {body}}},");
    }
    lua.push_str(
        "}\nlocal made, at, threads = {}, 0, 0\n\
         setup = function(thread) thread:set(\"offset\", threads * 331); threads = threads + 1 end\n\
         init = function()\n  for i, c in ipairs(calls) do made[i] = wrk.format(c[1], c[2], nil, c[3]) end\n  at = offset\nend\n\
         request = function() at = at % #made + 1; return made[at] end\n\
         done = function(s, latency)\n  local e = s.errors\n\
         \x20 print(\"RESULT \" .. s.requests .. \" \" .. s.duration .. \" \" .. latency:percentile(99) .. \" \" .. (e.status + e.connect + e.read + e.write + e.timeout))\nend\n",
    );
    lua
}

/// Writes `count` secrets below `bench/data/`, over 64 connections.
pub(super) fn fill(server: &Server, token: &str, count: usize) -> Result<()> {
    repeat(server, token, count, &|number| (format!("bench/data/{}/{number}", number / 1000), secret(number)))
}

/// Makes `count` tokens of these TTLs, each with a lease, over 64 connections.
pub(super) fn tokens(server: &Server, count: usize, ttl: &(impl Fn() -> String + Sync)) -> Result<()> {
    let body = || format!("{{\"policies\":[\"bench\"],\"no_parent\":true,\"ttl\":\"{}\"}}", ttl());
    repeat(server, &server.token, count, &|_| ("auth/token/create".to_owned(), body()))
}

fn repeat(server: &Server, token: &str, count: usize, call: &(impl Fn(usize) -> (String, String) + Sync)) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut client = super::wire::Client::connect(server.port, token)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            let (path, body) = call(number);
            client.must("POST", &path, &body)?;
            if number % 100_000 == 99_999 {
                eprintln!("    {} of {count}", number + 1);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..64).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a writer ended".to_owned())?)
    })
}
