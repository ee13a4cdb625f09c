//! A run's model door: what it is told, what it remembers of denied calls and of what it left out.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::call::Called;
use super::denials::Denials;
use super::dialect::{self, Dialogue};
use super::rehearsal::Rehearsing;
use super::request::Unfit;
use super::told::Given;
use super::wanted::ModelHost;

/// Different members that are named as left out in one attempt; an agent chooses their names.
const LEFT_OUT_NAMED_MAX: usize = 64;

/// The code under which a member that was left out is told; it is no denial.
pub const MEMBER_LEFT_OUT: &str = "member_left_out";

/// What the connections of a door share.
#[derive(Debug)]
pub(crate) struct ModelDoor {
    pub(crate) host: ModelHost,
    /// What speaks in the model's place, from this door's first request to its last; none at the door of a task.
    pub(crate) rehearsing: Option<Rehearsing>,
    denials: Mutex<Denials>,
    left_out: Mutex<BTreeSet<String>>,
    given: Mutex<Given>,
}

impl ModelDoor {
    /// Nothing is denied yet.
    pub(crate) fn new(host: ModelHost) -> Self {
        let denials = Denials::new(host.denied.clone()).into();
        let rehearsing = host.rehearsal.clone().map(Rehearsing::new);
        Self { host, rehearsing, denials, left_out: Mutex::default(), given: Mutex::default() }
    }

    /// Makes a request anew. One for a model that was not granted, or with an unknown name, is unfit.
    pub(crate) fn dialogue(&self, called: &Called, body: &[u8]) -> Result<Dialogue, Unfit> {
        let restored = memchr::memmem::find_iter(body, self.host.denied.as_bytes()).count();
        let dialogue = self.with_denials(|denials| match denials.is_flooded_by(restored) {
            true => Err(Unfit::TooMuch("long")),
            false => dialect::dialogue(called, body, &self.host.egress, denials),
        })?;
        let model = &dialogue.rebuilt.model;
        match self.host.names.contains(model) {
            true => Ok(dialogue),
            false => Err(Unfit::Model(model.chars().filter(char::is_ascii_graphic).take(128).collect())),
        }
    }

    /// What a model that may be asked is called where it is.
    pub(crate) fn there<'m>(&'m self, model: &'m str) -> &'m str {
        self.host.called.get(model).map_or(model, String::as_str)
    }

    /// A poisoned lock guards a list that is whole between statements.
    pub(crate) fn with_denials<T>(&self, with: impl FnOnce(&mut Denials) -> T) -> T {
        with(&mut self.denials.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A poisoned lock guards a list that is whole between statements.
    pub(crate) fn with_given<T>(&self, with: impl FnOnce(&mut Given) -> T) -> T {
        with(&mut self.given.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that were not named before.
    pub(crate) fn newly_left_out(&self, members: &BTreeSet<String>) -> Vec<String> {
        let mut named = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let new = members.iter().filter(|member| named.len() < LEFT_OUT_NAMED_MAX && named.insert((*member).clone()));
        new.cloned().collect()
    }
}
