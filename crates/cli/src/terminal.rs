//! The terminal itself: asking a person, and how wide it is. What only Unix has stands here.
//!
//! A secret is read without an echo, letter by letter: the terminal's own lines end after 4,096 bytes, which a pasted
//! token may be longer than, and a Ctrl-C in the middle of one must not leave a terminal that shows nothing.

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use zeroize::Zeroizing;

const ENTER: [u8; 2] = [b'\n', b'\r'];
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;
const RUB_OUT: [u8; 2] = [8, 127];
const ESCAPE: u8 = 27;

/// True when there is a person to ask. What is piped into stdin may be a secret of its own.
pub(crate) fn is_there() -> bool {
    io::stderr().is_terminal() && open().is_ok()
}

/// True when this process has a terminal, wherever its own output goes.
pub(crate) fn can_ask() -> bool {
    open().is_ok()
}

/// The columns of the terminal that stdout is; `None` where it is none.
pub(crate) fn width() -> Option<usize> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The lines of the terminal that stdout is; `None` where it is none. One that does not say has as many as they all had
/// once.
pub(crate) fn height() -> Option<usize> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    Some(if size.ws_row > 0 { usize::from(size.ws_row) } else { 24 })
}

/// Asks for a line that may be seen. `None` at its end (Ctrl-D).
pub(crate) fn ask(question: &str) -> io::Result<Option<String>> {
    let mut tty = open()?;
    write!(tty, "{question}: ")?;
    let mut line = String::new();
    let read = io::BufReader::new(&tty).read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

/// Asks for a secret, without an echo. `None` where a person leaves (Ctrl-C, Ctrl-D).
pub(crate) fn ask_secret(question: &str) -> io::Result<Option<Zeroizing<String>>> {
    let mut tty = open()?;
    write!(tty, "{question} (not shown): ")?;
    let silent = Silent::make(&tty)?;
    let line = read_line(&mut tty);
    drop(silent);
    writeln!(tty)?;
    line
}

/// The same for a secret that is new: twice, because whoever mistypes it has nothing.
pub(crate) fn ask_new_secret(question: &str) -> io::Result<Option<Zeroizing<String>>> {
    loop {
        let Some(first) = ask_secret(question)? else { return Ok(None) };
        let Some(second) = ask_secret("Once more")? else { return Ok(None) };
        if first == second {
            return Ok(Some(first));
        }
        writeln!(open()?, "These two differ.")?;
    }
}

fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

fn read_line(tty: &mut File) -> io::Result<Option<Zeroizing<String>>> {
    // Room for any token at once, so that growing leaves no copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let mut letter = [0];
    while tty.read(&mut letter)? == 1 {
        match letter[0] {
            CTRL_C | CTRL_D => return Ok(None),
            CTRL_U => line.clear(),
            ESCAPE => {}
            end if ENTER.contains(&end) => break,
            rub if RUB_OUT.contains(&rub) => drop(line.pop()),
            letter => line.push(letter),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::other("that was no text"))?;
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

/// A terminal that shows nothing and hands on each letter; as it was before when this is dropped.
struct Silent {
    tty: File,
    before: Termios,
}

impl Silent {
    fn make(tty: &File) -> io::Result<Self> {
        let before = termios::tcgetattr(tty)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        termios::tcsetattr(tty, OptionalActions::Flush, &silent)?;
        Ok(Self { tty: tty.try_clone()?, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}
