//! Tests of credentials through the public interface, in one binary.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failing test is allowed to be blunt, and so are its helpers"
)]

mod aws;
mod canary;
mod crash;
mod federation;
mod forgejo;
mod github_app;
mod gitlab;
mod interop;
mod issuer;
mod leases;
mod providers;
mod seal;
mod stored;
mod token;
mod token_properties;
mod vendors;
mod world;
mod x509;
