//! A connection with its app and its history as one line of JSON. Every secret stands in it in the clear: it is only ever
//! held in memory, and sealed before it is written.

use crate::seal::wiped;
use crate::store::document;
use crate::store::{App, Parcel, record};
use perennial_core::grant::{Client, Principal};
use perennial_core::profile::concur::CONCUR;
use perennial_core::secret::{ClientSecret, RequestToken};
use perennial_core::{Connection, UnixTime};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// A connection as a line, without its end.
pub(super) fn write(parcel: &Parcel) -> Zeroizing<Vec<u8>> {
    let Parcel { connection, app, history } = parcel;
    wiped::text(json!({
        "name": connection.name,
        "connection": document::write(connection, &Map::new()),
        "app": {
            "client_id": app.client.id,
            "client_secret": app.client.secret.expose(),
            "company": app.company.as_ref().map(Principal::as_str),
            "request_token": app.request_token.as_ref().map(RequestToken::expose),
            "known_since": app.known_since.map(|at| at.0),
        },
        "history": history.iter().map(|entry| Value::Object(record::write(entry))).collect::<Vec<_>>(),
    }))
}

/// Reads what [`write()`] wrote.
pub(super) fn read(line: &[u8]) -> Option<Parcel> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    let parcel = parcel(&value);
    wiped::wipe(&mut value);
    parcel
}

fn parcel(value: &Value) -> Option<Parcel> {
    let text = |name: &str| value.get("app")?.get(name)?.as_str();
    let members = value.get("connection")?.as_object()?;
    let fresh = Connection::new("", value.get("name")?.as_str()?, &CONCUR);
    let connection = document::read(members, fresh).connection;
    let client =
        Client { id: text("client_id")?.to_owned(), secret: ClientSecret::new(text("client_secret")?) };
    let app = App::new(
        client,
        text("company").and_then(Principal::named),
        text("request_token").map(RequestToken::new),
    );
    let known_since = value.get("app")?.get("known_since").and_then(Value::as_i64).map(UnixTime);
    let history = value.get("history")?.as_array()?.iter();
    // An entry of an event that is too new for this version is shown by its name: none is left out.
    let history = history.filter_map(|entry| record::read(entry.as_object()?)).collect();
    (!connection.id.is_empty()).then_some(Parcel { connection, app: App { known_since, ..app }, history })
}
