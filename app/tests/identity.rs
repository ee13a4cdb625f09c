//! Workload identity from inside a governed sandbox: clients as they are shipped take identity documents from the run's door,
//! for the audiences its grant names and no others, and nothing of it outlives the run.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use common::toolchain::clients;
use common::{Scene, agent, eventually, text};
use serde_json::Value;

/// An audience the agent is granted; others are not.
const CLOUD: &str = "https://cloud.example";

/// Who may be who in these tests.
const TRUST_DOMAIN: &str = "factory.example.org";

/// py-spiffe 0.3.2. It reads `tcp://` from its configuration and then looks for a file of that name and hands gRPC the whole
/// text; those two steps are put right here, and everything else is as it is shipped.
const PYTHON: &str = r#"
import os, sys, time
from spiffe import WorkloadApiClient
from spiffe.errors import *
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from cryptography.hazmat.primitives.asymmetric import ec
WorkloadApiClient._check_spiffe_socket_exists = staticmethod(lambda socket: None)
WorkloadApiClient._grpc_target = staticmethod(lambda value: value.removeprefix("tcp://"))
client = WorkloadApiClient(os.environ["SPIFFE_ENDPOINT_SOCKET"])
svid = client.fetch_x509_svid()
print("python x509", svid.spiffe_id, flush=True)
bundles = client.fetch_x509_bundles()
authorities = list(bundles.bundles)[0].x509_authorities
leaf = svid.leaf
def signed():
    for ca in authorities:
        try:
            leaf.verify_directly_issued_by(ca); return True
        except Exception: pass
    return False
assert signed(), "no authority of the bundle signed the certificate"
names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
assert [name.value for name in names] == [str(svid.spiffe_id)], names
usage = leaf.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE).value
assert usage.digital_signature and not usage.key_cert_sign
assert not leaf.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS).value.ca
life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
assert life.total_seconds() <= 300, life
print("python x509 verified", flush=True)
token = client.fetch_jwt_svid(audience={"https://cloud.example"})
print("python jwt", token.spiffe_id, sorted(token.audience), flush=True)
good = client.validate_jwt_svid(token.token, "https://cloud.example")
print("python validated", good.spiffe_id, flush=True)
for what, act in {
    "another audience": lambda: client.fetch_jwt_svid(audience={"https://elsewhere.example"}),
    "two audiences": lambda: client.fetch_jwt_svid(audience={"https://cloud.example", "https://elsewhere.example"}),
    "a wrong validation": lambda: client.validate_jwt_svid(token.token, "https://elsewhere.example"),
}.items():
    try:
        act()
        print("python GOT", what)
    except Exception as error:
        print("python refused", what, "|", type(error).__name__, str(error).replace("\n", " "), flush=True)
print("python jwt bundles", len(client.fetch_jwt_bundles().bundles), flush=True)
"#;

/// Authlib at the token endpoint: hands on less and less, up to the limit, tries to hand on more, and asks what lives.
const EXCHANGES: &str = r#"
import json, os, sys, time
import requests
from authlib.integrations.requests_client import OAuth2Session
from spiffe import WorkloadApiClient
WorkloadApiClient._check_spiffe_socket_exists = staticmethod(lambda socket: None)
WorkloadApiClient._grpc_target = staticmethod(lambda value: value.removeprefix("tcp://"))
api = WorkloadApiClient(os.environ["SPIFFE_ENDPOINT_SOCKET"])
url = os.environ["SELVEDGE_TOKEN_URL"]
server = requests.get(url.removesuffix("/token") + "/.well-known/oauth-authorization-server").json()
assert server["token_endpoint"] == url, server
client = OAuth2Session(client_id="run", token_endpoint_auth_method="none")
JWT, ACCESS = ("urn:ietf:params:oauth:token-type:" + kind for kind in ("jwt", "access_token"))
def exchange(subject, kind=ACCESS, scope="trust:observe may:read", audience="selvedge", **more):
    answer = client.fetch_token(url, grant_type="urn:ietf:params:oauth:grant-type:token-exchange", subject_token=subject,
                                subject_token_type=kind, scope=scope, audience=audience, **more)
    return answer["access_token"]
def refused(what, act):
    try:
        act()
        print("GOT", what, flush=True)
    except Exception as error:
        print("refused", what, "|", str(error).replace("\n", " "), flush=True)
def active(token):
    return client.introspect_token(server["introspection_endpoint"], token=token).json()["active"]
mine = api.fetch_jwt_svid(audience={"selvedge"}).token
if len(sys.argv) > 1:
    # Another run, with what the first one holds.
    stolen = json.loads(sys.argv[1])
    for name, token in stolen.items():
        refused("exchanging the other's " + name, lambda: exchange(token, JWT if name == "svid" else ACCESS))
        print("introspects the other's", name, active(token), flush=True)
        told = client.revoke_token(server["revocation_endpoint"], token=token)
        print("revoking the other's", name, told.status_code, told.text, flush=True)
    refused("as an actor of its own", lambda: exchange(mine, JWT, actor_token=stolen["token"], actor_token_type=JWT))
    for name, audience in {"svid": "selvedge", "cloud": "https://cloud.example"}.items():
        refused("validating the other's " + name, lambda: api.validate_jwt_svid(stolen[name], audience))
    sys.exit()
wide = exchange(mine, JWT, scope="trust:draft may:read may:write may:delegate", budget="7")
narrow = exchange(wide)
last = exchange(narrow, scope="trust:observe")
print("active", active(wide), active(narrow), active(last), flush=True)
for what, act in {
    "a fourth time": lambda: exchange(last),
    "more than was handed on": lambda: exchange(narrow, scope="trust:observe may:write"),
    "more than the run may": lambda: exchange(mine, JWT, scope="trust:land"),
    "another audience": lambda: exchange(mine, JWT, audience="https://elsewhere.example"),
    "a scope nobody knows": lambda: exchange(mine, JWT, scope="admin"),
    "more than is left of the budget": lambda: exchange(mine, JWT, budget="4"),
    "a document that was changed": lambda: exchange(mine[:-6] + "AAAAAA", JWT),
    "a refresh": lambda: client.fetch_token(url, grant_type="refresh_token", refresh_token=wide),
}.items():
    refused(what, act)
told = client.revoke_token(server["revocation_endpoint"], token=narrow)
print("revoked", told.status_code, active(wide), active(narrow), active(last), flush=True)
cloud = api.fetch_jwt_svid(audience={"https://cloud.example"}).token
print("HOLDS", json.dumps({"token": wide, "svid": mine, "cloud": cloud}), flush=True)
time.sleep(600)
"#;

/// gRPC for Node, and nothing that knows SPIFFE.
const NODE: &str = r#"
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const definition = loader.loadSync(process.argv[2], { keepCase: true });
const Api = grpc.loadPackageDefinition(definition).SpiffeWorkloadAPI;
const api = new Api(process.env.SPIFFE_ENDPOINT_SOCKET.replace('tcp://', ''), grpc.credentials.createInsecure());
const header = new grpc.Metadata();
header.set('workload.spiffe.io', 'true');
api.FetchJWTSVID({ audience: ['https://cloud.example'] }, header, (error, answer) => {
  console.log('node jwt', error ? error.message : answer.svids[0].spiffe_id);
  api.FetchJWTSVID({ audience: ['https://cloud.example'] }, new grpc.Metadata(), (error) => {
    console.log('node without the header', error ? error.code : 'GOT');
    const stream = api.FetchX509SVID({}, header);
    stream.on('error', (error) => { if (error.code !== 1) console.log('node x509 failed', error.message); process.exit(0); });
    stream.on('data', (answer) => { console.log('node x509', answer.svids[0].spiffe_id); stream.cancel(); });
  });
});
"#;

#[test]
fn shipped_clients_take_what_the_grant_names_and_nothing_else_a104_b1_b2() {
    let scene = Scene::ready();
    let clients = clients();
    std::fs::write(scene.repo().join("client.py"), PYTHON).unwrap();
    std::fs::write(scene.repo().join("client.js"), NODE).unwrap();
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src/identity/workload.proto");
    scene.commit("workload.proto", &std::fs::read_to_string(proto).unwrap());
    let audiences = format!("audiences = [{CLOUD:?}, \"spiffe://{TRUST_DOMAIN}\"]\nattempt_at_most = \"30s\"\n");
    let toolchain = format!("[factory]\ntrust_domain = {TRUST_DOMAIN:?}\ntoolchains = [{clients:?}]\n");
    let more = format!("{}{audiences}{toolchain}", agent("federated", "draft"));
    scene.configure("checks = [\"sh tests/run.sh\"]", &more);
    let script = "exec 2>&1; PYTHONPATH=/opt/toolchain/0/py /usr/bin/python3 -S client.py; \
                  NODE_PATH=/opt/toolchain/0/node/node_modules node client.js workload.proto; spiffe_client";
    let run = scene.run(&["run", "--agent", "federated", "--wait", "--json", script]).document()["runs"][0].clone();
    let id = text(&run, "run");
    let output = scene.run(&["output", id]).ok().out;
    let me = format!("spiffe://{TRUST_DOMAIN}/run/{id}/agent/federated");
    for line in [
        format!("python x509 {me}"),
        "python x509 verified".to_owned(),
        format!("python jwt {me} ['{CLOUD}']"),
        format!("python validated {me}"),
        "python refused another audience | ".to_owned(),
        "python refused two audiences | ".to_owned(),
        "python refused a wrong validation | ".to_owned(),
        "python jwt bundles 1".to_owned(),
        format!("node jwt {me}"),
        "node without the header 3".to_owned(),
        format!("node x509 {me}"),
        format!("rust x509 {me} under 2"),
        format!("rust jwt {me} [\"{CLOUD}\"]"),
        format!("rust validated {me}"),
        "rust jwt bundles 1".to_owned(),
        "rust refused another audience | ".to_owned(),
        "rust refused a wrong validation | ".to_owned(),
        format!("rust was pushed {me} that is fresh"),
    ] {
        assert!(output.contains(&line), "`{line}` is missing in\n{output}\n{run}");
    }
    assert!(!output.contains(" GOT "), "{output}");
    assert!(output.contains("outside_grant"), "the agent is told the code: {output}");

    let mints = minted(&scene, id);
    let refused: Vec<_> = mints.iter().filter(|mint| mint.to_string().contains("https://elsewhere.example")).collect();
    assert!(!refused.is_empty(), "the refusal is in the ledger: {mints:?}");
    every_lease_is_dead(&scene, id);
}

#[test]
fn what_a_run_hands_on_only_narrows_is_worth_nothing_to_others_and_dies_with_it_a58_b4_c7() {
    let scene = Scene::ready();
    let clients = clients();
    scene.commit("exchanges.py", EXCHANGES);
    let more = format!("audiences = [{CLOUD:?}]\nbudget = \"0.00001\"\n");
    let may = |name: &str| agent(name, "draft").replace("\"open-pr\"]", "\"open-pr\", \"delegate\"]");
    let toolchain = format!("[factory]\ntrust_domain = {TRUST_DOMAIN:?}\ntoolchains = [{clients:?}]\n");
    let (giver, other) = (may("giver") + &more, may("other") + &more);
    scene.configure("checks = [\"sh tests/run.sh\"]", &format!("{giver}{other}{toolchain}"));
    let _serving = scene.serve();
    let script = "exec 2>&1; PYTHONPATH=/opt/toolchain/0/py exec /usr/bin/python3 -S exchanges.py";
    scene.run(&["run", "--agent", "giver", "--json", script]).ok();
    let giver = eventually("it begins", || Some(text(scene.runs().first()?, "run").to_owned()));
    let said = || scene.run(&["output", &giver]).out;
    let holds = eventually("it holds tokens", || {
        let out = said();
        let holds = out.lines().find_map(|line| line.strip_prefix("HOLDS "));
        assert!(holds.is_some() || !out.contains("Error"), "{out}");
        holds.map(str::to_owned)
    });
    let out = said();
    for line in [
        "active True True True",
        "refused a fourth time | invalid_request",
        "refused more than was handed on | invalid_scope",
        "refused more than the run may | invalid_scope",
        "refused another audience | invalid_target",
        "refused a scope nobody knows | invalid_scope",
        "refused more than is left of the budget | invalid_scope",
        "refused a document that was changed | invalid_request",
        "refused a refresh | unsupported_grant_type",
        "revoked 200 True False False",
    ] {
        assert!(out.contains(line), "`{line}` is missing in\n{out}");
    }
    assert!(!out.contains("GOT "), "{out}");

    // The same tokens in another run, while their holder lives.
    let stealing = format!("{script} '{holds}'");
    let thief = || {
        let run = scene.run(&["run", "--agent", "other", "--wait", "--json", &stealing]).document()["runs"][0].clone();
        scene.run(&["output", text(&run, "run")]).ok().out
    };
    let out = thief();
    for line in [
        "refused exchanging the other's token | invalid_request",
        "introspects the other's token False",
        "revoking the other's token 400",
        "refused exchanging the other's svid | invalid_request",
        "introspects the other's svid False",
        "refused as an actor of its own | invalid_request",
        // Whoever is shown a document may verify it: that is what it is for.
        "GOT validating the other's svid",
        "GOT validating the other's cloud",
    ] {
        assert!(out.contains(line), "`{line}` is missing in\n{out}");
    }

    // A service is told, until the run is stopped; then nobody accepts anything of it any more.
    let held: Value = serde_json::from_str(&holds).unwrap();
    let shown = |name: &str, audience: &str| {
        let mut asking = scene.command(&["identity", "introspect", "--audience", audience]);
        let mut asking = asking.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        asking.stdin.take().unwrap().write_all(text(&held, name).as_bytes()).unwrap();
        let told = asking.wait_with_output().unwrap();
        (told.status.code().unwrap(), serde_json::from_slice::<Value>(&told.stdout).unwrap())
    };
    let (status, told) = shown("token", "selvedge");
    assert_eq!((status, &told["active"]), (0, &Value::Bool(true)), "{told}");
    assert_eq!((told["selvedge"]["budget"].as_u64(), &told["token_type"]), (Some(7), &Value::from("Bearer")), "{told}");
    assert_eq!((shown("cloud", CLOUD).0, shown("svid", "selvedge").0), (0, 0));
    assert_eq!(shown("token", CLOUD), (102, serde_json::json!({ "active": false })), "it is for another service");
    scene.run(&["halt", "run", &giver]).ok();
    for (name, audience) in [("token", "selvedge"), ("svid", "selvedge"), ("cloud", CLOUD)] {
        assert_eq!(shown(name, audience), (102, serde_json::json!({ "active": false })), "{name}");
    }
    let out = thief();
    for name in ["svid", "cloud"] {
        assert!(out.contains(&format!("refused validating the other's {name} | ")), "{name} in\n{out}");
    }

    // What was allowed and what was not is on record, each under what was asked.
    let show = scene.json(&["show", &giver]).to_string();
    for words in ["\"delegate\"", "token_revoked", "invalid_scope", "invalid_target"] {
        assert!(show.contains(words), "{words} is not in {show}");
    }
}

#[test]
fn a_flood_at_the_token_endpoint_hides_nothing_and_ends_its_run_a107() {
    let scene = Scene::ready();
    let giver = agent("giver", "draft").replace("\"open-pr\"]", "\"open-pr\", \"delegate\"]");
    scene.configure("checks = [\"sh tests/run.sh\"]", &giver);
    let ask = |many: u32| {
        format!(
            "curl -s --parallel --parallel-max 8 -o /dev/null -d grant_type=x \"https://token.selvedge.internal/token#[1-{many}]\""
        )
    };
    let script =
        format!("exec 2>/dev/null; {}; curl -s https://evil.example/; {}; echo went on", ask(1500), ask(20_000));
    let run = scene.run(&["run", "--agent", "giver", "--wait", "--json", &script]).document()["runs"][0].clone();
    let id = text(&run, "run");
    assert_eq!(run["outcome"], "halted", "{run}");
    assert!(!scene.run(&["output", id]).ok().out.contains("went on"));
    let show = scene.json(&["show", id]);
    let saying = |words: &str| {
        show["entries"].as_array().unwrap().iter().filter(|entry| entry.to_string().contains(words)).count()
    };
    assert!(saying("host_not_granted") > 0, "what came in between is on record: {show}");
    assert!(saying("denied_too_often") > 0, "{show}");
    assert!((1..=4).contains(&saying("unsupported_grant_type")), "a few entries tell of thousands: {show}");
}

#[test]
fn without_an_audience_there_is_no_identity_door_a104() {
    let scene = Scene::ready();
    let script = "echo endpoint:$SPIFFE_ENDPOINT_SOCKET:; \
                  /usr/bin/python3 -c \"import socket; print('connected', socket.socket().connect_ex(('127.0.0.1', 3129)))\"";
    let more = format!("{}reach = [\"GET https://files.selvedge.test/\"]\n", agent("plain", "draft"));
    scene.configure("checks = [\"sh tests/run.sh\"]", &more);
    let run = scene.run(&["run", "--agent", "plain", "--wait", "--json", script]).document()["runs"][0].clone();
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    assert!(output.contains("endpoint::"), "{output}");
    assert!(output.contains("connected 111"), "refused, as where nobody listens: {output}");
}

#[test]
fn a_keeper_publishes_what_it_prints_and_names_the_issuer_it_was_given_d8() {
    let scene = Scene::ready();
    let (www, issuer) = (scene.path("www"), "https://id.example.org");
    scene.configure(
        "",
        &format!("[factory]\ntrust_domain = {TRUST_DOMAIN:?}\nissuer = {issuer:?}\npublish = {www:?}\n"),
    );
    let serving = scene.serve();
    let read = |path: &str| -> Option<Value> { serde_json::from_slice(&std::fs::read(www.join(path)).ok()?).ok() };
    let discovery = eventually("it is published", || read(".well-known/openid-configuration"));
    assert_eq!(discovery["issuer"], issuer);
    assert_eq!(discovery["jwks_uri"], format!("{issuer}/keys.json"));
    for (document, path) in
        [("jwks", "keys.json"), ("bundle", "bundle.json"), ("discovery", ".well-known/openid-configuration")]
    {
        assert_eq!(scene.json(&["identity", document]), read(path).unwrap(), "{document}");
        assert_eq!(scene.run(&["identity", document]).document(), read(path).unwrap(), "{document}");
    }
    assert!(!www.join("keys.new").exists(), "nothing half written is left");
    // Another issuer is for the next keeper, and nobody has to find that out from a service that refuses.
    assert_eq!(scene.json(&["ps"])["restart"], Value::Null);
    let sound = std::fs::read_to_string(scene.config()).unwrap();
    std::fs::write(scene.config(), sound.replace(issuer, "https://other.example.org")).unwrap();
    let told = eventually("it is said", || scene.json(&["ps"])["restart"].as_str().map(str::to_owned));
    for words in [issuer, "https://other.example.org", "until `selvedge serve` is started anew"] {
        assert!(told.contains(words) && scene.run(&["ps"]).ok().out.contains(words), "{words}: {told}");
    }
    assert_eq!(scene.json(&["identity", "discovery"])["issuer"], issuer, "and it is so");
    let log = std::fs::read_to_string(scene.path("serve.log")).unwrap();
    assert!(log.contains("is started anew"), "{log}");
    drop(serving);
    let again = scene.serve();
    assert_eq!(scene.json(&["ps"])["restart"], Value::Null);
    assert_eq!(scene.json(&["identity", "discovery"])["issuer"], "https://other.example.org");
    drop(again);
    scene.configure("", "[factory]\nissuer = \"http://id.example.org/path\"\n");
    scene.run(&["identity", "jwks"]).refused(101, &["factory.issuer"]);
}

/// Decisions about credentials of a run, from the log.
fn minted(scene: &Scene, run: &str) -> Vec<Value> {
    let show = scene.json(&["show", run]);
    let entries = show["entries"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry["detail"]["verb"] == "credential.mint").collect()
}

/// A foreign audience can only wait for expiry, so the run closes for a while; then it settles, which its law allows only
/// with every lease dead.
fn every_lease_is_dead(scene: &Scene, run: &str) {
    let _serving = scene.serve();
    eventually("the run settles", || {
        let runs = scene.runs();
        runs.iter().find(|known| text(known, "run") == run && text(known, "stage") == "settled").map(drop)
    });
}
