//! What may be wrong with how a grant is given, signed in for, or given back.

use crate::problem::Problem;
use http::StatusCode;
use perennial::core::Origin;
use perennial::core::authorization::RedirectError;
use perennial::sign_in::discovery::DiscoveryError;

impl Problem {
    pub(super) fn unknowing() -> Self {
        let detail = "a password that is handed to a program is good for everything that its owner may do (RFC 9700 \
                      section 2.4)";
        Self::new(StatusCode::CONFLICT, "/problems/password", "a password is the last resort", detail).next(
            "have the person sign in instead: grant {\"type\": \"sign_in\"}; to insist: \"i_know\": true",
        )
    }

    pub(super) fn out_of_reach(origin: &Origin) -> Self {
        let detail = format!("a client key may not name {origin}");
        let title = "this server is not for this caller to name";
        Self::new(StatusCode::FORBIDDEN, "/problems/out-of-reach", title, detail).next(
            "ask over the unix socket, or an administrator lists it: servers_inside under [access] in the configuration",
        )
    }

    pub(super) fn not_discovered(error: &DiscoveryError) -> Self {
        let status = match error {
            DiscoveryError::NotFound { .. } => StatusCode::BAD_GATEWAY,
            _ => StatusCode::BAD_REQUEST,
        };
        let title = "the authorization server could not be discovered";
        Self::new(status, "/problems/not-discovered", title, error.to_string())
            .next("check the issuer, or name the token_endpoint and the others by hand")
    }

    pub(super) fn whole_principal(connection: &str) -> Self {
        let detail = "every refresh token that this principal has for the app would end, also that of another connection";
        let title = "more than this connection would end";
        let mut problem = Self::new(StatusCode::CONFLICT, "/problems/whole-principal", title, detail);
        problem.connection = Some(connection.to_owned());
        problem.next("to insist: whole_principal true")
    }

    pub(super) fn no_sign_in() -> Self {
        let detail = "no sign-in of yours is under way for this connection: it is over, or was never begun";
        Self::new(StatusCode::CONFLICT, "/problems/no-sign-in", "there is no such sign-in", detail)
            .next("begin one: POST …/sign-in")
    }

    /// What a browser brought back is of no use. That of another sign-in leaves this one as it was.
    pub(super) fn not_signed_in(error: &RedirectError, is_over: bool) -> Self {
        if is_over {
            let title = "the sign-in came to nothing";
            Self::new(StatusCode::CONFLICT, "/problems/sign-in-failed", title, error.to_string())
                .next("begin another one: POST …/sign-in")
        } else {
            let title = "this belongs to no sign-in of this connection";
            Self::new(StatusCode::BAD_REQUEST, "/problems/other-sign-in", title, error.to_string())
                .next("give the address that the browser ended at, whole")
        }
    }

    pub(super) fn too_many_sign_ins() -> Self {
        let detail = "so many sign-ins are under way that no more are begun";
        let title = "too many sign-ins are under way";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "/problems/too-many-sign-ins", title, detail)
            .after(std::time::Duration::from_secs(60))
            .next("finish those that are under way; each ends by itself within ten minutes")
    }
}
