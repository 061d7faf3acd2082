//! How far a long command has come: a bar where a person looks on, a line now and then where nobody does, and nothing
//! with `--quiet` or `--json`. All of it on stderr.

use crate::session::Session;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;

/// Without a terminal a line comes at every tenth of the whole: enough for a log, too little to fill it.
const LINES: u64 = 10;

/// How far it is.
pub(crate) struct Progress<'a> {
    session: &'a Session,
    bar: ProgressBar,
    total: u64,
    /// Lines that were written, where there is no terminal.
    told: Cell<u64>,
    is_plain: bool,
}

impl<'a> Progress<'a> {
    /// `total` is counted in whatever the command counts in: bytes, rows, pages.
    pub(crate) fn start(session: &'a Session, total: u64) -> Self {
        let is_silent = session.globals.json || session.globals.quiet;
        let is_plain = !is_silent && !std::io::stderr().is_terminal();
        let target = if is_silent || is_plain {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let style = ProgressStyle::with_template("{bar:32} {percent:>3} % {wide_msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─");
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        Self { session, bar, total, told: Cell::new(0), is_plain }
    }

    /// So far it has come, in these words.
    pub(crate) fn at(&self, position: u64, words: &str) {
        self.bar.set_position(position.min(self.total));
        self.bar.set_message(words.to_owned());
        if !self.is_plain || self.total == 0 {
            return;
        }
        let tenth = position.saturating_mul(LINES) / self.total;
        // Who is done within the first tenth, or at the end anyway, needs no line.
        if tenth > self.told.get() && tenth < LINES {
            self.told.set(tenth);
            self.session.printer.note(&format!("  {:>3} % {words}", tenth * 100 / LINES));
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}
