//! The token endpoint as its clients meet it: what is exchanged, what is told of it, and how it ends.

use std::sync::Arc;

use selvedge_authority::{Code as Denied, Denial, Permit, Stop, Subject};
use selvedge_credentials::{
    CHILD_TEXT_BYTES_MAX, Code, DELEGATION_DEPTH_MAX, Ending, Inquirer, Issued, Leases, LendError, NotHandedOn,
    OWN_AUDIENCE, Parent, Refusal, Reply, RevocationList as _, SVID_LIFETIME_MAX, Served, TaskContext, TokenEndpoint,
    metadata,
};
use selvedge_domain::orders::{Delegate, MintCredential};
use selvedge_domain::{
    AgentName, Autonomy, Conduct, Duration, Endpoint, Grant, HostPattern, Intent, LeaseId, LeaseState, Loan, May,
    Method, Owner, Reach, RepoName, RunId, TaskId, Time, Trust, WorkloadId,
};
use serde_json::{Value, json};

use crate::world::{
    Cut, Disk, Fuse, ISSUER, NOW, TRUST_DOMAIN, Wired, issuer, lease, order, permit, permit_for, sealer, text,
};

pub(crate) const CLOUD: &str = "https://cloud.example";
pub(crate) const SVID: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(crate) const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

pub(crate) fn agent(run: u64) -> WorkloadId {
    WorkloadId::new(TRUST_DOMAIN, RunId::from_entropy(run), AgentName::parse("fixer").unwrap())
}

fn reach(path: &str) -> Reach {
    Reach {
        endpoint: Endpoint { host: HostPattern::parse("registry.example").unwrap(), port: 443 },
        methods: [Method::Get, Method::Head].into(),
        path_prefix: path.to_owned(),
    }
}

pub(crate) fn parent(run: u64) -> Parent {
    let credential = selvedge_domain::CredentialName::parse("crates").unwrap();
    Parent {
        workload: agent(run),
        repo: RepoName::parse("acme/shop").unwrap(),
        grant: Grant {
            trust: Trust::Propose,
            may: [May::Read, May::Write, May::Delegate].into(),
            reach: [reach("/crates")].into(),
            audiences: [CLOUD.to_owned()].into(),
            may_ask: std::collections::BTreeSet::new(),
            models: std::collections::BTreeSet::new(),
            tools: std::collections::BTreeSet::new(),
            loans: [Loan { credential, uses: reach("/api") }].into(),
            until: NOW.after(Duration::from_seconds(3600)),
        },
        depth: 0,
        budget_left: 100,
        handed_on: std::collections::BTreeMap::new(),
        context: TaskContext {
            task: TaskId::from_entropy(1),
            intent: Intent::ProposeChange,
            lineage: vec![RunId::from_entropy(70)],
        },
    }
}

/// A keeper's token endpoint, and what its runs have.
pub(crate) struct Desk {
    pub(crate) disk: Arc<Disk>,
    pub(crate) issuer: Arc<selvedge_credentials::Issuer>,
    pub(crate) list: Arc<Wired>,
    pub(crate) endpoint: TokenEndpoint,
}

pub(crate) fn desk() -> Desk {
    desk_on(&Arc::default(), Cut::Never)
}

pub(crate) fn desk_on(disk: &Arc<Disk>, cut: Cut) -> Desk {
    let (disk, issuer) = (Arc::clone(disk), issuer(disk));
    let list = Arc::new(Wired { disk: Arc::clone(&disk), fuse: Fuse::new(cut) });
    let endpoint = TokenEndpoint::new(Arc::clone(&issuer), Arc::<Wired>::clone(&list));
    Desk { disk, issuer, list, endpoint }
}

impl Desk {
    /// The identity document of a run; its lease has the run's number.
    pub(crate) fn svid_for(&self, run: u64, audience: &str, now: Time) -> String {
        let until = now.after(SVID_LIFETIME_MAX);
        let order = MintCredential { run: RunId::from_entropy(run), until, ..order(run, audience) };
        text(&self.issuer.sign(&permit(order), &agent(run), now).unwrap().0)
    }

    pub(crate) fn svid(&self, run: u64) -> String {
        self.svid_for(run, OWN_AUDIENCE, NOW)
    }

    /// Exchanges by the whole way there is: consider, have it permitted within the run's own grant, issue.
    pub(crate) fn exchange(&self, form: &str, parent: &Parent, number: u64, now: Time) -> Result<Issued, Refusal> {
        let considered = self.endpoint.consider(form.as_bytes(), parent, lease(number), now)?;
        let permit = permitted(parent, considered.order().clone()).unwrap();
        self.endpoint.issue(&permit, considered, now)
    }

    pub(crate) fn is_active(&self, token: &str, inquirer: Inquirer<'_>, now: Time) -> bool {
        let told = self.endpoint.introspect(encoded(&[("token", token)]).as_bytes(), inquirer, now).unwrap();
        let told = body(&told.reply());
        if told["active"] == json!(false) {
            assert_eq!(told, json!({ "active": false }), "nothing but that");
        }
        told["active"].as_bool().unwrap()
    }

    fn revoke(&self, token: &str, asker: &WorkloadId) -> Result<Option<LeaseId>, Refusal> {
        self.endpoint.revoke(encoded(&[("token", token), ("token_type_hint", "refresh_token")]).as_bytes(), asker, NOW)
    }
}

/// A permit for a run's order, by the funnel: what the run's grant does not hold gets none.
pub(crate) fn permitted(parent: &Parent, order: Delegate) -> Result<Permit<Delegate>, Stop> {
    let subject = Subject::Agent {
        workload: parent.workload.clone(),
        name: parent.workload.agent().clone(),
        owner: Owner::parse("team").unwrap(),
        trust: parent.grant.trust,
        conduct: Conduct::unseen(Autonomy::Supervised),
        grant: Box::new(parent.grant.clone()),
    };
    permit_for(&subject, parent.workload.run().clone(), order)
}

/// What is asked for a child is read strictly, counted against what is left, and never more than three steps from a grant of one's own.
#[test]
fn a_child_is_asked_for_in_plain_bounded_words_b4() {
    let parent = parent(1);
    let asked = |changes: &[(&str, &str)], parent: &Parent| {
        let mut form =
            vec![("agent", "reader"), ("text", "read it"), ("scope", "trust:draft may:read"), ("budget", "40")];
        for (name, value) in changes {
            form.retain(|(known, _)| known != name);
            form.push((name, value));
        }
        TokenEndpoint::child(encoded(&form).as_bytes(), parent)
    };
    let child = asked(&[], &parent).unwrap();
    assert_eq!((child.agent.as_str(), child.text.as_str()), ("reader", "read it"));
    assert_eq!((child.handed.depth, child.handed.budget, child.handed.ceiling.trust), (1, 40, Trust::Draft));
    assert_eq!(child.handed.ceiling.may, [May::Read].into());
    assert!(child.handed.ceiling.reach.is_empty() && child.handed.ceiling.loans.is_empty(), "nothing is given unasked");
    assert_eq!(asked(&[("budget", "100")], &parent).unwrap().handed.budget, 100);
    let last = Parent { depth: DELEGATION_DEPTH_MAX - 1, ..parent.clone() };
    assert_eq!(asked(&[], &last).unwrap().handed.depth, DELEGATION_DEPTH_MAX);
    let long = "a".repeat(CHILD_TEXT_BYTES_MAX + 1);
    for (changes, code) in [
        (("agent", ""), Code::InvalidRequest),
        (("agent", "../reader"), Code::InvalidTarget),
        (("text", ""), Code::InvalidRequest),
        (("text", "a\0b"), Code::InvalidRequest),
        (("text", long.as_str()), Code::InvalidRequest),
        (("scope", ""), Code::InvalidScope),
        (("scope", "admin"), Code::InvalidScope),
        (("scope", "may:read may:all"), Code::InvalidScope),
        (("budget", "101"), Code::InvalidScope),
        (("budget", "-1"), Code::InvalidRequest),
    ] {
        assert_eq!(asked(&[changes], &parent).unwrap_err().code(), code, "{changes:?}");
    }
    let deepest = Parent { depth: DELEGATION_DEPTH_MAX, ..parent };
    assert_eq!(asked(&[], &deepest).unwrap_err().code(), Code::InvalidRequest);
}

pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

/// A request for less of what `token` is good for, with further parameters.
pub(crate) fn ask(token: &str, kind: &str, scope: &str, more: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("grant_type", GRANT_TYPE),
        ("subject_token", token),
        ("subject_token_type", kind),
        ("scope", scope),
        ("audience", CLOUD),
    ];
    pairs.retain(|(name, _)| !more.iter().any(|(other, _)| name == other));
    pairs.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    encoded(&pairs)
}

pub(crate) fn body(reply: &Reply) -> Value {
    serde_json::from_slice(reply.body.expose()).unwrap()
}

/// The claims, unverified.
pub(crate) fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn told(refused: Result<impl Sized, Refusal>) -> Code {
    refused.err().unwrap().code()
}

/// Tokens handed on from run 1 to run 2 to run 3, with leases 101, 102 and 103.
pub(crate) fn handed_on(desk: &Desk, now: Time) -> Vec<String> {
    let svid = |run| desk.svid_for(run, OWN_AUDIENCE, now);
    let mut tokens = Vec::new();
    let (mut held, mut kind) = (svid(1), SVID);
    for run in 1..=3 {
        let to = svid(run + 1);
        let form = ask(&held, kind, "may:read", &[("actor_token", &to), ("actor_token_type", SVID)]);
        let mut giver = parent(run);
        giver.grant.until = now.after(Duration::from_seconds(3600));
        let issued = desk.exchange(&form, &giver, 100 + run, now).unwrap();
        (held, kind) = (text(&issued.token), ACCESS);
        tokens.push(held.clone());
    }
    tokens
}

#[test]
fn a_run_gives_a_child_less_than_it_has_and_the_token_says_all_of_it_b4_d8() {
    let desk = desk();
    let (own, child) = (desk.svid(1), desk.svid(2));
    let scope = "may:read reach:GET:registry.example:443/crates/itoa loan:crates:GET:registry.example:443/api/v1";
    let more = [("actor_token", child.as_str()), ("actor_token_type", SVID), ("budget", "40")];
    let issued = desk.exchange(&ask(&own, SVID, scope, &more), &parent(1), 101, NOW).unwrap();
    let answer = body(&issued.reply(NOW));
    let token = answer["access_token"].as_str().unwrap();
    let (iat, granted) = (NOW.as_millis() / 1000, format!("trust:observe {scope}"));
    assert_eq!(
        answer,
        json!({
            "access_token": token, "issued_token_type": ACCESS, "token_type": "Bearer", "expires_in": 299, "scope": granted,
        })
    );
    let [giver, holder] = [1, 2].map(|run| agent(run).to_string());
    let expected = json!({
        "iss": ISSUER, "sub": holder, "client_id": holder, "aud": CLOUD, "iat": iat, "exp": iat + 300,
        "jti": lease(101).to_string(), "scope": granted, "act": { "sub": holder, "act": { "sub": giver } },
        "selvedge": {
            "task": TaskId::from_entropy(1).to_string(), "intent": "propose-change",
            "lineage": [RunId::from_entropy(70).to_string()], "depth": 1, "budget": 40,
            "chain": [{ "jti": lease(1).to_string(), "sub": giver }],
        },
    });
    assert_eq!(claims(token), expected);
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"), "RFC 9068");
    // The service it is for is told the same, and that it lives.
    let form = encoded(&[("token", token)]);
    let told = desk.endpoint.introspect(form.as_bytes(), Inquirer::Service(CLOUD), NOW).unwrap();
    let mut active = expected;
    active["active"] = json!(true);
    active["token_type"] = json!("Bearer");
    assert_eq!(body(&told.reply()), active);
    assert!(Reply::FIELDS.contains(&("cache-control", "no-store")), "RFC 6749 section 5.1");
}

#[test]
fn a_token_is_exchanged_by_its_holder_and_by_nobody_else_a58() {
    let desk = desk();
    let own = desk.svid(1);
    assert!(desk.exchange(&ask(&own, SVID, "may:read", &[]), &parent(1), 101, NOW).is_ok());
    assert_eq!(told(desk.exchange(&ask(&own, SVID, "may:read", &[]), &parent(2), 102, NOW)), Code::InvalidRequest);
    let tokens = handed_on(&desk, NOW);
    // Whoever gave it cannot take it back by using it, and whoever comes later cannot use what is above.
    for (token, holder) in tokens.iter().zip([2, 3, 4]) {
        for run in (1..=5).filter(|run| *run != holder) {
            let refused = desk.exchange(&ask(token, ACCESS, "may:read", &[]), &parent(run), 110, NOW);
            assert_eq!(told(refused), Code::InvalidRequest, "token of {holder}, asked by {run}");
        }
    }
    let other = WorkloadId::new(TRUST_DOMAIN, RunId::from_entropy(1), AgentName::parse("other").unwrap());
    let other = Parent { workload: other, ..parent(1) };
    assert_eq!(told(desk.exchange(&ask(&own, SVID, "may:read", &[]), &other, 111, NOW)), Code::InvalidRequest);
}

#[test]
fn no_scope_audience_or_budget_that_is_not_held_is_given_a58() {
    let desk = desk();
    let own = desk.svid(1);
    let refused = |scope: &str, more: &[(&str, &str)]| {
        desk.exchange(&ask(&own, SVID, scope, more), &parent(1), 101, NOW).err().map(|refusal| refusal.code())
    };
    assert_eq!(refused("trust:propose may:read may:write audience:https://cloud.example", &[("budget", "100")]), None);
    for scope in [
        "trust:land",
        "may:open-pr",
        "audience:https://other.example",
        "reach:POST:registry.example:443/crates",
        "reach:GET:registry.example:443/",
        "reach:GET:registry.example:443/crates-secret",
        "reach:GET:registry.example:80/crates",
        "reach:GET:other.example:443/crates",
        "loan:crates:GET:registry.example:443/",
        "loan:other:GET:registry.example:443/api",
        "nonsense",
        "",
    ] {
        assert_eq!(refused(scope, &[]), Some(Code::InvalidScope), "{scope:?}");
    }
    for (name, value) in [("audience", "https://other.example"), ("resource", CLOUD), ("audience", "")] {
        assert_eq!(refused("may:read", &[(name, value)]), Some(Code::InvalidTarget), "{name} {value}");
    }
    assert_eq!(refused("may:read", &[("audience", ""), ("resource", CLOUD)]), None);
    assert_eq!(
        refused("may:read", &[("audience", ""), ("resource", "https://cloud.example#a")]),
        Some(Code::InvalidTarget)
    );
    assert_eq!(refused("may:read", &[("budget", "101")]), Some(Code::InvalidScope));
    for budget in ["-1", "+1", "1.5", "99999999999999999999"] {
        assert_eq!(refused("may:read", &[("budget", budget)]), Some(Code::InvalidRequest), "{budget}");
    }
    // What the run holds beyond its token is not in the token's reach either.
    let narrow = desk.exchange(&ask(&own, SVID, "may:read", &[("budget", "10")]), &parent(1), 101, NOW).unwrap();
    let narrow = text(&narrow.token);
    let again = |scope: &str, more: &[(&str, &str)]| {
        desk.exchange(&ask(&narrow, ACCESS, scope, more), &parent(1), 102, NOW).err().map(|refusal| refusal.code())
    };
    assert_eq!(again("may:read", &[("budget", "10")]), None);
    assert_eq!(again("may:read may:write", &[]), Some(Code::InvalidScope));
    assert_eq!(again("may:read", &[("budget", "11")]), Some(Code::InvalidScope));
    assert_eq!(again("may:read", &[("audience", OWN_AUDIENCE)]), Some(Code::InvalidTarget));
}

#[test]
fn authority_is_handed_on_so_often_and_no_further_b4() {
    let desk = desk();
    let tokens = handed_on(&desk, NOW);
    let depths: Vec<Value> = tokens.iter().map(|token| claims(token)["selvedge"]["depth"].clone()).collect();
    assert_eq!(depths, [json!(1), json!(2), json!(3)]);
    assert_eq!(DELEGATION_DEPTH_MAX, 3);
    let beyond = desk.exchange(&ask(&tokens[2], ACCESS, "may:read", &[]), &parent(4), 104, NOW);
    assert_eq!(told(beyond), Code::InvalidRequest);
    // Nor by showing an identity document instead, where the keeper knows how the run came by what it has.
    let deep = Parent { depth: 3, ..parent(4) };
    let beyond = desk.exchange(&ask(&desk.svid(4), SVID, "may:read", &[]), &deep, 104, NOW);
    assert_eq!(told(beyond), Code::InvalidRequest);
    let [first, second, third] = [2, 3, 4].map(|run| agent(run).to_string());
    let whole = json!({ "sub": third, "act": { "sub": second, "act": { "sub": first, "act": { "sub": agent(1).to_string() } } } });
    assert_eq!(claims(&tokens[2])["act"], whole);
}

#[test]
fn nothing_is_signed_without_the_permit_for_exactly_that_invariant_1() {
    let desk = desk();
    let own = desk.svid(1);
    let consider = |scope: &str, number| {
        desk.endpoint.consider(ask(&own, SVID, scope, &[]).as_bytes(), &parent(1), lease(number), NOW).unwrap()
    };
    for (scope, number) in [("may:write", 101), ("may:read", 102)] {
        let permit = permitted(&parent(1), consider("may:read", 101).order().clone()).unwrap();
        let refused = desk.endpoint.issue(&permit, consider(scope, number), NOW);
        assert_eq!(told(refused), Code::UnauthorizedClient, "{scope} {number}");
    }
    // The funnel compares with the grant by itself: an order that got past `consider` gets no permit.
    let order = consider("may:read", 101).order().clone();
    let wider = Grant { may: May::ALL.iter().copied().collect(), ..order.grant.clone() };
    let later = Grant { until: Time::from_millis(u64::MAX), ..order.grant.clone() };
    for wrong in [
        Delegate { grant: wider, ..order.clone() },
        Delegate { grant: later, ..order.clone() },
        Delegate { audience: "https://other.example".to_owned(), ..order.clone() },
    ] {
        let stopped = permitted(&parent(1), wrong).unwrap_err();
        let Stop::Denied(Denial { code: Denied::OutsideGrant, .. }) = &stopped else { panic!("{stopped}") };
    }
    let Err(Stop::Denied(denial)) = permitted(&parent(1), Delegate { audience: "x".to_owned(), ..order }) else {
        panic!("permitted")
    };
    let refusal = body(&Refusal::denied(&denial).reply());
    assert_eq!(refusal["error"], "unauthorized_client");
    assert!(refusal["error_description"].as_str().unwrap().contains("ask the agent's owner"), "{refusal}");
}

#[test]
fn a_token_lives_no_longer_than_anything_it_comes_from() {
    let desk = desk();
    let exp = |form: &str, parent: &Parent, now| {
        let issued = desk.exchange(form, parent, 101, now).unwrap();
        claims(&text(&issued.token))["exp"].as_u64().unwrap()
    };
    let own = desk.svid(1);
    let begun = NOW.as_millis() / 1000;
    assert_eq!(exp(&ask(&own, SVID, "may:read", &[]), &parent(1), NOW), begun + 300);
    let later = NOW.after(Duration::from_seconds(200));
    assert_eq!(exp(&ask(&own, SVID, "may:read", &[]), &parent(1), later), begun + 300, "the document's end");
    let mut short = parent(1);
    short.grant.until = NOW.after(Duration::from_millis(61_999));
    assert_eq!(exp(&ask(&own, SVID, "may:read", &[]), &short, NOW), begun + 62, "the grant's, rounded down");
    let child = desk.svid_for(2, OWN_AUDIENCE, NOW);
    let fresh = desk.svid_for(1, OWN_AUDIENCE, later);
    let form = ask(&fresh, SVID, "may:read", &[("actor_token", &child), ("actor_token_type", SVID)]);
    assert_eq!(exp(&form, &parent(1), later), begun + 300, "the child's document's end");
    short.grant.until = NOW.after(Duration::from_millis(499));
    assert_eq!(told(desk.exchange(&ask(&own, SVID, "may:read", &[]), &short, 101, NOW)), Code::InvalidRequest);
    // A clock that is set back between the two steps lengthens nothing.
    let considered =
        desk.endpoint.consider(ask(&fresh, SVID, "may:read", &[]).as_bytes(), &parent(1), lease(101), later);
    let considered = considered.unwrap();
    let permit = permitted(&parent(1), considered.order().clone()).unwrap();
    let issued = desk.endpoint.issue(&permit, considered, NOW).unwrap();
    assert_eq!(claims(&text(&issued.token))["exp"], json!(begun + 300));
}

#[test]
fn tokens_that_are_dead_foreign_or_of_another_kind_are_not_exchanged() {
    let desk = desk();
    let own = desk.svid(1);
    let access = text(&desk.exchange(&ask(&own, SVID, "may:read", &[]), &parent(1), 101, NOW).unwrap().token);
    let foreign = self::desk().svid(1);
    let cloud = desk.svid_for(1, CLOUD, NOW);
    let cut = own.rsplit_once('.').unwrap().0;
    let code =
        |token: &str, kind: &str, now| told(desk.exchange(&ask(token, kind, "may:read", &[]), &parent(1), 102, now));
    for (token, kind) in [
        (access.as_str(), SVID),
        (own.as_str(), ACCESS),
        (own.as_str(), "urn:ietf:params:oauth:token-type:id_token"),
        (foreign.as_str(), SVID),
        (cloud.as_str(), SVID),
        (cut, SVID),
        ("x", SVID),
        ("x", ACCESS),
    ] {
        assert_eq!(code(token, kind, NOW), Code::InvalidRequest, "{kind}");
    }
    let expired = NOW.after(SVID_LIFETIME_MAX);
    assert_eq!(code(&own, SVID, expired), Code::InvalidRequest);
    assert_eq!(code(&access, ACCESS, expired), Code::InvalidRequest);
    // The actor is held to the same.
    for (actor, kind) in
        [(access.as_str(), SVID), (access.as_str(), ACCESS), (foreign.as_str(), SVID), (own.as_str(), "")]
    {
        let form = ask(&own, SVID, "may:read", &[("actor_token", actor), ("actor_token_type", kind)]);
        assert_eq!(told(desk.exchange(&form, &parent(1), 102, NOW)), Code::InvalidRequest, "{kind}");
    }
    desk.disk.revoked.lock().unwrap().insert(lease(1));
    assert_eq!(code(&own, SVID, NOW), Code::InvalidRequest);
    assert_eq!(code(&access, ACCESS, NOW), Code::InvalidRequest, "what came from it died with it");
}

#[test]
fn a_halt_between_the_permit_and_the_signature_wins() {
    let desk = desk();
    for revoked in [1, 101] {
        let form = ask(&desk.svid(1), SVID, "may:read", &[]);
        let considered = desk.endpoint.consider(form.as_bytes(), &parent(1), lease(101), NOW).unwrap();
        let permit = permitted(&parent(1), considered.order().clone()).unwrap();
        desk.disk.revoked.lock().unwrap().insert(lease(revoked));
        assert_eq!(told(desk.endpoint.issue(&permit, considered, NOW)), Code::InvalidRequest, "{revoked}");
        desk.disk.revoked.lock().unwrap().clear();
    }
}

#[test]
fn revoking_a_token_ends_all_that_came_from_it_and_a_restart_forgets_nothing_c4() {
    for (revoked, by) in [(0, 1), (0, 2), (1, 1), (1, 3), (2, 1), (2, 2), (2, 4)] {
        let desk = desk();
        let tokens = handed_on(&desk, NOW);
        let alive = |desk: &Desk| -> Vec<bool> {
            tokens.iter().map(|token| desk.is_active(token, Inquirer::Service(CLOUD), NOW)).collect()
        };
        assert_eq!(alive(&desk), [true; 3]);
        assert_eq!(desk.revoke(&tokens[revoked], &agent(by)), Ok(Some(lease(101 + u64::try_from(revoked).unwrap()))));
        let left: Vec<bool> = (0..3).map(|at| at < revoked).collect();
        assert_eq!(alive(&desk), left, "token {revoked}, by run {by}");
        assert_eq!(alive(&desk_on(&desk.disk, Cut::Never)), left, "after a restart");
        assert!(desk.revoke(&tokens[revoked], &agent(by)).is_ok(), "safe to repeat");
    }
    // The identity document a chain began with is one of its links.
    let desk = desk();
    let tokens = handed_on(&desk, NOW);
    desk.disk.revoked.lock().unwrap().insert(lease(1));
    assert!(tokens.iter().all(|token| !desk.is_active(token, Inquirer::Service(CLOUD), NOW)));
}

#[test]
fn a_token_is_revoked_by_who_holds_or_gave_it_and_by_nobody_else() {
    let desk = desk();
    let tokens = handed_on(&desk, NOW);
    for (at, stranger) in [(0, 3), (0, 9), (1, 4), (2, 9)] {
        assert_eq!(told(desk.revoke(&tokens[at], &agent(stranger))), Code::InvalidGrant, "{at} {stranger}");
    }
    assert!(tokens.iter().all(|token| desk.is_active(token, Inquirer::Service(CLOUD), NOW)));
    // What is unknown is as dead as it will be; an identity document is not, so nobody is told that it is.
    for unknown in ["x", "a.b.c", tokens[0].get(..100).unwrap(), &handed_on(&self::desk(), NOW)[0]] {
        assert_eq!(desk.revoke(unknown, &agent(1)), Ok(None));
    }
    assert_eq!((Reply::revoked().status, Reply::revoked().body.expose().len()), (200, 0));
    assert_eq!(told(desk.revoke(&desk.svid(1), &agent(1))), Code::UnsupportedTokenType);
    assert!(desk.disk.revoked.lock().unwrap().is_empty());
    // A clock that is wrong either way keeps nobody from giving a token back.
    for now in [Time::from_millis(0), NOW.after(Duration::from_seconds(86_400))] {
        let form = encoded(&[("token", &tokens[0])]);
        assert_eq!(desk.endpoint.revoke(form.as_bytes(), &agent(2), now), Ok(Some(lease(101))));
    }
}

#[test]
fn a_revocation_that_cannot_be_kept_or_read_is_no_yes() {
    let disk = Arc::<Disk>::default();
    let tokens = handed_on(&desk_on(&disk, Cut::Never), NOW);
    let dark = desk_on(&disk, Cut::Before(0));
    let refusal = dark.revoke(&tokens[0], &agent(2)).unwrap_err();
    assert_eq!((refusal.code(), refusal.reply().status), (Code::Unavailable, 503));
    assert!(refusal.reply().body.expose().is_empty(), "no code of the RFCs, so none is made up");
    assert!(!dark.is_active(&tokens[0], Inquirer::Service(CLOUD), NOW), "what nobody knows counts as revoked");
    let form = ask(&tokens[0], ACCESS, "may:read", &[]);
    assert_eq!(told(dark.exchange(&form, &parent(2), 110, NOW)), Code::Unavailable);
    let wired = dark.list.fuse.acts();
    assert!(wired > 0, "the list was asked");
}

#[test]
fn a_token_is_only_told_about_to_those_it_concerns() {
    let desk = desk();
    let tokens = handed_on(&desk, NOW);
    let (runs, middle) = ([1, 2, 3, 4, 9].map(agent), &tokens[1]);
    let told: Vec<bool> = runs.iter().map(|run| desk.is_active(middle, Inquirer::Run(run), NOW)).collect();
    assert_eq!(told, [true, true, true, false, false], "who gave it and who holds it, not who comes after");
    assert!(!desk.is_active(middle, Inquirer::Service("https://other.example"), NOW));
    assert!(!desk.is_active(middle, Inquirer::Service(OWN_AUDIENCE), NOW));
    assert!(!desk.is_active(middle, Inquirer::Service(CLOUD), NOW.after(SVID_LIFETIME_MAX)), "expired");
    for other in ["x", "", " ", &desk.svid(2), &handed_on(&self::desk(), NOW)[1]] {
        if other.is_empty() {
            assert_eq!(told_of(&desk, "token="), Code::InvalidRequest, "there is no token to tell of");
        } else {
            assert!(!desk.is_active(other, Inquirer::Run(&agent(3)), NOW));
        }
    }
}

#[test]
fn an_identity_document_is_told_about_to_its_holder_and_to_whom_it_is_for() {
    let desk = desk();
    let (own, cloud) = (desk.svid(3), desk.svid_for(4, CLOUD, NOW));
    assert!(desk.is_active(&own, Inquirer::Run(&agent(3)), NOW));
    assert!(!desk.is_active(&own, Inquirer::Run(&agent(4)), NOW), "another run's");
    assert!(desk.is_active(&cloud, Inquirer::Service(CLOUD), NOW));
    assert!(!desk.is_active(&cloud, Inquirer::Service("https://other.example"), NOW));
    assert!(!desk.is_active(&cloud, Inquirer::Service(CLOUD), NOW.after(SVID_LIFETIME_MAX)), "expired");
    desk.list.revoke(&lease(4), NOW.after(SVID_LIFETIME_MAX)).unwrap();
    assert!(!desk.is_active(&cloud, Inquirer::Service(CLOUD), NOW), "revoked");
    assert!(desk.is_active(&own, Inquirer::Run(&agent(3)), NOW));
}

/// A run's whole dealings with an access token: considered, permitted, signed under its lease.
fn hand_on(desk: &Desk, number: u64) -> Result<Issued, NotHandedOn> {
    let leases = Leases::new(sealer(), desk.list.clone(), vec![Arc::new(desk.endpoint.tokens())]);
    let form = ask(&desk.svid(1), SVID, "may:read", &[]);
    let considered = desk.endpoint.consider(form.as_bytes(), &parent(1), lease(number), NOW);
    let considered = considered.map_err(NotHandedOn::Refused)?;
    let permit = permitted(&parent(1), considered.order().clone()).unwrap();
    leases.hand_on(&permit, considered, &desk.endpoint, NOW)
}

#[test]
fn wherever_the_power_goes_an_access_token_is_dead_after_a_sweep_c4_a56() {
    let counting = desk_on(&Arc::default(), Cut::Never);
    let issued = hand_on(&counting, 200).unwrap();
    assert_eq!(issued.minted().lease, lease(200));
    let again = hand_on(&counting, 200).unwrap_err();
    assert_eq!(again, NotHandedOn::Lease(LendError::UsedBefore(lease(200))), "a lease is used once");
    let acts = counting.list.fuse.acts();
    assert!(acts > 4, "there is something to cut");
    let mut handed_on_before_the_cut = 0;
    for cut in (0..acts).flat_map(|at| [Cut::Before(at), Cut::After(at)]) {
        let disk = Arc::<Disk>::default();
        let token = hand_on(&desk_on(&disk, cut), 200).ok().map(|issued| text(&issued.token));
        let next = desk_on(&disk, Cut::Never);
        let is_active = |token: &String| next.is_active(token, Inquirer::Service(CLOUD), NOW);
        handed_on_before_the_cut += usize::from(token.as_ref().is_some_and(is_active));
        let leases = Leases::new(sealer(), next.list.clone(), vec![Arc::new(next.endpoint.tokens())]);
        for now in [NOW, NOW.after(Duration::from_seconds(400))] {
            let ending = leases.revoke(&lease(200), LeaseState::Announced, now);
            assert!(!token.as_ref().is_some_and(is_active), "{cut:?} at {now}: {ending:?}");
            // Others look at the clock alone, so its run waits for that where the token may be with one of them.
            let is_over = matches!(ending, Ending::Revoked | Ending::Expired);
            assert!(is_over || (now == NOW && matches!(ending, Ending::ExpiresAt(_))), "{cut:?} at {now}: {ending:?}");
            assert!(token.is_none() || now > NOW || !is_over, "a service may accept it still: {cut:?}");
        }
    }
    assert!(handed_on_before_the_cut > 0, "without the sweep, some crash leaves a token that works");
}

fn told_of(desk: &Desk, form: &str) -> Code {
    told(desk.endpoint.introspect(form.as_bytes(), Inquirer::Service(CLOUD), NOW))
}

#[test]
fn malformed_requests_are_refused_with_the_codes_of_the_rfcs_and_a_next_step() {
    let desk = desk();
    let own = desk.svid(1);
    let good = ask(&own, SVID, "may:read", &[]);
    let without = |name: &str| {
        good.split('&').filter(|pair| !pair.starts_with(&format!("{name}="))).collect::<Vec<_>>().join("&")
    };
    let with = |name: &str, value: &str| format!("{}&{name}={value}", without(name));
    let long = format!("{good}&x={}", "x".repeat(16 * 1024));
    let table = [
        (String::new(), "invalid_request"),
        ("{}".to_owned(), "invalid_request"),
        ("\u{0}".to_owned(), "invalid_request"),
        (long, "invalid_request"),
        (format!("{good}&scope=may:write"), "invalid_request"),
        (format!("{good}&subject_token=x"), "invalid_request"),
        (format!("{good}&grant_type=client_credentials"), "invalid_request"),
        (format!("{good}&%73cope=may:write"), "invalid_request"),
        (format!("{good}&x=%"), "invalid_request"),
        (format!("{good}&x=%zz"), "invalid_request"),
        (format!("{good}&x=%ff"), "invalid_request"),
        (format!("{good}&"), "invalid_request"),
        (without("grant_type"), "invalid_request"),
        (with("grant_type", ""), "invalid_request"),
        (with("grant_type", "client_credentials"), "unsupported_grant_type"),
        (with("grant_type", "TOKEN-EXCHANGE"), "unsupported_grant_type"),
        (without("subject_token"), "invalid_request"),
        (without("subject_token_type"), "invalid_request"),
        (with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"),
        (with("actor_token", "x"), "invalid_request"),
        (with("actor_token_type", SVID), "invalid_request"),
        (without("scope"), "invalid_scope"),
        (with("scope", "may:read++may:write"), "invalid_scope"),
        (with("scope", "%20may:read"), "invalid_scope"),
        (without("audience"), "invalid_target"),
        (format!("{good}&audience={CLOUD}"), "invalid_target"),
        (format!("{good}&resource={CLOUD}"), "invalid_target"),
    ];
    for (form, code) in &table {
        let refusal = desk.exchange(form, &parent(1), 101, NOW).err().unwrap_or_else(|| panic!("taken: {form}"));
        let reply = refusal.reply();
        let answer = body(&reply);
        assert_eq!((reply.status, answer["error"].as_str()), (400, Some(*code)), "{form}");
        let said = answer["error_description"].as_str().unwrap();
        assert!(said.len() > 10 && said.is_ascii() && !said.contains(['"', '\\']), "{said}");
        assert!(!said.contains(own.get(..20).unwrap()) && !said.contains("registry"), "{said}");
        assert_eq!(answer.as_object().unwrap().len(), 2);
    }
    // What is not known is ignored (RFC 6749 section 3.2), and so is what has no value.
    for more in [[("client_secret", "x")], [("requested_token_type", "")]] {
        assert!(desk.exchange(&ask(&own, SVID, "may:read", &more), &parent(1), 101, NOW).is_ok());
    }
    assert_eq!(told_of(&desk, "token=x&token=x"), Code::InvalidRequest);
    assert_eq!(told_of(&desk, "token_type_hint=access_token"), Code::InvalidRequest);
    assert_eq!(told(desk.endpoint.revoke(b"", &agent(1), NOW)), Code::InvalidRequest);
}

#[test]
fn metadata_names_what_is_served_and_nothing_else() {
    let desk = desk();
    let grant_types = [GRANT_TYPE];
    let mut served = Served { token: format!("{ISSUER}/token"), introspection: None, revocation: None };
    let bare = json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys.json"), "token_endpoint": format!("{ISSUER}/token"),
        "token_endpoint_auth_methods_supported": ["none"], "grant_types_supported": grant_types,
        "response_types_supported": [],
    });
    let read = |served: &Served| serde_json::from_str::<Value>(&metadata(&desk.issuer, served)).unwrap();
    assert_eq!(read(&served), bare);
    served.introspection = Some(format!("{ISSUER}/introspect"));
    served.revocation = Some(format!("{ISSUER}/revoke"));
    let mut whole = bare;
    for name in ["introspection", "revocation"] {
        whole[format!("{name}_endpoint_auth_methods_supported")] = json!(["none"]);
    }
    whole["introspection_endpoint"] = json!(format!("{ISSUER}/introspect"));
    whole["revocation_endpoint"] = json!(format!("{ISSUER}/revoke"));
    assert_eq!(read(&served), whole);
}

#[test]
fn a_budget_that_was_handed_on_is_spent_once_b4() {
    let desk = desk();
    let (one, two) = (desk.svid(1), desk.svid(2));
    let form = ask(&one, SVID, "may:read", &[("actor_token", &two), ("actor_token_type", SVID), ("budget", "10")]);
    let held = desk.exchange(&form, &parent(1), 101, NOW).unwrap();
    let (token, from) = (text(&held.token), held.says.lease);
    let hand_on = |budget: &str, handed_on: u64, number: u64| {
        let giver = Parent { handed_on: [(from.clone(), handed_on)].into(), ..parent(2) };
        let to = desk.svid(3);
        let more = [("actor_token", to.as_str()), ("actor_token_type", SVID), ("budget", budget)];
        desk.exchange(&ask(&token, ACCESS, "may:read", &more), &giver, number, NOW)
    };
    let issued = hand_on("6", 0, 201).unwrap();
    assert_eq!((issued.says.budget, &issued.says.chain[0].lease), (6, &from));
    assert_eq!(
        told(hand_on("5", 6, 202)),
        Code::InvalidScope,
        "6 of 10 are gone, and the giver's own 100 do not matter"
    );
    assert_eq!(hand_on("4", 6, 203).unwrap().says.budget, 4);
    assert_eq!(told(hand_on("1", 10, 204)), Code::InvalidScope);
}
