//! Who runs a model, in the configuration: what each host needs, and that what is written fits together. What a host would refuse of every
//! request is refused here, before a run begins.

use std::collections::BTreeMap;

use selvedge_domain::CredentialName;
use selvedge_gateway::Way;
use selvedge_gateway::model::hosting::Hosting;

use super::models::is_model_name;
use super::{ConfigError, CredentialConfig, ModelConfig, Reader, file, one_of};

/// The service by whose name requests to Bedrock are signed.
const SIGNED_FOR: &str = "bedrock";

impl Reader<'_> {
    pub(super) fn hosting(&self, key: &str, written: &file::Model) -> Result<Hosting, ConfigError> {
        let word = written.hosting.as_deref().unwrap_or("vendor");
        let version = written.api_version.as_deref();
        if let Some(hosting) = Hosting::parse(word, version) {
            return Ok(hosting);
        }
        match (word, version) {
            (word, _) if !Hosting::WORDS.contains(&word) => {
                self.bad(format!("{key}.hosting"), one_of(word, Hosting::WORDS))
            }
            ("azure", None) => self.bad(
                format!("{key}.api_version"),
                "is missing: write the version of Azure's API that its deployments are asked in, such as `2024-10-21`",
            ),
            ("azure", Some(version)) => self
                .bad(format!("{key}.api_version"), format!("`{version}` is not a version; write such as `2024-10-21`")),
            _ => {
                self.bad(format!("{key}.api_version"), "is Azure's alone: write `hosting = \"azure\"`, or leave it out")
            }
        }
    }

    /// Refuses what its host would refuse, or what would not reach it.
    pub(super) fn fits_its_hosting(
        &self,
        key: &str,
        model: &ModelConfig,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<(), ConfigError> {
        let ModelConfig { hosting, called, base_path, .. } = model;
        let spoken = hosting.protocols();
        if let Some(other) = model.protocols.iter().find(|protocol| !spoken.contains(protocol)) {
            let spoken: Vec<_> = spoken.iter().map(|protocol| format!("`{protocol}`")).collect();
            let because = format!(
                "`{other}` is not what `{}` is spoken to in, which is {}",
                hosting.as_str(),
                spoken.join(" or ")
            );
            return self.bad(format!("{key}.protocols"), because);
        }
        let upstream = match hosting {
            Hosting::Vertex if !is_location(base_path) => Some(
                "does not end with `/projects/<project>/locations/<location>`; write \
                 `https://<location>-aiplatform.googleapis.com/v1/projects/<project>/locations/<location>`",
            ),
            Hosting::Azure { .. } if !base_path.ends_with("/openai") => {
                Some("does not end with `/openai`; write `https://<resource>.openai.azure.com/openai`")
            }
            Hosting::Vendor | Hosting::Bedrock | Hosting::Vertex | Hosting::Azure { .. } => None,
        };
        if let Some(because) = upstream {
            return self.bad(format!("{key}.upstream"), because);
        }
        if let Some(name) = called.keys().find(|name| !model.prices.contains_key(*name)) {
            return self.bad(format!("{key}.called"), one_of(name, model.prices.keys().map(String::as_str)));
        }
        for of in model.prices.keys() {
            let there = called.get(of).unwrap_or(of);
            if !hosting.is_name(there) || !is_model_name(there) {
                let because = format!(
                    "`{there}` cannot be asked of `{}`: there it would be another path. Write the name it has there, `called = {{ \"{of}\" = \"NAME\" }}`, \
                     of an inference profile its id",
                    hosting.as_str()
                );
                return self.bad(format!("{key}.called"), because);
            }
        }
        let way = model.credential.as_ref().and_then(|name| credentials.get(name)).map(|credential| &credential.way);
        match (hosting, way) {
            (Hosting::Bedrock, Some(Way::Signature(signed))) if signed.service() != SIGNED_FOR => {
                let because =
                    format!("signs for `{}`; what Bedrock answers is signed for `{SIGNED_FOR}`", signed.service());
                self.bad(format!("{key}.credential"), because)
            }
            (Hosting::Bedrock, Some(Way::Signature(signed)))
                if region_of(model.upstream.host.as_str()).is_some_and(|region| region != signed.region()) =>
            {
                let because =
                    format!("signs for the region `{}`, and `upstream` is in another: both are one", signed.region());
                self.bad(format!("{key}.credential"), because)
            }
            (Hosting::Vertex | Hosting::Azure { .. }, Some(Way::Signature(_))) => {
                let because = format!("signs for AWS, and `{}` is not AWS's", hosting.as_str());
                self.bad(format!("{key}.credential"), because)
            }
            _ => Ok(()),
        }
    }
}

/// The region of one of Bedrock's own hosts; others, a private endpoint's say, do not say theirs.
fn region_of(host: &str) -> Option<&str> {
    host.strip_prefix("bedrock-runtime.")?.strip_suffix(".amazonaws.com")
}

/// Whether a path ends with a project and a location.
fn is_location(path: &str) -> bool {
    let mut segments = path.rsplit('/');
    let (location, locations, project, projects) = (segments.next(), segments.next(), segments.next(), segments.next());
    (locations, projects) == (Some("locations"), Some("projects"))
        && [location, project].iter().all(|name| name.is_some_and(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    use super::*;

    const KEYS: &str = "[credential.key]\nkind = \"static\"\nowner = \"team\"\nuses = [\"POST https://bedrock.example/model\", \
        \"POST https://vertex.example/v1/projects/p/locations/eu/publishers\", \"POST https://azure.example/openai/deployments\"]\n";

    const BEDROCK: &str = "upstream = \"https://bedrock.example\"\nhosting = \"bedrock\"\nprotocols = [\"anthropic-messages\"]\n\
        called = { \"claude\" = \"eu.anthropic.claude-v1:0\" }\n";
    const VERTEX: &str = "upstream = \"https://vertex.example/v1/projects/p/locations/eu\"\nhosting = \"vertex\"\n\
        protocols = [\"anthropic-messages\", \"gemini\"]\ncalled = { \"claude\" = \"claude@20250929\" }\n";
    const AZURE: &str = "upstream = \"https://azure.example/openai\"\nhosting = \"azure\"\napi_version = \"2024-10-21\"\n\
        protocols = [\"openai-chat\"]\n";

    fn parse(model: &str) -> Result<Config, String> {
        let model = format!(
            "{KEYS}[model.main]\ncredential = \"key\"\nprice = [{{ of = \"claude\", input = 1.0, output = 1.0 }}]\n{model}"
        );
        Config::parse("selvedge.toml", &model).map_err(|error| error.to_string())
    }

    #[test]
    fn each_host_is_read_and_what_its_key_is_lent_for_is_no_more_than_its_paths() {
        for (model, hosting, path) in [
            (BEDROCK, "bedrock", "/model"),
            (VERTEX, "vertex", "/v1/projects/p/locations/eu/publishers"),
            (AZURE, "azure", "/openai/deployments"),
        ] {
            let config = parse(model).unwrap();
            let model = config.models.values().next().unwrap();
            assert_eq!(model.hosting.as_str(), hosting);
            assert_eq!(model.loans().map(|loan| loan.uses.path_prefix).collect::<Vec<_>>(), [path]);
        }
        let plain = AZURE
            .replace("hosting = \"azure\"\napi_version = \"2024-10-21\"\n", "")
            .replace("/openai", "/openai/deployments");
        let config = parse(&plain).unwrap();
        assert_eq!(config.models.values().next().unwrap().hosting, Hosting::Vendor, "as before");
    }

    #[test]
    fn what_a_host_would_refuse_is_told_by_its_key() {
        for (model, from, to, words) in [
            (
                BEDROCK,
                "\"bedrock\"",
                "\"sagemaker\"",
                &["main.hosting", "`sagemaker`", "vendor, bedrock, vertex, azure"][..],
            ),
            (BEDROCK, "anthropic-messages", "gemini", &["main.protocols", "`gemini`", "which is `anthropic-messages`"]),
            (BEDROCK, "protocols", "api_version = \"2024-10-21\"\nprotocols", &["main.api_version", "Azure's alone"]),
            (BEDROCK, "\"claude\" =", "\"opus\" =", &["main.called", "`opus`", "claude"]),
            (
                BEDROCK,
                "eu.anthropic.claude-v1:0",
                "arn:aws:bedrock:eu:1:profile/x",
                &["main.called", "another path", "its id"],
            ),
            (BEDROCK, "bedrock.example", "elsewhere.example", &["main.credential", "add that to its `uses`"]),
            (VERTEX, "/locations/eu", "", &["main.upstream", "/locations/<location>"]),
            (VERTEX, "claude@20250929", "claude:rawPredict", &["main.called", "another path"]),
            (VERTEX, "\"gemini\"", "\"openai-chat\"", &["main.protocols", "`anthropic-messages` or `gemini`"]),
            (AZURE, "api_version = \"2024-10-21\"\n", "", &["main.api_version", "is missing"]),
            (AZURE, "2024-10-21", "latest&x=", &["main.api_version", "`latest&x=`"]),
            (AZURE, "/openai", "", &["main.upstream", "does not end with `/openai`"]),
        ] {
            assert!(model.contains(from), "{from}");
            let said = parse(&model.replacen(from, to, 1)).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn requests_to_bedrock_are_signed_for_bedrock_and_no_others_are() {
        let aws = |service: &str| {
            format!(
                "[credential.key]\nkind = \"aws\"\nowner = \"team\"\nuses = [\"POST https://bedrock.example/model\", \"POST https://vertex.example/\", \
                \"POST https://bedrock-runtime.eu-central-1.amazonaws.com/\", \"POST https://bedrock-runtime.eu-west-1.amazonaws.com/\"]\n\
                [credential.key.aws]\nrole = \"arn:aws:iam::123456789012:role/factory\"\nservice = \"{service}\"\nregion = \"eu-central-1\"\n"
            )
        };
        let parse = |service: &str, model: &str| {
            let text = format!(
                "{}[model.main]\ncredential = \"key\"\nprice = [{{ of = \"claude\", input = 1.0, output = 1.0 }}]\n{model}",
                aws(service)
            );
            Config::parse("selvedge.toml", &text).map_err(|error| error.to_string())
        };
        assert!(parse("bedrock", BEDROCK).is_ok());
        assert!(parse("s3", BEDROCK).unwrap_err().contains("signs for `s3`"));
        let in_region =
            |region: &str| BEDROCK.replace("bedrock.example", &format!("bedrock-runtime.{region}.amazonaws.com"));
        assert!(parse("bedrock", &in_region("eu-central-1")).is_ok());
        assert!(parse("bedrock", &in_region("eu-west-1")).unwrap_err().contains("region `eu-central-1`"));
        assert!(parse("bedrock", VERTEX).unwrap_err().contains("is not AWS's"));
    }
}
