//! Tool servers that are programs: each in a sandbox of its own, beside the one of the agent, for one attempt. The keeper makes the pipes
//! they speak through, hands them to the run's door, and reads none of it (invariant 11).

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use selvedge_authority::{ActError, Observation};
use selvedge_domain::{Reach, RunId, ServerName};
use selvedge_factory::ports::Doorkeeper;
use selvedge_gateway::ListenerKind;
use selvedge_sandbox::{Event, Exit, Input, Killer, Network, Place, Sandbox};

use super::Works;
use super::behalf::{Behalf, HasIdentity};
use super::desks::Desks;
use super::door::OpenDoor;
use super::heard::Heard;
use super::inside::told;
use super::lent::Lent;
use super::repositories::permanent;
use super::tools::ToolDesk;

/// How long a server may take to die when its run is done with it.
const END_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// What a server may write, error output included, that is kept for who looks into what went wrong.
const NOTES_BYTES_MAX: u64 = 4 << 20;

/// Memory of a server: it works beside an agent and its tools.
const MEMORY_BYTES: u64 = 1 << 30;

/// Processes and threads of one.
const PROCESSES: u32 = 128;

/// What one may write.
const DISK_BYTES: u64 = 256 << 20;

/// How the names begin of what they write.
const TAPES: &str = "tools-";

/// The servers of one attempt that are programs.
#[derive(Default)]
pub(super) struct ToolRooms(Vec<Room>);

struct Room {
    server: ServerName,
    reach: BTreeSet<Reach>,
    id: String,
    sandbox: Sandbox,
    /// Its own way out, where it has one.
    door: Option<OpenDoor>,
    to: OwnedFd,
    from: OwnedFd,
}

impl ToolRooms {
    /// Builds a sandbox for each. None of them runs yet.
    pub(super) fn build(
        works: &Works,
        tools: Option<&ToolDesk>,
        of: &str,
        place_of_agent: &Place,
        behalf: &Behalf,
    ) -> Result<Self, ActError> {
        let mut rooms = Vec::new();
        let built = Self::build_each(works, tools, of, place_of_agent, behalf, &mut rooms);
        // Dropping what was built kills it.
        built.inspect_err(|_| rooms.iter().for_each(|room: &Room| works.forget_sandbox(&behalf.run, &room.id)))?;
        Ok(Self(rooms))
    }

    fn build_each(
        works: &Works,
        tools: Option<&ToolDesk>,
        of: &str,
        place_of_agent: &Place,
        behalf: &Behalf,
        rooms: &mut Vec<Room>,
    ) -> Result<(), ActError> {
        // It has no identity and is lent nothing: what it reaches is all it has.
        let own = Behalf { identity: HasIdentity::No, ..behalf.clone() };
        for (number, (server, argv)) in tools.into_iter().flat_map(ToolDesk::programs).enumerate() {
            let mut place = works.furnished(Place::new(argv));
            place.stdin = Input::Handed;
            place.limits.wall = place_of_agent.limits.wall;
            place.limits.memory_bytes = MEMORY_BYTES;
            place.limits.pids = PROCESSES;
            place.limits.disk_bytes = DISK_BYTES;
            place.limits.output_bytes = NOTES_BYTES_MAX;
            let door = match server.reach.is_empty() {
                true => None,
                false => {
                    let reach = server.reach.iter().cloned().collect();
                    let door = works.open_door(&own, reach, Lent::default(), Desks::default(), place.limits.wall)?;
                    place.network = Network::Doors;
                    works.trust(&mut place, &door.ca_pem);
                    Some(door)
                }
            };
            let id = format!("{of}-m{number}");
            let refused = |refused| permanent(format!("no sandbox for tool server `{}`: {refused}", server.name));
            let mut sandbox = works.driver.start(&id, &place).map_err(refused)?;
            if let (Some(door), Some(listeners)) = (&door, sandbox.listeners()) {
                door.attach(&own, None, &Self::default(), &listeners)?;
            }
            let handed = sandbox.handed().ok_or_else(|| permanent("a tool server's pipes are missing"))?;
            works.remember_sandbox(&behalf.run, &id, sandbox.killer());
            let (server, reach) = (server.name.clone(), server.reach.clone());
            rooms.push(Room { server, reach, id, sandbox, door, to: handed.to, from: handed.from });
        }
        Ok(())
    }

    /// The pipes, for the door, in the order of the servers.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (ListenerKind, BorrowedFd<'_>)> {
        self.0.iter().flat_map(|room| {
            [(ListenerKind::ToolInput, room.to.as_fd()), (ListenerKind::ToolOutput, room.from.as_fd())]
        })
    }

    /// Runs them while `inside` goes on, and ends them with it. Returns what `inside` did.
    pub(super) fn while_open<T>(
        self,
        works: &Works,
        behalf: &Behalf,
        doors: &dyn Doorkeeper,
        inside: impl FnOnce() -> T,
    ) -> T {
        if self.0.is_empty() {
            return inside();
        }
        std::thread::scope(|scope| {
            let mut killers: Vec<Killer> = Vec::new();
            for room in self.0 {
                killers.push(room.sandbox.killer());
                scope.spawn(move || room.serve(works, behalf, doors));
            }
            let done = inside();
            for killer in killers {
                // One that does not die is recorded, and swept like any sandbox.
                let _swept_later = killer.halt(END_WITHIN);
            }
            done
        })
    }
}

impl Works {
    /// Under which names there is what tool servers of a run wrote as errors.
    pub(crate) fn tool_tapes(&self, run: &RunId) -> Vec<String> {
        let kept = std::fs::read_dir(self.state.at("runs").join(run.as_str()));
        let names = kept.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut tapes: Vec<String> = names
            .filter(|name| name.starts_with(TAPES))
            .filter_map(|name| name.strip_suffix(".tape").map(str::to_owned))
            .collect();
        tapes.sort();
        tapes
    }
}

impl Room {
    fn serve(self, works: &Works, behalf: &Behalf, doors: &dyn Doorkeeper) {
        let Self { server, reach, id, mut sandbox, door, to, from } = self;
        // The door has its own copies: with ours open, neither side would see the other's end.
        drop((to, from));
        let purpose = format!("{TAPES}{server}");
        doors.saw(works.started(&sandbox));
        let mut heard = works.tape(&behalf.run, &purpose).ok().map(|tape| Heard::new(works, &behalf.run, tape, None));
        let mut hear = |event| match event {
            Event::Output { stream, bytes } => {
                if let Some(heard) = &mut heard {
                    heard.take(stream, &bytes);
                }
            }
            Event::RefusedCall { name, count } => doors.saw(Observation::CallRefused { call: name, count }),
            // Its programs are the operator's: nobody looks at what it starts.
            Event::Started(_) | Event::Became { .. } | Event::Unkept { .. } => {}
        };
        let exit: Exit = match (door, doors.beside(reach)) {
            (Some(mut door), Some(beside)) => {
                let own = Behalf { identity: HasIdentity::No, ..behalf.clone() };
                door.while_open(works, &own, Desks::default(), &*beside, || sandbox.wait(&mut hear))
            }
            // Without anybody to answer for it, it has no way out: its door is closed.
            (_, None) | (None, _) => sandbox.wait(&mut hear),
        };
        let output_bytes = heard.map_or(0, |heard| heard.end().1);
        works.forget_sandbox(&behalf.run, &id);
        doors.saw(Observation::SandboxEnded { purpose, exit: told(&exit), output_bytes });
        // What cannot be taken off the host now stays recorded, and the next sweep does it.
        let _swept_later = sandbox.destroy();
    }
}
