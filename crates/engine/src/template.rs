//! Texts of roles with places for values of the caller's identity: `{{identity.entity.name}}`.

use crate::context::Ctx;
use coffer_types::Result;

/// Why a text was not filled. It must not be used then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// The caller's entity has no such value.
    NoValue,
    /// The value holds something that has a meaning where the text is used.
    Forbidden(char),
}

impl std::fmt::Display for Unfilled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoValue => f.write_str("no value could be found for one of the template directives"),
            Self::Forbidden(c) => write!(f, "template substitution contains forbidden value: {:?}", c.to_string()),
        }
    }
}

/// Whether a text has a place to fill.
pub fn has_places(text: &str) -> bool {
    places(text).any(|part| matches!(part, Part::Place(_)))
}

impl<E> Ctx<E> {
    /// Whether the caller is an entity, without which no place can be filled.
    pub fn has_entity(&self) -> bool {
        self.principal().is_some_and(|principal| !principal.entity_id.is_empty())
    }

    /// The text with the values of the caller's identity in its places. A value with a character of `forbidden`, or a control
    /// character, is refused: who may choose their own metadata must not thereby widen what the role's author wrote
    /// (GHSA-59w7-v8rr-pr4p).
    ///
    /// # Errors
    /// The outer one is the server's own; the inner one says why the text can't be used.
    pub async fn fill_template(&self, text: &str, forbidden: &[char]) -> Result<Result<String, Unfilled>> {
        let mut out = String::with_capacity(text.len());
        let entity = self.principal().map_or("", |principal| &principal.entity_id);
        for part in places(text) {
            let expression = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Place(expression) => expression,
            };
            let Some(value) = self.host().identity_value(entity, expression).await? else { return Ok(Err(Unfilled::NoValue)) };
            if let Some(bad) = value.chars().find(|c| forbidden.contains(c) || c.is_control()) {
                return Ok(Err(Unfilled::Forbidden(bad)));
            }
            out.push_str(&value);
        }
        Ok(Ok(out))
    }

    /// For names and paths: the text with values of the caller's identity in its places. Nothing where the caller has no such value, or
    /// a value has a character that could widen what it stands in: `*` and `+` (unless `wildcards`), `/`, `,`, braces, control
    /// characters; nor where it is empty, `.` or `..`, or braces do not pair up.
    pub async fn fill_identity(&self, template: &str, wildcards: bool) -> Result<Option<String>> {
        const FORBIDDEN: &[char] = &['/', ',', '{', '}', '*', '+'];
        let forbidden = if wildcards { &FORBIDDEN[..4] } else { FORBIDDEN };
        for part in places(template) {
            match part {
                Part::Text(text) if text.contains("{{") || text.contains("}}") => return Ok(None),
                Part::Text(_) => {}
                Part::Place(expression) => {
                    let entity = self.principal().map_or("", |principal| &principal.entity_id);
                    let value = self.host().identity_value(entity, expression).await?;
                    if value.is_some_and(|value| matches!(&*value, "" | "." | "..")) {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(self.fill_template(template, forbidden).await?.ok())
    }
}

enum Part<'t> {
    Text(&'t str),
    Place(&'t str),
}

/// Braces that do not pair up are text.
fn places(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(start) = rest.find("{{") else { return Some(Part::Text(std::mem::take(&mut rest))) };
        let Some(length) = rest[start..].find("}}") else { return Some(Part::Text(std::mem::take(&mut rest))) };
        if start > 0 {
            let (before, after) = rest.split_at(start);
            rest = after;
            return Some(Part::Text(before));
        }
        let place = rest[2..length].trim();
        rest = &rest[length + 2..];
        Some(Part::Place(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        places(text)
            .map(|part| match part {
                Part::Text(text) => format!("'{text}'"),
                Part::Place(place) => format!("<{place}>"),
            })
            .collect()
    }

    #[test]
    fn places_are_found() {
        assert_eq!(shown(""), "");
        assert_eq!(shown("a"), "'a'");
        assert_eq!(shown("a{{ b }}c{{d}}"), "'a'<b>'c'<d>");
        assert_eq!(shown("{{}}"), "<>");
        for text in ["{{a", "a}}", "}}{{", "{a}"] {
            assert_eq!(shown(text), format!("'{text}'"));
            assert!(!has_places(text));
        }
        assert!(has_places("x{{y}}"));
    }
}
