//! Revocation lists: one complete list an issuer, and a delta on it where the mount makes them.
//!
//! `config/crl` a [`Config`]; `crl/<issuer id>` a [`Lists`]; `crl-due/<issuer id>` says that the list must be made anew. A revocation only
//! writes that mark, so it costs the same however many came before; the next reader, or the next beat, makes the list.

use super::bundle::trimmed;
use super::issuer::{self, Issuer, Use};
use super::signer::Signer;
use super::stored::Revocation;
use super::{Cx, Pki};
use crate::keyring::PublicBytes;
use coffer_crypto::x509::{Certificate, Entry, ListParams, Reason, pem};
use coffer_engine::{Declare, NoInput, Record, Reply, Request};
use coffer_types::{Error, Object, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `config/crl`. Spans as they were written, since they are shown so.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Config {
    expiry: String,
    disable: bool,
    ocsp_disable: bool,
    ocsp_expiry: String,
    auto_rebuild: bool,
    auto_rebuild_grace_period: String,
    enable_delta: bool,
    delta_rebuild_interval: String,
    allow_expired_cert_revocation: bool,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            expiry: "72h".to_owned(),
            disable: false,
            ocsp_disable: false,
            ocsp_expiry: "12h".to_owned(),
            auto_rebuild: false,
            auto_rebuild_grace_period: "12h".to_owned(),
            enable_delta: false,
            delta_rebuild_interval: "15m".to_owned(),
            allow_expired_cert_revocation: false,
        }
    }
}

impl Config {
    pub(super) async fn load(cx: &Cx) -> Result<Self> {
        Ok(cx.view.get("config/crl").await?.unwrap_or_default())
    }

    /// How long an OCSP reply may be kept; `None` where the mount answers none.
    pub(super) fn ocsp_expiry(&self) -> Option<Span> {
        (!self.ocsp_disable).then(|| span(&self.ocsp_expiry))
    }

    fn check(&self) -> Result<()> {
        let (expiry, grace, interval) =
            (span(&self.expiry), span(&self.auto_rebuild_grace_period), span(&self.delta_rebuild_interval));
        if self.auto_rebuild && grace >= expiry {
            return Err(Error::bad_request(format!(
                "CRL auto-rebuilding grace period ({}) must be strictly shorter than CRL expiry ({}) value when auto-rebuilding of CRLs is \
                 enabled",
                self.auto_rebuild_grace_period, self.expiry
            )));
        }
        if self.enable_delta && interval >= expiry {
            return Err(Error::bad_request(format!(
                "CRL delta rebuild window ({}) must be strictly shorter than CRL expiry ({}) value when delta CRLs are enabled",
                self.delta_rebuild_interval, self.expiry
            )));
        }
        if self.enable_delta && !self.auto_rebuild {
            return Err(Error::bad_request(
                "Delta CRLs cannot be enabled when auto rebuilding is disabled as the complete CRL is always regenerated!",
            ));
        }
        Ok(())
    }

    fn show(&self) -> Object {
        Object::new()
            .with("allow_expired_cert_revocation", self.allow_expired_cert_revocation)
            .with("auto_rebuild", self.auto_rebuild)
            .with("auto_rebuild_grace_period", self.auto_rebuild_grace_period.as_str())
            .with("delta_rebuild_interval", self.delta_rebuild_interval.as_str())
            .with("disable", self.disable)
            .with("enable_delta", self.enable_delta)
            .with("expiry", self.expiry.as_str())
            .with("ocsp_disable", self.ocsp_disable)
            .with("ocsp_expiry", self.ocsp_expiry.as_str())
    }
}

/// Of a text that was checked when it came.
fn span(text: &str) -> Span {
    Span::parse(text).unwrap_or_default()
}

/// An issuer's lists as they were made.
#[derive(Clone, Serialize, Deserialize)]
struct Lists {
    complete: Made,
    delta: Option<Made>,
}

impl Record for Lists {
    const FORMAT: u8 = 1;
}

/// One list.
#[derive(Clone, Serialize, Deserialize)]
struct Made {
    /// Complete lists and deltas of an issuer are numbered in one row.
    number: u64,
    this_update: Timestamp,
    next_update: Timestamp,
    der: PublicBytes,
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("config/crl")
        .about("Says how long revocation lists hold, and when they are made anew.")
        .plain(&[
            "expiry",
            "disable",
            "ocsp_disable",
            "ocsp_expiry",
            "auto_rebuild",
            "auto_rebuild_grace_period",
            "enable_delta",
            "delta_rebuild_interval",
            "allow_expired_cert_revocation",
        ])
        .read(read_config)
        .write(write_config);
    d.at("crl/rotate").about("Makes the revocation lists anew.").read(rotate);
    d.at("crl/rotate-delta").about("Makes the deltas of the revocation lists anew.").read(rotate_delta);
    d.at("crl")
        .about("The default issuer's revocation list in DER.")
        .public()
        .read(|cx, _: NoInput| default_raw(cx, Part::Complete, DER));
    d.at("crl/pem")
        .about("The default issuer's revocation list in PEM.")
        .public()
        .read(|cx, _: NoInput| default_raw(cx, Part::Complete, PEM));
    d.at("crl/delta")
        .about("The default issuer's delta in DER.")
        .public()
        .read(|cx, _: NoInput| default_raw(cx, Part::Delta, DER));
    d.at("crl/delta/pem")
        .about("The default issuer's delta in PEM.")
        .public()
        .read(|cx, _: NoInput| default_raw(cx, Part::Delta, PEM));
    d.at("cert/crl")
        .about("The default issuer's revocation list.")
        .public()
        .read(|cx, _: NoInput| default_json(cx, Part::Complete));
    d.at("cert/delta-crl").about("The default issuer's delta.").public().read(|cx, _: NoInput| default_json(cx, Part::Delta));
    d.at("issuer/{issuer_ref}/crl").about("An issuer's revocation list.").public().read(|cx, q| of_issuer(cx, q, Part::Complete));
    d.at("issuer/{issuer_ref}/crl/pem")
        .about("An issuer's revocation list in PEM.")
        .public()
        .read(|cx, q| of_issuer_raw(cx, q, Part::Complete, PEM));
    d.at("issuer/{issuer_ref}/crl/der")
        .about("An issuer's revocation list in DER.")
        .public()
        .read(|cx, q| of_issuer_raw(cx, q, Part::Complete, DER));
    d.at("issuer/{issuer_ref}/crl/delta").about("An issuer's delta.").public().read(|cx, q| of_issuer(cx, q, Part::Delta));
    d.at("issuer/{issuer_ref}/crl/delta/pem")
        .about("An issuer's delta in PEM.")
        .public()
        .read(|cx, q| of_issuer_raw(cx, q, Part::Delta, PEM));
    d.at("issuer/{issuer_ref}/crl/delta/der")
        .about("An issuer's delta in DER.")
        .public()
        .read(|cx, q| of_issuer_raw(cx, q, Part::Delta, DER));
}

async fn read_config(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Config::load(&cx).await?.show()))
}

/// Say how revocation lists are made.
#[derive(Request)]
struct WriteConfig {
    /// How long a list holds.
    expiry: Option<String>,
    /// Lists name nobody.
    disable: Option<bool>,
    /// OCSP requests are refused.
    ocsp_disable: Option<bool>,
    /// How long an OCSP reply may be kept; 0 says nothing of it.
    ocsp_expiry: Option<String>,
    /// Lists are made by the clock, not by each revocation.
    auto_rebuild: Option<bool>,
    /// How long before its end a list is made anew.
    auto_rebuild_grace_period: Option<String>,
    /// Between two complete lists deltas are made.
    enable_delta: Option<bool>,
    /// How often.
    delta_rebuild_interval: Option<String>,
    /// Whether certificates can be taken back that have ended.
    allow_expired_cert_revocation: Option<bool>,
}

async fn write_config(cx: Cx, q: WriteConfig) -> Result<Reply> {
    let mut config = Config::load(&cx).await?;
    let spans = [
        ("expiry", q.expiry, &mut config.expiry),
        ("ocsp_expiry", q.ocsp_expiry, &mut config.ocsp_expiry),
        ("auto_rebuild_grace_period", q.auto_rebuild_grace_period, &mut config.auto_rebuild_grace_period),
        ("delta_rebuild_interval", q.delta_rebuild_interval, &mut config.delta_rebuild_interval),
    ];
    for (name, given, kept) in spans {
        let Some(given) = given else { continue };
        let parsed =
            Span::parse(&given).map_err(|e| Error::bad_request(format!("given {name} could not be decoded: {}", e.public())))?;
        if parsed.is_negative() {
            return Err(Error::bad_request(format!("{name} must be greater than or equal to 0 got: {parsed}")));
        }
        *kept = given;
    }
    let flags = [
        (q.disable, &mut config.disable),
        (q.ocsp_disable, &mut config.ocsp_disable),
        (q.auto_rebuild, &mut config.auto_rebuild),
        (q.enable_delta, &mut config.enable_delta),
        (q.allow_expired_cert_revocation, &mut config.allow_expired_cert_revocation),
    ];
    for (given, kept) in flags {
        *kept = given.unwrap_or(*kept);
    }
    config.check()?;
    cx.view.put("config/crl", &config)?;
    for issuer in issuer::all(&cx).await? {
        due(&cx, &issuer.id);
    }
    Ok(Reply::data(config.show()))
}

async fn rotate(cx: Cx, _: NoInput) -> Result<Reply> {
    let config = Config::load(&cx).await?;
    for issuer in issuer::all(&cx).await?.into_iter().filter(may_list) {
        make(&cx, &config, issuer).await?;
    }
    Ok(Reply::data(Object::new().with("success", true)))
}

async fn rotate_delta(cx: Cx, _: NoInput) -> Result<Reply> {
    let config = Config::load(&cx).await?;
    let reply = Reply::data(Object::new().with("success", true));
    if !config.enable_delta {
        return Ok(reply.warn("requested rebuild of delta CRL when delta CRL is not enabled; this is a no-op"));
    }
    for issuer in issuer::all(&cx).await?.into_iter().filter(may_list) {
        make_delta(&cx, &config, issuer).await?;
    }
    Ok(reply)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Complete,
    Delta,
}

const DER: &str = "application/pkix-crl";
const PEM: &str = "application/x-pem-file";

fn raw(der: Option<Vec<u8>>, form: &'static str) -> Reply {
    let body = match der {
        Some(der) if form == PEM => trimmed(pem("X509 CRL", &der)).into_bytes(),
        der => der.unwrap_or_default(),
    };
    Reply::raw(form, body)
}

async fn default_raw(cx: Cx, part: Part, form: &'static str) -> Result<Reply> {
    let der = match issuer::find(&cx, "default").await? {
        Some(issuer) => list(&cx, issuer, part).await?,
        None => None,
    };
    Ok(raw(der, form))
}

async fn default_json(cx: Cx, part: Part) -> Result<Reply> {
    let issuer = issuer::public(&cx, "default").await?;
    let text = list(&cx, issuer, part).await?.map(|der| trimmed(pem("X509 CRL", &der))).ok_or_else(Error::not_found)?;
    Ok(Reply::data(Object::new().with("certificate", text).with("revocation_time", 0).with("revocation_time_rfc3339", "")))
}

async fn of_issuer(cx: Cx, ask: issuer::Named, part: Part) -> Result<Reply> {
    let issuer = issuer::public(&cx, &ask.issuer_ref).await?;
    let text = list(&cx, issuer, part).await?.map(|der| trimmed(pem("X509 CRL", &der))).unwrap_or_default();
    Ok(Reply::data(Object::new().with("crl", text)))
}

async fn of_issuer_raw(cx: Cx, ask: issuer::Named, part: Part, form: &'static str) -> Result<Reply> {
    let issuer = issuer::public(&cx, &ask.issuer_ref).await?;
    Ok(raw(list(&cx, issuer, part).await?, form))
}

/// An issuer's list as it must be now: made where there is none, the mark says so, or its time is over.
async fn list(cx: &Cx, issuer: Issuer, part: Part) -> Result<Option<Vec<u8>>> {
    let config = Config::load(cx).await?;
    let key = format!("crl/{}", issuer.id);
    let known: Option<Lists> = cx.view.get(&key).await?;
    let stale = match &known {
        Some(lists) => lists.complete.next_update <= cx.now() || cx.view.exists(&format!("crl-due/{}", issuer.id)).await?,
        None => true,
    };
    let lists = if stale && may_list(&issuer) { Some(make(cx, &config, issuer).await?) } else { known };
    Ok(lists.and_then(|lists| match part {
        Part::Complete => Some(lists.complete.der.0),
        Part::Delta => lists.delta.map(|made| made.der.0),
    }))
}

fn may_list(issuer: &Issuer) -> bool {
    issuer.usage.contains(Use::CrlSigning) && !issuer.key_id.is_empty()
}

fn due(cx: &Cx, issuer: &str) {
    super::put_text(cx, &format!("crl-due/{issuer}"), "1");
}

/// A certificate of this issuer was taken back. Where lists are made by the clock, the clock finds it.
pub(super) async fn revoked(cx: &Cx, issuer: &str) -> Result<()> {
    if !issuer.is_empty() && !Config::load(cx).await?.auto_rebuild {
        due(cx, issuer);
    }
    Ok(())
}

/// The mount's beat: one list at a time. Says whether there is more to do at once.
pub(super) async fn beat(cx: &Cx) -> Result<bool> {
    let config = Config::load(cx).await?;
    for id in cx.view.children("crl-due/", None, 8).await? {
        match issuer::by_id(cx, &id).await?.filter(may_list) {
            Some(issuer) => {
                make(cx, &config, issuer).await?;
                return Ok(true);
            }
            None => cx.view.delete(&format!("crl-due/{id}")),
        }
    }
    if !config.auto_rebuild {
        return Ok(false);
    }
    for id in cx.view.children("crl/", None, usize::MAX).await? {
        let Some(lists) = cx.view.get::<Lists>(&format!("crl/{id}")).await? else { continue };
        let grace = span(&config.auto_rebuild_grace_period).duration();
        let complete = cx.now().plus(grace) >= lists.complete.next_update;
        let last = lists.delta.as_ref().map_or(lists.complete.this_update, |delta| delta.this_update);
        let delta = config.enable_delta && cx.now() >= last.plus(span(&config.delta_rebuild_interval).duration());
        if !complete && !delta {
            continue;
        }
        match issuer::by_id(cx, &id).await?.filter(may_list) {
            Some(issuer) if complete => drop(make(cx, &config, issuer).await?),
            Some(issuer) => make_delta(cx, &config, issuer).await?,
            None => cx.view.delete(&format!("crl/{id}")),
        }
        return Ok(true);
    }
    Ok(false)
}

/// Makes a complete list, and an empty delta beside it where deltas are made.
async fn make(cx: &Cx, config: &Config, issuer: Issuer) -> Result<Lists> {
    let key = format!("crl/{}", issuer.id);
    let last = cx
        .view
        .get::<Lists>(&key)
        .await?
        .map_or(0, |lists| lists.delta.map_or(lists.complete.number, |delta| delta.number.max(lists.complete.number)));
    cx.view.delete(&format!("crl-due/{}", issuer.id));
    let signer = Signer::of(cx, issuer.into(), Use::CrlSigning).await?;
    let entries = if config.disable { Vec::new() } else { entries(cx, &signer, None).await? };
    let complete = sign(cx, config, &signer, last + 1, None, entries).await?;
    let delta = match config.enable_delta {
        true => Some(sign(cx, config, &signer, last + 2, Some(complete.number), Vec::new()).await?),
        false => None,
    };
    let lists = Lists { complete, delta };
    cx.view.put(&key, &lists)?;
    Ok(lists)
}

async fn make_delta(cx: &Cx, config: &Config, issuer: Issuer) -> Result<()> {
    let key = format!("crl/{}", issuer.id);
    let Some(mut lists) = cx.view.get::<Lists>(&key).await? else {
        make(cx, config, issuer).await?;
        return Ok(());
    };
    let signer = Signer::of(cx, issuer.into(), Use::CrlSigning).await?;
    let entries = if config.disable { Vec::new() } else { entries(cx, &signer, Some(lists.complete.this_update)).await? };
    let last = lists.delta.as_ref().map_or(lists.complete.number, |delta| delta.number.max(lists.complete.number));
    lists.delta = Some(sign(cx, config, &signer, last + 1, Some(lists.complete.number), entries).await?);
    cx.view.put(&key, &lists)
}

/// What the list names: all that this issuer, or another one of its name and key, gave and that was taken back.
async fn entries(cx: &Cx, signer: &Signer, since: Option<Timestamp>) -> Result<Vec<Entry>> {
    let mut same = Vec::new();
    for issuer in issuer::all(cx).await? {
        if issuer.key_id == signer.issuer.key_id && issuer.parsed(cx)?.subject() == signer.certificate.subject() {
            same.push(issuer.id);
        }
    }
    let mut found = Vec::new();
    for key in Revocation::page(cx, None, usize::MAX).await? {
        let Some(revocation) = Revocation::find(cx, &key).await? else { continue };
        if !same.contains(&revocation.issuer) || since.is_some_and(|since| revocation.revoked < since) {
            continue;
        }
        let certificate = Certificate::from_der(&revocation.certificate.0).map_err(Error::internal)?;
        found.push(Entry {
            serial: certificate.serial_bytes().into(),
            revoked: revocation.revoked,
            reason: Reason::Unspecified,
            invalid_since: None,
        });
    }
    Ok(found)
}

async fn sign(
    cx: &Cx,
    config: &Config,
    signer: &Signer,
    number: u64,
    delta_base: Option<u64>,
    entries: Vec<Entry>,
) -> Result<Made> {
    let this_update = Timestamp::from_secs(cx.now().secs());
    let next_update = this_update.plus(span(&config.expiry).duration());
    let algorithm = signer
        .issuer
        .revocation_algorithm()
        .filter(|algorithm| algorithm.fits(signer.kind()))
        .unwrap_or_else(|| signer.algorithm(0, false));
    let certificate: Arc<Certificate> = signer.certificate.clone();
    let der = signer
        .sign(cx, move |key| {
            let list = ListParams {
                issuer: &certificate,
                number,
                delta_base,
                this_update,
                next_update,
                entries: &entries,
                places: &[],
                extra: &[],
            };
            list.sign(key, algorithm)
        })
        .await?;
    Ok(Made { number, this_update, next_update, der: PublicBytes(der) })
}
