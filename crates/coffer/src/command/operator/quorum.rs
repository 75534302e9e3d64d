//! What several holders of shares do together: PGP keys as they are given, a share as it is given.

use crate::cli::help::wrap;
use crate::cli::{Call, Failure, Outcome};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The public keys that a flag names, as the server wants them: base64 of the binary key.
pub(super) fn pgp_keys(call: &Call<'_>, flag: &str) -> Outcome<Vec<String>> {
    let files = call.list(flag).iter().flat_map(|v| v.split(',')).map(str::trim).filter(|v| !v.is_empty());
    files.map(|file| pgp_key(flag, file)).collect()
}

pub(super) fn pgp_key(flag: &str, file: &str) -> Outcome<String> {
    if file.starts_with("keybase:") {
        return Err(Failure::usage(format!(
            "invalid value {file:?} for flag -{flag}: keys are not fetched from Keybase; save the key to a file and name that"
        )));
    }
    let bytes = std::fs::read(file).map_err(|e| {
        Failure::usage(format!("invalid value {file:?} for flag -{flag}: {}", crate::command::data::opened(file, &e)))
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.starts_with("-----BEGIN PGP") {
        // ASCII armour (RFC 4880 section 6.2): headers to the first empty line, a checksum line that begins with "=".
        let body: String = text
            .lines()
            .skip(1)
            .skip_while(|l| !l.trim().is_empty())
            .filter(|l| !l.starts_with("-----") && !l.starts_with('='))
            .map(str::trim)
            .collect();
        return Ok(body);
    }
    let is_base64 = STANDARD.decode(text).is_ok();
    Ok(if is_base64 { text.to_owned() } else { STANDARD.encode(&bytes) })
}

/// The share and the nonce: as arguments, from standard input, or asked for on the terminal.
pub(super) fn share(call: &Call<'_>, nonce: &str) -> Outcome<(Zeroizing<String>, String)> {
    let given = call.text("nonce").to_owned();
    let missing = || {
        Failure::usage("Missing nonce value: specify it via the -nonce flag")
            .hint("The command that began the operation printed it; -status prints it too.")
    };
    match call.args.first().map(|a| a.trim()) {
        Some("-") if given.is_empty() => Err(missing()),
        Some("-") => Ok((Zeroizing::new(call.stdin()?.trim().to_owned()), given)),
        Some(_) if given.is_empty() => Err(missing()),
        Some(key) => Ok((Zeroizing::new(key.to_owned()), given)),
        None => {
            call.line(&format!("Operation nonce: {nonce}"));
            let key = call.ask_hidden("Unseal Key (will be hidden): ").map_err(|why| {
                Failure::usage(wrap(
                    &format!("An error occurred attempting to ask for the unseal key. The raw error message is shown below, but usually this is because you attempted to pipe a value into the command or you are executing outside of a terminal (tty). If you want to pipe the value, pass \"-\" as the argument to read from stdin. The raw error was: {why}"),
                    0,
                ))
            })?;
            Ok((Zeroizing::new(key.trim().to_owned()), nonce.to_owned()))
        }
    }
}
