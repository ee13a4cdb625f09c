//! Forges that make tokens, as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An installation of a GitHub App, and what a token of it may do. The App's private key is stored under the credential's name, with
/// `selvedge credentials store`, or by `selvedge credentials create-app`, which makes the App; it makes tokens, and is lent to nobody.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GithubApp {
    /// Where the API is: `https://<host>/api/v3` of an Enterprise Server.
    #[serde(default = "github")]
    pub(crate) url: String,
    /// The App's client id, or its id. Left out, with `installation`, as long as there is no App.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app: Option<String>,
    /// The number of its installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) installation: Option<u64>,
    /// The repositories a token reaches, by their names without the owner.
    pub(crate) repositories: Vec<String>,
    /// What it may do there: `contents = "read"`, each `read`, `write` or `admin`.
    pub(crate) permissions: BTreeMap<String, String>,
}

fn github() -> String {
    "https://api.github.com".to_owned()
}

/// A project of a GitLab, and what a token of it may do. A token that may make others, with the scope `api` and the role `maintainer`
/// of that project, is stored under the credential's name with `selvedge credentials store`, and is lent to nobody.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gitlab {
    /// Where it is: `https://<host>`, with the relative root if it was installed at one.
    #[serde(default = "gitlab")]
    pub(crate) url: String,
    /// The project, with every group: `acme/shop`; or its number.
    pub(crate) project: String,
    /// What a token may do there: `read_repository`.
    pub(crate) scopes: Vec<String>,
    /// Its role: `guest`, `reporter`, `developer` or `maintainer`.
    pub(crate) role: String,
}

fn gitlab() -> String {
    "https://gitlab.com".to_owned()
}

/// An account at a Forgejo, and what a token of it may do. Tokens are made with the account's password and nothing less: it is stored
/// under the credential's name with `selvedge credentials store`, and is lent to nobody. The account has no second factor.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forgejo {
    /// Where it is: `https://<host>`, with the path if it is served beneath one.
    pub(crate) url: String,
    /// The account: one that is for this only, and may no more than its tokens need.
    pub(crate) user: String,
    /// What a token may do: `read:repository`, `write:issue`.
    pub(crate) scopes: Vec<String>,
}
