//! Moments and spans as whole milliseconds, and days. Nothing here reads a clock; the factory's clock is a trait.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A span in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// A day in UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(u64);

/// Milliseconds of a day. UTC as computers have it, without leap seconds.
const DAY: u64 = 86_400_000;

impl Date {
    /// Reads `2026-11-01`: a day that there is, from 1970 on, and in no other form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()));
        let (year, month, day): (u64, u64, u64) = (parts.next()???, parts.next()???, parts.next()???);
        // Years end with February, so that a leap day is their last.
        let (shifted_year, shifted_month) =
            if month > 2 { (year, month.checked_sub(3)?) } else { (year.checked_sub(1)?, month.checked_add(9)?) };
        let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
        let of_year = shifted_month.checked_mul(153)?.checked_add(2)? / 5;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100;
        let days = era.checked_mul(146_097)?.checked_add(of_era)?.checked_add(of_year)?.checked_add(day)?;
        // A day that there is not is another one in the calendar, and is written otherwise.
        let date = Self(days.checked_sub(719_469)?);
        (date.to_string() == text).then_some(date)
    }

    /// When it begins.
    pub const fn begins(self) -> Time {
        Time(self.0.saturating_mul(DAY))
    }
}

impl Time {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus a span, never past the end of time.
    #[must_use]
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long it has been since `earlier`; zero when that lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Date {
    /// `2026-11-01`. Civil date from days after Howard Hinnant's `civil_from_days`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shifted = self.0.saturating_add(719_468);
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for Time {
    /// RFC 3339 in UTC, to the millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, of_day) = (Date(self.0 / DAY), self.0 % DAY);
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
        write!(f, "{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_132_799_999, "2026-11-19T23:59:59.999Z"),
        ] {
            assert_eq!(Time::from_millis(millis).to_string(), text);
        }
    }

    #[test]
    fn a_day_is_read_in_one_form_and_only_where_there_is_one() {
        for text in ["1970-01-01", "2000-02-29", "2024-02-29", "2026-11-01", "2026-12-31", "2100-03-01", "9999-12-31"] {
            assert_eq!(Date::parse(text).unwrap().to_string(), text);
        }
        for date in (0..200_000).map(Date) {
            assert_eq!(Date::parse(&date.to_string()), Some(date));
        }
        assert_eq!(Date::parse("2026-11-20").unwrap().begins(), Time::from_millis(1_795_132_800_000));
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-11-1",
            "26-11-01",
            "2026-11-31",
            "2026-02-29",
            "2100-02-29",
            "2026-00-10",
            "2026-13-01",
            "2026-11-00",
            "1969-12-31",
            "0000-01-01",
            "2026-11-01Z",
            "2026-11-01-01",
            "+2026-11-01",
            "2026/11/01",
            " 2026-11-01",
            "18446744073709551615-01-01",
            "2026-11-18446744073709551615",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn time_never_wraps() {
        let end = Time::from_millis(u64::MAX);
        assert_eq!(end.after(Duration::from_seconds(u64::MAX)), end);
        assert_eq!(Time::from_millis(1).since(end), Duration::from_millis(0));
    }
}
