//! Whatever a person wrote into `credentials.json`: it is taken, or every problem is named without any value, and the
//! secrets in it do not print.

use super::canary::{assert_showable, planted, with_other_secrets};
use perennial::store::sap_sample::Credentials;
use serde_json::Value;

/// Checks one file.
pub fn check(bytes: &[u8]) {
    for input in planted(bytes) {
        match Credentials::parse(&input) {
            Ok(credentials) => assert_secrets_do_not_print(&credentials, &input),
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason");
                problems.iter().for_each(|problem| assert_showable(problem));
            }
        }
    }
}

/// Law 10: with other secrets in them, credentials print the same.
fn assert_secrets_do_not_print(credentials: &Credentials, input: &[u8]) {
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let Ok(Value::Object(members)) = serde_json::from_slice(input) else {
        panic!("credentials in a file that is no JSON object");
    };
    let other = with_other_secrets(&members, &["clientSecret", "companyRequestToken"]);
    let Ok(other) = Credentials::parse(Value::Object(other).to_string().as_bytes()) else {
        panic!("credentials with other secrets are credentials too");
    };
    assert_eq!(format!("{credentials:?}"), format!("{other:?}"));
}
