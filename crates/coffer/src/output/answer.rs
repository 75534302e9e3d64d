//! The API's envelope, printed.

use super::{Format, alone, go, json, table, yaml};
use crate::cli::{Call, Failure, Outcome};
use coffer_client::{Answer, Auth, Wrap};
use coffer_types::{Json, Object};

/// The whole answer, or the field that was asked for.
pub(crate) fn print(call: &Call<'_>, answer: &Answer) -> Outcome {
    if let Some(field) = call.field() {
        return match field_of(answer, field) {
            Some(value) => alone(call, &value),
            None => Err(absent(field, "secret", answer)),
        };
    }
    let format = call.format()?;
    if format == Format::Table {
        warnings(call, answer);
    }
    whole(call, answer, format)
}

/// "Field … not present", with the names that are.
pub(crate) fn absent(field: &str, of: &str, answer: &Answer) -> Failure {
    let failure = Failure::usage(format!("Field {field:?} not present in {of}"));
    let names: Vec<&str> = answer.data.iter().flat_map(Object::names).collect();
    if names.is_empty() { failure } else { failure.hint(format!("There are: {}", names.join(", "))) }
}

fn whole(call: &Call<'_>, answer: &Answer, format: Format) -> Outcome {
    match format {
        Format::Table => {
            let rows = rows(answer);
            if !rows.is_empty() {
                call.print(&table::columns(&table::pairs(rows)));
            }
        }
        Format::Json | Format::Raw => call.print(&format!("{}\n", json::pretty(&shown(answer)))),
        Format::Yaml => call.print(&yaml::text(&shown(answer))),
        Format::Pretty => return Err(Failure::usage("Could not parse output: cannot use the pretty formatter for this type")),
    }
    Ok(0)
}

/// The envelope in its order, the data sorted.
fn shown(answer: &Answer) -> Json {
    let mut object = answer.to_json();
    if let Some(data) = object.get_mut("data") {
        *data = json::sorted(data);
    }
    Json::Object(object)
}

/// What the server has to say beside the answer, on standard error.
pub(crate) fn warnings(call: &Call<'_>, answer: &Answer) {
    if answer.warnings.is_empty() {
        return;
    }
    let mut text = format!("WARNING! The following warnings were returned from {}:\n", call.context.product());
    for warning in &answer.warnings {
        let wrapped = crate::cli::help::wrap(warning, 4).replacen("    ", "  * ", 1);
        text.push_str(&format!("\n{wrapped}\n"));
    }
    call.note(&text);
}

/// Lease, token, wrapping and data as rows.
fn rows(answer: &Answer) -> Vec<(String, String)> {
    if let Some(wrap) = &answer.wrap {
        return wrap_rows(wrap);
    }
    let mut out = Vec::new();
    if answer.lease_duration > 0 {
        let duration = go::short_span(answer.lease_duration);
        if answer.lease_id.is_empty() {
            // The old generic engine sends a lease without an identifier: a hint when to read again.
            out.push(("refresh_interval".into(), duration));
        } else {
            out.push(("lease_id".into(), answer.lease_id.clone()));
            out.push(("lease_duration".into(), duration));
            out.push(("lease_renewable".into(), answer.renewable.to_string()));
        }
    }
    if let Some(auth) = &answer.auth {
        out.extend(auth_rows(auth));
    }
    out.extend(answer.data.iter().flat_map(data_rows));
    out
}

/// The members by name; fields that hold seconds as spans.
pub(crate) fn data_rows(data: &Object) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = data
        .iter()
        .map(|(name, value)| {
            let text = match value {
                Json::Number(_) if go::is_span(name) => value.as_i64().map_or_else(|| go::text(value), go::short_span),
                value => go::text(value),
            };
            (name.to_owned(), text)
        })
        .collect();
    out.sort();
    out
}

fn auth_rows(auth: &Auth) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| out.push((name.to_owned(), value));
    if let Some(id) = auth.mfa_requirement.get("mfa_request_id").and_then(Json::as_str) {
        put("mfa_request_id", id.to_owned());
        if let Some(constraints) = auth.mfa_requirement.get("mfa_constraints").and_then(Json::as_object) {
            for (constraint, methods) in constraints.iter() {
                for method in methods.get("any").and_then(Json::as_array).unwrap_or_default() {
                    let text = |name: &str| method.get(name).and_then(Json::as_str).unwrap_or_default();
                    put(&format!("mfa_constraint_{constraint}_{}_id", text("type")), text("id").to_owned());
                    put(
                        &format!("mfa_constraint_{constraint}_{}_uses_passcode", text("type")),
                        method.get("uses_passcode").map(go::text).unwrap_or_default(),
                    );
                }
            }
        }
        return out;
    }
    put("token", auth.client_token.as_str().to_owned());
    put("token_accessor", auth.accessor.clone());
    // A lease of no length is one that never ends.
    put("token_duration", if auth.lease_duration == 0 { "∞".into() } else { go::short_span(auth.lease_duration) });
    put("token_renewable", auth.renewable.to_string());
    let token_policies = auth.token_policies.as_ref().unwrap_or(&auth.policies);
    put("token_policies", go::quoted(token_policies));
    put("identity_policies", go::quoted(auth.identity_policies.as_deref().unwrap_or_default()));
    put("policies", go::quoted(&auth.policies));
    let mut metadata: Vec<_> = auth.metadata.iter().flat_map(Object::iter).collect();
    metadata.sort_by(|a, b| a.0.cmp(b.0));
    for (name, value) in metadata {
        put(&format!("token_meta_{name}"), go::text(value));
    }
    out
}

fn wrap_rows(wrap: &Wrap) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = [
        ("wrapping_token:", wrap.token.as_str().to_owned()),
        ("wrapping_accessor:", wrap.accessor.clone()),
        ("wrapping_token_ttl:", go::short_span(wrap.ttl)),
        ("wrapping_token_creation_time:", go_time(&wrap.creation_time)),
        ("wrapping_token_creation_path:", wrap.creation_path.clone()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect();
    if !wrap.wrapped_accessor.is_empty() {
        out.push(("wrapped_accessor:".into(), wrap.wrapped_accessor.clone()));
    }
    out
}

/// `2026-11-23T03:15:22.16Z` → `2026-11-23 03:15:22.16 +0000 UTC`, as Go prints times.
fn go_time(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|t| t.split_once('T')) {
        Some((date, time)) => format!("{date} {time} +0000 UTC"),
        None => text.replacen('T', " ", 1),
    }
}

/// A field by the name that the table shows, else of the data.
fn field_of(answer: &Answer, field: &str) -> Option<Json> {
    let found = match (field, &answer.auth, &answer.wrap) {
        ("wrapping_token", _, Some(wrap)) => Json::from(wrap.token.as_str()),
        ("wrapping_accessor", _, Some(wrap)) => Json::from(&wrap.accessor),
        ("wrapping_token_ttl", _, Some(wrap)) => Json::from(wrap.ttl),
        ("wrapping_token_creation_time", _, Some(wrap)) => Json::from(go_time(&wrap.creation_time)),
        ("wrapping_token_creation_path", _, Some(wrap)) => Json::from(&wrap.creation_path),
        ("wrapped_accessor", _, Some(wrap)) => Json::from(&wrap.wrapped_accessor),
        ("token", Some(auth), _) => Json::from(auth.client_token.as_str()),
        ("token_accessor", Some(auth), _) => Json::from(&auth.accessor),
        ("token_duration", Some(auth), _) => Json::from(auth.lease_duration),
        ("token_renewable", Some(auth), _) => Json::from(auth.renewable),
        ("token_policies", Some(auth), _) => Json::from(auth.token_policies.clone()),
        ("identity_policies", Some(auth), _) => Json::from(auth.identity_policies.clone()),
        ("policies", Some(auth), _) => Json::from(auth.policies.clone()),
        ("lease_id", _, _) if !answer.lease_id.is_empty() => Json::from(&answer.lease_id),
        ("lease_duration", _, _) if !answer.lease_id.is_empty() => Json::from(answer.lease_duration),
        ("lease_renewable", _, _) if !answer.lease_id.is_empty() => Json::from(answer.renewable),
        ("refresh_interval", _, _) if answer.lease_id.is_empty() && answer.lease_duration > 0 => {
            Json::from(answer.lease_duration)
        }
        (name, Some(auth), _) if name.starts_with("token_meta_") => {
            auth.metadata.as_ref()?.get(name.strip_prefix("token_meta_")?)?.clone()
        }
        (name, _, _) => answer.get(name)?.clone(),
    };
    (!found.is_null()).then_some(found)
}

/// The keys of a listing, one a line; `{}` and exit 2 in JSON and YAML where there are none.
pub(crate) fn keys(call: &Call<'_>, path: &str, answer: Option<&Answer>) -> Outcome {
    let format = call.format()?;
    if let Some(answer) = answer {
        if format == Format::Table {
            warnings(call, answer);
        }
        if answer.wrap.is_some() {
            return whole(call, answer, format);
        }
        if let Some(keys) = answer.keys() {
            if call.on("detailed")
                && let Some(info) = answer.get("key_info").and_then(Json::as_object)
                && format == Format::Table
            {
                call.print(&table::columns(&detailed(&keys, info)));
                return Ok(0);
            }
            if call.on("detailed") && format != Format::Table {
                return whole(call, answer, format);
            }
            let list = Json::Array(keys.iter().map(|k| Json::from(*k)).collect());
            return super::value(call, &list, |_| table::headed(["Keys"], keys.iter().map(|k| vec![(*k).to_owned()])));
        }
    }
    if matches!(format, Format::Table | Format::Pretty) {
        return Err(Failure::server(format!("No value found at {path}")));
    }
    call.line("{}");
    Ok(2)
}

fn detailed(keys: &[&str], info: &Object) -> Vec<Vec<String>> {
    let mut names: Vec<&str> = info.iter().filter_map(|(_, v)| v.as_object()).flat_map(Object::names).collect();
    names.sort_unstable();
    names.dedup();
    let mut heading = vec!["Keys"];
    heading.extend(&names);
    let mut rows =
        vec![heading.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>(), heading.iter().map(|h| "-".repeat(h.len())).collect()];
    for key in keys {
        let mut row = vec![(*key).to_owned()];
        for name in &names {
            row.push(info.get(key).and_then(|i| i.get(name)).map(go::text).unwrap_or_default());
        }
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_token() {
        let auth = Auth {
            client_token: coffer_types::json::Text::new("s.x"),
            policies: vec!["app".into(), "default".into()],
            metadata: Some(Object::new().with("a", "b")),
            ..Auth::default()
        };
        let answer = Answer { auth: Some(auth), ..Answer::default() };
        let rows = rows(&answer);
        assert!(rows.contains(&("token_duration".into(), "∞".into())));
        assert!(rows.contains(&("token_policies".into(), "[\"app\" \"default\"]".into())));
        assert_eq!(rows.last(), Some(&("token_meta_a".into(), "b".into())));
        assert_eq!(field_of(&answer, "token").unwrap().as_str(), Some("s.x"));
        assert!(field_of(&answer, "nope").is_none());
    }

    #[test]
    fn null_fields_count_as_absent() {
        let answer = Answer { data: Some(Object::new().with("nul", Json::Null)), ..Answer::default() };
        assert!(field_of(&answer, "nul").is_none());
    }

    #[test]
    fn times_as_go_prints_them() {
        assert_eq!(go_time("2026-11-23T03:15:22.162Z"), "2026-11-23 03:15:22.162 +0000 UTC");
    }
}
