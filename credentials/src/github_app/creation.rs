//! Making a GitHub App from a manifest: what the forge is asked for, and what it must have made before the key of that is kept.
//!
//! Written from the published description of the manifest flow, and of `POST /app-manifests/{code}/conversions` (REST API version
//! 2022-11-28). Not run against the real service. Knows no browser: somebody brings the code.

use std::fmt;

use selvedge_domain::Method;

use super::{AppKey, GithubAppSettings, is_within, permissions_wanted};
use crate::errand::{Brought, Courier, CourierError, Errand};
use crate::{Page, Secret};

/// Longest name GitHub lets an App have.
const NAME_BYTES_MAX: usize = 34;

/// Longest name of an account at GitHub.
const LOGIN_BYTES_MAX: usize = 39;

/// Longest code that is taken to a forge; GitHub's have 40 digits.
const CODE_BYTES_MAX: usize = 255;

/// Longest address that is believed to be one of the forge's pages.
const PAGE_BYTES_MAX: usize = 512;

/// An App that is to be made for one credential.
#[derive(Debug)]
pub struct AppPlan {
    settings: GithubAppSettings,
    organization: Option<Organization>,
    web: String,
}

/// The organization that is to own an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization(String);

/// What the browser brings back. For an hour, and once, it gets whoever has it the App's private key.
pub struct ManifestCode(Secret);

/// An App that was made as it was planned. What else came with its key, the client secret and the webhook secret, never left the
/// courier that read the answer.
#[derive(Debug)]
pub struct NewApp {
    /// The number it has.
    pub id: u64,
    /// The account that owns it.
    pub owner: String,
    /// Its page, where it is installed from.
    pub page: String,
    /// Its private key.
    pub key: Secret,
}

/// An App cannot be planned so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Only an API is configured.
    #[error(
        "`{0}` does not say where the forge's pages are: the API is at `https://api.<host>`, or at `https://<host>/api/v3`"
    )]
    NoPages(String),
    /// The owner is none.
    #[error("`{0}` is not the name of an organization")]
    NotAnOrganization(String),
    /// The code is none.
    #[error("this is not the code that the forge sent the browser back with")]
    NotACode,
}

/// An App was not made, or was made otherwise than planned. Its key is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreationError {
    /// The forge was not asked.
    #[error("the forge was not asked: {0}")]
    NotAsked(String),
    /// It may have been asked.
    #[error("the forge's answer is lost: {0}")]
    Lost(String),
    /// It does not know the code.
    #[error("the forge does not know this code: it was used, or is older than an hour")]
    NoSuchCode,
    /// It refused, and the code is as good as before.
    #[error("the forge gives no key for this code (status {0})")]
    NotGiven(u16),
    /// What it said is not what it says of an App.
    #[error("the forge's answer does not describe a new App: {0}")]
    Malformed(&'static str),
    /// It made more.
    #[error("the App that was made may do more than the credential asks for, so its key is not kept")]
    Wide,
    /// It made it for somebody else.
    #[error("the App that was made belongs to {owner}, not to {asked}, so its key is not kept")]
    OfAnother {
        /// Who owns it.
        owner: String,
        /// Who should.
        asked: String,
    },
}

impl AppPlan {
    /// An App for the credential with these settings, owned by this organization, or else by whoever makes it.
    pub fn new(settings: GithubAppSettings, organization: Option<Organization>) -> Result<Self, PlanError> {
        let web = web(&settings.api)?;
        Ok(Self { settings, organization, web })
    }

    /// Where the form is posted: the forge asks the person there.
    pub fn registration(&self) -> String {
        format!("{}/settings/apps/new", self.account())
    }

    /// The manifest: what the credential asks for and no more, private, and without a webhook. GitHub refuses a webhook that is only
    /// inactive, without an address; one that is not named does not exist.
    pub fn manifest(&self, redirect: &str) -> String {
        let GithubAppSettings { credential, permissions, .. } = &self.settings;
        let name: String = format!("selvedge-{credential}").chars().take(NAME_BYTES_MAX).collect();
        let permissions: serde_json::Map<String, serde_json::Value> =
            permissions.iter().map(|(name, level)| (name.clone(), level.as_str().into())).collect();
        serde_json::json!({
            "name": name,
            "url": self.home(),
            "redirect_url": redirect,
            "public": false,
            "default_permissions": permissions,
        })
        .to_string()
    }

    /// Exchanges the code for the App's key, once.
    pub fn exchange(&self, code: &ManifestCode, courier: &dyn Courier) -> Result<NewApp, CreationError> {
        let brought = courier.carry(&self.errand(code)).map_err(|error| match error {
            CourierError::NotAsked(why) => CreationError::NotAsked(why),
            CourierError::AnswerLost(why) => CreationError::Lost(why),
        })?;
        match brought.status {
            201 => self.new_app(&brought),
            404 => Err(CreationError::NoSuchCode),
            status => Err(CreationError::NotGiven(status)),
        }
    }

    fn errand(&self, code: &ManifestCode) -> Errand {
        let target = format!("/app-manifests/{}/conversions", String::from_utf8_lossy(code.0.expose()));
        // Neither `client_secret` nor `webhook_secret`: what is not wanted is not brought.
        let wants = ["/id", "/owner/login", "/owner/type", "/html_url", "/pem"].map(str::to_owned).into_iter();
        Errand {
            wants: wants.chain(permissions_wanted(&self.settings.permissions)).collect(),
            counts: vec!["/permissions".to_owned()],
            ..self.settings.errand(Method::Post, &target)
        }
    }

    fn new_app(&self, brought: &Brought) -> Result<NewApp, CreationError> {
        let id = brought.number("/id").filter(|id| *id > 0).ok_or(CreationError::Malformed("it has no id"))?;
        let login = brought.text("/owner/login").and_then(|login| Organization::parse(login).ok());
        let login = login.ok_or(CreationError::Malformed("it has no owner"))?;
        let is_organizations = brought.text("/owner/type") == Some("Organization");
        // GitHub does not tell names apart by their case.
        let is_owned_as_asked = match &self.organization {
            Some(asked) => is_organizations && asked.0.eq_ignore_ascii_case(&login.0),
            None => brought.text("/owner/type") == Some("User"),
        };
        if !is_owned_as_asked {
            let asked = self.organization.as_ref().map_or("a person's account", |asked| asked.0.as_str());
            return Err(CreationError::OfAnother { owner: login.0, asked: asked.to_owned() });
        }
        if !is_within(brought, &self.settings.permissions) {
            return Err(CreationError::Wide);
        }
        let page = brought.text("/html_url").filter(|page| self.is_page(page));
        let page = page.ok_or(CreationError::Malformed("its page is none of the forge's"))?.to_owned();
        let pem = brought.text("/pem").filter(|pem| AppKey::parse(pem.as_bytes()).is_ok());
        let pem = pem.ok_or(CreationError::Malformed("its key is no private key"))?;
        Ok(NewApp { id, owner: login.0, page, key: Secret::new(pem.trim().as_bytes().to_vec()) })
    }

    /// A page of the forge's, so that a person can be sent there and a terminal can show it.
    fn is_page(&self, page: &str) -> bool {
        let rest = page.strip_prefix(&self.web).and_then(|rest| rest.strip_prefix('/'));
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        page.len() <= PAGE_BYTES_MAX && rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_plain))
    }

    /// The list of Apps, where the owner deletes one or makes it another key.
    pub fn apps(&self) -> String {
        format!("{}/settings/apps", self.account())
    }

    fn account(&self) -> String {
        match &self.organization {
            Some(organization) => format!("{}/organizations/{}", self.web, organization.0),
            None => self.web.clone(),
        }
    }

    /// GitHub wants a homepage: that of who owns the App.
    fn home(&self) -> String {
        match &self.organization {
            Some(organization) => format!("{}/{}", self.web, organization.0),
            None => self.web.clone(),
        }
    }
}

/// Where the pages are of a forge whose API is here: GitHub has them at the host without `api.`, an Enterprise Server at its own.
fn web(api: &Page) -> Result<String, PlanError> {
    let host = api.endpoint.host.as_str();
    let port = if api.endpoint.port == 443 { String::new() } else { format!(":{}", api.endpoint.port) };
    let web = match api.path.trim_end_matches('/') {
        "/api/v3" => Some(host),
        "" => host.strip_prefix("api."),
        _ => None,
    };
    let web = web.ok_or_else(|| PlanError::NoPages(format!("https://{host}{port}{}", api.path)))?;
    Ok(format!("https://{web}{port}"))
}

impl Organization {
    /// Reads the name of an account.
    pub fn parse(name: &str) -> Result<Self, PlanError> {
        // Accounts that a company manages have its short name behind an underscore.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let is_name =
            (1..=LOGIN_BYTES_MAX).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(is_plain);
        if is_name { Ok(Self(name.to_owned())) } else { Err(PlanError::NotAnOrganization(name.to_owned())) }
    }
}

impl ManifestCode {
    /// Reads a code. It becomes part of a path, so it has nothing that means anything there.
    pub fn parse(code: &str) -> Result<Self, PlanError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let is_code = (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(is_plain);
        if is_code { Ok(Self(Secret::new(code.as_bytes().to_vec()))) } else { Err(PlanError::NotACode) }
    }
}

impl fmt::Debug for ManifestCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManifestCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{CredentialName, Endpoint, HostPattern};

    use super::*;

    fn plan(host: &str, port: u16, path: &str, organization: Option<&str>) -> Result<AppPlan, PlanError> {
        let endpoint = Endpoint { host: HostPattern::parse(host).unwrap(), port };
        let settings = GithubAppSettings {
            credential: CredentialName::parse("pull-requests-of-a-very-long-name").unwrap(),
            api: Page { endpoint, path: path.to_owned() },
            installed: None,
            repositories: ["shop".to_owned()].into(),
            permissions: [("contents".to_owned(), super::super::PermissionLevel::Read)].into(),
        };
        AppPlan::new(settings, organization.map(|name| Organization::parse(name).unwrap()))
    }

    #[test]
    fn pages_are_where_github_and_where_an_enterprise_server_has_them() {
        for (host, port, path, organization, registration) in [
            ("api.github.com", 443, "/", None, "https://github.com/settings/apps/new"),
            ("api.github.com", 443, "/", Some("acme"), "https://github.com/organizations/acme/settings/apps/new"),
            ("api.corp.ghe.com", 443, "/", None, "https://corp.ghe.com/settings/apps/new"),
            ("git.example", 443, "/api/v3", None, "https://git.example/settings/apps/new"),
            (
                "git.example",
                8443,
                "/api/v3/",
                Some("acme"),
                "https://git.example:8443/organizations/acme/settings/apps/new",
            ),
        ] {
            assert_eq!(plan(host, port, path, organization).unwrap().registration(), registration);
        }
        for (host, path) in [("git.example", "/"), ("git.example", "/api/v4"), ("api.git.example", "/rest")] {
            assert!(matches!(plan(host, 443, path, None), Err(PlanError::NoPages(_))), "{host}{path}");
        }
    }

    #[test]
    fn a_page_of_the_forge_is_told_from_any_other() {
        let plan = plan("api.github.com", 443, "/", None).unwrap();
        for (page, is_page) in [
            ("https://github.com/apps/octoapp", true),
            ("https://github.com/", false),
            ("https://github.com", false),
            ("https://github.com.attacker.example/apps/octoapp", false),
            ("https://github.com@attacker.example/apps/octoapp", false),
            ("http://github.com/apps/octoapp", false),
            ("https://github.com/apps/octoapp?x=1", false),
            ("https://github.com/apps/\u{1b}[2J", false),
        ] {
            assert_eq!(plan.is_page(page), is_page, "{page}");
        }
        assert!(!plan.is_page(&format!("https://github.com/{}", "a".repeat(PAGE_BYTES_MAX))));
    }

    #[test]
    fn a_manifest_asks_for_what_the_credential_does_and_names_no_webhook_c1() {
        let plan = plan("api.github.com", 443, "/", Some("acme")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&plan.manifest("http://127.0.0.1:1/created")).unwrap();
        let expected = serde_json::json!({
            "name": "selvedge-pull-requests-of-a-very-l", "url": "https://github.com/acme", "public": false,
            "redirect_url": "http://127.0.0.1:1/created", "default_permissions": { "contents": "read" },
        });
        assert_eq!(manifest, expected);
        assert_eq!(manifest["name"].as_str().unwrap().len(), NAME_BYTES_MAX);
    }

    #[test]
    fn codes_and_organizations_mean_nothing_in_a_path() {
        for text in ["", "a/b", "..", "a?b", "a%2fb", "a b", "a\r\nb", &"a".repeat(256)] {
            assert_eq!(ManifestCode::parse(text).map(drop), Err(PlanError::NotACode), "{text}");
            assert!(Organization::parse(text).is_err(), "{text}");
        }
        assert_eq!(format!("{:?}", ManifestCode::parse("a180b1a3").unwrap()), "ManifestCode(..)");
        assert!(Organization::parse("-acme").is_err() && Organization::parse("acme-2").is_ok());
    }
}
