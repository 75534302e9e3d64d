//! An ACME server (RFC 8555; RFC 8738 for addresses): certificates for whoever proves that a name is theirs. Challenges are http-01 alone;
//! a wildcard, which dns-01 alone can prove, is refused.
//!
//! One server for each directory: the mount's own, and below each issuer and role. `acme/account/<id>`,
//! `acme/key/<directory>/<thumbprint>` its id, `acme/order/<account>/<id>`, `acme/authz/<account>/<id>`, `acme/cert/<serial>` the account,
//! `acme/due/<second>/…` validations that are to come, `acme/used/…` nonces, `acme/eab/<id>` keys of bindings.

mod account;
mod challenge;
mod config;
mod nonce;
mod order;
mod problem;
mod revoke;
#[cfg(test)]
mod tests;

use super::{Cx, Pki, issuer, role, urls};
use account::Account;
use coffer_crypto::jws::{Flat, PublicKey, Refused};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Object, Result};
use config::Config;
use problem::{Problem, Stop};

/// A request of an ACME client.
#[derive(Request)]
pub(super) struct Ask {
    /// The issuer: its id, its name, or `default`.
    #[field(path, default)]
    issuer_ref: String,
    /// The role.
    #[field(path, default)]
    role: String,
    /// The role.
    #[field(path, default)]
    name: String,
    /// The account.
    #[field(path, default)]
    kid: String,
    /// The authorization.
    #[field(path, default)]
    auth_id: String,
    /// The order.
    #[field(path, default)]
    order_id: String,
    /// The kind of challenge.
    #[field(path, default)]
    challenge_type: String,
    /// The protected header, base64url.
    #[field(default)]
    protected: String,
    /// The payload, base64url.
    #[field(default)]
    payload: String,
    /// The signature, base64url.
    #[field(default)]
    signature: String,
}

macro_rules! directory {
    ($d:expr, $base:literal) => {
        $d.at(concat!($base, "acme/directory")).about("The ACME server's directory.").public().read(directory);
        $d.at(concat!($base, "acme/new-nonce")).about("A nonce for an ACME request.").public().read(new_nonce);
        $d.at(concat!($base, "acme/new-account"))
            .about("Makes or finds an ACME account.")
            .public()
            .write(|cx, q| serve(cx, q, Step::NewAccount));
        $d.at(concat!($base, "acme/account/{kid}"))
            .about("Reads, changes or ends an ACME account.")
            .public()
            .write(|cx, q| serve(cx, q, Step::Account));
        $d.at(concat!($base, "acme/key-change"))
            .about("Gives an ACME account another key.")
            .public()
            .write(|cx, q| serve(cx, q, Step::KeyChange));
        $d.at(concat!($base, "acme/new-order"))
            .about("Asks for a certificate.")
            .public()
            .write(|cx, q| serve(cx, q, Step::NewOrder));
        $d.at(concat!($base, "acme/orders"))
            .about("Lists an account's orders.")
            .public()
            .write(|cx, q| serve(cx, q, Step::Orders));
        $d.at(concat!($base, "acme/order/{order_id}")).about("Reads an order.").public().write(|cx, q| serve(cx, q, Step::Order));
        $d.at(concat!($base, "acme/order/{order_id}/finalize"))
            .about("Has an order's certificate made.")
            .public()
            .write(|cx, q| serve(cx, q, Step::Finalize));
        $d.at(concat!($base, "acme/order/{order_id}/cert"))
            .about("An order's certificate.")
            .public()
            .write(|cx, q| serve(cx, q, Step::Certificate));
        $d.at(concat!($base, "acme/authorization/{auth_id}"))
            .about("Reads or gives up an authorization.")
            .public()
            .write(|cx, q| serve(cx, q, Step::Authorization));
        $d.at(concat!($base, "acme/challenge/{auth_id}/{challenge_type}"))
            .about("Has a challenge validated.")
            .public()
            .write(|cx, q| serve(cx, q, Step::Challenge));
        $d.at(concat!($base, "acme/revoke-cert"))
            .about("Takes a certificate back.")
            .public()
            .write(|cx, q| serve(cx, q, Step::Revoke));
        $d.at(concat!($base, "acme/new-eab")).about("Makes a key for an external account binding.").write(config::new_binding);
    };
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    config::declare(d);
    directory!(d, "");
    directory!(d, "roles/{name}/");
    directory!(d, "issuer/{issuer_ref}/");
    directory!(d, "issuer/{issuer_ref}/roles/{role}/");
}

/// The mount's beat: validations that are due, and old nonces. Says whether there is more to do at once.
pub(super) async fn beat(cx: &Cx) -> Result<bool> {
    Ok(challenge::beat(cx).await? | nonce::sweep(cx).await?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    NewAccount,
    Account,
    KeyChange,
    NewOrder,
    Orders,
    Order,
    Finalize,
    Certificate,
    Authorization,
    Challenge,
    Revoke,
}

impl Ask {
    /// The role of the path; empty for none.
    fn role(&self) -> &str {
        if self.role.is_empty() { &self.name } else { &self.role }
    }

    /// The directory below the mount, without a slash at its end.
    fn directory(&self) -> String {
        let issuer = if self.issuer_ref.is_empty() { String::new() } else { format!("issuer/{}/", self.issuer_ref) };
        let role = if self.role().is_empty() { String::new() } else { format!("roles/{}/", self.role()) };
        format!("{issuer}{role}acme")
    }

    /// The address that a step's request must have been signed for.
    fn url(&self, place: &Place, step: Step) -> String {
        let base = &place.base;
        match step {
            Step::NewAccount => format!("{base}/new-account"),
            Step::Account => format!("{base}/account/{}", self.kid),
            Step::KeyChange => format!("{base}/key-change"),
            Step::NewOrder => format!("{base}/new-order"),
            Step::Orders => format!("{base}/orders"),
            Step::Order => format!("{base}/order/{}", self.order_id),
            Step::Finalize => format!("{base}/order/{}/finalize", self.order_id),
            Step::Certificate => format!("{base}/order/{}/cert", self.order_id),
            Step::Authorization => format!("{base}/authorization/{}", self.auth_id),
            Step::Challenge => format!("{base}/challenge/{}/{}", self.auth_id, self.challenge_type),
            Step::Revoke => format!("{base}/revoke-cert"),
        }
    }
}

/// One directory, open for requests.
struct Place {
    /// Below the mount: `roles/x/acme`.
    directory: String,
    /// Its address: `https://host/v1/pki/roles/x/acme`.
    base: String,
    /// What certificates are held to.
    role: role::Role,
    /// An id, a name, or `default`.
    issuer: String,
    config: Config,
}

impl Place {
    async fn open(cx: &Cx, ask: &Ask) -> Result<Self, Stop> {
        let config = Config::load(cx).await?;
        if !config.enabled {
            return Err(Error::not_found().into());
        }
        let cluster = urls::cluster(cx).await?;
        if cluster.path.is_empty() {
            return Err(Problem::new("serverInternal", "the mount does not know its own address: config/cluster").into());
        }
        let by_default = config.default_directory_policy.strip_prefix("role:");
        let name = if ask.role().is_empty() { by_default } else { Some(ask.role()) };
        let role = match name {
            Some(name) => {
                let found = role::find(cx, name).await?.ok_or_else(|| Problem::malformed("role does not exist"))?;
                if !ask.role().is_empty() && !names(&config.allowed_roles, &[name]) {
                    return Err(Problem::unauthorized("the role is not for ACME").into());
                }
                found
            }
            None if config.default_directory_policy == "forbid" => {
                return Err(Problem::unauthorized("there is no default directory: name a role in the path").into());
            }
            None => role::Role::verbatim(),
        };
        let reference = if ask.issuer_ref.is_empty() { role.issuer_ref.clone() } else { ask.issuer_ref.clone() };
        let found = issuer::find(cx, &reference).await?.ok_or_else(|| Problem::malformed("issuer does not exist"))?;
        if !names(&config.allowed_issuers, &[&reference, &found.id, &found.name]) {
            return Err(Problem::unauthorized("the issuer is not for ACME").into());
        }
        let directory = ask.directory();
        let base = format!("{}/{directory}", cluster.path.trim_end_matches('/'));
        Ok(Self { directory, base, role, issuer: reference, config })
    }

    fn index(&self) -> String {
        format!("<{}/directory>;rel=\"index\"", self.base)
    }

    fn binding_required(&self) -> bool {
        self.config.eab_policy != "not-required"
    }
}

fn names(allowed: &[String], these: &[&str]) -> bool {
    allowed.iter().any(|one| one == "*" || !one.is_empty() && these.contains(&one.as_str()))
}

/// A reply before it has its nonce.
struct Outcome {
    status: u16,
    body: Body,
    location: Option<String>,
    /// The authorization that a challenge belongs to.
    up: Option<String>,
}

enum Body {
    Json(Object),
    Chain(String),
    Nothing,
}

impl Outcome {
    fn json(object: Object) -> Self {
        Self { status: 200, body: Body::Json(object), location: None, up: None }
    }

    fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }
}

/// A request whose signature and nonce hold.
struct Verified {
    /// `None` where the request names its key itself.
    account: Option<(String, Account)>,
    key: PublicKey,
    payload: Vec<u8>,
}

impl Verified {
    fn account(&self) -> Result<(&str, &Account), Stop> {
        let account = self.account.as_ref().map(|(id, account)| (id.as_str(), account));
        account.ok_or_else(|| Problem::malformed("cannot process request without a 'kid'").into())
    }

    /// Nothing for POST-as-GET.
    fn object(&self) -> Result<Option<Object>, Stop> {
        if self.payload.is_empty() {
            return Ok(None);
        }
        const LIMITS: Limits = Limits { depth: 8, string: 64 * 1024, strings: 1000, members: 100, items: 500 };
        let read = parse(&self.payload, &LIMITS).ok().and_then(Json::into_object);
        read.map(Some).ok_or_else(|| Problem::malformed("the payload is no JSON object").into())
    }

    fn required(&self) -> Result<Object, Stop> {
        self.object()?.ok_or_else(|| Problem::malformed("the request has no payload").into())
    }
}

async fn directory(cx: Cx, ask: Ask) -> Result<Reply> {
    let place = match Place::open(&cx, &ask).await {
        Ok(place) => place,
        Err(Stop::Problem(problem)) => return Ok(bare(problem.status, PROBLEM, &problem.show())),
        Err(Stop::Fault(error)) => return Err(error),
    };
    let at = |name: &str| format!("{}/{name}", place.base);
    let shown = Object::new()
        .with("keyChange", at("key-change"))
        .with("meta", Object::new().with("externalAccountRequired", place.binding_required()))
        .with("newAccount", at("new-account"))
        .with("newNonce", at("new-nonce"))
        .with("newOrder", at("new-order"))
        .with("revokeCert", at("revoke-cert"));
    Ok(bare(200, JSON, &shown))
}

async fn new_nonce(cx: Cx, ask: Ask) -> Result<Reply> {
    match Place::open(&cx, &ask).await {
        Ok(place) => {
            let reply = Reply::raw(JSON, Vec::new()).header("Link", place.index());
            Ok(reply.header("Replay-Nonce", nonce::new(&cx).await?))
        }
        Err(Stop::Problem(problem)) => Ok(bare(problem.status, PROBLEM, &problem.show())),
        Err(Stop::Fault(error)) => Err(error),
    }
}

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const CHAIN: &str = "application/pem-certificate-chain";

fn bare(status: u16, kind: &'static str, object: &Object) -> Reply {
    Reply::raw(kind, Json::Object(object.clone()).to_bytes().to_vec()).status(status)
}

/// The one way of a signed request.
async fn serve(cx: Cx, ask: Ask, step: Step) -> Result<Reply> {
    let place = match Place::open(&cx, &ask).await {
        Ok(place) => place,
        Err(Stop::Problem(problem)) => return Ok(bare(problem.status, PROBLEM, &problem.show())),
        Err(Stop::Fault(error)) => return Err(error),
    };
    let outcome = match verify(&cx, &place, &ask, step).await {
        Ok(verified) => act(&cx, &place, &ask, step, verified).await,
        Err(stop) => Err(stop),
    };
    let reply = match outcome {
        Ok(outcome) => {
            let reply = match outcome.body {
                Body::Json(object) => bare(outcome.status, JSON, &object),
                Body::Chain(text) => Reply::raw(CHAIN, text.into_bytes()).status(outcome.status),
                Body::Nothing => Reply::raw(JSON, Vec::new()).status(outcome.status),
            };
            let reply = match outcome.location {
                Some(location) => reply.header("Location", location),
                None => reply,
            };
            let up = outcome.up.map(|up| format!(", <{up}>;rel=\"up\"")).unwrap_or_default();
            reply.header("Link", place.index() + &up)
        }
        Err(Stop::Problem(problem)) => bare(problem.status, PROBLEM, &problem.show()).header("Link", place.index()),
        Err(Stop::Fault(error)) => return Err(error),
    };
    Ok(reply.header("Replay-Nonce", nonce::new(&cx).await?))
}

/// Nothing of a request counts before its nonce, its address and its signature hold.
async fn verify(cx: &Cx, place: &Place, ask: &Ask, step: Step) -> Result<Verified, Stop> {
    if ask.protected.is_empty() || ask.signature.is_empty() {
        return Err(Problem::malformed("missing required field 'protected' or 'signature'").into());
    }
    let flat = Flat::read(&ask.protected, &ask.payload, &ask.signature).map_err(|why| Problem::malformed(why.to_string()))?;
    let header = flat.header();
    let text = |name: &str| header.get(name).and_then(Json::as_str);
    let fresh = match text("nonce") {
        Some(nonce) => nonce::check(cx, nonce).await?,
        None => None,
    };
    let fresh = fresh.ok_or_else(|| Problem::new("badNonce", "the nonce is not one of ours, was used, or is too old"))?;
    let url = text("url").ok_or_else(|| Problem::malformed("missing required parameter 'url' in 'protected'"))?;
    let expected = ask.url(place, step);
    if url != expected {
        return Err(Problem::unauthorized(format!("the request was signed for another address than {expected}")).into());
    }
    let (account, key) = match (text("kid"), header.get("jwk").and_then(Json::as_object)) {
        (Some(kid), None) if !header.contains("jwk") => {
            let unknown = || Problem::new("accountDoesNotExist", "the account does not exist");
            let id = kid.strip_prefix(&format!("{}/account/", place.base)).ok_or_else(unknown)?;
            let account =
                Account::find(cx, id).await?.filter(|account| account.directory == place.directory).ok_or_else(unknown)?;
            let key = account.key()?;
            (Some((id.to_owned(), account)), key)
        }
        (None, Some(jwk)) if !header.contains("kid") => {
            let key = PublicKey::from_jwk(jwk).map_err(|why| Problem::new("badPublicKey", why.to_string()))?;
            (None, key)
        }
        _ => return Err(Problem::malformed("a request has either a 'kid' or a 'jwk'").into()),
    };
    let payload = flat.verify(&key).map_err(refused)?.to_vec();
    fresh.spend(cx);
    if let Some((_, account)) = &account {
        if account.status != "valid" {
            return Err(Problem::unauthorized(format!("the account is {}", account.status)).into());
        }
        if place.config.eab_policy == "always-required" && account.binding.is_none() {
            return Err(Problem::unauthorized("the account was made without an external account binding").into());
        }
    }
    Ok(Verified { account, key, payload })
}

fn refused(why: Refused) -> Problem {
    match why {
        Refused::Unsupported => Problem::new("badSignatureAlgorithm", "the signature's algorithm is not taken"),
        Refused::NoKey => Problem::malformed("the signature's algorithm does not fit the key"),
        _ => Problem::malformed("the signature does not verify"),
    }
}

async fn act(cx: &Cx, place: &Place, ask: &Ask, step: Step, verified: Verified) -> Result<Outcome, Stop> {
    match step {
        Step::NewAccount => account::create(cx, place, &verified).await,
        Step::Account => account::change(cx, place, ask, verified).await,
        Step::KeyChange => account::change_key(cx, place, verified).await,
        Step::NewOrder => order::create(cx, place, &verified).await,
        Step::Orders => order::list(cx, place, &verified).await,
        Step::Order => order::read(cx, place, ask, &verified).await,
        Step::Finalize => order::finalize(cx, place, ask, &verified).await,
        Step::Certificate => order::certificate(cx, ask, &verified).await,
        Step::Authorization => challenge::authorization(cx, place, ask, &verified).await,
        Step::Challenge => challenge::respond(cx, place, ask, &verified).await,
        Step::Revoke => revoke::revoke(cx, &verified).await,
    }
}
