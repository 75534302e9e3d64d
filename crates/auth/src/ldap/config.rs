//! `config`: where the directory is, and how people and their groups are found in it.
//! <https://developer.hashicorp.com/vault/api-docs/auth/ldap#configure-ldap>

use super::Ldap;
use super::names::Template;
use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::outside::{Aliases, DirectorySecurity, DirectoryServer, Roots, TlsClient};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const KEY: &str = "config";
/// Passwords that rotations are about to set, durable before the directory learns of them: `config-next/<time>-<random>`. Each
/// rotation has a key of its own, since what a call has read may not change before its commit.
const NEXT: &str = "config-next/";
/// So many unfinished rotations are tried.
const MAX_NEXT: usize = 16;
const USER_FILTER: &str = "({{.UserAttr}}={{.Username}})";
const GROUP_FILTER: &str = "(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))";

/// As stored, format 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) url: String,
    pub(super) starttls: bool,
    pub(super) insecure_tls: bool,
    pub(super) certificate: String,
    pub(super) client_tls_cert: String,
    pub(super) client_tls_key: Zeroizing<String>,
    pub(super) tls_min_version: String,
    pub(super) tls_max_version: String,
    pub(super) binddn: String,
    pub(super) bindpass: Zeroizing<String>,
    pub(super) userdn: String,
    pub(super) userattr: String,
    pub(super) userfilter: String,
    pub(super) upndomain: String,
    pub(super) enable_samaccountname_login: bool,
    pub(super) discoverdn: bool,
    pub(super) deny_null_bind: bool,
    pub(super) groupdn: String,
    pub(super) groupfilter: String,
    pub(super) groupattr: String,
    pub(super) anonymous_group_search: bool,
    pub(super) use_token_groups: bool,
    pub(super) username_as_alias: bool,
    pub(super) case_sensitive_names: bool,
    pub(super) request_timeout: Span,
    pub(super) connection_timeout: Span,
    pub(super) dereference_aliases: String,
    pub(super) max_page_size: i64,
    pub(super) password_policy: String,
    pub(super) token: TokenParams,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

impl Default for Config {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            url: text("ldap://127.0.0.1"),
            starttls: false,
            insecure_tls: false,
            certificate: String::new(),
            client_tls_cert: String::new(),
            client_tls_key: Zeroizing::default(),
            tls_min_version: text("tls12"),
            tls_max_version: text("tls12"),
            binddn: String::new(),
            bindpass: Zeroizing::default(),
            userdn: String::new(),
            userattr: text("cn"),
            userfilter: text(USER_FILTER),
            upndomain: String::new(),
            enable_samaccountname_login: false,
            discoverdn: false,
            deny_null_bind: true,
            groupdn: String::new(),
            groupfilter: text(GROUP_FILTER),
            groupattr: text("cn"),
            anonymous_group_search: false,
            use_token_groups: false,
            username_as_alias: false,
            case_sensitive_names: false,
            request_timeout: Span::from_secs(90),
            connection_timeout: Span::from_secs(30),
            dereference_aliases: text("never"),
            max_page_size: 0,
            password_policy: String::new(),
            token: TokenParams::default(),
        }
    }
}

/// Configures the directory. What is left out stays as it is.
#[derive(Request)]
pub(super) struct Ask {
    /// The directory's address, ldap:// or ldaps://; several, separated by commas, are tried in their order.
    url: Option<String>,
    /// Start TLS on an ldap:// connection before anything else is said.
    starttls: Option<bool>,
    /// Take any certificate of the directory. Whoever stands between reads all passwords then.
    insecure_tls: Option<bool>,
    /// The authorities that may vouch for the directory's certificate, PEM; the system's if empty.
    certificate: Option<String>,
    /// The certificate to show to the directory, PEM.
    client_tls_cert: Option<String>,
    /// Its private key, PEM. Never shown.
    client_tls_key: Option<Secret<String>>,
    /// The lowest version of TLS: tls12 or tls13; tls10 and tls11 are taken for tls12.
    tls_min_version: Option<String>,
    /// The highest version of TLS: tls12 or tls13.
    tls_max_version: Option<String>,
    /// The name of the account that searches.
    binddn: Option<String>,
    /// Its password. Never shown.
    bindpass: Option<Secret<String>>,
    /// Where people are searched for.
    userdn: Option<String>,
    /// The attribute that holds a person's name.
    userattr: Option<String>,
    /// The filter that finds a person, with {{.UserAttr}} and {{.Username}} for what is searched for.
    userfilter: Option<String>,
    /// Active Directory: log in as name@domain.
    upndomain: Option<String>,
    /// With upndomain: find a person by sAMAccountName too.
    enable_samaccountname_login: Option<bool>,
    /// Find a person's entry with an anonymous search.
    discoverdn: Option<bool>,
    /// Refuse empty passwords. They are refused in any case.
    deny_null_bind: Option<bool>,
    /// Where groups are searched for; no groups if empty.
    groupdn: Option<String>,
    /// The filter that finds a person's groups, with {{.Username}} and {{.UserDN}} for what is searched for.
    groupfilter: Option<String>,
    /// The attribute of what groupfilter finds that holds the group's name.
    groupattr: Option<String>,
    /// Search for groups without a name and password.
    anonymous_group_search: Option<bool>,
    /// Active Directory: take the groups of the attribute tokenGroups, those inside others among them.
    use_token_groups: Option<bool>,
    /// Name the alias by the name that was typed instead of the value of userattr.
    username_as_alias: Option<bool>,
    /// Keep names of users and groups in the case that they come in.
    case_sensitive_names: Option<bool>,
    /// How long one question may take.
    request_timeout: Option<Span>,
    /// How long connecting may take before the next address is tried.
    connection_timeout: Option<Span>,
    /// When the directory follows its aliases: never, finding, searching or always.
    dereference_aliases: Option<String>,
    /// How many entries to ask for at a time; 0 or less asks for all at once.
    max_page_size: Option<i64>,
    /// The password policy of rotate-root.
    password_policy: Option<String>,
    #[field(flatten)]
    token: TokenAsk,
}

/// The configuration, without what is secret.
#[derive(Response)]
pub(super) struct Shown {
    /// The directory's addresses.
    url: String,
    /// Whether TLS is started on ldap:// connections.
    starttls: bool,
    /// Whether any certificate is taken.
    insecure_tls: bool,
    /// The authorities, PEM.
    certificate: String,
    /// The certificate shown to the directory, PEM.
    client_tls_cert: String,
    /// The lowest version of TLS.
    tls_min_version: String,
    /// The highest version of TLS.
    tls_max_version: String,
    /// The name of the account that searches.
    binddn: String,
    /// Where people are searched for.
    userdn: String,
    /// The attribute that holds a person's name.
    userattr: String,
    /// The filter that finds a person.
    userfilter: String,
    /// The domain of Active Directory.
    upndomain: String,
    /// Whether sAMAccountName finds a person too.
    enable_samaccountname_login: bool,
    /// Whether a person's entry is found anonymously.
    discoverdn: bool,
    /// Whether empty passwords are refused, which they are in any case.
    deny_null_bind: bool,
    /// Where groups are searched for.
    groupdn: String,
    /// The filter that finds groups.
    groupfilter: String,
    /// The attribute that holds a group's name.
    groupattr: String,
    /// Whether groups are searched for anonymously.
    anonymous_group_search: bool,
    /// Whether groups come from tokenGroups.
    use_token_groups: bool,
    /// Whether the alias is the name that was typed.
    username_as_alias: bool,
    /// Whether names keep their case.
    case_sensitive_names: bool,
    /// How long one question may take, in seconds.
    request_timeout: Span,
    /// How long connecting may take, in seconds.
    connection_timeout: Span,
    /// When the directory follows its aliases.
    dereference_aliases: String,
    /// How many entries are asked for at a time.
    max_page_size: i64,
    /// The password policy of rotate-root.
    password_policy: String,
    #[field(flatten)]
    token: TokenShown,
}

pub(super) async fn load(cx: &Ctx<Ldap>) -> Result<Option<Config>> {
    cx.view.get(KEY).await
}

pub(super) async fn read(cx: Ctx<Ldap>, _: NoInput) -> Result<Reply<Shown>> {
    Ok(Reply::data(load(&cx).await?.unwrap_or_default().shown()))
}

pub(super) async fn exists(cx: Ctx<Ldap>, _: NoInput) -> Result<bool> {
    cx.view.exists(KEY).await
}

pub(super) async fn write(cx: Ctx<Ldap>, ask: Ask) -> Result<Reply<()>> {
    let mut config = load(&cx).await?.unwrap_or_default();
    let new_account = ask.bindpass.is_some();
    config.update(ask)?;
    cx.view.put(KEY, &config)?;
    if new_account {
        forget_next(&cx).await?;
    }
    let mut reply = Reply::empty();
    if !config.deny_null_bind {
        reply =
            reply.warn("An empty password is refused whatever deny_null_bind says: directories take it for an anonymous bind");
    }
    Ok(reply)
}

/// Gives the searching account a new password that nobody knows but this mount.
pub(super) async fn rotate_root(cx: Ctx<Ldap>, _: NoInput) -> Result<Reply<()>> {
    let mut config = load(&cx).await?.ok_or_else(|| Error::bad_request("attempted to rotate root on an undefined config"))?;
    if config.binddn.is_empty() || config.bindpass.is_empty() {
        return Err(Error::bad_request("auth is not using authenticated search, no root to rotate"));
    }
    let new = if config.password_policy.is_empty() {
        random_password(&cx)
    } else {
        cx.host().password(&config.password_policy).await?
    };
    let mut session = super::session::connect(&cx, &config).await?;
    session.bind_as_searcher(&config, &next_passwords(&cx).await?).await?;
    // Durable before the directory knows it: if this call ends halfway, the next bind tries both.
    let mut random = [0; 8];
    cx.fill_random(&mut random);
    let key = format!("{NEXT}{:020}-{}", cx.now().secs(), hex::encode(random));
    let next = Zeroizing::new(new.expose().as_bytes().to_vec());
    cx.host().commit_now(cx.view.whole_key(&key), Some(next)).await?;
    session.replace_password(&config.binddn, &new).await?;
    forget_next(&cx).await?;
    cx.view.delete(&key);
    config.bindpass = Zeroizing::new(new.expose().clone());
    cx.view.put(KEY, &config)?;
    Ok(Reply::empty())
}

/// 64 letters and digits of 5.95 bits each.
fn random_password(cx: &Ctx<Ldap>) -> Secret<String> {
    struct OfHost<'a>(&'a Ctx<Ldap>);
    impl coffer_crypto::random::Random for OfHost<'_> {
        fn fill(&self, out: &mut [u8]) {
            self.0.fill_random(out);
        }
    }
    Secret::from(coffer_crypto::random::base62(&OfHost(cx), 64).as_str())
}

/// What rotations that never ended may have set.
pub(super) async fn next_passwords(cx: &Ctx<Ldap>) -> Result<Vec<Secret<String>>> {
    let mut all = Vec::new();
    for name in cx.view.children(NEXT, None, MAX_NEXT).await? {
        let bytes = cx.view.get_bytes(&format!("{NEXT}{name}")).await?;
        all.extend(bytes.and_then(|b| std::str::from_utf8(&b).ok().map(Secret::from)));
    }
    Ok(all)
}

async fn forget_next(cx: &Ctx<Ldap>) -> Result<()> {
    for name in cx.view.children(NEXT, None, usize::MAX).await? {
        cx.view.delete(&format!("{NEXT}{name}"));
    }
    Ok(())
}

impl Config {
    fn update(&mut self, ask: Ask) -> Result<()> {
        macro_rules! take {
            ($($field:ident),* $(,)?) => {
                $(if let Some(value) = ask.$field { self.$field = value; })*
            };
        }
        take!(
            url,
            starttls,
            insecure_tls,
            certificate,
            client_tls_cert,
            tls_min_version,
            tls_max_version,
            binddn,
            userdn,
            userattr,
            userfilter,
            upndomain,
            enable_samaccountname_login,
            discoverdn,
            deny_null_bind,
            groupdn,
            groupfilter,
            groupattr,
            anonymous_group_search,
            use_token_groups,
            username_as_alias,
            case_sensitive_names,
            request_timeout,
            connection_timeout,
            dereference_aliases,
            max_page_size,
            password_policy,
        );
        if let Some(key) = ask.client_tls_key {
            self.client_tls_key = Zeroizing::new(key.expose().clone());
        }
        if let Some(password) = ask.bindpass {
            self.bindpass = Zeroizing::new(password.expose().clone());
        }
        self.token.update(ask.token)?;
        // As directories have it in general: attributes are named without regard to case.
        self.userattr = self.userattr.to_lowercase();
        if self.userfilter.is_empty() {
            USER_FILTER.clone_into(&mut self.userfilter);
        }
        self.check()
    }

    /// Whatever a login would stumble over is refused when it is written.
    fn check(&self) -> Result<()> {
        self.servers()?;
        self.user_filter()?;
        if !self.groupfilter.is_empty() {
            self.group_filter()?;
        }
        for (field, attribute) in [("userattr", &self.userattr), ("groupattr", &self.groupattr)] {
            let good = attribute.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b';' | b'.'));
            if attribute.is_empty() || !good {
                return Err(Error::bad_request(format!("{field} is no name of an attribute")));
            }
        }
        if !self.upndomain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
            return Err(Error::bad_request("upndomain is no name of a domain"));
        }
        if self.request_timeout.secs() < 1 || self.connection_timeout.secs() < 1 {
            return Err(Error::bad_request("request_timeout and connection_timeout must be at least a second"));
        }
        if self.client_tls_cert.is_empty() != self.client_tls_key.is_empty() {
            return Err(Error::bad_request("client_tls_cert and client_tls_key go together"));
        }
        self.aliases().map(|_| ())
    }

    /// Whether an account of the mount's own, or nobody, may look people up: else only they can, with their password.
    pub(super) fn looks_people_up(&self) -> bool {
        self.discoverdn || self.has_searcher()
    }

    pub(super) fn has_searcher(&self) -> bool {
        !self.binddn.is_empty() && !self.bindpass.is_empty()
    }

    pub(super) fn user_filter(&self) -> Result<Template> {
        let attribute = if self.upndomain.is_empty() { self.userattr.as_str() } else { "userPrincipalName" };
        Template::parse("userfilter", &self.userfilter, attribute, &[".Username"])
    }

    pub(super) fn group_filter(&self) -> Result<Template> {
        Template::parse("groupfilter", &self.groupfilter, &self.userattr, &[".Username", ".UserDN"])
    }

    pub(super) fn aliases(&self) -> Result<Aliases> {
        Ok(match self.dereference_aliases.as_str() {
            "never" | "" => Aliases::Never,
            "finding" => Aliases::Finding,
            "searching" => Aliases::Searching,
            "always" => Aliases::Always,
            _ => return Err(Error::bad_request("dereference_aliases must be one of 'never', 'finding', 'searching', 'always'")),
        })
    }

    /// The directories, in the order in which they are tried.
    pub(super) fn servers(&self) -> Result<Vec<DirectoryServer>> {
        let servers: Vec<_> = self.url.split(',').map(|url| self.server(url.trim())).collect::<Result<_>>()?;
        Ok(servers)
    }

    fn server(&self, url: &str) -> Result<DirectoryServer> {
        let bad = || Error::bad_request("url: each must be like ldap://host, ldap://host:port or ldaps://host");
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let (security, usual) = match scheme.to_ascii_lowercase().as_str() {
            "ldap" if self.starttls => (DirectorySecurity::StartTls, 389),
            "ldap" => (DirectorySecurity::Plain, 389),
            "ldaps" => (DirectorySecurity::Tls, 636),
            _ => return Err(bad()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (rest, usual),
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.bytes().any(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'_'))) {
            return Err(bad());
        }
        Ok(DirectoryServer {
            host: host.to_owned(),
            port,
            security,
            tls: self.tls()?,
            connect_timeout: self.connection_timeout.duration(),
            request_timeout: self.request_timeout.duration(),
        })
    }

    fn tls(&self) -> Result<TlsClient> {
        let version = |field: &str, text: &str| match text {
            "tls12" | "" => Ok(12),
            "tls13" => Ok(13),
            // Broken versions are not spoken: the lowest that is asked for is the lowest that there is.
            "tls10" | "tls11" if field == "tls_min_version" => Ok(12),
            _ => Err(Error::bad_request(format!("invalid '{field}': must be tls12 or tls13"))),
        };
        let (min, max) = (version("tls_min_version", &self.tls_min_version)?, version("tls_max_version", &self.tls_max_version)?);
        if min > max {
            return Err(Error::bad_request("'tls_max_version' must be greater than or equal to 'tls_min_version'"));
        }
        Ok(TlsClient {
            roots: if self.certificate.is_empty() { Roots::System } else { Roots::Pem(self.certificate.clone()) },
            identity: (!self.client_tls_cert.is_empty())
                .then(|| (self.client_tls_cert.clone(), Secret::from(self.client_tls_key.as_str()))),
            server_name: None,
            skip_verify: self.insecure_tls,
            only_tls13: min == 13,
            only_tls12: max == 12,
        })
    }

    fn shown(self) -> Shown {
        let token = self.token.shown();
        macro_rules! shown {
            ($($field:ident),* $(,)?) => { Shown { $($field: self.$field,)* token } };
        }
        shown!(
            url,
            starttls,
            insecure_tls,
            certificate,
            client_tls_cert,
            tls_min_version,
            tls_max_version,
            binddn,
            userdn,
            userattr,
            userfilter,
            upndomain,
            enable_samaccountname_login,
            discoverdn,
            deny_null_bind,
            groupdn,
            groupfilter,
            groupattr,
            anonymous_group_search,
            use_token_groups,
            username_as_alias,
            case_sensitive_names,
            request_timeout,
            connection_timeout,
            dereference_aliases,
            max_page_size,
            password_policy,
        )
    }
}
