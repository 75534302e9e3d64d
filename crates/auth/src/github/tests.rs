//! A GitHub in memory.

use super::GitHub;
use crate::web::{Web, reply};
use coffer_engine::testing::{Bench, Failed, text};
use coffer_engine::{Login, Outside};
use coffer_types::{Kind, Operation};
use std::sync::{Arc, Mutex};

/// Who `ghp_good` is, and what GitHub says of that person.
#[derive(Clone)]
struct Person {
    login: &'static str,
    organizations: Vec<(i64, &'static str)>,
    /// Name, slug, organization.
    teams: Vec<(String, String, i64)>,
    down: bool,
}

impl Default for Person {
    fn default() -> Self {
        let team = |name: &str, slug: &str, id| (name.to_owned(), slug.to_owned(), id);
        Self {
            login: "Octo-Cat",
            organizations: vec![(1, "other"), (42, "acme")],
            teams: vec![team("Site Reliability", "site-reliability", 42), team("Admins", "admins", 1)],
            down: false,
        }
    }
}

fn github() -> (Bench, Arc<Web>, Arc<Mutex<Person>>) {
    let person: Arc<Mutex<Person>> = Arc::default();
    let asked = person.clone();
    let web = Web::new(move |request| {
        let person = asked.lock().unwrap().clone();
        if person.down {
            return None;
        }
        let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let path = path.strip_prefix("https://api.github.com/")?;
        if path == "orgs/acme" {
            return Some(reply(200, r#"{"id":42,"login":"acme"}"#));
        }
        let token = request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.expose().as_str());
        if token != Some("Bearer ghp_good") {
            return Some(reply(401, r#"{"message":"Bad credentials"}"#));
        }
        let page: usize = query.rsplit_once("page=").map_or(1, |(_, page)| page.parse().unwrap());
        let some = |all: Vec<String>| {
            let shown: Vec<String> = all.into_iter().skip((page - 1) * 100).take(100).collect();
            Some(reply(200, format!("[{}]", shown.join(","))))
        };
        match path {
            "user" => Some(reply(200, format!(r#"{{"login":"{}"}}"#, person.login))),
            "user/orgs" => some(person.organizations.iter().map(|(id, n)| format!(r#"{{"id":{id},"login":"{n}"}}"#)).collect()),
            "user/teams" => some(
                person
                    .teams
                    .iter()
                    .map(|(name, slug, id)| {
                        format!(r#"{{"name":"{name}","slug":"{slug}","organization":{{"id":{id},"login":"o"}}}}"#)
                    })
                    .collect(),
            ),
            _ => Some(reply(404, "{}")),
        }
    });
    let outside: Arc<dyn Outside> = web.clone();
    (Bench::reaching::<GitHub>("auth/github/", outside), web, person)
}

fn configured() -> (Bench, Arc<Web>, Arc<Mutex<Person>>) {
    let (bench, web, person) = github();
    write(&bench, "config", r#"{"organization":"acme","token_policies":"base","token_ttl":"1h"}"#).unwrap();
    for (path, value) in [
        ("map/teams/Site-Reliability", "sre, Ops"),
        ("map/teams/admins", "admin"),
        ("map/users/octo-cat", "own"),
        ("map/users/somebody", "else"),
        ("map/teams/default", "everyone"),
    ] {
        write(&bench, path, &format!(r#"{{"value":"{value}"}}"#)).unwrap();
    }
    web.asked();
    (bench, web, person)
}

fn write(bench: &Bench, path: &str, body: &str) -> Result<(), Failed> {
    bench.call(Operation::Update, path, body).map(|_| ())
}

fn login(bench: &Bench, token: &str) -> Result<Box<Login>, Failed> {
    bench.call(Operation::Update, "login", &format!(r#"{{"token":"{token}"}}"#)).map(|answer| answer.login.unwrap())
}

#[test]
fn people_of_the_organization_get_their_teams_and_their_own_policies() {
    let (bench, web, _) = configured();
    let made = login(&bench, "ghp_good").unwrap();
    assert_eq!(made.policies, ["base", "everyone", "ops", "own", "sre"]);
    assert_eq!((&*made.alias, &*made.display_name, made.ttl.secs()), ("Octo-Cat", "Octo-Cat", 3600));
    assert_eq!((&*made.metadata["org"], &*made.metadata["username"]), ("acme", "Octo-Cat"));
    assert_eq!(made.group_aliases, ["Site Reliability", "site-reliability"]);
    let base = "GET https://api.github.com/user";
    let page = "?per_page=100&page=1";
    assert_eq!(web.asked(), [base.to_owned(), format!("{base}/orgs{page}"), format!("{base}/teams{page}")]);
}

#[test]
fn nobody_else_does() {
    let (bench, web, person) = configured();
    let refused = |token| login(&bench, token).unwrap_err();
    assert_eq!((refused("ghp_bad").kind, &*refused("ghp_bad").public), (Kind::BadRequest, "GitHub does not accept this token"));
    web.asked();
    for token in ["", "a b", "a\\r\\nx: y", "\\u00e9"] {
        assert_eq!(refused(token).kind, Kind::BadRequest);
    }
    assert!(web.asked().is_empty(), "what can't be a token is not sent");
    assert!(bench.call(Operation::Update, "login", "").is_err_and(|e| e.public == "missing token"));
    person.lock().unwrap().organizations = vec![(1, "acme")];
    assert_eq!(refused("ghp_good").public, "user is not part of required org", "the number counts, not the name");
    person.lock().unwrap().down = true;
    assert_eq!(refused("ghp_good").kind, Kind::Upstream);
    let (unset, ..) = github();
    assert_eq!(login(&unset, "ghp_good").unwrap_err().public, "configuration has not been set");
}

#[test]
fn networks_are_asked_before_github() {
    let (mut bench, web, _) = configured();
    write(&bench, "config", r#"{"token_bound_cidrs":"10.0.0.0/8"}"#).unwrap();
    bench.remote.ip = Some([11, 0, 0, 1].into());
    assert_eq!(login(&bench, "ghp_good").unwrap_err().kind, Kind::Denied);
    assert!(web.asked().is_empty());
}

#[test]
fn all_pages_are_read_and_no_more_than_are_sane() {
    let (bench, web, person) = configured();
    let teams = |count: usize| (0..count).map(|n| (format!("team {n}"), format!("team-{n}"), 42)).collect::<Vec<_>>();
    person.lock().unwrap().teams = teams(250);
    write(&bench, "map/teams/team-249", r#"{"value":"last"}"#).unwrap();
    assert!(login(&bench, "ghp_good").unwrap().policies.contains(&"last".to_owned()));
    assert_eq!(web.asked().len(), 5);
    person.lock().unwrap().teams = teams(100 * 51);
    assert_eq!(login(&bench, "ghp_good").unwrap_err().kind, Kind::Upstream);
}

#[test]
fn answers_that_are_none_are_refused() {
    for (status, body) in [(200, "garbage"), (200, "{}"), (200, "[]"), (403, "{}"), (500, ""), (302, "")] {
        let web = Web::new(move |_| Some(reply(status, body)));
        let outside: Arc<dyn Outside> = web;
        let bench = Bench::reaching::<GitHub>("auth/github/", outside);
        assert!(write(&bench, "config", r#"{"organization":"acme"}"#).is_err_and(|e| e.kind == Kind::Upstream));
        write(&bench, "config", r#"{"organization":"acme","organization_id":42}"#).unwrap();
        assert_eq!(login(&bench, "ghp_good").unwrap_err().kind, Kind::Upstream, "{status} {body}");
    }
}

#[test]
fn a_renewal_asks_again() {
    let (bench, _, person) = configured();
    let made = login(&bench, "ghp_good").unwrap();
    write(&bench, "config", r#"{"token_ttl":"2h"}"#).unwrap();
    assert_eq!(bench.renew_login(&made).unwrap().ttl.secs(), 7200);
    person.lock().unwrap().teams.clear();
    assert_eq!(bench.renew_login(&made).unwrap_err().public, "policies do not match", "it left the team");
    *person.lock().unwrap() = Person { login: "somebody", ..Person::default() };
    assert!(bench.renew_login(&made).is_err(), "the token is another's now");
    *person.lock().unwrap() = Person { organizations: Vec::new(), ..Person::default() };
    assert_eq!(bench.renew_login(&made).unwrap_err().public, "user is not part of required org");
    *person.lock().unwrap() = Person { down: true, ..Person::default() };
    assert_eq!(bench.renew_login(&made).unwrap_err().kind, Kind::Upstream);
    let mut lost = made.clone();
    lost.internal.clear();
    *person.lock().unwrap() = Person::default();
    assert!(bench.renew_login(&lost).is_err());
    assert!(bench.renew_login(&made).is_ok());
}

#[test]
fn the_configuration_is_checked_and_shown() {
    let (bench, web, _) = github();
    for body in [
        "{}",
        r#"{"organization":""}"#,
        r#"{"organization":"a/../b"}"#,
        r#"{"organization":"acme","base_url":"ftp://x"}"#,
        r#"{"organization":"acme","organization_id":-1}"#,
        r#"{"organization":"acme","token_policies":"root"}"#,
        r#"{"organization":"acme","ttl":"2h","max_ttl":"1h"}"#,
    ] {
        assert!(write(&bench, "config", body).is_err_and(|e| e.kind == Kind::BadRequest), "{body}");
    }
    assert!(bench.call(Operation::Read, "config", "").is_err_and(|e| e.kind == Kind::NotFound));
    assert!(write(&bench, "config", r#"{"organization":"unknown"}"#).is_err_and(|e| e.public.starts_with("unable to fetch")));
    assert!(bench.keys().is_empty());
    web.asked();
    write(&bench, "config", r#"{"organization":"acme","ttl":"1h"}"#).unwrap();
    assert_eq!(web.asked(), ["GET https://api.github.com/orgs/acme"]);
    let shown = text(&bench.call(Operation::Read, "config", "").unwrap());
    for part in [r#""organization":"acme""#, r#""organization_id":42"#, r#""token_ttl":3600"#] {
        assert!(shown.contains(part), "{shown}");
    }
    write(&bench, "config", r#"{"token_ttl":"3h","organization_id":7}"#).unwrap();
    assert!(web.asked().is_empty());
    assert!(text(&bench.call(Operation::Read, "config", "").unwrap()).contains(r#""organization_id":7"#));
}

#[test]
fn maps_are_read_and_listed() {
    let (bench, ..) = configured();
    let shown = bench.call(Operation::Read, "map/teams/SITE-reliability", "").unwrap();
    assert_eq!(text(&shown), r#"{"key":"site-reliability","value":"sre,Ops"}"#);
    assert_eq!(text(&bench.call(Operation::List, "map/users", "").unwrap()), r#"{"keys":["octo-cat","somebody"]}"#);
    bench.call(Operation::Delete, "map/users/Octo-Cat", "").unwrap();
    assert!(bench.call(Operation::Read, "map/users/octo-cat", "").is_err_and(|e| e.kind == Kind::NotFound));
    assert!(write(&bench, "map/users/x", r#"{"value":"a, Root"}"#).is_err());
}
