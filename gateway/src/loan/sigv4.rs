//! Signature Version 4 of AWS, as published: what of a request is signed, with which key derived from the secret. Owns that a
//! secret signs for one service and region and is never written; never knows which requests it is for. No I/O.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use selvedge_domain::{Method, Time};

use super::SecretText;
use super::codes::percent_decoded;

/// Longest name of a service or a region.
const NAME_BYTES_MAX: usize = 64;

/// Services that are there to answer with credentials, or with what opens a session as somebody, that live on: what is lent would
/// be lent on. By the names they sign with, as AWS's own descriptions of their operations have them. A service that also
/// does so, such as `ec2` with its key pairs, is not among them: there the role and its policy have to say no.
const MAKE_CREDENTIALS: &[&str] = &[
    "account-access",
    "airflow",
    "airflow-serverless",
    "amplifybackend",
    "amplifyuibuilder",
    "awsssoportal",
    "bedrock-agentcore",
    "codeartifact",
    "codecatalyst",
    "cognito-identity",
    "cognito-idp",
    "connect",
    "datazone",
    "deadline",
    "dsql",
    "ecr",
    "ecr-public",
    "eks-auth",
    "elasticache",
    "elasticmapreduce",
    "emr-containers",
    "finspace-api",
    "gamelift",
    "grafana",
    "iam",
    "iot",
    "kafka-cluster",
    "lakeformation",
    "license-manager",
    "lightsail",
    "memorydb",
    "rds-db",
    "redshift",
    "redshift-serverless",
    "rolesanywhere",
    "s3express",
    "signin",
    "ssm-messages",
    "ssmmessages",
    "sso",
    "sso-oauth",
    "sts",
    "workmail",
];

/// The service and the region that a signature is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFor {
    service: String,
    region: String,
}

/// Why nothing is signed for a service in a region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// No name of a service.
    #[error("`{0}` is not a service by the name a signature has for it; write such as `s3`")]
    Service(String),
    /// No name of a region.
    #[error("`{0}` is not a region; write such as `eu-central-1`")]
    Region(String),
    /// A service that answers with credentials.
    #[error("`{0}` makes credentials, which would outlive the loan")]
    MakesCredentials(String),
}

/// The keys of a session.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionKeys {
    /// Names the session; stands in every signature and opens nothing.
    id: String,
    secret: String,
    /// Goes out with every request; opens nothing without the secret.
    token: String,
}

/// A request as it is signed.
pub(crate) struct Signable<'a> {
    pub(crate) method: Method,
    /// As it is written in the request line.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// Those that are signed, names in lower case.
    pub(crate) fields: Vec<(&'a str, &'a [u8])>,
    /// SHA-256 of the body, in hexadecimal.
    pub(crate) payload: &'a str,
}

impl SignedFor {
    /// Reads the names of a service and a region as they stand in a signature's scope.
    pub fn parse(service: &str, region: &str) -> Result<Self, NotSigned> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_name = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain);
        if !is_name(service) {
            return Err(NotSigned::Service(service.to_owned()));
        }
        if !is_name(region) {
            return Err(NotSigned::Region(region.to_owned()));
        }
        if MAKE_CREDENTIALS.contains(&service) {
            return Err(NotSigned::MakesCredentials(service.to_owned()));
        }
        Ok(Self { service: service.to_owned(), region: region.to_owned() })
    }

    /// The service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Whether a path is signed as S3 reads it, where the name of an object is encoded once, and not twice.
    pub(crate) fn is_s3(&self) -> bool {
        matches!(self.service.as_str(), "s3" | "s3-object-lambda" | "s3-outposts")
    }
}

impl SessionKeys {
    /// Reads `<id>:<secret>:<token>`, which is how the keys of one session are lent as one secret.
    pub(crate) fn parse(text: &SecretText) -> Option<Self> {
        let mut parts = text.expose().split(':');
        let (Some(id), Some(secret), Some(token), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let is_id = (16..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_whole = is_id && secret.len() >= super::SECRET_BYTES_MIN && !token.is_empty();
        is_whole.then(|| Self { id: id.to_owned(), secret: secret.to_owned(), token: token.to_owned() })
    }

    /// The session's token, which goes out beside each signature.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// What must turn up nowhere. The id is none of it: it stands in every signature.
    pub(crate) fn secrets(&self) -> [&str; 2] {
        [&self.secret, &self.token]
    }

    /// The value of `authorization` for this request at this moment, as [`stamp`] writes it.
    pub(crate) fn sign(&self, signed_for: &SignedFor, stamp: &str, request: &Signable<'_>) -> String {
        authorization(&self.id, &self.secret, signed_for, stamp, request)
    }
}

fn authorization(id: &str, secret: &str, signed_for: &SignedFor, stamp: &str, request: &Signable<'_>) -> String {
    let SignedFor { service, region } = signed_for;
    let day = stamp.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let (canonical, names) = request.canonical(signed_for);
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let parts = [day, region, service, "aws4_request", &to_sign];
    let signature = parts.iter().fold(format!("AWS4{secret}").into_bytes(), |key, part| {
        hmac::sign(&hmac::Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec()
    });
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={}", hex(&signature))
}

impl Signable<'_> {
    /// The canonical request, and the names of the fields that are in it.
    fn canonical(&self, signed_for: &SignedFor) -> (String, String) {
        // As published: S3 encodes what a path means, everybody else encodes it as it came. The SDKs encode all that is not unreserved
        // before they send it, which is where both readings of what they send agree.
        let path = match signed_for.is_s3() {
            true => encoded(&percent_decoded(self.path.as_bytes()), b"/"),
            false => encoded(self.path.as_bytes(), b"/"),
        };
        let mut fields: Vec<(&str, String)> = self.fields.iter().map(|(name, value)| (*name, trimmed(value))).collect();
        // Stable: what comes twice stays in its order, and is one field.
        fields.sort_by_key(|(name, _)| *name);
        fields.dedup_by(|next, first| {
            let is_same = next.0 == first.0;
            if is_same {
                first.1 = format!("{},{}", first.1, next.1);
            }
            is_same
        });
        let lines: String = fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let (names, query) = (names.join(";"), canonical_query(self.query));
        let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{}", self.method.as_str(), self.payload);
        (canonical, names)
    }
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Services read a plus in a query as a space, as forms write it.
            let part = |text: &str| encoded(&percent_decoded(text.replace('+', " ").as_bytes()), b"");
            (part(name), part(value))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// A value without surrounding spaces, and with one space wherever there were more.
fn trimmed(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Every byte percent-encoded but unreserved ones (RFC 3986 section 2.3) and those that are `kept`.
fn encoded(bytes: &[u8], kept: &[u8]) -> String {
    let byte = |&b: &u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        b if kept.contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    bytes.iter().map(byte).collect()
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A moment as `x-amz-date` has it: `20150830T123600Z`.
pub(crate) fn stamp(now: Time) -> String {
    let text = now.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of nothing.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signature(
        (id, secret): (&str, &str),
        signed_for: &SignedFor,
        stamp: &str,
        (method, target): (Method, &str),
        payload: &str,
        fields: &[(&str, &str)],
    ) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        fields.push(("x-amz-date", stamp.as_bytes()));
        let request = Signable { method, path, query, fields, payload };
        let value = authorization(id, secret, signed_for, stamp, &request);
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn the_published_examples_are_signed_as_published() {
        // What is published of IAM is no less published for being a service that a loan is never for.
        let signed_for = |service: &str| SignedFor { service: service.to_owned(), region: "us-east-1".to_owned() };
        let sign = |service: &str, target, fields: &[(&str, &str)]| {
            let keys = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
            signature(keys, &signed_for(service), "20150830T123600Z", target, EMPTY, fields)
        };
        let users = (Method::Get, "/?Action=ListUsers&Version=2010-05-08");
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(
            sign("iam", users, &[("host", "iam.amazonaws.com"), form]),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
        assert_eq!(
            sign("service", (Method::Get, "/"), &[("host", "example.amazonaws.com")]),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn the_published_examples_of_s3_are_signed_as_published() {
        let signed_for = SignedFor::parse("s3", "us-east-1").unwrap();
        let sign = |target, payload: &str, fields: &[(&str, &str)]| {
            let keys = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
            let own = [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", payload)];
            signature(keys, &signed_for, "20130524T000000Z", target, payload, &[&own, fields].concat())
        };
        let put = sha256_hex(b"Welcome to Amazon S3.");
        let put_fields = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        for (target, payload, fields, expected) in [
            (
                (Method::Get, "/test.txt"),
                EMPTY,
                &[("range", "bytes=0-9")][..],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                (Method::Put, "/test%24file.text"),
                &put,
                &put_fields,
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                (Method::Get, "/?lifecycle"),
                EMPTY,
                &[],
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                (Method::Get, "/?max-keys=2&prefix=J"),
                EMPTY,
                &[],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            assert_eq!(sign(target, payload, fields), expected, "{target:?}");
        }
    }

    #[test]
    fn a_moment_is_stamped_to_the_second() {
        assert_eq!(stamp(Time::from_millis(1_440_938_160_999)), "20150830T123600Z");
    }

    #[test]
    fn nothing_is_signed_for_what_makes_credentials_or_has_no_name_a54() {
        for service in MAKE_CREDENTIALS {
            let refused = SignedFor::parse(service, "eu-central-1");
            assert_eq!(refused, Err(NotSigned::MakesCredentials((*service).to_owned())));
        }
        for service in
            ["ecr", "codeartifact", "redshift", "lakeformation", "datazone", "eks-auth", "rds-db", "sso", "iot"]
        {
            assert!(
                matches!(SignedFor::parse(service, "eu-central-1"), Err(NotSigned::MakesCredentials(_))),
                "{service}"
            );
        }
        assert!(
            ["s3", "dynamodb", "bedrock", "secretsmanager", "ssm"]
                .iter()
                .all(|name| SignedFor::parse(name, "eu").is_ok())
        );
        for service in ["", "S3", " s3", "s3/x", &"s".repeat(NAME_BYTES_MAX + 1)] {
            assert!(matches!(SignedFor::parse(service, "eu-central-1"), Err(NotSigned::Service(_))), "{service}");
        }
        for region in ["", "eu/s3", "eu\n", "EU"] {
            assert!(matches!(SignedFor::parse("s3", region), Err(NotSigned::Region(_))), "{region}");
        }
    }

    #[test]
    fn keys_of_a_session_are_three_and_never_shown() {
        let keys = |text: &str| SessionKeys::parse(&SecretText::parse(text.as_bytes()).unwrap());
        let whole = keys("ASIAEXAMPLE000001:secret-secret-secret:token+/=").unwrap();
        assert_eq!((whole.token(), whole.secrets()), ("token+/=", ["secret-secret-secret", "token+/="]));
        assert!(!format!("{whole:?}").contains("secret"));
        for text in [
            "ASIAEXAMPLE000001:secret-secret-secret",
            "ASIAEXAMPLE000001:secret-secret-secret:",
            "ASIAEXAMPLE000001:short:token",
            "ASIA:secret-secret-secret:token",
            "ASIAEXAMPLE/00001:secret-secret-secret:token",
            "ASIAEXAMPLE000001:secret-secret-secret:token:more",
        ] {
            assert_eq!(keys(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_has_one_line_of_signature(path in "/[ -~]{0,40}", query in "[ -~]{0,40}", value in prop::collection::vec(any::<u8>(), 0..40)) {
            for service in ["s3", "dynamodb"] {
                let signed_for = SignedFor::parse(service, "eu-central-1").unwrap();
                let request = Signable { method: Method::Get, path: &path, query: &query, fields: vec![("host", &value)], payload: EMPTY };
                let signed = authorization("ID", "secret", &signed_for, "20150830T123600Z", &request);
                prop_assert!(signed.bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
        }
    }
}
