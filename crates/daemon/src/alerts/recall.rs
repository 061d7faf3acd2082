//! What has been told, durably: a log of conditions, one line of JSON each, beside the outbox. It is written behind the
//! messages: a crash in between lets them be told again, under the same ids.

use super::condition::Condition;
use super::files;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

const FILE: &str = "told.jsonl";
/// The log is written anew when it has grown by so many bytes.
const GROWS_BY: u64 = 16 << 20;

/// The log.
#[derive(Debug)]
pub(super) struct Recall {
    path: PathBuf,
    file: File,
    grown: u64,
    /// Names this installation in ids.
    pub(super) origin: String,
    /// What could not be written yet.
    owed: Vec<(String, Option<Condition>)>,
}

/// A line of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(default)]
    condition: Option<Condition>,
}

impl Recall {
    /// Opens it, and tells what it holds. It is written anew, so that it holds no more than that.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, HashMap<String, Condition>)> {
        let path = dir.join(FILE);
        let (origin, conditions) = read(&path)?;
        let origin = origin.unwrap_or_else(perennial::request_id);
        if let Err(error) = write_whole(&path, &origin, &conditions) {
            // On a full disk, too, somebody must be told of it.
            tracing::warn!(%error, file = %path.display(), "what was told could not be written anew");
        }
        let file = files::append(&path)?;
        Ok((Self { path, file, grown: 0, origin, owed: Vec::new() }, conditions))
    }

    /// Writes down what changed. What cannot be written is tried again with the next change.
    pub(super) fn note(&mut self, changes: Vec<(String, Option<Condition>)>) {
        self.owed.extend(changes);
        if self.owed.is_empty() {
            return;
        }
        match self.append() {
            Ok(()) => self.owed.clear(),
            Err(error) => {
                tracing::warn!(%error, "what was told could not be written down; after a crash it is told again")
            }
        }
    }

    /// A whole set of lines at a time: one that was cut short by a crash is no JSON, and is left out when it is read.
    fn append(&mut self) -> io::Result<()> {
        let mut lines = Vec::from(*b"\n");
        for (key, condition) in &self.owed {
            put(&mut lines, &Line { key: key.clone(), condition: condition.clone(), origin: None })?;
        }
        self.file.write_all(&lines)?;
        self.file.sync_data()?;
        self.grown += lines.len() as u64;
        if self.grown > GROWS_BY {
            let (_, conditions) = read(&self.path)?;
            write_whole(&self.path, &self.origin, &conditions)?;
            self.file = files::append(&self.path)?;
            self.grown = 0;
        }
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<(Option<String>, HashMap<String, Condition>)> {
    let (mut origin, mut conditions) = (None, HashMap::new());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((origin, conditions)),
        Err(error) => return Err(error),
    };
    for line in BufReader::new(file).split(b'\n') {
        let Ok(line) = serde_json::from_slice::<Line>(&line?) else { continue };
        origin = line.origin.or(origin);
        match (line.key.is_empty(), line.condition) {
            (true, _) => {}
            (false, Some(condition)) => drop(conditions.insert(line.key, condition)),
            (false, None) => drop(conditions.remove(&line.key)),
        }
    }
    Ok((origin, conditions))
}

fn write_whole(path: &Path, origin: &str, conditions: &HashMap<String, Condition>) -> io::Result<()> {
    let mut lines = Vec::new();
    put(&mut lines, &Line { origin: Some(origin.to_owned()), ..Line::default() })?;
    for (key, condition) in conditions {
        put(&mut lines, &Line { key: key.clone(), condition: Some(condition.clone()), origin: None })?;
    }
    files::replace(path, &lines)?;
    files::sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn put(lines: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, line)?;
    lines.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn condition(times: u32) -> Condition {
        Condition { times, ..Condition::default() }
    }

    #[test]
    fn a_line_that_a_crash_cut_short_costs_that_line_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut recall, _) = Recall::open(dir.path()).unwrap();
        let origin = recall.origin.clone();
        recall.note(vec![("a".into(), Some(condition(1))), ("b".into(), Some(condition(2)))]);
        recall.note(vec![("a".into(), None)]);
        drop(recall);
        let path = dir.path().join(FILE);
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(b"\n{\"key\":\"c\",\"condi");
        fs::write(&path, torn).unwrap();
        let (mut recall, conditions) = Recall::open(dir.path()).unwrap();
        assert_eq!((recall.origin.clone(), conditions.len()), (origin, 1));
        recall.note(vec![("d".into(), Some(condition(4)))]);
        let (_, conditions) = Recall::open(dir.path()).unwrap();
        assert_eq!((conditions["b"].times, conditions["d"].times), (2, 4));
    }
}
