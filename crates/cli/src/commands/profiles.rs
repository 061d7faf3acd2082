//! `perennial profiles`: which providers are known here.

use crate::exit::Exit;
use crate::own_profiles::{self, OwnFile};
use crate::printer::RED_TEXT;
use crate::session::Session;
use crate::table::{self, Cell, Column, Last};
use crate::terminal;
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::Profile;
use perennial::core::profile::concur::CONCUR;
use perennial::core::profile::generic::GENERIC;
use perennial::core::profile::shipped::{self, SHIPPED};
use perennial::core::time::write_duration;
use serde_json::{Value, json};
use std::time::Duration;

/// List the provider profiles: those that come with Perennial, and your own
///
/// A profile says how an authorization server behaves: where it is, whether a refresh token may be presented twice, how
/// long it lives, what its errors mean. Your own stand as NAME.toml in perennial/profiles in the XDG configuration
/// directory, or in the directory that PERENNIAL_PROFILES names.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial profiles
  perennial profile show entra
  perennial profile show okta --toml > ~/.config/perennial/profiles/acme.toml   a start for your own
  perennial add acme --profile okta --set domain=acme.okta.com")]
pub(crate) struct Profiles {
    /// Print the names alone: for the scripts
    #[arg(long, hide = true)]
    names: bool,
}

const COLUMNS: [Column; 6] = [
    Column { head: "NAME", worth: 0 },
    Column { head: "TITLE", worth: 1 },
    Column { head: "NEW REFRESH TOKEN", worth: 3 },
    Column { head: "REPLAY", worth: 0 },
    Column { head: "LIVES UNUSED", worth: 2 },
    Column { head: "FROM", worth: 0 },
];

/// A profile, and where it comes from.
pub(super) struct Known {
    pub(super) name: String,
    /// None for a file that cannot be used, which `from` tells.
    pub(super) profile: Option<&'static Profile>,
    pub(super) from: String,
}

pub(crate) fn carry_out(session: &Session, profiles: &Profiles) -> Result<Exit, Trouble> {
    let known = all();
    if profiles.names {
        let usable = known.iter().filter(|known| known.profile.is_some());
        session.printer.data(&usable.map(|known| format!("{}\n", known.name)).collect::<String>())?;
    } else if session.globals.json {
        let rows: Vec<_> = known.iter().map(as_json).collect();
        session.printer.json_data(&Value::Array(rows))?;
    } else {
        let rows: Vec<_> = known.iter().map(row).collect();
        session.printer.styled(&table::render(&COLUMNS, &rows, terminal::width(), Last::Wrapped))?;
    }
    Ok(Exit::Done)
}

/// What is built in, what comes along, what is a person's own. A file of one's own stands in the place of what it replaces.
pub(super) fn all() -> Vec<Known> {
    let built_in = [&CONCUR, &GENERIC].map(|profile| known(profile, "built in"));
    let own = own_profiles::all();
    let along = SHIPPED.iter().filter(|shipped| own.iter().all(|own| own.name != shipped.name));
    let along: Vec<_> =
        along.filter_map(shipped::Shipped::profile).map(|profile| known(profile, "comes along")).collect();
    built_in.into_iter().chain(along).chain(own.into_iter().map(of_file)).collect()
}

fn known(profile: &'static Profile, from: &str) -> Known {
    Known { name: profile.name.to_owned(), profile: Some(profile), from: from.to_owned() }
}

fn of_file(file: OwnFile) -> Known {
    let path = file.path.display().to_string();
    match file.read {
        // It stays for as long as the process does; a command ends soon.
        Ok(read) => {
            let profile: &'static Profile = Box::leak(Box::new(read.into_profile()));
            Known { name: file.name, profile: Some(profile), from: path }
        }
        Err(problem) => Known {
            name: file.name,
            profile: None,
            from: format!("{path} cannot be used: {}", problem.first()),
        },
    }
}

fn row(known: &Known) -> Vec<Cell> {
    let Some(profile) = known.profile else {
        let mut cells = vec![Cell::styled(known.name.as_str(), RED_TEXT)];
        cells.extend((0..4).map(|_| Cell::new("")));
        cells.push(Cell::styled(known.from.as_str(), RED_TEXT));
        return cells;
    };
    vec![
        Cell::new(known.name.as_str()),
        Cell::new(profile.title),
        Cell::new(profile.rotation.as_str()),
        Cell::new(profile.replay.to_string()),
        Cell::new(life(profile.assumed_refresh_lifetime)),
        Cell::new(known.from.as_str()),
    ]
}

/// How long something lives.
pub(super) fn life(time: Option<Duration>) -> String {
    time.map_or_else(|| "no end".to_owned(), write_duration)
}

fn as_json(known: &Known) -> Value {
    let Some(profile) = known.profile else {
        return json!({"name": known.name, "usable": false, "from": known.from});
    };
    json!({
        "name": known.name,
        "usable": true,
        "title": profile.title,
        "rotation": profile.rotation.as_str(),
        "replay": profile.replay.to_string(),
        "refresh_lifetime": profile.assumed_refresh_lifetime.map(write_duration),
        "asks_for": profile.template.blanks.iter().map(|blank| blank.name).collect::<Vec<_>>(),
        "from": known.from,
    })
}
