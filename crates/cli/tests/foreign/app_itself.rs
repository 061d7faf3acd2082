//! app_itself
