//! `perennial policy`: the numbers that a connection is kept by.

use crate::exit::Exit;
use crate::session::Session;
use crate::table::{self, Cell, Column, Last};
use crate::terminal;
use crate::trouble::Trouble;
use anstyle::Style;
use clap::Args;
use perennial::core::Policy;
use perennial::core::profile::Profile;
use serde_json::{Map, Value, json};

/// Show or change how a connection is waited for, renewed and tried again
///
/// Every number has a default and a reason; a connection may override each.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial policy acme                                    all numbers, with what they mean
  perennial policy acme renew_after=3d backoff_cap=5m
  perennial policy acme --reset renew_after")]
pub(crate) struct PolicyArgs {
    /// The connection
    name: String,

    /// What to change
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,

    /// Back to the default; may be repeated
    #[arg(long, value_name = "KEY")]
    reset: Vec<String>,
}

const COLUMNS: [Column; 4] = [
    Column { head: "KEY", worth: 0 },
    Column { head: "VALUE", worth: 0 },
    Column { head: "DEFAULT", worth: 1 },
    Column { head: "MEANING", worth: 0 },
];

pub(crate) fn carry_out(session: &Session, args: &PolicyArgs) -> Result<Exit, Trouble> {
    session.start_log();
    session.is_about(&args.name);
    let keeper = session.keeper()?;
    let connection = keeper.connection(&args.name)?;
    let profile = connection.profile;
    let mut policy = connection.policy.clone();
    let changes = args.changes(profile)?;
    for (name, text) in &changes {
        policy.set(name, text).map_err(|problem| wrong(&args.name, problem))?;
    }
    if !changes.is_empty() {
        let words: Vec<_> = changes.iter().map(|(name, text)| format!("{name}={text}")).collect();
        let change = |policy: &mut Policy| {
            for (name, text) in &changes {
                // It has been tried above.
                let _ = policy.set(name, text);
            }
        };
        let changed = session
            .wait(&keeper, keeper.set_policy(&args.name, change, format!("policy: {}", words.join(", "))))?;
        policy = changed.policy;
    }
    show(session, &policy, profile)
}

impl PolicyArgs {
    /// Names and texts; a number that is reset gets its default's text.
    fn changes(&self, profile: &Profile) -> Result<Vec<(String, String)>, Trouble> {
        let defaults: Vec<_> =
            Policy::of(profile).numbers().map(|(number, text)| (number.name, text)).collect();
        let mut changes = Vec::new();
        for name in &self.reset {
            let default = defaults.iter().find(|(known, _)| known == name);
            // A name that is none is told by the policy itself.
            changes.push((name.clone(), default.map(|(_, text)| text.clone()).unwrap_or_default()));
        }
        for change in &self.changes {
            let (name, text) = change
                .split_once('=')
                .ok_or_else(|| wrong(&self.name, format!("\"{change}\" has no = in it")))?;
            changes.push((name.trim().to_owned(), text.trim().to_owned()));
        }
        Ok(changes)
    }
}

fn wrong(name: &str, problem: String) -> Trouble {
    Trouble::usage(
        problem,
        format!("for example renew_after=3d; all of them, with what they mean: perennial policy {name}"),
    )
}

fn show(session: &Session, policy: &Policy, profile: &Profile) -> Result<Exit, Trouble> {
    let default = Policy::of(profile);
    let rows: Vec<_> = policy
        .numbers()
        .zip(default.numbers())
        .map(|((number, text), (_, default))| (number, text, default))
        .collect();
    if session.globals.json {
        let members: Map<String, Value> = rows
            .iter()
            .map(|(number, text, default)| {
                let members = json!({"value": text, "default": default, "meaning": number.meaning});
                (number.name.to_owned(), members)
            })
            .collect();
        session.printer.json_data(&Value::Object(members))?;
        return Ok(Exit::Done);
    }
    let cells: Vec<_> = rows
        .into_iter()
        .map(|(number, text, default)| {
            let value =
                if text == default { Cell::new(text) } else { Cell::styled(text, Style::new().bold()) };
            vec![Cell::new(number.name), value, Cell::new(default), Cell::new(number.meaning)]
        })
        .collect();
    session.printer.styled(&table::render(&COLUMNS, &cells, terminal::width(), Last::Wrapped))?;
    Ok(Exit::Done)
}
