//! Go's time layouts: the reference time `Mon Jan 2 15:04:05 MST 2006`, each part of it standing for its kind. Always UTC.

use coffer_types::Timestamp;
use time::OffsetDateTime;

type Write = fn(OffsetDateTime) -> String;

/// Longer parts stand before those that they begin with.
const PARTS: &[(&str, Write)] = &[
    ("January", |t| t.month().to_string()),
    ("Jan", |t| t.month().to_string()[..3].to_owned()),
    ("Monday", |t| t.weekday().to_string()),
    ("Mon", |t| t.weekday().to_string()[..3].to_owned()),
    ("MST", |_| "UTC".to_owned()),
    ("2006", |t| format!("{:04}", t.year())),
    ("01", |t| format!("{:02}", u8::from(t.month()))),
    ("02", |t| format!("{:02}", t.day())),
    ("03", |t| format!("{:02}", twelve(t))),
    ("04", |t| format!("{:02}", t.minute())),
    ("05", |t| format!("{:02}", t.second())),
    ("06", |t| format!("{:02}", t.year().rem_euclid(100))),
    ("15", |t| format!("{:02}", t.hour())),
    ("PM", |t| if t.hour() < 12 { "AM" } else { "PM" }.to_owned()),
    ("pm", |t| if t.hour() < 12 { "am" } else { "pm" }.to_owned()),
    ("Z07:00", |_| "Z".to_owned()),
    ("Z0700", |_| "Z".to_owned()),
    ("-07:00", |_| "+00:00".to_owned()),
    ("-0700", |_| "+0000".to_owned()),
    ("_2", |t| format!("{:2}", t.day())),
    ("1", |t| u8::from(t.month()).to_string()),
    ("2", |t| t.day().to_string()),
    ("3", |t| twelve(t).to_string()),
    ("4", |t| t.minute().to_string()),
    ("5", |t| t.second().to_string()),
];

pub(super) fn format(layout: &str, at: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        match PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
            Some((part, write)) => {
                out.push_str(&write(time));
                rest = &rest[part.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The hour on a clock's face.
fn twelve(time: OffsetDateTime) -> u8 {
    match time.hour() % 12 {
        0 => 12,
        hour => hour,
    }
}
