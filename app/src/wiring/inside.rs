//! A place run to its end: its doors opened first and closed before it is over, the rooms of its tool servers beside it, what it wrote
//! kept. Never knows what runs there, or what comes of it.

use selvedge_authority::{ActError, Observation};
use selvedge_domain::Reach;
use selvedge_factory::ports::Doorkeeper;
use selvedge_gateway::SecretWatch;
use selvedge_sandbox::{Ended, Event, Exit, Layer, Network, Place, Sandbox};

use super::Works;
use super::behalf::{Behalf, HasIdentity};
use super::desks::Desks;
use super::door::OpenDoor;
use super::heard::Heard;
use super::lent::Lent;
use super::repositories::permanent;
use super::tool_rooms::ToolRooms;
use super::witness::Witness;

/// What a sandbox has besides its place.
#[derive(Default)]
pub(super) struct Inside<'a> {
    /// Where its doors lead; none without.
    pub(super) reach: Vec<Reach>,
    /// What its doors are lent.
    pub(super) lending: Lent,
    /// What its doors answer for themselves.
    pub(super) desks: Desks<'a>,
    /// What its output is kept under.
    pub(super) purpose: &'a str,
}

impl Works {
    /// Runs a place to its end, doors and all, and keeps what it wrote.
    pub(super) fn run_inside(
        &self,
        id: &str,
        place: Place,
        behalf: &Behalf,
        inside: Inside<'_>,
        doors: &dyn Doorkeeper,
    ) -> Result<(Sandbox, Exit, Vec<u8>), ActError> {
        let Inside { reach, lending, desks, purpose } = inside;
        let watch = lending.watch.clone();
        let is_alone = reach.is_empty() && desks.are_closed() && behalf.identity == HasIdentity::No;
        let (mut place, door) = match is_alone {
            true => (place, None),
            false => self.with_door(place, behalf, reach, lending, desks).map(|(place, door)| (place, Some(door)))?,
        };
        place.observe = desks.witness.map(Witness::observe);
        let mut sandbox =
            self.driver.start(id, &place).map_err(|refused| permanent(format!("no sandbox: {refused}")))?;
        self.remember_sandbox(&behalf.run, id, sandbox.killer());
        let listening = Listening { works: self, id, place: &place, behalf, desks, watch: watch.as_deref(), purpose };
        let ended = listening.to_the_end(&mut sandbox, door, doors);
        // Its door is closed and gone: what is alive is what a halt is told about. Dropping the sandbox kills it.
        self.forget_sandbox(&behalf.run, id);
        let (exit, kept, output_bytes) = ended?;
        doors.saw(Observation::SandboxEnded { purpose: purpose.to_owned(), exit: told(&exit), output_bytes });
        Ok((sandbox, exit, kept))
    }

    /// Opens the door of a place, and has what runs there find it and what it answers for.
    fn with_door(
        &self,
        mut place: Place,
        behalf: &Behalf,
        reach: Vec<Reach>,
        lending: Lent,
        desks: Desks<'_>,
    ) -> Result<(Place, OpenDoor), ActError> {
        place.network = Network::Doors;
        for (name, placeholder) in &lending.env {
            place = place.with_env(name, placeholder.as_str());
        }
        place = desks.announce(place);
        let door = self.open_door(behalf, reach, lending, desks, place.limits.wall)?;
        self.trust(&mut place, &door.ca_pem);
        if behalf.identity == HasIdentity::Yes {
            self.announce_identity(&mut place);
        }
        Ok((place, door))
    }

    /// What is worth knowing of a sandbox that starts, listed once.
    pub(super) fn started(&self, sandbox: &Sandbox) -> Observation {
        let layers = Layer::ALL.iter().map(|layer| format!("{layer}: proved from inside before the program ran"));
        let unreachable = UNREACHABLE.iter().map(|what| (*what).to_owned());
        Observation::SandboxStarted {
            level: sandbox.level().to_string(),
            layers: layers.collect(),
            unreachable: unreachable.collect(),
        }
    }

    pub(super) fn refuse_when_killed(&self, exit: &Exit) -> Result<(), ActError> {
        match &exit.ended {
            Ended::Killed => Err(ActError::Halted("its sandbox was killed".to_owned())),
            Ended::NotRun(because) => Err(permanent(format!("the program did not run: {because}"))),
            Ended::Status(_) | Ended::Signal(_) | Ended::Limit(_) => Ok(()),
        }
    }
}

/// What mounts and namespaces make unreachable, in words for an auditor.
const UNREACHABLE: &[&str] = &[
    "every host file but /usr, the toolchain and what the run's place lists",
    "every process, signal and socket outside the sandbox",
    "every network address but the run's own doors on loopback",
    "every device but null, zero, full, random, urandom and tty",
    "the keeper, its ledger, its policies and its keys",
    "/sys, kernel settings, other runs",
];

/// A sandbox that was built, and who listens to it.
struct Listening<'a> {
    works: &'a Works,
    id: &'a str,
    place: &'a Place,
    behalf: &'a Behalf,
    desks: Desks<'a>,
    watch: Option<&'a SecretWatch>,
    purpose: &'a str,
}

impl Listening<'_> {
    /// Runs it with its doors and those beside it. How it ended, what it wrote to standard output, and how much in all.
    fn to_the_end(
        &self,
        sandbox: &mut Sandbox,
        mut door: Option<OpenDoor>,
        doors: &dyn Doorkeeper,
    ) -> Result<(Exit, Vec<u8>, u64), ActError> {
        let Self { works, id, place, behalf, desks, watch, purpose } = *self;
        // A halt that came while it was being built did not find it.
        self.unless_halted()?;
        doors.saw(works.started(sandbox));
        let rooms = ToolRooms::build(works, desks.tools, id, place, behalf)?;
        // Nor did one that came while those beside it were built. Dropping them kills them, and their doors.
        self.unless_halted()?;
        if let Some(witness) = desks.witness {
            witness.begin(sandbox.reads(), doors);
        }
        if let (Some(door), Some(listeners)) = (&door, sandbox.listeners()) {
            door.attach(behalf, desks.git, &rooms, &listeners)?;
        }
        let mut heard = Heard::new(works, &behalf.run, works.tape(&behalf.run, purpose)?, watch);
        let listen = || {
            let mut hear = |event| match event {
                Event::Output { stream, bytes } => heard.take(stream, &bytes),
                Event::RefusedCall { name, count } => doors.saw(Observation::CallRefused { call: name, count }),
                Event::Started(_) | Event::Became { .. } | Event::Unkept { .. } => {
                    if let Some(witness) = desks.witness {
                        witness.hear(&event, watch);
                    }
                }
            };
            rooms.while_open(works, behalf, doors, || sandbox.wait(&mut hear))
        };
        let exit = match &mut door {
            Some(door) => door.while_open(works, behalf, desks, doors, listen),
            None => listen(),
        };
        let (kept, output_bytes) = heard.end();
        Ok((exit, kept, output_bytes))
    }

    fn unless_halted(&self) -> Result<(), ActError> {
        let halted = self.works.run(&self.behalf.run).ok().and_then(|run| self.works.halt_covering(&run));
        halted.map_or(Ok(()), |because| Err(ActError::Halted(because)))
    }
}

/// The exit status of a program that ended by itself.
pub(super) fn status_of(exit: &Exit) -> Option<i32> {
    match exit.ended {
        Ended::Status(status) => Some(status),
        Ended::Signal(_) | Ended::Limit(_) | Ended::Killed | Ended::NotRun(_) => None,
    }
}

/// How a sandbox ended, in words.
pub(crate) fn told(exit: &Exit) -> String {
    let ended = match &exit.ended {
        Ended::Status(status) => format!("exit status {status}"),
        Ended::Signal(signal) => format!("signal {signal}"),
        Ended::Limit(limit) => format!("the {limit:?} limit").to_lowercase(),
        Ended::Killed => "a kill".to_owned(),
        Ended::NotRun(because) => format!("nothing run ({because})"),
    };
    // The one that ended it is named already.
    let others = exit.limits.iter().filter(|limit| !matches!(&exit.ended, Ended::Limit(last) if last == *limit));
    let others: Vec<String> = others.map(|limit| format!("{limit:?}").to_lowercase()).collect();
    if others.is_empty() { ended } else { format!("{ended}, after running into: {}", others.join(", ")) }
}
