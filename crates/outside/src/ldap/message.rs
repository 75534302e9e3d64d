//! The messages of LDAP that are spoken here (RFC 4511).

use super::ber::{self, ENUMERATED, INTEGER, Malformed, OCTETS, Reader, SEQUENCE, SET, Writer};
use coffer_engine::outside::{Aliases, Entry, Filter, Scope, Search};
use coffer_types::secret;

pub(super) const BIND: u8 = 0x61;
pub(super) const ENTRY: u8 = 0x64;
pub(super) const SEARCH_DONE: u8 = 0x65;
pub(super) const REFERENCE: u8 = 0x73;
pub(super) const MODIFIED: u8 = 0x67;
pub(super) const EXTENDED: u8 = 0x78;
const CONTROLS: u8 = 0xa0;
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const PAGED: &str = "1.2.840.113556.1.4.319";

pub(super) fn bind(id: u32, dn: &str, password: &[u8]) -> secret::Bytes {
    message(id, |w| {
        w.nest(0x60, |w| {
            w.number(INTEGER, 3).text(dn).value(0x80, password);
        });
    })
}

pub(super) fn start_tls(id: u32) -> secret::Bytes {
    message(id, |w| {
        w.nest(0x77, |w| {
            w.value(0x80, START_TLS);
        });
    })
}

pub(super) fn replace(id: u32, dn: &str, attribute: &str, value: &[u8]) -> secret::Bytes {
    message(id, |w| {
        w.nest(0x66, |w| {
            w.text(dn).nest(SEQUENCE, |w| {
                w.nest(SEQUENCE, |w| {
                    w.number(ENUMERATED, 2).nest(SEQUENCE, |w| {
                        w.text(attribute).nest(SET, |w| {
                            w.value(OCTETS, value);
                        });
                    });
                });
            });
        });
    })
}

/// A search, or its next page.
pub(super) fn search(id: u32, search: &Search, seconds: u32, cookie: &[u8]) -> secret::Bytes {
    let scope = match search.scope {
        Scope::Base => 0,
        Scope::Subtree => 2,
    };
    let aliases = match search.aliases {
        Aliases::Never => 0,
        Aliases::Searching => 1,
        Aliases::Finding => 2,
        Aliases::Always => 3,
    };
    message(id, |w| {
        w.nest(0x63, |w| {
            w.text(&search.base).number(ENUMERATED, scope).number(ENUMERATED, aliases);
            w.number(INTEGER, 0).number(INTEGER, seconds).boolean(ber::BOOLEAN, false);
            filter(w, &search.filter);
            w.nest(SEQUENCE, |w| {
                for attribute in &search.attributes {
                    w.text(attribute);
                }
                if search.attributes.is_empty() {
                    w.text("1.1");
                }
            });
        });
        if search.page > 0 {
            let mut page = Writer::new();
            page.nest(SEQUENCE, |w| {
                w.number(INTEGER, search.page).value(OCTETS, cookie);
            });
            let page = page.finish();
            w.nest(CONTROLS, |w| {
                w.nest(SEQUENCE, |w| {
                    w.text(PAGED).boolean(ber::BOOLEAN, true).value(OCTETS, &page);
                });
            });
        }
    })
}

fn filter(w: &mut Writer, of: &Filter) {
    let pair = |w: &mut Writer, tag, attribute: &str, value: &[u8]| {
        w.nest(tag, |w| {
            w.text(attribute).value(OCTETS, value);
        });
    };
    let all = |w: &mut Writer, tag, filters: &[Filter]| {
        w.nest(tag, |w| filters.iter().for_each(|f| filter(w, f)));
    };
    match of {
        Filter::And(filters) => all(w, 0xa0, filters),
        Filter::Or(filters) => all(w, 0xa1, filters),
        Filter::Not(inner) => {
            w.nest(0xa2, |w| filter(w, inner));
        }
        Filter::Equal(attribute, value) => pair(w, 0xa3, attribute, value),
        Filter::AtLeast(attribute, value) => pair(w, 0xa5, attribute, value),
        Filter::AtMost(attribute, value) => pair(w, 0xa6, attribute, value),
        Filter::Approximately(attribute, value) => pair(w, 0xa8, attribute, value),
        Filter::Present(attribute) => {
            w.value(0x87, attribute.as_bytes());
        }
        Filter::Substring { attribute, first, middle, last } => {
            w.nest(0xa4, |w| {
                w.text(attribute).nest(SEQUENCE, |w| {
                    let parts = first.iter().map(|p| (0x80, p));
                    let parts = parts.chain(middle.iter().map(|p| (0x81, p))).chain(last.iter().map(|p| (0x82, p)));
                    for (tag, part) in parts {
                        w.value(tag, part);
                    }
                });
            });
        }
        Filter::Extensible { rule, attribute, value, dn } => {
            w.nest(0xa9, |w| {
                for (tag, text) in [(0x81, rule), (0x82, attribute)] {
                    if let Some(text) = text {
                        w.value(tag, text.as_bytes());
                    }
                }
                w.value(0x83, value);
                if *dn {
                    w.boolean(0x84, true);
                }
            });
        }
    }
}

fn message(id: u32, operation: impl FnOnce(&mut Writer)) -> secret::Bytes {
    let mut whole = Writer::new();
    whole.nest(SEQUENCE, |w| {
        w.number(INTEGER, id);
        operation(w);
    });
    whole.finish()
}

/// A message from the directory.
pub(super) struct Received<'a> {
    pub(super) id: u32,
    pub(super) tag: u8,
    body: &'a [u8],
    controls: Option<&'a [u8]>,
}

impl<'a> Received<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut message = Reader::new(bytes).nested(SEQUENCE)?;
        let id = message.number(INTEGER)?;
        let (tag, body) = message.any()?;
        let controls = if message.is_empty() { None } else { Some(message.expect(CONTROLS)?) };
        Ok(Self { id, tag, body, controls })
    }

    /// The code of a result; 0 is success.
    pub(super) fn result(&self) -> Result<u32, Malformed> {
        Reader::new(self.body).number(ENUMERATED)
    }

    pub(super) fn entry(&self) -> Result<Entry, Malformed> {
        let mut body = Reader::new(self.body);
        let mut entry = Entry { dn: body.text()?, attributes: Vec::new() };
        let mut list = body.nested(SEQUENCE)?;
        while !list.is_empty() {
            let mut attribute = list.nested(SEQUENCE)?;
            let name = attribute.text()?;
            let mut set = attribute.nested(SET)?;
            let mut values = Vec::new();
            while !set.is_empty() {
                values.push(set.expect(OCTETS)?.to_vec());
            }
            entry.attributes.push((name, values));
        }
        Ok(entry)
    }

    /// What to ask the next page with; empty where this was the last.
    pub(super) fn cookie(&self) -> Result<Vec<u8>, Malformed> {
        let mut controls = Reader::new(self.controls.unwrap_or_default());
        while !controls.is_empty() {
            let mut control = controls.nested(SEQUENCE)?;
            if control.text()? != PAGED {
                continue;
            }
            let (mut tag, mut content) = control.any()?;
            if tag == ber::BOOLEAN {
                (tag, content) = control.any()?;
            }
            if tag != OCTETS {
                return Err(Malformed);
            }
            let mut value = Reader::new(content).nested(SEQUENCE)?;
            value.number(INTEGER)?;
            return Ok(value.expect(OCTETS)?.to_vec());
        }
        Ok(Vec::new())
    }
}

/// The names of RFC 4511 section 4.1.9 for the codes that administrators meet.
pub(super) fn code_name(code: u32) -> &'static str {
    match code {
        1 => "operations error",
        2 => "protocol error",
        3 => "time limit exceeded",
        4 => "size limit exceeded",
        7 => "authentication method not supported",
        8 => "stronger authentication required",
        10 => "referral",
        11 => "administrative limit exceeded",
        12 => "unavailable critical extension",
        13 => "confidentiality required",
        18 => "inappropriate matching",
        19 => "constraint violation",
        32 => "no such object",
        34 => "invalid DN syntax",
        48 => "inappropriate authentication",
        49 => "invalid credentials",
        50 => "insufficient access rights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling to perform",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_search(filter: &str, page: u32) -> Search {
        Search {
            base: "dc=a".into(),
            scope: Scope::Subtree,
            aliases: Aliases::Never,
            filter: Filter::parse(filter).unwrap(),
            attributes: vec!["cn".into()],
            limit: 10,
            page,
        }
    }

    #[test]
    fn a_bind_is_as_the_rfc_has_it() {
        let bytes = bind(1, "cn=a", b"pw");
        assert_eq!(bytes.as_slice(), b"\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw");
    }

    #[test]
    fn a_search_is_as_the_rfc_has_it() {
        let bytes = search(2, &a_search("(uid=a)", 0), 5, b"");
        let expected = b"\x30\x2a\x02\x01\x02\x63\x25\x04\x04dc=a\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x05\x01\x01\x00\
            \xa3\x08\x04\x03uid\x04\x01a\x30\x04\x04\x02cn";
        assert_eq!(bytes.as_slice(), expected);
        let paged = search(2, &a_search("(&(a=*)(!(b=x*y*z))(c:dn:1.2:=v))", 100), 5, b"next");
        assert!(paged.windows(4).any(|w| w == b"next"));
        assert!(paged.windows(3).any(|w| w == b"\x87\x01a"));
        assert!(paged.windows(9).any(|w| w == b"\x80\x01x\x81\x01y\x82\x01z"));
        assert!(paged.windows(14).any(|w| w == b"\x81\x031.2\x82\x01c\x83\x01v\x84\x01\xff"));
    }

    #[test]
    fn replies_are_read_and_broken_ones_refused() {
        let entry = b"\x30\x1c\x02\x01\x02\x64\x17\x04\x04cn=a\x30\x0f\x30\x0d\x04\x02cn\x31\x07\x04\x01a\x04\x02\xff\x00";
        let read = Received::read(entry).unwrap();
        assert_eq!((read.id, read.tag), (2, ENTRY));
        let read = read.entry().unwrap();
        assert_eq!(read.dn, "cn=a");
        assert_eq!(read.values("CN").collect::<Vec<_>>(), [&b"a"[..], b"\xff\x00"]);
        assert_eq!(read.texts("cn").collect::<Vec<_>>(), ["a"]);
        for end in 0..entry.len() {
            assert!(Received::read(&entry[..end]).and_then(|r| r.entry()).is_err(), "{end}");
        }
        let done = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x20\x04\x00\x04\x00";
        assert_eq!(Received::read(done).unwrap().result(), Ok(32));
        assert_eq!(Received::read(done).unwrap().cookie(), Ok(Vec::new()));
        assert!(Received::read(b"\x30\x03\x04\x01a").is_err());
    }
}
