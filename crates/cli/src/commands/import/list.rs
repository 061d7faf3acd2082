//! Lists of grants: CSV with a header, JSON lines, and a Postman environment. A row that is wrong is named by its line
//! and keeps no other from being taken in; a column that nobody knows stops the whole, before anything is taken in.

use super::grants::{self, Defaults, Field, Fields, Files};
use super::source::{Item, Source};
use crate::trouble::Trouble;
use perennial::core::token_endpoint::plain;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// A line longer than this is no row.
const LONGEST_LINE: u64 = 1024 * 1024;

/// What separates the columns, where it is not a comma: spreadsheets in Europe write a semicolon.
const SEPARATORS: [u8; 3] = *b",;\t";

/// Opens a CSV file.
///
/// # Errors
/// When it cannot be read, or its header has a column that nobody knows.
pub(super) fn csv(path: &Path, defaults: Defaults) -> Result<Source, Trouble> {
    let file = open(path)?;
    let total = file.metadata().map_or(0, |metadata| metadata.len());
    let mut input = BufReader::new(file);
    let first = input.fill_buf().map_err(|error| unreadable(path, &error.to_string()))?;
    let first = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let most = |separator: &u8| first.iter().filter(|byte| *byte == separator).count();
    let delimiter = SEPARATORS.into_iter().rev().max_by_key(most).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(input);
    let header = reader.headers().map_err(|_| unreadable(path, "its first line is no text"))?;
    let fields = columns(path, header)?;
    let (mut files, place) = (Files::beside(path), path.display().to_string());
    let mut records = reader.into_records();
    let items = std::iter::from_fn(move || {
        let record = records.next()?;
        let position = match &record {
            Ok(record) => record.position().cloned(),
            Err(error) => error.position().cloned(),
        };
        let (line, byte) = position.map_or((0, 0), |position| (position.line(), position.byte()));
        let parcel = record.map_err(|error| of_record(&error)).and_then(|record| {
            let mut row = Fields::default();
            for (field, value) in fields.iter().zip(record.iter()) {
                row.put(*field, value);
            }
            grants::parcel(&row, &mut files, &defaults)
        });
        Some(Item::of_row(format!("{place}:{line}"), byte, parcel))
    });
    Ok(Source::new(path, total, items))
}

/// The header. What stands in it is shown only where it is a header for sure: it may be a row of secrets.
fn columns(path: &Path, header: &csv::StringRecord) -> Result<Vec<Field>, Trouble> {
    let named: Vec<_> = header.iter().map(Field::named).collect();
    let hint = format!("the columns are, in any order: {}", grants::all_names());
    if named.iter().all(Option::is_none) {
        let message = format!("{}:1: this is no header: none of its columns is known", path.display());
        return Err(Trouble::usage(message, hint));
    }
    let mut seen = HashSet::new();
    let mut fields = Vec::new();
    for ((column, name), field) in (1..).zip(header.iter()).zip(named) {
        let Some(field) = field else {
            let message = format!("{}:1:{column}: there is no column \"{}\"", path.display(), shown(name));
            return Err(Trouble::usage(message, hint));
        };
        if !seen.insert(field) {
            let message = format!("{}:1:{column}: {} is there twice", path.display(), field.name());
            return Err(Trouble::usage(message, "leave one of the two columns out"));
        }
        fields.push(field);
    }
    Ok(fields)
}

/// A column's name, as far as it can be one.
fn shown(name: &str) -> String {
    plain(name).chars().take(40).collect()
}

fn of_record(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} columns, and the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is no UTF-8 text".to_owned(),
        csv::ErrorKind::Io(error) => format!("it cannot be read ({})", error.kind()),
        _ => "it cannot be understood".to_owned(),
    }
}

/// Opens a file with an object on each line.
///
/// # Errors
/// When it cannot be read.
pub(super) fn json_lines(path: &Path, defaults: Defaults) -> Result<Source, Trouble> {
    let file = open(path)?;
    let total = file.metadata().map_or(0, |metadata| metadata.len());
    let mut input = BufReader::new(file);
    let (mut files, place) = (Files::beside(path), path.display().to_string());
    let (mut number, mut byte) = (0_u64, 0_u64);
    let mut is_over = false;
    let items = std::iter::from_fn(move || {
        while !is_over {
            let mut line = zeroize::Zeroizing::new(Vec::new());
            number += 1;
            let read = (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line);
            let parcel = match read {
                Ok(0) => break,
                Ok(length) => {
                    byte += u64::try_from(length).unwrap_or(0);
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    // What comes behind a line that long is its rest.
                    is_over = !line.ends_with(b"\n") && byte < total;
                    if is_over {
                        Err("it is longer than 1 MiB, which no row is; nothing behind it was read".to_owned())
                    } else {
                        object(&line).and_then(|row| grants::parcel(&row, &mut files, &defaults))
                    }
                }
                Err(error) => {
                    is_over = true;
                    Err(format!("it cannot be read ({})", error.kind()))
                }
            };
            return Some(Item::of_row(format!("{place}:{number}"), byte, parcel));
        }
        None
    });
    Ok(Source::new(path, total, items))
}

fn object(line: &[u8]) -> Result<Fields, String> {
    let value: Value = serde_json::from_slice(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line))
        .map_err(|error| format!("it is no JSON (column {})", error.column()))?;
    let Value::Object(members) = value else { return Err("it is no JSON object".to_owned()) };
    let mut row = Fields::default();
    for (name, value) in &members {
        let field = Field::named(name).ok_or_else(|| format!("there is no column \"{}\"", shown(name)))?;
        let taken = match value {
            Value::Null => true,
            Value::String(text) => row.put(field, text),
            Value::Number(number) => row.put(field, &number.to_string()),
            _ => return Err(format!("{} is neither text nor number", field.name())),
        };
        if !taken {
            return Err(format!("{} is there twice", field.name()));
        }
    }
    Ok(row)
}

/// What Postman's variables are called, beyond the names that rows have.
const VARIABLES: [(&str, Field); 8] = [
    ("baseurl", Field::Geolocation),
    ("host", Field::Geolocation),
    ("token", Field::AccessToken),
    ("jwt", Field::AccessToken),
    ("accesstokenexpiresat", Field::AccessExpiresAt),
    ("companyid", Field::Company),
    ("authtoken", Field::RequestToken),
    ("username", Field::Company),
];

/// True for an environment (or its like among the globals) as Postman exports it.
pub(super) fn is_postman(value: &Value) -> bool {
    let values = value.get("values").and_then(Value::as_array);
    values.is_some_and(|values| values.iter().any(|variable| variable.get("key").is_some()))
}

/// Reads a Postman environment. `name` is what to call the connection; else the environment's own name serves.
///
/// # Errors
/// When nothing in it is known.
pub(super) fn postman(
    path: &Path,
    environment: &Value,
    name: Option<&str>,
    defaults: &Defaults,
) -> Result<Source, Trouble> {
    let variables = environment.get("values").and_then(Value::as_array).into_iter().flatten();
    let mut row = Fields::default();
    let mut used = Vec::new();
    // A field's own name goes before what it is sometimes called.
    let enabled: Vec<_> = variables.filter_map(variable).collect();
    let own = enabled.iter().filter_map(|(key, value)| Some((Field::named(key)?, *key, *value)));
    let other = enabled.iter().filter_map(|(key, value)| {
        let plain = grants::plain_name(key);
        Some((VARIABLES.iter().find(|(known, _)| *known == plain)?.1, *key, *value))
    });
    for (field, key, value) in own.chain(other).filter(|(field, ..)| *field != Field::Name) {
        if !row.has(field) && row.put(field, value) {
            used.push(shown(key));
        }
    }
    if !row.has(Field::RefreshToken) && !row.has(Field::RequestToken) {
        return Err(Trouble::usage(
            format!("{}: no variable of this environment is a refresh token", path.display()),
            "in Postman, run the request that obtains one, then export the environment again",
        ));
    }
    let own_name = environment.get("name").and_then(Value::as_str).map(as_name);
    let name = name.map(str::to_owned).or(own_name).unwrap_or_default();
    row.put(Field::Name, &name);
    let parcel = grants::parcel(&row, &mut Files::beside(path), defaults);
    let item = Item::of_row(path.display().to_string(), 1, parcel);
    let remark = format!("of its variables these were used: {}", used.join(", "));
    Ok(Source::new(path, 1, std::iter::once(item)).remarking(remark))
}

/// Its name and its value, where it is in use and is no reference to another one.
fn variable(variable: &Value) -> Option<(&str, &str)> {
    let text = |name: &str| variable.get(name).and_then(Value::as_str);
    let is_enabled = variable.get("enabled").is_none_or(|enabled| enabled != &Value::Bool(false));
    let (key, value) = (text("key")?, text("value")?);
    (is_enabled && !value.contains("{{")).then_some((key, value))
}

/// A name that a connection may have.
fn as_name(text: &str) -> String {
    let letters =
        text.trim().chars().map(|c| if c.is_alphanumeric() || "._-@".contains(c) { c } else { '-' });
    letters.collect::<String>().trim_matches(['-', '.']).to_owned()
}

fn open(path: &Path) -> Result<File, Trouble> {
    File::open(path).map_err(|error| unreadable(path, &error.to_string()))
}

pub(super) fn unreadable(path: &Path, why: &str) -> Trouble {
    Trouble::usage(
        format!("cannot read {}: {why}", path.display()),
        "name a file or directory that you may read: perennial import FROM",
    )
}
