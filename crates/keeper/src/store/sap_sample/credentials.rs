//! `credentials.json`: what a person fills in. It is read, and written once: as a template, when there is none.

use super::super::{App, StoreError};
use super::token_file::syntax;
use crate::unix;
use perennial_core::grant::{Client, Principal};
use perennial_core::secret::{ClientSecret, RequestToken};
use serde_json::{Map, Value};
use std::fs;
use std::io::Write;
use std::path::Path;
use zeroize::Zeroizing;

/// The file, as SAP's sample names it.
pub const CREDENTIALS_FILE: &str = "credentials.json";

/// The fields, in SAP's order, with what the template fills in.
const FIELDS: [(&str, &str); 6] = [
    ("appID", ""),
    ("clientSecret", ""),
    ("grantType", "password"),
    ("companyUUID", ""),
    ("companyRequestToken", ""),
    ("credentialType", "authtoken"),
];

/// What a person filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    client: Client,
    company: Principal,
    /// Empty is fine once a grant is held: it is only needed to obtain one.
    request_token: Option<RequestToken>,
}

impl Credentials {
    /// Reads the file. It is never changed, whatever is in it.
    ///
    /// # Errors
    /// When it is absent, cannot be read, or is not rightly filled in; no error carries a value from it.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        Self::read_with(path, RequestTokenIs::Optional)
    }

    /// Reads the file when there is no grant yet, so that a request token is needed too.
    ///
    /// # Errors
    /// As [`Credentials::read`], and when there is no request token.
    pub fn read_to_obtain(path: &Path) -> Result<Self, StoreError> {
        Self::read_with(path, RequestTokenIs::Needed)
    }

    fn read_with(path: &Path, request_token_is: RequestTokenIs) -> Result<Self, StoreError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NoCredentials { path: path.to_owned() });
            }
            Err(error) => return Err(StoreError::io("read", path)(error)),
        };
        let members =
            object(&bytes).map_err(|reason| StoreError::Unreadable { path: path.to_owned(), reason })?;
        Self::from_members(&members, request_token_is)
            .map_err(|problems| StoreError::Incomplete { path: path.to_owned(), problems })
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// The problems found, one text each, without any value from the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<String>> {
        Self::from_members(&object(bytes).map_err(|reason| vec![reason])?, RequestTokenIs::Optional)
    }

    fn from_members(
        members: &Map<String, Value>,
        request_token_is: RequestTokenIs,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut field = |name: &str, optional: bool| match members.get(name) {
            None if optional => String::new(),
            None => problem(&mut problems, format!("{name} is missing")),
            Some(Value::String(text)) if text.trim().is_empty() && !optional => {
                problem(&mut problems, format!("{name} is empty"))
            }
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => {
                problem(&mut problems, format!("{name} must be a text in quotes, and is {}", kind(other)))
            }
        };
        let client =
            Client { id: field("appID", false), secret: ClientSecret::new(field("clientSecret", false)) };
        let grant_type = field("grantType", true);
        let company = Principal::new(field("companyUUID", false));
        let request_token = field("companyRequestToken", request_token_is == RequestTokenIs::Optional);
        let credential_type = field("credentialType", true);
        for (name, value, known) in
            [("grantType", grant_type, "password"), ("credentialType", credential_type, "authtoken")]
        {
            if !value.is_empty() && value != known {
                problems
                    .push(format!("{name} must be \"{known}\", the only one that this file can stand for"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let request_token = (!request_token.is_empty()).then(|| RequestToken::new(request_token));
        Ok(Self { client, company, request_token })
    }

    /// The company that a grant is to be obtained for.
    #[must_use]
    pub fn company(&self) -> &Principal {
        &self.company
    }

    /// Writes the template that SAP's sample writes, one field a line, if there is no file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_template(path: &Path) -> Result<(), StoreError> {
        let template: Map<String, Value> =
            FIELDS.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        Self::write_new(path, &template)
    }

    /// Writes a file that is filled in, if there is none: what a person would have typed.
    pub(in crate::store) fn write_filled(path: &Path, app: &App) -> Result<(), StoreError> {
        let value = |name: &str, otherwise: &str| match name {
            "appID" => app.client.id.clone(),
            "clientSecret" => app.client.secret.expose().to_owned(),
            "companyUUID" => app.company.as_ref().map_or_else(String::new, ToString::to_string),
            "companyRequestToken" => {
                app.request_token.as_ref().map_or_else(String::new, |token| token.expose().to_owned())
            }
            _ => otherwise.to_owned(),
        };
        let members: Map<String, Value> = FIELDS
            .iter()
            .map(|(name, template)| ((*name).to_owned(), value(name, template).into()))
            .collect();
        Self::write_new(path, &members)
    }

    fn write_new(path: &Path, members: &Map<String, Value>) -> Result<(), StoreError> {
        let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024));
        let _ = serde_json::to_writer_pretty(&mut *text, members);
        text.push(b'\n');
        // Never over a file that a person has put there meanwhile.
        let written = unix::create_private(path).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(StoreError::io("write", path))
    }

    pub(super) fn into_app(self) -> App {
        App::new(self.client, Some(self.company), self.request_token)
    }
}

/// Once a grant is held, the request token may be left out: it has had its day.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestTokenIs {
    Needed,
    Optional,
}

fn problem(problems: &mut Vec<String>, text: String) -> String {
    problems.push(text);
    String::new()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
        Value::String(_) => "a text",
    }
}

/// A JSON object. A byte order mark is taken (editors on Windows write one); UTF-16 is named for what it is. The reason
/// never carries a value from the file.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("it is in UTF-16; save it as UTF-8".to_owned());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err("it is empty".to_owned());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(format!("it must be a JSON object, and is {}", kind(&other))),
        Err(error) => Err(syntax(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named_and_no_value_is_shown() {
        let text =
            br#"{"appID": 5, "clientSecret": "", "grantType": "canary", "companyRequestToken": ["canary"]}"#;
        let problems = Credentials::parse(text).unwrap_err();
        assert_eq!(
            problems,
            [
                "appID must be a text in quotes, and is a number",
                "clientSecret is empty",
                "companyUUID is missing",
                "companyRequestToken must be a text in quotes, and is a list",
                "grantType must be \"password\", the only one that this file can stand for",
            ]
        );
    }

    #[test]
    fn a_byte_order_mark_and_crlf_are_taken_and_a_trailing_comma_is_placed() {
        let good =
            b"\xef\xbb\xbf{\r\n\"appID\":\"a\",\r\n\"clientSecret\":\"s\",\r\n\"companyUUID\":\"c\"\r\n}";
        assert!(Credentials::parse(good).is_ok());
        let comma = b"{\n\"appID\":\"a\",\n}";
        assert_eq!(
            Credentials::parse(comma).unwrap_err(),
            ["not valid JSON: trailing comma at line 3 column 1"]
        );
        assert_eq!(Credentials::parse(b"\xff\xfe{\0").unwrap_err(), ["it is in UTF-16; save it as UTF-8"]);
    }
}
