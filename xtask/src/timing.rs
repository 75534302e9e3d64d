//! `cargo xtask timing`: can the time of a refused login tell names that exist from names that don't? Welch's t over many tries of
//! each, on one connection, in an order that nothing can follow. Options: `--tries N` (10000 of each), `--only userpass,approle`,
//! `--coffer PROGRAM`.
//!
//! As is usual for this test, the slowest hundredth of all tries together is left out: these are the machine's own pauses. Above 4.5
//! the two can be told apart.

use std::path::PathBuf;
use std::time::Instant;

use crate::Outcome;
use crate::bench::{Client, Server, built};

/// Beyond this the two are not the same.
const LIMIT: f64 = 4.5;

#[allow(clippy::print_stdout, reason = "the table is the program's result")]
pub(crate) fn run(args: &[String]) -> Outcome {
    let (mut tries, mut only, mut coffer) = (10_000, String::new(), None);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--tries" => tries = value()?.parse().map_err(|_| "--tries takes a number")?,
            "--only" => only.clone_from(value()?),
            "--coffer" => coffer = Some(PathBuf::from(value()?)),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    let coffer = coffer.map_or_else(|| built(&["build", "--release", "-p", "coffer"], "release/coffer"), Ok)?;
    let folder = tempfile::Builder::new().prefix("coffer-timing-").tempdir().map_err(|e| e.to_string())?;
    let server = Server::dev(&coffer, folder.path())?;
    println!(
        "| refused login | tries of each | known, µs | unknown, µs | Welch's t | wanted |\n| --- | --- | --- | --- | --- | --- |"
    );
    let mut told_apart = Vec::new();
    for (name, pair) in [("userpass", userpass as fn(&mut Client) -> Result<Pair, String>), ("approle", approle)] {
        if !only.is_empty() && !only.split(',').any(|o| o == name) {
            continue;
        }
        let mut client = server.client()?;
        client.must("POST", &format!("sys/auth/{name}"), &format!(r#"{{"type":"{name}"}}"#))?;
        client.must("POST", &format!("sys/auth/{name}/tune"), r#"{"user_lockout_config":{"lockout_disable":"true"}}"#)?;
        let pair = pair(&mut client)?;
        let [known, unknown] = measure(&mut client, &pair, tries)?;
        let t = welch(&known, &unknown);
        let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
        println!("| {name} | {tries} | {:.2} | {:.2} | {t:.2} | below {LIMIT} |", mean(&known), mean(&unknown));
        if t.abs() >= LIMIT || t.is_nan() {
            told_apart.push(name);
        }
    }
    if told_apart.is_empty() { Ok(()) } else { Err(format!("names can be told apart: {}", told_apart.join(", "))) }
}

/// The call with a name that exists and that with one that does not, otherwise alike.
struct Pair {
    calls: [(String, String); 2],
}

fn userpass(client: &mut Client) -> Result<Pair, String> {
    client.must("POST", "auth/userpass/users/someone", r#"{"password":"right"}"#)?;
    let call = |name: &str| (format!("auth/userpass/login/{name}"), r#"{"password":"wrong"}"#.to_owned());
    Ok(Pair { calls: [call("someone"), call("no-onee")] })
}

fn approle(client: &mut Client) -> Result<Pair, String> {
    client.must("POST", "auth/approle/role/some", r#"{"token_policies":["default"]}"#)?;
    let role_id = client.must("GET", "auth/approle/role/some/role-id", "")?;
    client.must("POST", "auth/approle/role/some/secret-id", "{}")?;
    let call = |role_id: &str| {
        let secret_id = "00000000-0000-0000-0000-000000000000";
        ("auth/approle/login".to_owned(), format!(r#"{{"role_id":"{role_id}","secret_id":"{secret_id}"}}"#))
    };
    let known = role_id["data"]["role_id"].as_str().unwrap_or_default();
    Ok(Pair { calls: [call(known), call("5d3c9f6e-71c2-4a58-9d40-2f1f5a7b8c9d")] })
}

/// Microseconds of each try, of the known and of the unknown name.
fn measure(client: &mut Client, pair: &Pair, tries: usize) -> Result<[Vec<f64>; 2], String> {
    let mut times = [Vec::new(), Vec::new()];
    let mut order = Order(0x9e37_79b9_7f4a_7c15);
    let warm = tries / 20;
    for _ in 0..warm {
        for (path, body) in &pair.calls {
            client.call("POST", path, body)?;
        }
    }
    while times.iter().any(|t| t.len() < tries) {
        let mut side = order.next_bit();
        if times[side].len() >= tries {
            side = 1 - side;
        }
        let (path, body) = &pair.calls[side];
        let began = Instant::now();
        let (status, reply) = client.call("POST", path, body)?;
        times[side].push(began.elapsed().as_secs_f64() * 1e6);
        if status != 400 {
            return Err(format!("a wrong login answered {status} {reply:.200}"));
        }
    }
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let slowest = all.get(all.len() * 99 / 100).copied().unwrap_or(f64::MAX);
    Ok(times.map(|side| side.into_iter().filter(|t| *t <= slowest).collect()))
}

/// xorshift: no side may follow the other in a pattern.
struct Order(u64);

impl Order {
    fn next_bit(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::from(self.0 >> 40 & 1 == 1)
    }
}

/// Welch's t of two samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let moments = |sample: &[f64]| {
        let n = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / n;
        let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    };
    let ((mean_a, of_a), (mean_b, of_b)) = (moments(a), moments(b));
    (mean_a - mean_b) / (of_a + of_b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welch_tells_samples_apart_and_lets_like_ones_be() {
        // Worked by hand: means 2 and 4, variances 1 and 1, three of each.
        assert!((welch(&[1.0, 2.0, 3.0], &[3.0, 4.0, 5.0]) + 6f64.sqrt()).abs() < 1e-12);
        let mut order = Order(7);
        let mut sample =
            |shift: f64| (0..10_000).map(|_| (0..16).map(|_| order.next_bit() as f64).sum::<f64>() + shift).collect::<Vec<_>>();
        let (one, other, shifted) = (sample(0.0), sample(0.0), sample(0.5));
        assert!(welch(&one, &other).abs() < LIMIT);
        assert!(welch(&one, &shifted).abs() > LIMIT);
    }

    #[test]
    fn the_order_takes_both_sides_about_as_often() {
        let mut order = Order(1);
        let ones: usize = (0..10_000).map(|_| order.next_bit()).sum();
        assert!((4_500..5_500).contains(&ones), "{ones}");
    }
}
