//! PGP keys, through the gpg of this machine: it has the keyrings, the agent, the cards and the passphrases.

use crate::program::{Failed, command, run};
use coffer_client::Environment;
use coffer_sops::{Error, Result};
use zeroize::Zeroizing;

/// `SOPS_GPG_EXEC`, or `gpg`. `GNUPGHOME` is gpg's own variable.
fn program(env: &Environment) -> String {
    env.raw("SOPS_GPG_EXEC").unwrap_or_else(|| "gpg".to_owned())
}

/// Encrypts for one key and nobody else; an armored message.
pub(crate) fn wrap(env: &Environment, fingerprint: &str, data_key: &[u8]) -> Result<String> {
    check(fingerprint)?;
    let program = program(env);
    let mut command = command(env, &program);
    command.args(["--no-default-recipient", "--yes", "--encrypt", "-a", "-r", fingerprint]).args([
        "--trusted-key",
        short(fingerprint),
        "--no-encrypt-to",
    ]);
    let out = run(command, data_key).map_err(|failed| fault("encrypt", &program, &failed))?;
    match std::str::from_utf8(&out).map(str::trim) {
        Ok(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Error::generic(format!("failed to encrypt sops data key with pgp: {program} printed no armored message"))),
    }
}

/// Decrypts with whatever key of the keyring fits.
pub(crate) fn unwrap(env: &Environment, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
    if !enc.trim_start().starts_with("-----BEGIN PGP MESSAGE-----") {
        return Err(Error::generic("failed to decrypt sops data key with pgp: the encrypted data key is no armored PGP message"));
    }
    let program = program(env);
    let mut command = command(env, &program);
    command.arg("-d");
    let out = run(command, enc.as_bytes()).map_err(|failed| fault("decrypt", &program, &failed))?;
    if out.is_empty() {
        // An old gpg passes over packets of a newer one, and says that all is well.
        return Err(Error::generic(format!(
            "failed to decrypt sops data key with pgp: zero bytes returned; is {program} too old for this message?"
        )));
    }
    Ok(out)
}

/// It stands on a command line, so nothing but a key's name will do.
fn check(fingerprint: &str) -> Result<()> {
    let bare = fingerprint.strip_suffix('!').unwrap_or(fingerprint);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '.' | '_' | '+' | '-' | '<' | '>' | '=');
    if bare.is_empty() || bare.starts_with('-') || !bare.chars().all(fits) {
        return Err(Error::generic(format!("{fingerprint:?} is no fingerprint of a PGP key: write its 40 hexadecimal digits")));
    }
    Ok(())
}

/// The last 16 digits; the `!` that means exactly this subkey comes on top.
fn short(fingerprint: &str) -> &str {
    let length = if fingerprint.ends_with('!') { 17 } else { 16 };
    // check() has let ASCII through only.
    fingerprint.get(fingerprint.len().saturating_sub(length)..).unwrap_or(fingerprint)
}

fn fault(verb: &str, program: &str, failed: &Failed) -> Error {
    let what = format!("failed to {verb} sops data key with pgp");
    Error::generic(match failed {
        Failed::Start(e) if e.kind() == std::io::ErrorKind::NotFound => {
            format!("{what}: there is no program {program:?}; install GnuPG, or name it in SOPS_GPG_EXEC")
        }
        Failed::Status(status, words) if words.is_empty() => format!("{what}: {program} ended with {status}"),
        Failed::Status(_, words) => format!("{what}: {words}"),
        Failed::Start(_) => format!("{what}: {program} {failed}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "-----BEGIN PGP MESSAGE-----\n\nx\n-----END PGP MESSAGE-----";

    /// A gpg that does what the script says.
    fn with(script: &str) -> (tempfile::TempDir, Environment) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gpg");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.display().to_string();
        let env = Environment::fixed(&[
            ("SOPS_GPG_EXEC", &path),
            ("PATH", "/usr/bin:/bin"),
            ("DIR", &folder.path().display().to_string()),
        ]);
        (folder, env)
    }

    #[test]
    fn gpg_is_called_as_sops_calls_it() {
        let (folder, env) = with("echo \"$@\" > $DIR/args; cat > $DIR/in; echo ' armored '");
        let fingerprint = "632DCBDA604F0933BD0292C151200593B519F225";
        assert_eq!(wrap(&env, fingerprint, b"key").unwrap(), "armored");
        let args = std::fs::read_to_string(folder.path().join("args")).unwrap();
        assert_eq!(
            args.trim(),
            format!("--no-default-recipient --yes --encrypt -a -r {fingerprint} --trusted-key 51200593B519F225 --no-encrypt-to")
        );
        assert_eq!(std::fs::read(folder.path().join("in")).unwrap(), b"key");
        assert_eq!(short("632DCBDA604F0933BD0292C151200593B519F225!"), "51200593B519F225!");
        assert_eq!(short("ABCD"), "ABCD");
        let (folder, env) = with("echo \"$@\" > $DIR/args; cat > $DIR/in; printf data");
        assert_eq!(&**unwrap(&env, MESSAGE).unwrap(), b"data");
        assert_eq!(std::fs::read_to_string(folder.path().join("args")).unwrap().trim(), "-d");
        assert_eq!(std::fs::read_to_string(folder.path().join("in")).unwrap(), MESSAGE);
    }

    #[test]
    fn failures_say_what_gpg_said() {
        let (_folder, env) = with("echo 'gpg: decryption failed: No secret key' >&2; exit 2");
        assert!(unwrap(&env, MESSAGE).unwrap_err().message.ends_with("No secret key"));
        let (_folder, env) = with("exit 0");
        assert!(unwrap(&env, MESSAGE).unwrap_err().message.contains("zero bytes"));
        assert!(wrap(&env, "ABCD", b"k").unwrap_err().message.contains("no armored message"));
        let nowhere = Environment::fixed(&[("SOPS_GPG_EXEC", "/nowhere/gpg")]);
        assert!(wrap(&nowhere, "ABCD", b"k").unwrap_err().message.contains("SOPS_GPG_EXEC"));
        assert!(unwrap(&nowhere, "garbage").unwrap_err().message.contains("no armored PGP message"));
    }

    #[test]
    fn nothing_but_a_name_goes_onto_the_command_line() {
        for name in ["", "--output=/etc/passwd", "-x", "a b", "a;b", "!", "ä"] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["632DCBDA604F0933BD0292C151200593B519F225!", "51200593B519F225", "me@example.org"] {
            check(name).unwrap();
        }
    }
}
