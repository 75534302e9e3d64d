//! The flags that many commands share.

use super::{Flag, Kind};

/// Where the server is and as whom to speak.
pub(crate) const HTTP: &[Flag] = &[
    Flag::new(
        "address",
        Kind::Text,
        "Address of the server: http://HOST:PORT, https://HOST:PORT or unix:///PATH. The default is https://127.0.0.1:8200.",
    )
    .env("ADDR"),
    Flag::new("agent-address", Kind::Text, "Address of an agent, which is asked in place of the server.").env("AGENT_ADDR"),
    Flag::new("ca-cert", Kind::Text, "PEM file of the authority that signed the server's certificate. Wins over -ca-path.")
        .env("CACERT"),
    Flag::new("ca-path", Kind::Text, "Directory of PEM files of such authorities.").env("CAPATH"),
    Flag::new("client-cert", Kind::Text, "PEM file of a certificate to show to the server. Needs -client-key.")
        .env("CLIENT_CERT"),
    Flag::new("client-key", Kind::Text, "PEM file of the key of -client-cert.").env("CLIENT_KEY"),
    Flag::new("disable-redirects", Kind::Switch, "Do not follow a redirect to another node.").env("DISABLE_REDIRECTS"),
    Flag::new(
        "header",
        Kind::Pairs,
        "A header to send with every request, as NAME=VALUE. May be given several times; names that begin with X-Vault- are refused.",
    ),
    Flag::new(
        "mfa",
        Kind::List,
        "A credential for multi-factor authentication, as METHOD_ID[:PASSCODE]. May be given several times.",
    )
    .env("MFA"),
    Flag::new("namespace", Kind::Text, "The namespace in which to run.").alias(&["ns"]).env("NAMESPACE"),
    Flag::new("non-interactive", Kind::Switch, "Never ask on the terminal; fail instead."),
    Flag::new("output-curl-string", Kind::Switch, "Print the request as a curl command line instead of sending it."),
    Flag::new("output-policy", Kind::Switch, "Print the policy that the request needs instead of sending it."),
    Flag::new("policy-override", Kind::Switch, "Override a soft-mandatory policy."),
    Flag::new("tls-server-name", Kind::Text, "The name to ask for and to verify where the address's host is another.")
        .env("TLS_SERVER_NAME"),
    Flag::new("tls-skip-verify", Kind::Switch, "Accept any certificate. Whoever stands between can then read everything.")
        .env("SKIP_VERIFY"),
    Flag::new("unlock-key", Kind::Text, "The key that unlocks a locked namespace."),
    Flag::new("wrap-ttl", Kind::Span, "Wrap the answer in a token that lives this long; \"unwrap\" opens it, once.")
        .env("WRAP_TTL"),
];

pub(crate) const FIELD_AND_FORMAT: &[Flag] = &[
    Flag::new("field", Kind::Text, "Print only the field of this name, without a newline where the output is no terminal."),
    Flag::new("format", Kind::Text, "Output as table, json, yaml or pretty; \"read\" knows raw too.")
        .default("table")
        .env("FORMAT")
        .values(&["table", "json", "yaml", "pretty", "raw"]),
];

/// For engines and methods, when enabled and when tuned.
pub(crate) const AUDIT_KEYS: [Flag; 5] = [
    Flag::new(
        "allowed-response-headers",
        Kind::List,
        "A header that the engine may set in its answers. May be given several times.",
    ),
    Flag::new(
        "audit-non-hmac-request-keys",
        Kind::List,
        "A field of requests that audit logs show in clear. May be given several times.",
    ),
    Flag::new(
        "audit-non-hmac-response-keys",
        Kind::List,
        "A field of answers that audit logs show in clear. May be given several times.",
    ),
    Flag::new("listing-visibility", Kind::Text, "Whether those without a token see it listed: unauth or hidden.")
        .values(&["unauth", "hidden"]),
    Flag::new(
        "passthrough-request-headers",
        Kind::List,
        "A header of requests that the engine is given. May be given several times.",
    ),
];

/// For commands that print keys in pages.
pub(crate) const PAGES: &[Flag] = &[
    Flag::new("after", Kind::Text, "Begin behind this key, where the path knows pages."),
    Flag::new("limit", Kind::Int, "At most so many keys, where the path knows pages.").default("-1"),
    Flag::new("detailed", Kind::Switch, "Show what is known about each key, where the path knows more.").env("DETAILED"),
];
