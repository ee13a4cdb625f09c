//! Roles at AWS, as they are written in `selvedge.toml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role at AWS, whose sessions sign requests to one service in one region. IAM there has an identity provider for the factory's
/// issuer, and the role's trust policy names it. A session cannot be ended: its run stays open until it has expired.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aws {
    /// The role: `arn:aws:iam::<account>:role/<name>`.
    pub(crate) role: String,
    /// The service that requests are signed for, by the name a signature has for it: `s3`.
    pub(crate) service: String,
    /// The region that they are signed for: `eu-central-1`.
    pub(crate) region: String,
    /// The audience that the identity provider there lists.
    #[serde(default = "audience")]
    pub(crate) audience: String,
    /// The STS that is asked; without it, the one of the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sts: Option<String>,
    /// A policy in JSON. A session may do what both it and the role allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// ARNs of managed policies, which narrow a session in the same way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policy_arns: Vec<String>,
}

fn audience() -> String {
    "sts.amazonaws.com".to_owned()
}
