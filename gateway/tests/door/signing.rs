//! Requests that a credential signs at the door: what leaves has a signature that a signer of AWS's own makes as well, over what
//! was judged and is sent; and the secret that made it never leaves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use selvedge_domain::{CredentialName, Endpoint, HostPattern, Method, Reach};
use selvedge_gateway::{Loan, Placeholder, SecretText, SignedFor, Way};

use crate::world::{HOST, World, exchange};

const ID: &str = "ASIAEXAMPLEOFADOOR01";
const SECRET: &str = "s3cr3t/of+the/session/of+this/run/0000001";
const TOKEN: &str = "t0ken/of+the/session//////////of+this/run==";

/// What a body of `hello` hashes to.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn loan(service: &str, lasts: Option<Duration>) -> Loan {
    let endpoint = Endpoint { host: HostPattern::parse(HOST).unwrap(), port: 443 };
    let methods = [Method::Get, Method::Put, Method::Post].into();
    Loan {
        credential: CredentialName::parse("bucket").unwrap(),
        uses: vec![Reach { endpoint, methods, path_prefix: "/acme".to_owned() }],
        way: Way::Signature(SignedFor::parse(service, "eu-central-1").unwrap()),
        placeholder: placeholder(),
        secret: lasts.map(|lasts| (SecretText::parse(format!("{ID}:{SECRET}:{TOKEN}").as_bytes()).unwrap(), lasts)),
    }
}

fn placeholder() -> Placeholder {
    Placeholder::of_bits(0x5e1f)
}

fn world(service: &str) -> World {
    World::lending(vec![loan(service, Some(Duration::from_secs(600)))])
}

/// What a client writes that signs with the placeholder.
fn signed() -> String {
    format!(
        "Authorization: AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, \
         Signature={}\r\nX-Amz-Date: 20260101T000000Z\r\nX-Amz-Content-SHA256: UNSIGNED-PAYLOAD\r\n",
        placeholder().as_str(),
        "0".repeat(64)
    )
}

fn ask(world: &World, line: &str, fields: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut tls = world.tunnel("registry.example:443", HOST);
    exchange(&mut tls, &format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{fields}{length}\r\n{body}"))
}

/// Signs every head on its standard input again, as botocore does, and says which differ.
const SIGN_AGAIN: &str = r#"
import json, sys
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
ask = json.load(sys.stdin)
for head, body in ask["requests"]:
    lines = head.split("\r\n")
    method, target, _ = lines[0].split(" ")
    fields = [line.split(": ", 1) for line in lines[1:] if line]
    named = dict(fields)
    authorization = named["authorization"]
    signed = authorization.split("SignedHeaders=")[1].split(",")[0].split(";")
    request = AWSRequest(method=method, url="https://" + named["host"] + target, data=bytes.fromhex(body))
    for name, value in fields:
        if name in signed and name != "host":
            request.headers[name] = value
    request.context["timestamp"] = named["x-amz-date"]
    signer = (S3SigV4Auth if ask["service"] == "s3" else SigV4Auth)(
        Credentials(ask["id"], ask["secret"], ask["token"]), ask["service"], "eu-central-1")
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    sent = authorization.split("Signature=")[1]
    print("same" if expected == sent else "differs: " + repr(canonical))
"#;

fn signed_again(service: &str, world: &World) -> Vec<String> {
    let requests: Vec<_> = world.tls.heads().into_iter().zip(world.tls.bodies()).collect();
    let requests: Vec<_> = requests
        .iter()
        .map(|(head, body)| (head, body.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
        .collect();
    let ask =
        serde_json::json!({ "service": service, "id": ID, "secret": SECRET, "token": TOKEN, "requests": requests });
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", SIGN_AGAIN])
        .env("PYTHONPATH", botocore())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &ask).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// AWS's own signer, installed once beneath the target directory.
fn botocore() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("botocore");
    if !directory.exists() {
        let own = directory.with_file_name(format!("botocore-of-{}", std::process::id()));
        let mut pip = Command::new("/usr/bin/python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&own).arg("botocore==1.44.*");
        assert!(pip.status().unwrap().success(), "{pip:?}");
        // Another test may have been first, which is as good.
        let _ = std::fs::rename(&own, &directory);
    }
    directory
}

#[test]
fn c5_what_leaves_is_signed_as_a_signer_of_aws_would_and_what_the_client_signed_is_gone() {
    for (service, query) in [
        ("s3", "GET /acme/?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&marker=&fetch-owner&X-Id=1&encoding-type=2"),
        ("execute-api", "GET /acme/?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&empty=&flag&Z=1&a=2"),
    ] {
        let world = world(service);
        for (line, fields, body) in [
            ("GET /acme", signed(), ""),
            ("GET /acme/a%20b/%C3%BC%2Bc%3Dd", String::new(), ""),
            ("GET /acme/a%28b%29c", "Range: bytes=0-1\r\n".to_owned(), ""),
            (query, signed(), ""),
            ("PUT /acme/key", format!("{}Content-Type: text/plain;  a=b\r\n", signed()), "hello"),
            ("POST /acme/key?uploads", "X-Amz-Meta-Two: a\r\nX-Amz-Meta-Two:   b  c\r\n".to_owned(), ""),
            ("GET /acme/key", "X-Amz-Mfa: device 123\r\n".to_owned(), ""),
        ] {
            assert!(ask(&world, line, &fields, body).starts_with("HTTP/1.1 200"), "{service} {line}");
        }
        let (heads, again) = (world.tls.heads(), signed_again(service, &world));
        assert_eq!((heads.len(), again.len()), (7, 7));
        for (head, again) in heads.iter().zip(again) {
            assert_eq!(again, "same", "{service} {head}");
            assert!(head.contains(&format!("x-amz-security-token: {TOKEN}\r\n")), "{head}");
            assert!(head.contains(&format!("Credential={ID}/")) && !head.contains(SECRET), "{head}");
            assert!(!head.contains(placeholder().as_str()) && !head.contains("20260101") && !head.contains("UNSIGNED"));
        }
        assert!(heads[2].contains("range: bytes=0-1\r\n"), "what went out is worth nothing when it comes back");
        assert!(heads[4].contains(&format!("x-amz-content-sha256: {HELLO}\r\n")), "{}", heads[4]);
        let asked = world.keeper.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked.credential.as_ref().map(CredentialName::as_str), Some("bucket"));
    }
}

#[test]
fn a20_what_is_signed_spends_what_the_run_may_send_as_well() {
    let world = World::sending_at_most(4_000, vec![loan("s3", Some(Duration::from_secs(600)))]);
    let piece = "x".repeat(1_000);
    let answers: Vec<String> = (0..6).map(|_| ask(&world, "PUT /acme/a", "", &piece)).collect();
    assert!(answers[0].starts_with("HTTP/1.1 200"), "{answers:?}");
    assert!(answers[5].contains("\"code\":\"send_budget_spent\""), "{answers:?}");
    let left = world.tls.heads().concat().len() + world.tls.bodies().concat().len();
    assert!(left <= 4_000, "{left} left");
    let told: u64 = world.wait_for_done(6).iter().map(|done| done.request_bytes).sum();
    assert_eq!(told, u64::try_from(left).unwrap());
}

#[test]
fn c5_a_body_is_signed_whole_however_the_client_coded_it() {
    let world = world("s3");
    let coded = "3\r\nhel\r\n2\r\nlo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let fields = "X-Amz-Content-SHA256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nX-Amz-Trailer: x-amz-checksum-crc32\r\n\
                  X-Amz-Decoded-Content-Length: 5\r\nContent-Encoding: aws-chunked\r\n";
    assert!(ask(&world, "PUT /acme/a", fields, coded).starts_with("HTTP/1.1 200"));
    // Chunks of HTTP, with and without those of S3 in them.
    let chunks = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (fields, body) in [(fields, coded), ("", "hello")] {
        let mut tls = world.tunnel("registry.example:443", HOST);
        let head = format!("PUT /acme/a HTTP/1.1\r\nHost: {HOST}\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        assert!(exchange(&mut tls, &format!("{head}{}", chunks(body))).contains("HTTP/1.1 200"));
    }
    // One that waits to be told to go on, for longer than anybody has patience.
    let (proxy, url) = (format!("http://{}", world.proxy), format!("https://{HOST}/acme/a"));
    let waits =
        ["--header", "Expect: 100-continue", "--expect100-timeout", "3600", "--request", "PUT", "--data", "hello"];
    let (codes, body) = world.curl(&[&["--proxy", proxy.as_str()], &waits[..], &[&url]].concat());
    assert!(codes.ends_with("200"), "{codes} {body}");
    assert_eq!(world.tls.bodies(), [b"hello"; 4]);
    for (number, head) in world.tls.heads().iter().enumerate() {
        assert!(head.contains("content-length: 5\r\n") && head.contains(HELLO), "{head}");
        assert!(
            !head.contains("aws-chunked") && !head.contains("transfer-encoding") && !head.contains("expect"),
            "{head}"
        );
        assert_eq!(head.contains("x-amz-checksum-crc32: NhCmhg==\r\n"), number < 2, "{head}");
    }
    assert_eq!(signed_again("s3", &world), ["same"; 4]);
    // What is not coded as it says, and what is more than the limit, does not leave.
    assert!(ask(&world, "PUT /acme/a", fields, "hello").contains("malformed_body"));
    let long = format!("Content-Length: {}\r\n", 16 << 20);
    assert!(ask(&world, "PUT /acme/a", &long, "").contains("body_too_long"));
    assert_eq!(world.tls.heads().len(), 4);
}

#[test]
fn a50_a57_a_placeholder_elsewhere_and_somebody_else_s_keys_are_refused() {
    let world = world("s3");
    let text = placeholder().as_str().to_owned();
    let foreign = signed().replace(&text, "AKIASOMEBODYELSE0001");
    let halves = text.split_at(10);
    let chunk = |half: &str| format!("{:x}\r\n{half}\r\n", half.len());
    let hidden = format!("{}{}0\r\n\r\n", chunk(halves.0), chunk(halves.1));
    let streaming = "X-Amz-Content-SHA256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n";
    for (line, fields, body, code) in [
        ("GET /acme/a".to_owned(), foreign, String::new(), "foreign_credential"),
        ("GET /acme/a".to_owned(), "Authorization: Bearer x\r\n".to_owned(), String::new(), "foreign_credential"),
        ("GET /acme/a".to_owned(), "X-Amz-Security-Token: stolen\r\n".to_owned(), String::new(), "foreign_credential"),
        ("GET /acme/a?X-Amz-Signature=0".to_owned(), String::new(), String::new(), "foreign_credential"),
        ("GET /acme/a?X-Amz-Credential=AKIA".to_owned(), String::new(), String::new(), "foreign_credential"),
        ("GET /acme/a?AWSAccessKeyId=A&Signature=b".to_owned(), String::new(), String::new(), "foreign_credential"),
        ("GET /other".to_owned(), signed(), String::new(), "placeholder_misplaced"),
        (format!("GET /acme/{text}"), String::new(), String::new(), "placeholder_misplaced"),
        (format!("GET /acme/a?q={text}"), String::new(), String::new(), "placeholder_misplaced"),
        ("GET /acme/a".to_owned(), format!("X-Amz-Meta-A: {text}\r\n"), String::new(), "placeholder_misplaced"),
        ("PUT /acme/a".to_owned(), signed(), format!("note={text}"), "placeholder_misplaced"),
        // On both sides of the line between two chunks.
        ("PUT /acme/a".to_owned(), streaming.to_owned(), hidden, "placeholder_misplaced"),
        ("PUT /acme/a".to_owned(), "X-Amz-Copy-Source: /secrets/key\r\n".to_owned(), String::new(), "act_not_shown"),
        ("PUT /acme/a".to_owned(), "X-Amz-Acl: public-read\r\n".to_owned(), String::new(), "act_not_shown"),
        ("PUT /acme/a?acl".to_owned(), String::new(), String::new(), "leave `acl` out"),
    ] {
        let answer = ask(&world, &line, &fields, &body);
        assert!(answer.contains(code), "{line} {fields} {body}: {answer}");
    }
    assert!(world.tls.heads().is_empty(), "nothing left");
    // The control: the placeholder where a client's session token would be.
    let token = format!("{}X-Amz-Security-Token: {text}\r\n", signed());
    assert!(ask(&world, "GET /acme/a", &token, "").starts_with("HTTP/1.1 200"));
}

#[test]
fn c7_a51_the_keys_of_a_session_do_not_leave_in_a_body_and_do_not_come_back() {
    let world = world("s3");
    for part in [SECRET, TOKEN] {
        let answer = ask(&world, "PUT /acme/a", "", &format!("note={part}"));
        assert!(answer.contains("secret_in_request"), "{answer}");
        let answer = ask(&world, "GET /other", &format!("X-Note: {part}\r\n"), "");
        assert!(answer.contains("secret_in_request"), "{answer}");
    }
    assert!(world.tls.heads().is_empty());
    // S3 says in a refusal what it thinks was signed, with the token in it.
    let refusal = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{TOKEN}", TOKEN.len());
    world.tls.answer("/acme/refused", refusal.into_bytes());
    let answer = ask(&world, "GET /acme/refused", "", "");
    assert!(answer.contains("HTTP/1.1 403") && !answer.contains(TOKEN) && answer.contains("****"), "{answer}");
    assert_eq!(world.wait_for_refused("secret_masked").detail, "bucket");
}

#[test]
fn a07_without_its_session_a_request_does_not_leave_unsigned() {
    for lasts in [None, Some(Duration::ZERO)] {
        let world = World::lending(vec![loan("s3", lasts)]);
        assert!(ask(&world, "GET /acme/a", &signed(), "").contains("credential_not_lent"));
        assert!(world.tls.heads().is_empty());
    }
    // Keys that are none.
    let mut broken = loan("s3", None);
    broken.secret = Some((SecretText::parse(b"only-a-token-0001").unwrap(), Duration::from_secs(600)));
    let world = World::lending(vec![broken]);
    assert!(ask(&world, "GET /acme/a", &signed(), "").contains("credential_not_lent"));
    assert!(world.tls.heads().is_empty());
}
