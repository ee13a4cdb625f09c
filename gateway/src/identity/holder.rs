//! The run's own X.509-SVID: its key is made here, lives in this process and in the sandbox, and is used until two fifths of
//! the certificate's life are over.

use std::time::{Duration, Instant};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use tonic::Status;

use super::service::{not_given, refused};
use super::wanted::{Given, Wanted};
use crate::link::Link;

/// Shortest time between two certificates: near the end of a run each lives less than the one before.
const RENEWED_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// A certificate and its key.
#[derive(Clone)]
pub(super) struct X509 {
    pub(super) spiffe_id: String,
    pub(super) certificate: Vec<u8>,
    /// PKCS#8, in DER.
    pub(super) key: Vec<u8>,
    renew: Instant,
}

/// What every stream of one run shares, so that more clients do not mean more certificates.
#[derive(Default)]
pub(super) struct Holder {
    held: tokio::sync::Mutex<Option<X509>>,
}

impl Holder {
    /// The certificate in use, or a fresh one when it is time.
    pub(super) async fn x509(&self, link: &Link) -> Result<X509, Status> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| !held.is_due()) {
            return Ok(held.clone());
        }
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| Status::internal("no key was made"))?;
        let wanted = Wanted::X509 { key: pair.der_bytes().to_vec() };
        match link.want(wanted).await {
            Some(Given::X509 { spiffe_id, certificate, life_seconds }) => {
                let renew = (Duration::from_secs(life_seconds) * 2 / 5).max(RENEWED_AT_MOST_EVERY);
                let renew = Instant::now() + renew;
                let fresh = X509 { spiffe_id, certificate, key: pair.serialize_der(), renew };
                Ok(held.insert(fresh).clone())
            }
            Some(Given::Denied { code, next_step }) => Err(refused(&code, &next_step)),
            _ => Err(not_given()),
        }
    }
}

impl X509 {
    /// How long until a fresh one is due.
    pub(super) fn due_in(&self) -> Duration {
        self.renew.saturating_duration_since(Instant::now())
    }

    fn is_due(&self) -> bool {
        self.due_in().is_zero()
    }
}
