//! What must be true of a verified token's claims. Nothing here reaches anything.

use coffer_types::{Error, Json, Object, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the values of bound claims are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClaimsKind {
    #[default]
    String,
    /// `*` stands for any text.
    Glob,
}

/// The claim of this name, or at this JSON pointer (RFC 6901) where the name begins with a slash. A null is as good as absent.
pub(crate) fn claim<'a>(claims: &'a Object, name: &str) -> Option<&'a Json> {
    if name.starts_with('/') { pointer(claims, name) } else { claims.get(name) }.filter(|value| !value.is_null())
}

/// The value at a JSON pointer.
pub(crate) fn pointer<'a>(claims: &'a Object, text: &str) -> Option<&'a Json> {
    let mut steps = text.strip_prefix('/')?.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Json::Object(object) => object.get(&step),
        // A number as RFC 6901 writes it: no sign, no leading zero.
        Json::Array(items) if step == "0" || (step.bytes().all(|b| b.is_ascii_digit()) && !step.starts_with('0')) => {
            items.get(step.parse::<usize>().ok()?)
        }
        _ => None,
    })
}

/// Leeways of a role, in its own terms: zero is the default, negative is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leeways {
    pub(crate) expiration: Span,
    pub(crate) not_before: Span,
    pub(crate) clock_skew: Span,
}

const DEFAULT_LEEWAY: i128 = 150 * SECOND;
const DEFAULT_SKEW: i128 = 60 * SECOND;
const SECOND: i128 = 1_000_000_000;

fn leeway(span: Span, default: i128) -> i128 {
    if span.is_zero() { default } else { i128::from(span.0).max(0) }
}

/// Checks `exp`, `nbf` and `iat` (RFC 7519 section 4.1). One of them must be there. Where there is no `exp`, a token ends the leeway after
/// the later of the others; where there is no `nbf`, it begins with `iat`, else the leeway before `exp`. The clock's skew is
/// granted on top.
///
/// # Errors
/// What does not hold, in the words of the reference.
pub(crate) fn check_times(claims: &Object, leeways: Leeways, now: Timestamp) -> Result<()> {
    let (exp, nbf, iat) = (instant(claims, "exp")?, instant(claims, "nbf")?, instant(claims, "iat")?);
    if exp.is_none() && nbf.is_none() && iat.is_none() {
        return Err(invalid("no issued at (iat), not before (nbf), or expiration time (exp) claims in token"));
    }
    let skew = leeway(leeways.clock_skew, DEFAULT_SKEW);
    let end = exp.or_else(|| Some(nbf.max(iat)? + leeway(leeways.expiration, DEFAULT_LEEWAY)));
    let begin = nbf.or(iat).or_else(|| Some(exp? - leeway(leeways.not_before, DEFAULT_LEEWAY)));
    let now = i128::from(now.0);
    if begin.is_some_and(|begin| now + skew < begin) {
        return Err(invalid("invalid not before (nbf) claim: token not yet valid"));
    }
    if end.is_none_or(|end| now - skew > end) {
        return Err(invalid("invalid expiration time (exp) claim: token is expired"));
    }
    if iat.is_some_and(|iat| now + skew < iat) {
        return Err(invalid("invalid issued at (iat) claim: token issued in the future"));
    }
    Ok(())
}

/// A NumericDate as nanoseconds.
pub(crate) fn instant(claims: &Object, name: &'static str) -> Result<Option<i128>> {
    let Some(value) = claim(claims, name) else { return Ok(None) };
    let Json::Number(digits) = value else { return Err(invalid(&format!("the claim {name} must be a number of seconds"))) };
    let seconds: f64 = digits.as_str().parse().unwrap_or(f64::NAN);
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return Err(invalid(&format!("the claim {name} must be a number of seconds")));
    }
    #[allow(clippy::cast_possible_truncation, reason = "finite and below 10^21")]
    Ok(Some((seconds * 1e9) as i128))
}

/// The audiences that `aud` names, as a text or as a list (RFC 7519 section 4.1.3).
///
/// # Errors
/// Anything else in it.
pub(crate) fn audiences(claims: &Object) -> Result<Vec<&str>> {
    let wrong = || invalid("the claim aud must be a text or a list of texts");
    match claim(claims, "aud") {
        None => Ok(Vec::new()),
        Some(Json::String(one)) => Ok(vec![one.as_str()]),
        Some(Json::Array(many)) => many.iter().map(|a| a.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

/// Checks `aud`: one of the bound audiences must be in it, and a token for someone in particular needs a role that names whom.
///
/// # Errors
/// See above.
pub(crate) fn check_audience(claims: &Object, bound: &[String]) -> Result<()> {
    let found = audiences(claims)?;
    if bound.is_empty() {
        let names_none = found.is_empty();
        return if names_none { Ok(()) } else { Err(bad("audience claim found in JWT but no audiences bound to the role")) };
    }
    if found.iter().any(|audience| bound.iter().any(|b| b == audience)) {
        return Ok(());
    }
    Err(invalid("invalid audience (aud) claim: audience claim does not match any expected audience"))
}

/// Checks a claim that must be exactly this text, where one is asked for; a claim of another type is refused in any case.
///
/// # Errors
/// In the words of the reference: `invalid issuer (iss) claim`.
pub(crate) fn check_text(claims: &Object, name: &'static str, wanted: &str) -> Result<()> {
    let wrong = || {
        let long = if name == "iss" { "issuer" } else { "subject" };
        invalid(&format!("invalid {long} ({name}) claim"))
    };
    match claim(claims, name) {
        Some(Json::String(text)) if wanted.is_empty() || text.as_str() == wanted => Ok(()),
        None if wanted.is_empty() => Ok(()),
        _ => Err(wrong()),
    }
}

/// Checks the claims that a role binds: each must be there and equal one of the bound values; of a claim that is a list, one member.
///
/// # Errors
/// Names the claim, never its value.
pub(crate) fn check_bound(claims: &Object, bound: &Object, kind: ClaimsKind) -> Result<()> {
    for (name, wanted) in bound.iter() {
        let Some(found) = claim(claims, name) else {
            return Err(bad(format!("error validating claims: claim {name:?} is missing")));
        };
        if matches!(found, Json::Object(_)) {
            return Err(bad(format!("error validating claims: claim {name:?} is not a string, bool, number or list")));
        }
        let wanted = wanted.as_array().unwrap_or(std::slice::from_ref(wanted));
        let found = found.as_array().unwrap_or(std::slice::from_ref(found));
        if !wanted.iter().any(|w| found.iter().any(|f| equal(w, f, kind))) {
            return Err(bad(format!("error validating claims: claim {name:?} does not match any associated bound claim values")));
        }
    }
    Ok(())
}

/// Whether bound values can be of this kind: a glob is a text.
///
/// # Errors
/// In the words of the reference.
pub(crate) fn check_bound_values(bound: &Object, kind: ClaimsKind) -> Result<()> {
    let texts = |value: &Json| value.as_array().unwrap_or(std::slice::from_ref(value)).iter().all(|v| v.as_str().is_some());
    match bound.iter().find(|(_, value)| kind == ClaimsKind::Glob && !texts(value)) {
        Some((name, _)) => Err(bad(format!("claim is not a string: the bound value of {name:?} must be one to be a glob"))),
        None => Ok(()),
    }
}

fn equal(wanted: &Json, found: &Json, kind: ClaimsKind) -> bool {
    match (wanted, found) {
        (Json::String(w), Json::String(f)) if kind == ClaimsKind::Glob => glob(w.as_str(), f.as_str()),
        (Json::String(w), Json::String(f)) => w == f,
        (Json::Bool(w), Json::Bool(f)) => w == f,
        (Json::Number(w), Json::Number(f)) => w == f || number(w.as_str()).is_some_and(|w| number(f.as_str()) == Some(w)),
        _ => false,
    }
}

/// A number, where a float holds it exactly enough to be compared: two long ids must not be taken for one.
fn number(digits: &str) -> Option<f64> {
    digits.parse().ok().filter(|n: &f64| n.abs() < 9_007_199_254_740_992.0)
}

/// `*` stands for any text, also none; nothing else is special.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let Some((middle, last)) = rest.rsplit_once('*') else { return text.ends_with(rest) };
    for part in middle.split('*') {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

/// The name of who logs in.
///
/// # Errors
/// Missing, no text, or empty.
pub(crate) fn user<'a>(claims: &'a Object, name: &str, by_pointer: bool) -> Result<&'a str> {
    let value = if by_pointer { claim(claims, name) } else { claims.get(name).filter(|v| !v.is_null()) };
    let value = value.ok_or_else(|| bad(format!("claim {name:?} not found in token")))?;
    let text = value.as_str().ok_or_else(|| bad(format!("claim {name:?} could not be converted to string")))?;
    if text.trim().is_empty() { Err(bad(format!("claim {name:?} is empty"))) } else { Ok(text) }
}

/// The names of the groups in a claim.
///
/// # Errors
/// Missing, or something else than a text or a list of texts.
pub(crate) fn groups(claims: &Object, name: &str) -> Result<Vec<String>> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let found = claim(claims, name).ok_or_else(|| bad(format!("failed to fetch groups: {name:?} claim not found in token")))?;
    if matches!(found, Json::Object(_)) {
        return Err(bad(format!("{name:?} claim could not be converted to string list")));
    }
    let items = found.as_array().unwrap_or(std::slice::from_ref(found));
    let text =
        |item: &Json| item.as_str().map(str::to_owned).ok_or_else(|| bad("value in groups claim could not be parsed as string"));
    let mut groups = items.iter().map(text).collect::<Result<Vec<_>>>()?;
    groups.retain(|group| !group.is_empty());
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// Claims copied into metadata; those that are absent are left out.
///
/// # Errors
/// A claim that is no text.
pub(crate) fn metadata(claims: &Object, mappings: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::new();
    for (name, key) in mappings {
        if let Some(value) = claim(claims, name) {
            let text = value.as_str().ok_or_else(|| bad(format!("error converting claim '{name}' to string")))?;
            metadata.insert(key.clone(), text.to_owned());
        }
    }
    Ok(metadata)
}

/// A policy's name with `{{.claim}}` filled in from claims that are texts. `None` where a claim is missing or empty, or holds what names
/// of policies do not: such a policy is left out.
pub(crate) fn policy(template: &str, claims: &Object) -> Option<String> {
    let mut name = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (path, after) = after.split_once("}}")?;
        let steps = path.trim().strip_prefix('.')?;
        let value = pointer(claims, &format!("/{}", steps.replace('.', "/")))?.as_str()?;
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        if value.is_empty() || !value.chars().all(plain) {
            return None;
        }
        name.push_str(before);
        name.push_str(value);
        rest = after;
    }
    name.push_str(rest);
    (!name.trim().is_empty()).then_some(name)
}

/// A token that does not hold.
pub(crate) fn invalid(why: &str) -> Error {
    bad(format!("error validating token: {why}"))
}

fn bad(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::bad_request(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::testing::object;

    #[test]
    fn pointers_find_what_rfc_6901_says() {
        let claims = object(r#"{"a":{"b":["x",{"c":null}],"":1},"d/e":2,"f~g":3,"/h":4,"01":5}"#);
        for (text, found) in [("/a/b/0", true), ("/a/", true), ("/d~1e", true), ("/f~0g", true), ("/01", true)] {
            assert_eq!(pointer(&claims, text).is_some(), found, "{text}");
        }
        for text in ["", "a", "/a/b/2", "/a/b/-", "/a/b/00", "/a/b/+0", "/a/b/x", "/d/e", "/h", "/a/b/0/x", "/z"] {
            assert!(pointer(&claims, text).is_none(), "{text}");
        }
        assert!(claim(&claims, "/a/b/1/c").is_none(), "null is absent");
    }

    #[test]
    fn times_are_judged_as_by_the_reference() {
        let now = Timestamp::from_secs(1_000_000);
        let judge = |text: &str, leeways| check_times(&object(text), leeways, now).map_err(|e| e.public().to_owned());
        let at = |exp: i64, nbf: i64, iat: i64| {
            format!(r#"{{"exp":{},"nbf":{},"iat":{}}}"#, 1_000_000 + exp, 1_000_000 + nbf, 1_000_000 + iat)
        };
        let usual = Leeways::default();
        assert!(judge(&at(600, -5, 0), usual).is_ok());
        assert!(judge(&at(-59, -900, -900), usual).is_ok());
        assert!(judge(&at(600, 59, 59), usual).is_ok());
        assert!(judge(r#"{"exp":1000060.5}"#, usual).is_ok());
        for (text, word) in [
            (at(-61, -900, -900), "expired"),
            (at(600, 61, 0), "not yet valid"),
            (at(600, 0, 61), "in the future"),
            ("{}".into(), "no issued at"),
            (r#"{"exp":0}"#.into(), "expired"),
            (r#"{"exp":-5}"#.into(), "expired"),
            (r#"{"exp":1000600}"#.into(), "not yet valid"),
            (r#"{"iat":999700}"#.into(), "expired"),
            (r#"{"exp":"1000600","iat":1000000}"#.into(), "must be a number"),
            (r#"{"exp":1e300,"iat":1000000}"#.into(), "must be a number"),
            (r#"{"exp":[1000600],"iat":1000000}"#.into(), "must be a number"),
            (r#"{"nbf":true,"iat":1000000}"#.into(), "must be a number"),
            (r#"{"exp":null,"nbf":null}"#.into(), "no issued at"),
        ] {
            assert!(judge(&text, usual).is_err_and(|e| e.contains(word)), "{text}: {:?}", judge(&text, usual));
        }
        // Without exp: the later of the others, the leeway and the skew; 150 + 60 seconds.
        assert!(judge(r#"{"iat":999790}"#, usual).is_ok());
        assert!(judge(r#"{"iat":999789}"#, usual).is_err());
        assert!(judge(r#"{"exp":1000210}"#, usual).is_ok());
        assert!(judge(r#"{"exp":1000211}"#, usual).is_err());
        let none = Leeways { expiration: Span(-1), not_before: Span(-1), clock_skew: Span(-1) };
        assert!(judge(&at(0, 0, 0), none).is_ok());
        assert!(judge(&at(-1, -9, -9), none).is_err());
        assert!(judge(&at(9, 1, 0), none).is_err());
        assert!(judge(&at(9, 0, 1), none).is_err());
        let wide = Leeways { clock_skew: Span::from_secs(300), ..usual };
        assert!(judge(&at(-299, -900, -900), wide).is_ok());
        assert!(judge(&at(-301, -900, -900), wide).is_err());
    }

    #[test]
    fn an_audience_is_a_text_or_a_list_and_never_less() {
        let bound = ["a".to_owned(), "b".to_owned()];
        for good in [r#"{"aud":"b"}"#, r#"{"aud":["x","a"]}"#] {
            assert!(check_audience(&object(good), &bound).is_ok(), "{good}");
        }
        for bad in [
            r#"{}"#,
            r#"{"aud":""}"#,
            r#"{"aud":[]}"#,
            r#"{"aud":"ab"}"#,
            r#"{"aud":"a,b"}"#,
            r#"{"aud":["A"]}"#,
            r#"{"aud":5}"#,
            r#"{"aud":["a",5]}"#,
            r#"{"aud":{"a":1}}"#,
            r#"{"aud":null}"#,
        ] {
            assert!(check_audience(&object(bad), &bound).is_err(), "{bad}");
        }
        // A role that names none takes only tokens for nobody in particular.
        assert!(check_audience(&object("{}"), &[]).is_ok());
        assert!(check_audience(&object(r#"{"aud":"x"}"#), &[]).is_err());
        assert!(check_audience(&object(r#"{"aud":""}"#), &[]).is_err());
    }

    #[test]
    fn bound_claims_in_every_form() {
        let check = |bound: &str, claims: &str, kind| check_bound(&object(claims), &object(bound), kind).is_ok();
        for (bound, good, bads) in [
            (
                r#"{"c":"g"}"#,
                r#"{"c":"g"}"#,
                vec![r#"{}"#, r#"{"c":"G"}"#, r#"{"c":["h"]}"#, r#"{"c":null}"#, r#"{"c":{"g":1}}"#],
            ),
            (r#"{"c":["g","h"]}"#, r#"{"c":"h"}"#, vec![r#"{"c":"x"}"#, r#"{"c":[]}"#, r#"{"c":["x",["g"]]}"#]),
            (r#"{"c":5}"#, r#"{"c":5.0}"#, vec![r#"{"c":"5"}"#, r#"{"c":6}"#, r#"{"c":true}"#]),
            (r#"{"c":"5"}"#, r#"{"c":["5"]}"#, vec![r#"{"c":5}"#]),
            (r#"{"c":true}"#, r#"{"c":true}"#, vec![r#"{"c":"true"}"#, r#"{"c":false}"#, r#"{"c":1}"#]),
            (r#"{"c":12345678901234567890}"#, r#"{"c":12345678901234567890}"#, vec![r#"{"c":12345678901234567891}"#]),
            (r#"{"/a/b":"x"}"#, r#"{"a":{"b":["x"]}}"#, vec![r#"{"a":{}}"#, r#"{"/a/b":"x"}"#, r#"{"a":"x"}"#]),
            (r#"{"a":"1","b":"2"}"#, r#"{"a":"1","b":"2"}"#, vec![r#"{"a":"1"}"#, r#"{"a":"1","b":"1"}"#]),
            (r#"{"c":"*"}"#, r#"{"c":"*"}"#, vec![r#"{"c":"x"}"#]),
        ] {
            assert!(check(bound, good, ClaimsKind::String), "{bound} {good}");
            for bad in bads {
                assert!(!check(bound, bad, ClaimsKind::String), "{bound} {bad}");
            }
        }
        for never in [r#"{"c":[]}"#, r#"{"c":null}"#, r#"{"c":{"a":1}}"#, r#"{"c":[{"a":1}]}"#] {
            assert!(!check(never, r#"{"c":{"a":1}}"#, ClaimsKind::String), "{never}");
            assert!(!check(never, r#"{"c":""}"#, ClaimsKind::String), "{never}");
        }
        assert!(check(r#"{"e":["x","*@a.org"]}"#, r#"{"e":["q","b@a.org"]}"#, ClaimsKind::Glob));
        for bad in [r#"{"e":"b@a.org.evil"}"#, r#"{"e":5}"#, r#"{"e":true}"#, r#"{"e":"X"}"#] {
            assert!(!check(r#"{"e":["x","*@a.org"]}"#, bad, ClaimsKind::Glob), "{bad}");
        }
        assert!(check_bound_values(&object(r#"{"c":5}"#), ClaimsKind::Glob).is_err());
        assert!(check_bound_values(&object(r#"{"c":["a",true]}"#), ClaimsKind::Glob).is_err());
        assert!(check_bound_values(&object(r#"{"c":5}"#), ClaimsKind::String).is_ok());
    }

    #[test]
    fn globs_know_stars_alone() {
        for (pattern, text) in [("*", ""), ("a*c", "abc"), ("a*b*c", "a1b2c"), ("**", "x"), ("*a*", "bab"), ("a", "a")] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a*", "ba"), ("*a", "ab"), ("a*a", "a"), ("a*b*a", "aba1"), ("?", "x"), ("[ab]", "a"), ("", "x"), ("ab*ba", "aba")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn names_groups_and_metadata() {
        let claims = object(r#"{"sub":"bob","u":{"n":"q"},"n":5,"e":"","g":["b","a","b",""],"h":"x","/u/n":"l","o":{}}"#);
        assert_eq!(user(&claims, "sub", false).unwrap(), "bob");
        assert_eq!(user(&claims, "/u/n", true).unwrap(), "q");
        assert_eq!(user(&claims, "/u/n", false).unwrap(), "l");
        for bad in ["n", "e", "none", "o"] {
            assert!(user(&claims, bad, true).is_err(), "{bad}");
        }
        assert_eq!(groups(&claims, "g").unwrap(), ["a", "b"]);
        assert_eq!(groups(&claims, "h").unwrap(), ["x"]);
        assert!(groups(&claims, "").unwrap().is_empty());
        for bad in ["n", "o", "none"] {
            assert!(groups(&claims, bad).is_err(), "{bad}");
        }
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(
            metadata(&claims, &map(&[("sub", "s"), ("none", "z"), ("/u/n", "n")])).unwrap(),
            map(&[("s", "bob"), ("n", "q")])
        );
        assert!(metadata(&claims, &map(&[("n", "n")])).is_err());
    }

    #[test]
    fn policies_are_filled_only_with_what_a_policy_is_called() {
        let claims = object(r#"{"x":"q","a":{"b":"c"},"n":5,"e":"","bad":"a/b","star":"*","sp":"a b","root":"root"}"#);
        assert_eq!(policy("p-{{.x}}", &claims).as_deref(), Some("p-q"));
        assert_eq!(policy("{{ .a.b }}-{{.x}}", &claims).as_deref(), Some("c-q"));
        assert_eq!(policy("plain", &claims).as_deref(), Some("plain"));
        for bad in ["{{.none}}", "{{.n}}", "{{.e}}", "{{.bad}}", "{{.star}}", "{{.sp}}", "{{x}}", "{{.x", "{{index .a}}", " "] {
            assert_eq!(policy(bad, &claims), None, "{bad}");
        }
    }
}
