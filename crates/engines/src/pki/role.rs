//! Roles: what certificates may be issued, and what stands in them.

use super::{Cx, Page, Pki, issuer, keys, subject, validity};
use coffer_crypto::x509::{Oid, Policy};
use coffer_engine::{Declare, Record, Reply, Request};
use coffer_types::{Cidr, Error, Json, Object, Result, Span};
use serde::{Deserialize, Serialize};

/// Declares the role's fields once: as they are stored, as they are asked for, and as they are shown.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*) => {
        /// A role, stored in format 1 under `role/<name>`.
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(default)]
        pub(super) struct Role {
            $($(#[$doc])* pub(super) $name: $type,)*
            /// Policies' OIDs, or JSON objects with one.
            pub(super) policies: Vec<String>,
        }

        impl Default for Role {
            fn default() -> Self {
                Self { $($name: $default,)* policies: Vec::new() }
            }
        }

        /// What is said of a role.
        #[derive(Request)]
        struct Change {
            $($(#[$doc])* $name: Option<$type>,)*
            /// Not used.
            #[field(default, rename = "backend")]
            _backend: String,
            /// Policies' OIDs, or JSON objects `{"oid", "cps", "notice"}`.
            policy_identifiers: Option<Json>,
        }

        impl Change {
            fn apply(self, role: &mut Role) -> Option<Json> {
                $(if let Some(value) = self.$name { role.$name = value; })*
                self.policy_identifiers
            }
        }

        impl Role {
            fn show(&self) -> Object {
                use coffer_engine::IntoField as _;
                let mut shown = Object::new();
                $(shown.insert(stringify!($name), self.$name.clone().into_field());)*
                shown.insert("policy_identifiers", self.policies.clone());
                // A field of the past that clients still read.
                shown.insert("allow_token_displayname", false);
                shown.sort();
                shown
            }
        }
    };
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fields! {
    /// How long certificates are valid where the caller does not say; 0 for the mount's default.
    ttl: Span = Span::ZERO;
    /// How long they are valid at most; 0 for the mount's maximum.
    max_ttl: Span = Span::ZERO;
    /// Whether `localhost` and `localdomain` are allowed.
    allow_localhost: bool = true;
    /// Domains of names.
    allowed_domains: Vec<String> = Vec::new();
    /// Whether the domains are templates of the caller's identity.
    allowed_domains_template: bool = false;
    /// Whether the domains themselves are allowed.
    allow_bare_domains: bool = false;
    /// Whether names below the domains are allowed.
    allow_subdomains: bool = false;
    /// Whether `*` in a domain stands for any text.
    allow_glob_domains: bool = false;
    /// Whether values of identity templates may hold `*`.
    allow_globs_in_identity_templates: bool = false;
    /// Whether names with `*` are allowed.
    allow_wildcard_certificates: bool = true;
    /// Whether any name is allowed.
    allow_any_name: bool = false;
    /// Whether names must be names of hosts.
    enforce_hostnames: bool = true;
    /// Whether IP addresses are allowed.
    allow_ip_sans: bool = true;
    /// Networks of allowed addresses; none for all.
    allowed_ip_sans_cidr: Vec<String> = Vec::new();
    /// Allowed URIs, with `*` for any text.
    allowed_uri_sans: Vec<String> = Vec::new();
    /// Whether the URIs are templates of the caller's identity.
    allowed_uri_sans_template: bool = false;
    /// Allowed other names, `<OID>;UTF8:<text>` with `*` for any text, or `*`.
    allowed_other_sans: Vec<String> = Vec::new();
    /// Allowed serial numbers of subjects, with `*` for any text.
    allowed_serial_numbers: Vec<String> = Vec::new();
    /// Allowed user ids of subjects, with `*` for any text.
    allowed_user_ids: Vec<String> = Vec::new();
    /// Whether certificates are for servers.
    server_flag: bool = true;
    /// Whether certificates are for clients.
    client_flag: bool = true;
    /// Whether certificates are for code.
    code_signing_flag: bool = false;
    /// Whether certificates are for mail.
    email_protection_flag: bool = false;
    /// `rsa`, `ec`, `ed25519`, or `any`.
    key_type: String = "rsa".to_owned();
    /// The length of keys; 0 for what is usual.
    key_bits: i64 = 0;
    /// Bits of the signature's digest: 256, 384, 512; 0 for what fits.
    signature_bits: i64 = 0;
    /// RSASSA-PSS in place of PKCS #1 v1.5.
    use_pss: bool = false;
    /// Uses of the key.
    key_usage: Vec<String> = names(&["DigitalSignature", "KeyAgreement", "KeyEncipherment"]);
    /// Extended uses of the key.
    ext_key_usage: Vec<String> = Vec::new();
    /// The same by their OIDs.
    ext_key_usage_oids: Vec<String> = Vec::new();
    /// Whether the common name is that of the request that is signed.
    use_csr_common_name: bool = true;
    /// Whether the alternative names are those of the request that is signed.
    use_csr_sans: bool = true;
    /// Organizational units of subjects.
    ou: Vec<String> = Vec::new();
    /// Organizations of subjects.
    organization: Vec<String> = Vec::new();
    /// Countries of subjects.
    country: Vec<String> = Vec::new();
    /// Localities of subjects.
    locality: Vec<String> = Vec::new();
    /// Provinces of subjects.
    province: Vec<String> = Vec::new();
    /// Street addresses of subjects.
    street_address: Vec<String> = Vec::new();
    /// Postal codes of subjects.
    postal_code: Vec<String> = Vec::new();
    /// Whether certificates have a lease, which revokes them.
    generate_lease: bool = false;
    /// Whether certificates are not kept.
    no_store: bool = false;
    /// Whether there must be a common name.
    require_cn: bool = true;
    /// What a common name may be: `email`, `hostname`; or `disabled`.
    cn_validations: Vec<String> = names(&["email", "hostname"]);
    /// Whether certificates say that they are not an authority's.
    basic_constraints_valid_for_non_ca: bool = false;
    /// How far before now certificates begin to be valid.
    not_before_duration: Span = Span::from_secs(30);
    /// From when they are valid, in RFC 3339.
    not_before: String = String::new();
    /// What of `not_before` a caller may choose: `permit`, `duration` or `forbid`.
    not_before_bound: String = "permit".to_owned();
    /// Until when they are valid, in RFC 3339.
    not_after: String = String::new();
    /// What of `not_after` a caller may choose: `permit`, `ttl-limited`, `forbid`, or up to a time.
    not_after_bound: String = "permit".to_owned();
    /// The issuer.
    issuer_ref: String = "default".to_owned();
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

impl Role {
    /// The role of `sign-verbatim`, which holds nothing to anything.
    pub(super) fn verbatim() -> Self {
        Self {
            allow_any_name: true,
            enforce_hostnames: false,
            key_type: "any".to_owned(),
            server_flag: false,
            client_flag: false,
            require_cn: false,
            cn_validations: names(&["disabled"]),
            ..Self::default()
        }
    }

    /// The policies that its certificates name.
    ///
    /// # Errors
    /// A stored policy does not read, which is our fault.
    pub(super) fn policies(&self) -> Result<Vec<Policy>> {
        self.policies.iter().map(|text| policy(text).ok_or_else(|| Error::internal("a role's policy does not read"))).collect()
    }

    fn check(&mut self) -> Result<()> {
        if !self.ttl.is_zero() && !self.max_ttl.is_zero() && self.ttl > self.max_ttl {
            return Err(Error::bad_request("\"ttl\" value must be less than \"max_ttl\" value"));
        }
        for (name, span) in [("ttl", self.ttl), ("max_ttl", self.max_ttl), ("not_before_duration", self.not_before_duration)] {
            if span.is_negative() {
                return Err(Error::bad_request(format!(
                    "Field validation failed: error converting input for field {name:?}: cannot provide negative value '{}'",
                    span.secs()
                )));
            }
        }
        self.key_bits = match (self.key_type.as_str(), self.key_bits) {
            ("rsa", 0) => 2048,
            ("ec", 0) => 256,
            ("any", bits) => bits,
            (_, bits) => {
                keys::kind_of(&self.key_type, bits)?;
                bits
            }
        };
        if let Some(bad) = self.ext_key_usage_oids.iter().find(|oid| Oid::parse(oid.trim()).is_none()) {
            return Err(Error::bad_request(format!("{bad:?} could not be parsed as a valid oid for an extended key usage")));
        }
        if let Some(bad) = self.allowed_ip_sans_cidr.iter().find(|cidr| !cidr.contains('/') || Cidr::parse(cidr).is_none()) {
            return Err(Error::bad_request(format!("error parsing allowed_ip_sans_cidr: invalid CIDR address: {bad}")));
        }
        for other in self.allowed_other_sans.iter().filter(|other| *other != "*") {
            subject::parse_other(other).map_err(|why| Error::bad_request(format!("error parsing allowed_other_sans: {why}")))?;
        }
        if self.cn_validations.is_empty() {
            self.cn_validations = names(&["email", "hostname"]);
        }
        self.cn_validations.iter_mut().for_each(|kind| *kind = kind.to_ascii_lowercase());
        if let Some(bad) = self.cn_validations.iter().find(|kind| !["email", "hostname", "disabled"].contains(&kind.as_str())) {
            return Err(super::failed(format!("cn_validations value incorrect: unknown type: `{bad}`")));
        }
        if self.cn_validations.len() > 1 && self.cn_validations.iter().any(|kind| kind == "disabled") {
            return Err(super::failed(
                "cn_validations value incorrect: cannot specify `disabled` along with `email` or `hostname`",
            ));
        }
        if !["", "permit", "duration", "forbid"].contains(&self.not_before_bound.as_str()) {
            return Err(Error::bad_request(
                "Unknown value for field `not_before_bound`. Possible values are `permit` `duration` or `forbid`",
            ));
        }
        let bound = self.not_after_bound.as_str();
        if !["", "permit", "ttl-limited", "forbid"].contains(&bound) && validity::instant(bound).is_err() {
            return Err(Error::bad_request(
                "Unknown value for field `not_after_bound`. Possible values are `permit`, `ttl-limited`, `forbid`, or an explicit \
                 timestamp.",
            ));
        }
        if self.issuer_ref.is_empty() {
            "default".clone_into(&mut self.issuer_ref);
        }
        Ok(())
    }
}

/// An OID, or JSON with one.
fn policy(text: &str) -> Option<Policy> {
    #[derive(Deserialize)]
    struct Object {
        oid: String,
        cps: Option<String>,
        notice: Option<String>,
    }
    if let Some(oid) = Oid::parse(text) {
        return Some(Policy { oid, cps: None, notice: None });
    }
    let object: Object = serde_json::from_str(text).ok()?;
    let cps = object.cps.filter(|cps| !cps.is_empty());
    // An IA5String holds ASCII; RFC 5280 section 4.2.1.4 bounds a notice.
    if cps.as_ref().is_some_and(|cps| !cps.is_ascii()) || object.notice.as_ref().is_some_and(|text| text.chars().count() > 200) {
        return None;
    }
    Some(Policy { oid: Oid::parse(&object.oid)?, cps, notice: object.notice.filter(|notice| !notice.is_empty()) })
}

/// OIDs between commas, a list of them, or a list of objects (also as one JSON text).
fn read_policies(given: &Json) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    match given {
        Json::String(text) if text.as_str().trim_start().starts_with('[') => {
            let parsed = coffer_types::json::parse(text.as_str().as_bytes(), &coffer_types::json::Limits::NONE);
            let parsed = parsed.map_err(|_| Error::bad_request("policy_identifiers is neither OIDs nor JSON"))?;
            return read_policies(&parsed);
        }
        Json::Array(list) => {
            for one in list {
                match one {
                    Json::String(text) => texts.push(text.as_str().to_owned()),
                    other => texts.push(String::from_utf8_lossy(&other.to_bytes()).into_owned()),
                }
            }
        }
        Json::Null => {}
        other => texts = coffer_types::lenient::comma_strings(other)?,
    }
    texts.retain(|text| !text.is_empty());
    if let Some(bad) = texts.iter().find(|text| policy(text).is_none()) {
        return Err(super::failed(format!("policy identifier {bad:?} is neither a valid OID nor a JSON policy identifier")));
    }
    Ok(texts)
}

/// The role of a name, decoded once.
pub(super) async fn shared(cx: &Cx, name: &str) -> Result<Option<std::sync::Arc<Role>>> {
    cx.engine.parsed.get(&cx.view, &format!("role/{name}")).await
}

/// The same to change it.
pub(super) async fn find(cx: &Cx, name: &str) -> Result<Option<Role>> {
    cx.view.get(&format!("role/{name}")).await
}

/// The issuer that each role names.
pub(super) async fn issuer_refs(cx: &Cx) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in cx.view.children("role/", None, usize::MAX).await? {
        found.extend(find(cx, &name).await?.map(|role| role.issuer_ref));
    }
    Ok(found)
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    const PLAIN: &[&str] =
        &["allowed_domains", "ttl", "max_ttl", "key_type", "key_bits", "issuer_ref", "allow_any_name", "no_store"];
    d.at("roles").about("Lists the roles.").list(list);
    d.at("roles/{name}")
        .about("Reads, writes and deletes a role.")
        .plain(PLAIN)
        .read(read)
        .write(write)
        .patch(patch)
        .delete(delete);
}

async fn list(cx: Cx, ask: Page) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", ask.after(), ask.limit()).await?))
}

/// Name a role.
#[derive(Request)]
struct Named {
    /// The role's name.
    #[field(path)]
    name: String,
}

async fn read(cx: Cx, ask: Named) -> Result<Reply> {
    let role = find(&cx, &ask.name).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(role.show()))
}

/// Write a role; what is left out goes back to what is usual.
#[derive(Request)]
struct Write {
    /// The role's name.
    #[field(path)]
    name: String,
    #[field(flatten)]
    what: Change,
}

async fn write(cx: Cx, ask: Write) -> Result<Reply> {
    save(&cx, &ask.name, Role::default(), ask.what).await
}

/// Change of a role what is named.
#[derive(Request)]
struct Patch {
    /// The role's name.
    #[field(path)]
    name: String,
    #[field(flatten)]
    what: Change,
}

async fn patch(cx: Cx, ask: Patch) -> Result<Reply> {
    let old = find(&cx, &ask.name).await?.ok_or_else(|| Error::bad_request("Unable to fetch role entry to patch"))?;
    save(&cx, &ask.name, old, ask.what).await
}

async fn save(cx: &Cx, name: &str, mut role: Role, change: Change) -> Result<Reply> {
    if !super::is_name(name) {
        return Err(super::unsupported_path());
    }
    // Another type of key takes its own usual length.
    if change.key_type.is_some() && change.key_bits.is_none() {
        role.key_bits = 0;
    }
    let kept = role.policies.clone();
    let policies = change.apply(&mut role);
    role.policies = policies.map_or(Ok(kept), |given| read_policies(&given))?;
    role.check()?;
    let mut warnings = Vec::new();
    if issuer::find(cx, &role.issuer_ref).await?.is_none() {
        warnings.push(if role.issuer_ref == "default" {
            "Issuing Certificate was set to default, but no default issuing certificate (configurable at /config/issuers) is currently set"
                .to_owned()
        } else {
            format!("Issuing Certificate was set to {} but no issuing certificate currently has that name", role.issuer_ref)
        });
    }
    if role.no_store && role.generate_lease {
        role.generate_lease = false;
        warnings.push(
            "mutually exclusive values no_store=true and generate_lease=true were both specified; no_store=true takes priority"
                .to_owned(),
        );
    } else if role.generate_lease {
        warnings.push(
            "it is encouraged to disable generate_lease and rely on PKI's native capabilities when possible; this option can cause \
             instance-wide issues with large numbers of issued certificates"
                .to_owned(),
        );
    }
    cx.view.put(&format!("role/{name}"), &role)?;
    Ok(warnings.into_iter().fold(Reply::data(role.show()), Reply::warn))
}

async fn delete(cx: Cx, ask: Named) -> Result<Reply> {
    cx.view.delete(&format!("role/{}", ask.name));
    Ok(Reply::empty())
}
