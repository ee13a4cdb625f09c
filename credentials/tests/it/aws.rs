//! Sessions of a role at AWS: made with the run's own document, narrowed, named by their lease, and waited for (C1, C2, C4).

use std::sync::Arc;

use selvedge_credentials::{Aws, AwsSettings, Ending, LendError, Provider};
use selvedge_domain::{Duration, LeaseState, Revocation, Time};

use crate::providers::{Kind, World, aws, loan, world_with};
use crate::vendors::Mood;
use crate::vendors::aws::{ROLE, Sts};
use crate::world::{Cut, Disk, NOW, holder, issuer, lease, permit, text};

const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

fn world(settings: AwsSettings) -> (Arc<Sts>, World) {
    let disk = Arc::<Disk>::default();
    let sts = Sts::new(&disk);
    let world = world_with(Kind::Aws, Cut::Never, Arc::clone(&disk), Box::new(Arc::clone(&sts)), |courier| {
        Arc::new(Aws::new(settings.clone(), issuer(&disk), courier)) as Arc<dyn Provider>
    });
    (sts, world)
}

fn lend(world: &World) -> Result<selvedge_credentials::Lent, LendError> {
    world.leases.lend(&permit(loan(1)), &holder(), NOW)
}

fn revoke(world: &World, now: Time) -> Ending {
    world.leases.revoke(&lease(1), LeaseState::Announced, now)
}

#[test]
fn a_session_is_named_by_its_lease_narrowed_and_waited_for_c1_c2_c4() {
    let arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".to_owned();
    let settings = AwsSettings { policy: Some(POLICY.to_owned()), policy_arns: vec![arn.clone()], ..aws() };
    let (sts, world) = world(settings);
    let lent = lend(&world).unwrap();
    let keys = "ASIA0000000000000001:canary/secret+of/a/session/00000001:canary/token/of/a/session/00000001==";
    assert_eq!(text(&lent.secret), keys);
    let session = sts.sessions.lock().unwrap()[0].clone();
    assert_eq!(session.name, lease(1).as_str(), "CloudTrail says whose it was");
    let asked = |name: &str| session.asked.get(name).map(String::as_str);
    assert_eq!((asked("Policy"), asked("PolicyArns.member.1.arn")), (Some(POLICY), Some(arn.as_str())));
    assert_eq!((asked("RoleArn"), asked("DurationSeconds")), (Some(ROLE), Some("900")));
    // It dies at its time and not before, which nobody can change; that is said, and waited for.
    let Revocation::ExpiryOnly(dies) = lent.minted.revocation else { panic!("{:?}", lent.minted.revocation) };
    assert!(lent.minted.expires <= NOW.after(Duration::from_seconds(900)) && dies > lent.minted.expires);
    for _ in 0..2 {
        assert_eq!((revoke(&world, NOW), world.vendor.live()), (Ending::ExpiresAt(dies), 1));
    }
    *world.vendor.now.lock().unwrap() = dies;
    assert_eq!((world.vendor.live(), revoke(&world, dies)), (0, Ending::Expired));
}

#[test]
fn a_loan_ends_when_it_was_to_and_its_session_is_waited_for_all_the_same_c4() {
    let (_, world) = world(aws());
    let order = selvedge_domain::orders::MintCredential { ttl_seconds: 60, ..loan(1) };
    let lent = world.leases.lend(&permit(order), &holder(), NOW).unwrap();
    assert_eq!(lent.minted.expires, NOW.after(Duration::from_seconds(60)), "the door stops then");
    assert!(matches!(revoke(&world, NOW.after(Duration::from_seconds(60))), Ending::ExpiresAt(_)));
    assert_eq!(world.vendor.live(), 1);
}

#[test]
fn every_refusal_has_its_name_and_what_to_do_about_it_a07() {
    let policy = |policy: &str| AwsSettings { policy: Some(policy.to_owned()), ..aws() };
    for (settings, is_lasting, words) in [
        (AwsSettings { audience: "sts.amazonaws.com.cn".to_owned(), ..aws() }, true, "our issuer and our audience"),
        (AwsSettings { role: "arn:aws:iam::123456789012:role/admin".to_owned(), ..aws() }, true, "its trust policy"),
        (AwsSettings { session_lives: Duration::from_seconds(7200), ..aws() }, true, "how long its sessions may live"),
        (policy("{\"Statement\":[]}"), true, "check `policy`"),
    ] {
        let (sts, world) = world(settings);
        let order = selvedge_domain::orders::MintCredential { ttl_seconds: 7200, ..loan(1) };
        let error = world.leases.lend(&permit(order), &holder(), NOW).unwrap_err();
        assert_eq!(error.is_lasting(), is_lasting, "{error}");
        assert!(error.to_string().contains(words) && !error.to_string().contains("canary"), "{error}");
        assert!(sts.sessions.lock().unwrap().is_empty());
        assert_eq!(revoke(&world, NOW), Ending::Revoked, "nothing was made");
    }
    // A clock that runs behind: the document is dead when it comes, and the next one may not be.
    let (_, world) = world(aws());
    *world.vendor.now.lock().unwrap() = NOW.after(Duration::from_seconds(61));
    let error = lend(&world).unwrap_err();
    assert!(!error.is_lasting() && error.to_string().contains("check the clocks"), "{error}");
}

#[test]
fn what_the_service_says_of_its_own_state_is_told_from_a_refusal_a07() {
    for (code, status, is_lasting, words) in [
        ("Throttling", 400, false, "too many requests"),
        ("ThrottlingException", 400, false, "too many requests"),
        ("IDPCommunicationError", 400, false, "fetch our keys"),
        ("IDPRejectedClaim", 403, true, "rejects what our document says"),
        ("PackedPolicyTooLarge", 400, true, "too large"),
        ("RegionDisabledException", 403, true, "not activated"),
        ("ServiceUnavailable", 503, false, "in trouble"),
        ("SomethingNew", 400, true, "check the path"),
    ] {
        let (_, world) = world(aws());
        world.vendor.be(move |_| Mood::Says(status, "/ErrorResponse/Error/Code", code));
        let error = lend(&world).unwrap_err();
        assert!(error.is_lasting() == is_lasting && error.to_string().contains(words), "{code}: {error}");
        let LendError::Provider { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.retry_after.is_some(), words == "too many requests", "{code}");
        assert_eq!(revoke(&world, NOW), Ending::Revoked, "{code}");
    }
}

#[test]
fn keys_that_are_none_or_have_no_end_are_not_lent_and_their_session_is_waited_for_c4() {
    for left_out in ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"] {
        let (sts, world) = world(aws());
        *sts.leaves_out.lock().unwrap() = Some(left_out);
        let error = lend(&world).unwrap_err();
        assert!(error.to_string().contains("without the keys of a session"), "{error}");
        let Ending::ExpiresAt(dies) = revoke(&world, NOW) else { panic!("{left_out}: it lives") };
        assert_eq!(world.vendor.live(), 1);
        *world.vendor.now.lock().unwrap() = dies;
        assert_eq!((world.vendor.live(), revoke(&world, dies)), (0, Ending::Expired));
    }
}

#[test]
fn a_session_lives_no_longer_than_what_was_decided_c2() {
    let (sts, world) = world(AwsSettings { session_lives: Duration::from_seconds(3600), ..aws() });
    for (decided, asked) in [(300, "900"), (1800, "1800"), (7200, "3600")] {
        let order = selvedge_domain::orders::MintCredential { lease: lease(decided), ttl_seconds: decided, ..loan(1) };
        let lent = world.leases.lend(&permit(order), &holder(), NOW).unwrap();
        assert!(lent.minted.expires <= NOW.after(Duration::from_seconds(decided)));
        let session = sts.sessions.lock().unwrap().last().unwrap().clone();
        assert_eq!(session.asked.get("DurationSeconds").map(String::as_str), Some(asked), "{decided}");
    }
}
