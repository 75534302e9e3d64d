//! Label selectors, as Kubernetes has them:
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/>

use coffer_types::{Json, Object};
use serde::Deserialize;
use std::collections::BTreeMap;

/// All of its requirements must hold; one without any selects everything.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Selector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<Requirement>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Requirement {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads the JSON or YAML form; nothing where it is none, or where a requirement and its values do not fit.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let document = super::rules::document(text)?;
        document.as_object()?;
        let selector: Self = serde_json::from_slice(&document.to_bytes()).ok()?;
        let fits = selector.match_expressions.iter().all(|r| match r.operator {
            Operator::In | Operator::NotIn => !r.values.is_empty(),
            Operator::Exists | Operator::DoesNotExist => r.values.is_empty(),
        });
        fits.then_some(selector)
    }

    pub(super) fn selects(&self, labels: &Object) -> bool {
        let label = |key: &str| labels.get(key).and_then(Json::as_str);
        self.match_labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.match_expressions.iter().all(|r| {
                let value = label(&r.key);
                let listed = value.is_some_and(|v| r.values.iter().any(|known| known == v));
                match r.operator {
                    Operator::In => listed,
                    Operator::NotIn => !listed,
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects() {
        let labels = Object::new().with("team", "a").with("env", "dev");
        for (text, selected) in [
            ("{}", true),
            (r#"{"matchLabels":{"team":"a"}}"#, true),
            (r#"{"matchLabels":{"team":"a","env":"prod"}}"#, false),
            (r#"{"matchLabels":{"other":""}}"#, false),
            (r#"{"matchExpressions":[{"key":"env","operator":"In","values":["dev","test"]}]}"#, true),
            (r#"{"matchExpressions":[{"key":"env","operator":"NotIn","values":["dev"]}]}"#, false),
            (r#"{"matchExpressions":[{"key":"none","operator":"NotIn","values":["dev"]}]}"#, true),
            (r#"{"matchExpressions":[{"key":"env","operator":"Exists"}]}"#, true),
            (r#"{"matchExpressions":[{"key":"env","operator":"DoesNotExist"}]}"#, false),
            (r#"{"matchLabels":{"team":"a"},"matchExpressions":[{"key":"env","operator":"DoesNotExist"}]}"#, false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().selects(&labels), selected, "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "zz",
            "[]",
            "null",
            "3",
            r#"{"matchLabel":{"team":"a"}}"#,
            r#"{"matchLabels":{"team":1}}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"Like","values":["b"]}]}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}"#,
            r#"{"matchExpressions":[{"operator":"Exists"}]}"#,
        ] {
            assert!(Selector::parse(text).is_none(), "{text}");
        }
    }
}
