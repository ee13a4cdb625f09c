//! The git door: serves a run its own repository over git's smart protocol. `packet`, `push`, `report` and `route` read and
//! write the wire without I/O, `door` is the way of a request, `spool` where its bulk passes. Never knows objects,
//! repositories or git's arguments: those are the keeper's, and its git is jailed.

pub(crate) mod door;
pub mod packet;
pub mod push;
pub mod report;
pub mod route;
pub(crate) mod spool;
pub(crate) mod wanted;
pub(crate) mod wire;
