//! `operator key-status` and `operator rotate`: the key that encrypts the data.

use crate::cli::{Arity, Because, Call, Command, Failure, Outcome, Output, Run};
use crate::output::{self, Format, go};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(super) const COMMANDS: &[&Command] = &[&KEY_STATUS, &ROTATE];

static KEY_STATUS: Command = Command {
    path: "operator key-status",
    synopsis: "Print the state of the encryption key",
    args: "",
    about: "Prints the number of the key that encrypts new data, since when, and how often it was used.",
    examples: &[("Print it:", "operator key-status")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| show(call, "")),
};

static ROTATE: Command = Command {
    path: "operator rotate",
    synopsis: "Begin a new encryption key",
    args: "",
    about: "Makes a new key that encrypts all new data. Older keys stay for the data they encrypted. Nobody notices.",
    examples: &[("Rotate:", "operator rotate")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| {
        call.send(&Request::put("sys/rotate")).because(|| "Error rotating key".into())?;
        show(call, "Success! Rotated key\n\n")
    }),
};

fn show(call: &Call<'_>, before: &str) -> Outcome {
    let found = call.ask_data(&Request::get("sys/key-status")).because(|| "Error reading key status".into())?;
    let member = |name: &str| found.get(name).cloned().unwrap_or_default();
    if member("term").is_null() {
        return Err(Failure::server("Error reading key status: the answer holds no term"));
    }
    let shown = Object::new()
        .with("term", member("term"))
        .with("install_time", member("install_time"))
        .with("encryptions", member("encryptions"));
    if call.format()? == Format::Table {
        call.print(before);
    }
    output::value(call, &Json::Object(shown), |_| {
        let rows = [
            ("Key Term", go::text(&member("term"))),
            ("Install Time", short_time(member("install_time").as_str().unwrap_or_default())),
            ("Encryption Count", go::text(&member("encryptions"))),
        ];
        rows.into_iter().map(|(k, v)| vec![k.to_owned(), v]).collect()
    })
}

/// `23 Nov 26 03:15 UTC` (RFC 822).
fn short_time(text: &str) -> String {
    let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else {
        return text.to_owned();
    };
    let time = time.to_offset(time::UtcOffset::UTC);
    let month = &time.month().to_string()[..3];
    format!("{:02} {month} {:02} {:02}:{:02} UTC", time.day(), time.year().rem_euclid(100), time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_what_is_none_stays() {
        assert_eq!(short_time("2026-11-23T03:15:12.007639438Z"), "23 Nov 26 03:15 UTC");
        assert_eq!(short_time("2026-11-23T01:15:12+02:00"), "22 Nov 26 23:15 UTC");
        assert_eq!(short_time("soon"), "soon");
    }

    #[test]
    fn rows_have_no_heading() {
        assert_eq!(crate::output::table::columns(&[vec!["Key Term".into(), "1".into()]]), "Key Term    1\n");
    }
}
