//! How bad: the base score of a CVSS 3 vector, by the formula of its specification (section 7.1).

use std::fmt;

/// A CVSS 3 base score in tenths, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity(u8);

impl Severity {
    /// Where an advisory without a score we can compute is sorted: the lower end of "high", so that it neither hides
    /// behind trifles nor passes what is known to be critical.
    pub const ASSUMED: Self = Self(70);

    /// The score of a CVSS 3.0 or 3.1 vector; none for other versions (4.0 is a table of its own) and damaged vectors.
    pub fn from_vector(vector: &str) -> Option<Self> {
        let metrics = vector.strip_prefix("CVSS:3.0/").or_else(|| vector.strip_prefix("CVSS:3.1/"))?;
        let metric = |name: &str| metrics.split('/').find_map(|metric| metric.strip_prefix(name)?.strip_prefix(':'));
        let scope_changed = match metric("S")? {
            "U" => false,
            "C" => true,
            _ => return None,
        };
        let weakness = |name: &str| match metric(name)? {
            "H" => Some(0.56),
            "L" => Some(0.22),
            "N" => Some(0.0),
            _ => None,
        };
        let exploitability = 8.22
            * vector_weight(metric("AV")?)?
            * complexity_weight(metric("AC")?)?
            * privileges_weight(metric("PR")?, scope_changed)?
            * interaction_weight(metric("UI")?)?;
        let remaining: f64 = (1.0 - weakness("C")?) * (1.0 - weakness("I")?) * (1.0 - weakness("A")?);
        let base = 1.0 - remaining;
        let impact =
            if scope_changed { 7.52 * (base - 0.029) - 3.25 * (base - 0.02_f64).powi(15) } else { 6.42 * base };
        if impact <= 0.0 {
            return Some(Self(0));
        }
        let score = if scope_changed { 1.08 * (impact + exploitability) } else { impact + exploitability };
        Some(Self(round_up(score.min(10.0))))
    }
}

/// Rounds up to tenths as the specification's appendix A does, so that 4.000002 is 4.0 and not 4.1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the score lies between 0 and 10, so the results are below 1,000,001 and 101"
)]
fn round_up(score: f64) -> u8 {
    let hundred_thousandths = (score * 100_000.0).round() as u32;
    hundred_thousandths.div_ceil(10_000) as u8
}

fn vector_weight(value: &str) -> Option<f64> {
    match value {
        "N" => Some(0.85),
        "A" => Some(0.62),
        "L" => Some(0.55),
        "P" => Some(0.2),
        _ => None,
    }
}

fn complexity_weight(value: &str) -> Option<f64> {
    match value {
        "L" => Some(0.77),
        "H" => Some(0.44),
        _ => None,
    }
}

fn privileges_weight(value: &str, scope_changed: bool) -> Option<f64> {
    match (value, scope_changed) {
        ("N", _) => Some(0.85),
        ("L", false) => Some(0.62),
        ("L", true) => Some(0.68),
        ("H", false) => Some(0.27),
        ("H", true) => Some(0.5),
        _ => None,
    }
}

fn interaction_weight(value: &str) -> Option<f64> {
    match value {
        "N" => Some(0.85),
        "R" => Some(0.62),
        _ => None,
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_the_national_database_published() {
        for (vector, score) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "9.8"),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", "7.5"),
            ("CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", "6.2"),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", "6.1"),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", "9.9"),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", "10.0"),
            ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:L", "1.6"),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "0.0"),
        ] {
            assert_eq!(Severity::from_vector(vector).unwrap().to_string(), score, "{vector}");
        }
    }

    #[test]
    fn what_we_cannot_score_has_no_score() {
        for vector in [
            "",
            "CVSS:4.0/AV:N/AC:L",
            "CVSS:3.1/",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:X/C:H/I:H/A:H",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H",
        ] {
            assert_eq!(Severity::from_vector(vector), None, "{vector}");
        }
    }
}
