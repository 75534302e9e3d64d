//! The few pages that people see in direct mode. No script, no style, no frame: whatever slipped into one could do nothing.

use coffer_engine::Reply;
use std::fmt::Write as _;

const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Asks the person whether they began it: the token goes to whoever did.
pub(super) fn confirm(mount: &str, role: &str, from: &str, state: &str, word: &str) -> Reply {
    let (mount, role, from) = (escape(mount), escape(role), escape(from));
    let (state, word) = (escape(state), escape(word));
    page(
        200,
        "Confirm the login",
        &format!(
            "<p>Someone at <b>{from}</b> asks to be logged in to <b>{mount}</b> in the role <b>{role}</b>, as you.</p>\
             <p>Go on only if it was you who began this login, just now. If someone sent you here, close this window.</p>\
             <form method=\"post\" action=\"callback\">\
             <input type=\"hidden\" name=\"state\" value=\"{state}\">\
             <input type=\"hidden\" name=\"confirmation\" value=\"{word}\">\
             <button type=\"submit\">It was me: log me in</button></form>"
        ),
    )
}

pub(super) fn done() -> Reply {
    page(200, "Logged in", "<p>You can close this window and go back to where you began.</p>")
}

pub(super) fn received() -> Reply {
    page(200, "Received", "<p>You can close this window; the program that began the login goes on by itself.</p>")
}

/// What the provider said stands there as text, whatever it is.
pub(super) fn failed(why: &str, description: &str) -> Reply {
    let shown: String = description.chars().take(500).collect();
    page(400, "The login failed", &format!("<p>{}</p><p>{}</p>", escape(why), escape(&shown)))
}

fn page(status: u16, title: &str, body: &str) -> Reply {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><h1>{title}</h1>{body}</body></html>\n"
    );
    Reply::raw("text/html; charset=utf-8", html.into_bytes())
        .status(status)
        .header("content-security-policy", POLICY)
        .header("x-content-type-options", "nosniff")
        .header("x-frame-options", "DENY")
        // The address holds the provider's code.
        .header("referrer-policy", "no-referrer")
}

/// Text between tags or inside a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' | '`' | '=' => write!(out, "&#{};", u32::from(c)).unwrap_or_default(),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        let hostile = "\"><script>alert(1)</script><img src=x onerror='a'>\r\n`x`";
        let answer = failed(hostile, hostile).into_answer();
        let html = String::from_utf8(answer.raw.unwrap().body).unwrap();
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("onerror='"), "{html}");
        assert_eq!(answer.status, Some(400));
        let answer = confirm("auth/oidc/", "r", "10.0.0.1", hostile, hostile).into_answer();
        let html = String::from_utf8(answer.raw.unwrap().body).unwrap();
        assert!(!html.contains("<script") && html.matches("<input").count() == 2, "{html}");
        let header = |name: &str| answer.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(header("content-security-policy"), Some(POLICY));
        assert_eq!((header("x-frame-options"), header("referrer-policy")), (Some("DENY"), Some("no-referrer")));
    }
}
