//! The Kubernetes API in JSON: namespaces, tokens, accounts, roles, bindings.

use super::Kubernetes;
use super::config::Cluster;
use crate::remote::{self, ask, escape};
use coffer_engine::Ctx;
use coffer_engine::outside::{HttpReply, HttpRequest, Method};
use coffer_types::{Error, Json, Kind, Object, Result, Secret, Timestamp};
use serde::{Deserialize, Serialize};

const RBAC: &str = "apis/rbac.authorization.k8s.io/v1";

/// The longest reply.
const LIMIT: usize = 1 << 20;

/// Something that is made for a lease. The wire's word for a kind stands in the path; stored in notes and leases.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Made {
    ServiceAccount,
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
}

/// Why something was not made.
pub(super) struct NotMade {
    pub(super) error: Error,
    /// Whether it is certain that it was not.
    pub(super) is_certain: bool,
}

impl Made {
    const fn word(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service account",
            Self::Role => "role",
            Self::ClusterRole => "cluster role",
            Self::RoleBinding => "role binding",
            Self::ClusterRoleBinding => "cluster role binding",
        }
    }

    fn path(self, namespace: &str) -> String {
        let namespace = escape(namespace);
        match self {
            Self::ServiceAccount => format!("api/v1/namespaces/{namespace}/serviceaccounts"),
            Self::Role => format!("{RBAC}/namespaces/{namespace}/roles"),
            Self::ClusterRole => format!("{RBAC}/clusterroles"),
            Self::RoleBinding => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
            Self::ClusterRoleBinding => format!("{RBAC}/clusterrolebindings"),
        }
    }

    const fn kind(self) -> (&'static str, &'static str) {
        const GROUP: &str = "rbac.authorization.k8s.io/v1";
        match self {
            Self::ServiceAccount => ("v1", "ServiceAccount"),
            Self::Role => (GROUP, "Role"),
            Self::ClusterRole => (GROUP, "ClusterRole"),
            Self::RoleBinding => (GROUP, "RoleBinding"),
            Self::ClusterRoleBinding => (GROUP, "ClusterRoleBinding"),
        }
    }
}

/// Makes one thing; `body` has what stands beside its kind.
pub(super) async fn create(
    cx: &Ctx<Kubernetes>,
    cluster: &Cluster,
    namespace: &str,
    made: Made,
    body: Object,
) -> Result<(), NotMade> {
    let (version, kind) = made.kind();
    let mut whole = Object::new().with("apiVersion", version).with("kind", kind);
    for (name, value) in body {
        whole.insert(name, value);
    }
    let request = post(cluster, &made.path(namespace), whole);
    let reply = ask(cx, request).await.map_err(|fault| NotMade { error: fault.into(), is_certain: false })?;
    if reply.is_success() {
        return Ok(());
    }
    let error = refused(&format!("make the {}", made.word()), &reply);
    Err(NotMade { error, is_certain: (400..500).contains(&reply.status) })
}

/// Takes one thing away; also if it is not there.
pub(super) async fn remove(cx: &Ctx<Kubernetes>, cluster: &Cluster, namespace: &str, made: Made, name: &str) -> Result<()> {
    let request = request(cluster, Method::Delete, &format!("{}/{}", made.path(namespace), escape(name)));
    let reply = ask(cx, request).await?;
    // A 404 that is not the API server's own could come from anything at that address.
    let is_gone = reply.status == 404 && reason(&reply).as_deref() == Some("NotFound");
    if reply.is_success() || is_gone { Ok(()) } else { Err(refused(&format!("remove the {}", made.word()), &reply)) }
}

/// A token of a service account, and its end.
pub(super) async fn token(
    cx: &Ctx<Kubernetes>,
    cluster: &Cluster,
    namespace: &str,
    account: &str,
    audiences: &[String],
    seconds: i64,
) -> Result<(Secret<String>, Timestamp)> {
    let mut spec = Object::new().with("expirationSeconds", seconds);
    if !audiences.is_empty() {
        spec.insert("audiences", audiences.to_vec());
    }
    let body = Object::new()
        .with("apiVersion", "authentication.k8s.io/v1")
        .with("kind", "TokenRequest")
        .with("spec", Json::Object(spec));
    let path = format!("{}/{}/token", Made::ServiceAccount.path(namespace), escape(account));
    let reply = ask(cx, post(cluster, &path, body)).await?;
    if !reply.is_success() {
        return Err(refused(&format!("give a token of {namespace}/{account}"), &reply));
    }
    let answer = remote::document("Kubernetes", &reply)?;
    let token =
        answer.at("status/token").and_then(Json::as_str).filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic()));
    let end = answer.at("status/expirationTimestamp").and_then(Json::as_str).and_then(Timestamp::parse_rfc3339);
    match (token, end) {
        (Some(token), Some(end)) if end > cx.now() => Ok((Secret::from(token), end)),
        _ => Err(Error::new(Kind::Upstream, "Kubernetes answered with what is no token that lives")),
    }
}

/// The labels of a namespace.
pub(super) async fn labels(cx: &Ctx<Kubernetes>, cluster: &Cluster, namespace: &str) -> Result<Object> {
    let reply = ask(cx, request(cluster, Method::Get, &format!("api/v1/namespaces/{}", escape(namespace)))).await?;
    if !reply.is_success() {
        return Err(refused("show the namespace", &reply));
    }
    let answer = remote::document("Kubernetes", &reply)?;
    if answer.at("metadata/name").and_then(Json::as_str) != Some(namespace) {
        return Err(Error::new(Kind::Upstream, "Kubernetes answered with what is not the namespace that was asked for"));
    }
    Ok(answer.at("metadata/labels").and_then(Json::as_object).cloned().unwrap_or_default())
}

fn post(cluster: &Cluster, path: &str, body: Object) -> HttpRequest {
    request(cluster, Method::Post, path).body("application/json", Json::Object(body).to_bytes())
}

fn request(cluster: &Cluster, method: Method, path: &str) -> HttpRequest {
    let mut request = HttpRequest::new(method, format!("{}/{path}", cluster.host))
        .header("authorization", format!("Bearer {}", *cluster.token))
        .header("accept", "application/json")
        .tls(cluster.tls());
    request.limit = LIMIT;
    request
}

/// The reason of a `Status`: one word.
fn reason(reply: &HttpReply) -> Option<String> {
    let status = remote::document("Kubernetes", reply).ok()?;
    if status.get("kind").and_then(Json::as_str) != Some("Status") {
        return None;
    }
    status.get("reason").and_then(Json::as_str).and_then(remote::word).map(str::to_owned)
}

fn refused(what: &str, reply: &HttpReply) -> Error {
    let reason = reason(reply).map(|r| format!("{r}, ")).unwrap_or_default();
    let why = match reply.status {
        401 => ": it does not know the token",
        300..=399 => ": it points elsewhere, and no redirect is followed",
        _ => "",
    };
    Error::new(Kind::Upstream, format!("Kubernetes refused to {what} ({reason}status {}){why}", reply.status))
}
