//! A run asks for a child at its token endpoint: another agent's run with a part of what this one holds. Reads what is asked and
//! checks what only the keeper counts, depth and budget; that the scope is held is for containment, so that a refusal is a
//! decision on record. No token is made: a child proves who it is by itself.

use selvedge_domain::{AgentName, Ceiling, Handed, Time, TriggerId};
use serde::Serialize;

use super::exchange::{Parent, budget_of};
use super::form::Form;
use super::refusal::{Code, Refusal};
use super::{DELEGATION_DEPTH_MAX, Reply, TokenEndpoint, scope};

/// Longest task a child is given in words: two pages. Larger things belong in the repository.
pub const CHILD_TEXT_BYTES_MAX: usize = 4096;

/// What a run asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildRequest {
    /// Which agent is to do it.
    pub agent: AgentName,
    /// What it is to do.
    pub text: String,
    /// What it is given.
    pub handed: Handed,
}

/// How a child stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildStanding {
    /// What was queued.
    pub child: TriggerId,
    /// Its run, once one began.
    pub run: Option<String>,
    /// The word for its stage: `queued`, or that of its run.
    pub stage: String,
    /// The word for its outcome, once there is one.
    pub outcome: Option<String>,
}

impl TokenEndpoint {
    /// Reads a request of `parent` for a child.
    pub fn child(body: &[u8], parent: &Parent) -> Result<ChildRequest, Refusal> {
        let form = Form::parse(body)?;
        let agent = AgentName::parse(form.need("agent")?);
        let agent = agent.map_err(|_name| refuse(Code::InvalidTarget, "that is no name of an agent; name one"))?;
        let text = form.need("text")?;
        if text.len() > CHILD_TEXT_BYTES_MAX {
            return Err(refuse(Code::InvalidRequest, "the text is too long; put what it needs into the repository"));
        }
        let depth = parent.depth.saturating_add(1);
        if depth > DELEGATION_DEPTH_MAX {
            let next_step = "this authority was handed on as often as it may be; do the work in this run";
            return Err(refuse(Code::InvalidRequest, next_step));
        }
        let nothing = "name the scopes that the child needs; nothing is given unasked";
        let scope = form.one("scope").ok_or_else(|| refuse(Code::InvalidScope, nothing))?;
        // A ceiling has no end: the child's own attempt has one.
        let grant = scope::read(scope, Time::from_millis(0))
            .ok_or_else(|| refuse(Code::InvalidScope, "a scope cannot be read; write each as documented"))?;
        let handed = Handed { ceiling: Ceiling::from(&grant), depth, budget: budget_of(&form, parent.budget_left)? };
        Ok(ChildRequest { agent, text: text.to_owned(), handed })
    }
}

impl ChildStanding {
    /// The answer to whoever asked for it.
    pub fn reply(&self, status: u16) -> Reply {
        let Self { child, run, stage, outcome } = self;
        Reply::of_json(
            status,
            &StandingV1 { child: child.as_str(), run: run.as_deref(), stage, outcome: outcome.as_deref() },
        )
    }
}

impl Refusal {
    /// There is no child by that name, or it is somebody else's: whoever asks is not told which.
    pub fn no_child() -> Self {
        refuse(Code::InvalidRequest, "no child of this run has that name; use the one that the answer named")
    }

    /// Another agent than its configuration lets it ask.
    pub fn not_a_child() -> Self {
        refuse(
            Code::InvalidTarget,
            "this agent may not give work to that one; ask its owner to name it under `children`",
        )
    }

    /// What the child is told goes on record, and to its model.
    pub fn secret_in_text() -> Self {
        let next_step =
            "say what it is to do without what looks like a secret: an agent is lent what it needs, and never told it";
        refuse(Code::InvalidRequest, next_step)
    }

    /// It would wait for a child that nobody could begin.
    pub fn no_slot() -> Self {
        let next_step = "every slot but those of runs that may wait for a child is taken, and a child would never begin; do the \
                         work in this run, or ask the operator for more `factory.slots`";
        refuse(Code::InvalidRequest, next_step)
    }

    /// It asked often enough.
    pub fn too_many_children() -> Self {
        refuse(Code::InvalidRequest, "this run has asked for as many children as it may; do the rest in this run")
    }
}

fn refuse(code: Code, next_step: &'static str) -> Refusal {
    Refusal::new(code, next_step)
}

#[derive(Serialize)]
struct StandingV1<'a> {
    child: &'a str,
    run: Option<&'a str>,
    stage: &'a str,
    outcome: Option<&'a str>,
}
