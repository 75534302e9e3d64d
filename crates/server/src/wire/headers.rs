//! `custom_response_headers`: headers that the configuration adds to replies, by status.

use http::{HeaderName, HeaderValue, Response};
use std::collections::BTreeMap;

/// What to add to which replies, from the general to the exact: the later wins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Headers(Vec<(When, HeaderName, HeaderValue)>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum When {
    Always,
    /// The first digit of the status.
    Class(u16),
    Status(u16),
}

impl Headers {
    /// From the configuration: status or class → name → values. What is no header, or is the server's own
    /// (`X-Vault-…`), is left out; the configuration's check has said so.
    pub(super) fn new(configured: &BTreeMap<String, BTreeMap<String, Vec<String>>>) -> Self {
        let mut rows = Vec::new();
        for (status, headers) in configured {
            let Some(when) = When::parse(status) else { continue };
            for (name, values) in headers {
                let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(values.join("; "))) else {
                    continue;
                };
                if !name.as_str().starts_with("x-vault-") {
                    rows.push((when, name, value));
                }
            }
        }
        rows.sort_by_key(|(when, ..)| *when);
        Self(rows)
    }

    /// Adds `name` to every reply.
    pub(super) fn always(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.insert(0, (When::Always, name, value));
    }

    pub(super) fn apply<B>(&self, response: &mut Response<B>) {
        let status = response.status().as_u16();
        for (when, name, value) in &self.0 {
            let applies = match when {
                When::Always => true,
                When::Class(digit) => status / 100 == *digit,
                When::Status(exact) => status == *exact,
            };
            if applies {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
    }
}

impl When {
    fn parse(text: &str) -> Option<Self> {
        if text == "default" {
            return Some(Self::Always);
        }
        match text.strip_suffix("xx") {
            Some(digit) => digit.parse().ok().map(Self::Class),
            None => text.parse().ok().map(Self::Status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(rows: &[(&str, &str, &[&str])]) -> Headers {
        let mut map: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for (status, name, values) in rows {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            map.entry((*status).to_owned()).or_default().insert((*name).to_owned(), values);
        }
        Headers::new(&map)
    }

    fn header(headers: &Headers, status: u16, name: &str) -> Option<String> {
        let mut response = Response::builder().status(status).body(()).unwrap();
        headers.apply(&mut response);
        response.headers().get(name).map(|v| v.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_exact_beats_the_class_beats_the_default() {
        let rows = configured(&[("404", "X-A", &["exact"]), ("4xx", "X-A", &["class"]), ("default", "X-A", &["all"])]);
        assert_eq!(header(&rows, 200, "x-a").as_deref(), Some("all"));
        assert_eq!(header(&rows, 403, "x-a").as_deref(), Some("class"));
        assert_eq!(header(&rows, 404, "x-a").as_deref(), Some("exact"));
    }

    #[test]
    fn values_are_joined() {
        let rows = configured(&[("default", "Content-Security-Policy", &["default-src 'none'", "img-src 'self'"])]);
        assert_eq!(header(&rows, 200, "content-security-policy").as_deref(), Some("default-src 'none'; img-src 'self'"));
    }

    #[test]
    fn what_is_no_header_or_ours_is_left_out() {
        let rows = configured(&[
            ("default", "X-Vault-Token", &["x"]),
            ("default", "a b", &["x"]),
            ("2xx", "X-B", &["a\nb"]),
            ("abc", "X-C", &["x"]),
        ]);
        assert_eq!(rows, Headers::default());
    }
}
