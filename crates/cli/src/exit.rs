//! How the program ends. These numbers are an API: scripts branch on them.

use std::process::ExitCode;

/// The exit codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    #[default]
    Done,
    /// 1: failed.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 3: a person must act; trying again does not help.
    PersonMustAct,
    /// 4: try again later.
    TryAgainLater,
    /// 130: a person pressed Ctrl-C, as shells number it.
    Interrupted,
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::PersonMustAct => 3,
            Self::TryAgainLater => 4,
            Self::Interrupted => 130,
        }
    }

    /// The graver of two: a person who must act goes before a wait, and that before a failure that may be ours.
    pub(crate) fn graver(self, other: Self) -> Self {
        let weight = |exit| match exit {
            Self::Done => 0,
            Self::Failed => 1,
            Self::TryAgainLater => 2,
            Self::PersonMustAct => 3,
            Self::Usage => 4,
            Self::Interrupted => 5,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
