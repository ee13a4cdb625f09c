//! What ships with the factory: the schema of facts and the default policies, which `init` writes out as files.

/// The schema every policy is checked against. Only this copy counts; a file beside the policies is for editors.
pub const SCHEMA: &str = include_str!("../schema/selvedge.cedarschema");

/// The name `init` gives the schema beside the policies.
pub const SCHEMA_FILE: &str = "selvedge.cedarschema";

const DEFAULTS: [(&str, &str); 2] = [
    ("factory.cedar", include_str!("../defaults/factory.cedar")),
    ("guardrails.cedar", include_str!("../defaults/guardrails.cedar")),
];

/// The default policies: file name and text.
pub fn default_sources() -> impl Iterator<Item = (&'static str, &'static str)> {
    DEFAULTS.into_iter()
}
