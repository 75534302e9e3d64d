//! `login -method=oidc`: the person proves who they are in a browser, which comes back to this program with a code.
//!
//! The browser is sent to the provider and from there back to a listener of ours, at first on this machine's own address. Roles whose
//! answer goes to the server itself, and those for devices without a browser, are asked for until the login is done.

use crate::cli::{Because, Call, Failure, Outcome};
use coffer_client::{Answer, Error, Request};
use coffer_crypto::random::{SystemRandom, base62};
use coffer_types::json::Object;
use coffer_types::{Json, Secret};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the browser is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What may be given besides `mount`: name, whether it is asked for unseen, help.
pub(super) const FIELDS: &[(&str, bool, &str)] = &[
    ("role", false, "The role; the mount's default role where it is not given."),
    ("port", false, "The port that this program listens on for the browser. The default is 8250."),
    ("listenaddress", false, "The address that it listens on. The default is localhost."),
    ("callbackhost", false, "The host that the provider sends the browser back to. The default is localhost."),
    ("callbackmethod", false, "https where something before this program speaks TLS. The default is http."),
    ("callbackport", false, "The port that the browser is sent back to, where it is not the one that this program listens on."),
    ("skip_browser", false, "true prints the address and starts no browser."),
];

/// Logs in at `mount` and gives back the server's answer.
pub(super) fn login(call: &Call<'_>, mount: &str, given: &Object) -> Outcome<Answer> {
    let ask = Asked::read(given)?;
    let nonce = Secret::new(base62(&SystemRandom, 20).to_string());
    // Listening first: the address that the provider is told must be ours when the browser comes back.
    let listener = TcpListener::bind((ask.listen.as_str(), ask.port)).map_err(|e| {
        Failure::server(format!("Error authenticating: can't listen on {}:{}: {e}", ask.listen, ask.port))
            .hint("Another login may be waiting there; port=… takes another, if the role allows it.")
    })?;
    let body = Object::new()
        .with("role", ask.role.as_str())
        .with("redirect_uri", ask.redirect_uri())
        .with("client_nonce", nonce.expose().as_str());
    let begun = Request::put(format!("auth/{mount}/oidc/auth_url")).json(body).without_token();
    let begun = call.ask(&begun).because(|| "Error authenticating".into())?.unwrap_or_default();
    let address = begun.text("auth_url");
    if address.is_empty() {
        let role = if ask.role.is_empty() { "the default role".to_owned() } else { format!("role \"{}\"", ask.role) };
        return Err(Failure::server(format!(
            "Error authenticating: unable to authorize {role} with redirect_uri {}.",
            ask.redirect_uri()
        ))
        .hint("The role must be of the type oidc and list this address in allowed_redirect_uris; the server's log says more."));
    }
    let opened = !ask.skip_browser && open_browser(address);
    let how =
        if opened { "Complete the login in the browser that was started at:" } else { "Complete the login in a browser at:" };
    call.note(&format!("{how}\n\n    {address}\n\n\nWaiting for the login to complete...\n"));
    match begun.text("state") {
        "" => wait_for_browser(call, mount, &listener, &nonce),
        state => {
            drop(listener);
            poll(call, mount, state, &nonce, begun.text("poll_interval"))
        }
    }
}

/// What was asked for, read.
struct Asked {
    role: String,
    listen: String,
    port: u16,
    host: String,
    scheme: String,
    back_port: u16,
    skip_browser: bool,
}

impl Asked {
    fn read(given: &Object) -> Outcome<Self> {
        if let Some(unknown) = given.names().find(|name| !FIELDS.iter().any(|(known, _, _)| known == name)) {
            let known: Vec<&str> = FIELDS.iter().map(|(name, _, _)| *name).collect();
            return Err(Failure::usage(format!("{unknown} is not known here: {}", known.join(", "))));
        }
        let or = |name: &str, default: &str| {
            given.get(name).and_then(Json::as_str).filter(|v| !v.is_empty()).unwrap_or(default).to_owned()
        };
        let number = |name: &str, text: &str| {
            text.parse::<u16>().map_err(|_| Failure::usage(format!("{name} takes a port, and not {text:?}")))
        };
        let port = number("port", &or("port", "8250"))?;
        let back_port = match or("callbackport", "").as_str() {
            "" => port,
            other => number("callbackport", other)?,
        };
        let scheme = or("callbackmethod", "http");
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err(Failure::usage("callbackmethod takes http or https"));
        }
        let skip_browser = match or("skip_browser", "false").as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(Failure::usage("skip_browser takes true or false")),
        };
        Ok(Self {
            role: or("role", ""),
            listen: or("listenaddress", "localhost"),
            port,
            host: or("callbackhost", "localhost"),
            scheme,
            back_port,
            skip_browser,
        })
    }

    fn redirect_uri(&self) -> String {
        format!("{}://{}:{}/oidc/callback", self.scheme, self.host, self.back_port)
    }
}

/// Starts the machine's browser, where it has one for this person to see.
fn open_browser(address: &str) -> bool {
    let seen = cfg!(target_os = "macos") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    seen && Command::new(opener).arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
}

/// Takes connections until one of them ends the login, one way or the other.
fn wait_for_browser(call: &Call<'_>, mount: &str, listener: &TcpListener, nonce: &Secret<String>) -> Outcome<Answer> {
    let failed = |why: std::io::Error| Failure::server(format!("Error authenticating: {why}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let end = Instant::now() + PATIENCE;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(why) if why.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                return Err(Failure::server("Error authenticating: timed out waiting for the browser"));
            }
            Err(why) => return Err(failed(why)),
        };
        stream.set_nonblocking(false).map_err(failed)?;
        // Whatever else finds the port has no say in the login.
        let Some((mut stream, brought)) = request(stream) else { continue };
        let ended = exchange(call, mount, &brought, nonce);
        let page = if ended.is_ok() {
            "You are logged in. This window can be closed."
        } else {
            "The login failed. The terminal says why."
        };
        reply(&mut stream, "200 OK", page);
        return ended;
    }
}

/// Takes what the browser brought to the server.
fn exchange(call: &Call<'_>, mount: &str, brought: &Brought, nonce: &Secret<String>) -> Outcome<Answer> {
    let path = format!("auth/{mount}/oidc/callback");
    let mut asked = Request::get(&path).without_token();
    if brought.posted {
        // A form: the server keeps it, and who began the login comes for it.
        let form: Object = brought.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        call.send(&Request::post(&path).json(form).without_token()).because(|| "Error authenticating".into())?;
        let state = brought.fields.iter().find(|(name, _)| name == "state").map_or("", |(_, value)| value);
        asked = asked.query("state", state);
    } else {
        for (name, value) in &brought.fields {
            asked = asked.query(name, value.as_str());
        }
    }
    let asked = asked.query("client_nonce", nonce.expose().as_str());
    let answer = call.client()?.send(&asked).and_then(|response| response.answer());
    Ok(answer.map_err(without_query).because(|| "Error authenticating".into())?.unwrap_or_default())
}

/// An error is shown with its address, and this one's query holds the code and our own word.
fn without_query(mut error: Error) -> Error {
    let url = match &mut error {
        Error::Api(api) => Some(&mut api.url),
        Error::NoAnswer { url, .. } => Some(url),
        Error::Setup(_) | Error::Instead(_) => None,
    };
    if let Some(url) = url
        && let Some(query) = url.find('?')
    {
        url.truncate(query);
    }
    error
}

/// Asks the server until the login is done there.
fn poll(call: &Call<'_>, mount: &str, state: &str, nonce: &Secret<String>, interval: &str) -> Outcome<Answer> {
    let mut seconds = interval.parse::<u64>().unwrap_or(5).clamp(1, 60);
    loop {
        std::thread::sleep(Duration::from_secs(seconds));
        let body = Object::new().with("state", state).with("client_nonce", nonce.expose().as_str());
        let asked = Request::put(format!("auth/{mount}/oidc/poll")).json(body).without_token();
        match call.client()?.send(&asked).and_then(|response| response.answer()) {
            Ok(answer) => return Ok(answer.unwrap_or_default()),
            // These two words are the protocol's (RFC 8628, 3.5), not a message's.
            Err(Error::Api(api)) if says(api.errors.as_deref(), "authorization_pending") => {}
            Err(Error::Api(api)) if says(api.errors.as_deref(), "slow_down") => seconds += 5,
            Err(error) => return Err(error).because(|| "Error authenticating".into()),
        }
    }
}

fn says(errors: Option<&[String]>, word: &str) -> bool {
    errors.is_some_and(|errors| errors.iter().any(|e| e == word))
}

/// What came back to the listener.
#[derive(Debug, PartialEq)]
struct Brought {
    posted: bool,
    fields: Vec<(String, String)>,
}

/// The most of a request that is read.
const LONGEST: u64 = 64 << 10;
const NAMES: [&str; 6] = ["state", "code", "id_token", "error", "error_description", "error_uri"];

/// Reads one request; answers itself what is not for `/oidc/callback`.
fn request(stream: TcpStream) -> Option<(TcpStream, Brought)> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?).take(LONGEST);
    let mut answer = stream;
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut length = 0usize;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let posted = method == "POST";
    if path != "/oidc/callback" || !(posted || method == "GET") {
        reply(&mut answer, "404 Not Found", "Nothing is here.");
        return None;
    }
    let mut body = vec![0; if posted { length.min(usize::try_from(LONGEST).unwrap_or(0)) } else { 0 }];
    reader.read_exact(&mut body).ok()?;
    let text = if posted { String::from_utf8(body).ok()? } else { query.to_owned() };
    let fields: Vec<(String, String)> = form(&text)?.into_iter().filter(|(name, _)| NAMES.contains(&name.as_str())).collect();
    if !fields.iter().any(|(name, _)| name == "state") {
        reply(&mut answer, "400 Bad Request", "This is not the end of a login.");
        return None;
    }
    Some((answer, Brought { posted, fields }))
}

/// Pairs of a query or a form; `None` where an escape is malformed.
fn form(text: &str) -> Option<Vec<(String, String)>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescaped(name)?, unescaped(value)?))
        })
        .collect()
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                u8::try_from(digit(bytes.next()?)? * 16 + digit(bytes.next()?)?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// A page of fixed words: nothing that came in is shown. That the browser may be gone is no fault.
fn reply(stream: &mut TcpStream, status: &str, words: &str) {
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>Login</title><p>{words}</p>\n");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes())).is_err() {
        // Nobody is left to read it.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_malformed_ones_are_not() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(form("state=st_a&code=a%2Fb+c").unwrap(), [pair("state", "st_a"), pair("code", "a/b c")]);
        assert_eq!(form("").unwrap(), []);
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff"] {
            assert!(form(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_asked_is_read_and_what_is_unknown_refused() {
        let asked = Asked::read(&Object::new().with("port", "9000").with("callbackhost", "me.example")).unwrap();
        assert_eq!(asked.redirect_uri(), "http://me.example:9000/oidc/callback");
        let behind = Object::new().with("callbackmethod", "https").with("callbackport", "443");
        assert_eq!(Asked::read(&behind).unwrap().redirect_uri(), "https://localhost:443/oidc/callback");
        for bad in [
            ("port", "high"),
            ("port", "70000"),
            ("callbackport", "x"),
            ("callbackmethod", "gopher"),
            ("skip_browser", "maybe"),
            ("prot", "1"),
        ] {
            assert!(Asked::read(&Object::new().with(bad.0, bad.1)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_the_end_of_a_login_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let send = |text: &'static str| {
            let sender = std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            });
            let taken = request(listener.accept().unwrap().0).map(|(mut stream, brought)| {
                reply(&mut stream, "200 OK", "done");
                brought
            });
            (taken, sender.join().unwrap())
        };
        let fields = |posted| Brought { posted, fields: vec![("state".into(), "s".into()), ("code".into(), "c".into())] };
        let (taken, answer) = send("GET /oidc/callback?state=s&code=c&more=x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(taken, Some(fields(false)));
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("done"));
        let (taken, _) = send("POST /oidc/callback HTTP/1.1\r\nContent-Length: 14\r\n\r\nstate=s&code=c");
        assert_eq!(taken, Some(fields(true)));
        for (text, status) in [
            ("GET /favicon.ico HTTP/1.1\r\n\r\n", "404"),
            ("DELETE /oidc/callback?state=s HTTP/1.1\r\n\r\n", "404"),
            ("GET /oidc/callback?code=c HTTP/1.1\r\n\r\n", "400"),
        ] {
            let (taken, answer) = send(text);
            assert!(taken.is_none() && answer.starts_with(&format!("HTTP/1.1 {status}")), "{text}: {answer}");
        }
    }
}
