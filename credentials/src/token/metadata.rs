//! What clients read first: the metadata of an authorisation server (RFC 8414). It names only what somebody serves.

use serde::Serialize;

use super::exchange::GRANT_TYPE;
use crate::{Issuer, JWKS_PATH};

/// Where the document lies below the issuer's URL (RFC 8414 section 3).
pub const METADATA_PATH: &str = ".well-known/oauth-authorization-server";

/// The URLs under which a server answers, told by that server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Token exchange.
    pub token: String,
    /// Introspection, if it is served.
    pub introspection: Option<String>,
    /// Revocation, if it is served.
    pub revocation: Option<String>,
}

/// Who asks is known by the listener: a client sends no secret. Said outright, because silence would mean HTTP Basic.
const NO_SECRET: [&str; 1] = ["none"];

/// The metadata of `issuer` where these endpoints are served.
pub fn metadata(issuer: &Issuer, served: &Served) -> String {
    let url = issuer.name().as_str();
    let document = MetadataV1 {
        issuer: url,
        jwks_uri: format!("{url}/{JWKS_PATH}"),
        token_endpoint: &served.token,
        token_endpoint_auth_methods_supported: NO_SECRET,
        introspection_endpoint: served.introspection.as_deref(),
        introspection_endpoint_auth_methods_supported: served.introspection.as_ref().map(|_| NO_SECRET),
        revocation_endpoint: served.revocation.as_deref(),
        revocation_endpoint_auth_methods_supported: served.revocation.as_ref().map(|_| NO_SECRET),
        grant_types_supported: [GRANT_TYPE],
        // Required by the RFC. There is no authorisation endpoint, so there is nothing to answer with.
        response_types_supported: [],
    };
    // A struct of strings always serialises.
    serde_json::to_string(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct MetadataV1<'a> {
    issuer: &'a str,
    jwks_uri: String,
    token_endpoint: &'a str,
    token_endpoint_auth_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
    grant_types_supported: [&'static str; 1],
    response_types_supported: [&'static str; 0],
}
