//! `behaved`: what a run of an agent came to, and what that means for the agent.

use std::collections::BTreeSet;

use selvedge_authority::Record;
use selvedge_domain::{
    AgentName, Amount, Amounts, Autonomy, Behaviour, Capabilities, Departure, Power, Profile, Started,
};
use serde::{Deserialize, Serialize};

use super::{Kind, Malformed, read_as, word};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    agent: String,
    behaviour: BehaviourV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum BehaviourV1 {
    Settled { facts: FactsV1, tools: BTreeSet<String>, hosts: BTreeSet<String>, amounts: AmountsV1 },
    Drifted { registered: String, seen: String, facts: FactsV1 },
    Departed { departures: Vec<DepartureV1>, lowers_trust: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsV1 {
    started: String,
    chain_depth: u32,
    model_calls: u32,
    tool_calls: u32,
    tools: u32,
    queued: u32,
    changes: u32,
    confirmed: u32,
    powers: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountsV1 {
    calls: u64,
    bytes: u64,
    cost: u64,
    millis: u64,
}

/// A name that is new, or an amount that is too much.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DepartureV1 {
    what: String,
    name: Option<String>,
    amount: Option<AmountV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountV1 {
    seen: u64,
    median: u64,
    spread: u64,
}

const TOOL: &str = "tool";
const HOST: &str = "host";

impl V1 {
    pub(super) fn store(agent: &AgentName, behaviour: &Behaviour) -> Self {
        let behaviour = match behaviour {
            Behaviour::Settled(profile) => BehaviourV1::Settled {
                facts: FactsV1::store(&profile.facts),
                tools: profile.tools.clone(),
                hosts: profile.hosts.clone(),
                amounts: AmountsV1::store(&profile.amounts),
            },
            Behaviour::Drifted { registered, seen, facts } => BehaviourV1::Drifted {
                registered: registered.as_str().to_owned(),
                seen: seen.as_str().to_owned(),
                facts: FactsV1::store(facts),
            },
            Behaviour::Departed { departures, lowers_trust } => BehaviourV1::Departed {
                departures: departures.iter().map(DepartureV1::store).collect(),
                lowers_trust: *lowers_trust,
            },
        };
        Self { agent: agent.to_string(), behaviour }
    }

    fn restore(self) -> Result<Record, Malformed> {
        let autonomy = |text: &str| word("a grade of autonomy", text, Autonomy::parse);
        let behaviour = match self.behaviour {
            BehaviourV1::Settled { facts, tools, hosts, amounts } => {
                let (facts, amounts) = (facts.restore()?, amounts.restore());
                Behaviour::Settled(Box::new(Profile { facts, tools, hosts, amounts }))
            }
            BehaviourV1::Drifted { registered, seen, facts } => Behaviour::Drifted {
                registered: autonomy(&registered)?,
                seen: autonomy(&seen)?,
                facts: facts.restore()?,
            },
            BehaviourV1::Departed { departures, lowers_trust } => Behaviour::Departed {
                departures: departures.into_iter().map(DepartureV1::restore).collect::<Result<_, _>>()?,
                lowers_trust,
            },
        };
        Ok(Record::Behaved { agent: AgentName::parse(&self.agent)?, behaviour })
    }
}

impl FactsV1 {
    fn store(facts: &Capabilities) -> Self {
        let Capabilities { started, chain_depth, model_calls, tool_calls, tools, queued, changes, confirmed, powers } =
            facts;
        Self {
            started: started.as_str().to_owned(),
            chain_depth: *chain_depth,
            model_calls: *model_calls,
            tool_calls: *tool_calls,
            tools: *tools,
            queued: *queued,
            changes: *changes,
            confirmed: *confirmed,
            powers: powers.iter().map(|power| power.as_str().to_owned()).collect(),
        }
    }

    fn restore(self) -> Result<Capabilities, Malformed> {
        let Self { started, chain_depth, model_calls, tool_calls, tools, queued, changes, confirmed, powers } = self;
        let started = word("what a run is started by", &started, Started::parse)?;
        let powers = powers.iter().map(|power| word("a power", power, Power::parse)).collect::<Result<_, _>>()?;
        Ok(Capabilities { started, chain_depth, model_calls, tool_calls, tools, queued, changes, confirmed, powers })
    }
}

impl AmountsV1 {
    fn store(amounts: &Amounts) -> Self {
        let Amounts { calls, bytes, cost, millis } = *amounts;
        Self { calls, bytes, cost, millis }
    }

    fn restore(self) -> Amounts {
        let Self { calls, bytes, cost, millis } = self;
        Amounts { calls, bytes, cost, millis }
    }
}

impl DepartureV1 {
    fn store(departure: &Departure) -> Self {
        let named = |what: &str, name: &String| Self { what: what.to_owned(), name: Some(name.clone()), amount: None };
        match departure {
            Departure::Tool(kind) => named(TOOL, kind),
            Departure::Host(host) => named(HOST, host),
            Departure::Amount { what, seen, median, spread } => Self {
                what: what.as_str().to_owned(),
                name: None,
                amount: Some(AmountV1 { seen: *seen, median: *median, spread: *spread }),
            },
        }
    }

    fn restore(self) -> Result<Departure, Malformed> {
        match (self.what.as_str(), self.name, self.amount) {
            (TOOL, Some(kind), None) => Ok(Departure::Tool(kind)),
            (HOST, Some(host), None) => Ok(Departure::Host(host)),
            (what, None, Some(AmountV1 { seen, median, spread })) => {
                Ok(Departure::Amount { what: word("an amount", what, Amount::parse)?, seen, median, spread })
            }
            (what, _, _) => Err(Malformed(format!("`{}` is no departure", what.escape_debug()))),
        }
    }
}

impl Kind for V1 {
    const NAME: &'static str = "behaved";
    const VERSION: u32 = 1;

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
