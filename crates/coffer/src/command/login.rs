//! `login`: a proof becomes a token, and the token is kept.

use super::data;
use crate::cli::help::wrap;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::answer;
use coffer_client::token::Helper;
use coffer_client::{Answer, Auth, Request};
use coffer_types::json::{Object, Text};
use coffer_types::{Json, Secret};

pub(crate) const COMMANDS: &[&Command] = &[&LOGIN];

static LOGIN: Command = Command {
    path: "login",
    synopsis: "Log in and keep the token",
    args: "[TOKEN | KEY=VALUE...]",
    about: "Logs in and keeps the token in ~/.vault-token, or where the token helper puts it, so that later commands carry it. Without -method the argument is a token; - reads it from standard input; without an argument it is asked for, unseen.\n\nWith -method the arguments are what that method needs; \"auth help METHOD\" says what. A password that is not given is asked for.",
    examples: &[
        ("With a token, asked for:", "login"),
        ("With a name and a password, asked for:", "login -method=userpass username=bob"),
        ("As a program, only the token printed and none kept:", "login -method=approle -token-only role_id=web secret_id=-"),
    ],
    own: &[
        Flag::new("method", Kind::Text, "The type of the auth method.").default("token").values(&[
            "token",
            "userpass",
            "approle",
            "cert",
            "github",
            "jwt",
            "kubernetes",
            "ldap",
            "oidc",
            "okta",
            "radius",
            "aws",
            "azure",
            "gcp",
        ]),
        Flag::new("no-print", Kind::Switch, "Print nothing; the token is kept all the same."),
        Flag::new("no-store", Kind::Switch, "Do not keep the token."),
        Flag::new("path", Kind::Text, "The path of the method, where it is not its type."),
        Flag::new("token-only", Kind::Switch, "Print the token alone and do not keep it."),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::Any,
    run: Run::Call(run),
};

/// A method that the command line knows how to speak.
pub(crate) struct Method {
    pub(crate) kind: &'static str,
    about: &'static str,
    /// What must be given, and whether it is asked for unseen where it is not.
    fields: &'static [(&'static str, bool, &'static str)],
    /// The field that stands in the path and not in the body.
    in_path: Option<&'static str>,
}

const METHODS: &[Method] = &[
    Method {
        kind: "token",
        about: "A token itself. It may also stand alone, without \"token=\".",
        fields: &[("token", true, "The token.")],
        in_path: None,
    },
    Method {
        kind: "userpass",
        about: "A name and a password that the server knows.",
        fields: &[("username", false, "The name."), ("password", true, "The password.")],
        in_path: Some("username"),
    },
    Method {
        kind: "ldap",
        about: "A name and a password that a directory knows.",
        fields: &[("username", false, "The name."), ("password", true, "The password.")],
        in_path: Some("username"),
    },
    Method {
        kind: "okta",
        about: "A name and a password that Okta knows.",
        fields: &[("username", false, "The name."), ("password", true, "The password.")],
        in_path: Some("username"),
    },
    Method {
        kind: "radius",
        about: "A name and a password that a RADIUS server knows.",
        fields: &[("username", false, "The name."), ("password", true, "The password.")],
        in_path: Some("username"),
    },
    Method {
        kind: "approle",
        about: "A role's identifier and one of its secret identifiers, for programs.",
        fields: &[("role_id", false, "The role's identifier."), ("secret_id", true, "A secret identifier of the role.")],
        in_path: None,
    },
    Method {
        kind: "cert",
        about: "The certificate of -client-cert and -client-key.",
        fields: &[("name", false, "The certificate role to log in with; any that fits where it is not given.")],
        in_path: None,
    },
    Method {
        kind: "github",
        about: "A personal access token of GitHub.",
        fields: &[("token", true, "The access token.")],
        in_path: None,
    },
    Method {
        kind: "jwt",
        about: "A signed token of an issuer that the server trusts.",
        fields: &[("role", false, "The role."), ("jwt", true, "The signed token.")],
        in_path: None,
    },
    Method {
        kind: "kubernetes",
        about: "The token of a Kubernetes service account.",
        fields: &[("role", false, "The role."), ("jwt", true, "The service account's token.")],
        in_path: None,
    },
    Method {
        kind: "oidc",
        about: "A person's login with a provider, in a browser. The browser comes back to this program on port 8250 of this machine, which the role must allow as http://localhost:8250/oidc/callback.",
        fields: super::login_oidc::FIELDS,
        in_path: None,
    },
    Method {
        kind: "gcp",
        about: "A signed token of a Google service account or machine.",
        fields: &[("role", false, "The role."), ("jwt", true, "The signed token.")],
        in_path: None,
    },
    Method {
        kind: "azure",
        about: "A token of an Azure machine's or application's identity; subscription_id, resource_group_name, vm_name, vmss_name and resource_id go with it as the role asks.",
        fields: &[("role", false, "The role."), ("jwt", true, "The signed token.")],
        in_path: None,
    },
    Method {
        kind: "aws",
        about: "A signed request to AWS that says who calls: iam_http_request_method, iam_request_url, iam_request_body and iam_request_headers; or, on a machine of EC2, pkcs7 with nonce, or identity with signature.",
        fields: &[("role", false, "The role.")],
        in_path: None,
    },
];

pub(crate) fn method(kind: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.kind == kind)
}

impl Method {
    pub(crate) fn help(&self, program: &str) -> String {
        let pairs: Vec<String> =
            self.fields.iter().map(|(name, hidden, _)| if *hidden { format!("{name}=-") } else { format!("{name}=…") }).collect();
        let mut text = format!(
            "Usage: {program} login -method={} [flags] KEY=VALUE...\n\n{}\n\n      $ {program} login -method={} {}\n\nWhat it takes:\n",
            self.kind,
            wrap(self.about, 2),
            self.kind,
            pairs.join(" ")
        );
        for (name, _, help) in self.fields {
            text.push_str(&format!("\n  {name}=<text>\n{}\n", wrap(help, 6)));
        }
        text.push_str(&format!(
            "\n  mount=<text>\n{}",
            wrap(&format!("The path of the method, as -path. The default is {}.", self.kind), 6)
        ));
        text
    }

    /// What a method takes from the environment where it is not given.
    fn in_environment(&self, call: &Call<'_>, field: &str) -> Option<zeroize::Zeroizing<String>> {
        let known = self.kind == "github" && field == "token";
        let found = if known { call.context.env.raw("VAULT_AUTH_GITHUB_TOKEN") } else { None };
        found.map(zeroize::Zeroizing::new)
    }

    /// Where the method is mounted: `mount=`, else `-path`, else its own name.
    fn mount(&self, call: &Call<'_>, given: &mut Object) -> String {
        match given.remove("mount").as_ref().and_then(Json::as_str) {
            Some(mount) => mount.trim_matches('/').to_owned(),
            None if call.text("path").is_empty() => self.kind.to_owned(),
            None => call.text("path").trim_matches('/').to_owned(),
        }
    }

    /// The request that proves who calls.
    fn request(&self, call: &Call<'_>, mut given: Object) -> Outcome<Request> {
        let mount = self.mount(call, &mut given);
        for (name, hidden, _) in self.fields {
            if given.contains(name) {
                continue;
            }
            if let Some(token) = self.in_environment(call, name) {
                given.insert(*name, token.as_str());
            } else if *hidden {
                let mut prompt = name.replace('_', " ");
                prompt[..1].make_ascii_uppercase();
                let typed = call.ask_hidden_aside(&format!("{prompt} (will be hidden): ")).map_err(|why| {
                    Failure::server(format!("Error authenticating: {why}"))
                        .hint(format!("Give it as {name}=-, and the value on standard input."))
                })?;
                given.insert(*name, typed.as_str());
            } else if self.in_path == Some(name) {
                let name = call
                    .context
                    .env
                    .raw("USER")
                    .filter(|_| self.kind == "ldap")
                    .ok_or_else(|| Failure::server(format!("Error authenticating: '{name}' must be specified")))?;
                given.insert("username", name);
            }
        }
        let mut path = format!("auth/{mount}/login");
        if let Some(field) = self.in_path {
            let value = given.remove(field);
            let value = value.as_ref().and_then(Json::as_str).unwrap_or_default();
            path = format!("{path}/{value}");
        }
        given.sort();
        Ok(Request::put(path).json(given).without_token())
    }
}

fn run(call: &Call<'_>) -> Outcome {
    let kind = call.text("method").trim().to_ascii_lowercase();
    let token_only = call.on("token-only");
    let keep = !(call.on("no-store") || token_only);
    let found = if kind == "token" { by_token(call)? } else { by_method(call, &kind)? };
    if let Some(wrap) = &found.wrap {
        // A wrapped token is opened to be kept; who keeps nothing gets the wrapping.
        if keep {
            let opened = call
                .ask(&Request::put("sys/wrapping/unwrap").with_token(Secret::from(wrap.token.as_str())).aside())
                .because(|| "Error unwrapping token".into())?;
            return logged_in(call, opened.unwrap_or_default(), keep, false);
        }
        if token_only {
            call.print(wrap.token.as_str());
            return Ok(0);
        }
        return answer::print(call, &found);
    }
    logged_in(call, found, keep, token_only)
}

/// A token is looked up: that it works is the proof.
fn by_token(call: &Call<'_>) -> Outcome<Answer> {
    let token = match call.args.as_slice() {
        [] => call.ask_hidden_aside("Token (will be hidden): ").map_err(|why| {
            Failure::server(format!(
                "Error authenticating: An error occurred attempting to ask for a token. The raw error message is shown below, but usually this is because you attempted to pipe a value into the command or you are executing outside of a terminal (tty). If you want to pipe the value, pass \"-\" as the argument to read from stdin. The raw error was: {why}"
            ))
        })?,
        [dash] if dash == "-" => call.stdin()?,
        [token] if !token.contains('=') => zeroize::Zeroizing::new(token.clone()),
        many => {
            let given = pairs(call, many)?;
            match given.get("token").and_then(Json::as_str) {
                Some(token) => zeroize::Zeroizing::new(token.to_owned()),
                None => return Err(Failure::usage("Error parsing configuration: a token expected: TOKEN, token=TOKEN or -")),
            }
        }
    };
    let token = Secret::from(token.trim());
    if token.expose().is_empty() {
        return Err(Failure::server("Error authenticating: the token is empty"));
    }
    let request = Request::get("auth/token/lookup-self").with_token(token.duplicate());
    let found = call.ask(&request).because(|| "Error authenticating: error looking up token".into())?.unwrap_or_default();
    if found.wrap.is_some() {
        return Ok(found);
    }
    let strings = |name: &str| -> Vec<String> {
        found.get(name).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
    };
    let token_policies = strings("policies");
    let identity_policies = strings("identity_policies");
    let mut policies = token_policies.clone();
    policies.extend(identity_policies.iter().filter(|p| !token_policies.contains(p)).cloned());
    policies.sort();
    Ok(Answer {
        auth: Some(Auth {
            client_token: Text::new(token.expose().as_str()),
            accessor: found.text("accessor").to_owned(),
            policies,
            token_policies: Some(token_policies),
            identity_policies: (!identity_policies.is_empty()).then_some(identity_policies),
            metadata: found.get("meta").and_then(Json::as_object).cloned(),
            lease_duration: found.get("ttl").and_then(Json::as_i64).unwrap_or_default(),
            renewable: found.get("renewable").and_then(Json::as_bool).unwrap_or_default(),
            ..Auth::default()
        }),
        ..Answer::default()
    })
}

fn by_method(call: &Call<'_>, kind: &str) -> Outcome<Answer> {
    let Some(method) = method(kind) else {
        let known: Vec<&str> = METHODS.iter().map(|m| m.kind).collect();
        return Err(Failure::usage(wrap(
            &format!("Unknown auth method: {kind}. Use \"{} auth list\" to see the complete list of auth methods. Additionally, some auth methods are only available via the HTTP API.", call.context.program),
            0,
        ))
        .hint(format!("Known here: {}. Others: \"{} write auth/{kind}/login KEY=VALUE...\".", known.join(", "), call.context.program)));
    };
    let mut given = pairs(call, &call.args)?;
    if method.kind == "oidc" {
        let mount = method.mount(call, &mut given);
        return super::login_oidc::login(call, &mount, &given);
    }
    let request = method.request(call, given)?;
    Ok(call.ask(&request).because(|| "Error authenticating".into())?.unwrap_or_default())
}

fn pairs(call: &Call<'_>, args: &[String]) -> Outcome<Object> {
    data::read(call, args).map_err(|mut failure| {
        failure.text = failure.text.replacen("Failed to parse K=V data", "Error parsing configuration", 1);
        failure
    })
}

fn logged_in(call: &Call<'_>, found: Answer, keep: bool, token_only: bool) -> Outcome {
    let Some(auth) = &found.auth else {
        return Err(Failure::server(format!(
            "{} returned a secret, but the secret has no authentication information attached. This should never happen.",
            call.context.product()
        )));
    };
    if auth.client_token.as_str().is_empty() {
        // A second factor is wanted: the requirement says which.
        return answer::print(call, &found);
    }
    let program = &call.context.program;
    if keep {
        let kept = Helper::find(&call.context.env).and_then(|helper| helper.store(&Secret::from(auth.client_token.as_str())));
        kept.map_err(|why| Failure::server(format!("Error storing token: {why}\nAuthentication was successful, but the token was not persisted. The resulting\ntoken is shown below for your records.\n\n{}", auth.client_token.as_str())))?;
        if let Some((name, value)) = call.context.env.named("TOKEN")
            && value != auth.client_token.as_str()
        {
            call.note(&format!("{}\n", wrap(&format!("WARNING! The {name} environment variable is set! The value of this variable will take precedence; if this is unwanted please unset {name} or update its value accordingly."), 0)));
        }
    } else if !token_only && call.field().is_none() {
        call.note(&format!("The token was not stored in token helper. Set the VAULT_TOKEN environment\nvariable or pass the token below with each request to {}.\n", call.context.product()));
    }
    if call.on("no-print") {
        return Ok(0);
    }
    if token_only {
        call.print(auth.client_token.as_str());
        return Ok(0);
    }
    if call.field().is_none() && call.format()? == crate::output::Format::Table {
        // The recorded text is the same whether the token was kept; the note above says when it was not.
        call.line(&format!(
            "Success! You are now authenticated. The token information displayed below is\nalready stored in the token helper. You do NOT need to run \"{program} login\" again.\nFuture {} requests will automatically use this token.\n",
            call.context.product()
        ));
    }
    answer::print(call, &found)
}
