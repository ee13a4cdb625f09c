//! What requests and responses may look like, and what becomes of them.

use selvedge_gateway::Outcome;

use crate::world::{HOST, LIMITS, World, connect, exchange};

fn absolute(line: &str, rest: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{rest}")
}

#[test]
fn a42_what_two_readers_could_read_differently_reaches_no_server() {
    let world = World::start();
    let hidden = "GET /denied HTTP/1.1\r\nHost: registry.example\r\n\r\n";
    let post = "POST http://registry.example/a";
    for (why, request) in [
        (
            "two lengths",
            absolute(post, &format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len())),
        ),
        ("length list", absolute(post, &format!("Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len()))),
        (
            "length and coding",
            absolute(post, &format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}")),
        ),
        ("coding list", absolute(post, "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n")),
        ("obscured coding", absolute(post, "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")),
        ("vertical tab", absolute(post, "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n")),
        ("folded", absolute(post, "X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("bare line feed", format!("GET http://{HOST}/a HTTP/1.1\nHost: {HOST}\n\n")),
        ("bare carriage return", absolute("GET http://registry.example/a", "X: a\rContent-Length: 5\r\n\r\n")),
        (
            "body of a GET",
            absolute("GET http://registry.example/a", &format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len())),
        ),
        ("two hosts", absolute("GET http://registry.example/a", "Host: evil.example\r\n\r\n")),
        ("host differs", format!("GET http://{HOST}/a HTTP/1.1\r\nHost: evil.example\r\n\r\n")),
        ("no host", format!("GET http://{HOST}/a HTTP/1.1\r\n\r\n")),
        ("version 1.0", format!("GET http://{HOST}/a HTTP/1.0\r\nHost: {HOST}\r\n\r\n")),
        ("space before first line", format!(" GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("line before first line", format!("\r\nGET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("user information", format!("GET http://u@{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("dot segments", absolute("GET http://registry.example/a/../denied", "\r\n")),
        ("encoded dot segments", absolute("GET http://registry.example/a/%2e%2e/denied", "\r\n")),
        ("encoded slash", absolute("GET http://registry.example/a%2fb", "\r\n")),
        ("backslash", absolute("GET http://registry.example/a\\b", "\r\n")),
        ("null", absolute("GET http://registry.example/a%00b", "\r\n")),
        ("upgrade", absolute("GET http://registry.example/a", "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")),
        ("named hop field", absolute("GET http://registry.example/a", "Connection: x-checked\r\n\r\n")),
        ("override", absolute(post, "X-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n")),
        ("dns over https", absolute("GET http://registry.example/a", "Accept: application/dns-message\r\n\r\n")),
        ("presigned", absolute("GET http://registry.example/a?X-Amz-Signature=x", "\r\n")),
        ("http/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("origin form to a proxy", absolute("GET /a", "\r\n")),
    ] {
        let mut stream = connect(world.proxy);
        let answer = exchange(&mut stream, &request);
        assert!(answer.starts_with("HTTP/1.1 4"), "{why}: {answer:?}");
        assert!(answer.contains("connection: close") || why == "origin form to a proxy", "{why}: {answer:?}");
    }
    assert!(world.keeper.asked.lock().unwrap().is_empty());
    assert!(world.upstream_heads().is_empty(), "{:?}", world.upstream_heads());
    world.wait_for_refused("malformed_request");
}

#[test]
fn a42_hostile_chunks_end_the_request() {
    let world = World::start();
    for body in ["4;a=b\r\nWiki\r\n0\r\n\r\n", "4\nWiki\n0\n\n", "0\r\nx: y\r\n\r\n", "4\r\nWikipedia\r\n0\r\n\r\n"] {
        let request =
            absolute("POST http://registry.example/chunks", &format!("Transfer-Encoding: chunked\r\n\r\n{body}"));
        let answer = exchange(&mut connect(world.proxy), &request);
        assert!(answer.contains("malformed_body"), "{body:?}: {answer:?}");
    }
    // A server may have seen the head and half a body, never a whole request.
    assert!(world.upstream_heads().is_empty(), "{:?}", world.upstream_heads());
    let done = world.wait_for_done(4);
    assert!(done.iter().all(|done| done.outcome == Outcome::Failed { code: "malformed_body".into() }), "{done:?}");
}

#[test]
fn a45_every_request_of_a_connection_is_judged_anew() {
    let world = World::start();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for mut stream in [world.tunnel("registry.example:443", HOST), world.tls_over(connect(world.captured_tls), HOST)] {
        assert!(exchange(&mut stream, &get("/a")).ends_with("\r\n\r\nhello"));
        assert!(exchange(&mut stream, &get("/denied")).starts_with("HTTP/1.1 403"));
        assert!(exchange(&mut stream, &get("/b")).ends_with("\r\n\r\nhello"));
        // Pipelined: the second is judged as well.
        assert!(exchange(&mut stream, &(get("/c") + &get("/denied"))).ends_with("\r\n\r\nhello"));
        assert!(exchange(&mut stream, "").starts_with("HTTP/1.1 403"));
    }
    assert_eq!(world.keeper.asked.lock().unwrap().len(), 10);
    assert_eq!(world.upstream_heads().len(), 6);
}

#[test]
fn a20_a57_credentials_a_client_brings_stay_behind() {
    let world = World::start();
    // The control: without the door the server gets them.
    let stolen = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer stolen\r\n\r\n");
    assert!(exchange(&mut world.tls_to_upstream(connect(world.tls.address)), &stolen).ends_with("hello"));
    assert!(world.tls.heads()[0].contains("stolen"));

    let (codes, _) = world.curl(&[
        "--proxy",
        &format!("http://{}", world.proxy),
        "--user",
        "me:stolen",
        "--header",
        "X-Api-Key: stolen",
        "--cookie",
        "a=stolen",
        "--proxy-user",
        "me:stolen",
        "https://registry.example/cookie",
    ]);
    assert_eq!(codes, "200 200");
    let [_, head] = world.tls.heads().try_into().unwrap();
    assert!(!head.contains("stolen") && !head.to_ascii_lowercase().contains("authorization"), "{head}");
    world.wait_for_refused("foreign_credential_stripped");
    let answer = exchange(
        &mut world.tunnel("registry.example:443", HOST),
        &format!("GET /cookie HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    );
    assert!(!answer.contains("cookie") && !answer.contains("alt-svc") && answer.ends_with("hello"), "{answer}");
}

#[test]
fn bodies_pass_whole_in_every_framing() {
    let world = World::start();
    let file = world.directory().join("body");
    let content: Vec<u8> = (0..1_500_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(&file, &content).unwrap();
    let data = format!("@{}", file.display());
    let proxy = format!("http://{}", world.proxy);
    // curl asks for `100 Continue` from a megabyte on.
    let (codes, _) = world.curl(&["--proxy", &proxy, "--data-binary", &data, "https://registry.example/upload"]);
    assert_eq!(codes, "200 200");
    let chunked = [
        "--proxy",
        &proxy,
        "--header",
        "Transfer-Encoding: chunked",
        "--data-binary",
        &data,
        "https://registry.example/upload",
    ];
    assert_eq!(world.curl(&chunked).0, "200 200");
    assert!(world.tls.bodies().iter().all(|body| *body == content));

    for (path, length) in [("/chunked", 5), ("/close", 5), ("/big", 3 << 20), ("/a", 5)] {
        let (codes, body) = world.curl(&["--proxy", &proxy, &format!("https://registry.example{path}")]);
        assert_eq!((codes.as_str(), body.len()), ("200 200", length), "{path}");
    }
    assert_eq!(world.curl(&["--proxy", &proxy, "--head", "https://registry.example/a"]).0, "200 200");
    let done = world.wait_for_done(7);
    let head = u64::try_from(world.tls.heads()[0].len()).unwrap();
    assert_eq!((done[0].request_bytes, done[4].response_bytes), (head + 1_500_000, 3 << 20));
}

#[test]
fn a_client_that_sends_on_still_reads_why_it_was_refused() {
    let world = World::start();
    let body = "x".repeat(1 << 20);
    for path in ["/denied", "/a?token=x"] {
        let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let answer =
            exchange(&mut connect(world.proxy), &absolute(&format!("PUT http://registry.example{path}"), &length));
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer:?}");
    }
    assert!(world.upstream_heads().is_empty());
}

#[test]
fn an_answer_that_comes_before_the_body_has_left_is_passed_back() {
    let world = World::start();
    // More than fits into the kernel's buffers on the way.
    let body = "x".repeat(14 << 20);
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = exchange(&mut connect(world.proxy), &absolute("PUT http://registry.example/early", &length));
    assert!(answer.starts_with("HTTP/1.1 409") && answer.ends_with("full"), "{answer:?}");
}

#[test]
fn uploads_share_a_connection_to_the_server() {
    let world = World::start();
    let mut stream = world.tunnel("registry.example:443", HOST);
    for path in ["/a", "/b", "/then/close", "/c", "/d"] {
        let request = format!("PUT {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi");
        let answer = exchange(&mut stream, &request);
        assert!(answer.ends_with("hello"), "{path}: {answer}");
        if path.ends_with("close") {
            // The server's goodbye must have arrived before the next request, or that one is honestly lost.
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
    assert_eq!(world.tls.connections(), 2, "one until the server closed it, one after");
}

#[test]
fn bodies_beyond_the_limit_are_refused() {
    let world = World::start();
    let announced = format!("Content-Length: {}\r\n\r\n", LIMITS.request_body_bytes_max + 1);
    let answer = exchange(&mut connect(world.proxy), &absolute("POST http://registry.example/a", &announced));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(world.keeper.asked.lock().unwrap().is_empty());
    let unannounced = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", LIMITS.request_body_bytes_max + 1);
    let answer = exchange(&mut connect(world.proxy), &absolute("POST http://registry.example/a", &unannounced));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(world.upstream_heads().is_empty());
}

#[test]
fn a45_a_server_can_neither_switch_protocols_nor_answer_ahead() {
    let world = World::start();
    let mut stream = world.tunnel("registry.example:443", HOST);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for path in ["/interim", "/two-lengths"] {
        let answer = exchange(&mut stream, &get(path));
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("server_malformed"), "{path}: {answer}");
    }
    assert!(exchange(&mut stream, &get("/ahead")).ends_with("hello"));
    assert!(exchange(&mut stream, &get("/a")).ends_with("hello"), "an answer that came ahead must not be used");
}

#[test]
fn a_redirect_is_passed_back_and_judged_when_followed() {
    let world = World::start();
    let proxy = format!("http://{}", world.proxy);
    let (codes, _) = world.curl(&["--proxy", &proxy, "--location", "https://registry.example/redirect"]);
    assert_eq!(codes, "403 000", "the client followed and was refused at the tunnel");
    assert_eq!(world.wait_for_refused("host_not_granted").detail, "evil.example");
}
