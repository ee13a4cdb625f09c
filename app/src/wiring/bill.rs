//! What a run spent in all its attempts, by the record and nothing else: calls of its model, tool calls, tokens, and what it handed on.

use std::collections::BTreeMap;

use selvedge_authority::{Record, Verdict};
use selvedge_domain::orders::{ModelAnswered, Tokens};
use selvedge_domain::{Deed, Digest, RunId, Verb};

use super::Works;
use super::tokens::HandedOn;

/// A run's bill.
#[derive(Debug, Default)]
pub(crate) struct Bill {
    pub(crate) handed_on: HandedOn,
    /// Calls of the model that were allowed.
    pub(crate) model_calls: u64,
    pub(crate) model_calls_denied: u64,
    /// Tool calls that the agent was given.
    pub(crate) tool_calls: u64,
    pub(crate) tool_calls_denied: u64,
    /// Each counted once.
    pub(crate) tokens: Tokens,
    /// What the calls that are over cost, in millionths.
    pub(crate) cost: u64,
    /// Whether a vendor left out its numbers somewhere.
    pub(crate) is_estimated: bool,
    /// What is set aside for calls that nobody settled.
    open: BTreeMap<Digest, u64>,
}

impl Works {
    /// What the run spent so far.
    pub(super) fn bill(&self, run: &RunId) -> Bill {
        let mut bill = Bill::default();
        for recorded in self.ledger.entries(0, Some(run.clone())).filter_map(Result::ok) {
            bill.take(&recorded.entry.record);
        }
        bill
    }
}

impl Bill {
    /// Counts an entry of the run.
    pub(crate) fn take(&mut self, record: &Record) {
        match record {
            Record::Decided { order, verdict, .. } => {
                let is_allowed = matches!(verdict, Verdict::Allow { .. });
                let calls = match (order.verb, is_allowed) {
                    (Verb::ModelCall, true) => &mut self.model_calls,
                    (Verb::ModelCall, false) => &mut self.model_calls_denied,
                    (Verb::ToolCall, true) => &mut self.tool_calls,
                    (Verb::ToolCall, false) => &mut self.tool_calls_denied,
                    (_, true) => return self.handed_on.count(order),
                    (_, false) => return,
                };
                *calls = calls.saturating_add(1);
                if order.verb == Verb::ModelCall && is_allowed {
                    let reserves = order.number("reserves").and_then(|reserves| u64::try_from(reserves).ok());
                    self.open.insert(order.digest(), reserves.unwrap_or(u64::MAX));
                }
            }
            Record::Done { order, deed: Deed::ModelAnswered(answer), .. } => {
                self.open.remove(order);
                self.add(answer);
            }
            _ => {}
        }
    }

    fn add(&mut self, answer: &ModelAnswered) {
        let Tokens { input, cached, cache_write, output, reasoning } = answer.tokens;
        let of = &mut self.tokens;
        for (sum, count) in [
            (&mut of.input, input),
            (&mut of.cached, cached),
            (&mut of.cache_write, cache_write),
            (&mut of.output, output),
            (&mut of.reasoning, reasoning),
            (&mut self.cost, answer.cost),
        ] {
            *sum = sum.saturating_add(count);
        }
        self.is_estimated |= answer.is_estimated;
    }

    /// What calls that were allowed and never settled may cost.
    pub(crate) fn set_aside(&self) -> u64 {
        self.open.values().fold(0, |sum, reserved| sum.saturating_add(*reserved))
    }

    /// What the model cost, or may have.
    pub(super) fn paid(&self) -> u64 {
        self.cost.saturating_add(self.set_aside())
    }

    /// Everything that came out of the budget.
    pub(crate) fn in_all(&self) -> u64 {
        self.paid().saturating_add(self.handed_on.budget())
    }
}
