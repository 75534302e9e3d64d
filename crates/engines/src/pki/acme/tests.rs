//! The protocol by the mount's routes, with a client that can get each thing wrong.

use super::super::Pki;
use crate::fake::{Fake, down, reply};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::jws::PublicKey;
use coffer_crypto::mac::HmacKey;
use coffer_crypto::pk::{KeyKind, Message, PrivateKey, Scheme};
use coffer_crypto::x509::{Certificate, Extensions, Names, SignatureAlgorithm, Subject, request};
use coffer_engine::Answer;
use coffer_engine::testing::Bench;
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object, Operation, Span};
use std::sync::Arc;

const CLUSTER: &str = "http://ca.example/v1/pki";

struct World {
    bench: Bench,
    outside: Arc<Fake>,
}

impl World {
    fn new() -> Self {
        let outside = Fake::new(|_| down());
        let w = Self { bench: Bench::reaching::<Pki>("pki/", outside.clone()), outside };
        w.write("root/generate/internal", r#"{"common_name":"Root","key_type":"ec","not_after":"2031-01-01T00:00:00Z"}"#);
        w.write("roles/r", r#"{"allowed_domains":"good.example","allow_subdomains":true,"key_type":"any","ttl":"1h"}"#);
        w.write("roles/hidden", r#"{"allow_any_name":true}"#);
        w.write("config/cluster", &format!(r#"{{"path":"{CLUSTER}"}}"#));
        w.write("config/acme", r#"{"enabled":true,"allowed_roles":["r"]}"#);
        w
    }

    fn write(&self, path: &str, body: &str) -> Answer {
        self.bench.call(Operation::Update, path, body).unwrap()
    }

    fn nonce(&self) -> String {
        header(&self.bench.call(Operation::Read, "acme/new-nonce", "").unwrap(), "Replay-Nonce")
    }

    /// A client of a directory, with an account.
    fn client(&self, directory: &'static str) -> Client<'_> {
        let mut client = Client { world: self, directory, key: PrivateKey::generate(KeyKind::P256).unwrap(), kid: String::new() };
        let made = client.post("new-account", r#"{"contact":["mailto:a@b.example"]}"#);
        assert_eq!(made.status, Some(201), "{}", text(&made));
        client.kid = header(&made, "Location");
        client
    }

    /// From now on every name answers as this client's challenges want it.
    fn prove(&self, client: &Client<'_>) {
        let thumbprint = client.public().thumbprint();
        self.outside.becomes(move |asked| {
            let token = asked.path().rsplit('/').next().unwrap_or_default().to_owned();
            reply(200, &format!("{token}.{thumbprint}\n"))
        });
    }
}

fn header(answer: &Answer, name: &str) -> String {
    answer.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

fn text(answer: &Answer) -> String {
    answer.raw.as_ref().map(|raw| String::from_utf8_lossy(&raw.body).into_owned()).unwrap_or_default()
}

fn json(answer: &Answer) -> Object {
    parse(text(answer).as_bytes(), &Limits::NONE).unwrap().into_object().unwrap()
}

fn at(answer: &Answer, name: &str) -> String {
    json(answer).get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// The end of a problem's type.
fn problem(answer: &Answer) -> String {
    assert!(answer.status.is_some_and(|status| status >= 400), "{}", text(answer));
    assert!(!header(answer, "Replay-Nonce").is_empty());
    at(answer, "type").rsplit(':').next().unwrap_or_default().to_owned()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn show(object: &Object) -> String {
    String::from_utf8_lossy(&Json::Object(object.clone()).to_bytes()).into_owned()
}

struct Client<'w> {
    world: &'w World,
    directory: &'static str,
    key: PrivateKey,
    kid: String,
}

impl Client<'_> {
    fn public(&self) -> PublicKey {
        PublicKey::from_spki(self.key.public().unwrap().spki()).unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("{CLUSTER}/{}/{path}", self.directory)
    }

    fn header(&self, path: &str) -> Object {
        let base = Object::new().with("alg", "ES256").with("nonce", self.world.nonce()).with("url", self.url(path));
        if self.kid.is_empty() { base.with("jwk", self.public().to_jwk()) } else { base.with("kid", self.kid.as_str()) }
    }

    fn sign(&self, header: &Object, payload: &str) -> Object {
        let (protected, payload) = (b64(show(header)), b64(payload));
        let message = format!("{protected}.{payload}");
        let signature =
            self.key.sign(Scheme::EcdsaFixed(coffer_crypto::digest::Algorithm::Sha256), Message::Whole(message.as_bytes()));
        Object::new().with("protected", protected).with("payload", payload).with("signature", b64(signature.unwrap()))
    }

    fn send(&self, path: &str, signed: &Object) -> Answer {
        self.world.bench.call(Operation::Update, &format!("{}/{path}", self.directory), &show(signed)).unwrap()
    }

    fn with(&self, path: &str, header: &Object, payload: &str) -> Answer {
        self.send(path, &self.sign(header, payload))
    }

    fn post(&self, path: &str, payload: &str) -> Answer {
        self.with(path, &self.header(path), payload)
    }

    /// The path below the directory of an address.
    fn below(&self, url: &str) -> String {
        url.strip_prefix(&self.url("")).unwrap_or_else(|| panic!("{url}")).to_owned()
    }

    fn order(&self, name: &str) -> Answer {
        let kind = if name.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
        self.post("new-order", &format!(r#"{{"identifiers":[{{"type":"{kind}","value":"{name}"}}]}}"#))
    }

    fn authorization(&self, order: &Answer) -> String {
        let list = json(order);
        let first = list.get("authorizations").and_then(Json::as_array).and_then(|list| list[0].as_str().map(str::to_owned));
        self.below(&first.unwrap())
    }

    /// An order whose one name is proven.
    fn proven(&self, name: &str) -> String {
        self.world.prove(self);
        let order = self.order(name);
        let authorization = self.authorization(&order);
        let challenge = format!("{}/http-01", authorization.replace("authorization/", "challenge/"));
        let answer = self.post(&challenge, "{}");
        assert_eq!(at(&answer, "status"), "processing", "{}", text(&answer));
        assert!(header(&answer, "Link").contains(&format!("<{}>;rel=\"up\"", self.url(&authorization))));
        self.world.bench.beat().unwrap();
        assert_eq!(at(&self.post(&authorization, ""), "status"), "valid");
        self.below(&header(&order, "Location"))
    }

    fn finalize(&self, order: &str, csr: &[u8]) -> Answer {
        self.post(&format!("{order}/finalize"), &format!(r#"{{"csr":"{}"}}"#, b64(csr)))
    }
}

fn csr(key: &PrivateKey, common_name: &str, names: Names) -> Vec<u8> {
    let mut extensions = Extensions::default();
    extensions.alternative_names(&names, false);
    let name = Subject { common_name: common_name.to_owned(), ..Subject::default() };
    request(&name.to_der(), &extensions, key, SignatureAlgorithm::EcdsaSha256).unwrap()
}

fn dns(names: &[&str]) -> Names {
    Names { dns: names.iter().map(|name| (*name).to_owned()).collect(), ..Names::default() }
}

fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyKind::P256).unwrap()
}

#[test]
fn a_proven_name_gets_its_certificate_and_gives_it_back() {
    let w = World::new();
    for (directory, name) in [("acme", "x.example"), ("roles/r/acme", "a.good.example"), ("issuer/default/acme", "10.0.0.1")] {
        let client = w.client(directory);
        let order = client.proven(name);
        assert_eq!(at(&client.post(&order, ""), "status"), "ready");
        let names = match name.parse() {
            Ok(ip) => Names { ip: vec![ip], ..Names::default() },
            Err(_) => dns(&[name]),
        };
        let done = client.finalize(&order, &csr(&new_key(), "", names));
        assert_eq!(at(&done, "status"), "valid", "{}", text(&done));
        let place = client.below(&at(&done, "certificate"));
        let chain = client.post(&place, "");
        assert_eq!(chain.raw.as_ref().map(|raw| raw.content_type), Some("application/pem-certificate-chain"));
        let chain = Certificate::from_pem(&text(&chain)).unwrap();
        assert_eq!(chain.len(), 2);
        assert!(chain[1].signed(&chain[0]) && !chain[0].is_for_clients(), "for servers alone");
        assert_eq!(problem(&client.finalize(&order, &csr(&new_key(), "", dns(&[name])))), "orderNotReady", "once");
        let asking = |reason: u8| format!(r#"{{"certificate":"{}","reason":{reason}}}"#, b64(chain[0].der()));
        let body = asking(4);
        let other = w.client(directory);
        assert_eq!(problem(&other.post("revoke-cert", &body)), "unauthorized");
        assert_eq!(problem(&client.post("revoke-cert", &asking(7))), "badRevocationReason");
        assert_eq!(client.post("revoke-cert", &body).status, Some(200));
        assert_eq!(problem(&client.post("revoke-cert", &body)), "alreadyRevoked");
    }
}

#[test]
fn a_nonce_is_ours_and_counts_once() {
    let w = World::new();
    let client = w.client("acme");
    let signed = client.sign(&client.header("orders"), "");
    assert_eq!(client.send("orders", &signed).status, Some(200));
    assert_eq!(problem(&client.send("orders", &signed)), "badNonce", "used");
    let forged = |nonce: &str| {
        let mut header = client.header("orders");
        header.insert("nonce", nonce);
        problem(&client.with("orders", &header, ""))
    };
    for nonce in ["", "AAAA", "!", &b64([7; 56])] {
        assert_eq!(forged(nonce), "badNonce", "{nonce}");
    }
    let mut header = client.header("orders");
    header.remove("nonce");
    assert_eq!(problem(&client.with("orders", &header, "")), "badNonce");
    let late = client.sign(&client.header("orders"), "");
    w.bench.pass(Span::from_secs(901));
    assert_eq!(problem(&client.send("orders", &late)), "badNonce", "too old");
    w.bench.beat().unwrap();
    assert_eq!(w.bench.keys().iter().filter(|key| key.starts_with("acme/used/")).count(), 0, "what has ended is forgotten");
}

#[test]
fn a_request_is_signed_by_its_account_for_its_address() {
    let w = World::new();
    let client = w.client("acme");
    let changed = |change: &dyn Fn(&mut Object)| {
        let mut header = client.header("orders");
        change(&mut header);
        problem(&client.with("orders", &header, ""))
    };
    assert_eq!(changed(&|h| drop(h.insert("url", client.url("new-order")))), "unauthorized");
    assert_eq!(changed(&|h| drop(h.remove("url"))), "malformed");
    for algorithm in ["none", "HS256", "HS512", "es256", ""] {
        assert_eq!(changed(&|h| drop(h.insert("alg", algorithm))), "badSignatureAlgorithm", "{algorithm}");
    }
    assert_eq!(changed(&|h| drop(h.insert("alg", "RS256"))), "malformed", "of another kind of key");
    assert_eq!(changed(&|h| drop(h.insert("jwk", client.public().to_jwk()))), "malformed", "both names");
    assert_eq!(changed(&|h| drop(h.remove("kid"))), "malformed", "neither");
    assert_eq!(changed(&|h| drop(h.insert("crit", vec!["exp"]))), "malformed");
    for kid in [client.url("account/nobody"), "http://other/acme/account/1".to_owned(), client.url("account/a/b"), String::new()]
    {
        assert_eq!(changed(&|h| drop(h.insert("kid", kid.as_str()))), "accountDoesNotExist", "{kid}");
    }
    let mut signed = client.sign(&client.header("new-order"), "{}");
    signed.insert("payload", b64(r#"{"identifiers":[{"type":"dns","value":"x.example"}]}"#));
    assert_eq!(problem(&client.send("new-order", &signed)), "malformed", "another payload");
    assert_eq!(problem(&client.send("orders", &Object::new())), "malformed");
    // The same account name under another directory is nobody.
    let elsewhere = Client {
        world: &w,
        directory: "roles/r/acme",
        key: PrivateKey::generate(KeyKind::P256).unwrap(),
        kid: client.kid.clone(),
    };
    assert_eq!(problem(&elsewhere.post("orders", "")), "accountDoesNotExist");
    let moved = client.kid.replace("/acme/", "/roles/r/acme/");
    let elsewhere = Client { kid: moved, ..elsewhere };
    assert_eq!(problem(&elsewhere.post("orders", "")), "accountDoesNotExist");
    // Signed by another key.
    let thief = Client { world: &w, directory: "acme", key: new_key(), kid: client.kid.clone() };
    assert_eq!(problem(&thief.post("orders", "")), "malformed");
}

#[test]
fn what_is_anothers_is_not_there() {
    let w = World::new();
    let (client, other) = (w.client("acme"), w.client("acme"));
    let order = client.order("x.example");
    let (place, authorization) = (client.below(&header(&order, "Location")), client.authorization(&order));
    for path in [
        place.clone(),
        format!("{place}/cert"),
        format!("{place}/finalize"),
        authorization.clone(),
        authorization.replace("authorization", "challenge") + "/http-01",
    ] {
        assert_eq!(problem(&other.post(&path, "{}")), "malformed", "{path}");
    }
    assert_eq!(problem(&client.post(&(authorization.replace("authorization", "challenge") + "/dns-01"), "{}")), "malformed");
    assert!(text(&other.post("orders", "")).contains(r#""orders":[]"#));
    assert!(text(&client.post("orders", "")).contains(&place));
}

#[test]
fn names_are_held_to_the_role() {
    let w = World::new();
    let client = w.client("roles/r/acme");
    assert_eq!(client.order("a.good.example").status, Some(201));
    for (name, why) in [
        ("a.evil.example", "rejectedIdentifier"),
        ("*.good.example", "rejectedIdentifier"),
        ("a b", "malformed"),
        ("..", "malformed"),
        ("1.2.3", "malformed"),
        ("-a.good.example", "malformed"),
    ] {
        assert_eq!(problem(&client.order(name)), why, "{name}");
    }
    for (payload, why) in [
        (r#"{"identifiers":[]}"#, "malformed"),
        ("{}", "malformed"),
        ("", "malformed"),
        (r#"{"identifiers":[{"type":"email","value":"a@b"}]}"#, "unsupportedIdentifier"),
        (r#"{"identifiers":[{"type":"ip","value":"x"}]}"#, "malformed"),
        (r#"{"identifiers":[{"type":"dns","value":"a.good.example"}],"notAfter":"2030-01-01T00:00:00Z"}"#, "malformed"),
    ] {
        assert_eq!(problem(&client.post("new-order", payload)), why, "{payload}");
    }
}

#[test]
fn a_request_asks_for_the_orders_names_alone() {
    let w = World::new();
    let client = w.client("acme");
    let order = client.proven("x.example");
    let mail = Names { email: vec!["a@x.example".to_owned()], ..dns(&["x.example"]) };
    let with_ip = Names { ip: vec![[10, 0, 0, 1].into()], ..dns(&["x.example"]) };
    for (common_name, names) in [
        ("", dns(&["y.example"])),
        ("", dns(&["x.example", "y.example"])),
        ("y.example", dns(&["x.example"])),
        ("", mail),
        ("", with_ip),
        ("", Names::default()),
    ] {
        assert_eq!(problem(&client.finalize(&order, &csr(&new_key(), common_name, names))), "badCSR");
    }
    assert_eq!(problem(&client.finalize(&order, &csr(&client.key, "", dns(&["x.example"])))), "badCSR", "the account's own key");
    assert_eq!(problem(&client.finalize(&order, b"junk")), "badCSR");
    assert_eq!(problem(&client.post(&format!("{order}/cert"), "")), "orderNotReady");
    assert_eq!(at(&client.finalize(&order, &csr(&new_key(), "X.example", dns(&["x.EXAMPLE"]))), "status"), "valid");
}

#[test]
fn nothing_is_proven_by_a_wrong_answer() {
    let w = World::new();
    let client = w.client("acme");
    let order = client.order("x.example");
    let (place, authorization) = (client.below(&header(&order, "Location")), client.authorization(&order));
    assert_eq!(problem(&client.finalize(&place, &csr(&new_key(), "", dns(&["x.example"])))), "orderNotReady");
    let challenge = authorization.replace("authorization", "challenge") + "/http-01";
    w.outside.becomes(|_| reply(200, "secret of someone else"));
    client.post(&challenge, "{}");
    for pause in [0, 3, 5, 10, 20] {
        w.bench.pass(Span::from_secs(pause));
        w.bench.beat().unwrap();
    }
    let asked = w.outside.asked();
    assert_eq!(asked.len(), 5, "tried again, and not for ever");
    assert!(asked.iter().all(|asked| asked.url.starts_with("http://x.example/.well-known/acme-challenge/")));
    let shown = text(&client.post(&authorization, ""));
    assert!(shown.contains("incorrectResponse") && !shown.contains("secret"), "{shown}");
    assert_eq!(at(&client.post(&place, ""), "status"), "invalid");
    client.post(&challenge, "{}");
    w.prove(&client);
    w.bench.beat().unwrap();
    assert_eq!(at(&client.post(&authorization, ""), "status"), "invalid", "what failed stays so");
}

#[test]
fn what_is_over_is_over() {
    let w = World::new();
    let client = w.client("acme");
    let order = client.proven("x.example");
    w.bench.pass(Span::from_secs(24 * 3600 + 1));
    assert_eq!(at(&client.post(&order, ""), "status"), "invalid");
    assert_eq!(problem(&client.finalize(&order, &csr(&new_key(), "", dns(&["x.example"])))), "orderNotReady");
    let order = client.order("y.example");
    let authorization = client.authorization(&order);
    assert_eq!(problem(&client.post(&authorization, r#"{"status":"valid"}"#)), "malformed");
    assert_eq!(at(&client.post(&authorization, r#"{"status":"deactivated"}"#), "status"), "deactivated");
    assert_eq!(at(&client.post(&client.below(&header(&order, "Location")), ""), "status"), "invalid");
    let account = client.below(&client.kid);
    assert_eq!(problem(&client.post(&account, r#"{"status":"bogus"}"#)), "malformed");
    for (contact, why) in [("tel:1", "unsupportedContact"), ("mailto:x", "invalidContact"), ("mailto:a@b,c@d", "invalidContact")]
    {
        assert_eq!(problem(&client.post(&account, &format!(r#"{{"contact":["{contact}"]}}"#))), why);
    }
    assert_eq!(at(&client.post(&account, r#"{"status":"deactivated"}"#), "status"), "deactivated");
    assert_eq!(problem(&client.order("z.example")), "unauthorized");
}

#[test]
fn a_key_changes_with_the_consent_of_both() {
    let w = World::new();
    let mut client = w.client("acme");
    let next = Client { world: &w, directory: "acme", key: new_key(), kid: String::new() };
    let inner = |signer: &Client<'_>, account: &str, old: &PublicKey| {
        let header =
            Object::new().with("alg", "ES256").with("jwk", signer.public().to_jwk()).with("url", client.url("key-change"));
        show(&signer.sign(&header, &show(&Object::new().with("account", account).with("oldKey", old.to_jwk()))))
    };
    assert_eq!(problem(&client.post("key-change", &inner(&next, "http://x", &client.public()))), "malformed");
    assert_eq!(problem(&client.post("key-change", &inner(&next, &client.kid, &next.public()))), "malformed");
    assert_eq!(problem(&client.post("key-change", "{}")), "malformed");
    let taken = w.client("acme");
    assert_eq!(client.post("key-change", &inner(&taken, &client.kid, &client.public())).status, Some(409));
    assert_eq!(client.post("key-change", &inner(&next, &client.kid, &client.public())).status, Some(200));
    assert_eq!(problem(&client.post("orders", "")), "malformed", "the old key");
    client.key = next.key;
    assert_eq!(client.post("orders", "").status, Some(200));
}

#[test]
fn an_external_account_binds_once() {
    let w = World::new();
    w.write("config/acme", r#"{"eab_policy":"always-required"}"#);
    let mut client = Client { world: &w, directory: "acme", key: new_key(), kid: String::new() };
    assert_eq!(problem(&client.post("new-account", "{}")), "externalAccountRequired");
    let made = w.write("acme/new-eab", "").data.unwrap();
    let field = |name: &str| made.get(name).and_then(Json::as_str).unwrap().to_owned();
    let bind = |client: &Client<'_>, id: &str, key: &[u8], url: &str, jwk: &PublicKey| {
        let protected = b64(show(&Object::new().with("alg", "HS256").with("kid", id).with("url", url)));
        let payload = b64(show(&jwk.to_jwk()));
        let tag = HmacKey::new(key).tag(format!("{protected}.{payload}").as_bytes());
        let binding = Object::new().with("protected", protected).with("payload", payload).with("signature", b64(tag));
        client.post("new-account", &show(&Object::new().with("externalAccountBinding", binding)))
    };
    let (id, key) = (field("id"), URL_SAFE_NO_PAD.decode(field("key")).unwrap());
    let (url, own) = (client.url("new-account"), client.public());
    let other = PublicKey::from_spki(new_key().public().unwrap().spki()).unwrap();
    assert_eq!(problem(&bind(&client, &id, b"wrong", &url, &own)), "unauthorized");
    assert_eq!(problem(&bind(&client, "nobody", &key, &url, &own)), "unauthorized");
    assert_eq!(problem(&bind(&client, &id, &key, &url, &other)), "unauthorized", "another account's key");
    assert_eq!(problem(&bind(&client, &id, &key, "http://x", &own)), "malformed");
    let elsewhere = Client { world: &w, directory: "roles/r/acme", key: new_key(), kid: String::new() };
    assert_eq!(problem(&bind(&elsewhere, &id, &key, &elsewhere.url("new-account"), &elsewhere.public())), "unauthorized");
    let made = bind(&client, &id, &key, &url, &own);
    assert_eq!(made.status, Some(201), "{}", text(&made));
    client.kid = header(&made, "Location");
    assert_eq!(client.order("x.example").status, Some(201));
    let second = Client { world: &w, directory: "acme", key: new_key(), kid: String::new() };
    assert_eq!(problem(&bind(&second, &id, &key, &url, &second.public())), "unauthorized", "it is spent");
}

#[test]
fn directories_are_open_only_where_the_mount_says_so() {
    let w = World::new();
    let read = |path: &str| w.bench.call(Operation::Read, path, "");
    assert_eq!(at(&read("roles/r/acme/directory").unwrap(), "newOrder"), format!("{CLUSTER}/roles/r/acme/new-order"));
    for path in ["roles/hidden/acme/directory", "roles/nobody/acme/directory", "issuer/nobody/acme/directory"] {
        assert!(read(path).unwrap().status.is_some_and(|status| status >= 400), "{path}");
    }
    w.write("config/acme", r#"{"default_directory_policy":"forbid"}"#);
    assert_eq!(read("acme/directory").unwrap().status, Some(401));
    for body in [
        r#"{"eab_policy":"x"}"#,
        r#"{"default_directory_policy":"x"}"#,
        r#"{"default_directory_policy":"role:nobody"}"#,
        r#"{"allowed_roles":[]}"#,
        r#"{"dns_resolver":"127.0.0.1:53"}"#,
    ] {
        assert!(w.bench.call(Operation::Update, "config/acme", body).is_err(), "{body}");
    }
    w.write("config/acme", r#"{"enabled":false}"#);
    assert!(read("roles/r/acme/directory").is_err() && read("acme/new-nonce").is_err());
}
