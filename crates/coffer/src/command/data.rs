//! `KEY=VALUE` arguments as one JSON object.

use crate::cli::{Call, Failure, Outcome};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};

/// Reads `key=value`, `key=@file`, `key=-` (standard input), `@file` and `-` (a whole JSON object). A key that
/// stands twice becomes a list; `\@` begins a value with a plain `@`.
pub(crate) fn read(call: &Call<'_>, args: &[String]) -> Outcome<Object> {
    let mut out = Object::new();
    for arg in args {
        add(call, &mut out, arg).map_err(|why| {
            Failure::usage(format!("Failed to parse K=V data: invalid key/value pair {:?}: {why}", without_value(arg)))
        })?;
    }
    Ok(out)
}

/// The argument as errors show it: a value may be a secret.
fn without_value(arg: &str) -> String {
    match arg.split_once('=') {
        Some((key, value)) if !value.starts_with('@') && value != "-" => format!("{key}=…"),
        _ => arg.to_owned(),
    }
}

fn add(call: &Call<'_>, out: &mut Object, arg: &str) -> Result<(), String> {
    let stdin = || call.stdin().map_err(|f| f.text);
    if arg == "-" {
        return merge(out, stdin()?.as_bytes());
    }
    if let Some(file) = arg.strip_prefix('@') {
        let text = std::fs::read(file).map_err(|e| opened(file, &e))?;
        return merge(out, &zeroize::Zeroizing::new(text));
    }
    let Some((key, value)) = arg.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return Err("format must be key=value".into());
    };
    let value = match value {
        "-" => Json::from(stdin()?.as_str()),
        value => match value.strip_prefix('@') {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|e| format!("error reading file: {}", opened(file, &e)))?;
                Json::from(text)
            }
            None => Json::from(value.strip_prefix("\\@").map_or(value.to_owned(), |rest| format!("@{rest}"))),
        },
    };
    match out.get_mut(key) {
        Some(Json::Array(list)) => list.push(value),
        Some(first) => {
            let first = std::mem::take(first);
            out.insert(key, Json::Array(vec![first, value]));
        }
        None => {
            out.insert(key, value);
        }
    }
    Ok(())
}

fn merge(out: &mut Object, text: &[u8]) -> Result<(), String> {
    let value = parse(text, &Limits::NONE).map_err(|fault| format!("no JSON object: {fault}"))?;
    let Some(object) = value.as_object() else {
        return Err(format!("a JSON object expected, not a {}", value.kind()));
    };
    for (name, value) in object.iter() {
        out.insert(name, value.clone());
    }
    Ok(())
}

/// In the words of Go: `open x: no such file or directory`.
pub(crate) fn opened(file: &str, error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    let why = match error.kind() {
        K::NotFound => "no such file or directory".to_owned(),
        K::PermissionDenied => "permission denied".to_owned(),
        K::InvalidData => "not UTF-8 text; encode it, for example with base64".to_owned(),
        _ => error.to_string(),
    };
    format!("open {file}: {why}")
}
