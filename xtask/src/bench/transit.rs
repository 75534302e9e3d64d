//! Transit: 256 bytes sealed and opened, alone and a hundred at once, and RSA signatures beside the crypto library alone.

use std::fmt::Write as _;
use std::process::Command;

use super::load::Ask;
use super::server::Server;
use super::{Bench, Rounds, Table, built, median};

type Result<T> = std::result::Result<T, String>;

/// 256 bytes in base64.
fn plaintext(number: usize) -> String {
    // Three bytes are four letters; one byte stands alone behind 85 times three.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text: String = (0..340).map(|at| char::from(letters[(number * 7 + at * 13) % 64])).collect();
    text.push_str("QQ==");
    text
}

impl Bench {
    pub(super) fn transit(&self) -> Result<String> {
        let ours = Server::dev(&self.options.coffer, &self.place("transit-a"))?;
        let theirs = Server::dev(&self.options.peer, &self.place("transit-b"))?;
        let asks = [asks(&ours)?, asks(&theirs)?];
        let wanted = ["at most 1/12", "at most 1/12", "at most 1/10", "at most 1/10", "within 20 % of the library"];
        let mut table = Table::new("Transit, in memory, no audit, 16 connections");
        let mut signing = 0.0;
        for (at, wanted) in wanted.into_iter().enumerate() {
            let mut rounds = Rounds::default();
            for _ in 0..self.options.rounds {
                rounds.a.push(self.wrk(&ours, &ours.token, &asks[0][at].1, 16)?);
                rounds.b.push(self.wrk(&theirs, &theirs.token, &asks[1][at].1, 16)?);
            }
            signing = median(rounds.a.iter().map(|run| run.cpu_us).collect());
            table.cpu(asks[0][at].0, &rounds, wanted);
        }
        let mut text = table.text();
        let alone = alone()?;
        let _infallible = writeln!(
            text,
            "\nThe crypto library alone takes {alone:.0} µs for such a signature: a whole request is {:+.1} % on that (wanted: at most +20 %).",
            (signing / alone - 1.0) * 100.0
        );
        Ok(text)
    }
}

fn asks(server: &Server) -> Result<Vec<(&'static str, Ask<'static>)>> {
    const CALLS: usize = 64;
    let mut client = server.client()?;
    client.must("POST", "sys/mounts/transit", r#"{"type":"transit"}"#)?;
    client.must("POST", "transit/keys/aes", r#"{"type":"aes256-gcm96"}"#)?;
    client.must("POST", "transit/keys/rsa", r#"{"type":"rsa-2048"}"#)?;
    let (mut seal, mut open, mut seal_many, mut open_many, mut sign) = (vec![], vec![], vec![], vec![], vec![]);
    let mut sealed = |plaintext: &str| -> Result<String> {
        let made = client.must("POST", "transit/encrypt/aes", &format!(r#"{{"plaintext":"{plaintext}"}}"#))?;
        Ok(made["data"]["ciphertext"].as_str().unwrap_or_default().to_owned())
    };
    for number in 0..CALLS {
        let (plaintext, encrypt) = (plaintext(number), "transit/encrypt/aes".to_owned());
        let ciphertext = sealed(&plaintext)?;
        let many = |item: String| format!(r#"{{"batch_input":[{}]}}"#, vec![item; 100].join(","));
        seal.push((encrypt.clone(), format!(r#"{{"plaintext":"{plaintext}"}}"#)));
        open.push(("transit/decrypt/aes".to_owned(), format!(r#"{{"ciphertext":"{ciphertext}"}}"#)));
        seal_many.push((encrypt, many(format!(r#"{{"plaintext":"{plaintext}"}}"#))));
        open_many.push(("transit/decrypt/aes".to_owned(), many(format!(r#"{{"ciphertext":"{ciphertext}"}}"#))));
        let body = format!(r#"{{"input":"{plaintext}","signature_algorithm":"pkcs1v15"}}"#);
        sign.push(("transit/sign/rsa".to_owned(), body));
    }
    Ok(vec![
        ("encrypt 256 B", Ask::Post(seal)),
        ("decrypt 256 B", Ask::Post(open)),
        ("encrypt, batch of 100 × 256 B", Ask::Post(seal_many)),
        ("decrypt, batch of 100 × 256 B", Ask::Post(open_many)),
        ("sign, RSA-2048 PKCS#1 SHA-256", Ask::Post(sign)),
    ])
}

/// Microseconds of the library's own signature, on a warm core.
fn alone() -> Result<f64> {
    let program = built(&["build", "--release", "-p", "coffer-crypto", "--example", "rsa_sign"], "release/examples/rsa_sign")?;
    let ran = Command::new(program).output().map_err(|e| e.to_string())?;
    String::from_utf8_lossy(&ran.stdout).trim().parse().map_err(|_| "rsa_sign said no number".to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_plaintext_is_256_bytes() {
        let text = super::plaintext(3);
        assert_eq!((text.len(), text.ends_with("QQ==")), (344, true));
        assert_eq!(text.len() / 4 * 3 - 2, 256);
        assert_ne!(text, super::plaintext(4));
    }
}
