//! A row of existing grants, as a spreadsheet or another program holds it: named fields, which become a connection as
//! if SAP's sample had obtained it. No error shows a value: a row is full of secrets (law 10).

use jiff::Timestamp;
use jiff::civil::Date;
use perennial::core::connection::Held;
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::token_endpoint::response::is_sendable;
use perennial::core::token_endpoint::wire;
use perennial::core::{Connection, Expiry, Origin, UnixTime};
use perennial::store::{App, Parcel, check_name, document};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a row may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Name,
    ClientId,
    ClientSecret,
    ClientSecretFile,
    RefreshToken,
    RefreshTokenFile,
    RefreshExpiresAt,
    RefreshedAt,
    Geolocation,
    Company,
    RequestToken,
    AccessToken,
    AccessExpiresAt,
    Scope,
    IdToken,
}

/// Each field by its own name first, then by those that SAP and others use; written without case, `_` and `-`.
const NAMES: [(Field, &[&str]); 15] = [
    (Field::Name, &["name", "connection"]),
    (Field::ClientId, &["client_id", "app_id"]),
    (Field::ClientSecret, &["client_secret"]),
    (Field::ClientSecretFile, &["client_secret_file"]),
    (Field::RefreshToken, &["refresh_token"]),
    (Field::RefreshTokenFile, &["refresh_token_file"]),
    (Field::RefreshExpiresAt, &["refresh_expires_at", "refresh_expires_in"]),
    (Field::RefreshedAt, &["refreshed_at"]),
    (Field::Geolocation, &["geolocation", "base_uri", "base_url"]),
    (Field::Company, &["company_uuid", "company", "company_id", "principal"]),
    (Field::RequestToken, &["request_token", "company_request_token"]),
    (Field::AccessToken, &["access_token"]),
    (Field::AccessExpiresAt, &["expires_at", "access_expires_at"]),
    (Field::Scope, &["scope"]),
    (Field::IdToken, &["id_token"]),
];

impl Field {
    /// The field of that name, however it is written.
    pub(super) fn named(text: &str) -> Option<Self> {
        let plain = plain_name(text);
        let found = NAMES.iter().find(|(_, names)| names.iter().any(|name| plain_name(name) == plain));
        found.map(|(field, _)| *field)
    }

    /// Its own name.
    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(field, _)| *field == self).map_or("", |(_, names)| names[0])
    }
}

/// All of them, for a message.
pub(super) fn all_names() -> String {
    NAMES.iter().map(|(_, names)| names[0]).collect::<Vec<_>>().join(", ")
}

pub(super) fn plain_name(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A row's fields; those that are empty are not there.
#[derive(Default)]
pub(super) struct Fields(HashMap<Field, Zeroizing<String>>);

impl Fields {
    /// Takes a value; false where the field has one already.
    pub(super) fn put(&mut self, field: Field, value: &str) -> bool {
        let value = value.trim();
        value.is_empty() || self.0.insert(field, Zeroizing::new(value.to_owned())).is_none()
    }

    pub(super) fn has(&self, field: Field) -> bool {
        self.0.contains_key(&field)
    }

    fn get(&self, field: Field) -> Option<&str> {
        self.0.get(&field).map(|text| text.as_str())
    }

    fn need(&self, field: Field) -> Result<&str, String> {
        self.get(field).ok_or_else(|| format!("{} is missing", field.name()))
    }

    /// A secret, from the row itself or from the file that it names.
    fn secret(
        &self,
        field: Field,
        file: Field,
        files: &mut Files,
    ) -> Result<Option<Zeroizing<String>>, String> {
        let text = match (self.get(field), self.get(file)) {
            (Some(_), Some(_)) => return Err(format!("{} and {} are both there", field.name(), file.name())),
            (Some(text), None) => Zeroizing::new(text.to_owned()),
            (None, Some(path)) => files.read(path).map_err(|error| format!("{}: {error}", file.name()))?,
            (None, None) => return Ok(None),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.is_empty() {
            return Err(format!("{} has characters in it that none has", field.name()));
        }
        Ok(Some(text))
    }

    /// A point in time: Unix seconds, or as RFC 3339 writes it, or a day.
    fn time(&self, field: Field) -> Result<Option<UnixTime>, String> {
        let Some(text) = self.get(field) else { return Ok(None) };
        let seconds = wire::absolute_expiry(&json!(text));
        let stamp = || text.parse::<Timestamp>().ok().map(|at| UnixTime(at.as_second()));
        let day = || {
            let day =
                text.parse::<Date>().ok()?.at(0, 0, 0, 0).to_zoned_datetime(jiff::tz::TimeZone::UTC).ok()?;
            Some(UnixTime(day.timestamp().as_second()))
        };
        seconds.or_else(stamp).or_else(day).map(Some).ok_or_else(|| {
            format!("{} is no point in time: Unix seconds, or 2027-05-24T01:48:00Z", field.name())
        })
    }
}

/// Files with one secret each, which many rows may name: each is read once.
pub(super) struct Files {
    /// Where the list lies: paths in it start there.
    dir: PathBuf,
    read: HashMap<PathBuf, Zeroizing<String>>,
}

impl Files {
    pub(super) fn beside(list: &Path) -> Self {
        Self { dir: list.parent().unwrap_or(Path::new("")).to_owned(), read: HashMap::new() }
    }

    fn read(&mut self, path: &str) -> Result<Zeroizing<String>, String> {
        let path = self.dir.join(path);
        if let Some(text) = self.read.get(&path) {
            return Ok(text.clone());
        }
        let text = fs::read_to_string(&path).map(Zeroizing::new);
        // The path may be a secret that stands in the wrong column.
        let text = text.map_err(|error| format!("that file cannot be read ({})", error.kind()))?;
        let text = Zeroizing::new(text.trim_start_matches('\u{feff}').trim().to_owned());
        self.read.insert(path, text.clone());
        Ok(text)
    }
}

/// What holds for all rows that do not say otherwise.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    pub(super) base: Option<Origin>,
    pub(super) now: UnixTime,
}

/// The connection that a row describes.
///
/// # Errors
/// What is wrong with the row, by the names of its fields.
pub(super) fn parcel(fields: &Fields, files: &mut Files, defaults: &Defaults) -> Result<Parcel, String> {
    let name = fields.need(Field::Name)?;
    check_name(name).map_err(|_| {
        "name is none for a connection: letters, digits and . _ - @, no dot or dash in front, at most 128 of them"
    })?;
    let id = fields.need(Field::ClientId)?;
    if !is_sendable(id) {
        return Err("client_id has characters in it that none has".to_owned());
    }
    let secret = fields.secret(Field::ClientSecret, Field::ClientSecretFile, files)?;
    let secret = secret.ok_or_else(|| Field::ClientSecret.name().to_owned() + " is missing")?;
    let client = Client { id: id.to_owned(), secret: ClientSecret::new(secret.as_str()) };
    let request_token = fields.get(Field::RequestToken);
    if request_token.is_some_and(|token| !is_sendable(token)) {
        return Err("request_token has characters in it that none has".to_owned());
    }
    let company = fields.get(Field::Company).and_then(Principal::named);
    let connection = connection(name, fields, files, defaults)?;
    if connection.held.is_none() && request_token.is_none() {
        return Err("there is neither refresh_token nor request_token".to_owned());
    }
    if connection.held.is_none() && company.is_none() {
        return Err("company_uuid is missing: the request token was made for it".to_owned());
    }
    let app = App::new(client, company, request_token.map(RequestToken::new)).known_since(defaults.now);
    Ok(Parcel { connection, app, history: Vec::new() })
}

/// The tokens, read as what SAP's sample has written: the grant is named after its refresh token, and the end of an
/// access token that is a JWT stands in it.
fn connection(
    name: &str,
    fields: &Fields,
    files: &mut Files,
    defaults: &Defaults,
) -> Result<Connection, String> {
    let fresh = Connection::new(perennial::request_id(), name, &CONCUR);
    let refresh = fields.secret(Field::RefreshToken, Field::RefreshTokenFile, files)?;
    let company = fields.get(Field::Company);
    let principal = company.and_then(Principal::named);
    let Some(refresh) = refresh else { return Ok(Connection { principal, ..fresh }) };
    let base = match fields.get(Field::Geolocation) {
        Some(text) => Origin::parse(text).map_err(|error| format!("geolocation {error}"))?,
        None => defaults.base.clone().ok_or(
            "geolocation is missing: a refresh token is good there only (for all rows without one: --base-uri)",
        )?,
    };
    let refresh_expires_at = fields.time(Field::RefreshExpiresAt)?;
    let refreshed_at = fields.time(Field::RefreshedAt)?;
    let access_expires_at = fields.time(Field::AccessExpiresAt)?;
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let text = |field| fields.get(field).map(|text| json!(text));
    put("refresh_token", Some(json!(refresh.as_str())));
    put("geolocation", Some(json!(base.to_string())));
    put("refresh_expires_in", refresh_expires_at.map(|at| json!(at.0)));
    put("access_token", text(Field::AccessToken));
    put("scope", text(Field::Scope));
    put("id_token", text(Field::IdToken));
    put(document::COMPANY, company.map(|company| json!(company)));
    let mut connection = document::read(&members, fresh).connection;
    if connection.held.as_ref().is_none_or(|held| held.refresh.is_none()) {
        return Err("refresh_token has characters in it that none has".to_owned());
    }
    if !connection.permits(&base) {
        connection.permitted.push(base);
    }
    if let Some(held) = &mut connection.held {
        held.refreshed_at = refreshed_at;
        end_access(held, fields.get(Field::AccessToken), access_expires_at)?;
    }
    Ok(connection)
}

/// What the row says of the access token's end goes before what the token itself says.
fn end_access(held: &mut Held, token: Option<&str>, at: Option<UnixTime>) -> Result<(), String> {
    let (Some(token), Some(at)) = (token, at) else { return Ok(()) };
    if !is_sendable(token) {
        return Err("access_token has characters in it that none has".to_owned());
    }
    let access = perennial::core::connection::Access {
        token: perennial::core::AccessToken::new(token),
        token_type: "Bearer".to_owned(),
        expiry: Expiry::Stated(at),
    };
    held.access = Some(access);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            assert!(fields.put(Field::named(name).unwrap(), value), "{name}");
        }
        fields
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Parcel, String> {
        let defaults = Defaults { base: None, now: UnixTime(1_800_000_000) };
        parcel(&fields(pairs), &mut Files::beside(Path::new("list.csv")), &defaults)
    }

    const WHOLE: [(&str, &str); 7] = [
        ("NAME", "acme"),
        ("app-id", "app"),
        ("Client_Secret", "secret"),
        ("refreshToken", "refresh"),
        ("baseUri", "https://us2.api.concursolutions.com/oauth2/v0/token"),
        ("companyUUID", "company"),
        ("refresh_expires_in", "1900000000"),
    ];

    #[test]
    fn a_row_is_read_by_any_of_its_fields_names() {
        let parcel = read(&WHOLE).unwrap();
        let held = parcel.connection.held.unwrap();
        assert_eq!(held.base.to_string(), "https://us2.api.concursolutions.com");
        assert_eq!(held.refresh_expiry, Some(Expiry::Stated(UnixTime(1_900_000_000))));
        assert_eq!(parcel.connection.principal, Principal::named("company"));
        assert_eq!(read(&WHOLE).unwrap().connection.version(), parcel_version(), "the same at every look");
    }

    fn parcel_version() -> perennial::core::connection::Version {
        read(&WHOLE).unwrap().connection.version()
    }

    #[test]
    fn times_are_seconds_or_dates() {
        for text in ["1900000000", "2030-03-17T17:46:40Z", "1900000000000"] {
            let mut pairs = WHOLE.to_vec();
            pairs[6].1 = text;
            let held = read(&pairs).unwrap().connection.held.unwrap();
            assert_eq!(held.refresh_expiry.map(Expiry::at), Some(UnixTime(1_900_000_000)), "{text}");
        }
    }

    #[test]
    fn law_10_what_is_wrong_is_told_by_field_and_without_a_value() {
        for (at, value, says) in [
            (0, "-canary", "name is none for a connection"),
            (1, "", "client_id is missing"),
            (2, "can ary", "client_secret has characters in it that none has"),
            (4, "canary", "geolocation is not an absolute address"),
            (4, "", "geolocation is missing"),
            (6, "canary", "refresh_expires_at is no point in time"),
            (3, "", "there is neither refresh_token nor request_token"),
        ] {
            let mut pairs = WHOLE.to_vec();
            pairs[at].1 = value;
            let said = read(&pairs).unwrap_err();
            assert!(said.contains(says) && !said.contains("canary"), "{said}");
        }
    }
}
