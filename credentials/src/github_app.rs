//! Installation access tokens of a GitHub App: for named repositories and permissions, for an hour, and revoked before.
//!
//! Written from the published REST API (version 2022-11-28): `POST /app/installations/{id}/access_tokens`, `DELETE
//! /installation/token` and `GET /installation/repositories`. Not run against the real service. What GitHub cannot narrow, which
//! branch is pushed to and who merges, is the door's and the rule sets' to keep.

mod creation;
mod key;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, Method, Revocation, Time, WorkloadId};

use crate::errand::{Body, Brought, Courier, Errand, Reads, UNDER_WAY_AT_MOST, bearer, plain};
use crate::{Credential, Fresh, Handle, Lost, MintingKeys, Page, Probe, Provider, ProviderError, Secret, fields};

pub use creation::{AppPlan, CreationError, ManifestCode, NewApp, Organization, PlanError};
pub use key::{AppKey, NotAnAppKey};

/// How long GitHub lets a token live; it cannot be asked for less.
const LIVES: Duration = Duration::from_seconds(3600);

/// The version of the API this is written for.
const API_VERSION: &str = "2022-11-28";

/// What GitHub asks its clients to accept.
const MEDIA_TYPE: &str = "application/vnd.github+json";

/// The permission that every token has, asked for or not.
const ALWAYS: (&str, PermissionLevel) = ("metadata", PermissionLevel::Read);

/// The form of a handle: the token, which alone may revoke itself.
const HANDLE: &[u8] = b"github-app 1";

/// Most repositories of one credential: what a token reaches is read whole, and GitHub says several kilobytes of each.
pub const REPOSITORIES_MAX: usize = 20;

/// An installation of an App and what a token of it may do, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubAppSettings {
    /// The credential it gives.
    pub credential: CredentialName,
    /// Where the API is: `/` at its own host, `/api/v3` at an Enterprise Server.
    pub api: Page,
    /// The installation of an App that makes its tokens. None while there is no App yet.
    pub installed: Option<Installation>,
    /// The repositories, by their names without the owner. At least one.
    pub repositories: BTreeSet<String>,
    /// The permissions, such as `contents`. At least one.
    pub permissions: BTreeMap<String, PermissionLevel>,
}

/// An installation of an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The App, by its id or its client id.
    pub app: String,
    /// The number of the installation.
    pub id: u64,
}

/// How much a permission permits; each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PermissionLevel {
    /// `read`
    Read,
    /// `write`
    Write,
    /// `admin`
    Admin,
}

/// Gives tokens of a GitHub App.
pub struct GithubApp {
    name: String,
    settings: GithubAppSettings,
    keys: Arc<MintingKeys>,
    courier: Arc<dyn Courier>,
}

impl GithubApp {
    /// Signs with the App's key among `keys`, and asks through `courier`.
    pub fn new(settings: GithubAppSettings, keys: Arc<MintingKeys>, courier: Arc<dyn Courier>) -> Self {
        Self { name: format!("github-app:{}", settings.credential), settings, keys, courier }
    }

    fn make(&self, now: Time) -> Result<Brought, ProviderError> {
        let GithubAppSettings { credential, installed, repositories, permissions, .. } = &self.settings;
        let Some(Installation { app, id }) = installed else {
            let nothing = format!(
                "no App is configured for credential `{credential}`: `selvedge credentials create-app {credential}` makes one \
                 and says what to write into `selvedge.toml`"
            );
            return Err(ProviderError::lasting(nothing).that_made_nothing());
        };
        let key = self.keys.key(credential)?;
        let not_a_key = |error: NotAnAppKey| ProviderError::lasting(error).that_made_nothing();
        let token = AppKey::parse(key.expose()).and_then(|key| key.token(app, now)).map_err(not_a_key)?;
        let permissions: BTreeMap<&str, &str> =
            permissions.iter().map(|(name, level)| (name.as_str(), level.as_str())).collect();
        let body = serde_json::json!({ "repositories": repositories, "permissions": permissions }).to_string();
        let mut wants = vec!["/token".to_owned(), "/repository_selection".to_owned()];
        wants.extend(permissions_wanted(&self.settings.permissions));
        let errand = Errand {
            body: Some(Body::Json(Secret::new(body.into_bytes()))),
            wants,
            counts: vec!["/permissions".to_owned()],
            ..self.authorized(Method::Post, &format!("/app/installations/{id}/access_tokens"), &token)
        };
        let brought = self.courier.carry(&errand)?;
        if brought.is_done() { Ok(brought) } else { Err(brought.refusal("the token was refused")) }
    }

    /// Whether the answer grants no more than was asked for.
    fn is_narrow(&self, made: &Brought) -> bool {
        made.text("/repository_selection") == Some("selected") && is_within(made, &self.settings.permissions)
    }

    /// Tries the token, and whether what it reaches is what it is for.
    fn look(&self, token: &Secret) -> Result<(), ProviderError> {
        let expected = &self.settings.repositories;
        let names: Vec<String> = (0..expected.len()).map(|at| format!("/repositories/{at}/name")).collect();
        let mut errand = self.reached(token, expected.len());
        errand.wants.extend(names.iter().cloned());
        let brought = self.courier.carry(&errand)?;
        if !brought.is_done() {
            let refusal = brought.refusal("the token it just made is refused");
            return Err(ProviderError { is_lasting: false, ..refusal });
        }
        let reached = brought.number("/total_count").and_then(|count| usize::try_from(count).ok());
        // GitHub does not tell names apart by their case.
        let is_expected = |pointer: &String| {
            brought.text(pointer).is_some_and(|name| expected.iter().any(|asked| asked.eq_ignore_ascii_case(name)))
        };
        if reached.and_then(|reached| names.get(..reached)).is_some_and(|names| names.iter().all(is_expected)) {
            return Ok(());
        }
        Err(ProviderError::lasting("the token reaches other repositories than were asked for, and is not used"))
    }

    fn reached(&self, token: &Secret, per_page: usize) -> Errand {
        let target = format!("/installation/repositories?per_page={per_page}");
        Errand { wants: vec!["/total_count".to_owned()], ..self.authorized(Method::Get, &target, token) }
    }

    fn delete(&self, token: &Secret) -> Result<Brought, ProviderError> {
        Ok(self.courier.carry(&self.authorized(Method::Delete, "/installation/token", token))?)
    }

    fn authorized(&self, method: Method, target: &str, token: &Secret) -> Errand {
        let mut errand = self.settings.errand(method, target);
        errand.fields.push(("authorization", bearer(token)));
        errand
    }
}

impl GithubAppSettings {
    /// A request to the API by nobody in particular.
    fn errand(&self, method: Method, target: &str) -> Errand {
        Errand {
            endpoint: self.api.endpoint.clone(),
            method,
            target: format!("{}{target}", self.api.path.trim_end_matches('/')),
            fields: vec![("accept", plain(MEDIA_TYPE)), ("x-github-api-version", plain(API_VERSION))],
            body: None,
            wants: Vec::new(),
            counts: Vec::new(),
            reads: Reads::Json,
        }
    }
}

impl Provider for GithubApp {
    fn name(&self) -> &str {
        &self.name
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.as_ref() == Some(&self.settings.credential)
    }

    fn mint(&self, permit: &Permit<MintCredential>, _: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let made = self.make(now)?;
        let token = made.text("/token").filter(|token| !token.is_empty());
        // It made something, and we do not know what.
        let token = token.ok_or_else(|| ProviderError::new("the request was answered without a token"))?;
        let token = Secret::new(token.as_bytes().to_vec());
        let narrow = match self.is_narrow(&made) {
            true => self.look(&token),
            false => Err(ProviderError::lasting("the token is good for more than was asked for, and is not used")),
        };
        if let Err(error) = narrow {
            // Only its own word makes it dead here: a token that was never seen alive may be refused and live.
            let made_nothing = self.delete(&token).is_ok_and(|brought| brought.is_done());
            return Err(ProviderError { made_nothing, ..error });
        }
        let order = permit.order();
        // A door uses it for as long as it is lent, not for as long as GitHub would let it.
        let lent = LIVES.min(Duration::from_seconds(order.ttl_seconds));
        Ok(Fresh {
            handle: Handle::new(fields::join(&[HANDLE, token.expose()])),
            secret: token,
            revocation: Revocation::Immediate,
            expires: now.after(lent).min(order.until),
        })
    }

    fn revoke(&self, credential: &Credential<'_>, _: Time) -> Result<(), ProviderError> {
        let Some(token) = credential.handle.and_then(token) else { return Ok(()) };
        let brought = self.delete(&token)?;
        match brought.status {
            // Dead already: revoked before, or expired.
            401 => Ok(()),
            _ if brought.is_done() => Ok(()),
            _ => Err(brought.refusal("the token was not revoked")),
        }
    }

    fn probe(&self, credential: &Credential<'_>, _: Time) -> Probe {
        let Some(token) = credential.handle.and_then(token) else {
            return Probe::Unknown("the answer to the request was lost".to_owned());
        };
        match self.courier.carry(&self.reached(&token, 1)) {
            Ok(brought) if brought.status == 401 => Probe::Dead,
            Ok(brought) if brought.is_done() => Probe::Alive,
            Ok(brought) => Probe::Unknown(format!("status {}", brought.status)),
            Err(error) => Probe::Unknown(error.to_string()),
        }
    }

    /// Only a token can revoke itself; one that nobody knows is waited for.
    fn lost(&self, begun: Time) -> Lost {
        Lost::DiesAt(begun.after(UNDER_WAY_AT_MOST).after(LIVES))
    }
}

impl PermissionLevel {
    /// Reads the word GitHub has for it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin].into_iter().find(|level| level.as_str() == word)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// What is granted at most: what was asked for, and what is granted always.
fn granted_at_most(asked: &BTreeMap<String, PermissionLevel>) -> impl Iterator<Item = (&str, PermissionLevel)> {
    let always = Some(ALWAYS).filter(|(name, _)| !asked.contains_key(*name));
    asked.iter().map(|(name, level)| (name.as_str(), *level)).chain(always)
}

/// What an answer has to be asked for so that [`is_within`] can tell; its `/permissions` are counted besides.
fn permissions_wanted(asked: &BTreeMap<String, PermissionLevel>) -> impl Iterator<Item = String> {
    granted_at_most(asked).map(|(name, _)| format!("/permissions/{name}"))
}

/// Whether the permissions in this answer are no more than was asked for.
fn is_within(made: &Brought, asked: &BTreeMap<String, PermissionLevel>) -> bool {
    let granted: Vec<bool> = granted_at_most(asked)
        .filter_map(|(name, most)| {
            let level = made.text(&format!("/permissions/{name}"))?;
            Some(PermissionLevel::parse(level).is_some_and(|level| level <= most))
        })
        .collect();
    // One that was found and not asked for is one too many.
    made.members("/permissions") == Some(granted.len()) && granted.iter().all(|is_within| *is_within)
}

fn token(handle: &Handle) -> Option<Secret> {
    match fields::split(handle.expose())?.as_slice() {
        [HANDLE, token] => Some(Secret::new(token.to_vec())),
        _ => None,
    }
}

impl fmt::Debug for GithubApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GithubApp({})", self.settings.credential)
    }
}
