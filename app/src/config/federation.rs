//! Vendors of models that trust the factory's issuer, in the configuration.

use selvedge_credentials::{Asks, ExchangeSettings, SVID_LIFETIME_MAX};
use selvedge_domain::CredentialName;

use super::credentials::Source;
use super::file::federation;
use super::{ConfigError, Reader};

impl Reader<'_> {
    pub(super) fn anthropic(
        &self,
        key: &str,
        name: &CredentialName,
        written: &federation::Anthropic,
    ) -> Result<Source, ConfigError> {
        let workspace = written.workspace.as_ref().map(|workspace| self.said(key, "workspace", workspace));
        Ok(Source::Exchange(ExchangeSettings {
            credential: name.clone(),
            token: self.page(&format!("{key}.url"), &written.url)?,
            revocation: None,
            introspection: None,
            server: self.said(key, "audience", &written.audience)?,
            asks: Asks::Anthropic {
                rule: self.prefixed(key, "rule", &written.rule, "fdrl_")?,
                organization: self.said(key, "organization", &written.organization)?,
                account: self.prefixed(key, "service_account", &written.service_account, "svac_")?,
                workspace: workspace.transpose()?,
            },
            token_lives_at_most: self.span(&format!("{key}.token_lives_at_most"), &written.token_lives_at_most)?,
        }))
    }

    pub(super) fn openai(
        &self,
        key: &str,
        name: &CredentialName,
        written: &federation::OpenAi,
    ) -> Result<Source, ConfigError> {
        Ok(Source::Exchange(ExchangeSettings {
            credential: name.clone(),
            token: self.page(&format!("{key}.url"), &written.url)?,
            revocation: None,
            introspection: None,
            server: self.said(key, "audience", &written.audience)?,
            asks: Asks::OpenAi {
                provider: self.said(key, "identity_provider", &written.identity_provider)?,
                account: self.said(key, "service_account", &written.service_account)?,
            },
            token_lives_at_most: SVID_LIFETIME_MAX,
        }))
    }

    /// An id whose kind its first letters tell.
    fn prefixed(&self, key: &str, of: &str, id: &str, prefix: &str) -> Result<String, ConfigError> {
        let is_id = id.starts_with(prefix) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_id {
            return Ok(id.to_owned());
        }
        self.bad(format!("{key}.{of}"), format!("`{id}` does not begin with `{prefix}`; copy it from the console"))
    }
}

#[cfg(test)]
mod tests {
    use selvedge_credentials::Asks;

    use crate::config::Config;

    const CLAUDE: &str = "[credential.claude]\nkind = \"anthropic\"\nowner = \"team\"\n\
                          uses = [\"POST https://api.anthropic.com/v1/messages\"]\nenv = \"ANTHROPIC_AUTH_TOKEN\"\n\
                          [credential.claude.anthropic]\nrule = \"fdrl_01x\"\n\
                          organization = \"00000000-0000-4000-8000-000000000000\"\nservice_account = \"svac_01x\"\n";
    const GPT: &str = "[credential.gpt]\nkind = \"openai\"\nowner = \"team\"\n\
                       uses = [\"POST https://api.openai.com/v1/responses\"]\n\
                       [credential.gpt.openai]\nidentity_provider = \"idp_01x\"\nservice_account = \"user-01x\"\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse("selvedge.toml", text).map_err(|error| error.to_string())
    }

    #[test]
    fn vendors_of_models_are_read_and_nothing_is_stored_for_them_c1() {
        let config = parse(&format!("{CLAUDE}{GPT}")).unwrap();
        for (written, host) in config.credentials.values().zip(["api.anthropic.com", "auth.openai.com"]) {
            let super::Source::Exchange(settings) = &written.source else { panic!("{:?}", written.source) };
            assert_eq!((settings.token.endpoint.host.as_str(), written.credential.is_stored), (host, false));
            assert!(settings.revocation.is_none() && settings.introspection.is_none(), "they have none");
        }
        let workspace = CLAUDE.replace("rule", "workspace = \"default\"\nrule");
        let config = parse(&workspace).unwrap();
        let super::Source::Exchange(settings) = &config.credentials.values().next().unwrap().source else { panic!() };
        let Asks::Anthropic { workspace, .. } = &settings.asks else { panic!("{:?}", settings.asks) };
        assert_eq!(workspace.as_deref(), Some("default"));
    }

    #[test]
    fn an_id_of_another_kind_is_refused_by_its_key_b6() {
        for (text, from, to, words) in [
            (CLAUDE, "fdrl_01x", "svac_01x", &["anthropic.rule", "`svac_01x`", "`fdrl_`"][..]),
            (CLAUDE, "\"svac_01x\"", "\"\"", &["anthropic.service_account", "`svac_`"]),
            (CLAUDE, "rule", "token = \"sk-ant\"\nrule", &["unknown field `token`"]),
            (CLAUDE, "rule", "url = \"http://api.anthropic.com/\"\nrule", &["anthropic.url", "https://"]),
            (CLAUDE, "rule", "token_lives_at_most = \"long\"\nrule", &["anthropic.token_lives_at_most", "15m"]),
            (GPT, "idp_01x", " ", &["openai.identity_provider", "is empty"]),
            (GPT, "\"openai\"", "\"anthropic\"", &["credential.gpt", "another kind than `anthropic`"]),
        ] {
            assert!(text.contains(from), "{from}");
            let said = parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }
}
