//! The auth method `radius`: a RADIUS server says whether a password is the user's.
//! <https://developer.hashicorp.com/vault/api-docs/auth/radius>

mod packet;

use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::outside;
use coffer_engine::{Ctx, Declare, Engine, Login, Mount, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret, Span};
use packet::{Question, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

pub struct Radius;

impl Engine for Radius {
    const KIND: &'static str = "radius";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs people in with the password that a RADIUS server knows of them.");
        d.at("config").about("Says where the RADIUS server is.").read(read_config).write(write_config).exists(config_exists);
        d.at("users").about("Lists the people with policies of their own.").list(list_users);
        d.at("users/{name}")
            .about("Gives one person policies.")
            .read(read_user)
            .write(write_user)
            .exists(user_exists)
            .delete(delete_user);
        d.at("login").about("Logs a person in, who is named in the body.").public().write(login);
        d.at("login/{urlusername}").about("Logs a person in.").public().write(login_by_path);
        d.renew_login(renew);
    }
}

const CONFIG: &str = "config";

/// How often a question is sent within its time: packets get lost.
const TRIES: u32 = 3;

/// As stored, format 1.
#[derive(Serialize, Deserialize)]
struct Config {
    host: String,
    port: u16,
    secret: Zeroizing<String>,
    unregistered_user_policies: Vec<String>,
    dial_timeout: Span,
    read_timeout: Span,
    nas_port: u32,
    nas_identifier: String,
    token: TokenParams,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

/// As stored, format 1, under `user/<name>`.
#[derive(Serialize, Deserialize)]
struct User {
    policies: Vec<String>,
}

impl Record for User {
    const FORMAT: u8 = 1;
}

/// Configures the RADIUS server. What is left out stays as it is.
#[derive(Request)]
struct ConfigAsk {
    /// The server's name or address.
    host: Option<String>,
    /// Its UDP port.
    port: Option<i64>,
    /// The secret that both sides share. Never shown.
    secret: Option<Secret<String>>,
    /// Policies of people who have none of their own here, comma-separated.
    unregistered_user_policies: Option<Vec<String>>,
    /// How long to wait for the server.
    dial_timeout: Option<Span>,
    /// How long to wait for its answer; the longer of the two counts.
    read_timeout: Option<Span>,
    /// The port of ours that we say (NAS-Port).
    nas_port: Option<u32>,
    /// The name of ours that we say (NAS-Identifier).
    nas_identifier: Option<String>,
    #[field(flatten)]
    token: TokenAsk,
}

/// The configuration, without its secret.
#[derive(Response)]
struct ConfigShown {
    /// The server's name or address.
    host: String,
    /// Its UDP port.
    port: i64,
    /// Policies of people who have none of their own here.
    unregistered_user_policies: Vec<String>,
    /// How long to wait for the server, in seconds.
    dial_timeout: Span,
    /// How long to wait for its answer, in seconds.
    read_timeout: Span,
    /// NAS-Port.
    nas_port: u32,
    /// NAS-Identifier.
    nas_identifier: String,
    #[field(flatten)]
    token: TokenShown,
}

/// Name a person.
#[derive(Request)]
struct Named {
    /// Name of the person.
    #[field(path)]
    name: String,
}

/// Gives a person policies.
#[derive(Request)]
struct UserAsk {
    /// Name of the person.
    #[field(path)]
    name: String,
    /// Policies, comma-separated.
    policies: Option<Vec<String>>,
}

/// A person.
#[derive(Response)]
struct UserShown {
    /// Policies.
    policies: Vec<String>,
}

/// Logs in with the password that the server knows.
#[derive(Request)]
struct LoginAsk {
    /// The name to log in with.
    #[field(default)]
    username: String,
    /// The password.
    #[field(default = Secret::from(""))]
    password: Secret<String>,
}

/// Logs in with the password that the server knows.
#[derive(Request)]
struct LoginByPath {
    /// The name to log in with.
    #[field(path)]
    urlusername: String,
    /// The password.
    #[field(default = Secret::from(""))]
    password: Secret<String>,
}

async fn load(cx: &Ctx<Radius>) -> Result<Option<Config>> {
    cx.view.get(CONFIG).await
}

async fn read_config(cx: Ctx<Radius>, _: NoInput) -> Result<Reply<ConfigShown>> {
    let config = load(&cx).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(ConfigShown {
        host: config.host,
        port: i64::from(config.port),
        unregistered_user_policies: config.unregistered_user_policies,
        dial_timeout: config.dial_timeout,
        read_timeout: config.read_timeout,
        nas_port: config.nas_port,
        nas_identifier: config.nas_identifier,
        token: config.token.shown(),
    }))
}

async fn config_exists(cx: Ctx<Radius>, _: NoInput) -> Result<bool> {
    cx.view.exists(CONFIG).await
}

async fn write_config(cx: Ctx<Radius>, ask: ConfigAsk) -> Result<Reply<()>> {
    let mut config = load(&cx).await?.unwrap_or_else(|| Config {
        host: String::new(),
        port: 1812,
        secret: Zeroizing::default(),
        unregistered_user_policies: Vec::new(),
        dial_timeout: Span::from_secs(10),
        read_timeout: Span::from_secs(10),
        nas_port: 10,
        nas_identifier: String::new(),
        token: TokenParams::default(),
    });
    if let Some(host) = ask.host {
        config.host = host.to_lowercase();
    }
    if let Some(port) = ask.port {
        config.port = u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Error::bad_request("port must be from 1 to 65535"))?;
    }
    if let Some(secret) = ask.secret {
        config.secret = Zeroizing::new(secret.expose().clone());
    }
    if let Some(policies) = ask.unregistered_user_policies {
        config.unregistered_user_policies = policies_of(policies)?;
    }
    config.dial_timeout = ask.dial_timeout.unwrap_or(config.dial_timeout);
    config.read_timeout = ask.read_timeout.unwrap_or(config.read_timeout);
    config.nas_port = ask.nas_port.unwrap_or(config.nas_port);
    config.nas_identifier = ask.nas_identifier.unwrap_or(config.nas_identifier);
    config.token.update(ask.token)?;
    if config.host.is_empty() {
        return Err(Error::bad_request("config parameter `host` cannot be empty"));
    }
    if config.secret.is_empty() {
        return Err(Error::bad_request("config parameter `secret` cannot be empty"));
    }
    if config.wait().secs() < 1 || config.wait().secs() > 300 {
        return Err(Error::bad_request("dial_timeout and read_timeout: the longer must be from 1 to 300 seconds"));
    }
    cx.view.put(CONFIG, &config)?;
    Ok(Reply::empty())
}

impl Config {
    fn wait(&self) -> Span {
        self.dial_timeout.max(self.read_timeout)
    }
}

fn policies_of(list: Vec<String>) -> Result<Vec<String>> {
    let list: Vec<String> = list.iter().map(|policy| policy.trim().to_lowercase()).filter(|policy| !policy.is_empty()).collect();
    if list.iter().any(|policy| policy == "root") {
        return Err(Error::bad_request("root policy cannot be granted by an auth method"));
    }
    Ok(list)
}

async fn list_users(cx: Ctx<Radius>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("user/", None, usize::MAX).await?))
}

async fn read_user(cx: Ctx<Radius>, ask: Named) -> Result<Reply<UserShown>> {
    let user: User = cx.view.get(&user_key(&ask.name)).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(UserShown { policies: user.policies }))
}

async fn user_exists(cx: Ctx<Radius>, ask: Named) -> Result<bool> {
    cx.view.exists(&user_key(&ask.name)).await
}

async fn write_user(cx: Ctx<Radius>, ask: UserAsk) -> Result<Reply<()>> {
    cx.view.put(&user_key(&ask.name), &User { policies: policies_of(ask.policies.unwrap_or_default())? })?;
    Ok(Reply::empty())
}

async fn delete_user(cx: Ctx<Radius>, ask: Named) -> Result<Reply<()>> {
    cx.view.delete(&user_key(&ask.name));
    Ok(Reply::empty())
}

/// Names are one whatever their case.
fn user_key(name: &str) -> String {
    format!("user/{}", name.to_lowercase())
}

async fn login_by_path(cx: Ctx<Radius>, ask: LoginByPath) -> Result<Reply> {
    login(cx, LoginAsk { username: ask.urlusername, password: ask.password }).await
}

async fn login(cx: Ctx<Radius>, ask: LoginAsk) -> Result<Reply> {
    let config = load(&cx).await?.ok_or_else(|| Error::bad_request("radius backend not configured"))?;
    if ask.username.is_empty() {
        return Err(Error::bad_request("username cannot be empty"));
    }
    if ask.password.expose().is_empty() {
        return Err(Error::bad_request("password cannot be empty"));
    }
    let mut login = config.token.login_from(cx.call().and_then(|call| call.remote.ip))?;
    let attempt = cx.attempt(&ask.username)?;
    let denied = || Error::bad_request("access denied by the authentication server");
    // Spaces at the ends would be another name to us and perhaps the same to the server.
    if ask.username.trim() != ask.username || ask.username.chars().any(char::is_control) {
        return Err(attempt.failed(denied()));
    }
    match ask_server(&cx, &config, &ask.username, &ask.password).await? {
        Some(Verdict::Accepted) => attempt.passed()?,
        Some(Verdict::Challenged) => {
            return Err(attempt.failed(Error::bad_request("the authentication server wants more than a password")));
        }
        Some(Verdict::Rejected) | None => return Err(attempt.failed(denied())),
    }
    let name = ask.username.to_lowercase();
    login.policies = policies(&cx, &config, &name).await?;
    login.display_name.clone_from(&name);
    login.metadata = BTreeMap::from([("username".to_owned(), name.clone()), ("policies".to_owned(), login.policies.join(","))]);
    login.internal = BTreeMap::from([("username".to_owned(), name.clone())]);
    login.alias = name;
    Ok(Reply::login(login))
}

/// `None` where the name or the password is longer than any that the server could know.
async fn ask_server(cx: &Ctx<Radius>, config: &Config, name: &str, password: &Secret<String>) -> Result<Option<Verdict>> {
    let mut random = [0; 17];
    cx.fill_random(&mut random);
    let question = Question::new(random, Secret::from(config.secret.as_str()));
    let Ok(packet) = question.packet(name, password, &config.nas_identifier, config.nas_port) else { return Ok(None) };
    let answers = |packet: &[u8]| question.verdict(packet).is_some();
    let answer = cx.outside().datagrams().ask(outside::Question {
        host: &config.host,
        port: config.port,
        packet: &packet,
        tries: TRIES,
        timeout: config.wait().duration(),
        answers: &answers,
    });
    Ok(question.verdict(&answer.await?))
}

/// The policies of a person: the mount's for all, and their own or those of the unregistered.
async fn policies(cx: &Ctx<Radius>, config: &Config, name: &str) -> Result<Vec<String>> {
    let user: Option<User> = cx.view.get(&user_key(name)).await?;
    let own = user.map_or_else(|| config.unregistered_user_policies.clone(), |user| user.policies);
    let mut all = config.token.policies.clone();
    all.extend(own.into_iter().filter(|policy| !config.token.policies.contains(policy)));
    Ok(all)
}

/// A RADIUS server answers only to passwords, and none is kept: what is checked again are the policies here.
async fn renew(cx: Ctx<Radius>, mut login: Login) -> Result<Login> {
    let gone = || Error::bad_request("the login no longer holds: log in again");
    let config = load(&cx).await?.ok_or_else(gone)?;
    let name = login.internal.get("username").ok_or_else(gone)?;
    let (mut now, mut then) = (policies(&cx, &config, name).await?, login.policies.clone());
    now.sort_unstable();
    then.sort_unstable();
    if now != then {
        return Err(Error::bad_request("policies have changed, not renewing"));
    }
    let again = config.token.login();
    (login.ttl, login.max_ttl, login.period) = (again.ttl, again.max_ttl, again.period);
    Ok(login)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::outside::{Datagrams, Fault, FaultKind, Http, Nothing, Outside};
    use coffer_engine::testing::{Bench, Failed, text};
    use coffer_engine::{Answer, BoxFuture};
    use coffer_types::{Kind, Operation, secret};
    use std::sync::{Arc, Mutex};

    /// A server that answers every question with these code, secret and form.
    #[derive(Debug)]
    struct Made(Mutex<(u8, &'static str, bool)>);

    impl Outside for Made {
        fn http(&self) -> &dyn Http {
            &Nothing
        }
        fn datagrams(&self) -> &dyn Datagrams {
            self
        }
    }

    impl Datagrams for Made {
        fn ask<'a>(&'a self, question: outside::Question<'a>) -> BoxFuture<'a, Result<secret::Bytes, Fault>> {
            let (code, shared, authenticated) = *self.0.lock().unwrap();
            let answer = packet::answer(question.packet, code, shared.as_bytes(), &[], authenticated);
            let late = Fault::new(FaultKind::Unreachable, "no answer in time");
            let result = if (question.answers)(&answer) { Ok(secret::Bytes::new(answer)) } else { Err(late) };
            Box::pin(async move { result })
        }
    }

    fn bench() -> (Bench, Arc<Made>) {
        let made = Arc::new(Made(Mutex::new((2, "shared", true))));
        let bench = Bench::reaching::<Radius>("auth/radius/", made.clone());
        let config = r#"{"host":"Server","secret":"shared","token_policies":"all","unregistered_user_policies":"guest"}"#;
        bench.call(Operation::Update, "config", config).unwrap();
        bench.call(Operation::Update, "users/Alice", r#"{"policies":"admin,all"}"#).unwrap();
        (bench, made)
    }

    fn log_in(bench: &Bench, name: &str) -> Result<Answer, Failed> {
        bench.call(Operation::Update, &format!("login/{name}"), r#"{"password":"pw"}"#)
    }

    #[test]
    fn who_is_accepted_gets_their_policies() {
        let (bench, _) = bench();
        let login = log_in(&bench, "ALICE").unwrap().login.unwrap();
        assert_eq!((login.alias.as_str(), &*login.policies), ("alice", &["all".to_owned(), "admin".to_owned()][..]));
        let body = r#"{"username":"bob","password":"pw"}"#;
        let login = bench.call(Operation::Update, "login", body).unwrap().login.unwrap();
        assert_eq!((login.alias.as_str(), &*login.policies), ("bob", &["all".to_owned(), "guest".to_owned()][..]));
    }

    #[test]
    fn whoever_is_not_accepted_gets_nothing() {
        let (bench, made) = bench();
        let kind = |code, shared, authenticated| {
            *made.0.lock().unwrap() = (code, shared, authenticated);
            log_in(&bench, "carol").err().map(|f| f.kind)
        };
        assert_eq!(kind(3, "shared", true), Some(Kind::BadRequest), "rejected");
        assert_eq!(kind(11, "shared", true), Some(Kind::BadRequest), "challenged");
        assert_eq!(kind(2, "other", true), Some(Kind::Upstream), "another secret");
        assert_eq!(kind(2, "shared", false), Some(Kind::Upstream), "no Message-Authenticator");
        assert_eq!(kind(2, "shared", true), None);
        let call = |body| bench.call(Operation::Update, "login", body).err().map(|f| f.kind);
        for bad in [
            r#"{"username":"","password":"pw"}"#,
            r#"{"username":"carol"}"#,
            r#"{"username":"carol","password":""}"#,
            r#"{"username":" carol","password":"pw"}"#,
            r#"{"username":"car\u0000ol","password":"pw"}"#,
        ] {
            assert_eq!(call(bad), Some(Kind::BadRequest), "{bad}");
        }
        let long = format!(r#"{{"username":"carol","password":"{}"}}"#, "p".repeat(129));
        assert_eq!(call(&long), Some(Kind::BadRequest));
    }

    #[test]
    fn guessers_are_locked_out() {
        let (mut bench, made) = bench();
        let lockout = coffer_engine::Lockout { threshold: 5, ..coffer_engine::Lockout::default() };
        Arc::get_mut(&mut bench.mount).unwrap().lockout = lockout;
        made.0.lock().unwrap().0 = 3;
        for _ in 0..20 {
            assert!(log_in(&bench, "Dave").is_err());
        }
        made.0.lock().unwrap().0 = 2;
        assert_eq!(log_in(&bench, "dave").err().map(|f| f.kind), Some(Kind::Denied));
        log_in(&bench, "alice").unwrap();
    }

    #[test]
    fn a_renewal_wants_the_same_policies() {
        let (bench, _) = bench();
        let login = *log_in(&bench, "alice").unwrap().login.unwrap();
        bench.renew_login(&login).unwrap();
        bench.call(Operation::Delete, "users/alice", "").unwrap();
        assert!(bench.renew_login(&login).is_err());
    }

    #[test]
    fn the_configuration_keeps_its_secret() {
        let (bench, _) = bench();
        bench.call(Operation::Update, "config", r#"{"nas_port":5}"#).unwrap();
        let shown = text(&bench.call(Operation::Read, "config", "").unwrap());
        assert!(
            !shown.contains("shared") && shown.contains("\"nas_port\":5") && shown.contains("\"host\":\"server\""),
            "{shown}"
        );
        log_in(&bench, "alice").unwrap();
        for bad in [
            r#"{"host":""}"#,
            r#"{"secret":""}"#,
            r#"{"port":0}"#,
            r#"{"port":65536}"#,
            r#"{"dial_timeout":0,"read_timeout":0}"#,
            r#"{"dial_timeout":"1h"}"#,
            r#"{"unregistered_user_policies":"a,ROOT"}"#,
        ] {
            assert_eq!(bench.call(Operation::Update, "config", bad).err().map(|f| f.kind), Some(Kind::BadRequest), "{bad}");
        }
        assert!(bench.call(Operation::Update, "users/x", r#"{"policies":"root"}"#).is_err());
    }

    #[test]
    fn without_a_configuration_nobody_logs_in() {
        let bench = Bench::new::<Radius>("auth/radius/", &[]);
        assert!(log_in(&bench, "a").is_err());
        assert_eq!(bench.call(Operation::Read, "config", "").err().map(|f| f.kind), Some(Kind::NotFound));
    }
}
