//! `observed`: something was seen inside a sandbox or at a door.

use selvedge_authority::{Observation, Record};
use serde::{Deserialize, Serialize};

use super::parts::observed::{SideEffectsV1, ToldCallV1};
use super::{Kind, Malformed, read_as};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V1 {
    seen: SeenV1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
enum SeenV1 {
    SandboxStarted { level: String, layers: Vec<String>, unreachable: Vec<String> },
    CallRefused { call: String, count: u64 },
    DoorRefused { door: String, code: String, detail: String, count: u64 },
    SandboxEnded { purpose: String, exit: String, output_bytes: u64 },
    Finding { code: String, detail: String },
    SideEffects { what: Box<SideEffectsV1> },
    SensitiveRead { path: String },
    Rehearsed { agent: String, shown: Vec<String> },
    Told { calls: Vec<ToldCallV1>, more: u64 },
}

impl V1 {
    pub(super) fn store(observation: &Observation) -> Self {
        let seen = match observation.clone() {
            Observation::SandboxStarted { level, layers, unreachable } => {
                SeenV1::SandboxStarted { level, layers, unreachable }
            }
            Observation::CallRefused { call, count } => SeenV1::CallRefused { call, count },
            Observation::DoorRefused { door, code, detail, count } => SeenV1::DoorRefused { door, code, detail, count },
            Observation::SandboxEnded { purpose, exit, output_bytes } => {
                SeenV1::SandboxEnded { purpose, exit, output_bytes }
            }
            Observation::Finding { code, detail } => SeenV1::Finding { code, detail },
            Observation::SideEffects(what) => SeenV1::SideEffects { what: Box::new(SideEffectsV1::store(*what)) },
            Observation::SensitiveRead { path } => SeenV1::SensitiveRead { path },
            Observation::Told { calls, more } => {
                SeenV1::Told { calls: calls.into_iter().map(ToldCallV1::store).collect(), more }
            }
            Observation::Rehearsed { agent, shown } => SeenV1::Rehearsed { agent, shown },
        };
        Self { seen }
    }

    fn restore(self) -> Result<Record, Malformed> {
        Ok(Record::Observed(match self.seen {
            SeenV1::SandboxStarted { level, layers, unreachable } => {
                Observation::SandboxStarted { level, layers, unreachable }
            }
            SeenV1::CallRefused { call, count } => Observation::CallRefused { call, count },
            SeenV1::DoorRefused { door, code, detail, count } => Observation::DoorRefused { door, code, detail, count },
            SeenV1::SandboxEnded { purpose, exit, output_bytes } => {
                Observation::SandboxEnded { purpose, exit, output_bytes }
            }
            SeenV1::Finding { code, detail } => Observation::Finding { code, detail },
            SeenV1::SideEffects { what } => Observation::SideEffects(Box::new(what.restore()?)),
            SeenV1::SensitiveRead { path } => Observation::SensitiveRead { path },
            SeenV1::Told { calls, more } => {
                Observation::Told { calls: calls.into_iter().map(ToldCallV1::restore).collect(), more }
            }
            SeenV1::Rehearsed { agent, shown } => Observation::Rehearsed { agent, shown },
        }))
    }
}

impl Kind for V1 {
    const NAME: &'static str = "observed";
    const VERSION: u32 = 3;

    fn version(&self) -> u32 {
        match &self.seen {
            SeenV1::Rehearsed { .. } | SeenV1::Told { .. } => 3,
            SeenV1::SideEffects { .. } | SeenV1::SensitiveRead { .. } => 2,
            _ => 1,
        }
    }

    fn read(version: u32, body: &str) -> Option<Result<Record, Malformed>> {
        match version {
            1..=3 => read_as(body, Self::restore),
            _ => None,
        }
    }
}
