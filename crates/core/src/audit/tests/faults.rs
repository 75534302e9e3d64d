//! Outputs that fail, hang or fill up.

use super::support::*;
use crate::audit::device::{Delivery, Pulse, Sink};
use crate::audit::group::{Group, Output};
use crate::audit::*;
use coffer_engine::reply::Answer;
use coffer_types::Operation;
use std::io;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An output that says when a write begins and ends it as it is told.
struct Puppet {
    begun: Sender<Vec<u8>>,
    /// How many bytes get through; `None` for all.
    told: Receiver<Option<usize>>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Output for Puppet {
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        self.begun.send(lines.to_vec()).unwrap();
        let through = self.told.recv().unwrap();
        let written = through.unwrap_or(lines.len());
        self.text.lock().unwrap().extend_from_slice(&lines[..written]);
        if through.is_some() { Err((written, io::Error::other("full"))) } else { Ok(()) }
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Strings {
    begun: Receiver<Vec<u8>>,
    tell: Sender<Option<usize>>,
    text: Arc<Mutex<Vec<u8>>>,
    pulse: Arc<Pulse>,
    group: Arc<Group<Puppet>>,
}

fn puppet() -> Strings {
    let (begun, seen) = channel();
    let (tell, told) = channel();
    let text = Arc::new(Mutex::new(Vec::new()));
    let pulse = Arc::new(Pulse::new("puppet/"));
    let group = Arc::new(Group::new(Puppet { begun, told, text: Arc::clone(&text) }, Arc::clone(&pulse)));
    Strings { begun: seen, tell, text, pulse, group }
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_come_during_a_write_go_together_and_each_learns_its_own_fate() {
    let strings = puppet();
    let group = Arc::clone(&strings.group);
    let first = std::thread::spawn(move || matches!(group.submit(b"first\n"), Delivery::Done(Ok(()))));
    assert_eq!(strings.begun.recv_timeout(SOON).unwrap(), b"first\n");
    let waiting: Vec<_> = ["a\n", "bb\n", "ccc\n"]
        .iter()
        .map(|line| match strings.group.submit(line.as_bytes()) {
            Delivery::Waiting(told) => told,
            Delivery::Done(_) => panic!("the output is busy"),
        })
        .collect();
    strings.tell.send(None).unwrap();
    assert_eq!(strings.begun.recv_timeout(SOON).unwrap(), b"a\nbb\nccc\n");
    // Two lines and a half get through.
    strings.tell.send(Some(6)).unwrap();
    let mut fates = Vec::new();
    for told in waiting {
        fates.push(told.await.unwrap().is_ok());
    }
    assert_eq!(fates, [true, true, false]);
    assert!(first.join().unwrap());
    assert_eq!(&*strings.pulse.reason().unwrap(), "full");
    assert_eq!(*strings.text.lock().unwrap(), b"first\na\nbb\nc");
    // The next line finds the output idle, and works.
    strings.tell.send(None).unwrap();
    assert!(matches!(strings.group.submit(b"last\n"), Delivery::Done(Ok(()))));
    assert_eq!(strings.pulse.reason(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_output_is_waited_for_elsewhere() {
    let strings = puppet();
    let group = Arc::clone(&strings.group);
    let first = std::thread::spawn(move || matches!(group.submit(b"slow\n"), Delivery::Done(Ok(()))));
    strings.begun.recv_timeout(SOON).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    strings.tell.send(None).unwrap();
    assert!(first.join().unwrap());
    // The write blocks, but not who submits.
    let Delivery::Waiting(told) = strings.group.submit(b"next\n") else { panic!("written where it stands") };
    assert_eq!(strings.begun.recv_timeout(SOON).unwrap(), b"next\n");
    strings.tell.send(None).unwrap();
    assert_eq!(told.await.unwrap(), Ok(()));
    // That one was fast: as soon as its thread has left, lines are written where they stand again.
    for _ in 0..1000 {
        strings.tell.send(None).unwrap();
        match strings.group.submit(b"fast\n") {
            Delivery::Done(result) => return assert_eq!(result, Ok(())),
            Delivery::Waiting(told) => assert_eq!(told.await.unwrap(), Ok(())),
        }
    }
    panic!("a thread is asked for every line");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once() {
    let strings = puppet();
    let group = Arc::clone(&strings.group);
    let first = std::thread::spawn(move || group.submit(b"first\n"));
    strings.begun.recv_timeout(SOON).unwrap();
    let megabyte = vec![b'x'; 1 << 20];
    let mut kept = Vec::new();
    let refused = loop {
        match strings.group.submit(&megabyte) {
            Delivery::Waiting(told) => kept.push(told),
            Delivery::Done(result) => break result,
        }
        assert!(kept.len() < 64, "the queue is bounded");
    };
    assert!(refused.is_err());
    assert!(kept.len() >= 8, "{}", kept.len());
    strings.tell.send(None).unwrap();
    strings.tell.send(None).unwrap();
    for told in kept {
        assert_eq!(told.await.unwrap(), Ok(()));
    }
    first.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_takes_nothing_does_not_hold_up_a_file() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let options = [("address", address.as_str()), ("write_timeout", "200ms")];
    // Its test line fits into the system's buffers; nobody ever reads it.
    broker.enable(spec("socket", "socket", &options), &Salt::from_bytes([1; 32])).await.unwrap();
    let mut failed = false;
    let mut calls = 0;
    while !failed {
        let mut call = call(Operation::Update, "secret/a");
        // Names are shown as they are: a long one makes a long line.
        call.fields.body.insert("n".repeat(1 << 20), 1);
        let started = Instant::now();
        let opened = broker.begin(&entry(&call)).await.unwrap();
        broker.end(opened, Ok(&Answer::default())).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        calls += 1;
        assert!(calls < 40, "the buffers never fill");
        let health = broker.health();
        failed = health.failing.iter().any(|(path, reason)| path == "socket/" && reason.contains("200ms"));
        assert!(!health.blocked());
    }
    assert_eq!(log.lines().len(), 2 * calls + 1);
}

/// Runs itself in a process whose files may not grow beyond a few blocks: what a full disk does to a write.
#[tokio::test]
async fn a_full_disk_stops_calls_and_spoils_no_line() {
    if std::env::var_os("COFFER_TEST_SMALL_DISK").is_some() {
        return in_a_small_disk().await;
    }
    let me = std::env::current_exe().unwrap();
    let script = r#"trap "" XFSZ; ulimit -f 16; exec "$0" --exact audit::tests::faults::a_full_disk_stops_calls_and_spoils_no_line --nocapture"#;
    let done = Command::new("sh").arg("-c").arg(script).arg(me).env("COFFER_TEST_SMALL_DISK", "1").output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&done.stderr));
}

async fn in_a_small_disk() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let mut passed = 0;
    while write_one(&broker).await.is_ok() {
        passed += 1;
        assert!(passed < 1000, "the limit is not in force");
    }
    assert!(passed > 2);
    let health = broker.health();
    assert!(health.blocked() && health.failing[0].1.contains("large"), "{health:?}");
    assert!(write_one(&broker).await.is_err(), "it stays stopped");
    // Whole lines are whole; at most the last is torn.
    let text = log.text();
    let whole = text.rsplit_once('\n').unwrap().0;
    assert!(whole.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()));
    // Room is made by moving the file away, and by emptying it.
    let full = format!("{}.1", log.path);
    std::fs::rename(&log.path, &full).unwrap();
    broker.reopen().await.unwrap();
    write_one(&broker).await.unwrap();
    assert!(!broker.health().blocked());
    assert_eq!(log.lines().len(), 2);
    while write_one(&broker).await.is_ok() {}
    std::fs::OpenOptions::new().write(true).truncate(true).open(&log.path).unwrap();
    write_one(&broker).await.unwrap();
    assert_eq!(log.lines().len(), 2);
    // And by cutting it: the torn end gets its newline.
    while write_one(&broker).await.is_ok() {}
    std::fs::OpenOptions::new().write(true).open(&log.path).unwrap().set_len(1000).unwrap();
    write_one(&broker).await.unwrap();
    let text = log.text();
    let good = text.lines().filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()).count();
    assert_eq!((text.lines().count() - good, text.ends_with('\n')), (1, true));
}
