//! Loans while their door is open: lent, renewed, paused, taken away. Owns that whoever is under way with a secret hears when it is taken
//! away, and that one which is lent no more is still looked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_domain::{CredentialName, Endpoint, Method};
use tokio::sync::watch as signal;

use super::{
    AUTHORIZATION, Loan, LoanChange, SESSION_TOKEN, Scheme, SecretText, SecretWatch, Way, codes, split_scheme,
};

/// The credentials of a door, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Loans {
    loans: Vec<Held>,
}

/// How long requests that are under way with a secret may keep its successor from being reported, and so the old one alive.
pub(crate) const DRAINED_WITHIN: Duration = Duration::from_secs(10);

/// How many secrets that a loan held before are still looked for. Each costs a look through every body; and what was made is revoked
/// and tried when it has a successor, so one that has so many is dead. A stored key has none.
const RETIRED_MAX: usize = 8;

/// A loan as it stands now: its own description holds no secret.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) loan: Loan,
    standing: Mutex<Standing>,
    /// What the secrets look like that it held before. They may live on, and must not leave.
    retired: SecretWatch,
    /// How often the loan was taken away, which every request under way with it hears.
    withdrawn: signal::Sender<u64>,
}

/// What a loan holds, and why it holds nothing.
#[derive(Debug)]
struct Standing {
    lent: Option<Arc<Lent>>,
    because: Option<String>,
    /// Whether it holds nothing for now only.
    is_paused: bool,
}

/// A secret while it is lent.
#[derive(Debug)]
struct Lent {
    text: SecretText,
    ends: Option<Instant>,
    in_use: signal::Sender<()>,
}

/// A secret in the hands of one request.
pub(crate) struct InHand {
    lent: Arc<Lent>,
    withdrawn: signal::Receiver<u64>,
    /// How often it had been taken away before.
    before: u64,
    _in_use: signal::Receiver<()>,
}

/// A secret that is not lent any more, and may still be under way.
#[must_use = "wait for it before the change is confirmed"]
pub(crate) struct Replaced(Option<Arc<Lent>>);

impl Loans {
    /// Counts the time of each loan from now.
    pub(crate) fn begin(loans: Vec<Loan>) -> Self {
        Self { loans: loans.into_iter().map(Held::begin).collect() }
    }

    /// Changes what is lent of this credential. A door that has no loan of it has nothing to change.
    pub(crate) fn change(&self, credential: &CredentialName, change: &LoanChange) -> Replaced {
        let changed = self.loans.iter().filter(|held| held.loan.credential == *credential);
        Replaced(changed.filter_map(|held| held.change(change)).last())
    }

    /// The loan that goes into this request. Configuration sees to it that there is at most one.
    pub(crate) fn of(&self, endpoint: &Endpoint, method: Method, path: &str) -> Option<&Held> {
        self.loans.iter().find(|held| held.loan.uses.iter().any(|uses| uses.covers(endpoint, method, path)))
    }

    /// Every loan.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.loans.iter()
    }

    /// Whether there is none, so that nothing has to be looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.loans.is_empty()
    }
}

impl Held {
    fn begin(mut loan: Loan) -> Self {
        let lent = loan.secret.take().map(|(text, lasts)| Lent::begin(text, lasts));
        let standing = Mutex::new(Standing { lent, because: None, is_paused: false });
        let retired = SecretWatch::over(std::slice::from_ref(&loan), loan.placeholder.bits());
        Self { loan, standing, retired, withdrawn: signal::Sender::new(0) }
    }

    /// Gives the secret that is not lent any more.
    fn change(&self, change: &LoanChange) -> Option<Arc<Lent>> {
        let mut standing = self.standing();
        match change {
            LoanChange::Withdrawn { because } => {
                standing.is_paused = false;
                self.take_away(&mut standing, because)
            }
            LoanChange::Paused { because } => {
                standing.is_paused |= standing.lent.is_some();
                self.take_away(&mut standing, because)
            }
            // A renewal that a withdrawal overtook, or that was never lent, gives nothing back.
            LoanChange::Renewed { .. } if standing.lent.is_none() && !standing.is_paused => None,
            LoanChange::Renewed { secret, lasts } => {
                (standing.because, standing.is_paused) = (None, false);
                self.retire(&standing);
                standing.lent.replace(Lent::begin(secret.clone(), *lasts))
            }
            LoanChange::Lapses { because } => {
                standing.because.get_or_insert_with(|| because.clone());
                None
            }
        }
    }

    /// Gives the secret that is not lent any more; whoever is under way with it is told.
    fn take_away(&self, standing: &mut Standing, because: &str) -> Option<Arc<Lent>> {
        standing.because = Some(because.to_owned());
        self.retire(standing);
        self.withdrawn.send_modify(|times| *times = times.wrapping_add(1));
        standing.lent.take()
    }

    /// Has what is lent looked for when it is lent no more: before it is not, so that there is no moment when it is neither.
    fn retire(&self, standing: &Standing) {
        if let Some(lent) = &standing.lent {
            self.retired.add_latest(&self.loan.credential, &lent.text, RETIRED_MAX);
        }
    }

    /// What the secrets look like that are lent no more; to be asked for after [`Self::secret_forms`].
    pub(crate) fn retired(&self) -> &SecretWatch {
        &self.retired
    }

    /// The secret for one request, while the loan lasts.
    pub(crate) fn in_hand(&self) -> Option<InHand> {
        let standing = self.standing();
        let lent = standing.lent.as_ref().filter(|lent| lent.ends.is_some_and(|ends| Instant::now() < ends))?;
        let (lent, withdrawn) = (Arc::clone(lent), self.withdrawn.subscribe());
        let before = *withdrawn.borrow();
        Some(InHand { _in_use: lent.in_use.subscribe(), lent, withdrawn, before })
    }

    /// What a client is told that needs the loan when there is none.
    pub(crate) fn not_lent(&self) -> String {
        match &self.standing().because {
            Some(because) => format!("do without this request; {because}"),
            None => "do without this request; the credential is not lent now".to_owned(),
        }
    }

    /// Every form of the secret that is lent now, which no request may hold.
    pub(crate) fn secret_forms(&self) -> Vec<Vec<u8>> {
        self.standing().lent.as_ref().map(|lent| self.loan.way.forms(&lent.text)).unwrap_or_default()
    }

    /// Each statement leaves it whole.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a credential in this field would stand where ours goes.
    pub(crate) fn goes_into(&self, field: &str) -> bool {
        match &self.loan.way {
            Way::Field(name, _) => field == name.0,
            Way::Signature(_) => matches!(field, AUTHORIZATION | SESSION_TOKEN | "x-amz-s3session-token"),
        }
    }

    /// Whether a client that was told the placeholder would write this.
    pub(crate) fn is_placeholder(&self, field: &str, value: &[u8]) -> bool {
        let placeholder = self.loan.placeholder.0.as_bytes();
        match &self.loan.way {
            Way::Field(name, scheme) => field == name.0 && self.is_written(scheme, value),
            // What a client signs with the placeholder for a key names it first.
            Way::Signature(_) if field == AUTHORIZATION => {
                let signed = value.strip_prefix(b"AWS4-HMAC-SHA256 Credential=");
                let scope = signed.and_then(|signed| signed.strip_prefix(placeholder));
                scope.is_some_and(|scope| scope.starts_with(b"/"))
            }
            Way::Signature(_) => field == SESSION_TOKEN && value == placeholder,
        }
    }

    fn is_written(&self, scheme: &Scheme, value: &[u8]) -> bool {
        let (word, rest) = split_scheme(value);
        match scheme {
            Scheme::Plain => value == self.loan.placeholder.0.as_bytes(),
            // A client knows best how it writes a token: `token`, `Bearer` and `Basic` all mean this one.
            Scheme::Bearer | Scheme::Basic(_) if word.eq_ignore_ascii_case(b"basic") => {
                codes::base64_decoded(rest).is_some_and(|pair| pair.ends_with(self.loan.placeholder.0.as_bytes()))
            }
            Scheme::Bearer | Scheme::Basic(_) => rest == self.loan.placeholder.0.as_bytes(),
        }
    }
}

impl Lent {
    fn begin(text: SecretText, lasts: Duration) -> Arc<Self> {
        let ends = Instant::now().checked_add(lasts);
        Arc::new(Self { text, ends, in_use: signal::Sender::new(()) })
    }
}

impl InHand {
    /// The secret.
    pub(crate) fn secret(&self) -> &SecretText {
        &self.lent.text
    }

    /// Comes back when the loan is withdrawn.
    pub(crate) fn withdrawn(&self) -> impl Future<Output = ()> + use<> {
        let (mut withdrawn, before) = (self.withdrawn.clone(), self.before);
        async move {
            if withdrawn.wait_for(|times| *times != before).await.is_err() {
                // Its loan is gone, and with it the door.
                std::future::pending().await
            }
        }
    }
}

impl Replaced {
    /// Waits until no request is under way with the old secret, or as long as that may take.
    pub(crate) async fn drained(self) {
        if let Some(lent) = self.0 {
            let _in_time = tokio::time::timeout(DRAINED_WITHIN, lent.in_use.closed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{HostPattern, Reach};

    use super::*;
    use crate::loan::{FieldName, NotASecret, Placeholder};

    fn held(scheme: Scheme, secret: Option<Duration>) -> Held {
        let endpoint = Endpoint { host: HostPattern::parse("api.example").unwrap(), port: 443 };
        let uses = Reach { endpoint, methods: [Method::Get].into(), path_prefix: "/v1".to_owned() };
        let loan = Loan {
            credential: CredentialName::parse("key").unwrap(),
            uses: vec![uses],
            way: Way::Field(FieldName::parse("Authorization").unwrap(), scheme),
            placeholder: Placeholder::of_bits(7),
            secret: secret.map(|lasts| (SecretText::parse(b"s3cr3t-value-0001").unwrap(), lasts)),
        };
        Loans::begin(vec![loan]).loans.pop().unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_secret_is_written_as_its_scheme_says() {
        let value = |scheme: Scheme| scheme.write(held(scheme.clone(), Some(LONG)).in_hand().unwrap().secret());
        assert_eq!(value(Scheme::Bearer), b"Bearer s3cr3t-value-0001");
        assert_eq!(value(Scheme::Plain), b"s3cr3t-value-0001");
        // `printf 'me:s3cr3t-value-0001' | base64`
        assert_eq!(value(Scheme::basic("me").unwrap()), b"Basic bWU6czNjcjN0LXZhbHVlLTAwMDE=");
    }

    #[test]
    fn a_loan_that_ended_or_never_was_has_no_value_a07() {
        assert!(held(Scheme::Bearer, None).in_hand().is_none());
        assert!(held(Scheme::Bearer, Some(Duration::ZERO)).in_hand().is_none());
    }

    fn renewed() -> LoanChange {
        LoanChange::Renewed { secret: SecretText::parse(b"s3cr3t-value-0002").unwrap(), lasts: LONG }
    }

    #[test]
    fn a_withdrawn_loan_is_forgotten_for_good_and_says_why_d12() {
        let held = held(Scheme::Bearer, Some(LONG));
        assert!(!held.secret_forms().is_empty());
        let under_way = held.in_hand().unwrap();
        let old = held.change(&LoanChange::Withdrawn { because: "it was withdrawn".to_owned() });
        // Confirmed once what was under way is cut.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut drained = std::pin::pin!(Replaced(old).drained());
            assert!(tokio::time::timeout(Duration::from_millis(1), &mut drained).await.is_err());
            under_way.withdrawn().await;
            drop(under_way);
            drained.await;
        });
        for change in [renewed(), LoanChange::Lapses { because: "policy".to_owned() }] {
            assert!(held.in_hand().is_none() && held.secret_forms().is_empty());
            assert_eq!(held.not_lent(), "do without this request; it was withdrawn");
            assert!(held.change(&change).is_none());
        }
    }

    #[test]
    fn a_paused_loan_is_lent_to_nobody_until_it_is_renewed_and_one_that_was_withdrawn_meanwhile_never_is_c8() {
        let pause = || LoanChange::Paused { because: "the turn is held".to_owned() };
        let held = held(Scheme::Bearer, Some(LONG));
        let under_way = held.in_hand().unwrap();
        held.change(&pause());
        assert!(held.in_hand().is_none() && held.secret_forms().is_empty() && !held.retired().is_empty());
        assert!(held.not_lent().ends_with("the turn is held"));
        held.change(&renewed());
        let anew = held.in_hand().unwrap();
        assert_eq!(anew.secret().expose(), "s3cr3t-value-0002");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            // Whoever had the old one hears of it though there is a new one by now; whoever has the new one does not.
            under_way.withdrawn().await;
            assert!(tokio::time::timeout(Duration::from_millis(1), anew.withdrawn()).await.is_err());
        });
        held.change(&pause());
        held.change(&LoanChange::Withdrawn { because: "it was withdrawn".to_owned() });
        held.change(&renewed());
        assert!(held.in_hand().is_none());
    }

    #[test]
    fn a_renewed_loan_goes_on_where_the_old_one_ends() {
        let held = held(Scheme::Bearer, Some(Duration::ZERO));
        held.change(&LoanChange::Lapses { because: "it could not be renewed".to_owned() });
        assert!(held.not_lent().ends_with("it could not be renewed"));
        let Some(old) = held.change(&renewed()) else { panic!("nothing was replaced") };
        assert_eq!(old.text.expose(), "s3cr3t-value-0001");
        assert_eq!(held.in_hand().unwrap().secret().expose(), "s3cr3t-value-0002");
        assert!(held.not_lent().ends_with("is not lent now"));
        // What was never lent is not lent later either: its sandbox is one that is lent nothing.
        let never = self::held(Scheme::Bearer, None);
        never.change(&renewed());
        assert!(never.in_hand().is_none());
    }

    #[test]
    fn a_secret_that_has_a_successor_is_waited_for_while_it_is_under_way() {
        let held = held(Scheme::Bearer, Some(LONG));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let under_way = held.in_hand().unwrap();
            let mut drained = std::pin::pin!(Replaced(held.change(&renewed())).drained());
            assert!(tokio::time::timeout(Duration::from_millis(1), &mut drained).await.is_err());
            assert_eq!(under_way.secret().expose(), "s3cr3t-value-0001");
            drop(under_way);
            drained.await;
        });
    }

    #[test]
    fn a_placeholder_is_known_however_a_client_writes_it_and_nothing_else_is() {
        let text = Placeholder::of_bits(7).0;
        let basic = |pair: String| format!("Basic {}", codes::base64(pair.as_bytes()));
        let bearer = held(Scheme::Bearer, Some(LONG));
        for value in [text.clone(), format!("Bearer {text}"), format!("token {text}"), basic(format!("x-token:{text}"))]
        {
            assert!(bearer.is_placeholder("authorization", value.as_bytes()), "{value}");
            assert!(!bearer.is_placeholder("x-api-key", value.as_bytes()), "{value}");
        }
        for value in
            ["", "Bearer", "Bearer stolen-token", "Basic !", &format!("Bearer {text}x"), &basic("a:b".to_owned())]
        {
            assert!(!bearer.is_placeholder("authorization", value.as_bytes()), "{value}");
        }
        assert!(held(Scheme::Plain, None).is_placeholder("authorization", text.as_bytes()));
    }

    #[test]
    fn a_secret_that_would_break_out_of_its_field_is_refused() {
        for bytes in [
            &b"short"[..],
            b"fifteen-letters",
            b"with space here",
            b"line\r\nbreak: 1",
            b"caf\xc3\xa9-secret",
            &[b'x'; 9000],
        ] {
            assert_eq!(SecretText::parse(bytes), Err(NotASecret));
        }
        assert_eq!(format!("{:?}", held(Scheme::Bearer, Some(LONG))).find("s3cr3t"), None);
    }
}
