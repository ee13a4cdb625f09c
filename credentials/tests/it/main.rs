//! Tests of credentials through the public interface, in one binary.

mod crash;
mod issuer;
mod leases;
mod seal;
mod world;
