//! Lends and takes back: issuer, providers, leases.
//!
//! Owns every secret while it is not in a door's hands, the issuer's signing keys and the handle of each lease, and the order
//! of steps in which one is lent and ended ([`Leases`]). Knows no policy, no run, no database: what it must remember
//! goes sealed into a [`SealedStore`], and which leases are outstanding is told to it.

mod aws;
mod ca;
mod documents;
mod errand;
mod exchange;
mod fields;
mod forgejo;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod github_app;
mod gitlab;
mod issuer;
mod jwt;
mod keyring;
mod lease;
mod master;
mod minting;
mod named;
mod note;
mod openbao;
mod provider;
mod proxy;
mod seal;
mod secret;
mod store;
mod stored;
mod svid;
mod token;
mod trouble;
mod unguessable;
mod verifier;
mod x509;
mod x509_svid;

pub use aws::{Aws, AwsSettings, SESSION_LIVES_AT_LEAST, SESSION_LIVES_AT_MOST};
pub use documents::{BUNDLE_PATH, DISCOVERY_PATH, JWKS_PATH, bundle, discovery};
pub use errand::{Body, Brought, Courier, CourierError, Errand, Reads};
pub use exchange::{Asks, Exchange, ExchangeSettings, Page};
pub use forgejo::{Forgejo, ForgejoSettings};
pub use github_app::{
    AppKey, AppPlan, CreationError, GithubApp, GithubAppSettings, Installation, ManifestCode, NewApp, NotAnAppKey,
    Organization, PermissionLevel, PlanError, REPOSITORIES_MAX,
};
pub use gitlab::{Gitlab, GitlabRole, GitlabSettings};
pub use issuer::{
    AUDIENCE_BYTES_MAX, Issuer, IssuerError, IssuerName, NotANameForAnIssuer, SVID_LIFETIME_MAX, SvidError,
};
pub use keyring::{KEY_USED_FOR, PUBLISHED_BEFORE_USE};
pub use lease::{Ending, Leases, LendError, Lent, NotHandedOn, NoteError};
pub use master::{MasterKey, MasterKeyError};
pub use minting::{MintingKeyError, MintingKeys};
pub use openbao::{OpenBao, OpenBaoSettings};
pub use provider::{Credential, Fresh, Handle, Lost, Probe, Provider, ProviderError};
pub use proxy::ProxyPassword;
pub use seal::{OpenError, SealError, Sealed, Sealer, Unreadable};
pub use secret::Secret;
pub use store::{Purpose, RevocationList, Revoked, SealedStore, Slot, StoreError};
pub use stored::{Standing, StoredKeyError, StoredKeyLoans, StoredKeys};
pub use svid::{OWN_AUDIENCE, OwnSvid};
pub use token::{
    AccessToken, AccessTokens, CHILD_TEXT_BYTES_MAX, ChildRequest, ChildStanding, Code, Considered,
    DELEGATION_DEPTH_MAX, Inquirer, Introspected, Issued, Link, METADATA_PATH, Parent, Refusal, Reply, Served,
    TaskContext, TokenEndpoint, metadata,
};
pub use trouble::Trouble;
pub use unguessable::{NoRandomness, Unguessable};
pub use verifier::{Claims, Refused, Verifier, Why};
pub use x509::{NotAKey, SubjectKey, X509Issuer};
pub use x509_svid::OwnX509;
