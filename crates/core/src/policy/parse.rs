//! From the text of a policy to its rules.

use std::fmt;

use coffer_hcl::{Body, Item, ParseError, Pos, Value, ValueKind};
use coffer_types::{Json, Object, Span, Timestamp};

use super::capability::{Capabilities, Capability};
use super::filter::ListFilter;
use super::parameters::ValueLists;
use super::pattern::Pattern;
use super::template::Template;

/// A policy: a name and its rules.
#[derive(Debug)]
pub struct Policy {
    pub name: Box<str>,
    pub(crate) paths: Vec<PathRule>,
    /// Set by the policy's author beside the text: template values may hold `*` and `+`.
    pub allow_wildcards_in_identity_templates: bool,
    /// Set by the policy's author beside the text: template values may hold `/`.
    pub allow_slashes_in_identity_templates: bool,
}

/// One `path "…" { … }` of a policy.
#[derive(Debug)]
pub struct PathRule {
    /// The path as it was written.
    pub written: Box<str>,
    /// Where its block stands in the text.
    pub pos: Pos,
    pub capabilities: Capabilities,
    pub(crate) place: Place,
    pub(crate) constraints: Constraints,
    /// From then on the rule grants nothing.
    pub(crate) expires: Option<Timestamp>,
}

/// A path, or one that each principal has its own of.
#[derive(Debug)]
pub(crate) enum Place {
    Fixed(Pattern),
    Templated(Template),
}

/// What a rule asks beyond the capability.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Constraints {
    /// Both zero where not set.
    pub(crate) min_wrapping_ttl: Span,
    pub(crate) max_wrapping_ttl: Span,
    pub(crate) allowed: ValueLists,
    pub(crate) denied: ValueLists,
    pub(crate) required: Vec<Box<str>>,
    /// The most keys that one page of a list may have; 0 for no limit.
    pub(crate) pagination_limit: u32,
    pub(crate) list_filter: Option<ListFilter>,
}

/// Why a text is no policy, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to parse policy: {}", self.0)
    }
}

impl std::error::Error for PolicyError {}

impl From<ParseError> for PolicyError {
    fn from(error: ParseError) -> Self {
        Self(error.to_string())
    }
}

/// Longest text of a policy, in bytes. A compiled set can take many times the memory of its text, so this bounds what one author
/// can take; Vault's integrated storage takes no larger policy either.
pub const MAX_POLICY: usize = 1 << 20;

const PATH_KEYS: [&str; 13] = [
    "comment",
    "policy",
    "capabilities",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "mfa_methods",
    "pagination_limit",
    "expiration",
    "list_scan_response_keys_filter_path",
    "control_group",
];

impl Policy {
    /// Reads a policy in HCL or JSON. The name is the caller's: a `name` in the text is accepted and means nothing, as in Vault.
    ///
    /// # Errors
    /// [`PolicyError`] for a text that does not parse, unknown keys and capabilities, wrong types, and what is known and can't be
    /// enforced here (`control_group`, `mfa_methods`): to ignore those would grant more than the author meant.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError(format!("longer than {MAX_POLICY} bytes")));
        }
        let document = coffer_hcl::parse(text)?;
        check_keys(&document.body, &["name", "path"]).map_err(PolicyError)?;
        if let Some(item) = document.body.get("name")
            && item.value.scalar().is_none()
        {
            return Err(
                ParseError::new(item.value.pos, format!("name must be a string, not a {}", item.value.type_name())).into()
            );
        }
        let mut paths = Vec::new();
        for block in document.body.labelled("path")? {
            paths.push(path_rule(&block.label.name, block.label.pos, block.body).map_err(PolicyError)?);
        }
        Ok(Self {
            name: name.into(),
            paths,
            allow_wildcards_in_identity_templates: false,
            allow_slashes_in_identity_templates: false,
        })
    }

    /// The policy that grants everything. It has no text.
    pub fn root() -> Self {
        Self {
            name: "root".into(),
            paths: Vec::new(),
            allow_wildcards_in_identity_templates: false,
            allow_slashes_in_identity_templates: false,
        }
    }

    /// The rules in the order of the text.
    pub fn paths(&self) -> &[PathRule] {
        &self.paths
    }

    /// Whether its rules depend on who asks.
    pub fn is_templated(&self) -> bool {
        self.paths.iter().any(|rule| matches!(rule.place, Place::Templated(_)))
    }
}

fn path_rule(path: &str, pos: Pos, body: &Body) -> Result<PathRule, String> {
    let here = |what: String| format!("path {path:?}: {what}");
    // The reference says the path twice in errors of the values themselves; scripts match on it.
    let twice = |what: String| here(here(what));
    let template = Template::parse(path)
        .map_err(|_| here("failed to validate policy templating: unbalanced templating characters".to_owned()))?;
    check_keys(body, &PATH_KEYS).map_err(here)?;
    for known in ["control_group", "mfa_methods"] {
        if body.get(known).is_some() {
            return Err(here(format!("{known} is not supported: a rule that asks for it would grant more than it says")));
        }
    }
    let fields = Fields { body };
    let expires = fields.expiration().map_err(twice)?;
    let pattern = || Pattern::parse(path).map_err(|bad| twice(bad.to_string()));
    let place = match template {
        Some(template) => {
            pattern()?;
            Place::Templated(template)
        }
        None => Place::Fixed(pattern()?),
    };
    let capabilities = fields.capabilities().map_err(twice)?;
    let constraints = fields.constraints(capabilities).map_err(|error| match error {
        Wrong::Type(what) => twice(what),
        Wrong::Meaning(what) => here(what),
    })?;
    // A deny denies whatever else the rule says, as in the reference.
    let constraints = if capabilities.denies() { Constraints::default() } else { constraints };
    Ok(PathRule { written: path.into(), pos, capabilities, place, constraints, expires })
}

/// `N errors occurred:` and a line for each key that is not known.
fn check_keys(body: &Body, valid: &[&str]) -> Result<(), String> {
    let unknown: Vec<String> = body
        .items
        .iter()
        .filter(|item| !valid.contains(&item.name()))
        .map(|item| format!("invalid key {:?} on line {}", item.name(), item.pos().line))
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(errors_occurred(&unknown)) }
}

/// Several errors in the form in which the API lists them.
pub(crate) fn errors_occurred<S: AsRef<str>>(errors: &[S]) -> String {
    let mut text = match errors.len() {
        1 => "1 error occurred:\n".to_owned(),
        n => format!("{n} errors occurred:\n"),
    };
    for error in errors {
        text.push_str("\t* ");
        text.push_str(error.as_ref());
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The two forms of an error about a field.
enum Wrong {
    Type(String),
    Meaning(String),
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Type(what)
    }
}

/// The fields of one path block.
struct Fields<'a> {
    body: &'a Body,
}

impl<'a> Fields<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.body.get(name).map(|item| &item.value)
    }

    fn strings(&self, name: &str) -> Result<Vec<&'a str>, String> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let list = value.as_list().ok_or_else(|| wrong_type(name, "a list of strings", value))?;
        list.iter().map(|item| item.scalar().ok_or_else(|| wrong_type(name, "a list of strings", item))).collect()
    }

    fn scalar(&self, name: &str) -> Result<Option<&'a str>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.scalar().map(Some).ok_or_else(|| wrong_type(name, "a string", value))
    }

    fn capabilities(&self) -> Result<Capabilities, String> {
        let legacy = match self.scalar("policy")? {
            None | Some("") => &[][..],
            Some("deny") => return Ok(Capabilities::DENY),
            Some("read") => &[Capability::Read, Capability::List][..],
            Some("write" | "sudo") => {
                &[Capability::Create, Capability::Read, Capability::Update, Capability::Delete, Capability::List]
            }
            Some(other) => return Err(format!("invalid policy {other:?}")),
        };
        let mut all: Capabilities = legacy.iter().copied().collect();
        if self.scalar("policy")? == Some("sudo") {
            all = all.with(Capability::Sudo);
        }
        let mut denied = false;
        for word in self.strings("capabilities")? {
            let capability = Capability::parse(word).ok_or_else(|| format!("invalid capability {word:?}"))?;
            denied |= capability == Capability::Deny;
            all = all.with(capability);
        }
        Ok(if denied { Capabilities::DENY } else { all })
    }

    fn expiration(&self) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.scalar("expiration")?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let when = match text.parse::<i64>() {
            Ok(seconds) => Some(Timestamp::from_secs(seconds)),
            Err(_) => Timestamp::parse_rfc3339(text),
        };
        when.map(Some).ok_or_else(|| "invalid expiration time: could not parse string as date and time".to_owned())
    }

    fn constraints(&self, capabilities: Capabilities) -> Result<Constraints, Wrong> {
        let min_wrapping_ttl = self.span("min_wrapping_ttl")?;
        let max_wrapping_ttl = self.span("max_wrapping_ttl")?;
        if !max_wrapping_ttl.is_zero() && max_wrapping_ttl < min_wrapping_ttl {
            return Err(Wrong::Meaning("max_wrapping_ttl cannot be less than min_wrapping_ttl".to_owned()));
        }
        Ok(Constraints {
            min_wrapping_ttl,
            max_wrapping_ttl,
            allowed: self.value_lists("allowed_parameters")?,
            denied: self.value_lists("denied_parameters")?,
            required: self.strings("required_parameters")?.into_iter().map(Into::into).collect(),
            pagination_limit: self.pagination_limit()?,
            list_filter: self.list_filter(capabilities)?,
        })
    }

    fn span(&self, name: &str) -> Result<Span, Wrong> {
        let bad = |error: &str| Wrong::Meaning(format!("error parsing {name}: {error}"));
        let Some(value) = self.value(name) else { return Ok(Span::ZERO) };
        let text = value.scalar().ok_or_else(|| bad("could not parse duration from input"))?;
        let span = Span::parse(text).map_err(|error| bad(error.public()))?;
        if span.is_negative() { Err(bad("a wrapping TTL can't be negative")) } else { Ok(span) }
    }

    fn pagination_limit(&self) -> Result<u32, String> {
        let Some(value) = self.value("pagination_limit") else { return Ok(0) };
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let number = number.ok_or_else(|| wrong_type("pagination_limit", "a whole number", value))?;
        // Zero and below stand for no limit, as in the reference.
        Ok(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
    }

    fn list_filter(&self, capabilities: Capabilities) -> Result<Option<ListFilter>, Wrong> {
        let name = "list_scan_response_keys_filter_path";
        let Some(text) = self.scalar(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        if !capabilities.has(Capability::List) {
            return Err(Wrong::Meaning(format!("{name} needs to be used on a path with the list capability")));
        }
        ListFilter::parse(text).map(Some).map_err(|error| Wrong::Meaning(error.to_string()))
    }

    fn value_lists(&self, name: &str) -> Result<ValueLists, String> {
        let mut lists = ValueLists::default();
        for item in self.body.all(name) {
            let body = item.value.as_body().ok_or_else(|| wrong_type(name, "an object of lists", &item.value))?;
            for field in &body.items {
                // Names that differ in case only are one name, and so join.
                lists.merge(&ValueLists([value_list(name, field)?].into_iter().collect()));
            }
        }
        Ok(lists)
    }
}

fn value_list(name: &str, field: &Item) -> Result<(Box<str>, Vec<Json>), String> {
    let list = field.value.as_list().filter(|_| field.keys.len() == 1);
    let list = list.ok_or_else(|| wrong_type(name, "an object of lists", &field.value))?;
    Ok((field.name().to_lowercase().into(), list.iter().map(json).collect()))
}

fn wrong_type(name: &str, wanted: &str, value: &Value) -> String {
    ParseError::new(value.pos, format!("{name} must be {wanted}, not a {}", value.type_name())).to_string()
}

fn json(value: &Value) -> Json {
    match &value.kind {
        ValueKind::String(text) => Json::String(text.clone()),
        ValueKind::Number(text) => match value.as_i64() {
            // The forms that JSON lacks (0x1f, 017) become the number that they mean.
            Some(number) => Json::from(number),
            None => Json::Number(text.clone()),
        },
        ValueKind::Bool(value) => Json::Bool(*value),
        ValueKind::Null => Json::Null,
        ValueKind::List(values) => Json::Array(values.iter().map(json).collect()),
        ValueKind::Object(body) => {
            Json::Object(body.items.iter().map(|item| (item.name(), json(&item.value))).collect::<Object>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        Policy::parse("p", text).expect_err(text).to_string()
    }

    fn rule(fields: &str) -> PathRule {
        let text = format!("path \"x\" {{ {fields} }}");
        Policy::parse("p", &text).expect(&text).paths.remove(0)
    }

    fn words(fields: &str) -> Vec<&'static str> {
        rule(fields).capabilities.iter().map(Capability::as_str).collect()
    }

    #[test]
    fn capabilities_and_the_old_words_for_them() {
        assert_eq!(words("capabilities = [\"update\", \"read\"]"), ["read", "update"]);
        assert_eq!(words("capabilities = [\"scan\", \"patch\", \"sudo\"]"), ["patch", "scan", "sudo"]);
        assert_eq!(words("capabilities = [\"read\", \"deny\", \"sudo\"]"), ["deny"]);
        assert_eq!(words("capabilities = []"), [""; 0]);
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("policy = \"read\""), ["list", "read"]);
        assert_eq!(words("policy = \"read\" capabilities = [\"delete\"]"), ["delete", "list", "read"]);
        assert_eq!(words("policy = \"write\""), ["create", "delete", "list", "read", "update"]);
        assert_eq!(words("policy = \"sudo\""), ["create", "delete", "list", "read", "sudo", "update"]);
        assert_eq!(words("policy = \"deny\" capabilities = [\"read\"]"), ["deny"]);
    }

    #[test]
    fn constraints() {
        let rule = rule(
            "capabilities = [\"list\"] allowed_parameters = { \"A\" = [\"1\", 2, true] b = [] } denied_parameters { c = [] }
             required_parameters = [\"must\"] min_wrapping_ttl = \"1m\" max_wrapping_ttl = 120 pagination_limit = \"5\"
             expiration = \"2030-01-01T00:00:00Z\" list_scan_response_keys_filter_path = \"{{ .path }}{{ .key }}\" comment = \"why\"",
        );
        let constraints = &rule.constraints;
        assert_eq!(constraints.allowed.get("a").map(<[Json]>::len), Some(3));
        assert_eq!(constraints.allowed.get("b").map(<[Json]>::len), Some(0));
        assert!(constraints.denied.get("c").is_some());
        assert_eq!(constraints.required, ["must".into()]);
        assert_eq!((constraints.min_wrapping_ttl.secs(), constraints.max_wrapping_ttl.secs()), (60, 120));
        assert_eq!(constraints.pagination_limit, 5);
        assert_eq!(rule.expires, Timestamp::parse_rfc3339("2030-01-01T00:00:00Z"));
        assert_eq!(rule_at("expiration = 5"), Some(Timestamp::from_secs(5)));
        assert!(constraints.list_filter.is_some());
    }

    fn rule_at(fields: &str) -> Option<Timestamp> {
        rule(fields).expires
    }

    #[test]
    fn json_and_hcl_say_the_same() {
        let policy =
            Policy::parse("p", r#"{"path":{"secret/*":{"capabilities":["read"]},"b":{"policy":"write"}}}"#).expect("reads");
        assert_eq!(policy.paths.len(), 2);
        assert!(matches!(&policy.paths[0].place, Place::Fixed(Pattern::Prefix(prefix)) if &**prefix == "secret/"));
        assert!(Policy::parse("p", r#"{"path":[{"a":{"capabilities":["read"]}},{"b":{}}]}"#).is_ok());
        assert!(Policy::parse("p", "").expect("empty").paths.is_empty());
        assert!(Policy::parse("p", "# only this").expect("empty").paths.is_empty());
    }

    #[test]
    fn templates_are_read() {
        let policy = Policy::parse("p", "path \"secret/{{identity.entity.id}}/*\" { capabilities = [\"read\"] }").expect("reads");
        assert!(policy.is_templated());
        assert!(!Policy::parse("p", "path \"a\" {}").expect("reads").is_templated());
    }

    /// Where the text is the reference's, it is word for word what the reference answers.
    #[test]
    fn mistakes() {
        for (text, want) in [
            ("path \"x\" {", "failed to parse policy: At 1:12: object expected closing RBRACE got: EOF"),
            (
                "path \"x\" { capabilities = [\"fly\"] }",
                "failed to parse policy: path \"x\": path \"x\": invalid capability \"fly\"",
            ),
            ("path \"x\" { policy = \"fly\" }", "failed to parse policy: path \"x\": path \"x\": invalid policy \"fly\""),
            (
                "path \"x\" { foo = 1\n bar = 2 }",
                "failed to parse policy: path \"x\": 2 errors occurred:\n\t* invalid key \"foo\" on line 1\n\t* invalid key \"bar\" on \
                 line 2\n\n",
            ),
            ("foo = 1", "failed to parse policy: 1 error occurred:\n\t* invalid key \"foo\" on line 1\n\n"),
            (
                "path \"a/+*\" { }",
                "failed to parse policy: path \"a/+*\": path \"a/+*\": invalid use of wildcards ('+*' is forbidden)",
            ),
            (
                "path \"{{identity.entity.id\" { }",
                "failed to parse policy: path \"{{identity.entity.id\": failed to validate policy templating: unbalanced templating \
                 characters",
            ),
            (
                "path \"x\" { min_wrapping_ttl=\"5m\" max_wrapping_ttl=\"1m\" }",
                "failed to parse policy: path \"x\": max_wrapping_ttl cannot be less than min_wrapping_ttl",
            ),
            (
                "path \"x\" { min_wrapping_ttl=\"abc\" }",
                "failed to parse policy: path \"x\": error parsing min_wrapping_ttl: time: invalid duration \"abc\"",
            ),
            (
                "path \"x\" { min_wrapping_ttl=[5] }",
                "failed to parse policy: path \"x\": error parsing min_wrapping_ttl: could not parse duration from input",
            ),
            (
                "path \"x\" { expiration=\"abc\" }",
                "failed to parse policy: path \"x\": path \"x\": invalid expiration time: could not parse string as date and time",
            ),
            (
                "path \"x\" { capabilities=[\"list\"] list_scan_response_keys_filter_path=\"abc\" }",
                "failed to parse policy: path \"x\": list_scan_response_keys_filter_path resulted in same path for two different keys",
            ),
            (
                "path \"x\" { list_scan_response_keys_filter_path=\"{{ .key }}\" }",
                "failed to parse policy: path \"x\": list_scan_response_keys_filter_path needs to be used on a path with the list \
                 capability",
            ),
        ] {
            assert_eq!(error(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(words in proptest::collection::vec(prop_oneof![
            Just("path"), Just(" \"a/+/b*\" "), Just("{"), Just("}"), Just(" capabilities = "), Just("[\"read\"]"), Just("\"{{identity.entity.id}}\""),
            Just(" = "), Just("["), Just("]"), Just(" allowed_parameters "), Just(","), Just("\"x\""), Just(" 5 "), Just("\n"), Just(":"),
            Just(" expiration "), Just(" list_scan_response_keys_filter_path "), Just("\"{{ .key"), Just("}}\""), Just("null"),
        ], 0..24)) {
            if let Ok(policy) = Policy::parse("p", &words.concat()) {
                let compiled = crate::policy::compile(&[policy.into()], &(), Timestamp::NEVER);
                prop_assert!(compiled.is_ok_and(|compiled| compiled.capabilities("a/x/by").len() < 12));
            }
        }
    }

    #[test]
    fn a_text_too_long_is_refused() {
        assert!(Policy::parse("p", &" ".repeat(MAX_POLICY)).is_ok());
        assert!(error(&" ".repeat(MAX_POLICY + 1)).ends_with("longer than 1048576 bytes"));
    }

    /// Refused, in words of our own.
    #[test]
    fn more_mistakes() {
        for text in [
            "path \"x\" { capabilities = \"read\" }",
            "path \"x\" { capabilities = [[\"read\"]] }",
            "path \"x\" { capabilities = [\"Read\"] }",
            "path \"x\" { capabilities = [\"root\"] }",
            "path \"x\" { capabilities = [\"fly\", \"deny\"] }",
            "path \"x\" { capabilities = [\"read\"] capabilities = [\"list\"] }",
            "path { capabilities = [\"read\"] }",
            "path \"a\" \"b\" { }",
            "path \"x\" { allowed_parameters = [\"a\"] }",
            "path \"x\" { allowed_parameters = { a = \"b\" } }",
            "path \"x\" { required_parameters = \"a\" }",
            "path \"x\" { pagination_limit = \"a\" }",
            "path \"x\" { pagination_limit = 1.5 }",
            "path \"x\" { min_wrapping_ttl = \"-5m\" }",
            "path \"x\" { control_group = { factor \"a\" { } } }",
            "path \"x\" { mfa_methods = [\"duo\"] }",
            "path \"x\" { policy = [\"read\"] }",
            "name = [\"a\"]",
            "{\"path\":",
            "{\"path\":{\"x\":{\"capabilities\":[\"read\"]}}} x",
            "{\"path\":{\"x\":1}}",
            "{\"path\":{\"x\":{}},\"path\":{\"y\":{}}}",
        ] {
            assert!(Policy::parse("p", text).is_err(), "{text}");
        }
    }
}
