//! Prints how many microseconds of CPU one RSA-2048 signature (PKCS#1 v1.5, SHA-256, of 256 bytes) takes the crypto library:
//! what `cargo xtask bench --only transit` measures a whole request against.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use std::time::Instant;

#[allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement that cannot go on stops")]
fn main() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut out = vec![0; key.public_modulus_len()];
    let mut rounds: Vec<f64> = Vec::new();
    for _ in 0..15 {
        let began = Instant::now();
        for _ in 0..200 {
            key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &[7; 256], &mut out).unwrap();
        }
        rounds.push(began.elapsed().as_secs_f64() * 1e6 / 200.0);
    }
    // Other work on the machine only ever adds.
    println!("{:.1}", rounds.into_iter().fold(f64::INFINITY, f64::min));
}
