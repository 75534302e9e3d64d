//! What is asked of the API server.
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>

use super::account::Account;
use coffer_engine::outside::{Fault, FaultKind, Http, HttpRequest, Method, TlsClient};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object, Secret};
use std::time::Duration;
use zeroize::Zeroizing;

const DOCUMENT: Limits = Limits { depth: 32, string: 128 * 1024, strings: 20_000, members: 2000, items: 5000 };

/// An API server, and who asks it.
pub(super) struct Cluster<'a> {
    pub(super) http: &'a dyn Http,
    pub(super) address: String,
    pub(super) bearer: Secret<String>,
    /// Made anew for each request.
    pub(super) tls: &'a (dyn Fn() -> TlsClient + Send + Sync),
}

impl Cluster<'_> {
    /// Whether the cluster says that the token is this account's, for one of these audiences.
    ///
    /// # Errors
    /// Why not; says nothing of the token.
    pub(super) async fn review(&self, token: &str, account: &Account, audiences: &[&str]) -> Result<(), Fault> {
        let no = |why: &'static str| Err(Fault::new(FaultKind::Refused, why));
        let mut spec = Object::new().with("token", token);
        if !audiences.is_empty() {
            spec.insert("audiences", audiences.to_vec());
        }
        let body = Object::new()
            .with("kind", "TokenReview")
            .with("apiVersion", "authentication.k8s.io/v1")
            .with("spec", Json::Object(spec));
        let body = Json::Object(body).to_bytes();
        let request =
            self.request(Method::Post, "/apis/authentication.k8s.io/v1/tokenreviews").body("application/json", body.to_vec());
        let review = self.ask(request, &[200, 201]).await?;
        // A server that does not know the kind would answer something else.
        if review.get("kind").and_then(Json::as_str) != Some("TokenReview") {
            return no("the API server's answer is no TokenReview");
        }
        let Some(status) = review.get("status").and_then(Json::as_object) else { return no("the TokenReview has no status") };
        let text = |name: &str| status.get(name).and_then(Json::as_str).unwrap_or_default();
        if status.get("authenticated").and_then(Json::as_bool) != Some(true) || !text("error").is_empty() {
            return no("the API server does not know the token, or no longer");
        }
        let user = |name: &str| status.get("user").and_then(|user| user.get(name)).and_then(Json::as_str);
        if user("username") != Some(account.user().as_str()) {
            return no("the API server says that the token is someone else's");
        }
        if user("uid") != Some(account.uid.as_str()) {
            return no("the API server says that the account has another uid");
        }
        let granted = status.get("audiences").and_then(Json::as_array).unwrap_or_default();
        if !audiences.is_empty() && !granted.iter().any(|g| g.as_str().is_some_and(|g| audiences.contains(&g))) {
            return no("the API server does not say that the token is for the asked audience");
        }
        Ok(())
    }

    /// The labels of a namespace, whose name is one.
    ///
    /// # Errors
    /// It is not there, or whoever asks may not know.
    pub(super) async fn labels(&self, namespace: &str) -> Result<Object, Fault> {
        let request = self.request(Method::Get, &format!("/api/v1/namespaces/{namespace}"));
        let found = self.ask(request, &[200]).await?;
        let metadata = found.get("metadata");
        if metadata.and_then(|m| m.get("name")).and_then(Json::as_str) != Some(namespace) {
            return Err(Fault::new(FaultKind::Protocol, "the API server's answer is about something else"));
        }
        Ok(metadata.and_then(|m| m.get("labels")).and_then(Json::as_object).cloned().unwrap_or_default())
    }

    fn request(&self, method: Method, path: &str) -> HttpRequest {
        let bearer = Zeroizing::new(format!("Bearer {}", self.bearer.expose()));
        let mut request = HttpRequest::new(method, format!("{}{path}", self.address))
            .header("authorization", bearer.as_str())
            .header("accept", "application/json")
            .tls((self.tls)());
        request.timeout = Duration::from_secs(10);
        request.limit = 1 << 20;
        request
    }

    /// No redirect is followed: it would take the bearer's token along.
    async fn ask(&self, request: HttpRequest, wanted: &[u16]) -> Result<Object, Fault> {
        let reply = self.http.send(request).await?;
        if !wanted.contains(&reply.status) {
            let kind = if matches!(reply.status, 401 | 403) { FaultKind::Credentials } else { FaultKind::Refused };
            return Err(Fault::new(kind, format!("the API server answered with status {}", reply.status)));
        }
        let answer = parse(&reply.body, &DOCUMENT).ok().and_then(Json::into_object);
        answer.ok_or_else(|| Fault::new(FaultKind::Protocol, "the API server's answer is no JSON object"))
    }
}
