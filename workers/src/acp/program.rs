//! The program around a conversation: the agent's process and its streams, each with a thread of its own so that an agent which does
//! not read keeps nobody from hearing it, and one that says nothing keeps nobody waiting.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::conversation::{Conversation, Step};
use super::wire::MESSAGE_BYTES_MAX;
use super::{Assignment, PROGRAM};
use crate::agents::End;

/// Longest assignment: a task, and what earlier stages of a pipeline left.
const ASSIGNMENT_BYTES_MAX: u64 = 16 << 20;

/// Exit status where there is no assignment, as of `EX_USAGE`.
const EXIT_USAGE: u8 = 64;

/// How long it may take to begin, in seconds: programs of some hundred megabytes are read from disk, beside other runs.
const BEGIN_SECONDS_MAX: u64 = 180;

/// How silence is counted. In steps, so that time in which the sandbox is frozen, its turn held for a person, is none.
const STEP: Duration = Duration::from_secs(1);

/// Messages on their way in: few, as each may be long.
const HEARD_MAX: usize = 4;

/// Messages on their way out. An agent that leaves so many unread reads none.
const SAID_MAX: usize = 256;

/// How often a program that closed its output is looked at for its end, and how long between.
const LOOKS_MAX: u32 = 20;
const LOOK: Duration = Duration::from_millis(100);

/// Most bytes of a line that is no message which are passed on.
const STRAY_BYTES_MAX: usize = 1 << 10;

/// Runs the program: an assignment on standard input, what happened on standard output.
pub fn main() -> ExitCode {
    let mut text = Vec::new();
    let read = std::io::stdin().take(ASSIGNMENT_BYTES_MAX).read_to_end(&mut text);
    let assignment = read.map_err(|error| error.to_string()).and_then(|_| {
        serde_json::from_slice::<Assignment>(&text).map_err(|error| format!("that is no assignment: {error}"))
    });
    match assignment {
        Ok(assignment) if converse(&assignment, std::io::stdout()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // Standard error is all there is to say it on; if that is closed nobody listens.
            let _ = writeln!(std::io::stderr(), "{PROGRAM}: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Has an agent do what it is assigned, and tells what happens. Whether it says that it is done.
pub fn converse(assignment: &Assignment, to: impl Write) -> bool {
    let (mut conversation, hello) = Conversation::begin(assignment, to);
    let end = match Agent::start(assignment) {
        Ok(mut agent) => {
            let end = go_on(&mut agent, &mut conversation, hello, assignment.silence_seconds);
            // What it still does is for nothing. What else it started ends with the sandbox.
            let _gone = agent.child.kill();
            end
        }
        Err(because) => End::Stopped(because),
    };
    conversation.end(&end);
    end == End::Well
}

/// The agent's process, with a thread on each of its streams.
struct Agent {
    child: Child,
    says: Receiver<Heard>,
    hears: SyncSender<String>,
}

/// What comes from an agent.
enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// The beginning of a line that goes on and on.
    TooLong,
}

impl Agent {
    fn start(assignment: &Assignment) -> Result<Self, String> {
        let (program, arguments) = assignment.command.split_first().ok_or("it has no program")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&assignment.workspace).stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawned = command.spawn();
        let mut child = spawned.map_err(|error| format!("its program `{program}` does not start: {error}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).ok_or("its program has no streams")?;
        let (heard, says) = sync_channel(HEARD_MAX);
        let (hears, said) = sync_channel(SAID_MAX);
        std::thread::spawn(move || listen(stdout, &heard));
        std::thread::spawn(move || speak(stdin, &said));
        Ok(Self { child, says, hears })
    }

    /// How its program ended, which has closed its output.
    fn ended(&mut self) -> String {
        for _look in 0..LOOKS_MAX {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(LOOK),
                Ok(Some(status)) => return format!("its program ended with {}", told(status)),
                Err(_) => break,
            }
        }
        "it closed its output".to_owned()
    }
}

fn go_on<W: Write>(
    agent: &mut Agent,
    conversation: &mut Conversation<'_, W>,
    hello: String,
    silence_seconds: u64,
) -> End {
    let mut say = Some(hello);
    let mut silent_seconds = 0;
    loop {
        if let Some(Err(TrySendError::Full(_))) = say.take().map(|line| agent.hears.try_send(line)) {
            return End::Misspoke("it goes on asking and reads none of the answers".to_owned());
        }
        match agent.says.recv_timeout(STEP) {
            Ok(Heard::Line(line)) => {
                silent_seconds = 0;
                match conversation.hear(&line) {
                    Step::Nothing => {}
                    Step::Stray => pass_on(&line),
                    Step::Say(line) => say = Some(line),
                    Step::End(end) => return end,
                }
            }
            Ok(Heard::TooLong) => {
                return End::Misspoke(format!("it sent a message of more than {MESSAGE_BYTES_MAX} bytes"));
            }
            Err(RecvTimeoutError::Timeout) => {
                silent_seconds += STEP.as_secs();
                let patience = match conversation.works() {
                    true => silence_seconds,
                    false => silence_seconds.min(BEGIN_SECONDS_MAX),
                };
                if silent_seconds >= patience {
                    let awaited = conversation.awaited();
                    return End::Stopped(format!(
                        "it said nothing for {silent_seconds} s, and did not answer `{awaited}`"
                    ));
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let (ended, awaited) = (agent.ended(), conversation.awaited());
                return End::Stopped(format!("{ended} before it answered `{awaited}`"));
            }
        }
    }
}

fn listen(stdout: ChildStdout, to: &SyncSender<Heard>) {
    let mut stdout = BufReader::new(stdout);
    let most = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX);
    loop {
        let mut line = Vec::new();
        let read = stdout.by_ref().take(most.saturating_add(1)).read_until(b'\n', &mut line);
        let heard = match read {
            Ok(0) | Err(_) => return,
            Ok(_) if line.len() > MESSAGE_BYTES_MAX => Heard::TooLong,
            Ok(_) => Heard::Line(line),
        };
        let is_over = matches!(heard, Heard::TooLong);
        if to.send(heard).is_err() || is_over {
            return;
        }
    }
}

fn speak(mut stdin: ChildStdin, lines: &Receiver<String>) {
    while let Ok(line) = lines.recv() {
        // Who reads no more has ended, or will be told apart by saying nothing.
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

/// Shows a line that is no message to whoever reads what the agent writes as errors.
fn pass_on(line: &[u8]) {
    let line = line.trim_ascii();
    if !line.is_empty() {
        let shown = String::from_utf8_lossy(line.get(..STRAY_BYTES_MAX).unwrap_or(line));
        // At once, so that nothing that is told stands within it. Where nobody reads it, there is nobody to tell.
        let _ = std::io::stderr().write_all(format!("{shown}\n").as_bytes());
    }
}

fn told(status: ExitStatus) -> String {
    match status.code() {
        Some(status) => format!("exit status {status}"),
        None => "a signal".to_owned(),
    }
}
