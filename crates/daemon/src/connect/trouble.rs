//! What went wrong, in words for the person who stands before it: what happened, that nothing was lost, what to do next.
//! What somebody else has to put right is told to the log, with its reasons.

use http::StatusCode;
use perennial::Error;
use perennial::core::Verdict;
use perennial::core::connection::Fault;
use perennial::store::StoreError;
use std::time::Duration;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The address is not what SAP sends.
    NotFromSap,
    /// Too much from this address was no good.
    TooOften(Duration),
    /// The browser shows no cookie of ours.
    NoCookie,
    /// There is no such visit, or none any more.
    Over,
    /// The form did not come from our page.
    NotOurForm,
    /// The partner's page has said no.
    Declined,
    /// What came back from the partner's page is not good.
    BadAnswer,
    /// SAP does not take this request token for this company.
    TokenRefused,
    /// SAP, or the way there, or this daemon, cannot go on just now.
    NotNow,
    /// SAP wants something to be put right first: the account, the app.
    Refused,
    /// The answer was for somebody else.
    OtherCompany,
    /// Something here must be put right by who runs it.
    Ours,
}

/// The words of a page.
pub(super) struct Words {
    pub(super) title: &'static str,
    pub(super) what: &'static str,
    pub(super) next: &'static str,
}

const PRESS_AGAIN: &str = "Go back to SAP Concur, open this app in the App Center, and press Connect again.";
const ASK_SUPPORT: &str = "Please tell our support, and give them the correlation ID below.";

impl Trouble {
    /// What an error of the keeper means to the person.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Failed { fault, .. } => Self::of_fault(fault),
            Error::RequestTokenUsedUp { .. } => Self::TokenRefused,
            Error::OtherPrincipal { .. } | Error::OtherCompany { .. } | Error::Unbelieved(_) => {
                Self::OtherCompany
            }
            Error::Store(error) => match **error {
                StoreError::OtherSecret
                | StoreError::NameTaken { .. }
                | StoreError::BadName { .. }
                | StoreError::Fixed { .. } => Self::Ours,
                _ => Self::NotNow,
            },
            Error::Unreachable { .. }
            | Error::ServerFails { .. }
            | Error::Busy
            | Error::Deadline
            | Error::Blocked { .. }
            | Error::Internal(_) => Self::NotNow,
            _ => Self::Ours,
        }
    }

    fn of_fault(fault: &Fault) -> Self {
        match fault.verdict {
            Verdict::GrantGone => Self::TokenRefused,
            Verdict::Retry { .. } | Verdict::Relocate | Verdict::Unknown => Self::NotNow,
            Verdict::AskSupport | Verdict::FixClient | Verdict::FixScope => Self::Refused,
            Verdict::OurBug => Self::Ours,
        }
    }

    /// True when the same request token may work later.
    pub(super) fn passes(&self) -> bool {
        *self == Self::NotNow
    }

    /// True when SAP has refused it for good: nothing that was put down for it is of any use.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::TokenRefused | Self::Refused)
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFromSap | Self::NoCookie => StatusCode::BAD_REQUEST,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Over => StatusCode::NOT_FOUND,
            Self::NotOurForm | Self::BadAnswer | Self::Declined => StatusCode::FORBIDDEN,
            Self::TokenRefused | Self::Refused | Self::OtherCompany => StatusCode::CONFLICT,
            Self::NotNow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Ours => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What logs and templates call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NotFromSap => "not_from_sap",
            Self::TooOften(_) => "too_often",
            Self::NoCookie => "no_cookie",
            Self::Over => "over",
            Self::NotOurForm => "not_our_form",
            Self::Declined => "declined",
            Self::BadAnswer => "bad_answer",
            Self::TokenRefused => "token_refused",
            Self::NotNow => "not_now",
            Self::Refused => "refused",
            Self::OtherCompany => "other_company",
            Self::Ours => "ours",
        }
    }

    pub(super) fn words(&self) -> Words {
        let words = |title, what, next| Words { title, what, next };
        match self {
            Self::NotFromSap => words(
                "This page is opened by SAP Concur",
                "The address is not complete, so we cannot tell which company wants to connect. Nothing has been changed.",
                PRESS_AGAIN,
            ),
            Self::TooOften(_) => words(
                "Please wait a minute",
                "Too many attempts that did not work have come from your network. Nothing has been changed.",
                "Wait a minute, then press Connect again in the SAP Concur App Center.",
            ),
            Self::NoCookie => words(
                "Your browser did not send our cookie",
                "We keep your place with one cookie that is needed for this page and for nothing else. Nothing has been \
                 changed.",
                "Allow cookies for this site, then press Connect again in the SAP Concur App Center.",
            ),
            Self::Over => words(
                "This page is no longer valid",
                "The page was open for more than half an hour, or belongs to another browser, or our service has started \
                 anew since. Nothing was lost: a company that is connected stays connected.",
                PRESS_AGAIN,
            ),
            Self::NotOurForm => words(
                "This did not come from our page",
                "The request was not made by the page that we showed you, so we did not act on it. Nothing has been \
                 changed.",
                PRESS_AGAIN,
            ),
            Self::Declined => words(
                "You did not agree",
                "You said no when you signed in, so nothing was connected and nothing has been changed.",
                "You can close this window. If you change your mind, press Connect again in the SAP Concur App Center.",
            ),
            Self::BadAnswer => words(
                "The sign-in did not come back as it should",
                "What we received from the sign-in page is not valid, or too old. Nothing has been changed.",
                "Sign in again. If that does not help, press Connect again in the SAP Concur App Center.",
            ),
            Self::TokenRefused => words(
                "SAP Concur did not accept the request",
                "SAP Concur says that the request token is not valid for this company: it may be more than 24 hours old, or \
                 used up. Nothing was connected by it. A connection that you had before is unchanged.",
                PRESS_AGAIN,
            ),
            Self::NotNow => words(
                "The connection could not be finished just now",
                "SAP Concur, or our service, could not go on at the moment. Nothing was lost: your request stays valid for 24 hours after Connect was pressed, and a \
                 connection that you had before is unchanged.",
                "Wait a few minutes, then try again here.",
            ),
            Self::Refused => words(
                "SAP Concur refused the connection",
                "SAP Concur answered that something about your company's account or about this app must be put right first. \
                 A connection that you had before is unchanged.",
                ASK_SUPPORT,
            ),
            Self::OtherCompany => words(
                "The answer was for another company",
                "SAP Concur's answer did not belong to your company, so we did not use it. A connection that you had before \
                 is unchanged.",
                ASK_SUPPORT,
            ),
            Self::Ours => words(
                "We could not finish the connection",
                "Something on our side must be put right first. A connection that you had before is unchanged.",
                ASK_SUPPORT,
            ),
        }
    }
}
