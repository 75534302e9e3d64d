//! IAM: users with keys, policies and memberships; made in the order in which they depend on one another, taken away in the other.

use super::Aws;
use super::config::Root;
use super::roles::Role;
use super::wire::{Params, Refused, Service, call};
use coffer_engine::Ctx;
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Kind, Result, Secret};

/// Pages of one list; each is at most 100 long.
const PAGES: usize = 50;
const USER: &str = "UserName";
const GROUP: &str = "GroupName";

/// What a policy may cost.
pub(super) const POLICY: Limits = Limits { depth: 32, string: 1 << 16, strings: 1 << 16, members: 4096, items: 1 << 16 };

/// Makes the user; where this fails certainly nothing was made if the refusal is [certain](Refused::is_certain).
pub(super) async fn create_user(cx: &Ctx<Aws>, root: &Root, role: &Role, user: &str) -> Result<(), Refused> {
    let mut params =
        named(user).with_some("Path", &role.user_path).with_some("PermissionsBoundary", &role.permissions_boundary_arn);
    for (n, (key, value)) in (1..).zip(&role.iam_tags) {
        params =
            params.with(&format!("Tags.member.{n}.Key"), key.as_str()).with(&format!("Tags.member.{n}.Value"), value.as_str());
    }
    call(cx, root, Service::Iam, "CreateUser", params, |_| Ok(())).await
}

/// Gives the user what its role says, and last a key: its id and secret.
pub(super) async fn equip(
    cx: &Ctx<Aws>,
    root: &Root,
    role: &Role,
    user: &str,
    policy_name: &str,
) -> Result<(String, Secret<String>), Refused> {
    for group in &role.iam_groups {
        act(cx, root, "AddUserToGroup", named(user).with("GroupName", group.as_str())).await?;
    }
    for arn in &role.policy_arns {
        act(cx, root, "AttachUserPolicy", named(user).with("PolicyArn", arn.as_str())).await?;
    }
    if !role.policy_document.is_empty() {
        let params = named(user).with("PolicyName", policy_name).with("PolicyDocument", role.policy_document.as_str());
        act(cx, root, "PutUserPolicy", params).await?;
    }
    create_access_key(cx, root, user).await
}

pub(super) async fn create_access_key(cx: &Ctx<Aws>, root: &Root, user: &str) -> Result<(String, Secret<String>), Refused> {
    call(cx, root, Service::Iam, "CreateAccessKey", named(user), |r| {
        let key = r.one("AccessKey")?;
        Ok((key.text("AccessKeyId")?.to_owned(), Secret::from(key.text("SecretAccessKey")?)))
    })
    .await
}

/// Takes the user away with all that hangs on it, keys first: from then on nobody can use it. May be repeated; also if there is none.
pub(super) async fn remove_user(cx: &Ctx<Aws>, root: &Root, user: &str) -> Result<()> {
    let keys = match access_keys(cx, root, user).await {
        Ok(keys) => keys,
        Err(refused) if refused.is("NoSuchEntity") => return Ok(()),
        Err(refused) => return Err(refused.into()),
    };
    for key in keys {
        delete_access_key(cx, root, user, &key).await?;
    }
    for arn in list(cx, root, "ListAttachedUserPolicies", (USER, user), "AttachedPolicies", Some("PolicyArn")).await? {
        gone(act(cx, root, "DetachUserPolicy", named(user).with("PolicyArn", arn)).await)?;
    }
    for name in list(cx, root, "ListUserPolicies", (USER, user), "PolicyNames", None).await? {
        gone(act(cx, root, "DeleteUserPolicy", named(user).with("PolicyName", name)).await)?;
    }
    for group in list(cx, root, "ListGroupsForUser", (USER, user), "Groups", Some("GroupName")).await? {
        gone(act(cx, root, "RemoveUserFromGroup", named(user).with("GroupName", group)).await)?;
    }
    Ok(gone(act(cx, root, "DeleteUser", named(user)).await)?)
}

pub(super) async fn access_keys(cx: &Ctx<Aws>, root: &Root, user: &str) -> Result<Vec<String>, Refused> {
    list(cx, root, "ListAccessKeys", (USER, user), "AccessKeyMetadata", Some("AccessKeyId")).await
}

/// Also if there is no such key.
pub(super) async fn delete_access_key(cx: &Ctx<Aws>, root: &Root, user: &str, key: &str) -> Result<(), Refused> {
    gone(act(cx, root, "DeleteAccessKey", named(user).with("AccessKeyId", key)).await)
}

/// A whole list: the texts of its members, or of one element in each. `of` names whose list it is.
async fn list(
    cx: &Ctx<Aws>,
    root: &Root,
    action: &'static str,
    of: (&str, &str),
    list: &str,
    element: Option<&str>,
) -> Result<Vec<String>, Refused> {
    let mut all = Vec::new();
    let mut marker = String::new();
    for _ in 0..PAGES {
        let params = Params::new().with(of.0, of.1).with_some("Marker", &marker);
        let (page, next) = call(cx, root, Service::Iam, action, params, |r| {
            let mut page = Vec::new();
            for member in r.members(list)? {
                page.push(match element {
                    Some(name) => member.text(name)?.to_owned(),
                    None => member.own_text()?.to_owned(),
                });
            }
            let truncated = r.optional("IsTruncated")?.map(|t| t.own_text()).transpose()? == Some("true");
            Ok((page, if truncated { Some(r.text("Marker")?.to_owned()) } else { None }))
        })
        .await?;
        all.extend(page);
        match next {
            Some(next) => marker = next,
            None => return Ok(all),
        }
    }
    Err(Error::new(Kind::Upstream, format!("AWS answers {action} with more pages than there can be")).into())
}

/// What the members of these groups may: the managed policies and the groups' own, as documents.
pub(super) async fn group_policies(cx: &Ctx<Aws>, root: &Root, groups: &[String]) -> Result<(Vec<String>, Vec<Json>), Refused> {
    let (mut arns, mut documents) = (Vec::new(), Vec::new());
    for group in groups {
        arns.extend(list(cx, root, "ListAttachedGroupPolicies", (GROUP, group), "AttachedPolicies", Some("PolicyArn")).await?);
        for name in list(cx, root, "ListGroupPolicies", (GROUP, group), "PolicyNames", None).await? {
            let params = Params::new().with(GROUP, group.as_str()).with("PolicyName", name);
            let document = call(cx, root, Service::Iam, "GetGroupPolicy", params, |r| {
                let text = unescape(r.text("PolicyDocument")?);
                let document = text.and_then(|text| parse(&text, &POLICY).ok());
                document.ok_or_else(|| Error::new(Kind::Upstream, "AWS answered GetGroupPolicy with what is no policy"))
            })
            .await?;
            documents.push(document);
        }
    }
    Ok((arns, documents))
}

/// `%XX` becomes its byte: documents come escaped (RFC 3986).
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    out.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(out)
}

fn named(user: &str) -> Params {
    Params::new().with(USER, user)
}

async fn act(cx: &Ctx<Aws>, root: &Root, action: &'static str, params: Params) -> Result<(), Refused> {
    call(cx, root, Service::Iam, action, params, |_| Ok(())).await
}

/// What is not there any more needs no taking away.
fn gone(done: Result<(), Refused>) -> Result<(), Refused> {
    match done {
        Err(refused) if refused.is("NoSuchEntity") => Ok(()),
        done => done,
    }
}
