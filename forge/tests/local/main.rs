//! The `local` forge against real git: what it does, and what must not happen.

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod support;
