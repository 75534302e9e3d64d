//! `operator generate-root`: a new root token by those who hold the shares.

use super::quorum::{pgp_key, share};
use crate::cli::help::wrap;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, Format, go};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;
use zeroize::Zeroizing;

pub(super) const COMMANDS: &[&Command] = &[&GENERATE_ROOT];

static GENERATE_ROOT: Command = Command {
    path: "operator generate-root",
    synopsis: "Make a new root token with a quorum of shares",
    args: "[KEY]",
    about: "Makes a root token where none is left. One person begins with -init and keeps the one-time password that it prints; enough holders provide their shares; the last one gets the token encoded with that password; -decode gives the token.",
    examples: &[
        ("Begin:", "operator generate-root -init"),
        ("Provide a share, asked for:", "operator generate-root"),
        ("Decode what the last share gave:", "operator generate-root -decode=KmICDBcbGi8 -otp=YLnidhyJ"),
        ("How far is it:", "operator generate-root -status"),
    ],
    own: &[
        Flag::new("cancel", Kind::Switch, "Give up; shares provided so far are forgotten."),
        Flag::new("decode", Kind::Text, "An encoded token to decode with -otp. - reads it from standard input."),
        Flag::new("generate-otp", Kind::Switch, "Print a one-time password of the right length for -init -otp."),
        Flag::new("init", Kind::Switch, "Begin."),
        Flag::new("nonce", Kind::Text, "The nonce that -init printed; each share must come with it."),
        Flag::new("otp", Kind::Text, "The one-time password."),
        Flag::new("pgp-key", Kind::Text, "With -init: file of a public PGP key to which the token is encrypted."),
        Flag::new("recovery-token", Kind::Switch, "Make a recovery operation token instead."),
        Flag::new("status", Kind::Switch, "Print how far it is."),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(run),
};

fn run(call: &Call<'_>) -> Outcome {
    if call.given("decode") && !call.text("decode").is_empty() {
        return decode(call);
    }
    if call.on("generate-otp") {
        let length = attempt(call, &root(call)?)?.get("otp_length").and_then(Json::as_i64).unwrap_or_default();
        let length = usize::try_from(length)
            .ok()
            .filter(|n| (1..=256).contains(n))
            .ok_or_else(|| Failure::server("The server does not say how long the password must be"))?;
        let otp = coffer_crypto::random::base62(&coffer_crypto::random::SystemRandom, length);
        return print_alone(call, "otp", &otp);
    }
    let root = root(call)?;
    if call.on("status") {
        let status = attempt(call, &root)?;
        return show(call, &status);
    }
    if call.on("cancel") {
        call.send(&Request::delete(format!("{root}/attempt"))).because(|| "Error canceling root token generation".into())?;
        call.line("Success! Root token generation canceled (if it was started)");
        return Ok(0);
    }
    if call.on("init") { init(call, &root) } else { provide(call, &root) }
}

/// The path of the operation. Servers that want a token for it have it elsewhere and answer 404 or 405 here.
fn root(call: &Call<'_>) -> Outcome<String> {
    if call.on("recovery-token") {
        return Ok("sys/generate-recovery-token".into());
    }
    let usual = "sys/generate-root";
    match call.ask_json(&Request::get(format!("{usual}/attempt")).in_root_namespace().aside()) {
        Err(failure) if [404, 405].contains(&failure.status) => Ok("sys/generate-root-token".into()),
        Err(failure) => Err(failure).because(|| "Error getting root generation status".into()),
        Ok(_) => Ok(usual.into()),
    }
}

fn attempt(call: &Call<'_>, root: &str) -> Outcome<Json> {
    call.ask_data(&Request::get(format!("{root}/attempt")).in_root_namespace())
        .because(|| "Error getting root generation status".into())
}

fn init(call: &Call<'_>, root: &str) -> Outcome {
    let key = match call.text("pgp-key") {
        "" => String::new(),
        file => pgp_key("pgp-key", file)?,
    };
    let body = Object::new().with("otp", call.text("otp")).with("pgp_key", key);
    let begun = call
        .ask_data(&Request::put(format!("{root}/attempt")).json(body).in_root_namespace())
        .because(|| "Error initializing root generation".into())?;
    if call.format()? == Format::Table
        && begun.get("otp").and_then(Json::as_str).is_some_and(|otp| !otp.is_empty())
        && call.text("otp").is_empty()
    {
        call.note("A One-Time-Password has been generated for you and is shown in the OTP field.\nYou will need this value to decode the resulting root token, so keep it safe.");
    }
    show(call, &begun)
}

fn provide(call: &Call<'_>, root: &str) -> Outcome {
    let status = attempt(call, root)?;
    if status.get("started").and_then(Json::as_bool) != Some(true) {
        let length = status.get("otp_length").map(go::text).unwrap_or_default();
        return Err(Failure::usage(wrap(
            &format!(
                "No root generation is in progress. Start a root generation by running \"{} operator generate-root -init\".\nIf starting root generation using the OTP method and generating your own OTP, the length of the OTP string needs to be {length} characters in length.",
                call.context.program
            ),
            0,
        )));
    }
    let (key, nonce) = share(call, status.get("nonce").and_then(Json::as_str).unwrap_or_default())?;
    let body = Object::new().with("key", key.as_str()).with("nonce", nonce);
    let status = call
        .ask_data(&Request::put(format!("{root}/update")).json(body).in_root_namespace())
        .because(|| "Error posting unseal key".into())?;
    show(call, &status)
}

fn decode(call: &Call<'_>) -> Outcome {
    let otp = call.text("otp");
    if otp.is_empty() {
        return Err(Failure::usage("Missing otp: use -otp to supply it"));
    }
    let encoded = match call.text("decode") {
        "-" => call.stdin()?,
        text => Zeroizing::new(text.to_owned()),
    };
    let token = decoded(encoded.trim(), otp).map_err(|why| Failure::usage(format!("Error decoding root token: {why}")))?;
    print_alone(call, "token", &token)
}

/// base64, then XOR with the password.
fn decoded(encoded: &str, otp: &str) -> Result<Zeroizing<String>, String> {
    let bytes = STANDARD_NO_PAD
        .decode(encoded.trim_end_matches('='))
        .map(Zeroizing::new)
        .map_err(|e| format!("error decoding base64'd token: {e}"))?;
    // A password of old servers is base64 of sixteen bytes, and the token a UUID.
    let key = if bytes.len() == otp.len() {
        otp.as_bytes().to_vec()
    } else {
        STANDARD.decode(otp).unwrap_or_else(|_| otp.as_bytes().to_vec())
    };
    let key = Zeroizing::new(key);
    if bytes.len() != key.len() {
        return Err(format!("error xoring token: length of byte slices is not equivalent: {} != {}", bytes.len(), key.len()));
    }
    let plain: Zeroizing<Vec<u8>> = Zeroizing::new(bytes.iter().zip(key.iter()).map(|(a, b)| a ^ b).collect());
    let text = std::str::from_utf8(&plain).map_err(|_| "the result is no text: this is another password".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn print_alone(call: &Call<'_>, name: &str, value: &str) -> Outcome {
    match call.format()? {
        Format::Table => output::alone(call, &Json::from(value)),
        _ => output::value(call, &Json::Object(Object::new().with(name, value)), |_| Vec::new()),
    }
}

fn show(call: &Call<'_>, status: &Json) -> Outcome {
    let text = |name: &str| status.get(name).filter(|v| !v.is_null()).map(go::text).unwrap_or_default();
    let shown = Object::new()
        .with("nonce", text("nonce"))
        .with("started", status.get("started").cloned())
        .with("progress", status.get("progress").cloned())
        .with("required", status.get("required").cloned())
        .with("complete", status.get("complete").cloned())
        .with("encoded_token", text("encoded_token"))
        .with("encoded_root_token", text("encoded_root_token"))
        .with("pgp_fingerprint", text("pgp_fingerprint"))
        .with("otp", text("otp"))
        .with("otp_length", status.get("otp_length").cloned());
    output::value(call, &Json::Object(shown), |_| {
        let mut rows = vec![
            ("Nonce", text("nonce")),
            ("Started", text("started")),
            ("Progress", format!("{}/{}", text("progress"), text("required"))),
            ("Complete", text("complete")),
        ];
        let encoded = if text("encoded_token").is_empty() { text("encoded_root_token") } else { text("encoded_token") };
        let length = Some(text("otp_length")).filter(|n| n != "0").unwrap_or_default();
        for (name, value) in [
            ("PGP Fingerprint", text("pgp_fingerprint")),
            ("Encoded Token", encoded),
            ("OTP", text("otp")),
            ("OTP Length", length),
        ] {
            if !value.is_empty() {
                rows.push((name, value));
            }
        }
        rows.into_iter().map(|(k, v)| vec![k.to_owned(), v]).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_decodes_with_its_password_only() {
        let (token, otp) = ("s.lessceMJASvt01aLba8vAfPD", "YLnidhyJhPqgZjfUxUmwfp2BlS");
        let encoded = STANDARD_NO_PAD.encode(token.bytes().zip(otp.bytes()).map(|(a, b)| a ^ b).collect::<Vec<u8>>());
        assert_eq!(encoded, "KmICDBcbGi8lGjA0LB5WZBkZDxZeBnMkPBc");
        assert_eq!(decoded(&encoded, otp).unwrap().as_str(), token);
        assert!(decoded("abc", "def").unwrap_err().contains("2 != 3"));
        assert!(decoded("!!", otp).unwrap_err().contains("base64"));
    }
}
