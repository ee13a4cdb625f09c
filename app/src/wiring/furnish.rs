//! What every sandbox is furnished with: toolchains, a package client that knows the operator's registry, and trust in the
//! run's own certificate authority for every client we know.

use selvedge_sandbox::{Access, Bind, File, Place};

use super::Works;

/// Where toolchains lie inside.
const TOOLCHAINS: &str = "/opt/toolchain";

/// Where certificates are looked for by most programs of most systems.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The run's own authority alone, for clients that add it to what they know.
const RUN_CA: &str = "/etc/ssl/selvedge-ca.pem";

/// The explicit proxy inside the sandbox.
const PROXY: &str = "http://127.0.0.1:3128";

/// Variables that name a whole bundle, and the client that reads each (measured, one by one).
const BUNDLE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",      // OpenSSL, python's ssl, go
    "CURL_CA_BUNDLE",     // curl
    "GIT_SSL_CAINFO",     // git
    "CARGO_HTTP_CAINFO",  // cargo
    "REQUESTS_CA_BUNDLE", // python requests, pip
    "PIP_CERT",           // pip
    "npm_config_cafile",  // npm
];

impl Works {
    /// Adds toolchains and the operator's registries.
    pub(super) fn furnished(&self, mut place: Place) -> Place {
        let config = self.config();
        let mut path = String::new();
        for (index, toolchain) in config.toolchains.iter().enumerate() {
            let target = format!("{TOOLCHAINS}/{index}");
            path.push_str(&format!("{target}/bin:"));
            place.binds.push(Bind { source: toolchain.clone(), target, access: Access::ReadOnly });
        }
        place = place
            .with_env("PATH", &format!("{path}/usr/local/bin:/usr/bin:/bin"))
            .with_env("CARGO_HOME", "/tmp/cargo")
            .with_env("CARGO_TARGET_DIR", "/tmp/target")
            .with_env("CARGO_TERM_COLOR", "never")
            .with_env("CARGO_INCREMENTAL", "0");
        if let Some(registry) = config.registries.get("cargo").and_then(|registry| registry.replace_with.as_deref()) {
            let registry =
                if registry.starts_with("sparse+") { registry.to_owned() } else { format!("sparse+{registry}") };
            let text = format!(
                "[source.crates-io]\nreplace-with = \"operator\"\n[source.operator]\nregistry = \"{registry}\"\n"
            );
            // At the root, where cargo looks last: below it lies the repository's own configuration, which can name
            // another registry and then finds the door closed.
            place.files.push(File {
                target: "/.cargo/config.toml".to_owned(),
                content: text.into_bytes(),
                mode: 0o644,
            });
        }
        place
    }

    /// Says where the Workload API is (SPIFFE Workload Endpoint, section 4).
    pub(super) fn announce_identity(&self, place: &mut Place) {
        let endpoint = format!("tcp://127.0.0.1:{}", selvedge_jail::IDENTITY_PORT);
        // gRPC libraries take a proxy from the environment, and would look for this address behind it.
        for (name, value) in [("SPIFFE_ENDPOINT_SOCKET", endpoint.as_str()), ("no_grpc_proxy", "127.0.0.1")] {
            *place = place.clone().with_env(name, value);
        }
    }

    /// Makes every client we know use the run's proxy and trust its authority.
    pub(super) fn trust(&self, place: &mut Place, ca_pem: &str) {
        let bundle = format!("{}\n{ca_pem}", self.roots_pem);
        place.files.push(File { target: SYSTEM_BUNDLE.to_owned(), content: bundle.into_bytes(), mode: 0o644 });
        place.files.push(File { target: RUN_CA.to_owned(), content: ca_pem.as_bytes().to_vec(), mode: 0o644 });
        let mut env: Vec<(&str, &str)> = BUNDLE_VARIABLES.iter().map(|name| (*name, SYSTEM_BUNDLE)).collect();
        env.extend([("NODE_EXTRA_CA_CERTS", RUN_CA), ("NODE_USE_ENV_PROXY", "1"), ("NO_PROXY", ""), ("no_proxy", "")]);
        env.extend(["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|name| (name, PROXY)));
        // Whom an adapter has passed the proxy by is caught on its way to the same door.
        let passes =
            |name: &str| place.env.iter().any(|(known, _)| known == name) && name.eq_ignore_ascii_case("no_proxy");
        env.retain(|(name, _)| !passes(name));
        for (name, value) in env {
            *place = place.clone().with_env(name, value);
        }
    }
}
