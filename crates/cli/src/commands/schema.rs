//! `perennial schema`: what an administrator of a database runs where keepers may not make tables.

use crate::exit::Exit;
use crate::session::Session;
use crate::stores::Choice;
use crate::trouble::Trouble;
use clap::Args;
use perennial::Postgres;

/// Print the SQL that makes the tables of a PostgreSQL store
///
/// Perennial makes its tables itself where its role may: whoever writes first, under a lock. Where it may not, an
/// administrator runs this once. Nothing is connected to.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial schema --store postgres://keeper@db.example/grants --role keeper > perennial.sql
  psql --single-transaction -v ON_ERROR_STOP=1 -f perennial.sql grants")]
pub(crate) struct Schema {
    /// Also give this role the rights that keepers need
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

pub(crate) fn carry_out(session: &Session, schema: &Schema) -> Result<Exit, Trouble> {
    let Choice::Postgres(url) = session.globals.choice()? else {
        let hint = "name the database: perennial schema --store postgres://USER@HOST/DATABASE";
        return Err(Trouble::usage("this store needs no administrator: it makes its own tables", hint));
    };
    session.printer.data(&Postgres::schema(&url, schema.role.as_deref())?)?;
    Ok(Exit::Done)
}
