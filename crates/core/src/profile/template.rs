//! Where a provider's endpoints are, with blanks to be filled in: `https://{domain}/oauth2/v1/token`. From a template and
//! a person's answers comes a [`Server`](crate::server::Server).

use crate::server::ClientAuthentication;

/// A provider's endpoints and habits, as far as they are the same for all of its customers. Texts may hold blanks, each
/// the name of a [`Blank`] in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What must be asked for.
    pub blanks: &'static [Blank],
    /// The issuer identifier.
    pub issuer: Option<&'static str>,
    /// True when the issuer is asked for what is not named here.
    pub discovers: bool,
    /// The token endpoint.
    pub token: Option<&'static str>,
    /// The authorization endpoint.
    pub authorization: Option<&'static str>,
    /// The device authorization endpoint (RFC 8628).
    pub device_authorization: Option<&'static str>,
    /// The revocation endpoint (RFC 7009).
    pub revocation: Option<&'static str>,
    /// The introspection endpoint (RFC 7662).
    pub introspection: Option<&'static str>,
    /// The JWK set.
    pub keys: Option<&'static str>,
    /// The base of the API.
    pub api: Option<&'static str>,
    /// How clients prove who they are, as a rule; none leaves it to what the server says of itself.
    pub authentication: Option<ClientAuthentication>,
    /// Whom a client's assertion is for, where it is not the issuer.
    pub audience: Option<&'static str>,
    /// The scope that brings a refresh token, where one must be asked for.
    pub scope: Option<&'static str>,
    /// What goes along to the authorization endpoint, such as Google's `access_type=offline`.
    pub authorize: &'static [(&'static str, &'static str)],
}

/// One thing that a person must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blank {
    /// Its name, as it stands in braces and behind `--set`.
    pub name: &'static str,
    /// What may stand in it.
    pub kind: BlankKind,
    /// What it means, in a line.
    pub meaning: &'static str,
    /// What it is when nobody says otherwise.
    pub default: Option<&'static str>,
}

/// What may stand in a blank: nothing that would turn an address into another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlankKind {
    /// A host's whole name, such as `login.example.com`: whoever fills it in names the server.
    Host,
    /// One label of a host's name, such as `acme`.
    Label,
    /// One segment of a path.
    Segment,
    /// A segment that is a UUID.
    Uuid,
}

impl BlankKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Host, Self::Label, Self::Segment, Self::Uuid];

    /// The word that files use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Label => "label",
            Self::Segment => "segment",
            Self::Uuid => "uuid",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// True when it may stand among a host's labels; all of them may stand in a path.
    #[must_use]
    pub fn is_of_host(self) -> bool {
        matches!(self, Self::Host | Self::Label)
    }

    /// True when `text` may stand in it.
    #[must_use]
    pub fn takes(self, text: &str) -> bool {
        match self {
            Self::Host => is_host(text),
            Self::Label => is_label(text),
            Self::Segment => is_segment(text),
            Self::Uuid => is_uuid(text),
        }
    }

    /// How to write what may stand in it.
    #[must_use]
    pub fn wants(self) -> &'static str {
        match self {
            Self::Host => "a host's name such as login.example.com, without https:// and without a path",
            Self::Label => "one part of a host's name: letters, digits and hyphens",
            Self::Segment => "letters, digits, dots, hyphens and underscores",
            Self::Uuid => "a UUID such as 01234567-89ab-cdef-0123-456789abcdef",
        }
    }
}

/// RFC 1123 section 2.1, at least two labels, and no address of IPv4: its last label is no number.
pub(super) fn is_host(text: &str) -> bool {
    let labels: Vec<_> = text.split('.').collect();
    let is_named = labels.last().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && labels.len() >= 2 && is_named && labels.into_iter().all(is_label)
}

pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Unreserved characters (RFC 3986 section 2.3); nothing that goes up in a path.
fn is_segment(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_plain) && !text.contains("..") && text != "."
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

impl Template {
    /// Of a provider about which nothing is known before a person names it.
    pub const UNKNOWN: Self = Self {
        blanks: &[],
        issuer: None,
        discovers: true,
        token: None,
        authorization: None,
        device_authorization: None,
        revocation: None,
        introspection: None,
        keys: None,
        api: None,
        authentication: None,
        audience: None,
        scope: None,
        authorize: &[],
    };
}
