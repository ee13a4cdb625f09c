//! What a lent credential means for one request: whether it goes in, and what its placeholder or a secret anywhere else
//! means. Owns that a request a credential is for never leaves without it, and that nothing resolves a placeholder but
//! the field it is for. No I/O.

use selvedge_domain::{CredentialName, Endpoint, Method};

use super::fields::Field;
use super::refusal::Refusal;
use super::request::Exchange;
use super::sieve::Sieve;
use crate::loan::{
    FieldName, Held, InHand, Loans, SecretSieve, SecretWatch, SessionKeys, SignedFor, Way, forms_of, percent_decoded,
};

/// A credential on its way into a request.
pub(crate) struct Injection {
    pub(crate) credential: CredentialName,
    pub(crate) going: Going,
    /// Every form of the secret that an answer must not bring back.
    pub(crate) forms: Vec<Vec<u8>>,
    /// That it is under way.
    pub(crate) in_hand: InHand,
}

/// How it goes in.
pub(crate) enum Going {
    /// Written into a field.
    Field(FieldName, Vec<u8>),
    /// As a signature, once the whole request is known.
    Signature(SessionKeys, SignedFor),
}

/// What turned up where it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turned {
    /// What stands for this credential, outside the field it is for.
    Placeholder(CredentialName),
    /// The secret itself, which the run must never have had.
    Secret(CredentialName),
}

/// What goes into this request, having refused it where something turned up that must not.
pub(crate) fn injection(loans: &Loans, request: &Exchange, endpoint: &Endpoint) -> Result<Option<Injection>, Refusal> {
    let held = loans.of(endpoint, request.method, request.path.as_str());
    if let Some(turned) = turned_up(loans, request, held) {
        return Err(Refusal::TurnedUp(turned));
    }
    let Some(held) = held else { return Ok(None) };
    let loan = &held.loan;
    let is_foreign = |field: &&Field| held.goes_into(&field.name) && !held.is_placeholder(&field.name, &field.value);
    if let Some(field) = request.stripped.iter().find(is_foreign) {
        return Err(Refusal::ForeignCredential(field.name.clone()));
    }
    let in_hand = held.in_hand().ok_or_else(|| not_lent(held));
    let (going, in_hand) = match &loan.way {
        Way::Field(_, _) if mints(request.method, request.path.as_str()) => return Err(Refusal::MintsCredentials),
        Way::Field(field, scheme) => {
            let in_hand = in_hand?;
            (Going::Field(field.clone(), scheme.write(in_hand.secret())), in_hand)
        }
        // What makes credentials there is a service of its own, for which nothing is ever signed, but for this of S3.
        Way::Signature(signed_for) if signed_for.is_s3() && grants_access(request.path.as_str()) => {
            return Err(Refusal::MintsCredentials);
        }
        Way::Signature(signed_for) => {
            refuse_unshown(request, signed_for)?;
            let in_hand = in_hand?;
            let keys = SessionKeys::parse(in_hand.secret()).ok_or_else(|| not_lent(held))?;
            (Going::Signature(keys, signed_for.clone()), in_hand)
        }
    };
    let mut forms = loan.way.forms(in_hand.secret());
    if let Going::Field(_, value) = &going {
        forms.push(value.clone());
    }
    Ok(Some(Injection { credential: loan.credential.clone(), going, forms, in_hand }))
}

/// What a header, or a parameter of the same name, begins with when it has S3 do more than method and path say: read another
/// object, let others at this one, send its readers elsewhere, or decide who may delete it and when.
const UNSHOWN: [&str; 9] = [
    "x-amz-acl",
    "x-amz-bucket-object-lock",
    "x-amz-bypass-governance-retention",
    "x-amz-copy-source",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-object-ownership",
    "x-amz-rename-source",
    "x-amz-website-redirect-location",
];

/// Parameters with which S3 still does what method and path say, in lower case: which part of a list, of an object or of an upload.
/// Any other may name a sub-resource (`?acl`, `?policy`, `?replication`), which is another thing under the same path; there are
/// some sixty, and more every year.
const READING: &[&str] = &[
    "",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "partnumber",
    "prefix",
    "start-after",
    "uploadid",
    "uploads",
    "x-id",
];

/// A signature vouches for the whole request, and whoever judged it saw method and path. So what else would change what it does
/// is refused.
fn refuse_unshown(request: &Exchange, signed_for: &SignedFor) -> Result<(), Refusal> {
    let is_unshown = |name: &str| UNSHOWN.iter().any(|begins| name.starts_with(begins));
    if let Some(field) = request.fields().find(|field| is_unshown(&field.name)) {
        return Err(unshown(&field.name));
    }
    // One version of an object is read as the object is; deleting one is for good, which deleting the object need not be.
    let reads = matches!(request.method, Method::Get | Method::Head);
    let is_shown =
        |name: &str| READING.contains(&name) || name.starts_with("response-") || (name == "versionid" && reads);
    let is_s3 = signed_for.is_s3();
    let Some(query) = &request.query else { return Ok(()) };
    // Some servers that speak S3 end a parameter at a semicolon as well.
    if is_s3 && query.as_str().contains(';') {
        return Err(unshown(";"));
    }
    match query.parameter_names().find(|name| is_unshown(name) || (is_s3 && !is_shown(name))) {
        Some(name) => Err(unshown(&name)),
        None => Ok(()),
    }
}

fn unshown(name: &str) -> Refusal {
    let next_step = format!(
        "leave `{name}` out: with it this request would do what its method and path do not show; where it is needed, ask a person"
    );
    Refusal::Unshown { name: name.to_owned(), next_step }
}

/// What is said of a request whose credential was withdrawn while it was under way.
pub(crate) fn withdrawn(loans: &Loans, credential: &CredentialName) -> Option<Refusal> {
    loans.iter().find(|held| held.loan.credential == *credential).map(not_lent)
}

fn not_lent(held: &Held) -> Refusal {
    Refusal::NotLent { credential: held.loan.credential.clone(), next_step: held.not_lent() }
}

/// Fields that carried somebody else's credential; the placeholder in its own field is none.
pub(crate) fn foreign_fields<'a>(
    loans: &'a Loans,
    request: &'a Exchange,
    endpoint: &Endpoint,
) -> impl Iterator<Item = &'a str> {
    let held = loans.of(endpoint, request.method, request.path.as_str());
    let is_ours = move |field: &Field| held.is_some_and(|held| held.is_placeholder(&field.name, &field.value));
    request.stripped.iter().filter(move |field| !is_ours(field)).map(|field| field.name.as_str())
}

/// Watches a request's body.
pub(crate) struct BodyWatch<'l> {
    sieve: Sieve,
    meanings: Vec<Turned>,
    /// For what is lent no more.
    retired: Vec<SecretSieve<'l>>,
}

impl<'l> BodyWatch<'l> {
    /// For everything that must not leave in a body; none where nothing is lent.
    pub(crate) fn over(loans: &'l Loans) -> Option<Self> {
        let strings = forbidden(loans);
        let sieve = Sieve::new(strings.iter().map(|(string, _)| string.as_slice()));
        let retired = loans.iter().map(Held::retired).filter(|retired| !retired.is_empty());
        let retired = retired.map(SecretWatch::sieve).collect();
        (!strings.is_empty()).then(|| Self {
            sieve,
            meanings: strings.into_iter().map(|(_, meaning)| meaning).collect(),
            retired,
        })
    }

    /// Takes the next piece; gives what may go on, unless something was found.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let passed = self.sieve.pass(piece);
        self.retired.iter_mut().fold(passed, |passed, sieve| sieve.pass(&passed))
    }

    /// Gives the rest when nothing follows.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        let rest = self.sieve.end();
        self.retired.iter_mut().fold(rest, |rest, sieve| [sieve.pass(&rest), sieve.end()].concat())
    }

    /// Whether something was found that must not leave.
    pub(crate) fn has_found(&self) -> bool {
        self.sieve.found() > 0 || self.retired.iter().any(|sieve| sieve.found().is_some())
    }

    /// What is in a body that is here whole.
    pub(crate) fn turned_up_in(mut self, body: &[u8]) -> Option<Turned> {
        self.pass(body);
        self.end();
        self.turned_up()
    }

    /// What was found.
    pub(crate) fn turned_up(&self) -> Option<Turned> {
        let lent = self.sieve.first().and_then(|index| self.meanings.get(index)).cloned();
        lent.or_else(|| self.retired.iter().find_map(SecretSieve::found).map(Turned::Secret))
    }
}

/// Looks through the head of a request.
fn turned_up(loans: &Loans, request: &Exchange, held: Option<&Held>) -> Option<Turned> {
    if loans.is_empty() {
        return None;
    }
    let target = [request.path.as_str(), request.query.as_ref().map_or("", |query| query.as_str())];
    let is_in_its_place = |field: &&Field| held.is_some_and(|held| held.is_placeholder(&field.name, &field.value));
    let fields = request.fields().chain(request.stripped.iter().filter(|field| !is_in_its_place(field)));
    let mut text = target.join("\n").into_bytes();
    text.push(b'\n');
    text.extend(percent_decoded(target.join("\n").as_bytes()));
    for field in fields {
        text.push(b'\n');
        text.extend_from_slice(&field.value);
        // `Basic` hides what it carries in base64.
        text.push(b'\n');
        text.extend(crate::loan::decoded(&field.value));
    }
    let forbidden = forbidden(loans);
    let mut sieve = Sieve::new(forbidden.iter().map(|(string, _)| string.as_slice()));
    sieve.pass(&text);
    let lent = sieve.first().and_then(|index| forbidden.get(index)).map(|(_, meaning)| meaning.clone());
    lent.or_else(|| loans.iter().find_map(|held| held.retired().found_in(&text)).map(Turned::Secret))
}

/// What a run must not send, as far as it is known by its bytes: secrets that are lent, in every form, and placeholders outside
/// their place.
fn forbidden(loans: &Loans) -> Vec<(Vec<u8>, Turned)> {
    let mut forbidden = Vec::new();
    for held in loans.iter() {
        let (loan, credential) = (&held.loan, &held.loan.credential);
        let forms = held.secret_forms().into_iter();
        forbidden.extend(forms.map(|form| (form, Turned::Secret(credential.clone()))));
        let forms = forms_of(loan.placeholder.as_str().as_bytes()).into_iter();
        forbidden.extend(forms.map(|form| (form, Turned::Placeholder(credential.clone()))));
    }
    forbidden
}

/// Whether S3 would answer with keys, or see to it that somebody gets some: its Access Grants, all beneath one path.
fn grants_access(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    [segments.next(), segments.next()]
        .into_iter()
        .zip(["v20180820", "accessgrantsinstance"])
        .all(|(segment, named)| segment.is_some_and(|segment| segment.eq_ignore_ascii_case(named)))
}

/// Whether a request would make another credential, with the rights of the one that is put into it and a life of its own. By
/// the paths of the services we know; what a run may do is for `uses` to say, this is a second look.
fn mints(method: Method, path: &str) -> bool {
    const MINTING: &[&str] = &[
        "access_token",
        "access_tokens",
        "access-tokens",
        "api_keys",
        "api-keys",
        "applications",
        "authorizations",
        "create-orphan",
        "deploy_keys",
        "deploy_tokens",
        "gpg_keys",
        "impersonation_tokens",
        "keys",
        "personal_access_tokens",
        "registration-token",
        "remove-token",
        "service_account_tokens",
        "ssh_keys",
        "token",
        "tokens",
        "trusted_publishers",
    ];
    let writes = matches!(method, Method::Post | Method::Put | Method::Patch);
    let is_minting = |segment: &str| MINTING.contains(&segment.to_ascii_lowercase().as_str());
    writes && path.split('/').any(is_minting)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use selvedge_domain::{HostPattern, Reach};

    use super::super::request::{Request, parse_request};
    use super::*;
    use crate::loan::{Loan, Placeholder, Scheme, SecretText};

    const SECRET: &str = "s3cr3t-value-0001";

    fn loans(lasts: Option<Duration>) -> Loans {
        let uses =
            Reach { endpoint: endpoint(), methods: Method::ALL.iter().copied().collect(), path_prefix: "/v1".into() };
        Loans::begin(vec![Loan {
            credential: CredentialName::parse("key").unwrap(),
            uses: vec![uses],
            way: Way::Field(FieldName::parse("authorization").unwrap(), Scheme::Bearer),
            placeholder: Placeholder::of_bits(7),
            secret: lasts.map(|lasts| (SecretText::parse(SECRET.as_bytes()).unwrap(), lasts)),
        }])
    }

    fn endpoint() -> Endpoint {
        Endpoint { host: HostPattern::parse("api.example").unwrap(), port: 443 }
    }

    fn exchange(line: &str, fields: &str) -> Exchange {
        match parse_request(format!("{line} HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n").as_bytes()).unwrap() {
            Request::Exchange(exchange) => *exchange,
            Request::Connect(endpoint) => panic!("a tunnel to {endpoint:?}"),
        }
    }

    fn asked(line: &str, fields: &str) -> Result<Option<Injection>, Refusal> {
        injection(&loans(Some(Duration::from_secs(60))), &exchange(line, fields), &endpoint())
    }

    fn placeholder() -> String {
        Placeholder::of_bits(7).as_str().to_owned()
    }

    #[test]
    fn a_credential_goes_into_what_it_is_for_with_or_without_its_placeholder_a50() {
        for fields in [String::new(), format!("Authorization: Bearer {}\r\n", placeholder())] {
            let injected = asked("GET /v1/items", &fields).unwrap().unwrap();
            assert!(matches!(injected.going, Going::Field(_, value) if value == b"Bearer s3cr3t-value-0001"));
            let wanted = format!("Authorization: Bearer {}\r\n", placeholder());
            let request = exchange("GET /v1/items", &wanted);
            assert_eq!(foreign_fields(&loans(None), &request, &endpoint()).count(), 0);
        }
        assert!(asked("GET /v2", "").unwrap().is_none(), "another path");
    }

    #[test]
    fn a_placeholder_anywhere_else_is_refused_in_every_spelling_a50() {
        let (text, key) = (placeholder(), CredentialName::parse("key").unwrap());
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("user:{text}"));
        let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
        for (line, fields) in [
            (format!("GET /v2/{text}"), String::new()),
            (format!("GET /v1/{text}"), String::new()),
            (format!("GET /v1?q=a{text}b"), String::new()),
            (format!("GET /v1?q={}", text.replace('s', "%73")), String::new()),
            (format!("GET /v1/{hex}"), String::new()),
            ("GET /v2".to_owned(), format!("Authorization: Bearer {text}\r\n")),
            ("GET /v1".to_owned(), format!("X-Api-Key: {text}\r\n")),
            ("GET /v1".to_owned(), format!("User-Agent: curl {text}\r\n")),
            ("GET /v2".to_owned(), format!("Authorization: Basic {basic}\r\n")),
        ] {
            let turned = match asked(&line, &fields) {
                Err(Refusal::TurnedUp(turned)) => turned,
                other => panic!("{line} {fields}: {:?}", other.map(|injection| injection.is_some())),
            };
            assert_eq!(turned, Turned::Placeholder(key.clone()), "{line}");
        }
    }

    #[test]
    fn a_secret_in_a_request_is_told_from_its_placeholder_c7() {
        let turned = asked("GET /v2", &format!("X-Note: {SECRET}\r\n"));
        assert!(matches!(turned, Err(Refusal::TurnedUp(Turned::Secret(_)))));
    }

    #[test]
    fn somebody_else_s_credential_is_refused_where_ours_would_go_a57() {
        for value in ["Bearer stolen", "Basic YTpi", "stolen"] {
            let refused = asked("GET /v1", &format!("Authorization: {value}\r\n"));
            assert!(matches!(refused, Err(Refusal::ForeignCredential(_))), "{value}");
        }
        // Elsewhere it is stripped, and the request goes on without.
        assert!(asked("GET /v2", "Authorization: Bearer stolen\r\n").unwrap().is_none());
    }

    #[test]
    fn without_its_credential_a_request_does_not_leave_a07() {
        for lasts in [None, Some(Duration::ZERO)] {
            let refused = injection(&loans(lasts), &exchange("GET /v1", ""), &endpoint());
            assert!(matches!(refused, Err(Refusal::NotLent { .. })));
            assert!(injection(&loans(lasts), &exchange("GET /v2", ""), &endpoint()).unwrap().is_none());
        }
    }

    fn signing(lasts: Option<Duration>) -> Loans {
        let uses =
            Reach { endpoint: endpoint(), methods: [Method::Get, Method::Put].into(), path_prefix: "/v1".into() };
        signing_for("s3", uses, lasts)
    }

    fn signing_for(service: &str, uses: Reach, lasts: Option<Duration>) -> Loans {
        let secret = SecretText::parse(b"ASIAEXAMPLE000001:s3cr3t-of-a-session-01:t0ken-of-a-session-01").unwrap();
        Loans::begin(vec![Loan {
            credential: CredentialName::parse("key").unwrap(),
            uses: vec![uses],
            way: Way::Signature(SignedFor::parse(service, "eu-central-1").unwrap()),
            placeholder: Placeholder::of_bits(7),
            secret: lasts.map(|lasts| (secret, lasts)),
        }])
    }

    #[test]
    fn what_signs_knows_its_placeholder_in_a_signature_and_refuses_what_others_signed_a50_a57() {
        let ask = |fields: &str| {
            injection(&signing(Some(Duration::from_secs(60))), &exchange("PUT /v1/keys/a", fields), &endpoint())
        };
        let signed = |id: &str| {
            format!("Authorization: AWS4-HMAC-SHA256 Credential={id}/20260101/x/s3/aws4_request, Signature=0\r\n")
        };
        for fields in [String::new(), signed(&placeholder()), format!("X-Amz-Security-Token: {}\r\n", placeholder())] {
            let injected = ask(&fields).unwrap().unwrap();
            assert!(matches!(injected.going, Going::Signature(..)), "{fields}: and `keys` is the name of an object");
        }
        for fields in [
            signed("AKIASOMEBODYELSE0001"),
            "X-Amz-Security-Token: stolen\r\n".to_owned(),
            "X-Amz-S3session-Token: stolen\r\n".to_owned(),
            "Authorization: Bearer stolen\r\n".to_owned(),
        ] {
            assert!(matches!(ask(&fields), Err(Refusal::ForeignCredential(_))), "{fields}");
        }
        // Longer than the placeholder, or in a field that is not its own.
        for fields in [signed(&format!("{}0", placeholder())), format!("Cookie: {}\r\n", placeholder())] {
            assert!(matches!(ask(&fields), Err(Refusal::TurnedUp(Turned::Placeholder(_)))), "{fields}");
        }
    }

    /// What becomes of such a request to a service that everything is signed for.
    fn signed(service: &str, line: &str, fields: &str) -> Result<(), Refusal> {
        let uses =
            Reach { endpoint: endpoint(), methods: Method::ALL.iter().copied().collect(), path_prefix: "/".into() };
        let loans = signing_for(service, uses, Some(Duration::from_secs(60)));
        injection(&loans, &exchange(line, fields), &endpoint()).map(|_| ())
    }

    #[test]
    fn c5_no_signed_request_does_what_its_order_does_not_show() {
        for (service, line, fields) in [
            ("s3", "PUT /v1/a", "X-Amz-Acl: public-read\r\n"),
            ("s3", "PUT /v1/a", "X-Amz-Grant-Full-Control: id=attacker\r\n"),
            ("s3", "PUT /v1/a", "X-Amz-Website-Redirect-Location: https://evil.example/\r\n"),
            ("s3", "PUT /v1/a", "X-Amz-Copy-Source: /b/k\r\n"),
            ("s3", "PUT /v1/a", "X-Amz-Copy-Source-Range: bytes=0-1\r\n"),
            ("s3", "PUT /v1/a", "X-Amz-Rename-Source: /b/k\r\n"),
            ("s3", "PUT /v1", "X-Amz-Bucket-Object-Lock-Enabled: true\r\n"),
            ("s3", "PUT /v1/a", "X-Amz-Object-Lock-Mode: COMPLIANCE\r\n"),
            ("s3", "DELETE /v1/a", "X-Amz-Bypass-Governance-Retention: true\r\n"),
            ("s3", "PUT /v1", "X-Amz-Object-Ownership: ObjectWriter\r\n"),
            ("execute-api", "PUT /v1/a", "X-Amz-Acl: public-read\r\n"),
            ("execute-api", "PUT /v1/a?X-Amz-%41cl=public-read", ""),
            ("s3", "PUT /v1/a?x-amz-copy-source=%2Fother%2Fsecret", ""),
            ("s3", "PUT /v1/a?acl", ""),
            ("s3", "PUT /v1/a?%61cl=", ""),
            ("s3", "PUT /v1/a?ACL&versionId=1", ""),
            ("s3", "PUT /v1?policy", ""),
            ("s3", "PUT /v1?replication", ""),
            ("s3", "GET /v1?session", ""),
            ("s3", "POST /v1?delete", ""),
            ("s3", "GET /v1?prefix=a;acl", ""),
            ("s3", "DELETE /v1/a?versionId=1", ""),
            ("s3-outposts", "PUT /v1?policy", ""),
        ] {
            let refused = signed(service, line, fields);
            assert!(matches!(refused, Err(Refusal::Unshown { .. })), "{service} {line} {fields}");
        }
        for (service, line) in [
            ("s3", "GET /v1?list-type=2&prefix=a%2Fb&delimiter=%2F&max-keys=5&continuation-token=x&start-after=a&&"),
            ("s3", "GET /v1?marker=a&encoding-type=url&fetch-owner=true&prefix="),
            ("s3", "GET /v1/a?versionId=1&partNumber=2&response-content-type=text%2Fplain&x-id=GetObject"),
            ("s3", "POST /v1/a?uploads"),
            ("s3", "PUT /v1/a?partNumber=1&uploadId=x"),
            ("s3", "PUT /v1/a?"),
            ("execute-api", "PUT /v1/a?acl&policy=x"),
        ] {
            assert!(signed(service, line, "X-Amz-Meta-Acl: a\r\nX-Amz-Storage-Class: GLACIER\r\n").is_ok(), "{line}");
        }
    }

    #[test]
    fn a54_s3_hands_out_no_keys_for_its_access_grants() {
        for line in [
            "GET /v20180820/accessgrantsinstance/dataaccess?target=s3%3A%2F%2Fb%2F*",
            "GET /V20180820/AccessGrantsInstance",
            "POST /v20180820/accessgrantsinstance/grant",
        ] {
            assert!(matches!(signed("s3", line, ""), Err(Refusal::MintsCredentials)), "{line}");
        }
        assert!(signed("s3", "GET /v20180820/accessgrantsinstances", "").is_ok());
        assert!(
            signed("execute-api", "GET /v20180820/accessgrantsinstance/dataaccess", "").is_ok(),
            "of another service"
        );
    }

    /// A stored key lives on when it was withdrawn, and so may what was replaced.
    #[test]
    fn c7_a_secret_that_is_lent_no_more_is_still_a_secret() {
        use crate::loan::LoanChange;
        let renewed = |secret: &str| LoanChange::Renewed {
            secret: SecretText::parse(secret.as_bytes()).unwrap(),
            lasts: Duration::from_secs(60),
        };
        let (name, withdrawn) =
            (CredentialName::parse("key").unwrap(), LoanChange::Withdrawn { because: "x".to_owned() });
        for changes in [vec![withdrawn.clone()], vec![renewed("another-secret-0000002"), withdrawn]] {
            let loans = loans(Some(Duration::from_secs(60)));
            let mut lent = vec![SECRET];
            for change in &changes {
                drop(loans.change(&name, change));
                lent.extend(matches!(change, LoanChange::Renewed { .. }).then_some("another-secret-0000002"));
            }
            for secret in lent {
                let found = injection(&loans, &exchange("GET /v2", &format!("X-Note: {secret}\r\n")), &endpoint());
                assert!(matches!(found, Err(Refusal::TurnedUp(Turned::Secret(_)))), "{changes:?} {secret}");
                for pieces in [[secret, ""], secret.split_at(7).into()] {
                    let mut watch = BodyWatch::over(&loans).unwrap();
                    assert!(pieces.map(|piece| watch.pass(piece.as_bytes())).concat().is_empty() || watch.has_found());
                    assert!(matches!(watch.turned_up(), Some(Turned::Secret(_))), "{changes:?} {secret}");
                }
            }
            let mut watch = BodyWatch::over(&loans).unwrap();
            let mut passed = watch.pass(b"s3cr3t-value-0002");
            passed.extend(watch.end());
            assert_eq!((passed.as_slice(), watch.turned_up()), (&b"s3cr3t-value-0002"[..], None));
        }
    }

    #[test]
    fn each_part_of_a_session_is_a_secret_but_for_its_id_c7() {
        for (part, is_secret) in
            [("s3cr3t-of-a-session-01", true), ("t0ken-of-a-session-01", true), ("ASIAEXAMPLE000001", false)]
        {
            let request = exchange("GET /v2", &format!("X-Note: {part}\r\n"));
            let turned = injection(&signing(Some(Duration::from_secs(60))), &request, &endpoint());
            assert_eq!(matches!(turned, Err(Refusal::TurnedUp(Turned::Secret(_)))), is_secret, "{part}");
        }
    }

    #[test]
    fn no_credential_is_made_with_a_lent_one_a54() {
        for path in
            ["/v1/app/installations/1/access_tokens", "/v1/users/me/tokens", "/v1/auth/token/create", "/v1/user/Keys"]
        {
            assert!(matches!(asked(&format!("POST {path}"), ""), Err(Refusal::MintsCredentials)), "{path}");
        }
        assert!(asked("GET /v1/users/me/tokens", "").is_ok());
        assert!(asked("POST /v1/monkeys", "").is_ok());
    }

    #[test]
    fn a_body_is_watched_in_every_form_a51() {
        let loans = loans(Some(Duration::from_secs(60)));
        for (body, is_secret) in [(placeholder(), false), (SECRET.to_owned(), true)] {
            let mut watch = BodyWatch::over(&loans).unwrap();
            watch.pass(format!("note={body}").as_bytes());
            let turned = watch.turned_up().unwrap();
            assert_eq!(matches!(turned, Turned::Secret(_)), is_secret);
        }
        assert!(BodyWatch::over(&Loans::default()).is_none());
    }
}
