//! Making authorities: roots that sign themselves, and requests of intermediates.

use super::bundle::{Format, is_pkcs8};
use super::keys::{self, Key};
use super::urls::{self, Urls};
use super::uses;
use super::validity::{self, Limits, Validity};
use super::{Cx, Pki, chain, import, issuer, new_id, serial, subject};
use crate::keyring::Origin;
use coffer_crypto::pk::PrivateKey;
use coffer_crypto::x509::{
    BasicConstraints, Certificate, Draft, Extensions, KeyUses, NameConstraints, SignatureAlgorithm, Subtrees, key_id, request,
};
use coffer_engine::{Declare, NoInput, Reply, Request};
use coffer_types::{Error, Json, Object, Result, Span};

pub(super) fn declare(d: &mut Declare<Pki>) {
    const ABOUT: &str = "Makes an authority that signs itself.";
    const PLAIN: &[&str] = &["common_name", "alt_names", "ip_sans", "ttl", "key_type", "key_bits", "issuer_name", "key_name"];
    d.at("root/generate/{exported}").about(ABOUT).plain(PLAIN).write(make_root);
    d.at("root/rotate/{exported}").about(ABOUT).plain(PLAIN).write(rotate_root);
    d.at("issuers/generate/root/{exported}").about(ABOUT).plain(PLAIN).write(make_root);
    const REQUEST: &str = "Makes a key and a request to an authority above.";
    d.at("intermediate/generate/{exported}").about(REQUEST).plain(PLAIN).write(make_request);
    d.at("issuers/generate/intermediate/{exported}").about(REQUEST).plain(PLAIN).write(make_request);
    d.at("intermediate/cross-sign")
        .about("Makes a request with a key that is here, for another authority to sign.")
        .plain(PLAIN)
        .write(cross_sign);
    d.at("root").about("Deletes all issuers and keys.").sudo().delete(delete_all);
}

/// Where the key comes from and whether it is shown.
#[derive(Request)]
struct AskKey {
    /// A name for the key.
    #[field(default)]
    key_name: String,
    /// `rsa`, `ec` or `ed25519`.
    key_type: Option<String>,
    /// Its length; 0 for what is usual.
    key_bits: Option<i64>,
    /// The key that is used, with `existing`.
    #[field(default = "default".to_owned())]
    key_ref: String,
    /// A key outside, which is not supported.
    #[field(default)]
    external_key_ref: String,
    /// Bits of the signature's digest: 256, 384, 512; 0 for what fits.
    #[field(default)]
    signature_bits: i64,
    /// RSASSA-PSS in place of PKCS #1 v1.5.
    #[field(default)]
    use_pss: bool,
    /// `pem`, `der` or `pem_bundle`.
    #[field(default)]
    format: String,
    /// `pkcs8` shows the key so.
    #[field(default)]
    private_key_format: String,
}

/// A key to make an authority with.
struct Chosen {
    private: std::sync::Arc<crate::keyring::Material>,
    key: Key,
    /// Shown this once.
    exported: bool,
}

impl AskKey {
    async fn choose(&self, cx: &Cx, exported: &str) -> Result<Chosen> {
        let exported = match exported {
            "internal" => false,
            "exported" => true,
            "existing" => {
                if self.key_type.is_some() || self.key_bits.is_some() {
                    return Err(Error::bad_request(
                        "invalid parameter for the kms/existing path parameter, key_type nor key_bits arguments can be set in this mode",
                    ));
                }
                let key = keys::find(cx, &self.key_ref).await?.ok_or_else(|| {
                    let why = keys::unknown(&self.key_ref);
                    Error::bad_request(format!("failed to lookup public key from existing key: {why}"))
                })?;
                return Ok(Chosen { private: keys::material(cx, &key.id).await?, key, exported: false });
            }
            "kms" if self.external_key_ref.is_empty() => {
                return Err(Error::bad_request("must specify \"external_key_ref\" on \"kms\"-typed generation requests"));
            }
            "kms" => return Err(Error::bad_request("keys that lie outside are not supported")),
            _ => {
                return Err(Error::bad_request(
                    "the \"exported\" path parameter must be \"internal\", \"existing\", exported\" or \"kms\"",
                ));
            }
        };
        keys::check_new_name(cx, &self.key_name).await?;
        let kind = keys::kind_of(self.key_type.as_deref().unwrap_or("rsa"), self.key_bits.unwrap_or(0))?;
        let made = keys::generate(cx, kind).await?;
        let (key, _) = keys::keep(cx, &made, &self.key_name, Origin::Generated).await?;
        Ok(Chosen { private: keys::material(cx, &key.id).await?, key, exported })
    }

    fn algorithm(&self, private: &PrivateKey) -> SignatureAlgorithm {
        let of = |bits| SignatureAlgorithm::for_key(private.kind(), bits, self.use_pss);
        let usual = || of(0).unwrap_or(SignatureAlgorithm::EcdsaSha256);
        u32::try_from(self.signature_bits).ok().and_then(of).unwrap_or_else(usual)
    }
}

impl Chosen {
    fn private(&self) -> Result<&PrivateKey> {
        self.private.private.as_ref().ok_or_else(|| Error::internal("a key of an issuer has no private half"))
    }

    /// Adds the key to what is shown, if it is to be.
    fn show(&self, format: Format, pkcs8: bool, shown: &mut Object) -> Result<()> {
        if self.exported {
            let private = self.private()?;
            shown.insert("private_key", Json::String(format.private_key(private, pkcs8)?));
            shown.insert("private_key_type", keys::type_name(private.kind()));
        }
        Ok(())
    }
}

/// Runs a signature beside the async threads where it takes long.
async fn sign<T: Send + 'static>(
    cx: &Cx,
    chosen: &Chosen,
    work: impl FnOnce(&PrivateKey) -> Result<T, coffer_crypto::pk::PkError> + Send + 'static,
) -> Result<T> {
    let material = chosen.private.clone();
    let run = move || material.private.as_ref().map_or(Err(coffer_crypto::pk::PkError::Failed), work);
    let made = if chosen.key.spec.kind().is_none_or(keys::takes_long) { cx.compute(run).await? } else { run() };
    made.map_err(Error::internal)
}

/// Make an authority that signs itself.
#[derive(Request)]
struct MakeRoot {
    /// `internal` keeps the key here, `exported` shows it this once, `existing` takes one that is here.
    #[field(path)]
    exported: String,
    #[field(flatten)]
    subject: subject::Ask,
    #[field(flatten)]
    key: AskKey,
    #[field(flatten)]
    validity: validity::Ask,
    /// How far before now it begins to be valid.
    #[field(default = Span::from_secs(30))]
    not_before_duration: Span,
    /// A name for the issuer.
    #[field(default)]
    issuer_name: String,
    #[field(flatten)]
    authority: AskAuthority,
}

/// What an authority may do.
#[derive(Request)]
pub(super) struct AskAuthority {
    /// How many authorities may follow below it; -1 for any number.
    #[field(default = -1)]
    pub(super) max_path_length: i64,
    /// Names of hosts below which alone its certificates count.
    #[field(default)]
    permitted_dns_domains: Vec<String>,
    /// Names of hosts below which none of its certificates counts.
    #[field(default)]
    excluded_dns_domains: Vec<String>,
    /// Ranges of addresses in which alone its certificates count.
    #[field(default)]
    permitted_ip_ranges: Vec<String>,
    /// Ranges of addresses in which none of its certificates counts.
    #[field(default)]
    excluded_ip_ranges: Vec<String>,
    /// Addresses or domains of mail for which alone its certificates count.
    #[field(default)]
    permitted_email_addresses: Vec<String>,
    /// Addresses or domains of mail for which none of its certificates counts.
    #[field(default)]
    excluded_email_addresses: Vec<String>,
    /// Hosts of URIs for which alone its certificates count.
    #[field(default)]
    permitted_uri_domains: Vec<String>,
    /// Hosts of URIs for which none of its certificates counts.
    #[field(default)]
    excluded_uri_domains: Vec<String>,
    /// Uses of its key besides signing certificates and lists.
    #[field(default)]
    key_usage: Vec<String>,
    /// Extended uses of its key.
    #[field(default)]
    ext_key_usage: Vec<String>,
    /// The same by their OIDs.
    #[field(default)]
    ext_key_usage_oids: Vec<String>,
}

impl AskAuthority {
    pub(super) fn path_length(&self) -> Result<Option<u32>> {
        if self.max_path_length < -1 {
            return Err(super::failed("unable to create certificate: x509: invalid MaxPathLen, must be greater or equal to -1"));
        }
        // -1 says nothing; more than a number of 32 bits is as good as that.
        Ok(u32::try_from(self.max_path_length).ok())
    }

    pub(super) fn constraints(&self) -> Result<NameConstraints> {
        let side = |dns: &[String], ip: &[String], email: &[String], uri: &[String]| -> Result<Subtrees> {
            let host = |name: &String| {
                let bare = name.strip_prefix('.').unwrap_or(name);
                if super::hostname::is_host(bare) && !bare.contains('*') {
                    return Ok(name.clone());
                }
                Err(Error::bad_request(format!("{name:?} is no name of hosts that constraints can have")))
            };
            let mail = |name: &String| match name.split_once('@') {
                Some((local, domain)) if !local.is_empty() && local.is_ascii() => host(&domain.to_owned()).map(|_| name.clone()),
                Some(_) => Err(Error::bad_request(format!("{name:?} is no address of mail that constraints can have"))),
                None => host(name),
            };
            let range = |text: &String| {
                uses::address_range(text).ok_or_else(|| Error::bad_request(format!("invalid CIDR address: {text}")))
            };
            Ok(Subtrees {
                dns: dns.iter().filter(|name| !name.is_empty()).map(host).collect::<Result<_>>()?,
                ip: ip.iter().map(range).collect::<Result<_>>()?,
                email: email.iter().map(mail).collect::<Result<_>>()?,
                uri: uri.iter().map(host).collect::<Result<_>>()?,
            })
        };
        Ok(NameConstraints {
            permitted: side(
                &self.permitted_dns_domains,
                &self.permitted_ip_ranges,
                &self.permitted_email_addresses,
                &self.permitted_uri_domains,
            )?,
            excluded: side(
                &self.excluded_dns_domains,
                &self.excluded_ip_ranges,
                &self.excluded_email_addresses,
                &self.excluded_uri_domains,
            )?,
        })
    }

    /// The extensions that every authority has: what its key is for, and how far it reaches.
    pub(super) fn begin(&self, path_length: Option<u32>) -> Extensions {
        let mut extensions = Extensions::default();
        extensions.key_usage(uses::key_uses(&self.key_usage) | KeyUses::CERT_SIGN | KeyUses::CRL_SIGN);
        extensions.extended_key_usage(&uses::extended(&self.ext_key_usage, &self.ext_key_usage_oids));
        extensions.basic_constraints(BasicConstraints { authority: true, path_length });
        extensions
    }
}

async fn make_root(cx: Cx, ask: MakeRoot) -> Result<Reply> {
    root(&cx, ask).await
}

async fn rotate_root(cx: Cx, mut ask: MakeRoot) -> Result<Reply> {
    if ask.issuer_name.is_empty() && issuer::find(&cx, "next").await?.is_none() {
        "next".clone_into(&mut ask.issuer_name);
    }
    root(&cx, ask).await
}

async fn root(cx: &Cx, ask: MakeRoot) -> Result<Reply> {
    let format = Format::parse(&ask.key.format)?;
    let mut warnings = Vec::new();
    issuer::check_new_name(cx, &ask.issuer_name).await?;
    let limits = Limits { not_before_duration: ask.not_before_duration, ..Limits::default() };
    let validity = Validity::of(cx, &ask.validity, &limits, &mut warnings)?;
    let names = ask.subject.names()?;
    let path_length = ask.authority.path_length()?;
    let constraints = ask.authority.constraints()?;
    let chosen = ask.key.choose(cx, &ask.exported).await?;
    let id = new_id(cx);
    let urls = Urls::for_new(cx, &id).await?;
    let name = ask.subject.subject();
    if name.is_empty() {
        warnings.push(
            "This issuer certificate was generated without a Subject; this makes it likely that issuing leaf certs with this \
             certificate will cause TLS validation libraries to reject this certificate."
                .to_owned(),
        );
    }
    let spki = chosen.key.public.0.clone();
    let own_id = key_id(&spki).map_err(Error::internal)?;
    let mut extensions = ask.authority.begin(path_length);
    extensions.subject_key_id(&own_id);
    extensions.authority_key_id(&own_id);
    extensions.authority_access(&urls.ocsp_servers, &urls.issuing_certificates);
    extensions.alternative_names(&names, false);
    extensions.name_constraints(&constraints);
    extensions.crl_points(&urls.crl_distribution_points);
    extensions.freshest_crl(&urls.delta_crl_distribution_points);
    let algorithm = ask.key.algorithm(chosen.private()?);
    let (serial, subject) = (serial::new(cx), name.to_der());
    let der = sign(cx, &chosen, move |private| {
        let draft = Draft {
            serial: &serial,
            issuer: &subject,
            subject: &subject,
            not_before: validity.not_before,
            not_after: validity.not_after,
            spki: &spki,
            extensions: &extensions,
        };
        draft.sign(private, algorithm)
    })
    .await?;
    let certificate = Certificate::from_der(&der).map_err(Error::internal)?;
    let (issuer, _) = import::keep(cx, certificate, &ask.issuer_name, id).await?;
    chain::rebuild(cx).await?;
    if urls.is_empty() {
        warnings.push(urls::NONE.to_owned());
    }
    let key = chosen.exported.then(|| chosen.private()).transpose()?;
    let mut shown = Object::new()
        .with("certificate", Json::String(format.whole("CERTIFICATE", &der, key, &[])?))
        .with("expiration", validity.not_after)
        .with("issuer_id", issuer.id)
        .with("issuer_name", issuer.name)
        .with("issuing_ca", format.certificate(&der))
        .with("key_id", chosen.key.id.as_str())
        .with("key_name", chosen.key.name.as_str())
        .with("serial_number", serial::show(&serial));
    chosen.show(format, is_pkcs8(&ask.key.private_key_format), &mut shown)?;
    shown.sort();
    Ok(warnings.into_iter().fold(Reply::data(shown), Reply::warn))
}

/// Make a key and a request to an authority above.
#[derive(Request)]
struct MakeRequest {
    /// `internal` keeps the key here, `exported` shows it this once, `existing` takes one that is here.
    #[field(path)]
    exported: String,
    #[field(flatten)]
    what: AskRequest,
}

/// What a request asks for.
#[derive(Request)]
struct AskRequest {
    #[field(flatten)]
    subject: subject::Ask,
    #[field(flatten)]
    key: AskKey,
    /// The request says that it is an authority's, as some authorities above want it.
    #[field(default)]
    add_basic_constraints: bool,
    /// Not used: the authority above decides.
    #[field(flatten)]
    _validity: validity::Ask,
    /// Not used: the authority above decides.
    #[field(default, rename = "not_before_duration")]
    _not_before_duration: Span,
}

async fn make_request(cx: Cx, ask: MakeRequest) -> Result<Reply> {
    intermediate(&cx, &ask.exported, ask.what).await
}

/// Make a request with a key that is here, for another authority to sign.
#[derive(Request)]
struct CrossSign {
    /// Only `existing`.
    #[field(default)]
    exported: String,
    #[field(flatten)]
    what: AskRequest,
}

async fn cross_sign(cx: Cx, ask: CrossSign) -> Result<Reply> {
    if !ask.exported.is_empty() && ask.exported != "existing" {
        return Err(Error::bad_request("a cross-signing request takes a key that is here: \"existing\""));
    }
    intermediate(&cx, "existing", ask.what).await
}

async fn intermediate(cx: &Cx, exported: &str, ask: AskRequest) -> Result<Reply> {
    let format = Format::parse(&ask.key.format)?;
    let names = ask.subject.names()?;
    let chosen = ask.key.choose(cx, exported).await?;
    let mut extensions = Extensions::default();
    extensions.alternative_names(&names, false);
    if ask.add_basic_constraints {
        extensions.basic_constraints(BasicConstraints { authority: true, path_length: None });
    }
    let algorithm = ask.key.algorithm(chosen.private()?);
    let subject = ask.subject.subject().to_der();
    let der = sign(cx, &chosen, move |private| request(&subject, &extensions, private, algorithm)).await?;
    let key = chosen.exported.then(|| chosen.private()).transpose()?;
    let mut shown = Object::new()
        .with("csr", Json::String(format.whole("CERTIFICATE REQUEST", &der, key, &[])?))
        .with("key_id", chosen.key.id.as_str());
    chosen.show(format, is_pkcs8(&ask.key.private_key_format), &mut shown)?;
    let reply = Reply::data(shown);
    if urls::of_mount(cx).await?.is_empty() {
        return Ok(reply.warn(format!(
            "{} Since this certificate is an intermediate, it might be useful to regenerate this certificate after fixing this problem \
             for the root mount.",
            urls::NONE
        )));
    }
    Ok(reply)
}

async fn delete_all(cx: Cx, _: NoInput) -> Result<Reply> {
    for issuer in issuer::all(&cx).await? {
        issuer::remove(&cx, &issuer);
    }
    for key in keys::all(&cx).await? {
        keys::remove(&cx, &key).await?;
    }
    cx.view.delete("config/issuers");
    cx.view.delete("config/keys");
    let warning = "DELETE /root deletes all keys and issuers; prefer the new DELETE /key/:key_ref and DELETE /issuer/:issuer_ref for \
                   finer granularity, unless removal of all keys and issuers is desired.";
    Ok(Reply::<Object>::empty().status(200).warn(warning))
}
