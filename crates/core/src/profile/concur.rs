//! SAP Concur, as far as it is publicly documented. The names in brackets are SAP's documents.

use super::{ErrorCode, Profile, ReplayRule, Rotation, Source, Template};
use crate::origin::Origin;
use crate::schedule::SAP_PAUSE;
use crate::server::Endpoint;
use crate::verdict::Verdict::{self, AskSupport, FixClient, FixScope, GrantGone, OurBug, Relocate, Retry};
use std::time::Duration;

/// The profile `concur`.
pub static CONCUR: Profile = Profile {
    name: "concur",
    title: "SAP Concur",
    token_path: "/oauth2/v0/token",
    // "usually the same value comes back, but it may change at any time" [tmc-overview].
    replay: ReplayRule::Always,
    rotation: Rotation::Sometimes,
    assumed_access_lifetime: Duration::from_secs(3600),
    // Six months [apidoc]; 183 days would promise more than February to August holds.
    assumed_refresh_lifetime: Some(Duration::from_secs(181 * 24 * 3600)),
    longest_grant: None,
    refresh_expiry_is_absolute: true,
    host_suffixes: &[".concursolutions.com", ".concurcdc.cn"],
    pause: SAP_PAUSE,
    request_token_uses: 5,
    request_token_lifetime: Duration::from_secs(24 * 3600),
    errors: CODES,
    // "the OAuth error string alone cannot tell final from passing": an unknown code is never the end of a grant.
    code_decides: true,
    names_certificate: false,
    api_member: None,
    template: Template { discovers: false, ..Template::UNKNOWN },
    quirks: &[],
    sources: SOURCES,
};

/// SAP's documents, by the names in brackets.
const SOURCES: &[Source] = &[
    document("apidoc", "SAP Concur Developer Center: Authentication API"),
    document("base-uris", "SAP Concur Developer Center: Base URIs"),
    document("tmc-overview", "SAP Concur Developer Center: Token Management Certification"),
];

const fn document(key: &'static str, title: &'static str) -> Source {
    Source { key, title, address: None, supports: &[] }
}

/// The base URIs that `--datacenter` knows [base-uris].
pub const DATACENTERS: &[(&str, &str)] = &[
    ("us2", "https://us2.api.concursolutions.com"),
    ("eu2", "https://eu2.api.concursolutions.com"),
    ("apj1", "https://apj1.api.concursolutions.com"),
    ("usg", "https://usg.api.concursolutions.com"),
    ("glz", "https://glz.api.concursolutions.com"),
    ("us-impl", "https://us-impl.api.concursolutions.com"),
    ("emea-impl", "https://emea-impl.api.concursolutions.com"),
];

/// The global landing zone: where a grant is obtained when nobody names another base [release notes 2025-01].
pub const DEFAULT_BASE: &str = "https://glz.api.concursolutions.com";

/// Where a one-time password is asked for, below a base.
pub const OTP_PATH: &str = "/oauth2/v0/otp";

/// What a DELETE with a bearer revokes all refresh tokens of its principal for the app at, below a base.
pub const CONNECTIONS_PATH: &str = "/app-mgmt/v0/connections";

/// Where a person signs in: at the base's twin for browsers.
#[must_use]
pub fn authorization(base: &Origin) -> Endpoint {
    Endpoint::at(for_browsers(base), "/oauth2/v0/authorize")
}

/// Where the keys stand that id_tokens are signed with.
#[must_use]
pub fn keys(base: &Origin) -> Endpoint {
    Endpoint::at(for_browsers(base), "/oauth2/v0/jwks")
}

/// The `www-` twin of a base, which never asks for a client certificate [base-uris]; hosts that are not SAP's have none.
#[must_use]
pub fn for_browsers(base: &Origin) -> Origin {
    let is_theirs = CONCUR.permits(base, &[]) && !base.host().starts_with("www-");
    let twin = is_theirs.then(|| Origin::parse(&format!("https://www-{}", base.authority())).ok());
    twin.flatten().unwrap_or_else(|| base.clone())
}

const WAIT: Verdict = Retry { after: Some(SAP_PAUSE) };

/// One row whose verdict is the same for obtaining and refreshing.
const fn both(code: u32, error: &'static str, meaning: &'static str, verdict: Verdict) -> ErrorCode {
    row(code, error, meaning, verdict, verdict)
}

/// One row that means a client pair that is wrong when refreshing, and when obtaining that what a person gave is wrong.
const fn credentials(code: u32, error: &'static str, meaning: &'static str) -> ErrorCode {
    row(code, error, meaning, GrantGone, FixClient)
}

const fn row(
    code: u32,
    error: &'static str,
    meaning: &'static str,
    obtaining: Verdict,
    refreshing: Verdict,
) -> ErrorCode {
    let source = "apidoc";
    ErrorCode {
        code: Some(code),
        error,
        suberror: None,
        description: None,
        meaning,
        obtaining,
        refreshing,
        source,
    }
}

const GRANT: &str = "invalid_grant";
const REQUEST: &str = "invalid_request";
const CLIENT: &str = "invalid_client";

/// Concur's error codes [api-guides/authentication], in ascending order.
pub static CODES: &[ErrorCode] = &[
    credentials(5, GRANT, "the credentials are wrong, or the request token has expired or was used up"),
    both(10, GRANT, "the account is disabled", AskSupport),
    both(11, GRANT, "logon was denied", AskSupport),
    both(12, GRANT, "logon was denied", AskSupport),
    both(13, GRANT, "logon was denied", AskSupport),
    both(14, GRANT, "the account is locked", AskSupport),
    both(16, REQUEST, "the principal lives in another data centre", Relocate),
    credentials(19, GRANT, "the credentials are wrong, or the request token has expired or was used up"),
    both(20, GRANT, "logon was denied from this IP address", AskSupport),
    both(21, REQUEST, "the company signs in by single sign-on only", AskSupport),
    both(51, REQUEST, "the user name is missing from the request", FixClient),
    both(52, REQUEST, "the password is missing from the request", FixClient),
    both(53, CLIENT, "the company is not enabled for this app", FixClient),
    both(54, "invalid_scope", "more scope was asked for than was granted", FixScope),
    credentials(55, REQUEST, "no user has this e-mail address"),
    both(56, REQUEST, "the one-time password is missing from the request", FixClient),
    both(57, REQUEST, "the channel of the one-time password is missing from the request", FixClient),
    both(58, REQUEST, "the address of the one-time password is missing from the request", FixClient),
    both(59, "access_denied", "the app is disabled", FixClient),
    both(60, GRANT, "the app may not use this grant", FixClient),
    both(61, CLIENT, "no app has this App ID", FixClient),
    both(62, REQUEST, "the App ID is missing from the request", FixClient),
    both(63, REQUEST, "the client secret is missing from the request", FixClient),
    both(64, CLIENT, "the client secret is wrong", FixClient),
    both(65, REQUEST, "the grant type is missing from the request", FixClient),
    both(80, REQUEST, "the channel of the one-time password is not known", FixClient),
    both(81, REQUEST, "the address of the one-time password is not usable", FixClient),
    both(82, REQUEST, "too many one-time passwords are open", FixClient),
    credentials(83, REQUEST, "there is no such one-time password"),
    credentials(84, REQUEST, "the one-time password was asked for with other parameters"),
    credentials(85, REQUEST, "the one-time password is wrong"),
    credentials(100, REQUEST, "no user has this name"),
    both(101, REQUEST, "the authorization code is missing from the request", GrantGone),
    both(102, REQUEST, "the redirect address is missing from the request", GrantGone),
    both(103, REQUEST, "the authorization code is wrong or expired", GrantGone),
    both(104, GRANT, "the redirect address is not the one that was authorized", GrantGone),
    both(105, GRANT, "the authorization code belongs to another app", GrantGone),
    both(106, REQUEST, "the refresh token is missing from the request", GrantGone),
    both(107, REQUEST, "the app may not refresh", FixClient),
    both(108, GRANT, "the refresh token is wrong or expired", GrantGone),
    both(109, REQUEST, "the login id is missing from the request", FixClient),
    both(115, REQUEST, "the client has not authenticated", OurBug),
    both(116, REQUEST, "the request is malformed", OurBug),
    both(117, REQUEST, "the request is malformed", OurBug),
    both(118, REQUEST, "the request is malformed", OurBug),
    both(119, REQUEST, "the request is malformed", OurBug),
    both(120, REQUEST, "the credential type is not known", OurBug),
    both(121, REQUEST, "the request is malformed", OurBug),
    both(122, REQUEST, "the request is malformed", OurBug),
    both(123, REQUEST, "the principal is disabled", AskSupport),
    both(124, REQUEST, "the request is malformed", OurBug),
    both(134, REQUEST, "the company is under scheduled maintenance", WAIT),
    both(135, REQUEST, "the format of the request is not supported", OurBug),
    both(136, REQUEST, "the request token was made for another App ID", FixClient),
    both(139, REQUEST, "the password must be changed", AskSupport),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_code_stands_in_the_table_once() {
        let documented: Vec<u32> = [
            vec![5, 19, 10, 11, 12, 13, 20, 14, 16, 21, 139, 51, 52, 55, 100, 109],
            vec![53, 59, 61, 62, 63, 64, 54, 60, 65, 107],
            (101..=106).chain([108]).collect(),
            (56..=58).chain(80..=85).collect(),
            (115..=124).chain([136, 134, 135]).collect(),
        ]
        .concat();
        let mut documented = documented;
        documented.sort_unstable();
        let codes: Vec<u32> = CODES.iter().map(|row| row.code.unwrap_or(0)).collect();
        assert_eq!(codes, documented);
    }

    #[test]
    fn the_default_base_is_a_known_data_centre() {
        assert!(DATACENTERS.iter().any(|(_, base)| *base == DEFAULT_BASE));
    }
}
