//! Dynamic secrets of OpenBao or Vault: log in with the run's own identity document, read one secret under a lease, end both.
//!
//! Written from the published API: `auth/jwt/login`, `read` of a dynamic secret, `sys/leases/revoke`, `auth/token/revoke-self`
//! and `auth/token/lookup-self`. Not run against the real service.

use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, Endpoint, Method, Revocation, Time, WorkloadId};

use crate::errand::{Body, Brought, Courier, Errand, Reads};
use crate::{Credential, Fresh, Handle, Issuer, Lost, Probe, Provider, ProviderError, Secret, fields};

/// How long the document we log in with lives: one login.
const LOGIN_LIFETIME: Duration = Duration::from_seconds(60);

/// The form of a handle: the token, and the lease of the secret.
const HANDLE: &[u8] = b"openbao 1";

/// Where an OpenBao is and what it lends, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBaoSettings {
    /// The credential it lends.
    pub credential: CredentialName,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Where its `jwt` auth method is mounted, such as `jwt`.
    pub mount: String,
    /// The role there.
    pub role: String,
    /// The audience that role is bound to.
    pub audience: String,
    /// What is read, such as `database/creds/readonly`.
    pub path: String,
    /// Which field of it is the secret, such as `password`.
    pub field: String,
    /// The longest a token of that role lives: a login whose answer is lost is dead after this.
    pub token_lives_at_most: Duration,
}

/// Lends from an OpenBao.
pub struct OpenBao {
    name: String,
    settings: OpenBaoSettings,
    issuer: Arc<Issuer>,
    courier: Arc<dyn Courier>,
}

impl OpenBao {
    /// Logs in with documents of `issuer`, and asks through `courier`.
    pub fn new(settings: OpenBaoSettings, issuer: Arc<Issuer>, courier: Arc<dyn Courier>) -> Self {
        Self { name: format!("openbao:{}", settings.credential), settings, issuer, courier }
    }

    fn login(
        &self,
        permit: &Permit<MintCredential>,
        holder: &WorkloadId,
        now: Time,
    ) -> Result<(Secret, Time), ProviderError> {
        let OpenBaoSettings { mount, role, audience, .. } = &self.settings;
        let signed = self.issuer.sign_for(permit, holder, audience, LOGIN_LIFETIME, now);
        let (document, _) = signed.map_err(|error| ProviderError::new(error).that_made_nothing())?;
        let document = String::from_utf8_lossy(document.expose()).into_owned();
        let body = serde_json::json!({ "role": role, "jwt": document }).to_string();
        let wants = ["/auth/client_token", "/auth/lease_duration"];
        let path = format!("auth/{mount}/login");
        let body = Some(Body::Json(Secret::new(body.into_bytes())));
        let brought = self.ask(Method::Post, &path, None, body, &wants)?;
        if !brought.is_done() {
            return Err(brought.refusal("the login was refused"));
        }
        let token = brought.text("/auth/client_token").filter(|token| !token.is_empty());
        // It made something, and we do not know what.
        let token = token.ok_or_else(|| ProviderError::new("the login was answered without a token"))?;
        let lives =
            brought.number("/auth/lease_duration").map_or(self.settings.token_lives_at_most, Duration::from_seconds);
        Ok((Secret::new(token.as_bytes().to_vec()), now.after(lives)))
    }

    fn read(&self, token: &Secret) -> Result<Brought, ProviderError> {
        let field = self.field();
        let wants = ["/lease_id", "/lease_duration", field.as_str()];
        let brought = self.ask(Method::Get, &self.settings.path, Some(token), None, &wants)?;
        if !brought.is_done() {
            return Err(brought.refusal("the secret was refused"));
        }
        if brought.found.contains_key(&field) {
            Ok(brought)
        } else {
            Err(ProviderError::lasting(format!("the secret has no field `{}`", self.settings.field)))
        }
    }

    fn field(&self) -> String {
        format!("/data/{}", self.settings.field.replace('~', "~0").replace('/', "~1"))
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<Body>,
        wants: &[&str],
    ) -> Result<Brought, ProviderError> {
        let token = token.map(|token| ("x-vault-token", Secret::new(token.expose().to_vec())));
        let brought = self.courier.carry(&Errand {
            endpoint: self.settings.endpoint.clone(),
            method,
            target: format!("/v1/{path}"),
            fields: token.into_iter().collect(),
            body,
            wants: wants.iter().map(|pointer| (*pointer).to_owned()).collect(),
            counts: Vec::new(),
            reads: Reads::Json,
        })?;
        Ok(brought)
    }

    fn try_token(&self, token: &Secret) -> Probe {
        match self.ask(Method::Get, "auth/token/lookup-self", Some(token), None, &[]) {
            Ok(brought) if brought.status == 403 => Probe::Dead,
            Ok(brought) if brought.is_done() => Probe::Alive,
            Ok(brought) => Probe::Unknown(format!("status {}", brought.status)),
            Err(error) => Probe::Unknown(error.to_string()),
        }
    }

    /// Ends the lease of the secret and then the token, which would end every other lease made with it.
    fn end(&self, token: &Secret, lease: &[u8]) -> Result<(), ProviderError> {
        if !lease.is_empty() {
            let lease = String::from_utf8_lossy(lease);
            let body = Body::Json(Secret::new(serde_json::json!({ "lease_id": lease }).to_string().into_bytes()));
            // The token is ended whatever this comes to; it is the one that must succeed.
            let _ended_with_its_token = self.ask(Method::Put, "sys/leases/revoke", Some(token), Some(body), &[]);
        }
        let brought = self.ask(Method::Post, "auth/token/revoke-self", Some(token), None, &[])?;
        match brought.status {
            // Dead already: revoked before, or expired.
            403 => Ok(()),
            _ if brought.is_done() => Ok(()),
            _ => Err(brought.refusal("the token was not revoked")),
        }
    }
}

impl Provider for OpenBao {
    fn name(&self) -> &str {
        &self.name
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.as_ref() == Some(&self.settings.credential)
    }

    fn mint(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let (token, dies) = self.login(permit, holder, now)?;
        // What can never be looked up would later look dead while it lives.
        if let tried @ (Probe::Dead | Probe::Unknown(_)) = self.try_token(&token) {
            let _dies_with_its_time = self.end(&token, b"");
            let because = match tried {
                Probe::Unknown(why) => format!("its token cannot be tried: {why}"),
                _ => "its token may not look itself up: give the role the `default` policy".to_owned(),
            };
            return Err(ProviderError::lasting(because));
        }
        let read = match self.read(&token) {
            Ok(read) => read,
            // What was made is ended at once; only if that fails, its time has to pass.
            Err(error) => match self.end(&token, b"") {
                Ok(()) => return Err(error.that_made_nothing()),
                Err(_) => return Err(ProviderError { made_nothing: false, ..error }),
            },
        };
        let lease = read.text("/lease_id").unwrap_or_default().as_bytes();
        let handle = Handle::new(fields::join(&[HANDLE, token.expose(), lease]));
        let secret = read.found.get(&self.field()).map(|secret| Secret::new(secret.expose().to_vec()));
        let secret = secret.ok_or_else(|| ProviderError::new("the secret was answered without its field"))?;
        let lives = read.number("/lease_duration").filter(|seconds| *seconds > 0).map(Duration::from_seconds);
        let expires = lives.map_or(dies, |lives| dies.min(now.after(lives))).min(permit.order().until);
        Ok(Fresh { secret, handle, revocation: Revocation::LeaseRevoke, expires })
    }

    fn revoke(&self, credential: &Credential<'_>, _: Time) -> Result<(), ProviderError> {
        let Some((token, lease)) = credential.handle.and_then(parts) else { return Ok(()) };
        self.end(&token, &lease)
    }

    fn probe(&self, credential: &Credential<'_>, _: Time) -> Probe {
        let Some((token, _)) = credential.handle.and_then(parts) else {
            return Probe::Unknown("the answer to its login was lost".to_owned());
        };
        self.try_token(&token)
    }

    fn lost(&self, begun: Time) -> Lost {
        Lost::DiesAt(begun.after(LOGIN_LIFETIME).after(self.settings.token_lives_at_most))
    }
}

fn parts(handle: &Handle) -> Option<(Secret, Vec<u8>)> {
    match fields::split(handle.expose())?.as_slice() {
        [HANDLE, token, lease] => Some((Secret::new(token.to_vec()), lease.to_vec())),
        _ => None,
    }
}

impl fmt::Debug for OpenBao {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenBao({})", self.settings.credential)
    }
}
