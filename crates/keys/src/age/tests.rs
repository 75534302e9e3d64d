//! All sources and kinds of identities. Keys are made here, or are those of the recorded files of sops.

use super::*;
use crate::Nobody;
use crate::ask::testing::Scripted;
use age::secrecy::ExposeSecret;
use std::io::Write;
use std::path::Path;

const ED25519: &str = include_str!("../../tests/keys/ssh_ed25519");
const ED25519_PUBLIC: &str = include_str!("../../tests/keys/ssh_ed25519.pub");
const LOCKED: &str = include_str!("../../tests/keys/ssh_ed25519_pass");
const LOCKED_PUBLIC: &str = include_str!("../../tests/keys/ssh_ed25519_pass.pub");
const RSA: &str = include_str!("../../tests/keys/ssh_rsa");
const RSA_PUBLIC: &str = include_str!("../../tests/keys/ssh_rsa.pub");
const PASSPHRASE: &str = "correct horse";

fn pair() -> (String, String) {
    let identity = age::x25519::Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

fn with(env: &[(&str, &str)]) -> Age {
    Age::new(Environment::fixed(env), Arc::new(Nobody))
}

fn wrapped(recipient: &str) -> String {
    with(&[]).wrap(recipient, b"data").unwrap()
}

fn refused(age: &Age, recipient: &str) -> String {
    let message = age.unwrap(recipient, &wrapped(recipient)).unwrap_err().message;
    let shows_key = message.split("AGE-SECRET-KEY-1").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
    assert!(!shows_key && !message.contains("PRIVATE KEY-"), "{message}");
    message
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A file of identities, locked with little work.
fn locked(text: &str, passphrase: &str, armored: bool) -> Vec<u8> {
    use age::armor::{ArmoredWriter, Format};
    let mut recipient = age::scrypt::Recipient::new(passphrase.to_owned().into());
    recipient.set_work_factor(4);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let format = if armored { Format::AsciiArmor } else { Format::Binary };
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), format).unwrap()).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap().finish().unwrap()
}

#[test]
fn every_source_gives_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, recipient) = pair();
    let text = format!("# created: today\n\n{secret}\n");
    let home = folder.path().display().to_string();
    let file = write(folder.path(), "keys.txt", &text);
    let script =
        write(folder.path(), "print keys", format!("#!/bin/sh\n[ \"$SOPS_AGE_RECIPIENT\" = {recipient} ] && echo {secret}\n"));
    let command = format!("/bin/sh '{script}'");
    let (other, _) = pair();
    for env in [
        vec![("SOPS_AGE_KEY", secret.clone())],
        vec![("SOPS_AGE_KEY", format!("{other} {secret}"))],
        vec![("SOPS_AGE_KEY", format!("{other}\n# x\n{secret}"))],
        vec![("SOPS_AGE_KEY_FILE", file)],
        vec![("SOPS_AGE_KEY_CMD", command)],
        vec![("SOPS_AGE_KEY", "garbage".into()), ("SOPS_AGE_KEY_FILE", write(folder.path(), "other", &text))],
    ] {
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(&**with(&env).unwrap(&recipient, &wrapped(&recipient)).unwrap(), b"data", "{}", env[0].0);
    }
    write(folder.path(), ".config/sops/age/keys.txt", &text);
    assert_eq!(&**with(&[("HOME", &home)]).unwrap(&recipient, &wrapped(&recipient)).unwrap(), b"data");
    write(folder.path(), "xdg/sops/age/keys.txt", &text);
    let xdg = format!("{home}/xdg");
    assert_eq!(
        &**with(&[("HOME", "/nowhere"), ("XDG_CONFIG_HOME", &xdg)]).unwrap(&recipient, &wrapped(&recipient)).unwrap(),
        b"data"
    );
}

#[test]
fn ssh_keys_open_what_is_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display().to_string();
    write(folder.path(), ".ssh/id_ed25519", ED25519);
    write(folder.path(), ".ssh/id_rsa", RSA.trim_end().replace('\n', "\r\n"));
    let age = with(&[("HOME", &home)]);
    for recipient in [ED25519_PUBLIC, RSA_PUBLIC] {
        assert_eq!(&**age.unwrap(recipient, &wrapped(recipient)).unwrap(), b"data", "{recipient}");
    }
    let file = write(folder.path(), "key", ED25519);
    for env in [("SOPS_AGE_SSH_PRIVATE_KEY_FILE", file.clone()), ("SOPS_AGE_SSH_PRIVATE_KEY_CMD", format!("/bin/cat {file}"))] {
        let age = with(&[(env.0, &env.1)]);
        assert_eq!(&**age.unwrap(ED25519_PUBLIC, &wrapped(ED25519_PUBLIC)).unwrap(), b"data", "{}", env.0);
        assert!(refused(&age, RSA_PUBLIC).contains("is not for this data key"));
    }
}

#[test]
fn a_locked_ssh_key_asks_once_and_only_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display().to_string();
    write(folder.path(), ".ssh/id_ed25519", LOCKED);
    let env = Environment::fixed(&[("HOME", &home)]);
    let ask = Arc::new(Scripted::of(&[PASSPHRASE]));
    let age = Age::new(env.clone(), ask.clone());
    let (_, recipient) = pair();
    assert!(age.unwrap(&recipient, &wrapped(&recipient)).is_err());
    assert!(age.unwrap(ED25519_PUBLIC, &wrapped(ED25519_PUBLIC)).is_err());
    assert_eq!(ask.asked(), Vec::<String>::new());
    for _ in 0..2 {
        assert_eq!(&**age.unwrap(LOCKED_PUBLIC, &wrapped(LOCKED_PUBLIC)).unwrap(), b"data");
    }
    assert_eq!(ask.asked(), [format!("Enter passphrase for \"{home}/.ssh/id_ed25519\":")]);

    let age = Age::new(env.clone(), Arc::new(Scripted::of(&["wrong"])));
    assert!(refused(&age, LOCKED_PUBLIC).contains("incorrect passphrase"));
    assert!(refused(&Age::new(env, Arc::new(Nobody)), LOCKED_PUBLIC).contains("no terminal"));
    let command = format!("/bin/cat {home}/.ssh/id_ed25519");
    assert!(refused(&with(&[("SOPS_AGE_SSH_PRIVATE_KEY_CMD", &command)]), LOCKED_PUBLIC).contains("not supported there"));
}

#[test]
fn locked_identity_files_ask_last_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let ((secret, recipient), (other, other_recipient)) = (pair(), pair());
    for armored in [true, false] {
        let file = write(folder.path(), "locked", locked(&format!("# x\n{secret}\n"), "open", armored));
        let ask = Arc::new(Scripted::of(&["open"]));
        let age = Age::new(Environment::fixed(&[("SOPS_AGE_KEY_FILE", &file), ("SOPS_AGE_KEY", &other)]), ask.clone());
        assert_eq!(&**age.unwrap(&other_recipient, &wrapped(&other_recipient)).unwrap(), b"data");
        assert!(ask.asked().is_empty());
        for _ in 0..2 {
            assert_eq!(&**age.unwrap(&recipient, &wrapped(&recipient)).unwrap(), b"data");
        }
        assert_eq!(ask.asked(), ["Enter passphrase for identity 'SOPS_AGE_KEY_FILE':"]);

        let wrong = Age::new(Environment::fixed(&[("SOPS_AGE_KEY_FILE", &file)]), Arc::new(Scripted::of(&["shut", "open"])));
        for _ in 0..2 {
            assert!(refused(&wrong, &recipient).contains("incorrect passphrase"));
        }
        assert!(refused(&with(&[("SOPS_AGE_KEY_FILE", &file)]), &recipient).contains("no terminal"));
    }
    let in_variable = String::from_utf8(locked(&secret, "open", true)).unwrap();
    let age = Age::new(Environment::fixed(&[("SOPS_AGE_KEY", &in_variable)]), Arc::new(Scripted::of(&["open"])));
    assert_eq!(&**age.unwrap(&recipient, &wrapped(&recipient)).unwrap(), b"data");
}

#[test]
fn locked_files_that_are_odd_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, recipient) = pair();
    let twice = locked(&String::from_utf8(locked(&secret, "b", true)).unwrap(), "open", true);
    let mut damaged = locked(&secret, "open", false);
    damaged.truncate(damaged.len() - 3);
    for (bytes, want) in [
        (twice, "another locked file"),
        (damaged, "failed to decrypt identity file"),
        (locked("garbage", "open", true), "unknown identity type"),
        (wrapped(&recipient).into_bytes(), "for other keys"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\nxx".to_vec(), "failed to decrypt identity file"),
        (b"age-encryption.org/v9\n".to_vec(), "failed to decrypt identity file"),
    ] {
        let file = write(folder.path(), "locked", bytes);
        let age = Age::new(Environment::fixed(&[("SOPS_AGE_KEY_FILE", &file)]), Arc::new(Scripted::of(&["open"])));
        let message = refused(&age, &recipient);
        assert!(message.contains(want), "{want}: {message}");
    }
}

#[test]
fn no_identity_and_wrong_ones_say_where_was_looked() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display().to_string();
    let (_, recipient) = pair();
    let message = refused(&with(&[("HOME", &home)]), &recipient);
    assert!(
        message.starts_with("failed to load age identities. Did not find keys in locations 'SOPS_AGE_SSH_PRIVATE_KEY_FILE', "),
        "{message}"
    );
    assert!(message.ends_with(&format!("'SOPS_AGE_KEY_CMD', and '{home}/.config/sops/age/keys.txt'.")), "{message}");
    let (other, _) = pair();
    assert!(
        refused(&with(&[("SOPS_AGE_KEY", &other)]), &recipient)
            .starts_with("the one age identity that is here is not for this data key")
    );
    let both = format!("{other} {}", pair().0);
    assert!(refused(&with(&[("SOPS_AGE_KEY", &both)]), &recipient).starts_with("none of the 2 age identities"));
    for (name, value, want) in [
        ("SOPS_AGE_KEY", "AGE-SECRET-KEY-1CANARY", "line 1: malformed secret key"),
        ("SOPS_AGE_KEY", "AGE-SECRET-KEY-PQ-1CANARY", "post-quantum"),
        ("SOPS_AGE_KEY", "\n\nhunter2", "line 3: unknown identity type"),
        ("SOPS_AGE_KEY", "AGE-PLUGIN-X-1CANARY", "malformed identity of a plugin"),
        ("SOPS_AGE_KEY_FILE", "/nowhere/keys", "failed to open SOPS_AGE_KEY_FILE file: /nowhere/keys"),
        ("SOPS_AGE_KEY_CMD", "/nowhere/program x", "can't be started"),
        ("SOPS_AGE_KEY_CMD", "sh -c 'echo CANARY; echo why >&2; exit 4'", "exit status: 4: why"),
        ("SOPS_AGE_KEY_CMD", "a 'b", "not closed"),
        ("SOPS_AGE_KEY_CMD", "  ", "names no command"),
        ("SOPS_AGE_SSH_PRIVATE_KEY_FILE", "/nowhere/key", "/nowhere/key"),
        ("SOPS_AGE_SSH_PRIVATE_KEY_CMD", "echo CANARY", "malformed SSH identity"),
    ] {
        let message = refused(&with(&[(name, value), ("PATH", "/usr/bin:/bin")]), &recipient);
        assert!(message.contains(want) && !message.contains("CANARY") && !message.contains("hunter2"), "{want}: {message}");
    }
}

#[test]
fn commands_are_told_the_recipient_and_run_once_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (pair(), pair());
    let script = write(
        folder.path(),
        "s",
        format!(
            "echo \"$SOPS_AGE_RECIPIENT\" >> $DIR/ran\n[ $SOPS_AGE_RECIPIENT = {} ] && echo {} || echo {}\n",
            one.1, one.0, two.0
        ),
    );
    let (command, dir) = (format!("/bin/sh {script}"), folder.path().display().to_string());
    let age = with(&[("SOPS_AGE_KEY_CMD", &command), ("DIR", &dir)]);
    for recipient in [&one.1, &two.1, &one.1] {
        age.unwrap(recipient, &wrapped(recipient)).unwrap();
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("ran")).unwrap(), format!("{}\n{}\n", one.1, two.1));
}

#[test]
fn a_plugin_that_is_not_installed_is_named() {
    let identity = age::plugin::Identity::default_for_plugin("no-such").unwrap().to_string();
    let (_, recipient) = pair();
    let message = refused(&with(&[("SOPS_AGE_KEY", &identity)]), &recipient);
    assert!(message.contains("age-plugin-no-such is not on the PATH"), "{message}");
}
