//! Tries, from inside a sandbox, everything that must not succeed.

/// The name under which an executable enters [`main`].
pub const NAME: &str = "selvedge-prober";

/// Runs the prober.
pub fn main(_: &[String]) -> i32 {
    0
}
