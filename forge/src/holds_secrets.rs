//! Files that hold credentials as a rule, by their names: what an agent reads of them is recorded, and told to policy (attack A-78).
//!
//! A name here is no verdict. The list errs towards saying yes, but not to examples and templates, which are there to be read; what a
//! project keeps elsewhere its operator names.

use selvedge_domain::RepoPath;

use crate::fold::folded;

/// Whether the file at `path` holds credentials as a rule.
pub fn holds_secrets(path: &RepoPath) -> bool {
    let path = folded(path.as_str());
    let name = path.rsplit('/').next().unwrap_or(&path);
    if EXAMPLES.iter().any(|example| name.split(['.', '-', '_']).any(|part| part == *example)) {
        return false;
    }
    FILES.contains(&name)
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        || name == ".env"
        || name.starts_with(".env.")
        || PATHS.iter().any(|place| path == *place || path.ends_with(&format!("/{place}")))
}

/// Parts of names of files that show what one looks like.
const EXAMPLES: &[&str] = &["example", "sample", "template", "dist"];

/// File names, wherever they lie.
const FILES: &[&str] = &[
    ".dockercfg",
    ".git-credentials",
    ".htpasswd",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".vault-token",
    ".yarnrc.yml",
    "application_default_credentials.json",
    "credentials.json",
    "credentials.toml",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_rsa",
    "kubeconfig",
    "local.settings.json",
    "master.key",
    "nuget.config",
    "secrets.json",
    "secrets.toml",
    "secrets.yaml",
    "secrets.yml",
    "service-account.json",
    "service_account.json",
    "terraform.tfstate",
    "wp-config.php",
];

/// How such names end.
const SUFFIXES: &[&str] =
    &[".env", ".jks", ".kdbx", ".key", ".keystore", ".p12", ".p8", ".pem", ".pfx", ".ppk", ".tfstate", ".tfvars"];

/// Paths, beneath any directory.
const PATHS: &[&str] =
    &[".aws/credentials", ".cargo/credentials", ".docker/config.json", ".kube/config", ".gem/credentials"];

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(path: &str) -> bool {
        holds_secrets(&RepoPath::parse(path.as_bytes()).unwrap())
    }

    #[test]
    fn files_that_hold_credentials_are_known_by_name_a78() {
        for path in [
            ".env",
            "deploy/.env.production",
            "prod.env",
            "certs/server.key",
            "a/ID_RSA",
            ".npmrc",
            "infra/terraform.tfstate",
            "ci/.aws/credentials",
            ".docker/config.json",
            "config/master.key",
            ".\u{200c}env",
        ] {
            assert!(holds(path), "{path}");
        }
    }

    #[test]
    fn examples_and_ordinary_files_are_read_by_everybody() {
        for path in [
            ".env.example",
            ".env.sample",
            "config/secrets.example.yml",
            "src/env.rs",
            "src/key.rs",
            "docs/credentials.md",
            "config.json",
            "environment",
            "src/.environment.ts",
        ] {
            assert!(!holds(path), "{path}");
        }
    }

    #[test]
    fn the_lists_are_lower_case_because_names_are_compared_so() {
        for text in FILES.iter().chain(SUFFIXES).chain(PATHS).chain(EXAMPLES) {
            assert_eq!(*text, text.to_lowercase());
        }
    }
}
