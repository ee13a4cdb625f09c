//! JSON as this door reads it, of agents and of vendors: text that means one thing to whoever reads it. Owns that a member stands once in
//! its object, that nesting and the number of values are bounded, and that nothing stands behind the value; never knows what a member means.
//!
//! Values are `serde_json`'s. What order their objects are in is for the features that is built with; either way, a rebuilt request says the
//! same in the same bytes each time, which is what vendors' caches of prompts need.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::answer::Garbled;
use super::request::{DEPTH_MAX, Unfit, VALUES_MAX};

/// Text that is not JSON as this door reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPlain {
    /// Not JSON, a member twice in one object, or something behind the value.
    #[error("it is not plain JSON")]
    Syntax,
    /// It nests deeper than [`DEPTH_MAX`].
    #[error("it is nested too deep")]
    TooDeep,
    /// It has more values than [`VALUES_MAX`].
    #[error("it has too many values")]
    TooMany,
}

/// Reads the one value that `text` is.
pub fn parse(text: &[u8]) -> Result<Value, NotPlain> {
    let (is_too_deep, left) = (Cell::new(false), Cell::new(Some(VALUES_MAX)));
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Plain { depth: DEPTH_MAX, is_too_deep: &is_too_deep, left: &left }.deserialize(&mut json);
    match value.and_then(|value| json.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(_) if is_too_deep.get() => Err(NotPlain::TooDeep),
        Err(_) if left.get().is_none() => Err(NotPlain::TooMany),
        Err(_) => Err(NotPlain::Syntax),
    }
}

/// Reads the one object that `text` is.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, NotPlain> {
    match parse(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(NotPlain::Syntax),
    }
}

impl From<NotPlain> for Unfit {
    fn from(because: NotPlain) -> Self {
        match because {
            NotPlain::Syntax => Self::Syntax,
            NotPlain::TooDeep => Self::TooMuch("deep"),
            NotPlain::TooMany => Self::TooMuch("full of values"),
        }
    }
}

impl From<NotPlain> for Garbled {
    fn from(because: NotPlain) -> Self {
        match because {
            NotPlain::Syntax => Self::Syntax("plain JSON"),
            NotPlain::TooDeep => Self::TooMuch("deep a nesting"),
            NotPlain::TooMany => Self::TooMuch("many values"),
        }
    }
}

/// Reads a value that may nest this deep.
#[derive(Clone, Copy)]
struct Plain<'a> {
    depth: usize,
    is_too_deep: &'a Cell<bool>,
    /// How many more values may come; nothing once there were too many.
    left: &'a Cell<Option<usize>>,
}

impl Plain<'_> {
    fn below<E: Error>(self) -> Result<Self, E> {
        let Some(depth) = self.depth.checked_sub(1) else {
            self.is_too_deep.set(true);
            return Err(E::custom("nested too deep"));
        };
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(1)));
        if self.left.get().is_none() {
            return Err(D::Error::custom("too many values"));
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(below)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(below)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_means_one_thing_is_read() {
        for text in [
            "null",
            " {\"a\":[1,-2,0.5,true,\"x\\u00e9\"],\"b\":{\"a\":{}}}\n",
            "18446744073709551615",
            "[{\"a\":1},{\"a\":2}]",
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn a101_json_that_two_readers_could_read_differently_is_not() {
        let refused = [
            "",
            "{",
            "{\"a\":1,\"a\":1}",
            "[{\"b\":{\"a\":1,\"\\u0061\":2}}]",
            "{} {}",
            "{}x",
            "{\"a\":1,}",
            "{'a':1}",
            "// x\n1",
            "NaN",
            "1e999",
            "\"\\ud800\"",
            "01",
            "\u{feff}{}",
        ];
        for text in refused {
            assert_eq!(parse(text.as_bytes()), Err(NotPlain::Syntax), "{text}");
        }
        assert_eq!(parse(b"\"\xFF\""), Err(NotPlain::Syntax));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(parse(nested(DEPTH_MAX + 1).as_bytes()), Err(NotPlain::TooDeep));
        assert_eq!(parse("{\"a\":".repeat(DEPTH_MAX + 1).as_bytes()), Err(NotPlain::TooDeep));
    }

    /// A byte or two make a value, and a value takes many bytes of memory.
    #[test]
    fn a101_the_number_of_values_is_bounded_however_they_are_put_together() {
        let list = |count: usize| format!("[{}1]", "1,".repeat(count - 2));
        assert!(parse(list(VALUES_MAX).as_bytes()).is_ok());
        assert_eq!(parse(list(VALUES_MAX + 1).as_bytes()), Err(NotPlain::TooMany));
        let in_lists = format!("[{}[]]", "[{}],".repeat(VALUES_MAX / 2));
        assert_eq!(parse(in_lists.as_bytes()), Err(NotPlain::TooMany));
        let in_objects = (0..VALUES_MAX).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",");
        assert_eq!(parse(format!("{{{in_objects}}}").as_bytes()), Err(NotPlain::TooMany));
    }
}
