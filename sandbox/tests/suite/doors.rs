//! The ways out (S-24 to S-26 as far as the sandbox carries them): what a program inside connects to is accepted outside
//! on the listener made for it, and on no other; what nobody listens to goes nowhere.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use selvedge_sandbox::{Listeners, Network, Place};

use crate::stage::{PATIENCE, Ran, Stage, wait};

fn answer(listener: TcpListener, with: &'static str) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let mut bytes = [0; 64];
        let count = stream.read(&mut bytes).expect("read");
        stream.write_all(with.as_bytes()).expect("write");
        String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned()
    })
}

fn with_doors(script: &str, hold: impl FnOnce(Listeners)) -> Ran {
    let stage = Stage::full();
    let place = Place { network: Network::Doors, ..Place::new(["bash", "-c", script]) };
    let mut sandbox = stage.start(&place);
    let listeners = sandbox.listeners().expect("listeners");
    assert!(sandbox.listeners().is_none(), "handed out twice");
    hold(listeners);
    sandbox.release().expect("release");
    let ran = wait(&mut sandbox);
    sandbox.destroy().expect("destroy");
    ran
}

#[test]
fn each_door_hears_what_is_meant_for_it() {
    let mut heard = None;
    let script = "ask() { exec 3<>/dev/tcp/$1/$2; printf \"$3\" >&3; read -r line <&3; echo \"$line\"; }\n\
                  ask 127.0.0.1 3128 proxy; ask 127.1.0.7 443 hello; ask 127.1.2.3 80 plain";
    let ran = with_doors(script, |doors| {
        heard = Some([answer(doors.http, "http\n"), answer(doors.tls, "tls\n"), answer(doors.plain, "plain\n")]);
    });
    assert_eq!(ran.output, "http\ntls\nplain\n", "{ran:?}");
    let heard = heard.expect("threads").map(|thread| thread.join().expect("door"));
    assert_eq!(heard, ["proxy", "hello", "plain"]);
}

#[test]
fn dns_questions_come_out_and_answers_go_in() {
    let mut asked = None;
    let script = "exec 3<>/dev/udp/127.0.0.1/53; printf question >&3; head -c 6 <&3";
    let ran = with_doors(script, |doors| {
        let dns: UdpSocket = doors.dns;
        dns.set_read_timeout(Some(PATIENCE)).expect("timeout");
        asked = Some(std::thread::spawn(move || {
            let mut bytes = [0; 64];
            let (count, from) = dns.recv_from(&mut bytes).expect("question");
            dns.send_to(b"answer", from).expect("answer");
            (bytes.get(..count).unwrap_or_default().to_vec(), from.ip())
        }));
    });
    assert_eq!(ran.output, "answer");
    let (question, from) = asked.expect("thread").join().expect("dns");
    assert_eq!(question, b"question");
    assert!(from.is_loopback());
}

#[test]
fn s_25_a_port_with_no_door_and_an_address_with_no_route_go_nowhere() {
    let script = "for to in 127.0.0.1/22 127.0.0.1/8080 10.0.0.1/443 169.254.169.254/80 8.8.8.8/443; do \
                  (exec 3<>/dev/tcp/$to) 2>/dev/null && echo $to; done; echo end";
    let ran = with_doors(script, drop);
    assert_eq!(ran.output, "end\n", "{ran:?}");
}

#[test]
fn a_door_that_closes_is_closed_inside_too() {
    let ran = with_doors("(exec 3<>/dev/tcp/127.0.0.1/3128) 2>/dev/null || echo closed", drop);
    assert_eq!(ran.output, "closed\n");
}

#[test]
fn a_program_can_talk_to_its_own_server_and_to_no_neighbour_s() {
    let stage = Stage::full();
    let server = "import socket,subprocess\ns=socket.socket(); s.bind(('127.0.0.1',8000)); s.listen()\n\
                  c=socket.create_connection(('127.0.0.1',8000)); print('own server answers', flush=True)\n\
                  import time; time.sleep(1000)";
    let mut one = stage.start(&Place::new(["/usr/bin/python3", "-c", server]));
    one.release().expect("release");
    std::thread::sleep(Duration::from_millis(200));
    let ran = stage
        .shell("/usr/bin/python3 -c \"import socket; socket.create_connection(('127.0.0.1',8000))\" 2>&1 | tail -1");
    assert!(ran.output.contains("Connection refused"), "{ran:?}");
    let killer = one.killer();
    let mut seen = String::new();
    let exit = one.wait(&mut |event| {
        if let selvedge_sandbox::Event::Output { bytes, .. } = event {
            seen.push_str(&String::from_utf8_lossy(&bytes));
            killer.halt(PATIENCE).expect("halt");
        }
    });
    assert_eq!(seen, "own server answers\n", "{exit:?}");
    one.destroy().expect("destroy");
}
