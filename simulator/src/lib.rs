//! A seeded world with faults, to test the loop.
//!
//! The factory and its funnel run here unchanged; everything behind their ports is simulated, and every call through a
//! port is a point at which something can go wrong. [`oracle`] says what must be true whatever did. Owns no rule of the
//! factory's: it only looks.

mod agent;
mod books;
mod case;
mod faults;
mod keeper;
mod notebook;
pub mod oracle;
mod play;
mod ports;
mod random;
pub mod reference;
mod rules;
mod scenario;
pub mod scenarios;
mod script;
pub mod swarm;
mod teeth;
mod world;

pub use books::Books;
pub use case::{Case, calm};
pub use faults::{Fault, Kind, Plan};
pub use keeper::Simulation;
pub use notebook::{Memory, Notebook};
pub use play::{Ending, play};
pub use random::Random;
pub use rules::Rules;
pub use scenario::{Happening, Lending, Scenario};
pub use teeth::Break;
pub use world::{CANARY, Fact, Held, Moment, Purpose};
