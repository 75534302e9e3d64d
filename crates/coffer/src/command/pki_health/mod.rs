//! `pki health-check`: a mount's issuers, lists, roles and settings beside what is good practice.

mod checks;
mod read;

use self::read::{Mount, Unread};
use super::pki::{local, now};
use crate::cli::{Arity, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, table};
use coffer_client::Request;
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};

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
        run: checks::ca_validity,
    },
    Check {
        name: "crl_validity_period",
        settings: r#"{"crl_expiry_pct_critical":"95","delta_crl_expiry_pct_critical":"95"}"#,
        run: checks::crl_validity,
    },
    Check { name: "hardware_backed_root", settings: r#"{"enabled":false}"#, run: checks::hardware },
    Check { name: "root_issued_leaves", settings: r#"{"certs_to_fetch":100}"#, run: checks::leaves_of_roots },
    Check { name: "role_allows_localhost", settings: "{}", run: checks::localhost },
    Check { name: "role_allows_glob_wildcards", settings: "{}", run: checks::globs },
    Check { name: "role_no_store_false", settings: r#"{"allowed_roles":[]}"#, run: checks::stored },
    Check { name: "audit_visibility", settings: r#"{"ignored_parameters":[]}"#, run: checks::audit },
    Check { name: "allow_if_modified_since", settings: "{}", run: checks::modified_since },
    Check {
        name: "enable_auto_tidy",
        settings: r#"{"interval_duration_critical":"7d","interval_duration_warning":"2d","pause_duration_critical":"1s","pause_duration_warning":"200ms"}"#,
        run: checks::auto_tidy,
    },
    Check { name: "tidy_last_run", settings: r#"{"last_run_critical":"7d","last_run_warning":"2d"}"#, run: checks::tidied },
    Check { name: "too_many_certs", settings: r#"{"count_critical":250000,"count_warning":50000}"#, run: checks::too_many },
    Check { name: "enable_acme_issuance", settings: "{}", run: checks::acme },
    Check { name: "allow_acme_headers", settings: "{}", run: checks::acme_headers },
];

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
    let mut mount = Mount::new(call, path, now());
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

#[cfg(test)]
mod tests {
    use super::read::{number, span};
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
