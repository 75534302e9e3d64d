//! From when and until when a certificate is valid.

use super::Cx;
use super::issuer::LeafNotAfter;
use coffer_crypto::x509::{Certificate, LAST_SECOND};
use coffer_engine::Request;
use coffer_types::{Error, Result, Span, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a request says of it.
#[derive(Request)]
pub(super) struct Ask {
    /// How long it is valid.
    #[field(default)]
    pub(super) ttl: Span,
    /// Until when it is valid, in RFC 3339, in place of `ttl`.
    #[field(default)]
    pub(super) not_after: String,
    /// From when it is valid, in RFC 3339.
    #[field(default)]
    pub(super) not_before: String,
}

/// Both in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// The limits that hold besides what is asked; zero and empty say nothing.
#[derive(Default)]
pub(super) struct Limits<'a> {
    pub(super) ttl: Span,
    pub(super) max_ttl: Span,
    pub(super) not_after: &'a str,
    pub(super) not_before: &'a str,
    /// How far before now it begins where nothing says when.
    pub(super) not_before_duration: Span,
}

impl Validity {
    /// What is asked, within the limits; what was cut short comes back as a warning.
    ///
    /// # Errors
    /// Both a length and an end, times that do not read, an end before the beginning.
    pub(super) fn of(cx: &Cx, ask: &Ask, limits: &Limits<'_>, warnings: &mut Vec<String>) -> Result<Self> {
        for (name, span) in [("ttl", ask.ttl), ("not_before_duration", limits.not_before_duration)] {
            if span.is_negative() {
                return Err(Error::bad_request(format!(
                    "Field validation failed: error converting input for field {name:?}: cannot provide negative value '{}'",
                    span.secs()
                )));
            }
        }
        if !ask.ttl.is_zero() && !ask.not_after.is_empty() {
            return Err(Error::bad_request(
                "Either ttl or not_after should be provided. Both should not be provided in the same request.",
            ));
        }
        let first = |spans: [Span; 3]| spans.into_iter().find(|span| !span.is_zero()).unwrap_or_default();
        let mut ttl = first([ask.ttl, limits.ttl, cx.mount().default_lease_ttl]);
        let max = first([limits.max_ttl, cx.mount().max_lease_ttl, Span::ZERO]);
        if !max.is_zero() && ttl > max {
            warnings.push(format!("TTL \"{ttl}\" is longer than permitted maxTTL \"{max}\", so maxTTL is being used"));
            ttl = max;
        }
        let end = [ask.not_after.as_str(), limits.not_after].into_iter().find(|text| !text.is_empty());
        let not_after = match end.filter(|_| ask.ttl.is_zero()) {
            Some(text) => instant(text)?,
            None => cx.now().plus(ttl.duration()).secs(),
        };
        let start = [ask.not_before.as_str(), limits.not_before].into_iter().find(|text| !text.is_empty());
        let not_before = match start {
            Some(text) => instant(text)?,
            None => cx.now().secs().saturating_sub(limits.not_before_duration.secs()),
        };
        if not_after < not_before {
            return Err(Error::bad_request(format!(
                "The certificate's Not Before ({}) is later than the certificate's Not After ({})",
                show(not_before),
                show(not_after)
            )));
        }
        Ok(Self { not_before, not_after: not_after.min(LAST_SECOND) })
    }

    /// Held to the end of the issuer, as that one wants it.
    ///
    /// # Errors
    /// It would outlive its issuer.
    pub(super) fn within(mut self, issuer: &Certificate, behavior: LeafNotAfter) -> Result<Self> {
        if self.not_after > issuer.not_after_secs() {
            match behavior {
                LeafNotAfter::Permit => {}
                LeafNotAfter::Truncate => self.not_after = issuer.not_after_secs(),
                LeafNotAfter::Err => {
                    return Err(Error::bad_request(format!(
                        "cannot satisfy request, as TTL would result in notAfter of {} that is beyond the expiration of the CA \
                         certificate at {}",
                        show(self.not_after),
                        show(issuer.not_after_secs())
                    )));
                }
            }
        }
        Ok(self)
    }
}

/// Seconds since 1970 of RFC 3339, in the years that a certificate can name.
///
/// # Errors
/// Other texts.
pub(super) fn instant(text: &str) -> Result<i64> {
    let read = OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp);
    read.filter(|seconds| (0..=LAST_SECOND).contains(seconds)).ok_or_else(|| {
        Error::bad_request(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": it is no time of RFC 3339 since 1970"
        ))
    })
}

/// RFC 3339, years beyond 2262 among them.
pub(super) fn show(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|at| at.format(&Rfc3339).ok());
    at.unwrap_or_else(|| Timestamp::from_secs(seconds).rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_a_certificate_can_say() {
        assert_eq!(instant("9999-12-31T23:59:59Z").ok(), Some(LAST_SECOND));
        assert_eq!(show(LAST_SECOND), "9999-12-31T23:59:59Z");
        assert_eq!(instant("2026-11-24T01:00:00+01:00").ok(), instant("2026-11-24T00:00:00Z").ok());
        for bad in ["", "x", "2026-11-24", "2026-13-24T00:00:00Z", "1969-12-31T23:59:59Z", "99991-12-31T23:59:59Z"] {
            assert!(instant(bad).is_err(), "{bad}");
        }
    }
}
