//! Others can verify what we sign, from nothing but the published key set: PyJWT and the `jsonwebtoken` crate.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use selvedge_credentials::{DISCOVERY_PATH, Issuer, JWKS_PATH, METADATA_PATH, Served, discovery, metadata};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{Duration, Time};
use serde_json::{Value, json};

use crate::token::{agent, desk, handed_on};
use crate::world::{Cut, Disk, Fuse, ISSUER, Wired, holder, issuer, lease, order, permit, text};

const CLOUD: &str = "https://cloud.example";

/// Relying parties read the wall clock, so these tokens are signed by it.
fn wall_clock() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap())
}

fn token(issuer: &Issuer, now: Time) -> String {
    let order = MintCredential { until: now.after(Duration::from_seconds(600)), ..order(1, CLOUD) };
    text(&issuer.sign(&permit(order), &holder(), now).unwrap().0)
}

fn expected(now: Time) -> Value {
    let iat = now.as_millis() / 1000;
    let (sub, jti) = (holder().to_string(), lease(1).to_string());
    json!({ "iss": ISSUER, "sub": sub, "aud": CLOUD, "iat": iat, "exp": iat + 300, "jti": jti })
}

#[test]
fn another_rust_library_verifies_our_tokens() {
    let issuer = issuer(&Arc::<Disk>::default());
    let now = wall_clock();
    let token = token(&issuer, now);
    let set: JwkSet = serde_json::from_str(&issuer.jwks()).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let kid = header.kid.unwrap();
    let jwk = set.find(&kid).unwrap();
    assert_eq!(jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap(), kid, "RFC 7638");
    let verify = |audience: &str| {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(jwk).unwrap(), &validation)
    };
    assert_eq!(verify(CLOUD).unwrap().claims, expected(now));
    assert!(verify("https://elsewhere.example").is_err());
}

/// Prints the claims, then proves that the same token fails when anything about it is different.
const RELYING_PARTY: &str = r#"
import json, sys, jwt
ask = json.load(sys.stdin)
keys = {key["kid"]: jwt.PyJWK(key) for key in ask["jwks"]["keys"]}
def verify(token, audience=ask["audience"], issuer=ask["issuer"]):
    kid = jwt.get_unverified_header(token)["kid"]
    return jwt.decode(token, keys[kid].key, algorithms=["ES256"], audience=audience, issuer=issuer,
                      options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]})
claims = verify(ask["token"])
head, body, signature = ask["token"].split(".")
for wrong in (lambda: verify(ask["token"], audience="https://elsewhere.example"),
              lambda: verify(ask["token"], issuer="https://elsewhere.example"),
              lambda: verify(".".join((head, body, signature[::-1]))),
              lambda: verify(ask["expired"])):
    try:
        wrong()
    except jwt.PyJWTError:
        continue
    sys.exit("a wrong token was accepted")
print(json.dumps(claims))
"#;

#[test]
fn pyjwt_verifies_our_tokens_from_the_published_keys() {
    let Some(python) = python_with_pyjwt() else {
        println!("skipped: there is no python3 on this machine");
        return;
    };
    let issuer = issuer(&Arc::<Disk>::default());
    let now = wall_clock();
    let expired = token(&issuer, Time::from_millis(now.as_millis() - 600_000));
    let jwks: Value = serde_json::from_str(&issuer.jwks()).unwrap();
    let ask = json!({
        "jwks": jwks, "token": token(&issuer, now), "expired": expired, "audience": CLOUD, "issuer": ISSUER,
    });
    let mut child = Command::new(&python)
        .args(["-c", RELYING_PARTY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(ask.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected(now));
}

/// A Python that has PyJWT: the machine's own, or one made once beneath the target directory.
fn python_with_pyjwt() -> Option<PathBuf> {
    let has_pyjwt = |python: &Path| {
        let import = ["-c", "import jwt, cryptography"];
        Command::new(python).args(import).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let own = PathBuf::from("python3");
    Command::new(&own).arg("--version").stdout(Stdio::null()).status().ok()?;
    if has_pyjwt(&own) {
        return Some(own);
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyjwt");
    let python = venv.join("bin/python3");
    // Two tests that install into it side by side replace the libraries that the other one's Python has loaded.
    let one_at_a_time = std::fs::File::create(venv.with_extension("lock")).unwrap();
    one_at_a_time.lock().unwrap();
    if !has_pyjwt(&python) {
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "needs the packages in .ci/python-packages: {said}");
        };
        run(Command::new(&own).args(["-m", "venv"]).arg(&venv));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "PyJWT[crypto]"]));
    }
    Some(python)
}

/// Reads an access token as a resource server does (RFC 9068 section 4), finds the keys through the metadata, and takes the history
/// apart by itself.
const RESOURCE_SERVER: &str = r#"
import json, sys, urllib.request, jwt
ask = json.load(sys.stdin)
found = json.load(urllib.request.urlopen(ask["server"] + "/.well-known/oauth-authorization-server"))
assert found["issuer"] == ask["issuer"], found
assert found["token_endpoint"] and found["grant_types_supported"] == ["urn:ietf:params:oauth:grant-type:token-exchange"], found
keys = jwt.PyJWKClient(ask["server"] + found["jwks_uri"].removeprefix(ask["issuer"]))
def verify(token, audience=ask["audience"], issuer=ask["issuer"]):
    key = keys.get_signing_key_from_jwt(token).key
    read = jwt.decode_complete(token, key, algorithms=["ES256"], audience=audience, issuer=issuer,
                               options={"require": ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]})
    if read["header"]["typ"].lower() not in ("at+jwt", "application/at+jwt"):
        raise jwt.InvalidTokenError("not an access token")
    return read["payload"]
for what, wrong in {"audience": lambda: verify(ask["token"], audience="https://elsewhere.example"),
                    "issuer": lambda: verify(ask["token"], issuer="https://elsewhere.example"),
                    "expired": lambda: verify(ask["expired"]),
                    "identity document": lambda: verify(ask["svid"]),
                    "HS256": lambda: verify(ask["hmac"]),
                    "none": lambda: verify(ask["none"])}.items():
    try:
        wrong()
    except jwt.PyJWTError:
        continue
    sys.exit("accepted: " + what)
claims = verify(ask["token"])
# RFC 8693 section 4.1: the current actor is outermost, the least recent is nested most deeply.
actors, actor = [], claims.get("act")
while actor is not None:
    assert set(actor) <= {"sub", "act"}, actor
    actors.append(actor["sub"])
    actor = actor.get("act")
assert actors[0] == claims["sub"] == claims["client_id"], claims
assert len(claims["selvedge"]["chain"]) == claims["selvedge"]["depth"] == len(actors) - 1, claims
print(json.dumps({"actors": actors, "scope": claims["scope"].split(), "jti": claims["jti"]}))
"#;

#[test]
fn pyjwt_verifies_an_access_token_and_reads_through_whose_hands_it_went_b4_d8() {
    let Some(python) = python_with_pyjwt() else {
        println!("skipped: there is no python3 on this machine");
        return;
    };
    let (desk, now) = (desk(), wall_clock());
    let tokens = handed_on(&desk, now);
    let token = tokens.last().unwrap();
    let expired = handed_on(&desk, Time::from_millis(now.as_millis() - 600_000)).pop().unwrap();
    let [hmac, none] = ["HS256", "none"].map(|algorithm| forged(&desk.issuer, token, algorithm));
    let served = Served { token: format!("{ISSUER}/token"), introspection: None, revocation: None };
    let site =
        vec![(JWKS_PATH.to_owned(), desk.issuer.jwks()), (METADATA_PATH.to_owned(), metadata(&desk.issuer, &served))];
    let ask = json!({
        "server": serve(site), "token": token, "expired": expired, "svid": self::token(&desk.issuer, now), "hmac": hmac,
        "none": none, "audience": CLOUD, "issuer": ISSUER,
    });
    let mut child = Command::new(&python)
        .args(["-c", RESOURCE_SERVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(ask.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let actors = [4, 3, 2, 1].map(|run| agent(run).to_string());
    let read = json!({ "actors": actors, "scope": ["trust:observe", "may:read"], "jti": lease(103).to_string() });
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), read);
}

/// Finds the keys as a relying party does, through discovery, and refuses what it must.
const THROUGH_DISCOVERY: &str = r#"
import hashlib, hmac, base64, json, sys, urllib.request, jwt
ask = json.load(sys.stdin)
found = json.load(urllib.request.urlopen(ask["server"] + "/.well-known/openid-configuration"))
assert found["issuer"] == ask["issuer"], found
# The issuer's URL is not ours to serve here, so its host is replaced; the path is the document's own.
keys = jwt.PyJWKClient(ask["server"] + found["jwks_uri"].removeprefix(ask["issuer"]))
def verify(token, audience=ask["audience"], issuer=ask["issuer"]):
    return jwt.decode(token, keys.get_signing_key_from_jwt(token).key, audience=audience, issuer=issuer,
                      algorithms=found["id_token_signing_alg_values_supported"])
print(json.dumps(verify(ask["token"])))
for what, wrong in {"audience": lambda: verify(ask["token"], audience="https://elsewhere.example"),
                    "issuer": lambda: verify(ask["token"], issuer="https://elsewhere.example"),
                    "expired": lambda: verify(ask["expired"]),
                    "HS256": lambda: verify(ask["hmac"]),
                    "none": lambda: verify(ask["none"])}.items():
    try:
        wrong()
    except jwt.PyJWTError:
        continue
    sys.exit("accepted: " + what)
"#;

/// The same token under another algorithm: unsigned, or signed with the public key as if it were a shared secret.
fn forged(issuer: &Issuer, token: &str, algorithm: &str) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let jwks: Value = serde_json::from_str(&issuer.jwks()).unwrap();
    let typ = jsonwebtoken::decode_header(token).unwrap().typ;
    let header = json!({ "alg": algorithm, "typ": typ, "kid": jwks["keys"][0]["kid"] }).to_string();
    let signed = format!("{}.{}", base64.encode(header), token.split('.').nth(1).unwrap());
    let public = jwks["keys"][0].to_string();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
    let signature = match algorithm {
        "none" => String::new(),
        _ => base64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())),
    };
    format!("{signed}.{signature}")
}

/// Serves these paths as a plain web server would, as long as the test lives.
fn serve(site: Vec<(String, String)>) -> String {
    use std::io::{BufRead as _, BufReader};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = head[0].split(' ').nth(1).unwrap_or_default();
            let body = site.iter().find(|(at, _)| path == format!("/{at}")).map(|(_, text)| text.as_str());
            let (status, body) = body.map_or(("404 Not Found", ""), |body| ("200 OK", body));
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _gone = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice());
        }
    });
    address
}

#[test]
fn pyjwt_finds_the_keys_through_discovery_and_refuses_what_is_wrong_b1_d8() {
    let Some(python) = python_with_pyjwt() else {
        println!("skipped: there is no python3 on this machine");
        return;
    };
    let issuer = issuer(&Arc::<Disk>::default());
    let now = wall_clock();
    let good = token(&issuer, now);
    let expired = token(&issuer, Time::from_millis(now.as_millis() - 600_000));
    let [hmac, none] = ["HS256", "none"].map(|algorithm| forged(&issuer, &good, algorithm));
    let site = vec![(JWKS_PATH.to_owned(), issuer.jwks()), (DISCOVERY_PATH.to_owned(), discovery(&issuer))];
    let ask = json!({
        "server": serve(site), "token": good, "expired": expired, "hmac": hmac, "none": none, "audience": CLOUD,
        "issuer": ISSUER,
    });
    let mut child = Command::new(&python)
        .args(["-c", THROUGH_DISCOVERY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(ask.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected(now));
    // Ours refuses the same.
    let nothing_revoked = Wired { disk: Arc::default(), fuse: Fuse::new(Cut::Never) };
    let ours = |token: &str| issuer.verifier().verify(token, CLOUD, now, &nothing_revoked).is_ok();
    assert!(ours(&good));
    assert!([&expired, &hmac, &none].iter().all(|token| !ours(token)));
}

/// The same for Node: jose, with a remote key set.
const JOSE: &str = r#"
const { createRemoteJWKSet, jwtVerify } = require('jose');
const ask = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const keys = createRemoteJWKSet(new URL(ask.server + '/keys.json'));
const verify = (token, audience = ask.audience, issuer = ask.issuer) => jwtVerify(token, keys, { audience, issuer });
(async () => {
  const { payload } = await verify(ask.token);
  for (const [what, wrong] of Object.entries({
    audience: () => verify(ask.token, 'https://elsewhere.example'),
    issuer: () => verify(ask.token, ask.audience, 'https://elsewhere.example'),
    expired: () => verify(ask.expired), HS256: () => verify(ask.hmac), none: () => verify(ask.none),
  })) {
    const accepted = await wrong().then(() => true, () => false);
    if (accepted) { console.error('accepted: ' + what); process.exit(1); }
  }
  console.log(JSON.stringify(payload));
})();
"#;

#[test]
fn jose_verifies_our_tokens_and_refuses_what_is_wrong_b1() {
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jose");
    if !modules.join("node_modules/jose").exists() {
        let install =
            Command::new("npm").args(["install", "--silent", "--prefix"]).arg(&modules).arg("jose@6").output();
        assert!(install.unwrap().status.success(), "needs npm and the package `jose`");
    }
    let issuer = issuer(&Arc::<Disk>::default());
    let now = wall_clock();
    let good = token(&issuer, now);
    let ask = json!({
        "server": serve(vec![(JWKS_PATH.to_owned(), issuer.jwks())]), "token": good, "audience": CLOUD, "issuer": ISSUER,
        "expired": token(&issuer, Time::from_millis(now.as_millis() - 600_000)),
        "hmac": forged(&issuer, &good, "HS256"), "none": forged(&issuer, &good, "none"),
    });
    let mut child = Command::new("node")
        .env("NODE_PATH", modules.join("node_modules"))
        .args(["-e", JOSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(ask.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected(now));
}
