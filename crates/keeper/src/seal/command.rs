//! A master key that a command gives. It is run by itself and not through a shell: nothing in its words is expanded, and
//! what follows from a variable or a file name stays a word. Its stderr goes where ours goes.

use super::SealError;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a command may take: a person may have to touch a token, or to find a telephone.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A list of keys is short; what is longer is something else.
const MOST: usize = 64 * 1024;

/// The words of a line, split as a shell would; `None` where there is none, or a quote is open.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    shell_words::split(line).ok().filter(|words| !words.is_empty())
}

/// What the command writes to its stdout.
pub(super) fn run(line: &str, patience: Duration) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let words = words(line).unwrap_or_default();
    let (program, arguments) =
        words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let failed = |why: String| SealError::Command { program: program.to_owned(), why };
    let mut command = Command::new(program);
    // What is piped into our stdin may be a secret of its own.
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(format!("cannot be started: {error}")))?;
    let text = read(&mut child, patience);
    if text.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    match text {
        None => Err(failed(format!("gave no key within {} s", patience.as_secs()))),
        Some(_) if !status.success() => Err(failed(format!("failed ({status})"))),
        Some(text) => Ok(text),
    }
}

/// All of its stdout; `None` when that takes too long.
fn read(child: &mut Child, patience: Duration) -> Option<Zeroizing<Vec<u8>>> {
    let mut stdout = child.stdout.take()?;
    let (told, tell) = mpsc::sync_channel(1);
    // The thread ends with the command; nobody waits for it.
    thread::spawn(move || {
        // Room for all at once, so that growing leaves no copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MOST + 1));
        let read = stdout.by_ref().take(MOST as u64).read_to_end(&mut text);
        let _ = told.send(read.map(|_| text).ok());
    });
    tell.recv_timeout(patience).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_run_without_a_shell() {
        let text = run("printf '%s\\n%s' 'a $HOME' \"b  c\"", PATIENCE).unwrap();
        assert_eq!(std::str::from_utf8(&text).unwrap(), "a $HOME\nb  c");
    }

    #[test]
    fn what_a_command_does_wrong_is_told_without_its_words() {
        for (line, why) in [
            ("false canary", "false failed (exit status: 1)"),
            ("/nowhere/at-all canary", "/nowhere/at-all cannot be started"),
        ] {
            let told = run(line, PATIENCE).unwrap_err().to_string();
            assert!(told.contains(why) && !told.contains("canary"), "{told}");
        }
    }

    #[test]
    fn a_command_that_never_ends_is_ended() {
        let told = run("sleep 3600", Duration::from_millis(1)).unwrap_err().to_string();
        assert!(told.contains("gave no key within"), "{told}");
    }
}
