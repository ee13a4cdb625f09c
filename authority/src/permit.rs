//! The permit: proof that this very order was asked, allowed and recorded.

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
}

impl<O> Permit<O> {
    /// The one way to a permit; the caller has just recorded the decision.
    pub(crate) fn after_record(order: O) -> Self {
        Self { order }
    }

    /// The order it is for.
    pub fn order(&self) -> &O {
        &self.order
    }
}
