//! A request to the model door: rebuilt, asked about, and sent to the model with the factory's own key. What comes of it is read in `turn`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::forward::now;
use super::turn::{Answered, Ended, Turn};
use super::{Body, Broken, Connection, Next};
use crate::http::Context;
use crate::http::body::{BodyReader, Framing};
use crate::http::entry::HTTPS_PORT;
use crate::http::lend::{self, BodyWatch, Going};
use crate::http::path::{CanonicalPath, Query};
use crate::http::refusal::Refusal;
use crate::http::request::Exchange;
use crate::http::sign;
use crate::identity::wanted::Wanted;
use crate::link::NotAllowed;
use crate::model::Protocol;
use crate::model::answer::Metered;
use crate::model::betas;
use crate::model::call::{Called, called};
use crate::model::dialect::{self, Dialogue};
use crate::model::door::{MEMBER_LEFT_OUT, ModelDoor};
use crate::model::request::{REQUEST_BYTES_MAX, Rebuilt, is_all_text};
use crate::model::told;
use crate::model::wanted::{BUDGET_IN_USE, ModelAsk, ModelDone};
use crate::protocol::Layer;

/// How long is waited before the keeper is asked again whether the budget has room for a call by now.
const BUDGET_WAIT: Duration = Duration::from_millis(500);

/// Request fields that a vendor needs beside the body; no other goes upstream.
const FIELDS: [&str; 5] = ["accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta"];

impl Connection {
    /// Serves one request to the model door.
    pub(super) async fn serve_model(&mut self, request: &mut Exchange) -> Result<Next, Broken> {
        let context = Arc::clone(&self.context);
        let Some(door) = &context.model else { return Err(Refusal::NotModel.into()) };
        if request.path.as_str() == told::PATH {
            return self.hear_hook(door, request).await;
        }
        let has = |called: &Called| door.host.protocols.contains(&called.protocol) && door.host.hosting.has(called);
        let called = called(request).filter(has);
        let called = called.ok_or(Refusal::NotModel)?;
        let protocol = called.protocol;
        match self.have_answered(&context, door, request, called).await {
            // What an agent's own client understands, so that it stops where it should.
            Err(Broken::Untold(refusal)) => {
                if let Some((code, detail)) = refusal.reported() {
                    context.link.refused(Layer::Model, code, &detail);
                }
                self.tell(protocol, &refusal).await
            }
            other => other,
        }
    }

    async fn have_answered(
        &mut self,
        context: &Context,
        door: &ModelDoor,
        request: &mut Exchange,
        called: Called,
    ) -> Result<Next, Broken> {
        let (bytes, room) = self.read_whole(request, BodyReader::begin(request.framing, REQUEST_BYTES_MAX)?).await?;
        let Dialogue { mut rebuilt, mut reader } = door.dialogue(&called, &bytes).map_err(Refusal::UnfitCall)?;
        drop(bytes);
        let (mut upstream, betas_left_out) = upstream_request(door, request, &called, &mut rebuilt)?;
        for member in door.newly_left_out(&rebuilt.left_out.union(&betas_left_out).cloned().collect()) {
            context.link.refused(Layer::Model, MEMBER_LEFT_OUT, &member);
        }
        if let Some(turned) = BodyWatch::over(&context.loans).and_then(|watch| watch.turned_up_in(&rebuilt.body)) {
            return Err(Refusal::TurnedUp(turned).into());
        }
        let injection = lend::injection(&context.loans, &upstream, &door.host.upstream)?;
        let ask = ModelAsk {
            serial: context.link.serial(),
            protocol: called.protocol,
            asked: rebuilt.model.clone(),
            request_bytes: u64::try_from(rebuilt.body.len()).unwrap_or(u64::MAX),
            tools: u64::try_from(rebuilt.tools.len()).unwrap_or(u64::MAX),
            generates: called.generates,
            is_all_text: is_all_text(&rebuilt.body),
            output_tokens_max: rebuilt.output_tokens_max,
            egress: rebuilt.egress.clone(),
            credential: injection.as_ref().map(|injection| injection.credential.clone()),
        };
        let (serial, is_lent) = (ask.serial, injection.is_some());
        // While the keeper thinks nothing is under way yet that a withdrawal would have to wait for.
        drop(injection);
        if let Err(not_allowed) = allowed_in_turn(context, ask, door.host.patience).await {
            // Whoever did not answer in time may have set something aside for it all the same.
            if matches!(not_allowed, NotAllowed::NoAnswer) {
                settle(context, serial, Answered::unsent()).await;
            }
            return Err(Refusal::NotAllowed(not_allowed).into());
        }
        let mut answered = Answered::default();
        let streams = rebuilt.streams && called.generates;
        let injection = match is_lent {
            true => match lend::injection(&context.loans, &upstream, &door.host.upstream) {
                Ok(Some(injection)) => Some(injection),
                // The loan went while the keeper thought.
                gone => {
                    settle(context, serial, Answered::unsent()).await;
                    return Err(gone.err().unwrap_or(Refusal::OutsideGrant).into());
                }
            },
            false => None,
        };
        let turn = Turn {
            door,
            protocol: called.protocol,
            serial,
            streams,
            generates: called.generates,
            tools: rebuilt.tools,
            closes: request.closes,
        };
        match injection.as_ref().map(|injection| &injection.going) {
            None => {}
            Some(Going::Field(field, value)) => upstream.carry(field.as_str(), value),
            Some(Going::Signature(keys, signed_for)) => {
                let place = (&door.host.upstream, HTTPS_PORT);
                sign::sign(&mut upstream, &rebuilt.body, (keys, signed_for), place, now());
            }
        }
        let body = Body::Whole(rebuilt.body, room);
        let ended = match &injection {
            None => self.turn(&turn, &upstream, body, None, &mut *reader, &mut answered).await,
            Some(injection) => tokio::select! {
                biased;
                () = injection.in_hand.withdrawn() => Err(Broken::Told("credential_withdrawn")),
                ended = self.turn(&turn, &upstream, body, Some(injection), &mut *reader, &mut answered) => ended,
            },
        };
        // A turn that waits for a person holds no credential.
        drop((injection, upstream));
        let has_asked_people = answered.has_asked_people;
        answered.came_to(&ended);
        // Noted before the next is asked for; what is not noted keeps what was set aside for it.
        settle(context, serial, answered).await;
        let ended = match ended {
            Ok(Ended::Waits(waiting)) => self.hold(&turn, *waiting, &mut *reader).await,
            ended => ended,
        };
        if has_asked_people {
            let _noted = context.link.want(Wanted::Unheld { serial }).await;
        }
        match ended? {
            Ended::Whole if !turn.closes => Ok(Next::Another),
            Ended::Whole | Ended::Short | Ended::Waits(_) => Ok(Next::Close),
        }
    }

    /// Tells an agent of a refusal in the words of its protocol.
    async fn tell(&mut self, protocol: Protocol, refusal: &Refusal) -> Result<Next, Broken> {
        let shown = refusal.shown();
        // Of all answers, the one at which most agents stop at once (docs/decisions/0014).
        let status = match shown.code {
            "budget_spent" => 402,
            // Of all answers, the one that they try again.
            BUDGET_IN_USE => 429,
            _ => shown.status,
        };
        let told = dialect::refusal(protocol, status, shown.code, shown.next_step);
        self.write_answer(status, &told).await?;
        // Its body may not have been read.
        Ok(Next::Close)
    }
}

/// The request that goes upstream: this method, a path, a few fields, and the body that was made anew, as whoever runs the model has them.
/// With what it may not ask for.
fn upstream_request(
    door: &ModelDoor,
    request: &Exchange,
    called: &Called,
    rebuilt: &mut Rebuilt,
) -> Result<(Exchange, BTreeSet<String>), Refusal> {
    let (hosting, model) = (&door.host.hosting, door.there(&rebuilt.model));
    let streams = rebuilt.streams && called.generates;
    let mut upstream = request.clone();
    // Where the path says what is asked, it is made anew like the body.
    let query = upstream.query.as_ref().map(|query| format!("?{}", query.as_str())).unwrap_or_default();
    let stays = || format!("{}{query}", request.path.as_str());
    let target = hosting.target(called, model, streams).unwrap_or_else(stays);
    let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let path = format!("{}{path}", door.host.base_path);
    upstream.path = CanonicalPath::parse(&path).map_err(|_| Refusal::OutsideGrant)?;
    upstream.query = query.map(Query::parse).transpose().map_err(|_| Refusal::OutsideGrant)?;
    upstream.expects_continue = false;
    // Its key is a placeholder, or somebody else's; ours goes in.
    upstream.stripped.clear();
    upstream.keep_only(&FIELDS);
    let (mut in_body, mut left_out) = (Vec::new(), BTreeSet::new());
    for field in betas::FIELDS {
        let values = request.fields().filter(|asked| asked.name == field).map(|asked| asked.value.as_slice());
        let (kept, more) = betas::kept(field, values, &door.host.egress, hosting);
        left_out.extend(more);
        upstream.remove(field);
        match kept.is_empty() {
            true => {}
            false if hosting.is_versioned_in_body() => in_body.extend(kept),
            false => upstream.set(field, kept.join(",").as_bytes()),
        }
    }
    if hosting.is_versioned_in_body() {
        upstream.remove("anthropic-version");
    }
    if let Some(accept) = hosting.accept(streams) {
        upstream.set("accept", accept.as_bytes());
    }
    upstream.set("accept-encoding", b"identity");
    let body = std::mem::take(&mut rebuilt.body);
    rebuilt.body = hosting.body(called, model, body, in_body).map_err(Refusal::UnfitCall)?;
    upstream.framing = Framing::Length(u64::try_from(rebuilt.body.len()).unwrap_or(u64::MAX));
    Ok((upstream, left_out))
}

/// Tells the keeper what a call came to. Noted before the next is asked for; what is not noted keeps what was set aside for it.
async fn settle(context: &Context, serial: u64, answered: Answered) {
    let Answered { status, metered: Metered { usage, is_final, written_bytes }, cut_by_vendor, broke_off, .. } =
        answered;
    let done = ModelDone { serial, status, usage, is_final, written_bytes, cut_by_vendor, broke_off };
    let _noted = context.link.want(Wanted::ModelDone(done)).await;
}

/// Asks the keeper for a call of the model. While what is left of the budget is set aside for calls under way, it waits for these.
async fn allowed_in_turn(context: &Context, ask: ModelAsk, patience: Duration) -> Result<(), NotAllowed> {
    let begun = Instant::now();
    loop {
        match context.link.allowed(Wanted::Model(ask.clone())).await {
            Err(NotAllowed::Denied { code, .. }) if code == BUDGET_IN_USE && begun.elapsed() < patience => {
                sleep(BUDGET_WAIT).await;
            }
            decided => return decided,
        }
    }
}
