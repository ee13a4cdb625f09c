//! The sandbox, built for real on this machine. Every test makes its own state directory and leaves nothing behind.

#[cfg(test)]
mod death;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod files;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod user;
#[cfg(test)]
mod wall;
