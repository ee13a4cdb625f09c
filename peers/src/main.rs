//! `hudsucker` doing what our door is measured at: it ends TLS on both sides, looks at each request and lets it pass.
//! `selvedge-peers ROOTS.pem CA.pem` verifies servers by the first, writes the authority that clients must trust to the second,
//! and prints its port.

use std::error::Error;
use std::sync::Arc;

use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::hyper::{Method, Request, Response, StatusCode};
use hudsucker::hyper_util::client::legacy::connect::HttpConnector;
use hudsucker::rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use hudsucker::rustls::crypto::aws_lc_rs;
use hudsucker::rustls::pki_types::CertificateDer;
use hudsucker::rustls::pki_types::pem::PemObject;
use hudsucker::rustls::{ClientConfig, RootCertStore};
use hudsucker::{Body, HttpContext, HttpHandler, Proxy, RequestOrResponse};
use hyper_rustls::HttpsConnectorBuilder;
use tokio::net::TcpListener;

/// What its user would write to allow what the benchmark asks for, and nothing else.
#[derive(Clone)]
struct Allows;

impl HttpHandler for Allows {
    async fn handle_request(&mut self, _: &HttpContext, request: Request<Body>) -> RequestOrResponse {
        let is_tunnel = request.method() == Method::CONNECT;
        if request.uri().host() == Some("localhost") && (is_tunnel || request.method() == Method::GET) {
            return request.into();
        }
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::FORBIDDEN;
        refused.into()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(roots), Some(ca)) = (arguments.next(), arguments.next()) else {
        return Err("call it with ROOTS.pem and CA.pem".into());
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(roots)? {
        store.add(root?)?;
    }
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let client = client.with_root_certificates(store).with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(client).https_or_http().enable_http1().wrap_connector(tcp);

    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    std::fs::write(ca, params.self_signed(&key)?.pem())?;
    let authority = RcgenAuthority::new(Issuer::new(params, key), 1000, aws_lc_rs::default_provider());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let proxy = Proxy::builder().with_listener(listener).with_ca(authority).with_http_connector(connector);
    Ok(proxy.with_http_handler(Allows).build()?.start().await?)
}
