//! Identity templates in the paths of rules: `{{identity.entity.id}}`.

use std::fmt;

/// A path with places for values of the principal's identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Box<str>),
    Value(Expression),
}

/// One value of an identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expression {
    EntityId,
    EntityName,
    EntityMetadata(Box<str>),
    /// Of the alias on the auth method with this accessor.
    Alias {
        accessor: Box<str>,
        field: Field,
    },
    /// Of a group that the entity is a member of.
    Group {
        by: GroupBy,
        key: Box<str>,
        field: Field,
    },
    /// Anything else. It is accepted in a policy, as the reference does, and never filled.
    Unknown(Box<str>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupBy {
    Id,
    Name,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    Id,
    Name,
    Metadata(Box<str>),
    CustomMetadata(Box<str>),
}

/// Where the values come from: the identity of one principal.
pub trait Subject {
    /// The value, or nothing if the principal has none.
    fn value(&self, expression: &Expression) -> Option<String>;
}

/// A principal without an entity: no template is filled.
impl Subject for () {
    fn value(&self, _: &Expression) -> Option<String> {
        None
    }
}

/// Why a template gave no path. The rule then grants nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfilled {
    NoValue(Expression),
    /// The value has a character that would change what the rule matches.
    BadValue(Expression),
}

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue(expression) => write!(f, "the principal has no {expression}"),
            Self::BadValue(expression) => write!(f, "the value of {expression} has a character that policies give a meaning"),
        }
    }
}

/// `{{` and `}}` do not pair up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unbalanced;

impl Template {
    /// Reads a path; nothing if it has no template.
    ///
    /// # Errors
    /// [`Unbalanced`].
    pub fn parse(path: &str) -> Result<Option<Self>, Unbalanced> {
        let mut pieces = path.split("{{");
        let first = pieces.next().unwrap_or_default();
        if first.contains("}}") {
            return Err(Unbalanced);
        }
        let mut parts = vec![Part::Text(first.into())];
        for piece in pieces {
            let mut halves = piece.split("}}");
            let (Some(expression), Some(text), None) = (halves.next(), halves.next(), halves.next()) else {
                return Err(Unbalanced);
            };
            parts.push(Part::Value(Expression::parse(expression.trim())));
            parts.push(Part::Text(text.into()));
        }
        Ok((parts.len() > 1).then_some(Self { parts }))
    }

    /// The path for one principal.
    ///
    /// A value with `*`, `+`, `/`, `,`, braces or control characters, an empty one, `.` and `..` are refused, or a principal could
    /// widen its own rule (GHSA-59w7-v8rr-pr4p); the two switches, set on the policy by its author, let wildcards and slashes in.
    ///
    /// # Errors
    /// [`Unfilled`].
    pub fn fill(&self, subject: &dyn Subject, allow_wildcards: bool, allow_slashes: bool) -> Result<String, Unfilled> {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Value(expression) => {
                    let value = subject.value(expression).ok_or_else(|| Unfilled::NoValue(expression.clone()))?;
                    let bad = |c: char| match c {
                        '*' | '+' => !allow_wildcards,
                        '/' => !allow_slashes,
                        ',' | '{' | '}' => true,
                        c => c.is_control(),
                    };
                    let dots = value.split('/').any(|segment| segment == "." || segment == "..");
                    if value.is_empty() || dots || value.contains(bad) {
                        return Err(Unfilled::BadValue(expression.clone()));
                    }
                    path.push_str(&value);
                }
            }
        }
        Ok(path)
    }
}

impl Expression {
    /// What stands between the braces.
    pub fn parse(text: &str) -> Self {
        Self::parse_known(text).unwrap_or_else(|| Self::Unknown(text.into()))
    }

    fn parse_known(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("identity.")?;
        if let Some(rest) = rest.strip_prefix("entity.") {
            return Some(match rest {
                "id" => Self::EntityId,
                "name" => Self::EntityName,
                _ => match rest.split_once('.')? {
                    ("metadata", key) if !key.is_empty() => Self::EntityMetadata(key.into()),
                    ("aliases", alias) => {
                        let (accessor, field) = alias.split_once('.')?;
                        Self::Alias { accessor: accessor.into(), field: Field::parse(field)? }
                    }
                    _ => return None,
                },
            });
        }
        let (by, rest) = rest.strip_prefix("groups.")?.split_once('.')?;
        let by = match by {
            "ids" => GroupBy::Id,
            "names" => GroupBy::Name,
            _ => return None,
        };
        let (key, field) = rest.split_once('.')?;
        match Field::parse(field)? {
            Field::CustomMetadata(_) => None,
            field => Some(Self::Group { by, key: key.into(), field }),
        }
    }
}

impl Field {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "id" => Some(Self::Id),
            "name" => Some(Self::Name),
            _ => match text.split_once('.')? {
                ("metadata", key) if !key.is_empty() => Some(Self::Metadata(key.into())),
                ("custom_metadata", key) if !key.is_empty() => Some(Self::CustomMetadata(key.into())),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntityId => f.write_str("identity.entity.id"),
            Self::EntityName => f.write_str("identity.entity.name"),
            Self::EntityMetadata(key) => write!(f, "identity.entity.metadata.{key}"),
            Self::Alias { accessor, field } => write!(f, "identity.entity.aliases.{accessor}.{field}"),
            Self::Group { by: GroupBy::Id, key, field } => write!(f, "identity.groups.ids.{key}.{field}"),
            Self::Group { by: GroupBy::Name, key, field } => write!(f, "identity.groups.names.{key}.{field}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("id"),
            Self::Name => f.write_str("name"),
            Self::Metadata(key) => write!(f, "metadata.{key}"),
            Self::CustomMetadata(key) => write!(f, "custom_metadata.{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(&'static str);

    impl Subject for Always {
        fn value(&self, expression: &Expression) -> Option<String> {
            (!matches!(expression, Expression::Unknown(_))).then(|| self.0.to_owned())
        }
    }

    fn template(path: &str) -> Template {
        Template::parse(path).expect("balanced").expect("a template")
    }

    #[test]
    fn expressions_read_as_they_print() {
        for text in [
            "identity.entity.id",
            "identity.entity.name",
            "identity.entity.metadata.team.x",
            "identity.entity.aliases.auth_userpass_1.id",
            "identity.entity.aliases.a.name",
            "identity.entity.aliases.a.metadata.k",
            "identity.entity.aliases.a.custom_metadata.k",
            "identity.groups.ids.g.name",
            "identity.groups.names.g.id",
            "identity.groups.names.g.metadata.k",
        ] {
            let expression = Expression::parse(text);
            assert!(!matches!(expression, Expression::Unknown(_)), "{text}");
            assert_eq!(expression.to_string(), text);
        }
        for text in [
            "",
            "foo",
            "identity",
            "identity.entity",
            "identity.entity.metadata",
            "identity.entity.metadata.",
            "identity.entity.aliases.a",
            "identity.entity.aliases.a.foo",
            "identity.groups.foo.g.id",
            "identity.groups.ids.g",
            "identity.groups.ids.g.custom_metadata.k",
            "identity.Entity.id",
        ] {
            assert!(matches!(Expression::parse(text), Expression::Unknown(_)), "{text}");
        }
    }

    #[test]
    fn braces_must_pair_up() {
        assert_eq!(Template::parse("a/b"), Ok(None));
        for path in ["{{a", "a}}", "{{a}}b}}", "{{a{{b}}", "}}{{"] {
            assert_eq!(Template::parse(path), Err(Unbalanced), "{path}");
        }
    }

    #[test]
    fn fills() {
        let template = template("secret/{{ identity.entity.id }}/x/{{identity.entity.name}}*");
        assert_eq!(template.fill(&Always("e-1"), false, false), Ok("secret/e-1/x/e-1*".to_owned()));
        assert_eq!(template.fill(&(), false, false), Err(Unfilled::NoValue(Expression::EntityId)));
    }

    #[test]
    fn values_that_would_widen_the_rule_are_refused() {
        let template = template("secret/{{identity.entity.name}}/x");
        for value in ["*", "+", "a*", "a/b", "/", "a,b", "{{x", "}}", "", ".", "..", "a\n", "a\0b"] {
            let unfilled = template.fill(&Always(value), false, false);
            assert_eq!(unfilled, Err(Unfilled::BadValue(Expression::EntityName)), "{value:?}");
        }
        assert!(template.fill(&Always("a*"), true, false).is_ok());
        assert!(template.fill(&Always("a/b"), false, true).is_ok());
        assert!(template.fill(&Always("a/../b"), true, true).is_err());
        assert!(template.fill(&Always("a,b"), true, true).is_err());
    }
}
