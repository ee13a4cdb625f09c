//! The ledger from outside, on real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may be blunt"
)]

mod behaviours;
mod crash;
mod export;
mod full_disk;
mod model;
mod spine;
mod support;
mod tamper;
