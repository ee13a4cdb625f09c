//! Credentials at the door: they go into the requests they are for, and nowhere else, and no answer brings them back.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::{FieldName, Loan, LoanChange, Outcome, Placeholder, Scheme, SecretText, Way};

use crate::world::{HOST, World, connect, exchange, wait_for};

const SECRET: &str = "s3cr3t-value-of-the-operator";

fn lent(lasts: Option<Duration>) -> Loan {
    let uses = |port| Reach {
        endpoint: Endpoint { host: HostPattern::parse(HOST).unwrap(), port },
        methods: [Method::Get, Method::Post].into(),
        path_prefix: "/lent".to_owned(),
    };
    Loan {
        credential: CredentialName::parse("key").unwrap(),
        uses: vec![uses(443), uses(80)],
        way: Way::Field(FieldName::parse("authorization").unwrap(), Scheme::Bearer),
        placeholder: placeholder(),
        secret: lasts.map(|lasts| (SecretText::parse(SECRET.as_bytes()).unwrap(), lasts)),
    }
}

fn placeholder() -> Placeholder {
    Placeholder::of_bits(0x5e1f)
}

fn world() -> World {
    World::lending(vec![lent(Some(Duration::from_secs(600)))])
}

/// Sends a request through a tunnel; gives the whole answer.
fn ask(world: &World, line: &str, fields: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut tls = world.tunnel("registry.example:443", HOST);
    exchange(&mut tls, &format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}{length}\r\n{body}"))
}

#[test]
fn c5_a_credential_goes_into_what_it_is_for_and_the_keeper_was_asked_about_it() {
    let world = world();
    let bearer = format!("Authorization: Bearer {}\r\n", placeholder().as_str());
    for fields in ["", bearer.as_str()] {
        assert!(ask(&world, "GET /lent/a", fields, "").starts_with("HTTP/1.1 200"));
        let asked = world.keeper.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.credential.as_ref().map(CredentialName::as_str), Some("key"));
    }
    // The control: a path it is not for goes out without.
    assert!(ask(&world, "GET /other", "", "").starts_with("HTTP/1.1 200"));
    assert_eq!(world.keeper.asked.lock().unwrap().pop().unwrap().credential, None);
    let heads = world.upstream_heads();
    let carried: Vec<bool> =
        heads.iter().map(|head| head.contains(&format!("authorization: Bearer {SECRET}\r\n"))).collect();
    assert_eq!(carried, [true, true, false], "{heads:?}");
    assert!(!heads.iter().any(|head| head.contains(placeholder().as_str())));
}

#[test]
fn a40_a_credential_goes_out_on_every_protected_way_and_never_in_clear_text() {
    let world = world();
    let proxy = format!("http://{}", world.proxy);
    let (to_tls, to_clear) = (format!(":443:{}", world.captured_tls), format!(":80:{}", world.captured_clear));
    for (way, scheme, expected) in [
        (["--proxy", proxy.as_str()], "https", "200"),
        (["--connect-to", to_tls.as_str()], "https", "200"),
        (["--proxy", proxy.as_str()], "http", "403"),
        (["--connect-to", to_clear.as_str()], "http", "403"),
    ] {
        let url = format!("{scheme}://{HOST}/lent/a");
        let (codes, body) = world.curl(&[way[0], way[1], &url]);
        assert!(codes.ends_with(expected), "{way:?} {scheme}: {codes} {body}");
    }
    assert_eq!(world.clear.heads(), Vec::<String>::new());
    assert_eq!(world.tls.heads().len(), 2);
}

#[test]
fn a51_what_comes_back_does_not_hold_what_went_out() {
    let world = world();
    let proxy = format!("http://{}", world.proxy);
    for path in ["/lent/echo", "/lent/echo-chunked"] {
        let (codes, answer) = world.curl(&["--proxy", &proxy, "--include", &format!("https://{HOST}{path}")]);
        assert!(codes.ends_with("200") && answer.contains("*****"), "{answer}");
        assert!(!answer.contains(SECRET), "{answer}");
    }
    assert_eq!(world.wait_for_refused("secret_masked").detail, "key");
    // The control: it did go out, and what is no secret comes back as it was.
    assert!(world.upstream_heads().iter().all(|head| head.contains(SECRET)));
    assert!(ask(&world, "GET /lent/a", "", "").ends_with("hello"));
}

#[test]
fn a51_what_went_out_does_not_come_back_in_any_common_form() {
    let world = world();
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let forms = [
        SECRET.to_owned(),
        encode(SECRET),
        encode(&format!("Authorization: Bearer {SECRET}")),
        encode(&format!("x{SECRET}")),
        hex(SECRET),
        hex(SECRET).to_uppercase(),
    ];
    let body = forms.join("\n");
    let answer = format!("HTTP/1.1 500 Oops\r\nx-debug: {}\r\ncontent-length: {}\r\n\r\n{body}", forms[2], body.len());
    world.tls.answer("/lent/debug", answer.clone().into_bytes());
    let request = format!("GET /lent/debug HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    // The control: without a door the server's answer arrives as it is.
    assert_eq!(exchange(&mut world.tls_to_upstream(connect(world.tls.address)), &request), answer);
    let came = exchange(&mut world.tunnel("registry.example:443", HOST), &request);
    assert!(came.starts_with("HTTP/1.1 500") && came.len() > body.len(), "{came}");
    // Of base64 around it, the digits that say something else as well are left.
    let inside =
        [SECRET.to_owned(), encode(SECRET).get(..36).unwrap().to_owned(), hex(SECRET), hex(SECRET).to_uppercase()];
    for form in
        inside.iter().chain([&encode(&format!("Authorization: Bearer {SECRET}")).get(32..64).unwrap().to_owned()])
    {
        assert!(answer.contains(form.as_str()) && !came.contains(form.as_str()), "{form}: {came}");
    }
    assert_eq!(world.wait_for_refused("secret_masked").detail, "key");
}

#[test]
fn a51_an_answer_that_may_hold_a_secret_is_asked_for_whole_and_uncoded() {
    let world = world();
    let fields = "Range: bytes=0-9\r\nIf-Range: \"x\"\r\nAccept-Encoding: gzip\r\n";
    let hiding = ["range: ", "accept-encoding: "];
    assert!(ask(&world, "GET /lent/a", fields, "").starts_with("HTTP/1.1 200"));
    // The control: where nothing is lent they go out.
    assert!(ask(&world, "GET /other", fields, "").starts_with("HTTP/1.1 200"));
    let held: Vec<bool> =
        world.upstream_heads().iter().map(|head| hiding.iter().any(|field| head.contains(field))).collect();
    assert_eq!(held, [false, true]);
}

#[test]
fn a50_a_placeholder_leads_nowhere_but_where_it_belongs() {
    let world = world();
    let text = placeholder().as_str().to_owned();
    let bearer = format!("Authorization: Bearer {text}\r\n");
    for (line, fields, body) in [
        ("GET /other".to_owned(), bearer.clone(), String::new()),
        (format!("GET /lent/{text}"), String::new(), String::new()),
        (format!("GET /other?q={text}"), String::new(), String::new()),
        ("GET /lent/a".to_owned(), format!("X-Api-Key: {text}\r\n"), String::new()),
        ("POST /other".to_owned(), String::new(), format!("note={text}")),
        ("POST /lent/a".to_owned(), bearer, format!("note={text}")),
    ] {
        let answer = ask(&world, &line, &fields, &body);
        assert!(answer.contains("placeholder_misplaced"), "{line} {fields} {body}: {answer}");
    }
    assert_eq!(world.wait_for_refused("placeholder_misplaced").detail, "key");
    assert!(world.upstream_heads().iter().all(|head| head.starts_with("POST") && !head.contains(&text)));
    assert!(world.tls.bodies().iter().all(|body| !String::from_utf8_lossy(body).contains(&text)));
}

#[test]
fn c7_a_secret_that_a_run_must_not_have_does_not_leave_with_a_request() {
    let world = world();
    let answer = ask(&world, "POST /other", "", &format!("{}{SECRET}", "x".repeat(40_000)));
    assert!(answer.contains("secret_in_request"), "{answer}");
    assert_eq!(world.wait_for_refused("secret_in_request").detail, "key");
    assert!(world.tls.bodies().iter().all(|body| !String::from_utf8_lossy(body).contains(SECRET)));
}

#[test]
fn a_redirect_is_judged_again_and_has_no_credential() {
    let world = world();
    let proxy = format!("http://{}", world.proxy);
    let url = format!("https://{HOST}/lent/redirect");
    let (codes, body) = world.curl(&["--proxy", &proxy, "--location", &url]);
    assert_eq!((codes.as_str(), body.as_str()), ("200 200", "hello"));
    let heads = world.tls.heads();
    assert!(
        heads[0].contains(SECRET) && heads[1].starts_with("GET /elsewhere ") && !heads[1].contains(SECRET),
        "{heads:?}"
    );
    // A client that takes its placeholder along is told so.
    let bearer = format!("Authorization: Bearer {}", placeholder().as_str());
    let (codes, body) = world.curl(&["--proxy", &proxy, "--location", "--header", &bearer, &url]);
    assert!(codes.ends_with("403") && body.contains("placeholder_misplaced"), "{codes} {body}");
}

#[test]
fn a07_without_a_credential_the_request_does_not_leave() {
    for lasts in [None, Some(Duration::ZERO)] {
        let world = World::lending(vec![lent(lasts)]);
        let answer = ask(&world, "GET /lent/a", "", "");
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("credential_not_lent"), "{answer}");
        assert!(world.upstream_heads().is_empty() && world.keeper.asked.lock().unwrap().is_empty());
        // The control: what needs none still leaves.
        assert!(ask(&world, "GET /other", "", "").starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a57_a_stolen_credential_does_not_stand_in_for_ours() {
    let world = world();
    let answer = ask(&world, "GET /lent/a", "Authorization: Bearer stolen-from-the-repository\r\n", "");
    assert!(answer.contains("foreign_credential"), "{answer}");
    assert!(world.upstream_heads().is_empty());
}

#[test]
fn a_door_shows_its_secret_to_nobody_s_eyes_in_proc() {
    let world = world();
    assert!(ask(&world, "GET /lent/a", "", "").starts_with("HTTP/1.1 200"));
    for file in ["environ", "cmdline"] {
        let path = format!("/proc/{}/{file}", world.door.process_id());
        let shown = std::fs::read(path).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&shown).contains(SECRET), "{file}");
    }
}

fn withdrawn() -> LoanChange {
    LoanChange::Withdrawn { because: "the credential was withdrawn from this run".to_owned() }
}

fn name() -> CredentialName {
    CredentialName::parse("key").unwrap()
}

#[test]
fn d12_a_withdrawn_credential_goes_into_no_request_and_the_client_is_told_why() {
    let world = world();
    assert!(ask(&world, "GET /lent/a", "", "").starts_with("HTTP/1.1 200"));
    world.door.change_loan(&name(), &withdrawn()).unwrap();
    let answer = ask(&world, "GET /lent/a", "", "");
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("credential_not_lent"), "{answer}");
    assert!(answer.contains("the credential was withdrawn from this run"), "{answer}");
    // For good, whatever comes after; and what needs no credential still leaves.
    world.door.change_loan(&name(), &renewed("another-value-of-the-operator")).unwrap();
    assert!(ask(&world, "GET /lent/a", "", "").contains("credential_not_lent"));
    assert!(ask(&world, "GET /other", "", "").starts_with("HTTP/1.1 200"));
    assert_eq!(world.upstream_heads().iter().filter(|head| head.contains("authorization")).count(), 1);
    assert_eq!(world.wait_for_refused("credential_not_lent").detail, "key");
}

/// The server has the request and does not answer: nothing of it comes back any more.
#[test]
fn d12_a_request_under_way_with_a_withdrawn_credential_is_cut() {
    let world = world();
    let mut tls = world.tunnel("registry.example:443", HOST);
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    tls.write_all(request("/lent/silent").as_bytes()).unwrap();
    wait_for("the request", || (world.tls.heads().len() == 1).then_some(()));
    // The control: what goes out without is none of its business.
    let mut other = world.tunnel("registry.example:443", HOST);
    other.write_all(request("/silent").as_bytes()).unwrap();
    wait_for("the other request", || (world.tls.heads().len() == 2).then_some(()));
    world.door.change_loan(&name(), &withdrawn()).unwrap();
    let answer = exchange(&mut tls, "");
    assert!(answer.contains("credential_not_lent") && answer.contains("was withdrawn"), "{answer}");
    assert_eq!(world.wait_for_done(1)[0].outcome, Outcome::Failed { code: "credential_not_lent".to_owned() });
    assert_eq!(world.keeper.done.lock().unwrap().len(), 1);
}

/// What began to come back ends where it is, and looks like nothing that is whole.
#[test]
fn d12_an_answer_under_way_with_a_withdrawn_credential_is_cut() {
    let world = world();
    let mut tls = world.tunnel("registry.example:443", HOST);
    tls.write_all(format!("GET /lent/half HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).unwrap();
    let mut begun = [0; 17];
    tls.read_exact(&mut begun).unwrap();
    world.door.change_loan(&name(), &withdrawn()).unwrap();
    let mut rest = Vec::new();
    // Closed cleanly or not, it ends.
    let _ended = tls.read_to_end(&mut rest);
    assert!(String::from_utf8_lossy(&rest).ends_with("hello"), "{rest:?}");
    assert_eq!(world.wait_for_done(1)[0].outcome, Outcome::Failed { code: "credential_withdrawn".to_owned() });
}

fn renewed(secret: &str) -> LoanChange {
    let secret = SecretText::parse(secret.as_bytes()).unwrap();
    LoanChange::Renewed { secret, lasts: Duration::from_secs(600) }
}

#[test]
fn c1_a_renewed_credential_takes_the_place_of_the_old_one_from_one_request_to_the_next() {
    let world = World::lending(vec![lent(Some(Duration::ZERO))]);
    let lapses = LoanChange::Lapses { because: "policy did not let it be renewed".to_owned() };
    world.door.change_loan(&name(), &lapses).unwrap();
    assert!(ask(&world, "GET /lent/a", "", "").contains("policy did not let it be renewed"));
    let mut tls = world.tunnel("registry.example:443", HOST);
    for secret in ["first-value-of-the-operator", "second-value-of-the-operator"] {
        world.door.change_loan(&name(), &renewed(secret)).unwrap();
        let answer = exchange(&mut tls, &format!("GET /lent/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let heads = world.upstream_heads();
        assert!(heads.last().unwrap().contains(&format!("authorization: Bearer {secret}\r\n")), "{heads:?}");
    }
    // It is looked for where it must not be, and masked where it comes back.
    assert!(ask(&world, "POST /other", "", "second-value-of-the-operator").contains("secret_in_request"));
}

#[test]
fn d12_a_door_that_does_not_confirm_is_killed() {
    let world = world();
    let process = world.door.process_id();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap(),
        rustix::process::Signal::STOP,
    )
    .unwrap();
    assert!(world.door.change_loan(&name(), &withdrawn()).is_err());
    wait_for("its end", || (!std::path::Path::new(&format!("/proc/{process}")).exists()).then_some(()));
}

/// As while its sandbox is being built: nobody serves the door yet, and whoever withdraws is not kept waiting for it.
#[test]
fn d12_a_door_that_is_still_being_opened_goes_on_without_what_was_withdrawn() {
    let loans = vec![lent(Some(Duration::from_secs(600)))];
    let world = World::lending_then(loans, |door| {
        door.change_loan(&name(), &withdrawn()).unwrap();
        // Once more, as when whoever opens it and whoever withdraws both tell it.
        door.change_loan(&name(), &withdrawn()).unwrap();
    });
    assert!(ask(&world, "GET /other", "", "").starts_with("HTTP/1.1 200"), "the run goes on");
    let answer = ask(&world, "GET /lent/a", "", "");
    assert!(answer.contains("credential_not_lent") && answer.contains("was withdrawn"), "{answer}");
    assert_eq!(world.upstream_heads().iter().filter(|head| head.contains(SECRET)).count(), 0);
    // What comes once it is open is confirmed as ever.
    world.door.change_loan(&name(), &withdrawn()).unwrap();
}

/// A stored key lives on when it is lent no more: it must not leave in a request all the same.
#[test]
fn c7_a_secret_that_was_withdrawn_or_renewed_does_not_leave_with_a_request() {
    for change in [withdrawn(), renewed("another-value-of-the-operator")] {
        let world = world();
        world.door.change_loan(&name(), &change).unwrap();
        let answer = ask(&world, "POST /other", "", &format!("{}{SECRET}", "x".repeat(40_000)));
        assert!(answer.contains("secret_in_request"), "{change:?}: {answer}");
        let answer = ask(&world, "GET /other", &format!("X-Note: {SECRET}\r\n"), "");
        assert!(answer.contains("secret_in_request"), "{change:?}: {answer}");
        assert_eq!(world.wait_for_refused("secret_in_request").detail, "key");
        assert!(world.tls.bodies().iter().all(|body| !String::from_utf8_lossy(body).contains(SECRET)));
        // The control: what is none goes out whole.
        let innocent = "x".repeat(40_000);
        assert!(ask(&world, "POST /other", "", &innocent).starts_with("HTTP/1.1 200"));
        assert!(world.tls.bodies().iter().any(|body| body == innocent.as_bytes()));
    }
}
