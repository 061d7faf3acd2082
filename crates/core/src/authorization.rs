//! A sign-in in a browser: the address that a person is sent to (RFC 6749 section 4.1.1, RFC 7636), and what the redirect
//! brings back (section 4.1.2, RFC 9207). Whatever comes back is somebody's text until state and issuer agree.

use crate::origin::Origin;
use crate::secret::Credential;
use crate::server::Endpoint;
use crate::token_endpoint::plain;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

/// What a person is sent to sign in for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The authorization endpoint.
    pub endpoint: &'a Endpoint,
    /// `client_id`.
    pub client_id: &'a str,
    /// Where the browser comes back to, to the letter.
    pub redirect_uri: &'a str,
    /// What ties the answer to this very sign-in (RFC 9700 section 4.7).
    pub state: &'a str,
    /// The secret that only we know, of which the hash is sent (RFC 7636); none where the server must not see one.
    pub verifier: Option<&'a Credential>,
    /// What the id_token must repeat (OpenID Connect Core section 3.1.2.1); sent where `openid` is asked for.
    pub nonce: &'a str,
    /// The scope.
    pub scope: Option<&'a str>,
    /// Further parameters: the provider's own, and the person's.
    pub parameters: &'a [(String, String)],
}

impl Request<'_> {
    /// The address. It holds no secret: state and nonce are good for nothing without the verifier.
    #[must_use]
    pub fn address(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client_id)
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("state", self.state);
        if let Some(verifier) = self.verifier {
            query
                .append_pair("code_challenge", &challenge(verifier))
                .append_pair("code_challenge_method", "S256");
        }
        if let Some(scope) = self.scope {
            query.append_pair("scope", scope);
        }
        if asks_for_identity(self.scope) {
            query.append_pair("nonce", self.nonce);
        }
        query.extend_pairs(self.parameters);
        let separator = if self.endpoint.path().contains('?') { '&' } else { '?' };
        format!("{}{separator}{}", self.endpoint, query.finish())
    }
}

/// True when an id_token is asked for.
#[must_use]
pub fn asks_for_identity(scope: Option<&str>) -> bool {
    scope.is_some_and(|scope| scope.split_ascii_whitespace().any(|word| word == "openid"))
}

/// RFC 7636 section 4.2, method S256.
#[must_use]
pub fn challenge(verifier: &Credential) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose().as_bytes()))
}

/// What a redirect must agree with.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Where it was to lead.
    pub redirect_uri: &'a str,
    /// What was sent.
    pub state: &'a str,
    /// Who was asked, where that is known (RFC 9207).
    pub issuer: Option<&'a str>,
    /// True when the server had promised to name itself.
    pub names_itself: bool,
}

/// What a redirect brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirected {
    /// The authorization code.
    pub code: Credential,
    /// Concur's `geolocation`: where the person lives. Not yet checked against what is permitted.
    pub geolocation: Option<Origin>,
}

/// Why a redirect brought no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// It is not the address that the browser ended at.
    #[error("this is not the address that the browser ended at: that begins with {expected}")]
    Elsewhere {
        /// How it begins.
        expected: String,
    },
    /// A parameter is there twice: one of them was put there by somebody else (RFC 6749 section 3.1).
    #[error("the answer names {0} more than once, so it cannot be believed")]
    Twice(&'static str),
    /// It belongs to another sign-in (RFC 9700 section 4.7).
    #[error("the answer belongs to another sign-in: its state is not the one that was sent")]
    OtherSignIn,
    /// It comes from another server than the one that was asked: a mix-up (RFC 9700 section 4.4).
    #[error("the answer comes from {said}, and {asked} was asked")]
    OtherIssuer {
        /// Whom it names.
        said: String,
        /// Who was asked.
        asked: String,
    },
    /// The server names itself in its answers, and this one does not say whose it is.
    #[error("the answer does not say which server it comes from, though {asked} had promised to")]
    NoIssuer {
        /// Who was asked.
        asked: String,
    },
    /// The person, or the server, said no.
    #[error("the sign-in was refused: {error}{}", description.as_ref().map(|said| format!(" (\"{said}\")")).unwrap_or_default())]
    Refused {
        /// The OAuth error, or Concur's `error_code`.
        error: String,
        /// What the server said.
        description: Option<String>,
    },
    /// Neither a code nor an error.
    #[error("the answer holds neither a code nor an error")]
    NoCode,
}

/// Reads the address that the browser ended at, or the part behind its question mark.
///
/// # Errors
/// When it brings no code that may be used. Nothing of it is repeated but the server's own words.
pub fn read_redirect(text: &str, expected: &Expected<'_>) -> Result<Redirected, RedirectError> {
    let query = query_of(text.trim(), expected.redirect_uri)?;
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let one = |name: &'static str| {
        let mut found = pairs.iter().filter(|(key, value)| key == name && !value.is_empty());
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(RedirectError::Twice(name)),
            (found, None) => Ok(found.map(|(_, value)| value.as_str())),
        }
    };
    // State first: what belongs to another sign-in is not even told what it says.
    let state = one("state")?.unwrap_or_default();
    if !bool::from(state.as_bytes().ct_eq(expected.state.as_bytes())) {
        return Err(RedirectError::OtherSignIn);
    }
    check_issuer(one("iss")?, expected)?;
    if let Some(error) = one("error")?.or(one("error_code")?) {
        let description = one("error_description")?.map(plain);
        return Err(RedirectError::Refused { error: plain(error), description });
    }
    let code = one("code")?.ok_or(RedirectError::NoCode)?;
    let geolocation = one("geolocation")?.and_then(|base| Origin::parse(base).ok());
    Ok(Redirected { code: Credential::new(code), geolocation })
}

/// RFC 9207 section 2.4: compared to the letter.
fn check_issuer(said: Option<&str>, expected: &Expected<'_>) -> Result<(), RedirectError> {
    let Some(asked) = expected.issuer else { return Ok(()) };
    match said {
        Some(said) if said != asked => {
            Err(RedirectError::OtherIssuer { said: plain(said), asked: asked.to_owned() })
        }
        None if expected.names_itself => Err(RedirectError::NoIssuer { asked: asked.to_owned() }),
        _ => Ok(()),
    }
}

fn query_of(text: &str, redirect_uri: &str) -> Result<String, RedirectError> {
    let elsewhere = || RedirectError::Elsewhere { expected: redirect_uri.to_owned() };
    if !text.contains("://") {
        return Ok(text.trim_start_matches('?').to_owned());
    }
    let (url, own) = Url::parse(text).ok().zip(Url::parse(redirect_uri).ok()).ok_or_else(elsewhere)?;
    let place = |url: &Url| {
        (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port(), url.path().to_owned())
    };
    if place(&url) != place(&own) {
        return Err(elsewhere());
    }
    Ok(url.query().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACK: &str = "http://127.0.0.1:4711/callback";

    fn read(text: &str) -> Result<Redirected, RedirectError> {
        let issuer = Some("https://login.example");
        read_redirect(text, &Expected { redirect_uri: BACK, state: "st", issuer, names_itself: false })
    }

    #[test]
    fn the_address_carries_what_the_rfcs_ask_for() {
        let endpoint = Endpoint::parse("https://login.example/authorize?tenant=a").unwrap();
        // RFC 7636 appendix B.
        let verifier = Credential::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let request = Request {
            endpoint: &endpoint,
            client_id: "app",
            redirect_uri: BACK,
            state: "st",
            verifier: Some(&verifier),
            nonce: "no",
            scope: Some("openid offline_access"),
            parameters: &[("access_type".into(), "offline".into())],
        };
        let address = request.address();
        for part in [
            "https://login.example/authorize?tenant=a&response_type=code&client_id=app",
            "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
            "redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback&state=st",
            "scope=openid+offline_access&nonce=no&access_type=offline",
        ] {
            assert!(address.contains(part), "{address}");
        }
        assert!(!address.contains(verifier.expose()));
        let without = Request { scope: Some("read"), verifier: None, ..request }.address();
        assert!(!without.contains("nonce") && !without.contains("challenge"), "{without}");
    }

    #[test]
    fn a_code_is_taken_from_the_whole_address_or_from_its_query() {
        let code = |text: &str| read(text).unwrap().code.expose().to_owned();
        assert_eq!(code(&format!("{BACK}?code=c%2F1&state=st")), "c/1");
        assert_eq!(code("?state=st&code=c"), "c");
        assert_eq!(code("code=c&state=st&iss=https%3A%2F%2Flogin.example"), "c");
        let concur =
            read("code=c&state=st&geolocation=https%3A%2F%2Feu2.api.concursolutions.com%2Fx").unwrap();
        assert_eq!(concur.geolocation.unwrap().to_string(), "https://eu2.api.concursolutions.com");
    }

    #[test]
    fn a_state_of_another_sign_in_is_refused_before_anything_else_is_read() {
        for text in ["code=c", "code=c&state=other", "error=access_denied&state=s", "code=c&state=st2"] {
            assert_eq!(read(text), Err(RedirectError::OtherSignIn), "{text}");
        }
        assert_eq!(read("code=c&state=st&state=other"), Err(RedirectError::Twice("state")));
        assert_eq!(read("code=c&code=d&state=st"), Err(RedirectError::Twice("code")));
    }

    #[test]
    fn a_mix_up_is_refused() {
        let other = read("code=c&state=st&iss=https%3A%2F%2Fevil.example");
        assert!(matches!(other, Err(RedirectError::OtherIssuer { .. })), "{other:?}");
        let slash = read("code=c&state=st&iss=https%3A%2F%2Flogin.example%2F");
        assert!(matches!(slash, Err(RedirectError::OtherIssuer { .. })), "to the letter: {slash:?}");
        let issuer = Some("https://login.example");
        let strict = Expected { redirect_uri: BACK, state: "st", issuer, names_itself: true };
        assert!(matches!(read_redirect("code=c&state=st", &strict), Err(RedirectError::NoIssuer { .. })));
    }

    #[test]
    fn another_address_is_none_and_a_refusal_is_told() {
        for text in [
            "http://127.0.0.1:4712/callback?code=c&state=st",
            "https://evil.example/callback?code=c&state=st",
        ] {
            assert!(matches!(read(text), Err(RedirectError::Elsewhere { .. })), "{text}");
        }
        let said = read("error=access_denied&error_description=no%0Away&state=st").unwrap_err().to_string();
        assert_eq!(said, "the sign-in was refused: access_denied (\"no way\")");
        let concur = read("error_code=14&error_description=locked&state=st").unwrap_err().to_string();
        assert_eq!(concur, "the sign-in was refused: 14 (\"locked\")");
        assert_eq!(read("state=st"), Err(RedirectError::NoCode));
    }
}
