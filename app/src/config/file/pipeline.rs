//! Pipelines as they are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Agents that work on one task in turn. `selvedge run --pipeline NAME "text"` starts one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pipeline {
    /// In this order, each a run of its own: any number that write reports, and at the end, if anything is to change, one that changes
    /// it and one that reviews the change.
    pub(crate) stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    /// What it is called, such as `plan`. What it leaves is handed on under this name.
    pub(crate) name: String,
    /// The agent that works on it; each stage has another one.
    pub(crate) agent: String,
    /// A sentence that is added to the task for this stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    /// Whether it says yes or no to the change of the stage before it; one that is called `review` does. After a yes the change is
    /// proposed, so its agent needs trust `propose` and `open-pr`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) review: bool,
}
