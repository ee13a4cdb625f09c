//! What an agent does on the way, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an agent does on the way to what it proposes. What it is seen to do is compared with it; a run that did more is held. What is not
/// written is not compared.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Effects {
    /// The programs it runs besides its own: `cargo` is one of that name that no run can write, `scripts/*.sh` and `target/**` lie in
    /// the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runs: Option<Vec<String>>,
    /// The files of the workspace that it makes, changes or removes: `src/**`, `docs/*.md`, `Cargo.lock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) writes: Option<Vec<String>>,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_none() && self.writes.is_none()
    }
}
