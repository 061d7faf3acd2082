//! The data centres of one world: each listens for itself, and a principal lives in one of them.

/// The data centre that a request came to, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Here(pub(crate) usize);
