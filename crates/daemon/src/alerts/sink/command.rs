//! A program that is told: no shell, JSON on its stdin, its own process group, and an end. It sees nothing of this
//! process's environment but PATH, HOME and LANG: what stands beside them may be a secret.

use super::Failure;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

const PASSED_ON: [&str; 3] = ["PATH", "HOME", "LANG"];

/// Runs it to its end, at most for `patience`. Its exit code is 0 where this succeeds.
pub(super) async fn run(words: &[String], input: &[u8], patience: Duration) -> Result<i32, Failure> {
    let (program, arguments) = words.split_first().ok_or_else(|| Failure::new("it names no program"))?;
    let kept = PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(kept)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| Failure::new(format!("the program cannot be started: {error}")))?;
    let mut group = Group { leader: child.id(), child };
    let ended = tokio::time::timeout(patience, group.tell(input)).await;
    let status = match ended {
        Ok(status) => status.map_err(|error| Failure::new(format!("the program was lost: {error}")))?,
        Err(_) => {
            group.kill();
            let _ = group.child.wait().await;
            let seconds = patience.as_secs();
            return Err(Failure::new(format!("the program took longer than {seconds} s and was ended")));
        }
    };
    match status.code() {
        Some(0) => Ok(0),
        Some(code) => Err(Failure {
            status: Some(code),
            ..Failure::new(format!("the program ended with exit code {code}"))
        }),
        None => Err(Failure::new("the program was ended by a signal")),
    }
}

/// The program and all that it started. Dropped before its end it is ended.
struct Group {
    child: Child,
    /// Also the group's number; none once it has ended and the number may be somebody else's.
    leader: Option<u32>,
}

impl Group {
    async fn tell(&mut self, input: &[u8]) -> std::io::Result<ExitStatus> {
        if let Some(mut stdin) = self.child.stdin.take() {
            // A program that reads nothing may still do what it should.
            let _ = stdin.write_all(input).await;
            let _ = stdin.write_all(b"\n").await;
        }
        let status = self.child.wait().await;
        self.leader = None;
        status
    }

    fn kill(&mut self) {
        let leader = self.leader.take().and_then(|leader| i32::try_from(leader).ok());
        if let Some(group) = leader.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn it_gets_the_json_on_its_stdin_and_its_exit_code_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told");
        let words = shell(&format!("cat > {}", file.display()));
        assert_eq!(run(&words, b"{\"a\":1}", LONG).await, Ok(0));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"a\":1}\n");
        let failed = run(&shell("exit 7"), b"{}", LONG).await.unwrap_err();
        assert_eq!(failed.status, Some(7));
        assert!(run(&["/no/such/program".to_owned()], b"{}", LONG).await.is_err());
        // It reads nothing, and more is written than a pipe holds.
        assert_eq!(run(&shell("exit 0"), &vec![b' '; 1 << 20], LONG).await, Ok(0));
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended() {
        let failed = run(&shell("sleep 1000"), b"{}", Duration::from_millis(50)).await.unwrap_err();
        assert!(failed.what.contains("was ended"), "{failed:?}");
    }

    #[tokio::test]
    async fn one_that_nobody_waits_for_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert_eq!(run(&["mkfifo".to_owned(), fifo.display().to_string()], b"", LONG).await, Ok(0));
        let script = format!("exec 9>{}; sleep 1000 & echo >&9; sleep 1000", fifo.display());
        let ready = tokio::task::spawn_blocking(move || {
            let mut fifo = std::fs::File::open(fifo).unwrap();
            fifo.read_exact(&mut [0]).unwrap();
            fifo
        });
        let words = shell(&script);
        let mut fifo = tokio::select! {
            fifo = ready => fifo.unwrap(),
            ended = run(&words, b"{}", LONG) => panic!("{ended:?}"),
        };
        // Program and grandchild hold the other end: there is an end of it only once both are gone.
        let rest = tokio::task::spawn_blocking(move || fifo.read_to_end(&mut Vec::new()).unwrap());
        assert_eq!(rest.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn law_10_it_sees_nothing_of_our_environment_but_three_variables() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("environment");
        // A shell adds some of its own; env itself shows what it was given.
        let words = ["/bin/sh", "-c", &format!("/usr/bin/env -0 > {}", file.display())].map(str::to_owned);
        assert_eq!(run(&words, b"{}", LONG).await, Ok(0));
        let shown = std::fs::read_to_string(&file).unwrap();
        let names: Vec<_> =
            shown.split('\0').filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        let own = ["PATH", "HOME", "LANG", "PWD", "SHLVL", "_", "OLDPWD"];
        assert!(names.iter().all(|name| own.contains(name)), "{names:?}");
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "there was something to leak");
    }
}
