//! Tokens of vendors of models: for the run's own document and nothing less, and dead by themselves (C1, C2, C4).

use std::sync::Arc;

use selvedge_credentials::{Asks, Ending, Exchange, ExchangeSettings, Provider};
use selvedge_domain::{Duration, LeaseState, Revocation};

use crate::providers::{Kind, World, federated, loan, world_with};
use crate::vendors::federation::{ACCOUNT, Federation, Maker, ORGANIZATION, RULE};
use crate::world::{Cut, Disk, NOW, holder, issuer, lease, permit, text};

fn world(maker: Maker, settings: &ExchangeSettings) -> World {
    let disk = Arc::<Disk>::default();
    let service = Box::new(Federation::new(maker, &disk));
    world_with(Kind::ExpiryOnly, Cut::Never, Arc::clone(&disk), service, |courier| {
        Arc::new(Exchange::new(settings.clone(), issuer(&disk), courier)) as Arc<dyn Provider>
    })
}

#[test]
fn a_token_is_made_in_the_vendor_s_words_and_says_when_it_dies_c1_c2_c4() {
    for (maker, lives) in [(Maker::Anthropic, 900), (Maker::OpenAi, 300)] {
        let world = world(maker, &federated(maker));
        let lent = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap();
        assert!(text(&lent.secret).starts_with("sk-ant-oat01-canary"));
        assert!(lent.minted.expires <= NOW.after(Duration::from_seconds(lives)), "{maker:?}");
        assert!(matches!(lent.minted.revocation, Revocation::ExpiryOnly(_)), "{maker:?}");
        let Ending::ExpiresAt(dies) = world.leases.revoke(&lease(1), LeaseState::Announced, NOW) else { panic!() };
        *world.vendor.now.lock().unwrap() = dies;
        assert_eq!(world.vendor.live(), 0, "{maker:?}");
        // Every lease shows a document of its own: the same one twice would be refused.
        *world.vendor.now.lock().unwrap() = NOW;
        assert!(world.leases.lend(&permit(loan(2)), &holder(), NOW).is_ok(), "{maker:?}");
    }
}

#[test]
fn a_rule_or_an_audience_that_does_not_match_makes_nothing_a07() {
    let claude = |rule: &str, workspace: Option<&str>| Asks::Anthropic {
        rule: rule.to_owned(),
        organization: ORGANIZATION.to_owned(),
        account: ACCOUNT.to_owned(),
        workspace: workspace.map(str::to_owned),
    };
    let gpt = Asks::OpenAi { provider: "idp_other".to_owned(), account: ACCOUNT.to_owned() };
    for (maker, settings) in [
        (Maker::Anthropic, ExchangeSettings { asks: claude("fdrl_other", None), ..federated(Maker::Anthropic) }),
        (Maker::Anthropic, ExchangeSettings { asks: claude(RULE, None), ..federated(Maker::Anthropic) }),
        (
            Maker::Anthropic,
            ExchangeSettings { server: "https://other.example".to_owned(), ..federated(Maker::Anthropic) },
        ),
        (Maker::OpenAi, ExchangeSettings { asks: gpt, ..federated(Maker::OpenAi) }),
    ] {
        let world = world(maker, &settings);
        let error = world.leases.lend(&permit(loan(1)), &holder(), NOW).unwrap_err();
        assert!(error.is_lasting() && error.to_string().contains("does not accept who asks"), "{error}");
        assert_eq!(world.leases.revoke(&lease(1), LeaseState::Announced, NOW), Ending::Revoked);
        assert_eq!(world.vendor.live(), 0);
    }
}
