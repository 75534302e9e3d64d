//! `pki health-check`: a mount's issuers, lists, roles and settings beside what is good practice.

use super::pki::{first, local, now};
use crate::cli::{Arity, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, table};
use coffer_client::{Answer, Request};
use coffer_crypto::x509::{Certificate, RevocationList};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object, Span, Timestamp};

pub(crate) static HEALTH: Command = Command {
    path: "pki health-check",
    synopsis: "Compare a PKI mount with good practice",
    args: "MOUNT",
    about: "Reads a mount's issuers, revocation lists, roles and settings, and says what stands against good practice. Changes nothing. The exit code is the worst that was found: 0 for nothing, 2 for information, 3 for a warning, 4 for what is critical, 5 where the server knows too little to be asked, 6 where the token may not read something; 1 is a wrong command line.",
    examples: &[
        ("With all checks as they are:", "pki health-check pki-root"),
        ("With other limits:", "pki health-check -health-config=limits.json pki-root"),
        ("What limits there are:", "pki health-check -list pki-root"),
    ],
    own: &[
        Flag::new("default-disabled", Kind::Switch, "Run only the checks that the configuration enables."),
        Flag::new("health-config", Kind::Text, "A JSON file with what checks run (enabled) and with which limits."),
        Flag::new("list", Kind::Switch, "Run nothing; print the checks with their settings."),
        Flag::new("return-indicator", Kind::Text, "From what on the exit code is not 0.").default("default").values(&[
            "default",
            "informational",
            "warning",
            "critical",
            "permission",
        ]),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Any,
    run: Run::Call(health),
};

/// How bad it is; the number is the exit code and what the JSON says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    NotApplicable = 0,
    Ok = 1,
    Informational = 2,
    Warning = 3,
    Critical = 4,
    InvalidVersion = 5,
    InsufficientPermissions = 6,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::Ok => "ok",
            Self::Informational => "informational",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::InvalidVersion => "invalid_version",
            Self::InsufficientPermissions => "insufficient_permissions",
        }
    }

    /// Neither good nor without meaning: `at_least` is how bad it must be to count.
    fn exit(self, at_least: Self) -> u8 {
        if self >= Self::Informational && self >= at_least { self as u8 } else { 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    status: Status,
    endpoint: String,
    message: String,
}

/// A check: its name, its settings with their defaults, and what it does.
struct Check {
    name: &'static str,
    settings: &'static str,
    run: fn(&mut Mount<'_, '_>, &Object) -> Result<Vec<Finding>, Unread>,
}

/// In the order of the tables.
const CHECKS: &[Check] = &[
    Check {
        name: "ca_validity_period",
        settings: r#"{"intermediate_expiry_critical":"30d","intermediate_expiry_informational":"180d","intermediate_expiry_warning":"60d","root_expiry_critical":"180d","root_expiry_informational":"730d","root_expiry_warning":"365d"}"#,
        run: ca_validity,
    },
    Check {
        name: "crl_validity_period",
        settings: r#"{"crl_expiry_pct_critical":"95","delta_crl_expiry_pct_critical":"95"}"#,
        run: crl_validity,
    },
    Check { name: "hardware_backed_root", settings: r#"{"enabled":false}"#, run: hardware },
    Check { name: "root_issued_leaves", settings: r#"{"certs_to_fetch":100}"#, run: leaves_of_roots },
    Check { name: "role_allows_localhost", settings: "{}", run: localhost },
    Check { name: "role_allows_glob_wildcards", settings: "{}", run: globs },
    Check { name: "role_no_store_false", settings: r#"{"allowed_roles":[]}"#, run: stored },
    Check { name: "audit_visibility", settings: r#"{"ignored_parameters":[]}"#, run: audit },
    Check { name: "allow_if_modified_since", settings: "{}", run: modified_since },
    Check {
        name: "enable_auto_tidy",
        settings: r#"{"interval_duration_critical":"7d","interval_duration_warning":"2d","pause_duration_critical":"1s","pause_duration_warning":"200ms"}"#,
        run: auto_tidy,
    },
    Check { name: "tidy_last_run", settings: r#"{"last_run_critical":"7d","last_run_warning":"2d"}"#, run: tidied },
    Check { name: "too_many_certs", settings: r#"{"count_critical":250000,"count_warning":50000}"#, run: too_many },
    Check { name: "enable_acme_issuance", settings: "{}", run: acme },
    Check { name: "allow_acme_headers", settings: "{}", run: acme_headers },
];

/// Parameters of requests and replies that are no secrets, and tell an auditor what was asked for.
const REQUEST_IN_CLEAR: &[&str] = &[
    "csr",
    "certificate",
    "issuer_ref",
    "common_name",
    "alt_names",
    "other_sans",
    "ip_sans",
    "uri_sans",
    "ttl",
    "not_after",
    "serial_number",
    "key_type",
    "private_key_format",
    "managed_key_name",
    "managed_key_id",
    "ou",
    "organization",
    "country",
    "locality",
    "province",
    "street_address",
    "postal_code",
    "permitted_dns_domains",
    "policy_identifiers",
    "ext_key_usage_oids",
];
const RESPONSE_IN_CLEAR: &[&str] = &["certificate", "issuing_ca", "serial_number", "error", "ca_chain"];
const ACME_HEADERS: &[&str] = &["Replay-Nonce", "Link", "Location"];

/// Something could not be read: the check says so in place of its findings.
#[derive(Debug)]
enum Unread {
    /// Refused, or unknown to the server.
    Finding(Finding),
    /// Nothing can be said at all.
    Failure(Failure),
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// An issuer of the mount.
struct Issuer {
    id: String,
    certificate: Certificate,
}

/// What has been read of the mount, each thing once.
struct Mount<'m, 'c> {
    call: &'m Call<'c>,
    path: String,
    now: Timestamp,
    issuers: Option<Vec<Issuer>>,
    roles: Option<Vec<(String, Answer)>>,
}

fn health(call: &Call<'_>) -> Outcome {
    let [_] = call.args.as_slice() else {
        return Err(Failure::usage(match call.args.len() {
            0 => "Not enough arguments (expected mount path, got nothing)".to_owned(),
            n => format!("Too many arguments (expected only mount path, got {n} arguments)"),
        }));
    };
    let at_least = match call.text("return-indicator") {
        "permission" => Status::InvalidVersion,
        "critical" => Status::Critical,
        "warning" => Status::Warning,
        _ => Status::Informational,
    };
    let settings = settings(call)?;
    if call.on("list") {
        let all: Object = settings.into_iter().map(|(check, own)| (check.name, Json::Object(own))).collect();
        let mut all = Json::Object(all);
        if let Json::Object(fields) = &mut all {
            fields.sort();
        }
        if call.format()? == output::Format::Table {
            call.line("Default health check config:");
            call.line(&output::json::pretty(&all));
            return Ok(0);
        }
        return output::value(call, &all, |_| Vec::new());
    }
    let path = call.path(0);
    call.ask(&Request::get(format!("{path}/cert/ca"))).map_err(|failure| refused(&path, failure))?;
    let mut mount = Mount { call, path, now: now(), issuers: None, roles: None };
    let mut found = Vec::new();
    for (check, own) in &settings {
        if own.get("enabled").and_then(Json::as_bool).unwrap_or(!call.on("default-disabled")) {
            let findings = match (check.run)(&mut mount, own) {
                Ok(findings) => findings,
                Err(Unread::Finding(finding)) => vec![finding],
                Err(Unread::Failure(failure)) => {
                    let text = format!("Failed to run health check: {}: {}", check.name, failure.text);
                    return Err(Failure { text, ..local(failure) });
                }
            };
            found.push((check.name, findings));
        }
    }
    let worst = found.iter().flat_map(|(_, findings)| findings).map(|f| f.status).max().unwrap_or(Status::Ok);
    show(call, &found)?;
    Ok(worst.exit(at_least))
}

/// The mount is none of PKI, or can't be asked: a usage error, as with the other commands here.
fn refused(path: &str, failure: Failure) -> Failure {
    let text = if failure.status == 404 {
        format!("refusing to run PKI health-check on non-PKI mount: path {path}/cert/ca did not exist")
    } else {
        format!("Failed to read {path}/cert/ca: {}", failure.text)
    };
    local(Failure { text, ..failure })
}

/// Each check with its defaults and what the configuration says over them.
fn settings(call: &Call<'_>) -> Outcome<Vec<(&'static Check, Object)>> {
    let file = call.text("health-config");
    let given = if file.is_empty() {
        Object::new()
    } else {
        let wrong = |why: &str| Failure::usage(format!("the health configuration {file} {why}"));
        let text = std::fs::read(file).map_err(|error| wrong(&format!("can't be read: {error}")))?;
        match parse(&text, &Limits::NONE) {
            Ok(Json::Object(given)) => given,
            _ => return Err(wrong("is no JSON object with an object for each check")),
        }
    };
    if let Some((unknown, _)) = given.iter().find(|(name, _)| CHECKS.iter().all(|check| check.name != *name)) {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        return Err(Failure::usage(format!("no health check is called {unknown:?}; there are {}", names.join(", "))));
    }
    CHECKS
        .iter()
        .map(|check| {
            let Ok(Json::Object(mut own)) = parse(check.settings.as_bytes(), &Limits::NONE) else {
                return Err(Failure::usage(format!("the defaults of {} do not read", check.name)));
            };
            match given.get(check.name) {
                Some(Json::Object(over)) => over.iter().for_each(|(name, value)| {
                    own.insert(name, value.clone());
                }),
                Some(_) => return Err(Failure::usage(format!("{} in the health configuration must be an object", check.name))),
                None => {}
            }
            Ok((check, own))
        })
        .collect()
}

fn show(call: &Call<'_>, found: &[(&str, Vec<Finding>)]) -> Outcome<()> {
    if call.format()? == output::Format::Table {
        for (name, findings) in found {
            call.print(&format!("{name}\n{}\n", "-".repeat(name.len())));
            let rows = findings.iter().map(|f| vec![f.status.name().to_owned(), f.endpoint.clone(), f.message.clone()]);
            call.print(&table::columns(&table::headed(["status", "endpoint", "message"], rows)));
            call.print("\n\n");
        }
        return Ok(());
    }
    let row = |f: &Finding| {
        Json::Object(
            Object::new()
                .with("status_code", i64::from(f.status as u8))
                .with("status", f.status.name())
                .with("endpoint", f.endpoint.as_str())
                .with("message", f.message.as_str()),
        )
    };
    let mut all: Object = found.iter().map(|(name, f)| (*name, Json::Array(f.iter().map(row).collect()))).collect();
    all.sort();
    output::value(call, &Json::Object(all), |_| Vec::new()).map(drop)
}

// ---- what is read ---------------------------------------------------------------------------------------------------------

impl Mount<'_, '_> {
    fn finding(&self, status: Status, endpoint: &str, message: impl Into<String>) -> Finding {
        Finding { status, endpoint: format!("/{}/{endpoint}", self.path), message: message.into() }
    }

    fn tune(&self, status: Status, message: impl Into<String>) -> Finding {
        Finding { status, endpoint: format!("/sys/mounts/{}/tune", self.path), message: message.into() }
    }

    /// `None` where there is nothing.
    fn read(&self, request: &Request) -> Result<Option<Answer>, Unread> {
        match self.call.ask(request) {
            Ok(answer) => Ok(answer),
            Err(failure) => {
                let endpoint = format!("/{}", request.path());
                match failure.status {
                    404 => Ok(None),
                    403 => Err(Unread::Finding(Finding {
                        status: Status::InsufficientPermissions,
                        endpoint,
                        message: "The token may not read this, so the check could not be made. Use one whose policy allows it."
                            .into(),
                    })),
                    405 | 501 => Err(Unread::Finding(Finding {
                        status: Status::InvalidVersion,
                        endpoint,
                        message: "The server does not know this, so the check could not be made.".into(),
                    })),
                    _ => Err(failure.into()),
                }
            }
        }
    }

    fn get(&self, path: &str) -> Result<Option<Answer>, Unread> {
        self.read(&Request::get(format!("{}/{path}", self.path)))
    }

    fn names(&self, path: &str) -> Result<Vec<String>, Unread> {
        let found = self.read(&Request::list(format!("{}/{path}", self.path)))?.unwrap_or_default();
        Ok(found.keys().unwrap_or_default().into_iter().map(str::to_owned).collect())
    }

    fn issuers(&mut self) -> Result<&[Issuer], Unread> {
        if self.issuers.is_none() {
            let mut all = Vec::new();
            for id in self.names("issuers")? {
                let about = self.get(&format!("issuer/{id}"))?.unwrap_or_default();
                if let Some(certificate) = first(about.text("certificate")) {
                    all.push(Issuer { id, certificate });
                }
            }
            if all.is_empty() {
                return Err(Failure::usage("this mount lacks any configured issuers, limiting health check usefulness").into());
            }
            self.issuers = Some(all);
        }
        Ok(self.issuers.as_deref().unwrap_or_default())
    }

    fn roles(&mut self) -> Result<&[(String, Answer)], Unread> {
        if self.roles.is_none() {
            let mut all = Vec::new();
            for name in self.names("roles")? {
                if let Some(role) = self.get(&format!("roles/{name}"))? {
                    all.push((name, role));
                }
            }
            self.roles = Some(all);
        }
        Ok(self.roles.as_deref().unwrap_or_default())
    }

    fn only_roots(&mut self) -> Result<bool, Unread> {
        Ok(self.issuers()?.iter().all(|issuer| issuer.certificate.is_self_signed()))
    }

    fn tuned(&self) -> Result<Answer, Unread> {
        Ok(self.read(&Request::get(format!("sys/mounts/{}/tune", self.path)))?.unwrap_or_default())
    }

    /// One finding a role that `wrong` speaks of, or that all are well.
    fn of_roles(
        &mut self,
        well: &str,
        wrong: impl Fn(&str, &Answer) -> Option<(Status, String)>,
    ) -> Result<Vec<Finding>, Unread> {
        let bad: Vec<_> =
            self.roles()?.iter().filter_map(|(name, role)| Some((format!("roles/{name}"), wrong(name, role)?))).collect();
        if bad.is_empty() {
            return Ok(vec![self.finding(Status::Ok, "roles", well)]);
        }
        Ok(bad.into_iter().map(|(endpoint, (status, message))| self.finding(status, &endpoint, message)).collect())
    }
}

fn is(answer: &Answer, field: &str) -> bool {
    answer.get(field).and_then(Json::as_bool).unwrap_or_default()
}

fn texts(answer: &Answer, field: &str) -> Vec<String> {
    let list = answer.get(field).and_then(Json::as_array).unwrap_or_default();
    list.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn has(list: &[String], name: &str) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// A setting that is a time: `30d`, or seconds.
fn span(own: &Object, name: &str) -> Result<Span, Unread> {
    let text = own.get(name).map(|value| value.as_str().map_or_else(|| output::json::pretty(value), str::to_owned));
    let text = text.unwrap_or_default();
    Span::parse(&text)
        .map_err(|_| Failure::usage(format!("{name} in the health configuration must be a time like 30d, not {text:?}")).into())
}

/// A setting that is a number, as one or as its text.
fn number(own: &Object, name: &str) -> Result<i64, Unread> {
    let value = own.get(name);
    let read = value.and_then(Json::as_i64).or_else(|| value.and_then(Json::as_str)?.parse().ok());
    read.ok_or_else(|| Failure::usage(format!("{name} in the health configuration must be a number")).into())
}

fn list(own: &Object, name: &str) -> Vec<String> {
    let list = own.get(name).and_then(Json::as_array).unwrap_or_default();
    list.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn day(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}

// ---- the checks -----------------------------------------------------------------------------------------------------------

fn ca_validity(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    let now = mount.now;
    let mut found = Vec::new();
    for issuer in mount.issuers()? {
        let kind = if issuer.certificate.is_self_signed() { "root" } else { "intermediate" };
        let ends = issuer.certificate.not_after();
        let mut bad = None;
        for (name, status) in
            [("informational", Status::Informational), ("warning", Status::Warning), ("critical", Status::Critical)]
        {
            let window = span(own, &format!("{kind}_expiry_{name}"))?;
            if ends <= now.plus(window.duration()) {
                bad = Some((status, window));
            }
        }
        let endpoint = format!("issuer/{}", issuer.id);
        found.push(match bad {
            Some(_) if ends <= now => (Status::Critical, endpoint, format!("The issuer expired on {}.", day(ends))),
            Some((status, window)) => {
                let until = day(now.plus(window.duration()));
                let text = format!(
                    "The issuer is valid until {}, which is within {} days (by {until}). Begin to rotate it to a new key before it is too late.",
                    day(ends),
                    window.duration().as_secs() / 86_400
                );
                (status, endpoint, text)
            }
            None => (Status::Ok, endpoint, format!("The issuer is valid until {}.", day(ends))),
        });
    }
    Ok(found.into_iter().map(|(status, endpoint, text)| mount.finding(status, &endpoint, text)).collect())
}

fn crl_validity(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    let limits = [("crl", number(own, "crl_expiry_pct_critical")?), ("crl/delta", number(own, "delta_crl_expiry_pct_critical")?)];
    let disabled = mount.get("config/crl")?.is_some_and(|config| is(&config, "disable"));
    let ids: Vec<String> = mount.issuers()?.iter().map(|issuer| issuer.id.clone()).collect();
    let mut found = Vec::new();
    for id in ids {
        for (kind, limit) in limits {
            let endpoint = format!("issuer/{id}/{kind}");
            let what = if kind == "crl" { "CRL" } else { "Delta CRL" };
            let read = mount.get(&endpoint)?;
            let Some(times) = read.and_then(|list| RevocationList::times(list.text("crl").as_bytes()).ok()) else {
                // There need be no delta list, and an issuer may be without the right to sign any.
                if kind == "crl" {
                    let text = "The issuer has no revocation list that reads.";
                    found.push(mount.finding(Status::Warning, &endpoint, text));
                }
                continue;
            };
            let (from, Some(until)) = times else { continue };
            let (whole, past) = (until.since(from).as_secs_f64(), mount.now.since(from).as_secs_f64());
            let validity = format!("{what}'s validity ({} to {})", day(from), day(until));
            #[allow(clippy::cast_precision_loss, reason = "a percentage")]
            let late = past >= whole * limit as f64 / 100.0;
            found.push(match (late, disabled) {
                (true, true) => mount.finding(
                    Status::Informational,
                    &endpoint,
                    format!("{validity} is over {limit} % past, but building of lists is disabled."),
                ),
                (true, false) => mount.finding(
                    Status::Critical,
                    &endpoint,
                    format!("{validity} is over {limit} % past. Enable auto_rebuild in config/crl, or rotate the list."),
                ),
                _ => mount.finding(Status::Ok, &endpoint, format!("{validity} is OK.")),
            });
        }
    }
    Ok(found)
}

fn hardware(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    let roots: Vec<String> =
        mount.issuers()?.iter().filter(|issuer| issuer.certificate.is_self_signed()).map(|issuer| issuer.id.clone()).collect();
    if roots.is_empty() {
        return Ok(vec![mount.finding(Status::NotApplicable, "issuers", "The mount has no root issuers.")]);
    }
    let text = "The root's key is kept by the server. Consider to keep the keys of roots in hardware, away from it.";
    Ok(roots.iter().map(|id| mount.finding(Status::Warning, &format!("issuer/{id}"), text)).collect())
}

fn leaves_of_roots(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    let most = usize::try_from(number(own, "certs_to_fetch")?).unwrap_or(0);
    let request = Request::list(format!("{}/certs", mount.path)).query("limit", most.to_string());
    let serials: Vec<String> = {
        let found = mount.read(&request)?.unwrap_or_default();
        found.keys().unwrap_or_default().into_iter().take(most).map(str::to_owned).collect()
    };
    let mut leaves = Vec::new();
    for serial in serials {
        let about = mount.get(&format!("cert/{}", serial.replace(':', "-")))?.unwrap_or_default();
        if let Some(leaf) = first(about.text("certificate")).filter(|cert| !cert.is_authority()) {
            leaves.push((serial, leaf));
        }
    }
    let mut found = Vec::new();
    let mut has_roots = false;
    for issuer in mount.issuers()?.iter().filter(|issuer| issuer.certificate.is_self_signed()) {
        has_roots = true;
        let own: Vec<_> =
            leaves.iter().filter(|(_, leaf)| issuer.certificate.signed(leaf)).map(|(serial, _)| serial.as_str()).collect();
        if !own.is_empty() {
            let text = format!(
                "The root issued leaves itself ({}). Let an intermediate issue them: it is replaced far more easily than a root.",
                own.join(", ")
            );
            found.push((format!("issuer/{}", issuer.id), text));
        }
    }
    if found.is_empty() {
        let (status, text) = if has_roots {
            (Status::Ok, "No root of this mount issued one of the leaves that were looked at.")
        } else {
            (Status::NotApplicable, "The mount has no root issuers.")
        };
        return Ok(vec![mount.finding(status, "certs", text)]);
    }
    Ok(found.into_iter().map(|(endpoint, text)| mount.finding(Status::Warning, &endpoint, text)).collect())
}

fn localhost(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    mount.of_roles("No role allows localhost besides other names.", |_, role| {
        let domains = texts(role, "allowed_domains");
        (is(role, "allow_localhost") && !domains.is_empty()).then(|| {
            let text = format!(
                "The role is for other names ({}), and allow_localhost=true lets it issue for localhost too. Set it to false, or name localhost in allowed_domains.",
                domains.join(" ")
            );
            (Status::Warning, text)
        })
    })
}

fn globs(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    mount.of_roles("No role lets patterns of names and wildcard certificates come together.", |_, role| {
        let globs = is(role, "allow_glob_domains") && is(role, "allow_wildcard_certificates");
        let patterned = texts(role, "allowed_domains").iter().any(|domain| domain.contains('*'));
        (globs && patterned).then(|| {
            let text = "The role has patterns in allowed_domains and allows wildcard certificates: together they may cover more than is meant. Set one of allow_glob_domains and allow_wildcard_certificates to false.";
            (Status::Warning, text.to_owned())
        })
    })
}

fn stored(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    let allowed = list(own, "allowed_roles");
    let rebuilt = mount.get("config/crl")?.is_some_and(|config| is(&config, "auto_rebuild"));
    mount.of_roles("Roles store no more certificates than they are allowed to.", |name, role| {
        (!is(role, "no_store") && !has(&allowed, name)).then(|| {
            let status = if rebuilt { Status::Informational } else { Status::Warning };
            let text = "The role stores each certificate (no_store=false). Where there are many of them, prefer short lifetimes with no_store=true, or enable auto_rebuild in config/crl, so that not every revocation makes a new list.";
            (status, text.to_owned())
        })
    })
}

fn audit(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    let (tuned, ignored) = (mount.tuned()?, list(own, "ignored_parameters"));
    let mut found = Vec::new();
    for (field, wanted) in
        [("audit_non_hmac_request_keys", REQUEST_IN_CLEAR), ("audit_non_hmac_response_keys", RESPONSE_IN_CLEAR)]
    {
        let clear = texts(&tuned, field);
        for name in wanted.iter().filter(|name| !has(&clear, name) && !has(&ignored, name)) {
            let text =
                format!("{name} is no secret, but stands in the audit log as an HMAC. Name it in {field} to see it there.");
            found.push(mount.tune(Status::Informational, text));
        }
    }
    if found.is_empty() {
        found.push(mount.tune(Status::Ok, "The audit log shows all parameters that are no secrets."));
    }
    Ok(found)
}

fn modified_since(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    let tuned = mount.tuned()?;
    let asked = has(&texts(&tuned, "passthrough_request_headers"), "If-Modified-Since");
    let said = has(&texts(&tuned, "allowed_response_headers"), "Last-Modified");
    Ok(vec![if asked && said {
        mount.tune(Status::Ok, "Clients may ask for what has changed alone (If-Modified-Since, Last-Modified).")
    } else {
        let text = "Let If-Modified-Since in (passthrough_request_headers) and Last-Modified out (allowed_response_headers): clients then fetch authorities and lists only when they have changed.";
        mount.tune(Status::Informational, text)
    }])
}

fn auto_tidy(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    const ENDPOINT: &str = "config/auto-tidy";
    let config = mount.get(ENDPOINT)?.unwrap_or_default();
    if !is(&config, "enabled") {
        let text = "Auto-tidy is disabled. Enable it, so that what has expired goes by itself.";
        return Ok(vec![mount.finding(Status::Informational, ENDPOINT, text)]);
    }
    let mut found = Vec::new();
    for name in ["interval_duration", "pause_duration"] {
        let said = config.get(name).map(|value| value.as_str().map_or_else(|| output::json::pretty(value), str::to_owned));
        let Some(is) = said.and_then(|text| Span::parse(&text).ok()) else { continue };
        let (warning, critical) = (span(own, &format!("{name}_warning"))?, span(own, &format!("{name}_critical"))?);
        let status = if is >= critical {
            Status::Critical
        } else if is >= warning {
            Status::Warning
        } else {
            continue;
        };
        found.push(mount.finding(status, ENDPOINT, format!("{name} is {is}: tidying comes to its end late. Make it shorter.")));
    }
    if found.is_empty() {
        found.push(mount.finding(Status::Ok, ENDPOINT, "Auto-tidy is enabled."));
    }
    Ok(found)
}

fn tidied(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    const ENDPOINT: &str = "tidy-status";
    let status = mount.get(ENDPOINT)?.unwrap_or_default();
    let last = ["time_finished", "time_started"].iter().find_map(|name| Timestamp::parse_rfc3339(status.text(name)));
    let Some(last) = last else {
        let text = "Tidy has never run here. Enable auto-tidy, or see to it that something runs it.";
        return Ok(vec![mount.finding(Status::Critical, ENDPOINT, text)]);
    };
    let ago = mount.now.since(last);
    let how = if ago >= span(own, "last_run_critical")?.duration() {
        Status::Critical
    } else if ago >= span(own, "last_run_warning")?.duration() {
        Status::Warning
    } else {
        return Ok(vec![mount.finding(Status::Ok, ENDPOINT, format!("Tidy ran last on {}.", day(last)))]);
    };
    Ok(vec![mount.finding(how, ENDPOINT, format!("Tidy ran last on {}, which is long ago.", day(last)))])
}

fn too_many(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
    let (warning, critical) = (number(own, "count_warning")?, number(own, "count_critical")?);
    // No more than decides: a mount may hold very many.
    let request = Request::list(format!("{}/certs", mount.path)).query("limit", critical.max(warning).max(1).to_string());
    let found = mount.read(&request)?.unwrap_or_default();
    let count = i64::try_from(found.keys().unwrap_or_default().len()).unwrap_or(i64::MAX);
    let status = if count >= critical {
        Status::Critical
    } else if count >= warning {
        Status::Warning
    } else {
        return Ok(vec![mount.finding(Status::Ok, "certs", format!("{count} certificates are stored."))]);
    };
    let text =
        format!("{count} certificates or more are stored. Tidy the mount, and consider no_store=true with short lifetimes.");
    Ok(vec![mount.finding(status, "certs", text)])
}

fn acme(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    const ENDPOINT: &str = "config/acme";
    if mount.only_roots()? {
        return Ok(vec![mount.finding(Status::NotApplicable, ENDPOINT, "The mount has only roots, which serve no ACME.")]);
    }
    let config = mount.get(ENDPOINT)?.unwrap_or_default();
    if !is(&config, "enabled") {
        let text = "ACME is disabled. Enable it where clients can renew by themselves.";
        return Ok(vec![mount.finding(Status::Informational, ENDPOINT, text)]);
    }
    if mount.get("config/cluster")?.unwrap_or_default().text("path").is_empty() {
        let text = "ACME is enabled, but config/cluster names no path: its clients get no addresses.";
        return Ok(vec![mount.finding(Status::Warning, "config/cluster", text)]);
    }
    Ok(vec![mount.finding(Status::Ok, ENDPOINT, "ACME is enabled.")])
}

fn acme_headers(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    const ENDPOINT: &str = "config/acme";
    if !mount.get(ENDPOINT)?.is_some_and(|config| is(&config, "enabled")) {
        return Ok(vec![mount.finding(Status::NotApplicable, ENDPOINT, "ACME is not enabled and needs no headers.")]);
    }
    let allowed = texts(&mount.tuned()?, "allowed_response_headers");
    let missing: Vec<_> = ACME_HEADERS.iter().filter(|name| !has(&allowed, name)).copied().collect();
    Ok(vec![if missing.is_empty() {
        mount.tune(Status::Ok, "The headers that ACME needs are let out.")
    } else {
        mount.tune(Status::Warning, format!("ACME needs {} in allowed_response_headers.", missing.join(", ")))
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_worst_that_counts() {
        use Status::{Critical, Informational, InsufficientPermissions, InvalidVersion, NotApplicable, Ok, Warning};
        for (status, default, warning, permission) in [
            (NotApplicable, 0, 0, 0),
            (Ok, 0, 0, 0),
            (Informational, 2, 0, 0),
            (Warning, 3, 3, 0),
            (Critical, 4, 4, 0),
            (InvalidVersion, 5, 5, 5),
            (InsufficientPermissions, 6, 6, 6),
        ] {
            assert_eq!(status.exit(Informational), default, "{status:?}");
            assert_eq!(status.exit(Warning), warning, "{status:?}");
            assert_eq!(status.exit(InvalidVersion), permission, "{status:?}");
        }
    }

    #[test]
    fn every_check_has_settings_that_read_and_limits_that_are_times_or_numbers() {
        for check in CHECKS {
            let Ok(Json::Object(own)) = parse(check.settings.as_bytes(), &Limits::NONE) else { panic!("{}", check.name) };
            for (name, _) in own.iter() {
                if name.contains("_pct_") || name.starts_with("count_") || name == "certs_to_fetch" {
                    assert!(number(&own, name).is_ok(), "{name}");
                } else if name.ends_with("_critical") || name.ends_with("_warning") || name.ends_with("_informational") {
                    assert!(span(&own, name).is_ok(), "{name}");
                }
            }
        }
        let Ok(Json::Object(wrong)) = parse(br#"{"a":"soon","b":true}"#, &Limits::NONE) else { panic!() };
        assert!(span(&wrong, "a").is_err() && number(&wrong, "b").is_err() && span(&wrong, "none").is_err());
    }
}
