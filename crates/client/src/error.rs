//! What can go wrong between a command and its answer.

use crate::Instead;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub enum Error {
    /// The server answered, with a refusal.
    Api(Box<Api>),
    /// No answer: refused, timed out, not understood.
    NoAnswer { method: &'static str, url: String, why: String, hint: Option<String> },
    /// Ours to set right before anything is sent: addresses, certificates, variables.
    Setup(String),
    /// The caller asked to see the request instead of sending it.
    Instead(Instead),
}

/// A refusal by the server.
#[derive(Debug)]
pub struct Api {
    pub method: &'static str,
    pub url: String,
    pub namespace: Option<String>,
    pub status: u16,
    /// The server's own words; `None` when the body was not an API error.
    pub errors: Option<Vec<String>>,
    /// The body where `errors` is `None`.
    pub raw: String,
    /// What would help, where we can tell.
    pub hint: Option<String>,
}

impl Error {
    pub(crate) fn setup(text: impl Into<String>) -> Self {
        Self::Setup(text.into())
    }

    /// The status that the server answered with, if it did.
    pub fn status(&self) -> Option<u16> {
        if let Self::Api(api) = self { Some(api.status) } else { None }
    }

    /// What would help, in a sentence of its own.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Api(api) => api.hint.as_deref(),
            Self::NoAnswer { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(api) => api.fmt(f),
            // Go's wording, which scripts match: `Get "http://…": dial tcp …`.
            Self::NoAnswer { method, url, why, .. } => {
                let (first, rest) = method.split_at(1);
                write!(f, "{first}{} {url:?}: {why}", rest.to_ascii_lowercase())
            }
            Self::Setup(text) => f.write_str(text),
            Self::Instead(instead) => f.write_str(&instead.text),
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Error making API request.\n\n")?;
        if let Some(namespace) = &self.namespace {
            writeln!(f, "Namespace: {namespace}")?;
        }
        write!(f, "URL: {} {}\nCode: {}. ", self.method, self.url, self.status)?;
        match &self.errors {
            Some(errors) => {
                f.write_str("Errors:\n\n")?;
                for (i, error) in errors.iter().enumerate() {
                    write!(f, "{}* {error}", if i == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            None => write!(f, "Raw Message:\n\n{}", self.raw),
        }
    }
}

impl std::error::Error for Error {}

/// An I/O error in the words that Go has for it.
pub(crate) fn go_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => "connection refused".into(),
        K::ConnectionReset => "connection reset by peer".into(),
        K::NotFound => "no such file or directory".into(),
        K::PermissionDenied => "permission denied".into(),
        K::TimedOut => "i/o timeout".into(),
        K::HostUnreachable => "no route to host".into(),
        K::NetworkUnreachable => "network is unreachable".into(),
        K::UnexpectedEof => "EOF".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(errors: Option<Vec<String>>, raw: &str, namespace: Option<&str>) -> Error {
        Error::Api(Box::new(Api {
            method: "GET",
            url: "http://h/v1/x".into(),
            namespace: namespace.map(Into::into),
            status: 403,
            errors,
            raw: raw.into(),
            hint: None,
        }))
    }

    #[test]
    fn texts_are_the_references() {
        let text = api(Some(vec!["permission denied".into()]), "", Some("ns1/")).to_string();
        assert_eq!(
            text,
            "Error making API request.\n\nNamespace: ns1/\nURL: GET http://h/v1/x\nCode: 403. Errors:\n\n* permission denied"
        );
        let text = api(None, "<html>", None).to_string();
        assert_eq!(text, "Error making API request.\n\nURL: GET http://h/v1/x\nCode: 403. Raw Message:\n\n<html>");
        let error = Error::NoAnswer { method: "GET", url: "http://h/v1/x".into(), why: "dial tcp".into(), hint: None };
        assert_eq!(error.to_string(), "Get \"http://h/v1/x\": dial tcp");
    }
}
