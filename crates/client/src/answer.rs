//! What the API answers with: one envelope for every path.

use coffer_types::json::{Json, Object, Text};

/// The envelope. `data` is as the server sent it; numbers keep their digits.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub request_id: String,
    pub lease_id: String,
    pub lease_duration: i64,
    pub renewable: bool,
    pub data: Option<Object>,
    pub warnings: Vec<String>,
    pub auth: Option<Auth>,
    pub wrap: Option<Wrap>,
}

/// A token that the answer brings.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    pub client_token: Text,
    pub accessor: String,
    pub policies: Vec<String>,
    pub token_policies: Option<Vec<String>>,
    pub identity_policies: Option<Vec<String>>,
    pub metadata: Option<Object>,
    pub orphan: bool,
    pub entity_id: String,
    pub lease_duration: i64,
    pub renewable: bool,
    pub mfa_requirement: Json,
}

/// A wrapping token that stands in for the answer.
#[derive(Clone, Debug, Default)]
pub struct Wrap {
    pub token: Text,
    pub accessor: String,
    pub ttl: i64,
    pub creation_time: String,
    pub creation_path: String,
    pub wrapped_accessor: String,
}

/// The members that make an object an envelope.
const ENVELOPE: &[&str] = &["request_id", "lease_id", "lease_duration", "renewable", "data", "warnings", "auth", "wrap_info"];

impl Answer {
    /// Reads the envelope; `None` for a body that is no object.
    ///
    /// Some paths (`sys/health`, `sys/seal-status`) answer without an envelope: there the whole object is the data. An object
    /// of nothing but `errors` is no answer.
    pub fn read(body: Json) -> Option<Self> {
        let mut body = body.into_object()?;
        let says = |value: &Json| {
            !matches!(value, Json::Null | Json::Bool(false)) && value.as_str() != Some("") && value.as_i64() != Some(0)
        };
        if !ENVELOPE.iter().any(|name| body.get(name).is_some_and(says)) {
            for name in ENVELOPE {
                body.remove(name);
            }
            if body.is_empty() || (body.len() == 1 && body.contains("errors")) {
                return (!body.contains("errors")).then(Self::default);
            }
            return Some(Self { data: Some(body), ..Self::default() });
        }
        Some(Self {
            request_id: text(&body, "request_id"),
            lease_id: text(&body, "lease_id"),
            lease_duration: number(&body, "lease_duration"),
            renewable: flag(&body, "renewable"),
            warnings: texts(&body, "warnings").unwrap_or_default(),
            auth: body.remove("auth").and_then(Json::into_object).map(|auth| Auth::read(&auth)),
            wrap: body.remove("wrap_info").and_then(Json::into_object).map(|wrap| Wrap::read(&wrap)),
            data: body.remove("data").and_then(Json::into_object),
        })
    }

    /// The member `name` of the data.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.data.as_ref()?.get(name)
    }

    /// The member `name` of the data as text, empty where it is none.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// The list under `keys`, as listings have it.
    pub fn keys(&self) -> Option<Vec<&str>> {
        Some(self.get("keys")?.as_array()?.iter().filter_map(Json::as_str).collect())
    }

    /// The envelope as an object, in the order in which it is shown.
    pub fn to_json(&self) -> Object {
        let mut out = Object::new()
            .with("request_id", &self.request_id)
            .with("lease_id", &self.lease_id)
            .with("lease_duration", self.lease_duration)
            .with("renewable", self.renewable)
            .with("data", self.data.clone())
            .with("warnings", (!self.warnings.is_empty()).then(|| self.warnings.clone()));
        if let Some(auth) = &self.auth {
            out.insert("auth", auth.to_json());
        }
        if let Some(wrap) = &self.wrap {
            out.insert("wrap_info", wrap.to_json());
        }
        out
    }
}

impl Auth {
    fn read(body: &Object) -> Self {
        Self {
            client_token: Text::new(text(body, "client_token")),
            accessor: text(body, "accessor"),
            policies: texts(body, "policies").unwrap_or_default(),
            token_policies: texts(body, "token_policies"),
            identity_policies: texts(body, "identity_policies"),
            metadata: body.get("metadata").and_then(Json::as_object).cloned(),
            orphan: flag(body, "orphan"),
            entity_id: text(body, "entity_id"),
            lease_duration: number(body, "lease_duration"),
            renewable: flag(body, "renewable"),
            mfa_requirement: body.get("mfa_requirement").cloned().unwrap_or_default(),
        }
    }

    fn to_json(&self) -> Object {
        Object::new()
            .with("client_token", self.client_token.as_str())
            .with("accessor", &self.accessor)
            .with("policies", self.policies.clone())
            .with("token_policies", self.token_policies.clone())
            .with("identity_policies", self.identity_policies.clone())
            .with("metadata", self.metadata.clone())
            .with("orphan", self.orphan)
            .with("entity_id", &self.entity_id)
            .with("lease_duration", self.lease_duration)
            .with("renewable", self.renewable)
            .with("mfa_requirement", self.mfa_requirement.clone())
    }
}

impl Wrap {
    fn read(body: &Object) -> Self {
        Self {
            token: Text::new(text(body, "token")),
            accessor: text(body, "accessor"),
            ttl: number(body, "ttl"),
            creation_time: text(body, "creation_time"),
            creation_path: text(body, "creation_path"),
            wrapped_accessor: text(body, "wrapped_accessor"),
        }
    }

    fn to_json(&self) -> Object {
        Object::new()
            .with("token", self.token.as_str())
            .with("accessor", &self.accessor)
            .with("ttl", self.ttl)
            .with("creation_time", &self.creation_time)
            .with("creation_path", &self.creation_path)
            .with("wrapped_accessor", &self.wrapped_accessor)
    }
}

fn text(body: &Object, name: &str) -> String {
    body.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn number(body: &Object, name: &str) -> i64 {
    body.get(name).and_then(Json::as_i64).unwrap_or_default()
}

fn flag(body: &Object, name: &str) -> bool {
    body.get(name).and_then(Json::as_bool).unwrap_or_default()
}

fn texts(body: &Object, name: &str) -> Option<Vec<String>> {
    Some(body.get(name)?.as_array()?.iter().filter_map(Json::as_str).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_types::json::{Limits, parse};

    fn read(text: &str) -> Option<Answer> {
        Answer::read(parse(text.as_bytes(), &Limits::NONE).expect(text))
    }

    #[test]
    fn an_object_without_an_envelope_is_the_data() {
        let answer = read(r#"{"sealed":false,"version":"1.19.5"}"#).expect("an answer");
        assert_eq!(answer.text("version"), "1.19.5");
        assert_eq!(answer.data.map(|d| d.len()), Some(2));
        let answer = read(r#"{"request_id":"r","data":{"a":1},"other":2}"#).expect("an answer");
        assert_eq!(answer.data.map(|d| d.len()), Some(1));
    }

    #[test]
    fn what_says_nothing_is_no_answer_or_an_empty_one() {
        assert!(read(r#"{"errors":[]}"#).is_none());
        assert!(read("[1]").is_none());
        assert!(read("null").is_none());
        for text in ["{}", r#"{"request_id":"","data":null,"warnings":null}"#] {
            assert!(read(text).expect(text).data.is_none(), "{text}");
        }
    }
}
