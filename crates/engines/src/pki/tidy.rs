//! Clearing away what has ended: certificates, revocations and issuers past their validity and a while besides.
//!
//! A run is a record, `tidy/run`, that says what it does and how far it came. It advances one page a transaction, the first within the
//! call that starts it, the others with the mount's beat, so that neither a crash nor a million certificates matter.

use super::stored::{Revocation, Stored};
use super::{Cx, Pki, chain, issuer, revoke};
use coffer_crypto::x509::Certificate;
use coffer_engine::{Declare, NoInput, Record, Reply, Request};
use coffer_types::{Error, Json, Object, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// What a run clears away.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    tidy_cert_store: bool,
    tidy_revoked_certs: bool,
    tidy_revoked_cert_issuer_associations: bool,
    tidy_invalid_certs: bool,
    tidy_expired_issuers: bool,
    tidy_move_legacy_ca_bundle: bool,
    pub(super) tidy_acme: bool,
    safety_buffer: Span,
    revoked_safety_buffer: Span,
    issuer_safety_buffer: Span,
    pub(super) acme_account_safety_buffer: Span,
    page_size: i64,
    pause_duration: Span,
}

const DAY: i64 = 24 * 3600;

impl Default for Settings {
    fn default() -> Self {
        Self {
            tidy_cert_store: false,
            tidy_revoked_certs: false,
            tidy_revoked_cert_issuer_associations: false,
            tidy_invalid_certs: false,
            tidy_expired_issuers: false,
            tidy_move_legacy_ca_bundle: false,
            tidy_acme: false,
            safety_buffer: Span::from_secs(3 * DAY),
            revoked_safety_buffer: Span::from_secs(3 * DAY),
            issuer_safety_buffer: Span::from_secs(365 * DAY),
            acme_account_safety_buffer: Span::from_secs(30 * DAY),
            page_size: 1000,
            pause_duration: Span::ZERO,
        }
    }
}

const OPERATIONS: &str = "Enable at least one tidy operation to be run (tidy_cert_store / tidy_revoked_certs / tidy_invalid_certs / \
                          tidy_revoked_cert_issuer_associations / tidy_expired_issuers / tidy_move_legacy_ca_bundle / tidy_acme).";

impl Settings {
    const fn does_something(&self) -> bool {
        self.tidy_cert_store
            || self.tidy_revoked_certs
            || self.tidy_revoked_cert_issuer_associations
            || self.tidy_invalid_certs
            || self.tidy_expired_issuers
            || self.tidy_move_legacy_ca_bundle
            || self.tidy_acme
    }

    fn page(&self) -> usize {
        usize::try_from(self.page_size).ok().filter(|size| *size > 0).unwrap_or(1000).min(10_000)
    }

    fn add_to(&self, shown: &mut Object) {
        for (name, value) in [
            ("tidy_cert_store", self.tidy_cert_store),
            ("tidy_revoked_certs", self.tidy_revoked_certs),
            ("tidy_revoked_cert_issuer_associations", self.tidy_revoked_cert_issuer_associations),
            ("tidy_invalid_certs", self.tidy_invalid_certs),
            ("tidy_expired_issuers", self.tidy_expired_issuers),
            ("tidy_move_legacy_ca_bundle", self.tidy_move_legacy_ca_bundle),
            ("tidy_acme", self.tidy_acme),
        ] {
            shown.insert(name, value);
        }
        for (name, span) in [
            ("safety_buffer", self.safety_buffer),
            ("revoked_safety_buffer", self.revoked_safety_buffer),
            ("issuer_safety_buffer", self.issuer_safety_buffer),
            ("acme_account_safety_buffer", self.acme_account_safety_buffer),
        ] {
            shown.insert(name, span.secs());
        }
        shown.insert("page_size", self.page_size);
        shown.insert("pause_duration", self.pause_duration.to_string());
    }
}

/// What is said of a run.
#[derive(Request)]
struct Ask {
    /// Certificates past their end.
    tidy_cert_store: Option<bool>,
    /// Revocations past their certificate's end.
    tidy_revoked_certs: Option<bool>,
    /// The older name of `tidy_revoked_certs`.
    tidy_revocation_list: Option<bool>,
    /// Finds the issuers of revocations that have none.
    tidy_revoked_cert_issuer_associations: Option<bool>,
    /// What does not read.
    tidy_invalid_certs: Option<bool>,
    /// Issuers past their end.
    tidy_expired_issuers: Option<bool>,
    /// A form of the past that this server never had.
    tidy_move_legacy_ca_bundle: Option<bool>,
    /// ACME's accounts and orders.
    tidy_acme: Option<bool>,
    /// How long past their end certificates stay.
    safety_buffer: Option<Span>,
    /// How long past their certificate's end revocations stay; else as certificates.
    revoked_safety_buffer: Option<Span>,
    /// How long past their end issuers stay.
    issuer_safety_buffer: Option<Span>,
    /// How long ACME's accounts stay.
    acme_account_safety_buffer: Option<Span>,
    /// How many certificates at once.
    page_size: Option<i64>,
    /// How long to wait between.
    pause_duration: Option<String>,
}

impl Ask {
    /// # Errors
    /// A length of time that does not read or is not above zero; `too_short` words it.
    fn apply(self, mut to: Settings, auto: bool) -> Result<Settings> {
        let set = |to: &mut bool, value: Option<bool>| *to = value.unwrap_or(*to);
        set(&mut to.tidy_cert_store, self.tidy_cert_store);
        set(&mut to.tidy_revoked_certs, self.tidy_revoked_certs.or(self.tidy_revocation_list));
        set(&mut to.tidy_revoked_cert_issuer_associations, self.tidy_revoked_cert_issuer_associations);
        set(&mut to.tidy_invalid_certs, self.tidy_invalid_certs);
        set(&mut to.tidy_expired_issuers, self.tidy_expired_issuers);
        set(&mut to.tidy_move_legacy_ca_bundle, self.tidy_move_legacy_ca_bundle);
        set(&mut to.tidy_acme, self.tidy_acme);
        for (name, place, given) in [
            ("safety_buffer", &mut to.safety_buffer, self.safety_buffer),
            ("revoked_safety_buffer", &mut to.revoked_safety_buffer, self.revoked_safety_buffer.or(self.safety_buffer)),
            ("issuer_safety_buffer", &mut to.issuer_safety_buffer, self.issuer_safety_buffer),
            ("acme_account_safety_buffer", &mut to.acme_account_safety_buffer, self.acme_account_safety_buffer),
        ] {
            let Some(span) = given else { continue };
            if span < Span::from_secs(1) {
                return Err(Error::bad_request(if auto {
                    format!("given {name} must be at least one second; got: {}", span.secs())
                } else {
                    format!("{name} must be greater than zero")
                }));
            }
            *place = span;
        }
        to.page_size = self.page_size.unwrap_or(to.page_size);
        if let Some(text) = self.pause_duration {
            let words = if auto { "unable to parse given pause_duration" } else { "Error parsing pause_duration" };
            to.pause_duration = Span::parse(&text)
                .ok()
                .filter(|span| !span.is_negative())
                .ok_or_else(|| Error::bad_request(format!("{words}: time: invalid duration {text:?}")))?;
        }
        Ok(to)
    }
}

/// What a run does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Certificates,
    Revoked,
    Issuers,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Running,
    Cancelling,
    Finished,
    Cancelled,
}

/// The last run, or the one under way.
#[derive(Clone, Serialize, Deserialize)]
struct Run {
    settings: Settings,
    state: State,
    phase: Phase,
    /// The last key that was looked at.
    cursor: Option<String>,
    started: Timestamp,
    finished: Option<Timestamp>,
    /// Not before then goes it on.
    rests_until: Option<Timestamp>,
    certificates_deleted: u64,
    revocations_deleted: u64,
    missing_issuers: u64,
}

impl Record for Run {
    const FORMAT: u8 = 1;
}

/// `config/auto-tidy`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Auto {
    enabled: bool,
    /// Zero for the usual.
    interval: Span,
    settings: Settings,
    maintain_counts: bool,
    publish_counts: bool,
}

const INTERVAL: i64 = 12 * 3600;

impl Record for Auto {
    const FORMAT: u8 = 1;
}

impl Auto {
    fn interval(&self) -> Span {
        if self.interval.is_zero() { Span::from_secs(INTERVAL) } else { self.interval }
    }

    fn show(&self) -> Object {
        let mut shown = Object::new();
        self.settings.add_to(&mut shown);
        shown.insert("enabled", self.enabled);
        shown.insert("interval_duration", self.interval().secs());
        shown.insert("maintain_stored_certificate_counts", self.maintain_counts);
        shown.insert("publish_stored_certificate_count_metrics", self.publish_counts);
        shown.sort();
        shown
    }
}

const RUN: &str = "tidy/run";
const AUTO: &str = "config/auto-tidy";

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("tidy").about("Clears away what has ended.").write(start);
    d.at("tidy-status").about("What the last run cleared away.").read(status);
    d.at("tidy-cancel").about("Stops a run.").write(cancel);
    d.at("config/auto-tidy").about("When to clear away by the clock.").read(read_auto).write(write_auto);
}

async fn start(cx: Cx, ask: Ask) -> Result<Reply> {
    let settings = ask.apply(Settings::default(), false)?;
    if let Some(run) = cx.view.get::<Run>(RUN).await?
        && matches!(run.state, State::Running | State::Cancelling)
    {
        return Ok(accepted("Tidy operation already in progress."));
    }
    let warning = if settings.does_something() {
        "Tidy operation successfully started. Any information from the operation will be printed to OpenBao's server logs."
            .to_owned()
    } else {
        format!("Manual tidy requested but no tidy operations were set. {OPERATIONS}")
    };
    begin(&cx, settings).await?;
    Ok(accepted(warning))
}

/// A run was started, or not: 202, and a document without the call's id, as the reference has it.
fn accepted(warning: impl Into<String>) -> Reply {
    let said = Object::new()
        .with("request_id", "")
        .with("lease_id", "")
        .with("renewable", false)
        .with("lease_duration", 0)
        .with("data", Json::Null)
        .with("wrap_info", Json::Null)
        .with("warnings", vec![warning.into()])
        .with("auth", Json::Null);
    Reply::data(said).bare().status(202)
}

/// Starts a run with its first page.
async fn begin(cx: &Cx, settings: Settings) -> Result<()> {
    let run = Run {
        settings,
        state: State::Running,
        phase: Phase::Certificates,
        cursor: None,
        started: cx.now(),
        finished: None,
        rests_until: None,
        certificates_deleted: 0,
        revocations_deleted: 0,
        missing_issuers: 0,
    };
    advance(cx, run).await.map(|_| ())
}

/// The mount's beat: goes on with a run, or starts one that is due. Says whether there is more to do at once.
pub(super) async fn beat(cx: &Cx) -> Result<bool> {
    let run: Option<Run> = cx.view.get(RUN).await?;
    if let Some(run) = run.clone().filter(|run| matches!(run.state, State::Running | State::Cancelling)) {
        if run.rests_until.is_some_and(|until| cx.now() < until) {
            return Ok(false);
        }
        return advance(cx, run).await;
    }
    let Some(auto) = cx.view.get::<Auto>(AUTO).await?.filter(|auto| auto.enabled) else { return Ok(false) };
    let last = run.and_then(|run| run.finished).unwrap_or_default();
    if cx.now() < last.plus(auto.interval().duration()) {
        return Ok(false);
    }
    begin(cx, auto.settings).await?;
    Ok(true)
}

/// One page of a run. Phases that have nothing to do are passed over; a phase that ends within its page leads to the next at once.
async fn advance(cx: &Cx, mut run: Run) -> Result<bool> {
    if run.state == State::Cancelling {
        run.state = State::Cancelled;
        run.phase = Phase::Done;
    }
    let mut left = run.settings.page();
    while run.phase != Phase::Done {
        let page = match run.phase {
            Phase::Certificates if run.settings.tidy_cert_store || run.settings.tidy_invalid_certs => {
                certificates(cx, &mut run, left).await?
            }
            Phase::Revoked if run.settings.tidy_revoked_certs || run.settings.tidy_revoked_cert_issuer_associations => {
                revoked(cx, &mut run, left).await?
            }
            Phase::Issuers if run.settings.tidy_expired_issuers => {
                expired_issuers(cx, &run.settings).await?;
                0
            }
            _ => 0,
        };
        if page >= left {
            let pause = run.settings.pause_duration;
            run.rests_until = (!pause.is_zero()).then(|| cx.now().plus(pause.duration()));
            cx.view.put(RUN, &run)?;
            return Ok(pause.is_zero());
        }
        left -= page;
        run.cursor = None;
        run.phase = match run.phase {
            Phase::Certificates => Phase::Revoked,
            Phase::Revoked => Phase::Issuers,
            Phase::Issuers | Phase::Done => Phase::Done,
        };
    }
    if run.state == State::Running {
        run.state = State::Finished;
    }
    run.finished = Some(cx.now());
    cx.view.put(RUN, &run)?;
    Ok(false)
}

/// Looks at so many certificates at most; says how many there were.
async fn certificates(cx: &Cx, run: &mut Run, limit: usize) -> Result<usize> {
    let keys = Stored::page(cx, run.cursor.as_deref(), limit).await?;
    let until = cx.now().secs().saturating_sub(run.settings.safety_buffer.secs());
    for key in &keys {
        let kept = Stored::find(cx, key).await;
        let ended = match &kept {
            Ok(Some(kept)) => {
                run.settings.tidy_cert_store && kept.not_after < until
                    || run.settings.tidy_invalid_certs && Certificate::from_der(&kept.der).is_err()
            }
            Ok(None) => false,
            Err(_) => run.settings.tidy_invalid_certs,
        };
        if ended {
            Stored::delete(cx, key);
            run.certificates_deleted += 1;
        }
    }
    run.cursor = keys.last().cloned().or(run.cursor.take());
    Ok(keys.len())
}

async fn revoked(cx: &Cx, run: &mut Run, limit: usize) -> Result<usize> {
    let keys = Revocation::page(cx, run.cursor.as_deref(), limit).await?;
    let until = cx.now().secs().saturating_sub(run.settings.revoked_safety_buffer.secs());
    for key in &keys {
        let Some(mut found) = Revocation::find(cx, key).await? else { continue };
        if run.settings.tidy_revoked_certs && found.not_after < until {
            Revocation::delete(cx, key);
            Stored::delete(cx, key);
            run.revocations_deleted += 1;
            continue;
        }
        let orphan = found.issuer.is_empty() || issuer::by_id(cx, &found.issuer).await?.is_none();
        if run.settings.tidy_revoked_cert_issuer_associations && orphan {
            let certificate = Certificate::from_der(&found.certificate.0).map_err(Error::internal)?;
            match revoke::signer_of(cx, &certificate).await? {
                Some(known) => {
                    found.issuer = known.id;
                    found.put(cx)?;
                }
                None => run.missing_issuers += 1,
            }
        }
    }
    run.cursor = keys.last().cloned().or(run.cursor.take());
    Ok(keys.len())
}

/// Issuers past their end and a while besides; the default one stays, and so do their keys.
async fn expired_issuers(cx: &Cx, settings: &Settings) -> Result<()> {
    let until = cx.now().secs().saturating_sub(settings.issuer_safety_buffer.secs());
    let default = super::config::issuers(cx).await?.default;
    let mut changed = false;
    for issuer in issuer::all(cx).await? {
        if issuer.id != default && issuer.parsed(cx)?.not_after_secs() < until {
            issuer::remove(cx, &issuer);
            changed = true;
        }
    }
    if changed { chain::rebuild(cx).await } else { Ok(()) }
}

async fn cancel(cx: Cx, _: NoInput) -> Result<Reply> {
    match cx.view.get::<Run>(RUN).await? {
        Some(mut run) if matches!(run.state, State::Running | State::Cancelling) => {
            run.state = State::Cancelling;
            cx.view.put(RUN, &run)?;
            Ok(Reply::data(show(&cx, Some(run)).await?))
        }
        run => {
            let reply = Reply::data(show(&cx, run).await?);
            Ok(reply.warn("Tidy operation cannot be cancelled as none is currently running."))
        }
    }
}

async fn status(cx: Cx, _: NoInput) -> Result<Reply> {
    let run = cx.view.get(RUN).await?;
    Ok(Reply::data(show(&cx, run).await?))
}

async fn show(cx: &Cx, run: Option<Run>) -> Result<Object> {
    const FIELDS: [&str; 27] = [
        "acme_account_deleted_count",
        "acme_account_revoked_count",
        "acme_account_safety_buffer",
        "acme_orders_deleted_count",
        "cert_store_deleted_count",
        "current_cert_store_count",
        "current_revoked_cert_count",
        "error",
        "issuer_safety_buffer",
        "message",
        "missing_issuer_cert_count",
        "page_size",
        "pause_duration",
        "revoked_cert_deleted_count",
        "revoked_safety_buffer",
        "safety_buffer",
        "tidy_acme",
        "tidy_cert_store",
        "tidy_expired_issuers",
        "tidy_invalid_certs",
        "tidy_move_legacy_ca_bundle",
        "tidy_revoked_cert_issuer_associations",
        "tidy_revoked_certs",
        "time_finished",
        "time_started",
        "total_acme_account_count",
        "state",
    ];
    let mut shown = Object::new().with("internal_backend_uuid", &*cx.mount().uuid);
    FIELDS.iter().for_each(|name| drop(shown.insert(*name, Json::Null)));
    shown.insert("state", "Inactive");
    if let Some(run) = run {
        run.settings.add_to(&mut shown);
        for name in
            ["acme_account_deleted_count", "acme_account_revoked_count", "acme_orders_deleted_count", "total_acme_account_count"]
        {
            shown.insert(name, 0);
        }
        shown.insert("cert_store_deleted_count", run.certificates_deleted);
        shown.insert("revoked_cert_deleted_count", run.revocations_deleted);
        shown.insert("missing_issuer_cert_count", run.missing_issuers);
        shown.insert("time_started", run.started.rfc3339());
        let (state, message) = match (run.state, run.phase) {
            (State::Running, Phase::Certificates) => ("Running", Some("Tidying certificate store")),
            (State::Running, Phase::Revoked) => ("Running", Some("Tidying revoked certificates")),
            (State::Running, _) => ("Running", Some("Tidying issuers")),
            (State::Cancelling, _) => ("Cancelling", None),
            (State::Finished, _) => ("Finished", None),
            (State::Cancelled, _) => ("Cancelled", None),
        };
        shown.insert("state", state);
        shown.insert("message", message.map_or(Json::Null, Json::from));
        if let Some(finished) = run.finished {
            shown.insert("time_finished", finished.rfc3339());
            shown.insert("last_auto_tidy_finished", finished.rfc3339());
        }
    }
    let auto: Auto = cx.view.get(AUTO).await?.unwrap_or_default();
    if auto.maintain_counts {
        shown.insert("current_cert_store_count", count(cx, "cert/").await?);
        shown.insert("current_revoked_cert_count", count(cx, "revoked/").await?);
    }
    shown.sort();
    Ok(shown)
}

/// How many keys stand in a folder, a page at a time.
async fn count(cx: &Cx, folder: &str) -> Result<u64> {
    const PAGE: usize = 10_000;
    let (mut total, mut after) = (0, None::<String>);
    loop {
        let keys = cx.view.children(folder, after.as_deref(), PAGE).await?;
        total += keys.len() as u64;
        if keys.len() < PAGE {
            return Ok(total);
        }
        after = keys.into_iter().next_back();
    }
}

async fn read_auto(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(cx.view.get::<Auto>(AUTO).await?.unwrap_or_default().show()))
}

/// Say when to clear away by the clock; what is left out stays.
#[derive(Request)]
struct WriteAuto {
    /// Whether to.
    enabled: Option<bool>,
    /// How often.
    interval_duration: Option<Span>,
    /// Whether certificates are counted for the status.
    maintain_stored_certificate_counts: Option<bool>,
    /// Whether the counts are published.
    publish_stored_certificate_count_metrics: Option<bool>,
    #[field(flatten)]
    what: Ask,
}

async fn write_auto(cx: Cx, ask: WriteAuto) -> Result<Reply> {
    let mut auto: Auto = cx.view.get(AUTO).await?.unwrap_or_default();
    auto.settings = ask.what.apply(auto.settings, true)?;
    auto.enabled = ask.enabled.unwrap_or(auto.enabled);
    if let Some(interval) = ask.interval_duration {
        if interval.is_negative() {
            return Err(Error::bad_request(format!(
                "given interval_duration must be greater than or equal to zero seconds; got: {}",
                interval.secs()
            )));
        }
        auto.interval = interval;
    }
    auto.maintain_counts = ask.maintain_stored_certificate_counts.unwrap_or(auto.maintain_counts);
    auto.publish_counts = ask.publish_stored_certificate_count_metrics.unwrap_or(auto.publish_counts);
    if auto.publish_counts && !auto.maintain_counts {
        return Err(Error::bad_request(
            "Can not publish a running storage metrics count to metrics without first maintaining that count.  Enable \
             `maintain_stored_certificate_counts` to enable `publish_stored_certificate_count_metrics`.",
        ));
    }
    if auto.enabled && !auto.settings.does_something() {
        return Err(Error::bad_request(format!("Auto-tidy enabled but no tidy operations were requested. {OPERATIONS}")));
    }
    cx.view.put(AUTO, &auto)?;
    Ok(Reply::data(auto.show()))
}
