//! Scalars: in which style they are written, and how.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Emitter;
use crate::tree::Value;
use crate::yaml::resolve;
use crate::yaml::scan::Style;

/// A scalar ready to be written.
pub(in crate::yaml) struct Written<'a> {
    pub(in crate::yaml) text: Cow<'a, str>,
    pub(in crate::yaml) style: Style,
    tag: &'static str,
}

impl<'a> Written<'a> {
    pub(super) const fn plain(text: &'a str) -> Self {
        Self { text: Cow::Borrowed(text), style: Style::Plain, tag: "" }
    }

    fn made(text: impl Into<String>) -> Self {
        Self { text: Cow::Owned(text.into()), style: Style::Plain, tag: "" }
    }

    /// Short and on one line: it can stand before a `:` as it is.
    pub(super) fn is_simple_key(&self) -> bool {
        !self.text.chars().any(is_break) && self.text.len() + self.tag.len() <= 128
    }
}

/// How a leaf is written.
pub(in crate::yaml) fn token(value: &Value) -> Written<'_> {
    match value {
        Value::Text(text) | Value::Bytes(text) => match text.as_str() {
            Some(text) => self::text(text),
            None => binary(text.as_bytes()),
        },
        Value::Bool(true) => Written::plain("true"),
        Value::Bool(false) => Written::plain("false"),
        Value::Int(int) => Written::made(int.to_string()),
        Value::Float(float) => Written::made(self::float(*float)),
        Value::Time(time) => Written::plain(time.as_str()),
        Value::Unsupported { text, .. } => Written::plain(text),
        Value::Null | Value::List(_) | Value::Map(_) => Written::plain("null"),
    }
}

/// How a text is written.
pub(super) fn text(text: &str) -> Written<'_> {
    let traits = Traits::of(text);
    let style = if text.contains('\n') {
        // A tab where a block text begins could not be read again.
        let tab = text.trim_start_matches('\n').starts_with('\t');
        if traits.block && !tab { Style::Literal } else { Style::Double }
    } else if !reads_as_text(text) {
        Style::Double
    } else if traits.plain {
        Style::Plain
    } else if traits.single {
        Style::Single
    } else {
        Style::Double
    };
    Written { text: Cow::Borrowed(text), style, tag: if text == "<<" { "merge" } else { "" } }
}

fn binary(bytes: &[u8]) -> Written<'static> {
    let packed = STANDARD.encode(bytes);
    if packed.len() < 70 {
        return Written { text: Cow::Owned(packed), style: Style::Plain, tag: "binary" };
    }
    let mut lines = String::with_capacity(packed.len() + packed.len() / 70 + 1);
    for (number, c) in packed.chars().enumerate() {
        if number > 0 && number % 70 == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    Written { text: Cow::Owned(lines), style: Style::Literal, tag: "binary" }
}

/// Plain, it is a text in YAML 1.2, and in YAML 1.1 too.
fn reads_as_text(text: &str) -> bool {
    let old_bool = matches!(text.to_ascii_lowercase().as_str(), "y" | "yes" | "on" | "n" | "no" | "off")
        && (text.chars().all(char::is_lowercase)
            || text.chars().all(char::is_uppercase)
            || text.chars().skip(1).all(char::is_lowercase));
    matches!(resolve::plain(text), Value::Text(_)) && !old_bool && !is_base_60(text)
}

/// `190:20:30`, a number to YAML 1.1: groups below 60 after the first, digits and `_` behind a point.
fn is_base_60(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (groups, fraction) = rest.split_once('.').map_or((rest, ""), |(groups, fraction)| (groups, fraction));
    let mut groups = groups.split(':');
    let digits_or_line = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let first = groups.next().is_some_and(|first| first.starts_with(|c: char| c.is_ascii_digit()) && digits_or_line(first));
    let mut count = 0;
    let rest = groups.all(|group| {
        count += 1;
        matches!(group.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
    });
    first && rest && count > 0 && digits_or_line(fraction)
}

/// Go's shortest form: with an exponent, of two digits or more, below 1e-4 and from 1e6 on.
fn float(float: f64) -> String {
    if float.is_nan() {
        return ".nan".into();
    }
    if float.is_infinite() {
        return if float > 0.0 { ".inf".into() } else { "-.inf".into() };
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    float.to_string()
}

/// LF, CR, NEL, LS, PS.
pub(super) const fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What may be written as it is. Characters beyond U+FFFF may not.
const fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// The styles that can hold a text.
struct Traits {
    plain: bool,
    single: bool,
    block: bool,
}

impl Traits {
    fn of(text: &str) -> Self {
        let (mut indicators, mut breaks, mut special, mut tabs) = (false, false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut before_space, mut before_break) = (false, false);
        let mut after_white = true;
        indicators |= text.starts_with("---") || text.starts_with("...");
        let mut rest = text.chars().peekable();
        let mut first = true;
        while let Some(c) = rest.next() {
            let white_next = rest.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
            indicators |= match c {
                '#' => after_white,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
                '?' | '-' => first && white_next,
                ':' => white_next,
                _ => false,
            };
            if c == '\t' {
                tabs = true;
            } else if !is_printable(c) {
                special = true;
            }
            if c == ' ' {
                break_space |= before_break;
            } else if is_break(c) {
                breaks = true;
                space_break |= before_space;
            }
            before_space = c == ' ';
            before_break = is_break(c);
            after_white = matches!(c, ' ' | '\t') || before_break;
            first = false;
        }
        let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
        let edges = edge(text.chars().next()) || edge(text.chars().next_back());
        let broken = space_break || special;
        Self {
            plain: !indicators && !breaks && !edges && !break_space && !tabs && !broken,
            single: !break_space && !tabs && !broken,
            block: !broken && !text.ends_with(' ') && !text.is_empty(),
        }
    }
}

impl Emitter {
    pub(super) fn scalar(&mut self, written: &Written<'_>, in_list: bool, simple_key: bool) {
        let mut style = written.style;
        if simple_key && written.text.chars().any(is_break) {
            style = Style::Double;
        }
        if !written.tag.is_empty() {
            if !self.whitespace {
                self.put(" ");
            }
            self.put("!!");
            self.put(written.tag);
            self.whitespace = false;
            self.indention = false;
        }
        let before = self.deeper(true, in_list);
        match style {
            Style::Plain => {
                if !written.text.is_empty() && !self.whitespace {
                    self.put(" ");
                }
                for c in written.text.chars() {
                    self.put_char(c);
                }
                self.whitespace = false;
                self.indention = false;
            }
            Style::Single => self.single(&written.text),
            Style::Double => self.double(&written.text),
            Style::Literal | Style::Folded => self.literal(&written.text, self.indent - before.max(0)),
        }
        self.indent = before;
    }

    fn single(&mut self, text: &str) {
        self.indicator("'", true, false, false);
        let mut after_break = false;
        for c in text.chars() {
            if is_break(c) {
                self.put_break(c);
                after_break = true;
                continue;
            }
            if after_break && c != ' ' {
                self.write_indent();
            }
            if c == '\'' {
                self.put("'");
            }
            self.put_char(c);
            if c != ' ' {
                self.indention = false;
                after_break = false;
            }
        }
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    pub(super) fn double(&mut self, text: &str) {
        self.indicator("\"", true, false, false);
        // A text that begins with a byte order mark is escaped throughout.
        let marked = text.starts_with('\u{feff}');
        for c in text.chars() {
            if is_printable(c) && !marked && !is_break(c) && c != '"' && c != '\\' {
                self.put_char(c);
                continue;
            }
            let short = match c {
                '\0' => "\\0",
                '\x07' => "\\a",
                '\x08' => "\\b",
                '\t' => "\\t",
                '\n' => "\\n",
                '\x0b' => "\\v",
                '\x0c' => "\\f",
                '\r' => "\\r",
                '\x1b' => "\\e",
                '"' => "\\\"",
                '\\' => "\\\\",
                '\u{85}' => "\\N",
                '\u{a0}' => "\\_",
                '\u{2028}' => "\\L",
                '\u{2029}' => "\\P",
                _ => "",
            };
            if short.is_empty() {
                let code = u32::from(c);
                let escape = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                self.put(&escape);
            } else {
                self.put(short);
            }
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    /// `depth` is how much deeper than what is around it the text stands: said where its first line doesn't show it.
    fn literal(&mut self, text: &str, depth: i32) {
        self.indicator("|", true, false, false);
        if text.starts_with([' ', '\n', '\u{2028}', '\u{2029}']) {
            let hint = depth.to_string();
            self.indicator(&hint, false, false, false);
        }
        let mut ends = text.chars().rev().map(is_break);
        match (ends.next(), ends.next()) {
            (Some(true), Some(false)) => {}
            (Some(true), _) => self.indicator("+", false, false, false),
            _ => self.indicator("-", false, false, false),
        }
        if self.pending.line.is_empty() {
            self.put_break('\n');
        } else {
            self.write_line();
        }
        self.whitespace = true;
        let mut after_break = true;
        for c in text.chars() {
            if is_break(c) {
                self.put_break(c);
                after_break = true;
            } else {
                if after_break {
                    self.write_indent();
                }
                self.put_char(c);
                self.indention = false;
                after_break = false;
            }
        }
    }
}
