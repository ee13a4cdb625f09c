//! A door starts as told, ends when it must, and lets nothing through when nobody answers.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_gateway::{Door, Outcome, RunAs, StartError};

use crate::upstream::{PublicAuthority, Upstream};
use crate::world::{DOOR_PROGRAM, HOST, World, connect, exchange, hello};

fn get(path: &str) -> String {
    format!("GET http://{HOST}{path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

#[test]
fn closing_drops_connections_and_ends_the_process() {
    let world = World::start();
    let mut stream = connect(world.proxy);
    assert!(exchange(&mut stream, &get("/a")).ends_with("hello"));
    let process = world.door.process_id();
    world.door.close();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "the connection outlived the door");
    assert!(!Path::new(&format!("/proc/{process}")).exists());
    assert!(TcpStream::connect(world.proxy).is_err(), "the listener outlived the door");
}

#[test]
fn a_request_that_waits_for_an_answer_is_not_let_through_by_closing() {
    let world = World::start();
    let mut stream = connect(world.proxy);
    let door = Arc::clone(&world.door);
    let closing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        door.close();
    });
    assert_eq!(exchange(&mut stream, &get("/slow")), "");
    closing.join().unwrap();
    assert!(world.upstream_heads().is_empty());
}

#[test]
fn a03_a_judge_that_fails_ends_the_door() {
    let world = World::start();
    assert_eq!(exchange(&mut connect(world.proxy), &get("/panic")), "");
    assert!(world.upstream_heads().is_empty());
    let deadline = Instant::now() + Duration::from_secs(30);
    while !world.serving.is_finished() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!Path::new(&format!("/proc/{}", world.door.process_id())).exists());
}

/// Set in the process that the next test kills.
const DOOMED: &str = "SELVEDGE_TEST_DOOMED_KEEPER";

#[test]
fn a_door_without_its_keeper_ends_at_once() {
    if std::env::var_os(DOOMED).is_some() {
        return be_a_doomed_keeper();
    }
    let mut keeper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::a_door_without_its_keeper_ends_at_once", "--nocapture"])
        .env(DOOMED, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(keeper.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = lines.find(|line| line.contains("door at ")).unwrap();
    let mut told = told.split("door at ").nth(1).unwrap().split(' ');
    let (process, proxy) = (told.next().unwrap().to_owned(), told.next().unwrap().parse().unwrap());
    let mut stream = connect(proxy);
    assert!(exchange(&mut stream, &get("/a")).ends_with("hello"));
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "the connection outlived the keeper");
    wait_until_ended(&process);
}

fn be_a_doomed_keeper() {
    let world = World::start();
    println!("\ndoor at {} {}", world.door.process_id(), world.proxy);
    std::thread::sleep(Duration::from_secs(60));
}

/// A process whose parent is gone may stay a zombie where nobody reaps, as in some containers.
fn wait_until_ended(process: &str) {
    let state = || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !state().is_empty() && !state().contains(") Z ") {
        assert!(Instant::now() < deadline, "process {process} did not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_was_allowed_is_accounted_for_when_the_door_dies() {
    let world = World::start();
    let mut stream = connect(world.proxy);
    assert!(exchange(&mut stream, &get("/a")).ends_with("hello"));
    // An upload whose body never comes is allowed and not done.
    let upload = format!("POST http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\n");
    std::io::Write::write_all(&mut stream, upload.as_bytes()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while world.keeper.asked.lock().unwrap().len() < 2 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    world.door.close();
    let done = world.wait_for_done(2);
    assert!(matches!(&done[1].outcome, Outcome::Failed { .. }), "{done:?}");
}

#[test]
fn a_door_runs_with_the_rights_it_was_given() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a process other rights");
        return;
    }
    // The program lies where those ids cannot reach it: a temporary directory is its owner's alone.
    let private = tempfile::tempdir().unwrap();
    let program = private.path().join("door");
    std::fs::copy(DOOR_PROGRAM, &program).unwrap();
    let world = World::start_as(&program, RunAs::Ids { uid: 65534, gid: 65534 });
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.door.process_id())).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    assert!(status.contains("Gid:\t65534\t65534\t65534\t65534"), "{status}");
    assert!(status.lines().any(|line| line.trim_end() == "Groups:"), "{status}");
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(exchange(&mut connect(world.proxy), &get("/a")).ends_with("hello"));
}

#[test]
fn a_door_says_why_it_does_not_start() {
    let public = PublicAuthority::make();
    let mut told = hello(&public, [&Upstream::clear(), &Upstream::clear(), &Upstream::clear()]);
    told.roots_pem = "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n".into();
    let failed = Door::start(Path::new(DOOR_PROGRAM), RunAs::Keeper, &told);
    assert!(matches!(&failed, Err(StartError::NotReady(why)) if why.contains("root certificates")), "{failed:?}");
    let missing = Door::start(Path::new("/nonexistent"), RunAs::Keeper, &told);
    assert!(matches!(missing, Err(StartError::Spawn(_))), "{missing:?}");
}
