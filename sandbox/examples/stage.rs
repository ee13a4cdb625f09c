//! The stage of the sandbox's tests and of a curious reader: one executable that is, by the name it is called, the
//! launcher, the prober, or a keeper that runs one command in a sandbox.
//!
//! `cargo run -p selvedge-sandbox --example stage -- probe` reports on this host;
//! `cargo run -p selvedge-sandbox --example stage -- run STATE full COMMAND…` runs a command in a sandbox.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::expect_used,
    reason = "a tool for the terminal"
)]

use std::io::Write;
use std::process::exit;
use std::time::Duration;

use selvedge_sandbox::{
    Access, Bind, CollectLimits, Event, HOST_IDS, Level, Limits, NativeDriver, Network, Observe, Place, Setup, Stream,
    Workspace,
};

fn main() {
    let mut args = std::env::args();
    let called = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    match called.rsplit('/').next() {
        Some(selvedge_jail::NAME) => selvedge_jail::main(),
        Some(selvedge_prober::NAME) => exit(selvedge_prober::main(&args)),
        _ => {}
    }
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["prober", ..] => exit(selvedge_prober::main(args.get(1..).unwrap_or_default())),
        ["probe", state, level] => print!("{}", driver(state, level).probe()),
        ["run", state, level, command @ ..] => exit(run(&driver(state, level), place(command))),
        ["halt", state, level, command @ ..] => halt(&driver(state, level), &place(command)),
        ["work", state, level, pristine, command @ ..] => {
            let workspace = Some(Workspace { pristine: pristine.into() });
            exit(run(&driver(state, level), Place { workspace, ..place(command) }))
        }
        ["observe", state, level, pristine, file, command @ ..] => {
            let workspace = Some(Workspace { pristine: pristine.into() });
            let observe = Some(Observe { programs: true, files: vec![(*file).to_owned()] });
            exit(run(&driver(state, level), Place { workspace, observe, ..place(command) }))
        }
        ["bound", state, level, access, source, command @ ..] => {
            let access = match *access {
                "write" => Access::ReadWrite,
                "copy" => Access::PrivateCopy,
                _ => Access::ReadOnly,
            };
            let binds = vec![Bind { source: source.into(), target: "/opt/bound".into(), access }];
            exit(run(&driver(state, level), Place { binds, ..place(command) }))
        }
        _ => eprintln!("stage probe|run|work|observe|bound STATE LEVEL ... COMMAND..."),
    }
}

fn place(command: &[&str]) -> Place {
    let limits =
        Limits { memory_bytes: 192 << 20, pids: 256, disk_bytes: 32 << 20, disk_files: 5_000, ..Limits::default() };
    Place { network: Network::Doors, limits, ..Place::new(command.iter().copied()) }
}

fn driver(state: &str, level: &str) -> NativeDriver {
    let setup = Setup {
        state: state.into(),
        launcher: std::env::current_exe().expect("own executable"),
        level: if level == "user" { Level::User } else { Level::Full },
        host_ids: HOST_IDS,
    };
    NativeDriver::new(setup).unwrap_or_else(|refused| fail(&refused))
}

fn run(driver: &NativeDriver, place: Place) -> i32 {
    let id = format!("stage-{}", std::process::id());
    let mut sandbox = driver.start(&id, &place).unwrap_or_else(|refused| fail(&refused));
    let reads = sandbox.reads();
    let exit = sandbox.wait(&mut |event| match event {
        Event::Output { stream: Stream::Output, bytes } => std::io::stdout().write_all(&bytes).expect("write"),
        Event::Output { stream: Stream::Error, bytes } => std::io::stderr().write_all(&bytes).expect("write"),
        Event::RefusedCall { name, count } => eprintln!("refused {name} {count}"),
        Event::Started(started) => {
            let words = started.arguments.iter().map(|word| String::from_utf8_lossy(&word.bytes).into_owned());
            println!("asked for {} {:?}", String::from_utf8_lossy(&started.program), words.collect::<Vec<_>>());
        }
        Event::Became { serial, program } => println!("{serial} is {}", String::from_utf8_lossy(&program)),
        Event::Unkept { programs } => println!("{programs} programs were not kept"),
    });
    for file in reads.map(|reads| reads.since()).unwrap_or_default() {
        println!("read {file}");
    }
    eprintln!("{exit:?}");
    if place.workspace.is_some() {
        match sandbox.collect(&CollectLimits::default(), &|_| false) {
            Ok(changes) => changes.changes().iter().for_each(|change| println!("{change:?}")),
            Err(error) => eprintln!("collect: {error}"),
        }
    }
    sandbox.destroy().expect("destroy");
    i32::from(!exit.success())
}

/// Lets a place run for a moment, then kills it and says how many processes that took.
fn halt(driver: &NativeDriver, place: &Place) {
    let id = format!("stage-{}", std::process::id());
    let mut sandbox = driver.start(&id, place).unwrap_or_else(|refused| fail(&refused));
    sandbox.release().expect("release");
    std::thread::sleep(Duration::from_millis(500));
    let alive = sandbox.killer().pids().expect("look").len();
    sandbox.kill(Duration::from_secs(60)).expect("kill");
    println!("{alive} alive, {} left", sandbox.killer().pids().expect("look").len());
    sandbox.destroy().expect("destroy");
}

fn fail(refused: &selvedge_sandbox::Refused) -> ! {
    eprintln!("{refused}; {}", refused.remedy);
    exit(2)
}
