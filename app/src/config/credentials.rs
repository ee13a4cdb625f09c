//! Credentials in the configuration: what each is for, who answers for it, and where a door writes it. Never its secret.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_credentials::{
    Asks, AwsSettings, ExchangeSettings, ForgejoSettings, GithubAppSettings, GitlabSettings, OpenBaoSettings, Page,
};
use selvedge_domain::{CredentialName, Duration, Loan, Owner, Reach, Tenure};
use selvedge_factory::ports::Credential;
use selvedge_gateway::courier::PATIENCE_MAX;
use selvedge_gateway::{FieldName, Scheme, Way};

use super::file::{self, File};
use super::trials::Probe;
use super::{ConfigError, PLAIN_PATH, Reader, one_of, parse_endpoint, parse_rule};

/// Where credentials can come from.
const KINDS: [&str; 9] =
    ["static", "openbao", "oauth", "github-app", "gitlab", "forgejo", "aws", "anthropic", "openai"];

/// Longest name of an environment variable.
const VARIABLE_BYTES_MAX: usize = 100;

/// How long one answer of a provider is waited for where nobody says: what is alive and not revoked yet waits with it.
pub(crate) const PATIENCE: Duration = Duration::from_seconds(20);

/// A credential, and how a door uses it.
#[derive(Debug, Clone)]
pub(crate) struct CredentialConfig {
    pub(crate) credential: Credential,
    pub(crate) source: Source,
    pub(crate) uses: BTreeSet<Reach>,
    pub(crate) way: Way,
    /// What it is tried with.
    pub(crate) probe: Option<Probe>,
    /// How long a person's word for its key is good.
    pub(crate) recertify: Duration,
    /// How long one answer of its provider is waited for.
    pub(crate) patience: Duration,
    /// Where a program in the sandbox finds the placeholder.
    pub(crate) env: Vec<String>,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A key that somebody stored sealed.
    Static,
    /// A dynamic secret.
    OpenBao(OpenBaoSettings),
    /// A token by exchange.
    Exchange(ExchangeSettings),
    /// A token of an installation.
    GithubApp(GithubAppSettings),
    /// A token of a project.
    Gitlab(GitlabSettings),
    /// A token of an account.
    Forgejo(ForgejoSettings),
    /// A session of a role.
    Aws(AwsSettings),
}

/// What `selvedge credentials store` keeps for a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKept {
    /// Nothing: it is made with the run's own identity document.
    None,
    /// The key itself, which is lent.
    Lent,
    /// The private key of a GitHub App, which makes what is lent.
    OfApp,
    /// A token or a password of an account, which makes what is lent.
    OfAccount,
}

impl Source {
    /// Whether nobody can end what it gives before its time.
    pub(crate) fn only_expires(&self) -> bool {
        match self {
            Self::Aws(_) => true,
            Self::Exchange(settings) => settings.revocation.is_none(),
            Self::Static | Self::OpenBao(_) | Self::GithubApp(_) | Self::Gitlab(_) | Self::Forgejo(_) => false,
        }
    }

    /// What is kept for it.
    pub(crate) fn key_kept(&self) -> KeyKept {
        match self {
            Self::Static => KeyKept::Lent,
            Self::OpenBao(_) | Self::Exchange(_) | Self::Aws(_) => KeyKept::None,
            Self::GithubApp(_) => KeyKept::OfApp,
            Self::Gitlab(_) | Self::Forgejo(_) => KeyKept::OfAccount,
        }
    }
}

impl Reader<'_> {
    pub(super) fn credentials(&self, file: &File) -> Result<BTreeMap<CredentialName, CredentialConfig>, ConfigError> {
        let read = |(name, written): (&String, &file::Credential)| {
            let key = format!("credential.{name}");
            let name = CredentialName::parse(name).or_else(|bad| self.bad(&key, bad.to_string()))?;
            Ok((name.clone(), self.credential(&key, name, written, file)?))
        };
        file.credential.iter().map(read).collect()
    }

    fn credential(
        &self,
        key: &str,
        name: CredentialName,
        written: &file::Credential,
        file: &File,
    ) -> Result<CredentialConfig, ConfigError> {
        let source = self.source(key, &name, written)?;
        let Some(owner) = Owner::parse(&written.owner) else {
            let because = "is empty: name the person or team that answers for this credential when it leaks";
            return self.bad(format!("{key}.owner"), because);
        };
        let uses = self.uses(key, &written.uses)?;
        Ok(CredentialConfig {
            probe: self.probe(key, written.probe.as_deref(), &uses)?,
            credential: Credential {
                name,
                owner,
                is_stored: source == Source::Static,
                lent_at_most: self.lent_at_most(key, &written.lent_at_most)?,
                tenure: Tenure::Active,
                unlent: None,
            },
            patience: self.patience(key, written.patience.as_deref(), &source)?,
            source,
            uses,
            recertify: self.recertify(key, written.recertify.as_deref(), file)?,
            way: match &written.aws {
                Some(aws) => self.signature(key, written, aws)?,
                None => Way::Field(self.header(key, written)?, self.scheme(key, written)?),
            },
            env: match &written.aws {
                Some(_) => self.aws_variables(key, written.env.as_deref())?,
                None => self.variable(key, written.env.as_deref())?.into_iter().collect(),
            },
        })
    }

    fn header(&self, key: &str, written: &file::Credential) -> Result<FieldName, ConfigError> {
        let name = written.header.as_deref().unwrap_or("authorization");
        match FieldName::parse(name) {
            Some(field) => Ok(field),
            None => {
                let because = format!("`{name}` cannot carry a credential; write a header such as `authorization`");
                self.bad(format!("{key}.header"), because)
            }
        }
    }

    fn source(&self, key: &str, name: &CredentialName, written: &file::Credential) -> Result<Source, ConfigError> {
        let file::Credential { openbao, oauth, github_app, gitlab, forgejo, aws, anthropic, openai, .. } = written;
        let kind = written.kind.as_str();
        if !KINDS.contains(&kind) {
            return self.bad(format!("{key}.kind"), one_of(kind, KINDS));
        }
        let tables = [
            ("openbao", openbao.is_some()),
            ("oauth", oauth.is_some()),
            ("github-app", github_app.is_some()),
            ("gitlab", gitlab.is_some()),
            ("forgejo", forgejo.is_some()),
            ("aws", aws.is_some()),
            ("anthropic", anthropic.is_some()),
            ("openai", openai.is_some()),
        ];
        if tables.iter().any(|(name, is_there)| *is_there && *name != kind) {
            return self.bad(key, format!("has tables of another kind than `{kind}`; leave them out"));
        }
        let table = format!("{key}.{kind}");
        let read = match kind {
            "openbao" => openbao.as_ref().map(|bao| self.openbao(&table, name, bao)),
            "oauth" => oauth.as_ref().map(|oauth| self.oauth(&table, name, oauth)),
            "github-app" => github_app.as_ref().map(|app| self.github_app(&table, name, app)),
            "gitlab" => gitlab.as_ref().map(|gitlab| self.gitlab(&table, name, gitlab, &written.uses)),
            "forgejo" => forgejo.as_ref().map(|forgejo| self.forgejo(&table, name, forgejo)),
            "aws" => aws.as_ref().map(|aws| self.aws(key, name, written, aws)),
            "anthropic" => anthropic.as_ref().map(|anthropic| self.anthropic(&table, name, anthropic)),
            "openai" => openai.as_ref().map(|openai| self.openai(&table, name, openai)),
            _ => Some(Ok(Source::Static)),
        };
        let missing = || format!("is missing: `kind = \"{kind}\"` needs a table of that name");
        read.unwrap_or_else(|| self.bad(&table, missing()))
    }

    fn openbao(&self, key: &str, name: &CredentialName, bao: &file::OpenBao) -> Result<Source, ConfigError> {
        let path = |of: &str, text: &str| self.path_there(&format!("{key}.{of}"), text);
        Ok(Source::OpenBao(OpenBaoSettings {
            credential: name.clone(),
            endpoint: self.page(&format!("{key}.url"), &bao.url)?.endpoint,
            mount: path("mount", &bao.mount)?,
            role: self.said(key, "role", &bao.role)?,
            audience: self.said(key, "audience", &bao.audience)?,
            path: path("path", &bao.path)?,
            field: self.said(key, "field", &bao.field)?,
            token_lives_at_most: self.span(&format!("{key}.token_lives_at_most"), &bao.token_lives_at_most)?,
        }))
    }

    fn oauth(&self, key: &str, name: &CredentialName, oauth: &file::OAuth) -> Result<Source, ConfigError> {
        let page =
            |of: &str, url: &Option<String>| url.as_ref().map(|url| self.page(&format!("{key}.{of}"), url)).transpose();
        Ok(Source::Exchange(ExchangeSettings {
            credential: name.clone(),
            token: self.page(&format!("{key}.token"), &oauth.token)?,
            revocation: page("revocation", &oauth.revocation)?,
            introspection: page("introspection", &oauth.introspection)?,
            server: self.said(key, "server", &oauth.server)?,
            asks: Asks::Exchange { audience: oauth.audience.clone(), scope: oauth.scope.clone() },
            token_lives_at_most: self.span(&format!("{key}.token_lives_at_most"), &oauth.token_lives_at_most)?,
        }))
    }

    /// A page of a service, over TLS.
    pub(super) fn page(&self, key: &str, url: &str) -> Result<Page, ConfigError> {
        let parsed = url.strip_prefix("https://").and_then(|rest| {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
            is_plain.then(|| Some(Page { endpoint: parse_endpoint(authority)?, path: format!("/{path}") }))?
        });
        match parsed {
            Some(page) => Ok(page),
            None => self.bad(key, format!("`{url}` is not `https://<host>/<path>`")),
        }
    }

    /// A path within a service, without the slash it begins with.
    fn path_there(&self, key: &str, path: &str) -> Result<String, ConfigError> {
        let is_segment = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if path.split('/').all(is_segment) {
            return Ok(path.to_owned());
        }
        self.bad(key, format!("`{path}` is not a path; write such as `database/creds/readonly`"))
    }

    pub(super) fn lent_at_most(&self, key: &str, text: &str) -> Result<Duration, ConfigError> {
        self.span(&format!("{key}.lent_at_most"), text)
    }

    fn patience(&self, key: &str, text: Option<&str>, source: &Source) -> Result<Duration, ConfigError> {
        let key = format!("{key}.patience");
        let Some(text) = text else { return Ok(PATIENCE) };
        if *source == Source::Static {
            return self.bad(key, "is for credentials that are made elsewhere; nobody is asked for a stored key");
        }
        let patience = self.span(&key, text)?;
        if u128::from(patience.as_millis()) > PATIENCE_MAX.as_millis() {
            let because = format!("`{text}` is more than {}s, which is the longest", PATIENCE_MAX.as_secs());
            return self.bad(key, because);
        }
        Ok(patience)
    }

    fn uses(&self, key: &str, rules: &[String]) -> Result<BTreeSet<Reach>, ConfigError> {
        let key = format!("{key}.uses");
        if rules.is_empty() {
            return self.bad(key, "names nothing it is for; write such as `uses = [\"GET https://api.example/v1\"]`");
        }
        let parse = |rule: &String| match parse_rule(rule) {
            Some(reach) => Ok(reach),
            None => self.bad(&key, format!("`{rule}` is not `<METHOD> https://<host>/<path>`{PLAIN_PATH}")),
        };
        rules.iter().map(parse).collect()
    }

    fn scheme(&self, key: &str, written: &file::Credential) -> Result<Scheme, ConfigError> {
        let scheme = match (written.scheme.as_deref().unwrap_or("bearer"), &written.user) {
            ("bearer", None) => Some(Scheme::Bearer),
            ("plain", None) => Some(Scheme::Plain),
            ("basic", Some(user)) => Scheme::basic(user),
            ("basic", None) => return self.bad(format!("{key}.user"), "is missing; `scheme = \"basic\"` needs one"),
            ("bearer" | "plain", Some(_)) => {
                return self.bad(format!("{key}.user"), "belongs to `scheme = \"basic\"`");
            }
            (other, _) => return self.bad(format!("{key}.scheme"), one_of(other, ["bearer", "basic", "plain"])),
        };
        match scheme {
            Some(scheme) => Ok(scheme),
            None => self.bad(format!("{key}.user"), "may hold printable ASCII without `:`"),
        }
    }

    pub(super) fn variable(&self, key: &str, name: Option<&str>) -> Result<Option<String>, ConfigError> {
        let Some(name) = name else { return Ok(None) };
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let starts_well = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if starts_well && name.len() <= VARIABLE_BYTES_MAX && name.bytes().all(is_plain) {
            return Ok(Some(name.to_owned()));
        }
        self.bad(format!("{key}.env"), format!("`{name}` is not the name of an environment variable"))
    }

    /// What an agent's credentials are for. Two of them for one request would leave open which one goes out.
    pub(super) fn loans(
        &self,
        key: &str,
        names: &[String],
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<BTreeSet<Loan>, ConfigError> {
        let key = format!("{key}.credentials");
        let mut loans: BTreeSet<Loan> = BTreeSet::new();
        let mut variables: BTreeMap<&str, CredentialName> = BTreeMap::new();
        for name in names {
            let name = self.known(&key, name, credentials)?;
            let Some(config) = credentials.get(&name) else { continue };
            for uses in &config.uses {
                if let Some(other) = loans.iter().find(|loan| loan.credential != name && loan.uses.overlaps(uses)) {
                    let because = format!("`{name}` and `{}` are both for `{uses}`; leave one out", other.credential);
                    return self.bad(key, because);
                }
                loans.insert(Loan { credential: name.clone(), uses: uses.clone() });
            }
            if let Some(other) = config.env.iter().find_map(|env| variables.insert(env, name.clone())) {
                return self.bad(key, format!("`{name}` and `{other}` have the same `env`; rename one"));
            }
        }
        Ok(loans)
    }
}

#[cfg(test)]
mod tests {
    use selvedge_gateway::Way;

    use crate::config::Config;

    const AGENT: &str = "[agent.a]\nruntime = \"command\"\ncommand = [\"true\"]\nowner = \"o\"\npurpose = \"p\"\nescalate = \"e\"\n\
                         trust = \"draft\"\nmay = [\"read\", \"write\"]\ncredentials = [\"key\"]\n";
    const KEY: &str = "kind = \"static\"\nowner = \"team\"\nuses = [\"GET https://api.example/v1\"]\n";

    fn parse(key: &str, more: &str) -> Result<Config, String> {
        let text = format!("{AGENT}[credential.key]\n{key}\n{more}");
        Config::parse("selvedge.toml", &text).map_err(|error| error.to_string())
    }

    #[test]
    fn patience_is_for_who_is_asked_and_has_an_end() {
        let made = "kind = \"openbao\"\nowner = \"team\"\nuses = [\"GET https://api.example/v1\"]\nPATIENCE\n\
                    [credential.key.openbao]\nurl = \"https://bao.example\"\nrole = \"r\"\naudience = \"a\"\npath = \"p\"\n\
                    field = \"f\"\n";
        let patience = |written: &str| {
            let config = parse(&made.replace("PATIENCE", written), "")?;
            Ok::<_, String>(config.credentials.values().next().unwrap().patience.as_millis())
        };
        assert_eq!(patience(""), Ok(20_000));
        assert_eq!(patience("patience = \"45s\""), Ok(45_000));
        let said = patience("patience = \"46s\"").unwrap_err();
        assert!(said.contains("credential.key.patience") && said.contains("more than 45s"), "{said}");
        assert!(patience("patience = \"0s\"").unwrap_err().contains("not a span of time"));
        let said = parse(&format!("{KEY}patience = \"5s\"\n"), "").unwrap_err();
        assert!(said.contains("credential.key.patience") && said.contains("nobody is asked"), "{said}");
    }

    #[test]
    fn what_a_credential_is_for_is_reached_and_lent_c5() {
        let config = parse(KEY, "").unwrap();
        let agent = &config.agents.values().find(|agent| agent.agent.name.as_str() == "a").unwrap().agent;
        assert_eq!((agent.loans.len(), agent.reach.len()), (1, 1));
        let written = &config.credentials.values().next().unwrap();
        assert!(matches!(&written.way, Way::Field(field, _) if field.as_str() == "authorization"));
        assert!(written.credential.is_stored);
    }

    #[test]
    fn a_credential_that_could_go_astray_is_refused_by_its_key_with_what_to_write_b6() {
        for (from, to, words) in [
            ("static", "magic", &["credential.key.kind", "`magic`", "static"][..]),
            ("\"team\"", "\"\"", &["credential.key.owner", "answers for this credential"]),
            ("[\"GET https://api.example/v1\"]", "[]", &["credential.key.uses", "names nothing"]),
            ("https://api", "http://api", &["credential.key.uses", "http://api.example/v1"]),
            ("/v1", "/projects/acme%2Fshop", &["credential.key.uses", "no encoded `/`"]),
            ("/v1", "/v1/../v2", &["credential.key.uses", "no `..`"]),
            ("owner", "header = \"host\"\nowner", &["credential.key.header", "`host`"]),
            ("owner", "scheme = \"digest\"\nowner", &["credential.key.scheme", "bearer, basic, plain"]),
            ("owner", "scheme = \"basic\"\nowner", &["credential.key.user", "missing"]),
            ("owner", "user = \"me\"\nowner", &["credential.key.user", "belongs to"]),
            ("owner", "scheme = \"basic\"\nuser = \"a:b\"\nowner", &["credential.key.user", "without `:`"]),
            ("owner", "env = \"A-B\"\nowner", &["credential.key.env", "`A-B`"]),
            ("owner", "lent_at_most = \"soon\"\nowner", &["credential.key.lent_at_most", "15m"]),
        ] {
            assert!(KEY.contains(from), "{from}");
            let said = parse(&KEY.replacen(from, to, 1), "").unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn two_credentials_for_one_request_or_one_variable_are_refused() {
        let both = |uses: &str, env: &str| {
            let text = format!("{AGENT}[credential.key]\n{KEY}env = \"T\"\n[credential.other]\nkind = \"static\"\nowner = \"t\"\nuses = [{uses:?}]\n{env}")
                .replace("[\"key\"]", "[\"key\", \"other\"]");
            Config::parse("selvedge.toml", &text).map_err(|error| error.to_string())
        };
        assert!(both("GET https://api.example/v2", "").is_ok());
        assert!(both("GET https://api.example/v1/items", "").unwrap_err().contains("are both for"));
        assert!(both("GET https://api.example/", "").unwrap_err().contains("are both for"));
        assert!(both("PUT https://api.example/v1", "").is_ok(), "another method is another request");
        assert!(both("GET https://api.example/v2", "env = \"T\"\n").unwrap_err().contains("same `env`"));
        assert!(parse(KEY, "").is_ok());
        let unknown = Config::parse("selvedge.toml", AGENT).map_err(|error| error.to_string()).unwrap_err();
        assert!(unknown.contains("agent.a.credentials") && unknown.contains("`key`"), "{unknown}");
    }
}
