//! Any server that follows the RFCs. Nothing is known of it, so the rules are the most careful ones: a refresh token may be
//! spent by one presentation (RFC 9700 section 4.14.2), and a grant lives until the server says otherwise.

use super::{Profile, ReplayRule, Rotation, Source, Template};
use std::time::Duration;

/// The profile `generic`.
pub static GENERIC: Profile = careful("generic", "any OAuth 2.0 server");

/// A profile of this name with nothing but careful rules.
#[must_use]
pub const fn careful(name: &'static str, title: &'static str) -> Profile {
    Profile {
        name,
        title,
        token_path: "",
        replay: ReplayRule::Never,
        rotation: Rotation::Unknown,
        // RFC 6749 section 5.1 lets a server leave expires_in out; most tokens of that kind live an hour, and one that is
        // taken for dead too early costs a refresh, one that is taken for alive too long an error.
        assumed_access_lifetime: Duration::from_secs(3600),
        assumed_refresh_lifetime: None,
        longest_grant: None,
        refresh_expiry_is_absolute: false,
        host_suffixes: &[],
        pause: Duration::from_secs(30),
        request_token_uses: 0,
        request_token_lifetime: Duration::ZERO,
        errors: &[],
        code_decides: false,
        names_certificate: false,
        api_member: None,
        template: Template::UNKNOWN,
        quirks: &[],
        sources: RFCS,
    }
}

const RFCS: &[Source] = &[
    rfc("6749", "The OAuth 2.0 Authorization Framework", "https://www.rfc-editor.org/rfc/rfc6749"),
    rfc("8414", "OAuth 2.0 Authorization Server Metadata", "https://www.rfc-editor.org/rfc/rfc8414"),
    rfc("9700", "Best Current Practice for OAuth 2.0 Security", "https://www.rfc-editor.org/rfc/rfc9700"),
];

const fn rfc(key: &'static str, title: &'static str, address: &'static str) -> Source {
    Source { key, title, address: Some(address), supports: &[] }
}
