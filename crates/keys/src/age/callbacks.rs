//! What plugins and locked keys may ask a person.

use crate::Ask;
use age::Callbacks;
use age::secrecy::SecretString;
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Person(pub(super) Arc<dyn Ask>);

impl Callbacks for Person {
    fn display_message(&self, message: &str) {
        self.0.tell(message);
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let no = no.unwrap_or("no");
        let answer = self.0.line(&format!("{message} [1: {yes}, 2: {no}]"))?;
        match answer.as_str() {
            "1" | "y" | "yes" => Some(true),
            "2" | "n" | "no" => Some(false),
            other => Some(other == yes),
        }
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        self.0.line(&format!("{description}:"))
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.0.secret(&format!("{description}:")).map(|text| SecretString::from(text.as_str()))
    }
}
