//! Project access tokens of a GitLab: for one project, named scopes and a role, and deleted at the end.
//!
//! Written from the published REST API (v4): `projects/:id/access_tokens` to make, list and delete, `personal_access_tokens/self` to
//! try. Not run against the real service. A token's expiry there is a date, so deleting it is what ends it; each carries the id of
//! its lease as its name, so that one whose answer was lost is found and deleted too.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, LeaseId, Method, Revocation, Time, WorkloadId};

use crate::errand::{Body, Brought, Courier, Errand, Reads, UNDER_WAY_AT_MOST};
use crate::{
    Credential, Fresh, Handle, Lost, MintingKeys, Page, Probe, Provider, ProviderError, Secret, fields, named,
};

/// GitLab ends tokens at midnight, UTC.
const DAY: Duration = Duration::from_seconds(24 * 3600);

/// The form of a handle: the token, and its number.
const HANDLE: &[u8] = b"gitlab 1";

/// A project of a GitLab and what a token of it may do, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitlabSettings {
    /// The credential it gives.
    pub credential: CredentialName,
    /// Where it is: `/`, or the relative root it was installed at.
    pub root: Page,
    /// The project: its path with every group, or its number.
    pub project: String,
    /// The scopes, such as `read_repository`. At least one.
    pub scopes: BTreeSet<String>,
    /// The role in the project.
    pub role: GitlabRole,
}

/// A role in a project; each may what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GitlabRole {
    /// `guest`
    Guest,
    /// `reporter`
    Reporter,
    /// `developer`
    Developer,
    /// `maintainer`
    Maintainer,
}

/// Gives tokens of a GitLab.
pub struct Gitlab {
    name: String,
    settings: GitlabSettings,
    keys: Arc<MintingKeys>,
    courier: Arc<dyn Courier>,
}

impl Gitlab {
    /// Shows the token among `keys` that may make others, and asks through `courier`.
    pub fn new(settings: GitlabSettings, keys: Arc<MintingKeys>, courier: Arc<dyn Courier>) -> Self {
        Self { name: format!("gitlab:{}", settings.credential), settings, keys, courier }
    }

    fn make(&self, lease: &LeaseId, dies: &str) -> Result<Brought, ProviderError> {
        let GitlabSettings { scopes, role, .. } = &self.settings;
        let body = serde_json::json!({
            "name": lease.as_str(), "scopes": scopes, "access_level": role.level(), "expires_at": dies,
        });
        let wants = ["/token", "/id", "/name", "/access_level", "/expires_at"].map(str::to_owned);
        let errand = Errand {
            body: Some(Body::Json(Secret::new(body.to_string().into_bytes()))),
            wants: wants.into_iter().chain((0..scopes.len()).map(|at| format!("/scopes/{at}"))).collect(),
            counts: vec!["/scopes".to_owned()],
            ..self.errand(Method::Post, &self.tokens(), &self.keys.key(&self.settings.credential)?)
        };
        let brought = self.courier.carry(&errand)?;
        if brought.is_done() { Ok(brought) } else { Err(brought.refusal("the token was refused")) }
    }

    /// Whether the answer grants no more than was asked for, and not for longer.
    fn is_narrow(&self, made: &Brought, lease: &LeaseId, dies: &str) -> bool {
        let is_asked =
            |at| made.text(&format!("/scopes/{at}")).is_some_and(|scope| self.settings.scopes.contains(scope));
        made.text("/name") == Some(lease.as_str())
            && made.text("/expires_at") == Some(dies)
            && made.number("/access_level").is_some_and(|level| level <= self.settings.role.level())
            && made.entries("/scopes").is_some_and(|count| (0..count).all(is_asked))
    }

    fn try_token(&self, token: &Secret) -> Probe {
        match self.courier.carry(&self.errand(Method::Get, "personal_access_tokens/self", token)) {
            Ok(brought) if brought.status == 401 => Probe::Dead,
            Ok(brought) if brought.is_done() => Probe::Alive,
            Ok(brought) => Probe::Unknown(format!("status {}", brought.status)),
            Err(error) => Probe::Unknown(error.to_string()),
        }
    }

    /// Deletes a token of the project by its number, and so the account that GitLab makes for each.
    fn ask_to_delete(&self, id: &str) -> Result<Brought, ProviderError> {
        let key = self.keys.key(&self.settings.credential)?;
        Ok(self.courier.carry(&self.errand(Method::Delete, &format!("{}/{id}", self.tokens()), &key))?)
    }

    fn delete(&self, id: &str) -> Result<(), ProviderError> {
        let brought = self.ask_to_delete(id)?;
        match brought.status {
            // Deleted before.
            404 => Ok(()),
            _ if brought.is_done() => Ok(()),
            _ => Err(brought.refusal("the token was not deleted")),
        }
    }

    /// The same by the token's own word, which is enough when the key is gone; its account stays behind.
    fn let_itself_end(&self, token: &Secret) -> Result<(), ProviderError> {
        let brought = self.courier.carry(&self.errand(Method::Delete, "personal_access_tokens/self", token))?;
        match brought.status {
            401 => Ok(()),
            _ if brought.is_done() => Ok(()),
            _ => Err(brought.refusal("the token was not revoked")),
        }
    }

    /// The numbers of the project's tokens that carry this lease.
    fn found(&self, lease: &LeaseId) -> Result<Vec<String>, ProviderError> {
        let key = self.keys.key(&self.settings.credential)?;
        let target = format!("{}?state=active&search={lease}&", self.tokens());
        named::ids(lease.as_str(), || self.errand(Method::Get, &target, &key), &*self.courier)
    }

    fn tokens(&self) -> String {
        format!("projects/{}/access_tokens", self.settings.project.replace('/', "%2F"))
    }

    fn errand(&self, method: Method, target: &str, key: &Secret) -> Errand {
        Errand {
            endpoint: self.settings.root.endpoint.clone(),
            method,
            target: format!("{}/api/v4/{target}", self.settings.root.path.trim_end_matches('/')),
            fields: vec![("private-token", Secret::new(key.expose().to_vec()))],
            body: None,
            wants: Vec::new(),
            counts: Vec::new(),
            reads: Reads::Json,
        }
    }
}

impl Provider for Gitlab {
    fn name(&self) -> &str {
        &self.name
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.as_ref() == Some(&self.settings.credential)
    }

    fn mint(&self, permit: &Permit<MintCredential>, _: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let order = permit.order();
        let expires = order.until.min(now.after(Duration::from_seconds(order.ttl_seconds)));
        let dies = date_after(expires);
        let made = self.make(&order.lease, &dies)?;
        let token = made.text("/token").filter(|token| !token.is_empty());
        let id = made.text("/id").filter(|id| id.parse::<u64>().is_ok());
        let (Some(token), Some(id)) = (token, id) else {
            // It made something, which carries the lease, and is found by that.
            return Err(ProviderError::new("the request was answered without a token"));
        };
        let token = Secret::new(token.as_bytes().to_vec());
        let trouble = match (self.is_narrow(&made, &order.lease, &dies), self.try_token(&token)) {
            (true, Probe::Alive) => None,
            (true, Probe::Dead) => Some(ProviderError::new("the token it just made is refused")),
            (true, Probe::Unknown(why)) => Some(ProviderError::new(format!("its token cannot be tried: {why}"))),
            (false, _) => {
                Some(ProviderError::lasting("the token is good for more than was asked for, and is not used"))
            }
        };
        if let Some(error) = trouble {
            // Only a yes makes it dead here: `not found` is also said of what is not yet known everywhere.
            let made_nothing = self.ask_to_delete(id).is_ok_and(|brought| brought.is_done());
            return Err(ProviderError { made_nothing, ..error });
        }
        let handle = Handle::new(fields::join(&[HANDLE, token.expose(), id.as_bytes()]));
        Ok(Fresh { secret: token, handle, revocation: Revocation::Immediate, expires })
    }

    fn revoke(&self, credential: &Credential<'_>, _: Time) -> Result<(), ProviderError> {
        match credential.handle.and_then(parts) {
            Some((token, id)) => self.delete(&id).or_else(|_| self.let_itself_end(&token)),
            None => self.found(credential.lease)?.iter().try_for_each(|id| self.delete(id)),
        }
    }

    fn probe(&self, credential: &Credential<'_>, _: Time) -> Probe {
        match credential.handle.and_then(parts) {
            Some((token, _)) => self.try_token(&token),
            None => match self.found(credential.lease) {
                Ok(found) if found.is_empty() => Probe::Dead,
                Ok(_) => Probe::Alive,
                Err(error) => Probe::Unknown(error.to_string()),
            },
        }
    }

    fn lost(&self, begun: Time) -> Lost {
        Lost::FoundByLease { under_way_until: begun.after(UNDER_WAY_AT_MOST) }
    }
}

impl GitlabRole {
    /// Reads the word GitLab has for it.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "guest" => Some(Self::Guest),
            "reporter" => Some(Self::Reporter),
            "developer" => Some(Self::Developer),
            "maintainer" => Some(Self::Maintainer),
            _ => None,
        }
    }

    fn level(self) -> u64 {
        match self {
            Self::Guest => 10,
            Self::Reporter => 20,
            Self::Developer => 30,
            Self::Maintainer => 40,
        }
    }
}

/// The first date that begins after this moment.
fn date_after(time: Time) -> String {
    let mut text = time.after(DAY).to_string();
    text.truncate("2026-11-26".len());
    text
}

fn parts(handle: &Handle) -> Option<(Secret, String)> {
    match fields::split(handle.expose())?.as_slice() {
        [HANDLE, token, id] => Some((Secret::new(token.to_vec()), fields::to_text(id)?)),
        _ => None,
    }
}

impl fmt::Debug for Gitlab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gitlab({})", self.settings.credential)
    }
}
