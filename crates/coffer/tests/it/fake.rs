#![allow(clippy::unwrap_used, reason = "what a test cannot go on without, stops it")]
//! A server on loopback that answers from a list, writes down what it was asked, and a way to run the program against it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `GET /v1/sys/mounts`.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// What answers `GET /v1/…`: status, headers beside the usual ones, body.
type Answer = (&'static str, u16, &'static str, String);

pub(crate) struct Fake {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) home: tempfile::TempDir,
}

impl Fake {
    /// Answers these, each as often as it is asked for; a line that stands twice is answered in turn. Anything else is a 404.
    pub(crate) fn answering(answers: &[(&'static str, u16, &str)]) -> Self {
        Self::with_headers(
            &answers.iter().map(|(line, status, body)| (*line, *status, "", (*body).to_owned())).collect::<Vec<_>>(),
        )
    }

    pub(crate) fn with_headers(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, seen) = (answers.to_vec(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answers, &seen);
            }
        });
        Self { address, asked, home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The lines that were asked, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|a| a.line).collect()
    }

    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_with(line, "", &[])
    }

    /// Runs `coffer` with the words of `line`, the token `s.own` in its environment and nothing else of ours.
    pub(crate) fn run_with(&self, line: &str, stdin: &str, env: &[(&str, &str)]) -> Ran {
        let mut all =
            vec![("VAULT_ADDR", self.address.as_str()), ("VAULT_TOKEN", "s.own"), ("HOME", self.home.path().to_str().unwrap())];
        all.retain(|(name, _)| env.iter().all(|(n, _)| n != name));
        all.extend(env);
        run(env!("CARGO_BIN_EXE_coffer"), line, stdin, &all, self.home.path())
    }
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(program: &str, line: &str, stdin: &str, env: &[(&str, &str)], folder: &std::path::Path) -> Ran {
    let mut child = Command::new(program)
        .args(line.split_whitespace())
        .env_clear()
        .envs(env.iter().copied().filter(|(_, v)| !v.is_empty()))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input has closed it.
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap_or_default();
    let done = child.wait_with_output().unwrap();
    Ran {
        code: done.status.code().unwrap_or(-1),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

fn serve(mut stream: TcpStream, answers: &[Answer], seen: &Mutex<Vec<Asked>>) {
    while let Some(asked) = read(&mut stream) {
        let mut all = seen.lock().unwrap();
        let before = all.iter().filter(|a| a.line == asked.line).count();
        let fitting: Vec<&Answer> = answers.iter().filter(|(line, ..)| *line == asked.line).collect();
        all.push(asked);
        drop(all);
        let missing = ("", 404, "", "{\"errors\":[]}".to_owned());
        let (_, status, headers, body) = fitting.get(before).or(fitting.last()).copied().unwrap_or(&missing);
        let reply = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
        // The first byte of a TLS handshake: answered in plain text, as servers do.
        if bytes.first() == Some(&0x16) {
            stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap_or_default();
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut asked = Asked { line, headers, body: String::new() };
    let length: usize = asked.header("content-length").map_or(0, |n| n.parse().unwrap());
    while bytes.len() < end + 4 + length {
        let n = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..n]);
    }
    asked.body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
    Some(asked)
}
