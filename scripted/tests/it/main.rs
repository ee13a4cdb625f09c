//! What clients of the scripted model server see: the vendors' own libraries, and requests that a vendor refuses.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

mod client;
mod faults;
mod hosts;
mod program;
mod strict;
mod vendors;
