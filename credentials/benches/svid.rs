//! How many identity documents per second are signed, and checked.
fn main() {}
