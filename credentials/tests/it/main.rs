//! Tests of credentials through the public interface, in one binary.

mod crash;
mod leases;
mod world;
