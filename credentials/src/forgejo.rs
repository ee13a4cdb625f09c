//! Tokens of a Forgejo account: for named scopes, and deleted at the end.
//!
//! Written from the published API (v1): `users/{user}/tokens` to make, list and delete, which takes the account's password and
//! nothing less, and `user` to try. Not run against the real service. Such a token never dies by itself: until it is seen dead its
//! lease is open. Each carries the id of its lease as its name, so that one whose answer was lost is deleted as well.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, LeaseId, Method, Revocation, Time, WorkloadId};
use zeroize::Zeroizing;

use crate::errand::{Body, Brought, Courier, Errand, Reads, UNDER_WAY_AT_MOST};
use crate::{
    Credential, Fresh, Handle, Lost, MintingKeys, Page, Probe, Provider, ProviderError, Secret, fields, named,
};

/// The form of a handle: the token.
const HANDLE: &[u8] = b"forgejo 1";

/// An account at a Forgejo and what a token of it may do, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgejoSettings {
    /// The credential it gives.
    pub credential: CredentialName,
    /// Where it is: `/`, or the sub-path it is served at.
    pub root: Page,
    /// The account.
    pub user: String,
    /// The scopes, such as `write:repository`. At least one.
    pub scopes: BTreeSet<String>,
}

/// Gives tokens of a Forgejo.
pub struct Forgejo {
    name: String,
    settings: ForgejoSettings,
    keys: Arc<MintingKeys>,
    courier: Arc<dyn Courier>,
}

impl Forgejo {
    /// Shows the account's password among `keys`, and asks through `courier`.
    pub fn new(settings: ForgejoSettings, keys: Arc<MintingKeys>, courier: Arc<dyn Courier>) -> Self {
        Self { name: format!("forgejo:{}", settings.credential), settings, keys, courier }
    }

    fn make(&self, lease: &LeaseId) -> Result<Brought, ProviderError> {
        let scopes = &self.settings.scopes;
        let body = serde_json::json!({ "name": lease.as_str(), "scopes": scopes }).to_string();
        let wants = ["/sha1", "/name"].map(str::to_owned);
        let errand = Errand {
            body: Some(Body::Json(Secret::new(body.into_bytes()))),
            wants: wants.into_iter().chain((0..scopes.len()).map(|at| format!("/scopes/{at}"))).collect(),
            counts: vec!["/scopes".to_owned()],
            ..self.errand(Method::Post, &self.tokens(), self.password()?)
        };
        let brought = self.courier.carry(&errand)?;
        if brought.is_done() { Ok(brought) } else { Err(brought.refusal("the token was refused")) }
    }

    /// Whether the answer grants no more than was asked for. None at all would be every scope there is, in releases of old.
    fn is_narrow(&self, made: &Brought, lease: &LeaseId) -> bool {
        let is_asked =
            |at| made.text(&format!("/scopes/{at}")).is_some_and(|scope| self.settings.scopes.contains(scope));
        made.text("/name") == Some(lease.as_str())
            && made.entries("/scopes").is_some_and(|count| count > 0 && (0..count).all(is_asked))
    }

    fn try_token(&self, token: &Secret) -> Probe {
        let shown = Secret::new([b"token ", token.expose()].concat());
        match self.courier.carry(&self.errand(Method::Get, "user", shown)) {
            Ok(brought) if brought.status == 401 => Probe::Dead,
            // Forbidden is whose scopes do not go that far: it is known, so it lives.
            Ok(brought) if brought.status == 403 || brought.is_done() => Probe::Alive,
            Ok(brought) => Probe::Unknown(format!("status {}", brought.status)),
            Err(error) => Probe::Unknown(error.to_string()),
        }
    }

    fn ask_to_delete(&self, lease: &LeaseId) -> Result<Brought, ProviderError> {
        let target = format!("{}/{lease}", self.tokens());
        Ok(self.courier.carry(&self.errand(Method::Delete, &target, self.password()?))?)
    }

    /// What of the account's tokens carries this lease.
    fn found(&self, lease: &LeaseId) -> Result<Vec<String>, ProviderError> {
        let password = self.password()?;
        let list = || {
            let password = Secret::new(password.expose().to_vec());
            self.errand(Method::Get, &format!("{}?", self.tokens()), password)
        };
        named::ids(lease.as_str(), list, &*self.courier)
    }

    fn password(&self) -> Result<Secret, ProviderError> {
        Ok(basic(&self.settings.user, &self.keys.key(&self.settings.credential)?))
    }

    fn tokens(&self) -> String {
        format!("users/{}/tokens", self.settings.user)
    }

    fn errand(&self, method: Method, target: &str, authorization: Secret) -> Errand {
        Errand {
            endpoint: self.settings.root.endpoint.clone(),
            method,
            target: format!("{}/api/v1/{target}", self.settings.root.path.trim_end_matches('/')),
            fields: vec![("authorization", authorization)],
            body: None,
            wants: Vec::new(),
            counts: Vec::new(),
            reads: Reads::Json,
        }
    }
}

impl Provider for Forgejo {
    fn name(&self) -> &str {
        &self.name
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.as_ref() == Some(&self.settings.credential)
    }

    fn mint(&self, permit: &Permit<MintCredential>, _: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let order = permit.order();
        let made = self.make(&order.lease)?;
        // It made something, which carries the lease, and is found by that.
        let token = made.text("/sha1").filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| ProviderError::new("the request was answered without a token"))?;
        let token = Secret::new(token.as_bytes().to_vec());
        let trouble = match (self.is_narrow(&made, &order.lease), self.try_token(&token)) {
            (true, Probe::Alive) => None,
            (true, Probe::Dead) => Some(ProviderError::new("the token it just made is refused")),
            (true, Probe::Unknown(why)) => Some(ProviderError::new(format!("its token cannot be tried: {why}"))),
            (false, _) => {
                Some(ProviderError::lasting("the token is good for more than was asked for, and is not used"))
            }
        };
        if let Some(error) = trouble {
            let made_nothing = self.ask_to_delete(&order.lease).is_ok_and(|brought| brought.is_done());
            return Err(ProviderError { made_nothing, ..error });
        }
        Ok(Fresh {
            handle: Handle::new(fields::join(&[HANDLE, token.expose()])),
            secret: token,
            revocation: Revocation::Immediate,
            // When the loan ends; the token itself would live on.
            expires: order.until.min(now.after(Duration::from_seconds(order.ttl_seconds))),
        })
    }

    fn revoke(&self, credential: &Credential<'_>, _: Time) -> Result<(), ProviderError> {
        let brought = self.ask_to_delete(credential.lease)?;
        match brought.status {
            // Deleted before, or never made.
            404 => Ok(()),
            _ if brought.is_done() => Ok(()),
            _ => Err(brought.refusal("the token was not deleted")),
        }
    }

    fn probe(&self, credential: &Credential<'_>, _: Time) -> Probe {
        match credential.handle.and_then(token) {
            Some(token) => self.try_token(&token),
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

/// `user` and `password` as they prove who asks (RFC 7617).
fn basic(user: &str, password: &Secret) -> Secret {
    let pair = Zeroizing::new([user.as_bytes(), b":", password.expose()].concat());
    Secret::new(format!("Basic {}", STANDARD.encode(&*pair)).into_bytes())
}

fn token(handle: &Handle) -> Option<Secret> {
    match fields::split(handle.expose())?.as_slice() {
        [HANDLE, token] => Some(Secret::new(token.to_vec())),
        _ => None,
    }
}

impl fmt::Debug for Forgejo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forgejo({})", self.settings.credential)
    }
}
