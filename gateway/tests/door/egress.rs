//! Where requests may go, and that every way in gives the same answer.

use std::net::UdpSocket;

use selvedge_gateway::{Fence, Layer, Outcome, Source};

use crate::world::{HOST, World, connect, exchange};

/// The four ways to make a request, as curl arguments; two lead to the TLS upstream and two to the one in clear text.
fn ways(world: &World) -> Vec<(&'static str, Vec<String>, Source)> {
    let proxy = vec!["--proxy".into(), format!("http://{}", world.proxy)];
    let captured = |port: u16, to: std::net::SocketAddr| vec!["--connect-to".into(), format!(":{port}:{to}")];
    vec![
        ("https", proxy.clone(), Source::Connect),
        ("http", proxy, Source::Absolute),
        ("https", captured(443, world.captured_tls), Source::Captured),
        ("http", captured(80, world.captured_clear), Source::Captured),
    ]
}

#[test]
fn a40_every_way_in_gives_the_same_verdict() {
    let world = World::start();
    for (scheme, way, source) in ways(&world) {
        let curl = |path: &str| {
            let url = format!("{scheme}://{HOST}{path}");
            let arguments: Vec<_> = way.iter().map(String::as_str).chain([url.as_str()]).collect();
            let (codes, body) = world.curl(&arguments);
            (codes.split(' ').next_back().unwrap().to_owned(), body)
        };
        assert_eq!(curl("/crates/a"), ("200".into(), "hello".into()), "{scheme} {source:?}");
        let (status, body) = curl("/denied/b");
        assert_eq!(status, "403", "{scheme} {source:?}");
        assert_eq!(body, r#"{"code":"policy_denied","next_step":"ask for something else"}"#);
        let asked = world.keeper.asked.lock().unwrap().pop().unwrap();
        assert_eq!((asked.source, asked.path.as_str(), asked.endpoint.host.as_str()), (source, "/denied/b", HOST));
    }
    let seen = world.upstream_heads();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(
        seen.iter().all(|head| head.starts_with("GET /crates/a HTTP/1.1\r\nhost: registry.example\r\n")),
        "{seen:?}"
    );
    let done = world.wait_for_done(4);
    assert!(
        done.iter().all(|done| done.outcome == Outcome::Answered { status: 200 } && done.response_bytes == 5),
        "{done:?}"
    );
}

#[test]
fn a_host_outside_the_grant_is_refused_on_every_way_in() {
    let world = World::start();
    for (scheme, way, _) in ways(&world) {
        let url = format!("{scheme}://evil.example/x");
        let arguments: Vec<_> = way.iter().map(String::as_str).chain([url.as_str()]).collect();
        let (codes, _) = world.curl(&arguments);
        // Captured TLS for another name ends in the handshake.
        assert!(["403 000", "000 403", "000 000"].contains(&codes.as_str()), "{scheme}: {codes}");
    }
    assert_eq!(world.wait_for_refused("host_not_granted").detail, "evil.example");
    assert!(world.keeper.asked.lock().unwrap().is_empty());
    assert!(world.upstream_heads().is_empty());
}

#[test]
fn a107_a_path_longer_than_what_is_recorded_is_refused_at_the_door_and_counted() {
    let world = World::start();
    let ask = |path: &str| {
        let mut tls = world.tunnel("registry.example:443", HOST);
        exchange(&mut tls, &format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
    };
    // The control: a long path within the limit is asked about in full.
    let long = format!("/denied/{}", "a".repeat(1000));
    assert!(ask(&long).starts_with("HTTP/1.1 403"));
    assert_eq!(world.keeper.asked.lock().unwrap().pop().unwrap().path, long);
    let answer = ask(&format!("/denied/{}", "a".repeat(7600)));
    assert!(answer.starts_with("HTTP/1.1 414") && answer.contains("target_too_long"), "{answer}");
    let refused = world.wait_for_refused("target_too_long");
    assert!(!refused.detail.contains("aaaa"), "{refused:?}");
    assert!(world.keeper.asked.lock().unwrap().is_empty());
}

#[test]
fn the_grant_holds_even_if_the_keeper_errs() {
    let world = World::start();
    let mut tls = world.tunnel("elsewhere.example:443", "elsewhere.example");
    let answer = exchange(&mut tls, "GET /other HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n");
    assert!(answer.contains("outside_grant"), "{answer}");
    assert_eq!(world.wait_for_done(1)[0].outcome, Outcome::Failed { code: "outside_grant".into() });
}

#[test]
fn a14_s24_a_name_or_literal_that_leads_inwards_is_refused_after_it_was_allowed() {
    let world = World::start();
    for host in ["localhost", "127.0.0.1"] {
        let (codes, body) = world.curl(&["--proxy", &format!("http://{}", world.proxy), &format!("https://{host}/")]);
        assert_eq!(codes, "200 403", "{host}");
        assert!(body.contains("address_denied") && !body.contains("127."), "{body}");
    }
    // The control: the same address is dialled where the operator named it.
    assert_eq!(world.curl(&["--proxy", &format!("http://{}", world.proxy), "https://registry.example/"]).0, "200 200");
}

#[test]
fn s24_ambiguous_addresses_are_refused_before_anything_is_asked() {
    let world = World::start();
    for host in
        ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "169.254.169.254", "[fd00:ec2::254]"]
    {
        let mut proxy = connect(world.proxy);
        let answer = exchange(&mut proxy, &format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 40"), "{host}: {answer}");
        let mut proxy = connect(world.proxy);
        let answer =
            exchange(&mut proxy, &format!("GET http://{host}/latest/meta-data HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 40"), "{host}: {answer}");
    }
    assert!(world.keeper.asked.lock().unwrap().is_empty());
}

#[test]
fn a13_s27_the_tunnel_the_handshake_and_the_request_name_one_host() {
    let world = World::start();
    // CONNECT is granted, SNI is another name; then another granted one.
    for sni in ["evil.example", "elsewhere.example", "127.0.0.1"] {
        let mut tls = world.tunnel("registry.example:443", sni);
        assert_eq!(exchange(&mut tls, "GET / HTTP/1.1\r\nHost: registry.example\r\n\r\n"), "", "{sni}");
    }
    assert_eq!(world.wait_for_refused("host_mismatch").layer, Layer::Tls);
    // A client that does not mind the certificate, and whose requests name the tunnel's host.
    for sni in ["evil.example", "elsewhere.example"] {
        let (proxy, bend) = (format!("http://{}", world.proxy), format!("{sni}:443:{HOST}:443"));
        let host = format!("Host: {HOST}");
        let fronted = ["--proxy", &proxy, "--insecure", "--connect-to", &bend, "--header", &host];
        let (codes, _) = world.curl(&[&fronted[..], &[&format!("https://{sni}/")]].concat());
        assert_eq!(codes, "200 000", "{sni}: the tunnel opens and the handshake does not");
    }
    // CONNECT and SNI agree, or there is SNI only, and Host is another.
    for host in ["evil.example", "elsewhere.example", "registry.example:80", "registry.example:8443"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = exchange(&mut world.tunnel("registry.example:443", HOST), &request);
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        let answer = exchange(&mut world.tls_over(connect(world.captured_tls), HOST), &request);
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
    }
    // Clear text captured on its way to port 80 goes to port 80.
    let answer = exchange(&mut connect(world.captured_clear), "GET / HTTP/1.1\r\nHost: registry.example:443\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    assert!(world.keeper.asked.lock().unwrap().is_empty());
    assert!(world.upstream_heads().is_empty());
}

#[test]
fn captured_tls_for_a_host_outside_the_grant_is_not_opened() {
    let world = World::start();
    let bend = format!("evil.example:443:{}", world.captured_tls);
    let (codes, _) = world.curl(&["--insecure", "--connect-to", &bend, "https://evil.example/"]);
    assert_eq!(codes, "000 000");
    assert_eq!(world.wait_for_refused("host_not_granted").layer, Layer::Tls);
}

#[test]
fn a45_a_connection_to_one_server_is_not_used_for_another() {
    let world = World::start();
    let mut proxy = connect(world.proxy);
    for host in [HOST, "elsewhere.example", HOST] {
        let answer = exchange(&mut proxy, &format!("GET http://{host}/only HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(answer.ends_with("hello"), "{host}: {answer}");
    }
    assert_eq!((world.clear.heads().len(), world.other.heads().len()), (2, 1));
}

#[test]
fn s27_there_is_no_http_2_to_smuggle_through() {
    let world = World::start();
    let request = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for (protocols, is_served) in [(&["h2"][..], false), (&["h3"], false), (&["h2", "http/1.1"], true), (&[], true)] {
        let answer = exchange(&mut world.tls_speaking(connect(world.captured_tls), protocols), &request);
        assert_eq!(answer.ends_with("hello"), is_served, "{protocols:?}: {answer}");
    }
}

#[test]
fn a_tunnel_carries_nothing_but_tls() {
    let world = World::start();
    let mut stream = connect(world.proxy);
    exchange(&mut stream, "CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n");
    assert_eq!(exchange(&mut stream, "GET / HTTP/1.1\r\nHost: registry.example\r\n\r\n").find("200"), None);
    // Nor another tunnel, nor an absolute target.
    let nested = "CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n";
    let answer = exchange(&mut world.tunnel("registry.example:443", HOST), nested);
    assert!(answer.contains("wrong_form"), "{answer}");
    let absolute = "GET http://registry.example/ HTTP/1.1\r\nHost: registry.example\r\n\r\n";
    let answer = exchange(&mut world.tunnel("registry.example:443", HOST), absolute);
    assert!(answer.contains("wrong_form"), "{answer}");
    assert!(world.upstream_heads().is_empty());
}

#[test]
fn a15_s26_names_resolve_to_the_door_or_not_at_all() {
    let world = World::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let ask = |labels: &[&str], kind: u8| {
        let mut query = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, kind, 0, 1]);
        socket.send_to(&query, world.dns).unwrap();
        let mut answer = [0; 512];
        let (length, _) = socket.recv_from(&mut answer).unwrap();
        answer[..length].to_vec()
    };
    let granted = ask(&["registry", "example"], 1);
    assert_eq!((granted[3] & 15, granted[7]), (0, 1));
    assert!(granted[granted.len() - 4..].starts_with(&[127, 1]));
    for kind in [16, 10, 28, 255] {
        let answer = ask(&["registry", "example"], kind);
        assert_eq!((answer[3] & 15, answer[7]), (0, 0), "type {kind}");
    }
    let stolen = "c2VjcmV0".repeat(7);
    let answer = ask(&[&stolen, "evil", "example"], 1);
    assert_eq!((answer[3] & 15, answer[7]), (3, 0));
    assert!(world.wait_for_refused("name_not_granted").detail.ends_with(".evil.example"));
    assert!(world.wait_for_refused("type_not_answered").detail.starts_with(HOST));
}

#[test]
fn the_door_stands_behind_its_fences() {
    let world = World::start();
    let expected = [Fence::NotDumpable, Fence::Landlock, Fence::Seccomp];
    assert_eq!(
        world.ready.fences,
        expected.into(),
        "a fence is missing: the kernel needs Landlock (5.13, TCP 6.7) and seccomp"
    );
}
