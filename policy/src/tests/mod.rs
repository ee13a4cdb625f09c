//! Tests of decisions, of loading, and of the promises in the crate's first lines.

mod autonomy;
mod decisions;
mod golden;
mod loading;
mod promises;
mod world;
