//! `pki`: issuers across mounts: who signed whom, and new intermediates in one step.

use super::data;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, answer, table};
use coffer_client::{Answer, Request};
use coffer_crypto::pk::KeyKind;
use coffer_crypto::x509::Certificate;
use coffer_types::{Json, Object, Timestamp};

pub(crate) const COMMANDS: &[&Command] = &[&PKI, &super::pki_health::HEALTH, &ISSUE, &LIST, &REISSUE, &VERIFY];

static PKI: Command = Command {
    path: "pki",
    synopsis: "Look at issuers of PKI engines and make intermediates",
    args: "",
    about: "What takes several calls on one or two PKI engines.",
    examples: &[("Who is below the root:", "pki list-intermediates pki/issuer/default")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static VERIFY: Command = Command {
    path: "pki verify-sign",
    synopsis: "Find out whether one issuer signed another",
    args: "ISSUER ISSUED",
    about: "Compares two certificates, each by its path: whether the key of the first signed the second, whether names and key ids fit, whether the first stands in the second's chain, and whether to trust the first is enough to trust the second.",
    examples: &[("Of two mounts:", "pki verify-sign pki/issuer/root pki_int/issuer/default")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Any,
    run: Run::Call(verify),
};

static LIST: Command = Command {
    path: "pki list-intermediates",
    synopsis: "List the issuers that one issuer signed",
    args: "PARENT [CHILD...]",
    about: "Compares issuers with a parent, each by its path. Without children all issuers of all PKI mounts are compared; a child may also be a mount. An issuer matches where all that the flags ask for is so.",
    examples: &[
        ("Everywhere:", "pki list-intermediates pki/issuer/root"),
        ("On one mount:", "pki list-intermediates pki/issuer/root pki_int/"),
    ],
    own: &[
        Flag::new("direct_sign", Kind::Switch, "The parent's key signed it.").default("true"),
        Flag::new("indirect_sign", Kind::Switch, "To trust the parent is enough to trust it.").default("true"),
        Flag::new("key_id_match", Kind::Switch, "The parent's key id is that of its authority.").default("true"),
        Flag::new("path_match", Kind::Switch, "The parent stands in its chain."),
        Flag::new("subject_match", Kind::Switch, "The parent's name is that of its issuer.").default("true"),
        Flag::new("use_names", Kind::Switch, "Name issuers by their names where they have one."),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Any,
    run: Run::Call(list),
};

static ISSUE: Command = Command {
    path: "pki issue",
    synopsis: "Make an intermediate on another mount",
    args: "PARENT CHILD_MOUNT KEY=VALUE...",
    about: "Makes a key and a request on the child's mount, has the parent sign it, and takes the certificate in on the child's mount. The values are those of intermediate/generate and sign-intermediate.",
    examples: &[("Below the default root:", "pki issue -issuer_name=int pki/issuer/default pki_int common_name=int ttl=8760h")],
    own: &[
        Flag::new("issuer_name", Kind::Text, "The new issuer's name."),
        Flag::new("type", Kind::Text, "internal for a new key, existing for one that is there (with key_ref=…).")
            .default("internal")
            .values(&["internal", "existing"]),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::Any,
    run: Run::Call(issue),
};

static REISSUE: Command = Command {
    path: "pki reissue",
    synopsis: "Make an intermediate like one that is there",
    args: "PARENT TEMPLATE CHILD_MOUNT [KEY=VALUE...]",
    about: "As issue, with the names, the kind of key, the path length and the lifetime of the issuer at the path TEMPLATE where no value says otherwise. The key is a new one unless -type=existing.",
    examples: &[("The same for another time:", "pki reissue -issuer_name=next pki/issuer/default pki_int/issuer/int pki_int")],
    own: &[
        Flag::new("issuer_name", Kind::Text, "The new issuer's name."),
        Flag::new("type", Kind::Text, "internal for a new key, existing for one that is there (with key_ref=…).")
            .default("internal")
            .values(&["internal", "existing"]),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::Any,
    run: Run::Call(reissue),
};

/// A certificate with the chain that its mount knows of it.
struct Issuer {
    certificate: Certificate,
    chain: Vec<Certificate>,
}

/// Where a failure is the caller's: as the reference ends it, exit 1.
pub(super) fn local(mut failure: Failure) -> Failure {
    if failure.code == 2 {
        failure.code = 1;
    }
    failure
}

fn issuer(call: &Call<'_>, path: &str, what: &str) -> Outcome<Issuer> {
    let found = call.ask(&Request::get(path)).because(|| format!("{what} {path}")).map_err(local)?;
    let found = found.unwrap_or_default();
    let certificate = first(found.text("certificate"))
        .ok_or_else(|| Failure::usage(format!("{what} {path}: the server's answer holds no certificate")))?;
    let chain = found.get("ca_chain").and_then(Json::as_array).unwrap_or_default();
    let chain = chain.iter().filter_map(Json::as_str).filter_map(first).collect();
    Ok(Issuer { certificate, chain })
}

pub(super) fn first(pem: &str) -> Option<Certificate> {
    Certificate::from_pem(pem).ok()?.into_iter().next()
}

/// What one certificate has to do with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    trust: bool,
    key_id: bool,
    signature: bool,
    subject: bool,
    path: bool,
}

impl Match {
    fn of(parent: &Issuer, child: &Issuer, now: Timestamp) -> Self {
        let (above, below) = (&parent.certificate, &child.certificate);
        let (own, authority) = (above.subject_key_id_bytes(), below.authority_key_id_bytes());
        Self {
            trust: trusts(above, child, now),
            key_id: own.is_some() && own == authority,
            signature: above.signed(below),
            subject: above.subject() == below.issuer(),
            path: child.chain.iter().any(|known| known.der() == above.der()),
        }
    }

    fn fields(self) -> [(&'static str, bool); 5] {
        [
            ("trust_match", self.trust),
            ("key_id_match", self.key_id),
            ("signature_match", self.signature),
            ("subject_match", self.subject),
            ("path_match", self.path),
        ]
    }
}

/// Whether a way of signatures leads from the child over its chain to the root, all of it in time and of authorities.
fn trusts(root: &Certificate, child: &Issuer, now: Timestamp) -> bool {
    let mut at = &child.certificate;
    // Each step takes another of the chain, so there are no more.
    for _ in 0..=child.chain.len() {
        if !at.is_valid_at(now) {
            return false;
        }
        if at.der() == root.der() {
            return true;
        }
        let signs = |above: &Certificate| above.may_sign_certificates() && above.subject() == at.issuer() && above.signed(at);
        if signs(root) {
            return root.is_valid_at(now);
        }
        match child.chain.iter().find(|above| above.der() != at.der() && signs(above)) {
            Some(above) => at = above,
            None => return false,
        }
    }
    false
}

pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn verify(call: &Call<'_>) -> Outcome {
    let [above, below] = call.args.as_slice() else {
        return Err(Failure::usage(match call.args.len() {
            0 => "Not enough arguments (expected potential issuer and issued, got nothing)",
            1 => "Not enough arguments (expected both potential issuer and issued, got only one)",
            _ => "Too many arguments (expected only potential issuer and issued)",
        }));
    };
    let parent = issuer(call, &call.path(0), "Failed to read issuer:")?;
    let child = issuer(call, &call.path(1), "Failed to read issued:")?;
    let found = Match::of(&parent, &child, now()).fields();
    let mut json: Object = found.iter().map(|(name, is)| (*name, Json::from(*is))).collect();
    if call.format()? != output::Format::Table {
        json.sort();
    } else {
        call.print(&format!("issuer:{above}\nissued:{below}\n\n"));
    }
    show(call, json, ["field", "value"])
}

fn list(call: &Call<'_>) -> Outcome {
    if call.args.is_empty() {
        return Err(Failure::usage("Not enough arguments (expected potential parent, got nothing)"));
    }
    let parent = issuer(call, &call.path(0), "Failed to read parent issuer on path")?;
    let mut children = Vec::new();
    if call.args.len() == 1 {
        for mount in mounts(call)? {
            children.extend(issuers(call, &mount)?);
        }
    }
    for path in call.args.iter().skip(1).map(|path| crate::cli::call::sanitize(path)) {
        if path.contains("/issuer/") {
            children.push(path);
        } else {
            children.extend(issuers(call, &path)?);
        }
    }
    let now = now();
    let mut found = Object::new();
    for path in children {
        let child = issuer(call, &path, "Failed to read issuer:")?;
        let is = Match::of(&parent, &child, now);
        let asked = [
            ("indirect_sign", is.trust),
            ("key_id_match", is.key_id),
            ("direct_sign", is.signature),
            ("subject_match", is.subject),
            ("path_match", is.path),
        ];
        found.insert(path, asked.iter().all(|(flag, is)| *is || !call.on(flag)));
    }
    found.sort();
    show(call, found, ["intermediate", "match?"])
}

fn show(call: &Call<'_>, found: Object, heading: [&str; 2]) -> Outcome {
    let is_table = call.format()? == output::Format::Table;
    let rows: Vec<Vec<String>> =
        found.iter().map(|(name, is)| vec![name.to_owned(), is.as_bool().unwrap_or_default().to_string()]).collect();
    let code = output::value(call, &Json::Object(found), |_| table::headed(heading, rows))?;
    if is_table {
        call.print("\n\n");
    }
    Ok(code)
}

fn mounts(call: &Call<'_>) -> Outcome<Vec<String>> {
    let Json::Object(mounts) =
        call.ask_data(&Request::get("sys/mounts")).because(|| "Failed to list mounts".into()).map_err(local)?
    else {
        return Ok(Vec::new());
    };
    let is_pki = |about: &Json| about.get("type").and_then(Json::as_str) == Some("pki");
    Ok(mounts.iter().filter(|(_, about)| is_pki(about)).map(|(path, _)| crate::cli::call::sanitize(path)).collect())
}

fn issuers(call: &Call<'_>, mount: &str) -> Outcome<Vec<String>> {
    let found = match call.ask(&Request::list(format!("{mount}/issuers"))) {
        Err(failure) if failure.status == 404 => return Ok(Vec::new()),
        found => found.because(|| format!("Failed to list issuers of {mount}")).map_err(local)?.unwrap_or_default(),
    };
    let name = |id: &str| {
        let name = found.get("key_info")?.get(id)?.get("issuer_name")?.as_str()?;
        (call.on("use_names") && !name.is_empty()).then(|| name.to_owned())
    };
    let ids = found.keys().unwrap_or_default();
    Ok(ids.into_iter().map(|id| format!("{mount}/issuer/{}", name(id).unwrap_or_else(|| id.to_owned()))).collect())
}

fn issue(call: &Call<'_>) -> Outcome {
    if call.args.len() < 3 {
        return Err(Failure::usage(
            "Not enough arguments expected parent issuer and child-mount location and some key_value argument",
        ));
    }
    let wish = data::read(call, &call.args[2..])?;
    make(call, &call.path(0), &call.path(1), wish)
}

fn reissue(call: &Call<'_>) -> Outcome {
    if call.args.len() < 3 {
        return Err(Failure::usage("Not enough arguments: expected parent issuer, template issuer and child-mount location"));
    }
    let template = issuer(call, &call.path(1), "Unable to access template issuer")?;
    let mut wish = like(&template.certificate).map_err(Failure::usage)?;
    let asked = data::read(call, &call.args[3..])?;
    for (name, value) in asked.iter() {
        wish.insert(name, value.clone());
    }
    make(call, &call.path(0), &call.path(2), wish)
}

/// What an issuer's certificate says, as values that make another like it.
fn like(certificate: &Certificate) -> Result<Object, &'static str> {
    let subject = certificate.subject_name().map_err(|_| "the template's name does not read")?;
    let mut out = Object::new().with("common_name", subject.common_name.as_str()).with("serial_number", subject.serial_number);
    for (name, values) in [
        ("country", subject.country),
        ("organization", subject.organization),
        ("ou", subject.unit),
        ("locality", subject.locality),
        ("province", subject.province),
        ("street_address", subject.street),
        ("postal_code", subject.postal_code),
    ] {
        if !values.is_empty() {
            out.insert(name, values);
        }
    }
    let names = certificate.names();
    let alt: Vec<String> = names.dns.iter().chain(&names.email).filter(|name| **name != subject.common_name).cloned().collect();
    let ips: Vec<String> = names.ip.iter().map(ToString::to_string).collect();
    for (name, values) in [("alt_names", alt), ("ip_sans", ips), ("uri_sans", names.uri.clone())] {
        if !values.is_empty() {
            out.insert(name, values.join(","));
        }
    }
    let is_named = names.dns.iter().chain(&names.email).any(|name| *name == subject.common_name);
    out.insert("exclude_cn_from_sans", !is_named);
    if let Some(length) = certificate.path_length() {
        out.insert("max_path_length", i64::from(length));
    }
    let (kind, bits) = match certificate.public_key().map_err(|_| "the template's key is of an unknown kind")?.kind() {
        KeyKind::Rsa(bits) => ("rsa", i64::from(bits)),
        KeyKind::P256 => ("ec", 256),
        KeyKind::P384 => ("ec", 384),
        KeyKind::P521 => ("ec", 521),
        KeyKind::Ed25519 => ("ed25519", 0),
        _ => return Err("intermediates are not made with a key like the template's"),
    };
    let lifetime = certificate.not_after_secs().saturating_sub(certificate.not_before_secs());
    Ok(out.with("key_type", kind).with("key_bits", bits).with("ttl", format!("{lifetime}s")))
}

/// Makes an intermediate on the child's mount and shows it.
fn make(call: &Call<'_>, parent: &str, child: &str, wish: Object) -> Outcome {
    let kind = call.text("type");
    if !["internal", "existing"].contains(&kind) {
        return Err(Failure::usage("-type must be internal or existing: keys that leave the server are not made here"));
    }
    let above = call.ask(&Request::get(parent)).because(|| format!("Unable to access parent issuer {parent}")).map_err(local)?;
    let above = above.unwrap_or_default();
    let ask = |path: String, body: Object, doing: String| -> Outcome<Answer> {
        Ok(call.ask(&Request::put(path).json(body)).because(|| doing).map_err(local)?.unwrap_or_default())
    };
    let request = ask(
        format!("{child}/intermediate/generate/{kind}"),
        wish.clone(),
        format!("Given Intermediate Mount {child} Does Not Exist or makes no request"),
    )?;
    let mut body = wish;
    body.insert("csr", request.text("csr"));
    let signed = ask(format!("{parent}/sign-intermediate"), body, "Failure Signing Intermediate".to_owned())?;
    let mut bundle = format!("{}\n", signed.text("certificate").trim());
    for pem in signed.get("ca_chain").and_then(Json::as_array).unwrap_or_default().iter().filter_map(Json::as_str) {
        bundle.push_str(&format!("{}\n", pem.trim()));
    }
    let own = above.text("certificate").trim();
    if !bundle.contains(own) {
        bundle.push_str(&format!("{own}\n"));
    }
    let taken = ask(
        format!("{child}/issuers/import/cert"),
        Object::new().with("pem_bundle", bundle),
        "Failure Importing Intermediate".to_owned(),
    )?;
    // The one with the key that the request was made with.
    let key = request.text("key_id");
    let ids = taken.get("mapping").and_then(Json::as_object);
    let id = ids.and_then(|ids| ids.iter().find(|(_, of)| of.as_str() == Some(key) && !key.is_empty())).map(|(id, _)| id);
    let id = id.ok_or_else(|| Failure::server("the mount took the certificate in, but does not say as which issuer"))?;
    if call.given("issuer_name") {
        let body = Object::new().with("issuer_name", call.text("issuer_name"));
        let named = Request::patch(format!("{child}/issuer/{id}")).json(body);
        call.ask(&named).because(|| format!("Failure naming the new issuer {id}")).map_err(local)?;
    }
    let made = call.ask(&Request::get(format!("{child}/issuer/{id}"))).because(|| format!("Failure reading the new issuer {id}"));
    answer::print(call, &made.map_err(local)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer as Above, KeyPair, KeyUsagePurpose};

    struct Made {
        params: CertificateParams,
        key: KeyPair,
        pem: String,
    }

    fn params(name: &str, is_authority: bool) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        params
    }

    fn root(name: &str) -> Made {
        let (params, key) = (params(name, true), KeyPair::generate().expect("a key"));
        let pem = params.self_signed(&key).expect("signs").pem();
        Made { params, key, pem }
    }

    fn below(above: &Made, name: &str, is_authority: bool) -> Made {
        let (params, key) = (params(name, is_authority), KeyPair::generate().expect("a key"));
        let by = Above::from_params(&above.params, &above.key);
        let pem = params.signed_by(&key, &by).expect("signs").pem();
        Made { params, key, pem }
    }

    fn issuer(made: &Made, chain: &[&Made]) -> Issuer {
        let read = |pem: &str| first(pem).expect("a certificate");
        Issuer { certificate: read(&made.pem), chain: chain.iter().map(|made| read(&made.pem)).collect() }
    }

    fn is(parent: &Issuer, child: &Issuer) -> Match {
        Match::of(parent, child, Timestamp::from_secs(1_795_435_200))
    }

    #[test]
    fn who_signed_whom() {
        let (one, other) = (root("root"), root("root"));
        let int = below(&one, "int", true);
        let deep = below(&int, "deep", true);
        let all = Match { trust: true, key_id: true, signature: true, subject: true, path: true };
        assert_eq!(is(&issuer(&one, &[]), &issuer(&int, &[&int, &one])), all);
        assert_eq!(is(&issuer(&one, &[]), &issuer(&one, &[&one])), all);
        // The grandchild is trusted by way of its chain, and was not signed.
        let far = is(&issuer(&one, &[]), &issuer(&deep, &[&deep, &int, &one]));
        assert_eq!(far, Match { trust: true, key_id: false, signature: false, subject: false, path: true });
        let lost = is(&issuer(&one, &[]), &issuer(&deep, &[&deep]));
        assert_eq!(lost, Match { trust: false, key_id: false, signature: false, subject: false, path: false });
        // Another of the same name signed nothing.
        let forged = is(&issuer(&other, &[]), &issuer(&int, &[&int, &one]));
        assert_eq!(forged, Match { trust: false, key_id: false, signature: false, subject: true, path: false });
        let upside_down = is(&issuer(&int, &[]), &issuer(&one, &[&one]));
        assert_eq!(upside_down, Match { trust: false, key_id: false, signature: false, subject: false, path: false });
    }

    #[test]
    fn trust_goes_through_authorities_and_ends_in_time() {
        let one = root("root");
        let leaf = below(&one, "leaf", false);
        let forged = below(&leaf, "forged", true);
        assert!(!is(&issuer(&one, &[]), &issuer(&forged, &[&forged, &leaf, &one])).trust, "a leaf signs nobody");
        let int = below(&one, "int", true);
        let parent = issuer(&one, &[]);
        assert!(!Match::of(&parent, &issuer(&int, &[&int, &one]), Timestamp::from_secs(0)).trust, "not yet");
        // A chain in a circle ends.
        let (a, b) = (root("a"), root("b"));
        assert!(!is(&issuer(&b, &[]), &issuer(&a, &[&a, &a, &a])).trust);
    }
}
