//! Sessions of a role at AWS: STS exchanges the run's own identity document for keys that sign requests.
//!
//! Written from the published API (STS 2011-06-15, `AssumeRoleWithWebIdentity`). Not run against the real service. Nobody can
//! end one session: it dies at its time, of which the shortest is 15 minutes, and its run stays open until then. Each carries the
//! id of its lease as its name, which CloudTrail writes beside everything it does.

use std::fmt;
use std::sync::Arc;

use selvedge_authority::Permit;
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, Method, Revocation, Time, WorkloadId};

use crate::errand::{Body, Brought, Courier, Errand, Reads, UNDER_WAY_AT_MOST, form};
use crate::{Credential, Fresh, Handle, Issuer, Lost, Page, Probe, Provider, ProviderError, Secret};

/// The shortest session that STS makes.
pub const SESSION_LIVES_AT_LEAST: Duration = Duration::from_seconds(900);

/// The longest that any role allows.
pub const SESSION_LIVES_AT_MOST: Duration = Duration::from_seconds(12 * 3600);

/// How long the document we show lives: one exchange.
const DOCUMENT_LIFETIME: Duration = Duration::from_seconds(60);

/// Its clock differs from ours by up to this much, and a session is waited for accordingly.
const FOREIGN_LEEWAY: Duration = Duration::from_seconds(60);

/// How long to wait when it has too many requests and does not say.
const THROTTLED_FOR: Duration = Duration::from_seconds(5);

const VERSION: &str = "2011-06-15";
const RESULT: &str = "/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials";
const WHY: &str = "/ErrorResponse/Error/Code";

/// A role at AWS and how a session of it is narrowed, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSettings {
    /// The credential it gives.
    pub credential: CredentialName,
    /// The STS that is asked.
    pub sts: Page,
    /// The role's ARN.
    pub role: String,
    /// The audience our document is for, which the identity provider there must list.
    pub audience: String,
    /// How long a session lives.
    pub session_lives: Duration,
    /// A policy in JSON that the session is narrowed by, if there is one.
    pub policy: Option<String>,
    /// ARNs of managed policies that it is narrowed by.
    pub policy_arns: Vec<String>,
}

/// Gives sessions of a role.
pub struct Aws {
    name: String,
    settings: AwsSettings,
    issuer: Arc<Issuer>,
    courier: Arc<dyn Courier>,
}

impl Aws {
    /// Shows documents of `issuer`, and asks through `courier`.
    pub fn new(settings: AwsSettings, issuer: Arc<Issuer>, courier: Arc<dyn Courier>) -> Self {
        Self { name: format!("aws:{}", settings.credential), settings, issuer, courier }
    }

    fn assume(&self, document: &str, order: &MintCredential) -> Result<Brought, ProviderError> {
        let AwsSettings { sts, role, session_lives, policy, policy_arns, .. } = &self.settings;
        // As long as was decided, which can be shorter than a session can.
        let lives = Duration::from_seconds(order.ttl_seconds).max(SESSION_LIVES_AT_LEAST).min(*session_lives);
        let seconds = (lives.as_millis() / 1000).to_string();
        let session = order.lease.as_str();
        let mut pairs = vec![
            ("Action".to_owned(), "AssumeRoleWithWebIdentity"),
            ("Version".to_owned(), VERSION),
            ("RoleArn".to_owned(), role),
            ("RoleSessionName".to_owned(), session),
            ("DurationSeconds".to_owned(), seconds.as_str()),
            ("WebIdentityToken".to_owned(), document),
        ];
        pairs.extend(policy.iter().map(|policy| ("Policy".to_owned(), policy.as_str())));
        let numbered = (1..).zip(policy_arns);
        pairs.extend(numbered.map(|(number, arn)| (format!("PolicyArns.member.{number}.arn"), arn.as_str())));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let wants = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"];
        let brought = self.courier.carry(&Errand {
            endpoint: sts.endpoint.clone(),
            method: Method::Post,
            target: sts.path.clone(),
            fields: Vec::new(),
            body: Some(Body::Form(form(&pairs))),
            reads: Reads::Xml { why: WHY },
            wants: wants.map(|name| format!("{RESULT}/{name}")).into(),
            counts: Vec::new(),
        })?;
        if brought.is_done() { Ok(brought) } else { Err(refusal(&brought)) }
    }
}

impl Provider for Aws {
    fn name(&self) -> &str {
        &self.name
    }

    fn serves(&self, order: &MintCredential) -> bool {
        order.credential.as_ref() == Some(&self.settings.credential)
    }

    fn mint(&self, permit: &Permit<MintCredential>, holder: &WorkloadId, now: Time) -> Result<Fresh, ProviderError> {
        let order = permit.order();
        let signed = self.issuer.sign_for(permit, holder, &self.settings.audience, DOCUMENT_LIFETIME, now);
        let (document, _) = signed.map_err(|error| ProviderError::new(error).that_made_nothing())?;
        let made = self.assume(&String::from_utf8_lossy(document.expose()), order)?;
        // It made something, and we do not know what.
        let unknown = || ProviderError::new("the request was answered without the keys of a session");
        let part = |name: &str| made.text(&format!("{RESULT}/{name}")).filter(|part| is_key(part)).ok_or_else(unknown);
        let (id, secret, token) = (part("AccessKeyId")?, part("SecretAccessKey")?, part("SessionToken")?);
        let dies = made.text(&format!("{RESULT}/Expiration")).and_then(moment).ok_or_else(unknown)?;
        Ok(Fresh {
            secret: Secret::new([id, ":", secret, ":", token].concat().into_bytes()),
            // There is nothing to end it with.
            handle: Handle::new(Secret::new(Vec::new())),
            revocation: Revocation::ExpiryOnly(dies.after(FOREIGN_LEEWAY)),
            expires: order.until.min(now.after(Duration::from_seconds(order.ttl_seconds))).min(dies),
        })
    }

    /// Sessions of a role are ended all at once or not at all, and all at once would end those of other runs.
    fn revoke(&self, _: &Credential<'_>, _: Time) -> Result<(), ProviderError> {
        Ok(())
    }

    /// It can only expire; the engine waits for that and asks for no proof before.
    fn probe(&self, _: &Credential<'_>, _: Time) -> Probe {
        Probe::Dead
    }

    fn lost(&self, begun: Time) -> Lost {
        // It makes a session as long as our document lives, and by its own clock.
        Lost::DiesAt(begun.after(UNDER_WAY_AT_MOST).after(self.settings.session_lives).after(FOREIGN_LEEWAY))
    }
}

/// Letters, digits and what base64 has besides; nothing that could be taken for the mark between two parts.
fn is_key(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b))
}

/// What a refusal means, by the names the API gives them.
fn refusal(brought: &Brought) -> ProviderError {
    let code = brought.text(WHY).unwrap_or_default();
    let (because, is_lasting) = match code.strip_suffix("Exception").unwrap_or(code) {
        "InvalidIdentityToken" => (
            "it does not accept our document: check that the identity provider in IAM has our issuer and our audience, \
             and can fetch our keys",
            true,
        ),
        "ExpiredToken" => ("our document had expired when it came: check the clocks", false),
        "IDPCommunicationError" => ("it could not fetch our keys: check that the issuer is published", false),
        "IDPRejectedClaim" => ("it rejects what our document says: check the identity provider in IAM", true),
        "AccessDenied" => {
            ("the role does not trust us: check its trust policy, and what it asks of `aud` and `sub`", true)
        }
        "MalformedPolicyDocument" => ("the session's policy is malformed: check `policy`", true),
        "PackedPolicyTooLarge" => ("the session's policies are too large: shorten `policy` or `policy_arns`", true),
        "ValidationError" => {
            ("it does not take what was asked: check the role's ARN, and how long its sessions may live", true)
        }
        "RegionDisabled" => ("its region is not activated for this account", true),
        "Throttling" | "RequestLimitExceeded" | "TooManyRequests" => {
            let error = ProviderError::new(format!("it has had too many requests (status {})", brought.status));
            let retry_after = Some(brought.retry_after.unwrap_or(THROTTLED_FOR));
            return ProviderError { retry_after, ..error.that_made_nothing() };
        }
        _ => return brought.refusal("the session was refused"),
    };
    let error = ProviderError::new(format!("the session was refused: {because} (status {})", brought.status));
    ProviderError { is_lasting, retry_after: brought.retry_after, ..error.that_made_nothing() }
}

/// A moment in UTC, to the second or finer: `2026-11-26T15:28:33Z`. Days as in Howard Hinnant's `days_from_civil`.
fn moment(text: &str) -> Option<Time> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    let is_moment = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_fraction || !is_moment || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(Time::from_millis(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000))
}

/// Three numbers of these many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut read = [0; 3];
    for (number, digits) in read.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(read)
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aws({})", self.settings.credential)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_moment_is_refused() {
        assert_eq!(moment("2026-11-19T23:59:59Z"), Some(Time::from_millis(1_795_132_799_000)));
        assert_eq!(moment("2000-02-29T00:00:00.359Z"), Some(Time::from_millis(951_782_400_000)));
        for text in [
            "",
            "Z",
            "2026-11-19",
            "2026-11-19T23:59:59",
            "2026-11-19T23:59:59+01:00",
            "2026-13-19T23:59:59Z",
            "2026-00-19T23:59:59Z",
            "2026-11-00T23:59:59Z",
            "2026-11-19T24:59:59Z",
            "2026-11-19T23:60:59Z",
            "26-11-19T23:59:59Z",
            "+026-11-19T23:59:59Z",
            "2026-11-19T23:59:59.Z",
            "2026-11-19T23:59:59.xZ",
            "1969-11-19T23:59:59Z",
            "2026-11-19-01T23:59:59Z",
            "99999-11-19T23:59:59Z",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_reads_back_to_the_second(seconds in 0_u64..4_000_000_000) {
            let time = Time::from_millis(seconds * 1000);
            prop_assert_eq!(moment(&time.to_string()), Some(time));
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:.+-]{0,30}", any in any::<String>()) {
            let _ = (moment(&text), moment(&any));
        }
    }
}
