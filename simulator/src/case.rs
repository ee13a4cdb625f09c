//! Cases of the crash matrix: which faults strike where in a scenario, and how each case is played and judged.

use std::collections::BTreeMap;

use crate::faults::{Fault, Plan};
use crate::keeper::Simulation;
use crate::notebook::{Memory, Notebook};
use crate::play::{Ending, play};
use crate::scenario::Scenario;
use crate::{oracle, scenarios};

/// Faults at points of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Which fault at which point.
    pub strikes: BTreeMap<usize, Fault>,
}

impl Case {
    /// One fault.
    pub fn one(point: usize, fault: Fault) -> Self {
        Self { strikes: BTreeMap::from([(point, fault)]) }
    }

    /// Every fault point of a calm ending × every one of these faults that can strike there.
    pub fn singles(calm: &Ending, faults: &[Fault]) -> Vec<Self> {
        let strikes = |(point, (kind, _)): (usize, &(crate::Kind, &'static str))| {
            let kind = *kind;
            faults.iter().filter(move |fault| fault.strikes(kind)).map(move |fault| Self::one(point, *fault))
        };
        calm.points.iter().enumerate().flat_map(strikes).collect()
    }

    /// Reads the line a failure prints: `<scenario>|<point>|<fault>`, and more points and faults after that.
    pub fn parse(line: &str) -> Option<(Scenario, Self)> {
        let mut words = line.split('|');
        let name = words.next()?;
        let scenario = scenarios::all().into_iter().find(|scenario| scenario.name == name)?;
        let mut strikes = BTreeMap::new();
        while let (Some(point), Some(fault)) = (words.next(), words.next()) {
            let fault = Fault::ALL.iter().copied().find(|known| format!("{known:?}") == fault)?;
            strikes.insert(point.parse().ok()?, fault);
        }
        Some((scenario, Self { strikes }))
    }

    /// The line that replays it.
    pub fn line(&self, scenario: &Scenario) -> String {
        let strikes: String = self.strikes.iter().map(|(point, fault)| format!("|{point}|{fault:?}")).collect();
        format!("{}{strikes}", scenario.name)
    }

    /// Plays it on a fresh notebook.
    pub fn run(&self, scenario: &Scenario) -> Ending {
        self.run_on(scenario, &Notebook::default())
    }

    /// Plays it on this record.
    pub fn run_on(&self, scenario: &Scenario, memory: &dyn Memory) -> Ending {
        play(&Simulation::new(scenario, Plan::At(self.strikes.clone()), memory), scenario)
    }

    /// Whether the ending is as it must be: every sentence of the oracle; and the outcomes of the calm play, unless something
    /// failed for good, or so often that a run had to give up.
    pub fn judge(&self, scenario: &Scenario, calm: &Ending, ending: &Ending) -> Result<(), String> {
        let at = |text: String| {
            let struck: Vec<String> =
                ending.struck.iter().map(|(_, name, fault)| format!("{fault:?} at {name}")).collect();
            format!("SELVEDGE_CASE='{}' ({}): {text}", self.line(scenario), struck.join(", "))
        };
        if let Some(violation) = oracle::violations(ending).first() {
            return Err(at(format!("not true that {}: {}", violation.sentence, violation.found)));
        }
        if ending.struck.is_empty() {
            return Err(at("no fault struck".to_owned()));
        }
        let (wanted, found) = (calm.outcomes(), ending.outcomes());
        let survived = self.strikes.len() == 1 && self.strikes.values().all(|fault| fault.is_survived());
        if survived && wanted != found {
            return Err(at(format!("ends {found:?} and should end {wanted:?}")));
        }
        Ok(())
    }
}

/// The scenario without faults.
pub fn calm(scenario: &Scenario) -> Ending {
    play(&Simulation::new(scenario, Plan::Calm, &Notebook::default()), scenario)
}
