//! Where a run asks to reach more, the keeper's side: a request is read, strictly and bounded, made an order, and answered in words
//! that an agent can act on. What the rule may be is decided by the funnel; a reason is shown to people and steers nothing.

use selvedge_authority::{ActError, Code, Denial};
use selvedge_domain::orders::{RequestAccess, StartWork, Widened};
use selvedge_domain::{Endpoint, HostPattern, Reach};
use selvedge_factory::Access;
use selvedge_factory::ports::Doorkeeper;
use selvedge_gateway::{Asking, Door, Given};
use selvedge_sandbox::Place;
use serde::Deserialize;
use serde_json::json;

use super::denied::outside_grant;
use super::repositories::permanent;
use super::secrets::masked;
use crate::config::parse_rule;

/// Where one asks: nowhere, the door answers.
const HOST: &str = "access.selvedge.internal";

/// Longest reason. A person reads it before they decide, on one screen and among others.
const REASON_BYTES_MAX: usize = 280;

/// Where one attempt asks to reach more.
pub(super) struct AccessDesk {
    order: StartWork,
}

/// What is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    reach: String,
    reason: String,
}

/// Why a request cannot be made an order; said to the agent, and not recorded: nothing was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unreadable(&'static str);

impl AccessDesk {
    /// The desk of an attempt; none where its agent may ask for nothing.
    pub(super) fn of(order: &StartWork) -> Option<Self> {
        (!order.grant.may_ask.is_empty()).then(|| Self { order: order.clone() })
    }

    /// What its door has to know.
    pub(super) fn asking(&self) -> Result<Asking, ActError> {
        let host = HostPattern::parse(HOST).ok_or_else(|| permanent("the name of the access host is none"))?;
        let within = self.order.grant.may_ask.iter().cloned().collect();
        Ok(Asking { endpoint: Endpoint { host, port: 443 }, within })
    }

    /// Says in the sandbox where it is.
    pub(super) fn announce(&self, place: Place) -> Place {
        place.with_env("SELVEDGE_ACCESS_URL", &format!("https://{HOST}/"))
    }

    /// Answers one request of the run this is for.
    pub(super) fn answer(&self, doors: &dyn Doorkeeper, door: &Door, asked: &str) -> Given {
        let (reach, reason) = match read(asked) {
            Ok(read) => read,
            Err(Unreadable(next_step)) => {
                return given(400, &json!({ "code": "malformed_request", "next_step": next_step }));
            }
        };
        let StartWork { run, repo, attempt, .. } = self.order.clone();
        let order = RequestAccess { run, repo, attempt, reach: reach.clone(), reason };
        let answered = doors.request_access(order, &mut |permit| {
            let gone = |_| ActError::Transient("the door is gone".to_owned());
            door.widen(&permit.order().reach).map(|()| Widened).map_err(gone)
        });
        match answered {
            Ok(Access::Given) => given(200, &json!({ "access": "given", "reach": reach.to_string() })),
            Ok(Access::Awaits { approval }) => given(
                202,
                &json!({
                    "code": Code::NeedsApproval.as_str(), "approval": approval.as_str(),
                    "next_step": "a person has to say yes to this: work on with what there is, and ask again later",
                }),
            ),
            Err(Denial { code, next_step, .. }) => {
                given(403, &json!({ "code": code.as_str(), "next_step": next_step }))
            }
        }
    }
}

/// A rule in the words of the configuration, and a reason in plain characters.
fn read(asked: &str) -> Result<(Reach, String), Unreadable> {
    let malformed = "send a JSON object with `reach`, one rule, and `reason`, a sentence; and nothing else";
    let Asked { reach, reason } = serde_json::from_str(asked).map_err(|_| Unreadable(malformed))?;
    if [&reach, &reason].into_iter().any(|text| masked(text) != *text) {
        return Err(Unreadable("ask again without what looks like a secret: it would be shown to people and recorded"));
    }
    let rule =
        "`reach` is `<METHOD> https://<host>/<path>`, with a path as a door reads it: no `..`, no `//`, no encoded `/`";
    let reach = parse_rule(&reach).ok_or(Unreadable(rule))?;
    let plain = reason.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !plain || reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        return Err(Unreadable("say the `reason` in at most 280 plain characters"));
    }
    Ok((reach, reason))
}

fn given(status: u16, body: &serde_json::Value) -> Given {
    Given::Access { status, body: body.to_string() }
}

/// What a sandbox that may ask for no more is told.
pub(super) fn nothing_to_ask() -> Given {
    outside_grant("this sandbox may not ask for more; work with what it has")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reach: &str, reason: &str) -> Result<(Reach, String), Unreadable> {
        read(&json!({ "reach": reach, "reason": reason }).to_string())
    }

    #[test]
    fn what_looks_like_a_secret_is_neither_shown_to_people_nor_recorded_c7() {
        let token = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3d");
        for (reach, reason) in [
            ("GET https://docs.example/".to_owned(), format!("with {token}")),
            (format!("GET https://docs.example/{token}"), "because".to_owned()),
        ] {
            assert!(asked(&reach, &reason).is_err_and(|Unreadable(told)| told.contains("secret")), "{reach}");
        }
    }

    #[test]
    fn a_request_is_one_plain_rule_and_one_plain_reason_e7() {
        let (reach, reason) = asked("GET https://docs.example/guide", "the guide says how").unwrap();
        assert_eq!((reach.to_string().as_str(), reason.as_str()), ("GET docs.example:443/guide", "the guide says how"));
        for rule in [
            "",
            "docs.example",
            "GET http://docs.example/",
            "GET https://docs.example/a/../b",
            "GET https://docs.example//a",
            "GET https://docs.example/%61",
            "GET https://*.example/",
            "GET https://user@docs.example/",
            "TRACE https://docs.example/",
            "get https://docs.example/",
            "GET https://docs.example/?q=1",
            "GET,POST https://docs.example/",
        ] {
            assert!(asked(rule, "because").is_err(), "{rule}");
        }
        for reason in ["", "  ", "a\nb", "\u{1b}[2J", "caf\u{e9}", "\u{202e}yes", &"x".repeat(281)] {
            assert!(asked("GET https://docs.example/", reason).is_err(), "{reason:?}");
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"{"reach":"GET https://docs.example/"}"#,
            r#"{"reach":"GET https://docs.example/","reason":"a","approved":true}"#,
            r#"{"reach":"GET https://docs.example/","reach":"GET https://evil.example/","reason":"a"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
