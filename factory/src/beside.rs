//! Whoever answers for the sandbox of a tool server: its requests are orders of the run it works for, recorded and judged like the agent's,
//! but within the server's own reach, which the agent's neither widens nor is widened by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use selvedge_authority::{ActError, Code, Denial, Funnel, Observation, Permit, Stop, Subject};
use selvedge_domain::orders::{GitServed, HttpAnswered, HttpRequest, PushGit, Pushed, ReadGit};
use selvedge_domain::{Grant, Reach};

use crate::doorkeeper::{Gatekeeper, close, denial_of};
use crate::ports::Doorkeeper;

/// Answers the doors of one tool server.
pub(crate) struct Beside<'g, 'a> {
    of: &'g Gatekeeper<'a>,
    subject: Subject,
    open: Mutex<BTreeMap<u64, Permit<HttpRequest>>>,
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
        Some(Self { of, subject, open: Mutex::default() })
    }
}

impl Doorkeeper for Beside<'_, '_> {
    fn ask(&self, request: HttpRequest) -> Result<(), Denial> {
        let serial = request.serial;
        self.of.goes_on()?;
        self.of.count_request()?;
        let funnel = Funnel { subject: &self.subject, ..self.of.funnel() };
        match funnel.open(request) {
            Ok(permit) => self.of.hold(&self.open, serial, permit),
            Err(stop) => Err(denial_of(stop)),
        }
    }

    fn answered(&self, serial: u64, answer: HttpAnswered) {
        let funnel = Funnel { subject: &self.subject, ..self.of.funnel() };
        close(&funnel, &self.open, serial, answer);
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
