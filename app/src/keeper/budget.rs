//! What people see of models and money: which model an agent may have answer and on what terms, and what a run spent.

use selvedge_domain::{AgentName, Time};
use selvedge_gateway::model::hosting::Hosting;
use serde_json::{Value, json};

use crate::config::{AgentConfig, Budget, Config, ModelConfig, Price, since};
use crate::wiring::Bill;

/// The model an agent may have answer, with all its terms; null without one. Prices are in millionths for a million tokens.
pub(super) fn model(config: &Config, agent: &AgentConfig, now: Time) -> Value {
    let Some(model) = granted(config, agent) else { return Value::Null };
    let prices = model.prices.iter().flat_map(|(of, prices)| {
        let in_force = prices.in_force(now);
        prices.iter().map(move |(date, price)| {
            let Price { input, cached, cache_write, output } = price;
            json!({
                "of": of, "since": since(date), "is_in_force": in_force == Some((date, price)),
                "input": input, "cached": cached, "cache_write": cache_write, "output": output,
            })
        })
    });
    json!({
        "name": model.name.as_str(), "upstream": place(model), "hosting": model.hosting.as_str(), "called": model.called, "first": model.first,
        "protocols": model.protocols.iter().map(|protocol| protocol.as_str()).collect::<Vec<_>>(),
        "credential": model.credential.as_ref().map(|credential| credential.as_str()),
        "prices": prices.collect::<Vec<_>>(),
        "egress": model.egress.iter().map(|egress| egress.as_str()).collect::<Vec<_>>(),
    })
}

/// The same for people, a line each; and the budget.
pub(super) fn words(config: &Config, agent: &AgentConfig, now: Time) -> Vec<String> {
    let mut words = Vec::new();
    let amount = |millionths: u64| agent.budget.amount(millionths);
    if let Some(model) = granted(config, agent) {
        let protocols: Vec<&str> = model.protocols.iter().map(|protocol| protocol.as_str()).collect();
        let with = match &model.credential {
            Some(credential) => format!("with credential `{credential}`"),
            None => "with no credential".to_owned(),
        };
        let hosting = match &model.hosting {
            Hosting::Vendor => String::new(),
            hosting => format!(", run by `{}`", hosting.as_str()),
        };
        words.push(format!(
            "model `{}` at {}{hosting}, {with}, spoken to as {}",
            model.name,
            place(model),
            protocols.join(", ")
        ));
        words.extend(model.prices.iter().map(|(of, prices)| {
            let Some((date, Price { input, cached, cache_write, output })) = prices.in_force(now) else {
                return format!("  `{of}`: no price holds yet, so it cannot be asked");
            };
            let next = prices.iter().find_map(|(date, _)| date.filter(|date| date.begins() > now));
            format!(
                "  `{of}`{}: {}a million tokens cost {} read, {} from the cache, {} into it, {} written{}",
                model.called.get(of).map(|there| format!(", there `{there}`")).unwrap_or_default(),
                date.map(|date| format!("since {date} ")).unwrap_or_default(),
                amount(input),
                amount(cached),
                amount(cache_write),
                amount(output),
                next.map(|date| format!("; another price holds from {date} on")).unwrap_or_default(),
            )
        }));
        words.push(match model.egress.is_empty() {
            true => {
                "  the vendor does nothing on its side: its tools and the addresses it fetches are refused".to_owned()
            }
            false => {
                let egress: Vec<&str> = model.egress.iter().map(|egress| egress.as_str()).collect();
                format!("  the vendor may do on its side, out of every door's sight: {}", egress.join(", "))
            }
        });
    }
    if agent.budget.millionths > 0 || !words.is_empty() {
        words.push(format!("  a run spends {} at most, on its model, tokens and children together", agent.budget));
    }
    words
}

/// What a run spent and what is left, in millionths of the unit of its agent's budget, by the record. A child has what it was handed.
pub(super) fn spent(config: &Config, agent: &AgentName, handed: Option<u64>, bill: &Bill) -> Value {
    let nobody = Budget::default();
    let of_agent = config.agents.get(agent).map_or(&nobody, |agent| &agent.budget);
    let budget = handed.unwrap_or(of_agent.millionths);
    let left = budget.saturating_sub(bill.in_all());
    let amount = |millionths: u64| of_agent.amount(millionths);
    let tokens = &bill.tokens;
    let is_any = bill.in_all() > 0 || bill.model_calls > 0 || bill.model_calls_denied > 0;
    let read = tokens.input.saturating_add(tokens.cached).saturating_add(tokens.cache_write);
    let words = is_any.then(|| {
        let (set_aside, handed_on) = (bill.set_aside(), bill.handed_on.budget());
        let some = |what: &str, millionths: u64| match millionths {
            0 => String::new(),
            _ => format!(", {what} {}", amount(millionths)),
        };
        format!(
            "{} calls of its model ({} denied), {} tool calls ({} denied), {read} tokens read and {} written; it cost {}{}{}{}, and {} of {} is left",
            bill.model_calls,
            bill.model_calls_denied,
            bill.tool_calls,
            bill.tool_calls_denied,
            tokens.output,
            amount(bill.cost),
            if bill.is_estimated { " by an estimate" } else { "" },
            some("set aside", set_aside),
            some("handed on", handed_on),
            amount(left),
            amount(budget)
        )
    });
    json!({
        "model_calls": bill.model_calls, "model_calls_denied": bill.model_calls_denied,
        "tool_calls": bill.tool_calls, "tool_calls_denied": bill.tool_calls_denied,
        "tokens": {
            "input": tokens.input, "cached": tokens.cached, "cache_write": tokens.cache_write, "output": tokens.output,
            "reasoning": tokens.reasoning,
        },
        "cost": bill.cost, "is_estimated": bill.is_estimated, "set_aside": bill.set_aside(),
        "handed_on": bill.handed_on.budget(), "budget": budget, "left": left, "unit": of_agent.unit, "words": words,
    })
}

fn granted<'c>(config: &'c Config, agent: &AgentConfig) -> Option<&'c ModelConfig> {
    config.models.get(agent.agent.models.first()?)
}

fn place(model: &ModelConfig) -> String {
    let (upstream, path) = (&model.upstream, &model.base_path);
    format!("https://{}:{}{path}", upstream.host, upstream.port)
}
