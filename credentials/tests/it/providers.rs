//! Credentials of services that are somewhere else: whatever the service does, and wherever the power goes, what was lent ends, by
//! the service's own count (C4, A-07, A-56).

use std::sync::Arc;

use selvedge_credentials::{
    Asks, Aws, AwsSettings, Courier, Ending, Exchange, ExchangeSettings, Forgejo, ForgejoSettings, GithubApp,
    GithubAppSettings, Gitlab, GitlabRole, GitlabSettings, Installation, Leases, LendError, MintingKeys, OpenBao,
    OpenBaoSettings, Page, PermissionLevel, Provider, Secret,
};
use selvedge_domain::orders::MintCredential;
use selvedge_domain::{CredentialName, Duration, Endpoint, HostPattern, LeaseState, Revocation};

use crate::vendors::federation::{self, Maker};
use crate::vendors::github::{self, Github};
use crate::vendors::{AUDIENCE, LIVES, Mood, Service, Trusting, Vendor};
use crate::vendors::{aws, forgejo, gitlab};
use crate::world::{Cut, Disk, Fuse, NOW, Wired, holder, issuer, lease, order, permit, sealer, text};

fn seconds(count: u64) -> Duration {
    Duration::from_seconds(count)
}

pub(crate) fn name() -> CredentialName {
    CredentialName::parse("db").unwrap()
}

fn endpoint() -> Endpoint {
    Endpoint { host: HostPattern::parse("vendor.example").unwrap(), port: 443 }
}

pub(crate) fn loan(number: u64) -> MintCredential {
    MintCredential { credential: Some(name()), ttl_seconds: 900, ..order(number, "") }
}

/// What is made of which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenBao,
    /// An authorisation server with every page.
    Exchange,
    /// One that cannot revoke.
    ExpiryOnly,
    GithubApp,
    Gitlab,
    Forgejo,
    Aws,
    Anthropic,
    OpenAi,
}

const KINDS: [Kind; 9] = [
    Kind::OpenBao,
    Kind::Exchange,
    Kind::ExpiryOnly,
    Kind::GithubApp,
    Kind::Gitlab,
    Kind::Forgejo,
    Kind::Aws,
    Kind::Anthropic,
    Kind::OpenAi,
];

/// Those whose tokens nobody can end.
const EXPIRES: [Kind; 4] = [Kind::ExpiryOnly, Kind::Aws, Kind::Anthropic, Kind::OpenAi];

/// Those whose lost tokens carry their lease, and are found by it.
const FOUND: [Kind; 2] = [Kind::Gitlab, Kind::Forgejo];

fn service(kind: Kind, disk: &Arc<Disk>) -> Box<dyn Service> {
    match kind {
        Kind::OpenBao | Kind::Exchange | Kind::ExpiryOnly => Trusting::new(disk),
        Kind::GithubApp => Box::new(Arc::<Github>::default()),
        Kind::Gitlab => Box::new(Arc::<gitlab::Gitlab>::default()),
        Kind::Forgejo => Box::new(Arc::<forgejo::Forgejo>::default()),
        Kind::Aws => Box::new(aws::Sts::new(disk)),
        Kind::Anthropic => Box::new(federation::Federation::new(Maker::Anthropic, disk)),
        Kind::OpenAi => Box::new(federation::Federation::new(Maker::OpenAi, disk)),
    }
}

/// The keys that credentials are made with, read through a fuse.
pub(crate) fn minting_keys(disk: &Arc<Disk>, fuse: &Arc<Fuse>) -> Arc<MintingKeys> {
    let store = Wired { disk: Arc::clone(disk), fuse: Arc::clone(fuse) };
    Arc::new(MintingKeys::new(sealer(), Arc::new(store)))
}

fn page(path: &str) -> Page {
    Page { endpoint: endpoint(), path: path.to_owned() }
}

pub(crate) fn github_app() -> GithubAppSettings {
    GithubAppSettings {
        credential: name(),
        api: page("/api/v3"),
        installed: Some(Installation { app: github::APP.to_owned(), id: github::INSTALLATION }),
        repositories: ["shop".to_owned()].into(),
        permissions: [("contents".to_owned(), PermissionLevel::Read)].into(),
    }
}

pub(crate) fn aws() -> AwsSettings {
    AwsSettings {
        credential: name(),
        sts: page("/"),
        role: aws::ROLE.to_owned(),
        audience: aws::CLIENT.to_owned(),
        session_lives: LIVES,
        policy: None,
        policy_arns: Vec::new(),
    }
}

pub(crate) fn federated(maker: Maker) -> ExchangeSettings {
    let account = federation::ACCOUNT.to_owned();
    ExchangeSettings {
        credential: name(),
        token: page("/v1/oauth/token"),
        revocation: None,
        introspection: None,
        server: federation::AUDIENCE.to_owned(),
        asks: match maker {
            Maker::Anthropic => Asks::Anthropic {
                rule: federation::RULE.to_owned(),
                organization: federation::ORGANIZATION.to_owned(),
                account,
                workspace: Some(federation::WORKSPACE.to_owned()),
            },
            Maker::OpenAi => Asks::OpenAi { provider: federation::PROVIDER.to_owned(), account },
        },
        token_lives_at_most: LIVES,
    }
}

fn provider(kind: Kind, disk: &Arc<Disk>, fuse: &Arc<Fuse>, courier: Arc<dyn Courier>) -> Arc<dyn Provider> {
    let can_revoke = kind == Kind::Exchange;
    match kind {
        Kind::OpenBao => {
            let settings = OpenBaoSettings {
                credential: name(),
                endpoint: endpoint(),
                mount: "jwt".to_owned(),
                role: "factory".to_owned(),
                audience: AUDIENCE.to_owned(),
                path: "database/creds/readonly".to_owned(),
                field: "password".to_owned(),
                token_lives_at_most: LIVES,
            };
            Arc::new(OpenBao::new(settings, issuer(disk), courier))
        }
        Kind::Exchange | Kind::ExpiryOnly => {
            let settings = ExchangeSettings {
                credential: name(),
                token: page("/token"),
                revocation: can_revoke.then(|| page("/revoke")),
                introspection: can_revoke.then(|| page("/introspect")),
                server: AUDIENCE.to_owned(),
                asks: Asks::Exchange { audience: None, scope: Some("read write:one".to_owned()) },
                token_lives_at_most: LIVES,
            };
            Arc::new(Exchange::new(settings, issuer(disk), courier))
        }
        Kind::GithubApp => Arc::new(GithubApp::new(github_app(), minting_keys(disk, fuse), courier)),
        Kind::Gitlab => {
            let settings = GitlabSettings {
                credential: name(),
                root: page("/"),
                project: gitlab::PROJECT.to_owned(),
                scopes: ["read_repository".to_owned()].into(),
                role: GitlabRole::Developer,
            };
            Arc::new(Gitlab::new(settings, minting_keys(disk, fuse), courier))
        }
        Kind::Forgejo => {
            let settings = ForgejoSettings {
                credential: name(),
                root: page(forgejo::ROOT),
                user: forgejo::USER.to_owned(),
                scopes: ["read:repository".to_owned(), "write:issue".to_owned()].into(),
            };
            Arc::new(Forgejo::new(settings, minting_keys(disk, fuse), courier))
        }
        Kind::Aws => Arc::new(Aws::new(aws(), issuer(disk), courier)),
        Kind::Anthropic => Arc::new(Exchange::new(federated(Maker::Anthropic), issuer(disk), courier)),
        Kind::OpenAi => Arc::new(Exchange::new(federated(Maker::OpenAi), issuer(disk), courier)),
    }
}

pub(crate) struct World {
    pub(crate) leases: Leases,
    pub(crate) vendor: Arc<Vendor>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) disk: Arc<Disk>,
}

/// A keeper and a service, whose power goes together at one point.
fn world(kind: Kind, cut: Cut) -> World {
    let disk = Arc::<Disk>::default();
    let service = service(kind, &disk);
    world_beside(kind, cut, disk, service)
}

pub(crate) fn world_beside(kind: Kind, cut: Cut, disk: Arc<Disk>, service: Box<dyn Service>) -> World {
    let fuse = Fuse::new(cut);
    let made = |courier| provider(kind, &disk, &fuse, courier);
    world_of(kind, Arc::clone(&disk), Arc::clone(&fuse), service, made)
}

/// The same with a provider of the test's own.
pub(crate) fn world_with(
    kind: Kind,
    cut: Cut,
    disk: Arc<Disk>,
    service: Box<dyn Service>,
    provider: impl Fn(Arc<dyn Courier>) -> Arc<dyn Provider>,
) -> World {
    world_of(kind, disk, Fuse::new(cut), service, provider)
}

fn world_of(
    kind: Kind,
    disk: Arc<Disk>,
    fuse: Arc<Fuse>,
    service: Box<dyn Service>,
    provider: impl Fn(Arc<dyn Courier>) -> Arc<dyn Provider>,
) -> World {
    // The keys of the issuer and of the operator are there before the power can go.
    let _keys = issuer(&disk);
    let key = match kind {
        Kind::Gitlab => gitlab::KEY.to_owned(),
        Kind::Forgejo => forgejo::PASSWORD.to_owned(),
        _ => github::pkcs1_pem(),
    };
    minting_keys(&disk, &Fuse::new(Cut::Never)).put(&name(), &Secret::new(key.into_bytes()), NOW).unwrap();
    let vendor = Vendor::new(service, Arc::clone(&fuse), NOW);
    let store = Arc::new(Wired { disk: Arc::clone(&disk), fuse: Arc::clone(&fuse) });
    let leases = Leases::new(sealer(), store, vec![provider(vendor.clone())]);
    World { leases, vendor, fuse, disk }
}

/// The next keeper, on the same disk, beside the same service.
fn restarted(kind: Kind, world: &World) -> Leases {
    let vendor = &world.vendor;
    vendor.be(|_| Mood::Well);
    let fuse = Fuse::new(Cut::Never);
    let store = Arc::new(Wired { disk: Arc::clone(&world.disk), fuse: Arc::clone(&fuse) });
    Leases::new(sealer(), store, vec![provider(kind, &world.disk, &fuse, vendor.rewired())])
}

#[test]
fn a_credential_is_made_with_the_run_s_own_document_and_dies_with_its_lease_c2_c4() {
    for kind in KINDS {
        let world = world(kind, Cut::Never);
        let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
        assert_eq!(world.vendor.live(), 1, "{kind:?}");
        assert!(text(&lent.secret).contains("canary"), "{kind:?}");
        assert!(lent.minted.expires <= NOW.after(LIVES));
        let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
        match lent.minted.revocation {
            Revocation::ExpiryOnly(dies) => {
                assert!(EXPIRES.contains(&kind), "{kind:?}");
                assert_eq!(world.leases.revoke(&lease(1), live, NOW), Ending::ExpiresAt(dies), "it says so");
                assert_eq!(world.vendor.live(), 1);
                *world.vendor.now.lock().unwrap() = dies;
                assert_eq!(world.leases.revoke(&lease(1), live, dies), Ending::Expired);
            }
            Revocation::Immediate | Revocation::LeaseRevoke => {
                for _ in 0..2 {
                    assert_eq!(world.leases.revoke(&lease(1), live, NOW), Ending::Revoked, "{kind:?}");
                }
            }
        }
        assert_eq!(world.vendor.live(), 0, "{kind:?}");
    }
}

#[test]
fn a_service_that_refuses_fails_breaks_off_or_babbles_is_told_apart_and_nothing_stays_a07() {
    let lasting = |status| matches!(status, 400..=422);
    for kind in KINDS {
        for status in [400, 401, 403, 404, 422, 429, 500, 503] {
            let world = world(kind, Cut::Never);
            world.vendor.be(move |_| Mood::Status(status));
            let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
            assert_eq!(error.is_lasting(), lasting(status), "{kind:?} {status}: {error}");
            assert!(
                error.to_string().contains(&status.to_string()) && !error.to_string().contains("canary"),
                "{error}"
            );
            assert_eq!(
                world.leases.revoke(&lease(1), LeaseState::Announced, NOW),
                Ending::Revoked,
                "{kind:?} {status}"
            );
        }
        // GitHub says `403` of too many requests; who says when to come back does not refuse for good.
        let world = world(kind, Cut::Never);
        world.vendor.be(|_| Mood::Later(403));
        assert!(!world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err().is_lasting(), "{kind:?}");
        let world = self::world(kind, Cut::Never);
        world.vendor.be(|_| Mood::Down);
        let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
        assert!(!error.is_lasting() && error.to_string().contains("was not asked"), "{error}");
        assert_eq!(world.leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::Revoked);
        for mood in [Mood::Mute, Mood::Nonsense] {
            let world = self::world(kind, Cut::Never);
            world.vendor.be(move |_| mood);
            assert!(matches!(world.leases.lend(&permit(loan(1)), &holder(), NOW), Err(LendError::Provider { .. })));
            world.vendor.be(|_| Mood::Well);
            // What may have been made has to die by itself, or is found and ended; the run is kept open until it has.
            let Ending::ExpiresAt(dies) = world.leases.revoke(&lease(1), LeaseState::Announced, NOW) else {
                panic!("{kind:?} {mood:?}")
            };
            assert_eq!(world.vendor.live(), usize::from(mood == Mood::Mute && !FOUND.contains(&kind)));
            *world.vendor.now.lock().unwrap() = dies;
            let ending = world.leases.revoke(&lease(1), LeaseState::Announced, dies);
            assert_eq!(ending, if FOUND.contains(&kind) { Ending::Revoked } else { Ending::Expired });
            assert_eq!(world.vendor.live(), 0, "{kind:?} {mood:?}");
        }
    }
}

#[test]
fn a_service_that_does_not_revoke_keeps_the_lease_open_and_is_asked_again_c4() {
    for kind in [Kind::OpenBao, Kind::Exchange, Kind::GithubApp] {
        for status in [429, 500, 403] {
            let world = world(kind, Cut::Never);
            let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
            let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
            // Only what ends it fails; what tells whether it lives is answered.
            world.vendor.be(move |target| match target {
                "/v1/auth/token/revoke-self" | "/revoke" | "/api/v3/installation/token" => Mood::Status(status),
                _ => Mood::Well,
            });
            let ending = world.leases.revoke(&lease(1), live, NOW);
            let Ending::Stuck { because, retry } = ending else { panic!("{kind:?} {status}: {ending:?}") };
            assert!(!because.contains("canary"), "{because}");
            assert!(retry > NOW && (status != 429 || retry == NOW.after(seconds(7))), "Retry-After is honoured");
            assert_eq!(world.vendor.live(), 1);
            world.vendor.be(|_| Mood::Well);
            assert_eq!(world.leases.revoke(&lease(1), live, retry), Ending::Revoked);
            assert_eq!(world.vendor.live(), 0);
        }
    }
}

#[test]
fn a_secret_that_is_refused_after_the_login_leaves_no_token_behind() {
    for (status, revoking) in [(403, Mood::Well), (404, Mood::Well), (500, Mood::Well), (500, Mood::Status(500))] {
        let world = world(Kind::OpenBao, Cut::Never);
        world.vendor.be(move |target| match target {
            "/v1/database/creds/readonly" => Mood::Status(status),
            "/v1/auth/token/revoke-self" => revoking,
            _ => Mood::Well,
        });
        assert!(world.leases.lend(&permit(loan(1)), &holder(), NOW).is_err());
        let ending = world.leases.revoke(&lease(1), LeaseState::Announced, NOW);
        match revoking {
            Mood::Well => assert_eq!((ending, world.vendor.live()), (Ending::Revoked, 0)),
            _ => assert!(matches!(ending, Ending::ExpiresAt(_)) && world.vendor.live() == 1, "{ending:?}"),
        }
    }
}

#[test]
fn what_could_never_be_seen_alive_is_not_lent_lest_it_look_dead_later_c4() {
    // A role without the default policy: its token works, and may neither look itself up nor end itself.
    let world = world(Kind::OpenBao, Cut::Never);
    world.vendor.be(|target| match target.starts_with("/v1/auth/token/") {
        true => Mood::Status(403),
        false => Mood::Well,
    });
    let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
    assert!(error.is_lasting() && error.to_string().contains("`default` policy"), "{error}");
    let ending = world.leases.revoke(&lease(1), LeaseState::Announced, NOW);
    assert!(matches!(ending, Ending::ExpiresAt(_)) && world.vendor.live() == 1, "{ending:?}: it is alive, and we know");
    // An introspection that says no to everything.
    let world = self::world(Kind::Exchange, Cut::Never);
    world.vendor.be(|target| if target == "/introspect" { Mood::Status(200) } else { Mood::Well });
    let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
    assert!(error.is_lasting() && error.to_string().contains("does not know the token"), "{error}");
    assert!(matches!(world.leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::ExpiresAt(_)));
}

#[test]
fn wherever_the_power_goes_the_service_ends_with_nothing_alive_c4() {
    for kind in KINDS {
        let acts = {
            let world = world(kind, Cut::Never);
            let _lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
            let _ended = world.leases.revoke(&lease(1), LeaseState::Announced, NOW);
            world.fuse.acts()
        };
        assert!(acts >= 5, "{kind:?} has only {acts} steps");
        for cut in (0..acts).flat_map(|at| [Cut::Before(at), Cut::After(at)]) {
            let world = world(kind, cut);
            let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW);
            let _cut_short = world.leases.revoke(&lease(1), LeaseState::Announced, NOW);
            let state = match &lent {
                Ok(lent) => LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires },
                Err(_) => LeaseState::Announced,
            };
            // The next keeper sweeps; what can only expire keeps its run open until it has.
            let leases = restarted(kind, &world);
            let (mut now, mut looks) = (NOW, 0);
            loop {
                match leases.revoke(&lease(1), state, now) {
                    Ending::Revoked | Ending::Expired => break,
                    Ending::ExpiresAt(at) | Ending::Stuck { retry: at, .. } => now = at,
                }
                *world.vendor.now.lock().unwrap() = now;
                looks += 1;
                assert!(looks < 20, "{kind:?} {cut:?} never ends");
            }
            assert_eq!(world.vendor.live(), 0, "{kind:?} {cut:?}: called dead at {now} and alive at the service");
            // And is never minted again under that lease.
            assert!(leases.lend(&permit(loan(1)), &holder(), now).is_err());
        }
    }
}

#[test]
fn a_provider_that_is_no_longer_configured_still_ends_what_it_lent_b6() {
    let world = world(Kind::Exchange, Cut::Never);
    let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    world.leases.configure(Vec::new());
    let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
    assert_eq!(world.leases.revoke(&lease(1), live, NOW), Ending::Revoked);
    assert_eq!(world.vendor.live(), 0);
    // A keeper that never knew it says what to do, and does not call anything dead.
    let world = self::world(Kind::Exchange, Cut::Never);
    let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
    let store = Arc::new(Wired { disk: Arc::clone(&world.disk), fuse: Fuse::new(Cut::Never) });
    let stranger = Leases::new(sealer(), store, Vec::new());
    let live = LeaseState::Live { revocation: lent.minted.revocation, expires: lent.minted.expires };
    let Ending::Stuck { because, .. } = stranger.revoke(&lease(1), live, NOW) else { panic!("it may still live") };
    assert!(because.contains("oauth:db") && because.contains("configure it again"), "{because}");
}

#[test]
fn no_loan_lasts_longer_than_was_decided_whatever_a_service_gives_c1_c2() {
    for kind in KINDS {
        let world = world(kind, Cut::Never);
        let order = MintCredential { ttl_seconds: 60, until: NOW.after(seconds(3600)), ..loan(1) };
        let lent = world.leases.lend(&permit(order), &holder(), NOW).unwrap();
        assert!(lent.minted.expires <= NOW.after(seconds(60)), "{kind:?}: {:?}", lent.minted);
    }
}
