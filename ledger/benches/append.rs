//! Placeholder until the ledger can append.

fn main() {}
