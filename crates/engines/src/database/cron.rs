//! Times in the five fields of cron: minute, hour, day of the month, month, day of the week; in UTC.

use coffer_types::Timestamp;
use time::{Date, OffsetDateTime, Time};

/// A schedule: which minutes it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether either field of days names all: then both must hold, else one.
    any_day: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// `0 0 * * SAT`, `*/15 8-17 * * mon-fri`; `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}", fields.len()));
        };
        let mut week = field(weekdays, 0, 7, &WEEKDAYS, 0)?;
        if week & 1 << 7 != 0 {
            week |= 1;
        }
        let all = |text: &str| text.starts_with('*') || text.starts_with('?');
        let schedule = Self {
            minutes: field(minutes, 0, 59, &[], 0)?,
            hours: field(hours, 0, 23, &[], 0)?,
            days: field(days, 1, 31, &[], 0)?,
            months: field(months, 1, 12, &MONTHS, 1)?,
            weekdays: week,
            any_day: all(days) || all(weekdays),
        };
        match schedule.after(Timestamp::from_secs(1_700_000_000)) {
            Some(_) => Ok(schedule),
            None => Err("no day is ever named by it".into()),
        }
    }

    /// The first minute strictly after this time.
    pub(super) fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let start = OffsetDateTime::from_unix_timestamp(time.secs().div_euclid(60) * 60 + 60).ok()?;
        let mut date = start.date();
        let mut from = (start.hour(), start.minute());
        // A leap day on a named weekday is at most 40 years away.
        for _ in 0..366 * 41 {
            if self.names(date) {
                for hour in (from.0..24).filter(|h| self.hours & 1 << h != 0) {
                    let first = if hour == from.0 { from.1 } else { 0 };
                    if let Some(minute) = (first..60).find(|m| self.minutes & 1 << m != 0) {
                        let at = date.with_time(Time::from_hms(hour, minute, 0).ok()?).assume_utc();
                        return Some(Timestamp::from_secs(at.unix_timestamp()));
                    }
                }
            }
            date = date.next_day()?;
            from = (0, 0);
        }
        None
    }

    fn names(&self, date: Date) -> bool {
        let day = self.days & 1 << date.day() != 0;
        let weekday = self.weekdays & 1 << date.weekday().number_days_from_sunday() != 0;
        self.months & 1 << u8::from(date.month()) != 0 && if self.any_day { day && weekday } else { day || weekday }
    }
}

/// A field's numbers as bits.
fn field(text: &str, least: u32, most: u32, names: &[&str], first: u32) -> Result<u64, String> {
    let number = |text: &str| -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        let named = names.iter().position(|n| *n == lower).and_then(|n| u32::try_from(n).ok()).map(|n| n + first);
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        let number = named.or_else(|| digits.then(|| text.parse().ok()).flatten());
        number.filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("{text:?} is not in {least}-{most}"))
    };
    let mut bits = 0u64;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (low, high) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (least, if most == 7 { 6 } else { most }),
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(range)?, if step.is_some() { most } else { number(range)? }),
        };
        if low > high {
            return Err(format!("{range:?} ends before it begins"));
        }
        let step = match step {
            None => 1,
            Some(step) => step.parse::<usize>().ok().filter(|s| *s > 0).ok_or_else(|| format!("{step:?} is no step"))?,
        };
        (low..=high).step_by(step).for_each(|n| bits |= 1 << n);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, from: &str) -> String {
        let from = Timestamp::parse_rfc3339(from).unwrap();
        Schedule::parse(text).unwrap().after(from).unwrap().rfc3339()
    }

    #[test]
    fn names_the_next_minute() {
        for (text, from, then) in [
            ("* * * * *", "2026-11-23T12:00:00Z", "2026-11-23T12:01:00Z"),
            ("* * * * *", "2026-11-23T12:00:59.5Z", "2026-11-23T12:01:00Z"),
            ("*/15 * * * *", "2026-11-23T12:46:00Z", "2026-11-23T13:00:00Z"),
            ("5/20 * * * *", "2026-11-23T12:26:00Z", "2026-11-23T12:45:00Z"),
            ("0 0 * * SAT", "2026-11-23T12:00:00Z", "2026-11-28T00:00:00Z"),
            ("0 0 * * 7", "2026-11-23T12:00:00Z", "2026-11-29T00:00:00Z"),
            ("30 8-17 * * mon-fri", "2026-11-27T18:00:00Z", "2026-11-30T08:30:00Z"),
            ("0 0 1 * *", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 0 31 4,5 *", "2026-01-01T00:00:00Z", "2026-05-31T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 13 * FRI", "2026-11-23T00:00:00Z", "2026-11-27T00:00:00Z"),
            ("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"),
            ("@weekly", "2026-11-23T12:00:00Z", "2026-11-29T00:00:00Z"),
            ("0,30 1 * JAN *", "2026-11-23T12:00:00Z", "2027-01-01T01:00:00Z"),
        ] {
            assert_eq!(next(text, from), then, "{text} after {from}");
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "a * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "*/x * * * *",
            "1,,2 * * * *",
            "- * * * *",
            "0 0 31 2 *",
            "@never",
            "-1 * * * *",
            "* * * foo *",
            "1-70 * * * *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }
}
