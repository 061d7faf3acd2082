//! Authorization codes: each good once, for ten minutes, and for the request that it was made for.

use crate::errors::Refusal;
use crate::ids::{Ids, Seed, sha256};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use std::collections::HashMap;

/// The most that RFC 6749, section 4.1.2, advises.
const LIFETIME: u64 = 600;

pub(crate) struct Codes {
    ids: Ids,
    codes: HashMap<String, Code>,
}

struct Code {
    approved: Approved,
    expires: u64,
    used: Option<Used>,
}

/// What the code was used for: nothing came of it, or the grant of this number.
type Used = Option<usize>;

/// What a person has approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Approved {
    /// The number of the person.
    pub(crate) user: usize,
    pub(crate) redirect_uri: String,
    pub(crate) scope: Option<String>,
    pub(crate) challenge: Option<String>,
    pub(crate) nonce: Option<String>,
}

/// Why a code is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Refused(Refusal),
    /// It was used before, for the grant of this number, which must end (RFC 6749, section 4.1.2).
    Again(Option<usize>),
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        NotTaken::Refused(refusal)
    }
}

impl Codes {
    pub(crate) fn new(seed: &Seed) -> Codes {
        Codes { ids: seed.stream("codes"), codes: HashMap::new() }
    }

    pub(crate) fn issue(&mut self, approved: Approved, now: u64) -> String {
        let code = self.ids.next();
        let issued = Code { approved, expires: now.saturating_add(LIFETIME), used: None };
        self.codes.insert(code.clone(), issued);
        code
    }

    /// Takes the code, which is used from now on. A request that does not fit leaves it unused.
    pub(crate) fn take(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&str>,
        now: u64,
    ) -> Result<Approved, NotTaken> {
        let code = self.codes.get_mut(code).ok_or(Refusal::new(103))?;
        if let Some(grant) = code.used {
            return Err(NotTaken::Again(grant));
        }
        if code.expires <= now {
            return Err(Refusal::because(103, "the authorization code has expired").into());
        }
        if code.approved.redirect_uri != redirect_uri {
            return Err(Refusal::new(104).into());
        }
        check_verifier(code.approved.challenge.as_deref(), verifier)?;
        code.used = Some(None);
        Ok(code.approved.clone())
    }

    /// Remembers which grant came of the code, so that a second use can end it.
    pub(crate) fn led_to(&mut self, code: &str, grant: Option<usize>) {
        if let Some(code) = self.codes.get_mut(code) {
            code.used = Some(grant);
        }
    }

    pub(crate) fn expire(&mut self) {
        self.codes.values_mut().for_each(|code| code.expires = 0);
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        self.codes.keys().cloned()
    }
}

/// RFC 7636, section 4.6; a verifier without a challenge is refused as well (RFC 9700, section 4.8.2).
fn check_verifier(challenge: Option<&str>, verifier: Option<&str>) -> Result<(), Refusal> {
    match (challenge, verifier) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) if BASE64.encode(sha256(verifier.as_bytes())) == challenge => {
            Ok(())
        }
        (Some(_), Some(_)) => Err(Refusal::because(103, "the code_verifier is not that of the challenge")),
        (Some(_), None) => Err(Refusal::because(103, "the form has no code_verifier")),
        (None, Some(_)) => {
            Err(Refusal::because(103, "the authorization request had no code_challenge for this verifier"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(challenge: Option<&str>) -> (Codes, String) {
        let mut codes = Codes::new(&Seed::new(Some(1)).unwrap());
        let challenge = challenge.map(str::to_owned);
        let redirect_uri = "http://127.0.0.1/".to_owned();
        let code = codes.issue(Approved { user: 0, redirect_uri, scope: None, challenge, nonce: None }, 1000);
        (codes, code)
    }

    #[test]
    fn a_code_lives_ten_minutes() {
        let (mut codes, code) = issued(None);
        let late = codes.take(&code, "http://127.0.0.1/", None, 1600).unwrap_err();
        assert!(matches!(late, NotTaken::Refused(_)));
        codes.take(&code, "http://127.0.0.1/", None, 1599).unwrap();
    }

    #[test]
    fn the_verifier_of_rfc_7636_fits_its_challenge() {
        let (mut codes, code) = issued(Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(codes.take(&code, "http://127.0.0.1/", None, 1000).is_err());
        assert!(codes.take(&code, "http://127.0.0.1/", Some("another"), 1000).is_err());
        codes.take(&code, "http://127.0.0.1/", Some(verifier), 1000).unwrap();
        let again = codes.take(&code, "http://127.0.0.1/", Some(verifier), 1000).unwrap_err();
        assert_eq!(again, NotTaken::Again(None));
    }
}
