//! Forges that make tokens, as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An installation of a GitHub App, and what a token of it may do. The App's private key is stored under the credential's name, with
/// `selvedge credentials store`; it makes tokens, and is lent to nobody.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GithubApp {
    /// Where the API is: `https://<host>/api/v3` of an Enterprise Server.
    #[serde(default = "github")]
    pub(crate) url: String,
    /// The App's client id, or its id.
    pub(crate) app: String,
    /// The number of its installation.
    pub(crate) installation: u64,
    /// The repositories a token reaches, by their names without the owner.
    pub(crate) repositories: Vec<String>,
    /// What it may do there: `contents = "read"`, each `read`, `write` or `admin`.
    pub(crate) permissions: BTreeMap<String, String>,
}

fn github() -> String {
    "https://api.github.com".to_owned()
}
