//! How a command ends when it does not end well.

use super::Context;
use coffer_client::Error;

/// The exit code, or why there is none of the command's own.
pub(crate) type Outcome<T = u8> = Result<T, Failure>;

#[derive(Debug)]
pub(crate) struct Failure {
    /// The server's status, 0 where it did not refuse.
    pub(crate) status: u16,
    /// The body of a 404: some say what is absent, or hold a deleted version.
    pub(crate) not_found: Option<String>,
    pub(crate) code: u8,
    pub(crate) text: String,
    /// What would help, after the text.
    pub(crate) hint: Option<String>,
    /// Where the text goes: `-output-curl-string` and a few recorded errors go to standard output.
    pub(crate) on_stdout: bool,
}

impl Failure {
    /// The command line or something local is wrong: exit 1.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into(), hint: None, on_stdout: false, not_found: None, status: 0 }
    }

    /// The server, or what it was asked for, is at fault: exit 2.
    pub(crate) fn server(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into(), hint: None, on_stdout: false, not_found: None, status: 0 }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn on_stdout(mut self) -> Self {
        self.on_stdout = true;
        self
    }

    pub(crate) fn report(self, context: &Context) -> u8 {
        if self.on_stdout {
            context.line(&self.text);
        } else {
            context.error(&self.text);
        }
        if let Some(hint) = self.hint {
            context.note(&format!("\n{hint}"));
        }
        self.code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let on_stdout = matches!(error, Error::Instead(_));
        let status = error.status().unwrap_or_default();
        let (text, hint) = (error.to_string(), error.hint().map(str::to_owned));
        let not_found = match error {
            Error::Api(api) if api.status == 404 => Some(api.raw),
            _ => None,
        };
        Self { code: if on_stdout { 0 } else { 2 }, text, hint, on_stdout, not_found, status }
    }
}

/// Says what was being done when it failed: `Error listing secrets engines: …`.
pub(crate) trait Because<T> {
    fn because(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T> Because<T> for Result<T, Error> {
    fn because(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| {
            let mut failure = Failure::from(error);
            if !failure.on_stdout {
                failure.text = format!("{}: {}", doing(), failure.text);
            }
            failure
        })
    }
}

impl<T> Because<T> for Outcome<T> {
    fn because(self, doing: impl FnOnce() -> String) -> Self {
        self.map_err(|mut failure| {
            if !failure.on_stdout {
                failure.text = format!("{}: {}", doing(), failure.text);
            }
            failure
        })
    }
}
