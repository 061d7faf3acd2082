//! p
pub struct Connection; pub enum State {}
