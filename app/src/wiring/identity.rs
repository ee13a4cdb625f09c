//! Identities of runs for others: the issuer's two halves, what they publish, and one run's identity door answered through the
//! funnel. Never parses a request of the network: what is published is written to files, for a web server to serve.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_credentials::{
    BUNDLE_PATH, Claims, DISCOVERY_PATH, Inquirer, Issuer, IssuerError, IssuerName, JWKS_PATH, OwnSvid, OwnX509,
    Provider, Reply, SealedStore, Sealer, Secret, SubjectKey, TokenEndpoint, X509Issuer, bundle, discovery,
};
use selvedge_domain::{LeaseId, Time, WorkloadId};
use selvedge_factory::ports::{Clock as _, Doorkeeper, Entropy as _};
use selvedge_gateway::{Bundles, Given, Lease};

use super::Works;
use super::behalf::Behalf;
use super::denied::denied;
use super::sealed::Shelf;
use crate::keeper::Document;

/// The issuer of a trust domain, as far as its keeper needs it beside the lease engine.
pub(super) struct Identities {
    pub(super) issuer: Arc<Issuer>,
    x509: Arc<X509Issuer>,
    certificates: Arc<OwnX509>,
    pub(super) tokens: TokenEndpoint,
    list: Arc<Shelf>,
    /// Secrets on their way from the lease engine to the door that asked, by lease; none before they are made.
    handed: Mutex<BTreeMap<LeaseId, Option<Secret>>>,
}

impl Identities {
    /// Opens the issuer's keys, or makes them.
    pub(super) fn open(name: &IssuerName, sealer: &Arc<Sealer>, shelf: Shelf, now: Time) -> Result<Self, IssuerError> {
        let list = Arc::new(shelf);
        let store: Arc<dyn SealedStore> = list.clone();
        let issuer = Arc::new(Issuer::open(name.clone(), Arc::clone(sealer), Arc::clone(&store), now)?);
        let x509 = Arc::new(X509Issuer::open(name.clone(), Arc::clone(sealer), store, now)?);
        let certificates = Arc::new(OwnX509::new(Arc::clone(&x509), list.clone()));
        let tokens = TokenEndpoint::new(Arc::clone(&issuer), list.clone());
        Ok(Self { issuer, x509, certificates, tokens, list, handed: Mutex::default() })
    }

    /// What lends them. Tokens serve every audience, so they come last.
    pub(super) fn providers(&self) -> Vec<Arc<dyn Provider>> {
        let tokens = OwnSvid::new(Arc::clone(&self.issuer), self.list.clone());
        vec![self.certificates.clone(), Arc::new(tokens), Arc::new(self.tokens.tokens())]
    }

    /// Keeps a secret for the door that asked for its lease; gives it back when no door did.
    pub(super) fn hand(&self, lease: &LeaseId, secret: Secret) -> Option<Secret> {
        match self.handed.lock().unwrap_or_else(PoisonError::into_inner).get_mut(lease) {
            Some(awaited) => {
                *awaited = Some(secret);
                None
            }
            None => Some(secret),
        }
    }

    fn await_for_a_door(&self, lease: &LeaseId) {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner).insert(lease.clone(), None);
    }

    fn fetch(&self, lease: &LeaseId) -> Option<Secret> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner).remove(lease).flatten()
    }

    /// Brings published keys into use that are due.
    fn rotate(&self, now: Time) -> Result<(), IssuerError> {
        if now >= self.issuer.rotation_due() {
            self.issuer.rotate(now)?;
        }
        if now >= self.x509.rotation_due() {
            self.x509.rotate(now)?;
        }
        Ok(())
    }
}

impl super::Lending {
    /// Since when the keys of tokens and of certificates sign, and when the next ones take over.
    pub(crate) fn rotations(&self) -> [(Time, Time); 2] {
        let Identities { issuer, x509, .. } = &self.identities;
        [(issuer.signs_since(), issuer.rotation_due()), (x509.signs_since(), x509.rotation_due())]
    }
}

impl Works {
    /// Rotates keys that are due and publishes what relying parties read, where that changed. Says what went wrong.
    pub(crate) fn tend_keys(&self) -> Result<(), String> {
        self.lending
            .identities
            .rotate(self.now())
            .map_err(|error| format!("the identity keys did not rotate: {error}"))?;
        let config = self.config();
        let Some(directory) = &config.publish else { return Ok(()) };
        let documents =
            [(JWKS_PATH, Document::Jwks), (BUNDLE_PATH, Document::Bundle), (DISCOVERY_PATH, Document::Discovery)];
        for (path, document) in documents {
            let text = self.published(document);
            let file = directory.join(path);
            publish(&file, &text).map_err(|error| format!("cannot publish `{}`: {error}", file.display()))?;
        }
        Ok(())
    }

    /// A document that relying parties read.
    pub(crate) fn published(&self, document: Document) -> String {
        let Identities { issuer, x509, .. } = &self.lending.identities;
        match document {
            Document::Jwks => issuer.jwks(),
            Document::Bundle => bundle(issuer, x509),
            Document::Discovery => discovery(issuer),
        }
    }

    /// What the service with this audience is told of a token.
    pub(crate) fn introspect(&self, audience: &str, token: &str) -> Reply {
        self.lending.identities.tokens.look_at(token, Inquirer::Service(audience), self.now()).reply()
    }

    /// A JWT-SVID of the run's for this audience.
    pub(super) fn jwt(&self, behalf: &Behalf, doors: &dyn Doorkeeper, audience: &str) -> Given {
        self.lend(behalf, doors, audience, None)
    }

    /// An X.509-SVID of the run's for this key.
    pub(super) fn x509(&self, behalf: &Behalf, doors: &dyn Doorkeeper, key: &[u8]) -> Given {
        match SubjectKey::parse(key) {
            Ok(key) => self.lend(behalf, doors, &self.lending.identities.issuer.name().x509_audience(), Some(key)),
            Err(error) => Given::Denied { code: "not_permitted".to_owned(), next_step: error.to_string() },
        }
    }

    /// What everyone may know: the keys to verify others with.
    pub(super) fn bundles(&self) -> Given {
        Given::Bundles(Bundles {
            trust_domain: self.lending.identities.issuer.name().trust_domain().to_owned(),
            x509: self.lending.identities.x509.bundle(),
            jwks: self.lending.identities.issuer.jwks(),
        })
    }

    fn lend(&self, behalf: &Behalf, doors: &dyn Doorkeeper, audience: &str, key: Option<SubjectKey>) -> Given {
        let lease = LeaseId::from_entropy(self.draw());
        let is_certificate = key.is_some();
        if let Some(key) = key {
            self.lending.identities.certificates.present(&lease, key);
        }
        self.lending.identities.await_for_a_door(&lease);
        let minted = match doors.lend(&lease, audience) {
            Ok(minted) => minted,
            Err(denial) => {
                self.lending.identities.certificates.withdraw(&lease);
                // One that was made before its record failed is nobody's.
                drop(self.lending.identities.fetch(&lease));
                return denied(denial);
            }
        };
        let Some(secret) = self.lending.identities.fetch(&lease) else {
            return Given::Denied {
                code: "not_permitted".to_owned(),
                next_step: "it was lent and is gone; ask once more".to_owned(),
            };
        };
        let spiffe_id = WorkloadId::new(&self.trust_domain, behalf.run.clone(), behalf.agent.clone()).to_string();
        match is_certificate {
            true => Given::X509 {
                spiffe_id,
                certificate: secret.expose().to_vec(),
                life_seconds: minted.expires.since(self.now()).as_millis() / 1000,
            },
            false => Given::Jwt { spiffe_id, token: Lease::new(secret.expose().to_vec()) },
        }
    }

    /// Whether a token is good.
    pub(super) fn validate(&self, audience: &str, token: &Lease) -> Given {
        let Ok(token) = std::str::from_utf8(token.bytes()) else {
            return Given::Invalid { because: "it is not a token".to_owned() };
        };
        let verifier = self.lending.identities.issuer.verifier();
        match verifier.verify(token, audience, self.now(), &*self.lending.identities.list) {
            Ok(Claims { workload, audience, lease, issued, expires }) => Given::Valid(selvedge_gateway::Claims {
                issuer: self.lending.identities.issuer.name().as_str().to_owned(),
                subject: workload.to_string(),
                audience,
                issued: issued.as_millis() / 1000,
                expires: expires.as_millis() / 1000,
                id: lease.to_string(),
            }),
            Err(refused) => Given::Invalid { because: refused.to_string() },
        }
    }
}

/// Puts `text` into `file`, whole or not at all, unless it is there already. Whoever serves it reads the old or the new one.
fn publish(file: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let fresh = file.with_extension("new");
    let mut written = std::fs::File::create(&fresh)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&fresh, file)
}
