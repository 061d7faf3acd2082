//! Concur's error codes: the `error` word is documented; the sentences and the HTTP statuses are this sandbox's.

use crate::answer::Answer;
use axum::http::StatusCode;
use serde_json::json;

/// A refusal of the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: u32,
    /// An error of an RFC that Concur has no code for.
    word: Option<&'static str>,
    detail: Option<&'static str>,
    geolocation: Option<String>,
}

struct Row {
    code: u32,
    error: &'static str,
    description: &'static str,
}

impl Refusal {
    pub(crate) fn new(code: u32) -> Refusal {
        Refusal { code, word: None, detail: None, geolocation: None }
    }

    /// Says what exactly was wrong, in place of the code's own sentence.
    pub(crate) fn because(code: u32, detail: &'static str) -> Refusal {
        Refusal { code, word: None, detail: Some(detail), geolocation: None }
    }

    /// A refusal in the words of an RFC, without a code.
    pub(crate) fn plain(word: &'static str, detail: &'static str) -> Refusal {
        Refusal { code: 0, word: Some(word), detail: Some(detail), geolocation: None }
    }

    pub(crate) fn code(&self) -> u32 {
        self.code
    }

    pub(crate) fn with_geolocation(self, geolocation: Option<String>) -> Refusal {
        Refusal { geolocation, ..self }
    }

    pub(crate) fn answer(&self) -> Answer {
        if let Some(word) = self.word {
            return Answer::failure(StatusCode::BAD_REQUEST, word, self.detail.unwrap_or_default());
        }
        let row = row(self.code);
        let mut body = json!({
            "code": self.code,
            "error": row.error,
            "error_description": self.detail.unwrap_or(row.description),
        });
        if let Some(geolocation) = &self.geolocation {
            body["geolocation"] = json!(geolocation);
        }
        Answer::json(status(row.error), &body)
    }
}

/// SAP does not say which status goes with which code; RFC 6749, section 5.2, suggests these.
fn status(error: &str) -> StatusCode {
    match error {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        "access_denied" => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn row(code: u32) -> &'static Row {
    const UNKNOWN: &Row =
        &Row { code: 0, error: REQUEST, description: "the sandbox has no sentence for this code" };
    CODES.iter().find(|row| row.code == code).unwrap_or(UNKNOWN)
}

const fn at(code: u32, error: &'static str, description: &'static str) -> Row {
    Row { code, error, description }
}

const GRANT: &str = "invalid_grant";
const REQUEST: &str = "invalid_request";
const CLIENT: &str = "invalid_client";

const CODES: &[Row] = &[
    at(5, GRANT, "the credentials are not right"),
    at(10, GRANT, "this account has been disabled"),
    at(11, GRANT, "this account has been disabled"),
    at(12, GRANT, "this account may not log on"),
    at(13, GRANT, "this account may not log on"),
    at(14, GRANT, "this account has been locked"),
    at(16, REQUEST, "the principal lives at another geolocation"),
    at(19, GRANT, "the credentials are not right"),
    at(20, GRANT, "logging on from this address is not allowed"),
    at(21, REQUEST, "the principal signs in by single sign-on only"),
    at(51, REQUEST, "the form has no username"),
    at(52, REQUEST, "the form has no password"),
    at(53, CLIENT, "the company has not enabled this app"),
    at(54, "invalid_scope", "more scope is asked for than was granted"),
    at(55, REQUEST, "no user has this e-mail address"),
    at(56, REQUEST, "the form has no otp"),
    at(57, REQUEST, "the form has no channel_type"),
    at(58, REQUEST, "the form has no channel_handle"),
    at(59, "access_denied", "this app has been disabled"),
    at(60, GRANT, "the app may not use this grant"),
    at(61, CLIENT, "no app has this client_id"),
    at(62, REQUEST, "the form has no client_id"),
    at(63, REQUEST, "the form has no client_secret"),
    at(64, CLIENT, "the client_secret is not the app's"),
    at(65, REQUEST, "the form has no grant_type"),
    at(80, REQUEST, "the channel_type is not one of those known"),
    at(81, REQUEST, "the channel_handle is not usable"),
    at(82, REQUEST, "too many one-time passwords are open"),
    at(83, REQUEST, "there is no such one-time password"),
    at(84, REQUEST, "the parameters are not those the one-time password was made with"),
    at(85, REQUEST, "the one-time password is not right"),
    at(100, REQUEST, "no user has this name"),
    at(101, REQUEST, "the form has no code"),
    at(102, REQUEST, "the form has no redirect_uri"),
    at(103, REQUEST, "the authorization code is wrong or has expired"),
    at(104, GRANT, "the redirect_uri is not the one that was authorized"),
    at(105, GRANT, "the authorization code belongs to another app"),
    at(106, REQUEST, "the form has no refresh_token"),
    at(107, REQUEST, "this app may not refresh"),
    at(108, GRANT, "the refresh token is wrong or has expired"),
    at(109, REQUEST, "the form has no login id"),
    at(115, REQUEST, "the client has not authenticated"),
    at(116, REQUEST, "the request is malformed"),
    at(117, REQUEST, "this response_type needs a nonce"),
    at(118, REQUEST, "the display is not valid"),
    at(119, REQUEST, "the prompt is not valid"),
    at(120, REQUEST, "the credtype is neither password nor authtoken"),
    at(121, REQUEST, "the login_type is not valid"),
    at(122, REQUEST, "the proxies are not valid"),
    at(123, REQUEST, "this principal has been disabled"),
    at(124, REQUEST, "the request is malformed"),
    at(134, REQUEST, "the company is under scheduled maintenance"),
    at(135, REQUEST, "the format of the request is not supported"),
    at(136, REQUEST, "the request token was made for another app"),
    at(139, REQUEST, "the password has to be changed first"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_stands_twice() {
        let mut codes: Vec<u32> = CODES.iter().map(|row| row.code).collect();
        let all = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), all);
        assert!(codes.is_sorted());
    }

    #[test]
    fn the_status_follows_the_error_word() {
        for (code, status) in [(5, 400), (59, 403), (61, 401), (62, 400), (64, 401), (108, 400), (9999, 400)]
        {
            assert_eq!(Refusal::new(code).answer().status.as_u16(), status, "code {code}");
        }
    }
}
