//! Tokens that forges make, in the configuration: from where, and for what. Never the keys that make them.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_credentials::{
    ForgejoSettings, GithubAppSettings, GitlabRole, GitlabSettings, Installation, Page, PermissionLevel,
    REPOSITORIES_MAX,
};
use selvedge_domain::CredentialName;

use super::credentials::Source;
use super::file::forge;
use super::{ConfigError, Reader, one_of};

impl Reader<'_> {
    pub(super) fn github_app(
        &self,
        key: &str,
        name: &CredentialName,
        app: &forge::GithubApp,
    ) -> Result<Source, ConfigError> {
        Ok(Source::GithubApp(GithubAppSettings {
            credential: name.clone(),
            api: self.page(&format!("{key}.url"), &app.url)?,
            installed: self.installed(key, name, app)?,
            repositories: self.repositories(&format!("{key}.repositories"), &app.repositories)?,
            permissions: self.permissions(&format!("{key}.permissions"), &app.permissions)?,
        }))
    }

    /// Both, or neither: an App that is installed nowhere makes no token.
    fn installed(
        &self,
        key: &str,
        name: &CredentialName,
        app: &forge::GithubApp,
    ) -> Result<Option<Installation>, ConfigError> {
        match (&app.app, app.installation) {
            (None, None) => Ok(None),
            (Some(app), Some(id)) => Ok(Some(Installation { app: self.said(key, "app", app)?, id })),
            (Some(_), None) | (None, Some(_)) => {
                let because = format!(
                    "`app` and `installation` go together; leave both out until `selvedge credentials create-app {name}` has made the App"
                );
                self.bad(key, because)
            }
        }
    }

    pub(super) fn gitlab(
        &self,
        key: &str,
        name: &CredentialName,
        gitlab: &forge::Gitlab,
        uses: &[String],
    ) -> Result<Source, ConfigError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_plain);
        if !gitlab.project.split('/').all(is_part) {
            let because = format!("`{}` is not a project; write such as `acme/shop`", gitlab.project);
            return self.bad(format!("{key}.project"), because);
        }
        let Some(role) = GitlabRole::parse(&gitlab.role) else {
            let because = one_of(&gitlab.role, ["guest", "reporter", "developer", "maintainer"]);
            return self.bad(format!("{key}.role"), because);
        };
        let root = self.page(&format!("{key}.url"), &gitlab.url)?;
        if let Some(named) = uses.iter().find_map(|rule| named_project(rule, &root)) {
            let because = format!(
                "names the project by `{named}`, and a door lets through only paths that name it by its number: write it as \
                 `/api/v4/projects/<number>` (its page at GitLab says which)"
            );
            return self.bad(format!("credential.{name}.uses"), because);
        }
        Ok(Source::Gitlab(GitlabSettings {
            credential: name.clone(),
            root,
            project: gitlab.project.clone(),
            scopes: self.scopes(&format!("{key}.scopes"), &gitlab.scopes)?,
            role,
        }))
    }

    pub(super) fn forgejo(
        &self,
        key: &str,
        name: &CredentialName,
        forgejo: &forge::Forgejo,
    ) -> Result<Source, ConfigError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if forgejo.user.is_empty() || forgejo.user.starts_with('.') || !forgejo.user.bytes().all(is_plain) {
            return self.bad(format!("{key}.user"), format!("`{}` is not an account's name", forgejo.user));
        }
        let scopes = self.scopes(&format!("{key}.scopes"), &forgejo.scopes)?;
        // `all` and `sudo` are words for everything.
        if let Some(wide) = scopes.iter().find(|scope| !scope.starts_with("read:") && !scope.starts_with("write:")) {
            let because = format!("`{wide}` does not say for what; write such as `read:repository`");
            return self.bad(format!("{key}.scopes"), because);
        }
        Ok(Source::Forgejo(ForgejoSettings {
            credential: name.clone(),
            root: self.page(&format!("{key}.url"), &forgejo.url)?,
            user: forgejo.user.clone(),
            scopes,
        }))
    }

    /// Scopes as forges write them, at least one.
    fn scopes(&self, key: &str, scopes: &[String]) -> Result<BTreeSet<String>, ConfigError> {
        if scopes.is_empty() {
            return self.bad(key, "permits nothing; name at least one scope");
        }
        let is_plain = |scope: &String| scope.bytes().all(|b| b.is_ascii_lowercase() || b"_:-".contains(&b));
        match scopes.iter().find(|scope| scope.is_empty() || !is_plain(scope)) {
            Some(scope) => self.bad(key, format!("`{scope}` is not a scope; write such as `read_repository`")),
            None => Ok(scopes.iter().cloned().collect()),
        }
    }

    /// Without names a token would reach every repository of the installation.
    fn repositories(&self, key: &str, names: &[String]) -> Result<BTreeSet<String>, ConfigError> {
        if names.is_empty() {
            return self.bad(key, "names no repository; write such as `repositories = [\"shop\"]`");
        }
        if names.len() > REPOSITORIES_MAX {
            return self
                .bad(key, format!("names more than {REPOSITORIES_MAX}; make another credential for the others"));
        }
        let is_plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        match names.iter().find(|name| name.is_empty() || !is_plain(name)) {
            Some(name) => self.bad(key, format!("`{name}` is not the name of a repository; leave out its owner")),
            None => Ok(names.iter().cloned().collect()),
        }
    }

    /// Without permissions a token would have every permission of the App.
    fn permissions(
        &self,
        key: &str,
        written: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, PermissionLevel>, ConfigError> {
        if written.is_empty() {
            return self.bad(key, "permits nothing; write such as `permissions = { contents = \"read\" }`");
        }
        let read = |(name, level): (&String, &String)| {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                return self.bad(key, format!("`{name}` is not a permission; write such as `pull_requests`"));
            }
            match PermissionLevel::parse(level) {
                Some(level) => Ok((name.clone(), level)),
                None => self.bad(format!("{key}.{name}"), one_of(level, ["read", "write", "admin"])),
            }
        };
        written.iter().map(read).collect()
    }
}

/// How a rule for requests to GitLab's API names a project, where that is not by its number. Its path is one word there, `acme%2Fshop`,
/// and what hides a slash is refused at every door: the rule would never hold.
fn named_project(rule: &str, root: &Page) -> Option<String> {
    let (_, url) = rule.split_once(' ')?;
    let (authority, path) = url.trim().strip_prefix("https://")?.split_once('/')?;
    let rest = format!("/{path}");
    let rest = rest.strip_prefix(root.path.trim_end_matches('/'))?.strip_prefix("/api/v4/projects/")?;
    let project = rest.split('/').next().filter(|project| !project.is_empty())?;
    let is_number = project.bytes().all(|byte| byte.is_ascii_digit());
    (super::parse_endpoint(authority)? == root.endpoint && !is_number).then(|| project.to_owned())
}

#[cfg(test)]
mod tests {
    use selvedge_credentials::Installation;

    use crate::config::Config;

    const KEY: &str = "[credential.key]\nkind = \"github-app\"\nowner = \"team\"\nuses = [\"GET https://api.github.com/repos/acme\"]\n";
    const GITHUB: &str = "[credential.key.github-app]\napp = \"Iv23li\"\ninstallation = 678\nrepositories = [\"shop\"]\n\
                          permissions = { contents = \"read\" }\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse("selvedge.toml", text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_github_app_is_read_with_its_narrowing_and_its_key_is_no_stored_key_c5() {
        let config = parse(&format!("{KEY}{GITHUB}")).unwrap();
        let written = config.credentials.values().next().unwrap();
        assert!(!written.credential.is_stored, "nothing lends its key");
        let super::Source::GithubApp(settings) = &written.source else { panic!("{:?}", written.source) };
        let installed = Some(Installation { app: "Iv23li".to_owned(), id: 678 });
        assert_eq!((settings.api.path.as_str(), &settings.installed), ("/", &installed));
        assert_eq!(settings.api.endpoint.host.as_str(), "api.github.com");
        let server = GITHUB.replace("app =", "url = \"https://git.example/api/v3\"\napp =");
        assert!(format!("{:?}", parse(&format!("{KEY}{server}")).unwrap().credentials).contains("/api/v3"));
        let none_yet = GITHUB.replace("app = \"Iv23li\"\ninstallation = 678\n", "");
        assert!(format!("{:?}", parse(&format!("{KEY}{none_yet}")).unwrap().credentials).contains("installed: None"));
    }

    #[test]
    fn a_token_that_would_be_wide_is_refused_by_its_key_with_what_to_write_b6() {
        for (from, to, words) in [
            ("[\"shop\"]", "[]", &["github-app.repositories", "names no repository"][..]),
            ("[\"shop\"]", "[\"acme/shop\"]", &["github-app.repositories", "`acme/shop`", "leave out its owner"]),
            ("{ contents = \"read\" }", "{}", &["github-app.permissions", "permits nothing"]),
            ("\"read\"", "\"all\"", &["github-app.permissions.contents", "`all`", "read, write, admin"]),
            ("contents", "Contents", &["github-app.permissions", "`Contents`"]),
            ("\"Iv23li\"", "\" \"", &["github-app.app", "is empty"]),
            ("app = \"Iv23li\"", "", &["credential.key.github-app", "go together", "create-app key"]),
            ("installation = 678", "", &["credential.key.github-app", "go together", "create-app key"]),
            ("app =", "url = \"http://git.example\"\napp =", &["github-app.url", "https://"]),
            ("app =", "url = \"https://git.example/?x\"\napp =", &["github-app.url", "https://"]),
            ("678", "678\nkey = \"-----BEGIN\"", &["unknown field `key`"]),
        ] {
            assert!(GITHUB.contains(from), "{from}");
            let said = parse(&format!("{KEY}{}", GITHUB.replacen(from, to, 1))).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        let many: Vec<String> = (0..21).map(|number| format!("\"r{number}\"")).collect();
        let said = parse(&format!("{KEY}{}", GITHUB.replace("\"shop\"", &many.join(", ")))).unwrap_err();
        assert!(said.contains("more than 20"), "{said}");
    }

    const GITLAB: &str = "[credential.key]\nkind = \"gitlab\"\nowner = \"team\"\nuses = [\"GET https://gitlab.com/api/v4/projects/1\"]\n\
                          [credential.key.gitlab]\nproject = \"acme/web/shop\"\nscopes = [\"read_api\"]\nrole = \"reporter\"\n";

    #[test]
    fn a_gitlab_project_is_read_and_what_would_be_wide_or_elsewhere_is_refused_b6() {
        let config = parse(GITLAB).unwrap();
        for fits in ["projects/17/issues", "projects", "user"] {
            assert!(parse(&GITLAB.replace("projects/1\"", &format!("{fits}\""))).is_ok(), "{fits}");
        }
        let elsewhere =
            GITLAB.replace("https://gitlab.com/api/v4/projects/1", "https://other.example/api/v4/projects/a");
        assert!(parse(&elsewhere).is_ok(), "another service has paths of its own");
        let written = config.credentials.values().next().unwrap();
        assert!(!written.credential.is_stored && format!("{:?}", written.source).contains("gitlab.com"));
        for (from, to, words) in [
            ("acme/web/shop", "acme/../shop", &["gitlab.project", "`acme/../shop`"][..]),
            ("acme/web/shop", "acme/shop?x=1", &["gitlab.project", "write such as"]),
            ("[\"read_api\"]", "[]", &["gitlab.scopes", "permits nothing"]),
            ("[\"read_api\"]", "[\"Read API\"]", &["gitlab.scopes", "`Read API`"]),
            ("reporter", "owner", &["gitlab.role", "`owner`", "maintainer"]),
            ("projects/1", "projects/acme%2Fweb%2Fshop", &["key.uses", "`acme%2Fweb%2Fshop`", "<number>"]),
            ("projects/1", "projects/acme/shop", &["key.uses", "`acme`", "<number>"]),
            ("projects/1", "projects/1x/issues", &["key.uses", "`1x`", "<number>"]),
            ("role", "url = \"gitlab.com\"\nrole", &["gitlab.url", "https://"]),
        ] {
            assert!(GITLAB.contains(from), "{from}");
            let said = parse(&GITLAB.replacen(from, to, 1)).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    const FORGEJO: &str = "[credential.key]\nkind = \"forgejo\"\nowner = \"team\"\nuses = [\"GET https://git.example/api/v1/repos\"]\n\
                           [credential.key.forgejo]\nurl = \"https://git.example/\"\nuser = \"bot\"\nscopes = [\"read:issue\"]\n";

    #[test]
    fn a_forgejo_account_is_read_and_what_would_be_everything_or_another_is_refused_b6() {
        let config = parse(FORGEJO).unwrap();
        let written = config.credentials.values().next().unwrap();
        assert!(!written.credential.is_stored && format!("{:?}", written.source).contains("read:issue"));
        for (from, to, words) in [
            ("\"bot\"", "\"bot/../admin\"", &["forgejo.user", "`bot/../admin`"][..]),
            ("\"bot\"", "\"\"", &["forgejo.user", "not an account's name"]),
            ("read:issue", "all", &["forgejo.scopes", "`all`", "read:repository"]),
            ("[\"read:issue\"]", "[\"read:issue\", \"sudo\"]", &["forgejo.scopes", "`sudo`"]),
            ("[\"read:issue\"]", "[]", &["forgejo.scopes", "permits nothing"]),
            ("https://git.example/\"\nuser", "ftp://git.example/\"\nuser", &["forgejo.url", "https://"]),
            ("user", "password = \"p\"\nuser", &["unknown field `password`"]),
        ] {
            assert!(FORGEJO.contains(from), "{from}");
            let said = parse(&FORGEJO.replacen(from, to, 1)).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn a_kind_has_its_own_table_and_no_other() {
        let said = parse(KEY).unwrap_err();
        assert!(said.contains("credential.key.github-app") && said.contains("is missing"), "{said}");
        let said = parse(&format!("{}{GITHUB}", KEY.replace("github-app", "static"))).unwrap_err();
        assert!(said.contains("tables of another kind than `static`"), "{said}");
        let said = parse(&format!("{}{GITHUB}", KEY.replace("github-app", "oauth"))).unwrap_err();
        assert!(said.contains("tables of another kind than `oauth`"), "{said}");
    }
}
