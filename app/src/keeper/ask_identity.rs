//! Requests about identities.

use serde_json::Value;

use super::hall::Keeper;
use super::message::Document;
use crate::errors::{CliError, Kind};

/// A document that relying parties read, as it would be published now.
pub(super) fn published(keeper: &Keeper, document: Document) -> Result<Value, CliError> {
    serde_json::from_str(&keeper.works.published(document)).map_err(|error| CliError::caused(Kind::Internal, &error))
}
