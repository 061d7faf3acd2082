//! A person's own provider profiles: files called `NAME.toml` in one directory. A file is read when a connection or an
//! option names its profile, and not before: `perennial token` for Concur looks for none. What is wrong with one is told
//! once, and harms no connection of another provider.

use crate::env_vars;
use crate::exit::Exit;
use crate::options::quoted;
use crate::printer::Printer;
use crate::trouble::Trouble;
use crate::xdg;
use perennial::core::profile::file::{Mistake, ProfileFile, is_name};
use perennial::core::profile::registry::{self, Looked};
use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The largest file that is read: fifty times the largest that comes with Perennial.
const LARGEST: u64 = 512 * 1024;

/// Why a file is no profile.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It could not be read.
    Unread(String),
    /// There are mistakes in it.
    Wrong(Vec<Mistake>),
}

/// One of a person's own files.
#[derive(Debug)]
pub(crate) struct OwnFile {
    pub(crate) path: PathBuf,
    /// What the file is called, without `.toml`.
    pub(crate) name: String,
    /// What it says.
    pub(crate) read: Result<ProfileFile, Unusable>,
}

/// Where they are.
pub(crate) fn dir() -> Option<PathBuf> {
    let named = env::var_os(env_vars::PROFILES).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.or_else(|| xdg::config_home().map(|home| home.join("perennial").join("profiles")))
}

/// From here on a profile that is asked for is looked for there.
pub(crate) fn install(printer: Printer) {
    registry::look_in(move |name| match find(name) {
        None => Looked::Absent,
        Some(OwnFile { read: Ok(file), .. }) => Looked::Found(Box::new(file.into_profile())),
        Some(OwnFile { path, read: Err(problem), .. }) => {
            warn(printer, &told(name, &path, &problem));
            Looked::Unusable
        }
    });
}

/// A daemon has a log by then.
fn warn(printer: Printer, text: &str) {
    if tracing::dispatcher::has_been_set() { tracing::warn!("{text}") } else { printer.warn(text) }
}

/// One line for a person, with the command that says more.
fn told(name: &str, path: &Path, problem: &Unusable) -> String {
    let (path, word) = (path.display(), quoted(&path.to_string_lossy()));
    format!(
        "the profile {name} in {path} cannot be used, and the most careful rules are in force in its place: {}; look at it: \
         perennial profile check {word}",
        problem.first()
    )
}

/// The file of a profile, if there is one.
pub(crate) fn find(name: &str) -> Option<OwnFile> {
    let path = dir()?.join(format!("{name}.toml"));
    match read_text(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        text => Some(OwnFile { read: read(text, Some(name)), name: name.to_owned(), path }),
    }
}

/// What keeps a profile of one's own from being used.
pub(crate) fn trouble_with(name: &str) -> Option<Trouble> {
    let OwnFile { path, read, .. } = is_name(name).then(|| find(name)).flatten()?;
    let problem = read.err()?;
    let (shown, word) = (path.display(), quoted(&path.to_string_lossy()));
    Some(Trouble::new(
        Exit::PersonMustAct,
        format!("the profile {name} in {shown} cannot be used: {}", problem.first()),
        format!("all that is wrong: perennial profile check {word}"),
    ))
}

/// All of them, by name.
pub(crate) fn all() -> Vec<OwnFile> {
    let Some(entries) = dir().and_then(|dir| fs::read_dir(dir).ok()) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let names = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let mut names: Vec<_> = names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort_unstable();
    names.iter().filter_map(|name| find(name)).collect()
}

/// A file anywhere, to be looked at.
pub(crate) fn read_anywhere(path: &Path) -> Result<ProfileFile, Unusable> {
    let is_installed = dir().is_some_and(|dir| path.parent().is_some_and(|parent| same(parent, &dir)));
    let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_installed);
    read(read_text(path), stem)
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

fn read(text: io::Result<String>, stem: Option<&str>) -> Result<ProfileFile, Unusable> {
    let text = text.map_err(|error| Unusable::Unread(format!("it could not be read: {error}")))?;
    let file = ProfileFile::parse(&text).map_err(Unusable::Wrong)?;
    let misplaced = file.misplaced(&text, stem);
    if misplaced.is_empty() { Ok(file) } else { Err(Unusable::Wrong(misplaced)) }
}

/// A pipe would be waited for, and a huge file fill the memory.
fn read_text(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 512 KiB"));
    }
    Ok(text)
}

impl Unusable {
    /// What is wrong first, and how much more.
    pub(crate) fn first(&self) -> String {
        match self {
            Self::Unread(problem) => problem.clone(),
            Self::Wrong(mistakes) => {
                let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
                match mistakes.len() {
                    0 | 1 => first,
                    more => format!("{first} (and {} more)", more - 1),
                }
            }
        }
    }
}
