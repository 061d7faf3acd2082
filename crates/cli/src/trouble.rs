//! What a person is told when a command could not do what it should: a line, the exact next command, an exit code.

use crate::exit::Exit;
use crate::hints;
use crate::place::Place;
use perennial::Error;
use perennial::core::connection::Fault;
use perennial::store::StoreError;
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// What a person is told when a command could not do what it should.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What is wrong, and where.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The keeper's verdict, where there is one.
    pub(crate) verdict: Option<&'static str>,
    /// The provider's code, where there is one.
    pub(crate) code: Option<u32>,
    /// What SAP's support asks for.
    pub(crate) correlation_id: Option<String>,
    /// How the command ends.
    pub(crate) exit: Exit,
    /// What the keeper said. The hint depends on the store that it said it of, which whoever reports it knows.
    said: Option<Error>,
}

impl Trouble {
    /// A trouble with a hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self {
            message: message.into(),
            hint,
            verdict: None,
            code: None,
            correlation_id: None,
            exit,
            said: None,
        }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, hint)
    }

    /// A file that could not be made or written.
    pub(crate) fn file(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("could not {action} {}", path.display());
        move |error| {
            Self::new(Exit::PersonMustAct, format!("{what}: {error}"), "choose a place that you may write to")
        }
    }

    /// What the keeper said, with the hint that fits where it said it.
    pub(crate) fn of(error: Error, place: &Place) -> Self {
        Self { said: Some(error.clone()), ..hints::of_keeper(&error, place) }
    }

    /// The same trouble with another hint.
    pub(crate) fn hinting(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), said: None, ..self }
    }

    /// The same trouble with other words before it.
    pub(crate) fn prefixed(mut self, words: &str) -> Self {
        self.message = format!("{words}: {}", self.message);
        self
    }

    /// The hint fits the place, and its commands name what the person named.
    pub(crate) fn at(mut self, place: &Place) -> Self {
        if let Some(error) = &self.said {
            self.hint = hints::of_keeper(error, place).hint;
        }
        self.hint = self.hint.map(|hint| place.complete(&hint));
        self
    }

    /// True when what to do about it depends on how the connection's grant is obtained.
    pub(crate) fn is_about_a_grant(&self) -> bool {
        let said = self.said.as_ref();
        said.is_some_and(|error| {
            !matches!(error, Error::Store(_) | Error::Unreachable { .. } | Error::Busy | Error::Deadline)
        })
    }

    /// The object that `--json` prints.
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "message": self.message,
            "hint": self.hint,
            "verdict": self.verdict,
            "code": self.code,
            "correlation_id": self.correlation_id,
            "exit_code": self.exit.code(),
        })
    }

    /// A trouble that nobody has a hint for.
    pub(crate) fn plain(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            verdict: None,
            code: None,
            correlation_id: None,
            exit,
            said: None,
        }
    }

    /// What the server said belongs to it.
    pub(crate) fn about(mut self, fault: &Fault) -> Self {
        self.verdict = Some(fault.verdict.as_str());
        self.code = fault.code;
        self.correlation_id.clone_from(&fault.correlation_id);
        self
    }
}

impl From<io::Error> for Trouble {
    /// Output that could not be written; a reader that went away is no trouble.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::plain(Exit::Done, "");
        }
        Self::plain(Exit::Failed, format!("could not write the output: {error}"))
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::of(error, &Place::default())
    }
}
