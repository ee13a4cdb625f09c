//! The sandbox, built for real on this machine. Every test makes its own state directory and leaves nothing behind.

mod death;
mod faults;
mod files;
mod limits;
mod stage;
mod user;
mod wall;
