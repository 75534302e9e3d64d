//! Issuers: certificates of authorities, with what is said of how they may be used.

use super::urls::Urls;
use super::{Cx, Page, Pki, chain, failed, fingerprint, is_name, keys, put_text, read_text, serial};
use crate::keyring::PublicBytes;
use coffer_crypto::x509::{Certificate, SignatureAlgorithm};
use coffer_engine::{Declare, Record, Reply, Request};
use coffer_types::{Error, Json, Object, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An issuer.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Issuer {
    /// Never given twice.
    pub(super) id: String,
    /// Empty for none.
    pub(super) name: String,
    /// Empty where its key is not here.
    pub(super) key_id: String,
    /// DER. It never changes.
    pub(super) certificate: PublicBytes,
    /// Ids of issuers: this one first, then those above it.
    pub(super) chain: Vec<String>,
    /// The chain that was set by hand, below this one.
    #[serde(default)]
    pub(super) manual_chain: Vec<String>,
    pub(super) leaf_not_after: LeafNotAfter,
    pub(super) usage: Usage,
    /// Of revocation lists; empty for what fits the key.
    #[serde(default)]
    pub(super) revocation_algorithm: String,
    /// Its own addresses, in place of the mount's.
    #[serde(default)]
    pub(super) urls: Urls,
    #[serde(default)]
    pub(super) revoked: Option<Timestamp>,
    /// When it was last written, for `If-Modified-Since`.
    pub(super) modified: Timestamp,
}

impl Record for Issuer {
    const FORMAT: u8 = 1;
}

/// What becomes of a leaf that would outlive its issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LeafNotAfter {
    /// It is refused.
    #[default]
    Err,
    /// It ends with the issuer.
    Truncate,
    Permit,
}

impl LeafNotAfter {
    const ALL: [Self; 3] = [Self::Err, Self::Truncate, Self::Permit];

    const fn name(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::Truncate => "truncate",
            Self::Permit => "permit",
        }
    }
}

/// One use of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    CrlSigning,
    Issuing,
    OcspSigning,
    ReadOnly,
}

impl Use {
    const ALL: [Self; 4] = [Self::CrlSigning, Self::Issuing, Self::OcspSigning, Self::ReadOnly];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CrlSigning => "crl-signing",
            Self::Issuing => "issuing-certificates",
            Self::OcspSigning => "ocsp-signing",
            Self::ReadOnly => "read-only",
        }
    }
}

/// All uses of an issuer that are allowed; stored as a number, one bit for each in the order of [`Use`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Usage(u8);

impl Usage {
    pub(super) const ALL: Self = Self(0b1111);

    pub(super) const fn contains(self, usage: Use) -> bool {
        self.0 >> usage as u8 & 1 == 1
    }

    pub(super) const fn without(self, usage: Use) -> Self {
        Self(self.0 & !(1 << usage as u8))
    }

    pub(super) fn text(self) -> String {
        let names: Vec<&str> = Use::ALL.into_iter().filter(|usage| self.contains(*usage)).map(Use::name).collect();
        names.join(",")
    }

    /// Of names; reading is always allowed.
    fn parse(names: &[String]) -> Option<Self> {
        let mut bits = 1 << Use::ReadOnly as u8;
        for name in names {
            bits |= 1 << Use::ALL.into_iter().find(|usage| usage.name() == name)? as u8;
        }
        Some(Self(bits))
    }
}

impl Issuer {
    pub(super) fn save(&self, cx: &Cx) -> Result<()> {
        cx.view.put(&format!("issuer/{}", self.id), self)
    }

    /// Its certificate, parsed once.
    pub(super) fn parsed(&self, cx: &Cx) -> Result<Arc<Certificate>> {
        if let Some(known) = cx.engine.certificates.get(&self.id) {
            return Ok(known);
        }
        let parsed = Certificate::from_der(&self.certificate.0).map_err(Error::internal)?;
        let parsed = Arc::new(parsed);
        cx.engine.certificates.insert(self.id.clone(), parsed.clone());
        Ok(parsed)
    }

    pub(super) fn pem(&self) -> String {
        coffer_crypto::x509::pem("CERTIFICATE", &self.certificate.0)
    }

    /// DER of the certificates of its chain, its own first.
    pub(super) async fn chain_der(&self, cx: &Cx) -> Result<Vec<Vec<u8>>> {
        let mut chain = vec![self.certificate.0.clone()];
        for id in self.chain.iter().filter(|id| **id != self.id) {
            chain.extend(by_id(cx, id).await?.map(|issuer| issuer.certificate.0));
        }
        Ok(chain)
    }

    /// PEM of the certificates of its chain, each with a newline at its end, its own first.
    pub(super) async fn chain_pem(&self, cx: &Cx) -> Result<Vec<String>> {
        Ok(self.chain_der(cx).await?.iter().map(|der| coffer_crypto::x509::pem("CERTIFICATE", der)).collect())
    }

    /// The algorithm of its revocation lists and OCSP replies.
    pub(super) fn revocation_algorithm(&self) -> Option<SignatureAlgorithm> {
        SignatureAlgorithm::from_name(&self.revocation_algorithm)
    }
}

pub(super) async fn all(cx: &Cx) -> Result<Vec<Issuer>> {
    let mut issuers = Vec::new();
    for id in cx.view.children("issuer/", None, usize::MAX).await? {
        issuers.extend(by_id(cx, &id).await?);
    }
    Ok(issuers)
}

pub(super) async fn by_id(cx: &Cx, id: &str) -> Result<Option<Issuer>> {
    cx.view.get(&format!("issuer/{id}")).await
}

/// The issuer whose certificate this is, byte for byte.
pub(super) async fn by_certificate(cx: &Cx, der: &[u8]) -> Result<Option<Issuer>> {
    match read_text(cx, &format!("issuer-cert/{}", fingerprint(der))).await? {
        Some(id) => by_id(cx, &id).await,
        None => Ok(None),
    }
}

/// The issuer of an id, a name, or `default`.
pub(super) async fn find(cx: &Cx, reference: &str) -> Result<Option<Issuer>> {
    if reference == "default" {
        let id = super::config::issuers(cx).await?.default;
        return if id.is_empty() { Ok(None) } else { by_id(cx, &id).await };
    }
    if let Some(issuer) = by_id(cx, reference).await? {
        return Ok(Some(issuer));
    }
    match read_text(cx, &format!("issuer-name/{reference}")).await? {
        Some(id) => by_id(cx, &id).await,
        None => Ok(None),
    }
}

/// The same for who only reads it, as issuing does each time: decoded once.
pub(super) async fn shared(cx: &Cx, reference: &str) -> Result<Option<Arc<Issuer>>> {
    let parsed = &cx.engine.parsed;
    let by_id = async |id: &str| parsed.get::<Issuer>(&cx.view, &format!("issuer/{id}")).await;
    if reference == "default" {
        return match super::config::default_issuer(cx).await? {
            Some(config) if !config.default.is_empty() => by_id(&config.default).await,
            _ => Ok(None),
        };
    }
    if let Some(issuer) = by_id(reference).await? {
        return Ok(Some(issuer));
    }
    match read_text(cx, &format!("issuer-name/{reference}")).await? {
        Some(id) => by_id(&id).await,
        None => Ok(None),
    }
}

/// What is said of a reference to nothing.
pub(super) fn unknown(reference: &str) -> String {
    if reference == "default" {
        "no default issuer currently configured".to_owned()
    } else {
        format!("unable to find PKI issuer for reference: {reference}")
    }
}

/// A name for a new issuer: none, or a good one that no issuer has.
pub(super) async fn check_new_name(cx: &Cx, name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    if name == "default" {
        return Err(Error::bad_request("reserved keyword 'default' can not be used as issuer name"));
    }
    if !is_name(name) {
        return Err(Error::bad_request("issuer name contained invalid characters"));
    }
    if find(cx, name).await?.is_some() {
        return Err(Error::bad_request("issuer name already in use"));
    }
    Ok(())
}

/// Keeps an authority's certificate, unless it is there already; says whether it was. Chains are the caller's to
/// [rebuild](chain::rebuild), once all have come.
pub(super) async fn keep(cx: &Cx, certificate: Certificate, name: &str, id: String) -> Result<(Issuer, bool)> {
    if let Some(known) = by_certificate(cx, certificate.der()).await? {
        return Ok((known, true));
    }
    let key = keys::by_public(cx, certificate.spki()).await?;
    let kind = certificate.public_key().ok().map(|key| key.kind());
    let algorithm = certificate.signature_algorithm().filter(|algorithm| kind.is_some_and(|kind| algorithm.fits(kind)));
    let mut usage = if certificate.may_sign_lists() { Usage::ALL } else { Usage::ALL.without(Use::CrlSigning) };
    if !certificate.may_sign_certificates() {
        usage = usage.without(Use::Issuing);
    }
    let issuer = Issuer {
        id: id.clone(),
        name: name.to_owned(),
        key_id: key.map(|key| key.id).unwrap_or_default(),
        certificate: PublicBytes(certificate.der().to_vec()),
        chain: vec![id.clone()],
        manual_chain: Vec::new(),
        leaf_not_after: LeafNotAfter::Err,
        usage,
        revocation_algorithm: algorithm.map(|algorithm| algorithm.name().to_owned()).unwrap_or_default(),
        urls: Urls::default(),
        revoked: None,
        modified: cx.now(),
    };
    issuer.save(cx)?;
    put_text(cx, &format!("issuer-cert/{}", fingerprint(certificate.der())), &id);
    if !name.is_empty() {
        put_text(cx, &format!("issuer-name/{name}"), &id);
    }
    super::config::issuer_came(cx, &issuer).await?;
    Ok((issuer, false))
}

/// Gives a key that came later to the issuers whose it is.
pub(super) async fn adopt(cx: &Cx, key: &keys::Key) -> Result<()> {
    for mut issuer in all(cx).await? {
        if issuer.key_id.is_empty() && issuer.parsed(cx)?.spki() == key.public.0 {
            issuer.key_id.clone_from(&key.id);
            issuer.save(cx)?;
            super::config::issuer_came(cx, &issuer).await?;
        }
    }
    Ok(())
}

pub(super) fn remove(cx: &Cx, issuer: &Issuer) {
    cx.view.delete(&format!("issuer/{}", issuer.id));
    cx.view.delete(&format!("issuer-cert/{}", fingerprint(&issuer.certificate.0)));
    if !issuer.name.is_empty() {
        cx.view.delete(&format!("issuer-name/{}", issuer.name));
    }
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("issuers").about("Lists the issuers.").public().list(list);
    d.at("issuer/{issuer_ref}")
        .about("Reads, changes and deletes an issuer.")
        .plain(&["issuer_name", "leaf_not_after_behavior", "usage", "manual_chain", "revocation_signature_algorithm"])
        .read(read)
        .write(write)
        .patch(patch)
        .delete(delete);
    d.at("issuer/{issuer_ref}/json").about("Shows an issuer's certificate and chain.").public().read(read_json);
    d.at("issuer/{issuer_ref}/pem").about("An issuer's certificate in PEM.").public().read(read_pem);
    d.at("issuer/{issuer_ref}/der").about("An issuer's certificate in DER.").public().read(read_der);
}

async fn list(cx: Cx, ask: Page) -> Result<Reply> {
    let default = super::config::issuers(&cx).await?.default;
    let (mut names, mut info) = (Vec::new(), Object::new());
    for id in cx.view.children("issuer/", ask.after(), ask.limit()).await? {
        let Some(issuer) = by_id(&cx, &id).await? else { continue };
        let about = Object::new()
            .with("is_default", issuer.id == default)
            .with("issuer_name", issuer.name.as_str())
            .with("key_id", issuer.key_id.as_str())
            .with("serial_number", serial::show(issuer.parsed(&cx)?.serial_bytes()));
        info.insert(issuer.id.clone(), Json::Object(about));
        names.push(issuer.id);
    }
    Ok(Reply::list_with(names, info))
}

/// Name an issuer.
#[derive(Request)]
pub(super) struct Named {
    /// Its id, its name, or `default`.
    #[field(path)]
    pub(super) issuer_ref: String,
}

pub(super) async fn named(cx: &Cx, reference: &str) -> Result<Issuer> {
    find(cx, reference).await?.ok_or_else(|| failed(unknown(reference)))
}

/// The same for those without a token, in the words that they get.
pub(super) async fn public(cx: &Cx, reference: &str) -> Result<Issuer> {
    let found = find(cx, reference).await?;
    found.ok_or_else(|| Error::new(coffer_types::Kind::Internal, unknown(reference)))
}

async fn read(cx: Cx, ask: Named) -> Result<Reply> {
    let issuer = named(&cx, &ask.issuer_ref).await?;
    Ok(Reply::data(show(&cx, &issuer).await?))
}

/// An issuer as the API shows it.
pub(super) async fn show(cx: &Cx, issuer: &Issuer) -> Result<Object> {
    let manual = if issuer.manual_chain.is_empty() { Json::Null } else { Json::from(issuer.manual_chain.clone()) };
    // An issuer with addresses of its own shows those that it lacks as null, as the reference does.
    let own = !issuer.urls.is_empty();
    let urls = |list: &Vec<String>| if own && list.is_empty() { Json::Null } else { Json::from(list.clone()) };
    let mut shown = Object::new()
        .with("ca_chain", issuer.chain_pem(cx).await?)
        .with("certificate", issuer.pem())
        .with("crl_distribution_points", urls(&issuer.urls.crl_distribution_points))
        .with("delta_crl_distribution_points", urls(&issuer.urls.delta_crl_distribution_points))
        .with("issuer_id", issuer.id.as_str())
        .with("issuer_name", issuer.name.as_str())
        .with("issuing_certificates", urls(&issuer.urls.issuing_certificates))
        .with("key_id", issuer.key_id.as_str())
        .with("leaf_not_after_behavior", issuer.leaf_not_after.name())
        .with("manual_chain", manual)
        .with("ocsp_servers", urls(&issuer.urls.ocsp_servers))
        .with("revocation_signature_algorithm", issuer.revocation_algorithm.as_str())
        .with("revoked", issuer.revoked.is_some())
        .with("usage", issuer.usage.text());
    if !issuer.urls.is_empty() {
        shown.insert("enable_aia_url_templating", issuer.urls.enable_templating);
    }
    if let Some(at) = issuer.revoked {
        shown.insert("revocation_time", at.secs());
        shown.insert("revocation_time_rfc3339", at.rfc3339());
    }
    shown.sort();
    Ok(shown)
}

async fn read_json(cx: Cx, ask: Named) -> Result<Reply> {
    let issuer = public(&cx, &ask.issuer_ref).await?;
    let shown = Object::new()
        .with("ca_chain", issuer.chain_pem(&cx).await?)
        .with("certificate", issuer.pem())
        .with("issuer_id", issuer.id.as_str())
        .with("issuer_name", issuer.name.as_str());
    Ok(Reply::data(shown))
}

async fn read_pem(cx: Cx, ask: Named) -> Result<Reply> {
    let issuer = public(&cx, &ask.issuer_ref).await?;
    Ok(Reply::raw("application/pem-certificate-chain", issuer.pem().into_bytes()))
}

async fn read_der(cx: Cx, ask: Named) -> Result<Reply> {
    let issuer = public(&cx, &ask.issuer_ref).await?;
    Ok(Reply::raw("application/pkix-cert", issuer.certificate.0))
}

/// Write an issuer; what is left out goes back to what is usual.
#[derive(Request)]
struct Write {
    /// Its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    #[field(flatten)]
    what: Change,
}

/// What can be said of an issuer.
#[derive(Request)]
struct Change {
    /// A name for it.
    issuer_name: Option<String>,
    /// What becomes of a leaf that would outlive it: `err`, `truncate` or `permit`.
    leaf_not_after_behavior: Option<String>,
    /// What it may be used for: `read-only`, `issuing-certificates`, `crl-signing`, `ocsp-signing`.
    usage: Option<Vec<String>>,
    /// Ids or names of the issuers above it, in place of what is found.
    manual_chain: Option<Vec<String>>,
    /// The algorithm of its revocation lists.
    revocation_signature_algorithm: Option<String>,
    /// Where its certificate is.
    issuing_certificates: Option<Vec<String>>,
    /// Where its revocation list is.
    crl_distribution_points: Option<Vec<String>>,
    /// Where its delta list is.
    delta_crl_distribution_points: Option<Vec<String>>,
    /// Where OCSP answers for it.
    ocsp_servers: Option<Vec<String>>,
    /// Whether addresses are templates.
    enable_aia_url_templating: Option<bool>,
}

async fn write(cx: Cx, ask: Write) -> Result<Reply> {
    let change = ask.what;
    let whole = Change {
        issuer_name: Some(change.issuer_name.unwrap_or_default()),
        leaf_not_after_behavior: Some(change.leaf_not_after_behavior.unwrap_or_else(|| "err".to_owned())),
        usage: Some(change.usage.unwrap_or_else(|| Use::ALL.into_iter().map(|usage| usage.name().to_owned()).collect())),
        manual_chain: Some(change.manual_chain.unwrap_or_default()),
        revocation_signature_algorithm: Some(change.revocation_signature_algorithm.unwrap_or_default()),
        issuing_certificates: Some(change.issuing_certificates.unwrap_or_default()),
        crl_distribution_points: Some(change.crl_distribution_points.unwrap_or_default()),
        delta_crl_distribution_points: Some(change.delta_crl_distribution_points.unwrap_or_default()),
        ocsp_servers: Some(change.ocsp_servers.unwrap_or_default()),
        enable_aia_url_templating: Some(change.enable_aia_url_templating.unwrap_or_default()),
    };
    apply(&cx, &ask.issuer_ref, whole).await
}

/// Change of an issuer what is named.
#[derive(Request)]
struct Patch {
    /// Its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    #[field(flatten)]
    what: Change,
}

async fn patch(cx: Cx, ask: Patch) -> Result<Reply> {
    apply(&cx, &ask.issuer_ref, ask.what).await
}

async fn apply(cx: &Cx, reference: &str, change: Change) -> Result<Reply> {
    let mut issuer = named(cx, reference).await?;
    let mut warnings = Vec::new();
    let rebuild = change.manual_chain.is_some();
    if let Some(references) = change.manual_chain {
        let mut ids = Vec::new();
        for reference in references {
            let id = if reference == "self" { issuer.id.clone() } else { named(cx, &reference).await?.id };
            ids.push(id);
        }
        issuer.manual_chain = ids;
    }
    if let Some(name) = change.issuer_name.filter(|name| *name != issuer.name) {
        check_new_name(cx, &name).await?;
        if !issuer.name.is_empty() {
            cx.view.delete(&format!("issuer-name/{}", issuer.name));
        }
        if !name.is_empty() {
            put_text(cx, &format!("issuer-name/{name}"), &issuer.id);
        }
        issuer.name = name;
    }
    if let Some(behavior) = change.leaf_not_after_behavior {
        let known = LeafNotAfter::ALL.into_iter().find(|known| known.name() == behavior);
        issuer.leaf_not_after = known.ok_or_else(|| {
            Error::bad_request(
                "Unknown value for field `leaf_not_after_behavior`. Possible values are `err`, `truncate`, and `permit`.",
            )
        })?;
    }
    if let Some(names) = change.usage {
        let usage = Usage::parse(&names).ok_or_else(|| {
            let all = Use::ALL.map(Use::name).join(",");
            Error::bad_request(format!("Unable to parse specified usages: [{}] - valid values are {all}", names.join(" ")))
        })?;
        let may_sign = issuer.parsed(cx)?.may_sign_lists();
        if usage.contains(Use::CrlSigning) && !may_sign {
            return Err(Error::bad_request(
                "unable to set usage of crl-signing: the issuer's certificate does not have the key usage of signing lists",
            ));
        }
        if issuer.revoked.is_some() && usage.contains(Use::Issuing) {
            return Err(Error::bad_request(
                "This issuer was revoked; unable to modify its usage to include certificate signing again. Reissue this certificate \
                 (preferably with a new key) and modify that entry instead.",
            ));
        }
        issuer.usage = usage;
    }
    if let Some(name) = change.revocation_signature_algorithm {
        issuer.revocation_algorithm = revocation_algorithm(cx, &issuer, &name)?;
    }
    let urls = &mut issuer.urls;
    let new = Urls {
        issuing_certificates: change.issuing_certificates.unwrap_or_else(|| urls.issuing_certificates.clone()),
        crl_distribution_points: change.crl_distribution_points.unwrap_or_else(|| urls.crl_distribution_points.clone()),
        delta_crl_distribution_points: change
            .delta_crl_distribution_points
            .unwrap_or_else(|| urls.delta_crl_distribution_points.clone()),
        ocsp_servers: change.ocsp_servers.unwrap_or_else(|| urls.ocsp_servers.clone()),
        enable_templating: change.enable_aia_url_templating.unwrap_or(urls.enable_templating),
    };
    warnings.extend(new.check(cx).await?);
    *urls = new;
    issuer.modified = cx.now();
    issuer.save(cx)?;
    if rebuild {
        chain::rebuild(cx).await?;
        issuer = named(cx, &issuer.id).await?;
    }
    let reply = Reply::data(show(cx, &issuer).await?);
    Ok(warnings.into_iter().fold(reply, Reply::warn))
}

fn revocation_algorithm(cx: &Cx, issuer: &Issuer, name: &str) -> Result<String> {
    if name.is_empty() {
        return Ok(String::new());
    }
    let Some(algorithm) = SignatureAlgorithm::from_name(name) else {
        let known = SignatureAlgorithm::ALL.map(|known| known.name().to_ascii_lowercase()).join(", ");
        return Err(Error::bad_request(format!("Unknown signature algorithm value: {name} - valid values are {known}")));
    };
    let kind = issuer.parsed(cx)?.public_key().map_err(Error::internal)?.kind();
    if !algorithm.fits(kind) {
        let kind = if keys::type_name(kind) == "ec" { "ECDSA".to_owned() } else { keys::type_name(kind).to_uppercase() };
        return Err(failed(format!("unable to use issuer of type {kind} to sign with {} key type", algorithm.name())));
    }
    Ok(algorithm.name().to_owned())
}

async fn delete(cx: Cx, ask: Named) -> Result<Reply> {
    let done = Reply::<Object>::empty().status(200);
    let Some(issuer) = find(&cx, &ask.issuer_ref).await? else { return Ok(done) };
    remove(&cx, &issuer);
    chain::rebuild(&cx).await?;
    let mut config = super::config::issuers(&cx).await?;
    let was_default = config.default == issuer.id;
    let mut done = done;
    let names = [(was_default, "default"), (true, issuer.id.as_str()), (!issuer.name.is_empty(), issuer.name.as_str())];
    if was_default {
        config.default.clear();
        cx.view.put("config/issuers", &config)?;
        let warning = format!(
            "Deleted issuer {} (via issuer_ref {}); this was configured as the default issuer. Operations without an explicit issuer \
             will not work until a new default is configured.",
            issuer.id, ask.issuer_ref
        );
        done = done.warn(warning);
    }
    let mut references = std::collections::BTreeMap::new();
    for reference in super::role::issuer_refs(&cx).await? {
        if names.iter().any(|(counts, name)| *counts && *name == reference) {
            *references.entry(reference).or_insert(0u64) += 1;
        }
    }
    for (reference, count) in references {
        done = done.warn(format!("{count} roles reference {reference}"));
    }
    Ok(done)
}
