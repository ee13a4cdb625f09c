//! A strict stand-in for STS as far as `AssumeRoleWithWebIdentity` goes. It trusts an issuer by the keys that issuer publishes, read
//! by a library that is not ours, and knows a role whose trust policy binds the audience and the subject.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::JwkSet;
use selvedge_credentials::{Body, Errand, Reads};
use selvedge_domain::{Duration, Method, Time};
use serde_json::{Value, json};

use super::{Service, Untrusted, claims, pairs};
use crate::world::{Disk, ISSUER, TRUST_DOMAIN, issuer};

/// The role.
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/factory";
/// The audience that the identity provider in IAM lists.
pub(crate) const CLIENT: &str = "sts.amazonaws.com";
/// The longest session of the role, in seconds.
const LIVES_AT_MOST: u64 = 3600;

/// A session it made.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) asked: BTreeMap<String, String>,
    dies: Time,
}

/// An STS, and the IAM of one account.
pub(crate) struct Sts {
    keys: JwkSet,
    pub(crate) sessions: Mutex<Vec<Session>>,
    /// Answers that have no end, or keys that are none.
    pub(crate) leaves_out: Mutex<Option<&'static str>>,
}

/// A refusal, by its status and its name.
type Refused = (u16, &'static str);

impl Sts {
    pub(crate) fn new(disk: &Arc<Disk>) -> Arc<Self> {
        let keys = serde_json::from_str(&issuer(disk).jwks()).unwrap();
        Arc::new(Self { keys, sessions: Mutex::default(), leaves_out: Mutex::default() })
    }

    fn assume(&self, errand: &Errand, now: Time) -> Result<Value, Refused> {
        let Some(Body::Form(form)) = &errand.body else { return Err((400, "MissingAction")) };
        let asked = pairs(std::str::from_utf8(form.expose()).unwrap());
        let value = |name: &str| asked.get(name).map_or("", String::as_str);
        let known = |name: &str| {
            let is_arn = name.strip_prefix("PolicyArns.member.").is_some_and(|rest| rest.ends_with(".arn"));
            let own =
                ["Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "WebIdentityToken", "Policy"];
            is_arn || own.contains(&name)
        };
        if value("Action") != "AssumeRoleWithWebIdentity" || value("Version") != "2011-06-15" {
            return Err((400, "InvalidAction"));
        }
        let seconds = value("DurationSeconds").parse::<u64>().unwrap_or(LIVES_AT_MOST);
        let session = value("RoleSessionName");
        let is_named = (2..=64).contains(&session.len())
            && session.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
        let is_well = asked.keys().all(|name| known(name)) && is_named && (900..=LIVES_AT_MOST).contains(&seconds);
        if !is_well || !value("RoleArn").starts_with("arn:aws:iam::") {
            return Err((400, "ValidationError"));
        }
        self.trusts(value("WebIdentityToken"), value("RoleArn"), now)?;
        if let Some(policy) = asked.get("Policy") {
            let policy: Value = serde_json::from_str(policy).map_err(|_| (400, "MalformedPolicyDocument"))?;
            let statement = &policy["Statement"][0];
            if policy["Version"] != "2012-10-17" || !statement["Effect"].is_string() || !statement["Action"].is_string()
            {
                return Err((400, "MalformedPolicyDocument"));
            }
        }
        Ok(self.make(session, &asked, now.after(Duration::from_seconds(seconds))))
    }

    fn trusts(&self, document: &str, role: &str, now: Time) -> Result<(), Refused> {
        let claims = claims(&self.keys, document, CLIENT, now).map_err(|untrusted| match untrusted {
            Untrusted::Invalid => (400, "InvalidIdentityToken"),
            Untrusted::Expired => (400, "ExpiredTokenException"),
        })?;
        // The trust policy: `StringLike` on the subject.
        let subject = claims["sub"].as_str().unwrap();
        let is_ours =
            subject.starts_with(&format!("spiffe://{TRUST_DOMAIN}/run/")) && subject.ends_with("/agent/fixer");
        if role == ROLE && is_ours { Ok(()) } else { Err((403, "AccessDenied")) }
    }

    fn make(&self, session: &str, asked: &BTreeMap<String, String>, dies: Time) -> Value {
        // It counts whole seconds.
        let dies = Time::from_millis(dies.as_millis() / 1000 * 1000);
        let mut sessions = self.sessions.lock().unwrap();
        sessions.push(Session { name: session.to_owned(), asked: asked.clone(), dies });
        let number = sessions.len();
        let expiration = dies.to_string().replace(".000Z", "Z");
        let mut credentials = json!({
            "AccessKeyId": format!("ASIA{number:016}"),
            "SecretAccessKey": format!("canary/secret+of/a/session/{number:08}"),
            "SessionToken": format!("canary/token/of/a/session/{number:08}=="),
            "Expiration": expiration,
        });
        if let Some(left_out) = *self.leaves_out.lock().unwrap() {
            credentials[left_out] = json!("not: what it was");
        }
        json!({ "AssumeRoleWithWebIdentityResponse": {
            "AssumeRoleWithWebIdentityResult": {
                "Credentials": credentials,
                "AssumedRoleUser": { "Arn": format!("arn:aws:sts::123456789012:assumed-role/factory/{session}") },
                "Audience": CLIENT, "Provider": ISSUER,
            },
            "ResponseMetadata": { "RequestId": "ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE" },
        }})
    }
}

impl Service for Arc<Sts> {
    fn serve(&self, errand: &Errand, now: Time) -> (u16, Value) {
        let is_asked = errand.method == Method::Post && errand.target == "/" && errand.fields.is_empty();
        // It answers in XML, and whoever reads anything else reads nothing.
        if !is_asked || !matches!(errand.reads, Reads::Xml { .. }) {
            return (404, Value::Null);
        }
        match self.assume(errand, now) {
            Ok(made) => (200, made),
            Err((status, code)) => {
                (status, json!({ "ErrorResponse": { "Error": { "Type": "Sender", "Code": code, "Message": "no" } } }))
            }
        }
    }

    fn live(&self, now: Time) -> usize {
        self.sessions.lock().unwrap().iter().filter(|session| session.dies > now).count()
    }
}
