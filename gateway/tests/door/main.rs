//! The door as a sandbox meets it: a process of its own, real sockets, real TLS, real clients.
#![expect(unreachable_pub, reason = "these modules are this test's own")]

#[cfg(test)]
mod clients;
#[cfg(test)]
mod courier;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod graphql;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod lending;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod model;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod send;
#[cfg(test)]
mod signing;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod ways;
#[cfg(test)]
mod world;
