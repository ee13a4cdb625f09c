//! A client of the SPIFFE Workload API as the Rust `spiffe` crate ships it. Runs inside a sandbox, as
//! `app/tests/identity.rs` has it, and prints what it was given; it knows nothing of this factory.

use spiffe::{TrustDomain, WorkloadApiClient};
use tokio_stream::StreamExt as _;

type Any = Box<dyn std::error::Error>;

fn main() -> Result<(), Any> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask())
}

async fn ask() -> Result<(), Any> {
    let (cloud, elsewhere) = ("https://cloud.example", "https://elsewhere.example");
    let client = WorkloadApiClient::connect_env().await?;
    let context = client.fetch_x509_context().await?;
    let svid = context.default_svid().ok_or("no certificate")?;
    let domain = TrustDomain::new(svid.spiffe_id().trust_domain_name())?;
    let authorities = context.bundle_set().get(&domain).map_or(0, |bundle| bundle.authorities().len());
    println!("rust x509 {} under {authorities}", svid.spiffe_id());
    let token = client.fetch_jwt_svid([cloud], None).await?;
    println!("rust jwt {} {:?}", token.spiffe_id(), token.audience());
    let valid = client.validate_jwt_token(cloud, token.token()).await?;
    println!("rust validated {}", valid.spiffe_id());
    println!("rust jwt bundles {}", client.fetch_jwt_bundles().await?.len());
    match client.fetch_jwt_svid([elsewhere], None).await {
        Ok(_) => println!("rust GOT another audience"),
        Err(error) => println!("rust refused another audience | {error}"),
    }
    match client.validate_jwt_token(elsewhere, token.token()).await {
        Ok(_) => println!("rust GOT a wrong validation"),
        Err(error) => println!("rust refused a wrong validation | {error}"),
    }
    // The stream stays open, and what is renewed comes down it unasked.
    let mut stream = client.stream_x509_svids().await?;
    let first = stream.next().await.ok_or("the stream ended")??;
    let second = stream.next().await.ok_or("the stream ended")??;
    let is_fresh = first.leaf().as_bytes() != second.leaf().as_bytes();
    println!("rust was pushed {} that is {}", second.spiffe_id(), if is_fresh { "fresh" } else { "the same" });
    Ok(())
}
