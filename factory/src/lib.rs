//! The loop: admit, lease, work, verify, deliver, revoke, settle; and what happens when any of it is cut short.
//!
//! Owns the order of things ([`Factory::turn`]), recovery, follow-ups, children and the answer to every request at a door. Knows no
//! database, forge, sandbox driver or runtime: those are the small traits in [`ports`], and the simulator's are as good as
//! the real ones.

mod access;
mod beside;
mod brokered;
mod child;
mod cycle;
mod deliver;
mod doorkeeper;
mod hold;
mod identity;
mod lend;
mod people;
mod pipeline;
pub mod ports;
mod question;
mod recover;
mod renewal;
mod verify;

pub use access::Access;
pub use brokered::nobody_here;
pub use cycle::{Factory, Interrupted, Standing};
pub use doorkeeper::Gatekeeper;
pub use people::{Decline, Merge};
