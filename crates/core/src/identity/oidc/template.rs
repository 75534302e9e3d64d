//! Templates of claims: JSON with places for what identity knows, `{"name": {{identity.entity.name}}}`. A value is put in as JSON of
//! its own, quoted and escaped, so that none can add a claim. A place stands for a whole value, never inside a text.

use super::RESERVED;
use crate::identity::cache::Identity;
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Object, Result, Span, Timestamp};
use std::collections::BTreeMap;

/// Longest template, in bytes; deepest document.
const MAX_TEMPLATE: usize = 64 * 1024;
const LIMITS: Limits = Limits { depth: 32, string: 1 << 20, strings: 50_000, members: 10_000, items: 50_000 };

/// A template that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Debug, PartialEq)]
enum Place {
    EntityId,
    EntityName,
    Metadata(Option<String>),
    GroupIds,
    GroupNames,
    AliasId(String),
    AliasName(String),
    AliasMetadata(String, Option<String>),
    AliasCustom(String, Option<String>),
    /// Now, with so many seconds added.
    Now(i64),
}

impl Template {
    /// Reads a template; it may come as base64.
    ///
    /// # Errors
    /// What is wrong with it: no JSON around its places, an unknown place, a claim that is the server's.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_TEMPLATE {
            return Err(Error::bad_request(format!("the template is longer than {MAX_TEMPLATE} bytes")));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (place, after) = after.split_once("}}").ok_or_else(|| bad("unbalanced templating characters"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Place(Place::parse(place.trim())?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let template = Self(parts);
        for name in template.fill(None, Timestamp::from_secs(0))?.names() {
            if RESERVED.contains(&name) {
                let all = RESERVED.join(", ");
                return Err(Error::bad_request(format!("top level key {name:?} not allowed. Restricted keys: {all}")));
            }
        }
        Ok(template)
    }

    /// The claims for an identity; what it does not have is empty.
    pub(super) fn fill(&self, identity: Option<&Identity>, now: Timestamp) -> Result<Object> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(words) => text.push_str(words),
                Part::Place(place) => text.push_str(&String::from_utf8_lossy(&place.value(identity, now).to_bytes())),
            }
        }
        if text.trim().is_empty() {
            return Ok(Object::new());
        }
        let document = parse(text.as_bytes(), &LIMITS)
            .map_err(|fault| Error::bad_request(format!("error parsing template JSON: {fault}")))?;
        document.into_object().ok_or_else(|| Error::bad_request("error parsing template JSON: it must be an object"))
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self> {
        let unknown = || bad("no value could be found for one of the template directives");
        if let Some(rest) = text.strip_prefix("identity.entity.") {
            let key = |key: &str| (!key.is_empty()).then(|| key.to_owned()).ok_or_else(unknown);
            return Ok(match rest {
                "id" => Self::EntityId,
                "name" => Self::EntityName,
                "metadata" => Self::Metadata(None),
                "groups.ids" => Self::GroupIds,
                "groups.names" => Self::GroupNames,
                _ => {
                    if let Some(name) = rest.strip_prefix("metadata.") {
                        return Ok(Self::Metadata(Some(key(name)?)));
                    }
                    let (accessor, what) = rest.strip_prefix("aliases.").and_then(|r| r.split_once('.')).ok_or_else(unknown)?;
                    let accessor = key(accessor)?;
                    match what {
                        "id" => Self::AliasId(accessor),
                        "name" => Self::AliasName(accessor),
                        "metadata" => Self::AliasMetadata(accessor, None),
                        "custom_metadata" => Self::AliasCustom(accessor, None),
                        _ => match (what.strip_prefix("metadata."), what.strip_prefix("custom_metadata.")) {
                            (Some(name), _) => Self::AliasMetadata(accessor, Some(key(name)?)),
                            (_, Some(name)) => Self::AliasCustom(accessor, Some(key(name)?)),
                            _ => return Err(unknown()),
                        },
                    }
                }
            });
        }
        if text.starts_with("identity.groups.") {
            return Err(bad("string contains groups template directives but no groups were provided"));
        }
        let shift = match text.strip_prefix("time.now").ok_or_else(unknown)? {
            "" => 0,
            rest => {
                let (sign, span) = match (rest.strip_prefix(".plus."), rest.strip_prefix(".minus.")) {
                    (Some(span), _) => (1, span),
                    (_, Some(span)) => (-1, span),
                    _ => return Err(unknown()),
                };
                let span = Span::parse(span).ok().filter(|span| !span.is_negative());
                sign * span.ok_or_else(|| bad("invalid duration"))?.secs()
            }
        };
        Ok(Self::Now(shift))
    }

    fn value(&self, identity: Option<&Identity>, now: Timestamp) -> Json {
        let entity = identity.map(|i| &i.entity);
        let alias = |accessor: &str| entity.and_then(|e| e.alias_of(accessor));
        let text = |text: Option<&String>| Json::from(text.map_or("", String::as_str));
        let map = |map: Option<&BTreeMap<String, String>>, key: &Option<String>| match key {
            Some(key) => text(map.and_then(|m| m.get(key))),
            None => Json::Object(map.into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect()),
        };
        let groups = |of: fn(&crate::identity::Group) -> &String| {
            Json::Array(identity.iter().flat_map(|i| &i.groups).map(|group| Json::from(of(group).as_str())).collect())
        };
        match self {
            Self::EntityId => text(entity.map(|e| &e.id)),
            Self::EntityName => text(entity.map(|e| &e.name)),
            Self::Metadata(key) => map(entity.map(|e| &e.metadata), key),
            Self::GroupIds => groups(|group| &group.id),
            Self::GroupNames => groups(|group| &group.name),
            Self::AliasId(accessor) => text(alias(accessor).map(|a| &a.id)),
            Self::AliasName(accessor) => text(alias(accessor).map(|a| &a.name)),
            Self::AliasMetadata(accessor, key) => map(alias(accessor).map(|a| &a.metadata), key),
            Self::AliasCustom(accessor, key) => map(alias(accessor).and_then(|a| a.custom_metadata.as_ref()), key),
            Self::Now(shift) => Json::from(now.secs().saturating_add(*shift)),
        }
    }
}

/// A template as it was sent: itself, or its base64.
pub(super) fn decoded(text: &str) -> String {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or_else(|| text.to_owned())
}

fn bad(why: &str) -> Error {
    Error::bad_request(format!("error parsing template: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Alias, Entity, Group};

    fn identity() -> Identity {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let alias = Alias {
            id: "a1".into(),
            name: "ali\"as".into(),
            mount_accessor: "acc".into(),
            metadata: map("m", "1"),
            ..Alias::default()
        };
        let entity = Entity {
            id: "e1".into(),
            name: "al\"ice\", \"admin\": true, \"x\": \"".into(),
            metadata: map("color", "re\\d{{identity.entity.id}}"),
            aliases: vec![alias],
            ..Entity::default()
        };
        Identity::new(entity, vec![Group { id: "g1".into(), name: "g\"1".into(), ..Group::default() }])
    }

    fn filled(template: &str) -> String {
        let claims = Template::parse(template).unwrap().fill(Some(&identity()), Timestamp::from_secs(1000)).unwrap();
        String::from_utf8_lossy(&Json::Object(claims).to_bytes()).into_owned()
    }

    #[test]
    fn values_are_json_of_their_own() {
        let hostile = filled(r#"{"n": {{identity.entity.name}}, "c": {{ identity.entity.metadata.color }}}"#);
        assert_eq!(hostile, r#"{"n":"al\"ice\", \"admin\": true, \"x\": \"","c":"re\\d{{identity.entity.id}}"}"#);
        let lists = filled(
            r#"{"g":[{{identity.entity.groups.names}}],"i":{{identity.entity.groups.ids}},"m":{{identity.entity.metadata}}}"#,
        );
        assert_eq!(lists, r#"{"g":[["g\"1"]],"i":["g1"],"m":{"color":"re\\d{{identity.entity.id}}"}}"#);
        let alias = "identity.entity.aliases.acc";
        let other = "identity.entity.aliases.other";
        let aliases = filled(&format!(
            r#"{{"a":{{{{{alias}.name}}}},"b":{{{{{alias}.metadata.m}}}},"c":{{{{{alias}.custom_metadata}}}},"d":{{{{{other}.name}}}},"e":{{{{{other}.metadata}}}}}}"#
        ));
        assert_eq!(aliases, r#"{"a":"ali\"as","b":"1","c":{},"d":"","e":{}}"#);
        assert_eq!(filled(r#"{"t":[{{time.now}},{{time.now.plus.1h}},{{time.now.minus.10m}}]}"#), r#"{"t":[1000,4600,400]}"#);
        assert_eq!(filled(""), "{}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in [
            "{bad",
            "[1]",
            "1",
            r#"{"x": {{identity.entity.name}}"#,
            r#"{"x": "{{identity.entity.name}}"}"#,
            r#"{"x": "a{{identity.entity.name}}"}"#,
            r#"{{{identity.entity.name}}: 1}"#,
            r#"{"x": {{identity.entity.nope}}}"#,
            r#"{"x": {{identity.entity.metadata.}}}"#,
            r#"{"x": {{identity.entity.aliases.a}}}"#,
            r#"{"x": {{identity.groups.names.g.id}}}"#,
            r#"{"x": {{time.now.plus.x}}}"#,
            r#"{"x": {{time.now.plus.-1h}}}"#,
            r#"{"x": {{time.nowhere}}}"#,
            r#"{"x": {{foo}}}"#,
            r#"{"x": {{identity.entity.id}"#,
            r#"{"iss": "me"}"#,
            r#"{"x": 1, "namespace": "n"}"#,
            r#"{"x": 1, "x": 2}"#,
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::parse(&" ".repeat(MAX_TEMPLATE + 1)).is_err());
    }
}
