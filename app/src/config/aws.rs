//! Roles at AWS, in the configuration: which, how its sessions are narrowed, and what they sign. Never a key.

use selvedge_credentials::{AwsSettings, SESSION_LIVES_AT_LEAST, SESSION_LIVES_AT_MOST};
use selvedge_domain::CredentialName;
use selvedge_gateway::{NotSigned, SignedFor, Way};
use serde_json::Value;

use super::credentials::Source;
use super::file::{self, aws};
use super::{ConfigError, Reader};

/// Longest policy that STS takes, in characters.
const POLICY_CHARS_MAX: usize = 2048;

/// Most managed policies that STS takes.
const POLICY_ARNS_MAX: usize = 10;

/// Longest ARN that STS takes.
const ARN_BYTES_MAX: usize = 2048;

/// Where programs look for the keys of AWS. One that insists on a secret signs with a placeholder, which is worth nothing.
const VARIABLES: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

impl Reader<'_> {
    pub(super) fn aws(
        &self,
        credential: &str,
        name: &CredentialName,
        written: &file::Credential,
        aws: &aws::Aws,
    ) -> Result<Source, ConfigError> {
        let key = format!("{credential}.aws");
        let region = aws.region.as_str();
        let sts = match &aws.sts {
            Some(url) => self.page(&format!("{key}.sts"), url)?,
            None => self.page(&format!("{key}.region"), &format!("https://sts.{region}.amazonaws.com/"))?,
        };
        let lives = self.lent_at_most(credential, &written.lent_at_most)?;
        if lives > SESSION_LIVES_AT_MOST {
            let because = "is more than 12 hours, which is the longest that a role allows";
            return self.bad(format!("{credential}.lent_at_most"), because);
        }
        if aws.policy_arns.len() > POLICY_ARNS_MAX {
            return self.bad(format!("{key}.policy_arns"), format!("names more than {POLICY_ARNS_MAX}"));
        }
        let arn = |of: &str, arn: &String| self.arn(&format!("{key}.{of}"), arn);
        Ok(Source::Aws(AwsSettings {
            credential: name.clone(),
            sts,
            role: arn("role", &aws.role)?,
            audience: self.said(&key, "audience", &aws.audience)?,
            session_lives: lives.max(SESSION_LIVES_AT_LEAST),
            policy: aws.policy.as_ref().map(|policy| self.session_policy(&key, policy)).transpose()?,
            policy_arns: aws.policy_arns.iter().map(|each| arn("policy_arns", each)).collect::<Result<_, _>>()?,
        }))
    }

    /// How what AWS gives goes into a request.
    pub(super) fn signature(&self, key: &str, written: &file::Credential, aws: &aws::Aws) -> Result<Way, ConfigError> {
        let is_written = written.header.is_some() || written.scheme.is_some() || written.user.is_some();
        if is_written {
            let because = "has a `header`, `scheme` or `user`; requests to AWS are signed, so leave them out";
            return self.bad(key, because);
        }
        match SignedFor::parse(&aws.service, &aws.region) {
            Ok(signed_for) => Ok(Way::Signature(signed_for)),
            Err(error @ NotSigned::Region(_)) => self.bad(format!("{key}.aws.region"), error.to_string()),
            Err(error @ (NotSigned::Service(_) | NotSigned::MakesCredentials(_))) => {
                self.bad(format!("{key}.aws.service"), error.to_string())
            }
        }
    }

    /// The variables in which a program finds the placeholder. One that is named is the key's id; any secret goes with it.
    pub(super) fn aws_variables(&self, key: &str, named: Option<&str>) -> Result<Vec<String>, ConfigError> {
        match self.variable(key, named)? {
            Some(named) => Ok(vec![named]),
            None => Ok(VARIABLES.map(str::to_owned).into()),
        }
    }

    fn arn(&self, key: &str, arn: &str) -> Result<String, ConfigError> {
        let is_arn = arn.starts_with("arn:") && arn.matches(':').count() >= 5 && arn.len() <= ARN_BYTES_MAX;
        if is_arn && arn.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(arn.to_owned());
        }
        self.bad(key, format!("`{arn}` is not an ARN; write such as `arn:aws:iam::123456789012:role/factory`"))
    }

    /// What STS would refuse is refused here, before a run begins.
    fn session_policy(&self, key: &str, policy: &str) -> Result<String, ConfigError> {
        let key = format!("{key}.policy");
        if policy.chars().count() > POLICY_CHARS_MAX {
            return self.bad(key, format!("has more than {POLICY_CHARS_MAX} characters; use `policy_arns`"));
        }
        match serde_json::from_str(policy) {
            Ok(Value::Object(members)) if members.contains_key("Statement") => Ok(policy.to_owned()),
            Ok(_) => self.bad(key, "is no policy; write a JSON object with a `Statement`"),
            Err(error) => self.bad(key, format!("is not JSON: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_gateway::Way;

    use crate::config::Config;

    const BUCKET: &str = "[credential.bucket]\nkind = \"aws\"\nowner = \"team\"\n\
                          uses = [\"GET https://acme.s3.eu-central-1.amazonaws.com/\"]\n\
                          [credential.bucket.aws]\nrole = \"arn:aws:iam::123456789012:role/factory\"\nservice = \"s3\"\n\
                          region = \"eu-central-1\"\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse("selvedge.toml", text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_role_is_read_and_signs_for_one_service_in_one_region() {
        let config = parse(BUCKET).unwrap();
        let written = config.credentials.values().next().unwrap();
        let super::Source::Aws(settings) = &written.source else { panic!("{:?}", written.source) };
        assert_eq!(settings.sts.endpoint.host.as_str(), "sts.eu-central-1.amazonaws.com");
        assert_eq!((settings.audience.as_str(), settings.session_lives.as_millis()), ("sts.amazonaws.com", 900_000));
        let Way::Signature(signed_for) = &written.way else { panic!("{:?}", written.way) };
        assert_eq!((signed_for.service(), signed_for.region()), ("s3", "eu-central-1"));
        assert!(!written.credential.is_stored, "nothing is stored for it");
        assert_eq!(written.env, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
        let short = BUCKET.replace("owner", "lent_at_most = \"2m\"\nenv = \"KEY_ID\"\nowner");
        let config = parse(&short).unwrap();
        let written = config.credentials.values().next().unwrap();
        assert!(format!("{:?}", written.source).contains("session_lives: Duration(900000)"), "the shortest there is");
        assert_eq!(written.env, ["KEY_ID"]);
    }

    #[test]
    fn a_role_that_would_be_refused_or_is_for_everything_is_told_by_its_key_b6() {
        for (from, to, words) in [
            ("arn:aws:iam::123456789012:role/factory", "factory", &["aws.role", "`factory`", "write such as"][..]),
            ("\"s3\"", "\"sts\"", &["aws.service", "`sts`", "makes credentials"]),
            ("\"s3\"", "\"Amazon S3\"", &["aws.service", "`Amazon S3`", "such as `s3`"]),
            ("region = \"eu-central-1\"", "region = \"eu/central\"", &["aws.region", "`eu/central`"]),
            ("service", "sts = \"http://sts.example\"\nservice", &["aws.sts", "https://"]),
            ("service", "audience = \" \"\nservice", &["aws.audience", "is empty"]),
            ("service", "policy = \"{}\"\nservice", &["aws.policy", "`Statement`"]),
            ("service", "policy = \"{\"\nservice", &["aws.policy", "not JSON"]),
            ("service", "policy_arns = [\"all\"]\nservice", &["aws.policy_arns", "`all`"]),
            ("service", "secret_access_key = \"x\"\nservice", &["unknown field `secret_access_key`"]),
            ("owner", "lent_at_most = \"13h\"\nowner", &["credential.bucket.lent_at_most", "12 hours"]),
            ("owner", "header = \"x-key\"\nowner", &["credential.bucket", "requests to AWS are signed"]),
            ("owner", "scheme = \"plain\"\nowner", &["credential.bucket", "requests to AWS are signed"]),
        ] {
            assert!(BUCKET.contains(from), "{from}");
            let text = BUCKET.replacen(from, to, 1);
            let said = parse(&text).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        let long =
            BUCKET.replace("service", &format!("policy = '{{\"Statement\":\"{}\"}}'\nservice", "x".repeat(2048)));
        assert!(parse(&long).unwrap_err().contains("more than 2048"));
    }
}
