//! Tokens: of accounts that are there, and of accounts made for the lease.

use super::config::{self, Cluster};
use super::roles::{self, FIELDS, Role};
use super::selector::Selector;
use super::wire::{self, Made};
use super::{Kubernetes, rules};
use crate::username::{HostRandom, Source, Template};
use coffer_engine::{Ctx, Intent, LeaseKind, Record, Reply, Request, Response, Terms};
use coffer_types::{Error, Json, Name, Object, Result, Secret, Span};
use serde::{Deserialize, Serialize};

const DEFAULT_TEMPLATE: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (unix_time) (random 24) | truncate 62 | lowercase }}"#;

/// Generate a token of a role.
#[derive(Request)]
pub(super) struct Ask {
    /// Name of the role.
    #[field(path)]
    name: Name,
    /// The namespace; may be left out where the role has exactly one.
    #[field(default)]
    kubernetes_namespace: String,
    /// Bind the role in the whole cluster, not in the namespace; for roles of type ClusterRole.
    #[field(default)]
    cluster_role_binding: bool,
    /// How long the token is to live.
    ttl: Option<Span>,
    /// Whom the token is for.
    audiences: Option<Vec<String>>,
}

/// A token of a service account.
#[derive(Response)]
pub(super) struct Given {
    /// The service account.
    service_account_name: String,
    /// Its namespace.
    service_account_namespace: String,
    /// The token.
    service_account_token: Secret<String>,
}

/// What was made for a lease, all of one name; nothing for an account that was there before. It is taken away in this order, the
/// account first: with it its tokens end.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct Account {
    namespace: String,
    name: String,
    made: Vec<Made>,
}

impl Record for Account {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Account {
    const NAME: &'static str = "account";
}

/// The note of what is about to be made.
#[derive(Serialize, Deserialize)]
pub(super) struct Making(Account);

impl Record for Making {
    const FORMAT: u8 = 1;
}

impl Intent for Making {
    const NAME: &'static str = "account";
}

pub(super) async fn generate(cx: Ctx<Kubernetes>, q: Ask) -> Result<Reply<Given>> {
    let role = roles::find(&cx, &q.name).await?.ok_or_else(|| Error::bad_request(format!("role '{}' does not exist", q.name)))?;
    if q.cluster_role_binding && !role.is_cluster_role {
        return Err(Error::bad_request("a ClusterRoleBinding cannot ref a Role"));
    }
    if q.ttl.is_some_and(Span::is_negative) {
        return Err(Error::bad_request("ttl must not be negative"));
    }
    let cluster = config::cluster(&cx).await?;
    let namespace = namespace(&cx, &cluster, &role, &q.kubernetes_namespace).await?;
    let (ttl, wanted) = lifetime(&cx, &role, q.ttl);
    let audiences = q.audiences.or_else(|| role.token_default_audiences.clone()).unwrap_or_default();
    let (account, noted) = if role.service_account_name.is_empty() {
        let account =
            Account { name: made_name(&cx, &role, q.name.as_str())?, namespace, made: role.made(q.cluster_role_binding) };
        let noted = cx.intend(&Making(account.clone())).await?;
        (account, Some(noted))
    } else {
        (Account { name: role.service_account_name.clone(), namespace, made: Vec::new() }, None)
    };
    let given = async {
        make(&cx, &cluster, &role, &account).await?;
        wire::token(&cx, &cluster, &account.namespace, &account.name, &audiences, ttl.secs())
            .await
            .map_err(|e| (account.made.clone(), e))
    };
    let (token, end) = match given.await {
        Ok(given) => given,
        Err((made, error)) => {
            // At once where that works; else the note does it later.
            if let Some(noted) = noted
                && take_away(&cx, &cluster, &Account { made, ..account }).await.is_ok()
            {
                cx.undone(noted).await?;
            }
            return Err(error);
        }
    };
    if let Some(noted) = noted {
        cx.done(noted);
    }
    let left = Span::from_secs(end.secs() - cx.now().secs());
    let data = Given {
        service_account_name: account.name.clone(),
        service_account_namespace: account.namespace.clone(),
        service_account_token: token,
    };
    let reply = Reply::leased(data, &account, Terms { ttl: left, max_ttl: left, renewable: false })?;
    Ok(if ttl < wanted { reply.warn(format!("the TTL of {wanted} is over the maximum; it is capped to {ttl}")) } else { reply })
}

/// The namespace that is asked for, if the role allows it.
async fn namespace(cx: &Ctx<Kubernetes>, cluster: &Cluster, role: &Role, asked: &str) -> Result<String> {
    let asked = match (asked, role.namespaces.as_slice()) {
        ("", [only]) if only != "*" && role.namespace_selector.is_empty() => only,
        ("", _) => {
            return Err(Error::bad_request(
                "'kubernetes_namespace' is required unless the role has a single namespace specified",
            ));
        }
        (asked, _) => asked,
    };
    if !roles::is_label(asked) {
        return Err(Error::bad_request("kubernetes_namespace is no name of a namespace"));
    }
    let mut allowed = role.namespaces.iter().any(|n| n == "*" || n == asked);
    if !allowed && let Some(selector) = Some(&role.namespace_selector).filter(|s| !s.is_empty()).and_then(|s| Selector::parse(s))
    {
        allowed = selector.selects(&wire::labels(cx, cluster, asked).await?);
    }
    if allowed {
        return Ok(asked.to_owned());
    }
    Err(Error::bad_request(format!(
        "kubernetes_namespace '{asked}' is not present in role's allowed_kubernetes_namespaces or does not match role's label selector allowed_kubernetes_namespace_selector"
    )))
}

/// How long the token is to live, and how long it was wanted to.
fn lifetime(cx: &Ctx<Kubernetes>, role: &Role, asked: Option<Span>) -> (Span, Span) {
    let mount = cx.mount();
    let wanted = [asked.unwrap_or_default(), role.token_default_ttl].into_iter().find(|s| !s.is_zero());
    let max = if role.token_max_ttl.is_zero() { mount.max_lease_ttl } else { role.token_max_ttl.min(mount.max_lease_ttl) };
    // The mount's own default is nobody's wish: to cut it needs no warning.
    let wanted = wanted.unwrap_or_else(|| mount.default_lease_ttl.min(max));
    (wanted.min(max), wanted)
}

impl Role {
    /// What this role makes for a lease, in the order in which it is taken away.
    fn made(&self, in_cluster: bool) -> Vec<Made> {
        let binding = if in_cluster { Made::ClusterRoleBinding } else { Made::RoleBinding };
        let mut made = vec![Made::ServiceAccount, binding];
        if !self.generated_role_rules.is_empty() {
            made.push(if self.is_cluster_role { Made::ClusterRole } else { Made::Role });
        }
        made
    }
}

/// Makes what the account needs, in the other order: the role, its binding, the account. Where that fails, what may be there by then.
async fn make(cx: &Ctx<Kubernetes>, cluster: &Cluster, role: &Role, account: &Account) -> Result<(), (Vec<Made>, Error)> {
    let mut there = Vec::new();
    for made in account.made.iter().rev().copied() {
        let body = body(role, account, made).map_err(|e| (there.clone(), e))?;
        if let Err(not_made) = wire::create(cx, cluster, &account.namespace, made, body).await {
            // What is refused is not there, or is somebody else's.
            if !not_made.is_certain {
                there.insert(0, made);
            }
            return Err((there, not_made.error));
        }
        there.insert(0, made);
    }
    Ok(())
}

fn body(role: &Role, account: &Account, made: Made) -> Result<Object> {
    let mut labels = Object::new();
    for (name, value) in role.extra_labels.iter().flatten() {
        labels.insert(name.as_str(), value.as_str());
    }
    labels.insert("app.kubernetes.io/managed-by", "coffer");
    let mut annotations = Object::new();
    for (name, value) in role.extra_annotations.iter().flatten() {
        annotations.insert(name.as_str(), value.as_str());
    }
    let mut metadata = Object::new().with("name", account.name.as_str());
    if !matches!(made, Made::ClusterRole | Made::ClusterRoleBinding) {
        metadata.insert("namespace", account.namespace.as_str());
    }
    metadata.insert("labels", Json::Object(labels));
    metadata.insert("annotations", Json::Object(annotations));
    let body = Object::new().with("metadata", Json::Object(metadata));
    Ok(match made {
        Made::ServiceAccount => body,
        Made::Role | Made::ClusterRole => {
            let rules =
                rules::parse(&role.generated_role_rules).ok_or_else(|| Error::internal("the stored rules do not parse"))?;
            body.with("rules", rules)
        }
        Made::RoleBinding | Made::ClusterRoleBinding => {
            let bound = if role.kubernetes_role_name.is_empty() { account.name.as_str() } else { &role.kubernetes_role_name };
            let subject = Object::new()
                .with("kind", "ServiceAccount")
                .with("name", account.name.as_str())
                .with("namespace", account.namespace.as_str());
            let reference =
                Object::new().with("apiGroup", "rbac.authorization.k8s.io").with("kind", role.kind()).with("name", bound);
            body.with("roleRef", Json::Object(reference)).with("subjects", vec![Json::Object(subject)])
        }
    })
}

/// A name by the role's template, as the API takes it.
fn made_name(cx: &Ctx<Kubernetes>, role: &Role, role_name: &str) -> Result<String> {
    let text = if role.name_template.is_empty() { DEFAULT_TEMPLATE } else { &role.name_template };
    let plain = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let display = plain(cx.principal().map_or("", |p| &p.display_name));
    let source = Source { now: cx.now(), random: &HostRandom(cx) };
    let fields = [("DisplayName", display.as_str()), ("RoleName", &plain(role_name))];
    let name = Template::parse(text, FIELDS)?.render(&fields, &source)?;
    if roles::is_subdomain(&name) {
        Ok(name)
    } else {
        Err(Error::bad_request(
            "the template makes a name that Kubernetes does not take: lower-case letters, digits, '-' and '.' only",
        ))
    }
}

async fn take_away(cx: &Ctx<Kubernetes>, cluster: &Cluster, account: &Account) -> Result<()> {
    for made in account.made.iter().copied() {
        wire::remove(cx, cluster, &account.namespace, made, &account.name).await?;
    }
    Ok(())
}

pub(super) async fn revoke(cx: Ctx<Kubernetes>, lease: Account) -> Result<()> {
    // The token of an account that was there before ends by itself.
    if lease.made.is_empty() {
        return Ok(());
    }
    let cluster = config::cluster(&cx).await?;
    take_away(&cx, &cluster, &lease).await
}

pub(super) async fn roll_back(cx: Ctx<Kubernetes>, note: Making) -> Result<()> {
    let cluster = config::cluster(&cx).await?;
    take_away(&cx, &cluster, &note.0).await
}
