//! Every way in which a token can be wrong, each beside the token that is right.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD as BASE64};
use proptest::prelude::*;

use super::*;
use crate::StoreError;
use crate::jwt;
use crate::keyring::SigningKey;

const NOW: Time = Time::from_millis(1_795_132_800_000);
const NOW_SECONDS: u64 = NOW.as_millis() / 1000;
const AUDIENCE: &str = "selvedge";

struct List(Result<bool, StoreError>);

impl Revoked for List {
    fn is_revoked(&self, _: &LeaseId) -> Result<bool, StoreError> {
        self.0.clone()
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

fn claims() -> ClaimsV1 {
    ClaimsV1 {
        iss: "https://id.example.org".to_owned(),
        sub: "spiffe://example.org/run/r-0000000000001/agent/fixer".to_owned(),
        aud: AUDIENCE.to_owned(),
        iat: NOW_SECONDS,
        exp: NOW_SECONDS + 300,
        jti: "l-0000000000001".to_owned(),
    }
}

fn json(claims: &ClaimsV1) -> String {
    serde_json::to_string(claims).unwrap()
}

impl World {
    fn header(&self) -> String {
        format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{}"}}"#, self.key.public().kid())
    }

    /// Signs whatever text it is given, as our key would.
    fn signed(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        format!("{signed}.{}", BASE64.encode(self.key.sign(signed.as_bytes()).unwrap()))
    }

    fn ask(&self, token: &str) -> Result<Claims, Why> {
        self.ask_at(token, NOW)
    }

    fn ask_at(&self, token: &str, now: Time) -> Result<Claims, Why> {
        self.verifier.verify(token, AUDIENCE, now, &List(Ok(false))).map_err(|refused| refused.why)
    }

    fn ask_about(&self, claims: ClaimsV1) -> Result<Claims, Why> {
        self.ask(&jwt::sign(&self.key, &claims).unwrap())
    }
}

#[test]
fn a_good_token_is_believed_until_the_moment_it_expires() {
    let world = world();
    let token = jwt::sign(&world.key, &claims()).unwrap();
    let believed = world.ask(&token).unwrap();
    assert_eq!(believed.workload.to_string(), claims().sub);
    assert_eq!(believed.lease.as_str(), claims().jti);
    let expires = NOW.after(Duration::from_seconds(300));
    assert_eq!(believed.expires, expires);
    assert!(world.ask_at(&token, Time::from_millis(expires.as_millis() - 1)).is_ok());
    assert_eq!(world.ask_at(&token, expires), Err(Why::Expired), "no leeway");
    assert!(world.ask(&world.signed(&world.header(), &json(&claims()))).is_ok(), "the test signs as we do");
}

#[test]
fn no_algorithm_but_ours_is_accepted() {
    let world = world();
    let kid = world.key.public().kid();
    for alg in ["none", "None", "NONE", "", "HS256", "ES384", "RS256", "EdDSA", "es256"] {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#);
        let well_signed = world.signed(&header, &json(&claims()));
        assert_eq!(world.ask(&well_signed), Err(Why::Algorithm), "{alg}");
        let (unsigned, _) = well_signed.rsplit_once('.').unwrap();
        assert_eq!(world.ask(&format!("{unsigned}.")), Err(Why::Algorithm), "{alg}, unsigned");
    }
    // The public key taken for an HMAC secret, with the header that asks for it and with ours.
    let (x, y) = world.key.public().coordinates();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, format!(r#"{{"x":"{x}","y":"{y}"}}"#).as_bytes());
    for (alg, why) in [("HS256", Why::Algorithm), ("ES256", Why::Signature)] {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#);
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(json(&claims())));
        let token = format!("{signed}.{}", BASE64.encode(hmac::sign(&secret, signed.as_bytes())));
        assert_eq!(world.ask(&token), Err(why));
    }
}

#[test]
fn no_key_but_a_published_one_is_accepted() {
    let (ours, other) = (world(), world());
    let token = jwt::sign(&other.key, &claims()).unwrap();
    assert_eq!(ours.ask(&token), Err(Why::UnknownKey));
    assert_eq!(ours.ask(&other.signed(&ours.header(), &json(&claims()))), Err(Why::Signature), "our kid, their key");
    let kidless = ours.signed(r#"{"alg":"ES256","typ":"JWT"}"#, &json(&claims()));
    assert!(matches!(ours.ask(&kidless), Err(Why::Malformed(_))));
}

#[test]
fn claims_that_are_not_ours_are_refused() {
    let world = world();
    let with = |change: fn(&mut ClaimsV1)| {
        let mut claims = claims();
        change(&mut claims);
        world.ask_about(claims).err()
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|c| c.iss = "https://id.example.com".to_owned()), Some(Why::Issuer));
    assert_eq!(with(|c| c.aud = "https://cloud.example".to_owned()), Some(Why::Audience), "A-104");
    assert_eq!(with(|c| c.aud = String::new()), Some(Why::Audience));
    assert_eq!(with(|c| c.iat = NOW_SECONDS + 5), None, "a clock may step");
    assert_eq!(with(|c| c.iat = NOW_SECONDS + 6), Some(Why::NotYet));
    assert_eq!(with(|c| c.exp = NOW_SECONDS), Some(Why::Expired));
    assert_eq!(with(|c| c.exp = NOW_SECONDS + 301), Some(Why::LivesTooLong));
    assert_eq!(with(|c| c.exp = u64::MAX), Some(Why::LivesTooLong));
    assert!(matches!(with(|c| c.jti = "r-0000000000001".to_owned()), Some(Why::Malformed(_))));
    for sub in [
        "spiffe://example.com/run/r-0000000000001/agent/fixer",
        "spiffe://example.org.evil/run/r-0000000000001/agent/fixer",
        "spiffe://example.org/run/r-0000000000001/agent/../x",
        "spiffe://example.org/run/r-0000000000001/agent/fixer/x",
        "spiffe://example.org/run/r-1/agent/fixer",
        "spiffe://example.org/person/1000",
        "",
    ] {
        let mut claims = claims();
        claims.sub = sub.to_owned();
        assert_eq!(world.ask_about(claims), Err(Why::Subject), "{sub}");
    }
}

#[test]
fn a_revoked_lease_is_refused_and_so_is_an_unknown_one_c4() {
    let world = world();
    let token = jwt::sign(&world.key, &claims()).unwrap();
    let ask = |list| world.verifier.verify(&token, AUDIENCE, NOW, &List(list)).map_err(|refused| refused.why);
    assert!(ask(Ok(false)).is_ok());
    assert_eq!(ask(Ok(true)), Err(Why::Revoked));
    assert!(matches!(ask(Err(StoreError("gone".to_owned()))), Err(Why::RevocationUnknown(_))));
}

#[test]
fn json_that_another_reader_could_read_otherwise_is_refused() {
    let world = world();
    let (header, good) = (world.header(), json(&claims()));
    let inner = good.trim_start_matches('{').trim_end_matches('}');
    for bad in [
        format!(r#"{{{inner},"aud":"https://cloud.example"}}"#),
        format!(r#"{{"aud":"https://cloud.example",{inner}}}"#),
        format!(r#"{{{inner},"exp":9999999999}}"#),
        format!(r#"{{{inner},"jti":"l-0000000000002"}}"#),
        format!(r#"{{{inner},"nbf":0}}"#),
        format!("{good}{good}"),
        format!("[{good}]"),
        good.replace(r#""aud":"selvedge""#, r#""aud":["selvedge","https://cloud.example"]"#),
        good.replace(&format!(r#""iat":{NOW_SECONDS}"#), r#""iat":1e3"#),
        good.replace(r#""iss":"https://id.example.org","#, ""),
    ] {
        assert_ne!(bad, good);
        assert!(matches!(world.ask(&world.signed(&header, &bad)), Err(Why::Malformed(_))), "{bad}");
    }
    let head = header.trim_end_matches('}');
    for bad in [
        format!(r#"{head},"alg":"none"}}"#),
        format!(r#"{head},"crit":["exp"]}}"#),
        format!(r#"{head},"jwk":{{}}}}"#),
        header.replace(r#""JWT""#, r#""at+jwt""#),
    ] {
        assert_ne!(bad, header);
        assert!(matches!(world.ask(&world.signed(&bad, &good)), Err(Why::Malformed(_))), "{bad}");
    }
}

#[test]
fn every_truncation_and_every_changed_character_is_refused() {
    let world = world();
    let token = jwt::sign(&world.key, &claims()).unwrap();
    for end in 0..token.len() {
        assert!(world.ask(token.get(..end).unwrap()).is_err(), "cut at {end}");
    }
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(world.ask(&String::from_utf8(changed).unwrap()).is_err(), "changed at {at}");
    }
    let signature = token.rsplit_once('.').unwrap().1;
    let padded = format!("{}==", token);
    let spliced = token.replace(signature, &URL_SAFE.encode([0; 64]));
    let long = format!("{token}{}", "A".repeat(5000));
    for bad in [padded, spliced, long, format!(" {token}"), format!("{token}\n"), token.replace('.', "..")] {
        assert!(world.ask(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_token_longer_than_any_of_ours_is_not_even_read() {
    let world = world();
    let padded = |spaces| world.signed(&world.header(), &format!("{}{}", json(&claims()), " ".repeat(spaces)));
    assert!(world.ask(&padded(1000)).is_ok());
    assert_eq!(world.ask(&padded(4000)), Err(Why::Malformed("it is too long")));
}

#[test]
fn a_refusal_never_repeats_the_token() {
    let world = world();
    let token = jwt::sign(&world.key, &claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    for end in [10, token.len() / 2, token.len() - 1] {
        let refused = world.verifier.verify(token.get(..end).unwrap(), AUDIENCE, NOW, &List(Ok(false))).unwrap_err();
        let said = format!("{refused} {refused:?}");
        assert!(parts.iter().all(|part| !said.contains(part.get(..8).unwrap())), "{said}");
    }
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in ".{0,300}", dotted in "[A-Za-z0-9_.-]{0,300}") {
        let world = world();
        prop_assert!(world.ask(&text).is_err());
        prop_assert!(world.ask(&dotted).is_err());
    }

    #[test]
    fn any_json_our_key_signs_is_read_or_refused_without_a_panic(header in ".{0,100}", claims in ".{0,200}") {
        let world = world();
        prop_assert!(world.ask(&world.signed(&header, &json(&self::claims()))).is_err());
        prop_assert!(world.ask(&world.signed(&world.header(), &claims)).is_err());
    }
}
