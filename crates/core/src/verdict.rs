//! One function turns any failure into a verdict. Nobody else compares error strings, status codes or numbers.
//!
//! The provider's own code decides first (Concur's 134 is an `invalid_request` that passes, so the OAuth `error`
//! alone cannot tell final from passing); then RFC 6749's error; then the HTTP status.

use crate::origin::Origin;
use crate::policy::Policy;
use crate::profile::{Profile, Purpose};
use crate::token_endpoint::{Failure, Refusal};
use std::time::Duration;

/// What a failure means for the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes: wait, then try again. `after` is what the server or its documentation asks for.
    Retry {
        /// The least time to wait, where one is asked for.
        after: Option<Duration>,
    },
    /// The principal lives elsewhere: once more at [`Judgement::base`], in this flight only.
    Relocate,
    /// The app's id, secret or permissions must be put right; the refresh token may still be good.
    FixClient,
    /// The scope must be put right; the refresh token may still be good.
    FixScope,
    /// The server says that the refresh token (or request token) is no good. It is kept all the same (law 5).
    GrantGone,
    /// Only the provider can help: an account is disabled, locked or denied.
    AskSupport,
    /// The request was malformed, which is our fault.
    OurBug,
    /// Nobody can tell: a code that the table does not know, a foreign answer, no answer.
    Unknown,
}

impl Verdict {
    /// The name that journals, `--json` and documents use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Relocate => "relocate",
            Self::FixClient => "fix_client",
            Self::FixScope => "fix_scope",
            Self::GrantGone => "grant_gone",
            Self::AskSupport => "ask_support",
            Self::OurBug => "our_bug",
            Self::Unknown => "unknown",
        }
    }

    /// The verdict of that name, as a store wrote it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        use Verdict::{AskSupport, FixClient, FixScope, GrantGone, OurBug, Relocate, Retry, Unknown};
        [Retry { after: None }, Relocate, FixClient, FixScope, GrantGone, AskSupport, OurBug, Unknown]
            .into_iter()
            .find(|verdict| verdict.as_str() == name)
    }
}

/// Whether the grant that was presented may have been used up by it (law 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It was not: nothing was sent, or the server refused.
    No,
    /// It may have been: the answer is missing, cut, foreign, or a 5xx.
    Maybe,
}

/// A verdict, whether the grant may have been spent, and where to go next if anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What the failure means.
    pub verdict: Verdict,
    /// Whether the token that was presented may be used up.
    pub spent: Spent,
    /// With [`Verdict::Relocate`]: where the server says that the principal lives.
    pub base: Option<Origin>,
}

/// Judges any failure of a token request. The table is the profile's, and the pause the policy's.
#[must_use]
pub fn judge(failure: &Failure, purpose: Purpose, profile: &Profile, policy: &Policy) -> Judgement {
    let (verdict, spent) = match failure {
        Failure::Unreachable(_) => (Verdict::Retry { after: None }, Spent::No),
        Failure::NoAnswer(_) => (Verdict::Retry { after: Some(policy.pause) }, Spent::Maybe),
        Failure::Foreign(foreign) => {
            let (verdict, spent) = by_status(foreign.status, foreign.retry_after, policy);
            // What speaks no OAuth may stand behind the server as well as before it: a filter that replaces an answer
            // (law 7). Only who counts requests turns them away unseen.
            (verdict, if foreign.status == 429 { spent } else { Spent::Maybe })
        }
        Failure::Refused(refusal) => return judge_refusal(refusal, purpose, profile, policy),
    };
    Judgement { verdict, spent, base: None }
}

fn judge_refusal(refusal: &Refusal, purpose: Purpose, profile: &Profile, policy: &Policy) -> Judgement {
    let verdict = match profile.row(refusal) {
        Some(known) => match purpose {
            Purpose::Obtain => known.obtaining,
            Purpose::Refresh => known.refreshing,
        },
        None if refusal.code.is_some() && profile.code_decides => Verdict::Unknown,
        None => match by_error(refusal.error.as_deref()) {
            Some(verdict) => verdict,
            // RFC 6749 section 5.2: what was sent is not fit. Servers say so of a wrong password too, and the same would be
            // refused again. Of a refresh it is no proof that the grant is gone (law 5), and at Concur it also stands for
            // maintenance.
            None if is_unfit(refusal) && purpose == Purpose::Obtain && !profile.code_decides => {
                Verdict::GrantGone
            }
            None => by_status(refusal.status, refusal.retry_after, policy).0,
        },
    };
    let verdict = match verdict {
        // A server that names its own pause is believed before its documentation.
        Verdict::Retry { after } => {
            Verdict::Retry { after: refusal.retry_after.or(after.map(|_| policy.pause)) }
        }
        Verdict::Relocate if refusal.geolocation.is_none() => Verdict::Unknown,
        other => other,
    };
    // A refusal in the service's own words was decided before the grant was used; a 5xx may come from behind it, and a
    // 2xx contradicts itself.
    let spent = if (400..500).contains(&refusal.status) { Spent::No } else { Spent::Maybe };
    let base = (verdict == Verdict::Relocate).then(|| refusal.geolocation.clone()).flatten();
    Judgement { verdict, spent, base }
}

fn is_unfit(refusal: &Refusal) -> bool {
    refusal.status == 400 && refusal.error.as_deref() == Some("invalid_request")
}

/// RFC 6749 section 5.2. `invalid_request` is left out on purpose: at Concur it also stands for maintenance, an
/// over-limit and a deadlock behind the service.
fn by_error(error: Option<&str>) -> Option<Verdict> {
    Some(match error? {
        // The last three are OpenID Connect Core's (section 3.1.2.6): only a person can go on.
        "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
            Verdict::GrantGone
        }
        "invalid_client" | "unauthorized_client" | "access_denied" | "unsupported_grant_type" => {
            Verdict::FixClient
        }
        "invalid_scope" => Verdict::FixScope,
        "temporarily_unavailable" | "server_error" | "slow_down" | "authorization_pending" => {
            Verdict::Retry { after: None }
        }
        // RFC 8628 section 3.5: nobody has approved in time; a new device code is needed.
        "expired_token" => Verdict::GrantGone,
        _ => return None,
    })
}

fn by_status(status: u16, retry_after: Option<Duration>, policy: &Policy) -> (Verdict, Spent) {
    match status {
        429 => (Verdict::Retry { after: retry_after }, Spent::No),
        500..=599 => (Verdict::Retry { after: retry_after.or(Some(policy.pause)) }, Spent::Maybe),
        // A 200 that is no token response: the tokens may have been in it.
        200..=299 => (Verdict::Unknown, Spent::Maybe),
        // A redirect is not followed with secrets. What stands between may have put its own page in the place of an
        // answer.
        _ => (Verdict::Unknown, Spent::Maybe),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::concur::CONCUR;
    use crate::token_endpoint::{Foreign, NoAnswer, Oddity};

    fn judged(failure: &Failure, purpose: Purpose) -> Judgement {
        judge(failure, purpose, &CONCUR, &Policy::of(&CONCUR))
    }

    fn refused(code: u32, error: &str) -> Failure {
        Failure::Refused(Refusal {
            status: 400,
            code: Some(code),
            error: Some(error.into()),
            ..Refusal::default()
        })
    }

    #[test]
    fn law_5_an_unknown_code_is_never_the_end_of_a_grant() {
        let judgement = judged(&refused(9_999, "invalid_grant"), Purpose::Refresh);
        assert_eq!((judgement.verdict, judgement.spent), (Verdict::Unknown, Spent::No));
    }

    #[test]
    fn the_code_decides_before_the_error_string() {
        let maintenance = judged(&refused(134, "invalid_request"), Purpose::Refresh);
        assert_eq!(maintenance.verdict, Verdict::Retry { after: Some(Duration::from_secs(300)) });
        let gone = judged(&refused(108, "invalid_grant"), Purpose::Refresh);
        assert_eq!(gone.verdict, Verdict::GrantGone);
    }

    #[test]
    fn code_5_blames_the_client_on_a_refresh_and_the_request_token_otherwise() {
        assert_eq!(judged(&refused(5, "invalid_grant"), Purpose::Refresh).verdict, Verdict::FixClient);
        assert_eq!(judged(&refused(5, "invalid_grant"), Purpose::Obtain).verdict, Verdict::GrantGone);
    }

    #[test]
    fn code_16_relocates_only_where_the_server_says_where() {
        let refusal = Refusal { status: 400, code: Some(16), ..Refusal::default() };
        let lost = judged(&Failure::Refused(refusal.clone()), Purpose::Obtain);
        assert_eq!((lost.verdict, lost.base), (Verdict::Unknown, None));
        let base = Origin::parse("https://eu2.api.concursolutions.com/oauth2").unwrap();
        let found = Refusal { geolocation: Some(base.clone()), ..refusal };
        let judgement = judged(&Failure::Refused(found), Purpose::Obtain);
        assert_eq!((judgement.verdict, judgement.base), (Verdict::Relocate, Some(base)));
    }

    #[test]
    fn law_7_what_came_after_sending_may_have_spent_the_token() {
        let unanswered = judged(&Failure::NoAnswer(NoAnswer::TimedOut), Purpose::Refresh);
        assert_eq!(unanswered.spent, Spent::Maybe);
        for (status, spent) in [
            (500, Spent::Maybe),
            (503, Spent::Maybe),
            (200, Spent::Maybe),
            (403, Spent::Maybe),
            (429, Spent::No),
        ] {
            let foreign =
                Foreign { status, oddity: Oddity::NotJson, retry_after: None, correlation_id: None };
            assert_eq!(judged(&Failure::Foreign(foreign), Purpose::Refresh).spent, spent, "{status}");
        }
    }

    #[test]
    fn retry_after_is_believed_before_the_documentation() {
        let foreign = Foreign {
            status: 503,
            oddity: Oddity::NotJson,
            retry_after: Some(Duration::from_secs(7)),
            correlation_id: None,
        };
        let judgement = judged(&Failure::Foreign(foreign), Purpose::Refresh);
        assert_eq!(judgement.verdict, Verdict::Retry { after: Some(Duration::from_secs(7)) });
    }

    #[test]
    fn names_are_read_back() {
        for row in crate::profile::concur::CODES {
            let name = row.refreshing.as_str();
            assert_eq!(Verdict::parse(name).map(Verdict::as_str), Some(name));
        }
    }
}
