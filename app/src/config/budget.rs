//! What may be spent: an amount as a person writes it, kept in millionths of whatever they count in.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Millionths of one unit.
const MILLIONTHS: u64 = 1_000_000;

/// Digits of a millionth.
const DIGITS: usize = 6;

/// Longest name of a unit: it stands beside every amount.
const UNIT_BYTES_MAX: usize = 16;

/// `"5 USD"` or `"0.50"`. The unit is a label; nothing is converted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) millionths: u64,
    /// What it is counted in; "" where nobody said.
    pub(crate) unit: String,
}

impl Budget {
    pub(super) fn is_zero(&self) -> bool {
        self.millionths == 0
    }

    /// An amount in this budget's unit.
    pub(crate) fn amount(&self, millionths: u64) -> String {
        Self { millionths, unit: self.unit.clone() }.to_string()
    }

    /// A run is one task, so `/task` says what is meant anyway.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix("/task").unwrap_or(text).trim();
        let (number, unit) = text.split_once(' ').map_or((text, ""), |(number, unit)| (number, unit.trim()));
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_unit = unit.len() <= UNIT_BYTES_MAX && unit.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_digits(whole) || !is_digits(part) || part.len() > DIGITS || !is_unit {
            return None;
        }
        let part: u64 = format!("{part:0<DIGITS$}").parse().ok()?;
        let millionths = whole.parse::<u64>().ok()?.checked_mul(MILLIONTHS)?.checked_add(part)?;
        Some(Self { millionths, unit: unit.to_owned() })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.millionths / MILLIONTHS, self.millionths % MILLIONTHS);
        let part = format!("{part:06}");
        match part.trim_end_matches('0') {
            "" => write!(to, "{whole}")?,
            part => write!(to, "{whole}.{part}")?,
        }
        if self.unit.is_empty() { Ok(()) } else { write!(to, " {}", self.unit) }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Budget;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an amount in quotes, such as \"5 USD\" or \"0.50\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Budget, E> {
        let because = || {
            format!(
                "`{text}` is not an amount; write \"5 USD\" or \"0.50\", with a point and six digits after it at most"
            )
        };
        Budget::parse(text).ok_or_else(|| E::custom(because()))
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Budget {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Budget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount: `\"5 USD\"` or `\"0.50\"`. The unit is a label, the same that prices are in; nothing is converted.",
            "type": "string",
            "pattern": "^[0-9]+([.][0-9]{1,6})?( +[A-Za-z0-9]{1,16})?(/task)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_written_as_people_write_amounts() {
        let read = |text: &str| Budget::parse(text).map(|budget| (budget.millionths, budget.unit));
        assert_eq!(read("5 USD"), Some((5_000_000, "USD".to_owned())));
        assert_eq!(read("5 USD/task"), Some((5_000_000, "USD".to_owned())));
        assert_eq!(read("5.00"), Some((5_000_000, String::new())));
        assert_eq!(read("0.000001 EUR"), Some((1, "EUR".to_owned())));
        for wrong in ["", "USD", "5,00", "-1", "5.", ".5", "1e3", "0.0000001", "5 US dollars", "18446744073710"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_budget_is_shown_as_it_was_written() {
        for text in ["5 USD", "0.5", "0.000001 EUR", "0"] {
            assert_eq!(Budget::parse(text).unwrap().to_string(), text);
        }
    }
}
