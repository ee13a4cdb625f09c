//! Whoever answers for the sandbox of a tool server: its requests are orders of the run it works for, recorded and judged like the agent's,
//! but within the server's own reach, which the agent's neither widens nor is widened by.

use std::collections::BTreeSet;

use selvedge_authority::{ActError, Code, Denial, Funnel, Observation, Permit, Stop, Subject};
use selvedge_domain::orders::{GitServed, HttpAnswered, HttpRequest, PushGit, Pushed, ReadGit};
use selvedge_domain::{Grant, Reach};

use crate::doorkeeper::Gatekeeper;
use crate::doorkeeper::open::{Open, came_to};
use crate::ports::Doorkeeper;

/// Answers the doors of one tool server.
pub(crate) struct Beside<'g, 'a> {
    of: &'g Gatekeeper<'a>,
    subject: Subject,
    open: Open<HttpRequest>,
}

impl<'g, 'a> Beside<'g, 'a> {
    /// The same run, with this reach and nothing else; none where nobody's agent asks.
    pub(crate) fn new(of: &'g Gatekeeper<'a>, reach: BTreeSet<Reach>) -> Option<Self> {
        let mut subject = of.funnel.subject.clone();
        let Subject::Agent { grant, .. } = &mut subject else { return None };
        let (trust, until) = (grant.trust, grant.until);
        **grant = Grant {
            trust,
            may: BTreeSet::new(),
            reach,
            may_ask: BTreeSet::new(),
            audiences: BTreeSet::new(),
            loans: BTreeSet::new(),
            models: BTreeSet::new(),
            tools: BTreeSet::new(),
            until,
        };
        Some(Self { of, subject, open: Open::default() })
    }
}

impl Doorkeeper for Beside<'_, '_> {
    fn ask(&self, request: HttpRequest) -> Result<(), Denial> {
        let serial = request.serial;
        self.of.one_more()?;
        let funnel = Funnel { subject: &self.subject, ..self.of.funnel() };
        self.open.ask(&funnel, serial, request)
    }

    fn answered(&self, serial: u64, answer: HttpAnswered) {
        let funnel = Funnel { subject: &self.subject, ..self.of.funnel() };
        self.open.settle(&funnel, serial, came_to(answer));
    }

    fn read_git(
        &self,
        order: ReadGit,
        serve: &mut dyn FnMut(&Permit<ReadGit>) -> Result<GitServed, ActError>,
    ) -> Result<GitServed, Stop> {
        let _unserved = (order, serve);
        Err(no_repository())
    }

    fn push_git(
        &self,
        order: PushGit,
        land: &mut dyn FnMut(&Permit<PushGit>) -> Result<Pushed, ActError>,
    ) -> Result<Pushed, Stop> {
        let _unserved = (order, land);
        Err(no_repository())
    }

    fn saw(&self, observation: Observation) {
        self.of.saw(observation);
    }
}

fn no_repository() -> Stop {
    let next_step = "a tool server has no repository to ask for".to_owned();
    Stop::Denied(Denial { code: Code::OutsideGrant, policies: Vec::new(), next_step })
}
