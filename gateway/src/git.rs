//! Git's smart protocol as a door reads it: what a push asks for, whether its references are the run's own, and the report
//! a refused client is shown. Owns the wire, without I/O; never knows objects, repositories or git's arguments.

pub mod packet;
pub mod push;
pub mod report;
