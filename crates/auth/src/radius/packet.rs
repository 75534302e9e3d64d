//! Packets of RADIUS (RFC 2865), as much as a login with a password needs.
//!
//! MD5 alone guards an answer, and answers that only MD5 guards have been forged (CVE-2024-3596, "Blast-RADIUS"). So a question
//! carries a Message-Authenticator (RFC 2869 section 5.14), and an answer without one that is right is no answer.

use coffer_crypto::mac::ct_eq;
use coffer_crypto::md5::{hmac_md5, md5};
use coffer_types::{Secret, secret};

const REQUEST: u8 = 1;
const ACCEPT: u8 = 2;
const REJECT: u8 = 3;
const CHALLENGE: u8 = 11;
const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const NAS_PORT: u8 = 5;
const NAS_IDENTIFIER: u8 = 32;
const MESSAGE_AUTHENTICATOR: u8 = 80;
const HEADER: usize = 20;
/// Most bytes of a packet, a password and an attribute.
const MAX_PACKET: usize = 4096;
const MAX_PASSWORD: usize = 128;
const MAX_ATTRIBUTE: usize = 253;

/// A question under way.
pub(super) struct Question {
    id: u8,
    authenticator: [u8; 16],
    shared: Secret<String>,
}

/// What the server says to a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    Rejected,
    /// It wants more than a password.
    Challenged,
}

/// What no packet can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Question {
    /// From 17 random bytes.
    pub(super) fn new(random: [u8; 17], shared: Secret<String>) -> Self {
        let [id, authenticator @ ..] = random;
        Self { id, authenticator, shared }
    }

    /// The packet that asks whether this is the user's password.
    pub(super) fn packet(
        &self,
        user: &str,
        password: &Secret<String>,
        nas_identifier: &str,
        nas_port: u32,
    ) -> Result<secret::Bytes, TooLong> {
        let password = password.expose().as_bytes();
        if user.len() > MAX_ATTRIBUTE || nas_identifier.len() > MAX_ATTRIBUTE || password.len() > MAX_PASSWORD {
            return Err(TooLong);
        }
        let mut packet = secret::Bytes::new(vec![REQUEST, self.id, 0, 0]);
        packet.extend_from_slice(&self.authenticator);
        // First of all attributes, so that nothing can be put before it.
        attribute(&mut packet, MESSAGE_AUTHENTICATOR, &[0; 16]);
        attribute(&mut packet, USER_NAME, user.as_bytes());
        attribute(&mut packet, USER_PASSWORD, &self.hide(password));
        if !nas_identifier.is_empty() {
            attribute(&mut packet, NAS_IDENTIFIER, nas_identifier.as_bytes());
        }
        attribute(&mut packet, NAS_PORT, &nas_port.to_be_bytes());
        let length = u16::try_from(packet.len()).map_err(|_| TooLong)?;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        let tag = hmac_md5(self.shared.expose().as_bytes(), &[&packet]);
        packet[HEADER + 2..HEADER + 18].copy_from_slice(&tag);
        Ok(packet)
    }

    /// RFC 2865 section 5.2: blocks of 16 bytes, each under the digest of the shared secret and the block before.
    fn hide(&self, password: &[u8]) -> secret::Bytes {
        let mut hidden = secret::Bytes::new(password.to_vec());
        hidden.resize(password.len().next_multiple_of(16).max(16), 0);
        let mut before = self.authenticator;
        for block in hidden.chunks_exact_mut(16) {
            let mask = md5(&[self.shared.expose().as_bytes(), &before]);
            for (byte, mask) in block.iter_mut().zip(mask) {
                *byte ^= mask;
            }
            before.copy_from_slice(block);
        }
        hidden
    }

    /// What a packet says, if it is the answer to this question by one who knows the shared secret.
    pub(super) fn verdict(&self, packet: &[u8]) -> Option<Verdict> {
        if packet.len() < HEADER || packet.len() > MAX_PACKET || packet[1] != self.id {
            return None;
        }
        // What follows the length is padding (RFC 2865 section 3).
        let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let packet = packet.get(..length).filter(|p| p.len() >= HEADER)?;
        let shared = self.shared.expose().as_bytes();
        let whole = md5(&[&packet[..4], &self.authenticator, &packet[HEADER..], shared]);
        let at = message_authenticator(packet)?;
        let (tag, after) = packet[at..].split_at(16);
        let right = hmac_md5(shared, &[&packet[..4], &self.authenticator, &packet[HEADER..at], &[0; 16], after]);
        if !ct_eq(&whole, &packet[4..HEADER]) | !ct_eq(&right, tag) {
            return None;
        }
        match packet[0] {
            ACCEPT => Some(Verdict::Accepted),
            REJECT => Some(Verdict::Rejected),
            CHALLENGE => Some(Verdict::Challenged),
            _ => None,
        }
    }
}

fn attribute(packet: &mut Vec<u8>, kind: u8, value: &[u8]) {
    // At most 253 bytes, as `packet` has seen to.
    packet.extend([kind, (value.len() + 2).to_le_bytes()[0]]);
    packet.extend_from_slice(value);
}

/// Where the one Message-Authenticator's 16 bytes begin; the attributes must be whole.
fn message_authenticator(packet: &[u8]) -> Option<usize> {
    let (mut at, mut found) = (HEADER, None);
    while at < packet.len() {
        let length = usize::from(*packet.get(at + 1)?);
        if length < 2 || at + length > packet.len() {
            return None;
        }
        if packet[at] == MESSAGE_AUTHENTICATOR {
            if found.is_some() || length != 18 {
                return None;
            }
            found = Some(at + 2);
        }
        at += length;
    }
    found
}

/// The answer that a server with this secret would give.
#[cfg(test)]
pub(super) fn answer(packet: &[u8], code: u8, shared: &[u8], attributes: &[u8], authenticated: bool) -> Vec<u8> {
    let mut reply = vec![code, packet[1], 0, 0];
    reply.extend_from_slice(&packet[4..20]);
    if authenticated {
        attribute(&mut reply, MESSAGE_AUTHENTICATOR, &[0; 16]);
    }
    reply.extend_from_slice(attributes);
    let length = u16::try_from(reply.len()).unwrap();
    reply[2..4].copy_from_slice(&length.to_be_bytes());
    if authenticated {
        let tag = hmac_md5(shared, &[&reply]);
        reply[22..38].copy_from_slice(&tag);
    }
    let digest = md5(&[&reply, shared]);
    reply[4..20].copy_from_slice(&digest);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        let mut random = [7; 17];
        random[0] = 42;
        Question::new(random, Secret::from("xyzzy5461"))
    }

    #[test]
    fn a_password_is_hidden_as_rfc_2865_shows() {
        // Section 7.1 of the RFC.
        let mut random = [0; 17];
        random[1..].copy_from_slice(&hex::decode("0f403f9473978057bd83d5cb98f4227a").unwrap());
        let question = Question::new(random, Secret::from("xyzzy5461"));
        assert_eq!(hex::encode(&*question.hide(b"arctangent")), "0dbe708d93d413ce3196e43f782a0aee");
        assert_eq!(question.hide(b"").len(), 16);
        assert_eq!(question.hide(&[b'a'; 16]).len(), 16);
        assert_eq!(question.hide(&[b'a'; 17]).len(), 32);
    }

    #[test]
    fn a_question_is_whole_and_authenticated() {
        let packet = question().packet("nemo", &Secret::from("pw"), "coffer", 10).unwrap();
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
        assert!(!packet.windows(2).any(|w| w == b"pw"));
        let at = message_authenticator(&packet).unwrap();
        assert_eq!(at, HEADER + 2);
        let mut zeroed = packet.to_vec();
        zeroed[at..at + 16].fill(0);
        assert_eq!(&packet[at..at + 16], hmac_md5(b"xyzzy5461", &[&zeroed]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let packet = |user: usize, password: usize, nas: usize| {
            question().packet(&"u".repeat(user), &Secret::from("p".repeat(password)), &"n".repeat(nas), 0).map(|_| ())
        };
        assert_eq!(packet(253, 128, 253), Ok(()));
        for (user, password, nas) in [(254, 1, 1), (1, 129, 1), (1, 1, 254)] {
            assert_eq!(packet(user, password, nas), Err(TooLong));
        }
    }

    #[test]
    fn answers_of_who_knows_the_secret_count() {
        let question = question();
        let packet = question.packet("nemo", &Secret::from("pw"), "", 10).unwrap();
        for (code, verdict) in [(2, Verdict::Accepted), (3, Verdict::Rejected), (11, Verdict::Challenged)] {
            let mut reply = answer(&packet, code, b"xyzzy5461", &[18, 4, b'h', b'i'], true);
            assert_eq!(question.verdict(&reply), Some(verdict));
            reply.push(0);
            assert_eq!(question.verdict(&reply), Some(verdict), "padding");
        }
    }

    #[test]
    fn no_other_answer_counts() {
        let question = question();
        let packet = question.packet("nemo", &Secret::from("pw"), "", 10).unwrap();
        let good = answer(&packet, 2, b"xyzzy5461", &[18, 4, b'h', b'i'], true);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(question.verdict(&bad), None, "byte {at}");
            assert_eq!(question.verdict(&good[..at]), None, "{at} bytes");
        }
        let other = |code, shared: &[u8], attributes: &[u8], authenticated| {
            question.verdict(&answer(&packet, code, shared, attributes, authenticated))
        };
        assert_eq!(other(2, b"other", &[], true), None, "another secret");
        assert_eq!(other(2, b"xyzzy5461", &[], false), None, "no Message-Authenticator");
        assert_eq!(other(5, b"xyzzy5461", &[], true), None, "an answer of accounting");
        assert_eq!(other(2, b"xyzzy5461", &[18, 9, b'h'], true), None, "a broken attribute");
        assert_eq!(other(2, b"xyzzy5461", &[18, 0], true), None, "an attribute of no length");
        let mut another = packet.to_vec();
        another[1] ^= 1;
        assert_eq!(question.verdict(&answer(&another, 2, b"xyzzy5461", &[], true)), None, "another question's id");
        let mut another = packet.to_vec();
        another[4] ^= 1;
        assert_eq!(question.verdict(&answer(&another, 2, b"xyzzy5461", &[], true)), None, "another question's authenticator");
        assert_eq!(question.verdict(&packet), None, "the question itself");
    }
}
