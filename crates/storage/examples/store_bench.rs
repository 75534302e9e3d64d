//! Measures the store: `cargo run --release -p coffer-storage --example store_bench -- [DIRECTORY]`.
//!
//! Each figure of docs/performance.md, "Store". Every phase runs in a process of its own, so that its memory is its own.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use bytes::Bytes;
use coffer_storage::{
    Batch, Key, Store,
    embedded::{Embedded, Options},
    memory::Memory,
};
use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The batches that are in the journal only when a database is opened.
const UNFLUSHED: u64 = 4000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["phase", phase, directory, count] => run(phase, Path::new(directory), count.parse().unwrap()),
        _ => {
            let root = args.first().map_or_else(std::env::temp_dir, Into::into);
            let root = tempfile::tempdir_in(root).unwrap();
            all(root.path());
        }
    }
}

fn all(root: &Path) {
    let phase = |name: &str, directory: &str, count: u64| {
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["phase", name])
            .arg(root.join(directory))
            .arg(count.to_string())
            .status()
            .unwrap();
        assert!(ran.success(), "{name}");
    };
    phase("sync-floor", "floor", 2000);
    phase("single", "single", 2000);
    phase("group", "group", 64);
    phase("memory", "none", 1_000_000);
    for (directory, count) in [("small", 10_000), ("large", 1_000_000)] {
        phase("load", directory, count);
        phase("log", directory, UNFLUSHED);
        for _ in 0..3 {
            phase("open", directory, count);
        }
    }
    phase("read", "large", 1_000_000);
    phase("group", "large", 64);
    phase("idle", "fresh", 0);
}

fn run(phase: &str, directory: &Path, count: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match phase {
        "sync-floor" => sync_floor(directory, count),
        "single" => runtime.block_on(single(directory, count)),
        "group" => runtime.block_on(group(directory, count)),
        "memory" => runtime.block_on(memory(count)),
        "load" => runtime.block_on(load(directory, count)),
        "log" => runtime.block_on(log(directory, count)),
        "open" => runtime.block_on(open(directory, count)),
        "read" => runtime.block_on(read(&Embedded::open(directory, Options::default()).unwrap(), count)),
        "idle" => {
            let start = Instant::now();
            let store = Embedded::open(directory, Options::default()).unwrap();
            println!("new store: made in {:.1} ms, {} MB resident", start.elapsed().as_secs_f64() * 1e3, resident());
            drop(store);
            let start = Instant::now();
            let store = Embedded::open(directory, Options::default()).unwrap();
            println!("empty store: opened in {:.1} ms, {} MB resident", start.elapsed().as_secs_f64() * 1e3, resident());
            drop(store);
        }
        other => panic!("{other}"),
    }
}

/// As long as a path below a mount, in no order that a cache likes.
fn key(number: u64) -> Key {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    Key::try_from(format!("logical/3f2b1c9e/records/team-{}/{scattered:012x}", number % 100).as_str()).unwrap()
}

fn value(number: u64) -> Bytes {
    let mut state = number | 1;
    (0..512)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

fn sync_floor(path: &Path, count: u64) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let mut times = Vec::new();
    for number in 0..count {
        let start = Instant::now();
        file.write_all(&value(number)).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed());
    }
    report("append 512 B and fdatasync, nothing else", &mut times);
}

async fn single(directory: &Path, count: u64) {
    let store = Embedded::open(directory, Options::default()).unwrap();
    let mut times = Vec::new();
    for number in 0..count {
        let start = Instant::now();
        store.commit(Batch::default().put(key(number), value(number))).await.unwrap();
        times.push(start.elapsed());
    }
    report("durable commit, one writer", &mut times);
}

async fn group(directory: &Path, writers: u64) {
    let store = Arc::new(Embedded::open(directory, Options::default()).unwrap());
    let before = store.stats();
    let next = Arc::new(AtomicU64::new(1 << 40));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..writers {
        let (store, next) = (Arc::clone(&store), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < Duration::from_secs(5) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let began = Instant::now();
                store.commit(Batch::default().put(key(number), value(number))).await.unwrap();
                times.push(began.elapsed());
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let took = start.elapsed().as_secs_f64();
    let stats = store.stats();
    println!(
        "{writers} writers: {:.0} durable commits/s, {:.1} a sync",
        times.len() as f64 / took,
        (stats.commits - before.commits) as f64 / (stats.syncs - before.syncs) as f64
    );
    report(&format!("  durable commit among {writers}"), &mut times);
}

async fn memory(count: u64) {
    let before = resident();
    let store = Memory::new();
    let start = Instant::now();
    for number in 0..count {
        store.commit(Batch::default().put(key(number), value(number))).await.unwrap();
    }
    let each = start.elapsed().as_nanos() as f64 / count as f64;
    println!("memory: {each:.0} ns a commit, {} MB for {count} entries", resident() - before);
    read(&store, count).await;
}

async fn load(directory: &Path, count: u64) {
    let store = Embedded::open(directory, Options::default()).unwrap();
    let start = Instant::now();
    for first in (0..count).step_by(1000) {
        let mut batch = Batch::default();
        for number in first..(first + 1000).min(count) {
            batch = batch.put(key(number), value(number));
        }
        store.commit(batch).await.unwrap();
    }
    println!(
        "{count} entries: loaded in {:.1} s, {} MB resident after it, {} MB on disk",
        start.elapsed().as_secs_f64(),
        resident(),
        store.stats().disk_bytes >> 20
    );
    // Merging goes on for a while.
    std::thread::sleep(Duration::from_secs(3));
    store.close().await.unwrap();
}

async fn log(directory: &Path, count: u64) {
    let store = Embedded::open(directory, Options::default()).unwrap();
    for first in (0..count).step_by(100) {
        let mut batch = Batch::default();
        for number in first..first + 100 {
            batch = batch.put(key(number), value(number));
        }
        store.commit(batch).await.unwrap();
    }
    let journals: u64 = std::fs::read_dir(directory.join("data/db"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "jnl"))
        .map(|entry| std::os::unix::fs::MetadataExt::blocks(&entry.metadata().unwrap()) * 512)
        .sum();
    println!("  the log to replay takes {} MB on disk", journals >> 20);
    // As a crash leaves it: nothing is tidied.
    std::process::exit(0);
}

async fn open(directory: &Path, count: u64) {
    let start = Instant::now();
    let store = Embedded::open(directory, Options::default()).unwrap();
    let opened = start.elapsed();
    assert!(store.snapshot().get(&key(count / 2)).await.unwrap().is_some());
    println!(
        "{count} entries: open {:.1} ms, first get {:.1} ms, {} MB resident",
        opened.as_secs_f64() * 1e3,
        start.elapsed().as_secs_f64() * 1e3,
        resident()
    );
    std::process::exit(0);
}

async fn read(store: &dyn Store, count: u64) {
    let kind = store.kind();
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % count
    };
    let mut times = Vec::new();
    for _ in 0..200_000 {
        let key = key(next());
        let start = Instant::now();
        let found = store.snapshot().get_now(&key).unwrap().unwrap();
        times.push(start.elapsed());
        assert!(found.is_some());
    }
    report(&format!("{kind}: get, random among {count}"), &mut times);
    let hot: Vec<Key> = (0..1000).map(|_| key(next())).collect();
    let mut times = Vec::new();
    for round in 0..200_000 {
        let start = Instant::now();
        let found = store.snapshot().get_now(&hot[round % 1000]).unwrap().unwrap();
        times.push(start.elapsed());
        assert!(found.is_some());
    }
    report(&format!("{kind}: get, random among 1000 hot ones"), &mut times);
    let mut times = Vec::new();
    for round in 0..1000 {
        let prefix = format!("logical/3f2b1c9e/records/team-{}/", round % 100);
        let start = Instant::now();
        assert_eq!(store.snapshot().list(prefix.as_bytes(), None, 1000).await.unwrap().len(), 1000);
        times.push(start.elapsed());
    }
    report(&format!("{kind}: list of 1000 keys"), &mut times);
    let mut times = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        assert_eq!(store.snapshot().children(b"logical/3f2b1c9e/records/", None, 100).await.unwrap().len(), 100);
        times.push(start.elapsed());
    }
    report(&format!("{kind}: children, 100 folders of {} keys", count / 100), &mut times);
    println!("{kind}: {} MB resident after these reads", resident());
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let micros = |rank: f64| times[((times.len() - 1) as f64 * rank) as usize].as_nanos() as f64 / 1e3;
    let mean = times.iter().sum::<Duration>().as_nanos() as f64 / 1e3 / times.len() as f64;
    println!(
        "{what}: {:.0}/s; mean {mean:.1} µs, p50 {:.1}, p99 {:.1}, p99.9 {:.1}",
        1e6 / mean,
        micros(0.5),
        micros(0.99),
        micros(0.999)
    );
}

/// Megabytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}
