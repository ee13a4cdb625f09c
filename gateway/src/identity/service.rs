//! The five calls of the Workload API, each translated into what the keeper is asked (SPIFFE Workload API, sections 4 to 6).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use prost_types::value::Kind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::api::spiffe_workload_api_server::SpiffeWorkloadApi;
use super::api::{
    JwtBundlesRequest, JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
};
use super::holder::Holder;
use super::wanted::{Bundles, Claims, Given, Wanted};
use crate::http::Context;
use crate::protocol::{Layer, Lease};

/// How often a stream looks whether the keys of the trust domain changed. A key is published for a day before it signs.
const BUNDLES_PERIOD: Duration = Duration::from_secs(30);

/// The metadata every call must carry, so that no request forged through a browser or a proxy is one (section 3.1).
const SECURITY_HEADER: &str = "workload.spiffe.io";

/// The API, for the one run this door belongs to.
pub(super) struct WorkloadApi {
    context: Arc<Context>,
    holder: Holder,
}

impl WorkloadApi {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, holder: Holder::default() }
    }

    fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        if request.metadata().get(SECURITY_HEADER).is_some_and(|value| value == "true") {
            return Ok(request.into_inner());
        }
        self.context.link.refused(Layer::Identity, "no_security_header", "");
        Err(Status::invalid_argument("the metadata `workload.spiffe.io: true` is missing; add it to the call"))
    }

    async fn bundles(&self) -> Result<Bundles, Status> {
        match self.context.link.want(Wanted::Bundles).await {
            Some(Given::Bundles(bundles)) => Ok(bundles),
            _ => Err(not_given()),
        }
    }

    async fn x509_response(&self) -> Result<(X509svidResponse, Duration), Status> {
        let svid = self.holder.x509(&self.context.link).await?;
        let due = svid.due_in();
        let svid = X509svid {
            spiffe_id: svid.spiffe_id,
            x509_svid: svid.certificate,
            x509_svid_key: svid.key,
            bundle: self.bundles().await?.x509.concat(),
            hint: String::new(),
        };
        Ok((X509svidResponse { svids: vec![svid], ..X509svidResponse::default() }, due))
    }
}

type Stream<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl SpiffeWorkloadApi for Arc<WorkloadApi> {
    type FetchX509SVIDStream = Stream<X509svidResponse>;
    type FetchX509BundlesStream = Stream<X509BundlesResponse>;
    type FetchJWTBundlesStream = Stream<JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.admit(request)?;
        let api = Self::clone(self);
        let (first, due) = api.x509_response().await?;
        keep(first, due, move || {
            let api = Self::clone(&api);
            async move { api.x509_response().await }
        })
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.admit(request)?;
        let api = Self::clone(self);
        let answer = |bundles: Bundles| X509BundlesResponse {
            crl: Vec::new(),
            bundles: HashMap::from([(id_of(&bundles), bundles.x509.concat())]),
        };
        let first = answer(api.bundles().await?);
        keep(first, BUNDLES_PERIOD, move || {
            let api = Self::clone(&api);
            async move { Ok((answer(api.bundles().await?), BUNDLES_PERIOD)) }
        })
    }

    /// One audience, one token: a token for several is accepted by each of them, so that any could use it against another.
    async fn fetch_jwtsvid(&self, request: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        let JwtsvidRequest { audience, spiffe_id } = self.admit(request)?;
        let [audience] = <[String; 1]>::try_from(audience).map_err(|audiences| {
            let count = audiences.len();
            Status::invalid_argument(format!("a token is for one audience, not {count}; ask once for each"))
        })?;
        match self.context.link.want(Wanted::Jwt { audience }).await {
            Some(Given::Jwt { spiffe_id: held, .. }) if !spiffe_id.is_empty() && spiffe_id != held => {
                Err(refused("outside_grant", &format!("this workload is `{held}` and nobody else; ask for that")))
            }
            Some(Given::Jwt { spiffe_id, token }) => {
                let svid = String::from_utf8(token.expose().to_vec()).map_err(|_| not_given())?;
                Ok(Response::new(JwtsvidResponse { svids: vec![Jwtsvid { spiffe_id, svid, hint: String::new() }] }))
            }
            Some(Given::Denied { code, next_step }) => Err(refused(&code, &next_step)),
            _ => Err(not_given()),
        }
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.admit(request)?;
        let api = Self::clone(self);
        let answer = |bundles: Bundles| JwtBundlesResponse {
            bundles: HashMap::from([(id_of(&bundles), bundles.jwks.into_bytes())]),
        };
        let first = answer(api.bundles().await?);
        keep(first, BUNDLES_PERIOD, move || {
            let api = Self::clone(&api);
            async move { Ok((answer(api.bundles().await?), BUNDLES_PERIOD)) }
        })
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        let ValidateJwtsvidRequest { audience, svid } = self.admit(request)?;
        if audience.is_empty() || svid.is_empty() {
            return Err(Status::invalid_argument("name the audience and the token"));
        }
        match self.context.link.want(Wanted::Valid { audience, token: Lease::new(svid.into_bytes()) }).await {
            Some(Given::Valid(claims)) => Ok(Response::new(ValidateJwtsvidResponse {
                spiffe_id: claims.subject.clone(),
                claims: Some(written(claims)),
            })),
            Some(Given::Invalid { because }) => Err(Status::invalid_argument(because)),
            _ => Err(not_given()),
        }
    }
}

/// A stream that stays open and sends again whatever changed, at the latest when it is due.
fn keep<T, F>(first: T, due: Duration, again: impl Fn() -> F + Send + 'static) -> Result<Response<Stream<T>>, Status>
where
    T: PartialEq + Clone + Send + 'static,
    F: Future<Output = Result<(T, Duration), Status>> + Send,
{
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut sent, mut due) = (first.clone(), due);
        if sender.send(Ok(first)).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(due.min(BUNDLES_PERIOD)) => {}
                () = sender.closed() => return,
            }
            let told = match again().await {
                Ok((same, next)) if same == sent => {
                    due = next;
                    continue;
                }
                Ok((changed, next)) => {
                    (sent, due) = (changed.clone(), next);
                    sender.send(Ok(changed)).await
                }
                Err(status) => return drop(sender.send(Err(status)).await),
            };
            if told.is_err() {
                return;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(receiver)))
}

/// A refusal of the keeper's, in words for the agent.
pub(super) fn refused(code: &str, next_step: &str) -> Status {
    Status::permission_denied(format!("{code}: {next_step}"))
}

/// The keeper gave no answer, or one to another question: nothing is given then.
pub(super) fn not_given() -> Status {
    Status::unavailable("the keeper gave no answer in time; try again")
}

fn id_of(bundles: &Bundles) -> String {
    format!("spiffe://{}", bundles.trust_domain)
}

fn written(claims: Claims) -> prost_types::Struct {
    let Claims { issuer, subject, audience, issued, expires, id } = claims;
    let text = |text| Kind::StringValue(text);
    // Seconds fit the 53 bits of a protocol number for as long as anyone will care.
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit 53 bits")]
    let number = |seconds: u64| Kind::NumberValue(seconds as f64);
    let fields = [
        ("iss", text(issuer)),
        ("sub", text(subject)),
        ("aud", text(audience)),
        ("iat", number(issued)),
        ("exp", number(expires)),
        ("jti", text(id)),
    ];
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let fields: BTreeMap<_, _> = fields.into_iter().map(|(name, kind)| (name.to_owned(), value(kind))).collect();
    prost_types::Struct { fields }
}
