//! What an attempt is seen to do, without its help: the programs it asks for, the files it leaves, the sensitive files it reads
//! (requirement E2), each with the tool call it came from where that is known.
//!
//! Nothing here decides. What was read is told to the doorkeeper before anything the sandbox wants is decided on; what exceeds what
//! the agent is declared to do goes with the attempt, and policy decides on it (requirement D10).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use selvedge_authority::Observation;
use selvedge_domain::{
    Cause, Change, ChangeSet, Declared, Digest, OwnPrograms, PathPattern, ProgramRun, RepoPath, SideEffects, Witnessed,
    Writing, Written,
};
use selvedge_factory::ports::Doorkeeper;
use selvedge_forge::holds_secrets;
use selvedge_forge::secret::Scanner;
use selvedge_gateway::SecretWatch;
use selvedge_jail::WORKSPACE;
use selvedge_sandbox::{Argument, Event, OBSERVED_FILES_MAX, Observe, Reads, Started};

/// Programs told apart by what they came from; more are told apart by their path alone, and from twice as many on only counted.
const CAUSED_MAX: usize = 500;

/// Files that are listed; the comparison with what was declared sees all.
const WRITTEN_MAX: usize = 1000;

/// Tool calls remembered; a run that is given more shows the latest.
const CALLS_MAX: usize = 2000;

/// Programs remembered with what they came from, for what they start in turn.
const KNOWN_MAX: usize = 4096;

/// The number of the program that is started first, and how many are started before anybody inside could meddle: the client of the
/// Agent Client Protocol, where there is one, and the agent.
const FIRST: u64 = 1;
const OWN_MAX: u64 = 2;

/// How much of a program's arguments is kept: enough to see what it is about.
const ARGUMENTS_CHARS_MAX: usize = 160;

/// A command shorter than this is found in a shell's argument only if it is all of it: agents wrap what they run, and `ls` is part of much.
const WRAPPED_BYTES_MIN: usize = 16;

/// Programs that take a command as an argument.
const SHELLS: &[&str] = &["ash", "bash", "dash", "fish", "ksh", "sh", "zsh"];

/// Words beside which a secret of no known shape may stand.
const TELLTALES: &[&str] =
    &["passw", "secret", "token", "authorization", "bearer", "api_key", "apikey", "api-key", "credential"];

/// Sees what one attempt does.
#[derive(Default)]
pub(super) struct Witness {
    /// Sensitive files of the tree, which are watched.
    files: Vec<String>,
    /// Whether what it starts is nobody's business: it is the operator's.
    only_reads: bool,
    /// The first sensitive file there was no watch left for.
    unwatched: Option<String>,
    reads: OnceLock<Reads>,
    read: Mutex<Vec<String>>,
    seen: Mutex<Programs>,
    calls: Mutex<Calls>,
}

/// Tool calls that the agent was given.
#[derive(Default)]
pub(super) struct Calls(Vec<Called>);

struct Called {
    cause: Cause,
    command: String,
    paths: Vec<String>,
}

#[derive(Default)]
struct Programs {
    runs: Vec<ProgramRun>,
    /// Where in `runs` a program of this path and cause is.
    places: BTreeMap<(String, Option<Cause>), usize>,
    /// By the number the launcher gave it: what it came from, and where it is counted.
    known: BTreeMap<u64, (Option<Cause>, Option<usize>)>,
    /// What the first programs turned out to be: nobody inside was there to change what was asked for.
    first: BTreeMap<u64, String>,
    more: u64,
    unkept: u64,
}

impl Witness {
    /// For an attempt on the tree at `pristine`, where these files are sensitive besides those known by name.
    pub(super) fn of<'a>(pristine: &Path, named: impl IntoIterator<Item = &'a PathPattern>) -> std::io::Result<Self> {
        let named: Vec<&PathPattern> = named.into_iter().collect();
        let mut files = Vec::new();
        sensitive_files(pristine, "", &named, &mut files)?;
        let unwatched = files.get(OBSERVED_FILES_MAX).cloned();
        files.truncate(OBSERVED_FILES_MAX);
        Ok(Self { files, unwatched, ..Self::default() })
    }

    /// The same for commands of the operator's own, which read what the tree holds all the same.
    pub(super) fn of_reads(self) -> Self {
        Self { only_reads: true, ..self }
    }

    /// What the sandbox is to observe.
    pub(super) fn observe(&self) -> Observe {
        Observe { programs: !self.only_reads, files: self.files.clone() }
    }

    /// Takes the sandbox's word-by-the-kernel of what is read, once it is there.
    pub(super) fn begin(&self, reads: Option<Reads>, doors: &dyn Doorkeeper) {
        if let Some(reads) = reads {
            let _only_one_sandbox_is_observed = self.reads.set(reads);
        }
        // What cannot be seen not to be read counts as read.
        if let Some(path) = &self.unwatched {
            self.note(path.clone(), doors);
        }
    }

    /// Tells what was read since this was last asked. To be called before anything that the sandbox wants is decided on.
    pub(super) fn look(&self, doors: &dyn Doorkeeper) {
        for path in self.reads.get().map(Reads::since).unwrap_or_default() {
            self.note(path, doors);
        }
    }

    fn note(&self, path: String, doors: &dyn Doorkeeper) {
        doors.saw(Observation::SensitiveRead { path: path.clone() });
        held(&self.read).push(path);
    }

    /// The agent was given a tool call.
    pub(super) fn called(&self, cause: Cause, command: &str, paths: &[String]) {
        let Calls(calls) = &mut *held(&self.calls);
        if calls.len() >= CALLS_MAX {
            calls.remove(0);
        }
        let paths = paths.iter().map(|path| in_workspace(path).to_owned()).collect();
        calls.push(Called { cause, command: command.to_owned(), paths });
    }

    /// Something happened to a program. What else happens is for others.
    pub(super) fn hear(&self, event: &Event, lent: Option<&SecretWatch>) {
        match event {
            Event::Started(started) => {
                let named = held(&self.calls).command_in(started);
                held(&self.seen).start(started, named, lent);
            }
            Event::Became { serial, program } => {
                held(&self.seen).became(*serial, &recordable(&String::from_utf8_lossy(program), lent));
            }
            Event::Unkept { programs } => {
                let mut seen = held(&self.seen);
                seen.unkept = seen.unkept.saturating_add(*programs);
            }
            Event::Output { .. } | Event::RefusedCall { .. } => {}
        }
    }

    /// What the attempt did, once it is dead: recorded, and compared with what its agent is declared to do. `own` are the agent's own
    /// programs, in the order in which they are started, before anything else inside; each of `changes` is what it left of the tree at
    /// `pristine`, or why that cannot be told.
    pub(super) fn conclude(
        &self,
        changes: &[Result<&ChangeSet, &String>],
        pristine: &Path,
        (declared, own): (&Declared, &[String]),
        lent: Option<&SecretWatch>,
        doors: &dyn Doorkeeper,
    ) -> Witnessed {
        self.look(doors);
        let own = held(&self.seen).own(own);
        let mut effects = held(&self.seen).side_effects();
        effects.unread = changes.iter().find_map(|changes| changes.err().cloned());
        effects.written = held(&self.calls).written(changes.iter().flatten().copied(), pristine);
        for written in &mut effects.written {
            written.path = recordable(&written.path, lent);
        }
        let (undeclared, read) = (declared.beyond(&effects, &own), held(&self.read).clone());
        let seen = Witnessed { undeclared, read, ..Witnessed::default() };
        effects.written_more = count(effects.written.len().saturating_sub(WRITTEN_MAX));
        effects.written.truncate(WRITTEN_MAX);
        doors.saw(Observation::SideEffects(Box::new(effects)));
        seen
    }
}

impl Calls {
    /// The tool call whose command a shell is given, the latest first.
    fn command_in(&self, started: &Started) -> Option<Cause> {
        let program = String::from_utf8_lossy(&started.program);
        if !SHELLS.contains(&program.rsplit('/').next().unwrap_or_default()) {
            return None;
        }
        let given = started.arguments.get(1..).unwrap_or_default();
        let is_given = |called: &&Called| given.iter().any(|argument| holds(argument, called.command.as_bytes()));
        self.0.iter().rev().filter(|called| !called.command.is_empty()).find(is_given).map(|called| called.cause)
    }

    fn written<'a>(&self, changes: impl Iterator<Item = &'a ChangeSet>, pristine: &Path) -> Vec<Written> {
        let written = |(_, change): (_, &Change)| {
            let path = change.path().as_str();
            let how = match change {
                Change::Remove { .. } => Writing::Removed,
                // The pristine tree is written by nobody, and was written by the factory.
                Change::Write { .. } if pristine.join(path).symlink_metadata().is_ok() => Writing::Changed,
                Change::Write { .. } => Writing::Created,
            };
            let named = self.0.iter().rev().find(|called| called.paths.iter().any(|named| named == path));
            Written { path: path.to_owned(), how, cause: named.map(|called| called.cause) }
        };
        // A path that was pushed and lies in the workspace, too, is one.
        let by_path: BTreeMap<_, _> =
            changes.flat_map(ChangeSet::changes).map(|change| (change.path(), change)).collect();
        by_path.into_iter().map(written).collect()
    }
}

impl Programs {
    fn start(&mut self, started: &Started, named: Option<Cause>, lent: Option<&SecretWatch>) {
        let inherited = self.known.get(&started.under).and_then(|(cause, _)| *cause);
        let cause = named.or(inherited);
        let asked = recordable(&String::from_utf8_lossy(&started.program), lent);
        let place = self.place(&asked, cause, || described(started, lent));
        match place.and_then(|place| self.runs.get_mut(place)) {
            Some(run) => run.count = run.count.saturating_add(1),
            None => self.more = self.more.saturating_add(1),
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_first();
        }
        self.known.insert(started.serial, (cause, place));
    }

    /// Where programs of this path and cause are counted; none when there is no room for another.
    fn place(
        &mut self,
        asked: &str,
        cause: Option<Cause>,
        describe: impl FnOnce() -> (Option<String>, Digest),
    ) -> Option<usize> {
        let cause =
            cause.filter(|_| self.runs.len() < CAUSED_MAX || self.places.contains_key(&(asked.to_owned(), cause)));
        let key = (asked.to_owned(), cause);
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        if self.runs.len() >= 2 * CAUSED_MAX {
            return None;
        }
        let (arguments, arguments_digest) = describe();
        let (asked, ran) = (asked.to_owned(), None);
        self.runs.push(ProgramRun { asked, ran, arguments, arguments_digest, count: 0, cause });
        self.places.insert(key, self.runs.len() - 1);
        Some(self.runs.len() - 1)
    }

    /// What was asked for turned out to be this program. One that is not what the others of its kind were is listed by itself.
    fn became(&mut self, serial: u64, ran: &str) {
        if serial < FIRST + OWN_MAX {
            self.first.insert(serial, ran.to_owned());
        }
        let Some((_, Some(place))) = self.known.get(&serial).copied() else { return };
        let Some(run) = self.runs.get_mut(place) else { return };
        match &run.ran {
            None => run.ran = Some(ran.to_owned()),
            Some(known) if known == ran => {}
            Some(_) => {
                run.count = run.count.saturating_sub(1);
                let other = ProgramRun { ran: Some(ran.to_owned()), count: 1, ..run.clone() };
                let is_full = self.runs.len() >= 2 * CAUSED_MAX;
                let is_same = |run: &&mut ProgramRun| {
                    (&run.asked, &run.ran, run.cause) == (&other.asked, &other.ran, other.cause)
                };
                match self.runs.iter_mut().find(is_same) {
                    Some(same) => same.count = same.count.saturating_add(1),
                    None if is_full => self.more = self.more.saturating_add(1),
                    None => self.runs.push(other),
                }
            }
        }
    }

    fn side_effects(&self) -> SideEffects {
        SideEffects {
            programs: self.runs.clone(),
            programs_more: self.more,
            programs_unkept: self.unkept,
            ..SideEffects::default()
        }
    }
    fn own(&self, own: &[String]) -> OwnPrograms {
        let serials = FIRST..FIRST + count(own.len()).min(OWN_MAX);
        OwnPrograms {
            asked: own.iter().cloned().collect(),
            ran: serials.filter_map(|serial| self.first.get(&serial).cloned()).collect(),
        }
    }
}

/// A program's arguments, as far as the record may have them, and the fingerprint of what was read of them.
fn described(started: &Started, lent: Option<&SecretWatch>) -> (Option<String>, Digest) {
    let digest = Digest::of_parts(started.arguments.iter().map(|argument| argument.bytes.as_slice()));
    let words = started.arguments.iter().skip(1).map(|argument| String::from_utf8_lossy(&argument.bytes));
    let text = words.collect::<Vec<_>>().join(" ");
    let folded = text.to_lowercase();
    let is_telltale =
        TELLTALES.iter().any(|word| folded.contains(word)) || (text.contains("://") && text.contains('@'));
    let is_secret = is_telltale
        || !Scanner::default().added(b"", text.as_bytes()).is_empty()
        || lent.is_some_and(|lent| lent.found_in(text.as_bytes()).is_some());
    ((!is_secret).then(|| text.chars().take(ARGUMENTS_CHARS_MAX).collect()), digest)
}

/// A path as the record may have it: one that holds a secret is told by its fingerprint (A-93, C7), and is declared by nobody.
fn recordable(path: &str, lent: Option<&SecretWatch>) -> String {
    let is_secret = !Scanner::default().added(b"", path.as_bytes()).is_empty()
        || lent.is_some_and(|lent| lent.found_in(path.as_bytes()).is_some());
    match is_secret {
        true => format!("a path that holds a secret, {}", Digest::of_parts([path.as_bytes()])),
        false => path.to_owned(),
    }
}

/// Whether an argument is this command, or has it in it.
fn holds(argument: &Argument, command: &[u8]) -> bool {
    let (read, length) = (argument.bytes.as_slice(), usize::try_from(argument.length).unwrap_or(usize::MAX));
    let is_cut = read.len() < length;
    // Of an argument too long to be read whole, what was read and the length have to do.
    (length == command.len() && command.starts_with(read) && !read.is_empty())
        || (!is_cut && command.len() >= WRAPPED_BYTES_MIN && read.windows(command.len()).any(|part| part == command))
}

/// A path as the workspace has it.
fn in_workspace(path: &str) -> &str {
    let path = path.strip_prefix(WORKSPACE).map_or(path, |path| path.trim_start_matches('/'));
    path.strip_prefix("./").unwrap_or(path)
}

/// Regular files of the tree that are sensitive, in order. No link is followed: what one leads to is found under its own name.
fn sensitive_files(
    directory: &Path,
    beneath: &str,
    named: &[&PathPattern],
    files: &mut Vec<String>,
) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let (path, kind) = (format!("{beneath}{name}"), entry.file_type()?);
        if kind.is_dir() {
            sensitive_files(&entry.path(), &format!("{path}/"), named, files)?;
        } else if kind.is_file() {
            let is_known = RepoPath::parse(path.as_bytes()).is_ok_and(|path| holds_secrets(&path));
            if is_known || named.iter().any(|pattern| pattern.covers(&path)) {
                files.push(path);
            }
        }
    }
    Ok(())
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// A thread that panicked has not left half of anything.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSE: Cause = Cause { serial: 7, index: 1 };

    fn started(serial: u64, under: u64, argv: &[&str]) -> Started {
        let argument =
            |text: &&str| Argument { bytes: text.as_bytes().to_vec(), length: u32::try_from(text.len()).unwrap() };
        Started {
            serial,
            under,
            pid: 1,
            program: argv[0].as_bytes().to_vec(),
            arguments: argv.iter().map(argument).collect(),
            arguments_more: 0,
        }
    }

    fn witness() -> Witness {
        let witness = Witness::default();
        witness.called(CAUSE, "make test && ./deploy.sh", &["/workspace/src/lib.rs".to_owned()]);
        witness.called(Cause { serial: 8, index: 0 }, "ls", &[]);
        witness
    }

    fn runs(witness: &Witness) -> Vec<(String, u64, Option<Cause>)> {
        let effects = held(&witness.seen).side_effects();
        effects.programs.into_iter().map(|run| (run.asked, run.count, run.cause)).collect()
    }

    #[test]
    fn a_path_that_holds_a_secret_is_told_by_its_fingerprint_a93_c7() {
        let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        let witness = Witness::default();
        witness.hear(&Event::Started(started(1, 0, &[&format!("/tmp/{secret}")])), None);
        witness.hear(&Event::Became { serial: 1, program: format!("/tmp/{secret}").into_bytes() }, None);
        let run = held(&witness.seen).side_effects().programs.remove(0);
        for told in [run.asked, run.ran.unwrap()] {
            assert!(told.starts_with("a path that holds a secret, ") && !told.contains(secret), "{told}");
        }
        assert_eq!(recordable("src/lib.rs", None), "src/lib.rs");
    }

    #[test]
    fn what_a_shell_is_given_and_all_it_starts_came_of_the_tool_call_e2() {
        let witness = witness();
        for event in [
            started(1, 0, &["agent"]),
            started(2, 1, &["/bin/bash", "-lc", "cd /workspace && make test && ./deploy.sh; echo $?"]),
            started(3, 2, &["/usr/bin/make", "test"]),
            started(4, 3, &["/usr/bin/cc", "-c", "x.c"]),
            started(5, 3, &["/usr/bin/cc", "-c", "y.c"]),
            // Told the same by somebody else, and never given to a shell.
            started(6, 0, &["/usr/bin/logger", "make test && ./deploy.sh"]),
            started(7, 1, &["/bin/sh", "-c", "ls -l"]),
            started(8, 1, &["/bin/sh", "-c", "ls"]),
        ] {
            witness.hear(&Event::Started(event), None);
        }
        let text = str::to_owned;
        let expected = vec![
            (text("agent"), 1, None),
            (text("/bin/bash"), 1, Some(CAUSE)),
            (text("/usr/bin/make"), 1, Some(CAUSE)),
            (text("/usr/bin/cc"), 2, Some(CAUSE)),
            (text("/usr/bin/logger"), 1, None),
            (text("/bin/sh"), 1, None),
            (text("/bin/sh"), 1, Some(Cause { serial: 8, index: 0 })),
        ];
        assert_eq!(runs(&witness), expected);
    }

    #[test]
    fn a_command_too_long_to_be_read_is_known_by_its_beginning_and_its_length() {
        let (command, beginning) = ("x".repeat(10_000), "x".repeat(4096));
        let read = |bytes: &str, length| Argument { bytes: bytes.as_bytes().to_vec(), length };
        assert!(holds(&read(&beginning, 10_000), command.as_bytes()));
        assert!(!holds(&read(&beginning, 10_001), command.as_bytes()));
        assert!(!holds(&read("", 10_000), command.as_bytes()), "nothing of it was read");
    }

    #[test]
    fn what_holds_what_looks_like_a_secret_is_kept_as_a_fingerprint_alone_a93() {
        let token = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3d");
        for secret in [
            vec!["curl", "-H", "Authorization: x", "https://example.org"],
            vec!["git", "clone", "https://me:hunter2@example.org/x"],
            vec!["mysql", "--password=hunter2"],
            vec!["echo", &token],
        ] {
            let (text, digest) = described(&started(1, 0, &secret), None);
            assert_eq!(text, None, "{secret:?}");
            assert_ne!(digest, described(&started(1, 0, &["echo"]), None).1);
        }
        let (text, _) = described(&started(1, 0, &["cargo", "test", &"x".repeat(500)]), None);
        let text = text.unwrap();
        assert!(text.starts_with("test x") && text.chars().count() == ARGUMENTS_CHARS_MAX);
    }

    #[test]
    fn many_different_programs_are_bounded_and_the_rest_is_counted_s37() {
        let witness = Witness::default();
        for serial in 0..3000 {
            witness.hear(&Event::Started(started(serial, 0, &[&format!("/tmp/p{serial}")])), None);
        }
        witness.hear(&Event::Unkept { programs: 312 }, None);
        let effects = held(&witness.seen).side_effects();
        assert_eq!((effects.programs.len(), effects.programs_more, effects.programs_unkept), (1000, 2000, 312));
        assert!(held(&witness.seen).known.len() <= KNOWN_MAX);
    }

    #[test]
    fn what_ran_is_told_apart_from_what_was_asked_for_a38() {
        let witness = Witness::default();
        for (serial, ran) in [(1, "/usr/bin/git"), (2, "/usr/bin/git"), (3, "/tmp/x"), (4, "/tmp/x")] {
            witness.hear(&Event::Started(started(serial, 0, &["/usr/bin/git"])), None);
            witness.hear(&Event::Became { serial, program: ran.as_bytes().to_vec() }, None);
        }
        let effects = held(&witness.seen).side_effects();
        let seen: Vec<_> = effects.programs.iter().map(|run| (run.ran.as_deref().unwrap(), run.count)).collect();
        assert_eq!(seen, [("/usr/bin/git", 2), ("/tmp/x", 2)]);
    }

    #[test]
    fn what_shows_itself_as_a_hook_is_seen_like_all_else_and_so_is_what_it_starts_e2_a24() {
        const TOLD: &str = "/usr/bin/bash /etc/selvedge/told.sh";
        let witness = witness();
        let attempts: [(u64, u64, &[&str], &str); 6] = [
            (1, 0, &["agent"], "agent"),
            (2, 1, &["/usr/bin/bash", "-c", "make test && ./deploy.sh"], "/usr/bin/bash"),
            // A script on its standard input.
            (3, 2, &["/usr/bin/bash", "-s", TOLD], "/usr/bin/bash"),
            (4, 3, &["/usr/bin/curl"], "/usr/bin/curl"),
            // Something else when the kernel looked.
            (5, 1, &["/bin/sh", "-lc", TOLD], "/usr/bin/python3"),
            (6, 5, &["/usr/bin/bash", "/etc/selvedge/told.sh"], "/tmp/x"),
        ];
        for (serial, under, argv, ran) in attempts {
            witness.hear(&Event::Started(started(serial, under, argv)), None);
            witness.hear(&Event::Became { serial, program: ran.as_bytes().to_vec() }, None);
        }
        let effects = held(&witness.seen).side_effects();
        let seen: Vec<_> =
            effects.programs.iter().map(|run| (run.asked.as_str(), run.ran.as_deref(), run.count, run.cause)).collect();
        let expected = [
            ("agent", Some("agent"), 1, None),
            ("/usr/bin/bash", Some("/usr/bin/bash"), 2, Some(CAUSE)),
            ("/usr/bin/curl", Some("/usr/bin/curl"), 1, Some(CAUSE)),
            ("/bin/sh", Some("/usr/bin/python3"), 1, None),
            ("/usr/bin/bash", Some("/tmp/x"), 1, None),
        ];
        assert_eq!(seen, expected);
        let declared = Declared { runs: Some([].into()), writes: None };
        let own = held(&witness.seen).own(&["agent".to_owned()]);
        let beyond = ["ran /bin/sh", "ran /usr/bin/bash", "ran /usr/bin/curl"];
        assert_eq!(declared.beyond(&effects, &own), beyond);
    }

    #[test]
    fn the_programs_that_are_started_first_are_the_agent_s_own_and_what_they_became_a24() {
        let witness = Witness::default();
        for (serial, asked, ran) in [
            (1, "/opt/selvedge/selvedge-acp", "/opt/selvedge/selvedge-acp"),
            (2, "/opt/toolchain/0/bin/agent", "/usr/bin/python3"),
            (3, "/opt/toolchain/0/bin/agent", "/usr/bin/curl"),
        ] {
            witness.hear(&Event::Started(started(serial, serial - 1, &[asked])), None);
            witness.hear(&Event::Became { serial, program: ran.as_bytes().to_vec() }, None);
        }
        let programs = ["/opt/selvedge/selvedge-acp", "/opt/toolchain/0/bin/agent"].map(str::to_owned);
        let own = held(&witness.seen).own(&programs);
        assert_eq!(own.asked.into_iter().collect::<Vec<_>>(), programs);
        assert_eq!(own.ran.into_iter().collect::<Vec<_>>(), ["/opt/selvedge/selvedge-acp", "/usr/bin/python3"]);
        let alone = held(&witness.seen).own(&programs[..1]);
        assert_eq!(alone.ran.len(), 1, "the second is not its own where nobody of ours starts it");
    }

    #[test]
    fn sensitive_files_are_found_by_name_and_where_the_operator_says_and_links_are_not_followed_a78() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("config/production")).unwrap();
        for file in ["README.md", ".env", "config/production/db.toml", "config/dev.toml"] {
            std::fs::write(tree.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc", tree.path().join("id_rsa")).unwrap();
        let named = PathPattern::parse("config/production/**").unwrap();
        let witness = Witness::of(tree.path(), [&named]).unwrap();
        assert_eq!(witness.files, [".env", "config/production/db.toml"]);
    }
}
