//! A certificate, its key and its authority in one text, as `vault write pki/issue/…` hands them out.

use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Secret};

pub(super) struct Bundle {
    /// The chain and its key, both PEM.
    pub identity: Option<(String, Secret<String>)>,
    /// PEM.
    pub authority: Option<String>,
}

impl Bundle {
    /// PEM blocks one after the other: with a key, the first certificate is the key's and the others are authorities; without one, all are.
    /// `None` where no certificate is in it.
    pub(super) fn of_pem(text: &str) -> Option<Self> {
        let (mut certificates, mut key) = (Vec::new(), None);
        let mut rest = text;
        while let Some(start) = rest.find("-----BEGIN ") {
            rest = &rest[start..];
            let end = rest.find("-----END ")?;
            let end = end + rest[end..].find('\n').unwrap_or(rest.len() - end);
            let block = &rest[..end];
            rest = &rest[end..];
            if block.starts_with("-----BEGIN CERTIFICATE-----") {
                certificates.push(format!("{block}\n"));
            } else if block.lines().next().is_some_and(|line| line.trim_end().ends_with("PRIVATE KEY-----")) {
                key = Some(Secret::new(format!("{block}\n")));
            }
        }
        Self::of(certificates, key)
    }

    /// The same in JSON: `certificate`, `private_key`, `issuing_ca`, `ca_chain`; also inside of `data`.
    pub(super) fn of_json(text: &str) -> Option<Self> {
        let json = parse(text.as_bytes(), &Limits::NONE).ok()?;
        let json = json.get("data").unwrap_or(&json);
        let text = |name: &str| json.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
        let mut certificates: Vec<String> = text("certificate").map(str::to_owned).into_iter().collect();
        let key = text("private_key").map(Secret::from);
        let chain = json.get("ca_chain").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        certificates.extend(text("issuing_ca").into_iter().chain(chain).map(|pem| format!("{}\n", pem.trim_end())));
        Self::of(certificates, key)
    }

    fn of(mut certificates: Vec<String>, key: Option<Secret<String>>) -> Option<Self> {
        if certificates.is_empty() {
            return None;
        }
        let identity = key.map(|key| (certificates.remove(0), key));
        let authority = (!certificates.is_empty()).then(|| certificates.concat());
        Some(Self { identity, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERT: &str = "-----BEGIN CERTIFICATE-----\nleaf\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\ncanary\n-----END EC PRIVATE KEY-----\n";
    const CA: &str = "-----BEGIN CERTIFICATE-----\nauthority\n-----END CERTIFICATE-----";

    #[test]
    fn of_both_forms() {
        let bundle = Bundle::of_pem(&format!("{KEY}{CERT}{CA}")).unwrap();
        let (chain, key) = bundle.identity.unwrap();
        assert!(chain.contains("leaf") && !chain.contains("authority") && key.expose().contains("canary"));
        assert!(bundle.authority.unwrap().contains("authority"));
        let bundle = Bundle::of_pem(CA).unwrap();
        assert!(bundle.identity.is_none() && bundle.authority.is_some());
        let json =
            Json::Object(coffer_types::Object::new().with("certificate", CERT).with("private_key", KEY).with("issuing_ca", CA));
        let bundle = Bundle::of_json(&String::from_utf8_lossy(&json.to_bytes())).unwrap();
        assert!(bundle.identity.unwrap().0.contains("leaf") && bundle.authority.unwrap().contains("authority"));
    }

    #[test]
    fn refuses() {
        for text in ["", "garbage", "-----BEGIN CERTIFICATE-----\ncut off", KEY] {
            assert!(Bundle::of_pem(text).is_none(), "{text}");
        }
        for text in ["", "[]", "{}", r#"{"private_key":"x"}"#] {
            assert!(Bundle::of_json(text).is_none(), "{text}");
        }
    }
}
