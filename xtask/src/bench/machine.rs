//! What the kernel says of a process and of the machine.

use std::fs;
use std::process::Command;

/// Clock ticks of /proc a second; fixed at 100 in Linux's interface to programs.
const TICKS: f64 = 100.0;

/// User and system time of a process and of the children that it has reaped, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    ticks(&format!("/proc/{pid}/stat"), 11..15)
}

/// User and system time of this program's own children that have ended, in seconds.
pub(super) fn children_seconds() -> f64 {
    ticks("/proc/self/stat", 13..15)
}

fn ticks(path: &str, fields: std::ops::Range<usize>) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let after_name: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    after_name.get(fields).unwrap_or_default().iter().filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Resident memory in MB (10^6 bytes): all of it, and what is private.
pub(super) fn memory_mb(pid: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0 / 1e6
    };
    (field("VmRSS:"), field("RssAnon:"))
}

/// One line for the head of a report.
pub(super) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |m| m.trim_matches([' ', ':', '\t']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = memory.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1e6;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{cores} cores ({model}), {gigabytes:.0} GB, Linux {}, load {} at the start, {}",
        kernel.trim(),
        load.split_whitespace().next().unwrap_or("?"),
        output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
    )
}

/// What a command prints, first line, or a question mark.
pub(super) fn output(program: &str, args: &[&str]) -> String {
    let ran = Command::new(program).args(args).output();
    let text = ran.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("?").trim().to_owned()
}
