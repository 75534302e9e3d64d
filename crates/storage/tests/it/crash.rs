//! kill -9 under 64 writers: no acknowledged commit is lost, and there is half of none.
//!
//! The test runs itself as another process that writes and tells every acknowledged batch through a pipe, kills it, and
//! opens what it left. A short run by default; `COFFER_CRASH_KILLS` says how many (`cargo xtask crash --kills 100`).

use crate::load::{self, WRITERS};
use coffer_storage::{
    Revision, Store,
    embedded::{Embedded, Options},
};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

const DIRECTORY: &str = "COFFER_CRASH_DIRECTORY";
const KILLS: &str = "COFFER_CRASH_KILLS";

#[test]
fn no_acknowledged_commit_is_lost_by_kill_9() {
    let kills: u64 = std::env::var(KILLS).map_or(5, |text| text.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut total = 0;
    let mut slowest = Duration::ZERO;
    let mut verified = Vec::new();
    for kill in 0..kills {
        // From hardly started to well into merging tables.
        let acknowledged = write_and_kill(root.path(), Duration::from_millis(5 + kill * 137 % 400));
        let opening = std::time::Instant::now();
        let store = Embedded::open(root.path(), Options::default()).unwrap();
        slowest = slowest.max(opening.elapsed());
        if kill + 1 == kills {
            // In the end everything once more, through all the merging since.
            verified.clear();
        }
        let last = runtime.block_on(load::verify(&*store.snapshot(), &verified));
        for (writer, number, revision) in &acknowledged {
            assert!(last[*writer as usize] >= *number, "kill {kill}: batch {number} of {writer} was acknowledged and is lost");
            assert!(store.revision() >= Revision(*revision), "kill {kill}: a revision was taken back");
        }
        verified = last;
        assert!(!acknowledged.is_empty(), "kill {kill}: nothing was written");
        total += acknowledged.len();
    }
    println!("{kills} kills, {total} acknowledged batches, none lost; slowest opening {slowest:?}");
}

/// Gives what was acknowledged: writer, number, revision of the store by then.
fn write_and_kill(root: &Path, after: Duration) -> Vec<(u64, u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer_process", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let (first, started) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for line in pipe.split(b'\n') {
            let line = String::from_utf8(line.unwrap()).unwrap();
            let Some(rest) = line.strip_prefix("ack ") else { continue };
            // A line that the kill cut short ends without its full stop.
            let Some(numbers) = rest.strip_suffix('.') else { continue };
            let mut numbers = numbers.split(' ').map(|number| number.parse().unwrap());
            acknowledged.push((numbers.next().unwrap(), numbers.next().unwrap(), numbers.next().unwrap()));
            first.send(()).ok();
        }
        acknowledged
    });
    started.recv_timeout(Duration::from_secs(60)).expect("the writers do not write");
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Not a test but the other process; alone it does nothing.
#[test]
fn writer_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The test harness has started a line.
    println!();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(&PathBuf::from(directory), Options::default()).unwrap());
        let mut writers = tokio::task::JoinSet::<()>::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                loop {
                    let number = load::write_next(&*store, writer).await.unwrap();
                    let line = format!("ack {writer} {number} {}.\n", store.revision().0);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        while let Some(stopped) = writers.join_next().await {
            stopped.unwrap();
        }
    });
}
