//! `sys/config/…`: what is set over the API, and what the configuration file says.

use super::Sys;
use crate::settings::{AUDITED_HEADERS, AuditedHeaders, CORS, Cors, UI_HEADERS, UiHeaders};
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Kind, Object, Result};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("config/auditing/request-headers").about("Request headers that audit lines show.").sudo().read(headers);
    d.at("config/auditing/request-headers/{header}")
        .about("A request header that audit lines show.")
        .sudo()
        .plain(&["hmac"])
        .read(header)
        .write(show_header)
        .delete(hide_header);
    d.at("config/cors")
        .about("The origins whose pages may call this server.")
        .sudo()
        .plain(&["enable", "allowed_origins", "allowed_headers", "allow_credentials"])
        .read(cors)
        .write(set_cors)
        .delete(disable_cors);
    d.at("config/ui/headers").about("Headers of the user interface's replies.").list(ui_headers);
    d.at("config/ui/headers/{header}")
        .about("A header of the user interface's replies.")
        .sudo()
        .plain(&["values", "multivalue"])
        .read(ui_header)
        .write(set_ui_header)
        .delete(remove_ui_header);
    d.at("config/state/sanitized").about("The configuration that the server was started with, without secrets.").read(sanitized);
    d.at("config/reload/{subsystem}").about("Nothing is reloaded over the API; SIGHUP does it.").sudo().write(reload);
}

/// Headers that carry what proves who calls: audit lines may show them only masked.
const SECRET: [&str; 5] = ["x-vault-token", "authorization", "proxy-authorization", "cookie", "x-amz-security-token"];
/// What pages may send in any case.
const USUAL: [&str; 10] = [
    "Content-Type",
    "Authorization",
    "X-Vault-Token",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-Policy-Override",
];
/// Headers or origins in one list at most.
const MOST: usize = 128;

/// A header by its name.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    header: String,
}

/// Show a request header in audit lines.
#[derive(Request)]
struct Show {
    /// Its name.
    #[field(path)]
    header: String,
    /// Only as an HMAC.
    #[field(default)]
    hmac: bool,
}

/// A token of RFC 9110, section 5.6.2, of a length that makes sense.
fn is_header_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&name.len()) && name.bytes().all(fits)
}

fn header_name(name: &str) -> Result<String> {
    if is_header_name(name) { Ok(name.to_ascii_lowercase()) } else { Err(Error::bad_request("this is no name of a header")) }
}

async fn audited(cx: &Ctx<Sys>) -> Result<AuditedHeaders> {
    Ok(cx.view.get(AUDITED_HEADERS).await?.unwrap_or_default())
}

async fn headers(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let shown: Object = audited(&cx).await?.0.into_iter().map(|(name, hmac)| (name, Object::new().with("hmac", hmac))).collect();
    Ok(Reply::data(Object::new().with("headers", shown)).mirrored())
}

async fn header(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let name = header_name(&ask.header)?;
    let hmac = audited(&cx).await?.0.get(&name).copied();
    let hmac = hmac.ok_or_else(|| Error::bad_request("Could not find header in config"))?;
    Ok(Reply::data(Object::new().with(name, Object::new().with("hmac", hmac))).mirrored())
}

async fn show_header(cx: Ctx<Sys>, ask: Show) -> Result<Reply> {
    let name = header_name(&ask.header)?;
    if !ask.hmac && SECRET.contains(&name.as_str()) {
        return Err(Error::bad_request("this header carries secrets: audit lines show it only with hmac = true"));
    }
    let mut headers = audited(&cx).await?;
    headers.0.insert(name, ask.hmac);
    if headers.0.len() > MOST {
        return Err(Error::bad_request(format!("audit lines show at most {MOST} headers")));
    }
    cx.view.put(AUDITED_HEADERS, &headers)?;
    Ok(Reply::empty())
}

async fn hide_header(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let mut headers = audited(&cx).await?;
    if headers.0.remove(&header_name(&ask.header)?).is_some() {
        cx.view.put(AUDITED_HEADERS, &headers)?;
    }
    Ok(Reply::empty())
}

/// Let pages of other origins call.
#[derive(Request)]
struct SetCors {
    /// Whether they may at all.
    #[field(default = true)]
    enable: bool,
    /// The origins, or `*` for all.
    #[field(default)]
    allowed_origins: Vec<String>,
    /// Request headers besides the usual ones.
    #[field(default)]
    allowed_headers: Vec<String>,
    /// Whether browsers may send cookies; no call is proved by one.
    #[field(default)]
    allow_credentials: bool,
}

async fn cors(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let Some(cors) = cx.view.get::<Cors>(CORS).await? else {
        return Ok(Reply::data(Object::new().with("enabled", false)).mirrored());
    };
    let headers: Vec<String> = USUAL.iter().map(|h| (*h).to_owned()).chain(cors.headers).collect();
    let shown = Object::new()
        .with("allow_credentials", false)
        .with("allowed_headers", headers)
        .with("allowed_origins", cors.origins)
        .with("enabled", true);
    Ok(Reply::data(shown).mirrored())
}

async fn set_cors(cx: Ctx<Sys>, ask: SetCors) -> Result<Reply> {
    if !ask.enable {
        cx.view.delete(CORS);
        return Ok(Reply::empty());
    }
    if ask.allow_credentials {
        let text = "allow_credentials is not supported: a call is proved by a header, never by what a browser adds by itself";
        return Err(Error::new(Kind::NotImplemented, text));
    }
    let wrong = |text: &str| Err(Error::bad_request(format!("1 error occurred:\n\t* {text}\n\n")));
    if ask.allowed_origins.is_empty() {
        return wrong("at least one origin or the wildcard must be provided");
    }
    if ask.allowed_origins.len() > 1 && ask.allowed_origins.iter().any(|o| o == "*") {
        return wrong("to allow all origins the '*' must be the only value for allowed_origins");
    }
    if ask.allowed_origins.len().max(ask.allowed_headers.len()) > MOST {
        return wrong("there are too many origins or headers");
    }
    if ask.allowed_origins.iter().any(|o| o.is_empty() || !o.bytes().all(|b| b.is_ascii_graphic())) {
        return wrong("an origin is like https://ui.example.com");
    }
    if !ask.allowed_headers.iter().all(|h| is_header_name(h)) {
        return wrong("allowed_headers has what is no name of a header");
    }
    let extra = ask.allowed_headers.into_iter().filter(|h| !USUAL.iter().any(|u| u.eq_ignore_ascii_case(h))).collect();
    cx.view.put(CORS, &Cors { origins: ask.allowed_origins, headers: extra })?;
    Ok(Reply::empty())
}

async fn disable_cors(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    cx.view.delete(CORS);
    Ok(Reply::empty())
}

/// Ask for a header of the user interface.
#[derive(Request)]
struct AskUi {
    /// Its name.
    #[field(path)]
    header: String,
    /// All values instead of the first.
    #[field(query, default)]
    multivalue: bool,
}

/// Set a header of the user interface.
#[derive(Request)]
struct SetUi {
    /// Its name.
    #[field(path)]
    header: String,
    /// Its values.
    #[field(default)]
    values: Vec<String>,
    /// Kept for clients.
    #[field(rename = "multivalue", default)]
    _multivalue: bool,
}

/// As it is commonly written: `X-Frame-Options`.
fn common_form(name: &str) -> Result<String> {
    let mut start = true;
    let form = header_name(name)?
        .chars()
        .map(|c| {
            let written = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            written
        })
        .collect();
    Ok(form)
}

async fn for_ui(cx: &Ctx<Sys>) -> Result<UiHeaders> {
    Ok(cx.view.get(UI_HEADERS).await?.unwrap_or_default())
}

async fn ui_headers(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(for_ui(&cx).await?.0.into_keys().collect()))
}

async fn ui_header(cx: Ctx<Sys>, ask: AskUi) -> Result<Reply> {
    let values = for_ui(&cx).await?.0.remove(&common_form(&ask.header)?).ok_or_else(Error::not_found)?;
    let shown = match (ask.multivalue, values.first()) {
        (false, Some(first)) => Object::new().with("value", first.as_str()),
        _ => Object::new().with("values", values),
    };
    Ok(Reply::data(shown))
}

async fn set_ui_header(cx: Ctx<Sys>, ask: SetUi) -> Result<Reply> {
    if ask.values.is_empty() {
        return Err(Error::bad_request("header and values must be specified"));
    }
    let name = common_form(&ask.header)?;
    if name.starts_with("X-Vault-") {
        return Err(Error::bad_request("X-Vault headers cannot be set"));
    }
    if ask.values.len() > MOST || !ask.values.iter().all(|v| v.bytes().all(|b| b == b' ' || b.is_ascii_graphic())) {
        return Err(Error::bad_request("the values of a header are printable ASCII"));
    }
    let mut headers = for_ui(&cx).await?;
    let replaces = name == "Content-Security-Policy";
    headers.0.insert(name, ask.values);
    if headers.0.len() > MOST {
        return Err(Error::bad_request(format!("there are at most {MOST} headers")));
    }
    cx.view.put(UI_HEADERS, &headers)?;
    let reply = Reply::empty().status(200);
    Ok(if replaces { reply.warn("this replaces the Content-Security-Policy that keeps other pages' scripts out") } else { reply })
}

async fn remove_ui_header(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let mut headers = for_ui(&cx).await?;
    if headers.0.remove(&common_form(&ask.header)?).is_some() {
        cx.view.put(UI_HEADERS, &headers)?;
    }
    Ok(Reply::empty())
}

async fn sanitized(cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let core = cx.engine.core()?;
    let state = parse(core.config.sanitized.as_bytes(), &Limits::NONE).ok().and_then(coffer_types::Json::into_object);
    let state = state.ok_or_else(|| Error::internal("the configuration does not read as JSON"))?;
    Ok(Reply::data(state))
}

async fn reload(_cx: Ctx<Sys>, _: NoInput) -> Result<Reply> {
    let text = "1 error occurred:\n\t* unsupported path: nothing is reloaded over the API; send the process SIGHUP\n\n";
    Err(Error::new(Kind::NotFound, text))
}
