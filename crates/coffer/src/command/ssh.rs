//! `ssh`: a login on a host with a certificate or a password of the SSH engine, through the real `ssh`.

use super::ssh_words::{Target, target};
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::answer;
use coffer_client::Request;
use coffer_types::{Json, Object};
use std::ffi::OsString;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

pub(crate) const COMMANDS: &[&Command] = &[&SSH];

static SSH: Command = Command {
    path: "ssh",
    synopsis: "Log in on a host by way of the SSH engine",
    args: "[USER@]HOST [SSH OPTIONS] [COMMAND]",
    about: "Asks the SSH engine for a certificate on your key (-mode=ca) or for a password that holds once (-mode=otp), and runs ssh with it. What stands behind the host is ssh's own; options of ssh before the host come after \"--\".\n\nWith a password, sshpass types it where it is there; otherwise it is shown.\n\nThe exit code is ssh's.",
    examples: &[
        ("With a certificate:", "ssh -mode=ca -role=my-role user@host.example.com"),
        (
            "And with hosts that an SSH engine signs:",
            "ssh -mode=ca -role=my-role -host-key-mount-point=host-signer user@host.example.com",
        ),
        ("With a password:", "ssh -mode=otp -role=my-role user@192.0.2.7 -p 2222"),
        ("Only the certificate:", "ssh -mode=ca -role=my-role -no-exec -field=signed_key user@host.example.com"),
    ],
    own: &[
        Flag::new("host-key-hostnames", Kind::Text, "The hosts that -host-key-mount-point vouches for, separated by commas.")
            .env("SSH_HOST_KEY_HOSTNAMES")
            .default("*"),
        Flag::new(
            "host-key-mount-point",
            Kind::Text,
            "The SSH engine that signs keys of hosts. No other hosts are believed then.",
        )
        .env("SSH_HOST_KEY_MOUNT_POINT"),
        Flag::new("mode", Kind::Text, "ca for a certificate, otp for a password.").values(&["ca", "otp"]),
        Flag::new("mount-point", Kind::Text, "Where the SSH engine is mounted.").default("ssh/"),
        Flag::new("no-exec", Kind::Switch, "Print what the engine gave, and do not connect."),
        Flag::new(
            "private-key-path",
            Kind::Text,
            "The private key. ~/.ssh/id_ed25519, id_ecdsa or id_rsa where it is not given.",
        ),
        Flag::new(
            "public-key-path",
            Kind::Text,
            "The public key to sign. ~/.ssh/id_ed25519.pub, id_ecdsa.pub or id_rsa.pub where it is not given.",
        ),
        Flag::new("role", Kind::Text, "The engine's role."),
        Flag::new("ssh-executable", Kind::Text, "The program to connect with.").env("SSH_EXECUTABLE").default("ssh"),
        Flag::new("strict-host-key-checking", Kind::Text, "The value of ssh's StrictHostKeyChecking.")
            .env("SSH_STRICT_HOST_KEY_CHECKING")
            .default("ask"),
        Flag::new("user-known-hosts-file", Kind::Text, "The value of ssh's UserKnownHostsFile.").env("SSH_USER_KNOWN_HOSTS_FILE"),
        Flag::new(
            "valid-principals",
            Kind::Text,
            "The users that the certificate names, separated by commas. The user without it.",
        ),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::Any,
    run: Run::Call(run),
};

fn run(call: &Call<'_>) -> Outcome {
    if call.args.is_empty() {
        return Err(Failure::usage("Not enough arguments, (expected 1-n, got 0)"));
    }
    let mode = call.text("mode").to_ascii_lowercase();
    if mode.is_empty() {
        return Err(Failure::usage("No -mode specified. Use -mode=ca for a certificate or -mode=otp for a password."));
    }
    if call.text("role").is_empty() {
        return Err(Failure::usage("No -role specified. Use -role to tell which ssh role to use for authentication."));
    }
    let target = target(&call.args).map_err(|why| Failure::usage(format!("Error parsing the ssh command: {why}")))?;
    match mode.as_str() {
        "ca" => with_certificate(call, &target),
        "otp" => with_password(call, &target),
        _ => Err(Failure::usage(format!("Unknown SSH mode: {mode}"))),
    }
}

/// What a login at a terminal comes with; the engine's role says which of it is given.
const EXTENSIONS: [&str; 5] =
    ["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"];

fn with_certificate(call: &Call<'_>, target: &Target) -> Outcome {
    let public = key_path(call, "public-key-path", ".pub")?;
    let text = std::fs::read_to_string(&public)
        .map_err(|error| Failure::usage(format!("failed to read public key {}: {error}", public.display())))?;
    let principals = match call.text("valid-principals") {
        "" => user(call, target),
        named => named.to_owned(),
    };
    let extensions: Object = EXTENSIONS.iter().map(|name| (*name, Json::string(""))).collect();
    let body = Object::new()
        .with("public_key", text.trim())
        .with("valid_principals", principals)
        .with("cert_type", "user")
        .with("extensions", Json::Object(extensions));
    let path = format!("{}/sign/{}", mount(call, "mount-point"), call.text("role"));
    let signed = call
        .ask(&Request::put(path).json(body))
        .because(|| format!("failed to sign public key {}", public.display()))?
        .unwrap_or_default();
    if call.on("no-exec") {
        return answer::print(call, &signed);
    }
    let certificate = signed.text("signed_key");
    if certificate.is_empty() {
        return Err(Failure::server("missing signed key in the server's answer"));
    }
    let private = key_path(call, "private-key-path", "")?;
    let certificate = Temporary::write("cert", certificate)?;
    let mut words: Vec<OsString> =
        vec!["-i".into(), private.into_os_string(), "-i".into(), certificate.path.clone().into_os_string()];
    let hosts = match mount(call, "host-key-mount-point") {
        mount if mount.is_empty() => None,
        mount => Some(known_hosts(call, &mount)?),
    };
    match &hosts {
        Some(hosts) => {
            let file = format!("UserKnownHostsFile={}", hosts.path.display());
            words.extend(["-o", "StrictHostKeyChecking=yes", "-o", &file].map(OsString::from));
        }
        None => words.extend(host_checks(call)),
    }
    words.extend(call.args.iter().map(OsString::from));
    execute(call, Path::new(call.text("ssh-executable")), &words, None)
}

/// Believes the hosts that an engine signs, and no others.
fn known_hosts(call: &Call<'_>, mount: &str) -> Outcome<Temporary> {
    let response = call.send(&Request::get(format!("{mount}/public_key"))).because(|| "failed to get host signing key".into())?;
    let key = String::from_utf8_lossy(&response.body);
    let key = key.trim();
    if key.is_empty() || key.lines().count() != 1 {
        return Err(Failure::server("the server's answer is no host signing key"));
    }
    Temporary::write("known_hosts", &format!("@cert-authority {} {key}\n", call.text("host-key-hostnames")))
}

fn with_password(call: &Call<'_>, target: &Target) -> Outcome {
    let address = (target.host.as_str(), 22).to_socket_addrs().ok().and_then(|mut all| all.next());
    let address = address.ok_or_else(|| Failure::usage(format!("Error resolving the ssh hostname: {}", target.host)))?;
    let body = Object::new().with("username", user(call, target)).with("ip", address.ip().to_string());
    let path = format!("{}/creds/{}", mount(call, "mount-point"), call.text("role"));
    let given = call
        .ask(&Request::put(path).json(body))
        .because(|| "failed to generate credential: failed to get credentials".into())?
        .unwrap_or_default();
    if call.on("no-exec") {
        return answer::print(call, &given);
    }
    let password = given.text("key");
    if given.text("key_type") != "otp" || password.is_empty() {
        return Err(Failure::server("the role gives no passwords: it is none of key_type=otp"));
    }
    let mut words: Vec<OsString> = Vec::new();
    if target.port.is_none()
        && let Some(port) = given.get("port").and_then(Json::as_i64)
    {
        words.extend(["-p".into(), OsString::from(port.to_string())]);
    }
    words.extend(host_checks(call));
    words.extend(call.args.iter().map(OsString::from));
    let program = call.text("ssh-executable");
    if let Some(sshpass) = find_program(call, "sshpass") {
        let words: Vec<OsString> = ["-e".into(), program.into()].into_iter().chain(words).collect();
        return execute(call, &sshpass, &words, Some(password));
    }
    call.note(&format!(
        "{} could not locate \"sshpass\". The OTP code for the session is displayed below. Enter this code in the SSH password prompt. If you \
         install sshpass, this step is done for you.",
        call.context.product()
    ));
    call.line(&format!("OTP for the session is: {password}"));
    execute(call, Path::new(program), &words, None)
}

fn host_checks(call: &Call<'_>) -> Vec<OsString> {
    let mut words = vec!["-o".into(), format!("StrictHostKeyChecking={}", call.text("strict-host-key-checking")).into()];
    if call.given("user-known-hosts-file") {
        words.extend(["-o".into(), format!("UserKnownHostsFile={}", call.text("user-known-hosts-file")).into()]);
    }
    words
}

/// Runs the program with these very words and no shell. The token stays here: ssh might pass its environment on.
fn execute(call: &Call<'_>, program: &Path, words: &[OsString], password: Option<&str>) -> Outcome {
    let mut command = std::process::Command::new(program);
    command.args(words);
    for prefix in ["VAULT", "COFFER", "BAO"] {
        command.env_remove(format!("{prefix}_TOKEN"));
    }
    if let Some(password) = password {
        command.env("SSHPASS", password);
    }
    let status =
        command.status().map_err(|error| Failure::usage(format!("failed to run ssh command: {}: {error}", program.display())))?;
    if status.success() {
        return Ok(0);
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
    call.context.error(&format!("failed to run ssh command: exit status {code}"));
    Ok(code)
}

fn mount(call: &Call<'_>, flag: &str) -> String {
    crate::cli::call::sanitize(call.text(flag))
}

/// The user on the host: as ssh would have it, where its own configuration says nothing.
fn user(call: &Call<'_>, target: &Target) -> String {
    let own = || call.context.env.raw("USER").or_else(|| call.context.env.raw("LOGNAME"));
    target.user.clone().or_else(own).unwrap_or_else(|| "root".to_owned())
}

fn key_path(call: &Call<'_>, flag: &str, suffix: &str) -> Outcome<PathBuf> {
    if call.given(flag) {
        let path = call.text(flag);
        let below_home = path.strip_prefix("~/").and_then(|rest| Some(call.context.env.home()?.join(rest)));
        return Ok(below_home.unwrap_or_else(|| PathBuf::from(path)));
    }
    let directory = call.context.env.home().map(|home| home.join(".ssh"));
    let found = directory.and_then(|directory| {
        ["id_ed25519", "id_ecdsa", "id_rsa"]
            .iter()
            .map(|name| directory.join(format!("{name}{suffix}")))
            .find(|path| path.is_file())
    });
    let what = if suffix.is_empty() { "private" } else { "public" };
    found.ok_or_else(|| Failure::usage(format!("Could not find an SSH {what} key. Specify with -{flag}.")))
}

fn find_program(call: &Call<'_>, name: &str) -> Option<PathBuf> {
    let path = call.context.env.raw("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|p| p.is_file())
}

/// A file of our own that goes with this value.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn write(what: &str, text: &str) -> Outcome<Self> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let word = coffer_crypto::random::base62(&coffer_crypto::random::SystemRandom, 16);
        let path = std::env::temp_dir().join(format!("coffer-ssh-{what}-{}", &**word));
        let failed = |error: std::io::Error| Failure::usage(format!("failed to write {}: {error}", path.display()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let made = Self { path: path.clone() };
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(made)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A certificate is no secret, and there is nobody to tell.
        std::fs::remove_file(&self.path).unwrap_or_default();
    }
}
