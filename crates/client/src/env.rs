//! The environment, read under three names: `COFFER_ADDR`, then `VAULT_ADDR`, then `BAO_ADDR`.

use std::collections::BTreeMap;

/// The prefixes in the order in which they win.
const PREFIXES: [&str; 3] = ["COFFER_", "VAULT_", "BAO_"];

/// Where variables are looked up: the process's own, or a fixed set in tests.
#[derive(Clone, Debug)]
pub enum Environment {
    Process,
    Fixed(BTreeMap<String, String>),
}

impl Environment {
    /// A fixed environment of these pairs.
    pub fn fixed(pairs: &[(&str, &str)]) -> Self {
        Self::Fixed(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    /// The variable of exactly this name; an empty one counts as absent, as everywhere in Vault.
    pub fn raw(&self, name: &str) -> Option<String> {
        match self {
            Self::Process => std::env::var(name).ok(),
            Self::Fixed(all) => all.get(name).cloned(),
        }
        .filter(|value| !value.is_empty())
    }

    /// The value of `ADDR`, `TOKEN`, … under the first prefix that has one.
    pub fn get(&self, name: &str) -> Option<String> {
        self.named(name).map(|(_, value)| value)
    }

    /// As [`Environment::get`], with the full name of the variable that spoke.
    pub fn named(&self, name: &str) -> Option<(String, String)> {
        PREFIXES.iter().find_map(|prefix| {
            let full = format!("{prefix}{name}");
            let value = self.raw(&full)?;
            Some((full, value))
        })
    }

    /// A switch: what Go's `strconv.ParseBool` takes for true. Anything else is an error that names the variable.
    pub fn switch(&self, name: &str) -> Result<bool, String> {
        match self.named(name) {
            None => Ok(false),
            Some((full, value)) => parse_bool(&value)
                .ok_or_else(|| format!("could not parse {full}: {value:?} is neither true nor false (1, 0, true, false)")),
        }
    }

    pub fn home(&self) -> Option<std::path::PathBuf> {
        self.raw("HOME").or_else(|| self.raw("USERPROFILE")).map(Into::into)
    }
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coffers_name_wins_over_vaults_over_baos() {
        let all = Environment::fixed(&[
            ("BAO_ADDR", "b"),
            ("VAULT_ADDR", "v"),
            ("COFFER_ADDR", "c"),
            ("BAO_TOKEN", "t"),
            ("VAULT_TOKEN", ""),
        ]);
        assert_eq!(all.get("ADDR").as_deref(), Some("c"));
        assert_eq!(all.named("TOKEN"), Some(("BAO_TOKEN".into(), "t".into())), "an empty variable is absent");
        assert_eq!(all.get("NAMESPACE"), None);
    }

    #[test]
    fn a_switch_that_is_neither_is_refused() {
        let env = Environment::fixed(&[("VAULT_SKIP_VERIFY", "yes")]);
        assert!(env.switch("SKIP_VERIFY").unwrap_err().contains("VAULT_SKIP_VERIFY"));
        assert_eq!(env.switch("OTHER"), Ok(false));
    }
}
