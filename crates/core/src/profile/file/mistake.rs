//! What is wrong with a file, and where in it.

use std::fmt;
use std::ops::Range;

/// A mistake in a profile's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Mistake {
    pub(super) fn at(text: &str, span: &Range<usize>, what: String) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self { line, column, what }
    }

    /// What the parser says, in its first line: the others draw the place.
    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        let what = error.message().lines().next().unwrap_or_default().to_owned();
        Self::at(text, &error.span().unwrap_or(0..0), what)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}
