//! keeper
pub mod clock;
mod random;
pub mod store;
mod unix;
