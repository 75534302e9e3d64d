//! Search filters of LDAP: a tree, read from the text of RFC 4515. Values that come from outside are put into the tree, never
//! into the text, so that no value can change what is asked.

/// A filter (RFC 4511 section 4.5.1.7). Values are bytes and need no escaping here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Equal(String, Vec<u8>),
    AtLeast(String, Vec<u8>),
    AtMost(String, Vec<u8>),
    Approximately(String, Vec<u8>),
    Present(String),
    Substring { attribute: String, first: Option<Vec<u8>>, middle: Vec<Vec<u8>>, last: Option<Vec<u8>> },
    Extensible { rule: Option<String>, attribute: Option<String>, value: Vec<u8>, dn: bool },
}

/// Where a text stops being a filter, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterFault(pub usize);

impl std::fmt::Display for FilterFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no filter as RFC 4515 has it, from character {} on", self.0 + 1)
    }
}

impl std::error::Error for FilterFault {}

/// Deeper filters are refused.
const MAX_DEPTH: usize = 32;

impl Filter {
    /// Reads the text form: `(&(objectClass=person)(uid=a*))`.
    ///
    /// # Errors
    /// Where it stops being one.
    pub fn parse(text: &str) -> Result<Self, FilterFault> {
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let filter = reader.filter(0)?;
        if reader.at == reader.text.len() { Ok(filter) } else { Err(FilterFault(reader.at)) }
    }

    /// The filter with every value changed. A value stays one value, whatever is made of it.
    #[must_use]
    pub fn map_values(&self, change: &impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let all = |filters: &[Self]| filters.iter().map(|f| f.map_values(change)).collect();
        match self {
            Self::And(filters) => Self::And(all(filters)),
            Self::Or(filters) => Self::Or(all(filters)),
            Self::Not(filter) => Self::Not(Box::new(filter.map_values(change))),
            Self::Equal(attribute, value) => Self::Equal(attribute.clone(), change(value)),
            Self::AtLeast(attribute, value) => Self::AtLeast(attribute.clone(), change(value)),
            Self::AtMost(attribute, value) => Self::AtMost(attribute.clone(), change(value)),
            Self::Approximately(attribute, value) => Self::Approximately(attribute.clone(), change(value)),
            Self::Present(attribute) => Self::Present(attribute.clone()),
            Self::Substring { attribute, first, middle, last } => Self::Substring {
                attribute: attribute.clone(),
                first: first.as_deref().map(change),
                middle: middle.iter().map(|part| change(part)).collect(),
                last: last.as_deref().map(change),
            },
            Self::Extensible { rule, attribute, value, dn } => {
                Self::Extensible { rule: rule.clone(), attribute: attribute.clone(), value: change(value), dn: *dn }
            }
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn filter(&mut self, depth: usize) -> Result<Filter, FilterFault> {
        if depth > MAX_DEPTH {
            return Err(FilterFault(self.at));
        }
        self.expect(b'(')?;
        let filter = match self.peek() {
            Some(b'&') => Filter::And(self.several(depth)?),
            Some(b'|') => Filter::Or(self.several(depth)?),
            Some(b'!') => {
                self.at += 1;
                Filter::Not(Box::new(self.filter(depth + 1)?))
            }
            _ => self.item()?,
        };
        self.expect(b')')?;
        Ok(filter)
    }

    /// Zero or more filters: an empty list is always true or always false (RFC 4526).
    fn several(&mut self, depth: usize) -> Result<Vec<Filter>, FilterFault> {
        self.at += 1;
        let mut filters = Vec::new();
        while self.peek() == Some(b'(') {
            filters.push(self.filter(depth + 1)?);
        }
        Ok(filters)
    }

    fn item(&mut self) -> Result<Filter, FilterFault> {
        let attribute = self.description();
        let extended = self.peek() == Some(b':');
        if extended {
            return self.extensible(attribute);
        }
        if attribute.is_empty() {
            return Err(FilterFault(self.at));
        }
        match self.peek() {
            Some(b'>') => self.assertion(b'>').map(|value| Filter::AtLeast(attribute, value)),
            Some(b'<') => self.assertion(b'<').map(|value| Filter::AtMost(attribute, value)),
            Some(b'~') => self.assertion(b'~').map(|value| Filter::Approximately(attribute, value)),
            _ => {
                self.expect(b'=')?;
                self.equality(attribute)
            }
        }
    }

    /// `=value`, `=*`, `=a*b*c`
    fn equality(&mut self, attribute: String) -> Result<Filter, FilterFault> {
        let mut parts = vec![self.value()?];
        while self.peek() == Some(b'*') {
            self.at += 1;
            parts.push(self.value()?);
        }
        if parts.len() == 1 {
            return Ok(Filter::Equal(attribute, parts.remove(0)));
        }
        if parts.len() == 2 && parts.iter().all(Vec::is_empty) {
            return Ok(Filter::Present(attribute));
        }
        let last = parts.pop().filter(|part| !part.is_empty());
        let first = Some(parts.remove(0)).filter(|part| !part.is_empty());
        if parts.iter().any(Vec::is_empty) {
            return Err(FilterFault(self.at));
        }
        Ok(Filter::Substring { attribute, first, middle: parts, last })
    }

    /// `[attribute][:dn][:rule]:=value`
    fn extensible(&mut self, attribute: String) -> Result<Filter, FilterFault> {
        let (mut dn, mut rule) = (false, None);
        loop {
            self.expect(b':')?;
            if self.peek() == Some(b'=') {
                break;
            }
            let word = self.description();
            if word == "dn" && !dn && rule.is_none() {
                dn = true;
            } else if !word.is_empty() && rule.is_none() {
                rule = Some(word);
            } else {
                return Err(FilterFault(self.at));
            }
        }
        self.expect(b'=')?;
        let attribute = Some(attribute).filter(|a| !a.is_empty());
        if attribute.is_none() && rule.is_none() {
            return Err(FilterFault(self.at));
        }
        Ok(Filter::Extensible { rule, attribute, value: self.value()?, dn })
    }

    fn assertion(&mut self, sign: u8) -> Result<Vec<u8>, FilterFault> {
        self.expect(sign)?;
        self.expect(b'=')?;
        self.value()
    }

    /// A name with its options, or a number with dots: `cn`, `userCertificate;binary`, `1.2.840.113556.1.4.1941`.
    fn description(&mut self) -> String {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b';' | b'.' | b'_')) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[from..self.at]).into_owned()
    }

    /// Up to `)` or `*`, with `\2a` for what can't stand as it is.
    fn value(&mut self) -> Result<Vec<u8>, FilterFault> {
        let mut value = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b')' | b'*' => return Ok(value),
                b'(' | 0 => return Err(FilterFault(self.at)),
                b'\\' => {
                    let digits = self.text.get(self.at + 1..self.at + 3).and_then(|d| std::str::from_utf8(d).ok());
                    let byte = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                    let byte = byte.and_then(|d| u8::from_str_radix(d, 16).ok()).ok_or(FilterFault(self.at))?;
                    value.push(byte);
                    self.at += 3;
                }
                _ => {
                    value.push(byte);
                    self.at += 1;
                }
            }
        }
        Err(FilterFault(self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), FilterFault> {
        if self.peek() != Some(byte) {
            return Err(FilterFault(self.at));
        }
        self.at += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(attribute: &str, value: &str) -> Filter {
        Filter::Equal(attribute.into(), value.into())
    }

    #[test]
    fn reads_what_rfc_4515_shows() {
        let same = |text: &str, filter: Filter| assert_eq!(Filter::parse(text), Ok(filter), "{text}");
        same("(cn=Babs Jensen)", equal("cn", "Babs Jensen"));
        same("(!(cn=Tim Howes))", Filter::Not(Box::new(equal("cn", "Tim Howes"))));
        same(
            "(&(a=b)(|(c=d)(e=*)))",
            Filter::And(vec![equal("a", "b"), Filter::Or(vec![equal("c", "d"), Filter::Present("e".into())])]),
        );
        let parts = |first: Option<&str>, middle: &[&str], last: Option<&str>| Filter::Substring {
            attribute: "o".into(),
            first: first.map(Into::into),
            middle: middle.iter().map(|m| (*m).into()).collect(),
            last: last.map(Into::into),
        };
        same("(o=univ*of*mich*)", parts(Some("univ"), &["of", "mich"], None));
        same("(o=*x)", parts(None, &[], Some("x")));
        same("(o=*x*)", parts(None, &["x"], None));
        same("(seeAlso=)", equal("seeAlso", ""));
        same(
            r"(o=Parens R Us \28for all your parenthetical needs\29)",
            equal("o", "Parens R Us (for all your parenthetical needs)"),
        );
        same(r"(cn=*\2A*)", Filter::Substring { attribute: "cn".into(), first: None, middle: vec![b"*".to_vec()], last: None });
        same(r"(bin=\00\00\00\04)", Filter::Equal("bin".into(), vec![0, 0, 0, 4]));
        same("(a>=1)", Filter::AtLeast("a".into(), b"1".to_vec()));
        same("(a<=1)", Filter::AtMost("a".into(), b"1".to_vec()));
        same("(a~=1)", Filter::Approximately("a".into(), b"1".to_vec()));
        let extensible = |rule: Option<&str>, attribute: Option<&str>, value: &str, dn| Filter::Extensible {
            rule: rule.map(Into::into),
            attribute: attribute.map(Into::into),
            value: value.into(),
            dn,
        };
        same("(cn:caseExactMatch:=Fred)", extensible(Some("caseExactMatch"), Some("cn"), "Fred", false));
        same("(o:dn:=Ace)", extensible(None, Some("o"), "Ace", true));
        same("(:dn:2.4.6.8.10:=Dino)", extensible(Some("2.4.6.8.10"), None, "Dino", true));
        same(
            "(member:1.2.840.113556.1.4.1941:=cn=a,dc=b)",
            extensible(Some("1.2.840.113556.1.4.1941"), Some("member"), "cn=a,dc=b", false),
        );
        same("(&)", Filter::And(vec![]));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "(",
            ")",
            "()",
            "cn=a",
            "(cn=a",
            "(cn=a))",
            "(cn=a)(cn=b)",
            "(cn)",
            "(=a)",
            "(cn=a(b)",
            r"(cn=\2)",
            r"(cn=\zz)",
            r"(cn=\+1)",
            "(cn=a**b)",
            "(!)",
            "(!(a=b)(c=d))",
            "(&(a=b)",
            "(a>1)",
            "(:=x)",
            "(cn:dn:dn:x:=y)",
            "( cn=a)",
            "(cn=\0)",
            "(c n=a)",
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        let deep = |n: usize| format!("{}(a=b){}", "(!".repeat(n), ")".repeat(n));
        assert!(Filter::parse(&deep(MAX_DEPTH)).is_ok());
        assert!(Filter::parse(&deep(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn a_value_stays_one_value() {
        let filter = Filter::parse("(&(objectClass=person)(uid=NAME))").unwrap();
        let hostile = "*)(uid=*))(|(uid=*";
        let filled = filter.map_values(&|v| if v == b"NAME" { hostile.into() } else { v.to_vec() });
        assert_eq!(filled, Filter::And(vec![equal("objectClass", "person"), equal("uid", hostile)]));
    }
}
