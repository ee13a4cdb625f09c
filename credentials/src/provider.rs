//! What every source of credentials must be able to do. One file per provider implements it; the lease engine drives it.

use std::fmt;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{Duration, LeaseId, Revocation, Time, WorkloadId};

use crate::Secret;

/// Makes credentials of one kind, and ends them.
pub trait Provider: Send + Sync {
    /// Its name in sealed records; never given to another kind of provider.
    fn name(&self) -> &str;

    /// Whether it is the one to carry out this order.
    fn serves(&self, order: &MintCredential) -> bool;

    /// Makes the credential. Called at most once per lease, after the lease was announced.
    fn mint(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Fresh, ProviderError>;

    /// Ends the credential. Safe to repeat, also after it is dead, and when it may never have existed: then, whatever the
    /// lost mint made must end too.
    fn revoke(&self, credential: &Credential<'_>, now: Time) -> Result<(), ProviderError>;

    /// Tries whether the credential still works.
    fn probe(&self, credential: &Credential<'_>, now: Time) -> Probe;

    /// How a credential is ended whose mint began at `begun` and was never answered.
    fn lost(&self, begun: Time) -> Lost;
}

/// How what was made is ended when the answer to its mint was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It carries its lease, which is enough to revoke and try it, here and at once.
    EndedByLease,
    /// It carries its lease where the service keeps it: revoking looks for it there.
    FoundByLease {
        /// Before this moment the service may still be making it, and finding nothing proves nothing.
        under_way_until: Time,
    },
    /// Nobody can name it; at this moment it is certainly dead.
    DiesAt(Time),
}

/// A credential just made. Only the lease engine sees it whole.
#[derive(Debug)]
pub struct Fresh {
    /// What a door will use.
    pub secret: Secret,
    /// What the provider needs to revoke and probe it later.
    pub handle: Handle,
    /// How it can die.
    pub revocation: Revocation,
    /// When it dies by itself.
    pub expires: Time,
}

/// What a provider needs to revoke and probe one credential; often the credential itself, so kept like one.
pub struct Handle(Secret);

/// A credential to end or to try.
#[derive(Debug)]
pub struct Credential<'a> {
    /// Its lease.
    pub lease: &'a LeaseId,
    /// Who accepts it; none when that was not recorded either.
    pub audience: Option<&'a str>,
    /// Its handle; none when the mint's answer was lost. Then its secret was never handed out.
    pub handle: Option<&'a Handle>,
}

/// What trying a credential showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It is refused.
    Dead,
    /// It is accepted.
    Alive,
    /// It could not be tried.
    Unknown(String),
}

/// A provider did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{because}")]
pub struct ProviderError {
    /// Why, without any secret in it.
    pub because: String,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
    /// Whether asking again is of no use until a person did something.
    pub is_lasting: bool,
    /// Whether it is certain that nothing was made, or that what was made is dead.
    pub made_nothing: bool,
}

impl Handle {
    /// Keeps this for later.
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// What was kept.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(..)")
    }
}

impl ProviderError {
    /// An error without advice on when to try again.
    pub fn new(because: impl fmt::Display) -> Self {
        Self { because: because.to_string(), retry_after: None, is_lasting: false, made_nothing: false }
    }

    /// The same, certain that nothing was made or that it is dead.
    #[must_use]
    pub fn that_made_nothing(self) -> Self {
        Self { made_nothing: true, ..self }
    }

    /// An error that stays until a person did what it says.
    pub fn lasting(because: impl fmt::Display) -> Self {
        Self { is_lasting: true, ..Self::new(because) }
    }
}
