//! Reads back the moments that orders print (RFC 3339, UTC, to the millisecond).

use selvedge_domain::Time;

/// The moment that prints as exactly this text.
pub(crate) fn parse(text: &str) -> Option<Time> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (clock, millis) = time.split_once('.')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let millis: u64 = millis.parse().ok()?;
    let seconds = days(year, month, day)?.checked_mul(86_400)?.checked_add(hour * 3_600 + minute * 60 + second)?;
    let moment = Time::from_millis(seconds.checked_mul(1_000)?.checked_add(millis)?);
    // Whatever does not print back as it was read (month 13, second 61) is no moment.
    (moment.to_string() == text).then_some(moment)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok().filter(|n: &u64| *n < 1_000_000_000_000));
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted_year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, of_era) = (shifted_year / 400, shifted_year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_time_prints_reads_back_as_that_time() {
        let far = u64::MAX / 2;
        for millis in [0, 1, 951_782_400_000, 951_868_799_999, 1_795_132_799_999, 253_402_300_800_000, far, u64::MAX] {
            let time = Time::from_millis(millis);
            assert_eq!(parse(&time.to_string()), Some(time));
        }
        for step in 0..5_000_u64 {
            let time = Time::from_millis(step * 26_297_461_337);
            assert_eq!(parse(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in [
            "",
            "Z",
            "1970-01-01T00:00:00Z",
            "1970-13-01T00:00:00.000Z",
            "1970-02-30T00:00:00.000Z",
            "1970-01-01T24:00:00.000Z",
            "1970-01-01T00:00:00.000+00:00",
            "+970-01-01T00:00:00.000Z",
            "99999999999999999999-01-01T00:00:00.000Z",
            "1970-00-00T00:00:00.000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
