//! However a run ends, what it was lent is dead: for every kind of credential there is, in runs of the real executable, counted by
//! the stand-in and not by us (requirement C4, A-56).
//!
//! | kind | success, failure, timeout, wait, halt | the keeper killed |
//! |---|---|---|
//! | `openbao`, `oauth`, `github-app`, `gitlab`, `forgejo` | none alive once the run is over or waits | none alive once it is over; where the answer to the mint was lost and nobody can look for it, the run is closing |
//! | `oauth` without a revocation, `anthropic`, `openai`, `aws` | the run is closing, or parking, for as long as one lives | the same |
//! | `static` | no door has it, and no loan is listed | the same |
//! | own identity, in every run | its lease is dead, and a probe says so | the same |
//!
//! *Killed* is between every pair of steps: before and after each request that the provider gets from the first to the last, and
//! while the credential is used. What the keeper writes between these is killed at random in `crash.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may be blunt"
)]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;
#[path = "endings/line.rs"]
mod line;
#[expect(dead_code, reason = "the lease engine's tests use more of it")]
#[path = "endings/vendors.rs"]
mod vendors;
mod world {
    //! What the stand-ins know of the factory they trust.

    /// The name in its documents.
    pub(crate) const ISSUER: &str = "https://selvedge.internal";
    pub(crate) const TRUST_DOMAIN: &str = "selvedge.internal";

    /// Stands for the factory: the keys it publishes.
    pub(crate) struct Disk(pub(crate) String);

    impl Disk {
        pub(crate) fn jwks(&self) -> String {
            self.0.clone()
        }
    }

    pub(crate) fn issuer(disk: &Disk) -> &Disk {
        disk
    }
}

use std::sync::Arc;

use common::{Scene, Serving, agent, eventually, text};
use line::{Cut, Line};
use serde_json::Value;
use vendors::federation::{self, Federation, Maker};
use vendors::{AUDIENCE, Service, aws, forgejo, github, gitlab};

/// Hosts nobody else has (RFC 6761): whoever makes a credential, and whoever accepts it.
pub(crate) const VENDOR: &str = "vendor.selvedge.test";
pub(crate) const API: &str = "api.selvedge.test";

/// Runs of one scene at the same time.
const SLOTS: usize = 5;

/// A kind of credential, and how it ends.
struct Kind {
    /// Its tables in the configuration, after `[credential.it]`.
    tables: String,
    /// What is stored for it.
    key: Option<String>,
    /// Whether nobody can end it before its time.
    only_expires: bool,
    stand_in: fn(&Arc<world::Disk>) -> Box<dyn Service>,
}

fn kind(name: &str) -> Kind {
    let trusting: fn(&Arc<world::Disk>) -> Box<dyn Service> = |disk| Box::new(vendors::Trusting::new(&disk.jwks()));
    let table = |kind: &str, fields: &str| format!("kind = \"{kind}\"\nCOMMON\n[credential.it.{kind}]\n{fields}\n");
    let token = format!("token = \"https://{VENDOR}/token\"\nserver = \"{AUDIENCE}\"\nscope = \"read write:one\"\n");
    let models = format!("audience = \"{}\"\nurl = \"https://{VENDOR}/v1/oauth/token\"", federation::AUDIENCE);
    match name {
        "static" => Kind {
            tables: "kind = \"static\"\nCOMMON\n".to_owned(),
            key: Some("canary-of-a-stored-key".to_owned()),
            only_expires: false,
            stand_in: |_| Box::new(vendors::Nobody),
        },
        "openbao" => Kind {
            tables: table(
                "openbao",
                &format!(
                    "url = \"https://{VENDOR}\"\nrole = \"factory\"\naudience = \"{AUDIENCE}\"\n\
                     path = \"database/creds/readonly\"\nfield = \"password\""
                ),
            ),
            key: None,
            only_expires: false,
            stand_in: trusting,
        },
        "oauth" => Kind {
            tables: table(
                "oauth",
                &format!(
                    "{token}revocation = \"https://{VENDOR}/revoke\"\nintrospection = \"https://{VENDOR}/introspect\""
                ),
            ),
            key: None,
            only_expires: false,
            stand_in: trusting,
        },
        "oauth that expires" => {
            Kind { tables: table("oauth", &token), key: None, only_expires: true, stand_in: trusting }
        }
        "anthropic" => Kind {
            tables: table(
                "anthropic",
                &format!(
                    "rule = \"{}\"\norganization = \"{}\"\nservice_account = \"{}\"\nworkspace = \"{}\"\n{models}",
                    federation::RULE,
                    federation::ORGANIZATION,
                    federation::ACCOUNT,
                    federation::WORKSPACE
                ),
            ),
            key: None,
            only_expires: true,
            stand_in: |disk| Box::new(Federation::new(Maker::Anthropic, disk)),
        },
        "openai" => Kind {
            tables: table(
                "openai",
                &format!(
                    "identity_provider = \"{}\"\nservice_account = \"{}\"\n{models}",
                    federation::PROVIDER,
                    federation::ACCOUNT
                ),
            ),
            key: None,
            only_expires: true,
            stand_in: |disk| Box::new(Federation::new(Maker::OpenAi, disk)),
        },
        "aws" => Kind {
            tables: table(
                "aws",
                &format!(
                    "role = \"{}\"\nservice = \"s3\"\nregion = \"eu-central-1\"\nsts = \"https://{VENDOR}/\"",
                    aws::ROLE
                ),
            ),
            key: None,
            only_expires: true,
            stand_in: |disk| Box::new(aws::Sts::new(disk)),
        },
        "github-app" => Kind {
            tables: table(
                "github-app",
                &format!(
                    "url = \"https://{VENDOR}/api/v3\"\napp = \"{}\"\ninstallation = {}\nrepositories = [\"shop\"]\n\
                     permissions = {{ contents = \"read\" }}",
                    github::APP,
                    github::INSTALLATION
                ),
            ),
            key: Some(github::pkcs8_pem()),
            only_expires: false,
            stand_in: |_| Box::new(Arc::new(github::Github::default())),
        },
        "gitlab" => Kind {
            tables: table(
                "gitlab",
                &format!(
                    "url = \"https://{VENDOR}\"\nproject = \"{}\"\nscopes = [\"read_api\"]\nrole = \"reporter\"",
                    gitlab::PROJECT
                ),
            ),
            key: Some(gitlab::KEY.to_owned()),
            only_expires: false,
            stand_in: |_| Box::new(Arc::new(gitlab::Gitlab::default())),
        },
        "forgejo" => Kind {
            tables: table(
                "forgejo",
                &format!(
                    "url = \"https://{VENDOR}{}\"\nuser = \"{}\"\nscopes = [\"read:repository\"]",
                    forgejo::ROOT,
                    forgejo::USER
                ),
            ),
            key: Some(forgejo::PASSWORD.to_owned()),
            only_expires: false,
            stand_in: |_| Box::new(Arc::new(forgejo::Forgejo::default())),
        },
        other => panic!("no kind {other}"),
    }
}

/// A factory with an agent that may borrow the one credential.
struct Place {
    kind: Kind,
    scene: Scene,
    line: Arc<Line>,
}

impl Place {
    fn new(name: &str) -> Self {
        let (kind, scene) = (kind(name), Scene::ready());
        let disk = Arc::new(world::Disk(scene.json(&["identity", "jwks"]).to_string()));
        let line = Line::to((kind.stand_in)(&disk));
        let common = format!("owner = \"team@example.org\"\nuses = [\"GET https://{API}/v1\"]");
        let dangers: String = [VENDOR, API]
            .map(|host| format!("[danger.addresses.\"{host}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {}\n", line.port))
            .concat();
        scene.configure(
            "checks = [\"sh tests/run.sh\"]",
            &format!(
                "{}credentials = [\"it\"]\nattempt_at_most = \"10s\"\n[factory]\nslots = {SLOTS}\n[credential.it]\n{}{dangers}",
                agent("fixer", "propose"),
                kind.tables.replace("COMMON", &common)
            ),
        );
        let place = Self { kind, scene, line };
        place.store();
        place
    }

    /// Stores what is to be stored, and trusts its uses without being asked each time.
    fn store(&self) {
        let Some(key) = &self.kind.key else { return };
        self.scene.store("it", key).ok();
        self.scene.trust("it");
    }

    fn begin(&self, script: &str) {
        self.scene.run(&["run", "--agent", "fixer", &format!("curl -sS --fail https://{API}/v1/items; {script}")]).ok();
    }

    /// Every run, once each is at one of these stages and the stand-in counts what we do.
    fn over(&self, runs: usize, stages: &[&str]) -> Vec<Value> {
        eventually("every run is over", || {
            let ps = self.scene.json(&["ps", "--all"]);
            let all = ps["runs"].as_array().unwrap().clone();
            let is_over = all.iter().all(|run| stages.contains(&text(run, "stage")));
            (all.len() == runs && is_over && self.is_counted(&all)).then_some(all)
        })
    }

    /// Where an undisturbed run ends, and where one that needs a person waits: nobody may wait while something lives.
    fn ends(&self) -> [&'static str; 2] {
        if self.kind.only_expires { ["closing", "parking"] } else { ["settled", "waiting"] }
    }

    /// The stand-in counts no more than we say may live, and none when we say that every run is over.
    fn is_counted(&self, runs: &[Value]) -> bool {
        let listed = self.scene.json(&["credentials", "list"])["credentials"][0]["live"].as_array().unwrap().len();
        let is_open = runs.iter().any(|run| ["closing", "parking"].contains(&text(run, "stage")));
        let live = self.line.live();
        if is_open { live <= listed } else { live == 0 && listed == 0 }
    }

    /// Every lease of a run that holds nothing is dead, its identity among them, and was tried.
    fn is_probed(&self, run: &Value) {
        let show = self.scene.json(&["show", text(run, "run")]);
        let lines: Vec<&str> = show["entries"].as_array().unwrap().iter().map(|entry| text(entry, "summary")).collect();
        let announced = |line: &&&str| line.starts_with("lease ") && line.ends_with(" is announced");
        let leases: Vec<&str> = lines.iter().filter(announced).map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert!(leases.len() >= 2, "an identity, and the credential: {lines:?}");
        for lease in leases {
            assert!(
                lines.contains(&format!("lease {lease} is dead, and a probe says so").as_str()),
                "{lease}: {lines:?}"
            );
        }
    }
}

/// Success, failure, timeout, wait and halt, all at once.
fn ends_with_nothing_alive(name: &str) {
    let place = Place::new(name);
    let _serving = place.scene.serve();
    place.begin("sleep 600");
    eventually("the first is at work", || place.line.is_used().then_some(()));
    let halted = text(&place.scene.runs()[0], "run").to_owned();
    place.begin("true");
    place.begin("exit 3");
    place.begin("sleep 599");
    place.begin("mkdir .github; echo more >.github/CODEOWNERS");
    place.scene.run(&["revoke", &halted]).ok();
    let runs = place.over(5, &place.ends());
    let ended = |outcome: &str| runs.iter().filter(|run| run["outcome"] == outcome).count();
    assert_eq!((ended("halted"), ended("failed")), (1, 2), "{runs:#?}");
    let at = |stage: &str| runs.iter().filter(|run| run["stage"] == stage).count();
    assert_eq!(place.ends().map(at), [4, 1], "{runs:#?}");
    if !place.kind.only_expires {
        runs.iter().for_each(|run| place.is_probed(run));
    }
}

/// The keeper is killed at one place of a run, and the next one takes it up.
fn killed(name: &str, cut: Cut, mint_ends: usize) {
    let place = Place::new(name);
    let keeper = place.scene.serve();
    place.line.cut(cut, keeper.pid());
    place.begin("true");
    eventually(&format!("{name} is cut {cut:?}"), || place.line.is_cut().then_some(()));
    keeper.kill();
    let _next: Serving = place.scene.serve();
    let is_known = match cut {
        Cut::InUse => true,
        Cut::Before(number) | Cut::After(number) => number >= mint_ends,
    };
    // What was made and nobody heard of may live, and is waited for.
    let stages: &[&str] = if is_known { &place.ends()[..1] } else { &["settled", "closing"] };
    let runs = place.over(1, stages);
    if runs[0]["stage"] == "settled" {
        place.is_probed(&runs[0]);
    }
    place.scene.run(&["audit", "verify"]).ok();
}

fn survives_every_kill(name: &str) {
    // Undisturbed, it says how many steps there are.
    let place = Place::new(name);
    let keeper = place.scene.serve();
    place.begin("true");
    place.over(1, &place.ends());
    let (all, mint_ends) = place.line.asked();
    keeper.kill();
    println!("{name}: {all} requests, {mint_ends} of them before the first use");
    let cuts = (0..all).flat_map(|number| [Cut::Before(number), Cut::After(number)]);
    for cut in cuts.chain([Cut::InUse]) {
        killed(name, cut, mint_ends);
    }
}

macro_rules! kinds {
    ($($module:ident: $name:literal,)*) => {
        $(mod $module {
            #[test]
            fn every_way_a_run_ends_leaves_nothing_alive_c4_a56() {
                super::ends_with_nothing_alive($name);
            }

            #[test]
            fn a_keeper_killed_between_any_two_steps_leaves_nothing_alive_c4_a56() {
                super::survives_every_kill($name);
            }
        })*

        #[test]
        fn every_kind_that_can_be_configured_is_among_these() {
            let schema = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/selvedge.schema.json")).unwrap();
            let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
            let words = schema["$defs"]["Credential"]["properties"]["kind"]["description"].as_str().unwrap().to_owned();
            let kinds: std::collections::BTreeSet<&str> = words.split('`').skip(1).step_by(2).filter(|word| !word.contains(' ')).collect();
            let here: std::collections::BTreeSet<&str> = [$($name),*].into_iter().filter(|name| !name.contains(' ')).collect();
            assert_eq!(kinds, here);
        }
    };
}

kinds! {
    anthropic: "anthropic",
    aws_sessions: "aws",
    forgejo_tokens: "forgejo",
    github_app: "github-app",
    gitlab_tokens: "gitlab",
    oauth: "oauth",
    oauth_that_expires: "oauth that expires",
    openai: "openai",
    openbao: "openbao",
    stored: "static",
}
