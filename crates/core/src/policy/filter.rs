//! The template of `list_scan_response_keys_filter_path`: for each key of a list it gives the path that must be readable.
//!
//! Of Go's templates this knows `{{ .path }}` and `{{ .key }}`, piped through `replace "from" "to"`, `lowercase` and `uppercase`.

use std::fmt;

/// A compiled template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListFilter {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Box<str>),
    Value(Source, Vec<Step>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Path,
    Key,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Replace(Box<str>, Box<str>),
    Lowercase,
    Uppercase,
}

/// Why a template is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterError {
    Unclosed,
    /// The action that is not understood.
    Action(Box<str>),
    /// Every key would give the same path.
    KeyUnused,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => f.write_str(
                "unable to compile template for list_scan_response_keys_filter_path: unable to parse template: unclosed action",
            ),
            Self::Action(action) => write!(
                f,
                "unable to compile template for list_scan_response_keys_filter_path: unable to parse template: {{{{{action}}}}} is not \
                 .path or .key, piped through replace, lowercase or uppercase"
            ),
            Self::KeyUnused => f.write_str("list_scan_response_keys_filter_path resulted in same path for two different keys"),
        }
    }
}

impl ListFilter {
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut pieces = text.split("{{");
        let mut parts = vec![Part::Text(pieces.next().unwrap_or_default().into())];
        for piece in pieces {
            let (action, text) = piece.split_once("}}").ok_or(FilterError::Unclosed)?;
            let (action, text) = match action.strip_prefix("- ") {
                Some(action) => {
                    if let Some(Part::Text(before)) = parts.last_mut() {
                        *before = before.trim_end().into();
                    }
                    (action, text)
                }
                None => (action, text),
            };
            let (action, text) = match action.strip_suffix(" -") {
                Some(action) => (action, text.trim_start()),
                None => (action, text),
            };
            parts.push(value(action).ok_or_else(|| FilterError::Action(action.into()))?);
            parts.push(Part::Text(text.into()));
        }
        let filter = Self { parts };
        // Two keys that no template can name, so that only the use of the key tells them apart.
        if filter.path("p", "\u{1}") == filter.path("p", "\u{2}") {
            return Err(FilterError::KeyUnused);
        }
        Ok(filter)
    }

    /// The path that must be readable (for a key that ends in `/`: listable) for `key` to show in a list of `path`.
    pub fn path(&self, path: &str, key: &str) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(source, steps) => {
                    let start = match source {
                        Source::Path => path.to_owned(),
                        Source::Key => key.to_owned(),
                    };
                    out.push_str(&steps.iter().fold(start, |value, step| match step {
                        Step::Replace(from, to) => value.replace(&**from, to),
                        Step::Lowercase => value.to_lowercase(),
                        Step::Uppercase => value.to_uppercase(),
                    }));
                }
            }
        }
        out
    }
}

fn value(action: &str) -> Option<Part> {
    let mut stages = action.split('|').map(str::trim);
    let source = match stages.next()? {
        ".path" => Source::Path,
        ".key" => Source::Key,
        _ => return None,
    };
    let steps = stages.map(step).collect::<Option<_>>()?;
    Some(Part::Value(source, steps))
}

fn step(stage: &str) -> Option<Step> {
    match stage {
        "lowercase" => return Some(Step::Lowercase),
        "uppercase" => return Some(Step::Uppercase),
        _ => {}
    }
    let arguments = stage.strip_prefix("replace ")?.trim();
    let (from, rest) = quoted(arguments)?;
    let (to, rest) = quoted(rest.trim_start())?;
    (rest.is_empty() && !from.is_empty()).then(|| Step::Replace(from.into(), to.into()))
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let (inner, rest) = text.strip_prefix('"')?.split_once('"')?;
    (!inner.contains('\\')).then_some((inner, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (template, want) in [
            ("{{ .path }}{{ .key }}", "secret/metadata/App"),
            ("secret/data/{{.key}}", "secret/data/App"),
            (r#"{{ .path | replace "metadata" "data" }}{{ .key | lowercase }}"#, "secret/data/app"),
            ("a {{- .key -}} b", "aAppb"),
        ] {
            assert_eq!(ListFilter::parse(template).expect(template).path("secret/metadata/", "App"), want);
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for (template, want) in [
            ("abc", FilterError::KeyUnused),
            ("{{ .path }}", FilterError::KeyUnused),
            ("{{ .key", FilterError::Unclosed),
            ("{{ .foo }}", FilterError::Action(" .foo ".into())),
            ("{{ lower .key }}", FilterError::Action(" lower .key ".into())),
            ("{{ .key | replace a b }}", FilterError::Action(" .key | replace a b ".into())),
            ("{{ .key | replace \"a\" \"b\" c }}", FilterError::Action(" .key | replace \"a\" \"b\" c ".into())),
        ] {
            assert_eq!(ListFilter::parse(template), Err(want), "{template}");
        }
    }
}
