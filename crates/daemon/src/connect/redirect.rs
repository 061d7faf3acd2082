//! What SAP's redirect brings: the company's UUID, the request token, who pressed Connect. Any of it may be made up, so it
//! is read strictly; and nothing of it is shown again where it is wrong (law 10).

use perennial::core::grant::Principal;
use perennial::core::secret::RequestToken;
use zeroize::Zeroizing;

/// Request tokens are UUIDs, as far as is documented; four times that leaves room.
const LONGEST_TOKEN: usize = 256;
const LONGEST_USER: usize = 128;

/// What the redirect brings.
pub(super) struct Redirect {
    pub(super) company: Principal,
    pub(super) request_token: RequestToken,
    /// Who pressed Connect.
    pub(super) user: Option<String>,
}

impl Redirect {
    /// Reads it; none where something is missing, comes twice, or is not what it should be.
    pub(super) fn read(query: &str) -> Option<Self> {
        let query = Parameters::read(query);
        let company = query.one("id")?.filter(|id| is_uuid(id))?;
        let request_token = query.one("requestToken")?.filter(|token| is_plain(token, LONGEST_TOKEN))?;
        // The documents write it in two ways.
        let user = query.one("userId")?.filter(|user| is_plain(user, LONGEST_USER));
        Some(Self {
            company: Principal::new(company.to_ascii_lowercase()),
            request_token: RequestToken::new(request_token),
            user: user.map(str::to_owned),
        })
    }
}

/// The parameters of an address or a form. Names do not distinguish case: SAP's documents do not agree on it.
pub(super) struct Parameters(Vec<(String, Zeroizing<String>)>);

impl Parameters {
    pub(super) fn read(text: &str) -> Self {
        let decode = |part: &str| {
            let spaced = Zeroizing::new(part.replace('+', " "));
            Zeroizing::new(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name).to_ascii_lowercase(), decode(value))
        });
        Self(pairs.collect())
    }

    /// A parameter, if it is there and not empty; none at all where it comes twice: two readers would read two.
    pub(super) fn one(&self, name: &str) -> Option<Option<&str>> {
        let mut found = self.0.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (_, Some(_)) => None,
            (found, None) => Some(found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())),
        }
    }

    /// The same, and it must be there.
    pub(super) fn the(&self, name: &str) -> Option<&str> {
        self.one(name).flatten()
    }
}

/// RFC 9562 section 4.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hexadecimal = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hexadecimal)
}

fn is_plain(text: &str, longest: usize) -> bool {
    text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "id=6BA7B810-9dad-11d1-80b4-00c04fd430c8";

    #[test]
    fn every_documented_way_of_writing_it_is_read() {
        for user in ["userId", "userID", "userid"] {
            let read = Redirect::read(&format!("{ID}&requestToken=a%2Db&{user}=u-1")).unwrap();
            assert_eq!(read.company.as_str(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
            assert_eq!((read.request_token.expose(), read.user.as_deref()), ("a-b", Some("u-1")));
        }
        assert!(Redirect::read(&format!("{ID}&requestToken=a&unknown=1")).unwrap().user.is_none());
    }

    #[test]
    fn what_is_made_up_is_not_read() {
        for query in [
            "",
            ID,
            "requestToken=a",
            "id=acme&requestToken=a",
            "id=../../etc/passwd&requestToken=a",
            "id=6ba7b810-9dad-11d1-80b4-00c04fd430c8&id=6ba7b810-9dad-11d1-80b4-00c04fd430c9&requestToken=a",
            &format!("{ID}&requestToken=a&requesttoken=b"),
            &format!("{ID}&requestToken=a%0d%0aSet-Cookie:x"),
            &format!("{ID}&requestToken={}", "a".repeat(LONGEST_TOKEN + 1)),
        ] {
            assert!(Redirect::read(query).is_none(), "{query}");
        }
        let odd_user = Redirect::read(&format!("{ID}&requestToken=a&userId=a%0ab")).unwrap();
        assert_eq!(odd_user.user, None, "it goes into the journal: a line is a line");
    }
}
