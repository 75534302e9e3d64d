//! `ssh-helper`: on a host, whether the password that somebody types is one that the SSH engine gave. Called by `pam_exec`; takes the
//! configuration of `vault-ssh-helper`.

use crate::cli::{Arity, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use coffer_client::{Address, Blocking, Config, Environment, Request};
use coffer_types::cidr::Cidr;
use coffer_types::{Json, Object};
use std::net::{IpAddr, UdpSocket};
use zeroize::Zeroizing;

pub(crate) const COMMANDS: &[&Command] = &[&HELPER];

static HELPER: Command = Command {
    path: "ssh-helper",
    synopsis: "Check a password of the SSH engine on a host, for PAM",
    args: "",
    about: "Reads a password from standard input, as pam_exec gives it with expose_authtok, and the user from PAM_USER, and asks the SSH engine whether it gave that password for this host and user. The exit code is 0 if so, 1 if not; nothing else lets in.\n\nThe configuration is that of vault-ssh-helper: vault_addr, ssh_mount_point, namespace, ca_cert, ca_path, tls_skip_verify, allowed_cidr_list, allowed_roles.",
    examples: &[
        ("In /etc/pam.d/sshd:", "ssh-helper -config=/etc/coffer-ssh-helper.hcl"),
        ("Whether the configuration reaches the engine:", "ssh-helper -verify-only -config=/etc/coffer-ssh-helper.hcl"),
    ],
    own: &[
        Flag::new("config", Kind::Text, "The configuration file.").alias(&["config-file"]),
        Flag::new("dev", Kind::Switch, "Let vault_addr be without TLS."),
        Flag::new("log-level", Kind::Text, "Taken as vault-ssh-helper takes it; what is said does not depend on it."),
        Flag::new("verify-only", Kind::Switch, "Ask the engine for an echo and check nobody."),
    ],
    output: Output::None,
    http: false,
    arity: Arity::Exactly(0),
    run: Run::Call(run),
};

/// What the engine answers an echo with.
const ECHO: (&str, &str) = ("verify-echo-request", "verify-echo-response");
/// More is no password.
const LONGEST: usize = 4096;

struct Helper {
    client: Blocking,
    mount: String,
    networks: Vec<Cidr>,
    /// `*` for any.
    roles: Vec<String>,
}

fn run(call: &Call<'_>) -> Outcome {
    if call.text("config").is_empty() {
        return Err(Failure::usage("No configuration: give its file with -config."));
    }
    let text = std::fs::read_to_string(call.text("config"))
        .map_err(|error| Failure::usage(format!("failed to read {}: {error}", call.text("config"))))?;
    let helper = configure(&text, call.on("dev")).map_err(Failure::usage)?;
    if call.on("verify-only") {
        let answer = helper.ask(ECHO.0)?;
        if answer.get("message").and_then(Json::as_str) != Some(ECHO.1) {
            return Err(denied("the server's answer is no echo"));
        }
        call.note("The SSH engine answers: the configuration is right.");
        return Ok(0);
    }
    let user = call.context.env.raw("PAM_USER").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| denied("PAM_USER says no user: pam_exec sets it"))?;
    let password = password()?;
    // The engine would answer it with an echo, which lets nobody in, but neither is it a password.
    if password.is_empty() || *password == ECHO.0 {
        return Err(denied("no password came on standard input: pam_exec needs expose_authtok"));
    }
    let answer = helper.ask(&password)?;
    let text = |name: &str| answer.get(name).and_then(Json::as_str).unwrap_or_default();
    helper.judge(text("ip"), text("role_name"), text("username"), &user, is_own).map_err(denied)?;
    call.note(&format!("{user} is let in with a password of role {}.", text("role_name")));
    Ok(0)
}

/// As every refusal of a helper: exit 1.
fn denied(why: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("not let in: {why}"))
}

/// Up to the NUL that `pam_exec` puts behind it, or the end of the line.
fn password() -> Outcome<Zeroizing<String>> {
    use std::io::Read;
    let mut bytes = Zeroizing::new(vec![0; LONGEST + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match std::io::stdin().read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) => return Err(denied(format!("standard input: {error}"))),
        }
    }
    if length > LONGEST {
        return Err(denied("what came on standard input is too long for a password"));
    }
    let end = bytes[..length].iter().position(|byte| matches!(byte, 0 | b'\n' | b'\r')).unwrap_or(length);
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| denied("the password is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn configure(text: &str, dev: bool) -> Result<Helper, String> {
    let document = coffer_hcl::parse(text).map_err(|error| format!("the configuration does not read: {error}"))?;
    let mut known = std::collections::BTreeMap::new();
    for item in &document.body.items {
        let name = item.name();
        if !KNOWN.contains(&name) {
            return Err(format!("the configuration has an unknown setting {name:?}"));
        }
        let value = item.value.scalar().map(str::to_owned);
        known.insert(name.to_owned(), value.ok_or_else(|| format!("the setting {name} must be a text"))?);
    }
    let given = |name: &str| known.get(name).filter(|value| !value.is_empty());
    let address = given("vault_addr").ok_or("the configuration must say vault_addr")?;
    if !address.starts_with("https://") && !dev {
        return Err("vault_addr must begin with https:// (but for -dev)".to_owned());
    }
    // PAM's environment decides nothing here.
    let mut config = Config::from_environment(&Environment::fixed(&[])).map_err(|error| error.to_string())?;
    config.address = Address::parse(address).map_err(|error| error.to_string())?;
    config.tls.ca_file = given("ca_cert").cloned();
    config.tls.ca_dir = given("ca_path").cloned();
    config.tls.skip_verify = switch("tls_skip_verify", given("tls_skip_verify"))?;
    config.namespace = given("namespace").cloned();
    let mut networks = Vec::new();
    for block in list(given("allowed_cidr_list")) {
        networks.push(Cidr::parse(&block).ok_or_else(|| format!("allowed_cidr_list has no block {block:?}"))?);
    }
    Ok(Helper {
        client: Blocking::new(config).map_err(|error| error.to_string())?,
        mount: given("ssh_mount_point").map_or("ssh", String::as_str).trim_matches('/').to_owned(),
        networks,
        roles: list(given("allowed_roles")),
    })
}

const KNOWN: &[&str] = &[
    "vault_addr",
    "ssh_mount_point",
    "namespace",
    "ca_cert",
    "ca_path",
    "tls_skip_verify",
    "allowed_cidr_list",
    "allowed_roles",
];

fn switch(name: &str, text: Option<&String>) -> Result<bool, String> {
    match text.map(String::as_str) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(format!("the setting {name} must be true or false")),
    }
}

fn list(text: Option<&String>) -> Vec<String> {
    let items = text.map(|text| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect());
    items.unwrap_or_default()
}

impl Helper {
    fn ask(&self, password: &str) -> Outcome<Json> {
        let request = Request::put(format!("{}/verify", self.mount)).json(Object::new().with("otp", password)).without_token();
        let answer = self.client.send(&request).and_then(|response| response.answer());
        let answer = answer.map_err(denied)?;
        Ok(answer.and_then(|answer| answer.data).map(Json::Object).unwrap_or_default())
    }

    /// Whether a password that the engine has known lets this user in here.
    fn judge(
        &self,
        ip: &str,
        role: &str,
        given_to: &str,
        user: &str,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Result<(), &'static str> {
        let ip: IpAddr = ip.parse().map_err(|_| "the server's answer names no address")?;
        let is_here = if self.networks.is_empty() { is_own(ip) } else { self.networks.iter().any(|block| block.contains(ip)) };
        if !is_here {
            return Err("the password was given for another host");
        }
        if !self.roles.iter().any(|allowed| allowed == "*" || allowed == role && !role.is_empty()) {
            return Err("the password was given by a role that allowed_roles does not name");
        }
        if given_to.is_empty() || given_to != user {
            return Err("the password was given for another user");
        }
        Ok(())
    }
}

/// Whether an address is this host's: a socket can be bound to no other.
fn is_own(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(more: &str) -> Result<Helper, String> {
        configure(&format!("vault_addr = \"https://127.0.0.1:1\"\n{more}"), false)
    }

    #[test]
    fn configurations_that_are_wrong_are_refused() {
        for text in [
            "",
            "vault_addr = \"\"",
            "vault_addr = \"http://127.0.0.1:1\"",
            "vault_addr = [\"https://127.0.0.1:1\"]",
            "vault_addr = \"https://127.0.0.1:1\"\nvault_adr = \"x\"",
            "vault_addr = \"https://127.0.0.1:1\"\ntls_skip_verify = \"maybe\"",
            "vault_addr = \"https://127.0.0.1:1\"\nallowed_cidr_list = \"10.0.0.0/40\"",
            "vault_addr = ",
        ] {
            assert!(configure(text, false).is_err(), "{text}");
        }
        assert!(configure("vault_addr = \"http://127.0.0.1:1\"", true).is_ok());
        let helper = helper("ssh_mount_point = \"/hosts/\"\ntls_skip_verify = false\nallowed_roles = \"a, b\"")
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((helper.mount.as_str(), helper.roles), ("hosts", vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn who_is_let_in() {
        let judge = |more: &str, ip: &str, role: &str, given_to: &str| {
            let helper = helper(more).unwrap_or_else(|e| panic!("{e}"));
            helper.judge(ip, role, given_to, "u", |ip| ip == IpAddr::from([10, 0, 0, 1]))
        };
        let any = "allowed_roles = \"*\"";
        assert!(judge(any, "10.0.0.1", "r", "u").is_ok());
        assert!(judge("allowed_roles = \"q,r\"", "10.0.0.1", "r", "u").is_ok());
        assert!(judge("allowed_roles = \"*\"\nallowed_cidr_list = \"192.0.2.0/24\"", "192.0.2.9", "r", "u").is_ok());
        for (more, ip, role, given_to) in [
            (any, "10.0.0.2", "r", "u"),
            (any, "", "r", "u"),
            (any, "x", "r", "u"),
            (any, "10.0.0.1", "r", "v"),
            (any, "10.0.0.1", "r", ""),
            ("allowed_roles = \"q\"", "10.0.0.1", "r", "u"),
            ("allowed_roles = \"\"", "10.0.0.1", "", "u"),
            ("", "10.0.0.1", "r", "u"),
            ("allowed_roles = \"*\"\nallowed_cidr_list = \"192.0.2.0/24\"", "10.0.0.1", "r", "u"),
        ] {
            assert!(judge(more, ip, role, given_to).is_err(), "{more} {ip} {role} {given_to}");
        }
    }

    #[test]
    fn addresses_of_this_host_are_its_own() {
        assert!(is_own(IpAddr::from([127, 0, 0, 1])));
        // Documentation's addresses (RFC 5737) are nobody's.
        for other in [[192, 0, 2, 1], [0, 0, 0, 0], [224, 0, 0, 1]] {
            assert!(!is_own(IpAddr::from(other)), "{other:?}");
        }
    }
}
