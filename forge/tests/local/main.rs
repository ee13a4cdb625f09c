//! The `local` forge against real git: what it does, and what must not happen.

#[cfg(test)]
mod commits;
#[cfg(test)]
mod hostile_sources;
#[cfg(test)]
mod hostile_trees;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod landing;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod model;
#[cfg(test)]
mod permits;
#[cfg(test)]
mod proposals;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod support;
