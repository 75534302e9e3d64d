//! Who knows whom, from cargo's own metadata:
//! `types ← crypto ← engine ← {core, engines, auth, dialects} ← server ← coffer`; the four in braces never import one another.

use serde_json::Value;

/// A room and the rooms that it may know. A room that is not listed is a fault: decide where it stands, then add it here.
const ROOMS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("macros", &[]),
    ("hcl", &["types"]),
    ("crypto", &["types"]),
    ("storage", &["types"]),
    ("engine", &["types", "crypto", "macros"]),
    ("core", &["types", "crypto", "macros", "engine", "hcl", "storage"]),
    ("engines", &["types", "crypto", "macros", "engine"]),
    ("auth", &["types", "crypto", "macros", "engine"]),
    ("dialects", &["types", "crypto", "macros", "engine"]),
    ("outside", &["types", "crypto", "engine"]),
    ("server", &["types", "crypto", "macros", "engine", "hcl", "storage", "core", "engines", "auth", "dialects", "outside"]),
    ("client", &["types", "crypto", "sops"]),
    ("keys", &["types", "crypto", "sops", "client"]),
    ("template", &["types"]),
    ("scan", &["types"]),
    ("sops", &["types", "crypto"]),
    ("agent", &["types", "crypto", "hcl", "client", "template"]),
    (
        "coffer",
        &[
            "types", "crypto", "hcl", "engine", "core", "engines", "auth", "dialects", "server", "client", "agent", "sops",
            "keys", "template", "scan",
        ],
    ),
    ("testkit", &["types", "crypto", "macros", "engine", "hcl", "storage", "core", "engines", "auth", "dialects"]),
    ("xtask", &["types", "storage", "client"]),
];

/// Libraries that only some rooms may name, and why.
const LIBRARIES: &[Rule] = &[
    Rule {
        why: "only these know HTTP",
        names: &[
            "http",
            "http-body",
            "http-body-util",
            "hyper",
            "hyper-util",
            "h2",
            "tower",
            "axum",
            "tonic",
            "reqwest",
            "ureq",
            "tungstenite",
        ],
        rooms: &["dialects", "server", "client", "agent", "outside", "testkit", "xtask"],
    },
    Rule {
        why: "only crypto links a cryptography library",
        names: &[
            "aws-lc-rs",
            "bcrypt",
            "aws-lc-sys",
            "ring",
            "openssl",
            "openssl-sys",
            "native-tls",
            "boring",
            "aes",
            "aes-gcm",
            "aes-gcm-siv",
            "chacha20poly1305",
            "sha1",
            "sha2",
            "sha3",
            "md-5",
            "blake2",
            "blake3",
            "hmac",
            "hkdf",
            "pbkdf2",
            "argon2",
            "bcrypt",
            "scrypt",
            "rsa",
            "p256",
            "p384",
            "p521",
            "k256",
            "ecdsa",
            "ed25519-dalek",
            "x25519-dalek",
            "curve25519-dalek",
            "subtle",
            "sharks",
            "vsss-rs",
            "libsodium-sys",
        ],
        rooms: &["crypto"],
    },
    Rule {
        why: "only these speak TLS",
        names: &["rustls", "tokio-rustls", "rustls-native-certs", "webpki-roots"],
        rooms: &["server", "client", "agent", "outside"],
    },
    Rule {
        why: "certificates are read and judged in crypto, or by TLS",
        names: &["rustls-webpki", "rustls-pki-types", "rcgen"],
        rooms: &["crypto", "server", "client", "agent", "outside"],
    },
    Rule {
        why: "randomness is an argument; crypto is where it comes from",
        names: &["rand", "getrandom", "fastrand"],
        rooms: &["crypto", "testkit", "xtask"],
    },
    Rule {
        why: "randomness is an argument; keys hands crypto's to its library of OpenPGP",
        names: &["rand_core"],
        rooms: &["crypto", "keys", "testkit", "xtask"],
    },
    Rule {
        why: "only storage keeps state",
        names: &["fjall", "redb", "rocksdb", "sled", "heed", "rusqlite", "sqlx", "etcd-client"],
        rooms: &["storage"],
    },
    Rule {
        why: "databases are storage's, or reached through the engine API's trait that outside fills",
        names: &["tokio-postgres", "mysql_async", "redis", "mongodb", "tiberius", "scylla", "ldap3"],
        rooms: &["storage", "outside"],
    },
    Rule {
        why: "these rooms know nothing of async",
        names: &["tokio", "tokio-util", "async-trait", "futures", "futures-util", "async-std", "smol"],
        rooms: &[
            "storage", "engine", "core", "engines", "auth", "dialects", "outside", "server", "client", "agent", "keys", "coffer",
            "testkit", "xtask",
        ],
    },
];

struct Rule {
    why: &'static str,
    names: &'static [&'static str],
    rooms: &'static [&'static str],
}

/// One fault a line; `metadata` is what `cargo metadata --no-deps` prints.
pub(crate) fn faults(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for package in items(metadata, "packages") {
        let room = room_of(text(package, "name"));
        let Some((_, known)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{room}: a new room; say in xtask/src/tidy/rooms.rs whom it may know"));
            continue;
        };
        for dependency in items(package, "dependencies") {
            let name = text(dependency, "name");
            let for_tests = text(dependency, "kind") == "dev";
            let other = room_of(name);
            if ROOMS.iter().any(|(room, _)| *room == other) {
                // Tests may drive a room from outside: through itself with a feature, or through the test kit.
                let fine = known.contains(&other) || (for_tests && (other == room || other == "testkit"));
                if !fine {
                    faults.push(format!("{room} must not know {other}"));
                }
            } else if !for_tests {
                for rule in LIBRARIES.iter().filter(|rule| rule.names.contains(&name) && !rule.rooms.contains(&room)) {
                    faults.push(format!("{room} must not name {name}: {}: {}", rule.why, rule.rooms.join(", ")));
                }
            }
        }
    }
    faults
}

fn room_of(package: &str) -> &str {
    package.strip_prefix("coffer-").unwrap_or(package)
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(package: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        faults(&json!({"packages": [{"name": package, "dependencies": [{"name": dependency, "kind": kind}]}]}))
    }

    #[test]
    fn the_four_in_braces_never_know_one_another() {
        let four = ["core", "engines", "auth", "dialects"];
        for one in four {
            for other in four.iter().filter(|other| **other != one) {
                let found = with(&format!("coffer-{one}"), &format!("coffer-{other}"), None);
                assert_eq!(found, [format!("{one} must not know {other}")]);
            }
        }
    }

    #[test]
    fn nobody_knows_a_room_that_knows_it() {
        for (room, known) in ROOMS {
            for other in *known {
                let back = ROOMS.iter().find(|(name, _)| name == other).map(|(_, known)| *known).unwrap_or_default();
                assert!(!back.contains(room), "{room} and {other} know each other");
            }
        }
    }

    #[test]
    fn only_core_server_and_the_tools_hold_a_store() {
        for (room, known) in ROOMS {
            let may = ["core", "server", "testkit", "xtask"].contains(room);
            assert_eq!(known.contains(&"storage"), may, "{room}");
        }
    }

    #[test]
    fn a_library_outside_its_room_is_named_with_the_reason() {
        for (room, library) in [
            ("coffer-engine", "hyper"),
            ("coffer-core", "http"),
            ("coffer-core", "aws-lc-rs"),
            ("coffer", "ring"),
            ("coffer-core", "rustls"),
            ("coffer-core", "fjall"),
            ("coffer-types", "tokio"),
            ("coffer-scan", "tokio"),
            ("coffer-engines", "rand"),
        ] {
            let found = with(room, library, None);
            assert_eq!(found.len(), 1, "{room} {library}: {found:?}");
            assert!(found[0].contains(library) && found[0].contains(": "), "{found:?}");
        }
    }

    #[test]
    fn what_belongs_together_is_no_fault() {
        for (room, library) in [
            ("coffer-dialects", "http"),
            ("coffer-server", "rustls"),
            ("coffer-crypto", "aws-lc-rs"),
            ("coffer-core", "coffer-storage"),
        ] {
            assert_eq!(with(room, library, None), Vec::<String>::new());
        }
    }

    #[test]
    fn tests_may_use_the_test_kit_and_nothing_else_that_is_above() {
        assert!(with("coffer-engines", "coffer-testkit", Some("dev")).is_empty());
        assert_eq!(with("coffer-engines", "coffer-testkit", None), ["engines must not know testkit"]);
        assert_eq!(with("coffer-engines", "coffer-core", Some("dev")), ["engines must not know core"]);
    }

    #[test]
    fn a_room_that_nobody_placed_is_a_fault() {
        assert_eq!(with("coffer-attic", "serde", None).len(), 1);
    }
}
