//! Label selectors, as far as roles name namespaces with them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/>

use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};

/// What labels must be. All of it must hold; nothing to hold selects nothing here, lest an empty object opens every namespace.
#[derive(Debug)]
pub(super) struct Selector(Vec<Need>);

#[derive(Debug)]
enum Need {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// From its JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let limits = Limits { depth: 8, string: 1024, strings: 1000, members: 200, items: 200 };
        let object = parse(text.as_bytes(), &limits).ok()?.into_object()?;
        let mut needs = Vec::new();
        for (name, value) in object.iter() {
            match name {
                "matchLabels" => {
                    for (label, value) in value.as_object()?.iter() {
                        needs.push(Need::In(label.to_owned(), vec![value.as_str()?.to_owned()]));
                    }
                }
                "matchExpressions" => {
                    for expression in value.as_array()? {
                        needs.push(Need::read(expression)?);
                    }
                }
                _ => return None,
            }
        }
        Some(Self(needs))
    }

    pub(super) fn selects(&self, labels: &Object) -> bool {
        let label = |name: &str| labels.get(name).and_then(Json::as_str);
        let among = |name: &str, values: &[String]| label(name).is_some_and(|found| values.iter().any(|v| v == found));
        !self.0.is_empty()
            && self.0.iter().all(|need| match need {
                Need::In(name, values) => among(name, values),
                Need::NotIn(name, values) => !among(name, values),
                Need::Exists(name) => label(name).is_some(),
                Need::Absent(name) => label(name).is_none(),
            })
    }
}

impl Need {
    fn read(expression: &Json) -> Option<Self> {
        let key = expression.get("key")?.as_str()?.to_owned();
        let values = || -> Option<Vec<String>> {
            let values = expression.get("values")?.as_array()?;
            if values.is_empty() { None } else { values.iter().map(|v| v.as_str().map(str::to_owned)).collect() }
        };
        match expression.get("operator")?.as_str()? {
            "In" => Some(Self::In(key, values()?)),
            "NotIn" => Some(Self::NotIn(key, values()?)),
            "Exists" => Some(Self::Exists(key)),
            "DoesNotExist" => Some(Self::Absent(key)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::testing::object;

    #[test]
    fn labels_are_selected() {
        let labels = object(r#"{"team":"a","tier":"1"}"#);
        let selects = |text: &str| Selector::parse(text).unwrap().selects(&labels);
        for good in [
            r#"{"matchLabels":{"team":"a"}}"#,
            r#"{"matchLabels":{"team":"a","tier":"1"}}"#,
            r#"{"matchExpressions":[{"key":"team","operator":"In","values":["b","a"]},{"key":"x","operator":"DoesNotExist"}]}"#,
            r#"{"matchExpressions":[{"key":"team","operator":"NotIn","values":["b"]},{"key":"tier","operator":"Exists"}]}"#,
        ] {
            assert!(selects(good), "{good}");
        }
        for bad in [
            "{}",
            r#"{"matchLabels":{}}"#,
            r#"{"matchLabels":{"team":"b"}}"#,
            r#"{"matchLabels":{"team":"a","x":"1"}}"#,
            r#"{"matchExpressions":[{"key":"team","operator":"NotIn","values":["a"]}]}"#,
            r#"{"matchLabels":{"team":"a"},"matchExpressions":[{"key":"tier","operator":"DoesNotExist"}]}"#,
        ] {
            assert!(!selects(bad), "{bad}");
        }
        for none in [
            "",
            "x",
            "[]",
            "team: a",
            r#"{"matchLabel":{}}"#,
            r#"{"matchLabels":{"a":1}}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"In","values":[]}]}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"Like"}]}"#,
        ] {
            assert!(Selector::parse(none).is_none(), "{none}");
        }
    }
}
