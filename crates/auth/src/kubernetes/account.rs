//! Whose a service account's token says it is, in both forms that Kubernetes has written.

use crate::jwt::claims;
use coffer_types::{Json, Object};

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The secret that an old token stands in; empty for the tokens of today.
    pub(super) secret: String,
}

impl Account {
    /// From a token's claims: `kubernetes.io` as projected tokens have it, else the old ones.
    pub(super) fn of(found: &Object) -> Option<Self> {
        let text = |path: &str| claims::pointer(found, path).and_then(Json::as_str);
        let old = |name: &str| found.get(&format!("kubernetes.io/serviceaccount/{name}")).and_then(Json::as_str);
        let account = if found.contains("kubernetes.io") {
            Self {
                namespace: text("/kubernetes.io/namespace")?.to_owned(),
                name: text("/kubernetes.io/serviceaccount/name")?.to_owned(),
                uid: text("/kubernetes.io/serviceaccount/uid")?.to_owned(),
                secret: String::new(),
            }
        } else {
            Self {
                namespace: old("namespace")?.to_owned(),
                name: old("service-account.name")?.to_owned(),
                uid: old("service-account.uid")?.to_owned(),
                secret: old("secret.name").unwrap_or_default().to_owned(),
            }
        };
        // The namespace becomes a part of an address, the name a part of the alias.
        (is_name(&account.namespace) && is_name(&account.name) && !account.uid.is_empty()).then_some(account)
    }

    /// The user that the cluster knows it as.
    pub(super) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// A DNS subdomain (RFC 1123), as names of objects are.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| plain(b) || matches!(b, b'-' | b'.'))
        && text.split('.').all(|part| part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::testing::object;

    #[test]
    fn both_forms_are_read_and_nothing_half() {
        let new = r#"{"kubernetes.io":{"namespace":"n","serviceaccount":{"name":"a","uid":"u"}}}"#;
        assert_eq!(Account::of(&object(new)).unwrap().user(), "system:serviceaccount:n:a");
        let old = r#"{"kubernetes.io/serviceaccount/namespace":"n","kubernetes.io/serviceaccount/service-account.name":"a",
            "kubernetes.io/serviceaccount/service-account.uid":"u","kubernetes.io/serviceaccount/secret.name":"s"}"#;
        assert_eq!(Account::of(&object(old)).unwrap().secret, "s");
        for bad in [
            "{}".to_owned(),
            new.replace(r#","uid":"u""#, ""),
            new.replace(r#""u""#, r#""""#),
            new.replace(r#""n""#, "5"),
            new.replace(r#""n""#, r#""n/../x""#),
            new.replace(r#""n""#, r#""..""#),
            new.replace(r#""n""#, r#""N""#),
            new.replace(r#""a""#, r#""a:b""#),
            new.replace(r#""a""#, r#""""#),
            old.replace("uid", "gid"),
            // The new form is there and says less: the old one does not stand in for it.
            old.replacen('{', r#"{"kubernetes.io":{},"#, 1),
        ] {
            assert!(Account::of(&object(&bad)).is_none(), "{bad}");
        }
    }
}
