//! Reading dates: `2024-12-09` and RFC 3339 timestamps in UTC, as registries and advisories write them.

use selvedge_domain::Time;

const MILLIS_PER_DAY: u64 = 86_400_000;

/// Reads `YYYY-MM-DD`, alone or followed by `Thh:mm:ss[.fraction]Z`. Years before 1970 and other offsets are refused.
pub(crate) fn parse(text: &str) -> Option<Time> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let of_day = time.map_or(Some(0), millis_of_day)?;
    Some(Time::from_millis(days_from_civil(year, month, day) * MILLIS_PER_DAY + of_day))
}

/// Whole days between two moments; zero when `later` is not later.
pub(crate) fn days_between(earlier: Time, later: Time) -> u64 {
    later.since(earlier).as_millis() / MILLIS_PER_DAY
}

/// `days` as milliseconds.
pub(crate) fn days(days: u64) -> selvedge_domain::Duration {
    selvedge_domain::Duration::from_millis(days.saturating_mul(MILLIS_PER_DAY))
}

fn millis_of_day(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut parts = whole.split(':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    // A leap second is written 60.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(((hour * 60 + minute) * 60 + second) * 1000)
}

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`. The year is 1970 or later, the month 1 to 12.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted_year / 400, shifted_year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_as_the_domain_prints_it() {
        for (text, printed) in [
            ("1970-01-01", "1970-01-01T00:00:00.000Z"),
            ("2000-02-29", "2000-02-29T00:00:00.000Z"),
            ("2026-02-05T07:44:48Z", "2026-02-05T07:44:48.000Z"),
            ("2024-12-31T23:59:59.123456Z", "2024-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2024",
            "2024-1-1",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "1969-12-31",
            "2024-01-01T",
            "2024-01-01T00:00:00",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00+02:00",
            "2024-01-01T00:00:00.Z",
            "２024-01-01",
            "2024-01-01-01",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
