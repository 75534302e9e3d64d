//! A store with many leases beside one with as many plain secrets, and what other calls feel of ten thousand that end at once.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::load::{self, Ask, Run};
use super::server::{Product, Server};
use super::{Bench, machine};

type Result<T> = std::result::Result<T, String>;

/// From exec to the first read, the median of three, and what is resident some time later, after reads.
struct Restarted {
    seconds: f64,
    memory: f64,
}

/// What reads felt of leases that ended, and when those were gone.
struct Felt {
    quiet: Run,
    busy: Run,
    gone: Duration,
}

impl Bench {
    pub(super) fn leases(&self) -> Result<String> {
        let (many, ending) = (self.options.many, 10_000.min(self.options.many / 4));
        let secrets = {
            let mut server = Server::durable(Product::Coffer, &self.options.coffer, &self.place("leases-secrets"), false)?;
            let token = server.fill(super::SECRETS)?;
            load::fill(&server, &token, many)?;
            self.restarted(&mut server, &token)?
        };
        let mut server = Server::durable(Product::Coffer, &self.options.coffer, &self.place("leases"), false)?;
        let token = server.fill(super::SECRETS)?;
        let began = Instant::now();
        load::tokens(&server, many, &|| "24h".to_owned())?;
        let filling = began.elapsed().as_secs_f64();
        let leases = self.restarted(&mut server, &token)?;

        let mut felt = Vec::new();
        for _ in 0..self.options.rounds {
            felt.push(self.ended_at_once(&server, &token, ending)?);
        }
        let of = |figure: fn(&Felt) -> f64| super::median(felt.iter().map(figure).collect());

        let mut text =
            format!("### Many leases\n\n| | {many} secrets | {many} leases | | wanted |\n| --- | --- | --- | --- | --- |\n");
        let _infallible = writeln!(
            text,
            "| kill -9 and start to first read, s | {:.3} | {:.3} | {:.2} | at most 1.2 |",
            secrets.seconds,
            leases.seconds,
            leases.seconds / secrets.seconds
        );
        let _infallible = writeln!(
            text,
            "| resident after restart and reads, MB | {:.0} | {:.0} | {:+.0} | at most +50 |",
            secrets.memory,
            leases.memory,
            leases.memory - secrets.memory
        );
        let _infallible = writeln!(
            text,
            "\n| | undisturbed | while {ending} end in one second | | wanted |\n| --- | --- | --- | --- | --- |\n\
             | p99 of kv read, 16 connections, ms | {:.2} | {:.2} | {:.2} | at most 3 |\n\
             | reads a second | {:.0} | {:.0} | | |\n\n\
             The leases were made in {filling:.0} s; all that ended together were gone {:.1} s after their time at the latest.",
            of(|f| f.quiet.p99_ms),
            of(|f| f.busy.p99_ms),
            of(|f| f.busy.p99_ms / f.quiet.p99_ms),
            of(|f| f.quiet.per_second),
            of(|f| f.busy.per_second),
            felt.iter().map(|f| f.gone.as_secs_f64()).fold(0.0, f64::max)
        );
        Ok(text)
    }

    /// Reads by themselves, and from half a second before `ending` tokens end within one second.
    fn ended_at_once(&self, server: &Server, token: &str, ending: usize) -> Result<Felt> {
        let before = tokens(server)?;
        let quiet = self.wrk(server, token, &reads(), 16)?;
        // Each is made with what is left until then.
        let end = Instant::now() + Duration::from_secs(5 + (ending / 1000) as u64);
        load::tokens(server, ending, &|| format!("{}s", end.saturating_duration_since(Instant::now()).as_secs() + 1))?;
        let made = tokens(server)?;
        if made != before + ending as u64 {
            return Err(format!("of {ending} tokens that were to end together {} are there", made - before));
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()).saturating_sub(Duration::from_millis(500)));
        let busy = self.wrk(server, token, &reads(), 16)?;
        let mut gone = end.elapsed();
        while tokens(server)? > before {
            if end.elapsed() > Duration::from_secs(120) {
                return Err("they do not end".into());
            }
            std::thread::sleep(Duration::from_millis(100));
            gone = end.elapsed();
        }
        Ok(Felt { quiet, busy, gone })
    }

    fn restarted(&self, server: &mut Server, token: &str) -> Result<Restarted> {
        let mut times = Vec::new();
        for _ in 0..3 {
            times.push(server.restart_until("bench/data/7")?.as_secs_f64());
        }
        // What it does by itself after a start, counting leases among it, is part of what it takes.
        std::thread::sleep(Duration::from_secs(6));
        self.wrk(server, token, &reads(), 16)?;
        Ok(Restarted { seconds: super::median(times), memory: machine::memory_mb(server.pid()).0 })
    }
}

fn reads() -> Ask<'static> {
    Ask::Get((0..super::SECRETS).map(|number| format!("bench/data/{number}")).collect())
}

fn tokens(server: &Server) -> Result<u64> {
    let counted = server.client()?.must("GET", "sys/internal/counters/tokens", "")?;
    counted["data"]["counters"]["service_tokens"]["total"].as_u64().ok_or_else(|| "no count of tokens".into())
}
