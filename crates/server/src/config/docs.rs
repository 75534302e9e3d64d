//! `docs/configuration.md`, written from the declarations.

use super::{
    AuditKeys, Config, EmbeddedKeys, Key, ListenerInflight, ListenerKeys, ListenerProfiling, ListenerTelemetry, LockoutKeys,
    RaftKeys, StaticSealKeys, Status, Telemetry,
    load::{ENVIRONMENT, PREFIXES},
};
use std::fmt::Write as _;

/// Every stanza with its title, an introduction and its keys.
pub(crate) const STANZAS: [(&str, &str, &[Key]); 11] = [
    ("Top level", "", Config::KEYS),
    (
        "`storage \"embedded\"`",
        "The durable store on this machine. `storage \"file\"` starts it too. `storage \"inmem\"` has no keys and is gone with the process.",
        EmbeddedKeys::KEYS,
    ),
    (
        "`storage \"raft\"`",
        "Starts the embedded store at its path, on one node. Data that Vault wrote are not read.",
        RaftKeys::KEYS,
    ),
    ("`listener \"tcp\"` and `listener \"unix\"`", "", ListenerKeys::KEYS),
    ("`telemetry` in a listener", "", ListenerTelemetry::KEYS),
    ("`profiling` in a listener", "", ListenerProfiling::KEYS),
    ("`inflight_requests_logging` in a listener", "", ListenerInflight::KEYS),
    (
        "`seal \"static\"`",
        "The server finds the key where it starts and unseals itself. `seal \"shamir\"` has no keys and is the default. Other kinds are known and not built yet.",
        StaticSealKeys::KEYS,
    ),
    ("`audit \"KIND\" \"PATH\"`", "Kinds are `file`, `socket` and `syslog`.", AuditKeys::KEYS),
    (
        "`user_lockout \"KIND\"`",
        "Kinds are `approle`, `ldap` and `userpass`, or `all`. What a mount is tuned to wins over what is said of its kind, and that over `all`.",
        LockoutKeys::KEYS,
    ),
    ("`telemetry`", "", Telemetry::KEYS),
];

/// The whole page.
pub fn page() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Written from the declarations in crates/server/src/config; a test compares them. -->\n\n\
         `coffer server -config PATH` reads HCL or JSON; PATH may be a directory, whose `*.hcl` and `*.json` files are read in the order of\n\
         their names, and `-config` may come several times. A later file wins; switches that any file turns on are on, the longest of several\n\
         durations counts, and listeners and audit devices add up.\n\n\
         Keys are Vault's. One that is known and not built yet is an error if it is set to anything but nothing; one that has no effect is noted;\n\
         one that is unknown is a warning with the nearest known name.\n\n\
         Limits are set over the API, not here: rates at `sys/quotas/rate-limit`, the number of leases at `sys/quotas/lease-count`. A server\n\
         that nobody told otherwise holds at most 2,000,000 leases, tokens among them; `vault write sys/quotas/lease-count/default\n\
         max_leases=N` changes that, and 0 is no limit.\n\n",
    );
    let prefixes = PREFIXES.map(|prefix| format!("`{prefix}`")).join(", ");
    out.push_str("Variables of the environment override the files. The first prefix that is set counts: ");
    out.push_str(&prefixes);
    out.push_str(".\n\n| key | variable |\n| --- | --- |\n");
    for (key, rest) in ENVIRONMENT {
        writeln!(out, "| `{key}` | `{}{rest}` |", PREFIXES[0]).unwrap_or_default();
    }
    for (title, introduction, keys) in STANZAS {
        write!(out, "\n## {title}\n").unwrap_or_default();
        if !introduction.is_empty() {
            write!(out, "\n{introduction}\n").unwrap_or_default();
        }
        table(&mut out, keys);
    }
    out
}

fn table(out: &mut String, keys: &[Key]) {
    let of = |wanted: fn(&Status) -> bool| keys.iter().filter(move |key| wanted(&key.status));
    if of(|status| *status == Status::Built).next().is_some() {
        out.push_str("\n| key | value | default | what it does |\n| --- | --- | --- | --- |\n");
    }
    for key in of(|status| *status == Status::Built) {
        let alias = key.alias.map_or(String::new(), |alias| format!(" (also `{alias}`)"));
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        writeln!(out, "| `{}`{alias} | {} | {default} | {} |", key.name, key.kind, key.about.trim()).unwrap_or_default();
    }
    if of(|status| *status == Status::Later).next().is_some() {
        out.push_str("\nKnown and not built yet: ");
        let names: Vec<String> = of(|status| *status == Status::Later).map(|key| format!("`{}`", key.name)).collect();
        out.push_str(&names.join(", "));
        out.push_str(".\n");
    }
    if of(|status| matches!(status, Status::Ignored(_))).next().is_some() {
        out.push_str("\n| without effect | because |\n| --- | --- |\n");
    }
    for key in keys {
        if let Status::Ignored(why) = key.status {
            writeln!(out, "| `{}` | {why} |", key.name).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set COFFER_WRITE_DOCS to write the page instead of comparing it.
    #[test]
    fn the_page_is_what_the_declarations_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("COFFER_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == page(), "docs/configuration.md is stale; COFFER_WRITE_DOCS=1 cargo test -p coffer-server writes it");
    }

    #[test]
    fn declarations_are_whole_and_unambiguous() {
        for (title, _, keys) in STANZAS {
            for (n, key) in keys.iter().enumerate() {
                assert!(!key.about.trim().is_empty(), "{title}: {} has no help", key.name);
                assert!(!key.about.contains('|'), "{title}: {}", key.name);
                let names = |other: &Key| other.is(key.name) || key.alias.is_some_and(|alias| other.is(alias));
                assert!(!keys[n + 1..].iter().any(names), "{title}: {} is declared twice", key.name);
            }
        }
    }
}
