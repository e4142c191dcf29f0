//! kavka-std
