//! Every way in which an access token can be wrong, each beside the token that is right.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use selvedge_domain::AgentName;
use serde_json::{Value, json};

use super::*;
use crate::jwt::{self, ClaimsV1};
use crate::keyring::SigningKey;
use crate::{OWN_AUDIENCE, StoreError};

const NOW: Time = Time::from_millis(1_795_132_800_000);
const NOW_SECONDS: u64 = NOW.as_millis() / 1000;

/// Revokes these leases; or nobody knows.
struct List(Result<BTreeSet<LeaseId>, StoreError>);

impl Revoked for List {
    fn is_revoked(&self, lease: &LeaseId) -> Result<bool, StoreError> {
        self.0.as_ref().map(|revoked| revoked.contains(lease)).map_err(Clone::clone)
    }
}

struct World {
    key: SigningKey,
    verifier: Verifier,
}

fn world() -> World {
    let key = SigningKey::generate().unwrap();
    let issuer = IssuerName::parse("https://id.example.org", "example.org").unwrap();
    let verifier = Verifier { issuer, keys: vec![key.public().clone()] };
    World { key, verifier }
}

fn workload(run: u64) -> WorkloadId {
    WorkloadId::new("example.org", RunId::from_entropy(run), AgentName::parse("fixer").unwrap())
}

/// Held by run 3, which had it from run 2, which had it from run 1.
fn token() -> AccessToken {
    let link = |number| Link { lease: LeaseId::from_entropy(number), holder: workload(number) };
    AccessToken {
        holder: workload(3),
        audience: OWN_AUDIENCE.to_owned(),
        lease: LeaseId::from_entropy(3),
        issued: NOW,
        grant: scope::read("may:read", NOW.after(Duration::from_seconds(300))).unwrap(),
        chain: vec![link(2), link(1)],
        context: TaskContext {
            task: TaskId::from_entropy(9),
            intent: Intent::ProposeChange,
            lineage: vec![RunId::from_entropy(8)],
        },
        depth: 2,
        budget: 7,
    }
}

fn claims() -> Value {
    serde_json::to_value(token().claims(&world().verifier.issuer)).unwrap()
}

impl World {
    fn header(&self, typ: &str) -> Value {
        json!({ "alg": "ES256", "typ": typ, "kid": self.key.public().kid() })
    }

    /// Signs whatever it is given, as our key would.
    fn signed(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims));
        format!("{signed}.{}", BASE64.encode(self.key.sign(signed.as_bytes()).unwrap()))
    }

    fn access(&self, claims: &Value) -> String {
        self.signed(&self.header("at+jwt"), &claims.to_string())
    }

    fn ask_at(&self, token: &str, now: Time) -> Result<AccessToken, Why> {
        let nothing = List(Ok(BTreeSet::new()));
        self.verifier.verify_access(token, OWN_AUDIENCE, now, &nothing).map_err(|refused| refused.why)
    }

    fn ask(&self, token: &str) -> Result<AccessToken, Why> {
        self.ask_at(token, NOW)
    }

    /// The answer to a token in which the value at `pointer` is another.
    fn with(&self, pointer: &str, value: Value) -> Result<AccessToken, Why> {
        let mut claims = claims();
        *claims.pointer_mut(pointer).unwrap() = value;
        self.ask(&self.access(&claims))
    }
}

#[test]
fn a_good_token_is_believed_until_the_moment_it_expires() {
    let world = world();
    let signed = world.access(&claims());
    assert_eq!(world.ask(&signed), Ok(token()));
    let expires = token().grant.until;
    assert!(world.ask_at(&signed, Time::from_millis(expires.as_millis() - 1)).is_ok());
    assert_eq!(world.ask_at(&signed, expires), Err(Why::Expired), "no leeway");
}

#[test]
fn history_has_the_holder_outermost_and_the_first_hands_innermost_b4() {
    let [one, two, three] = [1, 2, 3].map(|run| workload(run).to_string());
    assert_eq!(claims()["act"], json!({ "sub": three, "act": { "sub": two, "act": { "sub": one } } }));
    assert_eq!(claims()["sub"], json!(three), "who reads no history takes nobody for another");
    let mut kept = token();
    kept.chain.iter_mut().for_each(|link| link.holder = workload(3));
    assert_eq!(kept.actors(), None, "it never changed hands");
}

#[test]
fn an_identity_document_is_no_access_token_and_the_reverse() {
    let world = world();
    let nothing = List(Ok(BTreeSet::new()));
    let svid = ClaimsV1 {
        iss: "https://id.example.org".to_owned(),
        sub: workload(3).to_string(),
        aud: OWN_AUDIENCE.to_owned(),
        iat: NOW_SECONDS,
        exp: NOW_SECONDS + 300,
        jti: LeaseId::from_entropy(3).to_string(),
    };
    let as_svid =
        |token: &str| world.verifier.verify(token, OWN_AUDIENCE, NOW, &nothing).map_err(|refused| refused.why);
    let good = jwt::sign(&world.key, &svid).unwrap();
    assert!(as_svid(&good).is_ok());
    let another = Why::Malformed("it is a token of another kind");
    assert_eq!(world.ask(&good), Err(another.clone()));
    assert_eq!(as_svid(&world.access(&claims())), Err(another.clone()));
    // The type alone decides, whatever the claims are.
    for typ in ["JWT", "jwt", "AT+JWT", "application/at+jwt", ""] {
        assert_eq!(world.ask(&world.signed(&world.header(typ), &claims().to_string())), Err(another.clone()), "{typ}");
    }
    let dressed = world.signed(&world.header("at+jwt"), &serde_json::to_string(&svid).unwrap());
    assert_eq!(as_svid(&dressed), Err(another));
    assert!(matches!(world.ask(&dressed), Err(Why::Malformed(_))), "the claims are not those of an access token");
}

#[test]
fn no_algorithm_but_ours_is_accepted() {
    let world = world();
    let body = BASE64.encode(claims().to_string());
    let secret = hmac::Key::new(hmac::HMAC_SHA256, world.key.public().kid().as_bytes());
    for (alg, why) in [("none", Why::Algorithm), ("HS256", Why::Algorithm), ("ES256", Why::Signature)] {
        let mut header = world.header("at+jwt");
        header["alg"] = json!(alg);
        let signed = format!("{}.{body}", BASE64.encode(header.to_string()));
        let signature = BASE64.encode(hmac::sign(&secret, signed.as_bytes()));
        assert_eq!(world.ask(&format!("{signed}.{signature}")), Err(why), "{alg}");
        assert!(world.ask(&format!("{signed}.")).is_err(), "{alg}, unsigned");
    }
    let other = self::world();
    assert_eq!(world.ask(&other.access(&claims())), Err(Why::UnknownKey));
}

#[test]
fn claims_that_are_not_ours_are_refused() {
    let world = world();
    assert_eq!(world.with("/iss", json!("https://id.example.com")), Err(Why::Issuer));
    assert_eq!(world.with("/aud", json!("https://cloud.example")), Err(Why::Audience));
    assert_eq!(world.with("/iat", json!(NOW_SECONDS + 6)), Err(Why::NotYet));
    assert_eq!(world.with("/exp", json!(NOW_SECONDS)), Err(Why::Expired));
    assert_eq!(world.with("/exp", json!(NOW_SECONDS + 301)), Err(Why::LivesTooLong));
    assert_eq!(world.with("/sub", json!("spiffe://example.com/run/r-0000000000001/agent/fixer")), Err(Why::Subject));
    assert!(world.with("/scope", json!("trust:observe")).is_ok(), "what is changed here is what is refused");
    let link =
        |number: u64| json!({ "jti": LeaseId::from_entropy(number).to_string(), "sub": workload(number).to_string() });
    for (pointer, value) in [
        ("/aud", json!([OWN_AUDIENCE, "https://cloud.example"])),
        ("/jti", json!("r-0000000000001")),
        ("/client_id", json!(workload(2).to_string())),
        ("/scope", json!("may:read trust:observe")),
        ("/scope", json!("*")),
        ("/scope", json!("")),
        ("/act", json!({ "sub": workload(3).to_string() })),
        ("/act", Value::Null),
        ("/act/sub", json!(workload(1).to_string())),
        ("/act/act/act/sub", json!(workload(7).to_string())),
        ("/selvedge/task", json!("r-0000000000001")),
        ("/selvedge/intent", json!("take-over")),
        ("/selvedge/lineage", json!(["outside"])),
        ("/selvedge/depth", json!(0)),
        ("/selvedge/depth", json!(1)),
        ("/selvedge/depth", json!(DELEGATION_DEPTH_MAX + 1)),
        ("/selvedge/depth", json!(-1)),
        ("/selvedge/budget", json!(-1)),
        ("/selvedge/chain", json!([])),
        ("/selvedge/chain", json!([link(2)])),
        ("/selvedge/chain", json!([link(2), link(1), link(0)])),
        ("/selvedge/chain/1/jti", json!("t-0000000000001")),
        ("/selvedge", json!({})),
    ] {
        let answer = world.with(pointer, value.clone());
        assert!(matches!(answer, Err(Why::Malformed(_))), "{pointer} {value}: {answer:?}");
    }
    let good = claims().to_string();
    let inner = good.trim_start_matches('{').trim_end_matches('}');
    for bad in [format!(r#"{{{inner}}},"nbf":0}}"#), format!(r#"{{{inner}}},"aud":"x"}}"#), format!("{good}{good}")] {
        let answer = world.ask(&world.signed(&world.header("at+jwt"), &bad));
        assert!(matches!(answer, Err(Why::Malformed(_))), "{bad}: {answer:?}");
    }
}

#[test]
fn a_token_dies_with_any_that_it_came_from_c4() {
    let world = world();
    let signed = world.access(&claims());
    let ask = |list: Result<BTreeSet<LeaseId>, StoreError>| {
        world.verifier.verify_access(&signed, OWN_AUDIENCE, NOW, &List(list)).map_err(|refused| refused.why)
    };
    for number in [1, 2, 3] {
        assert_eq!(ask(Ok([LeaseId::from_entropy(number)].into())), Err(Why::Revoked), "{number}");
    }
    assert!(ask(Ok([LeaseId::from_entropy(4)].into())).is_ok(), "another's end is not its own");
    assert!(matches!(ask(Err(StoreError("gone".to_owned()))), Err(Why::RevocationUnknown(_))));
}

#[test]
fn a_token_longer_than_any_of_ours_is_not_even_read() {
    let world = world();
    let padded = |spaces| world.signed(&world.header("at+jwt"), &format!("{}{}", claims(), " ".repeat(spaces)));
    assert!(world.ask(&padded(1000)).is_ok());
    assert_eq!(world.ask(&padded(6000)), Err(Why::Malformed("it is too long")));
}
