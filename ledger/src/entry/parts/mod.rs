//! Stored forms that several kinds of record share. A change of one is a new version of every kind that holds it.

pub(super) mod check;
pub(super) mod effect;
pub(super) mod handed;
pub(super) mod lease;
pub(super) mod observed;
pub(super) mod order;
pub(super) mod part;
pub(super) mod task;

use super::{Malformed, word};
