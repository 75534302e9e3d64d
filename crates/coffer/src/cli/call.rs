//! A call of one command: its flags, its arguments, where its output goes, and the way to the server.

use super::flag::{Value, Values};
use super::table::{Arity, Command, Output};
use super::{Failure, Outcome};
use crate::output::Format;
use coffer_client::token::Helper;
use coffer_client::{Address, Answer, Blocking, Config, Environment, Error, Request, Response, Show};
use coffer_types::{Json, Secret, Span};
use std::cell::{Cell, OnceCell};
use std::io::{IsTerminal, Read, Write};
use zeroize::Zeroizing;

/// What every command has: the name that it was called by, the environment, the outputs.
pub(crate) struct Context {
    /// The name of the program as typed, without directories: `coffer`, `vault`.
    pub(crate) program: String,
    pub(crate) env: Environment,
    failed: Cell<bool>,
}

impl Context {
    pub(crate) fn new(argv0: &str, env: Environment) -> Self {
        let name = std::path::Path::new(argv0).file_stem().and_then(|n| n.to_str()).unwrap_or("coffer");
        Self { program: name.to_owned(), env, failed: Cell::new(false) }
    }

    /// What the server is called in messages. Scripts made for Vault read its name, so a link of that name keeps it.
    pub(crate) fn product(&self) -> &'static str {
        match self.program.as_str() {
            "vault" => "Vault",
            "bao" => "OpenBao",
            _ => "Coffer",
        }
    }

    /// To standard output, as it stands.
    pub(crate) fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if let Err(e) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
            && e.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.failed.set(true);
        }
    }

    pub(crate) fn line(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// To standard error, in red on a terminal.
    pub(crate) fn error(&self, text: &str) {
        let plain = !std::io::stderr().is_terminal()
            || self.env.get("CLI_NO_COLOR").is_some()
            || self.env.raw("NO_COLOR").is_some()
            || self.env.raw("TERM").as_deref() == Some("dumb");
        self.note(&if plain { text.to_owned() } else { format!("\u{1b}[31m{text}\u{1b}[0m") });
    }

    /// To standard error.
    pub(crate) fn note(&self, text: &str) {
        // Where standard error is closed there is nobody to tell.
        writeln!(std::io::stderr(), "{text}").unwrap_or_default();
    }

    /// Whether something could not be written out.
    pub(crate) fn output_failed(&self) -> bool {
        self.failed.get()
    }
}

pub(crate) struct Call<'a> {
    pub(crate) context: &'a Context,
    pub(crate) command: &'static Command,
    values: Values,
    pub(crate) args: Vec<String>,
    client: OnceCell<Blocking>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(context: &'a Context, command: &'static Command, values: Values, args: Vec<String>) -> Self {
        Self { context, command, values, args, client: OnceCell::new() }
    }

    /// What can be said before anything runs: number of arguments, format.
    pub(crate) fn check(&self) -> Outcome<()> {
        let have = self.args.len();
        let late: Vec<&str> = self.args.iter().map(String::as_str).filter(|a| a.len() > 1 && a.starts_with('-')).collect();
        if !late.is_empty() && self.command.arity != Arity::Any {
            self.context.note(&format!(
                "Command flags must be provided before positional arguments. The following arguments will not be parsed as flags: [{}]",
                late.join(",")
            ));
        }
        let (least, most) = match self.command.arity {
            Arity::Exactly(n) => (n, n),
            Arity::AtLeast(n) => (n, usize::MAX),
            Arity::Between(least, most) => (least, most),
            Arity::Any => (0, usize::MAX),
        };
        let fault = |few: &str, expected: usize| {
            Failure::usage(format!("{few} arguments (expected {expected}, got {have})"))
                .hint(format!("Usage: {}", super::help::usage(self.context, self.command)))
        };
        if have < least {
            return Err(fault("Not enough", least));
        }
        if have > most {
            return Err(fault("Too many", most));
        }
        if self.command.output != Output::None {
            self.format()?;
        }
        Ok(())
    }

    pub(crate) fn arg(&self, at: usize) -> &str {
        self.args.get(at).map_or("", String::as_str)
    }

    /// An argument as people paste it: without spaces around it or slashes before it.
    pub(crate) fn path(&self, at: usize) -> String {
        sanitize(self.arg(at))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        if let Some(Value::Text(text)) = self.values.get(name) { text } else { "" }
    }

    pub(crate) fn given(&self, name: &str) -> bool {
        self.values.get(name).is_some()
    }

    pub(crate) fn on(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some(Value::Switch(true)))
    }

    pub(crate) fn choice(&self, name: &str) -> Option<bool> {
        if let Some(Value::Switch(on)) = self.values.get(name) { Some(*on) } else { None }
    }

    pub(crate) fn int(&self, name: &str) -> i64 {
        if let Some(Value::Int(n)) = self.values.get(name) { *n } else { 0 }
    }

    pub(crate) fn span(&self, name: &str) -> Option<Span> {
        if let Some(Value::Span(span)) = self.values.get(name) { Some(*span) } else { None }
    }

    pub(crate) fn list(&self, name: &str) -> &[String] {
        if let Some(Value::List(list)) = self.values.get(name) { list } else { &[] }
    }

    pub(crate) fn pairs(&self, name: &str) -> &[(String, String)] {
        if let Some(Value::Pairs(pairs)) = self.values.get(name) { pairs } else { &[] }
    }

    pub(crate) fn format(&self) -> Outcome<Format> {
        let format = Format::parse(self.text("format"))?;
        if format == Format::Raw && self.command.path != "read" {
            return Err(Failure::usage("This command does not support the -format=raw option."));
        }
        Ok(format)
    }

    /// The name of the field to print alone.
    pub(crate) fn field(&self) -> Option<&str> {
        Some(self.text("field")).filter(|f| !f.is_empty())
    }

    pub(crate) fn line(&self, text: &str) {
        self.context.line(text);
    }

    pub(crate) fn print(&self, text: &str) {
        self.context.print(text);
    }

    /// A plain next step or a warning, on standard error.
    pub(crate) fn note(&self, text: &str) {
        self.context.note(text);
    }

    pub(crate) fn client(&self) -> Outcome<&Blocking> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Blocking::new(self.config()?)?;
        Ok(self.client.get_or_init(|| client))
    }

    pub(crate) fn send(&self, request: &Request) -> Result<Response, Failure> {
        Ok(self.client()?.send(request)?)
    }

    /// Sends and reads the envelope.
    pub(crate) fn ask(&self, request: &Request) -> Outcome<Option<Answer>> {
        Ok(self.send(request)?.answer()?)
    }

    /// Sends and reads the whole body as JSON.
    pub(crate) fn ask_json(&self, request: &Request) -> Outcome<Json> {
        Ok(self.send(request)?.json()?)
    }

    /// The payload of an answer, wherever the server puts it: under `data`, or at the top as older servers do.
    pub(crate) fn ask_data(&self, request: &Request) -> Outcome<Json> {
        let mut body = self.ask_json(request)?;
        if let Json::Object(object) = &mut body
            && let Some(data) = object.remove("data").filter(|d| d.as_object().is_some())
        {
            return Ok(data);
        }
        Ok(body)
    }

    /// A token given with the flags or environment, else the kept one.
    pub(crate) fn token(&self) -> Outcome<Option<Secret<String>>> {
        if let Some(token) = self.context.env.get("TOKEN") {
            return Ok(Some(Secret::from(token)));
        }
        // No home and no token is not yet an error: many paths need none.
        match Helper::find(&self.context.env) {
            Ok(helper) => helper.get().map_err(Failure::server),
            Err(why) if self.context.env.home().is_some() => Err(Failure::server(why)),
            Err(_) => Ok(None),
        }
    }

    /// Where the server is and as whom to speak, for a connection beside the usual one.
    pub(crate) fn config(&self) -> Outcome<Config> {
        let mut config = Config::from_environment(&self.context.env)?;
        let given = |name: &str| Some(self.text(name)).filter(|v| !v.is_empty()).map(str::to_owned);
        let address = match (self.given_on_line("address"), given("agent-address"), given("address")) {
            (Some(address), _, _) | (None, Some(address), _) | (None, None, Some(address)) => Some(address),
            _ => None,
        };
        if let Some(address) = address {
            config.address = Address::parse(&address).map_err(Error::Setup)?;
        }
        config.proxy_from(&self.context.env)?;
        config.tls.ca_file = given("ca-cert");
        config.tls.ca_dir = given("ca-path");
        config.tls.client_cert = given("client-cert");
        config.tls.client_key = given("client-key");
        config.tls.server_name = given("tls-server-name");
        config.tls.skip_verify = self.on("tls-skip-verify");
        config.namespace = given("namespace").filter(|n| n.trim_matches('/') != "root");
        config.wrap_ttl = self.span("wrap-ttl").filter(|ttl| !ttl.is_zero());
        config.mfa = self.list("mfa").iter().flat_map(|m| m.split(',')).map(str::to_owned).collect();
        config.headers = self.pairs("header").to_vec();
        config.follow_redirects = !self.on("disable-redirects");
        config.policy_override = self.on("policy-override");
        config.show =
            if self.on("output-curl-string") { Some(Show::Curl) } else { self.on("output-policy").then_some(Show::Policy) };
        // Somebody waits at the terminal: tell at once, unless asked to be patient.
        if self.context.env.get("MAX_RETRIES").is_none() {
            config.retries = 0;
        }
        config.token = self.token()?;
        config.program.clone_from(&self.context.program);
        Ok(config)
    }

    /// A flag's text where it stood on the command line and not in the environment.
    fn given_on_line(&self, name: &str) -> Option<String> {
        let text = self.text(name);
        let from_env = self.context.env.get(if name == "address" { "ADDR" } else { "" });
        (!text.is_empty() && from_env.as_deref() != Some(text)).then(|| text.to_owned())
    }

    /// All of standard input.
    pub(crate) fn stdin(&self) -> Outcome<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().read_to_string(&mut text).map_err(|e| Failure::usage(format!("Failed to read from stdin: {e}")))?;
        Ok(text)
    }

    /// Asks on the terminal, unseen. The error is the reason why that can't be done.
    pub(crate) fn ask_hidden(&self, prompt: &str) -> Result<Zeroizing<String>, String> {
        self.ask_unseen(prompt, |text| self.print(text))
    }

    /// The same with the prompt on standard error, where standard output is for the answer.
    pub(crate) fn ask_hidden_aside(&self, prompt: &str) -> Result<Zeroizing<String>, String> {
        // Where standard error is closed there is nobody to ask, which the answer will say.
        self.ask_unseen(prompt, |text| std::io::stderr().write_all(text.as_bytes()).unwrap_or_default())
    }

    fn ask_unseen(&self, prompt: &str, say: impl Fn(&str)) -> Result<Zeroizing<String>, String> {
        if self.on("non-interactive") {
            return Err("the command may not ask (-non-interactive)".into());
        }
        let typed = crate::output::terminal::read_hidden(|| say(prompt));
        say("\n");
        typed
    }
}

/// Spaces and slashes around a path say nothing.
pub(crate) fn sanitize(path: &str) -> String {
    path.trim().trim_matches('/').to_owned()
}

/// `secret` → `secret/`.
pub(crate) fn with_slash(path: &str) -> String {
    format!("{}/", sanitize(path))
}
