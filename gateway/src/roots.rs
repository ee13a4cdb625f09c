//! The certificates this machine trusts, read by the keeper and handed to its doors, which read no such files.

use std::path::PathBuf;

/// Where systems keep their bundle of root certificates, most common first.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Largest bundle; those of distributions have a quarter of a megabyte.
const BUNDLE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Why there are no root certificates.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// No bundle in any place.
    #[error("no bundle of root certificates was found; set SSL_CERT_FILE to one")]
    NotFound,
    /// One that cannot be read.
    #[error("the root certificates in `{path}` cannot be read")]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One that is no bundle.
    #[error("the root certificates in `{path}` are longer than any bundle")]
    TooLong {
        /// Where it is.
        path: PathBuf,
    },
}

/// Reads the bundle that `SSL_CERT_FILE` names, or else the system's, in PEM.
pub fn system_roots_pem() -> Result<String, RootsError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let path = named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()));
    let path = path.ok_or(RootsError::NotFound)?;
    let unreadable = |source| RootsError::Unreadable { path: path.clone(), source };
    if std::fs::metadata(&path).map_err(unreadable)?.len() > BUNDLE_BYTES_MAX {
        return Err(RootsError::TooLong { path });
    }
    std::fs::read_to_string(&path).map_err(unreadable)
}
