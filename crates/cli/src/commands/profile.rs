//! `perennial profile`: one provider profile, shown whole with its sources, or a file looked through for mistakes.

use super::profiles::{self, Known, life};
use crate::exit::Exit;
use crate::own_profiles::{self, Unusable};
use crate::printer::DIM_TEXT;
use crate::session::Session;
use crate::table::{self, Cell, Column, Last};
use crate::terminal;
use crate::trouble::Trouble;
use clap::{Args, Subcommand};
use perennial::core::Profile;
use perennial::core::profile::file::Mistake;
use perennial::core::profile::shipped;
use perennial::core::profile::{ErrorCode, Template};
use perennial::core::server::ClientAuthentication;
use perennial::core::time::write_duration;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Show a provider profile with its sources, or look through a file of your own
#[derive(Args, Debug)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    verb: ProfileVerb,
}

#[derive(Debug, Subcommand)]
enum ProfileVerb {
    Show(Show),
    Check(Check),
}

/// Show all that a profile says, and where each fact comes from
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial profile show entra
  perennial profile show okta --toml > ~/.config/perennial/profiles/acme.toml   a start for your own")]
struct Show {
    /// The profile
    profile: String,

    /// Print its file, as a start for one of your own
    #[arg(long, conflicts_with = "json")]
    toml: bool,
}

/// Say what is wrong with a file, each mistake with its line
///
/// Ends with 0 where there is none, and with 1 otherwise.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial profile check acme.toml
  perennial profile check acme.toml --json | jq -r '.mistakes[].line'")]
struct Check {
    /// The file
    file: PathBuf,
}

pub(crate) fn carry_out(session: &Session, args: &ProfileArgs) -> Result<Exit, Trouble> {
    match &args.verb {
        ProfileVerb::Show(show) => show.carry_out(session),
        ProfileVerb::Check(check) => check.carry_out(session),
    }
}

impl Check {
    fn carry_out(&self, session: &Session) -> Result<Exit, Trouble> {
        let path = self.file.display().to_string();
        let read = own_profiles::read_anywhere(&self.file);
        let name = read.as_ref().ok().map(|file| file.name().to_owned());
        let mistakes = match read {
            Ok(_) => Vec::new(),
            Err(Unusable::Wrong(mistakes)) => mistakes,
            Err(Unusable::Unread(problem)) => {
                return Err(Trouble::usage(format!("{path}: {problem}"), "perennial profile check FILE"));
            }
        };
        if session.globals.json {
            let rows: Vec<_> = mistakes.iter().map(as_json).collect();
            session.printer.json_data(&json!({"file": path, "name": name, "mistakes": rows}))?;
        } else {
            let rows =
                mistakes.iter().map(|one| format!("{path}:{}:{}: {}\n", one.line, one.column, one.what));
            session.printer.data(&rows.collect::<String>())?;
        }
        let Some(name) = name else { return Ok(Exit::Failed) };
        session.printer.step(&format!("{path}: the profile {name}, no mistakes"))?;
        if let Some(dir) = own_profiles::dir().filter(|_| own_profiles::find(&name).is_none()) {
            session.printer.note(&format!("to use it: put it into {} as {name}.toml", dir.display()));
        }
        Ok(Exit::Done)
    }
}

fn as_json(mistake: &Mistake) -> Value {
    json!({"line": mistake.line, "column": mistake.column, "what": mistake.what})
}

impl Show {
    fn carry_out(&self, session: &Session) -> Result<Exit, Trouble> {
        let name = self.profile.as_str();
        let unknown =
            || Trouble::usage(format!("no profile is called \"{name}\""), "all of them: perennial profiles");
        let known = profiles::all().into_iter().find(|known| known.name == name).ok_or_else(unknown)?;
        let Some(profile) = known.profile else {
            return Err(own_profiles::trouble_with(name).unwrap_or_else(unknown));
        };
        if self.toml {
            session.printer.data(&text_of(name)?)?;
        } else if session.globals.json {
            session.printer.json_data(&whole_as_json(&known, profile))?;
        } else {
            session.printer.styled(&whole(&known, profile))?;
        }
        Ok(Exit::Done)
    }
}

/// The file itself, comments and all.
fn text_of(name: &str) -> Result<String, Trouble> {
    if let Some(file) = own_profiles::find(name) {
        return fs::read_to_string(&file.path).map_err(Trouble::file("read", &file.path));
    }
    let built_in = || {
        let hint = "start from another one: perennial profile show okta --toml";
        Trouble::usage(format!("the profile {name} is built in and has no file"), hint)
    };
    Ok(shipped::find(name).ok_or_else(built_in)?.text.to_owned())
}

/// What a profile says of itself beyond endpoints and errors: name, value.
fn facts(profile: &Profile) -> Vec<(&'static str, String)> {
    let expiry = if profile.refresh_expiry_is_absolute { "absolute" } else { "duration" };
    let hosts = profile.host_suffixes.join(", ");
    let mut facts = vec![
        ("rotation", profile.rotation.as_str().to_owned()),
        ("replay", profile.replay.to_string()),
        ("access_lifetime", write_duration(profile.assumed_access_lifetime)),
        ("refresh_lifetime", life(profile.assumed_refresh_lifetime)),
        ("longest_grant", life(profile.longest_grant)),
        ("refresh_expiry", expiry.to_owned()),
        ("pause", write_duration(profile.pause)),
        ("hosts", if hosts.is_empty() { "those that are named".to_owned() } else { hosts }),
        ("code_decides", profile.code_decides.to_string()),
        ("names_certificate", profile.names_certificate.to_string()),
    ];
    facts.extend(profile.api_member.map(|member| ("api_member", member.to_owned())));
    facts
}

/// Names and addresses of the endpoints.
fn endpoints(template: &Template) -> Vec<(&'static str, String)> {
    let named = [
        ("issuer", template.issuer),
        ("token", template.token),
        ("authorization", template.authorization),
        ("device_authorization", template.device_authorization),
        ("revocation", template.revocation),
        ("introspection", template.introspection),
        ("keys", template.keys),
        ("api", template.api),
        ("audience", template.audience),
        ("scope", template.scope),
    ];
    let named = named.into_iter().filter_map(|(name, text)| Some((name, text?.to_owned())));
    let with = template.authorize.iter().map(|(name, value)| ("authorize", format!("{name}={value}")));
    named.chain(with).collect()
}

/// How clients prove who they are; none where the server is asked.
fn authentication(template: &Template) -> Option<&'static str> {
    let usual = (!template.discovers).then_some(ClientAuthentication::Basic);
    template.authentication.or(usual).map(ClientAuthentication::as_str)
}

/// The keys of the sources that a fact has.
fn keys(profile: &Profile, fact: &str) -> String {
    let supports = profile.sources.iter().filter(|source| source.supports.contains(&fact));
    supports.map(|source| source.key).collect::<Vec<_>>().join(", ")
}

fn verdict(row: &ErrorCode) -> String {
    if row.obtaining == row.refreshing {
        return row.refreshing.as_str().to_owned();
    }
    format!("{}, when obtaining {}", row.refreshing.as_str(), row.obtaining.as_str())
}

/// What the server says when a row is meant.
fn said(row: &ErrorCode) -> String {
    let code = row.code.map(|code| code.to_string());
    let parts =
        [code.as_deref(), Some(row.error).filter(|error| !error.is_empty()), row.suberror, row.description];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

const fn column(head: &'static str) -> Column {
    Column { head, worth: 0 }
}

/// All of it, for people.
fn whole(known: &Known, profile: &Profile) -> String {
    let width = terminal::width();
    let render = |columns: &[Column], rows: &[Vec<Cell>]| table::render(columns, rows, width, Last::Wrapped);
    let note = |about: &str| {
        let own = profile.quirks.iter().find(|quirk| quirk.about == Some(about));
        own.map_or(String::new(), |quirk| quirk.text.to_owned())
    };
    let mut text = format!("{}: {} ({})\n\n", profile.name, profile.title, known.from);
    let rows: Vec<_> = facts(profile)
        .into_iter()
        .map(|(name, value)| {
            let source = Cell::styled(keys(profile, name), DIM_TEXT);
            vec![Cell::new(name), Cell::new(value), source, Cell::new(note(name))]
        })
        .collect();
    text.push_str(&render(&[column("FACT"), column("IS"), column("SOURCE"), column("NOTE")], &rows));
    let template = &profile.template;
    if !template.blanks.is_empty() {
        let rows: Vec<_> = template
            .blanks
            .iter()
            .map(|blank| {
                let default = blank.default.map_or(String::new(), |default| format!(" [default: {default}]"));
                vec![
                    Cell::new(format!("--set {}=…", blank.name)),
                    Cell::new(format!("{}{default}", blank.meaning)),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&render(&[column("ASKS FOR"), column("MEANING")], &rows));
    }
    let mut rows: Vec<_> = endpoints(template)
        .into_iter()
        .map(|(name, address)| vec![Cell::new(name), Cell::new(address)])
        .collect();
    if template.discovers {
        rows.push(vec![
            Cell::new("discovers"),
            Cell::new("what is not named here is asked for at the issuer"),
        ]);
    }
    if !rows.is_empty() {
        let authentication = authentication(template).unwrap_or("as the server says");
        rows.push(vec![Cell::new("authentication"), Cell::new(authentication)]);
        rows.push(vec![Cell::new("sources"), Cell::styled(keys(profile, "server"), DIM_TEXT)]);
        text.push('\n');
        text.push_str(&render(&[column("SERVER"), column("IS")], &rows));
    }
    if !profile.errors.is_empty() {
        let rows: Vec<_> = profile
            .errors
            .iter()
            .map(|row| {
                let source = Cell::styled(row.source, DIM_TEXT);
                vec![Cell::new(said(row)), Cell::new(verdict(row)), source, Cell::new(row.meaning)]
            })
            .collect();
        text.push('\n');
        text.push_str(&render(
            &[column("ERROR"), column("VERDICT"), column("SOURCE"), column("MEANING")],
            &rows,
        ));
    }
    let rows: Vec<_> = profile
        .quirks
        .iter()
        .filter(|quirk| quirk.about.is_none())
        .map(|quirk| vec![Cell::styled(quirk.source, DIM_TEXT), Cell::new(quirk.text)])
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&render(&[column("SOURCE"), column("TO BE KNOWN")], &rows));
    }
    let rows: Vec<_> = profile
        .sources
        .iter()
        .map(|source| {
            let address = source.address.map_or(String::new(), |address| format!(" {address}"));
            vec![Cell::styled(source.key, DIM_TEXT), Cell::new(format!("{}{address}", source.title))]
        })
        .collect();
    text.push('\n');
    text.push_str(&render(&[column("SOURCE"), column("TITLE AND ADDRESS")], &rows));
    text
}

/// All of it, for programs.
fn whole_as_json(known: &Known, profile: &Profile) -> Value {
    let template = &profile.template;
    let facts: serde_json::Map<String, Value> = facts(profile)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!({"is": value, "source": keys(profile, name)})))
        .collect();
    let errors = profile.errors.iter().map(|row| {
        json!({
            "code": row.code,
            "error": row.error,
            "suberror": row.suberror,
            "description": row.description,
            "meaning": row.meaning,
            "obtaining": row.obtaining.as_str(),
            "refreshing": row.refreshing.as_str(),
            "source": row.source,
        })
    });
    let blanks = template.blanks.iter().map(|blank| {
        json!({
            "name": blank.name,
            "kind": blank.kind.as_str(),
            "meaning": blank.meaning,
            "default": blank.default,
        })
    });
    let endpoints = endpoints(template).into_iter().filter(|(name, _)| *name != "authorize");
    let endpoints: serde_json::Map<String, Value> =
        endpoints.map(|(name, address)| (name.to_owned(), address.into())).collect();
    let authorize: serde_json::Map<String, Value> =
        template.authorize.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let quirks = profile
        .quirks
        .iter()
        .map(|quirk| json!({"about": quirk.about, "text": quirk.text, "source": quirk.source}));
    let sources = profile.sources.iter().map(|source| {
        json!({
            "key": source.key,
            "title": source.title,
            "address": source.address,
            "supports": source.supports,
        })
    });
    json!({
        "name": profile.name,
        "title": profile.title,
        "from": known.from,
        "facts": facts,
        "asks_for": blanks.collect::<Vec<_>>(),
        "server": {
            "discovers": template.discovers,
            "authentication": authentication(template),
            "authorize": authorize,
            "endpoints": endpoints,
        },
        "errors": errors.collect::<Vec<_>>(),
        "quirks": quirks.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
    })
}
