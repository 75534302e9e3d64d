//! Names, flags, arguments: what is refused, with which code, and what helps.

use crate::fake::{Fake, run};

#[test]
fn exit_codes_of_wrong_use() {
    let fake = Fake::answering(&[]);
    for (line, code, said) in [
        ("", 127, "Usage: coffer <command>"),
        ("nope", 127, "no command \"nope\""),
        ("statsu", 127, "Did you mean status?"),
        ("kv", 1, "Subcommands:"),
        ("kv gte", 1, "Did you mean get?"),
        ("kv get", 1, "Not enough arguments (expected 1, got 0)"),
        ("token create extra args", 1, "Too many arguments (expected 0, got 2)"),
        ("kv get -badflag secret/x", 1, "flag provided but not defined: -badflag"),
        ("kv get -feild=x secret/x", 1, "Did you mean -field?"),
        ("kv get -format", 1, "flag needs an argument: -format"),
        ("kv get -format=xml secret/x", 1, "Invalid output format: xml"),
        ("kv get -format=raw secret/x", 1, "does not support the -format=raw"),
        ("kv get -version=abc secret/x", 1, "invalid value \"abc\" for flag -version"),
        ("-address=x kv get", 1, "Invalid flags before the subcommand"),
        ("token revoke", 1, "expected 1 or -self"),
        ("token revoke -self s.x", 1, "Too many arguments with -self"),
        ("lease revoke -force x", 1, "-force requires also specifying -prefix"),
        ("kv undelete secret/x", 1, "No versions provided"),
        ("kv rollback secret/x", 1, "Version flag must be specified"),
        ("write secret/x", 1, "Must supply data or use -force"),
        ("write secret/x key", 1, "format must be key=value"),
        ("write secret/x a=@/none", 1, "no such file or directory"),
        ("operator rekey -target=x -status", 1, "Unknown target: x"),
        ("login -method=nope", 1, "Unknown auth method: nope"),
        ("completion csh", 1, "bash, zsh and fish"),
    ] {
        let ran = fake.run(line);
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        assert!(ran.err.contains(said), "{line}: {}", ran.err);
        assert_eq!(ran.out, "", "{line}");
    }
    assert_eq!(fake.lines(), Vec::<String>::new(), "nothing of this is the server's affair");
}

#[test]
fn a_value_on_the_command_line_is_not_repeated_in_errors() {
    let ran = Fake::answering(&[]).run("write secret/x =canary-7f3a");
    assert_eq!(ran.code, 1);
    assert!(!ran.err.contains("canary-7f3a"), "{}", ran.err);
}

#[test]
fn help_goes_to_standard_output_and_is_no_error() {
    let fake = Fake::answering(&[]);
    for line in ["-h", "--help", "kv -h", "kv put -h", "kv metadata get -help", "server -h", "help kv get", "monitor -h"] {
        let ran = fake.run(line);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
        assert!(ran.out.starts_with("Usage: coffer "), "{line}: {}", ran.out);
    }
}

#[test]
fn the_version_s_second_word_is_the_level_of_vaults_api() {
    for line in ["version", "-version", "-v", "--version"] {
        let out = Fake::answering(&[]).run(line).out;
        let word = out.split_whitespace().nth(1).unwrap().strip_prefix('v').unwrap().to_owned();
        let parts: Vec<u32> = word.split('.').map(|p| p.parse().unwrap()).collect();
        assert!(parts.len() == 3 && (parts[0], parts[1]) >= (1, 19), "{out}");
        assert!(out.contains(env!("CARGO_PKG_VERSION")), "{out}");
    }
}

#[test]
fn a_link_called_vault_says_vault_and_one_called_sops_refuses() {
    let fake = Fake::answering(&[("GET /v1/sys/init", 200, r#"{"initialized":true}"#)]);
    let folder = fake.home.path();
    for name in ["vault", "sops"] {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_coffer"), folder.join(name)).unwrap();
    }
    let env = [("VAULT_ADDR", fake.address.as_str()), ("HOME", folder.to_str().unwrap())];
    let ran = run(folder.join("vault").to_str().unwrap(), "operator init -status", "", &env, folder);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Vault is initialized\n"));
    let ran = run(folder.join("vault").to_str().unwrap(), "kv put -h", "", &env, folder);
    assert!(ran.out.starts_with("Usage: vault kv put"));
    let ran = run(folder.join("sops").to_str().unwrap(), "-d x.yaml", "", &env, folder);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("does not read SOPS files"), "{}", ran.err);
}

#[test]
fn flags_behind_the_first_argument_are_arguments() {
    let fake = Fake::answering(&[]);
    let ran = fake.run("kv get secret/app -format=json");
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("must be provided before positional arguments") && ran.err.contains("(expected 1, got 2)"),
        "{}",
        ran.err
    );
}

#[test]
fn the_shell_is_told_what_may_follow() {
    let fake = Fake::answering(&[]);
    let ran = fake.run_with("", "", &[("COMP_LINE", "coffer kv me")]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "metadata\n"));
    std::fs::write(fake.home.path().join(".bashrc"), "# mine\n").unwrap();
    for _ in 0..2 {
        assert_eq!(fake.run("-autocomplete-install").code, 0);
    }
    let text = std::fs::read_to_string(fake.home.path().join(".bashrc")).unwrap();
    assert_eq!((text.matches("complete ").count(), text.starts_with("# mine\n")), (1, true), "{text}");
    assert_eq!(fake.run("-autocomplete-uninstall").code, 0);
    assert_eq!(std::fs::read_to_string(fake.home.path().join(".bashrc")).unwrap(), "# mine\n");
}

#[test]
fn a_server_without_its_configuration_does_not_start() {
    let fake = Fake::answering(&[]);
    let ran = fake.run("server -config=/none/c.hcl");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.out, "error loading configuration from /none/c.hcl: stat /none/c.hcl: no such file or directory\n");
    for line in ["agent", "proxy"] {
        let ran = fake.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (1, "Must specify exactly at least one config path using -config\n"));
    }
}

#[test]
fn an_argument_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let arg = std::ffi::OsStr::from_bytes(b"password=\xff\xfe");
    let done =
        std::process::Command::new(env!("CARGO_BIN_EXE_coffer")).args(["kv", "put", "secret/x"]).arg(arg).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8(done.stderr).unwrap().contains("Argument 4 is not UTF-8"));
}

#[test]
fn output_that_can_not_be_written_is_an_error_and_a_reader_that_left_is_none() {
    let run = |out: std::fs::File| {
        std::process::Command::new(env!("CARGO_BIN_EXE_coffer")).arg("version").stdout(out).status().unwrap().code()
    };
    assert_eq!(run(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap()), Some(1));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_coffer")).arg("version").stdout(writer).status().unwrap();
    assert_eq!(done.code(), Some(0));
}
