//! The courier: one question to a provider over real TLS, whatever the provider answers, and nothing of it in the keeper but
//! the few values that were wanted.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use selvedge_domain::{Endpoint, HostPattern, Method};
use selvedge_gateway::courier::{Brought, Errand, Failed, PATIENCE_MAX, Reads, carry};
use selvedge_gateway::{FieldName, RunAs, danger};

use crate::upstream::{PublicAuthority, Upstream};
use crate::world::{DOOR_PROGRAM, HOST};

fn endpoint(host: &str) -> Endpoint {
    Endpoint { host: HostPattern::parse(host).unwrap(), port: 443 }
}

fn errand(public: &PublicAuthority, upstream: &Upstream, target: &str) -> Errand {
    Errand {
        endpoint: endpoint(HOST),
        method: Method::Post,
        target: target.to_owned(),
        fields: vec![(FieldName::parse("x-vault-token").unwrap(), "s3cr3t-of-the-factory".to_owned().into())],
        body: Some(("application/json".to_owned(), b"{\"role\":\"r\"}".to_vec().into())),
        reads: Reads::Json,
        wants: vec!["/auth/client_token".to_owned()],
        counts: vec!["/auth/policies".to_owned()],
        dangers: vec![danger::Upstream {
            endpoint: endpoint(HOST),
            address: upstream.address.ip(),
            port: upstream.address.port(),
            transport: danger::Transport::Tls,
        }],
        roots_pem: public.pem.clone(),
        proxy: None,
        patience: PATIENCE_MAX,
    }
}

fn go(errand: &Errand) -> Result<Brought, Failed> {
    carry(Path::new(DOOR_PROGRAM), RunAs::Keeper, errand)
}

fn raw(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn a_courier_asks_as_it_was_told_and_brings_what_was_wanted() {
    let public = PublicAuthority::make();
    let upstream = Upstream::tls(&public, HOST);
    upstream.answer("/v1/login", raw("200 OK", "", r#"{"auth":{"client_token":"token-1","policies":["root"]}}"#));
    let brought = go(&errand(&public, &upstream, "/v1/login")).unwrap();
    let expected = [("/auth/client_token", "token-1"), ("/auth/policies", "[1]")];
    assert_eq!(brought.found, expected.map(|(pointer, value)| (pointer.to_owned(), value.to_owned())).into());
    assert!(!format!("{brought:?}").contains("token-1"), "what was brought is secret");
    let head = upstream.heads().pop().unwrap();
    assert!(head.starts_with("POST /v1/login HTTP/1.1\r\nhost: registry.example\r\n"), "{head}");
    assert!(head.contains("\r\nx-vault-token: s3cr3t-of-the-factory\r\n"), "{head}");
    assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
    assert_eq!(upstream.bodies().pop().unwrap(), b"{\"role\":\"r\"}");
    // A provider that has a media type of its own is asked for that, and for no other.
    let mut own = errand(&public, &upstream, "/v1/login");
    own.fields.push((FieldName::parse("accept").unwrap(), "application/vnd.github+json".to_owned().into()));
    own.method = Method::Delete;
    assert_eq!(go(&own).unwrap().status, 200);
    let head = upstream.heads().pop().unwrap();
    assert!(head.starts_with("DELETE /v1/login HTTP/1.1\r\n") && head.matches("accept:").count() == 1, "{head}");
    assert!(head.contains("\r\naccept: application/vnd.github+json\r\n"), "{head}");
    // Without a body, where one could be, it says that there is none.
    own.body = None;
    assert_eq!(go(&own).unwrap().status, 200);
    assert!(!upstream.heads().pop().unwrap().contains("content-length"));
    own.method = Method::Post;
    assert_eq!(go(&own).unwrap().status, 200);
    assert!(upstream.heads().pop().unwrap().contains("\r\ncontent-length: 0\r\n"));
}

#[test]
fn refusals_come_back_with_their_status_and_nothing_else() {
    let public = PublicAuthority::make();
    let upstream = Upstream::tls(&public, HOST);
    for (status, fields, wait) in [
        ("401 Unauthorized", "", None),
        ("429 Too Many Requests", "retry-after: 7\r\n", Some(Duration::from_secs(7))),
        ("503 Service Unavailable", "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", None),
        // Not followed: the next place is nobody the operator named.
        ("302 Found", "location: https://169.254.169.254/latest/meta-data\r\n", None),
    ] {
        upstream.answer("/x", raw(status, fields, "<html>{\"auth\":{\"client_token\":\"no\"}}</html>"));
        let brought = go(&errand(&public, &upstream, "/x")).unwrap();
        let expected = status.split(' ').next().unwrap().to_owned();
        assert_eq!((brought.status.to_string(), brought.retry_after), (expected, wait), "{status}");
        assert!(brought.found.is_empty());
    }
    assert_eq!(upstream.heads().len(), 4);
}

#[test]
fn what_makes_no_sense_is_an_answer_lost_and_never_half_a_credential() {
    let public = PublicAuthority::make();
    let upstream = Upstream::tls(&public, HOST);
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    for (answer, words) in [
        (raw("200 OK", "", "not json"), "not JSON"),
        (raw("200 OK", "", &deep), "breaks off"),
        (raw("200 OK", "", &"[".repeat(10_000)), "not JSON"),
        (raw("200 OK", "", &format!(r#"{{"auth":{{"client_token":"{}"}}}}"#, "x".repeat(20_000))), "too long"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"auth\"".to_vec(), "breaks off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".to_vec(), "malformed"),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000)).into_bytes(), "does not answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(), "malformed"),
    ] {
        upstream.answer_and_close("/x", answer);
        match go(&errand(&public, &upstream, "/x")) {
            Err(Failed::AnswerLost(why)) => assert!(why.contains(words), "{words}: {why}"),
            other => panic!("{words}: {other:?}"),
        }
    }
}

#[test]
fn a_provider_that_cannot_be_reached_or_trusted_is_not_asked() {
    let (public, stranger) = (PublicAuthority::make(), PublicAuthority::make());
    let upstream = Upstream::tls(&public, HOST);
    let impostor = Upstream::tls(&stranger, HOST);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = nobody.local_addr().unwrap();
    drop(nobody);
    let mut gone = errand(&public, &upstream, "/x");
    gone.dangers[0].port = refusing.port();
    let inward = Errand { endpoint: endpoint("localhost"), dangers: vec![], ..errand(&public, &upstream, "/x") };
    let split = Errand { target: "/x HTTP/1.1\r\nhost: evil".to_owned(), ..errand(&public, &upstream, "/x") };
    for (errand, words) in [
        (errand(&public, &impostor, "/x"), "does not prove its name"),
        (gone, "no address takes the connection"),
        (inward, "not on the open internet"),
        (split, "target"),
    ] {
        match go(&errand) {
            Err(Failed::NotAsked(why)) => assert!(why.contains(words), "{words}: {why}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    assert!(upstream.heads().is_empty() && impostor.heads().is_empty());
    assert!(!format!("{:?}", self::errand(&public, &upstream, "/x?token=t")).contains("token"), "nor the query");
}

/// However it is slow: saying nothing, or a byte now and then, in the head of its answer as in the body.
#[test]
fn a_slow_provider_is_waited_for_as_long_as_was_said_and_its_answer_is_lost_a07() {
    let public = PublicAuthority::make();
    for says_first in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{"] {
        let upstream = Upstream::tls(&public, HOST);
        let slow = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut errand = errand(&public, &upstream, "/x");
        errand.dangers[0].port = slow.local_addr().unwrap().port();
        errand.dangers[0].transport = danger::Transport::Clear;
        errand.patience = Duration::from_secs(2);
        let said = std::thread::scope(|threads| {
            threads.spawn(|| {
                let (mut stream, _) = slow.accept().unwrap();
                stream.write_all(says_first.as_bytes()).unwrap();
                // Until the courier has gone.
                while stream.write_all(if says_first.is_empty() { b"" } else { b"x" }).is_ok() {
                    std::thread::sleep(Duration::from_millis(200));
                    let is_gone = stream.set_nonblocking(true).is_err() || matches!(stream.peek(&mut [0]), Ok(0));
                    if is_gone {
                        break;
                    }
                    let mut taken = [0; 4096];
                    let _what_it_asked = stream.read(&mut taken);
                }
            });
            go(&errand)
        });
        let lost = "the provider did not answer within 2 seconds".to_owned();
        assert_eq!(said.unwrap_err(), Failed::AnswerLost(lost), "{says_first:?}");
    }
}

#[test]
fn a_courier_that_dies_leaves_the_question_open() {
    // A program that becomes no courier at all.
    let public = PublicAuthority::make();
    let upstream = Upstream::tls(&public, HOST);
    let errand = errand(&public, &upstream, "/x");
    match carry(Path::new("/bin/true"), RunAs::Keeper, &errand) {
        Err(Failed::AnswerLost(why)) => assert!(why.contains("did not come back"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(carry(Path::new("/nonexistent"), RunAs::Keeper, &errand), Err(Failed::NotAsked(_))));
    // The control: nothing was sent by either, and a listener that says nothing is not waited for without an end.
    assert!(upstream.heads().is_empty());
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut silent = errand.clone();
    silent.dangers[0].port = mute.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = mute.accept().unwrap();
        let mut hello = [0; 16];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert!(matches!(go(&silent), Err(Failed::NotAsked(_))), "no handshake, no question");
}
