//! The channel between keeper and door: one inherited socket pair. Owns bytes, frames and descriptors on it; never knows
//! what is allowed.

pub(crate) mod descriptors;
pub(crate) mod errand;
pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod loan;
pub(crate) mod message;
pub(crate) mod wiped;
