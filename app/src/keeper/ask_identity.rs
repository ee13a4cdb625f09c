//! Requests about identities.

use serde_json::Value;

use super::hall::Keeper;
use super::message::{Document, SecretWord};
use crate::errors::{CliError, Kind};

/// A document that relying parties read, as it would be published now.
pub(super) fn published(keeper: &Keeper, document: Document) -> Result<Value, CliError> {
    serde_json::from_str(&keeper.works.published(document)).map_err(|error| CliError::caused(Kind::Internal, &error))
}

/// What a service is told of a token that it was shown (RFC 7662).
pub(super) fn introspect(keeper: &Keeper, audience: &str, token: &SecretWord) -> Result<Value, CliError> {
    let told = keeper.works.introspect(audience, token.expose());
    serde_json::from_slice(told.body.expose()).map_err(|error| CliError::caused(Kind::Internal, &error))
}
