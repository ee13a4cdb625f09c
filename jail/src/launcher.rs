//! Owns the outside: reads what the keeper wants, gives birth to the sandbox, and stays to answer told calls, to
//! carry messages, and to end the sandbox when the keeper is gone.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{Failed, Named, Step};
use crate::message::Message;
use crate::namespaces;
use crate::programs::Programs;
use crate::refusals::Refusals;
use crate::spec::{Mapping, SPEC_BYTES_MAX, Spec};
use crate::sys::{self, Closing, Patience, Side};
use crate::{danger, inside, trees};

/// The launcher's life. The control socket is its standard input.
pub(crate) fn run() -> Step<()> {
    let control = take_control()?;
    let born = read_request(&control).and_then(|(spec, stdio)| give_birth(&spec, &control, stdio));
    match born {
        Ok(Some(mut watch)) => watch.stay(&control),
        Ok(None) => Ok(()),
        Err(failed) => Message::Failed(failed).send(control.as_fd(), &[]),
    }
}

/// Moves the control socket away from where a program would find it, and closes everything inherited by mistake.
fn take_control() -> Step<OwnedFd> {
    sys::close_from(3, Closing::Now).step("close inherited descriptors")?;
    let control = sys::inherited(0).step("take control socket")?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").step("open /dev/null")?;
    let moved = control.try_clone().step("move control socket")?;
    std::mem::forget(control);
    for standard in 0..3 {
        sys::put_at(null.as_fd(), standard).step("set standard streams")?;
    }
    Ok(moved)
}

fn read_request(control: &OwnedFd) -> Step<(Spec, Vec<OwnedFd>)> {
    const STEP: &str = "read spec";
    let Some((Message::Build, mut descriptors)) = Message::receive(control)? else {
        return Err(Failed::because(STEP, "the keeper sent something else"));
    };
    if descriptors.len() != 4 {
        return Err(Failed::because(STEP, "wrong number of descriptors"));
    }
    let file = File::from(descriptors.remove(0));
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a longer spec is seen to be longer.
    file.take(SPEC_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).step(STEP)?;
    let spec = Spec::decode(&bytes).map_err(|error| Failed::because(STEP, error.to_string()))?;
    Ok((spec, descriptors))
}

/// Makes the first process and tells it to go. In the child this does not return.
fn give_birth(spec: &Spec, control: &OwnedFd, stdio: Vec<OwnedFd>) -> Step<Option<Watch>> {
    danger::fault(spec, "clone")?;
    let (ours, theirs) = sys::socket_pair().step("make socket pair")?;
    let group =
        spec.groups.unified.as_ref().map(|path| File::open(path).step_on("open control group", path)).transpose()?;
    let kill = spec.groups.unified.as_ref().map(|path| {
        let path = Path::new(path).join("cgroup.kill");
        OpenOptions::new().write(true).open(&path).step_on("open control group", path.display())
    });
    let kill = kill.transpose()?;
    let join = |path| OpenOptions::new().write(true).open(path).step_on("open control group", path);
    let attach = spec.groups.attach.iter().map(join).collect::<Step<Vec<File>>>()?;
    let (pid, handle) = match namespaces::enter_all(group.as_ref().map(AsFd::as_fd))? {
        Side::Child => {
            // Nothing of the outside may be held inside, and the watch must see the line end with the first process.
            drop((ours, group, kill));
            let _ = sys::close_one(control.as_fd());
            inside::first_process(spec, theirs, &stdio, attach)
        }
        Side::Parent(child) => child,
    };
    drop((theirs, stdio, attach));
    let admitted = admit(spec, pid, &ours).and_then(|()| give_up_privilege(spec));
    let watch = Watch {
        line: Some(ours),
        listener: None,
        handle,
        pid,
        kill,
        filtered: !danger::left_out(spec, "filter"),
        refusals: None,
        programs: spec.tells_programs().then(|| Programs::new(&spec.argv)),
        exited: false,
    };
    match admitted {
        Ok(()) => Ok(Some(watch)),
        Err(failed) => {
            watch.end()?;
            Err(failed)
        }
    }
}

/// Gives the first process its user and the trees only the launcher can take.
fn admit(spec: &Spec, pid: libc::pid_t, line: &OwnedFd) -> Step<()> {
    namespaces::map_owner(pid, &spec.owner)?;
    danger::fault(spec, "map")?;
    let owner = (spec.owner.uid, spec.owner.gid);
    let mapped = spec.owner.mapping == Mapping::ByRoot;
    let translation = if mapped && needs_translation(spec) {
        Some(namespaces::Translation::make(Path::new("/proc"), spec.owner.keeper, owner)?)
    } else {
        None
    };
    let given = if mapped { trees::named(spec, translation.as_ref().map(AsFd::as_fd))? } else { Vec::new() };
    Message::Go.send(line.as_fd(), &given.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
    translation.map_or(Ok(()), namespaces::Translation::end)
}

/// All that is left to do needs no privilege but that of killing another user's process.
fn give_up_privilege(spec: &Spec) -> Step<()> {
    if spec.owner.mapping == Mapping::ByRoot {
        sys::keep_capability_to_kill().step("give up privilege")?;
    }
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).step("forbid new privileges")?;
    // What it holds, the listeners above all, is nobody's to take who happens to be the same user.
    sys::prctl(libc::PR_SET_DUMPABLE, 0).step("close own memory").map(drop)
}

fn needs_translation(spec: &Spec) -> bool {
    trees::wanted(spec).iter().any(|want| want.access != crate::spec::Access::ReadOnly)
}

/// What the launcher holds while a sandbox lives.
#[derive(Debug)]
struct Watch {
    /// To the first process and, before it runs the program, the payload.
    line: Option<OwnedFd>,
    /// Where told calls come out.
    listener: Option<OwnedFd>,
    handle: OwnedFd,
    pid: libc::pid_t,
    /// The control group's `cgroup.kill`.
    kill: Option<File>,
    /// Whether there is a filter, as there always is outside of tests.
    filtered: bool,
    /// Counted from the moment the program could run; what the self-test tries is no finding.
    refusals: Option<Refusals>,
    /// Where programs are observed.
    programs: Option<Programs>,
    exited: bool,
}

impl Watch {
    /// Carries messages until the sandbox or the keeper is gone.
    fn stay(&mut self, control: &OwnedFd) -> Step<()> {
        loop {
            let watched: Vec<(Source, BorrowedFd<'_>)> = [
                Some((Source::Handle, self.handle.as_fd())),
                Some((Source::Keeper, control.as_fd())),
                self.line.as_ref().map(|fd| (Source::Line, fd.as_fd())),
                self.listener.as_ref().map(|fd| (Source::Listener, fd.as_fd())),
            ]
            .into_iter()
            .flatten()
            .collect();
            let patience = self.programs.as_ref().map_or(-1, Programs::patience);
            let ready = sys::poll(&watched.iter().map(|(_, fd)| *fd).collect::<Vec<_>>(), patience).step("wait")?;
            let ready: Vec<Source> =
                watched.iter().zip(ready).filter(|(_, ready)| *ready).map(|((source, _), _)| *source).collect();
            if ready.contains(&Source::Keeper) && !self.hear_keeper(control)? {
                return self.end();
            }
            if ready.contains(&Source::Listener) {
                self.answer(control)?;
            }
            if let Some(programs) = &mut self.programs {
                programs.look_again();
                programs.flush(control.as_fd(), Patience::Hurry);
            }
            if ready.contains(&Source::Line) {
                self.hear_inside(control)?;
            } else if ready.contains(&Source::Handle) {
                // Only when the line has nothing left to say, so that the last word is not lost.
                return self.finish(control);
            }
        }
    }

    /// False when the keeper is gone or no longer makes sense.
    fn hear_keeper(&self, control: &OwnedFd) -> Step<bool> {
        match (Message::receive(control), &self.line) {
            (Ok(Some((Message::Release, _))), Some(line)) => Message::Release.send(line.as_fd(), &[]).map(|()| true),
            // The program may have ended before the word came.
            (Ok(Some((Message::Release, _))), None) => Ok(true),
            _ => Ok(false),
        }
    }

    fn hear_inside(&mut self, control: &OwnedFd) -> Step<()> {
        let Some(line) = &self.line else { return Ok(()) };
        let heard = match Message::receive(line) {
            Ok(heard) => heard,
            // The other end closed with something of ours unread.
            Err(failed) if failed.errno == libc::ECONNRESET => None,
            Err(failed) => return Err(failed),
        };
        let Some((message, mut descriptors)) = heard else {
            self.line = None;
            return Ok(());
        };
        match message {
            Message::Ready { .. } => {
                self.refusals = Some(Refusals::default());
                if self.filtered {
                    self.listener = descriptors.pop();
                }
                if let (Some(listener), Some(_)) = (&self.listener, &self.programs) {
                    // Where it is not to be had, programs start a little slower.
                    let _ = sys::take_turns(listener.as_fd());
                }
                // The rest is the keeper's alone; our copies end here.
                let handed: Vec<BorrowedFd<'_>> =
                    [&self.handle].into_iter().chain(&descriptors).map(AsFd::as_fd).collect();
                Message::Ready { pid: self.pid }.send(control.as_fd(), &handed)?;
            }
            Message::Failed(_) | Message::Exited { .. } => {
                self.exited |= matches!(message, Message::Exited { .. });
                self.tell_refusals(control);
                message.send(control.as_fd(), &[])?;
            }
            Message::Build
            | Message::Release
            | Message::Go
            | Message::Refused { .. }
            | Message::Started(_)
            | Message::Became { .. }
            | Message::Unkept { .. } => {}
        }
        Ok(())
    }

    /// Answers one told call. A sandbox that floods us waits for its answers; we do not work for it without end. Who cannot be
    /// answered cannot be observed, and is ended where it is to be.
    fn answer(&mut self, control: &OwnedFd) -> Step<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let answered = match sys::take_notification(listener.as_fd()) {
            Ok(Some(notified)) => match &mut self.programs {
                Some(programs) if notified.starts_program() => {
                    programs.see(&notified, listener.as_fd());
                    sys::answer_started(listener.as_fd(), &notified)
                }
                _ => {
                    if let Some(refusals) = &mut self.refusals {
                        refusals.count(&notified, control.as_fd());
                    }
                    sys::answer_refused(listener.as_fd(), &notified)
                }
            },
            // Nobody is left under the filter when it stays readable with nothing to read.
            Ok(None) if !sys::poll(&[self.handle.as_fd()], 1).is_ok_and(|ready| ready == [false]) => {
                self.listener = None;
                return Ok(());
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let Err(error) = answered else { return Ok(()) };
        // Closing makes every later told call fail by itself.
        self.listener = None;
        if self.programs.is_none() {
            return Ok(());
        }
        let failed = Failed::because("observe programs", error.to_string());
        Message::Failed(failed).send(control.as_fd(), &[])?;
        self.end()
    }

    fn tell_refusals(&mut self, control: &OwnedFd) {
        if let Some(refusals) = &mut self.refusals {
            refusals.tell_all(control.as_fd());
        }
    }

    /// The first process is dead: so is everything inside.
    fn finish(&mut self, control: &OwnedFd) -> Step<()> {
        let reaped = sys::wait(self.pid).step("reap")?;
        self.tell_refusals(control);
        if let Some(programs) = &mut self.programs {
            // Everything inside is dead, so there is nobody left to be stalled by a keeper that takes its time.
            programs.flush(control.as_fd(), Patience::Wait);
        }
        if !self.exited {
            let status = reaped.map_or(libc::SIGKILL, |(_, status)| status);
            Message::Exited { status }.send(control.as_fd(), &[])?;
        }
        Ok(())
    }

    /// Kills everything inside and waits for its end.
    fn end(&self) -> Step<()> {
        if let Some(mut kill) = self.kill.as_ref() {
            // Far faster than the handle against a fork bomb; the handle is what must succeed.
            let _ = kill.write_all(b"1");
        }
        sys::kill(self.handle.as_fd()).step("kill the first process")?;
        sys::wait(self.pid).step("reap").map(drop)
    }
}

/// Who has something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Handle,
    Keeper,
    Line,
    Listener,
}
