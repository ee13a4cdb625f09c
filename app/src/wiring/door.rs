//! One run's doors: started before its sandbox, given the sandbox's listeners, answered through the funnel, closed first.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use selvedge_authority::ActError;
use selvedge_domain::{Endpoint, Reach};
use selvedge_factory::ports::{Doorkeeper, Entropy as _};
use selvedge_gateway::danger::Upstream;
use selvedge_gateway::{Door, Fence, Hello, Limits, ListenerKind, LoanChange, Ready, SecretWatch};
use selvedge_sandbox::Listeners;

use super::Works;
use super::access::AccessDesk;
use super::answer::Desk;
use super::behalf::{Behalf, HasIdentity};
use super::courier::door_rights;
use super::danger::dangers;
use super::desks::Desks;
use super::git::GitDesk;
use super::hold::HoldDesk;
use super::lent::Lent;
use super::loans::{DoorLoans, OnDoor, WITHDRAWN};
use super::model::ModelDesk;
use super::send::Chain;
use super::tokens::TokenDesk;
use super::tool_rooms::ToolRooms;
use super::tools::ToolDesk;
use crate::config::Config;

/// Threads that answer one door: a package client opens a handful of connections at a time.
const ANSWERERS: usize = 4;

/// Room for one door's requests above its random beginning; one bit less, so that serials fit a signed number.
const SERIAL_BITS: u32 = 24;

/// What a door must stand behind before it is given a credential's worth of trust.
const FENCES: [Fence; 3] = [Fence::NotDumpable, Fence::Landlock, Fence::Seccomp];

/// A run's doors, open.
pub(super) struct OpenDoor {
    door: Arc<Door>,
    /// Where this door's count of requests begins, so that no two orders of a run are the same.
    serials_from: u64,
    /// The certificate the sandbox must trust.
    pub(super) ca_pem: String,
    /// What it was told at its start, and by which configuration; that in force may say otherwise by now.
    dangers: Vec<Upstream>,
    told: Arc<Config>,
    /// What it sends from.
    chain: Arc<Chain>,
    loans: Vec<OnDoor>,
    secrets: Option<Arc<SecretWatch>>,
}

impl Works {
    /// Starts the door process of a run.
    pub(super) fn open_door(
        &self,
        behalf: &Behalf,
        reach: Vec<Reach>,
        lending: Lent,
        Desks { git, tokens, access, model, tools, rehearsal, .. }: Desks<'_>,
        life: Duration,
    ) -> Result<OpenDoor, ActError> {
        let config = self.config();
        let asking = access.map(AccessDesk::asking).transpose()?;
        let rehearsed = rehearsal.map(|rehearsal| rehearsal.host().clone());
        let model = model.map(ModelDesk::host).transpose()?.or(rehearsed);
        let servers: Vec<Endpoint> = tools.iter().flat_map(|tools| tools.upstreams()).cloned().collect();
        let tools = tools.map(ToolDesk::host).transpose()?;
        let askable = asking.iter().flat_map(|asking| &asking.within);
        let reached = reach.iter().chain(askable.clone()).map(|reach| &reach.endpoint.host);
        let hosts = reached.chain(servers.iter().map(|server| &server.host));
        let chain = self.chain_of(&behalf.run)?;
        let budgets = chain.left(&config.send, hosts);
        let endpoints = reach.iter().chain(askable).map(|reach| &reach.endpoint);
        let hello = Hello {
            run: behalf.run.clone(),
            dangers: dangers(&config, endpoints.chain(model.iter().map(|model| &model.upstream)).chain(&servers)),
            reach,
            roots_pem: self.roots_pem.clone(),
            ca_common_name: format!("selvedge {}", behalf.run),
            life,
            lease: lending.identity,
            loans: lending.loans,
            git: git.map(GitDesk::host).transpose()?,
            tokens: tokens.map(TokenDesk::place).transpose()?,
            asking,
            model,
            tools,
            graphql: config.graphql.clone(),
            limits: Limits::default(),
            budgets,
            proxy: self.way_out().upstream().map_err(ActError::Permanent)?,
        };
        let started = Door::start(&self.executable, door_rights(), &hello);
        let (door, Ready { ca_pem, fences }) = started.map_err(|error| ActError::Transient(format!("{error}")))?;
        if let Some(missing) = FENCES.iter().find(|fence| !fences.contains(fence)) {
            return Err(ActError::Permanent(format!(
                "the door process has no {missing:?} fence here; it needs Linux 6.7 or later"
            )));
        }
        let door = Arc::new(door);
        self.remember_door(&behalf.run, &door);
        // A withdrawal that came before it was remembered did not find it; one that comes now does.
        for loan in lending.on_door.iter().filter(|loan| self.on_loan.is_withdrawn(&loan.lease)) {
            let change = LoanChange::Withdrawn { because: WITHDRAWN.to_owned() };
            let changed = door.change_loan(&loan.credential, &change);
            changed.map_err(|error| ActError::Transient(error.to_string()))?;
        }
        let serials_from = self.draw() >> SERIAL_BITS << (SERIAL_BITS - 1);
        let (dangers, loans, secrets) = (hello.dangers, lending.on_door, lending.watch);
        Ok(OpenDoor { door, serials_from, ca_pem, dangers, told: config, chain, loans, secrets })
    }
}

impl OpenDoor {
    /// Gives the door its listeners. What it is not given is closed when the listeners are dropped.
    pub(super) fn attach(
        &self,
        behalf: &Behalf,
        git: Option<&GitDesk>,
        rooms: &ToolRooms,
        listeners: &Listeners,
    ) -> Result<(), ActError> {
        let mut pairs = vec![
            (ListenerKind::Proxy, listeners.http.as_fd()),
            (ListenerKind::Dns, listeners.dns.as_fd()),
            (ListenerKind::CapturedTls, listeners.tls.as_fd()),
            (ListenerKind::CapturedClear, listeners.plain.as_fd()),
        ];
        if behalf.identity == HasIdentity::Yes {
            pairs.push((ListenerKind::Identity, listeners.identity.as_fd()));
        }
        pairs.extend(git.into_iter().flat_map(GitDesk::descriptors));
        pairs.extend(rooms.descriptors());
        self.door.attach(&pairs).map_err(|error| ActError::Transient(error.to_string()))
    }

    /// Answers the door, and watches what it was lent, while `inside` goes on, then closes it. Returns what `inside` did.
    pub(super) fn while_open<T>(
        &mut self,
        works: &Works,
        behalf: &Behalf,
        desks: Desks<'_>,
        doors: &dyn Doorkeeper,
        inside: impl FnOnce() -> T,
    ) -> T {
        let (serials_from, denials) = (self.serials_from, AtomicU64::new(0));
        let (door, dangers, secrets) = (&self.door, self.dangers.as_slice(), self.secrets.as_deref());
        let (run, is_over) = (&behalf.run, AtomicBool::new(false));
        let loans = DoorLoans::new(works, run, door, doors, secrets, std::mem::take(&mut self.loans));
        let holds = HoldDesk::new(works, run, doors, &loans);
        let (told, chain) = (self.told.as_ref(), self.chain.as_ref());
        let desk =
            Desk { works, behalf, desks, door, doors, holds: &holds, dangers, told, chain, serials_from, denials };
        let done = std::thread::scope(|scope| {
            for _ in 0..ANSWERERS {
                // A door that speaks nonsense is dead by the time serving returns; the sandbox then has no way out.
                scope.spawn(|| self.door.serve(&desk).inspect_err(|error| desk.broke(error)));
            }
            scope.spawn(|| loans.keep(&is_over));
            if desks.model.is_some() || desks.tools.is_some() {
                scope.spawn(|| holds.keep(&is_over));
            }
            let done = inside();
            if let Some(model) = desks.model {
                model.hear_the_last();
            }
            is_over.store(true, Ordering::Release);
            works.on_loan.ring();
            holds.ring();
            if let Some(git) = desks.git {
                git.end();
            }
            self.door.close();
            done
        });
        // Nobody settles anything any more.
        if let Some(model) = desks.model {
            model.settle_the_rest(doors, serials_from);
        }
        done
    }
}
