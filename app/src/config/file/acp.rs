//! How an agent is spoken to by the Agent Client Protocol, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an agent is spoken to by the Agent Client Protocol.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Acp {
    /// The mode it is to work in, as the agent calls it; without it, that in which it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// How long it may say nothing while it works, before it is ended: `20m` where nothing is said. Time for which a turn is held for
    /// a person does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silence_at_most: Option<String>,
}
