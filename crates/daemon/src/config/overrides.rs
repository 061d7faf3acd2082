//! Flags and environment variables above the file: `--set limits.sockets=100`, or
//! `PERENNIAL_SERVE_LIMITS_SOCKETS=100`.

use super::{Config, EXAMPLE, Mistake};
use std::fmt;
use toml::{Table, Value};

/// What the names of variables begin with.
const VARIABLE: &str = "PERENNIAL_SERVE_";

/// One option and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    path: Vec<String>,
    value: Value,
    /// How a person wrote it, for messages; without the value.
    origin: String,
}

/// Why a setting is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not `KEY=VALUE`.
    #[error("must read KEY=VALUE, as in limits.sockets=1000")]
    Form,
    /// No such variable.
    #[error("{0} names no option; all of them: perennial config example")]
    Unknown(String),
}

impl Setting {
    /// One option. `value` is TOML, or a text.
    #[must_use]
    pub fn new(path: &str, value: &str, origin: impl Into<String>) -> Self {
        let path = path.split('.').map(str::to_owned).collect();
        Self { path, value: value_of(value), origin: origin.into() }
    }

    /// From the environment: the name behind `PERENNIAL_SERVE_` is the option's, in capitals, with `_` for dots.
    ///
    /// # Errors
    /// When a variable names no option.
    pub fn of_environment(
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Vec<Self>, SettingError> {
        let known = known_paths();
        let own = variables
            .filter_map(|(name, value)| Some((name.strip_prefix(VARIABLE)?.to_owned(), name, value)));
        own.map(|(rest, name, value)| {
            let path = known.iter().find(|path| path.replace('.', "_").eq_ignore_ascii_case(&rest));
            let path = path.ok_or_else(|| SettingError::Unknown(name.clone()))?;
            Ok(Self::new(path, &value, name))
        })
        .collect()
    }
}

impl std::str::FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (path, value) = text.split_once('=').ok_or(SettingError::Form)?;
        let path = path.trim();
        Ok(Self::new(path, value.trim(), format!("--set {path}")))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

/// What is no TOML is a text: nobody quotes twice in a shell.
fn value_of(text: &str) -> Value {
    let parsed =
        toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Every option that is no list of tables, and whose table has a name of its own, as the example has them.
fn known_paths() -> Vec<String> {
    let (mut paths, mut table) = (Vec::new(), String::new());
    for line in EXAMPLE.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once(" = ")
            && !table.starts_with('[')
            && !table.starts_with("connect.")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            paths.push(if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") });
        }
    }
    paths
}

/// The text with the settings in it.
pub(super) fn apply(text: &str, settings: &[Setting]) -> Result<Config, Vec<Mistake>> {
    let mut whole: Table = toml::from_str(text).map_err(|error| vec![Mistake::of_toml(text, &error)])?;
    for setting in settings {
        let before = whole.clone();
        put(&mut whole, &setting.path, setting.value.clone());
        // One at a time, so that the one that is wrong can be named.
        if let Err(error) = whole.clone().try_into::<Config>() {
            // A number that is to be a text, say.
            let as_text = Value::String(setting.value.to_string());
            let mut once_more = before;
            put(&mut once_more, &setting.path, as_text);
            if setting.value.is_str() || once_more.clone().try_into::<Config>().is_err() {
                let what = error.message().lines().next().unwrap_or_default().to_owned();
                return Err(vec![Mistake::whole(format!("{setting}: {what}"))]);
            }
            whole = once_more;
        }
    }
    whole.try_into().map_err(|error: toml::de::Error| vec![Mistake::whole(error.message().to_owned())])
}

fn put(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => put(inner, rest, value),
                other => *other = Value::String(String::new()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(settings: &[&str]) -> Result<Config, Vec<Mistake>> {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        Config::parse("[limits]\nsockets = 5\n", &settings)
    }

    #[test]
    fn a_flag_stands_above_the_file() {
        assert_eq!(with(&[]).unwrap().limits.sockets, 5);
        let config =
            with(&["limits.sockets=7", "limits.idle=90s", "listen.tcp=[\"127.0.0.1:8470\"]"]).unwrap();
        assert_eq!((config.limits.sockets, config.limits.idle.0.as_secs()), (7, 90));
        assert_eq!(config.listen.tcp.len(), 1);
    }

    #[test]
    fn a_flag_that_is_wrong_is_named() {
        for (setting, says) in
            [("limits.sockets=many", "--set limits.sockets"), ("limit.sockets=7", "--set limit.sockets")]
        {
            let mistakes = with(&[setting]).unwrap_err();
            assert!(mistakes[0].to_string().contains(says), "{}", mistakes[0]);
        }
    }

    #[test]
    fn variables_name_options() {
        let variables =
            [("PERENNIAL_SERVE_LIMITS_SLOW_CLIENT", "3s"), ("PERENNIAL_STORE", "x"), ("HOME", "/")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Setting::of_environment(variables.into_iter()).unwrap();
        let config = Config::parse("", &settings).unwrap();
        assert_eq!(config.limits.slow_client.0.as_secs(), 3);
        let wrong = [("PERENNIAL_SERVE_LIMIT".to_owned(), "3".to_owned())];
        assert!(Setting::of_environment(wrong.into_iter()).is_err());
    }
}
