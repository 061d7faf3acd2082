//! What goes where: stdout is data, all else goes to stderr. Colours only where a person looks on, and never with
//! `NO_COLOR`.

use crate::exit::Exit;
use crate::trouble::Trouble;
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use std::io::{self, Write};

const RED: Style = AnsiColor::Red.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// All is well.
pub(crate) const GREEN_TEXT: Style = AnsiColor::Green.on_default();
/// It passes by itself.
pub(crate) const YELLOW_TEXT: Style = AnsiColor::Yellow.on_default();
/// A person must act.
pub(crate) const RED_TEXT: Style = AnsiColor::Red.on_default();
/// Beside what matters.
pub(crate) const DIM_TEXT: Style = Style::new().dimmed();

/// Prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    /// Machine-readable output, errors included.
    pub(crate) json: bool,
    /// No remarks; only data and errors.
    pub(crate) quiet: bool,
}

impl Printer {
    /// Data, as it is.
    pub(crate) fn data(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Data for people: its colours go only where a person looks on.
    pub(crate) fn styled(self, text: &str) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Data, as pretty JSON.
    pub(crate) fn json_data(self, value: &Value) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.data(&text)
    }

    /// One step of a story that is the command's result; with `--json` it gives way to the data.
    pub(crate) fn step(self, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(anstream::stdout().lock(), "{GREEN}✓{GREEN:#} {text}")
    }

    /// A step that failed.
    pub(crate) fn cross(self, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(anstream::stdout().lock(), "{RED}✗{RED:#} {text}")
    }

    /// A line of such a story without a mark.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(anstream::stdout().lock(), "{text}")
    }

    /// A remark beside the result.
    pub(crate) fn note(self, text: &str) {
        if self.json {
            self.remark("note", text);
        } else if !self.quiet {
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        }
    }

    /// Something that a person should know though the command works.
    pub(crate) fn warn(self, text: &str) {
        if self.json {
            self.remark("warning", text);
        } else if !self.quiet {
            let _ = writeln!(anstream::stderr().lock(), "{YELLOW}warning:{YELLOW:#} {text}");
        }
    }

    /// With `--json` each line on stderr is an object, so that a program can tell remarks from the error.
    fn remark(self, kind: &str, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{}", json!({ kind: text }));
        }
    }

    /// What went wrong, and the exact next command.
    pub(crate) fn trouble(self, trouble: &Trouble) -> Exit {
        if self.json {
            let _ = writeln!(io::stderr().lock(), "{}", json!({"error": trouble.as_json()}));
            return trouble.exit;
        }
        let mut err = anstream::stderr().lock();
        let _ = writeln!(err, "{RED}error:{RED:#} {}", trouble.message);
        if let Some(hint) = &trouble.hint {
            let _ = writeln!(err, "{CYAN}hint:{CYAN:#} {hint}");
        }
        if let Some(id) = &trouble.correlation_id {
            let _ = writeln!(err, "correlation id: {id}");
        }
        trouble.exit
    }
}
