//! The permit: proof that this very order was asked, allowed and recorded.

use selvedge_domain::Digest;

/// Proof that `O` was asked, allowed and recorded. An effect takes a permit and nothing else.
///
/// Only the funnel makes one; it cannot be copied, stored beyond the act, or built by hand:
/// ```compile_fail
/// # use selvedge_authority::Permit;
/// let forged = Permit { order: () };
/// ```
/// ```compile_fail
/// # use selvedge_authority::Permit;
/// fn twice(permit: Permit<()>) -> (Permit<()>, Permit<()>) { (permit.clone(), permit) }
/// ```
#[derive(Debug)]
#[must_use = "a permit that is not used was asked for in vain"]
pub struct Permit<O> {
    order: O,
    digest: Digest,
}

impl<O> Permit<O> {
    /// The one way to a permit; the caller has just recorded the decision.
    pub(crate) fn after_record(order: O, digest: Digest) -> Self {
        Self { order, digest }
    }

    /// The fingerprint it was decided and recorded under.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The order it is for.
    pub fn order(&self) -> &O {
        &self.order
    }
}
