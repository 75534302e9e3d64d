//! Replies of the query protocol, read strictly: no document type, hence no entities; every element that is asked for is there once.

use coffer_types::{Error, Kind, Result};
use roxmltree::{Document, Node, ParsingOptions};

/// Elements, texts and attributes of one reply.
const NODES: u32 = 50_000;

/// Reads a reply of this action: what stands in `<ActionResponse><ActionResult>`, or in the response where an action has no result.
///
/// # Errors
/// Upstream: not what AWS says to this action. The text itself is in no error.
pub(super) fn result<T>(action: &str, body: &[u8], read: impl FnOnce(Element<'_, '_>) -> Result<T>) -> Result<T> {
    let document = document(body).ok_or_else(|| malformed(action))?;
    let root = document.root_element();
    if root.tag_name().name() != format!("{action}Response") {
        return Err(malformed(action));
    }
    let inner = format!("{action}Result");
    let response = Element { node: root, action };
    match response.optional(&inner)? {
        Some(result) => read(result),
        None => read(response),
    }
}

/// The code of an error document.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    let document = document(body)?;
    let root = document.root_element();
    if root.tag_name().name() != "ErrorResponse" {
        return None;
    }
    let error = Element { node: root, action: "" }.optional("Error").ok()??;
    let code = error.text("Code").ok()?;
    crate::remote::word(code).map(str::to_owned)
}

#[derive(Clone, Copy)]
pub(super) struct Element<'d, 'a> {
    node: Node<'d, 'd>,
    action: &'a str,
}

impl<'d, 'a> Element<'d, 'a> {
    /// The one child of this name.
    pub(super) fn one(self, name: &str) -> Result<Self> {
        self.optional(name)?.ok_or_else(|| malformed(self.action))
    }

    pub(super) fn optional(self, name: &str) -> Result<Option<Self>> {
        let mut found = self.node.children().filter(|c| c.is_element() && c.tag_name().name() == name);
        let first = found.next().map(|node| Self { node, action: self.action });
        if found.next().is_some() { Err(malformed(self.action)) } else { Ok(first) }
    }

    /// The text of the one child of this name; never empty.
    pub(super) fn text(self, name: &str) -> Result<&'d str> {
        self.one(name)?.own_text()
    }

    /// The text of this element, which has nothing else in it.
    pub(super) fn own_text(self) -> Result<&'d str> {
        let mut children = self.node.children();
        let text = match (children.next(), children.next()) {
            (Some(only), None) if only.is_text() => only.text().map(str::trim).filter(|t| !t.is_empty()),
            _ => None,
        };
        text.ok_or_else(|| malformed(self.action))
    }

    /// The members of the list of this name; a list that is not there has none.
    pub(super) fn members(self, list: &str) -> Result<Vec<Self>> {
        let Some(list) = self.optional(list)? else { return Ok(Vec::new()) };
        let members = list.node.children().filter(|c| c.is_element() && c.tag_name().name() == "member");
        Ok(members.map(|node| Self { node, action: self.action }).collect())
    }
}

fn document(body: &[u8]) -> Option<Document<'_>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
    Document::parse_with_options(std::str::from_utf8(body).ok()?, options).ok()
}

fn malformed(action: &str) -> Error {
    Error::new(Kind::Upstream, format!("AWS answered {action} with what is no reply to it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(body: &str) -> Result<String> {
        result("GetUser", body.as_bytes(), |r| Ok(r.one("User")?.text("UserName")?.to_owned()))
    }

    #[test]
    fn reads_what_aws_says() {
        let body = r#"<?xml version="1.0"?><GetUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetUserResult><User><UserName>a&amp;b</UserName></User></GetUserResult><ResponseMetadata/></GetUserResponse>"#;
        assert_eq!(name(body).unwrap(), "a&b");
        let body = "<LResponse><LResult><Names><member>a</member><member>b</member></Names></LResult></LResponse>";
        let members = result("L", body.as_bytes(), |r| {
            r.members("Names")?.into_iter().map(|m| m.own_text().map(str::to_owned)).collect::<Result<Vec<_>>>()
        });
        assert_eq!(members.unwrap(), ["a", "b"]);
        assert_eq!(
            error_code(
                b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>"
            )
            .as_deref(),
            Some("AccessDenied")
        );
    }

    #[test]
    fn refuses_the_rest() {
        for body in [
            "",
            "canary",
            "<html>",
            "<GetUserResponse/>",
            "<OtherResponse><GetUserResult><User><UserName>a</UserName></User></GetUserResult></OtherResponse>",
            "<GetUserResponse><GetUserResult><User><UserName></UserName></User></GetUserResult></GetUserResponse>",
            "<GetUserResponse><GetUserResult><User><UserName>a</UserName><UserName>b</UserName></User></GetUserResult></GetUserResponse>",
            "<GetUserResponse><GetUserResult><User><UserName>a<!-- -->b</UserName></User></GetUserResult></GetUserResponse>",
            "<GetUserResponse><GetUserResult><User><UserName><x/></UserName></User></GetUserResult></GetUserResponse>",
            "<GetUserResponse><GetUserResult/><GetUserResult><User><UserName>a</UserName></User></GetUserResult></GetUserResponse>",
            "<!DOCTYPE x [<!ENTITY e \"canary\">]><GetUserResponse><GetUserResult><User><UserName>&e;</UserName></User></GetUserResult></GetUserResponse>",
            "<GetUserResponse><GetUserResult><User><UserName>&e;</UserName></User></GetUserResult></GetUserResponse>",
            "<GetUserResponse><GetUserResult><User><UserName>a</UserName></User></GetUserResult></GetUserResponse><more/>",
        ] {
            let error = name(body).unwrap_err();
            assert!(error.kind() == Kind::Upstream && !error.public().contains("canary"), "{body}");
        }
        assert!(result("GetUser", b"\xff<a/>", |_| Ok(())).is_err());
        for body in ["", "<a/>", "<ErrorResponse/>", "<ErrorResponse><Error><Code>a b <x/></Code></Error></ErrorResponse>"] {
            assert_eq!(error_code(body.as_bytes()), None, "{body}");
        }
    }
}
