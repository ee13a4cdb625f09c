//! Owns the ways to break a launch on purpose, for tests only: a step that fails, and a layer that is left out to see
//! that the proof from inside notices, or which layer stands behind it. Compiled only with the feature
//! `fault-injection`; in every other build both functions say "no" and are gone.

use crate::error::{Failed, Step};
use crate::spec::Spec;

/// Fails where the test asked for it.
pub(crate) fn fault(spec: &Spec, step: &str) -> Step<()> {
    if asked_for(spec, step) { Err(Failed::because("injected fault", step)) } else { Ok(()) }
}

/// Whether the test wants to see what happens without a layer.
pub(crate) fn left_out(spec: &Spec, layer: &str) -> bool {
    asked_for(spec, &format!("no {layer}"))
}

#[cfg(feature = "fault-injection")]
fn asked_for(spec: &Spec, what: &str) -> bool {
    spec.fail_at.as_deref().is_some_and(|list| list.split(',').any(|item| item == what))
}

#[cfg(not(feature = "fault-injection"))]
fn asked_for(_: &Spec, _: &str) -> bool {
    false
}
