//! Tool servers, as they are written in `selvedge.toml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A server of tools that speaks the Model Context Protocol, brokered for agents. An agent sees its tools through its tool door, and only
/// those that are named here with the digest of what is said of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// The person or team that answers for its being used.
    pub(crate) owner: String,
    /// Where it takes requests: `https://<host>/<path>`. Either this or `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The credential its requests carry; `POST` to its `url` is among that one's `uses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
    /// The program that is the server and speaks through its standard streams, in a sandbox of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) command: Vec<String>,
    /// Where that program may reach, through doors of its own: `<registry>:read`, or `GET https://<host>/<path>`. Nowhere without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reach: Vec<String>,
    /// How long it may take for one answer, `10m` at most; without it, `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patience: Option<String>,
    /// The tools that were taken on, by name. `selvedge tools` says what a server was seen to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tools: BTreeMap<String, Tool>,
}

/// A tool that was taken on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    /// SHA-256 of its name, description and input schema, as canonical JSON.
    pub(crate) digest: String,
    /// How much harm it could do: `low` where it only reads, `medium`, or `high` where nobody could take it back; no agent calls those.
    #[serde(default = "medium")]
    pub(crate) risk: String,
    /// The argument that is a command, for policies that look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    /// The arguments that are paths, beside those that look like some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) paths: Vec<String>,
    /// The arguments that are addresses, beside those that look like some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
}

fn medium() -> String {
    "medium".to_owned()
}
