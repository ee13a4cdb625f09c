//! What models cost: a table of prices for each, every price from its day on. Owns which one holds at a moment (E3).

use std::collections::BTreeMap;

use selvedge_domain::{Date, Time};

use super::models::is_model_name;
use super::{Config, ConfigError, Reader, file};

/// Highest price that is taken for one, per million tokens: a typing error is more likely than a dearer model.
const PRICE_MAX: f64 = 10_000.0;

/// What a million tokens cost, in millionths of the unit that budgets are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) cache_write: u64,
    pub(crate) output: u64,
}

/// What one model costs, by the day from which it does; first what holds from the beginning on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prices(BTreeMap<Option<Date>, Price>);

/// A price, and the day from which it holds; none from the beginning on.
pub(crate) type Dated = (Option<Date>, Price);

impl Prices {
    /// What it costs now: by the latest day that is not ahead. Nothing where all are.
    pub(crate) fn in_force(&self, now: Time) -> Option<Dated> {
        let has_begun = |since: &Option<Date>| since.is_none_or(|since| since.begins() <= now);
        self.iter().rev().find(|(since, _)| has_begun(since))
    }

    /// Whether anything is ever paid.
    pub(super) fn cost(&self) -> bool {
        self.iter().any(|(_, Price { input, cached, cache_write, output })| input + cached + cache_write + output > 0)
    }

    /// All of them, the earliest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Dated> {
        self.0.iter().map(|(since, price)| (*since, *price))
    }
}

/// From when a price holds, as records and people have it.
pub(crate) fn since(date: Option<Date>) -> String {
    date.map_or_else(|| ALWAYS.to_owned(), |date| date.to_string())
}

/// What stands where a price has no day.
pub(crate) const ALWAYS: &str = "always";

impl Config {
    /// Refuses models of which one may be asked that has no price yet: what it costs could be held against no budget.
    pub(super) fn priced_by(&self, path: &str, now: Time) -> Result<(), ConfigError> {
        for model in self.models.values() {
            for (of, prices) in &model.prices {
                if prices.in_force(now).is_none() {
                    let first = since(prices.iter().next().and_then(|(since, _)| since));
                    let because = format!(
                        "`{of}` has no price before {first}: write what it costs until then, or add it on that day"
                    );
                    let key = format!("model.{}.price", model.name);
                    return Err(ConfigError::Meaning { path: path.to_owned(), key, because });
                }
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    pub(super) fn prices(
        &self,
        key: &str,
        written: &[file::ModelPrice],
    ) -> Result<BTreeMap<String, Prices>, ConfigError> {
        let mut prices: BTreeMap<String, Prices> = BTreeMap::new();
        for written in written {
            let of = &written.of;
            if !is_model_name(of) {
                return self.bad(key, format!("`{of}` is not a name of a model"));
            }
            let since = written.since.as_deref().map(|text| match Date::parse(text) {
                Some(date) => Ok(date),
                None => self.bad(key, format!("`since` of `{of}`, `{text}`, is not a day; write such as `2026-11-01`")),
            });
            let since = since.transpose()?;
            let price = self.price(key, written)?;
            if prices.entry(of.clone()).or_default().0.insert(since, price).is_some() {
                let two = since.map_or_else(|| "without `since`".to_owned(), |since| format!("since {since}"));
                return self
                    .bad(key, format!("`{of}` has two prices {two}; leave one, or give each the day it holds from"));
            }
        }
        Ok(prices)
    }

    fn price(&self, key: &str, written: &file::ModelPrice) -> Result<Price, ConfigError> {
        let read = |of: &str, price: f64| {
            let is_price = price.is_finite() && (0.0..=PRICE_MAX).contains(&price);
            let because = format!("`{of}` of `{}` is not a price per million tokens", written.of);
            // Within the bounds above, so nothing is cut.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within bounds")]
            if is_price { Ok((price * 1e6).round() as u64) } else { self.bad(key, because) }
        };
        Ok(Price {
            input: read("input", written.input)?,
            cached: read("cached", written.cached.unwrap_or(written.input))?,
            cache_write: read("cache_write", written.cache_write.unwrap_or(written.input))?,
            output: read("output", written.output)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::config::Config;

    use super::*;

    const PRICE: Price = Price { input: 1, cached: 1, cache_write: 1, output: 1 };

    fn parse(price: &str) -> Result<Config, String> {
        let text = format!(
            "[model.main]\nupstream = \"https://models.example\"\nprotocols = [\"openai-chat\"]\nprice = [{price}]\n"
        );
        Config::parse("selvedge.toml", &text).map_err(|error| error.to_string())
    }

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn a_table_without_days_is_what_it_was_and_days_make_it_one_after_the_other_e3() {
        let config = parse("{ of = \"m\", input = 3.0, output = 15.0 }").unwrap();
        let prices = &config.models.values().next().unwrap().prices["m"];
        let (since, price) = prices.in_force(Time::from_millis(0)).unwrap();
        assert_eq!((since, price.input, price.cached, price.output), (None, 3_000_000, 3_000_000, 15_000_000));
        let config = parse(
            "{ of = \"m\", since = \"2026-11-01\", input = 2.0, output = 9.0 }, { of = \"m\", input = 3.0, output = 15.0 },\n\
             { of = \"n\", since = \"2026-11-01\", input = 1.0, output = 1.0 }",
        );
        let config = config.unwrap();
        let model = config.models.values().next().unwrap();
        assert_eq!(model.first, "m");
        let day = date("2026-11-01").begins();
        let before = Time::from_millis(day.as_millis() - 1);
        let input = |of: &str, now| model.prices[of].in_force(now).map(|(_, price)| price.input);
        assert_eq!((input("m", before), input("m", day)), (Some(3_000_000), Some(2_000_000)));
        assert_eq!((input("n", before), input("n", day)), (None, Some(1_000_000)));
    }

    #[test]
    fn two_prices_for_one_day_and_days_that_are_none_are_told_e3() {
        for (table, words) in [
            (
                "{ of = \"m\", input = 1.0, output = 1.0 }, { of = \"m\", input = 2.0, output = 1.0 }",
                "`m` has two prices without `since`",
            ),
            (
                "{ of = \"m\", since = \"2026-11-01\", input = 1.0, output = 1.0 }, { of = \"m\", since = \"2026-11-01\", input = 1.0, output = 1.0 }",
                "`m` has two prices since 2026-11-01",
            ),
            ("{ of = \"m\", since = \"2026-11-31\", input = 1.0, output = 1.0 }", "`2026-11-31`, is not a day"),
            ("{ of = \"m\", since = \"yesterday\", input = 1.0, output = 1.0 }", "such as `2026-11-01`"),
        ] {
            let said = parse(table).unwrap_err();
            assert!(said.contains("model.main.price") && said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_model_without_a_price_yet_is_refused_until_its_day_e3() {
        let day = date("2026-11-01").begins();
        let before = Time::from_millis(day.as_millis() - 1);
        let config = parse("{ of = \"m\", since = \"2026-11-01\", input = 1.0, output = 1.0 }").unwrap();
        let said = config.priced_by("selvedge.toml", before).unwrap_err().to_string();
        let words = "`model.main.price` in `selvedge.toml`: `m` has no price before 2026-11-01: write what it costs";
        assert!(said.contains(words), "{said}");
        assert!(config.priced_by("selvedge.toml", day).is_ok());
    }

    proptest! {
        #[test]
        fn the_price_in_force_is_the_latest_that_is_not_after_now_e3(
            days in prop::collection::btree_set(prop::option::of(0_u64..2_000), 0..12),
            now in 0_u64..2_100 * 86_400_000,
        ) {
            let begins = |day: &Option<u64>| day.map_or(0, |day| day * 86_400_000);
            let dated = |day: Option<u64>| day.map(|day| {
                date(Time::from_millis(day * 86_400_000).to_string().split('T').next().unwrap())
            });
            let prices = Prices(days.iter().map(|day| (dated(*day), Price { input: begins(day), ..PRICE })).collect());
            // Said another way: no other that has begun has begun later; one without a day came before all.
            let begun: Vec<_> = days.iter().filter(|day| begins(day) <= now).collect();
            match prices.in_force(Time::from_millis(now)) {
                None => prop_assert!(begun.is_empty()),
                Some((since, price)) => {
                    let latest = begun.iter().max_by_key(|day| (day.is_some(), begins(day))).unwrap();
                    prop_assert_eq!(since, dated(**latest));
                    prop_assert_eq!(price.input, begins(latest));
                }
            }
        }
    }
}
