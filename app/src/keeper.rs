//! One keeper per state directory: it alone opens the ledger, the policies and the keys. Every command is its client, or
//! becomes the keeper while it runs.

mod ask_agents;
mod ask_app;
mod ask_audit;
mod ask_credentials;
mod ask_doctor;
mod ask_identities;
mod ask_identity;
mod ask_look;
mod ask_people;
mod ask_stop;
mod ask_tenure;
mod ask_tools;
mod ask_work;
mod ballast;
mod budget;
mod census;
mod client;
mod conduct;
mod hall;
mod lock;
mod message;
mod pool;
mod reception;
mod schedule;
mod serve;
mod side_effects;
mod trial;
mod turns;
mod usage;
mod view;

pub(crate) use ask_audit::{export, verify};
pub(crate) use client::{ask_here, connect, connect_to_stop, stay};
pub(crate) use hall::Keeper;
pub(crate) use lock::State;
pub(crate) use message::{Document, Reply, Request, RunRequest, Scope, SecretWord};
pub(crate) use serve::serve;
pub(crate) use view::NOT_SHOWN;
