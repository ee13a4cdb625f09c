//! Vendors of models that trust an issuer, as they are written in `selvedge.toml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A federation rule at Anthropic, whose issuer is the factory's, with subjects like `spiffe://<trust domain>/run/*/agent/<name>`. Tokens
/// cannot be ended: their runs stay open until they have expired.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Anthropic {
    /// The rule: `fdrl_...`.
    pub(crate) rule: String,
    /// The organization, by its UUID.
    pub(crate) organization: String,
    /// The service account that a token acts as: `svac_...`.
    pub(crate) service_account: String,
    /// The workspace that a token is for: `wrkspc_...`, or `default`. Needed where the rule is enabled for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspace: Option<String>,
    /// The audience that the rule expects in the run's identity document.
    #[serde(default = "anthropic_audience")]
    pub(crate) audience: String,
    /// Its token endpoint.
    #[serde(default = "anthropic_url")]
    pub(crate) url: String,
    /// The lifetime of tokens that the rule sets; an exchange whose answer is lost keeps its run open this long.
    #[serde(default = "token_lives_at_most")]
    pub(crate) token_lives_at_most: String,
}

/// A workload identity provider at OpenAI, whose issuer is the factory's, with a mapping for subjects like
/// `spiffe://<trust domain>/run/*/agent/<name>`. A token there never outlives the run's identity document: five minutes. It cannot be
/// ended before.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAi {
    /// The workload identity provider, by its id.
    pub(crate) identity_provider: String,
    /// The service account that a token acts as, by its id.
    pub(crate) service_account: String,
    /// The audience that the provider expects in the run's identity document.
    #[serde(default = "openai_audience")]
    pub(crate) audience: String,
    /// Its token endpoint.
    #[serde(default = "openai_url")]
    pub(crate) url: String,
}

fn anthropic_audience() -> String {
    "https://api.anthropic.com".to_owned()
}

fn anthropic_url() -> String {
    "https://api.anthropic.com/v1/oauth/token".to_owned()
}

fn token_lives_at_most() -> String {
    "1h".to_owned()
}

fn openai_audience() -> String {
    "https://api.openai.com/v1".to_owned()
}

fn openai_url() -> String {
    "https://auth.openai.com/oauth/token".to_owned()
}
