//! A simulated agent in a simulated sandbox: asks its door, leaves a tree, and may be killed at any moment.

use std::collections::BTreeSet;

use selvedge_authority::{ActError, Observation};
use selvedge_domain::orders::{HttpAnswered, HttpRequest, Ran};
use selvedge_domain::{Digest, Method, Order, RunId, Secrets, Task, Verb};
use selvedge_factory::ports::Doorkeeper;

use crate::faults::{Fault, Kind};
use crate::keeper::{Keeper, lock};
use crate::scenario::registry;
use crate::teeth::Break;
use crate::world::{Fact, Held, Purpose, Sandbox};

/// How often a long attempt has its credentials renewed: the second time, the first's predecessors are in the way.
const RENEWALS: u32 = 2;

impl Keeper<'_, '_> {
    /// One attempt, from the sandbox's start to its end. A keeper that dies leaves the sandbox up.
    pub(crate) fn let_work(&self, run: &RunId, task: &Task, doors: &dyn Doorkeeper) -> Result<Ran, ActError> {
        let sandbox = {
            let mut world = lock(&self.sim.world);
            world.start_sandbox(run, self.held(run), Purpose::Work)
        };
        self.during_work();
        if task.trigger.text == "severed" && !self.is_dead() {
            let mut world = lock(&self.sim.world);
            world.stop_sandbox(sandbox, None);
            return Ok(world.work(task));
        }
        self.still_up(sandbox)?;
        match self.fault(Kind::Inside, "inside") {
            None => {}
            Some(Fault::CrashBefore) => self.die(),
            Some(Fault::Transient) => return self.host_died(sandbox),
            Some(fault) => self.interrupt(fault, run),
        }
        self.still_up(sandbox)?;
        if self.loses_attempt() || task.trigger.text == "lost" {
            return self.host_died(sandbox);
        }
        self.use_door(run, task, doors);
        self.still_up(sandbox)?;
        if task.trigger.text == "renew" {
            self.outlive_credentials(run, doors);
            self.still_up(sandbox)?;
        }
        doors.saw(Observation::SandboxEnded {
            purpose: "work".to_owned(),
            exit: "exit status 0".to_owned(),
            output_bytes: 12,
        });
        let mut world = lock(&self.sim.world);
        if !self.is_dead() && !self.sim.is_broken(Break::KeepsSandboxes) {
            world.stop_sandbox(sandbox, None);
        }
        Ok(world.work(task))
    }

    fn still_up(&self, sandbox: u64) -> Result<(), ActError> {
        if self.is_dead() {
            return Err(ActError::Transient("the keeper died".to_owned()));
        }
        match lock(&self.sim.world).sandbox(sandbox) {
            Some(Sandbox::Up(_)) => Ok(()),
            Some(Sandbox::Killed(_, Some(because))) => Err(ActError::Halted(because.clone())),
            Some(Sandbox::Killed(_, None)) | None => Err(ActError::Transient("the sandbox was killed".to_owned())),
        }
    }

    fn host_died(&self, sandbox: u64) -> Result<Ran, ActError> {
        lock(&self.sim.world).stop_sandbox(sandbox, None);
        Err(ActError::Transient("the host died under the agent".to_owned()))
    }

    /// Works for so long that what it was lent would end before it does, more than once.
    fn outlive_credentials(&self, run: &RunId, doors: &dyn Doorkeeper) {
        let mut lent = lock(&self.sim.world).lent_to(run);
        for _ in 0..RENEWALS {
            for (lease, credential) in &mut lent {
                if self.is_dead() {
                    return;
                }
                // Without a new one, the old one goes on until it ends.
                let Ok(minted) = doors.renew(credential) else { continue };
                let old = std::mem::replace(lease, minted.lease);
                if !self.is_dead() {
                    doors.retire(credential, &old);
                }
            }
        }
    }

    /// One request within the grant and one beyond it.
    fn use_door(&self, run: &RunId, task: &Task, doors: &dyn Doorkeeper) {
        for path in ["/index/it", "/admin"] {
            let serial = {
                let mut world = lock(&self.sim.world);
                world.serial += 1;
                world.serial
            };
            let request = HttpRequest {
                run: run.clone(),
                repo: task.trigger.repo.clone(),
                serial,
                endpoint: registry(),
                method: Method::Get,
                path: path.to_owned(),
                query_bytes: 0,
                body_bytes_max: 0,
                credential: None,
                graphql: BTreeSet::new(),
                danger: BTreeSet::new(),
                secrets: Secrets::default(),
            };
            let order: Digest = request.describe().digest();
            let allowed = doors.ask(request).is_ok() || self.sim.is_broken(Break::IgnoresTheDoorkeeper);
            if allowed && !self.is_dead() {
                let stale = self.held(run) == Held::No;
                lock(&self.sim.world).note(Fact::Acted { order, run: run.clone(), verb: Verb::HttpRequest, stale });
                doors.answered(serial, HttpAnswered { status: 200, request_bytes: 0, response_bytes: 2 });
            }
        }
    }
}
