//! The checks themselves.

use super::read::{Mount, Unread, day, has, is, list, number, span, texts};
use super::{Finding, Status};
use crate::command::pki::first;
use crate::output;
use coffer_client::Request;
use coffer_crypto::x509::RevocationList;
use coffer_types::{Object, Span, Timestamp};

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

pub(super) fn ca_validity(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn crl_validity(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn hardware(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    let roots: Vec<String> =
        mount.issuers()?.iter().filter(|issuer| issuer.certificate.is_self_signed()).map(|issuer| issuer.id.clone()).collect();
    if roots.is_empty() {
        return Ok(vec![mount.finding(Status::NotApplicable, "issuers", "The mount has no root issuers.")]);
    }
    let text = "The root's key is kept by the server. Consider to keep the keys of roots in hardware, away from it.";
    Ok(roots.iter().map(|id| mount.finding(Status::Warning, &format!("issuer/{id}"), text)).collect())
}

pub(super) fn leaves_of_roots(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn localhost(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn globs(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
    mount.of_roles("No role lets patterns of names and wildcard certificates come together.", |_, role| {
        let globs = is(role, "allow_glob_domains") && is(role, "allow_wildcard_certificates");
        let patterned = texts(role, "allowed_domains").iter().any(|domain| domain.contains('*'));
        (globs && patterned).then(|| {
            let text = "The role has patterns in allowed_domains and allows wildcard certificates: together they may cover more than is meant. Set one of allow_glob_domains and allow_wildcard_certificates to false.";
            (Status::Warning, text.to_owned())
        })
    })
}

pub(super) fn stored(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn audit(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn modified_since(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn auto_tidy(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn tidied(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn too_many(mount: &mut Mount<'_, '_>, own: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn acme(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
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

pub(super) fn acme_headers(mount: &mut Mount<'_, '_>, _: &Object) -> Result<Vec<Finding>, Unread> {
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
