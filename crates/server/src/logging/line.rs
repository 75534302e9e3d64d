//! One event as one line.

use coffer_types::json::write_string;
use std::fmt::{self, Write as _};
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// `TIME [LEVEL] name: message: key=value`.
pub(super) fn standard(event: &Event<'_>, now: OffsetDateTime) -> String {
    let metadata = event.metadata();
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut line = String::with_capacity(128);
    let level = match *metadata.level() {
        Level::TRACE => "[TRACE]",
        Level::DEBUG => "[DEBUG]",
        Level::INFO => "[INFO] ",
        Level::WARN => "[WARN] ",
        Level::ERROR => "[ERROR]",
    };
    push(&mut line, format_args!("{} {level} {}: {}", Stamp(now, 3), name(metadata), Plain(&fields.message)));
    for (n, (name, value)) in fields.rest.iter().enumerate() {
        push(&mut line, format_args!("{}{name}=", if n == 0 { ": " } else { " " }));
        let text = value.text();
        let bare = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./:+@%".contains(c));
        if bare { line.push_str(text) } else { push(&mut line, format_args!("{text:?}")) }
    }
    line.push('\n');
    line
}

/// The members `@level`, `@message`, `@module`, `@timestamp`, and the event's fields.
pub(super) fn json(event: &Event<'_>, now: OffsetDateTime) -> String {
    let metadata = event.metadata();
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut line = Vec::with_capacity(192);
    let mut member = |name: &str, value: &Value, first: bool| {
        line.push(if first { b'{' } else { b',' });
        write_string(name, &mut line);
        line.push(b':');
        match value {
            Value::Bare(text) => line.extend_from_slice(text.as_bytes()),
            Value::Text(text) => write_string(text, &mut line),
        }
    };
    member("@level", &Value::Text(metadata.level().as_str().to_ascii_lowercase()), true);
    member("@message", &Value::Text(fields.message), false);
    member("@module", &Value::Text(name(metadata)), false);
    member("@timestamp", &Value::Text(Stamp(now, 6).to_string()), false);
    for (name, value) in &fields.rest {
        member(name, value, false);
    }
    line.extend_from_slice(b"}\n");
    String::from_utf8_lossy(&line).into_owned()
}

/// The target that the event names, else its module without the project's name.
fn name(metadata: &Metadata<'_>) -> String {
    let target = metadata.target();
    target.strip_prefix("coffer_").or_else(|| target.strip_prefix("coffer::")).unwrap_or(target).replace("::", ".")
}

fn push(line: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    if line.write_fmt(text).is_err() {
        line.push('?');
    }
}

/// RFC 3339 with so many digits of a second.
struct Stamp(OffsetDateTime, usize);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at, digits) = self;
        let (date, time) = (at.date(), at.time());
        write!(f, "{:04}-{:02}-{:02}T", date.year(), u8::from(date.month()), date.day())?;
        write!(f, "{:02}:{:02}:{:02}.", time.hour(), time.minute(), time.second())?;
        write!(f, "{:0digits$}Z", time.nanosecond() / 10u32.pow(9 - u32::try_from(*digits).unwrap_or(9)))
    }
}

/// A message without what would end the line or steer a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

enum Value {
    /// A number or a boolean.
    Bare(String),
    Text(String),
}

impl Value {
    fn text(&self) -> &str {
        match self {
            Self::Bare(text) | Self::Text(text) => text,
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            value.text().clone_into(&mut self.message);
        } else {
            self.rest.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Bare(value.to_string()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Bare(value.to_string()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bare(value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_rfc_3339() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_795_404_190_004_056_789).unwrap();
        assert_eq!(Stamp(at, 3).to_string(), "2026-11-23T03:23:10.004Z");
        assert_eq!(Stamp(at, 6).to_string(), "2026-11-23T03:23:10.004056Z");
    }
}
